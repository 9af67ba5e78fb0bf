"""The greedy transcript: the most probable path and what it reads as, whole and in chunks."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.sequences import best_path
from streamrnn.core.sequences.kinds import BLANK
from tests.core.sequences.paths import reads_as


def decoded(logits: np.ndarray, cuts: tuple[int, ...] = (), room: int = 100) -> tuple[list[int], list[float]]:
    """What is said of logits that come in chunks between the cuts."""
    said, value, newest, n = np.full(room, -9), np.full(room, np.nan), BLANK, 0
    for chunk in np.split(logits, cuts):
        n, newest = best_path.decode(np.ascontiguousarray(chunk), logits.shape[1], newest, n, said, value)
    return said[:n].tolist(), value[:n].tolist()


def logits_of(path: list[int], outputs: int = 4) -> np.ndarray:
    """Logits whose best path is this one, each time with another probability."""
    logits = np.zeros((len(path), outputs))
    logits[range(len(path)), path] = 1 + np.arange(len(path)) % 3
    return logits


def test_repetitions_are_one_symbol_and_blanks_separate_them() -> None:
    assert decoded(logits_of([0, 1, 1, 0, 1, 3, 3, 2, 0]))[0] == [0, 0, 2, 1]
    assert decoded(logits_of([0, 0]))[0] == []
    assert decoded(np.zeros((0, 4)))[0] == []


def test_a_symbols_probability_is_the_highest_of_its_run() -> None:
    logits = logits_of([0, 2, 2, 2, 0, 2])
    y = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    symbols, value = decoded(logits)
    assert symbols == [1, 1]
    np.testing.assert_allclose(value, [y[1:4, 2].max(), y[5, 2]], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_go_to_the_lower_output(dtype: type) -> None:
    logits = np.zeros((3, 4), dtype)
    logits[1, 2:] = 1
    assert decoded(logits)[0] == [1]


def test_outputs_not_in_use_are_never_said() -> None:
    logits = logits_of([3, 1, 3], outputs=4)
    said, value = np.zeros(5, np.int64), np.zeros(5)
    assert best_path.decode(logits, 3, BLANK, 0, said, value) == (1, 0)
    assert said[0] == 0
    assert value[0] == pytest.approx(np.exp(2) / (np.exp(2) + 2))


@pytest.mark.parametrize("cuts", [(1,), (4,), (2, 3, 3, 9), tuple(range(30))])
def test_chunks_say_together_what_the_whole_says(cuts: tuple[int, ...]) -> None:
    logits = np.random.default_rng(3).normal(0, 1, (30, 3))
    symbols, value = decoded(logits)
    assert symbols == reads_as(logits.argmax(1).tolist())
    assert decoded(logits, cuts) == (symbols, value)


@pytest.mark.parametrize("cuts", [(), (1,), (5,), tuple(range(9))])
def test_what_has_no_room_is_dropped(cuts: tuple[int, ...]) -> None:
    """Symbols, and probabilities, even of a later run of the very symbol that was the last to find room."""
    logits = np.random.default_rng(1).normal(0, 0.2, (9, 4))
    logits[range(9), [1, 1, 1, 3, 1, 3, 1, 3, 3]] = [1, 2, 1, 1, 1, 1, 2, 3, 4]
    symbols, value = decoded(logits)
    assert len(symbols) == 6
    for room in (1, 2, 4):
        assert decoded(logits, cuts, room=room) == (symbols[:room], value[:room])
