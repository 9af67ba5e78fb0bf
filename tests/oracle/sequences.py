"""The slow, obvious learner of whole sequences: what a log of sequences means, one at a time.

Streams, time, statistics, rivals and optimisers are those of ``NaiveLearner``; a record is a sequence, or a chunk of
one, which is standardised, predicted, scored, absorbed and learned by back-propagation through all of it. Networks are
written forwards (``sequences_network``) and differentiated by their tape; what they say is worked out in
``sequences_symbols``. It checks no input and is meant for a few dozen sequences, in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from streamrnn.core.sequences.reasons import EMPTY, IMPOSSIBLE, NONE, TOO_LONG, TOO_MANY, UNKNOWN
from streamrnn.learner.block import Block
from streamrnn.learner.spec import LearnerSpec
from tests.oracle.encoder import known_fields
from tests.oracle.learner import NaiveLearner
from tests.oracle.network import (
    Array,
    Weights,
    class_loss,
    element_loss,
    global_norm,
    regression_loss,
    zero_state,
)
from tests.oracle.sequences_network import (
    Decoder,
    Encoding,
    Nodes,
    Shape,
    as_nodes,
    encode,
    label_output,
    one_hot,
    step_outputs,
    taught,
)
from tests.oracle.sequences_records import Session, Whole, wholes_of
from tests.oracle.sequences_symbols import (
    Said,
    beam,
    best_path,
    ctc_loss,
    edits,
    greedy,
    least_steps,
    prefix_beam,
    values_along_best_alignment,
)
from tests.oracle.sequences_tape import Node, gradients, log_softmax
from tests.oracle.streams import Record, Stream
from tests.oracle.symbols import NaiveVocabulary

Seeds = list[tuple[Node, Array | float]]
"""Nodes, and the gradient of a loss at each."""
LEAST_DEVIATION = 1e-3  # that a sequence's own columns are divided by
NOTHING = Said((), ())
CAUSES = {EMPTY: "empty", TOO_LONG: "too_long", TOO_MANY: "too_many", IMPOSSIBLE: "impossible"}


def shape_of(spec: LearnerSpec) -> Shape:
    model, target = spec.model, spec.target
    assert target.kind is not None
    return Shape(
        model.cell, target.kind, spec.n_inputs, model.units, model.num_layers, spec.n_outputs,
        model.direction == "both", model.lookahead, model.attention,
        (spec.n_classes or 1) if target.kind == "sequence" else 0,
    )  # fmt: skip


@dataclass
class Reading:
    """A stream's session behind a record, and what is said of it."""

    session: Session
    value: Array
    said: Said = NOTHING
    steps: list[Array] = field(default_factory=list)  # of each step what is predicted, of kind labels
    encoding: Encoding | None = None  # of a whole sequence


