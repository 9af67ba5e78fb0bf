"""What the slow learner learns from: targets as they become known, windows of the network, the optimiser's steps.

The RLS readout solves for its weights after each target; the network's gradients go back through a window that is
replayed from its beginning, and after ``batch_size`` of them the optimiser takes a step.
"""

from __future__ import annotations

import numpy as np

from streamrnn.learner.lowering import CLIP_NORM, CLIP_NORMS
from streamrnn.learner.spec import LearnerSpec
from tests.oracle.encoder import NaiveEncoder
from tests.oracle.network import (
    Array,
    Optimizer,
    Weights,
    class_loss,
    clip_by_global_norm,
    global_norm,
    network_backward,
    network_forward,
    regression_loss,
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
        self.optimizer = Optimizer(
            learning.optimizer,
            learning.lr,
            learning.momentum,
            learning.rmsprop_alpha,
            learning.betas,
            learning.eps,
            learning.weight_decay,
            learning.schedule,
            learning.schedule_updates,
            learning.schedule_least,
        )
        self.clip_norm = CLIP_NORMS.get(model.effective_loss, CLIP_NORM)
        if learning.clip_norm != "auto":
            self.clip_norm = learning.clip_norm
        self.levels = np.array(model.quantiles if model.effective_loss == "quantile" else (0.5,))
        self.readouts = self.new_readouts() if self.rls else []
        self.updates = 0
        self.windows = 0
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
        regressors = model.units + spec.n_multiplied + model.lags * fields + 1
        first: int | None = None
        if model.lags:
            first = model.units + spec.n_multiplied
        elif spec.inputs.previous_target:
            first = model.units + spec.n_features + spec.inputs.dt + fields * bool(spec.target.period)
        places = [None if first is None else first + i for i in range(fields)] * len(spec.target.steps_ahead)
        prior, forgetting = model.prior, model.forgetting
        return [NaiveReadout(regressors, model.units, place, prior, forgetting) for place in places]

    def network(self) -> Weights:
        """The network's weights, the readout being the RLS model's columns of the state if it is that."""
        if not self.rls:
            return self.weights
        head = self.rls_weights()[:, : self.spec.model.units].astype(self.dtype)
        return self.weights | {"head.weight": head, "head.bias": np.zeros(len(head), self.dtype)}

    def rls_weights(self) -> Array:
        """[n_outputs, regressors]"""
        return np.array([readout.full.w for readout in self.readouts], np.float64)

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

    def learnable(self, stream: Stream, sequence: History, step: int, column: int) -> bool:
        """Whether weights may be learned from what the step predicted in this column and the newest value of it."""
        if not self.rls:
            own = stream.moments[column % self.spec.n_targets]
            return not (self.spec.learning.scale and own.run_beyond and len(own.run) > 1)
        unknown = np.isnan(sequence.units[step][column % self.spec.n_targets][1])
        return sequence.sound[step] and not unknown and not self.in_question(stream, column)

    # ------------------------------------------------------------------------------------------------- windows

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
        network = self.network()
        outputs, _, tape = network_forward(
            model.cell, network, np.array(sequence.inputs[start:]), sequence.before[start]
        )
        if self.rls:  # the other regressors' share; the network gave that of the state
            others = np.array(sequence.regressors[start:])[:, model.units :]
            outputs += (others @ self.rls_weights()[:, model.units :].T).astype(self.dtype)
        targets, new = np.array(sequence.targets)[start:], new[start:]
        if self.classify:
            in_use = self.in_use if model.readout == "softmax" else None
            loss, d_outputs = class_loss(model.readout, outputs, targets[:, 0], new[:, 0], in_use)
        else:
            levels = np.tile(self.levels, self.spec.n_outputs // len(self.levels))
            loss, d_outputs = regression_loss(model.effective_loss, outputs, targets, new, levels, model.huber_delta)
        grads, _ = network_backward(model.cell, network, tape, d_outputs)
        grads = {name: grads[name] for name in self.weights}
        self.counts["windows"] += 1
        self.reach.windows += 1
        if not np.isfinite(loss) or not np.isfinite(global_norm(grads)):
            self.counts["windows_dropped_loss" if not np.isfinite(loss) else "windows_dropped_gradient"] += 1
            return
        self.windows += 1
        self.losses.append(float(loss))
        newest = int(np.flatnonzero(new.any(axis=1))[-1])
        if self.reach.due(newest + 1):
            share = (new.sum() / new[newest].sum()).astype(self.dtype)  # of the newest step's own mean
            self.reach.take(gradient_norms(model.cell, network, tape[: newest + 1], share * d_outputs[newest]))
        for name, g in grads.items():
            self.accumulated[name] += g
        self.looked_up |= np.any(sequence.inputs[start : start + newest + 1], axis=0)  # what the loss depends on
        if self.windows % learning.batch_size == 0:
            self.update()

    def update(self) -> None:
        learning = self.spec.learning
        mean = {name: (g / learning.batch_size).astype(self.dtype) for name, g in self.accumulated.items()}
        clipped, norm = clip_by_global_norm(mean, self.clip_norm)
        self.steps.append((len(self.scores) - 1, norm))
        if self.clip_norm is not None and norm + 1e-6 > self.clip_norm:
            self.counts["gradient_clips"] += 1
        loss = float(np.mean(self.losses[-learning.batch_size :]))
        unbounded = learning.polyak_bound is None or self.spec.model.effective_loss == "quantile"
        limit = np.inf if unbounded else max(0.0, learning.polyak_bound * loss)
        before = {name: w.copy() for name, w in self.weights.items()}
        if self.optimizer.step(self.weights, clipped, mean, limit, self.elements_in_use()):
            self.counts["steps_shortened"] += 1
        self.updates += 1
        if self.updates % 16 == 0 or not self.step_length:
            self.step_length = global_norm({name: w - before[name] for name, w in self.weights.items()})
        self.accumulated = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.looked_up[:] = False

    def elements_in_use(self) -> dict[str, Array]:
        """Of the tensors that a step may leave in part alone: those elements that it is about."""
        columns = self.looked_up.copy()
        columns[: self.spec.n_multiplied] = True
        rows = np.arange(self.spec.n_outputs) < (self.in_use if self.spec.target.is_open else self.spec.n_outputs)
        masks = {"rnn.weight_ih_l0": columns[None], "head.weight": rows[:, None], "head.bias": rows}
        return {n: np.broadcast_to(mask, self.weights[n].shape) for n, mask in masks.items() if n in self.weights}
