"""What came of a run: the predictions that reached the output topic, matched with their records by offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.demo.flights import Flights
from streamrnn.demo.log import read_predictions
from streamrnn.demo.rivals import Errors
from streamrnn.demo.worker import Worker
from streamrnn.job.config import Config

MODEL: Final = "eLSTM"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a run over ``records`` departures.

    ``errors`` has the model first and NaN where a record has no target. ``unmatched`` records have no prediction in the
    output topic, ``repeated`` predictions stand there once more. ``phases`` are seconds by part of the worker's loop.
    """

    status: int
    records: int
    timestamps_ms: npt.NDArray[np.int64]
    errors: Errors
    unmatched: int
    repeated: int
    seconds: float
    phases: dict[str, float]


def account(config: Config, flights: Flights, rivals: Errors, worker: Worker, status: int) -> Result:
    """Read the output topic and account for the departures up to the last one that has a prediction."""
    back = read_predictions(config, len(flights))
    delays = np.array([np.nan if d is None else d for d in flights.columns["delay"]])
    predicted = np.isfinite(back.prediction)
    done = int(np.flatnonzero(predicted)[-1]) + 1 if predicted.any() else 0
    errors = {MODEL: np.abs(back.prediction - delays)} | rivals
    return Result(
        status=status,
        records=done,
        timestamps_ms=np.array(flights.columns["timestamp"][:done], dtype=np.int64),
        errors={name: column[:done] for name, column in errors.items()},
        unmatched=done - int(predicted[:done].sum()),
        repeated=back.repeated,
        seconds=worker.ended - worker.began,
        phases=worker.phases,
    )
