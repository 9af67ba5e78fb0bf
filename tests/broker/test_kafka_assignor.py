"""What an assignment says of itself, and members of a real group that start again and find partitions nobody has."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

import streamrnn.broker.kafka_assignor
import streamrnn.broker.kafka_client
from streamrnn.broker.kafka_assignor import Shared, TellingAssignor, decoded
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_settings import KafkaConnection, consumer_kwargs
from streamrnn.broker.protocol import NothingAssigned, TopicPartition
from tests.support.kafka_members import Following, follow, started, until

Member = Callable[..., KafkaBroker]


class Time:
    """Passes when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(streamrnn.broker.kafka_assignor, "time", made)
    return made


def told(assignor: TellingAssignor, data: bytes) -> None:
    assignor.on_assignment(ConsumerProtocolAssignment(1, [("t", [0])], data), 1)


def said(assignor: TellingAssignor) -> bytes:
    return bytes(assignor.metadata({"t"}).user_data)


@pytest.mark.parametrize("data", [b"", None, b"partitions 4", b"a b c d", b"\xff\x00 1 2 3", b"1 2 3 4 5"])
def test_what_another_program_says_is_unknown(data: bytes | None) -> None:
    assert decoded(data) is None


def test_the_leader_tells_what_it_knew_and_what_it_handed_out() -> None:
    assignor = TellingAssignor()
    cluster = SimpleNamespace(
        partitions_for_topic=lambda topic: {0, 1, 2}, topics=lambda: {"t"}, available_partitions_for_topic=lambda t: {0}
    )
    owner = ConsumerProtocolSubscription(
        version=1, topics=["t"], user_data=b"",
        owned_partitions=[ConsumerProtocolSubscription.TopicPartition(topic="t", partitions=[0, 1, 2])],
    )  # fmt: skip
    fresh = ConsumerProtocolSubscription(version=1, topics=["t"], user_data=b"", owned_partitions=[])
    members = [SimpleNamespace(member_id="a", metadata=owner), SimpleNamespace(member_id="b", metadata=fresh)]
    parts = assignor.assign(cluster, members)
    travelled = [ConsumerProtocolAssignment.decode(part.encode()) for part in parts.values()]
    assert [decoded(part.user_data) for part in travelled] == [Shared(3, 2)] * 2, "one of them is on its way"
    parts = assignor.assign(cluster, members[1:])
    assert decoded(parts["b"].user_data) == Shared(3, 3)


def test_who_finds_added_partitions_asks_at_once_and_not_again_for_a_while(clock: Time) -> None:
    assignor = TellingAssignor()
    assert not assignor.asks(2), "it has not been answered yet"
    told(assignor, Shared(2, 2).encoded())
    assert not assignor.asks(2)
    assert not assignor.asks(0), "nothing is known of the topic"
    before = said(assignor)
    assert assignor.asks(4)
    assert said(assignor) != before, "the broker has to see a difference"
    told(assignor, Shared(2, 2).encoded())
    assert not assignor.asks(4)
    clock.now += 5.0
    before = said(assignor)
    assert assignor.asks(4)
    assert said(assignor) != before
    told(assignor, Shared(4, 4).encoded())
    clock.now += 5.0
    assert not assignor.asks(4)
    assert assignor.whole(4)


def test_a_second_round_is_waited_for_and_then_asked_for(clock: Time) -> None:
    assignor = TellingAssignor()
    told(assignor, Shared(4, 2).encoded())
    assert not assignor.asks(4)
    assert not assignor.whole(4)
    clock.now += 3.0
    assert assignor.asks(4)


