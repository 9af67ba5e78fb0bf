"""Readout by recursive least squares, and the mixture of simple predictors it is part of.

Two linear models per output are fitted as targets come in, one on all regressors phi = [h, x, lags, 1] and one without
the recurrent state, phi[H:], which does not move while the trunk learns. Each keeps its weights w (R,) and a square
root S (R, R) of their covariance P = S S^T, updated in Potter's form, which leaves P positive semi-definite whatever
the rounding; the plain form P - K phi^T P loses that on collinear regressors (Bierman 1977, chapter II; with
forgetting Haykin 2002, chapter 9). All in float64. An output has roots of its own because targets come at different
times, or not at all.

The prior says "repeat the newest value": weight 1 on it, 0 elsewhere, each with variance ``prior`` (Litterman 1986).
Targets are weighed against it by the noise variance, a running mean of squared errors. The one in use may fall at once
but rises no faster than the past is forgotten, so that no target counts less than the one before it, however large
errors are after a change. A single one more than three deviations off counts as noisier
(Huber 1964). What older targets say is forgotten with factor ``forgetting`` per update; where phi shows no new
directions the uncertainty would grow without bound, and the prior is observed once more (``refresh``).

The prediction is a mean of four experts, both models, "nothing changes" (0: the mean, or the baseline) and "repeat the
newest value", weighed by their discounted absolute errors (Vovk 1990). Where a model's weights are still uncertain it
repeats the newest value in part: by the factor min(1, noise / phi^T P phi). On short or unpredictable series this is
what keeps it from losing to the last value.

Indices: o is an output. The regressor that holds the newest known value has three names, by where counting begins;
negative = none does:

    newest_at        its place in phi for field 0; the other fields follow it
    own_newest_at    its place in phi for the field that output o predicts
    model_newest_at  the same among a model's own regressors: in phi[H:] it stands H places before

``newest_value`` is what stands there, standardised.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core.arrays import F1, F2, T1, Hyper, Readout, Squares
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import Rows, add_product, copy, dot
from streamrnn.core.vector import LANES, add, fma, load_8, mul, store, total, zeros_8

EXPERTS = 4
FULL, PLAIN, STILL, REPEAT = range(EXPERTS)

MODEL_HANDICAP = 1.07
"""A model's errors count this much more: it has to earn its place beside the two simple experts."""
LOSS_MEMORY = 0.995
"""What an older error still weighs in the mixture after each newer one."""
NOISE_MEMORY = 0.99
"""The same in the noise variance, which starts at 1, the target's own, as if seen once."""
SMALLEST_NOISE = 1e-8
OUTLIER = 3.0
"""Deviations beyond which a target is believed less."""
LARGEST_GROWTH = 10.0
"""The prior is observed once more while the total variance exceeds its own by this factor."""
LARGEST = 1e300


@jit
def spread(root: F2, phi: F1, f: F1) -> float:
    """f (R,) = S^T phi; returns phi^T P phi = f f, the variance of the weights' prediction for phi (R,)."""
    for k in range(f.shape[0]):
        f[k] = 0.0
    add_product(f, root, phi)
    variance: float = dot(f, f)
    return variance


@jit
def shrunk(prediction: float, newest_value: float, noise: float, variance: float) -> float:
    """A model's prediction, drawn to the newest value where its weights are more uncertain than the noise."""
    return newest_value + min(1.0, noise / variance) * (prediction - newest_value) if variance > 0.0 else prediction


@jit
def mixture(losses: F1, count: float, full: float, plain: float, newest_value: float) -> float:
    """The experts' mean, weighed by (loss / smallest)^-count; losses (4,). The newest value before any is scored.

    A loss is a discounted sum of ``count`` absolute errors. Divided by the smallest, the best expert weighs 1 and no
    power leaves the range of numbers.
    """
    if count == 0.0:
        return newest_value
    floor = 1e-12 * count  # an expert that never erred still has a logarithm; losses grow with count, and so does this
    lf = MODEL_HANDICAP * losses[FULL] + floor
    lp = MODEL_HANDICAP * losses[PLAIN] + floor
    ls, lr = losses[STILL] + floor, losses[REPEAT] + floor
    least = min(min(lf, lp), min(ls, lr))
    wf, wp = math.exp(-count * math.log(lf / least)), math.exp(-count * math.log(lp / least))
    ws, wr = math.exp(-count * math.log(ls / least)), math.exp(-count * math.log(lr / least))
    # "Nothing changes" predicts 0, so that it stands in the denominator alone.
    return (wf * full + wp * plain + wr * newest_value) / (wf + wp + ws + wr)


