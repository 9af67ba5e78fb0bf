"""The arrays of a learner of whole sequences, or of steps that look ahead: the one function that Python calls.

As ``core.handle``, with an object file of its own: whoever learns single steps neither compiles nor loads it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamrnn.core.arrays import I1, T1, Array, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.compiled import kernels
from streamrnn.core.entries import width
from streamrnn.core.handle import hyper_at, model_at, plan_at, require_known_codes, scratch_at, streams_at
from streamrnn.core.jit import JIT_DISABLED, jit
from streamrnn.core.sequences import stepwise
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceRecords, SequenceScratch
from streamrnn.core.sequences.kinds import KINDS, STEP
from streamrnn.core.sequences.stepwise_arrays import StepRows, ToldSteps
from streamrnn.core.sequences.walk import (
    HYPER,
    LEARNED,
    MODEL,
    SCRATCH,
    SEQUENCE_PLAN,
    STREAMS,
    WORK,
    network_at,
    walk,
)
from streamrnn.core.tables import address_of, reader, table_of

sequence_plan_at, work_at, records_at = reader(SequencePlan), reader(SequenceScratch), reader(SequenceRecords)
rows_at, told_at = reader(StepRows), reader(ToldSteps)
TOLD = width(StepRows)


@jit
def process(sample: T1, learner: I1, records: I1) -> None:
    """Process the records of one table by the learner of the other; sample (0,) tells the model's precision."""
    if sequence_plan_at(sample, learner, SEQUENCE_PLAN).kind == STEP:
        process_steps(sample, learner, records)
    else:
        process_sequences(sample, learner, records)


@jit
def process_steps(sample: T1, learner: I1, records: I1) -> None:
    """``stepwise.walk`` over the arrays that two tables name."""
    stepwise.walk(
        plan_at(sample, learner, 0),
        hyper_at(sample, learner, HYPER),
        sequence_plan_at(sample, learner, SEQUENCE_PLAN),
        model_at(sample, learner, MODEL),
        streams_at(sample, learner, STREAMS),
        scratch_at(sample, learner, SCRATCH),
        work_at(sample, learner, WORK),
        network_at(sample, learner, LEARNED),
        rows_at(sample, records, 0),
        told_at(sample, records, TOLD),
    )


@jit
def process_sequences(sample: T1, learner: I1, records: I1) -> None:
    """``walk`` over the same."""
    walk(
        plan_at(sample, learner, 0),
        hyper_at(sample, learner, HYPER),
        sequence_plan_at(sample, learner, SEQUENCE_PLAN),
        model_at(sample, learner, MODEL),
        streams_at(sample, learner, STREAMS),
        scratch_at(sample, learner, SCRATCH),
        work_at(sample, learner, WORK),
        sample,
        learner,
        records_at(sample, records, 0),
    )


class SequenceHandle:
    """A learner's arrays behind one table, which it keeps alive. Raises ValueError for a code that no kernel knows."""

    def __init__(
        self, plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
        work: SequenceScratch, learned: Network, predicting: Network,
    ) -> None:  # fmt: skip
        require_known_codes(plan)
        if sequence.kind not in (*KINDS.values(), STEP):
            raise ValueError(f"sequence.kind is {sequence.kind}, which no kernel knows; expected one of {KINDS}")
        self._groups = (plan, hyper, sequence, model, streams, scratch, work, learned, predicting)
        self._sample = np.zeros(0, model.theta.dtype)
        self._table = table_of(*self._groups)
        self._address = address_of(self._table)
        self._process = None if JIT_DISABLED else kernels(str(model.theta.dtype), family="sequences").process

    def process(self, *records: SequenceRecords | StepRows | ToldSteps) -> None:
        """Process whole sequences, or the rows of steps, with room for what they lead to."""
        self.prepared(*records)()

    def prepared(self, *records: SequenceRecords | StepRows | ToldSteps) -> Callable[[], None]:
        """``process`` for these very arrays, to be called again and again with other contents; it keeps them alive."""
        rows, run = table_of(*records), self._process
        arguments = (self._address, len(self._table), address_of(rows), len(rows))

        def call(_alive: tuple[object, Array, object] = (self, rows, records)) -> None:
            if run is None:
                process(self._sample, self._table, rows)
            elif status := run(*arguments):
                raise RuntimeError(f"a kernel failed with status {status}")

        return call
