"""From a block of records to the rows that the kernel reads, and back to one line for each record.

A record is one row; where it is a text, one row for each unit, the end of the text among them, and then one that asks
what comes next and changes nothing. So a text may be of any length: only that last row has a prediction to write. All
rows of a text have its time (no time passes between its units), its features and its stream.

Nothing here computes, and no row depends on how the log was cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.core.kinds import CLOSE, IMAGINE
from streamrnn.learner.block import EVENT, LABEL, PREDICT, Block
from streamrnn.learner.calls import Inputs
from streamrnn.learner.predictions import TextScores
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import UNDECLARED, Vocabulary

MOST_ROWS = 1 << 16
"""Rows of texts that the kernel is given at once: to call it again costs less than to have more room for them."""

Whole = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint8]


class Leaving(NamedTuple):
    """A stream that leaves its slot before a record of the block."""

    row: int
    slot: int
    key: bytes


class Placed(NamedTuple):
    """The records of a block with what the index of streams says of each, and of streams that leave for them."""

    block: Block
    slot: Whole
    fresh: Flags
    time_ms: Whole
    kind: Kinds
    leaving: tuple[Leaving, ...] = ()

    def rows(self, rows: slice) -> Placed:
        """The same of some records."""
        start, stop, _ = rows.indices(len(self.slot))
        return Placed(
            self.block.rows(rows), self.slot[rows], self.fresh[rows], self.time_ms[rows], self.kind[rows],
            tuple(each._replace(row=each.row - start) for each in self.leaving if start <= each.row < stop),
        )  # fmt: skip


def inputs_of(
    records: Placed, spec: LearnerSpec, vocabularies: Sequence[Vocabulary], classes: Vocabulary | None
) -> Inputs:
    """The rows of records, one for each; symbols that come first are given their numbers.

    Classes of an open set are written to the block's ``y``.
    """
    block, kind = records.block, records.kind
    if block.labels is not None and classes is not None:
        write_classes(block.labels, kind, bring_classes(spec), classes, block.y)
    return Inputs(
        slot=records.slot,
        fresh=records.fresh,
        time_ms=records.time_ms,
        x=block.x,
        symbols=looked_up(block.symbols, kind, vocabularies),
        y=block.y,
        end=block.end & ends(spec),
        kind=kind,
        event=block.event,
    )


def looked_up(symbols: Sequence[Sequence[str | None]], kind: Kinds, vocabularies: Sequence[Vocabulary]) -> Whole:
    """The row that each symbol (n, inputs) looks up, -1 = none: missing, not declared, or of a record without inputs.

    A symbol that comes first is given its number by an event, by a question it is looked up only.
    """
    rows = np.full((len(kind), len(vocabularies)), -1, np.int64)
    first = 0
    for column, (texts, vocabulary) in enumerate(zip(symbols, vocabularies, strict=True)):
        for i, (text, of) in enumerate(zip(texts, kind.tolist(), strict=True)):
            if text is not None and of in (EVENT, PREDICT, IMAGINE):
                number = vocabulary.assign(text) if of == EVENT else vocabulary.number(text)
                rows[i, column] = -1 if number == UNDECLARED else first + number
        first += vocabulary.size
    return rows


def bring_classes(spec: LearnerSpec) -> tuple[int, ...]:
    """The kinds of record whose class is looked at."""
    return (LABEL,) if spec.target.known == "label" else (EVENT, LABEL)


def write_classes(
    labels: Sequence[str | None], kind: Kinds, bring: Sequence[int], classes: Vocabulary, y: Numbers
) -> None:
    """The numbers of the classes that records of these kinds ``bring`` into y (n, 1), NaN = unknown.

    Those that come first are given one.
    """
    for i, (label, of) in enumerate(zip(labels, kind.tolist(), strict=True)):
        if of in (EVENT, LABEL):
            y[i, 0] = np.nan if label is None or of not in bring else classes.assign(label)


class TextRows:
    """The rows of records that are texts.

    Parameters
    ----------
    records
        The records; each has one row at least.
    symbols
        The rows that their other inputs look up (n, inputs).
    classes
        The units' numbers; those that come first are given one.
    """

    def __init__(self, records: Placed, symbols: Whole, spec: LearnerSpec, classes: Vocabulary) -> None:
        texts = records.block.texts
        assert spec.text is not None and texts is not None
        self._records, self._symbols = records, symbols
        self._end = (records.block.end & spec.has_end) | (not spec.text.carry)
        event = records.kind == EVENT
        end = [] if classes.end is None else [np.array([classes.end], np.int64)]
        parts, self._units = [], np.zeros(len(texts), np.int64)
        for i in np.flatnonzero(event).tolist():
            numbers = classes.units(texts[i], assign=True)
            parts += [numbers, *end]
            self._units[i] = len(numbers) + len(end)
        self._numbers = np.concatenate([np.zeros(0, np.int64), *parts])
        # A text without any unit may still be the last of its sequence.
        self._count = np.where(event, self._units + (self._end & (self._units == 0)) + 1, 1)
        self._first_unit, self._first_row = _starts(self._units), _starts(self._count)
        self._last_kind = np.where(event, np.uint8(PREDICT), records.kind)

    def __len__(self) -> int:
        return int(self._count.sum())

    def parts(self) -> Iterator[Part]:
        """All rows in order, at most ``MOST_ROWS`` at a time."""
        for start in range(0, len(self), MOST_ROWS):
            yield self._part(np.arange(start, min(start + MOST_ROWS, len(self))))

    def _part(self, rows: Whole) -> Part:
        of = np.searchsorted(self._first_row, rows, side="right") - 1
        place, block = rows - self._first_row[of], self._records.block
        is_unit, asks = place < self._units[of], place == self._count[of] - 1
        closes = is_unit & (place == self._units[of] - 1)
        unit = (self._first_unit[of] + place)[is_unit]
        y = np.full((len(rows), 1), np.nan)
        y[is_unit, 0] = np.where(self._numbers[unit] == UNDECLARED, np.nan, self._numbers[unit])
        inputs = Inputs(
            slot=self._records.slot[of],
            fresh=self._records.fresh[of] & (place == 0),
            time_ms=self._records.time_ms[of],
            x=block.x[of],
            symbols=self._symbols[of],
            y=y,
            end=closes & self._end[of],
            kind=np.where(is_unit, np.uint8(EVENT), np.where(asks, self._last_kind[of], np.uint8(CLOSE))),
            event=block.event[of],
            out=np.where(asks, of, -1),
            closes=closes,
        )
        return Part(inputs, of, is_unit, unit, asks, closes)

    def scores(self) -> TextScores:
        """To be filled with the losses of all units."""
        bounds = np.append(self._first_unit, len(self._numbers))
        return TextScores(bounds, np.full(len(self._numbers), np.nan), self._numbers)


class Part(NamedTuple):
    """Some of the rows of texts: which record each belongs to, whether it is a unit, the places of those,
    whether a row asks what comes next, and whether it is a text's last unit."""

    inputs: Inputs
    of: Whole
    is_unit: Flags
    unit: Whole
    asks: Flags
    closes: Flags


