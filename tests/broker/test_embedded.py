"""What the embedded broker adds to the contract: its lock, gaps it passes, fair turns, partitions moved by hand."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Assigned, Commit, Lost, Revoked, TopicPartition
from streamrnn.errors import BrokerError, RebalanceError
from tests.support.rebalancing import RebalancingBroker, append_gap, fill

TP = TopicPartition("t", 0)


def test_gaps_move_the_position_and_are_never_returned(log: EmbeddedLog) -> None:
    fill(log, 2)
    append_gap(log, "t", 0, 3)
    broker = EmbeddedBroker(log, "g")
    broker.subscribe("t")
    broker.seek(TP, 0)
    broker.resume([TP])
    assert [r.offset for r in broker.poll(0, 2).records[TP]] == [0, 1]
    assert broker.position(TP) == 2
    assert broker.poll(0, 10).records == {}
    assert (broker.position(TP), broker.log_end(TP), broker.lag(TP)) == (5, 5, 0)
    fill(log, 1)
    assert [r.offset for r in broker.poll(0, 10).records[TP]] == [5]
    broker.close(1)


def _hold_group(directory: str, ready: object) -> None:
    broker = EmbeddedBroker(EmbeddedLog(directory), "g")
    broker.subscribe("t")
    ready.set()  # type: ignore[attr-defined]
    time.sleep(60)


def test_a_second_member_is_refused_until_the_first_is_gone_however_it_ended(log: EmbeddedLog) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    holder = spawn.Process(target=_hold_group, args=(str(log.directory), ready))
    holder.start()
    assert ready.wait(30)
    broker = EmbeddedBroker(log, "g")
    with pytest.raises(BrokerError, match=f"process {holder.pid} already"):
        broker.subscribe("t")
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    broker.subscribe("t")
    assert broker.events() == [Assigned((TP,))]
    with pytest.raises(BrokerError, match=f"process {os.getpid()} already"):
        EmbeddedBroker(log, "g").subscribe("t")
    assert not broker.leave(1), "nobody else is there to take over"
    successor = EmbeddedBroker(log, "g")
    successor.subscribe("t")
    successor.close(1)


def test_reassigning_reports_revoked_and_assigned_partitions_and_keeps_the_others(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path)
    log.create_topic("t", 3)
    p0, p1, p2 = (TopicPartition("t", p) for p in range(3))
    for p in range(3):
        log.append("t", None, b"v", partition=p)
    log.flush()
    broker = RebalancingBroker(log, "g")
    broker.subscribe("t")
    assert broker.events() == [Assigned((p0, p1, p2))]
    for tp in (p0, p1, p2):
        broker.seek(tp, 0)
    broker.resume([p0, p1, p2])
    broker.reassign([p1])
    assert broker.events() == [Revoked((p0, p2))]
    assert set(broker.poll(0, 10).records) == {p1}
    membership = broker.poll(0, 10).membership
    broker.commit({p0: Commit(1)}, membership, 1.0)  # a revoked partition's last batch may still be committed
    broker.reassign([p1, p2])
    assert broker.events() == [Assigned((p2,))]
    with pytest.raises(BrokerError, match="seek"):
        broker.resume([p2])
    broker.lose([p1])
    assert broker.events() == [Lost((p1,))]
    with pytest.raises(RebalanceError, match="the group changed"):
        broker.commit({p1: Commit(1)}, membership, 1.0)
    with pytest.raises(RebalanceError, match="t/1 was lost"):
        broker.commit({p1: Commit(1)}, broker.poll(0, 10).membership, 1.0)
    assert broker.committed(p1) is None
    broker.close(1)


def test_committing_without_having_joined_is_refused(log: EmbeddedLog) -> None:
    with pytest.raises(RebalanceError, match="subscribe"):
        EmbeddedBroker(log, "g").commit({TP: Commit(1)}, None, 1.0)


def test_partitions_take_turns_so_that_none_starves(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path) as log:
        log.create_topic("t", 2)
        for i in range(200):
            log.append("t", None, b"v", partition=i % 2)
        log.flush()
        broker = EmbeddedBroker(log, "g")
        broker.subscribe("t")
        tps = [TopicPartition("t", p) for p in range(2)]
        for tp in tps:
            broker.seek(tp, 0)
        broker.resume(tps)
        assert {tp for _ in range(2) for tp in broker.poll(0, 50).records} == set(tps)
        broker.close(1)
