"""How far what is said is from right, and the error rates over the words."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.demo.pronounce.account import Tally, attempt, edits
from streamrnn.demo.pronounce.words import Word

SOUNDS = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@given(SOUNDS, SOUNDS)
def test_edits_are_what_trying_each_last_step_gives(said: tuple[int, ...], truth: tuple[int, ...]) -> None:
    @functools.cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(fewest(i - 1, j) + 1, fewest(i, j - 1) + 1, fewest(i - 1, j - 1) + (said[i - 1] != truth[j - 1]))

    assert edits(said, truth) == fewest(len(said), len(truth))


def test_the_nearest_pronunciation_counts_and_the_usual_one_of_equals() -> None:
    word = Word("either", ((1, 2, 3, 4), (5, 2), (1, 3)))
    assert attempt(word, (5, 2)).edits == 0
    assert attempt(word, (5,)).nearest == (5, 2)
    assert attempt(word, (7, 7)).nearest == (5, 2)
    assert attempt(word, (1, 2, 3)).nearest == (1, 2, 3, 4)


def tally_of(*pairs: tuple[int, int]) -> Tally:
    return Tally([wrong for wrong, _ in pairs], [sounds for _, sounds in pairs])


def test_rates_are_edits_by_sounds_and_words_with_any() -> None:
    tally = tally_of((2, 4), (0, 6), (1, 2))
    assert tally.rates() == pytest.approx((3 / 12, 2 / 3))
    assert tally.rates(2) == pytest.approx((1 / 8, 1 / 2))
    assert tally.rates(100) == tally.rates()
    assert all(map(math.isnan, Tally().rates()))


def test_a_curve_ends_with_the_rates_of_the_newest_words() -> None:
    rng = np.random.default_rng(4)
    tally = tally_of(*((int(rng.integers(0, 3)), int(rng.integers(3, 9))) for _ in range(50)))
    at, sounds, words = tally.curve(newest=7)
    assert at.tolist() == list(range(1, 51))
    for n in (1, 7, 8, 50):
        so_far = Tally(tally.edits[:n], tally.sounds[:n])
        assert (sounds[n - 1], words[n - 1]) == pytest.approx(so_far.rates(7))
