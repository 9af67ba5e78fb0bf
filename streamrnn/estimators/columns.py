"""Which feature of a River dict, or column of a data frame, stands in which column of the learner's input.

Columns are either fixed beforehand, by names or by the daemon's encoders, or discovered: sorted within the first event,
new ones appended as they come, so that nothing learned ever moves to another column. A feature that is None or not
finite is missing (NaN); what that is worth is the learner's to say. One whose key is absent is missing too, or 0, as
``absence`` judges. Only numbers are discovered: text needs an encoder.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.absence import Absence
from streamrnn.estimators.parameters import UNORDERED
from streamrnn.learner.features import FeatureEncoder, FeatureSpec
from streamrnn.learner.hashing import KNOWN_KEY
from streamrnn.learner.spec import LAST, MEAN, Imputed
from streamrnn.learner.values import canonical_text, is_missing, number

if TYPE_CHECKING:
    import pandas as pd

V = TypeVar("V")
W = TypeVar("W")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Missing = Literal["auto", "mean", "zero", "last"]

_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)


class Columns:
    """The input columns of one estimator.

    Parameters
    ----------
    features
        Names, or encoders, in column order; None = discovered.
    stream_key
        Name of the feature that tells streams apart, not an input; None = there is one stream.
    missing
        What a feature is worth that an event lacks; with ``"auto"`` an absent one may be 0. The rest is the learner's.
    hash_key
        What encoders hash values under.

    >>> columns = Columns(None, None).extended({"b": 1.0, "a": 2.0}).extended({"c": 0, "a": 1})
    >>> columns.names, columns.row({"c": 7, "a": 5})
    (('a', 'b', 'c'), [5.0, nan, 7.0])
    """

    def __init__(
        self,
        features: Sequence[Hashable | FeatureSpec] | None,
        stream_key: Hashable | None,
        missing: Missing = "auto",
        hash_key: str = KNOWN_KEY,
    ) -> None:
        self.stream_key = stream_key
        self.hash_key = hash_key
        self.fixed = features is not None
        self.names: tuple[Hashable, ...] = ()
        self._encoder: FeatureEncoder | None = None
        self._ignored: frozenset[Hashable] = frozenset()
        if not is_name(stream_key):
            raise ConfigError(f"stream_key: expected the name of a feature or None, got {stream_key!r}")
        if features is not None and (isinstance(features, (str, *UNORDERED)) or not isinstance(features, Iterable)):
            raise ConfigError(f"features: expected a sequence of names or encoders, or None, got {features!r}")
        given = None if features is None else list(features)
        encoders = [feature for feature in given or () if isinstance(feature, FeatureSpec)]
        if given is not None and encoders:
            if len(encoders) < len(given):
                raise ConfigError("features: either names or encoders, not both; a name is Numeric(field=name)")
            if missing != "auto":
                raise ConfigError(f"missing: goes with names, got {missing!r}; encoders have a `missing` each")
            self._encoder = FeatureEncoder(encoders, hash_key)
        elif given is not None:
            self.names = tuple(given)
            if not all(map(is_name, given)):
                raise ConfigError(f"features: expected names or encoders, got {given}")
            if len(set(self.names)) < len(self.names):
                raise ConfigError(f"features: names must differ, got {given}")
            if stream_key is not None and stream_key in self.names:
                raise ConfigError(f"features: {stream_key!r} is the stream_key, which is not an input")
        self._missing = missing
        self._absence = Absence() if missing == "auto" and not encoders else None
        self._name(self.names)

    def _name(self, names: tuple[Hashable, ...]) -> None:
        """Give the columns their names."""
        self.names = names
        self._column_of = {name: column for column, name in enumerate(names)}
        self._known = frozenset({*names, *self._ignored, self.stream_key})

    @property
    def n_features(self) -> int:
        """Columns so far."""
        return len(self.names) if self._encoder is None else self._encoder.n_features

    @property
    def indicator(self) -> tuple[bool, ...]:
        """Which columns are 0/1 or bounded and need no standardising."""
        return (False,) * len(self.names) if self._encoder is None else self._encoder.indicator

    @property
    def imputed(self) -> tuple[Imputed, ...]:
        """What each column counts as where its feature is missing, to the learner; empty: all as their mean."""
        if self._encoder is not None:
            return self._encoder.missing if {*self._encoder.missing} > {MEAN} else ()
        what: dict[Missing, Imputed] = {"zero": 0.0, "last": LAST}
        return (what[self._missing],) * len(self.names) if self._missing in what else ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns' names as text, as the daemon's encoders name theirs."""
        return tuple(map(str, self.names)) if self._encoder is None else self._encoder.names

    @property
    def hash_check(self) -> str | None:
        """What tells which key values are hashed under; None where none are."""
        return None if self._encoder is None else self._encoder.hash_check

    def appended(self, names: Iterable[Hashable]) -> Columns:
        """These columns and the given ones after them."""
        more = copy.copy(self)
        more._name((*self.names, *names))
        return more

    def without(self, name: Hashable) -> Columns:
        """These columns, and a feature that is never one of them."""
        if name in self.names:
            raise ConfigError(f"features: {name!r} is the event_key, which is not an input")
        fewer = copy.copy(self)
        fewer._ignored = self._ignored | {name}
        return fewer.appended(())

    def extended(self, x: Mapping[Any, Any]) -> Columns:
        """These columns and one for each feature of x not seen before; itself where there is none.

        A feature appears with its first value, not with a missing one. Dates are not inputs. Raises RecordError for a
        new feature that is no number.
        """
        if self.fixed or x.keys() <= self._known:
            return self
        new = [name for name in x if name not in self._known]
        dates = [name for name in new if isinstance(x[name], _DATES) and not is_missing(x[name])]
        present = {name: _checked(x[name], name) for name in new if name not in dates}
        names = sorted((name for name, value in present.items() if not math.isnan(value)), key=str)
        if not names and not dates:
            return self
        more = copy.copy(self)
        more._ignored = self._ignored.union(dates)
        return more.appended(names)

    def with_row(self, x: Mapping[Any, Any]) -> tuple[Columns, list[float]]:
        """``extended`` by x, and x's row in those columns."""
        columns = self.extended(x)
        return columns, columns.row(x)

    def encoded(self, x: Mapping[Any, Any]) -> Encoded:
        """x, its row and its key in the columns ``extended`` by it. Raises RecordError for what cannot be learned."""
        columns = self.extended(x)
        # Written so that no function in Python is called: this is done for each event.
        return tuple.__new__(Encoded, (columns, x, columns.row(x), columns.key(x)))

    def row(self, x: Mapping[Any, Any]) -> list[float]:
        """The columns of one event. Raises RecordError, naming the feature, for what is not a number."""
        if self._encoder is not None:
            return self._encoder.encode_dict(x)
        if len(x) >= len(self.names):
            values: list[Any] = [x.get(name) for name in self.names]
            try:
                # A sum is finite only if every term is, and None or text cannot be added: one call in C for all.
                total = sum(values, 0.0)
                plain = isinstance(total, float) and math.isfinite(total)
            except (TypeError, OverflowError):
                plain = False
            if plain:
                return values
        row = self.without_keys()
        for name, value in x.items():
            if (column := self._column_of.get(name)) is not None:
                row[column] = _checked(value, name)
        return row

    def without_keys(self) -> list[float]:
        """The row of an event that has no feature at all."""
        known = [] if self._absence is None else self._absence.values()
        return known + [math.nan] * (len(self.names) - len(known))

    def with_numbers(self, row: list[float]) -> list[float]:
        """The row with the number that a missing feature stands for, if any, where no learner would put it in."""
        if not (imputed := self.imputed):
            return row
        return [
            what if isinstance(what, float) and cell != cell else cell for cell, what in zip(row, imputed, strict=True)
        ]

    def note(self, x: Mapping[Any, Any], row: Sequence[float]) -> Integers | None:
        """Which keys an event has counts for those to come; to be called when it is learned, and its row is known.

        Returns how many zeros each column's statistics lack that stand for earlier events; None where they lack none.
        """
        if self._absence is None:
            return None
        if self._absence.columns < len(self.names):
            self._absence.grow(len(self.names))
        if x.keys() >= self._column_of.keys():
            self._absence.note_complete(row)
            return None
        return self._absence.note([column for name in x if (column := self._column_of.get(name)) is not None], row)

    def note_rows(self, rows: Floats) -> None:
        """The same for rows (n, n_features) of a frame that ``has_all`` names."""
        if self._absence is not None:
            self._absence.grow(len(self.names))
            self._absence.note_complete_rows(rows)

    def has_all(self, frame: pd.DataFrame) -> bool:
        """Whether no row of a frame lacks a key of which that would have to be noted."""
        return self._absence is None or self._column_of.keys() <= set(frame.columns)

    def changed(self, features: Sequence[Hashable | FeatureSpec] | None, missing: Missing) -> Columns:
        """These columns where ``features`` and ``missing`` are others, with new columns behind those there are.

        Raises ConfigError where columns would not stand where they stood.
        """
        more = Columns(features, self.stream_key, missing, self.hash_key)
        if more.fixed:
            before, now = self.labels, more.labels
            if now[: len(before)] != before or more.indicator[: len(before)] != self.indicator:
                raise ConfigError(
                    "features: columns that were learned keep their places, and new ones stand behind them; expected "
                    f"{list(before)} first, got {list(now)}"
                )
        else:
            if self._encoder is not None:
                raise ConfigError("features: the columns of encoders cannot become names that are discovered")
            more._ignored = self._ignored
            more._name(self.names)
        if more._absence is not None and self._absence is not None:
            more._absence = self._absence
        return more

    def state(self) -> dict[str, Any]:
        """Names discovered so far, as JSON values; raises TypeError for names JSON cannot hold."""
        return {
            "names": [_to_json(name) for name in self.names],
            "ignored": sorted(map(_to_json, self._ignored), key=str),
            "absence": None if self._absence is None else self._absence.state(),
        }

    def restored(self, state: Mapping[str, Any]) -> Columns:
        """The columns whose ``state`` this is."""
        more = copy.copy(self)
        more._ignored = frozenset(map(_from_json, state["ignored"]))
        more._absence = None if state["absence"] is None else Absence.restored(state["absence"])
        names = list(map(_from_json, state["names"]))
        if len(set(names)) != len(names) or (self.fixed and tuple(names) != self.names):
            raise ValueError(f"columns: names must differ, and be those of the features where these are told: {names}")
        # There may be fewer: a column has an entry from the first event on that is learned with it.
        if more._absence is not None and more._absence.columns > len(names):
            raise ValueError(
                f"absence: expected an entry for each of {len(names)} columns, got {more._absence.columns}"
            )
        return more.appended(names[len(self.names) :])

    def key(self, x: Mapping[Any, Any]) -> bytes:
        """The stream's key. Raises RecordError when the event does not name its stream."""
        if self.stream_key is None:
            return b""
        value = x.get(self.stream_key)
        if is_missing(value) or value != value:
            raise RecordError(
                "no_key",
                f"stream_key: the event has no feature {self.stream_key!r}, or it is None or NaN; a transformer in "
                "front may have changed or dropped it",
            )
        return canonical_text(value, str(self.stream_key)).encode("utf-8", "surrogatepass")

    def extended_by(self, frame: pd.DataFrame) -> list[tuple[int, Columns]]:
        """``extended`` row by row over a frame: the columns from each row on at which they change, and from row 0."""
        stages = [(0, self)]
        if self.fixed or self._known.issuperset(frame.columns):
            return stages
        new = frame[[name for name in frame.columns if name not in self._known]]
        present = [(column.notna() & ~column.isin([math.inf, -math.inf])).to_numpy() for _, column in new.items()]
        for i in sorted({int(rows.argmax()) for rows in present if rows.any()}):
            columns = stages[-1][1].extended(new.iloc[i].to_dict())
            if i == 0:
                stages = [(0, columns)]
            elif columns is not stages[-1][1]:
                stages.append((i, columns))
        return stages

    def rows(self, frame: pd.DataFrame) -> Floats:
        """The columns of every row of a frame, (n, n_features)."""
        if self._encoder is None and set(self.names) <= set(frame.columns):
            chosen = frame[list(self.names)]
            if all(getattr(kind, "kind", "O") in "fiub" for kind in chosen.dtypes):
                return np.array(chosen.to_numpy(np.float64), order="C").reshape(len(frame), self.n_features)
        names = list(frame.columns)
        events = (dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None))
        values = in_rows(self.row, events, frame.index)
        return np.array(values, np.float64).reshape(len(frame), self.n_features)

    def keys(self, frame: pd.DataFrame) -> list[bytes]:
        """The stream's key of every row of a frame."""
        if self.stream_key is None:
            return [b""] * len(frame)
        if self.stream_key not in frame.columns:
            raise RecordError("no_key", f"stream_key: the frame has no column {self.stream_key!r}")
        events = ({self.stream_key: value} for value in frame[self.stream_key].tolist())
        return in_rows(self.key, events, frame.index)


