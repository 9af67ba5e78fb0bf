"""What a field holds over all records of the sample: its kind, how often it is missing, which values it has.

A field is a path, as a job names it: objects are gone into, and the elements of arrays that always have the same few.
Numbers may be text, as the job's ``input.numbers: lenient`` reads it. What is in a record only as null counts as
missing; that a field is *absent* is told apart, since producers that leave zeros out never write null.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn.drafting.sample import Sample
from streamrnn.drafting.times import TimeFormat, milliseconds, time_format
from streamrnn.drafting.written import as_written, numbers_written
from streamrnn.errors import RecordError
from streamrnn.job.codec.fields import number_or_text
from streamrnn.learner.paths import Step, path_text
from streamrnn.learner.values import canonical_text

MOST_FIELDS: Final = 400
_MOST_TOLD_APART: Final = 20_000
"""Fields among which those are chosen that are looked at; records whose names never repeat would fill the memory."""
MOST_DEPTH: Final = 8
LONGEST_ARRAY: Final = 8
"""Elements up to which those of an array count as fields of their own, where they are always as many."""

_TOO_LARGE: Final = 10**300
_LEADING_ZERO = re.compile(r"\s*[+-]?0[0-9]")

Floats = npt.NDArray[np.float64]


class Kind(Enum):
    """What the values of a field are."""

    NUMBER = "number"
    BOOLEAN = "true or false"
    TEXT = "text"
    TIME = "a time"
    MIXED = "values of several types"
    ARRAY = "no single value"
    UNEVEN = "a single value in some records, and an object or an array in others"
    BEYOND = "a number beyond float64, at least in some records"
    NOTHING = "nothing"


@dataclass(frozen=True, eq=False)
class Field:
    """A field of the records, aligned with the sample: one value each, None where it is missing or null.

    ``absent`` are the records in which it is not even null. ``format`` is how its times are written.
    """

    path: str
    kind: Kind
    values: Sequence[Any]
    absent: int
    format: TimeFormat | None = None
    is_text: bool = False
    """Whether its numbers are, at least in part, text."""

    @property
    def name(self) -> str:
        """The last name of its path, in small letters."""
        return re.sub(r"\[.*\]$", "", self.path.rpartition(".")[2]).lower() or self.path.lower()

    @property
    def present(self) -> int:
        """Records in which it has a value."""
        return sum(value is not None for value in self.values)

    @property
    def missing_share(self) -> float:
        """The share of records without a value."""
        return 1.0 - self.present / len(self.values)

    @cached_property
    def numbers(self) -> Floats:
        """Its values as numbers, times in milliseconds; NaN where it has none. For numbers, booleans and times."""
        if self.kind is Kind.TIME:
            assert self.format is not None
            read = self.format
            return np.array([math.nan if v is None else milliseconds(v, read) for v in self.values], np.float64)
        return np.array([math.nan if v is None else number_or_text(v, self.path) for v in self.values], np.float64)

    @cached_property
    def texts(self) -> list[str | None]:
        """Its values as text, by which categories, classes and keys are compared."""
        return [None if v is None else canonical_text(v, self.path) for v in self.values]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each text came."""
        return Counter(text for text in self.texts if text is not None)

    @property
    def distinct(self) -> int:
        """How many different values it has."""
        return len(self.counts)

    @cached_property
    def whole(self) -> bool:
        """Whether all of its numbers are whole."""
        known = self.numbers[~np.isnan(self.numbers)]
        return bool(len(known) and (known == np.floor(known)).all())

    @property
    def is_single(self) -> bool:
        """Whether it holds single values that a job can read."""
        return self.kind not in (Kind.ARRAY, Kind.UNEVEN, Kind.BEYOND)

    @cached_property
    def written(self) -> str | None:
        """What to say of text that is a number written for people; None where it is none."""
        if self.kind is not Kind.TEXT or numbers_written(self.texts) is None:
            return None
        return as_written(self.texts)

    @property
    def is_numeric(self) -> bool:
        """Whether it can be a number for the learner."""
        return self.kind in (Kind.NUMBER, Kind.BOOLEAN)


class _Within(dict[str, Any]):
    """Stands for an object whose fields are fields of their own."""


