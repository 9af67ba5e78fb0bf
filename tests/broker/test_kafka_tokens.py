"""Tokens of OAUTHBEARER: where they come from, how long they are kept, and what is said where there is none."""

from __future__ import annotations

import codecs
import json
import logging
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from streamrnn.broker import kafka_tokens
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_connect import connect
from streamrnn.broker.kafka_settings import KafkaConnection, reader_kwargs
from streamrnn.broker.kafka_tokens import RENEW_AFTER, TokenError, TokenProvider, provider
from streamrnn.broker.security import KafkaSecurity, OAuth, Secret
from streamrnn.errors import BrokerError
from tests.kafka.certificates import Authority
from tests.kafka.server import KafkaServer
from tests.support.kafka_members import until
from tests.support.kafka_rights import grant
from tests.support.pretenders import Manner
from tests.support.pretenders import serving as pretending
from tests.support.token_endpoint import CLIENT, CLIENT_SECRET, Endpoint, serving, unsecured_token

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as made:
        yield made


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(endpoint: Endpoint, secret: str = CLIENT_SECRET, **more: Any) -> OAuth:
    return OAuth(token_endpoint=endpoint.url, client_id=CLIENT, client_secret=Secret(secret), **more)


def refused(oauth: OAuth) -> TokenError:
    with pytest.raises(TokenError) as raised:
        TokenProvider(oauth).token()
    said = str(raised.value)
    assert said.isprintable()
    assert CLIENT_SECRET not in said
    return raised.value


# -- an endpoint ------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_as_the_rfc_says_and_kept_for_most_of_its_life(endpoint: Endpoint) -> None:
    clock = Clock()
    tokens = TokenProvider(settings(endpoint, scope="kafka read"), clock)
    first = tokens.token()
    clock.now += RENEW_AFTER * 3600 - 1
    assert tokens.token() == first
    assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "kafka read"}]
    clock.now += 2
    assert tokens.token() != first
    assert len(endpoint.asked) == 2


def test_a_token_that_lasts_is_used_while_no_new_one_can_be_had(endpoint: Endpoint) -> None:
    clock = Clock()
    tokens = TokenProvider(settings(endpoint), clock)
    first = tokens.token()
    endpoint.answer = 503, b"", {}
    clock.now += 3599
    assert tokens.token() == first
    clock.now += 2
    with pytest.raises(TokenError, match="gave no token \\(status 503\\)"):
        tokens.token()


def test_a_token_without_a_life_is_used_once(endpoint: Endpoint) -> None:
    endpoint.answer = 200, json.dumps({"access_token": "abc"}).encode(), {}
    tokens = TokenProvider(settings(endpoint))
    assert [tokens.token(), tokens.token()] == ["abc", "abc"]
    assert len(endpoint.asked) == 2


def test_the_clients_of_a_process_share_their_tokens(endpoint: Endpoint) -> None:
    assert provider(settings(endpoint)) is provider(settings(endpoint))
    assert provider(settings(endpoint)) is not provider(settings(endpoint, "another"))


def test_an_endpoint_s_refusal_is_told_in_its_words(endpoint: Endpoint) -> None:
    error = refused(settings(endpoint, "wrong"))
    assert f"{endpoint.url} gave no token (status 401: invalid_client no\\x1b such client); check" in str(error)
    assert error.lasting


def test_credentials_are_not_carried_to_where_an_endpoint_points(endpoint: Endpoint) -> None:
    with serving() as elsewhere:
        endpoint.answer = 307, b"", {"Location": elsewhere.url}
        assert "(status 307)" in str(refused(settings(endpoint)))
        endpoint.answer = 302, b"", {"Location": elsewhere.url}
        assert "(status 302)" in str(refused(settings(endpoint)))
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html>", r"answers with no token \(RFC 6749, 5.1\)$"),
        (b"[]", "answers with no token"),
        (b'{"access_token": 5}', "answers with no token"),
        (b'{"access_token": "a\\u0001auth=b"}', "holds no token"),
        (b'{"access_token": ""}', "holds no token"),
        (b'{"access_token": "' + b"a" * 100_000 + b'"}', "more than 65536 bytes"),
        (b"[" * 50_000, "answers with no token"),
    ],
)
def test_an_answer_without_a_token_is_told_and_not_shown(endpoint: Endpoint, body: bytes, expected: str) -> None:
    endpoint.answer = 200, body, {}
    said = str(refused(settings(endpoint)))
    assert re.search(expected, said)
    assert len(said) < 300


def test_an_endpoint_that_is_not_there_may_come_back() -> None:
    with serving() as gone:
        oauth = settings(gone)
    error = refused(oauth)
    assert "Connection refused" in str(error)
    assert not error.lasting


