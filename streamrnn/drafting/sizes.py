"""How large the network is, how far it looks back, and how many streams there is room for.

Windows follow the length of streams: a stream of five records never fills one of thirty-two. The room for streams
follows the number of keys that there seem to be, by Chao's estimate of how many were not seen yet (Chao 1984), and is
bounded by what this machine's memory allows for all partitions at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from streamrnn.drafting.sample import Sample, count
from streamrnn.drafting.streams import Streams

MARGIN: Final = 4
"""Room for so many times the streams that there seem to be: idle ones stay, new ones come."""
_LEAST_STREAMS: Final = 1_000
_MEMORY_SHARE: Final = 0.25
FEW: Final = 20_000
"""Records of a topic up to which each of them is learned from at once."""
_WINDOWS: Final = ((64.0, 1, 8), (1_000.0, 2, 16), (float("inf"), 4, 32))
"""Records of a stream, with k1 and k2 for streams of fewer. On a hundred thousand departures, thirty of an aircraft,
k1 = 4 and k2 = 16 erred by 15.69 minutes, 2 and 8 by 15.56, 1 and 8 by 15.52."""
_KEY_BYTES: Final = 64


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of a job that depend on how much there is, each with its reason."""

    hidden_size: int
    hidden_why: str
    k1: int
    k2: int
    window_why: str
    streams: int
    """How many streams there seem to be."""


def sizes_of(sample: Sample, streams: Streams) -> Sizes:
    """Sizes for what the sample holds."""
    length = _length(sample, streams)
    k1, k2 = next((k1, k2) for most, k1, k2 in _WINDOWS if length < most)
    if max(len(sample), sample.source.records) < FEW:
        k1 = 1
    few = sample.small
    return Sizes(
        hidden_size=16 if few else 32,
        hidden_why="few records are known; 32 for more of them" if few else "enough for most",
        k1=k1,
        k2=k2,
        window_why=f"a stream seems to have some {count(max(1, round(length)), 'record')}",
        streams=min(seem_to_be(streams.counts), max(len(sample), sample.source.records)),
    )


def seem_to_be(counts: Counter[str]) -> int:
    """How many streams there seem to be: those seen, and by how many were seen once and twice, those not seen.

    >>> seem_to_be(Counter({"a": 5, "b": 2, "c": 1}))
    3
    """
    once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
    return len(counts) + once * (once - 1) // (2 * (twice + 1))


def _length(sample: Sample, streams: Streams) -> float:
    """How many records a stream seems to have, going by all that the topic holds."""
    total = max(len(sample), sample.source.records)
    everybody = min(seem_to_be(streams.counts), total)
    return max(streams.mean_length, total / max(1, everybody))


def room_for(seem: int, bytes_per_slot: int, partitions: int, memory_bytes: int | None) -> tuple[int, str]:
    """How many streams a partition remembers at most, and why."""
    wanted = _round_up(max(_LEAST_STREAMS, MARGIN * seem))
    why = f"{MARGIN} times the {count(seem, 'stream')} that there seem to be"
    if wanted == _LEAST_STREAMS:
        why = f"room to grow: {count(seem, 'stream')} known or likely"
    if memory_bytes is None:
        return wanted, why
    fits = int(memory_bytes * _MEMORY_SHARE / max(1, partitions) / (bytes_per_slot + _KEY_BYTES))
    if fits >= wanted:
        return wanted, why
    share = f"a quarter of this machine's memory holds {fits:,} in each of {count(partitions, 'partition')}"
    return max(1, _round_down(fits)), f"{why}; {share}"


def _round_up(n: int) -> int:
    """To a number with one digit before its zeros: 1, 2 or 5."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= n:
                return digit * power
        power *= 10


def _round_down(n: int) -> int:
    power, best = 1, 1
    while power <= n:
        best = max(digit * power for digit in (1, 2, 5) if digit * power <= n)
        power *= 10
    return best
