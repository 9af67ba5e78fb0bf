"""The output record of a prediction, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from streamrnn.broker.protocol import Record
from streamrnn.job.codec.classes import LONG, LONGEST_TARGET, TOP, Classes, Numbers
from streamrnn.job.codec.records import Decoded
from streamrnn.job.codec.sequence_outputs import NOT_LEARNED, SequenceNames, pieces
from streamrnn.job.codec.told import Coordinates
from streamrnn.learner.block import EVENT, Block
from streamrnn.learner.predictions import Predictions, Told
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabulary


class _Prediction(msgspec.Struct, gc=False):
    stream: str | None
    topic: str
    partition: int
    offset: int
    timestamp: int
    prediction: Any
    target: Any
    updates: int
    surprise: Any = UNSET
    frames: int | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    not_learned: str | UnsetType = UNSET
    stream_base64: str | UnsetType = UNSET


Beside = tuple[int | UnsetType, bool | UnsetType, str | UnsetType]
"""What else is said of a whole sequence: how many frames the record has, whether it is complete, why it was not
learned."""
_NOTHING: Beside = (UNSET, UNSET, UNSET)


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
        self._encode = msgspec.json.Encoder().encode
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
        # Chosen once, as most jobs have one output, and for that a call of C.
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
        beside: Beside = _NOTHING,
    ) -> bytes:
        """One output record, of what ``named`` and ``named_target`` say."""
        stream: str | None
        encoded: str | UnsetType
        try:
            stream, encoded = key.decode(), UNSET
        except UnicodeDecodeError:
            stream, encoded = None, base64.b64encode(key).decode("ascii")
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
    ) -> list[bytes | None]:
        """The output record of every row of a block, None for label records and silent rows; of predictions that waited
        for what is behind their events one for each of them.

        ``kept`` are the condensed predictions, where somebody has made them already.
        """
        if predictions.told is not None:
            return self._encode_told(decoded, predictions, predictions.told, classes, kept)
        block, encode = decoded.block, self.encode
        tells = (block.kind == EVENT) & ~decoded.silent
        rows = zip(
            decoded.sources,
            block.keys,
            block.time_ms.tolist(),
            self._said(predictions, classes, kept),
            self._targets(block, classes),
            predictions.updates.tolist(),
            self._surprises(block, predictions),
            self._beside(block, predictions),
            tells.tolist(),
            strict=True,
        )
        return [
            encode(record, key, time_ms, said, target, count, surprise, beside) if told else None
            for record, key, time_ms, said, target, count, surprise, beside, told in rows
        ]

    def _encode_told(
        self,
        decoded: Decoded,
        predictions: Predictions,
        told: Told,
        classes: Vocabulary | None,
        kept: Numbers | None,
    ) -> list[bytes | None]:
        if not told.keys:
            return []
        first = decoded.sources[0]  # whose topic and partition are those of all
        keys, offset, time_ms = Coordinates.of(decoded.block.keys, decoded.sources, told)
        surprises = repeat(UNSET) if self._classes is None else self._classes.surprises(predictions, None)
        rows = zip(
            keys, offset.tolist(), time_ms.tolist(), self._said(predictions, classes, kept), told.y.tolist(),
            predictions.updates.tolist(), surprises, strict=False,
        )  # fmt: skip
        return [
            self.encode(
                first._replace(offset=at),
                key,
                time,
                said,
                self.named_target(y, classes),
                updates,
                surprise,
            )
            for key, at, time, said, y, updates, surprise in rows
        ]

    def _said(self, predictions: Predictions, classes: Vocabulary | None, kept: Numbers | None) -> Iterable[Any]:
        if self._sequences is None:
            named = self.named
            return [
                named(one, classes) for one in (self.condensed(predictions.value) if kept is None else kept).tolist()
            ]
        scores = predictions.sequences
        assert scores is not None
        told = repeat(True, len(scores.complete)) if self.says_so_far else scores.complete.tolist()
        return [
            self.named_sequence(*piece, classes) if there else None
            for piece, there in zip(pieces(scores), told, strict=True)
        ]

    def _beside(self, block: Block, predictions: Predictions) -> Iterable[Beside]:
        scores = predictions.sequences
        if scores is None or block.frames is None:
            return repeat(_NOTHING, len(block))
        frames = np.diff(block.frames.bounds).tolist()
        complete = scores.complete.tolist() if self._in_chunks else repeat(UNSET, len(block))
        why = [NOT_LEARNED.get(reason, UNSET) for reason in scores.reason.tolist()]
        return zip(frames, complete, why, strict=True)

    def _targets(self, block: Block, classes: Vocabulary | None) -> Iterable[Any]:
        if not self._tells_target:
            return repeat(None, len(block))
        if self._sequences is not None and block.answers is not None:
            return self._sequences.answers(block.answers)
        if block.labels is not None:
            return [label if label is None else label[:LONGEST_TARGET] for label in block.labels]
        return [self.named_target(target, classes) for target in block.y.tolist()]

    def _surprises(self, block: Block, predictions: Predictions) -> Iterable[Any]:
        if self._classes is None:
            return repeat(UNSET, len(block))
        return self._classes.surprises(predictions, block.texts)


def _output_plan(spec: LearnerSpec) -> dict[str, Any]:
    """Nested names whose leaves are columns; levels run fastest, then targets, then steps ahead."""
    levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
    n_levels, n_targets = max(1, len(levels)), len(spec.target.fields)

    def by_level(first: int) -> Any:
        return {repr(level): first + q for q, level in enumerate(levels)} if levels else first

    def by_step(t: int) -> Any:
        steps = [by_level((h * n_targets + t) * n_levels) for h in range(spec.target.horizon)]
        return {str(h + 1): step for h, step in enumerate(steps)} if len(steps) > 1 else steps[0]

    return {field: by_step(t) for t, field in enumerate(spec.target.fields)}


def _fill(plan: dict[str, Any], value: Sequence[float]) -> dict[str, Any]:
    return {name: value[at] if type(at) is int else _fill(at, value) for name, at in plan.items()}
