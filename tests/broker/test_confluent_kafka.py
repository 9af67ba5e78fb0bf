"""confluent-kafka on a real Kafka, beyond the contract: who may connect, and what it would do otherwise by itself."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions, NewTopic

from streamrnn.broker import kafka_client
from streamrnn.broker.confluent_client import ConfluentBroker
from streamrnn.broker.confluent_sender import ConfluentSender
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup, Limits
from streamrnn.broker.protocol import Commit, Polled, Revoked, TopicPartition
from streamrnn.broker.security import KafkaSecurity, OAuth, Secret
from streamrnn.errors import BrokerError, RebalanceError, RefusedError, UndeliveredError
from tests.kafka.certificates import KEY_PASSWORD
from tests.kafka.server import OPERATOR, SASL_PASSWORD, SCRAM_PASSWORD, SCRAM_USER, KafkaServer
from tests.support.kafka_clients import broker_of
from tests.support.kafka_members import Following, follow, membership_of, started, until
from tests.support.kafka_rights import grant
from tests.support.token_endpoint import CLIENT, CLIENT_SECRET, serving, unsecured_token

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

Member = Callable[..., ConfluentBroker]
CONFLUENT = pytest.mark.parametrize("client", ["confluent"], indirect=True)


# -- who may connect --------------------------------------------------------------------------------------------------


@pytest.fixture
def read_and_written(kafka_server: KafkaServer) -> Iterator[Callable[[KafkaConnection, str], None]]:
    """A record is sent, read and committed by a worker of that user."""
    names = [f"secured-{uuid.uuid4().hex[:8]}"]
    plain = KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_server.bootstrap))
    plain.create_topics({names[0]: 1})

    def run(connection: KafkaConnection, user: str = "") -> None:
        if user:
            rights = (("READ", "TOPIC", names[0]), ("WRITE", "TOPIC", names[0]), ("READ", "GROUP", names[0]))
            grant(kafka_server, *rights, user=user)
        broker = ConfluentBroker(connection, KafkaGroup(group_id=names[0], instance_id="one"))
        try:
            (tp,) = started(broker, names[0])  # type: ignore[arg-type]
            broker.send(names[0], b"k", b"v")
            broker.flush(10.0)
            until("the record", lambda: broker.poll(0.2, 10).records.get(tp))
            broker.commit({tp: Commit(1, "one")}, membership_of(broker), 10.0)  # type: ignore[arg-type]
            assert broker.committed(tp) == Commit(1, "one")
        finally:
            broker.close(5.0)

    yield run
    plain.delete_topics(names)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_passwords_are_taken_on_kafka(kafka_server: KafkaServer, read_and_written: Any, mechanism: Any) -> None:
    scram = mechanism != "PLAIN"
    user, word = (SCRAM_USER, SCRAM_PASSWORD) if scram else (OPERATOR, SASL_PASSWORD)
    security = KafkaSecurity(
        protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_username=user, sasl_password=Secret(word)
    )
    connection = KafkaConnection(bootstrap_servers=kafka_server.sasl_bootstrap, security=security)
    read_and_written(connection, user if scram else "")


@pytest.mark.parametrize("encrypted", [False, True], ids=["bare-key", "encrypted-key"])
def test_certificates_are_taken_on_kafka(kafka_server: KafkaServer, read_and_written: Any, encrypted: bool) -> None:
    name = f"CN=worker{'-e' if encrypted else ''}"
    pem = str(kafka_server.authority.issue(name.removeprefix("CN="), encrypted=encrypted))
    secret = Secret(KEY_PASSWORD) if encrypted else None
    security = KafkaSecurity(
        protocol="SSL", ssl_cafile=str(kafka_server.authority.ca), ssl_certfile=pem, ssl_key_password=secret
    )
    connection = KafkaConnection(bootstrap_servers=kafka_server.mutual_bootstrap, security=security)
    read_and_written(connection, name)


def test_a_password_travels_encrypted_on_kafka(kafka_server: KafkaServer, read_and_written: Any) -> None:
    security = KafkaSecurity(
        protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username=OPERATOR, sasl_password=Secret(SASL_PASSWORD),
        ssl_cafile=str(kafka_server.authority.ca),
    )  # fmt: skip
    read_and_written(KafkaConnection(bootstrap_servers=kafka_server.sasl_tls_bootstrap, security=security))


@pytest.mark.parametrize("source", ["endpoint", "file"])
def test_tokens_are_taken_on_kafka(
    kafka_server: KafkaServer, read_and_written: Any, tmp_path: Path, source: str
) -> None:
    file = tmp_path / "token"
    file.write_text(unsecured_token(CLIENT))
    with serving() as endpoint:
        oauth = OAuth(token_file=str(file), extensions=("logicalCluster=lkc-1",))
        if source == "endpoint":
            oauth = OAuth(token_endpoint=endpoint.url, client_id=CLIENT, client_secret=Secret(CLIENT_SECRET))
        security = KafkaSecurity(protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", oauth=oauth)
        read_and_written(KafkaConnection(bootstrap_servers=kafka_server.sasl_bootstrap, security=security), CLIENT)


# -- in its group -----------------------------------------------------------------------------------------------------


@CONFLUENT
def test_on_kafka_what_is_given_up_is_nobody_s_and_may_be_committed_until_the_next_poll(
    member: Member, topic: str
) -> None:
    first = member("one")
    owned, seen = set(started(first, topic)), list[Any]()  # type: ignore[arg-type]
    second = Following(member("two"))  # type: ignore[arg-type]
    second.broker.subscribe(topic)
    second.start()
    try:
        until("what is given up", lambda: follow(first, owned, seen) or seen)  # type: ignore[arg-type]
        (revoked,) = seen
        assert isinstance(revoked, Revoked)
        polled_under = first._membership
        time.sleep(1.0)
        assert second.owned == set()
        first.commit({tp: Commit(5, "done") for tp in revoked.partitions}, polled_under, 5.0)
        until("its new owner", lambda: follow(first, owned, seen) or second.owned)  # type: ignore[arg-type]
        assert second.owned == set(revoked.partitions)
        assert first.committed(revoked.partitions[0]) == Commit(5, "done")
    finally:
        second.stop()


@CONFLUENT
def test_on_kafka_what_is_asked_while_a_commit_is_not_answered_is_done_once_it_is(member: Member, topic: str) -> None:
    broker, found = member("one"), list[bytes | None]()
    tp, other = started(broker, topic)  # type: ignore[arg-type]

    def read(count: int) -> bool:
        found.extend(record.value for record in broker.poll(0.2, 10).records.get(tp, ()))
        return len(found) == count

    for value in (b"0", b"1", b"2", b"3"):
        broker.send(topic, b"k", value, partition=tp.partition)
    broker.flush(10.0)
    until("the records", lambda: read(4))
    answer, under = threading.Event(), broker._membership
    with pytest.raises(TimeoutError):
        broker._calls.run(answer.wait, 0.01)
    broker.pause([tp, other])
    broker.seek(tp, 2)
    broker.resume([tp])
    assert (broker.position(tp), broker.lag(tp)) == (2, None)
    with pytest.raises(RebalanceError, match="is not assigned"):
        broker.seek(TopicPartition(topic, 7), 0)
    assert broker.poll(0.05, 10) == Polled({}, under, stable=False)
    with pytest.raises(BrokerError, match="an earlier one has not been answered yet"):
        broker.commit({tp: Commit(2)}, under, 0.1)
    broker.send(topic, b"k", b"paused", partition=other.partition)
    broker.flush(10.0)
    answer.set()
    until("the records again", lambda: read(6))
    assert found[4:] == [b"2", b"3"]
    time.sleep(1.0)
    assert broker.poll(1.0, 10).records == {}, "the other one is paused"
    broker.commit({tp: Commit(4, "done")}, membership_of(broker), 5.0)  # type: ignore[arg-type]
    assert broker.committed(tp) == Commit(4, "done")


@CONFLUENT
def test_on_kafka_a_member_that_starts_again_gets_partitions_that_were_added_meanwhile(
    member: Member, topic: str, kafka_bootstrap: str
) -> None:
    first = member("one")
    assert len(started(first, topic)) == 2  # type: ignore[arg-type]
    first.close(5.0)
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_partitions({topic: NewPartitions(3)})
    admin.close()
    again = member("one")
    again.subscribe(topic)
    owned = set[TopicPartition]()
    until("all three", lambda: follow(again, owned, []) or len(owned) == 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), [("kafka-python", "confluent"), ("confluent", "kafka-python")])
def test_on_kafka_one_client_takes_over_from_the_other(
    connection: KafkaConnection, topic: str, before: str, after: str
) -> None:
    group = KafkaGroup(group_id=f"g-{uuid.uuid4().hex[:8]}", instance_id="one", session_timeout_s=6.0)
    text = '{"lineage":"ä","ordinal":12345}'  # beyond what either would read if it did not look where it ends
    for client in (before, after):
        broker: Any = broker_of(client, connection, group)
        tp, _ = started(broker, topic)
        if client == after:
            assert broker.committed(tp) == Commit(3, text)
        stable = until("rest", lambda broker=broker: (polled := broker.poll(0.05, 10)).stable and polled)
        broker.commit({tp: Commit(3, text)}, stable.membership, 5.0)
        broker.close(5.0)
    assert KafkaAdministration(connection).commits(group.group_id) == {TopicPartition(topic, 0): Commit(3, text)}


@CONFLUENT
def test_on_kafka_a_cluster_that_refuses_for_long_ends_the_worker(
    member: Member, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = member("one")
    started(broker, topic)  # type: ignore[arg-type]
    monkeypatch.setattr(kafka_client, "GIVE_UP_S", 9.0)
    monkeypatch.setattr(broker._standing, "locked_out_s", lambda: 10.0)
    with pytest.raises(BrokerError, match=r"no connection to Kafka at .* for 10 s"):
        broker.poll(0.1, 10)


# -- records ----------------------------------------------------------------------------------------------------------


def test_on_kafka_a_record_that_is_too_long_is_refused_and_those_beside_it_are_read(
    connection: KafkaConnection, topic: str
) -> None:
    limits = Limits(max_record_bytes=1000)
    place = KafkaGroup(group_id=f"g-{uuid.uuid4().hex[:8]}", instance_id="one", limits=limits)
    broker = ConfluentBroker(connection, place)
    for value in (b"before", b"x" * 5000, b"behind"):
        broker.send(topic, b"k", value, timestamp_ms=5, partition=0)
    broker.flush(10.0)
    tp, _ = started(broker, topic)  # type: ignore[arg-type]
    found: list[Any] = []
    until("three", lambda: found.extend(broker.poll(0.2, 10).records.get(tp, [])) or len(found) == 3)
    assert [(record.key, record.value) for record in found] == [(b"k", b"before"), (b"k", None), (b"k", b"behind")]
    refused = found[1].refused
    assert (refused.reason, refused.key_bytes, refused.value_bytes) == ("too_large", 1, 5000)
    broker.close(5.0)


def test_on_kafka_the_first_moment_of_1970_is_refused_and_what_lies_before_it_arrives(
    connection: KafkaConnection, topic: str
) -> None:
    sender = ConfluentSender(connection)
    with pytest.raises(RefusedError, match="first moment of 1970") as raised:
        sender._hand_over(topic, [b"k"] * 3, [b"a", b"b", b"c"], [1, 0, 2], 0)
    assert (raised.value.place, raised.value.reason, raised.value.timestamps) == (
        1,
        "bad_timestamp",
        (1, (1 << 63) - 1),
    )
    sender.flush(10.0)
    sender.close(5.0)
    tp = TopicPartition(topic, 0)
    found = KafkaAdministration(connection).read({tp: 0}, 10, 5.0)[tp]
    assert [record.value for record in found] == [b"a"]


def test_on_kafka_batches_that_are_too_large_for_their_topic_become_smaller_until_they_are_taken(
    kafka_bootstrap: str, connection: KafkaConnection
) -> None:
    name = f"small-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics([NewTopic(name, 1, 1, topic_configs={"max.message.bytes": "5000"})])
    admin.wait_for_topics([name], timeout_ms=10_000)
    sender = ConfluentSender(connection)

    def sent() -> bool:
        for i in range(200):
            sender.send(name, b"k", b"%0500d" % i, partition=0)
        try:
            sender.flush(10.0)
        except UndeliveredError as undelivered:
            assert set(map(str, undelivered.refused.values())) == {"Broker: Message size too large"}
            return False
        return True

    assert [sent() for _ in range(5)] == [False, False, False, True, True]
    sender.close(5.0)
    admin.delete_topics([name])
    admin.close()
