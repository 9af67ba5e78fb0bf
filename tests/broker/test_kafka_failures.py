"""Whatever keeps a client from its cluster is named, in one line, with what to do about it, and soon.

An error that begins with "no connection" has ended the first connecting; "no answer" has waited for its whole time.
"""

from __future__ import annotations

import errno
import gc
import logging
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kafka.errors as client_errors
import pytest

from streamrnn.broker import kafka_client, kafka_connect
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_failures import cause_of
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.security import KafkaSecurity, Secret
from streamrnn.errors import BrokerError, UndeliveredError
from tests.kafka.certificates import KEY_PASSWORD, Authority
from tests.kafka.server import SASL_PASSWORD, SASL_USER, SCRAM_PASSWORD, SCRAM_USER, KafkaServer
from tests.support.kafka_members import started, until
from tests.support.kafka_rights import grant, set_password
from tests.support.pretenders import (
    Manner,
    closing,
    metadata_answer,
    saying,
    serving,
    silent,
    speaking,
    versions_answer,
)

pytestmark = pytest.mark.timeout(60)

WRONG = "wrong-password-99"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Those sockets go while their warning is ignored."""
    yield
    gc.collect()


def refusal(address: str, security: KafkaSecurity, connect_timeout_s: float = 20.0) -> str:
    """What is said of a cluster that cannot be reached."""
    connection = KafkaConnection(bootstrap_servers=address, security=security, connect_timeout_s=connect_timeout_s)
    with pytest.raises(BrokerError) as raised:
        KafkaAdministration(connection).describe_topics(["t"])
    said = str(raised.value)
    assert len(said.splitlines()) == 1
    assert not [secret for secret in (WRONG, SASL_PASSWORD, SCRAM_PASSWORD, KEY_PASSWORD) if secret in said]
    return said


def password(
    mechanism: Any, user: str = SASL_USER, word: str = SASL_PASSWORD, protocol: Any = "SASL_PLAINTEXT", **more: Any
) -> KafkaSecurity:
    return KafkaSecurity(
        protocol=protocol, sasl_mechanism=mechanism, sasl_username=user, sasl_password=Secret(word), **more
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# -- a real broker ----------------------------------------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("user", ["known", "unknown"])
def test_a_wrong_password_and_an_unknown_user_are_named(kafka_server: KafkaServer, mechanism: str, user: str) -> None:
    known = SASL_USER if mechanism == "PLAIN" else SCRAM_USER
    security = password(mechanism, known if user == "known" else "nobody-knows", WRONG)
    said = refusal(kafka_server.sasl_bootstrap, security)
    assert said.startswith(
        f"no connection to Kafka at {kafka_server.sasl_bootstrap}: authentication failed ({mechanism})"
    )
    assert said.endswith("check sasl_username and sasl_password")


@pytest.mark.kafka
def test_the_mechanisms_that_a_broker_offers_are_named(kafka_server: KafkaServer) -> None:
    security = password("SCRAM-SHA-512", protocol="SASL_SSL", ssl_cafile=str(kafka_server.authority.ca))
    said = refusal(kafka_server.sasl_tls_bootstrap, security)
    assert "does not offer sasl_mechanism SCRAM-SHA-512; it offers PLAIN" in said


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("listener", "protocol", "expected"),
    [
        (
            "plain",
            "SASL_PLAINTEXT",
            "does not ask who is there, and protocol is SASL_PLAINTEXT;.* protocol PLAINTEXT$",
        ),
        ("tls", "SASL_SSL", "does not ask who is there, and protocol is SASL_SSL; .* protocol SSL$"),
        ("sasl", "PLAINTEXT", "closed at the first request, as listeners do that ask for a password"),
        ("sasl_tls", "SSL", "closed at the first request, as listeners do that ask for a password"),
        ("plain", "SSL", "does not speak TLS, and protocol is SSL; .* protocol PLAINTEXT$"),
        ("sasl", "SASL_SSL", "does not speak TLS, and protocol is SASL_SSL; .* protocol SASL_PLAINTEXT$"),
        ("tls", "PLAINTEXT", "speaks TLS, and protocol is PLAINTEXT; .* protocol SSL$"),
        ("sasl_tls", "SASL_PLAINTEXT", "speaks TLS, and protocol is SASL_PLAINTEXT; .* protocol SASL_SSL$"),
    ],
)
def test_a_listener_for_another_protocol_is_named(
    kafka_server: KafkaServer, listener: str, protocol: Any, expected: str
) -> None:
    address = getattr(kafka_server, f"{listener}_bootstrap") if listener != "plain" else kafka_server.bootstrap
    trust = {"ssl_cafile": str(kafka_server.authority.ca)} if protocol.endswith("SSL") else {}
    sasl = protocol.startswith("SASL")
    security = password("PLAIN", protocol=protocol, **trust) if sasl else KafkaSecurity(protocol=protocol, **trust)
    assert re.search(f"^no connection to Kafka at {address}: .*{expected}", refusal(address, security))


@pytest.mark.kafka
def test_a_client_certificate_that_is_missing_or_refused_is_named(
    kafka_server: KafkaServer, authority: Authority
) -> None:
    ca = str(kafka_server.authority.ca)
    said = refusal(kafka_server.mutual_bootstrap, KafkaSecurity(protocol="SSL", ssl_cafile=ca))
    assert "no connection" in said
    assert "asks for a client certificate" in said
    assert "give ssl_certfile and ssl_keyfile" in said
    foreign = KafkaSecurity(protocol="SSL", ssl_cafile=ca, ssl_certfile=str(authority.issue("foreign")))
    said = refusal(kafka_server.mutual_bootstrap, foreign)
    assert "no connection" in said
    assert "does not accept the client certificate in ssl_certfile" in said
    known = KafkaSecurity(
        protocol="SSL",
        ssl_cafile=ca,
        ssl_certfile=str(kafka_server.authority.issue("known", encrypted=True)),
        ssl_key_password=Secret(KEY_PASSWORD),
    )
    connection = KafkaConnection(bootstrap_servers=kafka_server.mutual_bootstrap, security=known)
    assert KafkaAdministration(connection).describe_topics(["t"]) == {"t": None}


@pytest.mark.kafka
def test_one_server_that_answers_is_enough(kafka_server: KafkaServer) -> None:
    connection = KafkaConnection(bootstrap_servers=[kafka_server.sasl_bootstrap, kafka_server.bootstrap])
    assert KafkaAdministration(connection).describe_topics(["t"]) == {"t": None}


@pytest.mark.kafka
def test_a_password_that_is_changed_while_a_worker_runs_is_named_and_ends_it(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"rotated-{uuid.uuid4().hex[:8]}"
    plain = KafkaConnection(bootstrap_servers=kafka_server.bootstrap)
    KafkaAdministration(plain).create_topics({name: 1})
    grant(kafka_server, ("READ", "TOPIC", name), ("WRITE", "TOPIC", name), ("READ", "GROUP", name), user=name)
    set_password(kafka_server, name, "first-word")
    connection = KafkaConnection(
        bootstrap_servers=kafka_server.sasl_bootstrap, security=password("SCRAM-SHA-256", name, "first-word")
    )
    monkeypatch.setattr(kafka_client, "GIVE_UP_S", 0.5)
    broker = KafkaBroker(connection, KafkaGroup(group_id=name, instance_id="i"))
    try:
        until("a first connection", lambda: _started(broker, name))
        broker.send(name, b"k", b"v")
        broker.flush(10.0)
        set_password(kafka_server, name, "second-word")
        with caplog.at_level(logging.WARNING):
            for client in (broker._producer, broker._consumer):
                _cut(client)
            broker.send(name, b"k", b"v")
            with pytest.raises(UndeliveredError, match=r"first reason: authentication failed \(SCRAM"):
                broker.flush(1.0)
            with pytest.raises(BrokerError, match=r"no connection to Kafka .* for [0-9]+ s: authentication failed"):
                until("the end", lambda: broker.poll(0.1, 10) and False)
    finally:
        broker.close(5.0)
        KafkaAdministration(plain).delete_topics([name])
    assert broker.connectivity().failures["connect"] > 1
    assert not caplog.messages, "the outage's own lines tell it, see daemon/outage.py"


def _started(broker: KafkaBroker, name: str) -> bool:
    try:
        return bool(started(broker, name))
    except BrokerError as error:  # a new user is known to the broker a moment later
        assert "authentication failed" in str(error)
        return False


def _cut(client: Any) -> None:
    """End all connections, as when the broker is started again."""
    manager = kafka_connect._MANAGERS[client]

    async def close() -> None:
        for connection in list(manager._conns.values()):
            connection.close(client_errors.KafkaConnectionError("cut"))

    closed = manager.call_soon(close)
    until("the end of all connections", lambda: closed.is_done or time.sleep(0.01))


# -- no broker --------------------------------------------------------------------------------------------------------

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("manner", "expected"),
    [
        (saying(HTTP), r"^no connection .* is no Kafka broker \(it began with b'HTTP'\); check the port"),
        (saying(b"SSH-2.0-OpenSSH_9.2p1\r\n"), r"^no connection .* is no Kafka broker \(it began with b'SSH-'\)"),
        (closing, "^no answer .* within 1 s: the connection was (closed without an answer|cut)"),
        (silent, "^no answer .* within 1 s: nothing was answered; a firewall may drop what is sent"),
    ],
)
def test_what_is_no_broker_is_named(manner: Manner, expected: str) -> None:
    with serving(manner) as address:
        timeout_s = 1.0 if expected.startswith("^no answer") else 20.0
        assert re.search(expected, refusal(address, KafkaSecurity(), timeout_s))


@pytest.mark.parametrize(
    "manner",
    [
        speaking(api_versions=versions_answer(0)),  # version 0 of the answer, whatever was asked
        speaking(api_versions=b""),
        speaking(api_versions=b"\0\0" + b"\xff" * 40),
        speaking(metadata=b"\x7f\xff\xff\xff" * 4),
        speaking(metadata=metadata_answer(b"\xff\xfe", 1)),
    ],
    ids=["version 0", "empty", "lengths", "counts", "no text"],
)
def test_an_answer_that_cannot_be_decoded_is_told_at_once_and_in_one_line(
    manner: Manner, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(manner) as address, caplog.at_level(logging.WARNING):
        said = refusal(address, KafkaSecurity())
    assert said == (
        f"no connection to Kafka at {address}: what listens there is no Kafka broker, or speaks another version; "
        "check the port"
    )
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("host", "shown"),
    [(b"kafka-7.invalid", "kafka-7.invalid"), (b"x\x1b[31m\nERROR .invalid", r"x\x1b[31m\nERROR .")],
)
def test_an_address_that_only_the_cluster_gives_is_named_with_its_setting(
    host: bytes, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(speaking(metadata=metadata_answer(host, 9092))) as address, caplog.at_level(logging.WARNING):
        said = refusal(address, KafkaSecurity(), 2.0)
    expected = f"{re.escape(shown)}.*:9092: the name is not known to the resolver.*the brokers' advertised.listeners"
    assert re.search(expected, said)
    assert said.isprintable()
    warned = [r.getMessage() for r in caplog.records if r.name == "streamrnn.broker.kafka_connections"]
    assert warned
    assert all(re.search(f"^no connection to Kafka at {expected}", line) and line.isprintable() for line in warned)


def test_a_handshake_that_is_not_answered_has_an_end(authority: Authority) -> None:
    with serving(silent) as address:
        said = refusal(address, KafkaSecurity(protocol="SSL", ssl_cafile=str(authority.ca)), 1.0)
    assert f"no answer from Kafka at {address} within 1 s: nothing was answered" in said


def test_a_name_that_nobody_knows_is_named() -> None:
    said = refusal("kafka.invalid:9092", KafkaSecurity(), 1.0)
    assert "no answer from Kafka at kafka.invalid:9092 within 1 s: the name is not known to the resolver" in said


def test_where_nothing_listens_it_is_named_for_each_server() -> None:
    with serving(silent) as address:
        closed = address
    with serving(saying(HTTP)) as http:
        said = refusal(f"{closed},{http}", KafkaSecurity(), 2.0)
    assert f"{closed}: nothing listens there (connection refused)" in said
    assert f"{http}: what listens there is no Kafka broker" in said


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("foreign", "not issued by an authority in ssl_cafile, which is .*ca.pem"),
        ("expired", "the broker's certificate has expired"),
        ("name", "certificate is for another host .*'127.0.0.1'"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_named(
    authority: Authority, tmp_path: Path, kind: str, expected: str
) -> None:
    issuer = Authority(tmp_path) if kind == "foreign" else authority
    host = "DNS:kafka.example" if kind == "name" else "IP:127.0.0.1"
    with serving(silent, issuer.issue(kind, host, days=-1 if kind == "expired" else 1)) as address:
        said = refusal(address, KafkaSecurity(protocol="SSL", ssl_cafile=str(authority.ca)))
    assert re.search(f"^no connection to Kafka at {address}: .*{expected}", said)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"ssl_cafile": "missing.pem"}, "ssl_cafile: .*missing.pem cannot be read: No such file"),
        ({"ssl_cafile": "text"}, "ssl_cafile: .*text holds no certificate in PEM"),
        ({"ssl_certfile": "missing.pem"}, "ssl_certfile: .*missing.pem cannot be read: No such file"),
        ({"ssl_certfile": "ca.pem"}, "ssl_certfile: .*ca.pem holds no key in PEM"),
        ({"ssl_certfile": "text"}, "ssl_certfile: .*text holds no certificate in PEM"),
        ({"ssl_certfile": "a.pem", "ssl_keyfile": "b.pem"}, "ssl_keyfile: .*b.pem is not the key of .* ssl_certfile"),
        ({"ssl_certfile": "closed.pem"}, "ssl_certfile: .*closed.pem holds an encrypted key; give its passphrase"),
        (
            {"ssl_certfile": "closed.pem", "ssl_key_password": Secret(WRONG)},
            "ssl_certfile: .*closed.pem holds a key that ssl_key_password does not open",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named_before_anything_is_connected(
    authority: Authority, files: dict[str, Any], expected: str
) -> None:
    directory = authority.ca.parent
    for name in ("a", "b"):
        authority.issue(name)
    authority.issue("closed", encrypted=True)
    (directory / "text").write_text("no PEM at all\n")
    named = {name: value if isinstance(value, Secret) else str(directory / value) for name, value in files.items()}
    said = refusal("127.0.0.1:1", KafkaSecurity(protocol="SSL", **named))
    assert re.search(f"^kafka.security.{expected}", said)


# -- words ------------------------------------------------------------------------------------------------------------


def test_what_a_broker_says_is_cut_short_and_shown_without_control_characters() -> None:
    error = client_errors.SaslAuthenticationFailedError("\x1b[2Jno\nsuch user" + "!" * 5_000)
    said = cause_of(error, password("PLAIN")).text
    assert said.isprintable()
    assert len(said) < 500


def test_what_is_unknown_is_told_as_it_is() -> None:
    assert cause_of(RuntimeError("something else"), KafkaSecurity()) == ("something else", 0, False)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (OSError(errno.ECONNREFUSED, "refused"), True),
        (client_errors.KafkaConnectionError("unable to connect: 111 ECONNREFUSED"), True),
        (OSError(errno.ECONNRESET, "reset"), False),
        (client_errors.KafkaConnectionError("socket disconnected"), False),
        (client_errors.SaslAuthenticationFailedError("no such user"), False),
    ],
)
def test_only_a_server_that_nothing_listens_for_is_away_for_sure(error: Exception, away: bool) -> None:
    assert cause_of(error, password("PLAIN")).away is away
