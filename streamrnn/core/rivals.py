"""Naive rivals, told apart from a model by one number: its *skill*, 1 - error / error of the rival.

Two of them say something of each target field, from what is known when the model predicts:

- *last*: the newest known value of the stream, whatever sequence it was in; before there is one, what is typical;
- *typical*: the mean of all values of the partition that are known so far; of classes the most frequent one, the
  first of those that are level.

Before any value of a field is known in the partition they say nothing of it (NaN), and nobody is held against them:
what was predicted then is wrong by as much as values lie from 0, which tells of where they lie and not of the model.

They are held against exactly the targets that the model's error is of, and learn one only after it was scored. Like
errors, they take values no further out than lags may be (``targets.within_reach``), or one absurd value would be all
that they ever say. A prediction whose target comes later is remembered with what they said beside it.

``recent_errors`` sums up errors per field and forgets: with each scored value of a field what was summed up of it
before counts 1 / ``MEMORY`` less. The partition's mean is taken and not the stream's, and nothing of it is forgotten,
because that is what ``streamrnn evaluate`` has as its running mean.
"""

from __future__ import annotations

import numpy as np

from streamrnn.core import classes, scaler
from streamrnn.core.arrays import F1, F2, Model, Plan, Scratch, Streams
from streamrnn.core.jit import internal, jit

LAST, TYPICAL = range(2)
MEMORY = 10_000.0
"""Scored values that skill is over, roughly."""
KEPT = 1.0 - 1.0 / MEMORY


@internal
def foretell(plan: Plan, model: Model, streams: Streams, slot: int, said: F2) -> None:
    """said (F, 2) = what the rivals say of the stream now, NaN = nothing; of classes their indices."""
    for f in range(plan.fields):
        typical = model.typical[f] if model.rival_count[f] > 0.0 else np.nan
        last = streams.last_known[slot, f]
        said[f, LAST] = typical if np.isnan(last) else last
        said[f, TYPICAL] = typical


@internal
def learn(plan: Plan, model: Model, streams: Streams, scratch: Scratch, slot: int) -> None:
    """The targets in ``scratch.reached`` are known now."""
    for f in range(plan.fields):
        y = scratch.reached[f]
        if np.isnan(y):
            continue
        streams.last_known[slot, f] = y
        model.rival_count[f] += 1.0
        if plan.classes > 0:
            count_class(model.class_counts, model.typical, int(classes.as_learned(plan, model, y)))
        else:
            model.typical[f] += (y - model.typical[f]) / model.rival_count[f]


@jit
def count_class(counts: F1, typical: F1, index: int) -> None:
    """One more of this class, which typical[0] becomes where it is now the most frequent."""
    counts[index] += 1.0
    most = int(typical[0])
    if counts[index] > counts[most] or (counts[index] == counts[most] and index < most):
        typical[0] = index


@jit
def class_error(said: float, y: float) -> float:
    """0 or 1 for right or wrong; NaN where nothing was said."""
    if np.isnan(said):
        return np.nan
    return 0.0 if said == y else 1.0


@jit
def sum_up(recent: F1, model_error: float, last_error: float, typical_error: float) -> None:
    """recent (3,) of one field takes in the errors of the model and of both rivals on one more value.

    None of them where one is no number: the rivals knew nothing yet, or of a forecast the model's share is not known.
    """
    if scaler.usable(model_error) and scaler.usable(last_error) and scaler.usable(typical_error):
        recent[0] = KEPT * recent[0] + model_error
        recent[1 + LAST] = KEPT * recent[1 + LAST] + last_error
        recent[1 + TYPICAL] = KEPT * recent[1 + TYPICAL] + typical_error
