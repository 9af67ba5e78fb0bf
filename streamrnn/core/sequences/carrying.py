"""What a stream holds between two records: the state that goes on, and what came of a sequence that has not ended.

A sequence begins with zeros, or where states are carried with the final one of the stream's sequence before. One that
comes in chunks also keeps its frames (``inputs``), and where the network reads forwards what it comes to so far: the
state after its last whole step, of a single label the sum of the top layer's states, of a transcript what was said. An
event's chunk changes these; one that is only looked at is worked out in the row of ``Streams`` that is nobody's.
"""

from __future__ import annotations

from streamrnn.core import clearing, counts, kinds
from streamrnn.core.arrays import T3, Model, Plan, Streams
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import copy
from streamrnn.core.sequences import trunk
from streamrnn.core.sequences.arrays import AtWork, Network, SequencePlan, SequenceRecords
from streamrnn.core.sequences.kinds import LABEL, SEQUENCE


@internal
def blank_row(streams: Streams) -> int:
    """The row that stands for a stream never seen."""
    row: int = streams.steps.shape[0] - 2
    return row


@internal
def spare_row(streams: Streams) -> int:
    """The row that is nobody's."""
    row: int = streams.steps.shape[0] - 1
    return row


@internal
def begin(
    plan: Plan, sequence: SequencePlan, model: Model, streams: Streams, records: SequenceRecords, i: int
) -> int:  # fmt: skip
    """Record i comes to its stream; returns the row of what came of its sequence before.

    After a gap in time there is nothing: an event ends what was, unlearned, since its answer would have come with its
    last record.
    """
    slot: int = records.slot[i]
    time_ms, event = records.time_ms[i], records.kind[i] == kinds.EVENT
    open_ = streams.frames[slot] > 0 or streams.steps[slot] > 0
    gap = plan.reset_after_ms >= 0 and open_ and time_ms - streams.last_ms[slot] > plan.reset_after_ms
    if not event:
        return blank_row(streams) if gap else slot
    if gap:
        clearing.reset_sequence(streams, slot)
        model.counters[counts.SEQUENCES_ENDED] += 1
    # A record stamped in the past must not make the stream's next one look like one after a gap.
    streams.last_ms[slot] = max(streams.last_ms[slot], time_ms) if open_ and not gap else time_ms
    if sequence.chunks == 1 and sequence.carry == 1 and streams.frames[slot] == 0:
        copy_state(streams.first_state[slot, 0], streams.state[slot])
    return slot


@internal
def load(sequence: SequencePlan, streams: Streams, network: Network, at: AtWork) -> None:
    """The state before the steps that are run: of the whole sequence, or of what a chunk adds to it."""
    if sequence.directions == 2 or (at.whole and sequence.carry == 0):
        trunk.zero_state(network)
    elif at.whole and at.before > 0:
        trunk.load_state(network, streams.first_state[at.source, 0])
    else:
        trunk.load_state(network, streams.state[at.source])


@jit
def says_so_far(sequence: SequencePlan) -> bool:
    """Whether something is said of a sequence before its end."""
    return sequence.directions == 1 and sequence.kind != SEQUENCE and sequence.normalise == 0


@internal
def go_on(sequence: SequencePlan, streams: Streams, network: Network, at: AtWork) -> int:
    """A chunk's steps were run: what the sequence comes to so far goes on; returns its row."""
    row = at.slot if at.event else spare_row(streams)
    if row != at.source:
        copy_state(streams.state[row], streams.state[at.source])
        copy(streams.pooled[row], streams.pooled[at.source])
        copy(streams.said[row], streams.said[at.source])
        copy(streams.said_value[row], streams.said_value[at.source])
        streams.n_said[row], streams.newest_output[row] = streams.n_said[at.source], streams.newest_output[at.source]
    if at.steps > 0:
        trunk.keep_state(network, at.steps, streams.state[row])
    if sequence.kind == LABEL:
        for t in range(at.steps):
            for j in range(streams.pooled.shape[1]):
                streams.pooled[row, j] += network.encoded[t, j]
    return row


@internal
def set_aside(sequence: SequencePlan, streams: Streams, network: Network, at: AtWork) -> None:
    """The whole sequence was run by the weights that predict: its final state waits until the sequence is learned."""
    if sequence.carry == 1:
        copy_state(streams.state[spare_row(streams)], streams.state[at.slot])
        if at.steps > 0:
            trunk.keep_state(network, at.steps, streams.state[spare_row(streams)])


@internal
def end(sequence: SequencePlan, model: Model, streams: Streams, at: AtWork) -> None:
    """The sequence is over; where states are carried the stream's next one begins with its final one.

    To the stream it is one step then: ``steps`` tells how many sequences have led to the state it holds.
    """
    steps = streams.steps[at.slot] + (1 if at.steps > 0 else 0)
    clearing.reset_sequence(streams, at.slot)
    model.counters[counts.SEQUENCES_ENDED] += 1
    if sequence.carry == 1:
        copy_state(streams.state[at.slot], streams.state[spare_row(streams)])
        streams.steps[at.slot] = steps


@jit
def copy_state(target: T3, source: T3) -> None:
    """target (L, C, H) = source (L, C, H)."""
    for layer in range(target.shape[0]):
        for part in range(target.shape[1]):
            copy(target[layer, part], source[layer, part])
