"""Specifications of learners of sequences, and logs that exercise them, drawn by Hypothesis or from a seed.

Networks and sequences are small, so that the naive learner can follow; every kind, cell and direction comes up.
In the logs frames are missing or absurd, sequences empty or too long, answers unknown, too long or impossible, streams
come back after a gap, are evicted or forgotten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrnn.core.kinds import EVENT, FORGET
from streamrnn.learner.block import Answers, Block, Frames
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from tests.support.logs import GAP_S, JUMP_S, KEYS, LETTERS, START_MS, STEPS_MS, TTL_S, letters

KINDS = ("label", "labels", "transcript", "sequence")
_NUMBERS = (("linear", "squared"), ("linear", "absolute"), ("linear", "huber"))
_CLASSES = (("softmax", "cross_entropy"),)
LOSSES = {
    "label": (*_NUMBERS, ("linear", "quantile"), *_CLASSES, ("logistic", "cross_entropy")),
    "labels": (*_NUMBERS, *_CLASSES, ("logistic", "cross_entropy")),
    "transcript": _CLASSES,
    "sequence": (*_NUMBERS, *_CLASSES),
}

Choose = Callable[[Sequence[Any]], Any]
"""One of several."""


def chooser(rng: np.random.Generator) -> Choose:
    """Chooses at random."""
    return lambda options: options[int(rng.integers(len(options)))]


@st.composite
def sequence_specs(draw: st.DrawFn, **given: Any) -> LearnerSpec:
    """As ``spec_of``."""
    return spec_of(lambda options: draw(st.sampled_from(options)), **given)


@st.composite
def sequence_logs(draw: st.DrawFn, spec: LearnerSpec, max_size: int = 25) -> Block:
    """As ``log_of``; which records come when can be shrunk, the numbers come from a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return log_of(spec, draw(st.integers(1, max_size)), lambda options: draw(st.sampled_from(options)), rng)


