"""A learner that met an absurd number or a new level goes on as if nothing had been, and so do other streams."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec


def forecaster(readout: str, baseline: str | None = None) -> Learner:
    return Learner(
        LearnerSpec(
            n_features=0,
            target=TargetSpec(fields=("y",), known="forecast", baseline=baseline),
            model=ModelSpec(hidden_size=8, readout=readout),
            learning=LearningSpec(k1=4, k2=8),
            inputs=InputSpec(dt=False),
        ),
        seed=1,
    )


def sines(steps: int, streams: int) -> np.ndarray:
    """Values (steps, streams)."""
    rng = np.random.default_rng(0)
    return np.sin(np.arange(steps)[:, None] * rng.uniform(0.2, 0.5, streams)) + 0.05 * rng.standard_normal(
        (steps, streams)
    )


def errors(learner: Learner, values: np.ndarray) -> np.ndarray:
    """Absolute errors (steps - 1, streams) of the forecasts of one value after the other."""
    steps, streams = values.shape
    keys = [b"%d" % s for s in range(streams)] * steps
    said = learner.process(Block.events(keys, np.zeros((values.size, 0)), values.reshape(-1, 1))).value
    return np.abs(said.reshape(steps, streams)[:-1] - values[1:])


@pytest.mark.parametrize("sentinel", [999_999.0, -1e29])
@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_one_value_of_one_stream_is_not_felt_in_the_others(readout: str, sentinel: float) -> None:
    values = sines(400, 12)
    clean = errors(forecaster(readout), values)
    values[200, 3] = sentinel
    dirty = np.delete(errors(forecaster(readout), values), 3, axis=1)
    clean = np.delete(clean, 3, axis=1)
    assert dirty[199:210].max() < clean[199:210].max() + 0.1
    assert dirty[199:].mean() < 1.05 * clean[199:].mean()


@pytest.mark.parametrize("baseline", [None, "last"])
@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_forecasts_go_on_after_a_sentinel(readout: str, baseline: str | None) -> None:
    values = sines(1_500, 1)
    clean = errors(forecaster(readout, baseline), values)
    values[1_000] = 999_999.0
    dirty = errors(forecaster(readout, baseline), values)
    assert dirty[1_000:1_010].max() < 3  # the widest difference of two values is 2.2
    assert dirty[1_010:].mean() < 1.2 * clean[1_010:].mean()


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_all_streams_go_on_after_a_shift(readout: str) -> None:
    values = sines(1_200, 5)
    clean = errors(forecaster(readout), values)
    values[600:] += 15.0
    shifted = errors(forecaster(readout), values)
    assert shifted[700:].mean() < 1.3 * clean[700:].mean()


def test_a_jump_is_the_next_forecast_s_baseline_at_once() -> None:
    learner = forecaster("linear", "last")
    values = sines(300, 1)
    values[200:] += 40.0  # fifty deviations
    error = errors(learner, values)
    assert error[199] > 35
    assert error[200:].max() < 4


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_an_absurd_value_counts_in_the_sums_of_errors_only_within_its_bound(readout: str) -> None:
    learner = forecaster(readout)
    values = sines(300, 1)
    values[200] = 1.2e29
    errors(learner, values)
    gauges = learner.gauges()
    assert gauges["error_sum"] / gauges["scored"] < 1.0
    assert np.isfinite(gauges["loss_sum"])
    assert gauges["loss_sum"] / gauges["scored"] < 2.0
    assert learner.counters()["outlying_targets"] == 1
