"""Encoders of whole columns: the features of many records at once, to the bit as ``features`` encodes them one by one.

What is found by a writer of ``features`` is remembered by its value: which column a category sets, and sine and cosine
of a number, as clock times and weekdays come again and again. So the numbers are those of that module by construction.
What is remembered is bounded, and forgotten as a whole once there is too much of it: whoever sends values that never
repeat makes everybody pay what the writer costs, and no more.

Numbers are given as floats and categories as text or whole numbers, None or NaN where there is none; nothing of a wrong
type may be among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.learner.features import Cyclic, FeatureEncoder, FeatureSpec, Log1p, Numeric, Write

MOST_REMEMBERED = 4096
"""Values of a feature that are remembered from one batch to the next; in one batch there may be more."""
LONGEST_REMEMBERED = 64
"""Characters of the longest text that is."""

Numbers = npt.NDArray[np.float64]
Column = Sequence[Any]


def numbers(column: Column) -> Numbers:
    """Numbers as an array, NaN where there is none."""
    try:
        return np.fromiter(column, np.float64, len(column))
    except TypeError:
        return np.array(column, np.float64)  # None becomes NaN


class ColumnEncoder:
    """Encodes columns of values as ``encoder`` does rows.

    >>> from streamrnn.learner.features import FeatureEncoder, Numeric, OneHot
    >>> specs = [Numeric(field="distance"), OneHot(field="carrier", categories=("AA", 7))]
    >>> columns = ColumnEncoder(FeatureEncoder(specs))
    >>> columns.encode([(1400.0, None), (7, "AA")], 2).tolist()
    [[1400.0, 0.0, 1.0], [nan, 1.0, 0.0]]
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._n_features = encoder.n_features
        self._writers: list[tuple[slice, Callable[[Column, Numbers], None]]] = []
        at = 0
        for spec, write in zip(encoder.specs, encoder.writers, strict=True):
            columns = slice(at, at := at + len(spec.columns))
            self._writers.append((columns, _writer(spec, write, columns)))

    def encode(self, columns: Sequence[Column], n: int) -> Numbers:
        """The features [n, n_features] from a column of n values for each spec."""
        x = np.zeros((n, self._n_features))
        for column, (place, write) in zip(columns, self._writers, strict=True):
            write(column, x[:, place])
        return x


def _writer(spec: FeatureSpec, write: Write | None, columns: slice) -> Callable[[Column, Numbers], None]:
    if write is None:
        raise NotImplementedError(f"{spec.field}: a symbol has no columns")
    if isinstance(spec, Numeric):
        return _numeric
    if isinstance(spec, Log1p):
        return _log1p
    return _Cycle(write, columns) if isinstance(spec, Cyclic) else _Categories(write, columns)


def _numeric(column: Column, x: Numbers) -> None:
    x[:, 0] = numbers(column)


def _log1p(column: Column, x: Numbers) -> None:
    given = numbers(column)
    # NumPy's log1p may differ from this one in the last bit.
    sizes = np.fromiter(map(math.log1p, np.abs(given).tolist()), np.float64, len(given))
    x[:, 0] = np.copysign(sizes, given)


class _Categories(dict[Any, int]):
    """Which column each value sets, -1 = none."""

    def __init__(self, write: Write, columns: slice) -> None:
        super().__init__()
        self._write, self._columns = write, columns
        self._row = [0.0] * columns.stop

    def __missing__(self, value: Any) -> int:
        self._write(value, self._row)
        own = self._row[self._columns]
        column = own.index(1.0) if 1.0 in own else -1
        if type(value) is not str or len(value) <= LONGEST_REMEMBERED:
            self[value] = column
        return column

    def __call__(self, column: Column, x: Numbers) -> None:
        if len(self) > MOST_REMEMBERED:
            self.clear()
        hits = np.fromiter(map(self.__getitem__, column), np.int64, len(column))
        rows = np.flatnonzero(hits >= 0)
        x[rows, hits[rows]] = 1.0


class _Cycle(dict[float | None, int]):
    """In which row of a table sine and cosine of each value stand."""

    def __init__(self, write: Write, columns: slice) -> None:
        super().__init__()
        self._write, self._columns = write, columns
        self._row = [0.0] * columns.stop
        self._table = np.empty((64, 2))

    def __missing__(self, value: float | None) -> int:
        place = len(self)
        if place == len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
        # As keys, both zeros are one: the row is of the usual one.
        self._table[place] = self._encoded(None if value is None else value + 0.0)
        self[value] = place
        return place

    def _encoded(self, value: float | None) -> list[float]:
        self._write(value, self._row)
        return self._row[self._columns]

    def __call__(self, column: Column, x: Numbers) -> None:
        if len(self) > MOST_REMEMBERED:
            self.clear()
        places = np.fromiter(map(self.__getitem__, column), np.int64, len(column))
        x[:] = self._table[places]
        for row in np.flatnonzero(places == self.get(0.0, -1)).tolist():
            if math.copysign(1.0, column[row]) < 0.0:
                x[row] = self._encoded(column[row])
