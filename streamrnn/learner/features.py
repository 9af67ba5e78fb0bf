"""Encoders: the fields of a record, or a plain dict, become the input vector of the network.

Each encoder writes a fixed number of columns, every one of them for every record, so a row never keeps anything of
the record before it. Missing, null and non-finite numbers become NaN: the learner counts them, and takes the running
mean instead, or what the encoder's ``missing`` says. A category that is missing or was not declared is all zeros.
Values of a wrong type raise ``RecordError``, naming the field.

Categories, symbols and what is hashed are compared by their canonical text (``values``). Hashing of that text is keyed
(``hashing``), and the same on every machine and in every process. Nothing here learns, scales or keeps state.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from streamrnn.errors import ConfigError
from streamrnn.learner.hashing import KNOWN_KEY, check_of, hasher
from streamrnn.learner.paths import FieldPath, Step, parse_path
from streamrnn.learner.spec import MEAN, Imputed
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.values import canonical_text, descend, is_missing, number

_NAN = math.nan


Row = list[float] | npt.NDArray[np.float64]
Write = Callable[[Any, Row], None]


class _Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="encoder"):
    """One field and its encoder. ``indicator`` says that the columns are 0/1 or bounded and need no standardising."""

    indicator: ClassVar[bool] = False

    field: FieldPath

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns written, in order."""
        return (self.field,)

    @property
    def imputed(self) -> tuple[Imputed, ...]:
        """What each column counts as where it is missing, to the learner."""
        return (MEAN,) * len(self.columns)

    def writer(self, at: int) -> Write:
        """A function that encodes one value into the columns from ``at`` on."""
        raise NotImplementedError


Missing = Annotated[
    Literal["zero", "mean", "last"],
    Meta(
        description="What a missing or null value counts as: mean: the running mean; zero: 0, for producers that leave "
        "zeros out (proto3, omitempty); last: the stream's last value of the sequence, for what is sent only when it "
        "changes."
    ),
]


class _Quantity(_Feature, frozen=True, kw_only=True):
    """A feature made of a number; ``missing`` says which number it is where there is none."""

    missing: Missing = "mean"

    @property
    def imputed(self) -> tuple[Imputed, ...]:
        if self.missing != "zero":
            return (self.missing,) * len(self.columns)
        row = [0.0] * len(self.columns)
        self.writer(0)(0, row)
        return tuple(row)


class Numeric(_Quantity, frozen=True, kw_only=True, tag="numeric"):
    """The number as it is; true and false are 1 and 0."""

    def writer(self, at: int) -> Write:
        field = self.field

        def write(value: Any, row: Row) -> None:
            row[at] = number(value, field)

        return write


class Log1p(_Quantity, frozen=True, kw_only=True, tag="log1p"):
    """``sign(x) * log(1 + |x|)``: for amounts that span orders of magnitude, of either sign."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (f"log1p({self.field})",)

    def writer(self, at: int) -> Write:
        field, log1p, copysign = self.field, math.log1p, math.copysign

        def write(value: Any, row: Row) -> None:
            x = number(value, field)
            row[at] = copysign(log1p(abs(x)), x)

        return write


class OneHot(_Feature, frozen=True, kw_only=True, tag="onehot"):
    """One 0/1 column per declared category; a missing or undeclared category is all zeros."""

    indicator: ClassVar[bool] = True

    categories: Annotated[
        tuple[str | int, ...],
        Meta(min_length=1, max_length=10_000, description="The values that get a column, as text or whole numbers."),
    ]

    def __post_init__(self) -> None:
        _require_differ("categories", self.categories)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.field}={category}" for category in self.categories)

    def writer(self, at: int) -> Write:
        field, columns = self.field, range(at, at + len(self.categories))
        column_of = {canonical_text(category, field): at + i for i, category in enumerate(self.categories)}

        def write(value: Any, row: Row) -> None:
            for column in columns:
                row[column] = 0.0
            if not is_missing(value) and value == value:  # NaN, which alone differs from itself, is no category
                hit = column_of.get(value if type(value) is str else canonical_text(value, field))
                if hit is not None:
                    row[hit] = 1.0

        return write


def _require_differ(name: str, values: Sequence[str | int | bool]) -> None:
    texts = [canonical_text(value, name) for value in values]
    if len(set(texts)) != len(texts):
        twice = sorted(text for text, times in Counter(texts).items() if times > 1)
        raise ValueError(f"{name}: values must differ (1 and '1' are the same one), found twice: {twice}")


class Hash(_Feature, frozen=True, kw_only=True, tag="hash"):
    """0/1 columns, one per bucket; the value's keyed hash picks the bucket. A missing value is all zeros."""

    indicator: ClassVar[bool] = True

    buckets: Annotated[int, Meta(ge=2, le=10_000, description="Number of columns the values are spread over.")]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.field}#{bucket}" for bucket in range(self.buckets))

    def keyed_writer(self, at: int, hashed: Callable[[str], int]) -> Write:
        """As ``writer``; ``hashed`` gives the number whose remainder is the bucket."""
        field, buckets, columns = self.field, self.buckets, range(at, at + self.buckets)

        def write(value: Any, row: Row) -> None:
            for column in columns:
                row[column] = 0.0
            if not is_missing(value) and value == value:  # NaN, which alone differs from itself, is no category
                text = value if type(value) is str else canonical_text(value, field)
                row[at + hashed(text) % buckets] = 1.0

        return write


