"""What is asked of the broker so that a lag in records and in seconds is true, and how often."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from streamrnn.broker.protocol import Connectivity, TopicPartition
from streamrnn.daemon.behind import MOST_ASKED, lags, readable
from streamrnn.daemon.lateness import Lateness
from streamrnn.errors import BrokerError

TPS = [TopicPartition("in", number) for number in range(MOST_ASKED + 2)]
HOUR_MS = 3_600_000
NOW_MS = int(1000 * time.time())


class Log:
    """A log that grows while it is read: an hour ago is read, half an hour ago is its end."""

    def __init__(self) -> None:
        self.waiting, self.asked, self.answers = 100, 0, True

    def connectivity(self) -> Connectivity:
        return Connectivity(1.0, None)

    def lag(self, _: TopicPartition) -> int:
        return self.waiting

    def position(self, _: TopicPartition) -> int:
        return 500

    def log_end(self, _: TopicPartition) -> int:
        if not self.answers:
            raise BrokerError("there is no leader")
        return 500 + self.waiting

    def newest_timestamp(self, _: TopicPartition) -> int:
        self.log_end(_)
        self.asked += 1
        return NOW_MS - HOUR_MS // 2


def partitions(count: int, processed_ms: int, seen_ms: int) -> dict[TopicPartition, Any]:
    made = {}
    for tp in TPS[:count]:
        made[tp] = SimpleNamespace(tp=tp, position=400, lateness=Lateness())
        made[tp].lateness.seen(seen_ms)
        made[tp].lateness.processed(processed_ms)
    return made


def test_the_newest_timestamp_is_asked_for_anew_once_it_has_been_passed_by() -> None:
    log, held = Log(), partitions(1, NOW_MS - HOUR_MS, NOW_MS - 2 * HOUR_MS)
    lateness = held[TPS[0]].lateness
    assert lateness.lag_s(100, NOW_MS / 1000) is None
    assert lags(log, held) == {TPS[0]: 100}
    assert lateness.lag_s(100, NOW_MS / 1000) == 1800.0
    lags(log, held)
    assert log.asked == 1, "it is ahead again"


def test_nobody_is_asked_for_a_partition_that_is_near_now_or_at_its_end() -> None:
    log = Log()
    lags(log, partitions(2, int(1000 * time.time()), NOW_MS - HOUR_MS))
    log.waiting = 0
    lags(log, partitions(2, NOW_MS - HOUR_MS, NOW_MS - 2 * HOUR_MS))
    lags(log, {TPS[0]: SimpleNamespace(lateness=Lateness())})
    assert log.asked == 0


def test_few_are_asked_for_at_once() -> None:
    log, held = Log(), partitions(MOST_ASKED + 2, NOW_MS - HOUR_MS, NOW_MS - 2 * HOUR_MS)
    lags(log, held)
    assert log.asked == MOST_ASKED
    lags(log, held)
    assert log.asked == MOST_ASKED + 2


def test_a_partition_whose_end_is_not_answered_has_no_lag_until_it_is() -> None:
    log, held = Log(), partitions(1, NOW_MS - HOUR_MS, NOW_MS)
    assert readable(log, held[TPS[0]]) == 100
    log.answers = False
    assert readable(log, held[TPS[0]]) is None
    assert lags(log, held) == {TPS[0]: None}
    log.answers = True
    assert lags(log, held) == {TPS[0]: None}, "it has not been asked for again"
    assert readable(log, held[TPS[0]]) == 100
    assert lags(log, held) == {TPS[0]: 100}
    log.answers = False
    held[TPS[0]].lateness.processed(NOW_MS - HOUR_MS // 4)
    held[TPS[0]].lateness._newest_ms = NOW_MS - HOUR_MS // 2
    assert lags(log, held) == {TPS[0]: None}, "nor where only the newest timestamp was asked for"
