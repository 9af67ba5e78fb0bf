"""A learner's arrays, ready for the kernels: the one function that Python calls, and what it is called with.

``process`` is compiled once per precision for all learners, since its arguments are vectors whatever the network is
(see ``tables``). What runs is the object that was made of it (``compiled``), unless the kernels are interpreted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from streamrnn.core.arrays import I1, T1, Array, Hyper, Model, Plan, Records, Scratch, Streams
from streamrnn.core.compiled import kernels
from streamrnn.core.entries import width
from streamrnn.core.jit import JIT_DISABLED, jit
from streamrnn.core.kinds import KNOWN, RULES
from streamrnn.core.losses import CROSS_ENTROPIES, REGRESSION_LOSSES
from streamrnn.core.optim import OPTIMIZERS
from streamrnn.core.schedules import SCHEDULES
from streamrnn.core.tables import address_of, reader, table_of
from streamrnn.core.walk import walk

plan_at, hyper_at, model_at = reader(Plan), reader(Hyper), reader(Model)
streams_at, scratch_at, records_at = reader(Streams), reader(Scratch), reader(Records)
HYPER, MODEL, STREAMS, SCRATCH = itertools.accumulate(map(width, (Plan, Hyper, Model, Streams)))


CODES = {
    "loss": {**REGRESSION_LOSSES, **CROSS_ENTROPIES},
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "rule": RULES,
    "known": KNOWN,
}
"""The numbers of a plan that choose between cases, and the tables they come from."""


@jit
def process(sample: T1, learner: I1, records: I1) -> None:
    """``walk`` over the arrays that two tables name; sample (0,) tells the model's precision."""
    walk(
        plan_at(sample, learner, 0),
        hyper_at(sample, learner, HYPER),
        model_at(sample, learner, MODEL),
        streams_at(sample, learner, STREAMS),
        scratch_at(sample, learner, SCRATCH),
        records_at(sample, records, 0),
    )


class Handle:
    """A learner's arrays behind one table, which it keeps alive. Raises ValueError for a code that no kernel knows."""

    def __init__(self, plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch) -> None:
        require_known_codes(plan)
        self._groups = (plan, hyper, model, streams, scratch)
        self._sample = np.zeros(0, model.theta.dtype)
        self._table = table_of(*self._groups)
        self._address = address_of(self._table)
        self._process = None if JIT_DISABLED else kernels(str(model.theta.dtype)).process

    def process(self, records: Records) -> None:
        """Process records."""
        self.prepared(records)()

    def prepared(self, records: Records) -> Callable[[], None]:
        """``process`` for these very arrays, to be called again and again with other contents; it keeps them alive."""
        rows, run = table_of(records), self._process
        arguments = (self._address, len(self._table), address_of(rows), len(rows))

        def call(_alive: tuple[Handle, Array, Records] = (self, rows, records)) -> None:
            if run is None:
                process(self._sample, self._table, rows)
            elif status := run(*arguments):
                raise RuntimeError(f"a kernel failed with status {status}")

        return call


def require_known_codes(plan: Plan) -> None:
    """Raise ValueError for a code that is in no table.

    Kernels cannot raise: with an unknown code they would quietly run the last of their cases, or none.
    """
    for field, table in CODES.items():
        if (code := getattr(plan, field)) not in table.values():
            raise ValueError(f"plan.{field} is {code}, which no kernel knows; expected one of {table}")
