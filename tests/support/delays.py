"""Events whose labels come late: as loops that call an estimator, and as the records of a daemon."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from river import evaluate, metrics

from streamrnn import (
    Block,
    Learner,
    RNNRegressor,
)
from streamrnn.learner.block import EVENT, LABEL

Row = dict[Any, Any]
Pair = tuple[Row, Any]
Delays = Callable[[int], int]
SMALL: dict[str, Any] = {"hidden_size": 6}
quiet = pytest.mark.filterwarnings("ignore::streamrnn.DelayedLabelsWarning")


def remembered(n: int, seed: int = 0) -> list[Pair]:
    """y = x + 2 x', where x' is that of the event before: only a state that saw it explains the label."""
    x = np.random.default_rng(seed).normal(size=n + 1).tolist()
    return [({"x": x[i + 1]}, x[i + 1] + 2.0 * x[i]) for i in range(n)]


def wave(n: int) -> list[Pair]:
    """A sine that only its own past explains."""
    return [({}, 10.0 * math.sin(i / 7.0)) for i in range(n)]


def always(delay: int) -> Delays:
    """The same delay for each event."""
    return lambda _: delay


def irregular(longest: int, seed: int = 0) -> Delays:
    """From 1 to ``longest``, the same for the same event."""
    return lambda i: random.Random(f"{seed} {i}").randint(1, longest)


def moments(n: int, delays: Delays) -> list[tuple[str, int]]:
    """What happens when: ("seen", i) and ("label", i); a label comes before the event that is ``delays(i)`` later."""
    due: dict[int, list[int]] = {}
    happened = []
    for i in range(n):
        happened += [("label", j) for j in due.pop(i, ())]
        happened.append(("seen", i))
        due.setdefault(i + delays(i), []).append(i)
    return happened + [("label", j) for _, late in sorted(due.items()) for j in late]


def served(model: Any, pairs: Sequence[Pair], delays: Delays, predict: str = "predict_one") -> list[Any]:
    """Predict every event as it comes, learn it when its label comes; what was predicted."""
    predictions = []
    for what, i in moments(len(pairs), delays):
        if what == "seen":
            predictions.append(getattr(model, predict)(pairs[i][0]))
        else:
            model.learn_one(*pairs[i])
    return predictions


def in_order(model: Any, pairs: Iterable[Pair], delay: int) -> list[float]:
    """The same as somebody writes it who has a queue."""
    waiting: deque[Pair] = deque()
    predictions = []
    for pair in pairs:
        if len(waiting) >= delay:
            model.learn_one(*waiting.popleft())
        predictions.append(model.predict_one(pair[0]))
        waiting.append(pair)
    return predictions


def as_records(learner: Learner, x: Sequence[Sequence[float]], y: Sequence[float], delays: Delays) -> list[float]:
    """The daemon's way: events, and labels that name them; what was predicted."""
    happened = moments(len(y), delays)
    kinds = [EVENT if what == "seen" else LABEL for what, _ in happened]
    block = Block.events(
        [b""] * len(happened),
        np.array([x[i] for _, i in happened], np.float64).reshape(len(happened), -1),
        np.array([[y[i]] if what == "label" else [np.nan] for what, i in happened]),
        kind=np.array(kinds, np.uint8),
        event=np.array([i + 1 for _, i in happened], np.uint64),
    )
    predictions = learner.process(block).value[:, 0]
    return [float(value) for value, kind in zip(predictions, kinds, strict=True) if kind == EVENT]


def mean_error(predictions: Sequence[float], pairs: Sequence[Pair]) -> float:
    """Mean absolute error."""
    return float(np.mean([abs(p - y) for p, (_, y) in zip(predictions, pairs, strict=True)]))


def named(pairs: list[Pair]) -> list[Pair]:
    """The same events, each with a name."""
    return [({**x, "event": f"no. {i}"}, y) for i, (x, y) in enumerate(pairs)]


def evaluated(model: Any, pairs: list[Pair], **when: Any) -> list[Any]:
    """What River's evaluation was told, in the order of the labels."""
    steps = evaluate.iter_progressive_val_score(pairs, model, metrics.MAE(), yield_predictions=True, **when)
    return [step["Prediction"] for step in steps]


def by_the_daemons_learner(pairs: list[Pair], delays: Delays) -> list[float]:
    """The same events and labels as records of a job with ``known: label``, read by a learner like the estimators'."""
    names = sorted(pairs[0][0])
    spec = RNNRegressor(**SMALL, features=names, delayed=True)._spec()
    learner = Learner(replace(spec, target=replace(spec.target, label_memory=500)), seed=0)
    return as_records(learner, [[x[name] for name in names] for x, _ in pairs], [y for _, y in pairs], delays)
