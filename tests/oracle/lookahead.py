"""The slow, obvious learner of single steps that look ahead: what a log means where predictions wait.

Streams, time, statistics, rivals and optimisers are those of ``NaiveLearner``. An event's inputs are noted when it
comes; what is said of it, and all that follows from its target, waits until so many more of its sequence have come or
the sequence ends. Networks are written forwards (``sequences_network``) and differentiated by their tape.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from streamrnn.learner import streams
from streamrnn.learner.spec import LearnerSpec
from tests.oracle.encoder import known_fields
from tests.oracle.learner import NaiveLearner
from tests.oracle.network import Array, Weights, class_loss, global_norm, regression_loss, zero_state
from tests.oracle.sequences_network import Nodes, Shape, as_nodes, head, run
from tests.oracle.sequences_network import zero_state as zero_nodes
from tests.oracle.sequences_tape import Node, gradients, joined
from tests.oracle.streams import History, Record, Stream


def shape_of(spec: LearnerSpec) -> Shape:
    model = spec.model
    return Shape(
        model.cell, "labels", spec.n_inputs, model.units, 1, spec.n_outputs, both=True, lookahead=model.lookahead
    )


@dataclass
class Said:
    """One prediction: with which record of the log it came out, of which event it is, and what was said."""

    at: int
    key: bytes
    event: int
    time_ms: int
    y: Array
    value: Array
    updates: int


@dataclass
class Ahead(History):
    """A sequence; ``inputs`` are those of all steps that came, ``before`` and targets of those that were told."""

    waiting: list[Record] = field(default_factory=list)


class NaiveLookaheadLearner(NaiveLearner):
    """A learner over one partition. ``weights`` (PyTorch's names) are copied."""

    def __init__(self, spec: LearnerSpec, weights: Weights) -> None:
        super().__init__(spec, weights)
        self.shape, self.ahead = shape_of(spec), spec.model.lookahead or 0
        self.told: list[Said] = []
        self.at = -1  # the record at work, among all of the log

    # ------------------------------------------------------------------------------------------------- records

    def run(self, records: Iterable[Record]) -> tuple[Array, Array]:
        """Nothing to return: what was said is in ``told``, and ``scores`` and the like have an entry for each of it."""
        for record in records:
            self.at += 1
            lists = (self.scores, self.rival_scores, self.widths, self.delays, self.ranked, self.text_losses,
                     self.text_numbers)  # fmt: skip
            n = len(self.scores)
            self.process_record(record)
            for per_record in lists:
                del per_record[n]
        return np.zeros((0, self.spec.n_outputs)), np.zeros(0, np.int64)

    def new_sequence(self) -> Ahead:
        model = self.spec.model
        return Ahead(zero_state(model.cell, model.units, 1, self.dtype), [[] for _ in range(self.spec.n_targets)])

    def live(self, record: Record, stream: Stream, time_ms: int) -> tuple[Array, int]:
        """An event comes: what was before a gap ends; it waits; what is due is told; perhaps the sequence ends."""
        if self.gap(stream, time_ms):
            self.tell_all(stream)
            self.reset(stream)
        sequence = stream.sequence
        assert isinstance(sequence, Ahead)
        x = self.input_vector(record, stream, time_ms)
        sequence.inputs.append(x)
        sequence.last_x.update({k: float(v) for k, v in enumerate(record.x) if np.isfinite(v)})
        self.count_clamped(x)
        self.absorb_inputs(record, sequence, time_ms)
        sequence.last_time_ms = time_ms if sequence.last_time_ms is None else max(sequence.last_time_ms, time_ms)
        sequence.waiting.append(record)
        if record.end and self.spec.has_end:
            self.tell_all(stream)
            self.reset(stream)
        elif len(sequence.waiting) > self.ahead:
            self.tell(stream, last=False)
        return np.full(self.spec.n_outputs, np.nan), self.updates

    def close(self, key: bytes) -> None:
        stream = self.streams.get(key)
        if stream and stream.sequence.steps:
            self.tell_all(stream)
            self.reset(stream)

    def evict_idle(self, returning: bytes, time_ms: int) -> None:
        """As there, but it matters who leaves first: the one seen least recently, and last the one at hand.

        Few leave with one record, beside the one at hand; the others with the records behind it.
        """
        ttl_s = self.spec.streams.ttl_s
        if ttl_s is None:
            return
        idle = [k for k, s in self.streams.items() if self.clock.lived_ms - s.last_lived_ms > ttl_s * 1000]
        late = returning in self.streams and time_ms - self.streams[returning].last_seen_ms > ttl_s * 1000
        leaving = idle[: streams.IDLE_AT_ONCE]
        if returning not in leaving and (late or returning in idle):
            leaving.append(returning)
        for key in leaving:
            self.drop(key, "ttl")

    def drop(self, key: bytes, cause: str) -> Stream:
        """A stream leaves: what waits is told, and no window is learned."""
        self.tell_all(self.streams[key], learns=False)
        return super().drop(key, cause)

    # ------------------------------------------------------------------------------------------------- telling

    def tell_all(self, stream: Stream, learns: bool = True) -> None:
        """The sequence ends here."""
        sequence = stream.sequence
        assert isinstance(sequence, Ahead)
        while sequence.waiting:
            self.tell(stream, last=len(sequence.waiting) == 1, learns=learns)

    def tell(self, stream: Stream, last: bool, learns: bool = True) -> None:
        """What is said of the oldest event that waits, and everything that follows from its target."""
        sequence = stream.sequence
        assert isinstance(sequence, Ahead)
        record, t = sequence.waiting.pop(0), len(sequence.before)
        for scores, nothing in (
            (self.scores, (np.nan, np.nan)), (self.rival_scores, (np.nan, np.nan)), (self.widths, np.nan),
            (self.delays, np.nan), (self.ranked, None), (self.text_losses, []), (self.text_numbers, []),
        ):  # fmt: skip
            scores.append(nothing)
        outputs, after = self.read(as_nodes(self.weights), sequence, sequence.state, t, t + 1)
        prediction = self.prediction(stream, outputs[0].value)
        rivals = self.rivals.foretell(stream.newest)
        self.told.append(
            Said(self.at, record.key, record.event, record.time_ms, np.asarray(record.y), prediction, self.updates)
        )
        y = np.where(np.isfinite(record.y), record.y, np.nan).astype(np.float64)
        self.score(stream, [(prediction, rivals, 1)], self.as_class(y, self.in_use))
        self.tell_rivals(stream, y)
        sequence.before.append(sequence.state)
        sequence.state = [tuple(part.value for part in after)]
        width = 1 if self.classify else self.spec.n_outputs
        sequence.targets.append(np.full(width, np.nan, self.dtype))
        sequence.known.append(np.zeros(width, bool))
        sequence.injected.append(np.zeros(width, bool))
        self.counts["records_predicted"] += 1
        counted, kept = self.absorb_targets(stream, y)
        self.note(sequence, kept)
        for i in known_fields(counted):
            self.set_target(stream, sequence, t, 1, i, counted[i])
        if learns and (last or (t + 1) % self.spec.k1 == 0):
            self.learn(sequence)

    def read(
        self, w: Nodes, sequence: Ahead, before: list[tuple[Array, ...]], start: int, stop: int
    ) -> tuple[list[Node], tuple[Node, ...]]:
        """The outputs of steps from start up to stop, and the forward state behind them."""
        xs = [Node(x) for x in sequence.inputs]
        states = run(self.shape, w, "l0", xs[start:stop], tuple(Node(part) for part in before[0]))
        outputs = []
        for t, ahead in zip(range(start, stop), states, strict=True):
            seen = xs[t : t + self.ahead + 1][::-1]
            back = run(self.shape, w, "l0_reverse", seen, zero_nodes(self.shape.cell, self.shape.hidden))[-1]
            outputs.append(head(w, joined([ahead[0], back[0]])))
        return outputs, states[-1]

    def question(self, record: Record, stream: Stream, time_ms: int) -> Array:
        """As if the record came now, and were the last of its sequence; changes nothing."""
        stream = copy.deepcopy(stream)
        if self.gap(stream, time_ms):
            stream.sequence = self.new_sequence()
        sequence = stream.sequence
        assert isinstance(sequence, Ahead)
        sequence.inputs.append(self.input_vector(record, stream, time_ms))
        w = as_nodes(self.weights)
        outputs, _ = self.read(w, sequence, sequence.state, len(sequence.before), sequence.steps)
        return self.prediction(stream, outputs[-1].value)

    # ------------------------------------------------------------------------------------------------ learning

    def learn(self, sequence: History, last: bool = False) -> None:  # noqa: ARG002
        """The window of the newest k2 steps that were told, each with what it sees ahead."""
        assert isinstance(sequence, Ahead)
        told = len(sequence.before)
        start = max(0, told - self.spec.k2)
        new = np.array(sequence.known, bool) & ~np.array(sequence.injected, bool)
        if not new.any():
            return
        assert not new[:start].any(), "a target waits for a step that has left the window"
        for step, mask in zip(sequence.injected, new, strict=True):
            step |= mask
        w = as_nodes(self.weights)
        outputs, _ = self.read(w, sequence, sequence.before[start], start, told)
        loss, d_outputs = self.window_loss(outputs, np.array(sequence.targets)[start:], new[start:])
        seeds = list(zip(outputs, d_outputs, strict=True))
        grads = dict(zip(w, gradients(seeds, list(w.values())), strict=True))
        self.counts["windows"] += 1
        if not np.isfinite(loss) or not np.isfinite(global_norm(grads)):
            self.counts["windows_dropped_loss" if not np.isfinite(loss) else "windows_dropped_gradient"] += 1
            return
        self.windows += 1
        self.losses.append(float(loss))
        for name, g in grads.items():
            self.accumulated[name] += g.astype(self.dtype)
        newest = int(np.flatnonzero(new.any(axis=1))[-1])
        self.looked_up |= np.any(sequence.inputs[start : newest + self.ahead + 1], axis=0)
        if self.windows % self.spec.learning.batch_size == 0:
            self.update()

    def window_loss(self, outputs: list[Node], targets: Array, new: Array) -> tuple[float, Array]:
        """The mean loss of what is new, and its gradient at the outputs."""
        values, model = np.array([out.value for out in outputs]), self.spec.model
        if self.classify:
            in_use = self.in_use if model.readout == "softmax" else None
            return class_loss(model.readout, values, targets[:, 0].astype(float), new[:, 0], in_use)
        levels = np.tile(self.levels, self.spec.n_outputs // len(self.levels))
        return regression_loss(model.effective_loss, values, targets.astype(float), new, levels, model.huber_delta)

    def update(self) -> None:
        super().update()
        self.steps[-1] = len(self.told) - 1, self.steps[-1][1]

    def elements_in_use(self) -> dict[str, Array]:
        masks = super().elements_in_use()
        columns = self.looked_up.copy()
        columns[: self.spec.n_multiplied] = True
        name = "rnn.weight_ih_l0_reverse"
        return {**masks, name: np.broadcast_to(columns[None], self.weights[name].shape)}
