"""Claims about the tasks: what is asked cannot be known but by remembering."""

from __future__ import annotations

import numpy as np

from streamrnn.demo.memory.tasks import CUES, SYMBOLS, recall, repeat


def test_the_cue_is_asked_for_exactly_lag_steps_after_it_was_shown_and_is_nowhere_between() -> None:
    lags = np.array([1, 7, 30, 2])
    block = recall(np.random.default_rng(1), lags)
    symbols = block.x.argmax(axis=1)
    assert np.array_equal(block.x.sum(axis=1), np.ones(len(block)))
    last = np.flatnonzero(block.end)
    first = np.flatnonzero(symbols < CUES)
    assert np.array_equal(last - first, lags)
    assert np.array_equal(block.y[last, 0], symbols[first])
    assert np.array_equal(np.flatnonzero(np.isfinite(block.y[:, 0])), last)
    assert np.array_equal(np.flatnonzero(symbols == SYMBOLS - 1), last)


def test_every_cue_and_every_distractor_comes_up_as_often_as_any_other() -> None:
    block = recall(np.random.default_rng(2), np.full(4_000, 2))
    counts = np.bincount(block.x.argmax(axis=1), minlength=SYMBOLS)
    assert counts[-1] == 4_000
    assert counts[:-1].min() > 900
    assert counts[:-1].max() < 1_100


def test_the_number_to_be_said_again_is_that_of_two_steps_ago() -> None:
    block = repeat(np.random.default_rng(3), 5, 6)
    x, y = block.x.reshape(5, 6), block.y.reshape(5, 6)
    assert np.isnan(y[:, :2]).all()
    assert np.array_equal(y[:, 2:], x[:, :-2])
    assert np.array_equal(block.end.reshape(5, 6).sum(axis=0), [0, 0, 0, 0, 0, 5])
