"""The walk through a block of whole sequences in log order: predict, score, absorb, learn, one after the other.

As ``core.walk`` goes through single steps, and with the same promise: no arithmetic mixes two records of a block, so
how the log was cut into blocks cannot matter.

Per event that ends its sequence: its frames are standardised with the statistics before it; all steps are run by the
weights that predict, from the state the sequence began with; what is said is scored against the answer; only then do
frames and answer enter the statistics; and all of it is learned, by a run with the weights that are learned where these
are others. An event that is a chunk before the end brings frames, and where the network reads forwards what can be said
so far: from the carried state, which goes on from chunk to chunk with the weights of that time.

There is one call of the trunk for both runs, and one of all that is inlined into this loop: the kernel's code, and the
time to compile it, would double with a second.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from streamrnn.core import clearing, counts, kinds, scales
from streamrnn.core.arrays import I1, T1, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.entries import width
from streamrnn.core.jit import ZERO, internal
from streamrnn.core.sequences import carrying, inputs, learning, reasons, scoring, trunk
from streamrnn.core.sequences.arrays import AtWork, Network, SequencePlan, SequenceRecords, SequenceScratch
from streamrnn.core.sequences.kinds import LABELS
from streamrnn.core.sequences.scoring import NOT_KNOWN
from streamrnn.core.tables import reader

network_at = reader(Network)
GROUPS = (Plan, Hyper, SequencePlan, Model, Streams, Scratch, SequenceScratch, Network, Network)
"""What stands in a learner's table, one after the other; of the networks the one that is learned first."""
HYPER, SEQUENCE_PLAN, MODEL, STREAMS, SCRATCH, WORK, LEARNED, PREDICTING, _ = itertools.accumulate(map(width, GROUPS))
PREDICT, LEARN = range(2)
"""The two turns of a sequence."""


@internal
def walk(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, sample: T1, table: I1, records: SequenceRecords,
) -> None:  # fmt: skip
    """Process ``records`` in order; writes model, streams and the output columns of records.

    ``sample`` and ``table`` are what networks are read from.
    """
    for i in range(records.slot.shape[0]):
        start_record(model, streams, records, i)
        if records.kind[i] == kinds.FORGET:  # whose slot was just cleared, if it had one
            continue
        source = carrying.begin(plan, sequence, model, streams, records, i)
        go_through(plan, hyper, sequence, model, streams, scratch, work, sample, table, records, i, source)


@internal
def start_record(model: Model, streams: Streams, records: SequenceRecords, i: int) -> None:
    """Outputs of record i before anything is known of them; a slot that changes hands is cleared."""
    if records.out[i] >= 0:
        records.prediction[records.out[i], :] = np.nan
    records.n_said[i] = 0
    records.updates[i] = model.counters[counts.UPDATES]
    records.loss[i] = records.error[i] = records.grad_norm[i] = records.width[i] = np.nan
    records.rivals[i, 0] = records.rivals[i, 1] = np.nan
    records.rank[i, 0] = records.rank[i, 1] = np.nan
    records.wrong[i] = records.length[i] = np.nan
    records.reason[i] = reasons.NONE
    if records.fresh[i]:
        clearing.forget_stream(streams, records.slot[i])


@internal
def go_through(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, sample: T1, table: I1, records: SequenceRecords, i: int, source: int,
) -> None:  # fmt: skip
    """Record i from its frames to what is learned; ``source`` is the row of what came of its sequence before."""
    scales.measure(plan, hyper, model, streams, scratch, records.slot[i])
    at = read(plan, sequence, model, streams, scratch, work, network_at(sample, table, PREDICTING), records, i, source)
    loss = math.nan
    for turn in range(LEARN + 1 if at.event and at.whole and at.reason == reasons.NONE else LEARN):
        network = network_at(sample, table, PREDICTING if turn == PREDICT else LEARNED)
        fresh = turn == PREDICT or model.average.shape[0] > 0  # these weights have not run yet
        if fresh and at.steps > 0:
            carrying.load(sequence, streams, network, at)
            trunk.forward(network, at.steps)
        n = scoring.outputs_in_use(sequence, model)
        fresh = fresh or n > scoring.with_blank(sequence, at.used)  # nor have outputs been used that the answer brought
        if fresh and at.steps > 0 and at.whole:
            scoring.read_out(sequence, network, work, at.steps, n)
        if turn == PREDICT:
            say(plan, hyper, sequence, model, streams, scratch, work, network, records, at, n)
        if fresh and is_scored(plan, sequence, at):
            loss = learning.symbols_loss(sequence, network, work, at, n)
        if turn == PREDICT and at.event:
            learned = network_at(sample, table, LEARNED)
            score_and_absorb(plan, hyper, sequence, model, streams, scratch, work, learned, network, records, at, loss)
        if turn == LEARN:
            learn(plan, hyper, sequence, model, scratch, work, network, records, at, n, loss)
    if at.event and at.whole:
        carrying.end(sequence, model, streams, at)


