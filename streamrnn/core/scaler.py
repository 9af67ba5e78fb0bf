"""Running standardisation in float64, which forgets slowly and resists what does not belong.

Of each variable count, mean and sum of squared deviations are kept (Welford 1962), the count at most ``memory``: from
then on the newest value weighs 1 / memory, and older ones fade. Variances are the population's; a variance of zero, or
no observation at all, scales by one.

One absurd number must not spoil a scale, and a change for good must not take as many records as came before it. So:

- A value counts only as far as its *bound*, ``BOUND`` deviations from the mean (Winsorising; Huber 1964). With every
  value that lies beyond it the bound widens, and with others it slowly comes back: what happens once in some hundred
  records is not absurd, however far out.
- ``NEWCOMERS`` values in a row more than ``BOUND`` deviations away are a new level: the statistics begin anew with
  these, and those of the level left are put aside. If that comes back they are taken up again, and the other's put
  aside: it may have been nonsense. Once a level put aside so comes back as well, the variable is one that changes
  between levels, and its statistics are those of all of them together. The price: of such a variable the scale changes
  twice before it is known for one; and nonsense that comes back in rows counts as a level.
- ``QUIET`` values in a row within ``BOUND`` deviations whose own deviation is ``COLLAPSE`` times smaller tell that
  statistics which began not long before did so with nonsense: they begin anew with these.
- Of the first ``FIRST`` values of a partition the one furthest from their median counts only as far as the bound that
  the others give.

Inputs use one set of statistics per partition. Targets use one per stream, shrunk towards the partition's while the
stream is young: the partition counts as ``shrinkage`` observations with its own mean and variance. The pooling is the
mixture's mean and variance.
"""

from __future__ import annotations

import math

from streamrnn.core.arrays import F1, F2
from streamrnn.core.jit import ZERO, internal, jit

LIMIT = 10.0
"""Standardised inputs are clamped here: one absurd value must not saturate the state for good."""
ABSURD = 1e100
"""Numbers beyond this count as missing: nothing may be computed with their squares."""

BOUND = 10.0
"""Deviations beyond which a value counts less than it is."""
FAR = 100.0
"""Deviations beyond which a stream remembers a value only if the one before was out of bounds, too; its lags show no
more. A jump by less is followed at once."""
WIDENING = 1.5
"""Factor of the bound with each value beyond it."""
NARROWING = 0.999
"""The same with each other value: the bound stays wide for what comes more often than once in 400 records."""
NEWCOMERS = 8
QUIET = 512
COLLAPSE = 30.0
SETTLED = 1024.0
"""Values after which statistics are no longer new; levels taken together count as no more."""
FIRST = 8
NORMAL_MEDIAN = 0.6745
"""Half of all normal values are no further from their mean, in deviations."""

# What is watched of a variable, beside its moments: one row (9,) of an array. The run are the newest values that were
# all within BOUND deviations, or, its length being negative, all beyond; those before the first of them are held on to,
# since such values widen what they are measured by. Put aside are the moments of a level left, the count being negative
# if they are of one that was left for a level come back.
WIDENED, RUN, RUN_MEAN, RUN_M2, HELD_CENTRE, HELD_WIDTH, ASIDE, ASIDE_MEAN, ASIDE_M2 = range(9)


@jit
def usable(value: float) -> bool:
    """Whether a number is known, finite and not absurd."""
    return abs(value) <= ABSURD


@jit
def clipped(value: float, centre: float, reach: float) -> float:
    """The value, or the nearest one no further than ``reach`` from centre."""
    return min(centre + reach, max(centre - reach, value))


@jit
def add(count: F1, mean: F1, m2: F1, k: int, value: float, memory: float) -> None:
    """Add one observation to entry k of count, mean and m2; the count stays within ``memory``:

        mean'  =  mean + (value - mean) / count'
        m2'    =  m2 + (value - mean) (value - mean')

    The difference of sum of squares and squared sum, the textbook's way, cancels where the mean is large.
    """
    if count[k] + 1.0 > memory:
        m2[k] *= (memory - 1.0) / count[k]
        count[k] = memory - 1.0
    count[k] += 1.0
    delta = value - mean[k]
    mean[k] += delta / count[k]
    m2[k] += delta * (value - mean[k])


