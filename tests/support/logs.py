"""Hypothesis strategies for learner specifications and for logs that exercise them.

What happens in a log (whose record, how much later, what is missing, where sequences end, which labels come back when)
is drawn and can be shrunk; the numbers themselves come from a seeded generator, since a shrunk float proves little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.kinds import CLOSE, EVENT, FORGET, LABEL
from streamrnn.learner.block import Block, Units
from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.target_spec import TargetSpec

GAP_S, TTL_S, JUMP_S = 10.0, 30.0, 60.0
STEPS_MS = (0, 1, 500, 700, 3000, 9000, 11_000, 35_000, -4000, -20_000, 200_000, 10**13, -(10**11))
"""Time from one record to the next: ordinary, a gap, an eviction, backwards, a far jump, year 2300, long ago."""
START_MS = 1_700_000_000_000
KEYS = (b"a", b"b", b"c", b"d", b"e")

LETTERS = "pqrstu"
"""Symbols, the first ones often; the last ones are in no closed set."""

LOSSES = (
    ("rls", "squared"), ("linear", "squared"), ("linear", "absolute"), ("linear", "huber"), ("linear", "quantile"),
    ("softmax", "cross_entropy"), ("logistic", "cross_entropy"),
)  # fmt: skip

CELLS = ("rnn", "lstm", "gru", "glru", "elstm", "bank")
"""The last three are those whose units hear only themselves; a bank learns by the readout rls alone."""
EXACT_CELLS = CELLS[3:]

symbol_sets = st.one_of(
    st.builds(Symbols, open=st.just(True), max=st.integers(1, len(LETTERS))),
    st.just(Symbols(values=("p", "q", "r"))),
)
text_specs = st.builds(
    TextSpec, unit=st.sampled_from(("byte", "character", "word")), carry=st.booleans(), mark_end=st.booleans()
)


@st.composite
def learnings(draw: st.DrawFn, cell: str, k1: int, ahead: int, optimizers: tuple[str, ...]) -> LearningSpec:
    """How a cell learns whose targets are known ``ahead`` steps later; of a bank nothing is learned by gradients."""
    exact = cell in EXACT_CELLS
    scaling = {"scale": draw(st.booleans()), "target_shrinkage": draw(st.sampled_from((10.0, 0.5, 200.0)))}
    if cell == "bank":
        return LearningSpec(**scaling)
    return LearningSpec(
        k1=draw(st.sampled_from((k1, *(None,) * exact))),
        k2=None if exact else k1 + ahead + draw(st.integers(0, 5)),
        batch_size=1 if exact else draw(st.integers(1, 3)),
        optimizer=draw(st.sampled_from(optimizers or ("sgd", "momentum", "rmsprop", "adam", "adamw"))),
        lr=draw(st.sampled_from((0.003, 0.03, *(None,) * exact))),
        schedule=draw(st.sampled_from(("constant", "inverse_sqrt", "exponential", None))),
        betas=draw(st.sampled_from((None, (0.9, 0.999)))),
        schedule_updates=draw(st.sampled_from((None, 1, 5, 10_000))),
        schedule_least=draw(st.sampled_from((None, 0.0, 0.3))),
        clip_norm=draw(st.sampled_from(("auto", None, 0.2, 1.0))),
        polyak_bound=draw(st.sampled_from((None, 1.0, 0.01))),
        weight_decay=0.0 if cell in ("glru", "elstm") else 0.01,
        **scaling,
    )


@st.composite
def specs(
    draw: st.DrawFn,
    dtype: str = "float64",
    optimizers: tuple[str, ...] = (),
    losses: tuple[tuple[str, str], ...] = LOSSES,
    known: str | None = None,
    texts: bool = False,
    cells: tuple[str, ...] = CELLS,
) -> LearnerSpec:
    """Small learners of every cell, loss, optimiser and way of knowing targets, or of those given.

    Symbols are few and some sets too small for them, so that they come again, and come too late.
    """
    readout, loss = draw(st.sampled_from(losses))
    text = draw(text_specs) if texts else None
    classes: tuple[str, ...] | Symbols | None = None
    if text is not None:
        classes = Symbols(bytes=True) if text.unit == "byte" else draw(symbol_sets)
    elif readout in ("softmax", "logistic"):
        closed = ("p", "q") if readout == "logistic" else tuple("pqr"[: draw(st.integers(2, 3))])
        classes = draw(symbol_sets) if readout == "softmax" and draw(st.booleans()) else closed
    known = "record" if texts else known or draw(st.sampled_from(("record", "forecast", "label")))
    cell = draw(st.sampled_from([cell for cell in cells if readout == "rls" or cell != "bank"]))
    exact = cell in EXACT_CELLS
    several = known == "forecast" and not classes
    horizon = draw(st.sampled_from((1, 2, 3, (2,), (1, 4)))) if several else 1
    furthest = max(horizon) if isinstance(horizon, tuple) else horizon
    k1 = draw(st.integers(1, 4))
    n_features = draw(st.integers(0, 3))
    labels: dict[str, Any] = {"event_field": "id", "label_field": "of"} if known == "label" else {}
    spec = LearnerSpec(
        n_features=n_features,
        target=TargetSpec(
            fields=("y",) if classes or draw(st.booleans()) else ("y", "z"),
            known=known,
            horizon=horizon,
            baseline=draw(st.sampled_from((None, "last", 2, 3))) if known == "forecast" and not classes else None,
            classes=classes,
            label_memory=draw(st.integers(1, 8)),
            **labels,
        ),
        indicator=tuple(draw(st.lists(st.booleans(), min_size=n_features, max_size=n_features))),
        missing=tuple(
            draw(st.lists(st.sampled_from(("mean", "last", 0.0, 1.0)), min_size=n_features, max_size=n_features))
        ),
        symbols=tuple(draw(st.lists(symbol_sets, max_size=2))),
        has_end=draw(st.booleans()),
        text=text,
        model=ModelSpec(
            cell=cell,
            gates=cell != "glru" or draw(st.booleans()),
            hidden_size=draw(st.integers(1, 5)),
            hidden_layer=draw(st.sampled_from((None, 0, 1, 4) if cell != "bank" else (0, 1, 3, 5))),
            num_layers=1 if exact else draw(st.integers(1, 3)),
            memory=draw(st.sampled_from((None, None, 2, 50))) if cell in ("glru", "elstm") else None,
            dtype=dtype,
            readout=readout,
            loss=loss,
            huber_delta=draw(st.sampled_from((0.3, 1.0))),
            quantiles=draw(st.sampled_from(((0.05, 0.5, 0.95), (0.2, 0.7)))),
            lags=draw(st.integers(0, 3)),
            rls_forgetting=draw(st.sampled_from((1.0, 0.9995, 0.9, 0.5))),
            rls_prior=draw(st.sampled_from((0.1, 1.0))),
        ),
        learning=draw(learnings(cell, k1, furthest if known == "forecast" else 0, optimizers)),
        streams=StreamSpec(
            max_streams=draw(st.sampled_from((1, 2, 4, 10))),
            protected_share=draw(st.sampled_from((0.8, 0.5, 0.0))),
            ttl_s=draw(st.sampled_from((None, TTL_S))),
            reset_after_s=draw(st.sampled_from((None, GAP_S))),
            max_time_jump_s=JUMP_S,
        ),
        inputs=InputSpec(dt=draw(st.booleans()), previous_target=text is not None or draw(st.booleans())),
    )
    if (n := draw(st.sampled_from((None, None, 3)))) is None:
        return spec
    return replace(spec, streams=replace(spec.streams, max_bytes=n * bytes_per_slot(spec) + 50))


@st.composite
def logs(draw: st.DrawFn, spec: LearnerSpec, max_size: int = 50, closings: bool = False) -> Block:
    """A log for ``spec``; labels come soon, late, twice, or for events that never were; tombstones, too.

    Sequences may be closed too, where the specification has ends; such records can only be given one by one.
    """
    closings = closings and spec.has_end
    by_label = spec.target.known == "label"
    keys, times, ends, kinds, events = [], [], [], [], []
    issued: dict[bytes, list[int]] = {key: [] for key in KEYS}
    time_ms = START_MS
    ordinary = st.sampled_from(STEPS_MS[:5])
    for number in range(1, draw(st.integers(1, max_size)) + 1):
        key = draw(st.sampled_from(KEYS[:2] if number % 2 else KEYS))
        time_ms += draw(st.one_of(ordinary, ordinary, ordinary, st.sampled_from(STEPS_MS)))
        if abs(time_ms - START_MS) > 10**7:
            times.append(time_ms)
            time_ms = START_MS
        else:
            times.append(time_ms)
        label = by_label and draw(st.integers(0, 2)) == 0
        keys.append(key)
        closing = closings and not label and draw(st.integers(0, 11)) == 0
        forgotten = not label and not closing and draw(st.integers(0, 14)) == 14
        kinds.append(CLOSE if closing else FORGET if forgotten else LABEL if label else EVENT)
        ends.append(kinds[-1] == EVENT and draw(st.integers(0, 7)) == 0)
        if label and issued[key]:
            events.append(issued[key][-1 - draw(st.integers(0, min(9, len(issued[key]) - 1)))])
        elif kinds[-1] != EVENT:
            events.append(draw(st.sampled_from((0, 10**6 + number))))
        else:
            issued[key].append(number)
            events.append(number)
    n = len(keys)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    x = rng.normal(3.0, 2.0, (n, spec.n_features))
    x[rng.random(x.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf, 1e4])
    indicator = np.array(spec.indicator, bool)
    x[:, indicator] = np.where(np.isnan(x[:, indicator]), np.nan, x[:, indicator] > 3)
    if spec.target.is_open or spec.text is not None:
        y = np.full((n, 1), np.nan)
    elif spec.n_classes:
        y = rng.integers(0, spec.n_classes, (n, 1)).astype(float)
    else:
        y = rng.normal(size=(n, spec.n_targets))
        if spec.learning.scale:
            y = 5.0 + 3.0 * (np.cumsum(y, axis=0) if draw(st.booleans()) else y)
            y[rng.random(y.shape) < draw(st.sampled_from((0.0, 0.05)))] += 200.0
    y[rng.random(y.shape) < draw(st.sampled_from((0.0, 0.2, 0.6)))] = np.nan
    if by_label:
        y[np.array(kinds) == EVENT] = np.nan
    return Block(
        keys=keys,
        time_ms=np.array(times, np.int64),
        x=x,
        y=y,
        end=np.array(ends, bool),
        kind=np.array(kinds, np.uint8),
        event=np.array(events, np.uint64),
        **symbolic_columns(spec, n, rng),
    )


def symbolic_columns(spec: LearnerSpec, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Symbols of n records, and their labels or texts where the specification has such."""
    text, labelled = spec.text, spec.target.is_open and spec.text is None
    return {
        "symbols": tuple(letters(rng, n, 0.1) for _ in spec.symbols),
        "labels": letters(rng, n, 0.1) if labelled else None,
        "texts": None if text is None else [units_of(text, rng) for _ in range(n)],
    }


def letters(rng: np.random.Generator, n: int, missing: float) -> list[str | None]:
    """So many symbols, None where one is missing."""
    places = np.minimum(rng.geometric(0.4, n), len(LETTERS)) - 1
    return [None if gone else LETTERS[k] for k, gone in zip(places, rng.random(n) < missing, strict=True)]


def units_of(text: TextSpec, rng: np.random.Generator) -> Units:
    """A short text, perhaps without any unit."""
    units = [unit for unit in letters(rng, int(rng.integers(0, 5)), 0.0) if unit]
    if text.unit == "word":
        return units
    return "".join(units).encode() if text.unit == "byte" else "".join(units)


def part(block: Block, start: int, stop: int) -> Block:
    """The records [start, stop) of a block."""
    return block.rows(slice(start, stop))


QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
"""Draws of whole logs are long, which Hypothesis would rather not have."""
MANY = settings(max_examples=10 if JIT_DISABLED else 60, deadline=None, suppress_health_check=QUIET)
FEWER = settings(max_examples=6 if JIT_DISABLED else 30, deadline=None, suppress_health_check=QUIET)
any_spec = st.sampled_from(("float32", "float64")).flatmap(specs)
