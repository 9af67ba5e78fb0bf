"""The arrays and numbers that whole sequences need beside those of ``core.arrays``.

Letters as there, and: S the most steps of a sequence, N frames of a block, M the most symbols of an answer and its end,
E = H * directions what the encoder says of a step, Hd = E the decoder's units, Gd the length of its gates together,
W rows that an encoder's layer looks up, V those of the decoder, K = 2 M + 1 places of a CTC's path, B the beam's width.
"""

from __future__ import annotations

from typing import NamedTuple

from streamrnn.core.arrays import B1, F1, F2, I1, I2, K1, T1, T2, T3


class SequencePlan(NamedTuple):
    """Numbers fixed for the life of a learner of sequences, beside ``Plan``."""

    kind: int  # see ``kinds``
    directions: int  # 1 = forward, 2 = both
    lookahead: int  # steps that a backward pass sees ahead of its step; -1 = to the sequence's end
    stack: int  # frames joined to one step
    max_steps: int  # S
    max_symbols: int  # M without the end; of numbers, the horizon
    end: int  # the class that ends a sequence of symbols, and begins it; -1 = there is none
    chunks: int  # 1 = a sequence comes in several records, up to its end mark
    carry: int  # 1 = a stream's next sequence begins with the final state
    normalise: int  # 1 = columns are standardised by the sequence's own mean and deviation, too
    attention: int
    beam: int  # B; 1 = greedy
    rows: int  # W
    encoder_width: int  # G, numbers in a row of the encoder's
    decoder_rows: int  # V
    decoder_width: int  # Gd
    average: float  # d, what older weights still count in those that predict; 0 = the newest weights predict


class Network(NamedTuple):
    """One set of weights, where their gradients go, and the buffers that a run of them writes to.

    There are two, whose rows differ in their weights alone: the weights that are learned, and those that predict. Rows
    of the tables name ``core.arrays.Layer``s: of the encoder those of each layer, forwards and then, where it reads
    both ways, backwards in time. Its own x, gates and states are in the order in which a layer goes through them, so
    those of a reverse layer are turned round.
    """

    encoder: I2  # (L * directions, .), and one row more with a look-ahead: the tape of one backward pass
    decoder: I2  # (L, .); (0, .) without one
    x: T2  # (S, D) the encoder's inputs in the order of time
    looked_up: I2  # (S, lookups) rows that its other inputs look up, -1 = none
    encoded: T2  # (S, E) what the top layer says of each step, [forward, reverse]
    dencoded: T2  # (S, E) gradient of that
    dlast: T3  # (L * directions, C, H) gradient of the final states of each row, beside what ``dencoded`` says of them
    inputs: T2  # (M, I) the decoder's inputs that are multiplied: the number before; I = 0 for symbols
    before: I2  # (M, lookups) the symbol before each step of the decoder, which is looked up, -1 = none
    decoded: T2  # (M, Hd) the decoder's top states
    ddecoded: T2  # (M, Hd)
    attention_w: T2  # (2 Hd, Hd), stored transposed; (0, Hd) without attention
    dattention_w: T2
    head_w: T2  # (O, features)
    head_b: T1  # (O,)
    dhead_w: T2
    dhead_b: T1
    tape: T1  # what layers write, one after the other


class SequenceScratch(NamedTuple):
    """Work space of one learner of sequences, shared by both sets of weights; nothing in it outlives a record."""

    pooled: T1  # (2 E,) the mean of ``encoded``, and its last states
    dpooled: T1
    logits: T2  # (max(S, M), O) raw outputs of steps, the encoder's or the decoder's
    dlogits: T2
    weights: T2  # (M, S) attention: how much each step of the decoder looks at each of the encoder
    dweights: T2
    context: T2  # (M, Hd) what it sees there
    dcontext: T2
    attended: T2  # (M, Hd) tanh(W [context, h])
    dattended: T2
    joined: T2  # (M, 2 Hd) [context, h]
    djoined: T2
    answer: F1  # (max(S, M),) the answer at work, NaN = unknown; numbers, once they are absorbed, as far as they count
    targets: T2  # (max(S, M), 1) the same as it is learned, one to a step
    symbols: I1  # (M,) the symbols of the answer as they are learned
    alpha: F2  # (S, K) CTC: log-probabilities of the beginnings of paths
    beta: F2  # (2, K) and of their ends, two steps of it
    log_probabilities: F2  # (max(S, M), O)
    beam_scores: F2  # (2 B, .) what beams need; columns as the module that uses them says
    beam_symbols: I2  # (2 B, M + 1)
    beam_numbers: I2  # (2 B, .)
    beam_states: T3  # (2 B, L * C, Hd) states of the decoder
    distances: I2  # (2, M + 2) rows of the table of edit distances
    said: I1  # (max(S, M) + 1,) what is said of the record at work
    said_value: F1
    mean: F1  # (n_features * stack,) of the sequence at work, and ...
    deviation: F1  # ... their deviations
    row_spans: I2  # (., 2) spans of the parameters that a step concerns
    in_use: B1  # (W + V,) rows looked up by the sequence or batch at work
    rows: I1  # (W + V,) these rows, each once; rows of the decoder counted from W on
    n_rows: I1  # (1,)


class AtWork(NamedTuple):
    """The record at work: what kernels know of it once its frames are read."""

    i: int
    slot: int
    source: int  # the row of ``Streams`` with what came of its sequence before: its slot, or the blank one
    event: bool
    whole: bool  # its sequence ends with it
    before: int  # frames of the sequence that came before it
    frames: int  # and with it, those included that were not read
    steps: int  # that are run: all of the sequence, or those that a chunk completes
    behind: int  # steps of the sequence that are not run again
    used: int  # classes that were in use when it came
    elements: int  # of its answer; -1 = it is not known
    reason: int  # why nothing will be learned


class SequenceRecords(NamedTuple):
    """A block of n records in log order, and columns for what comes out."""

    slot: I1  # (n,)
    fresh: B1  # (n,) the slot starts a new stream with this record
    time_ms: I1  # (n,)
    kind: K1  # (n,)
    end: B1  # (n,) its sequence ends here; true where records are no chunks
    first: I1  # (n + 1,) its frames go from first[i] to first[i + 1]
    x: F2  # (N, U) NaN = missing
    symbols: I2  # (N, symbols) the row that each input which is a symbol looks up, -1 = missing
    y: F2  # (n, F) of kind label; NaN = unknown
    known: B1  # (n,) whether its answer is known, of the other kinds
    first_answer: I1  # (n + 1,) its answer goes from first_answer[i] to first_answer[i + 1]
    answer: F1  # numbers of classes, or numbers; NaN = unknown
    out: I1  # (n,) the row of ``prediction`` that is its; -1 = none
    prediction: F2  # (., n_published) out
    first_said: I1  # (n + 1,) room for what is said of it
    said: I1  # out: the class of each step, the symbols; 0 where numbers are said
    said_value: F1  # out: their probability, or the numbers
    n_said: I1  # (n,) out: how many are said
    updates: I1  # (n,) out, as in ``Records``, and so below
    loss: F1
    error: F1
    grad_norm: F1
    rivals: F2
    width: F1
    rank: F2
    wrong: F1  # (n,) out: steps that are wrong, edits, or the sum of absolute errors; NaN = not scored
    length: F1  # (n,) out: of so many known steps, true symbols or numbers
    reason: K1  # (n,) out: why nothing was learned
