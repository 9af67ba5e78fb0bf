"""The arrays and numbers the kernels work on, grouped into named tuples.

Numba breaks named tuples up at compile time, so grouping costs nothing; every array is C-contiguous and writable.
Letters: S rows of streams (see ``Streams``), D inputs that are multiplied, W rows of the first layer's ``w_ih`` that
inputs look up (``lookups``), U encoded features, V of them whose last value is kept, H hidden
units, L layers, C vectors a layer carries, G the length of its gates together, O outputs, F target fields, Y target
columns of a step, A events that wait, M remembered predictions, Q remembered values, P parameters,
R = H + D + lags * F + 1 regressors of the RLS readout; all of them in ``learner.axes``.

An annotation says what an array is: a letter for its type (T the model's precision, F float64, I int64, U uint64, B
bool, K uint8) and its number of dimensions; ``tables`` reads them. What is behind the annotation of an array that
outlives a record is its declaration (``declarations``): to add such an array, declare it here, and nowhere else.
"""

from __future__ import annotations

from math import nan
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

from streamrnn.core.declarations import SEQUENCE, STREAM, part, size, stored

Array: TypeAlias = npt.NDArray[Any]
T1: TypeAlias = Array
T2: TypeAlias = Array
T3: TypeAlias = Array
T4: TypeAlias = Array
T5: TypeAlias = Array
F1: TypeAlias = Array
F2: TypeAlias = Array
F3: TypeAlias = Array
F4: TypeAlias = Array
I1: TypeAlias = Array
I2: TypeAlias = Array
I3: TypeAlias = Array
U1: TypeAlias = Array
U2: TypeAlias = Array
B1: TypeAlias = Array
K1: TypeAlias = Array
K2: TypeAlias = Array


class Plan(NamedTuple):
    """Numbers fixed for a learner's life: sizes, switches, periods."""

    features: int  # U
    with_dt: int
    previous: int  # multiplied columns that show the previous target, flags excluded; 0 = none does
    symbols: int  # inputs that are symbols
    previous_class: int  # row that the previous class 0 looks up; -1 = it is not shown
    fields: int  # F
    classes: int  # 0 = regression
    open_classes: int  # 1 = classes come into use one after the other, the first being "other"
    dense: int  # parameters before the rows that are looked up
    width: int  # G, numbers in such a row
    head: int  # where the head's weights begin among the parameters
    loss: int
    rls: int  # 1 = the readout is recursive least squares
    lags: int  # newest known values per field among its regressors
    newest_at: int  # regressor that holds the newest value of field 0, the others follow; -1 = none does
    period: int  # forecasts are differences to the value this many steps before; 0 = to nothing
    k1: int
    k2: int
    stride: int  # a state is kept before every stride-th step
    lessons_per_step: int  # whose mean gradient is one optimiser step: windows, or events that were learned from
    known: int
    horizon: int  # steps ahead of the furthest target
    scale: int
    reset_after_ms: int  # -1 = never
    optimizer: int
    schedule: int  # how the learning rate falls
    rule: int  # how weights are learned, see ``rules``
    cell: int
    n_read: int  # numbers that are read out of a step: a hidden layer's, else the cell's; see ``hidden``
    hidden: int  # units of the tanh layer between state and readout; 0 = there is none
    skip: int  # 1 = the readout sees the step's inputs beside them
    coded: int  # columns by which the cell sees symbols, behind its other inputs; 0 = it looks them up, or has none
    delay: int  # most events that the state which learns lags behind; 0 = it is the state that predicts
    slow: int  # parameters, the first, whose rate is a tenth of the others'


