"""The output record of a prediction, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from streamrnn.broker.columns import Integers, Strings
from streamrnn.broker.protocol import Record
from streamrnn.job.codec.classes import LONG, LONGEST_TARGET, TOP, Classes, Numbers
from streamrnn.job.codec.records import Decoded
from streamrnn.job.codec.sequence_outputs import NOT_LEARNED, SequenceNames, pieces
from streamrnn.job.codec.told import offsets_of
from streamrnn.learner.block import EVENT, Block, Units
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabulary


class _Plain(msgspec.Struct, gc=False):
    stream: str | None
    topic: str
    partition: int
    offset: int
    timestamp: int
    prediction: Any
    target: Any
    updates: int


class _Prediction(_Plain, gc=False):
    surprise: Any = UNSET
    frames: int | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    not_learned: str | UnsetType = UNSET
    stream_base64: str | UnsetType = UNSET


Beside = tuple[Iterable[int], Iterable[bool | UnsetType], Iterable[str | UnsetType]]
"""What else is said of whole sequences: how many frames a record has, whether it is complete, why it was not
learned."""


class Written(NamedTuple):
    """Output records of m predictions, in the order in which they are sent: keys, values, the timestamps that Kafka
    has of their records, and offsets (int64 [m]) of those."""

    keys: Strings
    values: Strings
    timestamp_ms: Integers
    offset: Integers


class Coordinates(NamedTuple):
    """What each of m predictions is of: the stream's key, the record's time, offset and timestamp in the log, and the
    target as it stands in an output record."""

    keys: list[bytes]
    time_ms: Integers
    offset: Integers
    timestamp_ms: Integers
    targets: Iterable[Any]


class PredictionEncoder:
    """Writes the output record of a prediction as JSON.

    ``stream`` is the key as text (null beside ``stream_base64`` when it is not UTF-8); ``topic``, ``partition`` and
    ``offset`` are the input record's, ``timestamp`` its time in milliseconds, ``updates`` the model's update count.
    ``prediction`` is a number when there is one output; otherwise named: target, then step ahead (forecasts of
    several), then quantile level, as in ``{"delay": {"0.05": -3.0, "0.5": 1.0}}``; for classes ``{"class": label,
    "probabilities": {label: p}}`` with the ``top`` most probable ones, the likeliest first, and beside them ``"other"``
    and ``"end"`` where there are such (``classes``). ``target`` is a number, named numbers or a label, null where
    unknown now (forecasts and texts: always, as what is predicted is still to come). ``surprise``, of classes alone, is
    that of what came with this record, null where nothing did. A number that is not finite is null.

    Of whole sequences that are more than one label, ``prediction`` and ``target`` are as ``sequence_outputs`` says;
    null where nothing is said before their end. ``frames`` counts those of the record, ``complete`` tells in chunks
    whether the sequence ends with it, and ``not_learned`` why nothing was learned where that is so. ``unit`` is what an
    answer is made of.

    Attributes
    ----------
    says_so_far
        Whether something is said of a sequence in chunks before it has ended.
    """

    def __init__(self, spec: LearnerSpec, top: int = TOP, unit: str = "element") -> None:
        encoder = msgspec.json.Encoder()
        self._encode, self._encode_lines = encoder.encode, encoder.encode_lines
        self._labels = spec.target.labels
        self._fields = spec.target.fields
        self._tells_target = spec.target.known != "forecast" and spec.text is None
        several = spec.target.kind not in (None, "label")
        self._sequences = SequenceNames(spec, unit) if several else None
        self._in_chunks = spec.sequence is not None and spec.sequence.chunks
        # Before a sequence in chunks has ended; a decoder has nothing to begin with by then.
        self.says_so_far = spec.model.direction == "forward" and spec.target.kind != "sequence"
        self._classes = None if spec.target.classes is None or several else Classes(spec, top)
        self._plan = {} if self._classes is not None or several else _output_plan(spec)
        self.width = spec.n_published if self._classes is None else self._classes.width
        self._is_one_number = self._classes is None and not several and spec.n_published == 1
        self._numbers: Callable[[Sequence[float]], Any] = (
            itemgetter(0) if spec.n_published == 1 else partial(_fill, self._plan)
        )

    def condensed(self, value: Numbers) -> Numbers:
        """Of predictions [n, n_outputs] what is worth keeping of each [n, width]: all numbers, or some classes."""
        return value if self._classes is None else self._classes.condensed(value)

    def named(self, kept: Sequence[float], classes: Vocabulary | None = None) -> Any:
        """Makes of a condensed prediction what stands in an output record. ``classes``: the labels of an open set."""
        return self._numbers(kept) if self._classes is None else self._classes.named(kept, classes)

    @property
    def says_several(self) -> bool:
        """Whether several things are said of a whole sequence, and not one label."""
        return self._sequences is not None

    def named_sequence(self, numbers: Sequence[int], values: Sequence[float], classes: Vocabulary | None) -> Any:
        """The same of what is said of a whole sequence; None where nothing is."""
        assert self._sequences is not None
        return self._sequences.said(numbers, values, classes)

    def named_target(self, target: Sequence[float], classes: Vocabulary | None = None) -> Any:
        """The same of targets, NaN unknown."""
        if self._classes is None:
            return target[0] if len(self._fields) == 1 else dict(zip(self._fields, target, strict=True))
        number = target[0]  # NaN where unknown, which alone differs from itself
        if number != number:
            return None
        if self._labels is not None:
            return self._labels[int(number)] if number < len(self._labels) else None
        return None if classes is None else classes.label(int(number))

    def encode(
        self,
        record: Record,
        key: bytes,
        time_ms: int,
        prediction: Any,
        target: Any,
        updates: int,
        surprise: Any = UNSET,
        beside: tuple[Any, Any, Any] = (UNSET, UNSET, UNSET),
    ) -> bytes:
        """One output record, of what ``named`` and ``named_target`` say."""
        stream, encoded = _stream(key)
        # Positional, and non-finite numbers left to the encoder, which writes them as null: both for speed.
        return self._encode(
            _Prediction(
                stream, record.topic, record.partition, record.offset,
                time_ms, prediction, target, updates, surprise, *beside, encoded,
            )
        )  # fmt: skip

    def encode_longest(self, record: Record, key: bytes) -> bytes:
        """An output record as long as the job's get, under this key."""
        if self._sequences is not None:
            longest, truth = self._sequences.longest()
            reason = max(NOT_LEARNED.values(), key=len)
            return self.encode(record, key, 1 << 42, longest, truth, 1 << 40, beside=(1 << 40, False, reason))
        if self._classes is None:
            prediction, target = self.named([LONG] * self.width), self.named_target([LONG] * len(self._fields))
            return self.encode(record, key, 1 << 42, prediction, target, 1 << 40)
        prediction, target = self._classes.largest()
        return self.encode(record, key, 1 << 42, prediction, target, 1 << 40, self._classes.longest_surprise())

    def encode_block(
        self,
        decoded: Decoded,
        predictions: Predictions,
        classes: Vocabulary | None = None,
        kept: Numbers | None = None,
    ) -> Written:
        """The output records of a block, or of predictions that waited for what is behind their events, which come out
        with it; labels, tombstones and silent rows have none.

        ``kept`` are the condensed predictions, where somebody has made them already.
        """
        block, records, waited = decoded.block, decoded.sources, predictions.told is not None
        of = self._coordinates(decoded, predictions, classes)
        streams, encoded = _streams(of.keys)
        surprises = self._surprises(predictions, None if waited else block.texts)
        beside = None if waited else self._beside(block, predictions)
        columns: list[Iterable[Any]] = [
            streams, repeat(records.topic), repeat(records.partition), of.offset.tolist(), of.time_ms.tolist(),
            self._said(predictions, classes, kept), of.targets, predictions.updates.tolist(),
        ]  # fmt: skip
        rows: Iterable[_Plain]
        if surprises is None and beside is None and encoded is None:
            rows = map(_Plain, *columns)
        else:
            more = (surprises, *(beside or (None, None, None)), encoded)
            rows = map(_Prediction, *columns, *(repeat(UNSET) if column is None else column for column in more))
        # In a buffer of their own: outputs are kept until they are committed, and the records' holds all their values.
        written = Strings.of_all(of.keys), of.timestamp_ms, of.offset
        tells = (block.kind == EVENT) & ~decoded.silent
        if waited or tells.all():
            keys, stamps, offset = written
        else:
            rows, told = compress(rows, tells.tolist()), np.flatnonzero(tells)
            keys, stamps, offset = written[0].at(told), written[1][told], written[2][told]
        values = _lines(self._encode_lines(list(rows)))
        if len(values) != len(keys):  # a column that is too short ends all of them
            raise ValueError(f"{len(values)} output records were written of {len(keys)} predictions")
        return Written(keys, values, stamps, offset)

    def _coordinates(self, decoded: Decoded, predictions: Predictions, classes: Vocabulary | None) -> Coordinates:
        """What each prediction is of: its own record, or an event that waited for what is behind it."""
        if (told := predictions.told) is not None:
            targets = [self.named_target(y, classes) for y in told.y.tolist()]
            return Coordinates(told.keys, told.time_ms, offsets_of(told.event), told.time_ms, targets)
        block, records = decoded.block, decoded.sources
        return Coordinates(
            block.keys, block.time_ms, records.offset, records.timestamp_ms, self._targets(block, classes)
        )

    def _said(self, predictions: Predictions, classes: Vocabulary | None, kept: Numbers | None) -> Iterable[Any]:
        if self._sequences is None:
            said = self.condensed(predictions.value) if kept is None else kept
            if self._is_one_number:
                numbers: list[float] = said[:, 0].tolist()
                return numbers
            named = self.named
            return [named(one, classes) for one in said.tolist()]
        scores = predictions.sequences
        assert scores is not None
        told = repeat(True, len(scores.complete)) if self.says_so_far else scores.complete.tolist()
        return [
            self.named_sequence(*piece, classes) if there else None
            for piece, there in zip(pieces(scores), told, strict=True)
        ]

    def _beside(self, block: Block, predictions: Predictions) -> Beside | None:
        scores = predictions.sequences
        if scores is None or block.frames is None:
            return None
        frames = np.diff(block.frames.bounds).tolist()
        complete = scores.complete.tolist() if self._in_chunks else repeat(UNSET)
        return frames, complete, [NOT_LEARNED.get(reason, UNSET) for reason in scores.reason.tolist()]

    def _targets(self, block: Block, classes: Vocabulary | None) -> Iterable[Any]:
        if not self._tells_target:
            return repeat(None)
        if self._sequences is not None and block.answers is not None:
            return self._sequences.answers(block.answers)
        if block.labels is not None:
            return [label if label is None else label[:LONGEST_TARGET] for label in block.labels]
        if self._classes is None and len(self._fields) == 1:
            values: list[float] = block.y[:, 0].tolist()
            return values
        return [self.named_target(target, classes) for target in block.y.tolist()]

    def _surprises(self, predictions: Predictions, texts: Sequence[Units] | None) -> Iterable[Any] | None:
        return None if self._classes is None else self._classes.surprises(predictions, texts)