@jit
def add_each(count: F1, mean: F1, m2: F1, values: F1, memory: float) -> None:
    """``add`` of values (K,) to the entries of count, mean and m2 (K,), NaN = nothing: the same bits.

    All entries go through the same operations, and what an entry has no use for is not kept, so that the loop becomes
    vector instructions: of the time that inputs take most is divisions.
    """
    for k in range(values.shape[0]):
        value, n, m, squares = values[k], count[k], mean[k], m2[k]
        faded = squares * ((memory - 1.0) / max(1.0, n))
        full = n + 1.0 > memory
        squares = faded if full else squares
        n = (memory - 1.0 if full else n) + 1.0
        delta = value - m
        m += delta / n
        squares += delta * (value - m)
        known = value == value
        count[k] = n if known else count[k]
        mean[k] = m if known else mean[k]
        m2[k] = squares if known else m2[k]


@jit
def add_square(count: F1, m2: F1, k: int, difference: float, memory: float) -> None:
    """The same for a sum of squares around zero."""
    if count[k] + 1.0 > memory:
        m2[k] *= (memory - 1.0) / count[k]
        count[k] = memory - 1.0
    count[k] += 1.0
    m2[k] += difference * difference


@jit
def reach(watch: F2, k: int, width: float) -> float:
    """How far from its centre a value of variable k counts in full."""
    bound: float = max(BOUND, watch[k, WIDENED])
    return bound * width


@jit
def is_lone(watch: F2, k: int, value: float, centre: float, width: float) -> bool:
    """Whether a value is far off, and the one before it was not out of bounds. To be asked before ``absorb``."""
    return bool(abs(value - centre) > FAR * width and watch[k, RUN] >= 0.0)


@jit
def absorb(
    count: F1, mean: F1, m2: F1, watch: F2, k: int, value: float, centre: float, width: float, memory: float
) -> float:
    """A value of variable k enters its statistics; returns as what it counts.

    centre and width are what it is held against: those in force before it.
    """
    run = watch[k]
    counts = hold_against(run, value, centre, width)
    if is_news(run, count[k], m2[k]):
        count[k], mean[k], m2[k] = renewed(run, count[k], mean[k], m2[k])
        return value
    add(count, mean, m2, k, counts, memory)
    return counts


@internal
def hold_against(run: F1, value: float, centre: float, width: float) -> float:
    """As what a value counts unless it is news, and joins the run of its variable."""
    counts = within_bound(run, value, centre, width)
    extend_run(run, value, is_beyond(run, value, centre, width), True)
    return counts


@jit
def absorb_square(count: F1, m2: F1, watch: F2, k: int, difference: float, width: float, memory: float) -> float:
    """The same where squares around zero are summed up instead of those around the mean."""
    run = watch[k]
    counts = within_bound(run, difference, 0.0, width)
    extend_run(run, difference, is_beyond(run, difference, 0.0, width), False)
    if is_news(run, count[k], m2[k]):
        count[k], _, m2[k] = renewed(run, count[k], 0.0, m2[k])
        return difference
    add_square(count, m2, k, counts, memory)
    return counts


@jit
def within_bound(run: F1, value: float, centre: float, width: float) -> float:
    """The value as far as it counts; its bound widens or narrows."""
    bound = max(BOUND, run[WIDENED])
    counts = clipped(value, centre, bound * width)
    run[WIDENED] = bound * NARROWING if counts == value else bound * WIDENING
    if run[WIDENED] < BOUND:
        run[WIDENED] = 0.0
    return counts


@jit
def is_beyond(run: F1, value: float, centre: float, width: float) -> bool:
    """Whether the value is further out than a run of such values may be."""
    if run[RUN] >= 0.0:
        run[HELD_CENTRE], run[HELD_WIDTH] = centre, width
    return bool(abs(value - run[HELD_CENTRE]) > BOUND * run[HELD_WIDTH])


@jit
def extend_run(run: F1, value: float, beyond: bool, moving: bool) -> None:
    """The value joins the run, or starts another; ``moving``: around its mean, else around zero."""
    if (run[RUN] < 0.0) != beyond or run[RUN] >= QUIET:
        run[RUN] = run[RUN_MEAN] = run[RUN_M2] = 0.0
    run[RUN] += -1.0 if beyond else 1.0
    delta = value - run[RUN_MEAN]
    if moving:
        run[RUN_MEAN] += delta / abs(run[RUN])
    run[RUN_M2] += delta * (value - run[RUN_MEAN])


