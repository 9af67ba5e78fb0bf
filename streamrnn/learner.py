"""Learner: one partition's model, statistics and streams; a pure function of its specification, seed and log.

``process`` takes a block of records through the kernel in one call. Blocks have no meaning: any cut of the same log
leaves the same bits in weights, states and predictions, and so does saving and restoring between any two records. The
running digest of the predictions lets a replay prove that it arrived where the first run was.

Nothing here knows of Kafka, files or River. Records are trusted to be decoded; numbers too large to square count as
missing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from streamrnn.block import PREDICT, Block
from streamrnn.compiled import ensure_compiled
from streamrnn.core import arrays
from streamrnn.core.cells import CELLS
from streamrnn.core.heads import CROSS_ENTROPIES, QUANTILE, REGRESSION_LOSSES
from streamrnn.core.kinds import KNOWN
from streamrnn.core.layout import Layout
from streamrnn.core.optim import OPTIMIZERS
from streamrnn.core.walk import walk
from streamrnn.spec import LearnerSpec
from streamrnn.state import StreamStore

ABSURD = 1e100
"""Numbers beyond this count as missing: the square of one would poison every running variance for good."""

STORE_COUNTERS = ("evicted_ttl", "evicted_capacity")


def seed_of(job: str, topic: str, partition: int) -> int:
    """The seed of a partition's learner, the same wherever it runs."""
    return int.from_bytes(hashlib.sha256(f"{job}\0{topic}\0{partition}".encode()).digest()[:8], "big")


def layout_of(spec: LearnerSpec) -> Layout:
    """The tensors of the network a specification describes, without making a learner."""
    return Layout(
        cell=CELLS[spec.model.cell],
        n_inputs=_n_inputs(_plan(spec)),
        hidden_size=spec.model.hidden_size,
        num_layers=spec.model.num_layers,
        n_outputs=spec.n_outputs,
    )