class Hyper(NamedTuple):
    """Numbers of the optimiser, the loss and the statistics."""

    lr: float
    schedule_updates: float  # T, optimiser steps after which the learning rate falls
    schedule_decay: float  # exp(-1 / T)
    schedule_least: float  # share of it that always stays
    momentum: float
    rmsprop_alpha: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip_norm: float  # 0 = never clip
    polyak_bound: float  # 0 = steps are not bounded by the loss
    huber_delta: float
    shrinkage: float  # observations the partition is worth to a stream's target scale
    memory: float  # values that the running statistics remember
    forgetting: float  # of the RLS readout, per update
    prior: float  # variance of its weights
    nu_least: float  # of an exact cell: log(-log r) of the slowest unit there may be


class Squares(NamedTuple):
    """One linear model per output, fitted by recursive least squares; R stands for its own number of regressors."""

    weight: F2 = stored("O R")
    root: F3 = stored("O R R", growth="root")  # square root of the weights' covariance
    trace: F1 = stored("O", growth="trace")  # of the covariance
    noise: F1 = stored("O")  # variance of the targets around the model's predictions
    noise_sum: F1 = stored("O")
    noise_count: F1 = stored("O")
    noise_in_use: F1 = stored("O")  # the noise that targets are weighed by
    refreshed: F1 = stored("O")  # how many weights had their prior observed again


class Readout(NamedTuple):
    """The RLS readout, see ``rls``; float64."""

    full: Squares = part(Squares)  # on [h, x, lags, 1]
    plain: Squares = part(Squares, R="R-H")  # on [x, lags, 1]
    losses: F2 = stored("O experts")  # discounted absolute errors of the experts
    loss_count: F1 = stored("O")  # discounted number of them
    fields: int = size("F")


class Model(NamedTuple):
    """What is learned, in the model's precision, and the running statistics in float64."""

    theta: T1 = stored("P", growth="weights")
    accumulated: T1 = stored("P", growth="tensors")  # sum of the gradients of the batch so far
    accumulated_loss: F1 = stored("1")  # and of their losses
    in_batch: K1 = stored("W")  # 1 = its windows looked this row up
    outputs_in_use: I1 = stored(
        "1", growth="outputs in use"
    )  # of an open set of classes those that came so far; else all
    average: T1 = stored("average", growth="weights")  # of whole sequences, where asked for: weights that predict
    moment1: T1 = stored("P", growth="tensors")
    moment2: T1 = stored("P", growth="second moments")
    readout: Readout = part(Readout, O="readouts")
    x_count: F1 = stored("U+1")  # the last entry is dt's
    x_mean: F1 = stored("U+1")
    x_m2: F1 = stored("U+1")
    x_watch: F2 = stored("U+1 9")  # what makes statistics resist, see ``scaler``
    x_first: F2 = stored("U+1 8")  # their first values
    x_drift: F2 = stored("U+1 5")  # fast and slow means, see ``drift``
    x_clamped: I1 = stored("U+1", learned=False)  # values beyond what the network is shown
    y_count: F1 = stored("F")
    y_mean: F1 = stored("F")
    y_m2: F1 = stored("F")
    y_watch: F2 = stored("F 9")
    y_first: F2 = stored("F 8")
    y_clamped: I1 = stored("F", learned=False)  # values out of bounds; together they are ``outlying_targets``
    change_count: F1 = stored("changes")  # differences to the baseline
    change_m2: F1 = stored("changes")  # sum of their squares
    change_watch: F2 = stored("changes 9")
    change_first: F2 = stored("changes 8")
    overtaken: I1 = stored("overtaken")  # labels by how far out of order they came, see ``exact.order``
    rival_count: F1 = stored("F")  # values known so far, of which the next is the mean; see ``rivals``
    typical: F1 = stored("F")  # that mean; of classes the most frequent one so far
    class_counts: F1 = stored("classes")
    surprises: F1 = stored("surprises", learned=False)  # of the newest classes or texts, ring; see ``surprise``
    surprise_count: I1 = stored("1", learned=False)
    recent_errors: F2 = stored("F 3", learned=False)  # of model and rivals: sums that forget
    counters: I1 = stored("counts", learned=False)  # see ``counts.COUNTS``
    gauges: F1 = stored("gauges", learned=False)  # see ``counts.GAUGES``
    # Norms of the gradient at the state 0, 1, 2, 4, ... steps back, as far as the gauge ``reach_steps``.
    state_gradient: F1 = stored("reach", learned=False)


