"""What forecasts of chosen steps ahead cost and are worth: a bank of filters on Mackey-Glass.

    python -m tests.bench.horizons
    python -m tests.bench.horizons --steps 2000
    python -m tests.bench.horizons --seeds 12      errors of so many seeds instead, on the series of Lorenz too

Each row is a learner with other outputs, on the same series: microseconds of CPU an event in one block (least of
``--runs``, the figure that other work on the machine disturbs least), bytes a stream, and the error of each of the
steps ahead that are compared, root mean squared in standard deviations of the series, of all but the first fifth. An
output of least squares costs R^2 numbers and as many operations, R being its regressors: three chosen steps cost
three outputs, all steps up to the furthest 84. What does not look far ahead is as good without those that do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn import Block, InputSpec, Learner, LearnerSpec, ModelSpec, StreamSpec, TargetSpec
from streamrnn.learner.lowering import bytes_per_stream
from tests.bench.quality_data import lorenz, mackey_glass

Floats = npt.NDArray[np.float64]
COMPARED: Final = (1, 6, 84)
ROWS: Final[tuple[int | tuple[int, ...], ...]] = (1, (6,), (84,), (1, 84), (1, 6, 84), 6, 84)
"""Settings of ``target.horizon``."""


def spec_of(horizon: int | tuple[int, ...]) -> LearnerSpec:
    """A bank as ``RNNForecaster(cell="bank", horizon=horizon, baseline=None)`` has it."""
    return LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("y",), known="forecast", horizon=horizon),
        model=ModelSpec(cell="bank", readout="rls"),
        inputs=InputSpec(dt=False),
        streams=StreamSpec(max_streams=1),
    )


def measured(spec: LearnerSpec, y: Floats, runs: int, seed: int = 0) -> tuple[float, dict[int, float]]:
    """Microseconds an event, and the error of each number of steps ahead."""
    block, seconds = Block.events([b"y"] * len(y), np.zeros((len(y), 0)), y[:, None]), []
    for _ in range(runs):
        learner = Learner(spec, seed)
        started = time.process_time()
        said = learner.process(block).value
        seconds.append(time.process_time() - started)
    start, errors = len(y) // 5, {}
    for column, j in enumerate(spec.target.steps_ahead):
        truth = y[start + j :]
        distance = said[start : len(y) - j, column] - truth
        errors[j] = float(np.sqrt(np.mean(distance**2)) / truth.std())
    return 1e6 * min(seconds) / len(y), errors


def over_seeds(steps: int, seeds: int) -> None:
    """Print mean, deviation and worst of the errors of ``seeds`` banks."""
    print("| series | h | mean | deviation | worst |\n|---|--:|--:|--:|--:|")
    for name, made, horizon in (("Mackey-Glass", mackey_glass, (1, 6, 84)), ("Lorenz", lorenz, (1, 25))):
        y, spec = np.array(made(steps).y), spec_of(horizon)
        runs = [measured(spec, y, 1, seed)[1] for seed in range(seeds)]
        for j in horizon:
            of = np.array([errors[j] for errors in runs])
            print(f"| {name} | {j} | {of.mean():.4f} | {of.std():.4f} | {of.max():.4f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Cost and worth of forecasts of chosen steps ahead.")
    parser.add_argument("--steps", type=int, metavar="N", default=10_000, help="of the series (default 10,000)")
    parser.add_argument("--runs", type=int, metavar="N", default=3, help="of each row (default 3)")
    parser.add_argument("--seeds", type=int, metavar="N", help="compare so many seeds instead")
    options = parser.parse_args(arguments)
    if options.seeds is not None:
        over_seeds(options.steps, options.seeds)
        return
    y: Any = np.array(mackey_glass(options.steps).y)
    print("| horizon | outputs | us an event | bytes a stream | " + " | ".join(f"h = {j}" for j in COMPARED) + " |")
    print("|---|--:|--:|--:|" + "--:|" * len(COMPARED))
    for horizon in ROWS:
        spec = spec_of(horizon)
        # All 84 outputs say what the three do, at a cost that a tenth of the series tells as well.
        many = spec.n_outputs > len(COMPARED) * 2
        cost, errors = measured(spec, y[: len(y) // 10] if many else y, 1 if many else options.runs)
        figures = [f"{errors[j]:.4f}" if j in errors and not many else "" for j in COMPARED]
        name = f"1 to {horizon}" if isinstance(horizon, int) and horizon > 1 else str(horizon).strip("(),")
        print(f"| {name} | {spec.n_outputs} | {cost:.1f} | {bytes_per_stream(spec):,} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
