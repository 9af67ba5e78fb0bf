"""The output record of a prediction, as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from streamrnn.broker.protocol import Record
from streamrnn.job.codec.records import Decoded
from streamrnn.learner.block import EVENT
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.values import canonical_text


class _Prediction(msgspec.Struct, gc=False):
    stream: str | None
    topic: str
    partition: int
    offset: int
    timestamp: int
    prediction: Any
    target: Any
    updates: int
    stream_base64: str | UnsetType = UNSET


class PredictionEncoder:
    """Writes the output record of a prediction as JSON.

    ``stream`` is the key as text (null beside ``stream_base64`` when it is not UTF-8); ``topic``, ``partition`` and
    ``offset`` are the input record's, ``timestamp`` its time in milliseconds, ``updates`` the model's update count.
    ``prediction`` is a number when there is one output; otherwise named: target, then step ahead (forecasts of
    several), then quantile level, as in ``{"delay": {"0.05": -3.0, "0.5": 1.0}}``; for classes ``{"class": label,
    "probabilities": {label: p}}``, where the one output of a logistic readout is the probability of the second class.
    ``target`` is a number, named numbers or a label, null where unknown now (forecasts: always, as they are about
    records to come). A number that is not finite is null.
    """

    def __init__(self, spec: LearnerSpec) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._classes = spec.target.labels
        self._logistic = spec.model.readout == "logistic"
        self._fields = spec.target.fields
        self._forecast = spec.target.known == "forecast"
        self._plan = {} if self._classes is not None else _output_plan(spec)
        self._labels = [canonical_text(label, "target.classes") for label in self._classes or ()]
        # Chosen once, as most jobs have one output, and for that a call of C.
        self.named = self._naming(spec)
        self.named_targets = self._naming_targets()

    def encode(
        self, record: Record, key: bytes, time_ms: int, value: Sequence[float], target: Sequence[float], updates: int
    ) -> bytes:
        """One output record: ``value`` holds the ``n_outputs`` of a prediction, ``target`` the targets, NaN unknown."""
        prediction = self.named(value)
        known = None if self._forecast else self.named_targets(target)
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
                time_ms, prediction, known, updates, encoded,
            )
        )  # fmt: skip

    def encode_block(
        self, decoded: Decoded, value: npt.NDArray[np.float64], updates: npt.NDArray[np.int64]
    ) -> list[bytes | None]:
        """The output record of every row of a block, None for label records. ``value`` is [n, n_outputs]."""
        block, encode = decoded.block, self.encode
        rows = zip(
            decoded.sources,
            block.keys,
            block.time_ms.tolist(),
            value.tolist(),
            block.y.tolist(),
            updates.tolist(),
            block.kind.tolist(),
            strict=True,
        )
        return [
            encode(record, key, time_ms, outputs, targets, count) if kind == EVENT else None
            for record, key, time_ms, outputs, targets, count, kind in rows
        ]

    def _naming(self, spec: LearnerSpec) -> Callable[[Sequence[float]], Any]:
        """Makes of a prediction's ``n_outputs`` numbers what stands in an output record."""
        if self._classes is not None:
            return self._class
        return itemgetter(0) if spec.n_outputs == 1 else partial(_fill, self._plan)

    def _naming_targets(self) -> Callable[[Sequence[float]], Any]:
        """The same of targets, NaN unknown."""
        if self._classes is not None:
            return self._label
        if len(self._fields) == 1:
            return itemgetter(0)
        return lambda target: dict(zip(self._fields, target, strict=True))

    def _label(self, target: Sequence[float]) -> Any:
        assert self._classes is not None
        label = target[0]  # NaN where unknown, which alone differs from itself
        return None if label != label else self._classes[int(label)]

    def _class(self, value: Sequence[float]) -> dict[str, Any]:
        assert self._classes is not None
        if self._logistic:
            value = (1.0 - value[0], value[0])
        best = self._classes[value.index(max(value))] if math.isfinite(sum(value)) else None
        return {"class": best, "probabilities": dict(zip(self._labels, value, strict=True))}


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