def standard(values: Floats) -> Floats:
    """To mean 0 and deviation 1, what is missing left out of both; however large they are."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    scaled = values / largest if largest > 0 else values
    deviation = float(np.nanstd(scaled))
    result: Floats = (scaled - np.nanmean(scaled)) / (deviation if deviation > 0 else 1.0)
    return result


def fields_of(
    sample: Sample, wanted: str | None = None, likely_key: Callable[[str], bool] = lambda _: False
) -> tuple[dict[str, Field], int]:
    """The fields of the sample by path, in the order in which they first came, and how many were not looked at.

    Where there are more than ``MOST_FIELDS``, the one that is wanted is kept, then those whose path is likely a key's,
    then those that come in most records.
    """
    columns: dict[tuple[Step, ...], dict[int, Any]] = {}
    passed: set[int] = set()
    for i, document in enumerate(sample.documents):
        for steps, value in _leaves(document, ()):
            column = columns.get(steps)
            if column is None:
                if len(columns) >= _MOST_TOLD_APART and path_text(steps) != wanted:
                    passed.add(hash(steps))
                    continue
                column = columns[steps] = {}
            column[i] = value
    columns = _without_uneven_arrays(_without_objects(columns))

    def rank(steps: tuple[Step, ...]) -> tuple[bool, bool, int]:
        path = path_text(steps)
        return path != wanted, not likely_key(path), -len(columns[steps])

    ranked = sorted(columns, key=rank)
    kept = set(ranked[:MOST_FIELDS])
    n = len(sample)
    found = {}
    for steps, column in columns.items():
        if steps in kept:
            path = path_text(steps)
            found[path] = field_of(path, [column.get(i) for i in range(n)], absent=n - len(column))
    return found, len(columns) - len(kept) + len(passed)


def field_of(path: str, values: Sequence[Any], absent: int = 0) -> Field:
    """The field of this path, its kind found in its values."""
    known = [value for value in values if value is not None]
    kinds = {_kind_of(value) for value in known}
    if not known:
        return Field(path, Kind.NOTHING, values, absent)
    if Kind.ARRAY in kinds and len(kinds) > 1:
        return Field(path, Kind.UNEVEN, values, absent)
    for kind in (Kind.ARRAY, Kind.BEYOND):
        if kind in kinds:
            return Field(path, kind, values, absent)
    if kinds <= {Kind.NUMBER, Kind.TEXT} and (found := time_format(path, known)) is not None:
        return Field(path, Kind.TIME, values, absent, format=found)
    if kinds == {Kind.TEXT}:
        return _of_text(path, values, known, absent)
    if kinds == {Kind.BOOLEAN}:
        return Field(path, Kind.BOOLEAN, values, absent)
    if kinds <= {Kind.NUMBER, Kind.BOOLEAN} or (kinds == {Kind.NUMBER, Kind.TEXT} and _all_numbers(known)):
        return Field(path, Kind.NUMBER, values, absent, is_text=Kind.TEXT in kinds)
    return Field(path, Kind.MIXED, values, absent)


def _of_text(path: str, values: Sequence[Any], known: Sequence[Any], absent: int) -> Field:
    """Text, or what text stands for: numbers, unless zeros before them make them names; truth values."""
    if {value.strip().lower() for value in known} <= {"true", "false"}:
        return Field(path, Kind.BOOLEAN, values, absent, is_text=True)
    if _all_numbers(known) and not any(map(_LEADING_ZERO.match, known)):
        return Field(path, Kind.NUMBER, values, absent, is_text=True)
    return Field(path, Kind.TEXT, values, absent)


def _kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER if abs(value) < _TOO_LARGE else Kind.BEYOND
    return Kind.TEXT if isinstance(value, str) else Kind.ARRAY


def _all_numbers(values: Sequence[Any]) -> bool:
    """Whether the job would read each as a number, and at least one is one and not a word for nothing."""
    numbers = 0
    for value in values:
        try:
            number = number_or_text(value, "")
        except RecordError:
            return False
        numbers += number == number
    return numbers > 0


def _leaves(value: Mapping[str, Any], steps: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Every value that is no object, with the steps that lead to it; arrays also element by element if short."""
    for key, inner in value.items():
        path = (*steps, key)
        if isinstance(inner, dict) and len(path) < MOST_DEPTH:
            yield path, _Within()
            yield from _leaves(inner, path)
        elif isinstance(inner, dict):
            yield path, []  # too deep to be told apart
        elif isinstance(inner, list):
            yield path, inner
            if len(inner) <= LONGEST_ARRAY and not any(isinstance(element, dict | list) for element in inner):
                yield from (((*path, place), element) for place, element in enumerate(inner))
        elif not (isinstance(inner, float) and inner != inner):
            yield path, inner


def _without_objects(columns: dict[tuple[Step, ...], dict[int, Any]]) -> dict[tuple[Step, ...], dict[int, Any]]:
    """Without those fields that are objects wherever they are anything, as their own fields stand for them."""
    return {
        steps: column
        for steps, column in columns.items()
        if not any(isinstance(v, _Within) for v in column.values())
        or not all(v is None or isinstance(v, _Within) for v in column.values())
    }


def _without_uneven_arrays(columns: dict[tuple[Step, ...], dict[int, Any]]) -> dict[tuple[Step, ...], dict[int, Any]]:
    """Arrays become their elements where they always have as many, and stay one field each where they do not."""
    # What is no list either counts as another length.
    arrays = {
        steps: {len(v) if isinstance(v, list) else -1 for v in column.values() if v is not None}
        for steps, column in columns.items()
        if any(isinstance(v, list) for v in column.values())
    }
    even = {steps for steps, lengths in arrays.items() if len(lengths) == 1 and (*steps, 0) in columns}
    return {
        steps: column
        for steps, column in columns.items()
        if steps not in even and not (isinstance(steps[-1], int) and steps[:-1] not in even)
    }
