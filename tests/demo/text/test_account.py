"""Claims about bits per byte over the bytes read: what "now" and "on average" are of."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.demo.text.account import NEWEST, Curve


def curve(per_byte: list[float], size: int = 1_000) -> Curve:
    """Of records of ``size`` bytes, each of which took so many bits a byte."""
    ends = [size * (n + 1) for n in range(len(per_byte))]
    return Curve.of(size * np.array(per_byte), np.full(len(per_byte), size), ends)


def test_the_average_is_over_all_bytes_and_now_over_the_newest() -> None:
    per_byte = [8.0] * 10 + [2.0] * 30
    found = curve(per_byte)
    assert NEWEST == 10_000
    assert found.mean[-1] == pytest.approx((8 * 10 + 2 * 30) / 40)
    assert found.now[9] == 8.0
    assert found.now[10] == pytest.approx((9 * 8 + 2) / 10)
    np.testing.assert_array_equal(found.now[19:], 2.0)
    assert found.read == 40_000


def test_records_are_weighed_by_their_bytes() -> None:
    found = Curve.of(np.array([8_000.0, 20.0]), np.array([1_000, 10]), [1_000, 1_010])
    assert found.mean[-1] == pytest.approx(8_020 / 1_010)


def test_the_average_at_a_size_is_of_the_records_within_it() -> None:
    found = curve([8.0, 4.0, 3.0])
    assert [found.mean_at(size) for size in (1_000, 1_999, 2_000, 9_999)] == [8.0, 8.0, 6.0, 5.0]
    assert np.isnan(found.mean_at(999))


def test_before_the_first_record_nothing_was_read() -> None:
    found = curve([])
    assert found.read == 0
    assert np.isnan(found.mean_at(5_000))
