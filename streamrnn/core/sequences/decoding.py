"""What a decoder says when nobody tells it the truth: each of its words is shown to its next step.

Greedy says the likeliest symbol at each step. A beam keeps several beginnings: at each step the likeliest ones among
all continuations of all of them, as many as the beam has room for. One that ends takes its place for good, so that the
beam narrows until nothing is left; of all that ended, or were as long as allowed, that one is said whose logarithm of
the probability, divided by its symbols, the end counted, is the highest (Sutskever et al. 2014; the division is Wu et
al.'s 2016 with an exponent of one). Where two are equal, the lower number, of the likelier beginning, comes first.

What is said goes to ``scratch.said`` and, with the probability of each symbol, or the number itself, to
``scratch.said_value``, without the end; where each step looked is in ``scratch.weights``. Letters as in ``decoder``.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core import losses
from streamrnn.core.arrays import F1, T1
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import copy
from streamrnn.core.sequences import decoder
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.trunk import layer_at

PARENT, SYMBOL = 0, 1
"""Columns of ``scratch.beam_numbers``: the beginning that is continued, and what by. The one column of
``scratch.beam_scores`` is the logarithm of the probability. Beginnings and continuations change halves of the rows."""


@jit
def say(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, used: int) -> int:
    """Say symbols, by a beam where the plan has one, or numbers; returns how many were said."""
    if plan.beam > 1 and plan.end >= 0:
        return beam(plan, network, scratch, T, used, plan.beam)
    return greedy(plan, network, scratch, T, used)


@internal
def greedy(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, used: int) -> int:
    """Say the likeliest symbol at each step, until that is the end; or as many numbers as the horizon has.

    Numbers are standardised. Of several quantiles the middle one is said, and shown to the next step.
    """
    decoder.start(plan, network, T)
    decoder.show_first(plan, network)
    for t in range(plan.max_symbols):
        decoder.step(plan, network, scratch, T, t, used)
        if plan.end < 0:
            number = scratch.logits[t, used // 2]
            scratch.said[t] = 0
            scratch.said_value[t] = np.float64(number)
            network.inputs[0, 0] = number
        else:
            symbol = likeliest(scratch.logits[t][:used])
            if symbol == plan.end:
                return t
            note(scratch, t, symbol, used)
            network.before[0, 0] = symbol
    return plan.max_symbols


@internal
def note(scratch: SequenceScratch, t: int, symbol: int, used: int) -> None:
    """This symbol is what is said at step t, whose logits are known."""
    probabilities = scratch.log_probabilities[0][:used]
    losses.publish(losses.SOFTMAX, scratch.logits[t][:used], probabilities)
    scratch.said[t] = symbol
    scratch.said_value[t] = probabilities[symbol]


@jit
def beam(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, used: int, width: int) -> int:
    """Say the best of what a beam of this width finds; returns how many symbols were said."""
    begin(plan, network, scratch, T)
    now, live, room, best, said = ZERO, ZERO + 1, width, -math.inf, ZERO
    for t in range(plan.max_symbols):
        then = width - now
        found = continuations(plan, network, scratch, T, used, now, live, then, room)
        live = ZERO
        for rank in range(found):  # survivors move up, over those of a better rank that ended
            parent, symbol = scratch.beam_numbers[then + rank, PARENT], scratch.beam_numbers[then + rank, SYMBOL]
            score = scratch.beam_scores[then + rank, 0]
            if symbol == plan.end:
                room -= 1
                if score / (t + 1) > best:
                    best, said = score / (t + 1), t
                    keep(scratch, now + parent, t)
            else:
                adopt(scratch, now + parent, then + live, symbol, score, t)
                live += 1
        now = then
        if live == 0:
            break
    for rank in range(live):  # these were cut short
        score = scratch.beam_scores[now + rank, 0] / plan.max_symbols
        if score > best:
            best, said = score, plan.max_symbols
            keep(scratch, now + rank, plan.max_symbols)
    weigh(plan, network, scratch, T, said, used)
    return said


@internal
def begin(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int) -> None:
    """The beam's first row is the empty beginning."""
    decoder.start(plan, network, T)
    put_states(network, scratch, ZERO)
    scratch.beam_scores[0, 0] = 0.0
    scratch.beam_numbers[0, SYMBOL] = plan.end