def spec_of(choose: Choose, kind: str | None = None, dtype: str = "float64", chunks: bool | None = None) -> LearnerSpec:
    """A small learner of any kind, cell, direction, loss and optimiser, or of those given."""
    kind = kind or choose(KINDS)
    readout, loss = choose(LOSSES[kind])
    both = choose((False, True))
    chunks = choose((False, False, True)) if chunks is None else chunks
    classes = classes_of(choose, readout, may_be_open=not (chunks and kind == "labels"))
    symbols = tuple(
        choose((Symbols(values=("p", "q", "r")), Symbols(open=True, max=2), Symbols(open=True, max=len(LETTERS))))
        for _ in range(choose((0, 0, 1, 2)))
    )
    layers = choose((1, 1, 2, 3))
    n_features = choose((0, 1, 2, 3))
    return LearnerSpec(
        n_features=n_features,
        target=TargetSpec(
            fields=("y", "z") if kind == "label" and not classes and choose((False, True)) else ("y",),
            kind=kind,
            classes=classes,
            max_symbols=choose((2, 4, 6)),
            horizon=choose((1, 2, 4)) if kind == "sequence" and not classes else 1,
        ),
        indicator=tuple(choose((False, False, True)) for _ in range(n_features)),
        missing=tuple(choose(("mean", "mean", "last", 0.0, 1.0)) for _ in range(n_features)),
        symbols=symbols,
        has_end=chunks,
        sequence=SequenceSpec(
            max_steps=choose((3, 5, 9)),
            stack=1 if symbols or kind == "labels" else choose((1, 1, 2, 3)),
            chunks=chunks,
            carry=not both and choose((False, True)),
            normalise=choose(("running", "sequence")) if both or not chunks else "running",
        ),
        model=ModelSpec(
            cell=choose(("rnn", "lstm", "gru")),
            hidden_size=choose((1, 2, 3, 5)),
            num_layers=layers,
            direction="both" if both else "forward",
            lookahead=choose((None, 0, 1, 2)) if both and layers == 1 else None,
            attention=choose((True, True, False)),
            beam=choose((1, 1, 2, 3)) if kind in ("transcript", "sequence") and classes else 1,
            dtype=dtype,
            readout=readout,
            loss=loss,
            huber_delta=choose((0.3, 1.0)),
            quantiles=choose(((0.05, 0.5, 0.95), (0.2, 0.7))),
        ),
        learning=learning_of(choose),
        streams=StreamSpec(
            max_streams=choose((1, 2, 4, 10)),
            protected_share=choose((0.8, 0.5, 0.0)),
            ttl_s=choose((None, TTL_S)),
            reset_after_s=choose((None, GAP_S)),
            max_time_jump_s=JUMP_S,
        ),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def classes_of(choose: Choose, readout: str, may_be_open: bool) -> tuple[str, ...] | Symbols | None:
    if readout == "linear":
        return None
    if readout == "logistic":
        return ("p", "q")
    opened = (Symbols(open=True, max=2), Symbols(open=True, max=len(LETTERS))) if may_be_open else ()
    return choose((("p", "q"), ("p", "q", "r"), *opened))


def learning_of(choose: Choose) -> LearningSpec:
    return LearningSpec(
        batch_size=choose((1, 1, 2, 3)),
        optimizer=choose(("sgd", "momentum", "rmsprop", "adam", "adamw")),
        lr=choose((0.003, 0.03)),
        schedule=choose(("constant", "constant", "inverse_sqrt", "exponential")),
        schedule_updates=choose((1, 5, 10_000)),
        schedule_least=choose((0.0, 0.3)),
        average=choose((None, None, 0.9, 0.3)),
        clip_norm=choose(("auto", None, 0.2, 1.0)),
        polyak_bound=choose((None, 1.0, 0.01)),
        scale=choose((True, True, False)),
        target_shrinkage=choose((10.0, 0.5, 200.0)),
    )


def log_of(spec: LearnerSpec, n: int, choose: Choose, rng: np.random.Generator) -> Block:
    """A log of n records for ``spec``."""
    assert spec.sequence is not None
    most = spec.sequence.max_frames
    keys, times, kinds, ends, lengths = [], [], [], [], []
    time_ms = START_MS
    for number in range(n):
        keys.append(choose(KEYS[:2] if number % 2 else KEYS))
        time_ms += choose(STEPS_MS[:5] if choose((True, True, True, False)) else STEPS_MS)
        times.append(time_ms)
        if abs(time_ms - START_MS) > 10**7:
            time_ms = START_MS
        kinds.append(FORGET if choose(range(15)) == 14 else EVENT)
        ends.append(not spec.has_end or choose((False, True)))
        lengths.append(choose((0, 1, 2, 3, 3, 4, 5, 6, most, most + 1)))
    bounds = np.cumsum([0, *lengths])
    answers = {} if spec.target.kind == "label" else {"answers": answers_of(spec, lengths, choose, rng)}
    return Block(
        keys=keys,
        time_ms=np.array(times, np.int64),
        x=np.zeros((n, 0)),
        y=label_targets(spec, n, choose, rng),
        end=np.array(ends, bool),
        kind=np.array(kinds, np.uint8),
        event=np.zeros(n, np.uint64),
        labels=letters(rng, n, 0.1) if spec.target.kind == "label" and spec.target.is_open else None,
        frames=Frames(bounds, frames_of(spec, bounds, rng), tuple(letters(rng, bounds[-1], 0.1) for _ in spec.symbols)),
        **answers,
    )


def frames_of(spec: LearnerSpec, bounds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames, some of them missing or absurd, or all those of a sequence missing."""
    x = rng.normal(3.0, 2.0, (int(bounds[-1]), spec.n_features))
    x[rng.random(x.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf, 1e4])
    for start, end in itertools.pairwise(bounds.tolist()):
        if rng.random() < 0.05:
            x[start:end] = np.nan
    indicator = np.array(spec.indicator, bool)
    x[:, indicator] = np.where(np.isnan(x[:, indicator]), np.nan, x[:, indicator] > 3)
    return x


def label_targets(spec: LearnerSpec, n: int, choose: Choose, rng: np.random.Generator) -> np.ndarray:
    """A label for each record, where that is what is predicted."""
    y = np.full((n, spec.n_targets), np.nan)
    if spec.target.kind == "label" and not spec.target.is_open:
        y[:] = elements(spec, n * spec.n_targets, choose, rng).reshape(y.shape)
    return y


def elements(spec: LearnerSpec, n: int, choose: Choose, rng: np.random.Generator) -> np.ndarray:
    """So many classes of a closed set, or numbers, some of them unknown."""
    if spec.target.classes is not None:
        end = int(spec.target.kind == "sequence")
        y = np.minimum(rng.geometric(0.5, n) - 1, spec.n_classes - 1 - end).astype(float)
    else:
        y = rng.normal(size=n)
        if spec.learning.scale:
            y = 5.0 + 3.0 * y
            y[rng.random(n) < choose((0.0, 0.0, 0.05))] += 200.0
    y[rng.random(n) < choose((0.0, 0.2, 0.6))] = np.nan
    return y


def answers_of(spec: LearnerSpec, lengths: list[int], choose: Choose, rng: np.random.Generator) -> Answers:
    """As many elements as frames, a transcript, or another sequence; of some records none is known."""
    target = spec.target
    known = [choose((True, True, True, True, False)) for _ in lengths]
    if target.kind == "labels":
        sizes = [n if k else 0 for n, k in zip(lengths, known, strict=True)]
    elif target.says_numbers:
        sizes = [target.horizon if k else 0 for k in known]
    else:
        sizes = [choose((0, 1, 1, 2, 2, 3, target.max_symbols, target.max_symbols + 1)) if k else 0 for k in known]
    total, missing = sum(sizes), 0.2 if target.kind == "labels" else 0.0
    value, labels = np.full(total, np.nan), None
    if target.is_open:
        labels = letters(rng, total, missing)
    else:
        value = elements(spec, total, choose, rng)
        if target.kind != "labels" and target.classes is not None:
            value = np.where(np.isnan(value), 0.0, value)
    return Answers(np.cumsum([0, *sizes]), value, np.array(known, bool), labels)


def without_gaps(spec: LearnerSpec) -> LearnerSpec:
    """The same where no stream leaves, by time or for room."""
    return replace(spec, streams=StreamSpec(max_streams=len(KEYS)))
