"""What the demo's network is measured against, computed in a process of its own before the daemon starts.

All are progressive and see the same departures in the same order: predicted, then scored, then learned from; a
cancelled flight has no target and is neither. In a process of its own, because River's linear model takes longer than
the daemon's whole run and must not share an interpreter with it.

``main`` is that process, and `RivalsProcess` its other end. It prints how many departures it
has done, one line for each 1,000, and leaves one array of absolute errors per rival in an ``.npz`` file, NaN for
cancelled flights.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt

from streamrnn.demo.flights import load_flights, stream_key
from streamrnn.errors import StreamrnnError
from streamrnn.job.job_file import load
from streamrnn.learner.features import FeatureEncoder
from streamrnn.offline.baselines import Baseline, LastValue, LinearModel, RunningMean, RunningMedian, TrailingMedian
from streamrnn.system import child
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import read

CHILD: Final = "from streamrnn.demo.rivals import main; main()"

LAST_VALUE: Final = "last value per aircraft"
MEAN: Final = "running mean"
MEDIAN: Final = "running median"
AIRPORT: Final = "trailing-30 median per airport"
LINEAR: Final = "River linear regression"

_REPORT_EVERY: Final = 1_000

Errors = dict[str, npt.NDArray[np.float64]]
"""Absolute errors by the predictor's name, one for each departure, NaN where there is no target."""


def rivals(encoder: FeatureEncoder) -> dict[str, Baseline]:
    """Every rival, untrained; ``encoder`` gives the linear model the network's features."""
    return {
        LAST_VALUE: LastValue(stream_key),
        MEAN: RunningMean(),
        MEDIAN: RunningMedian(),
        AIRPORT: TrailingMedian("origin", size=30),
        LINEAR: LinearModel(encoder.encode_dict, encoder.indicator, stream_key),
    }


def absolute_errors(flights: Any, baselines: Mapping[str, Baseline], report: Callable[[int], None]) -> Errors:
    """Errors of all baselines over the departures, which they learn from on the way."""
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


class RivalsProcess:
    """The process that computes the rivals' errors, seen by the demo; leaving its context ends it.

    Parameters:
        job_file: names the features of the linear model.
        limit: the first so many departures only.
        output: where the errors are left.
    """

    def __init__(self, job_file: Path, limit: int | None, output: Path) -> None:
        self._output = output
        given = ["--job", str(job_file), "--output", str(output)]
        given += [] if limit is None else ["--limit", str(limit)]
        # In a session of its own: Ctrl-C is for the demo, which then ends this process.
        self._child = subprocess.Popen(
            child.command(CHILD, given),
            env=child.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()

    def reports(self) -> Iterator[int]:
        """How many departures are done, as it is reported, until the process ends."""
        yield from map(int, self._child.stdout or ())

    def errors(self) -> Errors:
        """Wait for the errors. Raises StreamrnnError when the process failed."""
        while self._child.poll() is None:
            time.sleep(0.05)
        if self._child.returncode != 0:
            message = (self._child.stderr.read() if self._child.stderr else "").strip().splitlines()
            raise StreamrnnError(
                f"the baselines' process ended with status {self._child.returncode}: "
                f"{message[-1] if message else 'no message'}. Without them the demo runs with --no-baselines"
            )
        with np.load(io.BytesIO(read(self._output, AS_MUCH_AS_FITS)), allow_pickle=False) as stored:
            return {name: np.asarray(stored[name]) for name in stored.files}


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
