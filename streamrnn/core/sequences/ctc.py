"""Connectionist temporal classification: the loss of a transcript whose symbols are not aligned with the steps.

At each of T steps the network says a symbol or the blank, output 0; class k is output k + 1. A path of T outputs reads
as the labels that are left when first its repetitions are merged and then its blanks are dropped. The loss is -log p in
nats, where p is the probability of all paths that read as the U labels. They run through K = 2 U + 1 places,

    blank, label 0, blank, label 1, ..., label U - 1, blank

from one of the first two to one of the last two, at each step staying, going on by one place, or by two where that
jumps over the blank between labels that differ. alpha (T, K) is the log-probability of all beginnings up to a step and
its place, beta (K,) that of all ends behind it. A step's occupancy of a place is the probability that a path which
reads as the labels is there, and the gradient of a logit is its softmax less the occupancies of all places that say it.

Everything is in log space and in float64, as a path of thousands of steps has no probability that a number could hold.
Each step's occupancies are divided by their own sum, which is p up to rounding: so the rounding of thousands of
additions cancels, and a step's gradient sums to zero however long the sequence is.

Graves, Fernandez, Gomez & Schmidhuber, Connectionist temporal classification, 2006.
"""

from __future__ import annotations

import math

from streamrnn.core.activations import exponential
from streamrnn.core.arrays import F1, F2, I1, T1, T2
from streamrnn.core.jit import ZERO, jit
from streamrnn.core.losses import largest, total
from streamrnn.core.sequences.kinds import BLANK

NEVER = -math.inf
"""The log-probability of what cannot be."""


@jit
def steps_needed(labels: I1) -> int:
    """The fewest steps that can say labels (U,): one for each, and a blank between two neighbours that are alike."""
    needed: int = labels.shape[0]
    for u in range(1, labels.shape[0]):
        if labels[u] == labels[u - 1]:
            needed += 1
    return needed


@jit
def loss_gradient(logits: T2, labels: I1, n: int, alpha: F2, beta: F2, log_probabilities: F2, dlogits: T2) -> float:
    """-log p of labels (U,), class numbers, by logits (T, O), the first n of them in use; dlogits (T, O) is written.

    Work space: alpha (T, K), beta (2, K) and log_probabilities (T, O), or larger. Outputs that are not in use get no
    gradient. Labels that no path can say cost infinity and get none either; NaN in the logits makes both NaN.
    """
    log_softmax(logits, n, log_probabilities)
    loss = forward(log_probabilities[: logits.shape[0]], labels, alpha)
    if loss == math.inf:
        dlogits[:] = dlogits.dtype.type(0)
    else:
        gradient(labels, n, alpha, beta, log_probabilities, 1.0, dlogits)
    return loss


@jit
def forward(log_probabilities: F2, labels: I1, alpha: F2) -> float:
    """-log p of labels (U,) by log_probabilities (T, O), infinity if impossible; ``gradient`` goes on from alpha."""
    steps = log_probabilities.shape[0]
    if steps < steps_needed(labels):
        return math.inf
    return -beginnings(labels, log_probabilities, alpha) if steps > 0 else 0.0


@jit
def log_softmax(logits: T2, n: int, out: F2) -> None:
    """out (T, .) float64: the log-probabilities of the first n outputs at each step of logits (T, O)."""
    for t in range(logits.shape[0]):
        log_softmax_row(logits[t, :n], out[t, :n])


@jit
def log_softmax_row(logits: T1, out: F1) -> None:
    """out (n,) = logits (n,) less the logarithm of their exponentials' sum."""
    highest = largest(logits)
    for o in range(out.shape[0]):
        out[o] = exponential(logits[o] - highest)
    normaliser = highest + math.log(total(out))
    for o in range(out.shape[0]):
        out[o] = logits[o] - normaliser


@jit
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)), where either may be that of zero."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


@jit
def output_at(labels: I1, place: int) -> int:
    """The output that a place of the labels' path says."""
    return labels[place // 2] + 1 if place % 2 == 1 else BLANK


@jit
def jumps(labels: I1, place: int) -> bool:
    """Whether a path may come to this place from two places before: to a label from another one."""
    return place % 2 == 1 and place > 1 and labels[place // 2] != labels[place // 2 - 1]


@jit
def beginnings(labels: I1, log_probabilities: F2, alpha: F2) -> float:
    """alpha (T, K) of log_probabilities (T, O); returns log p."""
    places = 2 * labels.shape[0] + 1
    alpha[0, :places] = NEVER
    for place in range(min(2, places)):
        alpha[0, place] = log_probabilities[0, output_at(labels, place)]
    for t in range(1, log_probabilities.shape[0]):
        before, now = alpha[t - 1], alpha[t]
        for place in range(places):
            paths = before[place]
            if place > 0:
                paths = log_add(paths, before[place - 1])
            if jumps(labels, place):
                paths = log_add(paths, before[place - 2])
            now[place] = paths + log_probabilities[t, output_at(labels, place)]
    last = alpha[log_probabilities.shape[0] - 1]
    return log_add(last[places - 1], last[places - 2]) if places > 1 else last[0]


@jit
def gradient(labels: I1, n: int, alpha: F2, beta: F2, log_probabilities: F2, share: float, dlogits: T2) -> None:
    """dlogits (T, O) becomes share times the gradient of -log p, after ``forward``, whose result is finite.

    It goes from the last step to the first with two rows of beta. alpha and log_probabilities are used up: a row of
    alpha becomes occupancies, a row of log_probabilities the gradient in float64, as soon as it is not needed any more.
    """
    places, steps = 2 * labels.shape[0] + 1, dlogits.shape[0]
    T = dlogits.dtype.type
    zero = T(0)
    beta[(steps - 1) % 2, :places] = NEVER
    for place in range(max(ZERO, places - 2), places):
        beta[(steps - 1) % 2, place] = 0.0
    for t in range(steps - 1, -1, -1):
        occupancies(alpha[t, :places], beta[t % 2])
        row = log_probabilities[t]
        if t > 0:
            step_back(labels, row, beta[t % 2, :places], beta[(t - 1) % 2])
        for o in range(n):
            row[o] = exponential(row[o])
        for place in range(places):
            row[output_at(labels, place)] -= alpha[t, place]
        for o in range(dlogits.shape[1]):
            dlogits[t, o] = T(share * row[o]) if o < n else zero


@jit
def step_back(labels: I1, log_probabilities: F1, behind: F1, beta: F1) -> None:
    """beta (K,) of a step from ``behind``, the next step's, and the next step's log_probabilities (O,)."""
    places = behind.shape[0]
    for place in range(places):
        behind[place] += log_probabilities[output_at(labels, place)]
    for place in range(places):
        paths = behind[place]
        if place + 1 < places:
            paths = log_add(paths, behind[place + 1])
        if place + 2 < places and jumps(labels, place + 2):
            paths = log_add(paths, behind[place + 2])
        beta[place] = paths


@jit
def occupancies(alpha: F1, beta: F1) -> None:
    """alpha (K,) of a step becomes the probability of each place, given that the labels are said."""
    for place in range(alpha.shape[0]):
        alpha[place] += beta[place]
    highest = largest(alpha)
    for place in range(alpha.shape[0]):
        alpha[place] = exponential(alpha[place] - highest)
    share = 1.0 / total(alpha)
    for place in range(alpha.shape[0]):
        alpha[place] *= share