class NaiveSequenceLearner(NaiveLearner):
    """A learner over one partition. ``weights`` (PyTorch's names) are copied."""

    def __init__(self, spec: LearnerSpec, weights: Weights) -> None:
        super().__init__(spec, weights)
        assert spec.sequence is not None
        self.frames, self.kind, self.shape = spec.sequence, spec.target.kind, shape_of(spec)
        if self.kind == "sequence" and spec.target.symbols is not None:
            self.classes = NaiveVocabulary(spec.target.symbols, has_end=True)
            self.in_use = self.classes.in_use
        self.average = {name: w.copy() for name, w in self.weights.items()}
        self.looked_up_before = np.zeros(self.shape.n_before, bool)  # the decoder's columns, as ``looked_up``
        self.said: list[Said] = []  # per record
        self.reasons: list[int] = []
        self.complete: list[bool] = []
        self.edits: list[tuple[float, float]] = []  # per record: wrong, length
        self.sums = np.zeros(5)  # scored, loss, error, last's error, typical's error

    @property
    def predicting(self) -> Weights:
        return self.weights if self.spec.learning.average is None else self.average

    @property
    def outputs_in_use(self) -> int:
        """Outputs that mean something; of transcripts the blank is one."""
        return (self.in_use + (self.kind == "transcript")) if self.classify else self.spec.n_outputs

    # ------------------------------------------------------------------------------------------------- records

    def process(self, block: Block) -> tuple[Array, Array]:
        return self.run(wholes_of(block))

    def run(self, records: Iterable[Record]) -> tuple[Array, Array]:
        values, updates = [], []
        for record in records:
            self.said.append(NOTHING)
            self.reasons.append(NONE)
            self.complete.append(False)
            self.edits.append((np.nan, np.nan))
            value, count = self.process_record(record)
            values.append(value[: self.spec.n_published])
            updates.append(count)
        return np.array(values, np.float64).reshape(len(values), self.spec.n_published), np.array(updates, np.int64)

    def new_sequence(self) -> Session:
        model = self.spec.model
        zero = zero_state(model.cell, model.units, model.num_layers)
        return Session(zero, [[] for _ in range(self.spec.n_targets)], first=zero)

    def numbered(self, record: Record) -> Record:
        """Symbols of all frames get their numbers, and classes of an answer that is looked at."""
        assert isinstance(record, Whole)
        frames = [super(NaiveSequenceLearner, self).numbered(replace(frame, label=None)) for frame in record.frames]
        answer, y, told = record.answer, record.y, self.completes(record)
        if self.classes and record.answer_labels is not None:
            labels = record.answer_labels[: self.frames.max_steps] if self.kind == "labels" else record.answer_labels
            told = told and (self.kind == "labels" or None not in labels)
            answer = [self.classes.take(x) if told and x is not None else np.nan for x in labels]
        if self.classes and record.label is not None:
            y = [float(self.classes.take(record.label)) if told else np.nan]
        return replace(record, frames=frames, answer=answer, y=y)

    def asked(self, record: Whole) -> Whole:
        """Symbols of all frames have the numbers that they are known by."""
        frames = [replace(frame, numbers=self.numbers_asked(frame)) for frame in record.frames]
        return replace(record, frames=frames)

    def completes(self, record: Record) -> bool:
        return record.end or not self.frames.chunks

    def live(self, record: Record, stream: Stream, time_ms: int) -> tuple[Array, int]:
        """A sequence or a chunk: gap, predict, score, absorb, learn; perhaps the sequence ends."""
        assert isinstance(record, Whole)
        self.counts["records_predicted"] += 1
        if gap := self.gap(stream, time_ms):
            self.reset(stream)
        updates, is_whole, goes_on = self.updates, self.completes(record), self.is_open(stream) and not gap
        before = stream.sequence
        reading = self.read(record, stream, time_ms)
        session = stream.sequence = reading.session
        self.complete[-1] = is_whole
        self.said[-1] = reading.said
        self.counts["frames"] += len(session.frames) - len(before.frames)
        self.counts["frames_dropped"] += session.dropped - before.dropped
        rivals = self.rivals.foretell(stream.newest)
        answer = self.answer(record, session)
        if is_whole:
            self.score_all(stream, reading, answer, rivals)
        for frame, shown in zip(record.frames, session.frames[len(before.frames) :], strict=False):
            self.count_clamped(shown)
            self.absorb_inputs(frame, session, time_ms)
        session.last_time_ms = max(session.last_time_ms, time_ms) if goes_on else time_ms
        if is_whole:
            learned_as, learnable = self.absorb_answer(stream, answer)
            self.reasons[-1] = self.reason(session, learned_as)
            if self.reasons[-1] == NONE:
                self.learn_whole(session, learned_as, learnable)
            elif self.reasons[-1] in CAUSES:
                self.counts[f"unlearned_sequences_{CAUSES[self.reasons[-1]]}"] += 1
            self.finish(stream)
        return reading.value, updates

    def is_open(self, stream: Stream) -> bool:
        """Whether there is something that the next record goes on from."""
        assert isinstance(stream.sequence, Session)
        return stream.sequence.carried or bool(stream.sequence.frames)

    def gap(self, stream: Stream, time_ms: int) -> bool:
        return self.is_open(stream) and super().gap(stream, time_ms)

    def finish(self, stream: Stream) -> None:
        """The sequence ends; its last state may go on."""
        session = stream.sequence
        self.reset(stream)
        if self.frames.carry:
            following = stream.sequence
            assert isinstance(following, Session)
            assert isinstance(session, Session)
            following.state = following.first = session.state
            following.last_time_ms = session.last_time_ms
            following.carried = session.carried or bool(session.frames)

    def predict_all(self, block: Block) -> list[tuple[Array, Said]]:
        """What would be said of every record now; changes nothing."""
        out = []
        for record in wholes_of(block):
            stream = copy.deepcopy(self.streams.get(record.key) or self.new_stream())
            if self.gap(stream, record.time_ms):
                stream.sequence = self.new_sequence()
            reading = self.read(self.asked(record), stream, record.time_ms)
            out.append((reading.value[: self.spec.n_published], reading.said))
        return out

    # ------------------------------------------------------------------------------------------------- reading

    def read(self, record: Whole, stream: Stream, time_ms: int) -> Reading:
        """What is said of a record, and its stream's session behind it; changes nothing."""
        session = copy.deepcopy(stream.sequence)
        assert isinstance(session, Session)
        room = self.frames.max_frames - len(session.frames)
        whole_steps = len(session.frames) // self.frames.stack
        for n, frame in enumerate(record.frames):
            if n >= room:
                session.dropped += 1
                continue
            session.frames.append(self.input_vector(frame, replace(stream, sequence=session), time_ms))
            session.last_x.update({k: float(v) for k, v in enumerate(frame.x) if np.isfinite(v)})
            session.labels.append(record.answer[n] if self.kind == "labels" and record.answer is not None else np.nan)
        if self.completes(record) and session.frames:
            return self.read_all(stream, session)
        if not self.completes(record) and not self.shape.both and self.kind != "sequence":
            return self.read_on(stream, session, whole_steps)
        return Reading(session, self.unsaid)

    @property
    def unsaid(self) -> Array:
        return np.full(self.spec.n_outputs, np.nan)

    def inputs_of(self, session: Session) -> Array:
        """The network's inputs [T, n_inputs]: frames joined to steps, perhaps in units of the sequence's own."""
        stack, n = self.frames.stack, self.spec.n_features
        if stack == 1:
            steps = np.array(session.frames)
        else:
            total = self.frames.steps(len(session.frames)) * stack
            padded = np.zeros((total, n))
            for k, frame in enumerate(session.frames):
                padded[k] = frame[:n]
            steps = padded.reshape(-1, stack * n) if n else np.zeros((total // stack, 1))
        return self.normalised(steps, len(session.frames)) if self.frames.normalise == "sequence" else steps

    def normalised(self, steps: Array, n_frames: int) -> Array:
        steps, n = steps.copy(), self.spec.n_features
        for column in range(n * self.frames.stack):
            place, feature = divmod(column, n)
            count = len(range(place, n_frames, self.frames.stack))
            if count and not self.indicator[feature]:
                values = steps[:count, column]
                deviation = max(float(np.std(values)), LEAST_DEVIATION)
                steps[:count, column] = (values - np.mean(values)) / deviation
        return steps

    def read_all(self, stream: Stream, session: Session) -> Reading:
        """What is said of a whole sequence, whose final state the session has then."""
        w = as_nodes(self.predicting)
        encoding = encode(self.shape, w, self.inputs_of(session), session.first)
        session.state = encoding.carried()
        reading = Reading(session, self.unsaid, encoding=encoding)
        if self.kind == "label":
            reading.value = self.prediction(stream, label_output(w, encoding).value)
        elif self.kind == "sequence":
            reading.said = self.decode(stream, w, encoding)
        elif self.kind == "labels":
            reading.steps = [self.prediction(stream, out.value) for out in step_outputs(w, encoding)]
            reading.said = self.labels_of(reading.steps)
        else:
            reading.said = self.transcript_of(self.logs([out.value for out in step_outputs(w, encoding)]))
        return reading

    def read_on(self, stream: Stream, session: Session, read: int) -> Reading:
        """What is said of the chunks until now, from the carried state on; so many steps were read before."""
        w, stack, reading = as_nodes(self.predicting), self.frames.stack, Reading(session, self.unsaid)
        whole = replace(session, frames=session.frames[: len(session.frames) // stack * stack])
        new = self.inputs_of(whole)[read:] if whole.frames else np.zeros((0, 0))
        outputs = []
        if len(new):
            encoding = encode(self.shape, w, new, session.state)
            session.state = encoding.carried()
            session.states.extend(node.value for node in encoding.steps)
            if self.kind in ("labels", "transcript"):
                outputs = [out.value for out in step_outputs(w, encoding)]
        if self.kind == "label" and session.states:
            features = np.concatenate([np.mean(session.states, axis=0), session.states[-1]])
            reading.value = self.prediction(stream, w["head.weight"].value @ features + w["head.bias"].value)
        elif self.kind == "labels":
            reading.said = self.labels_of([self.prediction(stream, out) for out in outputs])
        elif self.kind == "transcript":
            session.logs.extend(self.logs(outputs))
            reading.said = self.path_of(session.logs)
        return reading

    def logs(self, outputs: list[Array]) -> list[Array]:
        """Log-probabilities of all outputs that are in use, of each step."""
        return [log_softmax(Node(out[: self.outputs_in_use])).value for out in outputs]

    def transcript_of(self, logs: list[Array]) -> Said:
        if self.spec.model.beam == 1:
            return self.path_of(logs)
        symbols = prefix_beam(np.array(logs), self.spec.model.beam, self.spec.target.max_symbols)
        return Said(symbols, values_along_best_alignment(np.array(logs), symbols))

    def path_of(self, logs: Sequence[Array]) -> Said:
        """The best path, as far as there is room for its symbols."""
        said, most = best_path(logs), self.spec.target.max_symbols
        return Said(said.symbols[:most], said.values[:most])

    def labels_of(self, predictions: list[Array]) -> Said:
        """What is said of each step."""
        if not self.classify:
            return Said((0,) * len(predictions), tuple(float(p[0]) for p in predictions))
        both = [p if len(p) > 1 else np.array([1 - p[0], p[0]]) for p in predictions]
        return Said(tuple(int(np.argmax(p)) for p in both), tuple(float(p.max()) for p in both))

    def decode(self, stream: Stream, w: Nodes, encoding: Encoding) -> Said:
        """Another sequence: symbols up to the end, or numbers as many as are asked for."""
        decoder, target = Decoder(self.shape, w, encoding), self.spec.target
        if not self.classify:
            newest, values = np.zeros(1), []
            for _ in range(target.horizon):
                newest = decoder.step(newest).value
                centre, width = self.target_scaling(stream, 0)
                values.append(centre + width * float(newest[0]))
            return Said((0,) * len(values), tuple(values))
        assert self.classes is not None
        end = self.classes.end

        def following(state: list[tuple[Node, ...]], newest: int) -> tuple[Array, list[tuple[Node, ...]]]:
            decoder.state = state
            outputs = decoder.step(one_hot(newest, self.shape.n_before))
            return log_softmax(outputs[: self.in_use]).value, decoder.state

        if self.spec.model.beam == 1:
            return greedy(following, decoder.state, end, target.max_symbols)
        return beam(following, decoder.state, end, target.max_symbols, self.spec.model.beam)

    # ------------------------------------------------------------------------------------------------- answers

    def answer(self, record: Whole, session: Session) -> Array:
        """What a whole sequence turns out to be, NaN where unknown; where nothing is known at all, one NaN."""
        if self.kind == "label":
            return np.where(np.isfinite(record.y), record.y, np.nan).astype(float)
        if self.kind == "labels":
            return np.array(session.labels)
        if record.answer is None or (self.classify and np.isnan(record.answer).any()):
            return np.array([np.nan])
        if self.classify:
            return np.array(record.answer)
        values = np.full(self.spec.target.horizon, np.nan)
        values[: len(record.answer)] = record.answer[: len(values)]
        return np.where(np.isfinite(values), values, np.nan)

    @property
    def is_transcribed(self) -> bool:
        """Whether symbols are predicted, whose number is not known."""
        return self.kind == "transcript" or (self.kind == "sequence" and self.classify)

    def reason(self, session: Session, answer: Array) -> int:
        """Why nothing is learned; NONE where something is."""
        if np.isnan(answer).all() and (len(answer) or not self.is_transcribed):
            return UNKNOWN
        if not session.frames:
            return EMPTY
        if session.dropped:
            return TOO_LONG
        if self.is_transcribed and len(answer) > self.spec.target.max_symbols:
            return TOO_MANY
        if self.kind == "transcript" and least_steps(answer.tolist()) > self.frames.steps(len(session.frames)):
            return IMPOSSIBLE
        return NONE

    def score_all(self, stream: Stream, reading: Reading, answer: Array, rivals: list[tuple[float, float]]) -> None:
        """What was said is held against the answer."""
        if reading.encoding is None:
            if self.kind == "label":
                self.tell_rivals(stream, answer)
            return
        known_as = self.as_class(answer, self.in_use)
        if self.kind == "label":
            self.score(stream, [(reading.value, rivals, 1)], known_as)
            self.tell_rivals(stream, answer)
            n = np.isfinite(answer).sum()
            if n:
                self.edits[-1] = (self.scores[-1][1] * n, float(n))
                self.sum_up(n, sum(np.isfinite(rivals[i][0]) for i in known_fields(answer)))
            return
        if self.is_transcribed:
            self.score_symbols(stream, reading, known_as)
            return
        losses, errors = [], []
        for t in known_fields(known_as):
            loss, error = self.score_element(stream, reading, int(t), float(known_as[t]))
            losses.append(loss)
            errors.append(error)
        if losses:
            self.note_scores(stream, float(np.mean(losses)), float(np.sum(errors)), len(losses))

    def score_element(self, stream: Stream, reading: Reading, t: int, y: float) -> tuple[float, float]:
        """Loss and error of one step's label, or of one number."""
        if self.classify:
            p = (
                reading.steps[t]
                if len(reading.steps[t]) > 1
                else np.array([1 - reading.steps[t][0], reading.steps[t][0]])
            )
            return -np.log(max(p[int(y)], 1e-15)), float(np.argmax(p) != y)
        model, said = self.spec.model, reading.said.values[t]
        distance = (said - self.within_bounds(stream, 0, y)) / self.width(stream, 1, 0)
        return (
            element_loss(model.effective_loss, distance, 0.5, model.huber_delta)[0],
            abs(said - self.within_reach(stream, 0, y)),
        )

    def score_symbols(self, stream: Stream, reading: Reading, answer: Array) -> None:
        """Edits, and the loss of the true symbols where they are possible."""
        if np.isnan(answer).any() or len(answer) > self.spec.target.max_symbols:
            return
        symbols, loss = [int(y) for y in answer], np.nan
        impossible = self.kind == "transcript" and least_steps(symbols) > len(reading.encoding.steps)
        if not impossible:
            loss = float(self.symbols_loss(as_nodes(self.predicting), reading.encoding, symbols)[0])
        wrong = edits(reading.said.symbols, symbols)
        self.note_scores(stream, loss, float(wrong), len(symbols))

    def note_scores(self, stream: Stream, loss: float, wrong: float, length: int) -> None:
        self.edits[-1] = (wrong, float(length))
        self.scores[-1] = (loss, wrong / max(1, length))
        self.sum_up(length)
        if not np.isnan(loss):
            self.rank(stream, loss)

    def sum_up(self, length: float, compared: float = 0) -> None:
        """The newest scores are added to the sums, as often as they are of elements, of which rivals knew so many."""
        loss, error = self.scores[-1]
        sums = length * loss, max(1.0, length) * error, *(compared * rival for rival in self.rival_scores[-1])
        self.sums += np.nan_to_num([length, *sums])

    def absorb_answer(self, stream: Stream, answer: Array) -> tuple[Array, Array]:
        """The answer as it is learned, in the model's scale, and which of it weights may be learned from."""
        if self.classify:
            learned_as = self.as_class(answer, self.in_use)
            for y in answer[np.isfinite(answer)]:
                self.meet(np.array([y]))
            return learned_as, np.isfinite(answer)
        if self.kind == "label":
            counted, _ = self.absorb_targets(stream, answer)
            fields = list(range(len(answer)))
            learnable = [self.learnable(stream, stream.sequence, 0, i) for i in fields]
        else:
            counted, learnable, fields = answer.copy(), [], [0] * len(answer)
            for t, y in enumerate(answer):
                counted[t] = self.absorb_targets(stream, np.array([y]))[0][0]
                learnable.append(self.learnable(stream, stream.sequence, 0, 0))
        scaled = [self.scaled_level(stream, i, y) for i, y in zip(fields, counted, strict=True)]
        return np.array(scaled), np.isfinite(answer) & np.array(learnable, bool)

    def meet(self, y: Array) -> None:
        """From now on this class may be named; of transcripts the blank counts among the likelier outputs."""
        first = int(self.kind == "transcript")
        if self.classify and y[0] >= self.in_use:
            for weights in (self.weights, self.average):
                bias = weights["head.bias"]
                bias[self.in_use + first : int(y[0]) + 1 + first] = bias[: self.in_use + first].min()
            self.in_use = int(y[0]) + 1

    # ------------------------------------------------------------------------------------------------ learning

    def learn_whole(self, session: Session, targets: Array, known: Array) -> None:
        """Back-propagation through all of a sequence; after batch_size of them, one optimiser step."""
        if not known.any() and (len(known) or not self.is_transcribed):
            return
        w, xs = as_nodes(self.weights), self.inputs_of(session)
        loss, seeds = self.loss_of(w, encode(self.shape, w, xs, session.first), targets, known)
        grads = dict(zip(w, gradients(seeds, list(w.values())), strict=True))
        self.counts["windows"] += 1
        if not np.isfinite(loss) or not np.isfinite(global_norm(grads)):
            self.counts["windows_dropped_loss" if not np.isfinite(loss) else "windows_dropped_gradient"] += 1
            return
        self.windows += 1
        self.losses.append(float(loss))
        for name, g in grads.items():
            self.accumulated[name] += g
        self.looked_up |= np.any(xs, axis=0)
        if self.kind == "sequence" and self.classify:
            self.looked_up_before |= np.any(self.before([int(y) for y in targets]), axis=0)
        if self.windows % self.spec.learning.batch_size == 0:
            self.update()

    def loss_of(self, w: Nodes, encoding: Encoding, targets: Array, known: Array) -> tuple[float, Seeds]:
        """The loss of a sequence, and where its gradient begins."""
        if self.is_transcribed:
            return self.symbols_loss(w, encoding, [int(y) for y in targets])
        return self.elements_loss(w, encoding, targets, known)

    def symbols_loss(self, w: Nodes, encoding: Encoding, symbols: list[int]) -> tuple[float, Seeds]:
        """The loss of a transcript or a sequence of symbols, and where its gradient begins."""
        if self.kind == "transcript":
            loss, share = (
                ctc_loss([out[: self.outputs_in_use] for out in step_outputs(w, encoding)], symbols),
                1 / max(1, len(symbols)),
            )
            return float(loss.value) * share, [(loss, share)]
        assert self.classes is not None
        outputs = taught(self.shape, w, encoding, self.before(symbols))
        return self.outputs_loss(outputs, np.array([*symbols, self.classes.end]), np.ones(len(outputs), bool))

    def before(self, symbols: list[int]) -> list[Array]:
        """What comes before each symbol, and before the end: at first the end."""
        assert self.classes is not None
        return [one_hot(symbol, self.shape.n_before) for symbol in [self.classes.end, *symbols]]

    def elements_loss(self, w: Nodes, encoding: Encoding, targets: Array, known: Array) -> tuple[float, Seeds]:
        """The same of a label, of labels, of numbers."""
        if self.kind == "label":
            outputs = [label_output(w, encoding)]
            if not self.classify:
                targets, known = np.repeat(targets, len(self.levels))[None], np.repeat(known, len(self.levels))[None]
        elif self.kind == "labels":
            outputs = step_outputs(w, encoding)
        else:
            shown = np.where(np.isfinite(targets), targets, 0.0)[:-1]
            outputs = taught(self.shape, w, encoding, [np.array([x]) for x in (0.0, *shown)])
        return self.outputs_loss(outputs, targets, known)

    def outputs_loss(self, outputs: list[Node], targets: Array, known: Array) -> tuple[float, Seeds]:
        values, model = np.array([out.value for out in outputs]), self.spec.model
        if self.classify:
            in_use = self.in_use if model.readout == "softmax" else None
            loss, d_outputs = class_loss(model.readout, values, targets, known, in_use)
        else:
            levels = np.tile(self.levels, self.spec.n_outputs // len(self.levels))
            loss, d_outputs = regression_loss(
                model.effective_loss,
                values,
                targets.reshape(values.shape),
                known.reshape(values.shape),
                levels,
                model.huber_delta,
            )
        return loss, list(zip(outputs, d_outputs, strict=True))

    def update(self) -> None:
        super().update()
        self.looked_up_before[:] = False
        if (d := self.spec.learning.average) is not None:
            share = min(d, (1 + self.updates) / (10 + self.updates))
            for name, w in self.average.items():
                w[...] = share * w + (1 - share) * self.weights[name]

    def elements_in_use(self) -> dict[str, Array]:
        masks = super().elements_in_use()
        columns = self.looked_up.copy()
        columns[: self.spec.n_multiplied] = True
        rows = np.arange(self.spec.n_outputs) < (
            self.outputs_in_use if self.spec.target.is_open else self.spec.n_outputs
        )
        named = {"rnn.weight_ih_l0_reverse": columns[None], "head.weight": rows[:, None], "head.bias": rows}
        if self.kind == "sequence" and self.classify:
            named["decoder.weight_ih_l0"] = self.looked_up_before[None]
        shaped = {n: np.broadcast_to(mask, self.weights[n].shape) for n, mask in named.items() if n in self.weights}
        return masks | shaped
