"""A member of a real group: it works while others join, hears every answer, and says good-bye."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import Assigned, Commit, Record, Revoked, TopicPartition
from streamrnn.errors import BrokerError, RebalanceError
from tests.support.kafka_clients import WITH_BOTH
from tests.support.kafka_members import DEADLINE_S, Following, follow, membership_of, started, until

pytestmark = pytest.mark.kafka

Member = Callable[..., KafkaBroker]


def shared(first: KafkaBroker, second: Following, topic: str) -> set[TopicPartition]:
    """Let both join and have one partition each, at rest; returns the first one's."""
    owned: set[TopicPartition] = set(started(first, topic))
    second.broker.subscribe(topic)
    second.start()
    until("sharing", lambda: follow(first, owned, []) or len(owned) == len(second.owned) == 1)
    until("rest", lambda: first.poll(0.05, 10).stable)
    return owned


@pytest.mark.slow
def test_a_partition_brings_records_while_the_group_waits_for_a_member_that_does_not_poll(
    member: Member, topic: str
) -> None:
    broker, silent, third = member("one"), Following(member("two")), Following(member("three"))
    (tp,) = shared(broker, silent, topic)
    silent.hold()
    third.broker.subscribe(topic)
    third.start()
    try:
        until("a rebalance", lambda: not broker.poll(0.05, 10).stable)
        offsets: list[int] = []
        for i in range(5):
            broker.send(topic, b"k", b"v", partition=tp.partition)
            broker.flush(5.0)
            polled = until("a record", lambda: (p := broker.poll(0.05, 10)).records and p)
            assert not polled.stable
            offsets += [record.offset for record in polled.records[tp]]
            assert broker.events() == []
            with pytest.raises(RebalanceError):
                broker.commit({tp: Commit(i)}, polled.membership, 5.0)
        assert offsets == list(range(5))
        silent.go_on()
        polled = until("the end of it", lambda: (p := broker.poll(0.05, 10)).stable and p)
        assert broker.events() == []
        broker.commit({tp: Commit(5)}, polled.membership, 5.0)
        assert broker.committed(tp) == Commit(5)
    finally:
        silent.go_on()
        silent.stop()
        third.stop()


def joins_of(broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch, slow_s: float = 0.0) -> list[int]:
    """Grows with every question to join; each is answered ``slow_s`` late."""
    coordinator = broker._consumer._coordinator
    join, asked = coordinator._do_join_and_sync_async, list[int]()

    async def counted() -> Any:
        asked.append(1)
        answer = await join()
        await coordinator._net.sleep(slow_s)
        return answer

    monkeypatch.setattr(coordinator, "_do_join_and_sync_async", counted)
    return asked


