"""What the bench of rebalances makes of outputs and logs."""

from __future__ import annotations

import json

import pytest

from streamrnn.broker.protocol import Record
from tests.bench.rebalance import PARTITIONS, judge, silence_s


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 100, 5100, 5200, 6000], 5.0),  # begun before, broken after
        ([0, 4900, 5100, 9900, 10_000], 4.9),
        ([0, 100, 200], 9.8),  # never broken: silent to the end
        ([0, 1000, 8900, 12_000], 7.9),
        ([9500, 9600, 20_000], 10.4),  # begun before the end
        ([9500, 9600, 10_100, 20_000], 0.5),  # begun after it
    ],
)
def test_the_longest_silence_of_the_time_that_is_watched(times: list[int], expected: float) -> None:
    assert silence_s(times, 150, 10_000) == pytest.approx(expected)


def test_what_moved_what_was_repeated_and_what_was_lost_are_told_apart() -> None:
    def predicted(partition: int, offset: int, time_ms: int) -> Record:
        return Record("out", partition, 0, time_ms, None, json.dumps({"offset": offset}).encode())

    out = [predicted(p, i, 1000 * i) for p in range(PARTITIONS) for i in range(11) if (p, i) != (2, 5)]
    out.append(predicted(1, 3, 3500))  # again
    logs = [
        "x: assigned: bench-in/1, bench-in/2\nx: bench-in/1: restored the checkpoint at 4, replaying to 5\n",
        "y: bench-in/2: restored the checkpoint at 1\ny: bench-in/4: restored the checkpoint at 1\n",
        "y: the group changed during a commit, reading back what is committed: no\n",
    ]
    found = judge(out, logs, [11] * PARTITIONS, 500.0, 10_000.0)
    assert (found.stayed_s, found.moved_s, found.moved) == (1.0, 2.0, 2)
    assert (found.refused, found.false, found.repeated, found.lost) == (1, 1, 1, 1)
    assert found.row("join") == "| join | 1.0 | 2.0 | 2 | 1 | 1 | 1 | 1 |"