@jit
def is_news(run: F1, count: float, m2: float) -> bool:
    """Whether the run is long enough to become the statistics, and tells of something else than they do."""
    if run[RUN] < 0.0:
        return bool(run[RUN] <= -NEWCOMERS)
    if run[RUN] < QUIET or count > SETTLED:
        return False
    # A constant has no deviation that could be a scale.
    return bool(0.0 < COLLAPSE * COLLAPSE * run[RUN_M2] / run[RUN] < m2 / max(1.0, count))


@jit
def renewed(run: F1, count: float, mean: float, m2: float) -> tuple[float, float, float]:
    """Moments after news, of the run alone or with what was put aside; count, mean and m2 are those before."""
    length, run_mean, run_m2 = abs(run[RUN]), run[RUN_MEAN], run[RUN_M2]
    aside, aside_mean, aside_m2 = run[ASIDE], run[ASIDE_MEAN], run[ASIDE_M2]
    quiet = run[RUN] > 0.0
    run[:] = 0.0
    if quiet:
        return length, run_mean, run_m2
    size = abs(aside)
    variance = max(run_m2 / length, aside_m2 / max(1.0, size))
    known = aside != 0.0 and (run_mean - aside_mean) ** 2 <= BOUND * BOUND * variance
    if known and aside < 0.0:
        size, aside_mean, aside_m2 = together(size, aside_mean, aside_m2, count, mean, m2)
        return together(size, aside_mean, aside_m2, length, run_mean, run_m2)
    if known:
        run[ASIDE], run[ASIDE_MEAN], run[ASIDE_M2] = -count, mean, m2
        return together(size, aside_mean, aside_m2, length, run_mean, run_m2)
    if aside != 0.0 and count <= SETTLED:  # left soon: one of several levels, all of which may come back
        count, mean, m2 = together(size, aside_mean, aside_m2, count, mean, m2)
    run[ASIDE], run[ASIDE_MEAN], run[ASIDE_M2] = count, mean, m2
    return length, run_mean, run_m2


@jit
def together(
    count: float, mean: float, m2: float, other: float, other_mean: float, other_m2: float
) -> tuple[float, float, float]:
    """Moments of two sets of values (Chan, Golub & LeVeque 1979), each counting as at most ``SETTLED``."""
    a, b = min(count, SETTLED), min(other, SETTLED)
    n, distance = a + b, other_mean - mean
    squares = m2 * (a / count) + other_m2 * (b / other) + distance * distance * a * b / n
    return n, mean + distance * b / n, squares


@jit
def is_young(count: F1, k: int) -> bool:
    """Whether a partition's variable k is among its first values yet."""
    return bool(count[k] < FIRST)


@jit
def begin(count: F1, mean: F1, m2: F1, first: F2, k: int, value: float) -> None:
    """One of a partition's first values of variable k. first (., FIRST) keeps them.

    The furthest from the median is added last, and only as far as the bound that the others give.
    """
    n = int(count[k]) + 1
    values = first[k]
    values[n - 1] = value
    odd = furthest_from_median(values, n) if n > 2 else ZERO - 1
    count[k] = mean[k] = m2[k] = 0.0
    for i in range(n):
        if i != odd:
            add(count, mean, m2, k, values[i], ABSURD)
    if odd >= 0:
        add(count, mean, m2, k, clipped(values[odd], mean[k], BOUND * deviation(count[k], m2[k])), ABSURD)


@jit
def furthest_from_median(values: F1, n: int) -> int:
    """Which of the first n values that is."""
    median = lower_median(values, n)
    odd, most = ZERO, -1.0
    for i in range(n):
        if abs(values[i] - median) > most:
            odd, most = ZERO + i, abs(values[i] - median)
    return odd


@jit
def lower_median(values: F1, n: int) -> float:
    """The smallest of the first n values that half of them do not exceed."""
    found = math.inf
    for i in range(n):
        no_larger = 0
        for j in range(n):
            no_larger += 1 if values[j] <= values[i] else 0
        if 2 * no_larger >= n:
            found = min(found, values[i])
    return found


@jit
def begin_squares(count: F1, m2: F1, first: F2, k: int, difference: float) -> None:
    """The same for a sum of squares around zero: each counts as far as the bound that the median's size gives.

    A wild value makes two wild differences, so it is not enough to hold one back.
    """
    n = int(count[k]) + 1
    values = first[k]
    values[n - 1] = abs(difference)
    half = lower_median(values, n)
    count[k] = m2[k] = 0.0
    for i in range(n):
        counts = clipped(values[i], 0.0, BOUND * half / NORMAL_MEDIAN) if n > 2 and half > 0.0 else values[i]
        add_square(count, m2, k, counts, ABSURD)


