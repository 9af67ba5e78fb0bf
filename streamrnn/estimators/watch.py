"""Finding out whether labels come later than their events, where nobody said so.

As a rule a prediction is a question and changes nothing. In an evaluation with delayed labels, though, the events are
those that were predicted: their order is that of the predictions, and what is learned later was long seen. Served as
questions, all predictions would come from the state of an event long past.

Two things tell. River's own evaluation is among the callers, and says whether labels are delayed: that is certain from
the first event on. In anybody else's loop, events are learned in the order in which they were predicted, and each of
them was predicted before another lesson. A question never looks so: it is not learned, or right after it was asked.
Events that all look alike (no features) tell nothing: one question too many at the beginning leaves the same calls
behind as a delay.

Nothing here outlives the process, since predicting must change nothing that is saved.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from collections import OrderedDict, deque
from collections.abc import Mapping
from enum import Enum, auto
from itertools import islice
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from streamrnn.errors import RecordError
from streamrnn.estimators.columns import Columns, Floats

IN_ORDER = 5
"""So many events in a row that are learned late and in order, all of them different, are no accident."""
UNCLEAR = 32
"""So many that are late in another order, or look like others, are worth a warning."""
PASSED_BY = 256
"""Lessons after which a prediction that labels have passed by is forgotten."""
COMPARED = 16
"""Newest predicted events that one with changed values is compared with."""
RECENT = 64
"""Newest predicted events that have to be different for their order to tell."""
CHECKED = 8
"""Predictions after each lesson whose callers are looked at."""
WIDE = 64
"""Columns from which on arrays are faster than numbers one by one."""
LESSONS = frozenset({"learn_one", "learn_many"})
"""Names of the methods that learn."""
REMEMBERED = 4096
"""Newest predicted events that are compared with those learned."""
REMEMBERED_FEATURES = 2**18
"""Features that they may have, all together: events of very many take too much memory."""

Mark = tuple[bytes, bytes, bytes]
"""An event's stream, its columns that are not 0, and their values: events of very many columns have few such."""


class Verdict(Enum):
    """What a lesson says about the predictions before it."""

    NOTHING = auto()
    LATE = auto()
    UNCLEAR = auto()


class Asked(NamedTuple):
    """An event that was predicted."""

    mark: Mark
    x: dict[Any, Any]
    lessons: int  # before it was predicted


class Evaluation(NamedTuple):
    """River's evaluation with delayed labels: predictions whose labels are to come, and whether in order."""

    waiting: int
    in_order: bool


class Asker(Enum):
    """Who asks for a prediction, if not the evaluation."""

    ANYBODY = auto()
    LESSON = auto()  # something around the estimator that learns, from what the estimator would have predicted


