"""Edit distance against its definition, written as a recursion."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.core.sequences import edit_distance

SYMBOLS = st.lists(st.integers(0, 2), max_size=7)


def distance(said: list[int], truth: list[int], spare: int = 0) -> int:
    rows = np.full((2, len(truth) + 1 + spare), -9)
    return edit_distance.distance(np.array(said, np.int64), np.array(truth, np.int64), rows)


def slowly(said: tuple[int, ...], truth: tuple[int, ...]) -> int:
    @cache
    def between(q: int, u: int) -> int:
        if not q or not u:
            return q + u
        replaced = between(q - 1, u - 1) + (said[q - 1] != truth[u - 1])
        return min(replaced, between(q - 1, u) + 1, between(q, u - 1) + 1)

    return between(len(said), len(truth))


@given(SYMBOLS, SYMBOLS, st.integers(0, 3))
def test_the_distance_is_that_of_its_definition(said: list[int], truth: list[int], spare: int) -> None:
    assert distance(said, truth, spare) == slowly(tuple(said), tuple(truth))


@pytest.mark.parametrize(
    ("said", "truth", "edits"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("", "", 0), ("ab", "ba", 2)]
)
def test_known_distances(said: str, truth: str, edits: int) -> None:
    assert distance([ord(c) for c in said], [ord(c) for c in truth]) == edits
