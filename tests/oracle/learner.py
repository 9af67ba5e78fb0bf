"""The slow, obvious learner: what a log of records means, one record at a time, with Python lists and NumPy.

Everything that happened in a stream's sequence is kept (``streams``), inputs and targets are scaled by running
statistics (``encoder``), the network runs in the spec's dtype (``network``), and the RLS readout solves for its weights
after each target (``readout``); what is learned from that, and when, says ``trainer``. The package's learner must agree
with this one on every log. It shares no code with it, checks no input and is meant for a few hundred records.
"""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from streamrnn.learner.block import Block
from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.spec import LearnerSpec
from tests.oracle.encoder import known_fields
from tests.oracle.network import (
    Array,
    Weights,
    element_loss,
    probabilities_in_use,
    sigmoid,
)
from tests.oracle.rivals import NaiveRivals
from tests.oracle.streams import (
    CLOSE,
    ESTABLISHED,
    EVENT,
    FORGET,
    LABEL,
    Clock,
    Event,
    History,
    Record,
    Stream,
    records_of,
)
from tests.oracle.symbols import OTHER, Surprise
from tests.oracle.trainer import NaiveTrainer

OF_STREAM, OF_PARTITION = 50, 1000  # newest surprises that one is ranked among


def mean_of_known(pairs: list[tuple[float, ...]]) -> tuple[float, float]:
    """The mean of all pairs that are known, in both places."""
    known = [pair for pair in pairs if not np.isnan(pair[0])]
    first, second = np.mean(known or [(np.nan, np.nan)], axis=0)
    return float(first), float(second)