class Encoded(NamedTuple):
    """An event as the learner takes it, and the columns that are to be the estimator's once it is learned."""

    columns: Columns
    x: Mapping[Any, Any]
    row: list[float]
    key: bytes


def in_rows(convert: Callable[[V], W], values: Iterable[V], index: pd.Index) -> list[W]:
    """Every row's value converted; a RecordError says which row it was."""
    converted: list[W] = []
    for value in values:
        try:
            converted.append(convert(value))
        except RecordError as error:
            place = len(converted)
            label = index[place]
            where = f"row {place}" + ("" if label == place else f", labelled {label}")
            raise RecordError(error.reason, f"{where}: {error.detail}") from error
    return converted


def is_name(value: Any) -> bool:
    """Whether a feature can be called so: whether it can be a dict's key."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _to_json(name: Any) -> Any:
    """A feature's name as JSON; raises TypeError where there is none for it. River's n-grams are tuples."""
    if isinstance(name, tuple):
        return [_to_json(part) for part in name]
    plain = name.item() if isinstance(name, np.generic) else name
    if not isinstance(plain, str | int | float | bool | None):
        raise TypeError(f"features are saved under their names, which must be text, numbers or tuples, got {name!r}")
    return plain


def _from_json(name: Any) -> Hashable:
    return tuple(map(_from_json, name)) if isinstance(name, list) else name


def _checked(value: Any, name: Hashable) -> float:
    """The number a feature stands for, NaN where missing."""
    try:
        return number(value, str(name))
    except RecordError as error:
        if isinstance(value, str):
            raise RecordError(
                error.reason,
                f"{error.detail}; give text an encoder (features=[OneHot(field={str(name)!r}, categories=...), ...]) "
                "or put a transformer in front",
            ) from None
        raise