@internal
def continuations(
    plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, used: int, now: int, live: int, then: int,
    room: int,
) -> int:  # fmt: skip
    """The ``room`` likeliest continuations of the beginnings in the rows from ``now`` on, likeliest first.

    They go to the rows from ``then`` on, and the states of the beginnings one step on; returns how many were found.
    """
    found, scores = ZERO, scratch.log_probabilities[0][:used]
    for parent in range(live):
        take_states(network, scratch, now + parent)
        network.before[0, 0] = scratch.beam_numbers[now + parent, SYMBOL]
        decoder.step(plan, network, scratch, T, ZERO, used)
        put_states(network, scratch, now + parent)
        log_softmax(scratch.logits[0][:used], scores)
        for symbol in range(used):
            score = scratch.beam_scores[now + parent, 0] + scores[symbol]
            if found < room or score > scratch.beam_scores[then + room - 1, 0]:
                found = min(found + 1, room)
                insert(scratch, then, found, parent, symbol, score)
    return found


@internal
def insert(scratch: SequenceScratch, first: int, found: int, parent: int, symbol: int, score: float) -> None:
    """A continuation takes its rank among those before it; the last of ``found`` is overwritten."""
    row = first + found - 1
    while row > first and score > scratch.beam_scores[row - 1, 0]:
        scratch.beam_scores[row, 0] = scratch.beam_scores[row - 1, 0]
        scratch.beam_numbers[row, PARENT] = scratch.beam_numbers[row - 1, PARENT]
        scratch.beam_numbers[row, SYMBOL] = scratch.beam_numbers[row - 1, SYMBOL]
        row -= 1
    scratch.beam_scores[row, 0] = score
    scratch.beam_numbers[row, PARENT] = parent
    scratch.beam_numbers[row, SYMBOL] = symbol


@internal
def adopt(scratch: SequenceScratch, parent: int, row: int, symbol: int, score: float, t: int) -> None:
    """A row becomes what another one, of t symbols, is continued to."""
    for k in range(t):
        scratch.beam_symbols[row, k] = scratch.beam_symbols[parent, k]
    scratch.beam_symbols[row, t] = symbol
    scratch.beam_numbers[row, SYMBOL] = symbol
    scratch.beam_scores[row, 0] = score
    for k in range(scratch.beam_states.shape[1]):
        copy(scratch.beam_states[row, k], scratch.beam_states[parent, k])


@internal
def keep(scratch: SequenceScratch, row: int, n: int) -> None:
    """The n symbols of a row are the best so far."""
    for k in range(n):
        scratch.said[k] = scratch.beam_symbols[row, k]


@internal
def weigh(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, n: int, used: int) -> None:
    """Go through the n symbols that are said once more: how likely was each, and where did the decoder look?"""
    decoder.start(plan, network, T)
    decoder.show_symbols(plan, network, scratch.said, n)
    decoder.forward(plan, network, scratch, T, n, used)
    for t in range(n):
        note(scratch, t, scratch.said[t], used)


@internal
def put_states(network: Network, scratch: SequenceScratch, row: int) -> None:
    """The state at place 0 of the decoder's layers goes to a row of the beam."""
    place = ZERO
    for k in range(network.decoder.shape[0]):
        state = layer_at(network.x, network.decoder[k], 0).state
        for c in range(state.shape[0]):
            copy(scratch.beam_states[row, place], state[c, 0])
            place += 1


@internal
def take_states(network: Network, scratch: SequenceScratch, row: int) -> None:
    """And back."""
    place = ZERO
    for k in range(network.decoder.shape[0]):
        state = layer_at(network.x, network.decoder[k], 0).state
        for c in range(state.shape[0]):
            copy(state[c, 0], scratch.beam_states[row, place])
            place += 1


@jit
def likeliest(raw: T1) -> int:
    """The index of the largest of raw (O,); of equal ones the first."""
    best = ZERO
    for o in range(1, raw.shape[0]):
        if raw[o] > raw[best]:
            best = ZERO + o
    return best


@jit
def log_softmax(raw: T1, out: F1) -> None:
    """out (O,) = the logarithms of the softmax of raw (O,)."""
    losses.publish(losses.SOFTMAX, raw, out)
    highest = ZERO + likeliest(raw)
    shift = math.log(out[highest]) - np.float64(raw[highest])  # that of the largest is between -log O and 0
    for o in range(raw.shape[0]):
        out[o] = np.float64(raw[o]) + shift