def shares(losses: list[float], count: float) -> list[float]:
    """What each of the four experts weighs in ``mixture``, to be shown; they add up to 1."""
    if count == 0.0:
        return [float(expert == REPEAT) for expert in range(EXPERTS)]
    floor, handicaps = 1e-12 * count, {FULL: MODEL_HANDICAP, PLAIN: MODEL_HANDICAP}
    assumed = [handicaps.get(expert, 1.0) * loss + floor for expert, loss in enumerate(losses)]
    weights = [math.exp(-count * math.log(loss / min(assumed))) for loss in assumed]
    return [weight / sum(weights) for weight in weights]


@jit
def own_newest(newest_at: int, o: int, fields: int) -> int:
    """``own_newest_at`` of output o. Outputs run through the fields, once for each horizon."""
    return newest_at + o % fields if newest_at >= 0 else -1


@jit
def predict(readout: Readout, phi: F1, newest_at: int, workspace: F2, predictions: F2, out: F1) -> None:
    """out (O,) from phi (R,), and what the two models predict in predictions (O, 2); workspace (2, R)."""
    full, plain = readout.full, readout.plain
    R, hidden = phi.shape[0], phi.shape[0] - plain.weight.shape[1]
    tail, f, g = phi[hidden:], workspace[0, :R], workspace[1, : R - hidden]
    for o in range(out.shape[0]):
        own_newest_at = own_newest(newest_at, o, readout.fields)
        newest_value = phi[own_newest_at] if own_newest_at >= 0 else 0.0
        predictions[o, FULL] = shrunk(
            dot(full.weight[o], phi), newest_value, full.noise_in_use[o], spread(full.root[o], phi, f)
        )
        predictions[o, PLAIN] = shrunk(
            dot(plain.weight[o], tail), newest_value, plain.noise_in_use[o], spread(plain.root[o], tail, g)
        )
        out[o] = mixture(
            readout.losses[o], readout.loss_count[o], predictions[o, FULL], predictions[o, PLAIN], newest_value
        )


@jit
def replay(readout: Readout, phi: F1, out: T1) -> None:
    """out (O,) = the full model's prediction for phi (R,), undiluted: what the trunk is trained through."""
    for o in range(out.shape[0]):
        out[o] = dot(readout.full.weight[o], phi)


@jit
def backward(weight: F2, draw: T1, dh: T1) -> None:
    """dh (H,) += draw (O,) @ weight[:, :H]: the gradient with respect to h, the first H regressors."""
    T = dh.dtype.type
    for o in range(draw.shape[0]):
        d, row = draw[o], weight[o]
        if d != draw.dtype.type(0):
            for j in range(dh.shape[0]):
                dh[j] = fma(d, T(row[j]), dh[j])


@jit
def update(
    readout: Readout, hyper: Hyper, o: int, phi: F1, newest_at: int, predictions: F1, target: float, workspace: F2
) -> None:
    """Output o should have been ``target`` where the regressors were phi (R,) and its models predicted (2,).

    The experts are scored by what they predicted then, since the weights may have seen later targets by now; then both
    models are fitted. Writes row o of the readout's arrays. Nothing happens where numbers are not finite.
    """
    full, plain = readout.full, readout.plain
    R, hidden = phi.shape[0], phi.shape[0] - plain.weight.shape[1]
    tail, f, g = phi[hidden:], workspace[0, :R], workspace[1, : R - hidden]
    # Not the predictions of then: least squares needs the error that the weights of now make on the same regressors.
    now_full, now_plain = dot(full.weight[o], phi), dot(plain.weight[o], tail)
    variance_full, variance_plain = spread(full.root[o], phi, f), spread(plain.root[o], tail, g)
    # Compared with a bound, for isfinite would let numbers pass whose squares are not. False for NaN too.
    size = abs(now_full) + abs(now_plain) + abs(predictions[FULL]) + abs(predictions[PLAIN])
    if not size + variance_full + variance_plain + abs(target) <= LARGEST:
        return
    own_newest_at = own_newest(newest_at, o, readout.fields)
    score_experts(readout, o, predictions, phi[own_newest_at] if own_newest_at >= 0 else 0.0, target)
    fit(full, hyper, o, target - now_full, variance_full, own_newest_at, f)
    fit(plain, hyper, o, target - now_plain, variance_plain, own_newest_at - hidden, g)


