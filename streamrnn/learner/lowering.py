"""From a specification to the numbers and arrays the kernels work on.

Everything a learner holds is allocated here, once; nothing of it grows or moves afterwards. Array memory per stream and
the shape of the network follow from the specification alone, so both can be told without making a learner.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core import arrays, rls
from streamrnn.core.cells import CELLS
from streamrnn.core.declarations import allocate, declared, row_bytes
from streamrnn.core.exact.codes import codes_of
from streamrnn.core.exact.constants import nu_least
from streamrnn.core.exact.layout import ExactLayout
from streamrnn.core.kinds import KNOWN, RULES
from streamrnn.core.layout import Layout
from streamrnn.core.losses import CROSS_ENTROPIES, QUANTILE, REGRESSION_LOSSES
from streamrnn.core.optim import OPTIMIZERS
from streamrnn.core.schedules import SCHEDULES
from streamrnn.core.sequences.kinds import KINDS, STEP
from streamrnn.core.sequences.layout import SequenceLayout
from streamrnn.core.workspace import zeros_scratch
from streamrnn.learner.axes import AXES, Network, exact_cell, last_columns
from streamrnn.learner.copying import ROOMS
from streamrnn.learner.room import INDEX_BYTES
from streamrnn.learner.spec import LAST, LearnerSpec
from streamrnn.learner.streams import SEGMENT_SLOTS

CLIP_NORM = 1.0
"""Where ``learning.clip_norm`` is "auto" ..."""
CLIP_NORMS = {"cross_entropy": 5.0}
"""... and the loss is not one of these."""


def layout_of(spec: LearnerSpec) -> Layout | ExactLayout | SequenceLayout:
    """The tensors of the network a specification describes. The RLS readout is not among them."""
    if spec.kernels == "sequences":
        return _layout_of_sequences(spec)
    if spec.model.is_exact:
        return ExactLayout(
            cell=exact_cell(spec),
            n_inputs=spec.n_multiplied,
            hidden_size=spec.model.units,
            n_outputs=0 if spec.n_regressors else spec.n_outputs,
            hidden_layer=spec.model.hidden_units,
            fixed=spec.rule == "fixed",
            alone=spec.n_features == 0 and not spec.symbols,
        )
    return Layout(
        cell=CELLS[spec.model.cell],
        n_inputs=spec.n_multiplied,
        hidden_size=spec.model.units,
        num_layers=spec.model.num_layers,
        n_outputs=0 if spec.n_regressors else spec.n_outputs,
        n_rows=spec.n_looked_up,
        hidden_layer=spec.model.hidden_units,
    )


def _layout_of_sequences(spec: LearnerSpec) -> SequenceLayout:
    decoder = spec.target.kind == "sequence"
    return SequenceLayout(
        cell=CELLS[spec.model.cell],
        n_inputs=spec.n_multiplied,
        hidden_size=spec.model.units,
        num_layers=spec.model.num_layers,
        n_outputs=spec.n_outputs,
        n_rows=spec.n_looked_up,
        directions=2 if spec.model.direction == "both" else 1,
        kind=STEP if spec.target.kind is None else KINDS[spec.target.kind],
        n_decoder_inputs=int(decoder and spec.target.says_numbers),
        n_decoder_rows=spec.n_classes if decoder else 0,
        attention=decoder and spec.model.attention,
    )


def initial_weights(spec: LearnerSpec, seed: int) -> npt.NDArray[Any]:
    """A fresh theta (P,)."""
    memory = max(2, spec.k2) if spec.model.memory == "auto" else spec.model.memory
    return layout_of(spec).initialise(seed, dtype_of(spec), memory, symbols=spec.of_symbols)


def sizes_of(spec: LearnerSpec) -> dict[str, int]:
    """The length of every axis of ``axes.AXES``."""
    network = Network(spec, layout_of(spec), plan_of(spec))
    return {name: axis.size(network) for name, axis in AXES.items()}


def bytes_per_stream(spec: LearnerSpec) -> int:
    """Bytes of array memory one stream takes."""
    return row_bytes(arrays.Streams, sizes_of(spec), dtype_of(spec))


def trace_bytes(spec: LearnerSpec) -> int:
    """Of these, bytes that the sensitivities of an exact cell take; 0 where none are carried."""
    sizes = sizes_of(spec)
    return sizes["traces"] * sizes["H"] * np.dtype(dtype_of(spec)).itemsize


def bytes_per_slot(spec: LearnerSpec) -> int:
    """Bytes that one stream takes, all told but for its key: arrays, and what is kept of when it was seen."""
    return bytes_per_stream(spec) + INDEX_BYTES


def most_bytes(spec: LearnerSpec, longest_key: int) -> int:
    """Bytes that all streams together take at most, where no key is longer than this."""
    most = spec.streams.max_streams * (bytes_per_slot(spec) + longest_key)
    return most if spec.streams.max_bytes is None else min(most, spec.streams.max_bytes)


def copying_bytes(spec: LearnerSpec) -> int:
    """Bytes that a copy of all streams takes at most beside them, while records go on.

    Every stream may be put aside once, as where the disk hangs; ``ROOMS`` segments are on their way to it.
    """
    aside = most_bytes(spec, 0)
    return aside + min(aside, ROOMS * SEGMENT_SLOTS * bytes_per_slot(spec))


def new_scratch(layout: Layout | ExactLayout, spec: LearnerSpec, theta: npt.NDArray[Any]) -> arrays.Scratch:
    """Work space of one learner."""
    plan = plan_of(spec)
    indicator = np.array(spec.indicator or (False,) * spec.n_features, dtype=np.bool_)
    levels = spec.model.quantiles if plan.loss == QUANTILE else (0.5,)
    numbers = [what if isinstance(what, float) else np.nan for what in spec.missing]
    last_at = np.full(spec.n_features, -1, np.int64)
    last_at[last_columns(spec)] = np.arange(spec.missing.count(LAST))
    return zeros_scratch(
        layout, plan, sizes_of(spec), theta,
        codes=codes_of(_coded(spec), spec.n_coded, dtype_of(spec)),
        indicator=indicator, levels=np.array(levels, dtype=np.float64),
        imputed=np.array(numbers or [np.nan] * spec.n_features, dtype=np.float64), last_at=last_at,
        ahead=np.array(spec.target.steps_ahead, np.int64),
    )  # fmt: skip


def _coded(spec: LearnerSpec) -> list[tuple[int, int]]:
    """Where an exact cell sees symbols: of each row that is looked up its set, and its number in it."""
    if not spec.model.is_exact:
        return []
    sizes = [symbols.size for symbols in spec.symbols] + ([spec.n_classes, 1] if spec.shows_class else [])
    return [(of, number) for of, size in enumerate(sizes) for number in range(size)]


def plan_of(spec: LearnerSpec) -> arrays.Plan:
    """Sizes, switches and periods of the kernels."""
    model, learning, target, layout = spec.model, spec.learning, spec.target, layout_of(spec)
    return arrays.Plan(
        features=spec.n_features,
        with_dt=int(spec.inputs.dt),
        previous=spec.n_previous if spec.inputs.previous_target and target.classes is None else 0,
        symbols=len(spec.symbols),
        previous_class=spec.n_looked_up - spec.n_classes - 1 if spec.shows_class else -1,
        fields=spec.n_targets,
        classes=spec.n_classes,
        open_classes=int(target.is_open),
        dense=layout.dense,
        width=layout.gate_width,
        head=layout.head,
        loss=CROSS_ENTROPIES[model.readout] if model.classifies else REGRESSION_LOSSES[model.effective_loss],
        rls=int(model.readout == "rls"),
        lags=model.lags if model.readout == "rls" else 0,
        newest_at=_newest_at(spec),
        period=target.period,
        k1=spec.k1 if spec.rule == "tbptt" else 1,
        k2=spec.k2,
        # A sequence may end at any step, and its last window starts k2 steps before.
        stride=1 if spec.may_end or spec.rule != "tbptt" else spec.k1,
        lessons_per_step=spec.lessons_per_step,
        known=KNOWN[target.known],
        horizon=target.furthest,
        scale=int(learning.scale),
        reset_after_ms=-1 if spec.streams.reset_after_s is None else round(1000 * spec.streams.reset_after_s),
        optimizer=OPTIMIZERS[spec.optimizer],
        schedule=SCHEDULES[spec.schedule[0]],
        rule=RULES[spec.rule],
        cell=layout.cell,
        n_read=spec.n_read,
        hidden=model.hidden_units,
        skip=int(model.is_exact),
        coded=spec.n_coded,
        delay=spec.delay,
        slow=layout.slow if isinstance(layout, ExactLayout) else 0,
    )


def _newest_at(spec: LearnerSpec) -> int:
    """The regressor of the RLS readout that holds the newest value of the first field; -1 = none does."""
    if not spec.n_regressors:
        return -1
    if spec.model.lags:
        return spec.n_read + spec.n_multiplied
    if not spec.inputs.previous_target:
        return -1
    # With a baseline the newest change stands behind the newest value.
    values = spec.n_targets if spec.target.period else 0
    return spec.n_read + spec.n_features + int(spec.inputs.dt) + values


def hyper_of(spec: LearnerSpec) -> arrays.Hyper:
    """The kernels' real numbers.

    Steps of quantile loss are not bounded. Its outermost levels live on rare and long corrections, which promise far
    more than their loss, against frequent short ones: shortening the rare draws quantiles together.
    """
    learning, (_, updates, least) = spec.learning, spec.schedule
    bound = None if spec.model.effective_loss == "quantile" else learning.polyak_bound
    return arrays.Hyper(
        lr=float(spec.lr),
        schedule_updates=float(updates),
        schedule_decay=math.exp(-1.0 / updates),
        schedule_least=float(least),
        momentum=float(learning.momentum),
        rmsprop_alpha=float(learning.rmsprop_alpha),
        beta1=float(spec.betas[0]),
        beta2=float(spec.betas[1]),
        eps=float(learning.eps),
        weight_decay=float(learning.weight_decay),
        clip_norm=_clip_norm(spec),
        polyak_bound=0.0 if bound is None else float(bound),
        huber_delta=float(spec.model.huber_delta),
        shrinkage=float(learning.target_shrinkage),
        memory=float(learning.scale_memory),
        forgetting=float(spec.model.forgetting),
        prior=float(spec.model.prior),
        nu_least=nu_least(spec.model.memory),
    )


def _clip_norm(spec: LearnerSpec) -> float:
    """The largest gradient norm of a step; 0 = never clip."""
    given = spec.learning.clip_norm
    if given == "auto":
        return CLIP_NORMS.get(spec.model.effective_loss, CLIP_NORM)
    return 0.0 if given is None else float(given)


def dtype_of(spec: LearnerSpec) -> type:
    """The model's precision."""
    return np.float32 if spec.model.dtype == "float32" else np.float64