class Streams(NamedTuple):
    """Per stream, first axis S + 2: a blank row that stands for "never seen", and one to imagine in.

    Rings (``before``, ``x``, ``lags``, ``history``, ``remembered`` and what goes with it) need no clearing: ``steps``,
    ``history_count`` and ``event_count`` tell how much of them is of this sequence or stream.
    """

    state: T4 = stored("L C H", cleared=SEQUENCE)  # carried state
    # Of a cell whose gradient is carried along (``exact``).
    traces: T3 = stored("traces H", cleared=SEQUENCE)  # sensitivities of the state that learns
    behind: T3 = stored("behind H", cleared=SEQUENCE)  # that state, where it lags behind the one that predicts
    learned: I2 = stored("carried", cleared=SEQUENCE)  # steps it has taken
    answered: I2 = stored("awaited", cleared=SEQUENCE)  # steps up to the newest one whose label has come
    shown: K2 = stored("shown", cleared=SEQUENCE)  # 1 = the input was not zero at some step it has taken
    before: T5 = stored("B L C H")  # carried states before the steps that can start a window
    x: T3 = stored("X D")  # standardised inputs, ring by step
    looked_up: I3 = stored("X lookups", blank=-1, growth="rows")  # rows that inputs look up, -1 = none; ring by step
    lags: T3 = stored("X lags")  # standardised lags, ring by step
    y: T3 = stored("K Y", blank=nan, cleared=SEQUENCE)  # standardised targets not yet injected; ring by step
    steps: I1 = stored(cleared=SEQUENCE)  # of the sequence so far
    last_ms: I1 = stored()  # latest time of an event of the sequence; means nothing before its first step
    newest: F2 = stored("F", blank=nan, cleared=SEQUENCE)  # newest known target of the sequence
    last_known: F2 = stored("F", blank=nan, cleared=STREAM)  # newest known target of the stream, for the rival
    history: F3 = stored("Q F")  # newest values of the sequence, ring; known ones, or where forecast one per step
    history_count: I2 = stored("F", cleared=SEQUENCE)  # values so far
    y_count: F2 = stored("F", cleared=STREAM)
    y_mean: F2 = stored("F", cleared=STREAM)
    y_m2: F2 = stored("F", cleared=STREAM)
    y_watch: F3 = stored("F 9", cleared=STREAM)
    change_count: F2 = stored("changes", cleared=STREAM)
    change_m2: F2 = stored("changes", cleared=STREAM)
    change_watch: F3 = stored("changes 9", cleared=STREAM)
    remembered: F3 = stored("M O", blank=nan)  # published predictions that will be scored later
    surprises: F2 = stored("own_surprises")  # the newest of the stream, ring
    surprise_count: I1 = stored(cleared=STREAM)
    remembered_rivals: F4 = stored("M F 2", blank=nan)  # what the rivals said beside them
    regressors: T3 = stored("N kept")  # what those of the predictions are made from, see ``heads.keep``
    scaling: F4 = stored("N F 3")  # centre and width of the lags among them, and whether to learn from them
    expert_predictions: T4 = stored("N O 2")  # of the RLS readout's models
    event: U2 = stored("E", cleared=STREAM)  # their events
    event_step: I2 = stored("E", blank=-1, cleared=SEQUENCE)  # their step, -1 = in an earlier sequence
    event_ms: I2 = stored("E")  # their time
    event_count: I1 = stored(cleared=STREAM)  # events so far
    last_x: F2 = stored("V", blank=nan, cleared=SEQUENCE, growth="last values")  # newest known value of these features
    # Where predictions wait for the steps behind their own (``sequences.stepwise``); rings by step.
    ahead_event: U2 = stored("A")  # the event as its record named it
    ahead_ms: I2 = stored("A")  # its time, as the record has it
    ahead_y: F3 = stored("A F", blank=nan)  # its targets, which nobody has looked at
    # Of a whole sequence that comes in chunks, and is not at its end.
    frames: I1 = stored(cleared=SEQUENCE)  # how many frames came
    frame_x: T3 = stored("chunk_steps D")  # standardised, joined to steps
    frame_rows: I3 = stored("chunk_steps lookups", blank=-1, growth="rows")  # what they look up
    frame_y: F2 = stored("chunk_steps", blank=nan)  # their labels
    first_state: T5 = stored("chunk_states L C H", cleared=SEQUENCE)  # what the sequence began with
    # Of one that is read forwards, what it comes to so far.
    pooled: F2 = stored("pooled", cleared=SEQUENCE)  # sum of the top layer's states
    said: I2 = stored("said")  # symbols of the transcript
    said_value: F2 = stored("said")  # and their probabilities
    n_said: I1 = stored(cleared=SEQUENCE)
    newest_output: I1 = stored(cleared=SEQUENCE)  # what the newest step said: the blank, or a symbol


