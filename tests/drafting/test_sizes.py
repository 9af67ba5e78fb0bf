"""Sizes follow how long streams are, how many there seem to be, and what the machine has."""

from __future__ import annotations

from collections import Counter

import pytest

from streamrnn.drafting.draft import draft
from streamrnn.drafting.sizes import room_for, seem_to_be
from tests.support.topics import machines, sample, three


def test_windows_follow_the_length_of_streams() -> None:
    sizes = [draft(sample(machines(n), records=total)).sizes for n, total in ((600, 600), (600, 240_000), (600, 10**7))]
    assert [(size.k1, size.k2) for size in sizes] == [(1, 8), (4, 32), (4, 32)]


def test_a_small_sample_has_a_small_network() -> None:
    assert draft(sample(three())).sizes.hidden_size == 16
    assert draft(sample(machines(600))).sizes.hidden_size == 32


def test_streams_not_seen_yet_are_estimated_from_those_seen_once_and_twice() -> None:
    once, twice = Counter({f"a{i}": 1 for i in range(20)}), Counter({f"b{i}": 2 for i in range(9)})
    assert seem_to_be(once + twice) == 29 + 20 * 19 // (2 * 10)
    assert seem_to_be(twice) == 9


@pytest.mark.parametrize(
    ("seem", "memory", "room", "why"),
    [
        (12, 8 << 30, 1_000, "room to grow: 12 streams known or likely"),
        (1, None, 1_000, "room to grow: 1 stream known or likely"),
        (3_000, 8 << 30, 20_000, "4 times the 3,000 streams that there seem to be"),
        (10**6, 1 << 30, 10_000, "4 times the 1,000,000 streams that there seem to be; "
         "a quarter of this machine's memory holds 13,315 in each of 2 partitions"),
    ],
)  # fmt: skip
def test_the_room_for_streams_is_bounded_by_memory(seem: int, memory: int | None, room: int, why: str) -> None:
    assert room_for(seem, 10_016, 2, memory) == (room, why)