class Watch:
    """Compares the events that are learned with those that were predicted.

    Attributes
    ----------
    single
        Features of the only event in doubt, if there is just one: the usual case costs next to nothing.
    asked
        Events in doubt by number, oldest first, where there are more.
    checks
        Predictions since the newest lesson whose callers were looked at.
    """

    def __init__(self) -> None:
        self.single: dict[Any, Any] | None = None
        self.checks = 0
        self.asked: OrderedDict[int, Asked] = OrderedDict()
        self._of_mark: dict[Mark, deque[int]] = {}
        self._features = 0  # of the events asked
        self._number = 0
        self._lessons = 0
        self._settled = 0  # the newest event that was learned
        self._in_order = 0
        self._unclear = 0
        self._changed = 0  # lessons whose event is like none, and most like the one that is due; less the others, twice
        self._newest_mark: Mark = (b"", b"", b"")  # of the newest lesson
        self._alike: tuple[int, int] = (0, 0)  # how many wait that look alike, and for how many lessons
        self._recent: OrderedDict[Mark, None] = OrderedDict()
        self._different = 0  # predictions since one looked like a recent one

    def events(self) -> list[dict[Any, Any]]:
        """The events predicted and not learned, oldest first."""
        return ([] if self.single is None else [self.single]) + [each.x for each in self.asked.values()]

    def ask(self, columns: Columns, x: Mapping[Any, Any]) -> None:
        """Another event was predicted while one was in doubt."""
        if self.single is not None:
            first, self.single = self.single, None
            self._add(columns, first)
        self._add(columns, dict(x))

    def _add(self, columns: Columns, x: dict[Any, Any]) -> None:
        try:  # in the columns that its features will have, not only in those known now
            mark = _mark(columns.key(x), columns.with_row(x)[1])
        except RecordError:
            return  # what cannot be learned is only a question
        self._note(mark, x)

    def ask_frame(self, rows: Floats) -> None:
        """The events of a data frame were predicted."""
        self._note(_mark(b"", _digest(rows)), {})

    def learn_frame(self, rows: Floats) -> Verdict:
        """The events of a data frame are learned."""
        return self.learn(b"", _digest(rows)) if self.asked else Verdict.NOTHING

    def _note(self, mark: Mark, x: dict[Any, Any]) -> None:
        self._number += 1
        self.asked[self._number] = Asked(mark, x, self._lessons)
        self._features += len(x)
        self._of_mark.setdefault(mark, deque()).append(self._number)
        self._different = 0 if mark in self._recent else self._different + 1
        self._recent[mark] = None
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        while len(self.asked) > REMEMBERED or (self._features > REMEMBERED_FEATURES and len(self.asked) > RECENT):
            self._remove(next(iter(self.asked)))

    def _remove(self, number: int) -> None:
        mark, x, _ = self.asked.pop(number)
        self._features -= len(x)
        alike = self._of_mark[mark]
        alike.remove(number)
        if not alike:
            del self._of_mark[mark]

    def clear(self) -> None:
        """Forget all that was asked."""
        self.single = None
        self.asked.clear()
        self._of_mark.clear()
        self._features = 0
        self._in_order = self._unclear = 0

    def learn(self, key: bytes, row: list[float]) -> Verdict:
        """An event is learned while several predictions are in doubt."""
        self.checks = 0
        self._lessons += 1
        mark = _mark(key, row)
        before, self._newest_mark = self._newest_mark, mark
        alike = self._of_mark.get(mark)
        if alike is None:
            self._in_order = 0
            return self._learn_changed(mark)
        if mark == before and len(alike) == len(self.asked) > 1:
            return self._all_alike(alike)
        newest, due = alike[-1], self._due
        in_order = due in alike
        if self.asked[newest].lessons < self._lessons - 1:
            return self._learn_late(due if in_order else newest, in_order)
        # Asked since the lesson before, as a question or an event without delay. But if the one that is due looks the
        # same, it may be the one that is learned.
        self._settle(due if in_order else newest)
        return Verdict.NOTHING

    @property
    def _due(self) -> int:
        """The event whose label comes next if labels come in order."""
        number = self._settled + 1
        while number <= self._number and number not in self.asked:
            number += 1
        return number if number <= self._number else next(iter(self.asked))

    def _settle(self, number: int) -> None:
        self._settled = number
        self._remove(number)
        # What labels have passed by long ago were questions.
        for old in list(islice(self.asked, 2)):
            if old < self._settled and self.asked[old].lessons < self._lessons - PASSED_BY:
                self._remove(old)

    def _learn_late(self, number: int, in_order: bool) -> Verdict:
        self._in_order = self._in_order + 1 if in_order else 0
        are_different = self._different > IN_ORDER
        if are_different and self._in_order >= IN_ORDER:
            for each in [each for each in self.asked if each < number]:
                self._remove(each)  # labels have passed them by: they were questions
            return Verdict.LATE  # this event included, all that was asked since waits for its label
        self._settle(number)
        # Of few values, questions and lessons meet by chance, though not for long in this order.
        self._unclear += are_different and not in_order
        return Verdict.UNCLEAR if UNCLEAR in (self._unclear, self._in_order) else Verdict.NOTHING

    def _learn_changed(self, mark: Mark) -> Verdict:
        """An event that was not predicted, or not with these values: a transformer in front may go on learning."""
        due = self._due
        # Of those that look alike the newest is meant: it comes first.
        candidates = [*islice(reversed(self.asked), COMPARED), due]
        nearest = min(candidates, key=lambda number: _distance(self.asked[number].mark, mark))
        is_late = self.asked[due].lessons < self._lessons - 1
        self._changed = max(0, self._changed + (1 if is_late and nearest == due else -2))
        self._settle(due if is_late else nearest)
        return Verdict.UNCLEAR if self._changed == UNCLEAR else Verdict.NOTHING

    def _all_alike(self, alike: deque[int]) -> Verdict:
        count, lessons = self._alike
        self._alike = (len(alike), lessons + 1 if count == len(alike) else 1)
        self._settle(alike[0])
        return Verdict.UNCLEAR if self._alike[1] == UNCLEAR else Verdict.NOTHING


def _mark(key: bytes, row: list[float]) -> Mark:
    """What an event is recognised by; columns that are new since it was predicted are no difference."""
    if len(row) < WIDE:
        columns = array("q", [i for i, value in enumerate(row) if value == value and value])
        return key, columns.tobytes(), array("d", [row[i] for i in columns]).tobytes()
    values = np.frombuffer(struct.pack(f"{len(row)}d", *row))  # in a third of the time of np.array
    known = np.flatnonzero((values == values) & (values != 0.0))
    return key, known.astype(np.int64).tobytes(), values[known].tobytes()


def _digest(rows: Floats) -> list[float]:
    """Numbers that tell one frame from another."""
    return [float(len(rows)), float(zlib.crc32(np.ascontiguousarray(rows).data))]


def _distance(one: Mark, other: Mark) -> float:
    if one[0] != other[0]:
        return math.inf
    a, b = _values(one), _values(other)
    return sum((a.get(column, 0.0) - b.get(column, 0.0)) ** 2 for column in {**a, **b})


def _values(mark: Mark) -> dict[int, float]:
    return dict(zip(array("q", mark[1]), array("d", mark[2]), strict=True))


def asker() -> Evaluation | Asker:
    """Who asks for the prediction that is being made: looks through the callers.

    What something around the estimator asks while it learns is a question, whoever has it learn: ensembles weigh their
    members by what these would have predicted.
    """
    module = sys.modules.get("river.evaluate.progressive_validation")
    code = getattr(getattr(module, "_progressive_validation", None), "__code__", None)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            its = frame.f_locals
            delay = its.get("delay")
            if delay is None:
                return Asker.ANYBODY
            if its.get("y") is not None:  # an answer, not a question
                return Asker.LESSON
            return Evaluation(len(its.get("preds", ())), not (isinstance(delay, str) or callable(delay)))
        if frame.f_code.co_name in LESSONS:
            return Asker.LESSON
        frame = frame.f_back
    return Asker.ANYBODY