def test_what_is_unknown_is_asked_for_once(clock: Time) -> None:
    assignor = TellingAssignor()
    told(assignor, b"")
    assert assignor.asks(4)
    told(assignor, b"")
    clock.now += 3600.0
    assert not assignor.asks(4)
    assert assignor.whole(4)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute is what a client takes to notice that a topic was widened."""
    monkeypatch.setattr(
        streamrnn.broker.kafka_client,
        "consumer_kwargs",
        lambda *args: {**consumer_kwargs(*args), "metadata_max_age_ms": 500},
    )


@pytest.fixture
def widened(connection: KafkaConnection, topic: str) -> Callable[[int], None]:
    def widen(count: int) -> None:
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=list(connection.servers))) as admin:
            admin.create_partitions({topic: NewPartitions(count)})

    return widen


def owns(broker: KafkaBroker, count: int) -> set[TopicPartition]:
    owned: set[TopicPartition] = set()
    until(f"assignment of {count}", lambda: follow(broker, owned, []) or len(owned) == count)
    return owned


@pytest.mark.kafka
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("when", ["while away", "once back"])
def test_a_lone_member_that_started_again_reads_what_is_added(
    member: Member, topic: str, widened: Callable[[int], None], when: str
) -> None:
    first = member(session_timeout_s=300.0)
    started(first, topic)
    first.close(5.0)
    if when == "while away":
        widened(3)
    again = member(session_timeout_s=300.0)
    again.subscribe(topic)
    if when == "once back":
        owns(again, 2)
        widened(3)
        owned = set(again._consumer.assignment())
        until("the added one", lambda: follow(again, owned, []) or len(owned) == 3)
    else:
        owns(again, 3)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.usefixtures("hurried")
def test_two_members_that_started_again_share_what_is_added(
    member: Member, topic: str, widened: Callable[[int], None]
) -> None:
    for again in (False, True):
        pair = [Following(member(name, session_timeout_s=300.0)) for name in ("one", "two")]
        for each in pair:
            each.broker.subscribe(topic)
            each.start()
        until("sharing", lambda: time.sleep(0.05) or [len(each.owned) for each in pair] == [1, 1])  # noqa: B023
        if again:
            widened(4)
            until("two each", lambda: time.sleep(0.05) or [len(each.owned) for each in pair] == [2, 2])  # noqa: B023
            generation = pair[0].broker._consumer.group_metadata().generation_id
            time.sleep(6.0)  # longer than until one that is not content asks again
            assert pair[0].broker._consumer.group_metadata().generation_id == generation
        for each in pair:
            each.stop()


@pytest.mark.kafka
def test_a_first_join_knows_the_topic(member: Member, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    broker = member()
    started(broker, topic)
    assert broker.poll(0.05, 1).membership.generation == 1  # type: ignore[union-attr]
    assert "No partition metadata" not in caplog.text


@pytest.mark.kafka
@pytest.mark.parametrize("data", [Shared(0, 0).encoded(), b""], ids=["told", "of an older version"])
def test_who_gets_an_empty_assignment_back_is_not_idle(
    member: Member, topic: str, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """As when it was killed in between: its first assignment was made before the topic was known."""

    def nothing(_self: Any, _cluster: Any, members: Any) -> dict[str, Any]:
        return {each.member_id: ConsumerProtocolAssignment(1, [], data) for each in members}

    with monkeypatch.context() as patched:
        patched.setattr(TellingAssignor, "assign", nothing)
        first = member(session_timeout_s=300.0)
        first.subscribe(topic)
        until("an answer", lambda: first.poll(0.05, 1).stable)
        first.close(5.0)
    again = member(session_timeout_s=300.0)
    again.subscribe(topic)
    owned: set[TopicPartition] = set()
    told: list[Any] = []

    def polled() -> bool:
        again.poll(0.05, 1)
        told.extend(again.events())
        owned.update(again._consumer.assignment())
        return len(owned) == 2

    until("both", polled)
    assert not any(isinstance(event, NothingAssigned) for event in told)


@pytest.mark.slow
@pytest.mark.kafka
def test_a_second_round_that_never_came_is_made_up_for(member: Member, topic: str) -> None:
    """Whoever gave a partition up was killed before it joined again, and came back within its session."""
    first, second = member("one", session_timeout_s=300.0), Following(member("two", session_timeout_s=300.0))
    started(first, topic)
    second.broker.subscribe(topic)
    second.start()
    try:
        until("giving up", lambda: first.poll(0.05, 10) and first._events)
        first.close(5.0)
        again = member("one", session_timeout_s=300.0)
        again.subscribe(topic)
        until("sharing", lambda: again.poll(0.05, 10) and len(second.owned) == len(again._consumer.assignment()) == 1)
    finally:
        second.stop()