@jit
def judge(readout: Readout, o: int, phi: F1, newest_at: int, predictions: F1, target: float) -> None:
    """As ``update``, where the target says who predicts well, and is not to be fitted."""
    own_newest_at = own_newest(newest_at, o, readout.fields)
    if abs(predictions[FULL]) + abs(predictions[PLAIN]) + abs(target) <= LARGEST:
        score_experts(readout, o, predictions, phi[own_newest_at] if own_newest_at >= 0 else 0.0, target)


@jit
def score_experts(readout: Readout, o: int, predictions: F1, newest_value: float, target: float) -> None:
    """Discount the experts' absolute errors on output o and add those of this target."""
    losses = readout.losses[o]
    for expert in range(EXPERTS):
        losses[expert] *= LOSS_MEMORY
    losses[FULL] += abs(target - predictions[FULL])
    losses[PLAIN] += abs(target - predictions[PLAIN])
    losses[STILL] += abs(target)
    losses[REPEAT] += abs(target - newest_value)
    readout.loss_count[o] = LOSS_MEMORY * readout.loss_count[o] + 1.0


@jit
def fit(model: Squares, hyper: Hyper, o: int, error: float, variance: float, model_newest_at: int, f: F1) -> None:
    """One step of least squares on row o: ``error`` of its prediction, f (R,) = S^T phi, variance = f f.

    Overwrites f.
    """
    # Forgetting lets this target weigh 1 / forgetting as much as the one before. Were its noise to rise by more than
    # that, a whole stretch of new targets would count less than the old ones they should replace.
    noise = min(model.noise[o], model.noise_in_use[o] / hyper.forgetting)
    model.noise_in_use[o] = noise
    # What an error may be: the noise, and the weights' own uncertainty, which P holds in units of the noise in use.
    limit = OUTLIER * math.sqrt(model.noise[o] * (1.0 + variance / noise))
    square, assumed = error * error, noise
    if abs(error) > limit:
        # Weights move by P phi error / (noise + variance). With this noise they move as if the error were the limit.
        assumed = (noise + variance) * abs(error) / limit - variance
        square = limit * abs(error)  # in the noise it counts likewise: one outlier must not excuse all that follow
    model.trace[o] = observe(model.weight[o], model.root[o], error, variance, assumed, hyper.forgetting, f)
    if model.trace[o] > LARGEST_GROWTH * hyper.prior * f.shape[0]:
        refresh(model, o, model_newest_at, hyper.prior, f)
    # Only now, so that the noise a target is weighed by does not hold its own error.
    model.noise_sum[o] = NOISE_MEMORY * model.noise_sum[o] + square
    model.noise_count[o] = NOISE_MEMORY * model.noise_count[o] + 1.0
    model.noise[o] = max(model.noise_sum[o] / model.noise_count[o], SMALLEST_NOISE)


@jit
def refresh(model: Squares, o: int, model_newest_at: int, prior: float, f: F1) -> None:
    """Observe the prior of one weight as if it were a target. Overwrites f.

    Directions that no target tells about grow by 1 / forgetting per update. To stop forgetting instead would stop it
    for good, as two columns that say the same never recover. Weights come up in turn, one at each update: an
    observation costs R^2, and all of them at once R^3.
    """
    w, S = model.weight[o], model.root[o]
    k = int(model.refreshed[o]) % f.shape[0]
    model.refreshed[o] += 1.0
    copy(f, S[k])  # S^T phi of the regressors that are 1 at k and 0 elsewhere
    expected = 1.0 if k == model_newest_at else 0.0
    model.trace[o] = observe(w, S, expected - w[k], dot(f, f), prior, 1.0, f)


