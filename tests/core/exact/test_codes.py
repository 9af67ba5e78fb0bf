"""Symbols as columns: unit vectors where there is room, else codes that stay what they are."""

from __future__ import annotations

import numpy as np

from streamrnn.core.exact.codes import codes_of


def rows_of(n: int) -> list[tuple[int, int]]:
    return [(0, row) for row in range(n)]


def test_few_symbols_are_a_column_each() -> None:
    np.testing.assert_array_equal(codes_of(rows_of(3), 4, np.float32), np.eye(3, 4, dtype=np.float32))


def test_many_have_codes_of_their_own_that_more_symbols_leave_as_they_are() -> None:
    codes = codes_of(rows_of(500), 16, np.float64)
    assert len(np.unique(codes, axis=0)) == 500
    np.testing.assert_array_equal(codes_of(rows_of(40), 16, np.float64), codes[:40])
    np.testing.assert_allclose((codes**2).sum(axis=1).mean(), 1.0, rtol=0.05)
    other = codes_of([(1, row) for row in range(40)], 16, np.float64)
    assert not (other == codes[:40]).any()
