"""When a Kafka client is polled, and when it is left alone for a moment. The client is a double, and so is time."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import kafka.errors as client_errors
import pytest
from kafka.consumer.fetcher import ConsumerRecord
from kafka.future import Future
from kafka.net.selector import NetworkSelector
from kafka.structs import MemberState

import streamrnn.broker.kafka_client
import streamrnn.broker.kafka_polls
from streamrnn.broker import kafka_connect
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_connections import NamingManager
from streamrnn.broker.kafka_group import GroupMember
from streamrnn.broker.kafka_polls import FEW, FRESH_MS, PAUSE_S
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Assigned, Lost, TopicPartition
from streamrnn.broker.security import KafkaSecurity, Secret
from streamrnn.errors import BrokerError

TP = TopicPartition("in", 0)
NOTHING_LISTENS = client_errors.KafkaConnectionError("unable to connect: 111 ECONNREFUSED")
REFUSES = client_errors.SaslAuthenticationFailedError("no such user")
CLOSED = client_errors.KafkaConnectionError("socket disconnected")


class Client:
    """A consumer that brings as many records at each poll as it was told; time passes only where somebody sleeps.

    Where it was told an error instead, the poll ends by it.
    """

    def __init__(self, *brings: int | Exception) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.asked: list[tuple[float, int]] = []  # timeout in ms and limit of each poll
        self._brings, self._offsets = iter(brings), itertools.count()
        self.member_id, self.calls = "m", list[str]()
        self._coordinator = SimpleNamespace(_join_task=None, need_rejoin=lambda: False)
        self.topic_id: uuid.UUID | None = None
        self._cluster = SimpleNamespace(topic_id=lambda _: self.topic_id, partitions_for_topic=lambda _: self.known)
        self.known = {0}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[tuple[Any, ...]]]:
        self.asked.append((timeout_ms, max_records))
        n = next(self._brings)
        if isinstance(n, Exception):
            raise n
        rows = [
            ConsumerRecord("in", 0, None, offset, 0, 0, b"k", b"v", (), None, 1, 1, 0)
            for offset in itertools.islice(self._offsets, n)
        ]
        return {TP: rows} if rows else {}

    def group_metadata(self) -> SimpleNamespace:
        return SimpleNamespace(generation_id=1, member_id=self.member_id, state=MemberState.STABLE)

    def assignment(self) -> set[TopicPartition]:
        return {TP}

    def pause(self, tp: tuple[str, int]) -> None:
        self.calls.append(f"pause {TopicPartition(*tp)}")

    def seek(self, tp: tuple[str, int], offset: int) -> None:
        self.calls.append(f"seek {TopicPartition(*tp)} to {offset}")


def broker_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> KafkaBroker:
    for module in (streamrnn.broker.kafka_client, streamrnn.broker.kafka_polls):
        monkeypatch.setattr(module, "time", client)
    broker = KafkaBroker(KafkaConnection(bootstrap_servers="nowhere:1"), KafkaGroup(group_id="g", instance_id="w"))
    broker._use(client, GroupMember(client, known=True))
    return broker


def offsets(broker: KafkaBroker, timeout_s: float = 0.2, max_records: int = 5000) -> list[int]:
    return [record.offset for record in broker.poll(timeout_s, max_records).records.get(TP, [])]


def test_after_few_records_the_next_poll_waits_and_also_brings_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client(1, 1, 3)
    broker = broker_of(client, monkeypatch)
    assert offsets(broker) == [0]
    assert client.slept == []
    assert offsets(broker) == [1, 2, 3, 4]
    assert client.slept == [pytest.approx(PAUSE_S)]
    assert client.asked == [
        (pytest.approx(200), 5000), (pytest.approx(200 - 1000 * PAUSE_S), 5000), (FRESH_MS, 4999),
    ]  # fmt: skip


@pytest.mark.parametrize("brings", [0, FEW, 5000])
def test_nobody_waits_after_a_poll_that_brought_nothing_or_was_worth_it(
    monkeypatch: pytest.MonkeyPatch, brings: int
) -> None:
    client = Client(brings, 1)
    broker = broker_of(client, monkeypatch)
    offsets(broker)
    assert len(offsets(broker)) == 1
    assert client.slept == []
    assert len(client.asked) == 2


def test_the_time_that_the_records_took_is_part_of_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(1, 1, 0, 1)
    broker = broker_of(client, monkeypatch)
    offsets(broker)
    client.now += PAUSE_S / 4
    offsets(broker)
    assert client.slept == [pytest.approx(PAUSE_S * 3 / 4)]
    client.now += PAUSE_S
    offsets(broker)
    assert len(client.slept) == 1


@pytest.mark.parametrize("timeout_s", [0.0, PAUSE_S / 2])
def test_a_pause_is_not_longer_than_the_poll_may_take(monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> None:
    client = Client(1, 0)
    broker = broker_of(client, monkeypatch)
    offsets(broker)
    assert offsets(broker, timeout_s) == []
    assert sum(client.slept) == timeout_s
    assert client.asked[1] == (0.0, 5000)


def test_two_polls_of_the_client_bring_no_more_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(1, 2, 2, 4)
    broker = broker_of(client, monkeypatch)
    offsets(broker)
    assert offsets(broker, max_records=4) == [1, 2, 3, 4]
    assert client.asked[-2:] == [(pytest.approx(180), 4), (FRESH_MS, 2)]
    assert offsets(broker, max_records=4) == [5, 6, 7, 8], "the limit was reached, so more is waiting"
    assert len(client.slept) == 1
    assert len(client.asked) == 4


def test_who_is_given_another_id_is_told_that_it_lost_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client goes on as if nothing had happened, but it was thrown out of the group in between."""
    client = Client(FEW, FEW, FEW)
    broker = broker_of(client, monkeypatch)
    broker.seek(TP, 0)
    assert len(offsets(broker)) == FEW
    assert broker.events() == []
    client.member_id = "n"
    assert offsets(broker) == [], "polled for a learner that is gone"
    assert broker.events() == [Lost((TP,)), Assigned((TP,))]
    assert client.calls == ["seek in/0 to 0", "pause in/0", "seek in/0 to 0"]
    with pytest.raises(BrokerError, match="call seek"):
        broker.resume([TP])
    broker.seek(TP, FEW)
    assert len(offsets(broker)) == FEW
    assert broker.events() == []


