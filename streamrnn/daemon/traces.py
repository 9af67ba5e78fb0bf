"""What is predicted of a few streams beside what came, for as long as somebody looks.

The streams are those that the newest records were of most often; one is followed until it is forgotten or silent while
others are not. Nothing is done per record: with nobody looking, a batch leaves the slots of its last records, and with
somebody looking, the rows of each followed stream are found by one comparison of arrays, and the last few are kept.

A forecast is shown beside the value it was of: the next one. A label goes to the event it names. Of texts there is one
number: how many bits a symbol of it cost. Of a whole sequence of which several things are said there is one, too: how
wrong they were.
"""

from __future__ import annotations

import base64
from collections import deque
from math import isfinite, log, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.predictions import Predictions, Told
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.streams import StreamIndex
from streamrnn.learner.symbols import Label
from streamrnn.learner.values import canonical_text
from streamrnn.learner.vocabulary import Vocabulary

POINTS = 80
"""Points kept of a stream."""
AT_ONCE = 20
"""Points taken from one batch: of a stream with more, those before are left out."""
RECENT = 512
"""Records among which the most frequent streams are looked for."""
SHOWN_KEY = 200
"""Characters of a key, or of a class, that are shown."""
FEW_CLASSES = 32
"""So many classes are all named."""

_NOBODYS = -1

Numbers = npt.NDArray[np.float64]


class Columns(NamedTuple):
    """Which outputs are shown: the first target's, one step ahead, at the middle level and the outermost ones."""

    middle: int
    low: int | None
    high: int | None

    @classmethod
    def of(cls, spec: LearnerSpec) -> Columns:
        """Levels run fastest among the outputs, so the first target's stand at the very beginning."""
        levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
        if not levels:
            return cls(0, None, None)
        middle = min(range(len(levels)), key=lambda q: abs(levels[q] - 0.5))
        return cls(middle, 0, len(levels) - 1) if len(levels) > 1 else cls(middle, None, None)


class Trace:
    """One followed stream. A point is time, event, actual, predicted, low, high; what is not known is NaN."""

    def __init__(self, key: bytes, slot: int) -> None:
        self.key, self.slot = key, slot
        self.points: deque[list[float]] = deque(maxlen=POINTS)
        self.carried = [nan] * 3  # what the newest forecast says of the next record
        self.quiet = 0  # how often it was looked at since its newest record

    def add(self, times: Numbers, events: Numbers, actual: Numbers, predicted: Numbers) -> None:
        """More records: arrays of n, ``predicted`` [n, 3]."""
        self.quiet = 0
        for at in range(len(times)):
            self.points.append([float(times[at]), float(events[at]), float(actual[at]), *predicted[at].tolist()])

    def label(self, events: Numbers, actual: Numbers) -> None:
        """What came of earlier events."""
        came = dict(zip(events.tolist(), actual.tolist(), strict=True))
        for point in self.points:
            point[2] = came.get(point[1], point[2])