class Cyclic(_Quantity, frozen=True, kw_only=True, tag="cyclic"):
    """Sine and cosine of ``2 pi x / period``, so that hour 23 lies next to hour 0."""

    indicator: ClassVar[bool] = True

    period: Annotated[float, Meta(gt=0, description="The value at which the cycle starts again, for example 24.")]

    @property
    def columns(self) -> tuple[str, ...]:
        return (f"{self.field}:sin", f"{self.field}:cos")

    def writer(self, at: int) -> Write:
        field, period, turn = self.field, self.period, 2.0 * math.pi
        fmod, sin, cos = math.fmod, math.sin, math.cos

        def write(value: Any, row: Row) -> None:
            # fmod is exact; dividing first would lose the phase of large values, and overflow for small periods.
            angle = turn * (fmod(number(value, field), period) / period)
            row[at] = sin(angle)
            row[at + 1] = cos(angle)

        return write


class Symbol(_Feature, frozen=True, kw_only=True, tag="symbol"):
    """One of a set of symbols, which the network looks up instead of multiplying columns.

    A missing value, and one that is not in a closed set, count as nothing, as with onehot.
    """

    indicator: ClassVar[bool] = True

    symbols: Annotated[Symbols, Meta(description="The set: values: [...], bytes: true, or open: true with its max.")]

    def __post_init__(self) -> None:
        _require_differ("symbols", self.symbols.values or ())

    @property
    def columns(self) -> tuple[str, ...]:
        return ()


FeatureSpec = Numeric | Log1p | OneHot | Hash | Cyclic | Symbol