def bytes_per_stream(spec: LearnerSpec) -> int:
    """Bytes of array memory one stream takes, without making a learner."""
    one = replace(spec, streams=replace(spec.streams, max_streams=1))
    return sum(array[0].nbytes for array in _new_streams(_plan(one), layout_of(one), one, _dtype(one)))


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the learner says about a block of n records.

    Attributes
    ----------
    value : float64 [n, n_outputs]
        Prediction in the target's unit (probabilities for classes); NaN for label records.
    updates : int64 [n]
        Optimiser steps the model had taken when it predicted the record.
    loss : float64 [n]
        Mean loss, in the model's scale, over what the record let us score; NaN = nothing.
    error : float64 [n]
        Mean absolute error of the same in the target's unit (classes: 0 right, 1 wrong).
    grad_norm : float64 [n]
        Gradient norm, before clipping, of the optimiser step the record led to; NaN = none.
    """

    value: npt.NDArray[np.float64]
    updates: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    grad_norm: npt.NDArray[np.float64]


class Learner:
    """A recurrent network that predicts and learns record by record, with one hidden state per stream.

    Parameters
    ----------
    spec
        Everything that, with the log, determines the learner.
    seed
        Decides the initial weights, nothing else is random.

    Examples
    --------
    >>> from streamrnn.spec import LearnerSpec, TargetSpec
    >>> learner = Learner(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))), seed=1)
    >>> block = Block(keys=[b"a"], time_ms=np.array([0]), x=np.array([[1.0]]), y=np.array([[2.0]]),
    ...               end=np.array([False]), kind=np.zeros(1, np.uint8), event=np.zeros(1, np.uint64))
    >>> learner.process(block).value.shape
    (1, 1)
    >>> learner.counters()["events"]
    1
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        ensure_compiled(spec.model.dtype)
        self.spec = spec
        self.digest = 0
        self.store = StreamStore(
            spec.streams.max_streams,
            None if spec.streams.ttl_s is None else round(1000 * spec.streams.ttl_s),
            round(1000 * spec.streams.max_time_jump_s),
        )
        self._plan, self._hyper = _plan(spec), _hyper(spec)
        self.layout = layout_of(spec)
        self._model = _new_model(self._plan, self.layout.initialise(seed, _dtype(spec)))
        self._streams = _new_streams(self._plan, self.layout, spec, _dtype(spec))
        indicator = np.array(spec.indicator or (False,) * spec.n_features, dtype=np.bool_)
        levels = spec.model.quantiles if self._plan.loss == QUANTILE else (0.5,)
        self._scratch = arrays.zeros_scratch(
            self.layout, self._plan.k2, self._model.theta, indicator, np.array(levels, dtype=np.float64)
        )

    # -- the log ------------------------------------------------------------------------------------------------------

    def process(self, block: Block) -> Predictions:
        """Predict, score, take in and learn from every record of the block, in order."""
        slots, fresh, times = self.store.assign(block.keys, block.time_ms.tolist(), block.kind.tolist())
        predictions = self._walk(block, slots, fresh, times, block.kind)
        self.digest = zlib.crc32(predictions.value.tobytes(), self.digest)
        return predictions

    def predict(self, block: Block) -> Predictions:
        """Predict every record from its stream's present state, and change nothing.

        Unlike ``process`` it takes no notice of the stream's idle time (``ttl_s``), believes any timestamp, and does
        not look at the record's own value where targets are forecasts.
        """
        slots = np.array([self.store.find(key) for key in block.keys], dtype=np.int64)
        kind = np.full(len(block), PREDICT, dtype=np.uint8)
        return self._walk(block, slots, np.zeros(len(block), np.bool_), block.time_ms, kind)

    def _walk(
        self,
        block: Block,
        slots: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        times: npt.NDArray[np.int64],
        kind: npt.NDArray[np.uint8],
    ) -> Predictions:
        n = len(block)
        _check_block(block, self.spec)
        records = arrays.Records(
            slot=slots,
            fresh=fresh,
            time_ms=np.require(times, np.int64, ["C", "W"]),
            x=_without_absurd(block.x, (n, self.spec.n_features)),
            y=_without_absurd(block.y, (n, self.spec.n_targets)),
            end=np.require(block.end & self.spec.has_end, np.bool_, ["C", "W"]),
            kind=np.require(kind, np.uint8, ["C", "W"]),
            event=np.require(block.event, np.uint64, ["C", "W"]),
            prediction=np.empty((n, self.spec.n_outputs)),
            updates=np.empty(n, np.int64),
            loss=np.empty(n),
            error=np.empty(n),
            grad_norm=np.empty(n),
        )
        walk(self._plan, self._hyper, self._model, self._streams, self._scratch, records)
        return Predictions(records.prediction, records.updates, records.loss, records.error, records.grad_norm)

    # -- what there is to see -----------------------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Running counts of what happened, by name (``core.arrays.COUNTERS`` and evictions)."""
        counts = dict(zip(arrays.COUNTERS, self._model.counters.tolist(), strict=True))
        counts.update((name, getattr(self.store, name)) for name in STORE_COUNTERS)
        return counts

    def gauges(self) -> dict[str, float]:
        """Newest gradient norm and window loss, and running sums (``core.arrays.GAUGES``)."""
        return dict(zip(arrays.GAUGES, self._model.gauges.tolist(), strict=True))

    def get_weights(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all weights under PyTorch's names and shapes."""
        return self.layout.get_weights(self._model.theta)

    def set_weights(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Overwrite all weights; optimiser moments, statistics and states stay.

        Raises ValueError naming the tensors that are missing, unknown, of another shape or not finite.
        """
        self.layout.set_weights(self._model.theta, weights)

    def stream_state(self, key: bytes) -> dict[str, npt.NDArray[Any]]:
        """Carried state of one stream: ``h`` and, for the LSTM, ``c``, each (num_layers, hidden_size). Unknown: 0."""
        state = self._streams.state[self.store.find(key)].copy()
        return {name: np.ascontiguousarray(state[:, i]) for i, name in enumerate("hc"[: self.layout.state_count])}

    def bytes_per_stream(self) -> int:
        """Bytes of array memory one stream takes."""
        return sum(a[0].nbytes for a in self._streams)

    # -- saving -------------------------------------------------------------------------------------------------------

    @property
    def n_slots(self) -> int:
        """Slots ever used: rows of the stream arrays that hold something."""
        return self.store.n_slots

    def take_touched_segments(self) -> set[int]:
        """Segments of slots touched since the last call."""
        return self.store.take_touched_segments()

    def model_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that is not kept per stream, by name. The arrays are the live ones: copy before going on."""
        own = {"clock": self.store.clock.state(), "store_counters": self.store.counters()}
        return {**self._model._asdict(), **own, "digest": np.array([self.digest], dtype=np.int64)}

    def stream_arrays(self) -> tuple[dict[str, npt.NDArray[Any]], list[bytes | None]]:
        """All that is kept per stream, slot by slot, and the slots' keys (None = free). The arrays are live ones."""
        keys, seen = self.store.slots()
        n = len(keys)
        return {**{name: array[:n] for name, array in self._streams._asdict().items()}, "seen": seen}, keys

    def empty_stream_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Room for what ``stream_arrays`` gives, for all slots there may be; written to before ``restore``."""
        room = np.zeros((self.spec.streams.max_streams, 2), np.int64)
        return {**{name: array[:-1] for name, array in self._streams._asdict().items()}, "seen": room}

    def restore(
        self,
        model: Mapping[str, npt.NDArray[Any]],
        keys: list[bytes | None],
        streams: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        """Continue from what ``model_arrays`` and ``stream_arrays`` gave; for a learner that saw no record yet.

        ``streams`` may be what ``empty_stream_arrays`` gave, filled in, which saves a copy. Raises ValueError naming an
        array that is missing or has another shape or type.
        """
        n = len(keys)
        seen = streams["seen"][:n]
        for name, array in self._streams._asdict().items():
            rows = _matching({name: streams[name][:n]}, name, (n, *array.shape[1:]), array.dtype)
            if not np.shares_memory(rows, array):
                array[:n] = rows
        for name, array in self._model._asdict().items():
            array[...] = _matching(model, name, array.shape, array.dtype)
        clock = _matching(model, "clock", (4,), np.dtype(np.int64))
        counters = _matching(model, "store_counters", (3,), np.dtype(np.int64))
        self.store.restore(clock, counters, keys, seen)
        self.digest = int(_matching(model, "digest", (1,), np.dtype(np.int64))[0])


def _matching(
    source: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    array = source.get(name)
    if array is None:
        raise ValueError(f"saved state lacks {name!r}")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"saved state: {name!r} is {array.dtype}{array.shape}, expected {dtype}{shape}")
    return array


def _check_block(block: Block, spec: LearnerSpec) -> None:
    """Refuse what would make a kernel read or write outside its arrays; codecs never give such blocks."""
    n = len(block)
    for name in ("time_ms", "end", "kind", "event"):
        if (shape := np.shape(getattr(block, name))) != (n,):
            raise ValueError(f"block.{name} has shape {shape}, expected ({n},): one entry for each of the {n} keys")
    for name, columns in (("x", spec.n_features), ("y", spec.n_targets)):
        if (shape := np.shape(getattr(block, name))) != (n, columns):
            raise ValueError(f"block.{name} has shape {shape}, expected {(n, columns)}")
    if spec.target.classes is not None:
        known = block.y[np.isfinite(block.y)]
        if ((known < 0) | (known >= len(spec.target.classes)) | (known != np.floor(known))).any():
            raise ValueError(f"block.y holds class indices outside 0 to {len(spec.target.classes) - 1}")


def _without_absurd(values: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    values = np.require(values, np.float64, ["C", "W"]).reshape(shape)
    absurd = ~(np.abs(values) <= ABSURD)
    if absurd.any():
        values = np.where(absurd, np.nan, values)
    return values


def _plan(spec: LearnerSpec) -> arrays.Plan:
    model, learning, target = spec.model, spec.learning, spec.target
    regression = model.readout == "linear"
    classes = 0 if target.classes is None else len(target.classes)
    ends = spec.has_end or spec.streams.reset_after_s is not None
    return arrays.Plan(
        cell=CELLS[model.cell],
        layers=model.num_layers,
        features=spec.n_features,
        with_dt=int(spec.inputs.dt),
        previous=(classes or spec.n_targets) if spec.inputs.previous_target else 0,
        fields=spec.n_targets,
        classes=classes,
        loss=REGRESSION_LOSSES[model.effective_loss] if regression else CROSS_ENTROPIES[model.readout],
        k1=learning.k1,
        k2=learning.k2,
        # A sequence may end at any step, and its last window starts k2 steps before.
        stride=1 if ends else learning.k1,
        batch_size=learning.batch_size,
        known=KNOWN[target.known],
        horizon=target.horizon,
        scale=int(learning.scale),
        shrinkage=float(learning.target_shrinkage),
        reset_after_ms=-1 if spec.streams.reset_after_s is None else round(1000 * spec.streams.reset_after_s),
    )


def _hyper(spec: LearnerSpec) -> arrays.Hyper:
    learning = spec.learning
    return arrays.Hyper(
        optimizer=OPTIMIZERS[learning.optimizer],
        lr=float(learning.lr),
        momentum=float(learning.momentum),
        rmsprop_alpha=float(learning.rmsprop_alpha),
        beta1=float(learning.betas[0]),
        beta2=float(learning.betas[1]),
        eps=float(learning.eps),
        weight_decay=float(learning.weight_decay),
        clip_norm=0.0 if learning.clip_norm is None else float(learning.clip_norm),
        huber_delta=float(spec.model.huber_delta),
    )


def _dtype(spec: LearnerSpec) -> type:
    return np.float32 if spec.model.dtype == "float32" else np.float64


def _n_inputs(plan: arrays.Plan) -> int:
    flags = plan.fields if plan.previous else 0
    return max(1, plan.features + plan.with_dt + plan.previous + flags)


def _new_model(plan: arrays.Plan, theta: npt.NDArray[Any]) -> arrays.Model:
    inputs, fields = plan.features + 1, plan.fields
    return arrays.Model(
        theta=theta,
        accumulated=np.zeros_like(theta),
        moment1=np.zeros_like(theta),
        moment2=np.zeros_like(theta),
        x_count=np.zeros(inputs),
        x_mean=np.zeros(inputs),
        x_m2=np.zeros(inputs),
        y_count=np.zeros(fields),
        y_mean=np.zeros(fields),
        y_m2=np.zeros(fields),
        counters=np.zeros(len(arrays.COUNTERS), np.int64),
        gauges=np.zeros(len(arrays.GAUGES)),
    )


def _new_streams(plan: arrays.Plan, layout: Layout, spec: LearnerSpec, dtype: type) -> arrays.Streams:
    """Arrays for all streams and the blank one. They are allocated once; untouched pages take no memory."""
    S = spec.streams.max_streams + 1
    state = (layout.num_layers, layout.state_count, layout.hidden_size)
    columns = 1 if plan.classes else spec.target.horizon * plan.fields
    labels = spec.target.label_memory if spec.target.known == "label" else 0
    remembered = spec.target.horizon if spec.target.known == "forecast" else labels
    streams = arrays.Streams(
        state=np.zeros((S, *state), dtype),
        before=np.zeros((S, -(-plan.k2 // plan.stride), *state), dtype),
        x=np.zeros((S, plan.k2, layout.n_inputs), dtype),
        y=np.zeros((S, plan.k2, columns), dtype),
        steps=np.zeros(S, np.int64),
        last_ms=np.zeros(S, np.int64),
        last_y=np.zeros((S, plan.fields)),
        y_count=np.zeros((S, plan.fields)),
        y_mean=np.zeros((S, plan.fields)),
        y_m2=np.zeros((S, plan.fields)),
        remembered=np.zeros((S, remembered, layout.n_outputs)),
        event=np.zeros((S, labels), np.uint64),
        event_step=np.zeros((S, labels), np.int64),
        event_count=np.zeros(S, np.int64),
    )
    streams.last_y[-1] = np.nan
    return streams