class Layer(NamedTuple):
    """One row of the table of layers: a cell, where its weights stand in theta, and its tape over T = k2 steps.

    I is the length of its input vectors: D, or what the layer below hands up. To its cell every layer runs forwards:
    one that reads a sequence from its end finds inputs that are turned round (``sequences.trunk``).
    """

    cell: int
    x: T2  # (T, I) its inputs, as far as they are multiplied
    looked_up: I2  # (T, lookups) the rows that its other inputs are, -1 = none; (T, 0) above the first layer
    w_ih: T2  # (I, G)
    w_rows: T2  # (W, G) the rows to look up; (0, G) above the first layer
    w_hh: T2  # (H, G)
    b_ih: T1  # (G,)
    b_hh: T1  # (G,)
    gates: T2  # (T, G) after their non-linearity
    state: T3  # (C, T + 1, H): what it carries; row 0 before the run, row t + 1 after step t
    aux: T2  # (T, H) what else its backward needs
    dh: T2  # (T, H) gradient of its h
    dx: T2  # (T, I) gradient of its inputs, written to the layer below; (0, I) where nobody asks for it
    carry: T2  # (T + 1, H) gradient that backward hands on to before each step, the LSTM's of c
    d_ih: T2  # (T, G) gradients of the pre-activations, input side
    d_hh: T2  # (T, G) and recurrent side
    dw_ih: T2
    dw_rows: T2
    dw_hh: T2
    db_ih: T1
    db_hh: T1