@jit
def deviation(count: float, m2: float) -> float:
    """Standard deviation, 1 where none is known."""
    return math.sqrt(m2 / count) if count > 0.0 and m2 > 0.0 else 1.0


@jit
def take_in(count: F1, mean: F1, m2: F1, watch: F2, first: F2, k: int, value: float, memory: float) -> float:
    """A value of a partition's variable k enters its statistics, held against these themselves; returns as what."""
    if is_young(count, k):
        begin(count, mean, m2, first, k, value)
        return value
    return absorb(count, mean, m2, watch, k, value, mean[k], deviation(count[k], m2[k]), memory)


@internal
def take_in_each(
    count: F1, mean: F1, m2: F1, watch: F2, first: F2, values: F1, widths: F1, added: F1, memory: float
) -> None:
    """``take_in`` of values (K,), not usable = nothing, each held against its mean and widths (K,), with the same bits.

    values become that as what each counts, NaN where the variable is young or has none. added (K,) is work space.
    """
    for k in range(values.shape[0]):
        value = values[k]
        values[k] = added[k] = math.nan
        if not usable(value):
            continue
        if is_young(count, k):
            begin(count, mean, m2, first, k, value)
            continue
        run = watch[k]
        counts = hold_against(run, value, mean[k], widths[k])
        if is_news(run, count[k], m2[k]):
            count[k], mean[k], m2[k] = renewed(run, count[k], mean[k], m2[k])
            values[k] = value
        else:
            values[k] = added[k] = counts
    add_each(count, mean, m2, added, memory)


@jit
def take_in_square(count: F1, m2: F1, watch: F2, first: F2, k: int, difference: float, memory: float) -> None:
    """The same for a sum of squares around zero."""
    if is_young(count, k):
        begin_squares(count, m2, first, k, difference)
    else:
        absorb_square(count, m2, watch, k, difference, deviation(count[k], m2[k]), memory)


@jit
def deviations(count: F1, m2: F1, widths: F1) -> None:
    """widths (K,) = the deviation of each entry."""
    for k in range(widths.shape[0]):
        widths[k] = deviation(count[k], m2[k])


@jit
def standardise(count: F1, mean: F1, widths: F1, values: F1, out: F1) -> None:
    """out (K,) = (value - mean) / width of each entry, clamped; 0 where nothing was observed yet."""
    for k in range(out.shape[0]):
        clamped = min(LIMIT, max(-LIMIT, (values[k] - mean[k]) / widths[k]))
        out[k] = clamped if count[k] > 0.0 else 0.0


@jit
def shrunk(
    count: float, mean: float, m2: float, pool_count: float, pool_mean: float, pool_m2: float, shrinkage: float
) -> tuple[float, float]:
    """Mean and standard deviation in force for one target of one stream, given its partition's statistics.

    With share = count / (count + shrinkage) they are those of a mixture:

        mean      =  share * own mean      +  (1 - share) * pool mean
        variance  =  share * own variance  +  (1 - share) * pool variance
                                           +  share * (1 - share) * (own mean - pool mean)^2
    """
    if pool_count == 0.0:
        return 0.0, 1.0
    # Written around the pool's mean, so that equal means stay equal: otherwise rounding would pass for a variance.
    share = count / (count + shrinkage)
    distance = mean - pool_mean if count > 0.0 else 0.0
    own = m2 / count if count > 0.0 else 0.0
    variance = share * own + (1.0 - share) * (pool_m2 / pool_count) + share * (1.0 - share) * distance * distance
    return pool_mean + share * distance, math.sqrt(variance) if variance > 0.0 else 1.0


@jit
def shrunk_rms(count: float, m2: float, pool_count: float, pool_m2: float, shrinkage: float) -> float:
    """Root mean square in force for one stream's differences, given its partition's; 1 where there is none.

    square  =  share * own square  +  (1 - share) * pool square        share as in ``shrunk``
    """
    if pool_count == 0.0:
        return 1.0
    square = (m2 + shrinkage * (pool_m2 / pool_count)) / (count + shrinkage)
    return math.sqrt(square) if square > 0.0 else 1.0