@jit
def observe(w: F1, S: F2, error: float, variance: float, noise: float, forget: float, f: F1) -> float:
    """Potter's update of w (R,) and S (R, R) by an observation of that error and noise; returns the trace of P.

    With f = S^T phi, variance = f f, alpha = forget * noise + variance:

        w  <-  w + S f * error / alpha
        S  <-  (S - S f f^T / (alpha + sqrt(alpha * forget * noise))) / sqrt(forget)

    which makes P = S S^T the textbook's (P - P phi phi^T P / alpha) / forget. S f is ``shared``, row by row. The trace
    is summed up anew: carried on from update to update, its rounding would grow by 1 / forget each.
    """
    alpha = forget * noise + variance
    gain = error / alpha
    grow = 1.0 / math.sqrt(forget)
    take = -grow / (alpha + math.sqrt(alpha * forget * noise))
    R, trace = f.shape[0], 0.0
    for k in range(0, R - 3, 4):
        four = (S[k], S[k + 1], S[k + 2], S[k + 3])
        a, b, c, d = shared_by_four(four, f)
        w[k] += gain * a
        w[k + 1] += gain * b
        w[k + 2] += gain * c
        w[k + 3] += gain * d
        trace += renew_four(four, grow, (take * a, take * b, take * c, take * d), f)
    for k in range(R - R % 4, R):
        row = S[k]
        shared = dot(row, f)
        w[k] += gain * shared
        renew(row, grow, take * shared, f)
        trace += dot(row, row)
    return trace


# Four rows at once: one alone would wait for its own sum, and f is loaded once for all.


@internal
def shared_by_four(rows: Rows, f: F1) -> tuple[float, float, float, float]:
    """The products of four rows (R,) with f (R,)."""
    r0, r1, r2, r3 = rows
    s0 = s1 = s2 = s3 = zeros_8(f)
    for j in range(0, f.shape[0] - 7, LANES):
        v = load_8(f, j)
        s0, s1 = fma(load_8(r0, j), v, s0), fma(load_8(r1, j), v, s1)
        s2, s3 = fma(load_8(r2, j), v, s2), fma(load_8(r3, j), v, s3)
    a, b, c, d = total(s0), total(s1), total(s2), total(s3)
    for j in range(f.shape[0] - f.shape[0] % LANES, f.shape[0]):
        a, b, c, d = fma(r0[j], f[j], a), fma(r1[j], f[j], b), fma(r2[j], f[j], c), fma(r3[j], f[j], d)
    return a, b, c, d


@internal
def renew_four(rows: Rows, scale: float, factors: tuple[float, float, float, float], f: F1) -> float:
    """Each of four rows (R,) = scale * row + its factor * f; returns the sum of their squares."""
    r0, r1, r2, r3 = rows
    a, b, c, d = factors
    p = q = zeros_8(f)
    for j in range(0, f.shape[0] - 7, LANES):
        v = load_8(f, j)
        x0, x1 = fma(a, v, mul(scale, load_8(r0, j))), fma(b, v, mul(scale, load_8(r1, j)))
        x2, x3 = fma(c, v, mul(scale, load_8(r2, j))), fma(d, v, mul(scale, load_8(r3, j)))
        store(r0, j, x0)
        store(r1, j, x1)
        store(r2, j, x2)
        store(r3, j, x3)
        p, q = fma(x2, x2, fma(x0, x0, p)), fma(x3, x3, fma(x1, x1, q))
    squares: float = total(add(p, q))
    for j in range(f.shape[0] - f.shape[0] % LANES, f.shape[0]):
        r0[j], r1[j] = fma(a, f[j], scale * r0[j]), fma(b, f[j], scale * r1[j])
        r2[j], r3[j] = fma(c, f[j], scale * r2[j]), fma(d, f[j], scale * r3[j])
        squares = fma(r2[j], r2[j], fma(r0[j], r0[j], squares))
        squares = fma(r3[j], r3[j], fma(r1[j], r1[j], squares))
    return squares


@jit
def renew(row: F1, scale: float, factor: float, f: F1) -> None:
    """row (R,) = scale * row + factor * f."""
    for j in range(row.shape[0]):
        row[j] = fma(factor, f[j], scale * row[j])


def start(readout: Readout, prior: float, newest_at: int) -> None:
    """Fill a ``Readout`` with the prior."""
    hidden = readout.full.weight.shape[1] - readout.plain.weight.shape[1]
    for model, first in ((readout.full, 0), (readout.plain, hidden)):
        outputs, R = model.weight.shape
        model.weight[:] = 0.0
        model.root[:] = math.sqrt(prior) * np.eye(R)
        model.trace[:] = prior * R
        for ones in (model.noise, model.noise_in_use, model.noise_sum, model.noise_count):
            ones[:] = 1.0
        model.refreshed[:] = 0.0
        if newest_at >= 0:
            for o in range(outputs):
                model.weight[o, own_newest(newest_at, o, readout.fields) - first] = 1.0
    readout.losses[:] = 0.0
    readout.loss_count[:] = 0.0
