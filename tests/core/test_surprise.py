"""The rank of a surprise among the newest ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.core import surprise


def test_a_rank_is_the_share_of_the_newest_surprises_below() -> None:
    ring = np.array([4.0, 1.0, 3.0, 2.0])
    assert [surprise.rank(ring, 4, value) for value in (0.5, 1.0, 2.5, 4.0)] == [0.0, 0.0, 0.4, 0.6]


def test_one_beyond_all_comes_the_closer_to_1_the_larger_it_is() -> None:
    ring = np.array([4.0, 1.0, 3.0, 2.0])
    ranks = [surprise.rank(ring, 4, value) for value in (4.1, 8.0, 1e6)]
    assert ranks == sorted(ranks)
    assert ranks[1] == pytest.approx((5.0 - 0.5) / 5.0)
    assert 0.999 < ranks[2] < 1.0


def test_places_of_the_ring_that_nothing_stood_in_yet_do_not_count_and_the_first_surprise_has_no_rank() -> None:
    ring = np.array([2.0, 0.0, 0.0, 0.0])
    assert surprise.rank(ring, 1, 1.0) == 0.0
    assert surprise.rank(ring, 1, 3.0) == pytest.approx((2.0 - 2.0 / 3.0) / 2.0)
    assert math.isnan(surprise.rank(ring, 0, 1.0))


def test_the_first_surprise_behind_none_at_all_is_not_beyond_everything() -> None:
    assert surprise.rank(np.zeros(4), 3, 0.7) == 0.75
    assert surprise.rank(np.zeros(4), 3, 0.0) == 0.0