def test_who_never_finds_the_topic_missing_is_told_when_it_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was deleted and made anew between two looks at it, and has as many records again, or more."""
    client, was = Client(*[FEW] * 6), uuid.uuid4()
    broker = broker_of(client, monkeypatch)
    broker.seek(TP, 0)
    # Brokers before 2.8 give no ids, and none is given of a topic that is missing: either says nothing.
    for client.topic_id in (None, uuid.UUID(int=0), was, None, uuid.UUID(int=0), was):
        assert len(offsets(broker)) == FEW
        assert broker.events() == []
        client._brings = iter([FEW, FEW])
    client.topic_id = uuid.uuid4()
    assert offsets(broker) == [], "they may be of either"
    assert broker.events() == [Lost((TP,)), Assigned((TP,))]
    broker.seek(TP, 0)
    assert len(offsets(broker)) == FEW
    assert broker.events() == []


@pytest.mark.parametrize("error", [client_errors.OffsetOutOfRangeError, client_errors.LogTruncationError])
@pytest.mark.parametrize("another", [True, False])
def test_a_log_that_ends_before_the_position_is_another_topic_s_or_an_error(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], another: bool
) -> None:
    client = Client(FEW, error({TP: 5}), FEW)
    broker = broker_of(client, monkeypatch)
    client.topic_id = uuid.uuid4()
    broker.seek(TP, 0)
    offsets(broker)

    def look(_: object) -> None:
        client.topic_id = uuid.uuid4() if another else client.topic_id

    monkeypatch.setattr(GroupMember, "look_at_the_topic", look)
    if not another:
        with pytest.raises(BrokerError, match=r"reading topic .* failed"):
            broker.poll(0.2, 5000)
        return
    assert offsets(broker) == []
    assert broker.events() == [Lost((TP,)), Assigned((TP,))]


def test_what_is_found_of_the_old_log_is_no_error_of_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(FEW, FEW, client_errors.LogTruncationError({TP: 5}), FEW, client_errors.LogTruncationError({TP: 5}))
    broker = broker_of(client, monkeypatch)
    monkeypatch.setattr(GroupMember, "look_at_the_topic", lambda _: None)
    client.topic_id = uuid.uuid4()
    broker.seek(TP, 0)
    offsets(broker)
    client.topic_id = uuid.uuid4()
    assert offsets(broker) == []
    assert broker.events() == [Lost((TP,)), Assigned((TP,))]
    broker.seek(TP, 0)
    assert offsets(broker) == [], "told of the log before"
    assert len(offsets(broker)) == FEW
    with pytest.raises(BrokerError, match=r"reading topic .* failed"):
        broker.poll(0.2, 5000)


def test_a_position_beyond_the_log_is_told_to_who_polls_and_not_to_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, answers = Client(), iter([client_errors.LogTruncationError({TP: 5}), 7])

    def position(_: object, timeout_ms: float) -> object:
        assert timeout_ms > 0
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    monkeypatch.setattr(client, "position", position, raising=False)
    broker = broker_of(client, monkeypatch)
    broker.seek(TP, 7)
    assert broker.position(TP) == 7


def test_partitions_that_the_new_topic_does_not_have_are_only_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(FEW, FEW)
    broker = broker_of(client, monkeypatch)
    broker.seek(TP, 0)
    client.topic_id = uuid.uuid4()
    offsets(broker)
    client.topic_id, client.known = uuid.uuid4(), set()
    assert offsets(broker) == []
    assert broker.events() == [Lost((TP,))]


class Connections:
    """Those of a client that has bootstrapped, whose connections end as they are told; the causes are found as ever."""

    def __init__(self, client: Client, net: NetworkSelector, monkeypatch: pytest.MonkeyPatch) -> None:
        security = KafkaSecurity(
            protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="u", sasl_password=Secret("p")
        )
        self.manager = NamingManager(net, security, bootstrap_servers=["one:9092"])
        self.manager._bootstrap_future = Future().success(True)
        monkeypatch.setitem(kafka_connect._MANAGERS, client, self.manager)

    def _watched(self, node: int) -> SimpleNamespace:
        made = SimpleNamespace(init_future=Future(), close_future=Future(), connected=False, _send_request=None)
        made.connection_made = made.connection_lost = None
        self.manager._watch(node, made)
        return made

    def not_made(self, node: int, error: Exception) -> None:
        self._watched(node).init_future.failure(error)

    def lost(self, node: int, error: Exception) -> None:
        """It stood, and something had been asked."""
        connection = self._watched(node)
        connection.init_future.success(True)
        connection.close_future.failure(error)


@pytest.fixture
def net() -> Iterator[NetworkSelector]:
    made = NetworkSelector()
    yield made
    made.close()


@pytest.mark.parametrize("error", [CLOSED, client_errors.NodeNotReadyError("coordinator")])
def test_a_broker_that_nothing_listens_for_is_an_outage_and_brings_nothing(
    error: Exception, net: NetworkSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(error, 3)
    broker = broker_of(client, monkeypatch)
    Connections(client, net, monkeypatch).not_made(1, NOTHING_LISTENS)
    assert offsets(broker) == []
    assert offsets(broker) == [0, 1, 2]


def test_a_broker_that_refuses_the_credentials_is_an_error_that_says_so(
    net: NetworkSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(CLOSED)
    broker = broker_of(client, monkeypatch)
    Connections(client, net, monkeypatch).not_made(1, REFUSES)
    with pytest.raises(BrokerError, match=r"authentication failed \(PLAIN\): no such user; check sasl_username"):
        broker.poll(0.2, 10)


def test_a_broker_that_closes_in_the_middle_of_a_request_is_an_outage_until_it_refuses(
    net: NetworkSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(CLOSED, CLOSED)
    broker = broker_of(client, monkeypatch)
    connections = Connections(client, net, monkeypatch)
    connections.lost(1, CLOSED)
    assert offsets(broker) == []
    connections.not_made(1, REFUSES)
    with pytest.raises(BrokerError, match="no such user"):
        broker.poll(0.2, 10)


def test_of_two_brokers_one_that_is_away_makes_it_an_outage(
    net: NetworkSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one may be just about to go, or to come."""
    client = Client(CLOSED)
    broker = broker_of(client, monkeypatch)
    connections = Connections(client, net, monkeypatch)
    connections.not_made(1, NOTHING_LISTENS)
    connections.not_made(2, REFUSES)
    assert offsets(broker) == []


def test_what_is_no_matter_of_connections_is_an_error_in_an_outage_too(
    net: NetworkSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(client_errors.UnknownTopicOrPartitionError("in"))
    broker = broker_of(client, monkeypatch)
    Connections(client, net, monkeypatch).not_made(1, NOTHING_LISTENS)
    with pytest.raises(BrokerError, match="nothing listens there"):
        broker.poll(0.2, 10)
