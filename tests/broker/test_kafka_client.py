"""What only a real Kafka shows: groups, transactions, fencing, passwords, rights, and a broker that is not there."""

from __future__ import annotations

import dataclasses
import gc
import logging
import re
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import streamrnn.broker.kafka_sender
from streamrnn.broker.columns import Outputs
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_compression import PACKAGES
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import (
    Assigned,
    Commit,
    Lost,
    Membership,
    NothingAssigned,
    Output,
    Record,
    Revoked,
    TopicPartition,
    check_topics,
)
from streamrnn.broker.rights import command
from streamrnn.broker.security import KafkaSecurity, Secret
from streamrnn.errors import BrokerError, FencedError, RebalanceError, UndeliveredError
from tests.kafka.server import OPERATOR, SASL_PASSWORD, SASL_USER, KafkaServer
from tests.support.kafka_clients import WITH_BOTH
from tests.support.kafka_members import DEADLINE_S, Following, follow, membership_of, started, until

pytestmark = pytest.mark.kafka


@pytest.mark.slow
@WITH_BOTH
def test_partitions_move_to_a_second_member_and_back_when_it_dies(
    member: Callable[..., KafkaBroker], topic: str
) -> None:
    first, second = member("worker-0"), Following(member("worker-1", session_timeout_s=2.0))
    owned: set[TopicPartition] = set()
    seen: list[Any] = []
    first.subscribe(topic)
    until("assignment", lambda: follow(first, owned, seen) or len(owned) == 2)
    both = set(owned)
    assert seen == [Assigned(tuple(sorted(both)))]

    second.broker.subscribe(topic)
    second.start()
    try:
        until("sharing", lambda: follow(first, owned, seen) or len(owned) == len(second.owned) == 1)
        (moved,) = second.owned
        assert seen[1:] == [Revoked((moved,))]  # the other partition never stopped
        assert second.seen == [Assigned((moved,))]
        assert owned == both - {moved}
        with pytest.raises(BrokerError, match="not assigned"):
            first.pause([moved])

        def committed() -> bool:
            try:
                first.commit({tp: Commit(0) for tp in owned}, membership_of(first), 5.0)
            except RebalanceError:  # the group may still be settling: poll and try again, as a loop does
                follow(first, owned, seen)
                return False
            return True

        until("commit", committed)
    finally:
        second.stop()
    until("return", lambda: follow(first, owned, seen) or len(owned) == 2)
    assert seen[2:] == [Assigned((moved,))]


@pytest.mark.parametrize("timeout_s", [0.0, 0.001, 0.01, 0.05])
def test_the_assignment_arrives_however_short_the_polls_are(
    member: Callable[..., KafkaBroker], topic: str, timeout_s: float
) -> None:
    broker = member()
    broker.subscribe(topic)
    deadline = time.monotonic() + DEADLINE_S
    events: list[Any] = []
    while not events and time.monotonic() < deadline:
        broker.poll(timeout_s, 10)
        events = broker.events()
    assert events == [Assigned((TopicPartition(topic, 0), TopicPartition(topic, 1)))]


@pytest.mark.slow
@WITH_BOTH
def test_a_member_that_gets_no_partition_is_told_so(member: Callable[..., KafkaBroker], topic: str) -> None:
    places = [Following(member(f"worker-{i}")) for i in range(3)]
    for place in places[:2]:
        place.broker.subscribe(topic)
        place.start()
    idle = places[2].broker
    try:
        until("both to have one", lambda: time.sleep(0.05) or all(len(p.owned) == 1 for p in places[:2]))
        idle.subscribe(topic)
        events: list[Any] = []
        until("an answer", lambda: idle.poll(0.05, 10).records or events.extend(idle.events()) or events)
        assert events == [NothingAssigned()]
    finally:
        for place in places[:2]:
            place.stop()