@internal
def read(
    plan: Plan, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch, work: SequenceScratch,
    network: Network, records: SequenceRecords, i: int, source: int,
) -> AtWork:  # fmt: skip
    """The frames of record i, and where it is an event that ends its sequence its answer, are read."""
    slot, event = records.slot[i], records.kind[i] == kinds.EVENT
    whole = sequence.chunks == 0 or records.end[i]
    before, used = streams.frames[source], model.outputs_in_use[0]
    frames = before + records.first[i + 1] - records.first[i]
    steps, behind = inputs.read(plan, sequence, model, streams, scratch, network, records, i, source, whole)
    if whole and sequence.normalise == 1 and steps > 0:
        inputs.normalise(plan, sequence, scratch, work, network, steps, frames)
    elements, reason = ZERO + NOT_KNOWN, ZERO + reasons.NONE
    if event and sequence.kind == LABELS and sequence.chunks == 1:
        scoring.keep_labels(sequence, streams, records, i, before)
    if event and whole:
        elements = scoring.take_answer(plan, sequence, streams, work, records, i, used)
        reason = scoring.reason_of(sequence, work, steps, frames, elements)
        records.reason[i] = reason
        if reason >= reasons.EMPTY:
            model.counters[counts.UNLEARNED_SEQUENCES_EMPTY + reason - reasons.EMPTY] += 1
    return AtWork(i, slot, source, event, whole, before, frames, steps, behind, used, elements, reason)


@internal
def say(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, network: Network, records: SequenceRecords, at: AtWork, n: int,
) -> None:  # fmt: skip
    """What is predicted goes to records; where it is said element by element, each is scored at once."""
    scoring.begin(plan, sequence, model, streams, scratch, at.slot)
    rows = ZERO
    if not at.whole:
        if carrying.says_so_far(sequence):
            row = carrying.go_on(sequence, streams, network, at)
            rows = scoring.say_so_far(sequence, streams, network, work, records, at, row, n)
    else:
        carrying.set_aside(sequence, streams, network, at)
        if at.steps > 0:
            rows = scoring.say_whole(plan, sequence, network, work, records, at, n)
    scoring.say_each(plan, hyper, sequence, model, streams, scratch, work, records, at, rows, n)


@internal
def is_scored(plan: Plan, sequence: SequencePlan, at: AtWork) -> bool:
    """Whether there are symbols to hold an answer against."""
    known = at.steps > 0 and scoring.scored_elements(sequence, at) >= 0
    return known and scoring.says_symbols(plan, sequence)


@internal
def score_and_absorb(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, learned: Network, predicting: Network, records: SequenceRecords, at: AtWork, loss: float,
) -> None:  # fmt: skip
    """What follows what event ``at`` says: its score where the answer is known; then frames and answer are absorbed."""
    model.counters[counts.RECORDS_PREDICTED] += 1
    symbols = is_scored(plan, sequence, at)
    if symbols:
        scoring.score_symbols(work, scratch, records.n_said[at.i], at.elements)
    scoring.finish(model, streams, scratch, records, at.i, symbols, loss)
    inputs.absorb(plan, hyper, model, scratch, records, at.i, inputs.frames_read(sequence, at))
    if at.elements >= 0:
        scoring.teach_rivals(plan, sequence, model, streams, scratch, records, at)
        scoring.bring_into_use(plan, sequence, model, learned, predicting, records, work, at)
        scoring.absorb(plan, hyper, sequence, model, streams, scratch, work, records, at)


@internal
def learn(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, scratch: Scratch, work: SequenceScratch,
    network: Network, records: SequenceRecords, at: AtWork, n: int, loss: float,
) -> None:  # fmt: skip
    """Learn the sequence of record ``at``, if anything of its answer is to be learned."""
    if not scoring.says_symbols(plan, sequence):
        known = learning.known_elements(plan, sequence, scratch, work, at, n)
        if known == 0:
            return
        loss = learning.numbers_loss(plan, hyper, sequence, network, scratch, work, at, n, known)
    if learning.learn(plan, hyper, sequence, model, scratch, work, network, at, n, loss):
        records.grad_norm[at.i] = model.gauges[counts.GRAD_NORM]