class FeatureEncoder:
    """Encodes the values of some fields into one row of the input matrix.

    Parameters
    ----------
    specs
        The features in column order. A field may appear under several encoders, not twice under the same one.
    hash_key
        What values are hashed under, by default a key that everybody knows.

    Attributes
    ----------
    fields
        Field path of each spec, the order in which ``encode`` expects the values.
    names, indicator
        Per column: its name, and whether it is 0/1 or bounded (not to be standardised).
    missing
        Per column: what it counts as where it is missing, to the learner.
    symbol_fields, symbols
        Per feature that is looked up and has no columns: its field, and the set that it is of.
    writers
        Of each spec what writes its columns of a row from one value; None of those that are looked up.
    hash_check
        Tells whether another encoder hashes alike; None where nothing is hashed.

    Examples
    --------
    >>> encoder = FeatureEncoder([Numeric(field="distance"), OneHot(field="carrier", categories=("AA", "UA"))])
    >>> encoder.names
    ('distance', 'carrier=AA', 'carrier=UA')
    >>> row = [0.0] * encoder.n_features
    >>> encoder.encode([1400.0, "UA"], row)
    >>> row
    [1400.0, 0.0, 1.0]
    >>> encoder.encode_dict({"carrier": "DL"})
    [nan, 0.0, 0.0]
    >>> encoder = FeatureEncoder([Numeric(field="ms"), Symbol(field="page", symbols=Symbols(open=True))])
    >>> encoder.names, encoder.symbol_fields, encoder.symbols_of([3.5, 404.0]), encoder.symbols_of([1.0, None])
    (('ms',), ('page',), ['404'], [None])
    """

    def __init__(self, specs: Sequence[FeatureSpec], hash_key: str = KNOWN_KEY) -> None:
        self.specs = tuple(specs)
        self.fields = tuple(spec.field for spec in self.specs)
        self.names = tuple(name for spec in self.specs for name in spec.columns)
        self.indicator = tuple(spec.indicator for spec in self.specs for _ in spec.columns)
        self.missing = tuple(what for spec in self.specs for what in spec.imputed)
        self.n_features = len(self.names)
        if len(set(self.names)) != self.n_features:
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ConfigError(f"features: every column needs its own name, found more than once: {', '.join(twice)}")
        self._symbols = [(i, spec) for i, spec in enumerate(self.specs) if isinstance(spec, Symbol)]
        self.symbol_fields = tuple(spec.field for _, spec in self._symbols)
        self.symbols = tuple(spec.symbols for _, spec in self._symbols)
        if len(set(self.symbol_fields)) != len(self.symbol_fields):
            twice = sorted({field for field in self.symbol_fields if self.symbol_fields.count(field) > 1})
            raise ConfigError(f"features: a field is a symbol once, found more than once: {', '.join(twice)}")
        hashed = hasher(hash_key)
        self.hash_check = check_of(hash_key) if any(isinstance(spec, Hash) for spec in self.specs) else None
        self._paths = tuple(map(_steps, self.fields))
        # Consecutive numeric features form a run (first value, end, first column, end): checked and copied at once.
        self._runs: list[tuple[int, int, int, int]] = []
        self._others: list[tuple[int, Write]] = []
        self.writers: list[Write | None] = []
        at = 0
        for i, spec in enumerate(self.specs):
            if isinstance(spec, Symbol):
                self.writers.append(None)
                continue
            write = spec.keyed_writer(at, hashed) if isinstance(spec, Hash) else spec.writer(at)
            self.writers.append(write)
            if not isinstance(spec, Numeric):
                self._others.append((i, write))
            elif self._runs and self._runs[-1][1] == i and self._runs[-1][3] == at:
                first, _, column, _ = self._runs.pop()
                self._runs.append((first, i + 1, column, at + 1))
            else:
                self._runs.append((i, i + 1, at, at + 1))
            at += len(spec.columns)

    def encode(self, values: Sequence[Any], row: Row) -> None:
        """Write all ``n_features`` columns of ``row`` from one value per spec (None = missing).

        A list may be left with integers among its floats; they are exact once it becomes a float64 array.
        Raises ``RecordError`` for a value of a wrong type; the row is then half written and must not be used.
        """
        for first, end, column, column_end in self._runs:
            run = values[first:end]
            try:
                # Adding to a float fails for whatever is not a number and for integers beyond float64, and a sum is
                # finite only if every term is: one call in C instead of a test per value.
                total = sum(run, 0.0)
                plain = isinstance(total, float) and isfinite(total)
            except (TypeError, OverflowError):
                plain = False
            if plain:
                row[column:column_end] = run
            else:
                row[column:column_end] = [
                    _NAN
                    if value is None
                    else value
                    if type(value) is float and isfinite(value)
                    else number(value, field)
                    for value, field in zip(run, self.fields[first:end], strict=True)
                ]
        for i, write in self._others:
            write(values[i], row)

    def symbols_of(self, values: Sequence[Any]) -> list[str | None]:
        """The text of each symbol, from the same values as ``encode``'s; None = missing. Raises ``RecordError``."""
        return [
            None if is_missing(value := values[i]) or value != value else canonical_text(value, spec.field)
            for i, spec in self._symbols
        ]

    def encode_dict(self, x: Mapping[Any, Any]) -> list[float]:
        """The row of a plain dict; a key spelled exactly like the field wins over the nested path."""
        row = [0.0] * self.n_features
        values = [
            x[field] if field in x else descend(x, path, field)
            for field, path in zip(self.fields, self._paths, strict=True)
        ]
        self.encode(values, row)
        return [float(value) for value in row]


def _steps(field: str) -> tuple[Step, ...]:
    """The path that the name of a feature is; in a plain dict any other text is a key and nothing else."""
    try:
        return parse_path(field)
    except ValueError:
        return (field,)
