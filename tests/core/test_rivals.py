"""What is typical of classes, and sums that forget."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.rivals import KEPT, MEMORY, class_error, count_class, sum_up


def test_the_most_frequent_class_is_the_first_of_those_that_are_level() -> None:
    counts, typical, said = np.zeros(3), np.zeros(1), []
    for index in (2, 1, 1, 0, 0, 2, 2):
        count_class(counts, typical, index)
        said.append(int(typical[0]))
    assert said == [2, 1, 1, 1, 0, 0, 2]
    assert counts.tolist() == [2, 2, 3]


def test_of_classes_nothing_said_is_neither_right_nor_wrong() -> None:
    assert [class_error(said, 1.0) for said in (1.0, 0.0)] == [0, 1]
    assert np.isnan(class_error(np.nan, 1.0))


def test_sums_forget_so_that_some_ten_thousand_values_count() -> None:
    recent = np.zeros(3)
    for _ in range(200_000):
        sum_up(recent, 1.0, 2.0, 3.0)
    assert recent.tolist() == pytest.approx([MEMORY, 2 * MEMORY, 3 * MEMORY], rel=1e-6)
    assert MEMORY == 10_000


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("absurd", [np.nan, np.inf, 1e200])
def test_errors_that_are_no_numbers_leave_all_sums_as_they_are(which: int, absurd: float) -> None:
    recent, errors = np.array([5.0, 6.0, 7.0]), [1.0, 2.0, 3.0]
    errors[which] = absurd
    sum_up(recent, *errors)
    assert recent.tolist() == [5.0, 6.0, 7.0]
    sum_up(recent, 1.0, 2.0, 3.0)
    assert recent.tolist() == [KEPT * 5 + 1, KEPT * 6 + 2, KEPT * 7 + 3]
