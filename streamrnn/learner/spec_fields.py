"""What is learned and how: the sections of a specification, and what follows from them.

Every field carries its type and range, so that msgspec refuses a wrong one by name and writes the JSON Schema.
Rules that tie two fields of a section together live in its ``__post_init__``, those between sections in
``consistency``. A field that may be null stands for what goes with the cell; what is then in force says the property
of the same name of ``LearnerSpec`` or ``ModelSpec``, which is what everybody reads. Names are PyTorch's and the
literature's; durations are in seconds and say so in their names. Nothing here imports Kafka, River or Numba.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamrnn.core.kinds import Family, Rule
from streamrnn.learner.model_spec import RULE_OF, ModelSpec
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sound import (
    PositiveFloat,
    PositiveInt,
    UnitInterval,
)  # fmt: skip
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.target_spec import TargetSpec

K1, K2 = 8, 32
"""Of truncated back-propagation through time, where they are not given."""
CODED = 16
"""Columns at most by which an exact cell sees symbols: each has a trace for each unit of each stream."""


class LearningSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How gradients are made, and the optimiser.

    By truncated back-propagation through time: every ``k1`` steps of a stream the newest ``k2`` are replayed; after
    ``batch_size`` windows of the partition one optimiser step is taken with PyTorch's formula. With rule rtrl exactly:
    each event of which the target is known gives its gradient through all steps of its sequence, ``k1`` of them make an
    optimiser step, and there is neither ``k2`` nor ``batch_size``. ``clip_norm=None`` never clips. ``polyak_bound``
    shortens a step that promises more than all of its loss, so that no single one can undo what was learned; None
    leaves PyTorch's steps as they are. ``scale`` standardises inputs and regression targets with running statistics.
    """

    rule: Annotated[
        Literal["tbptt", "rtrl"] | None,
        Meta(description="How gradients are made; null: as goes with the cell, and there is no other way."),
    ] = None
    k1: Annotated[
        PositiveInt | None,
        Meta(
            description="Learn at every k1-th step of a stream; with rule rtrl, take an optimiser step for every k1 "
            "events that were learned from. null: 8; with rule rtrl 1 for numbers, 8 for classes."
        ),
    ] = None
    k2: Annotated[
        PositiveInt | None,
        Meta(description="With rule tbptt: steps that are replayed; at least k1. null: 32."),
    ] = None
    batch_size: Annotated[PositiveInt, Meta(description="With rule tbptt: windows per optimiser step.")] = 1
    optimizer: Annotated[
        Literal["sgd", "momentum", "rmsprop", "adam", "adamw"] | None,
        Meta(
            description="PyTorch's formula of that name; momentum is SGD with momentum. null: adam; with rule tbptt "
            "and numbers of single steps adamw, or weights grow as long as a stream goes on, unless memory is set."
        ),
    ] = None
    lr: Annotated[
        PositiveFloat | None,
        Meta(
            description="Learning rate; where it falls, the one it begins with. null: 3e-3, and with rule rtrl and "
            "numbers, where no schedule is given, 3e-3 falling to 1e-3 over the first five thousand steps; where "
            "targets are known of few events only, as at the end of a sequence, 3e-3 that stays learns sooner."
        ),
    ] = None
    schedule: Annotated[
        Literal["constant", "inverse_sqrt", "exponential"] | None,
        Meta(
            description="How the learning rate falls with the number t of optimiser steps taken before, T being "
            "schedule_updates: inverse_sqrt: lr / sqrt(1 + t / T); exponential: lr * exp(-t / T). null: constant, "
            "and as lr says where lr is null, too."
        ),
    ] = None
    schedule_updates: Annotated[
        PositiveInt | None,
        Meta(
            description="Where the rate falls: optimiser steps after which it does. null: 10,000; where lr and "
            "schedule are null, too, 5,000."
        ),
    ] = None
    schedule_least: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="Where the rate falls: the share of lr below which it does not. null: with exponential 0.1, as "
            "it would come to nothing soon, else 0; where lr and schedule are null, too, a third."
        ),
    ] = None
    average: Annotated[
        UnitInterval | None,
        Meta(
            description="With input.sequence: predictions are made with an exponential average of the weights, which "
            "keeps this share of the old ones at each optimiser step (less at the beginning); null: with the newest.",
        ),
    ] = None
    clip_norm: Annotated[
        Literal["auto"] | PositiveFloat | None,
        Meta(
            description="Largest gradient norm of a step; auto: 1, and with loss cross_entropy 5; null: never clipped."
        ),
    ] = "auto"
    polyak_bound: Annotated[
        PositiveFloat | None,
        Meta(
            description="Most that a step may promise to take off its loss, going by the gradient, as a multiple of "
            "that loss; a longer step is shortened. null: steps are not bounded, nor are they with loss quantile."
        ),
    ] = 1.0
    momentum: Annotated[float, Meta(ge=0, lt=1, description="With optimizer momentum.")] = 0.9
    rmsprop_alpha: Annotated[UnitInterval, Meta(description="With optimizer rmsprop.")] = 0.99
    betas: Annotated[
        tuple[UnitInterval, UnitInterval] | None,
        Meta(
            description="With optimizer adam or adamw. null: 0.9 and 0.999; with numbers of single steps 0.2 and "
            "0.999, since the newest error says more than the mean of those before it."
        ),
    ] = None
    eps: Annotated[PositiveFloat, Meta(description="With optimizer rmsprop, adam or adamw.")] = 1e-8
    weight_decay: Annotated[float, Meta(ge=0, description="With optimizer adamw.")] = 0.01
    scale: Annotated[bool, Meta(description="Standardise inputs and regression targets by running statistics.")] = True
    target_shrinkage: Annotated[
        PositiveFloat,
        Meta(
            description="Observations the partition's target statistics are worth to a young stream's; more for "
            "short or heavy-tailed streams."
        ),
    ] = 10.0
    scale_memory: Annotated[
        int,
        Meta(ge=100, description="Newest values that running statistics remember; older ones fade."),
    ] = 20_000


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many streams are remembered, for how long, and what ends a sequence. All times are stream time.

    ``max_streams`` and ``max_bytes`` bound memory: a stream is dropped for a new one, and ``learner.room`` says which.
    ``ttl_s`` drops streams idle for longer. ``reset_after_s`` ends a stream's sequence when its next record comes later
    than that. A record whose timestamp is more than ``max_time_jump_s`` ahead of stream time counts as now until
    several streams confirm it.
    """

    max_streams: Annotated[
        int, Meta(ge=1, le=100_000_000, description="Streams remembered; beyond it the least recently seen is dropped.")
    ] = 100_000
    protected_share: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Share of the room for streams, where it is full, that streams of four records and more have "
            "to themselves: while they fill no more than it, a new stream takes the place of another new one. 0: the "
            "least recently seen leaves, whoever it is.",
        ),
    ] = 0.8
    max_bytes: Annotated[
        PositiveInt | None,
        Meta(
            description="Most bytes that a partition's streams may take, their keys counted; beyond it streams are "
            "dropped as beyond max_streams. null: what max_streams of them take."
        ),
    ] = None
    ttl_s: Annotated[
        PositiveFloat | None,
        Meta(description="Seconds of stream time after which an idle stream is dropped; null: never."),
    ] = None
    reset_after_s: Annotated[
        PositiveFloat | None, Meta(description="A gap of more seconds ends a stream's sequence; null: never.")
    ] = None
    max_time_jump_s: Annotated[
        PositiveFloat,
        Meta(description="Records further ahead than this many seconds count as now until several streams agree."),
    ] = 7 * 86_400.0


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs the learner itself derives from a stream's past.

    ``dt``: log1p of the seconds since the stream's previous record of the sequence. ``previous_target``: the newest
    known target of the sequence and a flag that it is known; without it the state never sees how the stream fared.
    """

    dt: Annotated[bool, Meta(description="log1p of the seconds since the stream's previous record.")] = True
    previous_target: Annotated[bool, Meta(description="The newest known target, and whether there is one.")] = True


