"""Within which bounds the numbers of a specification make sense together with everything else that a learner may be.

A single field's own range stands at the field, in ``spec``; here is what keeps several of them together within what
memory, milliseconds and the precision of numbers allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
UnitInterval = Annotated[float, Meta(gt=0, lt=1)]


LARGEST_ROOTS = 50_000_000
"""Numbers the RLS readout may keep in its square roots: 400 MB per partition."""

LARGEST_GROWTH = 345.0
"""Logarithm of the factor, 1e150, by which the RLS readout's variances may grow: squares of it are still numbers."""

LARGEST_TABLE = 50_000_000
"""Numbers of a table of all symbols by all steps, as transcripts and attention need: some 400 MB per partition."""

SIZE = (1, 1_000_000)
_SECONDS = (0.0, 1e12)
_FORGETTING = (0.0, 0.999_999)  # closer to 1 it would be 1 in single precision, and nothing would be forgotten
_REAL = (0.0, 1e30)
SOUND: Mapping[str, tuple[float, float]] = {
    "learning.k1": SIZE,
    "learning.k2": SIZE,
    "learning.batch_size": SIZE,
    "learning.lr": (0.0, 1_000.0),
    "learning.schedule_updates": (1, 10**15),
    "learning.clip_norm": _REAL,
    "learning.polyak_bound": _REAL,
    "learning.momentum": _FORGETTING,
    "learning.rmsprop_alpha": _FORGETTING,
    "learning.betas": _FORGETTING,
    "learning.eps": (1e-30, 1.0),  # where no gradient came yet, it is all that a step is divided by
    "learning.weight_decay": (0.0, 1_000.0),
    "learning.target_shrinkage": _REAL,
    "learning.scale_memory": (100, 10**15),
    "model.huber_delta": _REAL,
    "model.rls_prior": _REAL,
    "streams.ttl_s": _SECONDS,
    "streams.reset_after_s": _SECONDS,
    "streams.max_time_jump_s": _SECONDS,
    "target.horizon": SIZE,
    "target.label_memory": SIZE,
}
"""From where to where numbers make sense together with everything else that a learner may be: beyond, arrays have no
size, times no milliseconds, and weights end as infinite."""
