"""What is said of a sequence, and what that is worth once the answer is looked at: loss, error, and their running sums.

One label, a label for each step, and numbers are said and scored one by one, as a record of single steps is
(``core.scoring``). A transcript and a sequence of symbols are decoded; their error is the edit distance to the truth
for each of its symbols, and their loss the one that is learned, by the weights that predict.

Of an open set of classes, one that was not in use before the record is "other" wherever it stands in it: more could not
have been said of it. Naive rivals say something of a single label alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core import classes, counts, losses, rivals, scaler, scales, surprise, targets
from streamrnn.core.arrays import F1, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import copy
from streamrnn.core.scoring import ERROR, N, report, score
from streamrnn.core.sequences import beam, best_path, ctc, decoding, edit_distance, heads, reasons
from streamrnn.core.sequences.arrays import AtWork, Network, SequencePlan, SequenceRecords, SequenceScratch
from streamrnn.core.sequences.kinds import BLANK, LABEL, LABELS, SEQUENCE, TRANSCRIPT
from streamrnn.core.walk import unscale

NOT_KNOWN = -1
"""Elements of an answer that nobody gave."""


@jit
def says_symbols(plan: Plan, sequence: SequencePlan) -> bool:
    """Whether symbols are said that stand at no step."""
    return sequence.kind == TRANSCRIPT or (sequence.kind == SEQUENCE and plan.classes > 0)


@internal
def outputs_in_use(sequence: SequencePlan, model: Model) -> int:
    """How many outputs are in use, the blank among them."""
    return with_blank(sequence, model.outputs_in_use[0])


@jit
def with_blank(sequence: SequencePlan, n_classes: int) -> int:
    """Outputs of so many classes."""
    return n_classes + (1 if sequence.kind == TRANSCRIPT else 0)


# -- the answer -------------------------------------------------------------------------------------------------------


@internal
def take_answer(
    plan: Plan, sequence: SequencePlan, streams: Streams, work: SequenceScratch, records: SequenceRecords, i: int,
    used: int,
) -> int:  # fmt: skip
    """Record i, an event, ends its sequence: its answer goes to ``work.answer``; returns the number of its elements.

    And to ``work.symbols`` as it is learned, where symbols are said: ``used`` classes are in use. ``NOT_KNOWN`` where
    there is none. Of an answer that is too long as much as there is room for.
    """
    slot, first = records.slot[i], records.first_answer[i]
    if sequence.kind == LABEL:
        return ZERO + 1 if losses.any_known(records.y[i]) else ZERO + NOT_KNOWN
    count = records.first_answer[i + 1] - first
    if sequence.kind == LABELS:
        count = min(count, sequence.max_steps)
    if sequence.kind == LABELS and sequence.chunks == 1:
        count = min(streams.frames[slot], sequence.max_steps)
        copy(work.answer[:count], streams.frame_y[slot])
    elif not records.known[i]:
        return ZERO + NOT_KNOWN
    else:
        copy(work.answer[: min(count, work.answer.shape[0])], records.answer[first:])
    if says_symbols(plan, sequence):
        return take_symbols(plan, sequence, work, records, i, used)
    known = False
    for k in range(min(count, work.answer.shape[0])):
        known = known or scaler.usable(work.answer[k])
    return count if known else ZERO + NOT_KNOWN


@internal
def take_symbols(
    plan: Plan, sequence: SequencePlan, work: SequenceScratch, records: SequenceRecords, i: int, used: int
) -> int:
    """The same of symbols, of which one that is unknown leaves all in the dark."""
    first, end = records.first_answer[i], records.first_answer[i + 1]
    known = True
    for k in range(first, end):
        known = known and scaler.usable(records.answer[k])
    for k in range(min(end - first, sequence.max_symbols) if known else ZERO):
        work.symbols[k] = int(as_learned(plan, work.answer[k], used))
    return end - first if known else ZERO + NOT_KNOWN


@internal
def keep_labels(sequence: SequencePlan, streams: Streams, records: SequenceRecords, i: int, before: int) -> None:
    """Of an event that is a chunk with a label for each frame, ``before`` of which came earlier: they stay as well."""
    slot, first = records.slot[i], records.first_answer[i]
    for f in range(min(records.first[i + 1] - records.first[i], sequence.max_steps - before)):
        known = records.known[i] and first + f < records.first_answer[i + 1]
        streams.frame_y[slot, before + f] = records.answer[first + f] if known else np.nan


@jit
def as_learned(plan: Plan, y: float, used: int) -> float:
    """The class that y is scored and learned as, where so many were in use before the record."""
    return 0.0 if plan.open_classes == 1 and y >= used else y


@internal
def reason_of(sequence: SequencePlan, work: SequenceScratch, steps: int, frames: int, elements: int) -> int:
    """Why nothing will be learned, the first that holds; ``frames`` counts those that were not read, too."""
    if elements == NOT_KNOWN:
        return reasons.UNKNOWN
    if steps == 0:
        return reasons.EMPTY
    if frames > sequence.max_steps * sequence.stack:
        return reasons.TOO_LONG
    if sequence.kind >= TRANSCRIPT and elements > sequence.max_symbols:
        return reasons.TOO_MANY
    if sequence.kind == TRANSCRIPT and steps < ctc.steps_needed(work.symbols[:elements]):
        return reasons.IMPOSSIBLE
    return reasons.NONE


@jit
def scored_elements(sequence: SequencePlan, at: AtWork) -> int:
    """How many elements of the answer are held against what is said; ``NOT_KNOWN`` = it is not, or is too long."""
    return NOT_KNOWN if sequence.kind >= TRANSCRIPT and at.elements > sequence.max_symbols else at.elements


# -- saying -----------------------------------------------------------------------------------------------------------


@internal
def read_out(sequence: SequencePlan, network: Network, work: SequenceScratch, steps: int, n: int) -> None:
    """Raw outputs of the first n, from what the trunk says of the steps; a decoder has its own way."""
    if sequence.kind == LABEL:
        heads.label_forward(network, work, steps, n)
    elif sequence.kind != SEQUENCE:
        heads.steps_forward(network, work, steps, n)
    if sequence.kind == TRANSCRIPT:
        ctc.log_softmax(work.logits[:steps], n, work.log_probabilities)


@internal
def say_whole(
    plan: Plan, sequence: SequencePlan, network: Network, work: SequenceScratch, records: SequenceRecords,
    at: AtWork, n: int,
) -> int:  # fmt: skip
    """Say symbols of the whole sequence; elsewhere return the rows of ``work.logits`` that say something."""
    if sequence.kind == SEQUENCE:
        said = decoding.say(sequence, network, work, at.steps, n)
    elif sequence.kind == TRANSCRIPT:
        said = decode(sequence, work, at.steps, n)
    else:
        return ZERO + 1 if sequence.kind == LABEL else at.steps
    if plan.classes == 0:
        return said
    first = records.first_said[at.i]
    records.n_said[at.i] = said
    copy(records.said[first : first + said], work.said)
    copy(records.said_value[first : first + said], work.said_value)
    return ZERO


@internal
def decode(sequence: SequencePlan, work: SequenceScratch, steps: int, n: int) -> int:
    """Say a transcript; returns the number of its symbols."""
    said, value = work.said[: sequence.max_symbols], work.said_value[: sequence.max_symbols]
    if sequence.beam > 1:
        return beam.decode(
            work.log_probabilities[:steps], n, work.alpha, work.beam_scores, work.beam_symbols, work.beam_numbers, said,
            value,
        )  # fmt: skip
    count, _ = best_path.decode(work.logits[:steps], n, ZERO + BLANK, ZERO, said, value)
    return count


@internal
def say_so_far(
    sequence: SequencePlan, streams: Streams, network: Network, work: SequenceScratch, records: SequenceRecords,
    at: AtWork, row: int, n: int,
) -> int:  # fmt: skip
    """As ``say_whole``, of a sequence that is not at its end; what came of it is in the ``row`` of its stream."""
    if sequence.kind == LABEL:
        return pool_so_far(streams, network, work, row, at.behind + at.steps, n)
    heads.steps_forward(network, work, at.steps, n)
    if sequence.kind == LABELS:
        return at.steps
    said, value = streams.said[row][: sequence.max_symbols], streams.said_value[row][: sequence.max_symbols]
    count, newest = best_path.decode(
        work.logits[: at.steps], n, streams.newest_output[row], streams.n_said[row], said, value
    )
    streams.n_said[row], streams.newest_output[row], records.n_said[at.i] = count, newest, count
    first = records.first_said[at.i]
    copy(records.said[first : first + count], said)
    copy(records.said_value[first : first + count], value)
    return ZERO


@internal
def pool_so_far(streams: Streams, network: Network, work: SequenceScratch, row: int, steps: int, n: int) -> int:
    """The raw outputs of one label after so many steps; returns the rows that say something: none before the first."""
    if steps == 0:
        return ZERO
    H, last = streams.state.shape[3], streams.state[row, streams.state.shape[1] - 1, 0]
    for j in range(H):
        work.pooled[j] = work.pooled.dtype.type(streams.pooled[row, j] / steps)
        work.pooled[H + j] = last[j]
    heads.label_raw(network, work, n)
    return ZERO + 1


@internal
def say_each(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, records: SequenceRecords, at: AtWork, rows: int, n: int,
) -> None:  # fmt: skip
    """What each row of ``work.logits`` stands for: one label, a label for each step, or a number.

    Each that has an element of the answer beside it is scored.
    """
    first, scored = records.first_said[at.i], scored_elements(sequence, at)
    for r in range(rows):
        losses.publish(plan.loss, work.logits[r][:n], scratch.prediction[:n])
        scratch.prediction[n:] = 0.0
        if plan.classes == 0:
            unscale(plan, hyper, model, streams, scratch, at.slot, at.source)
        if sequence.kind != LABEL:
            records.said[first + r], records.said_value[first + r] = said_as(plan, scratch.prediction)
        elif records.out[at.i] >= 0:
            copy(records.prediction[records.out[at.i]], scratch.prediction)
        if r < scored:
            score_one(plan, hyper, sequence, model, streams, scratch, work, records, at.i, r)
    if sequence.kind != LABEL and rows > 0:
        records.n_said[at.i] = rows


@jit
def said_as(plan: Plan, prediction: F1) -> tuple[int, float]:
    """The class that is said, and its probability; 0 and the number, in the middle of several quantiles."""
    if plan.classes == 0:
        return ZERO, prediction[prediction.shape[0] // 2]
    if plan.loss == losses.LOGISTIC:
        return (ZERO + 1, prediction[0]) if prediction[0] > 0.5 else (ZERO, 1.0 - prediction[0])
    best = int(np.argmax(prediction))
    return best, prediction[best]


# -- scoring ----------------------------------------------------------------------------------------------------------


@internal
def begin(plan: Plan, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch, slot: int) -> None:
    """Nothing is scored yet."""
    for k in range(scratch.scored.shape[0]):
        scratch.scored[k] = 0.0
    if sequence.kind == LABEL:
        rivals.foretell(plan, model, streams, slot, scratch.rivals)
    else:
        scratch.rivals[:] = np.nan


@internal
def score_one(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, records: SequenceRecords, i: int, r: int,
) -> None:  # fmt: skip
    """Compare the prediction in scratch with element r of the answer."""
    slot = records.slot[i]
    y = records.y[i] if sequence.kind == LABEL else work.answer[r : r + 1]
    targets.reach(plan, model, scratch, y)
    score(plan, hyper, model, streams, scratch, slot, scratch.prediction, scratch.rivals, y, ZERO)


@internal
def score_symbols(work: SequenceScratch, scratch: Scratch, said: int, elements: int) -> None:
    """Compare the symbols said with the answer as it is learned."""
    scratch.scored[N] = elements
    scratch.scored[ERROR] = edit_distance.distance(work.said[:said], work.symbols[:elements], work.distances)


@internal
def finish(model: Model, streams: Streams, scratch: Scratch, records: Any, i: int, symbols: bool, loss: float) -> None:
    """Note what record i let us score. Of ``symbols`` the answer may be empty, and the loss no number."""
    n, wrong = scratch.scored[N], scratch.scored[ERROR]
    if symbols:
        records.wrong[i], records.length[i] = wrong, n
        records.loss[i] = loss if math.isfinite(loss) else np.nan
        records.error[i] = wrong / max(1.0, n)
        model.gauges[counts.SCORED] += n
        model.gauges[counts.ERROR_SUM] += wrong
        if math.isfinite(loss):
            model.gauges[counts.LOSS_SUM] += loss * n
        surprise.note(model, streams, scratch, records, i, True)
    elif n > 0.0:
        records.wrong[i], records.length[i] = wrong, n
        report(model, streams, scratch, records, i, True)


# -- absorbing --------------------------------------------------------------------------------------------------------


@internal
def absorb(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, records: SequenceRecords, at: AtWork,
) -> None:  # fmt: skip
    """The answer enters the statistics, and is brought to what is learned: ``scratch.targets`` or ``work.targets``.

    Numbers all of them first: they are standardised by the same centre and width.
    """
    i, slot, rows = at.i, at.slot, min(at.elements, work.targets.shape[0])
    for r in range(rows):
        y = records.y[i] if sequence.kind == LABEL else work.answer[r : r + 1]
        absorb_one(plan, hyper, model, streams, scratch, slot, y, at.used)
        if sequence.kind != LABEL:
            work.answer[r] = scratch.counted[0]
    for r in range(rows):
        for f in range(plan.fields):
            centre, width = scales.column_scale(plan, hyper, model, streams, scratch, slot, f)
            if sequence.kind == LABEL:
                scratch.targets[0, f] = (scratch.counted[f] - centre) / width
            else:
                work.targets[r, 0] = (work.answer[r] - centre) / width


@internal
def absorb_one(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, y: F1, used: int
) -> None:
    """The targets y (F,); ``scratch.counted`` is as what each is learned, NaN = it is not."""
    if plan.classes > 0:
        scratch.counted[0] = as_learned(plan, y[0], used)
        return
    targets.absorb(plan, hyper, model, streams, scratch, slot, y)
    for f in range(plan.fields):
        if not scaler.usable(y[f]) or not targets.is_learnable(plan, model, streams, slot, scratch.scaling, f):
            scratch.counted[f] = np.nan


@internal
def teach_rivals(
    plan: Plan, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch, records: SequenceRecords,
    at: AtWork,
) -> None:  # fmt: skip
    """The rivals learn one label, held against what was known before it."""
    if sequence.kind == LABEL:
        targets.reach(plan, model, scratch, records.y[at.i])
        rivals.learn(plan, model, streams, scratch, at.slot)


@internal
def bring_into_use(
    plan: Plan, sequence: SequencePlan, model: Model, learned: Network, predicting: Network,
    records: SequenceRecords, work: SequenceScratch, at: AtWork,
) -> None:  # fmt: skip
    """Classes of an open set that the answer brings are in use from now on; to be asked before ``absorb``.

    In both sets of weights, which may be the same, with the lowest bias of those that are in use, the blank included.
    """
    newest = -1.0
    if sequence.kind == LABEL:
        newest = records.y[at.i, 0]
    elif sequence.kind == LABELS:
        for k in range(at.elements):
            if work.answer[k] > newest:
                newest = work.answer[k]
    else:
        for k in range(records.first_answer[at.i], records.first_answer[at.i + 1]):
            newest = max(newest, records.answer[k])
    if plan.open_classes == 1 and newest >= at.used:
        before, n = with_blank(sequence, at.used), with_blank(sequence, int(newest) + 1)
        classes.begin_lowest(learned.head_b, before, n)
        classes.begin_lowest(predicting.head_b, before, n)
        model.outputs_in_use[0] = int(newest) + 1