def test_an_endpoint_s_certificate_has_to_be_issued_by_a_trusted_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with serving(authority.issue("idp", "IP:127.0.0.1")) as endpoint:
        error = refused(settings(endpoint))
        assert "has a certificate that is not accepted" in str(error)
        assert "oauth.cafile" in str(error)
        assert TokenProvider(settings(endpoint, cafile=str(authority.ca))).token()
        missing = refused(settings(endpoint, cafile=str(tmp_path / "missing")))
        assert "kafka.security.oauth.cafile: " in str(missing)


@pytest.mark.parametrize("life", ["3599", "3599.0", 3599, 3.599e3])
def test_a_life_may_be_given_as_text(endpoint: Endpoint, life: object) -> None:
    clock = Clock()
    given = {
        "access_token": "abc",
        "expires_in": life,
        "token_type": "bearer",
        "ext_expires_in": "3599",
        "not_before": [],
    }
    body = codecs.BOM_UTF8 + json.dumps(given).encode()
    endpoint.answer = 200, body, {"Content-Type": "application/json; charset=utf-8"}
    tokens = TokenProvider(settings(endpoint), clock)
    assert tokens.token() == "abc"
    clock.now += RENEW_AFTER * 3599 - 1
    assert tokens.token() == "abc"
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("life", [None, "nan", "inf", "-inf", -1, 0, "0", "null"])
def test_a_life_that_is_none_is_no_life(endpoint: Endpoint, life: object) -> None:
    endpoint.answer = 200, json.dumps({"access_token": "abc", "expires_in": life}).encode(), {}
    tokens = TokenProvider(settings(endpoint))
    assert [tokens.token(), tokens.token()] == ["abc", "abc"]
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"access_token": "abc", "expires_in": "hunter2"}, "expected a number of seconds in expires_in"),
        ({"access_token": "abc", "expires_in": {"hunter2": 1}}, "expected a number of seconds in expires_in"),
        ({"access_token": ["hunter2"]}, "expected text in access_token"),
        ({"token": "hunter2"}, "expected text in access_token"),
    ],
)
def test_a_field_that_does_not_fit_is_named_without_its_value(
    endpoint: Endpoint, body: dict[str, object], expected: str
) -> None:
    endpoint.answer = 200, json.dumps(body).encode(), {}
    said = str(refused(settings(endpoint)))
    assert said == f"{endpoint.url} answers with no token (RFC 6749, 5.1): {expected}"


# -- an endpoint that takes its time ----------------------------------------------------------------------------------


