"""The network, as validated values: the part of a specification about cells, layers, readout and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamrnn.core.kinds import Rule
from streamrnn.learner.sound import PositiveFloat, UnitInterval

_LOSSES = {
    "linear": ("squared", "absolute", "huber", "quantile"),
    "rls": ("squared",),
    "softmax": ("cross_entropy",),
    "logistic": ("cross_entropy",),
}


RULE_OF: Mapping[str, Rule] = {
    "rnn": "tbptt", "lstm": "tbptt", "gru": "tbptt",
    "glru": "rtrl", "elstm": "rtrl",
    "bank": "fixed",
}  # fmt: skip
"""How each cell learns. Who wants to know asks here, or ``spec.rule``: no other list says it."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network: recurrent trunk, readout and loss.

    ``readout="linear"`` is regression and takes the losses squared, absolute, huber and quantile; ``rls`` is regression
    by recursive least squares on the state, the inputs and the ``lags`` newest known targets, with squared loss;
    ``softmax`` (any number of classes) and ``logistic`` (two classes, one output) take cross_entropy. ``loss=None`` is
    the readout's own: squared or cross_entropy.
    """

    cell: Annotated[
        Literal["rnn", "lstm", "gru", "glru", "elstm", "bank"],
        Meta(
            description="Recurrent cell. rnn, lstm and gru learn by truncated back-propagation through time; glru and "
            "elstm, whose units do not hear each other, by exact gradients at every event; bank, for readout rls, is a "
            "bank of fixed filters, which learns nothing."
        ),
    ] = "lstm"
    gates: Annotated[
        bool, Meta(description="With cell glru: inputs say how much is kept and let in; false: the LRU.")
    ] = True
    hidden_layer: Annotated[
        Annotated[int, Meta(ge=0, le=4096)] | None,
        Meta(
            description="Units of a tanh layer between state and readout; 0: there is none. null: with cell glru and "
            "classes 32, with cell bank 128, which are fixed; else none. Least squares (readout rls) take time and "
            "memory by the square of what they read."
        ),
    ] = None
    hidden_size: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | None,
        Meta(description="Units per layer; null: 32, with cell bank 16."),
    ] = None
    num_layers: Annotated[int, Meta(ge=1, le=16, description="Stacked layers.")] = 1
    direction: Annotated[
        Literal["forward", "both"],
        Meta(
            description="forward: each step knows those before it; both: a second network reads backwards, and each "
            "step knows those behind it, too: of a sequence in input.sequence all, or lookahead of them; of a stream's "
            "single steps the next lookahead ones, for which its prediction waits."
        ),
    ] = "forward"
    lookahead: Annotated[
        Annotated[int, Meta(ge=0, le=1_000)] | None,
        Meta(
            description="With direction both and one layer: steps that the second network looks ahead of each step, "
            "from zero for each; null: to the sequence's end. Where records are single steps, 1 or more: an event is "
            "predicted once so many behind it have come, or its sequence has ended.",
        ),
    ] = None
    attention: Annotated[
        bool,
        Meta(description="With kind sequence: the decoder looks back at each step of what it was given."),
    ] = True
    beam: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="With kind transcript or sequence: how many beginnings are followed at once; 1: the best only.",
        ),
    ] = 1
    memory: Annotated[
        Literal["auto"] | Annotated[int, Meta(ge=2, le=1_000_000)] | None,
        Meta(
            description="How many steps back it matters what was. Half of the units of cell lstm, gru or glru begin "
            "with memories spread over that many, of glru over ten times as many, and none may come to remember far "
            "longer; all of elstm with memories from less than a step to ten times as many, and to 1,000 at least; rnn "
            "and bank know no such beginning. auto: k2, with a window. null: lstm and gru begin as they are, which is "
            "short; glru and elstm with memories of up to some hundred steps."
        ),
    ] = None
    dtype: Annotated[Literal["float32", "float64"], Meta(description="Precision of weights and states.")] = "float32"
    readout: Annotated[
        Literal["linear", "rls", "softmax", "logistic"],
        Meta(description="linear and rls predict numbers, softmax classes, logistic one of two classes."),
    ] = "linear"
    loss: Annotated[
        Literal["squared", "absolute", "huber", "quantile", "cross_entropy"] | None,
        Meta(description="null: squared for linear and rls, cross_entropy for softmax and logistic."),
    ] = None
    huber_delta: Annotated[
        PositiveFloat, Meta(description="With loss huber: where it turns from squared to absolute, in scaled units.")
    ] = 1.0
    quantiles: Annotated[
        tuple[UnitInterval, ...],
        Meta(min_length=1, max_length=64, description="With loss quantile: the levels, increasing."),
    ] = (0.05, 0.5, 0.95)
    lags: Annotated[
        int, Meta(ge=0, le=1024, description="With readout rls: newest known targets of the stream it sees.")
    ] = 20
    rls_forgetting: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(
            description="With readout rls: what an older target still weighs after each newer one; null: 0.9995, with "
            "cell bank 0.9999."
        ),
    ] = None
    rls_prior: Annotated[
        PositiveFloat | None,
        Meta(
            description="With readout rls: variance of its weights before anything was learned, in scaled units; null: "
            "0.1, with cell bank 3."
        ),
    ] = None

    def __post_init__(self) -> None:
        allowed = _LOSSES[self.readout]
        if self.loss is not None and self.loss not in allowed:
            raise ValueError(
                f"loss: {self.loss!r} does not go with readout {self.readout!r}; allowed: {', '.join(allowed)}"
            )
        if self.lookahead is not None and (self.direction != "both" or self.num_layers != 1):
            raise ValueError(
                f"lookahead: goes with direction both and num_layers 1, got {self.direction} and {self.num_layers}: "
                "each further layer would look ahead of what is looked ahead to"
            )
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError(f"quantiles: must increase strictly, got {list(self.quantiles)}")

    @property
    def effective_loss(self) -> str:
        """The loss in force: the one given, or the readout's own."""
        return self.loss or _LOSSES[self.readout][0]

    @property
    def is_exact(self) -> bool:
        """Whether units do not hear each other, so that their gradient, where there is one, is carried along."""
        return RULE_OF[self.cell] != "tbptt"

    @property
    def units(self) -> int:
        """Units per layer in force."""
        return self.hidden_size or (16 if self.cell == "bank" else 32)

    @property
    def forgetting(self) -> float:
        """What an older target weighs to the RLS readout after each newer one."""
        return self.rls_forgetting or (0.9999 if self.cell == "bank" else 0.9995)

    @property
    def prior(self) -> float:
        """Variance of the RLS readout's weights before anything was learned."""
        return self.rls_prior or (3.0 if self.cell == "bank" else 0.1)

    @property
    def n_said(self) -> int:
        """Numbers that the cell hands up: of complex units two each."""
        return self.units * (2 if self.cell in ("glru", "bank") else 1)

    @property
    def hidden_units(self) -> int:
        """Units of the layer between state and readout; 0 = there is none."""
        if self.hidden_layer is not None:
            return self.hidden_layer
        if self.cell == "bank":
            return 128
        # Slow units answer a constant a hundred times over, which logits cannot bear. Errors of the third 100,000
        # symbols of embedded Reber words: 218 with such a layer, 1,314 without; of cell elstm no fewer.
        return 32 if self.cell == "glru" and self.classifies else 0

    @property
    def classifies(self) -> bool:
        """Whether the readout gives probabilities of classes."""
        return self.readout in {"softmax", "logistic"}