def test_an_answer_that_came_between_two_polls_is_taken_and_not_asked_for_again(
    member: Member, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = member()
    tp, _ = started(broker, topic)
    until("rest", lambda: broker.poll(0.05, 10).stable)
    asked = joins_of(broker, monkeypatch, slow_s=0.2)
    broker._consumer._coordinator.request_rejoin()
    before = broker.poll(0.0, 10)
    assert not before.stable
    time.sleep(0.6)
    after = broker.poll(0.0, 10)
    assert after.stable
    assert asked == [1]
    assert broker.events() == []
    broker.commit({tp: Commit(1)}, after.membership, 5.0)


def test_a_join_that_failed_between_two_polls_is_tried_again(
    member: Member, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kafka.errors

    broker = member()
    started(broker, topic)
    until("rest", lambda: broker.poll(0.05, 10).stable)
    coordinator = broker._consumer._coordinator
    join, failures = coordinator._do_join_and_sync_async, [kafka.errors.RebalanceInProgressError()]

    async def fails_once() -> Any:
        await coordinator._net.sleep(0.1)
        if failures:
            raise failures.pop()
        return await join()

    monkeypatch.setattr(coordinator, "_do_join_and_sync_async", fails_once)
    coordinator.request_rejoin()
    assert not broker.poll(0.0, 10).stable
    time.sleep(0.3)
    until("rest", lambda: broker.poll(0.05, 10).stable)
    assert failures == []
    assert broker.events() == []


@pytest.mark.slow
def test_what_is_given_up_may_be_committed_until_the_next_poll(member: Member, topic: str) -> None:
    broker, second = member("one"), Following(member("two"))
    started(broker, topic)
    second.broker.subscribe(topic)
    second.start()
    try:
        polled = until("giving up", lambda: (p := broker.poll(0.05, 10)) and broker._events and p)
        (event,) = broker.events()
        assert isinstance(event, Revoked)
        (moved,) = event.partitions
        assert polled.stable
        time.sleep(1.0)
        assert second.owned == set(), "nobody has it yet"
        broker.commit({moved: Commit(7)}, polled.membership, 5.0)
        until("the other to have it", lambda: broker.poll(0.05, 10) and second.owned == {moved})
        assert broker.committed(moved) == Commit(7)
        with pytest.raises(RebalanceError):
            broker.commit({moved: Commit(8)}, polled.membership, 5.0)
    finally:
        second.stop()


@WITH_BOTH
def test_what_is_asked_of_a_topic_that_was_deleted_ends_long_before_its_time(
    member: Member, connection: KafkaConnection, topic: str
) -> None:
    """Nothing is polled meanwhile, which would take its partitions away."""
    broker = member()
    (first, second) = started(broker, topic)
    membership = membership_of(broker)
    administration = KafkaAdministration(connection)
    administration.delete_topics([topic])
    until("end of the topic", lambda: administration.describe_topics([topic])[topic] is None)
    began = time.monotonic()
    with pytest.raises(RebalanceError, match="was its topic deleted"):
        broker.commit({first: Commit(1, "one"), second: Commit(1, "one")}, membership, DEADLINE_S)
    for question in (broker.log_start, broker.log_end, broker.newest_timestamp):
        with pytest.raises(RebalanceError, match="was its topic deleted"):
            question(first)
    assert time.monotonic() - began < DEADLINE_S / 2


@pytest.mark.slow
@WITH_BOTH
def test_who_leaves_gives_its_partitions_to_others_long_before_its_session_ends(member: Member, topic: str) -> None:
    broker, second = member("one", session_timeout_s=300.0), Following(member("two", session_timeout_s=300.0))
    (tp,) = shared(broker, second, topic)
    try:
        assert broker.leave(5.0)
        until("the other to have both", lambda: time.sleep(0.05) or len(second.owned) == 2)
        assert second.seen[-1] == Assigned((tp,))
        with pytest.raises(BrokerError, match="closed"):
            broker.poll(0.0, 1)
    finally:
        second.stop()


@WITH_BOTH
def test_who_is_alone_keeps_its_place_and_takes_it_up_again_at_once(member: Member, topic: str) -> None:
    first = member("one", session_timeout_s=300.0)
    tps = started(first, topic)
    generation = getattr(membership_of(first), "generation", None)
    assert not first.leave(5.0)
    again = member("one", session_timeout_s=300.0)
    assert started(again, topic) == tps
    assert getattr(membership_of(again), "generation", None) == generation, "no rebalance was needed"


@WITH_BOTH
def test_who_is_alone_under_a_name_made_for_it_leaves_so_that_another_name_need_not_wait(
    member: Member, topic: str
) -> None:
    first = member(None, session_timeout_s=300.0)
    tps = started(first, topic)
    assert first.leave(5.0)
    assert started(member("as in a container made anew", session_timeout_s=300.0), topic) == tps


def test_who_never_joined_has_nothing_to_leave(member: Member, topic: str) -> None:
    broker = member()
    assert not broker.leave(5.0)
    other = member()
    other.subscribe(topic)
    assert not other.leave(5.0)


@pytest.mark.slow
def test_two_members_without_a_given_name_share_the_partitions(member: Member, topic: str) -> None:
    first, second = member(None), Following(member(None))
    (tp,) = shared(first, second, topic)
    try:
        assert first.group.instance_id != second.broker.group.instance_id
        records: list[Record] = []
        first.send(topic, b"k", b"v", partition=tp.partition)
        first.flush(5.0)
        until("a record", lambda: records.extend(first.poll(0.05, 10).records.get(tp, [])) or records)
        first.commit({tp: Commit(1)}, membership_of(first), 5.0)
    finally:
        second.stop()


def test_a_member_that_starts_again_takes_up_its_name(member: Member, topic: str) -> None:
    first = member(None, session_timeout_s=300.0)
    tps = started(first, topic)
    first.close(5.0)
    again = member(None, session_timeout_s=300.0)
    assert again.group.instance_id == first.group.instance_id
    assert started(again, topic) == tps