def test_a_join_that_outlasts_the_poll_that_began_it_is_not_forgotten(
    member: Callable[..., KafkaBroker], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = member()
    tp, _ = started(broker, topic)
    coordinator = broker._consumer._coordinator
    join = coordinator._do_join_and_sync_async

    async def slow_join() -> Any:
        joined = await join()
        await coordinator._net.sleep(0.2)
        return joined

    monkeypatch.setattr(coordinator, "_do_join_and_sync_async", slow_join)
    coordinator._assignment_snapshot = {}  # as when the topic's number of partitions changed
    broker.poll(0.02, 10)
    broker.send(topic, b"k", b"v", partition=0)
    broker.flush(5.0)
    until("record during the join", lambda: broker.poll(0.02, 10).records.get(tp))
    until("the join's end", lambda: broker.poll(0.02, 10).stable)
    broker.commit({tp: Commit(1)}, membership_of(broker), 5.0)


@pytest.mark.slow
def test_a_member_whose_session_expired_cannot_commit_and_is_told_what_it_lost(
    member: Callable[..., KafkaBroker], topic: str
) -> None:
    broker = member(session_timeout_s=1.5)
    tps = started(broker, topic)
    polled_under = membership_of(broker)
    # As when the process is stopped and continued: no heartbeats, and the broker forgets the member.
    broker._consumer._coordinator._disable_heartbeat()
    time.sleep(3.0)
    with pytest.raises(RebalanceError, match="the group changed"):
        broker.commit({tps[0]: Commit(1)}, polled_under, 5.0)
    assert broker.committed(tps[0]) is None
    owned = set(tps)
    seen: list[Any] = []
    until("new assignment", lambda: follow(broker, owned, seen) or len(seen) == 2)
    assert seen == [Lost(tuple(tps)), Assigned(tuple(tps))]
    with pytest.raises(RebalanceError, match="the group changed"):  # work of the former life is not committed
        broker.commit({tps[0]: Commit(1)}, polled_under, 5.0)
    assert broker.committed(tps[0]) is None
    broker.commit({tps[0]: Commit(1)}, membership_of(broker), 5.0)
    assert broker.committed(tps[0]) == Commit(1)


def test_work_that_was_arrived_at_outside_the_group_is_not_committed(
    member: Callable[..., KafkaBroker], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = member()
    tp, _ = started(broker, topic)
    with pytest.raises(RebalanceError, match="outside the group"):
        broker.commit({tp: Commit(1)}, None, 5.0)
    unknown = broker._consumer.group_metadata()._replace(generation_id=-1)
    with monkeypatch.context() as patched:
        patched.setattr(broker._consumer, "group_metadata", lambda: unknown)
        with pytest.raises(RebalanceError, match="outside the group"):  # although it is the same as when it was polled
            broker.commit({tp: Commit(1)}, Membership(-1, unknown.member_id), 5.0)
    assert broker.committed(tp) is None
    broker.commit({tp: Commit(1)}, membership_of(broker), 5.0)
    assert broker.committed(tp) == Commit(1)


def test_records_polled_while_the_group_is_not_stable_are_put_back(
    member: Callable[..., KafkaBroker], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = member()
    tp, _ = started(broker, topic)
    for i in range(5):
        broker.send(topic, b"k", str(i).encode(), partition=0)
    broker.flush(5.0)
    stable = broker._consumer.group_metadata
    unknown = stable()._replace(generation_id=-1)
    with monkeypatch.context() as patched:
        patched.setattr(broker._consumer, "group_metadata", lambda: unknown)
        for _ in range(5):
            assert broker.poll(0.2, 2).records == {}
    assert broker.position(tp) == 0
    records: list[Record] = []
    until("records", lambda: records.extend(broker.poll(0.2, 2).records.get(tp, [])) or len(records) == 5)
    assert [r.offset for r in records] == [0, 1, 2, 3, 4]


@WITH_BOTH
def test_a_second_process_with_the_same_instance_id_fences_the_first(
    member: Callable[..., KafkaBroker], topic: str
) -> None:
    first, second = member("same"), member("same")
    tps = started(first, topic)
    polled_under = membership_of(first)
    assert started(second, topic) == tps
    with pytest.raises(FencedError, match=r"'same'.*must stop"):
        first.commit({tps[0]: Commit(1)}, polled_under, 5.0)
    second.commit({tps[0]: Commit(2)}, membership_of(second), 5.0)
    assert second.committed(tps[0]) == Commit(2)


@WITH_BOTH
def test_aborted_records_are_hidden_and_the_position_passes_the_markers(
    member: Callable[..., KafkaBroker], topic: str, kafka_bootstrap: str
) -> None:
    from kafka import KafkaProducer

    broker = member()
    tp, _ = started(broker, topic)
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=uuid.uuid4().hex)
    try:
        producer.init_transactions()
        for word, commit in ((b"aborted", False), (b"committed", True), (b"aborted too", False)):
            producer.begin_transaction()
            for sent in [producer.send(topic, value=word, partition=0) for _ in range(3)]:
                sent.get(5)  # an abort would drop what is not in the log yet
            producer.commit_transaction() if commit else producer.abort_transaction()
        producer.begin_transaction()
        producer.send(topic, value=b"open", partition=0).get(5)
        assert broker.log_end(tp) == 12  # three records and a marker each; the open one is not stable
        records: list[Record] = []
        until("position", lambda: records.extend(broker.poll(0.1, 2).records.get(tp, [])) or broker.position(tp) == 12)
        assert [(r.offset, r.value) for r in records] == [(o, b"committed") for o in (4, 5, 6)]
        assert broker.poll(0.3, 10).records == {}
        producer.commit_transaction()
        until("open record", lambda: records.extend(broker.poll(0.1, 10).records.get(tp, [])) or len(records) == 4)
        until("end", lambda: broker.poll(0.1, 10).records or broker.position(tp) == 14)
        assert broker.lag(tp) == 0
    finally:
        producer.close(5)


# The client leaves the sockets of refused connections to the garbage collector, and its log records hold on to them.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.timeout(DEADLINE_S)
def test_a_cluster_that_is_not_there_gives_a_prompt_error_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="kafka")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        connection = KafkaConnection(bootstrap_servers=address, connect_timeout_s=0.5)
        group = KafkaGroup(group_id="g", instance_id="i")
        calls: list[Callable[[KafkaBroker], Any]] = [
            lambda broker: broker.partitions("t"),
            lambda broker: broker.committed(TopicPartition("t", 0)),
            lambda broker: broker.send("t", b"k", b"v"),
        ]
        for call in calls:
            broker = KafkaBroker(connection, group)
            expected = rf"no answer from Kafka at {address} within 0\.5 s.*check bootstrap_servers"
            with pytest.raises(BrokerError, match=expected):
                call(broker)
            broker.close(1.0)
        gc.collect()


@pytest.mark.timeout(DEADLINE_S)
def test_a_flush_that_gets_no_answer_counts_its_records_and_starts_afresh(
    connection: KafkaConnection, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = KafkaSender(connection)
    try:
        broker.send(topic, b"k", b"arrives", partition=0)
        broker.flush(5.0)
        monkeypatch.setattr(broker._producer._sender, "run_once", lambda: time.sleep(0.01))
        for _ in range(3):
            broker.send(topic, b"k", b"stuck", partition=0)
        with pytest.raises(BrokerError, match=r"3 of the last 3 records were not.*within 0\.5 s"):
            broker.flush(0.5)
        broker.send(topic, b"k", b"arrives again", partition=0)
        broker.flush(5.0)
    finally:
        broker.close(5.0)


@pytest.mark.timeout(DEADLINE_S)
def test_of_batches_that_were_given_up_nothing_arrives_later_and_only_so_much_is_on_its_way(
    connection: KafkaConnection, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamrnn.broker.kafka_sender, "MOST_ON_THE_WAY", 300_000)
    broker = KafkaSender(dataclasses.replace(connection, request_timeout_s=1.0))
    try:
        broker.send_all(Outputs.of([Output(topic, b"k", b"arrives")] * 20), 0)
        broker.flush(5.0)
        with monkeypatch.context() as patched:
            patched.setattr(broker._producer._sender, "run_once", lambda: time.sleep(0.01))
            stuck = Outputs.of([Output(topic, b"k", b"stuck" * 1000)] * 20)
            for _ in range(3):
                broker.send_all(stuck, 0)
            with pytest.raises(BrokerError, match="bytes of outputs are on their way") as caught:
                broker.send_all(stuck, 0)
            assert caught.value.place == 0
            with pytest.raises(
                UndeliveredError, match=r"60 of the last 60 records were not acknowledged.*within 0\.5 s"
            ):
                broker.flush(0.5)
        broker.send_all(Outputs.of([Output(topic, b"k", b"arrives again")] * 20), 0)
        broker.flush(5.0)
    finally:
        broker.close(5.0)
    tp = TopicPartition(topic, 0)
    values = [record.value for record in KafkaAdministration(connection).read({tp: 0}, 100, 10.0)[tp]]
    assert values == [b"arrives"] * 20 + [b"arrives again"] * 20


def test_records_too_large_or_empty_are_refused_at_once(connection: KafkaConnection, topic: str) -> None:
    broker = KafkaSender(connection)
    try:
        with pytest.raises(BrokerError, match="larger than"):
            broker.send(topic, b"k", b"x" * 2_000_000)
        with pytest.raises(BrokerError, match="key or value"):
            broker.send(topic, None, None)
        broker.flush(1.0)
    finally:
        broker.close(5.0)


@pytest.mark.parametrize("codec", [*PACKAGES])
@pytest.mark.parametrize("padding", [0, 20_000])
def test_every_codec_is_read_back(
    connection: KafkaConnection, topic: str, member: Callable[..., KafkaBroker], codec: str, padding: int
) -> None:
    from kafka import KafkaProducer

    # Padded, a batch of a few kilobytes holds two megabytes.
    sender = KafkaProducer(
        bootstrap_servers=connection.servers, compression_type=codec, linger_ms=100, batch_size=4 << 20
    )
    try:
        for i in range(100):
            sender.send(topic, key=b"k", value=str(i).encode() + b" " * padding, partition=0)
        sender.flush(5.0)
    finally:
        sender.close(5)
    broker = member()
    tp, _ = started(broker, topic)
    broker.seek(tp, 37)  # inside the compressed batch
    records: list[Record] = []
    until("records", lambda: records.extend(broker.poll(0.1, 10).records.get(tp, [])) or len(records) >= 63)
    assert [r.value for r in records] == [str(i).encode() + b" " * padding for i in range(37, 100)]


@pytest.fixture
def sasl(kafka_server: KafkaServer) -> KafkaConnection:
    security = KafkaSecurity(
        protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username=SASL_USER, sasl_password=Secret(SASL_PASSWORD)
    )
    return KafkaConnection(bootstrap_servers=kafka_server.sasl_bootstrap, security=security, connect_timeout_s=5.0)


def test_passwords_are_used_and_never_logged(sasl: KafkaConnection, caplog: pytest.LogCaptureFixture) -> None:
    name = f"topic-{uuid.uuid4().hex[:8]}"
    sasl = dataclasses.replace(sasl, security=msgspec.structs.replace(sasl.security, sasl_username=OPERATOR))
    with caplog.at_level(logging.DEBUG):
        KafkaAdministration(sasl).create_topics({name: 1})
        broker = KafkaBroker(sasl, KafkaGroup(group_id=f"g-{name}", instance_id="i"))
        try:
            (tp,) = started(broker, name)
            broker.send(name, b"k", b"v")
            broker.flush(5.0)
            until("record", lambda: broker.poll(0.2, 10).records)
            broker.commit({tp: Commit(1)}, membership_of(broker), 5.0)
        finally:
            broker.close(5.0)
        KafkaAdministration(sasl).delete_topics([name])

        wrong = dataclasses.replace(
            sasl,
            connect_timeout_s=1.0,
            security=msgspec.structs.replace(sasl.security, sasl_password=Secret("wrong-7f3b")),
        )
        with pytest.raises(BrokerError, match="check sasl_username and sasl_password") as refused:
            KafkaAdministration(wrong).describe_topics([name])
    assert len(caplog.records) > 50, "the client's debug log was not captured"
    for shown in (caplog.text, repr(broker), repr(sasl), str(refused.value)):
        assert SASL_PASSWORD not in shown
        assert "wrong-7f3b" not in shown


def test_missing_rights_are_named(sasl: KafkaConnection, kafka_server: KafkaServer) -> None:
    from kafka import KafkaAdminClient
    from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

    plain = KafkaConnection(bootstrap_servers=kafka_server.bootstrap)
    name = f"topic-{uuid.uuid4().hex[:8]}"
    KafkaAdministration(plain).create_topics({name: 1})
    admin = KafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    try:
        admin.create_acls(
            [
                ACL(
                    principal=f"User:{SASL_USER}",
                    host="*",
                    operation=operation,
                    permission_type=ACLPermissionType.ALLOW,
                    resource_pattern=ResourcePattern(ResourceType.TOPIC, name),
                )
                for operation in (ACLOperation.READ, ACLOperation.DESCRIBE)
            ]
        )
    finally:
        admin.close()
    problems = until("rights", lambda: check_topics(KafkaAdministration(sasl), read=[name], write=[name]))
    assert problems == [f"topic {name}: this user may not write; grant WRITE: {command('WRITE', 'topic', name)}"]
    broker = KafkaSender(sasl)
    said = (
        rf"1 of the last 1 records were not acknowledged.*no right to WRITE.*{re.escape(command('WRITE', 'topic', ''))}"
    )
    try:
        with pytest.raises(BrokerError, match=said):
            broker.send(name, b"k", b"v")
            broker.flush(5.0)
    finally:
        broker.close(5.0)
        KafkaAdministration(plain).delete_topics([name])
