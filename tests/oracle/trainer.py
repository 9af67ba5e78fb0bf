"""What the slow learner learns from: targets as they become known, windows of the network, the optimiser's steps.

The RLS readout solves for its weights after each target; the network's gradients go back through a window that is
replayed from its beginning, and after ``batch_size`` of them the optimiser takes a step. Cells whose units hear only
themselves learn each step for itself instead, and go back through all of its sequence as it was lived (``exact``); a
step whose target is late is lived a second time, behind the predictions, once it is learned from or passed by.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from streamrnn.learner.lowering import CLIP_NORM, CLIP_NORMS
from streamrnn.learner.spec import LearnerSpec
from tests.oracle import exact
from tests.oracle.encoder import NaiveEncoder
from tests.oracle.network import (
    Array,
    Optimizer,
    State,
    Weights,
    class_loss,
    clip_by_global_norm,
    global_norm,
    network_backward,
    network_forward,
    network_step,
    read_out,
    read_out_backward,
    regression_loss,
    zero_state,
)
from tests.oracle.reach import Reach, gradient_norms
from tests.oracle.readout import NaiveReadout
from tests.oracle.streams import History, Stream


class NaiveTrainer(NaiveEncoder):
    """The weights of one partition. ``weights`` (PyTorch's names; no head with the RLS readout) are copied."""

    def __init__(self, spec: LearnerSpec, weights: Weights) -> None:
        super().__init__(spec)
        model, learning = spec.model, spec.learning
        self.weights = {name: np.array(w, self.dtype) for name, w in weights.items()}
        if self.exact is not None:
            exact.constrain(self.exact, self.weights, model.memory)
        schedule, schedule_updates, schedule_least = spec.schedule
        self.batch_size = spec.lessons_per_step
        self.optimizer = Optimizer(
            spec.optimizer,
            spec.lr,
            learning.momentum,
            learning.rmsprop_alpha,
            spec.betas,
            learning.eps,
            learning.weight_decay,
            schedule,
            schedule_updates,
            schedule_least,
            exact.SLOW,
        )
        self.clip_norm = CLIP_NORMS.get(model.effective_loss, CLIP_NORM)
        if learning.clip_norm != "auto":
            self.clip_norm = learning.clip_norm
        self.levels = np.array(model.quantiles if model.effective_loss == "quantile" else (0.5,))
        self.readouts = self.new_readouts() if self.rls else []
        self.updates = 0
        self.windows = 0
        self.overtaken: Counter[int] = Counter()  # labels by the power of two that tells how far out of order they came
        self.reach = Reach()
        self.step_length = 0.0  # of the newest optimiser step that is measured, decay included
        self.accumulated = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.looked_up = np.zeros(spec.n_inputs, bool)  # the columns that windows since the newest step looked up
        self.steps: list[tuple[int, float]] = []  # of each optimiser step: its record's number and the gradient norm
        self.losses: list[float] = []
        self.scores: list[tuple[float, float]] = []  # per record: mean loss and mean error of what it let us score
        self.in_use = self.classes.in_use if self.classes else 0  # classes that the model may name

    def new_readouts(self) -> list[NaiveReadout]:
        """One per output; the newest value of its field is its first lag, or else among the inputs, if anywhere."""
        spec, model, fields = self.spec, self.spec.model, self.spec.n_targets
        read = spec.n_read
        regressors = read + spec.n_multiplied + model.lags * fields + 1
        first: int | None = None
        if model.lags:
            first = read + spec.n_multiplied
        elif spec.inputs.previous_target:
            first = read + spec.n_features + spec.inputs.dt + fields * bool(spec.target.period)
        places = [None if first is None else first + i for i in range(fields)] * len(spec.target.steps_ahead)
        prior, forgetting = model.prior, model.forgetting
        return [NaiveReadout(regressors, read, place, prior, forgetting) for place in places]

    def network(self) -> Weights:
        """The network's weights, the readout being the RLS model's columns of the state if it is that."""
        if not self.rls:
            return self.weights
        head = self.rls_weights()[:, : self.n_seen].astype(self.dtype)
        return self.weights | {"head.weight": head, "head.bias": np.zeros(len(head), self.dtype)}

    def rls_weights(self) -> Array:
        """[n_outputs, regressors]"""
        return np.array([readout.full.w for readout in self.readouts], np.float64)

    @property
    def n_seen(self) -> int:
        """Numbers that the readout sees of a step: of the state or the layer behind it, of an exact cell inputs, too.

        These are the first of the RLS readout's regressors.
        """
        return self.spec.n_read + (0 if self.exact is None else self.spec.n_multiplied)

    @property
    def grad_norms(self) -> list[float]:
        """Gradient norms before clipping of all optimiser steps so far."""
        return [norm for _, norm in self.steps]

    # ------------------------------------------------------------------------------------------------- targets

    def set_target(self, stream: Stream, sequence: History, step: int, j: int, i: int, value: float) -> None:
        """Field i of ``step`` at horizon ``j`` becomes known: scaled as of now, waiting for the next window."""
        column = self.column(j, i)
        if not self.learnable(stream, sequence, step, column):
            return
        levels = 1 if self.classify else len(self.levels)
        first = column * levels
        if self.spec.target.period:
            target = self.difference(stream, j, i, value) / self.width(stream, j, i)
        else:
            target = value if self.classify else self.scaled_level(stream, i, value)
        sequence.known[step][first : first + levels] = True
        sequence.targets[step][first : first + levels] = target

    def teach(self, stream: Stream, sequence: History, step: int, j: int, i: int, value: float) -> None:
        """The RLS readout takes in field i of ``step`` at horizon ``j``, in the units of its regressors."""
        centre, width = sequence.units[step][i]
        column = self.column(j, i)
        if np.isnan(width):
            return
        distance = value - centre
        if self.spec.target.period:  # the lags among the regressors are in the width of the first horizon then
            distance = self.difference(stream, j, i, value)
            width *= self.width(stream, j, i) / self.first_width(stream, i)
        experts = sequence.expert_predictions[step][column]
        fit = self.learnable(stream, sequence, step, column)
        if not fit and np.isnan(seen := self.judged(stream, i)):
            return
        if not fit and not self.spec.target.period:
            distance = seen - centre
        self.readouts[column].update(sequence.regressors[step], experts, distance / width, fit)
        if fit and self.spec.rule == "fixed":  # where nothing else learns, that is what updates are
            self.updates += 1

    def learnable(self, stream: Stream, sequence: History, step: int, column: int) -> bool:
        """Whether weights may be learned from what the step predicted in this column and the newest value of it."""
        if not self.rls:
            own = stream.moments[column % self.spec.n_targets]
            return not (self.spec.learning.scale and own.run_beyond and len(own.run) > 1)
        unknown = np.isnan(sequence.units[step][column % self.spec.n_targets][1])
        return sequence.sound[step] and not unknown and not self.in_question(stream, column)

    # ------------------------------------------------------------------------------------------------- network

    def zero_state(self) -> State:
        """The state that a sequence begins with."""
        model = self.spec.model
        if self.exact is not None:
            return [(exact.zero(self.exact, model.units, self.dtype),)]
        return zero_state(model.cell, model.units, model.num_layers, self.dtype)

    def step(self, x: Array, state: State) -> tuple[Array, State, Array]:
        """Outputs of a step, the state after it, and what the readout saw."""
        network = self.network()
        if self.exact is None:
            outputs, after, kept = network_step(self.spec.model.cell, network, x, state)
            return outputs, after, read_out(network, kept[-1])[1]
        next_state = exact.step(self.exact, network, x, state[0][0])
        outputs, seen = read_out(network, exact.handed_up(self.exact, network, x, next_state), x)
        return outputs, [(next_state,)], seen

    def learn(self, sequence: History, last: bool = False) -> None:
        """Learn what is due; ``last``: the sequence ends here."""
        if self.spec.rule == "rtrl":
            self.learn_exactly(sequence, last)
        elif self.spec.rule == "tbptt" and (last or sequence.steps % self.spec.k1 == 0):
            self.learn_window(sequence)

    # ------------------------------------------------------------------------------------------- exact gradients

    def learn_exactly(self, sequence: History, last: bool) -> None:
        """The steps whose targets are known, or will not be learned from any more, in their order."""
        assert self.exact is not None
        if not sequence.behind:
            sequence.behind = self.zero_state()
        while sequence.learned < sequence.steps:
            t = sequence.learned
            known = np.array(sequence.known[t], bool)
            passed = self.spec.target.known == "label" and (
                sequence.events[t].id == 0 or sequence.newest_answered - t > self.patience()
            )
            if not last and not passed and sequence.steps - t <= self.spec.delay:
                return
            x, before, network = sequence.inputs[t], sequence.behind[0][0], self.network()
            sequence.behind = [(exact.step(self.exact, network, x, before),)]
            sequence.life.append(({n: w.copy() for n, w in network.items() if n.startswith("rnn.")}, x, before))
            if known.any():
                sequence.injected[t] |= known
                self.learn_step(sequence, t, network)

    def patience(self) -> int:
        """Steps that a label may be expected to come out of order by; of all so far, one in 10 came later than that."""
        for power in range(1 + max(self.overtaken, default=0)):
            if sum(n for p, n in self.overtaken.items() if p > power) <= self.overtaken.total() // 10:
                return int(2**power - 1)
        return 0

    def learn_step(self, sequence: History, t: int, network: Weights) -> None:
        """The loss of step t, the newest of the sequence's life, back to its first."""
        assert self.exact is not None
        x, after = sequence.inputs[t], sequence.behind[0][0]
        handed_up = exact.handed_up(self.exact, network, x, after)
        outputs = read_out(network, handed_up, x)[0][None]
        if self.rls:
            outputs = outputs + self.share_of_the_rest(sequence, t)
        loss, d_outputs = self.loss(outputs, np.array(sequence.targets)[t : t + 1], np.array(sequence.known)[t : t + 1])
        grads, d_up = read_out_backward(network, handed_up, x, d_outputs[0])
        grads |= exact.gradient(self.exact, network, sequence.life, after, d_up)
        self.finish(loss, {name: grads[name] for name in self.weights})

    # ------------------------------------------------------------------------------------------------- windows

    def share_of_the_rest(self, sequence: History, start: int) -> Array:
        """What regressors that the network does not see add to the RLS readout's outputs, from step ``start`` on."""
        others = np.array(sequence.regressors[start:])[:, self.n_seen :]
        return np.asarray((others @ self.rls_weights()[:, self.n_seen :].T).astype(self.dtype))

    def loss(self, outputs: Array, targets: Array, known: Array) -> tuple[float, Array]:
        """The mean over the known elements of all steps, and its gradient by the outputs."""
        model = self.spec.model
        if self.classify:
            in_use = self.in_use if model.readout == "softmax" else None
            return class_loss(model.readout, outputs, targets[:, 0], known[:, 0], in_use)
        levels = np.tile(self.levels, self.spec.n_outputs // len(self.levels))
        return regression_loss(model.effective_loss, outputs, targets, known, levels, model.huber_delta)

    def learn_window(self, sequence: History) -> None:
        """The window: replay, inject what is new, accumulate; after batch_size of them, one optimiser step."""
        cell = self.spec.model.cell
        start = max(0, sequence.steps - self.spec.k2)
        known, injected = np.array(sequence.known, bool), np.array(sequence.injected, bool)
        new = known & ~injected
        if not new.any():
            return
        assert not new[:start].any(), "a target waits for a step that has left the window"
        for step, mask in zip(sequence.injected, new, strict=True):
            step |= mask
        network = self.network()
        outputs, _, tape = network_forward(cell, network, np.array(sequence.inputs[start:]), sequence.before[start])
        if self.rls:
            outputs += self.share_of_the_rest(sequence, start)
        new = new[start:]
        loss, d_outputs = self.loss(outputs, np.array(sequence.targets)[start:], new)
        grads, _ = network_backward(cell, network, tape, d_outputs)
        newest = int(np.flatnonzero(new.any(axis=1))[-1])
        self.reach.windows += 1
        if not self.finish(loss, {name: grads[name] for name in self.weights}, update=False):
            return
        if self.reach.due(newest + 1):
            share = (new.sum() / new[newest].sum()).astype(self.dtype)  # of the newest step's own mean
            self.reach.take(gradient_norms(cell, network, tape[: newest + 1], share * d_outputs[newest]))
        self.looked_up |= np.any(sequence.inputs[start : start + newest + 1], axis=0)  # what the loss depends on
        self.update_if_due()

    def finish(self, loss: float, grads: Weights, update: bool = True) -> bool:
        """A gradient joins its batch, unless it is not finite; a batch that is complete makes an optimiser step."""
        self.counts["windows"] += 1
        if not np.isfinite(loss) or not np.isfinite(global_norm(grads)):
            self.counts["windows_dropped_loss" if not np.isfinite(loss) else "windows_dropped_gradient"] += 1
            return False
        self.windows += 1
        self.losses.append(float(loss))
        for name, g in grads.items():
            self.accumulated[name] += g
        if update:
            self.update_if_due()
        return True

    def update_if_due(self) -> None:
        if self.windows % self.batch_size == 0:
            self.update()

    def update(self) -> None:
        learning = self.spec.learning
        mean = {name: (g / self.batch_size).astype(self.dtype) for name, g in self.accumulated.items()}
        clipped, norm = clip_by_global_norm(mean, self.clip_norm)
        self.steps.append((len(self.scores) - 1, norm))
        if self.clip_norm is not None and norm + 1e-6 > self.clip_norm:
            self.counts["gradient_clips"] += 1
        loss = float(np.mean(self.losses[-self.batch_size :]))
        unbounded = learning.polyak_bound is None or self.spec.model.effective_loss == "quantile"
        limit = np.inf if unbounded else max(0.0, learning.polyak_bound * loss)
        before = {name: w.copy() for name, w in self.weights.items()}
        if self.optimizer.step(self.weights, clipped, mean, limit, self.elements_in_use()):
            self.counts["steps_shortened"] += 1
        self.updates += 1
        if self.updates % 16 == 0 or not self.step_length:
            self.step_length = global_norm({name: w - before[name] for name, w in self.weights.items()})
        if self.exact is not None:
            exact.constrain(self.exact, self.weights, self.spec.model.memory)
        self.accumulated = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.looked_up[:] = False

    def elements_in_use(self) -> dict[str, Array]:
        """Of the tensors that a step may leave in part alone: those elements that it is about."""
        columns = self.looked_up.copy()
        columns[: self.spec.n_multiplied] = True
        rows = np.arange(self.spec.n_outputs) < (self.in_use if self.spec.target.is_open else self.spec.n_outputs)
        masks = {"rnn.weight_ih_l0": columns[None], "head.weight": rows[:, None], "head.bias": rows}
        return {n: np.broadcast_to(mask, self.weights[n].shape) for n, mask in masks.items() if n in self.weights}
