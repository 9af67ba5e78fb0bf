"""The slow, obvious learner: what a log of records means, one record at a time, with Python lists and NumPy.

A stream's sequence keeps everything that ever happened in it (inputs, targets, carried states), so that "the newest
k2 steps" and "targets that became known since the last window" are slices and masks rather than ring buffers.
Statistics are kept as in Welford's paper, in float64; the network runs in the spec's dtype. The package's learner must
agree with this one on every log. It shares no code with it, checks no input and is meant for a few hundred records.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamrnn.spec import LearnerSpec
from tests.naive_network import (
    Array,
    Optimizer,
    State,
    Weights,
    class_loss,
    clip_by_global_norm,
    element_loss,
    global_norm,
    network_backward,
    network_forward,
    network_step,
    regression_loss,
    sigmoid,
    softmax,
    zero_state,
)

CLIP = 10.0  # scaled inputs stay within this many standard deviations
CONFIRMATIONS = 3  # records that must agree before a far jump of time counts
EVENT, LABEL = 0, 1  # kinds of records


@dataclass
class Record:
    """One decoded record; ``y`` holds NaN where a target is unknown now."""

    key: bytes
    time_ms: int
    x: Sequence[float]
    y: Sequence[float]
    end: bool = False
    kind: int = EVENT
    event: int = 0


class RunningMoments:
    """Count, mean and population variance of the values seen so far (Welford)."""

    def __init__(self) -> None:
        self.count, self.mean, self.m2 = 0, 0.0, 0.0

    def absorb(self, value: float) -> None:
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.m2 += delta * (value - self.mean)

    @property
    def variance(self) -> float:
        return self.m2 / self.count if self.count else 0.0


def scaled_input(moments: RunningMoments, value: float) -> float:
    """(value - mean) / std within [-10, 10]; 0 before the first value; a zero variance divides by 1."""
    if moments.count == 0:
        return 0.0
    std = np.sqrt(moments.variance) if moments.variance > 0 else 1.0
    return float(np.clip((value - moments.mean) / std, -CLIP, CLIP))


def shrunk_moments(stream: RunningMoments, partition: RunningMoments, kappa: float) -> tuple[float, float]:
    """Mean and standard deviation of a stream's target, with the partition worth ``kappa`` observations.

    The mixture's mean is n*m_s + kappa*m_p over n + kappa, written so that two equal means give exactly that mean: a
    constant target must come out with a variance of exactly zero.
    """
    if partition.count == 0:
        return 0.0, 1.0
    n = stream.count
    share = n / (n + kappa)
    distance = stream.mean - partition.mean if n else 0.0
    mean = partition.mean + share * distance
    variance = (n * stream.variance + kappa * partition.variance) / (n + kappa) + share * (1 - share) * distance**2
    return mean, float(np.sqrt(variance)) if variance > 0 else 1.0


@dataclass
class History:
    """Everything since a stream's last reset. ``before[t]`` is the carried state step t was predicted from."""

    state: State
    before: list[State] = field(default_factory=list)
    inputs: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)  # scaled, NaN where unknown; a class index for classes
    known: list[Array] = field(default_factory=list)
    injected: list[Array] = field(default_factory=list)
    predictions: list[Array] = field(default_factory=list)  # as published
    newest_target: Array | None = None  # as received, NaN where unknown
    last_time_ms: int | None = None

    @property
    def steps(self) -> int:
        return len(self.inputs)


@dataclass
class Stream:
    sequence: History
    moments: list[RunningMoments]
    last_seen_ms: int = 0
    events: list[tuple[int, History, int]] = field(default_factory=list)  # id, its sequence, its step


