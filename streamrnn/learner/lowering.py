"""From a specification to the numbers and arrays the kernels work on.

Everything a learner holds is allocated here, once; nothing of it grows or moves afterwards. Array memory per stream and
the shape of the network follow from the specification alone, so both can be told without making a learner.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from streamrnn.core import arrays, counts, rls
from streamrnn.core.cells import CELLS
from streamrnn.core.kinds import KNOWN
from streamrnn.core.layout import Layout
from streamrnn.core.losses import CROSS_ENTROPIES, QUANTILE, REGRESSION_LOSSES
from streamrnn.core.optim import OPTIMIZERS
from streamrnn.core.rules import TBPTT
from streamrnn.core.workspace import zeros_scratch
from streamrnn.learner.spec import LearnerSpec


def layout_of(spec: LearnerSpec) -> Layout:
    """The tensors of the network a specification describes. The RLS readout is not among them."""
    return Layout(
        cell=CELLS[spec.model.cell],
        n_inputs=spec.n_inputs,
        hidden_size=spec.model.hidden_size,
        num_layers=spec.model.num_layers,
        n_outputs=0 if spec.n_regressors else spec.n_outputs,
    )


def bytes_per_stream(spec: LearnerSpec) -> int:
    """Bytes of array memory one stream takes."""
    one = replace(spec, streams=replace(spec.streams, max_streams=1))
    return sum(array[0].nbytes for array in new_streams(layout_of(one), one))


def new_scratch(layout: Layout, spec: LearnerSpec, theta: npt.NDArray[Any]) -> arrays.Scratch:
    """Work space of one learner."""
    plan = plan_of(spec)
    indicator = np.array(spec.indicator or (False,) * spec.n_features, dtype=np.bool_)
    levels = spec.model.quantiles if plan.loss == QUANTILE else (0.5,)
    return zeros_scratch(layout, plan, spec.n_outputs, theta, indicator, np.array(levels, dtype=np.float64))


def plan_of(spec: LearnerSpec) -> arrays.Plan:
    model, learning, target = spec.model, spec.learning, spec.target
    ends = spec.has_end or spec.streams.reset_after_s is not None
    return arrays.Plan(
        features=spec.n_features,
        with_dt=int(spec.inputs.dt),
        previous=spec.n_previous if spec.inputs.previous_target else 0,
        fields=spec.n_targets,
        classes=0 if target.classes is None else len(target.classes),
        loss=CROSS_ENTROPIES[model.readout] if model.classifies else REGRESSION_LOSSES[model.effective_loss],
        rls=int(model.readout == "rls"),
        lags=model.lags if model.readout == "rls" else 0,
        newest=_newest(spec),
        period=target.period,
        k1=learning.k1,
        k2=learning.k2,
        # A sequence may end at any step, and its last window starts k2 steps before.
        stride=1 if ends else learning.k1,
        batch_size=learning.batch_size,
        known=KNOWN[target.known],
        horizon=target.horizon,
        scale=int(learning.scale),
        reset_after_ms=-1 if spec.streams.reset_after_s is None else round(1000 * spec.streams.reset_after_s),
        optimizer=OPTIMIZERS[learning.optimizer],
        rule=TBPTT,
    )


def _newest(spec: LearnerSpec) -> int:
    """The regressor of the RLS readout that holds the newest value of the first field; -1 = none does."""
    if not spec.n_regressors:
        return -1
    if spec.model.lags:
        return spec.model.hidden_size + spec.n_inputs
    if not spec.inputs.previous_target:
        return -1
    # With a baseline the newest change stands behind the newest value.
    values = spec.n_targets if spec.target.period else 0
    return spec.model.hidden_size + spec.n_features + int(spec.inputs.dt) + values


def hyper_of(spec: LearnerSpec) -> arrays.Hyper:
    learning = spec.learning
    return arrays.Hyper(
        lr=float(learning.lr),
        momentum=float(learning.momentum),
        rmsprop_alpha=float(learning.rmsprop_alpha),
        beta1=float(learning.betas[0]),
        beta2=float(learning.betas[1]),
        eps=float(learning.eps),
        weight_decay=float(learning.weight_decay),
        clip_norm=0.0 if learning.clip_norm is None else float(learning.clip_norm),
        huber_delta=float(spec.model.huber_delta),
        shrinkage=float(learning.target_shrinkage),
        forgetting=float(spec.model.rls_forgetting),
        prior=float(spec.model.rls_prior),
    )


def dtype_of(spec: LearnerSpec) -> type:
    return np.float32 if spec.model.dtype == "float32" else np.float64


def _n_columns(spec: LearnerSpec) -> int:
    """Y: target columns of a step."""
    return 1 if spec.target.classes is not None else spec.target.horizon * spec.n_targets


def new_model(spec: LearnerSpec, theta: npt.NDArray[Any]) -> arrays.Model:
    inputs, fields, columns = spec.n_features + 1, spec.n_targets, _n_columns(spec)
    outputs, plan = spec.n_outputs if spec.n_regressors else 0, plan_of(spec)
    plain = max(0, spec.n_regressors - spec.model.hidden_size)
    model = arrays.Model(
        theta=theta,
        accumulated=np.zeros_like(theta),
        moment1=np.zeros_like(theta),
        moment2=np.zeros_like(theta),
        readout=arrays.Readout(
            full=_new_squares(outputs, spec.n_regressors),
            plain=_new_squares(outputs, plain),
            losses=np.zeros((outputs, rls.EXPERTS)),
            loss_count=np.zeros(outputs),
            fields=fields,
        ),
        x_count=np.zeros(inputs),
        x_mean=np.zeros(inputs),
        x_m2=np.zeros(inputs),
        y_count=np.zeros(fields),
        y_mean=np.zeros(fields),
        y_m2=np.zeros(fields),
        change_count=np.zeros(columns),
        change_m2=np.zeros(columns),
        counters=np.zeros(len(counts.COUNTS), np.int64),
        gauges=np.zeros(len(counts.GAUGES)),
    )
    rls.start(model.readout, spec.model.rls_prior, plan.newest)
    return model


def _new_squares(outputs: int, regressors: int) -> arrays.Squares:
    O, R = outputs, regressors  # noqa: E741
    return arrays.Squares(
        weight=np.zeros((O, R)),
        root=np.zeros((O, R, R)),
        trace=np.zeros(O),
        noise=np.zeros(O),
        noise_sum=np.zeros(O),
        noise_count=np.zeros(O),
        noise_in_use=np.zeros(O),
        refreshed=np.zeros(O),
    )


def new_streams(layout: Layout, spec: LearnerSpec) -> arrays.Streams:
    """Arrays for all streams, the blank one and the imagined one.

    They are allocated once; untouched pages take no memory.
    """
    dtype, k2 = dtype_of(spec), spec.learning.k2
    S, F, Y = spec.streams.max_streams + 2, spec.n_targets, _n_columns(spec)
    horizon, period = spec.target.horizon, spec.target.period
    stride = plan_of(spec).stride
    state = (layout.num_layers, layout.state_count, layout.hidden_size)
    labels = spec.target.label_memory if spec.target.known == "label" else 0
    remembered = horizon if spec.target.known == "forecast" else labels
    explained = remembered if spec.n_regressors else 0
    lags = spec.model.lags if spec.n_regressors else 0
    history = max(lags + period, -(-horizon // period) * period + 1) if period else lags
    streams = arrays.Streams(
        state=np.zeros((S, *state), dtype),
        before=np.zeros((S, -(-k2 // stride), *state), dtype),
        x=np.zeros((S, k2, layout.n_inputs), dtype),
        lags=np.zeros((S, k2, lags * F), dtype),
        y=np.zeros((S, k2, Y), dtype),
        steps=np.zeros(S, np.int64),
        last_ms=np.zeros(S, np.int64),
        newest=np.zeros((S, F)),
        history=np.zeros((S, history, F)),
        history_count=np.zeros((S, F), np.int64),
        y_count=np.zeros((S, F)),
        y_mean=np.zeros((S, F)),
        y_m2=np.zeros((S, F)),
        change_count=np.zeros((S, Y)),
        change_m2=np.zeros((S, Y)),
        remembered=np.zeros((S, remembered, spec.n_outputs)),
        regressors=np.zeros((S, explained, spec.n_regressors)),
        scaling=np.zeros((S, explained, F, 2)),
        expert_predictions=np.zeros((S, explained, spec.n_outputs, 2)),
        event=np.zeros((S, labels), np.uint64),
        event_step=np.zeros((S, labels), np.int64),
        event_count=np.zeros(S, np.int64),
    )
    streams.newest[-2:] = np.nan
    return streams
