"""What a topic holds is read from outside, between bounds that are settled beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streamrnn.broker import history
from streamrnn.broker.embedded import EmbeddedAdministration, EmbeddedSender
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Bounds, Record, TopicPartition
from streamrnn.errors import BrokerError

TPS = [TopicPartition("t", i) for i in range(3)]


@pytest.fixture
def log(tmp_path: Any) -> EmbeddedLog:
    found = EmbeddedLog(str(tmp_path / "log"))
    found.create_topic("t", 3)
    sender = EmbeddedSender(found)
    for i in range(60):
        sender.send("t", b"k", str(i).encode(), partition=0 if i < 40 else 1, timestamp_ms=1_000 + i)
    sender.flush(5)
    return found


def read(administration: Any, within: Mapping[TopicPartition, Bounds], **options: Any) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in history.records(administration, within, **options)]


@pytest.mark.parametrize("stretch", [1, 7, 1_000])
def test_all_records_come_once_and_ascending_however_they_are_fetched(log: EmbeddedLog, stretch: int) -> None:
    administration, passed = EmbeddedAdministration(log), []
    found = read(administration, administration.bounds("t"), progress=passed.append, stretch=stretch)
    assert sorted(found) == [(0, i) for i in range(40)] + [(1, i) for i in range(20)]
    assert [offset for partition, offset in found if partition == 0] == list(range(40))
    assert passed[-1] == 60


def test_records_that_come_later_are_not_waited_for(log: EmbeddedLog) -> None:
    administration = EmbeddedAdministration(log)
    within = administration.bounds("t")
    sender = EmbeddedSender(log)
    sender.send("t", b"k", b"new", partition=0, timestamp_ms=1)
    sender.flush(5)
    assert len(read(administration, within)) == 60


def test_the_newest_are_shared_evenly_and_what_is_short_leaves_its_part_to_others() -> None:
    bounds = {TPS[0]: Bounds(10, 1_010), TPS[1]: Bounds(0, 20), TPS[2]: Bounds(0, 500)}
    assert history.newest(bounds, 300) == {TPS[0]: Bounds(870, 1_010), TPS[1]: Bounds(0, 20), TPS[2]: Bounds(360, 500)}
    assert history.newest(bounds, 10**6) == bounds


class Gaps:
    """A partition whose last offsets hold no record, as after a transaction."""

    def read(self, offsets: Mapping[TopicPartition, int], *_: Any) -> dict[TopicPartition, list[Record]]:
        return {tp: [Record("t", 0, i, 1, b"k", b"v") for i in range(start, 3)] for tp, start in offsets.items()}


def test_gaps_at_the_end_are_no_reason_to_wait() -> None:
    passed: list[int] = []
    assert read(Gaps(), {TPS[0]: Bounds(0, 5)}, progress=passed.append) == [(0, 0), (0, 1), (0, 2)]
    assert passed[-1] == 5


def test_a_cluster_that_falls_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ANSWER_S", 0.0)
    with pytest.raises(BrokerError, match="no record of t came within 0 s"):
        read(Gaps(), {TPS[0]: Bounds(3, 5)})
