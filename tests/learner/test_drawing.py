"""Claims about drawing: in proportion to what was given, at any temperature, and never what has no weight."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.learner.drawing import draw

WEIGHTS = np.array([0.0, 0.5, 0.2, 0.0, 0.3, 0.0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_are_in_proportion_to_powers_of_the_weights(temperature: float) -> None:
    random, n = np.random.default_rng(0), 20_000
    drawn = np.bincount([draw(WEIGHTS, temperature, random) for _ in range(n)], minlength=len(WEIGHTS)) / n
    expected = WEIGHTS ** (1 / temperature)
    expected /= expected.sum()
    assert (np.abs(drawn - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-308, 1e-9, 0.0])
def test_next_to_no_temperature_takes_the_largest(temperature: float, scale: float) -> None:
    random = np.random.default_rng(0)
    assert {draw(WEIGHTS * scale, temperature, random) for _ in range(100)} == {1}


@pytest.mark.parametrize("temperature", [1e9, 1e308])
def test_the_highest_temperatures_draw_all_that_have_a_weight_and_nothing_else(temperature: float) -> None:
    random = np.random.default_rng(0)
    assert {draw(WEIGHTS, temperature, random) for _ in range(200)} == {1, 2, 4}


def test_what_is_as_large_is_drawn_as_often_next_to_no_temperature_and_at_none_the_first_is() -> None:
    random, alike = np.random.default_rng(0), np.array([0.1, 0.45, 0.45])
    assert {draw(alike, 1e-320, random) for _ in range(100)} == {1, 2}
    assert {draw(alike, 0.0, random) for _ in range(100)} == {1}


class Last:
    """A generator that draws the largest number there is below 1."""

    def random(self) -> float:
        return math.nextafter(1.0, 0.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_last_draw_is_still_one_of_those_with_a_weight(dtype: type[np.floating]) -> None:
    assert draw(WEIGHTS.astype(dtype), 1.0, Last()) == 4  # type: ignore[arg-type]
