"""What came of a run: bits per byte over the bytes read, of the model and of the compressors, and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.demo.text.source import Source
from streamrnn.demo.text.writing import Sample

MODEL: Final = "LSTM"
NEWEST: Final = 10_000
"""Bytes that "now" is of."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Bits per byte of the model behind each record: ``ends`` are bytes read, ``now`` is of the newest ``NEWEST``."""

    ends: npt.NDArray[np.int64]
    now: Floats
    mean: Floats

    @classmethod
    def of(cls, bits: Floats, symbols: npt.NDArray[np.int64], ends: list[int]) -> Curve:
        """The curve of records with so many bits and symbols (bytes) each.

        >>> Curve.of(np.array([8.0, 4.0]), np.array([4, 4]), [4, 8]).mean.tolist()
        [2.0, 1.5]
        """
        n = len(bits)
        at = np.asarray(ends[:n], np.int64)
        total_bits, total = np.concatenate([[0.0], np.cumsum(bits)]), np.concatenate([[0], np.cumsum(symbols)])
        first = np.searchsorted(np.concatenate([[0], at]), np.maximum(0, at - NEWEST))
        with np.errstate(invalid="ignore"):  # before anything was scored
            now = (total_bits[1:] - total_bits[first]) / (total[1:] - total[first])
            return cls(at, now, total_bits[1:] / total[1:])

    def mean_at(self, size: int) -> float:
        """The average over the records within the first ``size`` bytes; NaN before the first one ended."""
        record = int(np.searchsorted(self.ends, size, side="right"))
        return float(self.mean[record - 1]) if record else float("nan")

    @property
    def read(self) -> int:
        """Bytes read."""
        return int(self.ends[-1]) if len(self.ends) else 0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a run. ``figures`` are the compressors' bits per byte by number of bytes, up to all that was read.

    ``why`` says what ended the run before the text did.
    """

    status: int
    source: Source
    curve: Curve
    figures: dict[int, dict[str, float]]
    samples: list[Sample]
    seconds: float
    why: str | None = None
