"""How far one sequence of symbols is from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The fewest symbols to insert, delete and replace that make ``b`` of ``a`` (Levenshtein 1966).

    >>> edit_distance("kitten", "sitting"), edit_distance([], ["a", "b"])
    (3, 2)
    """
    row = list(range(len(b) + 1))
    for i, symbol in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (symbol != other))
    return row[-1]