MEAN: Literal["mean"] = "mean"
LAST: Literal["last"] = "last"
Imputed = Literal["mean", "last"] | float
"""What a missing feature counts as: the running mean, the last value that the stream's sequence knows, or a number."""


class SpecFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a ``LearnerSpec``, who says what they mean, and what follows from them.

    Apart from it, since rules between sections read them, and it asks for those rules.
    """

    n_features: Annotated[int, Meta(ge=0)]
    target: TargetSpec
    indicator: tuple[bool, ...] = ()
    missing: tuple[Imputed, ...] = ()
    symbols: tuple[Symbols, ...] = ()
    has_end: bool = False
    text: TextSpec | None = None
    sequence: SequenceSpec | None = None
    model: ModelSpec = ModelSpec()
    learning: LearningSpec = LearningSpec()
    streams: StreamSpec = StreamSpec()
    inputs: InputSpec = InputSpec()

    @property
    def n_inputs(self) -> int:
        """Columns of ``weight_ih``: D that are multiplied, then V that are looked up."""
        return self.n_multiplied + self.n_looked_up

    @property
    def n_multiplied(self) -> int:
        """D: features, dt, previous target where it is a number (with a baseline also its last change) and flags that
        it is known. One column of zeros where the network would have no input at all. Of a sequence, the features of
        all frames of a step."""
        n = self.n_features + int(self.inputs.dt)
        if self.sequence is not None:
            n *= self.sequence.stack
        if self.inputs.previous_target and self.target.classes is None:
            n += self.n_previous + self.n_targets
        return max(n + self.n_coded, 0 if self.n_looked_up else 1)

    @property
    def n_coded(self) -> int:
        """Columns, the last of those that are multiplied, by which an exact cell sees symbols; others look them up."""
        return min(self.n_looked_up, CODED) if self.model.is_exact else 0

    @property
    def n_looked_up(self) -> int:
        """V: a column for each symbol of each input, then for each class that the previous target may be, and one that
        says it is known."""
        n = sum(symbols.size for symbols in self.symbols)
        return n + (self.n_classes + 1 if self.shows_class else 0)

    @property
    def n_lookups(self) -> int:
        """How many of them a step looks up at most."""
        return len(self.symbols) + (2 if self.shows_class else 0)

    @property
    def shows_class(self) -> bool:
        """Whether the previous target is among the inputs, and a class."""
        return self.inputs.previous_target and self.target.classes is not None

    @property
    def of_symbols(self) -> bool:
        """Whether a stream's next symbol is all that is predicted."""
        return self.text is not None or (self.target.known == "forecast" and self.target.classes is not None)

    @property
    def may_end(self) -> bool:
        """Whether a sequence may end, at any step."""
        resets = self.text is not None and not self.text.carry
        return self.has_end or resets or self.streams.reset_after_s is not None

    @property
    def n_previous(self) -> int:
        """Columns that show the previous target: one per class, or per field (two with a baseline)."""
        if self.target.classes is not None:
            return self.n_classes
        return self.n_targets * (2 if self.target.period else 1)

    @property
    def n_classes(self) -> int:
        """Classes, of texts with their end; 0 where numbers are predicted."""
        if self.target.symbols is None:
            return 0
        return self.target.symbols.size + int(self.has_end_symbol)

    @property
    def has_end_symbol(self) -> bool:
        """Whether the end of what is predicted is a symbol, too: of texts, and of sequences of symbols."""
        return (self.text is not None and self.text.mark_end) or self.target.kind == "sequence"

    @property
    def n_regressors(self) -> int:
        """Regressors of the RLS readout: state, inputs, lags and a constant; 0 without it."""
        if self.model.readout != "rls":
            return 0
        return self.n_read + self.n_multiplied + self.model.lags * self.n_targets + 1

    @property
    def n_kept(self) -> int:
        """Numbers that regressors are made from, by which a prediction is remembered whose target comes later."""
        if not self.n_regressors:
            return 0
        read = self.model.n_said if self.keeps_what_is_read else self.n_read
        return read + self.n_multiplied + self.model.lags * self.n_targets

    @property
    def keeps_what_is_read(self) -> bool:
        """Whether of a layer that never learns is kept what it read, and not what it said: it is asked again."""
        return self.rule == "fixed" and self.model.hidden_units > 0

    @property
    def n_read(self) -> int:
        """Numbers that are read out of a step, inputs apart: a hidden layer's, or the cell's."""
        return self.model.hidden_units or self.model.n_said

    @property
    def rule(self) -> Rule:
        """How weights are learned."""
        return RULE_OF[self.model.cell]

    @property
    def k1(self) -> int:
        """Steps of a stream, or with exact gradients events of the partition, from one lesson to the next."""
        if self.learning.k1 is not None:
            return self.learning.k1
        if self.rule == "tbptt":
            return K1
        return K1 if self.model.classifies else 1

    @property
    def k2(self) -> int:
        """Steps whose inputs and targets are kept: of a window, or those that a target may take until it is known."""
        return (self.learning.k2 or max(K2, self.k1)) if self.rule == "tbptt" else self.delay + 1

    @property
    def lessons_per_step(self) -> int:
        """Lessons that make an optimiser step: windows, or with exact gradients events that were learned from."""
        return self.learning.batch_size if self.rule == "tbptt" else self.k1

    @property
    def delay(self) -> int:
        """Events that the state which learns by exact gradients may lag behind the one that predicts."""
        return self.remembered if self.rule == "rtrl" else 0

    @property
    def remembered(self) -> int:
        """Predictions of a stream, the newest, that are kept until their targets come."""
        return {"record": 0, "forecast": self.target.furthest, "label": self.target.label_memory}[self.target.known]

    @property
    def lr(self) -> float:
        """The learning rate, or the one it begins with."""
        return 3e-3 if self.learning.lr is None else self.learning.lr

    @property
    def optimizer(self) -> Literal["sgd", "momentum", "rmsprop", "adam", "adamw"]:
        """What makes steps of gradients."""
        if self.learning.optimizer is not None:
            return self.learning.optimizer
        # Each step adds some noise: without a decay recurrent weights of LSTM and Elman cells grow tenfold in a million
        # numbers, and errors by up to two thirds. Classes and exact cells were not seen to need it, and with ``memory``
        # biases are time constants to begin with, which a decay would take away.
        return "adamw" if self.rule == "tbptt" and self._of_numbers and self.model.memory is None else "adam"

    @property
    def betas(self) -> tuple[float, float]:
        """What Adam's running means of gradients and of their squares keep at each step."""
        if self.learning.betas is not None:
            return self.learning.betas
        # Symbols, of which each says much, want longer means: of Reber words eLSTM has 109 errors for 1 with 0.2.
        return (0.2, 0.999) if self._of_numbers else (0.9, 0.999)

    @property
    def _of_numbers(self) -> bool:
        """Whether numbers are predicted at single steps, as each comes."""
        return self.kernels == "steps" and not self.model.classifies

    @property
    def schedule(self) -> tuple[Literal["constant", "inverse_sqrt", "exponential"], int, float]:
        """How the rate falls: the schedule, its number of steps, and the least share of the rate."""
        learning = self.learning
        name, updates, least = learning.schedule or "constant", 10_000, learning.schedule_least
        if learning.schedule is None and learning.lr is None and self.rule == "rtrl" and not self.model.classifies:
            name, updates, least = "exponential", 5_000, 1 / 3 if least is None else least
        if least is None:
            least = 0.1 if name == "exponential" else 0.0
        return name, learning.schedule_updates or updates, least

    @property
    def in_force(self) -> dict[str, Any]:
        """Fields that may be left open, by path, as they are in force: writing those down changes nothing.

        >>> from streamrnn.learner.spec import LearnerSpec
        >>> spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
        >>> spec.in_force == msgspec.structs.replace(spec, learning=LearningSpec(k1=8, k2=32, lr=0.003)).in_force
        True
        """
        model, (schedule, updates, least) = self.model, self.schedule
        steps = {
            "learning.rule": self.rule,
            "learning.optimizer": self.optimizer,
            "learning.k1": self.k1,
            "learning.k2": self.k2 if self.rule == "tbptt" else None,
            "learning.lr": self.lr,
            "learning.schedule": schedule,
            "learning.schedule_updates": updates,
            "learning.schedule_least": least,
            "learning.betas": list(self.betas),
        }
        return {
            "model.loss": model.effective_loss,
            "model.hidden_size": model.units,
            "model.hidden_layer": model.hidden_units,
            "model.rls_forgetting": model.forgetting,
            "model.rls_prior": model.prior,
            "model.attention": model.attention or self.target.kind != "sequence",  # where else it has no effect
            "target.horizon": self.target.furthest if self.target.is_each_step else list(self.target.steps_ahead),
            **(steps if self.rule != "fixed" else {}),  # where nothing is trained there are no steps
        }

    @property
    def n_targets(self) -> int:
        """Columns of the target array the learner is given (a class index counts as one)."""
        return len(self.target.fields)

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: classes, of transcripts with the blank before them; or quantile levels within targets
        within horizons (last runs fastest), of a sequence of numbers one for the next."""
        if self.target.classes is not None:
            blank = int(self.target.kind == "transcript")
            return 1 if self.model.readout == "logistic" else self.n_classes + blank
        if self.target.says_numbers:
            return 1
        levels = len(self.model.quantiles) if self.model.effective_loss == "quantile" else 1
        return len(self.target.steps_ahead) * len(self.target.fields) * levels

    @property
    def looks_ahead(self) -> bool:
        """Whether a prediction waits until ``model.lookahead`` more steps of its sequence have come."""
        return self.sequence is None and self.model.direction == "both"

    @property
    def kernels(self) -> Family:
        """The kernels that it is computed by."""
        return "steps" if self.sequence is None and not self.looks_ahead else "sequences"

    @property
    def n_published(self) -> int:
        """Columns of a prediction: the outputs, but where several things are said of a sequence none."""
        return self.n_outputs if self.target.kind in (None, "label") else 0