class Clock:
    """Stream time: the running maximum of record times, deaf to a far jump until several records agree on it.

    The first time is provisional until a record within a jump of it (or three that agree ahead of it) confirm it: a
    record further back than that starts time again. ``candidates`` must agree with the first of them.
    """

    def __init__(self, max_jump_ms: float) -> None:
        self.max_jump_ms = max_jump_ms
        self.now_ms: int | None = None
        self.provisional = False
        self.restarted = False
        self.candidates: list[int] = []

    def advance(self, time_ms: int) -> int:
        """Take one record's time; returns its effective time."""
        self.restarted = False
        if self.now_ms is None:
            self.now_ms, self.provisional = time_ms, True
            return time_ms
        if self.provisional and self.now_ms - time_ms > self.max_jump_ms:
            self.now_ms, self.restarted, self.candidates = time_ms, True, []
            return time_ms
        if time_ms - self.now_ms > self.max_jump_ms:
            if self.candidates and abs(time_ms - self.candidates[0]) > self.max_jump_ms:
                self.candidates = []
            self.candidates.append(time_ms)
            if len(self.candidates) < CONFIRMATIONS:
                return self.now_ms
        self.provisional, self.candidates = False, []
        self.now_ms = max(self.now_ms, time_ms)
        return time_ms


