"""Symbols as columns of numbers, since an exact cell has a trace for each column and cannot look rows up.

Few symbols are a column each, 1 where it is the one; of more, each is a fixed code over the columns that there are.
Codes follow from the symbol's set and its number in it alone, so more symbols leave those that were there as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamrnn.core.arrays import Array, Scratch
from streamrnn.core.jit import internal

SEED = 201


def codes_of(rows: Sequence[tuple[int, int]], n_columns: int, dtype: type) -> Array:
    """(rows, n_columns): the unit vectors where there is a column for each, else numbers of variance 1 / columns.

    ``rows``: of each its set, and its number in it. No two codes are the same, as signs alone might be.
    """
    if len(rows) <= n_columns:
        units: Array = np.eye(len(rows), n_columns, dtype=dtype)
        return units
    drawn = [np.random.Generator(np.random.PCG64([SEED, *row])).random(n_columns) for row in rows]
    codes: Array = ((2.0 * np.array(drawn) - 1.0) * np.sqrt(3.0 / n_columns)).astype(dtype)
    return codes


@internal
def show(scratch: Scratch, coded: int) -> None:
    """The last ``coded`` columns of scratch.x[0] = the sum of the codes of the rows that the record looks up."""
    x, first = scratch.x[0], scratch.x.shape[1] - coded
    x[first:] = x.dtype.type(0)
    for k in range(scratch.looked_up.shape[1]):
        row = scratch.looked_up[0, k]
        if row >= 0:
            for j in range(coded):
                x[first + j] += scratch.codes[row, j]