def _streams(keys: Sequence[bytes]) -> tuple[list[str | None], list[str | UnsetType] | None]:
    """Keys as text, and in base64 those that are none; None where all are text."""
    try:
        return list(map(bytes.decode, keys)), None
    except UnicodeDecodeError:
        named = list(map(_stream, keys))
        return [text for text, _ in named], [encoded for _, encoded in named]


def _stream(key: bytes) -> tuple[str | None, str | UnsetType]:
    """A key as text, or else in base64."""
    try:
        return key.decode(), UNSET
    except UnicodeDecodeError:
        return None, base64.b64encode(key).decode("ascii")


def _lines(encoded: bytes) -> Strings:
    """The values of lines; inside of one a line break is written as an escape."""
    end = np.flatnonzero(np.frombuffer(encoded, np.uint8) == ord("\n"))
    start = np.concatenate([np.zeros(min(1, len(end)), np.int64), end[:-1] + 1])
    return Strings(encoded, start, end)


def _output_plan(spec: LearnerSpec) -> dict[str, Any]:
    """Nested names whose leaves are columns; levels run fastest, then targets, then steps ahead."""
    levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
    n_levels, n_targets, ahead = max(1, len(levels)), len(spec.target.fields), spec.target.steps_ahead

    def by_level(first: int) -> Any:
        return {repr(level): first + q for q, level in enumerate(levels)} if levels else first

    def by_step(t: int) -> Any:
        steps = [by_level((h * n_targets + t) * n_levels) for h in range(len(ahead))]
        return {str(j): step for j, step in zip(ahead, steps, strict=True)} if len(steps) > 1 else steps[0]

    return {field: by_step(t) for t, field in enumerate(spec.target.fields)}


def _fill(plan: dict[str, Any], value: Sequence[float]) -> dict[str, Any]:
    return {name: value[at] if type(at) is int else _fill(at, value) for name, at in plan.items()}