def _starts(counts: Whole) -> Whole:
    return np.cumsum(counts) - counts


def mean_of(values: Numbers, of: Whole, n: int) -> Numbers:
    """The mean of those known, over the values of each of n records; NaN where none is.

    Added up one after the other, whatever stands before and behind: the same bits however the log was cut.
    """
    known = ~np.isnan(values)
    sums = np.bincount(of[known], values[known], n)
    counts = np.bincount(of[known], minlength=n)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def require_fit(block: Block, spec: LearnerSpec, classes: Vocabulary | None) -> None:
    """Refuse what would make a kernel read or write outside its arrays; codecs never give such blocks."""
    n = len(block)
    wide = {"x": (n, spec.n_features), "y": (n, spec.n_targets)}
    for name in ("time_ms", "end", "kind", "event", "x", "y"):
        if (shape := np.shape(getattr(block, name))) != (expected := wide.get(name, (n,))):
            raise ValueError(f"block.{name} has shape {shape}, expected {expected}: one row for each of the {n} keys")
    require_symbols(block, spec)
    if block.labels is None and block.texts is None:
        require_classes(block.y, classes)


def require_symbols_of(name: str, symbols: Sequence[Sequence[object]], spec: LearnerSpec, n: int) -> None:
    """Raise ValueError unless there is a column of n symbols for each input that is one."""
    if len(symbols) != len(spec.symbols):
        raise ValueError(
            f"{name} has {len(symbols)} columns, expected {len(spec.symbols)}: one for each input that is a symbol"
        )
    for i, column in enumerate(symbols):
        if len(column) != n:
            raise ValueError(f"{name}[{i}] has {len(column)} rows, expected {n}")


def require_symbols(block: Block, spec: LearnerSpec) -> None:
    """Raise ValueError where symbols, classes or texts are not those that a learner of ``spec`` takes."""
    require_symbols_of("block.symbols", block.symbols, spec, len(block))
    columns: dict[str, Sequence[object] | None] = {"labels": block.labels, "texts": block.texts}
    for name, column in columns.items():
        if column is not None and len(column) != len(block):
            raise ValueError(f"block.{name} has {len(column)} rows, expected one for each of the {len(block)} keys")
    if block.labels is not None and (not spec.target.is_open or spec.text is not None):
        raise ValueError("block.labels goes with an open set of classes of records; others are numbers, in block.y")
    if block.texts is None:
        return
    if spec.text is None:
        raise ValueError("block.texts goes with a learner of texts; its specification has no text")
    # Words are no str or bytes, whose units are others, though these are sequences, too.
    kind = {"byte": (bytes,), "character": (str,), "word": (list, tuple)}[spec.text.unit]
    if others := {type(text).__name__ for text in block.texts if not isinstance(text, kind)}:
        raise ValueError(
            f"block.texts holds {', '.join(sorted(others))}, expected {' or '.join(of.__name__ for of in kind)}: "
            f"its unit is a {spec.text.unit}"
        )


def ends(spec: LearnerSpec) -> bool:
    """Whether an end that comes with a record, or with a unit of a text, is taken for one."""
    return spec.has_end or (spec.text is not None and not spec.text.carry)


def require_classes(y: Numbers, classes: Vocabulary | None) -> None:
    """Raise ValueError for numbers that are no class in use; NaN, which says that none is known, may be among them."""
    if classes is not None:
        known = y[~np.isnan(y)]
        if ((known < 0) | (known >= classes.known) | (known != np.floor(known))).any():
            raise ValueError(f"block.y holds class indices outside 0 to {classes.known - 1}")


def require_class(y: float, classes: Vocabulary) -> None:
    """The same for one number, at a fraction of the cost."""
    if not (math.isnan(y) or (0 <= y < classes.known and y == int(y))):
        raise ValueError(f"y: {y:g} is no class; expected a whole number from 0 to {classes.known - 1}, NaN = unknown")