def trickling(head: bytes) -> Manner:
    """Sends a head at once and then a byte now and then, without end."""

    def trickle(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(1 << 16)
        connection.sendall(head)
        while not ended.wait(0.02):
            connection.sendall(b"x")

    return trickle


def slow(address: str, scheme: str = "http") -> OAuth:
    return OAuth(token_endpoint=f"{scheme}://{address}/t", client_id=CLIENT, client_secret=Secret(CLIENT_SECRET))


def asking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kafka-token"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 2", "no whole answer within 0.3 s"),
        (b"HTTP/1.1 200 OK\r\nX-", "no whole answer within 0.3 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", "no whole answer within 0.3 s"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no whole answer within 0.3 s"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 60000\r\n\r\n", r"\(status 503\)"),
        (b"HTTP/1.1 401 No\r\n\r\n", r"\(status 401\)"),
    ],
)
def test_an_endpoint_that_trickles_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, head: bytes, expected: str
) -> None:
    monkeypatch.setattr(kafka_tokens, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(kafka_tokens, "_PARTING_S", 20.0)  # the exchange ends by itself, however busy the machine is
    with pretending(trickling(head)) as address:
        error = refused(slow(address))
        assert re.search(f"gave no token.*{expected}", str(error))
        assert error.lasting == ("401" in expected)
        until("the end of the thread", lambda: not asking())


def test_a_handshake_that_is_not_answered_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_tokens, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(kafka_tokens, "_PARTING_S", 20.0)
    with pretending(trickling(b"\x16\x03\x03\x40\x00\x02")) as address:
        error = refused(slow(address, "https"))
        assert "gave no token: no whole answer within 0.3 s" in str(error)
        until("the end of the thread", lambda: not asking())


def test_who_asks_does_not_wait_for_a_thread_that_is_held_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a resolver that does not answer; it is not asked again meanwhile."""
    held, asked = threading.Event(), []
    monkeypatch.setattr(kafka_tokens, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(kafka_tokens, "_PARTING_S", 0.0)
    monkeypatch.setattr(
        kafka_tokens, "_ask", lambda *_: asked.append(1) or (held.wait(30.0) and b'{"access_token":"abc"}')
    )
    tokens = TokenProvider(slow("localhost:1"))
    try:
        for _ in range(3):
            with pytest.raises(TokenError, match="no whole answer") as raised:
                tokens.token()
            assert not raised.value.lasting
        assert asked == [1]
    finally:
        held.set()
    until("the end of the thread", lambda: not asking())
    assert tokens.token() == "abc"


def test_a_renewal_that_takes_long_keeps_nobody_from_the_token_that_lasts(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, held = Clock(), threading.Event()
    tokens = TokenProvider(settings(endpoint), clock)
    first = tokens.token()
    ask = kafka_tokens._ask
    monkeypatch.setattr(kafka_tokens, "RENEWAL_S", 0.0)
    monkeypatch.setattr(kafka_tokens, "_ask", lambda *given: held.wait(30.0) and ask(*given))
    clock.now += RENEW_AFTER * 3600 + 1
    assert [tokens.token(), tokens.token()] == [first, first]
    held.set()
    until("the renewal", lambda: not asking())
    assert tokens.token() != first
    assert len(endpoint.asked) == 2


# -- a file -----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = TokenProvider(OAuth(token_file=str(file)))
    file.write_text("first\n")
    assert tokens.token() == "first"
    file.write_text("second")
    assert tokens.token() == "second"


@pytest.mark.parametrize("held", [None, b"", b"two words", b"a\x01b", b"a\nb", "é".encode(), b"a" * 100_000])
def test_a_file_without_a_token_is_named(tmp_path: Path, held: bytes | None) -> None:
    file = tmp_path / "token"
    if held is not None:
        file.write_bytes(held)
    error = refused(OAuth(token_file=str(file)))
    assert str(file) in str(error)
    assert error.lasting


# -- a real broker, which believes every token ------------------------------------------------------------------------


def connection(server: KafkaServer, oauth: OAuth) -> KafkaConnection:
    security = KafkaSecurity(protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", oauth=oauth)
    return KafkaConnection(bootstrap_servers=server.sasl_bootstrap, security=security)


@pytest.mark.kafka
def test_a_broker_knows_who_a_token_is_for(
    kafka_server: KafkaServer, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"tokens-{uuid.uuid4().hex[:8]}"
    plain = KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_server.bootstrap))
    plain.create_topics({name: 1})
    grant(kafka_server, ("READ", "TOPIC", name), user=CLIENT)
    file = tmp_path / "token"
    file.write_text(unsecured_token(CLIENT))
    extended = OAuth(token_file=str(file), extensions=("logicalCluster=lkc-1",))
    with caplog.at_level(logging.DEBUG):
        for oauth in (settings(endpoint), OAuth(token_file=str(file)), extended):
            ours = KafkaAdministration(connection(kafka_server, oauth))
            until("the right", lambda ours=ours: ours.describe_topics([name])[name] is not None)
        file.write_text(unsecured_token("somebody-else"))
        assert ours.describe_topics([name])[name] is None  # who may not see it
    plain.delete_topics([name])
    assert len(endpoint.asked) == 1  # one for all clients
    assert len(caplog.records) > 50, "the client's debug log was not captured"
    for secret in (CLIENT_SECRET, file.read_text(), unsecured_token(CLIENT)[:30]):
        assert secret not in caplog.text


@pytest.mark.kafka
def test_no_token_and_one_that_the_broker_refuses_are_named(
    kafka_server: KafkaServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "expired").write_text(unsecured_token(CLIENT, lasts_s=-60.0))
    for oauth, expected in (
        (settings(endpoint, "wrong"), r"gave no token \(status 401: invalid_client"),
        (OAuth(token_file=str(tmp_path / "missing")), "token_file: .*missing cannot be read: No such file"),
        (OAuth(token_file=str(tmp_path / "expired")), r"authentication failed \(OAUTHBEARER\): .*; check oauth"),
    ):
        with pytest.raises(BrokerError, match=f"^no connection to Kafka at .*: .*{expected}") as raised:
            KafkaAdministration(connection(kafka_server, oauth)).describe_topics(["t"])
        assert CLIENT_SECRET not in str(raised.value)


@pytest.mark.kafka
def test_no_token_for_a_later_connection_is_an_error_like_the_first(
    kafka_server: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first connection finds the cluster's servers, the next asks one of them."""
    calls: list[int] = []

    def token(_: TokenProvider) -> str:
        calls.append(1)
        if len(calls) > 1:
            raise TokenError("no more tokens here", lasting=True)
        return unsecured_token(CLIENT)

    monkeypatch.setattr(TokenProvider, "token", token)
    with pytest.raises(BrokerError, match="no more tokens here"):
        KafkaAdministration(connection(kafka_server, OAuth(token_file=str(tmp_path / "t")))).describe_topics(["t"])
    assert len(calls) > 1


@pytest.mark.kafka
def test_a_connection_outlives_its_token(kafka_server: KafkaServer, endpoint: Endpoint) -> None:
    """The broker asks again before the token's end, and the client answers with a new one."""
    endpoint.lasts_s = 2.0
    ours = connection(kafka_server, settings(endpoint))
    consumer = connect(KafkaConsumer, ours, reader_kwargs(ours))
    try:
        consumer.topics()
        before = set(consumer._manager._conns.values())
        assert before
        until("four tokens", lambda: consumer.topics() is None or len(endpoint.asked) >= 4)
        assert [c for c in before if c.connected], "the broker closed what was authenticated again"
    finally:
        consumer.close()
