"""One suite over every broker: what can be seen of topics and groups from outside."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from streamrnn.broker.protocol import (
    CONNECTION_STATES,
    REQUESTS,
    Assigned,
    Commit,
    Connectivity,
    TopicPartition,
)
from tests.support.broker_worlds import World, started
from tests.support.kafka_members import DEADLINE_S


def test_a_topic_tells_its_settings(world: World) -> None:
    topic, administration = world.topic(), world.administration()
    settings = administration.topic_configs([topic])[topic]
    assert settings["cleanup.policy"] == "delete"
    assert int(settings["retention.ms"]) >= -1


def test_the_bounds_of_a_topic_are_those_a_consumer_may_read(world: World) -> None:
    topic, administration = world.topic(2), world.administration()
    sender = world.sender()
    for _ in range(3):
        sender.send(topic, b"k", b"v", partition=1)
    sender.flush(10.0)
    assert administration.bounds(topic) == {TopicPartition(topic, 0): (0, 0), TopicPartition(topic, 1): (0, 3)}
    assert administration.bounds("nowhere") == {}


def test_records_are_read_from_outside_and_nobody_can_tell(world: World) -> None:
    topic, administration, sender = world.topic(2), world.administration(), world.sender()
    for i in range(5):
        sender.send(topic, b"k", b"%d" % i, timestamp_ms=1_700_000_000_000 + i, partition=1)
    sender.flush(10.0)
    left, right = TopicPartition(topic, 0), TopicPartition(topic, 1)
    found = administration.read({left: 0, right: 2}, max_records=2, timeout_s=10.0)
    assert [(r.offset, r.value, r.timestamp_ms) for r in found[right]] == [
        (2, b"2", 1_700_000_000_002),
        (3, b"3", 1_700_000_000_003),
    ]
    assert found[left] == []
    group = f"g-{uuid.uuid4().hex[:8]}"
    assert administration.commits(group) == {}
    assert administration.describe_group(group).members == ()


def test_reading_from_outside_ends_before_it_fills_the_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("embedded", "kafka_admin"):
        monkeypatch.setattr(f"streamrnn.broker.{module}.MAX_READ_BYTES", 10_000)
    topic, sender = world.topic(2), world.sender()
    for i in range(400):
        sender.send(topic, b"k", bytes(1_000), partition=i % 2)
    sender.flush(10.0)
    found = world.administration().read({TopicPartition(topic, 0): 0, TopicPartition(topic, 1): 0}, 200, 10.0)
    assert 10 <= sum(map(len, found.values())) < 400


def test_a_group_tells_its_members_and_what_they_committed(world: World) -> None:
    name = f"g-{uuid.uuid4().hex[:8]}"
    topic, administration, broker = world.topic(), world.administration(), world.member(name)
    (tp,) = started(broker, topic)
    broker.commit({tp: Commit(0, "text")}, broker.poll(0.0, 1).membership, 5.0)
    group = administration.describe_group(name)
    assert "READ" in group.operations
    assert len(group.members) == 1
    assert group.refused == ""
    assert administration.commits(name) == {tp: Commit(0, "text")}


def test_a_group_that_nobody_made_yet_has_no_members_and_may_be_joined(world: World) -> None:
    group = world.administration().describe_group(f"g-{uuid.uuid4().hex[:8]}")
    assert (group.members, "READ" in group.operations, group.refused) == ((), True, "")


def test_a_log_that_answers_says_so_to_any_thread_and_misses_nothing(world: World) -> None:
    topic = world.topic()
    member = world.member("g")
    began = time.time()
    member.subscribe(topic)
    deadline = time.monotonic() + DEADLINE_S
    while not any(isinstance(event, Assigned) for event in member.events()):
        assert time.monotonic() < deadline
        member.poll(0.1, 10)
    found: list[Connectivity] = []
    asking = threading.Thread(target=lambda: found.append(member.connectivity()))
    asking.start()
    asking.join(DEADLINE_S)
    (answer,) = found
    assert answer.away_since is None and answer.cause == ""
    assert answer.answered_at is not None and began - 1 <= answer.answered_at <= time.time() + 1
    assert not any(answer.failures.values())
    assert set(answer.failures) in (set(), set(REQUESTS))
    assert set(answer.connections) in (set(), set(CONNECTION_STATES))
    assert not answer.connections or answer.connections["connected"] > 0