def new_model(spec: LearnerSpec, theta: npt.NDArray[Any]) -> arrays.Model:
    """A model that has learned nothing, with the weights theta (P,)."""
    model = allocate(arrays.Model, sizes_of(spec), dtype_of(spec))._replace(theta=theta)
    # Of an open set "other" is there from the beginning, and where texts have one, their end.
    reserved = 1 + int(spec.has_end_symbol)
    model.outputs_in_use[0] = reserved if spec.target.is_open else outputs_of_classes(spec)
    if spec.learning.average is not None:
        model.average[...] = theta
    rls.start(model.readout, spec.model.prior, plan_of(spec).newest_at)
    return model


def outputs_of_classes(spec: LearnerSpec) -> int:
    """The outputs but for the blank of a transcript, which stands before them and is none of its classes."""
    return spec.n_classes if spec.target.kind == "transcript" else spec.n_outputs


def new_streams(spec: LearnerSpec) -> arrays.Streams:
    """Arrays for all streams, the blank one and the imagined one.

    A stream's row is zero until the kernel clears it for its first record; the last two are never cleared.
    """
    streams = allocate(arrays.Streams, sizes_of(spec), dtype_of(spec), rows=(spec.streams.max_streams + 2,))
    for name, array in declared(arrays.Streams).items():
        getattr(streams, name)[-2:] = array.blank
    return streams