class Scratch(NamedTuple):
    """Work space of one learner; nothing in it outlives a record."""

    x: T2  # (k2, D) inputs of the steps that are run
    looked_up: I2  # (k2, lookups) the rows their other inputs look up, -1 = none
    rows: I1  # (W,) the rows in use by the window or batch at work, each once, in no order that matters ...
    n_rows: I1  # (1,) ... and how many these are
    in_use: B1  # (W,) whether a row is among them
    spans: I2  # (2 + W, 2) from where to where the parameters go that a step concerns, see ``spans``
    lags: T2  # (k2, lags * F) their lags
    targets: T2  # (k2, Y) their targets, NaN = unknown
    layers: I2  # (L, .) the table of layers, see ``tables``: each row names the arrays of a ``Layer``
    tape: T1  # what layers write, one after the other
    h: T2  # (k2, H) the top layer's states; of an exact cell what is read of them, and behind it the inputs
    dh: T2  # (k2, H) their gradient
    head_w: T2  # (O, H), in theta; (0, H) where the readout is not part of it
    head_b: T1  # (O,)
    dhead_w: T2  # the same in grad
    dhead_b: T1
    cell_w: T2  # (., H) weights of an exact cell, in theta; (0, H) where the cell is another
    dcell_w: T2  # the same in grad
    constants: T2  # (6, H) what follows from nu and omega, once for each optimiser step; see ``exact.constants``
    cell_work: T2  # (11, H) of the step at work
    codes: T2  # (W, coded) by which columns a cell sees each symbol
    hidden_w: T2  # (read by it, M) of the layer between state and readout, in theta
    hidden_b: T1  # (M,)
    dhidden_w: T2  # the same in grad
    dhidden_b: T1
    z: T1  # (M + inputs that are seen beside it,) what the layer hands to the readout
    dz: T1  # its gradient
    prediction: F1  # (O,) of the record at work
    raw: T1  # (O,) outputs of the head
    draw: T1  # (O,)
    grad: T1  # (P,)
    step: T1  # (P,) what the optimiser would subtract from theta
    carried: T2  # (1, H) gradient of an h that a step is handed
    phi: F1  # (R,) regressors of the record at work
    phi_replayed: F1  # (R,) regressors of a step of a window
    scaling: F2  # (F, 3) centre and width of the lags among them, and whether to learn from them
    expert_predictions: F2  # (O, 2) of the RLS readout's models for it
    workspace: F2  # (2, R) for the RLS readout's arithmetic
    counted: F1  # (F,) targets of the record at work, as far as they count
    reached: F1  # (F,) the same as far as errors are those to them
    rivals: F2  # (F, 2) what the rivals say of them
    scored: F1  # (8,) what is summed up of the record's scores, see ``scoring``
    text: F1  # (2,) how many units of the text at work were scored, and the sum of their losses
    kept: F1  # (F,) what the stream remembers of them, NaN = nothing
    scales: F2  # (F, 4) centres and widths in force for the record at work, see ``core.scales``
    values: F1  # (U + 1,) features and dt of the record at work, as they enter the statistics
    widths: F1  # (U + 1,) deviations of these when it came
    standardised: F1  # (U + 1,) what they are in these
    indicator: B1  # (U,)
    imputed: F1  # (U,) what a missing feature counts as, NaN = its running mean, unless ...
    last_at: I1  # (U,) ... this is not -1: its last value of the sequence, which stands there in ``last_x``
    levels: F1  # (Q,)
    ahead: I1  # (Y / F,) how many steps ahead the targets of each column are, increasing; one that is known: 1


class Records(NamedTuple):
    """A block of n records in log order, and columns for what comes out."""

    slot: I1  # (n,)
    fresh: B1  # (n,) the slot starts a new stream with this record
    time_ms: I1  # (n,)
    x: F2  # (n, U) NaN = missing
    symbols: I2  # (n, symbols) the row that each input which is a symbol looks up, -1 = missing
    y: F2  # (n, F) NaN = unknown
    end: B1  # (n,)
    kind: K1  # (n,)
    event: U1  # (n,)
    out: I1  # (n,) the row of ``prediction`` that is its; -1 = none
    closes: B1  # (n,) its score is the last of its text; true where records are no texts
    prediction: F2  # (., O) out; NaN for labels
    updates: I1  # (n,) out
    loss: F1  # (n,) out: mean loss over what this record let us score, NaN = nothing
    error: F1  # (n,) out: mean absolute (0/1 for classes) error of the same
    grad_norm: F1  # (n,) out: norm before clipping of the optimiser step it led to, NaN = none
    rivals: F2  # (n, 2) out: mean errors of the rivals on what the error is of, NaN = they knew nothing
    width: F1  # (n,) out: mean width of the outermost intervals among it, NaN = none
    rank: F2  # (n, 2) out: rank of its surprise among the newest of the stream and of the partition, NaN = none
    delay: F1  # (n,) out: seconds from the event to its label, NaN = no label, or no event
