"""What is predicted: the field that was asked for, or the most plausible one, and when its value becomes known.

A field that was named is predicted from the rest of its record (``known: record``), or, where the rest says nothing, as
the stream's next value. Where none was named the choice has to run and be honest whatever the data are: the next value
of a number (``known: forecast``) looks at nothing that is not known by then. Only a field that is called like something
to be found out (label, delay, fraud ...) is taken as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from streamrnn.drafting.encoders import CODE, is_identifier, number, only_grows, percent, period_of
from streamrnn.drafting.fields import Field, Kind
from streamrnn.drafting.sample import Sample
from streamrnn.drafting.streams import Streams
from streamrnn.errors import ConfigError
from streamrnn.escaping import name, names
from streamrnn.job.codec.names import told

MANY: Final = 10
"""Values from which on a number is likelier a measurement than a setting."""
MOST_CLASSES: Final = 100
_FEW_CLASSES: Final = 20
"""Values up to which a field that nobody named is a candidate for classes."""

_FOUND_OUT = re.compile(
    r"(?:^|_)(?:y|target|label|outcome|delay|delayed|late|lateness|fraud|fraudulent|churn|churned|failed|failure|fault|anomaly|"
    r"default|defaulted|clicked|converted|duration|eta|rating|score)(?:$|_(?:s|ms|min|minutes|seconds)$)|^is_.*|^has_.*"
)
_MEASURED = re.compile(
    r"(?:^|[_.])(?:value|amount|price|load|demand|temp|temperature|humidity|pressure|power|energy|consumption|usage|speed|"
    r"flow|level|count|total|quantity|qty|volume|sales|revenue|rate|latency|cpu|memory|voltage|current|weight|co2)(?:$|[_.])"
)


@dataclass(frozen=True, eq=False)
class Target:
    """The field that is predicted. ``classes`` are its values where it is no number; ``others`` could be it, too."""

    field: Field
    known: Literal["record", "forecast"]
    why: str
    classes: Sequence[str | bool] | None = None
    others: Sequence[str] = ()

    @property
    def path(self) -> str:
        """The field's path."""
        return self.field.path


def target_of(sample: Sample, fields: Mapping[str, Field], streams: Streams, wanted: str | None) -> Target:
    """The target. Raises ConfigError for one that is not there or cannot be predicted, and where there is none."""
    candidates = _candidates(fields, streams)
    if wanted is not None:
        field = _named(sample, fields, wanted)
        others = [_described(f) for f in candidates if f is not field]
        return Target(field, "record", "as asked for", _classes(field), others)
    if not candidates:
        raise ConfigError(
            f"{sample.source.text}: no field could be predicted: none is a number that varies, or has a few values "
            f"(found {names(list(fields))}); name one with --target"
        )
    field, *rest = candidates
    others = [_described(f) for f in rest]
    classes = _classes(field)
    if _FOUND_OUT.search(_words(field)):
        return Target(field, "record", "by its name something to be found out; --target names another", classes, others)
    if classes is not None:
        return Target(
            field,
            "record",
            "no number could be forecast, and it has few values; --target names another",
            classes,
            others,
        )
    why = "the number that most looks like a measurement; --target names another"
    return Target(field, "forecast", why, None, others)


def _named(sample: Sample, fields: Mapping[str, Field], wanted: str) -> Field:
    field = fields.get(wanted)
    where = sample.source.text
    if field is None:
        raise ConfigError(f"--target: no record of {where} has a field {name(wanted)!r}; {told(wanted, list(fields))}")
    if field.kind is Kind.NOTHING:
        raise ConfigError(
            f"--target: {name(wanted)!r} is null in all {len(sample):,} records looked at of {where}, so there is "
            "nothing to learn; expected a field that has values"
        )
    if field.kind is Kind.TIME or not field.is_single:
        raise ConfigError(
            f"--target: {name(wanted)!r} is {field.kind.value}; expected a number or a field with a few values (of an "
            "array, an element: a[0])"
        )
    if field.written is not None and field.distinct > MOST_CLASSES:
        raise ConfigError(f"--target: {name(wanted)!r} is {field.written}")
    if field.kind in (Kind.TEXT, Kind.MIXED) and not 2 <= field.distinct <= MOST_CLASSES:
        raise ConfigError(
            f"--target: {name(wanted)!r} has {field.distinct:,} different values; "
            f"expected a number, or from 2 to {MOST_CLASSES} classes{_as_symbols(field)}"
        )
    if field.kind is Kind.BOOLEAN and field.distinct < 2:
        (value,) = field.counts
        raise ConfigError(
            f"--target: {name(wanted)!r} is {value} in all {len(sample):,} records looked at; expected both values"
        )
    return field


def _as_symbols(field: Field) -> str:
    """What to write instead, where there are too many values to list."""
    if field.distinct < 2:
        return ""
    target = f"{{fields: [{field.path}], known: forecast, classes: {{open: true}}}}"
    return (
        f". A stream's next value out of many is forecast by target: {target}, written by hand into the job drafted "
        "for another target (deploy/SYMBOLS.md)"
    )


def _classes(field: Field) -> Sequence[str | bool] | None:
    """Its classes, the most frequent first but for truth values; None where it is a number."""
    if field.kind is Kind.BOOLEAN and not field.is_text:
        return [False, True]
    if field.kind is Kind.NUMBER and not (field.distinct == 2 and field.whole):
        return None
    return sorted(field.counts, key=lambda text: (-field.counts[text], text))


def _candidates(fields: Mapping[str, Field], streams: Streams) -> list[Field]:
    """Fields that could be predicted, the most plausible first."""
    found = [field for field in fields.values() if field.path not in streams.alike and _is_candidate(field)]
    order = list(fields)

    def rank(field: Field) -> tuple[bool, bool, bool, bool, bool, float, int]:
        words = _words(field)
        return (
            not _FOUND_OUT.search(words),
            not _FOUND_OUT.fullmatch(words),
            _classes(field) is not None,
            field.distinct < MANY,
            not _MEASURED.search(_words(field, whole=True)),
            round(field.missing_share, 1),
            order.index(field.path),
        )

    return sorted(found, key=rank)


def _is_candidate(field: Field) -> bool:
    if field.kind is Kind.BOOLEAN or field.kind is Kind.TEXT or (field.kind is Kind.NUMBER and field.distinct == 2):
        return (
            2 <= field.distinct <= _FEW_CLASSES
            and field.present >= 2 * field.distinct
            and not (field.kind is Kind.NUMBER and period_of(field))
        )
    if field.kind is not Kind.NUMBER or field.distinct < 3 or is_identifier(field) or period_of(field):
        return False
    if field.whole and CODE.search(field.name):
        return False
    return not only_grows(field)


def _words(field: Field, *, whole: bool = False) -> str:
    """The words of a field's name, or of its whole path, with lines between them."""
    path = field.path if whole else field.path.rpartition(".")[2]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path).lower()


def _described(field: Field) -> str:
    classes = _classes(field)
    if classes is not None:
        most = max(field.counts.values()) / field.present
        return f"{name(field.path)} ({len(classes)} classes, {percent(most)} of one)"
    known = field.numbers[~np.isnan(field.numbers)]
    return f"{name(field.path)} ({number(float(known.min()))} to {number(float(known.max()))})"
