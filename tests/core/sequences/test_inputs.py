"""Frames become steps: joined, padded, standardised by what came before, and by the sequence itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.sequences import inputs
from streamrnn.learner.block import PREDICT
from tests.support.whole_sequences import learner_with, records, some_frames, spec_with


def test_a_column_is_standardised_by_its_own_mean_and_deviation_and_no_others() -> None:
    x, mean, deviation = np.random.default_rng(0).normal(3, 2, (6, 3)), np.zeros(3), np.zeros(3)
    before = x.copy()
    inputs.standardise_column(x, 1, 4, mean, deviation)
    np.testing.assert_allclose(x[:4, 1], (before[:4, 1] - before[:4, 1].mean()) / before[:4, 1].std(), rtol=1e-12)
    np.testing.assert_array_equal(x[4:], before[4:])
    np.testing.assert_array_equal(x[:, [0, 2]], before[:, [0, 2]])
    assert (mean[1], deviation[1]) == pytest.approx((before[:4, 1].mean(), before[:4, 1].std()))


def test_a_constant_column_becomes_zeros() -> None:
    x = np.full((5, 1), 7.0)
    inputs.standardise_column(x, 0, 5, np.zeros(1), np.zeros(1))
    np.testing.assert_array_equal(x, np.zeros((5, 1)))


@pytest.mark.parametrize(("frames", "stack", "steps"), [(0, 3, 0), (1, 3, 1), (3, 3, 1), (4, 3, 2), (5, 1, 5)])
def test_a_last_step_may_lack_frames(frames: int, stack: int, steps: int) -> None:
    assert inputs.steps_of(frames, stack) == steps


def test_frames_that_are_missing_at_the_end_of_a_step_are_zeros() -> None:
    learner = learner_with(spec_with("label", sequence={"stack": 3}))
    frames = some_frames(5)
    padded = np.concatenate([frames, np.zeros((1, 2))])
    values = learner.predict(records([padded, some_frames(6, 1), frames], labels=[np.nan] * 3, kind=PREDICT)).value
    np.testing.assert_array_equal(values[0], values[2])


def test_a_sequence_of_its_own_scale_reads_the_same_whatever_its_unit() -> None:
    learner = learner_with(spec_with("label", sequence={"normalise": "sequence", "stack": 2}))
    frames = some_frames(7)
    block = records([frames, 5.0 + 3.0 * frames], labels=[np.nan] * 2, kind=PREDICT)
    values = learner.predict(block).value
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)


def test_all_frames_are_standardised_by_what_came_before_the_record() -> None:
    spec, first, asked = spec_with("label", scale=True), some_frames(9, 1), 2.0 + some_frames(4, 2)
    standardised = (asked - first.mean(axis=0)) / first.std(axis=0)
    plain = learner_with(spec_with("label")).predict(records([standardised], labels=[np.nan], kind=PREDICT))
    for parts in ([first], [first[:4], first[4:]]):
        learner = learner_with(spec)
        learner.process(records(parts, labels=[np.nan] * len(parts)))
        value = learner.predict(records([asked], labels=[np.nan], kind=PREDICT)).value
        np.testing.assert_allclose(value, plain.value, rtol=1e-9)
