"""What the demo's network is measured against, computed in a process of its own before the daemon starts.

All are progressive and see the same departures in the same order: predicted, then scored, then learned from; a
cancelled flight has no target and is neither. In a process of its own, because River's linear model takes longer than
the daemon's whole run and must not share an interpreter with it.

``python -m streamrnn.demo.rivals`` is that process. It prints one line per 1,000 departures (``done``) and leaves one
array of absolute errors per rival, NaN for cancelled flights, in an ``.npz`` file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from streamrnn.demo.flights import load_flights, stream_key
from streamrnn.job.job_file import load
from streamrnn.learner.features import FeatureEncoder
from streamrnn.offline.baselines import Baseline, LastValue, LinearModel, RunningMean, RunningMedian, TrailingMedian

LAST_VALUE: Final = "last value per aircraft"
MEAN: Final = "running mean"
MEDIAN: Final = "running median"
AIRPORT: Final = "trailing-30 median per airport"
LINEAR: Final = "River linear regression"
RIVALS: Final = (LAST_VALUE, MEAN, MEDIAN, AIRPORT, LINEAR)

_REPORT_EVERY: Final = 1_000


def rivals(encoder: FeatureEncoder) -> dict[str, Baseline]:
    """Every rival, untrained; ``encoder`` gives the linear model the network's features."""
    return {
        LAST_VALUE: LastValue(stream_key),
        MEAN: RunningMean(),
        MEDIAN: RunningMedian(),
        AIRPORT: TrailingMedian("origin", size=30),
        LINEAR: LinearModel(encoder.encode_dict, encoder.indicator, stream_key),
    }


def absolute_errors(
    flights: Any, baselines: Mapping[str, Baseline], report: Callable[[int], None]
) -> dict[str, npt.NDArray[np.float64]]:
    """Absolute error of each baseline at each record, NaN where ``delay`` is unknown."""
    errors = {name: np.full(len(flights), np.nan) for name in baselines}
    each = [(baseline, errors[name]) for name, baseline in baselines.items()]
    for i, record in enumerate(flights):
        if (delay := record["delay"]) is not None:
            for baseline, column in each:
                column[i] = abs(baseline.predict(record) - delay)
                baseline.learn(record, delay)
        if not (i + 1) % _REPORT_EVERY:
            report(i + 1)
    return errors


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    flights = load_flights(arguments.limit)
    encoder = load(arguments.job).feature_encoder()
    errors = absolute_errors(flights, rivals(encoder), lambda done: print(done, flush=True))
    np.savez(arguments.output, **cast(dict[str, Any], errors))


if __name__ == "__main__":
    main()
