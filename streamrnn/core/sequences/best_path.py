"""The greedy transcript of a sequence: the most probable path, merged and without its blanks.

At each step the most probable output is taken, the lower one where two are level; a run of the same output is one
symbol, and blanks are none. The probability that goes with a symbol is the highest one that a step of its run gives it.

The same function serves chunks: it goes on from the newest output of the chunk before, so that chunks say together what
the whole sequence says, in symbols and in probabilities. A path begins as if a blank had come before it.
"""

from __future__ import annotations

from streamrnn.core.activations import exponential
from streamrnn.core.arrays import F1, I1, T1, T2
from streamrnn.core.jit import jit
from streamrnn.core.losses import largest
from streamrnn.core.sequences.kinds import BLANK


@jit
def decode(logits: T2, n: int, newest: int, n_said: int, said: I1, said_value: F1) -> tuple[int, int]:
    """Add what logits (T, O), of which the first n are in use, say to the n_said symbols that are said already.

    said (room,) are numbers of classes, said_value (room,) their probabilities; symbols beyond that room are dropped.
    ``newest`` is the output of the step before the first, ``BLANK`` where there is none or it was dropped.
    Returns how many symbols are said now, and the newest output.
    """
    for t in range(logits.shape[0]):
        n_said, newest = step(logits[t, :n], newest, n_said, said, said_value)
    return n_said, newest


@jit
def step(logits: T1, newest: int, n_said: int, said: I1, said_value: F1) -> tuple[int, int]:
    """As ``decode``, for the logits (n,) of one step, all of them in use."""
    output = best_output(logits)
    if output == BLANK:
        return n_said, output
    if output != newest:
        if n_said == said.shape[0]:
            return n_said, BLANK  # so that the rest of its run is taken for neither the last symbol's nor a new one's
        said[n_said] = output - 1
        said_value[n_said] = 0.0
        n_said += 1
    said_value[n_said - 1] = max(said_value[n_said - 1], probability_of(logits, output))
    return n_said, output


@jit
def best_output(logits: T1) -> int:
    """The output of the largest of logits (n,), the first one of several."""
    best = BLANK
    for o in range(1, logits.shape[0]):
        if logits[o] > logits[best]:
            best = o
    return best


@jit
def probability_of(logits: T1, output: int) -> float:
    """The softmax of logits (n,) at one output."""
    highest, everything = largest(logits), 0.0
    for o in range(logits.shape[0]):
        everything += exponential(logits[o] - highest)
    return exponential(logits[output] - highest) / everything