class NaiveLearner(NaiveTrainer):
    """A learner over one partition. ``weights`` (PyTorch's names; no head with the RLS readout) are copied."""

    def __init__(self, spec: LearnerSpec, weights: Weights) -> None:
        super().__init__(spec, weights)
        self.streams: OrderedDict[bytes, Stream] = OrderedDict()  # least recently touched first
        self.clock = Clock(spec.streams.max_time_jump_s * 1000)
        self.clock.counts = self.counts
        self.number = 0  # of the record at work
        self.counted = np.zeros(0)  # the targets of the record at work, as far as they count
        self.rivals = NaiveRivals(spec)
        self.rival_scores: list[tuple[float, ...]] = []  # per record: mean errors of the rivals on the same
        self.surprises: list[float] = []  # mean losses of all records, or texts, that had one
        self.ranked: list[Surprise | None] = []  # per record: what it is ranked among
        self.text_losses: list[list[float]] = []  # per record: the loss of each unit of its text
        self.text_numbers: list[list[int]] = []  # and its number, -1 where it is in no set
        self.widths: list[float] = []  # per record: mean width of the intervals it let us score
        self.delays: list[float] = []  # per record: seconds from its event to this label

    # ------------------------------------------------------------------------------------------------- records

    def process(self, block: Block) -> tuple[Array, Array]:
        """Predictions [n, n_outputs] and update counts [n] of a block."""
        return self.run(records_of(block))

    def run(self, records: Iterable[Record]) -> tuple[Array, Array]:
        values, updates = [], []
        for record in records:
            value, count = self.process_record(record)
            values.append(value)
            updates.append(count)
        return np.array(values, np.float64).reshape(-1, self.spec.n_outputs), np.array(updates, np.int64)

    def process_record(self, record: Record) -> tuple[Array, int]:
        """One record, wholly: time, eviction, gap, predict, score, advance, learn; or a sequence or stream ends."""
        self.scores.append((np.nan, np.nan))
        self.rival_scores.append((np.nan, np.nan))
        self.widths.append(np.nan)
        self.delays.append(np.nan)
        self.ranked.append(None)
        self.text_losses.append([])
        self.text_numbers.append([])
        if record.kind == CLOSE:
            updates = self.updates
            self.close(record.key)
            return np.full(self.spec.n_outputs, np.nan), updates
        self.number += 1
        if record.kind == FORGET:  # outside time: no clock moves, and nobody else leaves
            if record.key in self.streams:
                self.drop(record.key, "tombstone")
            return np.full(self.spec.n_outputs, np.nan), self.updates
        seen = {key: stream.last_number for key, stream in self.streams.items()}
        time_ms = self.clock.advance(record.time_ms, record.key, seen, self.number)
        if self.clock.went_back:
            for stream in self.streams.values():
                stream.last_seen_ms = min(stream.last_seen_ms, time_ms)
                if (last_ms := stream.sequence.last_time_ms) is not None:
                    stream.sequence.last_time_ms = min(last_ms, time_ms)
                for event in stream.events:
                    event.time_ms = min(event.time_ms, time_ms)
        self.evict_idle(record.key, time_ms)
        record = self.numbered(record)
        if record.kind == LABEL:
            self.counts["label_records"] += 1
            updates = self.updates
            self.process_label(record, time_ms)
            return np.full(self.spec.n_outputs, np.nan), updates
        stream = self.touch(record.key)
        if record.text is None:
            return self.live(record, stream, time_ms)
        return self.live_through_text(record, stream, time_ms)

    def live_through_text(self, record: Record, stream: Stream, time_ms: int) -> tuple[Array, int]:
        """A step for each unit, and then what comes next; scores are means over the units."""
        scores, rivals = [], []
        for unit in self.units_of(record):
            self.live(unit, stream, time_ms)
            self.text_numbers[-1].append(-1 if np.isnan(unit.y[0]) else int(unit.y[0]))
            scores.append(self.scores[-1])
            rivals.append(self.rival_scores[-1])
            self.scores[-1], self.rival_scores[-1] = (np.nan, np.nan), (np.nan, np.nan)
        self.text_losses[-1] = [loss for loss, _ in scores]
        self.scores[-1] = mean_of_known(scores)
        self.rival_scores[-1] = mean_of_known(rivals)
        if not np.isnan(self.scores[-1][0]):
            self.rank(stream, self.scores[-1][0])
        if not scores and self.spec.has_end and record.end and stream.sequence.steps:
            self.learn(stream.sequence, last=True)
            self.reset(stream)
        return self.question(record, stream, time_ms), self.updates

    def live(self, record: Record, stream: Stream, time_ms: int) -> tuple[Array, int]:
        """One step of a stream's life: gap, predict, score, advance, learn; perhaps the sequence ends."""
        self.counts["records_predicted"] += 1
        if self.gap(stream, time_ms):
            self.learn(stream.sequence, last=True)
            self.reset(stream)
        result = self.process_event(record, stream, time_ms)
        sequence = stream.sequence
        ends = record.end and (self.spec.has_end or (self.spec.text is not None and not self.spec.text.carry))
        self.learn(sequence, last=ends)
        if self.rls and self.spec.target.known == "record":
            for i in known_fields(self.counted):
                self.teach(stream, sequence, sequence.steps - 1, 1, i, self.counted[i])
        if ends:
            self.reset(stream)
        return result

    def close(self, key: bytes) -> None:
        """Learn from what is left of the stream's sequence and end it. The stream was not seen by that."""
        stream = self.streams.get(key)
        if stream and stream.sequence.steps:
            self.learn(stream.sequence, last=True)
            self.reset(stream)

    def predict(self, block: Block) -> Array:
        """What would be predicted for every record of the block now, [n, n_outputs]; changes nothing."""
        predictions = []
        for record in records_of(block):
            record.numbers = self.numbers_asked(record)
            stream = self.streams.get(record.key) or self.new_stream()
            predictions.append(self.question(record, stream, record.time_ms))
        return np.array(predictions, np.float64).reshape(-1, self.spec.n_outputs)

    def question(self, record: Record, stream: Stream, time_ms: int) -> Array:
        """What is predicted for a record of the stream that came now; changes nothing."""
        stream = copy.deepcopy(stream)
        if self.gap(stream, time_ms):
            stream.sequence = self.new_sequence()
        return np.asarray(self.foretell(record, stream, time_ms)[0])

    def imagine(self, records: Iterable[Record]) -> Array:
        """Predictions [n, ...] for these records, whose y is known, if they came next in a stream, all at once."""
        stream, predictions = None, []
        for record in records:
            stream = stream or copy.deepcopy(self.streams.get(record.key) or self.new_stream())
            sequence = stream.sequence
            time_ms, record.numbers = sequence.last_time_ms or 0, self.numbers_asked(record)
            if self.spec.target.known == "forecast":
                self.note(sequence, np.asarray(record.y))
            prediction, inputs, sequence.state = self.foretell(record, stream, time_ms)[:3]
            sequence.inputs.append(inputs)
            sequence.last_x.update({k: float(v) for k, v in enumerate(record.x) if np.isfinite(v)})
            predictions.append(prediction)
            if self.spec.target.known == "record":
                self.note(sequence, np.asarray(record.y))
        return np.array(predictions, np.float64).reshape(-1, self.spec.n_outputs)

    # ------------------------------------------------------------------------------------------------- symbols

    def numbered(self, record: Record) -> Record:
        """The record with the numbers of its symbols, which an open set gives now, and of its class."""
        numbers = []
        if record.kind == EVENT:
            for vocabulary, symbol in zip(self.vocabularies, record.symbols, strict=True):
                numbers.append(-1 if symbol is None else vocabulary.take(symbol))
        y = record.y
        brings = record.kind == LABEL or self.spec.target.known != "label"
        if self.classes and brings and record.label is not None:
            y = [float(self.classes.take(record.label))]
        return replace(record, numbers=numbers, y=y)

    def numbers_asked(self, record: Record) -> list[int]:
        """The numbers of its symbols as they are."""
        pairs = zip(self.vocabularies, record.symbols, strict=True)
        return [-1 if symbol is None else vocabulary.ask(symbol) for vocabulary, symbol in pairs]

    def units_of(self, record: Record) -> Iterator[Record]:
        """The steps that a text is made of: each unit is a class, which is numbered when its turn has come."""
        classes, text = self.classes, self.spec.text
        assert classes is not None and text is not None and record.text is not None
        symbols = [str(unit) for unit in record.text]
        last = len(symbols) - (not text.mark_end)
        for n, symbol in enumerate([*symbols, None] if text.mark_end else symbols):
            number = classes.end if symbol is None else classes.take(symbol)
            y = [float(number) if number >= 0 else np.nan]
            yield replace(record, text=None, y=y, end=n == last and (record.end or not text.carry))

    def as_class(self, y: Array, in_use: int) -> Array:
        """What a class is to who knew of so many: one of the others, if it is none of them."""
        return np.where(y >= in_use, OTHER, y) if self.classify else y

    def absorb_targets(self, stream: Stream, y: Array) -> tuple[Array, Array]:
        """A class that nobody had seen before is learned as one of the others, and remembered as itself."""
        counted, kept = super().absorb_targets(stream, y)
        counted = self.as_class(counted, self.in_use)
        self.meet(y)
        return counted, kept

    def meet(self, y: Array) -> None:
        """From now on this class is one of those that the model may name, though the least likely of them."""
        if self.classify and y[0] >= self.in_use:
            bias = self.weights["head.bias"]
            bias[self.in_use : int(y[0]) + 1] = bias[: self.in_use].min()
            self.in_use = int(y[0]) + 1

    def rank(self, stream: Stream, surprise: float) -> None:
        """A surprise is held against the newest before it, and is one of them from now on."""
        if self.classify:
            self.ranked[-1] = Surprise(surprise, stream.surprises[-OF_STREAM:], self.surprises[-OF_PARTITION:])
            stream.surprises.append(surprise)
            self.surprises.append(surprise)

    # ------------------------------------------------------------------------------------------------- streams

    def evict_idle(self, returning: bytes, time_ms: int) -> None:
        """Drop who was idle too long in the time lived through, and the one at hand if its record comes too late."""
        ttl_s = self.spec.streams.ttl_s
        if ttl_s is None:
            return
        idle = [k for k, s in self.streams.items() if self.clock.lived_ms - s.last_lived_ms > ttl_s * 1000]
        if returning in self.streams and time_ms - self.streams[returning].last_seen_ms > ttl_s * 1000:
            idle.append(returning)
        for key in set(idle):
            self.drop(key, "ttl")

    def drop(self, key: bytes, cause: str) -> Stream:
        stream = self.streams.pop(key)
        self.counts[f"evictions_{cause}"] += 1
        self.counts["lost_labels"] += stream.waiting
        return stream

    def touch(self, key: bytes) -> Stream:
        if key not in self.streams:
            self.make_room(key)
            self.streams[key] = self.new_stream()
        self.streams.move_to_end(key)
        self.streams[key].lived.append(self.clock.lived_ms)
        self.streams[key].last_seen_ms = self.clock.now_ms
        self.streams[key].last_lived_ms, self.streams[key].last_number = self.clock.lived_ms, self.number
        return self.streams[key]

    def make_room(self, key: bytes) -> None:
        """Drop streams until there is room for one of this key."""
        limits, each = self.spec.streams, bytes_per_slot(self.spec)

        def taken(keys: list[bytes]) -> int:
            return sum(each + len(k) for k in keys)

        while self.streams:
            old = [k for k, s in self.streams.items() if len(s.lived) >= ESTABLISHED]
            new = [k for k in self.streams if k not in old]
            if len(self.streams) == limits.max_streams:
                share = min(int(limits.protected_share * limits.max_streams), limits.max_streams - 1)
                protected = len(old) <= share
            elif limits.max_bytes is not None and taken([*old, *new, key]) > limits.max_bytes:
                protected = taken(old) <= int(limits.protected_share * limits.max_bytes)
            else:
                return
            leaving = new[0] if new and protected else next(iter(self.streams))
            stream = self.drop(leaving, "capacity")
            if leaving in old and self.clock.lived_ms - stream.lived[-1] <= stream.lived[-1] - stream.lived[0]:
                self.counts["evictions_in_use"] += 1

    def new_stream(self) -> Stream:
        fields, horizons = self.spec.n_targets, len(self.spec.target.steps_ahead)
        return Stream(self.new_sequence(), self.moments(fields), self.moments(fields * horizons, centred=False))

    def new_sequence(self) -> History:
        return History(self.zero_state(), [[] for _ in range(self.spec.n_targets)])

    def gap(self, stream: Stream, time_ms: int) -> bool:
        limit_s, last_ms = self.spec.streams.reset_after_s, stream.sequence.last_time_ms
        return limit_s is not None and last_ms is not None and time_ms - last_ms > limit_s * 1000

    def reset(self, stream: Stream) -> None:
        stream.sequence = self.new_sequence()
        self.counts["sequences_ended"] += 1

    # -------------------------------------------------------------------------------------------------- events

    def process_event(self, record: Record, stream: Stream, time_ms: int) -> tuple[Array, int]:
        spec, sequence = self.spec, stream.sequence
        forecast = spec.target.known == "forecast"
        y = np.where(np.isfinite(record.y), record.y, np.nan).astype(np.float64)
        if forecast:
            reached = [j for j in spec.target.steps_ahead if j <= sequence.steps]
            said = [(sequence.predictions[-j], sequence.rivals[-j], j) for j in reached]
            self.score(stream, said, self.as_class(y, sequence.in_use[-1] if sequence.steps else 0))
            self.tell_rivals(stream, y)
            counted, kept = self.absorb_targets(stream, y)
            self.note(sequence, kept)
            for j in reached:
                self.complete(stream, j, counted)

        prediction, x, after, phi, experts = self.foretell(record, stream, time_ms)
        before, units, sound = sequence.state, self.units(stream), self.lags_are_sound(stream)
        updates, rivals = self.updates, self.rivals.foretell(stream.newest)
        if spec.target.known == "record":
            self.score(stream, [(prediction, rivals, 1)], self.as_class(y, self.in_use))
            self.tell_rivals(stream, y)

        sequence.state = after
        sequence.before.append(before)
        sequence.inputs.append(x)
        sequence.last_x.update({k: float(v) for k, v in enumerate(record.x) if np.isfinite(v)})
        sequence.predictions.append(prediction)
        sequence.in_use.append(self.in_use)
        sequence.regressors.append(phi)
        sequence.expert_predictions.append(experts)
        sequence.units.append(units)
        sequence.rivals.append(rivals)
        sequence.sound.append(sound)
        width = 1 if self.classify else spec.n_outputs
        sequence.targets.append(np.full(width, np.nan, self.dtype))
        sequence.known.append(np.zeros(width, bool))
        sequence.injected.append(np.zeros(width, bool))
        self.count_clamped(x)
        self.absorb_inputs(record, sequence, time_ms)
        if spec.target.known == "record":
            self.counted, kept = self.absorb_targets(stream, y)
            self.note(sequence, kept)
            for i in known_fields(self.counted):
                self.set_target(stream, sequence, sequence.steps - 1, 1, i, self.counted[i])
        sequence.last_time_ms = time_ms if sequence.last_time_ms is None else max(sequence.last_time_ms, time_ms)
        if spec.target.known == "label":
            stream.events.append(Event(record.event, sequence, sequence.steps - 1, time_ms))
            sequence.events.append(stream.events[-1])
            if len(stream.events) > spec.target.label_memory:
                self.counts["lost_labels"] += stream.events.pop(0).id != 0
        return prediction, updates

    def complete(self, stream: Stream, j: int, y: Array) -> None:
        """The values y are what the step j before the present one was to forecast at horizon j."""
        sequence = stream.sequence
        step = sequence.steps - j
        for i in known_fields(y):
            if self.spec.target.period:
                change = y[i] - self.baseline(sequence, j, i, j)
                self.absorb_change(stream, self.column(j, i), change)
            if self.rls:
                self.teach(stream, sequence, step, j, i, y[i])
            self.set_target(stream, sequence, step, j, i, y[i])

    def foretell(self, record: Record, stream: Stream, time_ms: int) -> tuple[Any, ...]:
        """Prediction of a record, and what made it: inputs, state after, RLS regressors, both models' predictions."""
        x = self.input_vector(record, stream, time_ms)
        outputs, after, seen = self.step(x, stream.sequence.state)
        phi, experts = np.zeros(0), []
        if self.rls:
            read, multiplied = seen[: self.spec.n_read], x[: self.spec.n_multiplied]
            phi = np.concatenate([read, multiplied, self.lags(stream), [1.0]]).astype(np.float64)
            experts = [readout.models(phi) for readout in self.readouts]
            outputs = np.array([readout.predict(phi) for readout in self.readouts])
        return self.prediction(stream, outputs), x, after, phi, experts

    def process_label(self, record: Record, time_ms: int) -> None:
        """A late label: ignored unless its event is remembered, learned if its step is inside the next window."""
        y = np.where(np.isfinite(record.y), record.y, np.nan).astype(np.float64)
        if record.key not in self.streams:
            self.counts["unmatched_labels"] += 1
            self.meet(y)
            return
        stream = self.touch(record.key)
        matches = [event for event in stream.events if event.id == record.event != 0]
        if not matches:
            self.counts["unmatched_labels"] += 1
            self.meet(y)
            return
        event = matches[-1]
        sequence, step = event.sequence, event.step
        if np.isfinite(y).any():
            event.id = 0  # a repeated label finds nothing
            self.delays[-1] = max(0, time_ms - event.time_ms) / 1000
        said = [(sequence.predictions[step], sequence.rivals[step], 1)]
        self.score(stream, said, self.as_class(y, sequence.in_use[step]))
        self.tell_rivals(stream, y)
        counted, kept = self.absorb_targets(stream, y)
        self.note(stream.sequence, kept)
        if self.rls:
            for i in known_fields(counted):
                self.teach(stream, sequence, step, 1, i, counted[i])
        if self.spec.rule == "fixed":
            return
        if self.exact is not None and sequence is stream.sequence and event.id == 0:
            behind = max(0, sequence.newest_answered - step)
            self.overtaken[0 if behind == 0 else 1 + int(np.log2(behind))] += 1
            if self.overtaken.total() >= 1_000:
                self.overtaken = Counter({power: n // 2 for power, n in self.overtaken.items()})
            sequence.newest_answered = max(sequence.newest_answered, step)
        if sequence is stream.sequence and step >= self.oldest_to_learn(sequence):
            for i in known_fields(counted):
                self.set_target(stream, sequence, step, 1, i, counted[i])
        else:
            self.counts["late_labels"] += 1
            if self.exact is not None and sequence is stream.sequence:
                self.counts["passed_labels"] += 1
        if self.exact is not None:
            self.learn(stream.sequence)

    def oldest_to_learn(self, sequence: History) -> int:
        """The first step of a sequence that a label may still be learned at."""
        if self.exact is not None:
            return sequence.learned
        next_due = (sequence.steps // self.spec.k1 + 1) * self.spec.k1
        return next_due - self.spec.k2

    # -------------------------------------------------------------------------------------------------- scores

    def tell_rivals(self, stream: Stream, y: Array) -> None:
        for i in known_fields(y):
            value = float(y[i])
            if self.classify:
                self.rivals.learn(stream.newest, i, value, float(self.as_class(y, self.in_use)[0]))
            else:
                self.rivals.learn(stream.newest, i, self.within_reach(stream, i, value))

    def score(self, stream: Stream, predictions: list[tuple[Array, list[tuple[float, float]], int]], y: Array) -> None:
        """Mean loss (in the model's scale) and mean errors (in y's unit) of predictions and of what rivals said then.

        Each comes with its horizon.
        """
        losses, errors, rivals, widths = [], [], [], []
        model, levels = self.spec.model, self.levels
        for prediction, said, j in predictions:
            for i in known_fields(y):
                if self.classify:
                    probabilities = prediction if len(prediction) > 1 else np.array([1 - prediction[0], prediction[0]])
                    losses.append(-np.log(max(probabilities[int(y[i])], 1e-15)))
                    errors.append(float(np.argmax(probabilities) != y[i]))
                    rivals.append(self.rivals.score(i, errors[-1], said[i], y[i]))
                    continue
                width = self.width(stream, j, i)
                first = self.column(j, i) * len(levels)
                published = prediction[first : first + len(levels)]
                distances = published - self.within_bounds(stream, i, float(y[i]))
                elements = [
                    element_loss(model.effective_loss, d / width, q, model.huber_delta)[0]
                    for d, q in zip(distances, levels, strict=True)
                ]
                losses.append(np.mean(elements))
                reached = self.within_reach(stream, i, float(y[i]))
                errors.append(abs(published[len(levels) // 2] - reached))
                rivals.append(self.rivals.score(i, errors[-1], said[i], reached))
                if len(levels) > 1:
                    self.counts["interval_targets"] += 1
                    self.counts["interval_hits"] += int(published[0] <= y[i] <= published[-1])
                    widths.append(max(0.0, published[-1] - published[0]))
        if widths:
            self.widths[-1] = float(np.mean(widths))
        if losses:
            compared = [of_both for of_both in rivals if not np.isnan(of_both[0])]
            self.rival_scores[-1] = tuple(np.mean(compared or [(np.nan, np.nan)], axis=0).tolist())
            self.scores[-1] = (float(np.mean(losses)), float(np.mean(errors)))
            if self.spec.text is None:
                self.rank(stream, self.scores[-1][0])

    def prediction(self, stream: Stream, outputs: Array) -> Array:
        """Network outputs in the target's own unit: class probabilities, or values unscaled."""
        if self.spec.model.readout == "softmax":
            return probabilities_in_use(outputs, self.in_use)
        if self.spec.model.readout == "logistic":
            return sigmoid(outputs)
        values = []
        for column, out in enumerate(outputs):
            k, i = divmod(column // len(self.levels), self.spec.n_targets)
            j = self.spec.target.steps_ahead[k]
            centre, _ = self.target_scaling(stream, i)
            if self.spec.target.period:
                centre = self.baseline(stream.sequence, j, i, 0)
            values.append(centre + self.width(stream, j, i) * float(out))
        return np.array(values)
