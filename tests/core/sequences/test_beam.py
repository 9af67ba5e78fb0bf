"""The beam of prefixes against all labellings one by one, ties, and what its probabilities are."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.sequences import beam, best_path, ctc
from streamrnn.core.sequences.kinds import BLANK
from tests.core.sequences.paths import labellings


def log_softmax(logits: np.ndarray) -> np.ndarray:
    out = np.zeros_like(logits)
    ctc.log_softmax(logits, logits.shape[1], out)
    return out


def decoded(y: np.ndarray, width: int, room: int = 12, n: int | None = None) -> tuple[list[int], list[float]]:
    """What a beam says of log-probabilities, in room that is full of something else."""
    said, value = np.full(room, -9), np.full(room, np.nan)
    alpha, scores = np.full((len(y) + 1, 2 * room + 1), np.nan), np.full((2 * width, beam.SCORES), np.nan)
    symbols, numbers = np.full((2 * width, room), -9), np.full((2 * width, beam.NUMBERS), -9)
    count = beam.decode(y, n or y.shape[1], alpha, scores, symbols, numbers, said, value)
    return said[:count].tolist(), value[:count].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_beam_says_the_most_probable_labels(seed: int) -> None:
    y = log_softmax(np.random.default_rng(seed).normal(0, 0.7, (6, 3)))
    probabilities = labellings(y)
    best = max(probabilities, key=lambda labels: probabilities[labels])
    assert decoded(y, width=len(probabilities))[0] == list(best)


def test_the_most_probable_labels_need_not_be_those_of_the_best_path() -> None:
    y = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))  # "": .36, "a": .64, on three paths of at most .24 each
    assert decoded(y, width=2)[0] == [0]
    assert decoded(y, width=1)[0] == []  # after the first step "" alone is left, whose "a" is one path


def test_a_prefix_that_comes_back_into_the_beam_is_one_with_what_stayed_of_it() -> None:
    """A narrow beam drops a prefix whose longer one stays, and finds it again: the two must not part."""
    for seed in range(50):
        y = log_softmax(np.random.default_rng(seed).normal(0, 1.5, (9, 3)))
        for width in (2, 3, 4):
            room = 12
            scores = np.zeros((2 * width, beam.SCORES))
            symbols, numbers = np.zeros((2 * width, room), np.int64), np.zeros((2 * width, beam.NUMBERS), np.int64)
            said, value = np.zeros(room, np.int64), np.zeros(room)
            beam.decode(y, 3, np.zeros((9, 2 * room + 1)), scores, symbols, numbers, said, value)
            last = slice(width, 2 * width) if len(y) % 2 else slice(0, width)
            kept = [tuple(row[:length]) for row, length in zip(symbols[last], numbers[last, beam.LENGTH], strict=True)]
            assert len(set(kept)) == width
            assert (np.diff(scores[last, beam.ALL]) <= 0).all()


def test_ties_go_to_the_shorter_then_to_the_lower() -> None:
    y = np.log(np.full((1, 4), 0.25))
    assert decoded(y, width=4)[0] == []
    y = np.log(np.array([[0.2, 0.0001, 0.3999, 0.3999]]) / 0.9999)
    assert decoded(y, width=1)[0] == [1]
    assert decoded(y, width=9)[0] == [1]


@pytest.mark.parametrize("width", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_certain_is_said_as_by_the_best_path_with_its_probabilities(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (20, 4))
    logits[range(20), rng.integers(0, 4, 20)] += 30
    said, value = np.zeros(20, np.int64), np.zeros(20)
    n, _ = best_path.decode(logits, 4, BLANK, 0, said, value)
    symbols, probabilities = decoded(log_softmax(logits), width, room=20)
    assert symbols == said[:n].tolist()
    np.testing.assert_allclose(probabilities, value[:n], rtol=1e-12)


def test_a_transcript_is_no_longer_than_there_is_room() -> None:
    logits = np.full((9, 4), -20.0)
    logits[range(9), [1, 2, 3] * 3] = 20
    assert len(decoded(log_softmax(logits), width=4, room=5)[0]) == 5
    assert decoded(log_softmax(logits), width=4, room=9)[0] == [0, 1, 2] * 3


def test_outputs_not_in_use_are_never_said() -> None:
    y = log_softmax(np.random.default_rng(2).normal(0, 1, (8, 3)))
    beyond = np.hstack([y, np.zeros((8, 2))])
    assert decoded(beyond, 4, n=3) == decoded(y, 4)


def test_nothing_is_said_of_no_steps_and_of_what_cannot_be() -> None:
    assert decoded(np.zeros((0, 3)), 4) == ([], [])
    assert decoded(np.full((2, 3), -np.inf), 4) == ([], [])


def test_the_width_decides_how_much_is_found() -> None:
    """Over many sequences a wider beam finds labels that are no less probable."""
    found = []
    for width in (1, 4, 200):
        total = 0.0
        for seed in range(12):
            y = log_softmax(np.random.default_rng(seed).normal(0, 0.6, (6, 3)))
            total += labellings(y)[tuple(decoded(y, width)[0])]
        found.append(total)
    assert found[0] < found[1] <= found[2]