class NaiveLearner:
    """A learner over one partition. ``weights`` (PyTorch's names) are copied, never written."""

    def __init__(self, spec: LearnerSpec, weights: Weights) -> None:
        self.spec = spec
        model, learning = spec.model, spec.learning
        self.dtype = np.dtype(model.dtype)
        self.weights = {name: np.array(w, self.dtype) for name, w in weights.items()}
        self.optimizer = Optimizer(
            learning.optimizer,
            learning.lr,
            learning.momentum,
            learning.rmsprop_alpha,
            learning.betas,
            learning.eps,
            learning.weight_decay,
        )
        self.classify = spec.target.classes is not None
        self.levels = np.array(model.quantiles if model.effective_loss == "quantile" else (0.5,))
        self.indicator = list(spec.indicator) or [False] * spec.n_features
        self.input_moments = [RunningMoments() for _ in range(spec.n_features + spec.inputs.dt)]
        self.target_moments = [RunningMoments() for _ in range(spec.n_targets)]
        self.streams: OrderedDict[bytes, Stream] = OrderedDict()  # least recently touched first
        self.clock = Clock(spec.streams.max_time_jump_s * 1000)
        self.updates = 0
        self.windows = 0
        self.accumulated = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.steps: list[tuple[int, float]] = []  # of each optimiser step: its record's number and the gradient norm
        self.losses: list[float] = []
        self.scores: list[tuple[float, float]] = []  # per record: mean loss and mean error of what it let us score
        self.counts: Counter[str] = Counter()

    # ------------------------------------------------------------------------------------------------- records

    def process(self, block: Any) -> tuple[Array, Array]:
        """Predictions [n, n_outputs] and update counts [n] of a block: one array per field of ``Record``."""
        rows = zip(block.keys, block.time_ms, block.x, block.y, block.end, block.kind, block.event, strict=True)
        return self.run(Record(k, int(t), x, y, bool(e), int(kind), int(ev)) for k, t, x, y, e, kind, ev in rows)

    def run(self, records: Iterable[Record]) -> tuple[Array, Array]:
        values, updates = [], []
        for record in records:
            value, count = self.take(record)
            values.append(value)
            updates.append(count)
        return np.array(values, np.float64).reshape(-1, self.spec.n_outputs), np.array(updates, np.int64)

    @property
    def grad_norms(self) -> list[float]:
        """Gradient norms before clipping of all optimiser steps so far."""
        return [norm for _, norm in self.steps]

    def take(self, record: Record) -> tuple[Array, int]:
        """One record, wholly: time, eviction, gap, predict, score, advance, learn."""
        self.scores.append((np.nan, np.nan))
        time_ms = self.clock.advance(record.time_ms)
        if self.clock.restarted:
            for stream in self.streams.values():
                stream.last_seen_ms = time_ms
        self.evict_idle()
        if record.kind == LABEL:
            self.counts["labels"] += 1
            self.take_label(record)
            return np.full(self.spec.n_outputs, np.nan), self.updates
        stream = self.touch(record.key)
        self.counts["events"] += 1
        if self.gap(stream, time_ms):
            self.learn(stream.sequence)
            self.reset(stream)
        result = self.take_event(record, stream, time_ms)
        sequence = stream.sequence
        ends = self.spec.has_end and record.end
        if ends or sequence.steps % self.spec.learning.k1 == 0:
            self.learn(sequence)
        if ends:
            self.reset(stream)
        return result

    # ------------------------------------------------------------------------------------------------- streams

    def evict_idle(self) -> None:
        ttl_s = self.spec.streams.ttl_s
        if ttl_s is None:
            return
        for key in [k for k, s in self.streams.items() if self.clock.now_ms - s.last_seen_ms > ttl_s * 1000]:
            del self.streams[key]
            self.counts["evicted_ttl"] += 1

    def touch(self, key: bytes) -> Stream:
        if key not in self.streams:
            if len(self.streams) == self.spec.streams.max_streams:
                self.streams.popitem(last=False)
                self.counts["evicted_capacity"] += 1
            self.streams[key] = Stream(self.new_sequence(), [RunningMoments() for _ in range(self.spec.n_targets)])
        self.streams.move_to_end(key)
        self.streams[key].last_seen_ms = self.clock.now_ms
        return self.streams[key]

    def new_sequence(self) -> History:
        model = self.spec.model
        return History(zero_state(model.cell, model.hidden_size, model.num_layers, self.dtype))

    def gap(self, stream: Stream, time_ms: int) -> bool:
        limit_s, last_ms = self.spec.streams.reset_after_s, stream.sequence.last_time_ms
        return limit_s is not None and last_ms is not None and time_ms - last_ms > limit_s * 1000

    def reset(self, stream: Stream) -> None:
        stream.sequence = self.new_sequence()
        self.counts["sequences"] += 1

    # -------------------------------------------------------------------------------------------------- events

    def take_event(self, record: Record, stream: Stream, time_ms: int) -> tuple[Array, int]:
        spec, sequence = self.spec, stream.sequence
        forecast = spec.target.known == "forecast"
        y = np.where(np.isfinite(record.y), record.y, np.nan).astype(np.float64)
        if forecast:
            reached = range(1, min(spec.target.horizon, sequence.steps) + 1)
            self.score(stream, [(sequence.predictions[-j], j) for j in reached], y)
            self.absorb_targets(stream, y)
            for j in reached:
                self.set_targets(stream, sequence, sequence.steps - j, j, y)

        x = self.input_vector(record, stream, time_ms)
        before = sequence.state
        outputs, after, _ = network_step(spec.model.cell, self.weights, x, before)
        prediction = self.prediction(stream, outputs)
        updates = self.updates
        if spec.target.known == "record":
            self.score(stream, [(prediction, 1)], y)

        sequence.state = after
        sequence.before.append(before)
        sequence.inputs.append(x)
        sequence.predictions.append(prediction)
        width = 1 if self.classify else spec.n_outputs
        sequence.targets.append(np.full(width, np.nan, self.dtype))
        sequence.known.append(np.zeros(width, bool))
        sequence.injected.append(np.zeros(width, bool))
        self.absorb_inputs(record, sequence, time_ms)
        if spec.target.known == "record":
            self.absorb_targets(stream, y)
            self.set_targets(stream, sequence, sequence.steps - 1, 1, y)
        sequence.last_time_ms = time_ms if sequence.last_time_ms is None else max(sequence.last_time_ms, time_ms)
        if spec.target.known == "label":
            stream.events = [*stream.events, (record.event, sequence, sequence.steps - 1)][-spec.target.label_memory :]
        return prediction, updates

    def take_label(self, record: Record) -> None:
        """A late label: ignored unless its event is remembered, learned if its step is inside the next window."""
        if record.key not in self.streams:
            self.counts["labels_unmatched"] += 1
            return
        stream = self.touch(record.key)
        y = np.where(np.isfinite(record.y), record.y, np.nan).astype(np.float64)
        matches = [i for i, (event, _, _) in enumerate(stream.events) if event == record.event != 0]
        if not matches:
            self.counts["labels_unmatched"] += 1
            return
        _, sequence, step = stream.events[matches[-1]]
        if np.isfinite(y).any():
            stream.events[matches[-1]] = (0, sequence, step)  # a repeated label finds nothing
        self.score(stream, [(sequence.predictions[step], 1)], y)
        self.absorb_targets(stream, y)
        k1, k2 = self.spec.learning.k1, self.spec.learning.k2
        next_due = (sequence.steps // k1 + 1) * k1
        if sequence is stream.sequence and step >= next_due - k2:
            self.set_targets(stream, sequence, step, 1, y)
        else:
            self.counts["labels_late"] += 1

    def seconds_since(self, sequence: History, time_ms: int) -> float:
        last_ms = time_ms if sequence.last_time_ms is None else sequence.last_time_ms
        return max(0.0, (time_ms - last_ms) / 1000)

    def raw_inputs(self, record: Record, sequence: History, time_ms: int) -> list[float]:
        dt = [float(np.log1p(self.seconds_since(sequence, time_ms)))] if self.spec.inputs.dt else []
        return [float(v) for v in record.x] + dt

    def input_vector(self, record: Record, stream: Stream, time_ms: int) -> Array:
        """[features | dt | newest targets | known flags], scaled by the statistics before this record."""
        scale = self.spec.learning.scale
        x: list[float] = []
        for column, value in enumerate(self.raw_inputs(record, stream.sequence, time_ms)):
            moments = self.input_moments[column]
            if column < self.spec.n_features and self.indicator[column]:
                x.append(value if np.isfinite(value) else 0.0)
            elif not np.isfinite(value):
                x.append(0.0 if scale else moments.mean)
            else:
                x.append(scaled_input(moments, value) if scale else value)
        if self.spec.inputs.previous_target:
            x.extend(self.previous_target(stream))
        return np.array(x, self.dtype)

    def previous_target(self, stream: Stream) -> list[float]:
        newest = stream.sequence.newest_target
        if self.classify:
            one_hot = [0.0] * len(self.spec.target.classes or ())
            if newest is None:
                return [*one_hot, 0.0]
            one_hot[int(newest[0])] = 1.0
            return [*one_hot, 1.0]
        if newest is None:
            return [0.0] * (2 * self.spec.n_targets)
        known = np.isfinite(newest)
        scaled = [self.scaled_target(stream, i, newest[i]) if known[i] else 0.0 for i in range(self.spec.n_targets)]
        return scaled + [float(k) for k in known]

    def absorb_inputs(self, record: Record, sequence: History, time_ms: int) -> None:
        for column, value in enumerate(self.raw_inputs(record, sequence, time_ms)):
            if not np.isfinite(value):
                self.counts["imputed"] += 1
            elif column >= self.spec.n_features or not self.indicator[column]:
                self.input_moments[column].absorb(value)

    # ------------------------------------------------------------------------------------------------- targets

    def target_scaling(self, stream: Stream, i: int) -> tuple[float, float]:
        if self.classify or not self.spec.learning.scale:
            return 0.0, 1.0
        return shrunk_moments(stream.moments[i], self.target_moments[i], self.spec.learning.target_shrinkage)

    def scaled_target(self, stream: Stream, i: int, value: float) -> float:
        mean, std = self.target_scaling(stream, i)
        return (value - mean) / std

    def absorb_targets(self, stream: Stream, y: Array) -> None:
        """Take targets into the statistics and show the known ones as the sequence's newest."""
        if not np.isfinite(y).any():
            return
        newest = np.full(len(y), np.nan) if stream.sequence.newest_target is None else stream.sequence.newest_target
        stream.sequence.newest_target = np.where(np.isfinite(y), y, newest)
        for i in np.flatnonzero(np.isfinite(y)):
            self.target_moments[i].absorb(float(y[i]))
            stream.moments[i].absorb(float(y[i]))

    def set_targets(self, stream: Stream, sequence: History, step: int, j: int, y: Array) -> None:
        """Targets of ``step`` at horizon ``j`` become known: scaled as of now, waiting for the next window."""
        levels = len(self.levels)
        for i in np.flatnonzero(np.isfinite(y)):
            first = 0 if self.classify else ((j - 1) * self.spec.n_targets + i) * levels
            for column in range(first, first + (1 if self.classify else levels)):
                sequence.known[step][column] = True
                sequence.targets[step][column] = y[i] if self.classify else self.scaled_target(stream, i, y[i])

    def score(self, stream: Stream, predictions: list[tuple[Array, int]], y: Array) -> None:
        """Mean loss (in the model's scale) and mean error (in y's unit) of predictions, each with its horizon."""
        losses, errors = [], []
        model, levels = self.spec.model, self.levels
        for prediction, j in predictions:
            for i in np.flatnonzero(np.isfinite(y)):
                if self.classify:
                    probabilities = prediction if len(prediction) > 1 else np.array([1 - prediction[0], prediction[0]])
                    losses.append(-np.log(max(probabilities[int(y[i])], 1e-15)))
                    errors.append(float(np.argmax(probabilities) != y[i]))
                    continue
                _, std = self.target_scaling(stream, i)
                first = ((j - 1) * self.spec.n_targets + i) * len(levels)
                distances = prediction[first : first + len(levels)] - y[i]
                elements = [
                    element_loss(model.effective_loss, d / std, q, model.huber_delta)[0]
                    for d, q in zip(distances, levels, strict=True)
                ]
                losses.append(np.mean(elements))
                errors.append(abs(distances[len(levels) // 2]))
        if losses:
            self.scores[-1] = (float(np.mean(losses)), float(np.mean(errors)))

    def prediction(self, stream: Stream, outputs: Array) -> Array:
        """Network outputs in the target's own unit: class probabilities, or values unscaled."""
        if self.spec.model.readout == "softmax":
            return softmax(outputs)
        if self.spec.model.readout == "logistic":
            return sigmoid(outputs)
        values = []
        for column, out in enumerate(outputs):
            mean, std = self.target_scaling(stream, column // len(self.levels) % self.spec.n_targets)
            values.append(float(out) * std + mean)
        return np.array(values)

    # ------------------------------------------------------------------------------------------------ learning

    def learn(self, sequence: History) -> None:
        """The window: replay, inject what is new, accumulate; after batch_size of them, one optimiser step."""
        model, learning = self.spec.model, self.spec.learning
        start = max(0, sequence.steps - learning.k2)
        known, injected = np.array(sequence.known, bool), np.array(sequence.injected, bool)
        new = known & ~injected
        if not new.any():
            return
        assert not new[:start].any(), "a target waits for a step that has left the window"
        for step, mask in zip(sequence.injected, new, strict=True):
            step |= mask
        outputs, _, tape = network_forward(
            model.cell, self.weights, np.array(sequence.inputs[start:]), sequence.before[start]
        )
        targets, new = np.array(sequence.targets)[start:], new[start:]
        if self.classify:
            loss, d_outputs = class_loss(model.readout, outputs, targets[:, 0], new[:, 0])
        else:
            levels = np.tile(self.levels, self.spec.n_outputs // len(self.levels))
            loss, d_outputs = regression_loss(model.effective_loss, outputs, targets, new, levels, model.huber_delta)
        grads, _ = network_backward(model.cell, self.weights, tape, d_outputs)
        if not np.isfinite(loss) or not np.isfinite(global_norm(grads)):
            self.counts["nonfinite_losses" if not np.isfinite(loss) else "nonfinite_gradients"] += 1
            return
        self.windows += 1
        self.losses.append(float(loss))
        for name, g in grads.items():
            self.accumulated[name] += g
        if self.windows % learning.batch_size == 0:
            self.update()

    def update(self) -> None:
        learning = self.spec.learning
        mean = {name: (g / learning.batch_size).astype(self.dtype) for name, g in self.accumulated.items()}
        clipped, norm = clip_by_global_norm(mean, learning.clip_norm)
        self.steps.append((len(self.scores) - 1, norm))
        if learning.clip_norm is not None and norm + 1e-6 > learning.clip_norm:
            self.counts["clipped"] += 1
        self.optimizer.step(self.weights, clipped)
        self.updates += 1
        self.accumulated = {name: np.zeros_like(w) for name, w in self.weights.items()}