class Traces:
    """The followed streams of one partition; all calls come from the loop's thread."""

    def __init__(self, spec: LearnerSpec) -> None:
        self._columns = Columns.of(spec)
        self._predicts_classes = spec.target.classes is not None
        self._labels = spec.target.labels
        self._of_texts, self._of_sequences = spec.text is not None, spec.sequence is not None
        self._scored = None
        if spec.target.kind not in (None, "label"):
            self._scored = "of it wrong" if self._predicts_classes else "off on average"
        self._logistic = spec.model.readout == "logistic"
        self._forecast = spec.target.known == "forecast"
        self._recent: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.followed: list[Trace] = []

    def note(
        self,
        slots: npt.NDArray[np.int64],
        block: Block,
        predictions: Predictions,
        silent: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """What was predicted of the records of a block, whose streams have these slots; of ``silent`` rows nothing."""
        self._recent = np.concatenate([self._recent, slots[-RECENT:]])[-RECENT:]
        if predictions.told is not None:
            self._follow_told(predictions.told, predictions)
            return
        if silent is not None:
            slots = np.where(silent, _NOBODYS, slots)
        for trace in self.followed:
            rows = np.flatnonzero(slots == trace.slot)
            if len(rows):
                self._follow(trace, rows, block, predictions)

    def stop(self) -> None:
        """Nobody looks any more."""
        self.followed = []

    def choose(self, streams: StreamIndex, most: int) -> None:
        """Follow up to ``most`` streams: those followed that are still there, and the most frequent of the others."""
        quiet = [trace for trace in self.followed if trace.quiet > POINTS]
        self.followed = [t for t in self.followed if streams.find(t.key) == t.slot and t not in quiet][:most]
        for trace in self.followed:
            trace.quiet += 1
        slots, counts = np.unique(self._recent, return_counts=True)
        for slot in slots[np.argsort(-counts, kind="stable")].tolist():
            if len(self.followed) >= most:
                return
            key = None if slot >= streams.n_slots else streams.key_of(slot)  # labels of unknown streams have no slot
            if key is not None and all(trace.slot != slot for trace in self.followed):
                self.followed.append(Trace(key, slot))

    def shown(self, classes: Vocabulary | None = None) -> list[dict[str, Any]]:
        """Each followed stream with its points: time, actual, predicted, and the interval around that, if any.

        ``classes`` has the labels of an open set. Of texts what stands for the prediction is bits per symbol, and where
        there is something in ``scored``, how wrong it was.
        """
        width = 3 if self._columns.low is None else 5
        return [
            {
                **named_key(trace.key, SHOWN_KEY),
                "points": [[point[0], *point[2:]][:width] for point in trace.points],
                "classes": self._names(trace, classes),
                "bits_per_symbol": self._of_texts,
                "scored": self._scored,
            }
            for trace in self.followed
        ]

    def _names(self, trace: Trace, classes: Vocabulary | None) -> list[str] | dict[int, str] | None:
        """What the numbers of its points mean; of a large set only those that are among them."""
        if not self._predicts_classes or self._of_texts or self._scored:
            return None
        if self._labels is not None and len(self._labels) <= FEW_CLASSES:
            return [canonical_text(label, "") for label in self._labels]
        numbers = sorted({int(v) for point in trace.points for v in point[2:4] if isfinite(v)})
        labels = {number: self._label(number, classes) for number in numbers}
        return {n: "other" if label is None else canonical_text(label, "")[:SHOWN_KEY] for n, label in labels.items()}

    def _label(self, number: int, classes: Vocabulary | None) -> Label | None:
        if self._labels is not None:
            return self._labels[number]
        return None if classes is None else classes.label(number)

    def _follow(self, trace: Trace, rows: npt.NDArray[np.int64], block: Block, predictions: Predictions) -> None:
        labels = rows[block.kind[rows] == LABEL][-AT_ONCE:]
        events = rows[block.kind[rows] == EVENT]
        if self._of_sequences and predictions.sequences is not None:  # one point for each, and none before its end
            events = events[predictions.sequences.complete[events]]
        if self._of_texts or self._scored:
            measured = predictions.loss / log(2) if self._of_texts else predictions.error
            self._follow_measured(trace, events[-AT_ONCE:], block, measured)
            return
        if len(events):
            kept = events[-AT_ONCE:]
            # One more than are kept: what a forecast says is of the record behind it.
            predicted = self._shown_outputs(predictions.value[events[-AT_ONCE - 1 :]])
            if self._forecast:
                predicted = self._due(trace, predicted)
            trace.add(
                block.time_ms[kept].astype(np.float64),
                block.event[kept].astype(np.float64),
                block.y[kept, 0],
                predicted[-len(kept) :],
            )
        if len(labels):
            trace.label(block.event[labels].astype(np.float64), block.y[labels, 0])

    def _follow_told(self, told: Told, predictions: Predictions) -> None:
        """Of events that have waited, which are not those of the block's records."""
        for trace in self.followed:
            rows = np.array([i for i, key in enumerate(told.keys) if key == trace.key][-AT_ONCE:], np.int64)
            if len(rows):
                shown = self._shown_outputs(predictions.value[rows])
                trace.add(told.time_ms[rows].astype(np.float64), np.full(len(rows), nan), told.y[rows, 0], shown)

    def _follow_measured(self, trace: Trace, rows: npt.NDArray[np.int64], block: Block, measured: Numbers) -> None:
        shown = np.full((len(rows), 3), nan)
        shown[:, 0] = measured[rows]
        unknown = np.full(len(rows), nan)
        trace.add(block.time_ms[rows].astype(np.float64), unknown, unknown, shown)

    def _due(self, trace: Trace, forecasts: Numbers) -> Numbers:
        """What was said of each of these records at the one before it, which for the first came with a batch before."""
        carried, trace.carried = trace.carried, forecasts[-1].tolist()
        return np.concatenate([[carried], forecasts[:-1]])

    def _shown_outputs(self, value: Numbers) -> Numbers:
        """Middle, low and high (n, 3) of outputs (n, n_outputs); of classes the likeliest one's number."""
        middle, low, high = self._columns
        shown = np.full((len(value), 3), np.nan)
        if not self._predicts_classes:
            shown[:, 0] = value[:, middle]
            if low is not None and high is not None:
                shown[:, 1], shown[:, 2] = value[:, low], value[:, high]
        elif self._logistic:
            shown[:, 0] = value[:, 0] > 0.5  # at 0.5 the first class, as in predictions and scores
        else:
            shown[:, 0] = value.argmax(axis=1)
        return shown


def named_key(key: bytes, most: int | None = None) -> dict[str, str | None]:
    """A stream's key as the predictions name it: text, or ``stream_base64`` where it is none; cut after ``most``."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return {"stream": None, "stream_base64": base64.b64encode(key[:most]).decode("ascii")}
    return {"stream": text if most is None or len(text) <= most else f"{text[:most]}..."}
