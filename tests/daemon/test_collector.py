"""The garbage collector passes over what lives long, and finds all the same what a worker leaves behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import streamrnn.daemon.loop
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon import collector
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.run import run_worker
from tests.support.rebalancing import RebalancingBroker
from tests.support.scenario import Scenario

N = 200
FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


@pytest.fixture(autouse=True)
def _small_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamrnn.daemon.loop, "MOST", 10)
    monkeypatch.setattr(streamrnn.daemon.loop, "IDLE_POLL_S", 0.001)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def frozen(thing: object) -> bool:
    """Whether the collector knows the object and passes over it."""
    return gc.is_tracked(thing) and not any(thing is each for each in gc.get_objects())


def work(scenario: Scenario, *idle: Callable[[Loop, RebalancingBroker], None]) -> None:
    """A worker over the scenario's log; each of ``idle`` is called in turn when all is read, then it stops."""
    broker = RebalancingBroker(EmbeddedLog(scenario.directory / "log"), "j")
    stop, steps, loops = threading.Event(), list(idle), list[Loop]()

    def next_step() -> None:
        if steps:
            steps.pop(0)(loops[0], broker)
        else:
            stop.set()

    run_worker(scenario.config(), broker, stop, idle=next_step, started=lambda loop, _: loops.append(loop))
    assert not steps


def test_inside_it_looks_seldom_and_afterwards_as_before() -> None:
    gc.unfreeze()
    before = gc.get_threshold()
    with pytest.raises(KeyError), collector.seldom():
        assert gc.get_threshold() == collector.THRESHOLDS
        assert gc.get_freeze_count() > 0
        raise KeyError
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_what_is_garbage_already_is_not_kept_for_ever_by_freezing() -> None:
    class Node:
        me: Node

    node = Node()
    node.me = node
    gone = weakref.ref(node)
    gc.freeze()
    del node
    collector.freeze()
    assert gone() is None


def test_a_worker_is_frozen_with_its_partitions_as_they_come(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2)
    scenario.fill(N)
    seen = []

    def look(loop: Loop, _: RebalancingBroker) -> None:
        assert gc.get_threshold() == collector.THRESHOLDS
        seen.append({tp: frozen(partition) and frozen(partition.learner) for tp, partition in loop.partitions.items()})

    def take_away(_: Loop, broker: RebalancingBroker) -> None:
        broker.reassign([FIRST])

    def give_back(loop: Loop, broker: RebalancingBroker) -> None:
        assert list(loop.partitions) == [FIRST]
        broker.reassign([FIRST, SECOND])

    work(scenario, look, take_away, give_back, look)
    assert seen == [{FIRST: True, SECOND: True}] * 2


@pytest.mark.usefixtures("no_collection")
def test_a_partition_that_left_is_out_of_memory_after_the_next_restore(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2)
    scenario.fill(N)
    left = list[weakref.ref[Partition]]()

    def take_away(loop: Loop, broker: RebalancingBroker) -> None:
        partition = loop.partitions[SECOND]
        partition.metrics.cycle = partition  # type: ignore[attr-defined] - the least convenient case
        left.append(weakref.ref(partition))
        broker.reassign([FIRST])

    def give_back(_: Loop, broker: RebalancingBroker) -> None:
        assert left[0]() is not None
        broker.reassign([FIRST, SECOND])

    def look(loop: Loop, _: RebalancingBroker) -> None:
        assert set(loop.partitions) == {FIRST, SECOND}
        assert left[0]() is None

    work(scenario, take_away, give_back, look)


@pytest.mark.usefixtures("no_collection")
def test_however_many_batches_leave_no_cyclic_garbage(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, checkpoint="interval_s: 3600")  # one is a dozen objects, of Python's own JSON
    scenario.fill(N)
    left = []

    def count_and_go_on(_loop: Loop, _broker: RebalancingBroker) -> None:
        left.append(gc.collect())
        scenario.fill(N)

    work(scenario, *[count_and_go_on] * 4)
    assert left[1:] == [0, 0, 0]
