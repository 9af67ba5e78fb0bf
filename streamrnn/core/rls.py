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
directions the uncertainty would grow without bound, and the prior is taken in again.

The prediction is a mean of four experts, both models, "nothing changes" (0: the mean, or the baseline) and "repeat the
newest value", weighed by their discounted absolute errors (Vovk 1990). A model speaks through a factor min(1, noise /
phi^T P phi): where its weights are still uncertain it repeats the newest value. On short or unpredictable series this
is what keeps it from losing to the last value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core.jit import jit
from streamrnn.core.linear import add_product, copy

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
"""The prior is taken in again while the total variance exceeds its own by this factor."""
LARGEST = 1e300


@jit
def dot(a: Any, b: Any) -> float:
    """a (n,) times b (n,)."""
    s = 0.0
    for k in range(a.shape[0]):
        s += a[k] * b[k]
    return s


@jit
def spread(root: Any, phi: Any, f: Any) -> float:
    """f (R,) = S^T phi; returns phi^T P phi = f f, the variance of what the weights say about phi (R,)."""
    for k in range(f.shape[0]):
        f[k] = 0.0
    add_product(f, root, phi)
    return dot(f, f)


@jit
def shrunk(said: float, newest: float, noise: float, variance: float) -> float:
    """What a model says, drawn to the newest value where its weights are more uncertain than the noise."""
    return newest + min(1.0, noise / variance) * (said - newest) if variance > 0.0 else said


@jit
def mixture(losses: Any, count: float, full: float, plain: float, newest: float) -> float:
    """The experts' mean, weighed by (loss / smallest)^-count; losses (4,). The newest value before any is scored."""
    if count == 0.0:
        return newest
    floor = 1e-12 * count
    lf = MODEL_HANDICAP * losses[FULL] + floor
    lp = MODEL_HANDICAP * losses[PLAIN] + floor
    ls, lr = losses[STILL] + floor, losses[REPEAT] + floor
    least = min(min(lf, lp), min(ls, lr))
    wf, wp = math.exp(-count * math.log(lf / least)), math.exp(-count * math.log(lp / least))
    ws, wr = math.exp(-count * math.log(ls / least)), math.exp(-count * math.log(lr / least))
    return (wf * full + wp * plain + wr * newest) / (wf + wp + ws + wr)


@jit
def predict(readout: Any, phi: Any, place: int, f: Any, g: Any, said: Any, out: Any) -> None:
    """out (O,) from phi (R,), and what the two models said of it in said (O, 2).

    The newest values of the fields stand in phi from ``place`` on (-1: nowhere), one each. f (R,) and g (R - H,) are
    room.
    """
    tail = phi[phi.shape[0] - g.shape[0] :]
    fields = readout.fields
    for o in range(out.shape[0]):
        newest = phi[place + o % fields] if place >= 0 else 0.0
        full, plain = readout.full, readout.plain
        said[o, FULL] = shrunk(dot(full.weight[o], phi), newest, full.used[o], spread(full.root[o], phi, f))
        said[o, PLAIN] = shrunk(dot(plain.weight[o], tail), newest, plain.used[o], spread(plain.root[o], tail, g))
        out[o] = mixture(readout.losses[o], readout.count[o], said[o, FULL], said[o, PLAIN], newest)


@jit
def replay(readout: Any, phi: Any, out: Any) -> None:
    """out (O,) = what the full model says of phi (R,), undiluted: what the trunk is trained through."""
    for o in range(out.shape[0]):
        out[o] = dot(readout.full.weight[o], phi)


@jit
def backward(weight: Any, draw: Any, dh: Any) -> None:
    """dh (H,) += draw (O,) @ weight[:, :H]: the gradient with respect to h, the first H regressors."""
    T = dh.dtype.type
    for o in range(draw.shape[0]):
        d, row = draw[o], weight[o]
        if d != draw.dtype.type(0):
            for j in range(dh.shape[0]):
                dh[j] += d * T(row[j])


@jit
def update(
    readout: Any,
    o: int,
    phi: Any,
    place: int,
    said: Any,
    target: float,
    forgetting: float,
    prior: float,
    f: Any,
    g: Any,
) -> None:
    """Output o should have been ``target`` where the regressors were phi (R,) and the models said ``said`` (2,).

    The experts are scored by what they said then, since the weights may have seen later targets by now; then both
    models are fitted. Writes row o of the readout's arrays; f (R,) and g (R - H,) are room. Nothing happens where
    numbers are not finite.
    """
    hidden = phi.shape[0] - g.shape[0]
    tail = phi[hidden:]
    full, plain = readout.full, readout.plain
    where = place + o % readout.fields if place >= 0 else -1
    newest = phi[where] if place >= 0 else 0.0
    said_full, said_plain = dot(full.weight[o], phi), dot(plain.weight[o], tail)
    spread_full, spread_plain = spread(full.root[o], phi, f), spread(plain.root[o], tail, g)
    # Not isfinite: of a sum, reassociation lets the compiler prove it.
    size = abs(said_full) + abs(said_plain) + abs(said[FULL]) + abs(said[PLAIN])
    if not size + spread_full + spread_plain + abs(target) <= LARGEST:
        return
    losses = readout.losses[o]
    for k in range(EXPERTS):
        losses[k] *= LOSS_MEMORY
    losses[FULL] += abs(target - said[FULL])
    losses[PLAIN] += abs(target - said[PLAIN])
    losses[STILL] += abs(target)
    losses[REPEAT] += abs(target - newest)
    readout.count[o] = LOSS_MEMORY * readout.count[o] + 1.0
    fit(full, o, target - said_full, spread_full, where, forgetting, prior, f)
    fit(plain, o, target - said_plain, spread_plain, where - hidden, forgetting, prior, g)


@jit
def fit(
    model: Any, o: int, error: float, variance: float, newest: int, forgetting: float, prior: float, f: Any
) -> None:
    """One step of least squares on row o: ``error`` of its prediction, f (R,) = S^T phi, variance = f f.

    ``newest`` is the regressor that holds the newest value, -1 = none. Overwrites f.
    """
    R = f.shape[0]
    w, S = model.weight[o], model.root[o]
    used = min(model.noise[o], model.used[o] / forgetting)
    model.used[o] = used
    limit = OUTLIER * math.sqrt(model.noise[o] * (1.0 + variance / used))
    square, noise = error * error, used
    if abs(error) > limit:
        noise = (used + variance) * abs(error) / limit - variance
        square = limit * abs(error)
    model.trace[o] = observe(w, S, error, variance, noise, forgetting, f)
    if model.trace[o] > LARGEST_GROWTH * prior * R:
        # Directions that no target tells about have become too uncertain: the prior is taken in once more, weight by
        # weight. To stop forgetting instead would stop it for good, as two columns that say the same never recover.
        k = int(model.turn[o]) % R
        model.turn[o] += 1.0
        copy(f, S[k])
        expected = 1.0 if k == newest else 0.0
        model.trace[o] = observe(w, S, expected - w[k], dot(f, f), prior, 1.0, f)
    model.noise_sum[o] = NOISE_MEMORY * model.noise_sum[o] + square
    model.noise_count[o] = NOISE_MEMORY * model.noise_count[o] + 1.0
    model.noise[o] = max(model.noise_sum[o] / model.noise_count[o], SMALLEST_NOISE)


@jit
def observe(w: Any, S: Any, error: float, variance: float, noise: float, forget: float, f: Any) -> float:
    """Potter's update of w (R,) and S (R, R) by an observation of that error and noise; returns the trace of P.

    The trace before is summed up anew: carried on from update to update, its rounding would grow by 1 / forget each.
    """
    alpha = forget * noise + variance
    gain = error / alpha
    shrink = 1.0 / (alpha + math.sqrt(alpha * forget * noise))
    grow = 1.0 / math.sqrt(forget)
    known = trace = 0.0
    for k in range(f.shape[0]):
        row = S[k]
        shared = 0.0
        for j in range(f.shape[0]):
            shared += row[j] * f[j]
            trace += row[j] * row[j]
        known += shared * shared
        w[k] += gain * shared
        scale_and_subtract(row, grow, grow * shrink * shared, f)
    return (trace - known / alpha) / forget


@jit
def scale_and_subtract(row: Any, scale: float, factor: float, f: Any) -> None:
    """row (R,) = scale * row - factor * f."""
    for j in range(row.shape[0]):
        row[j] = scale * row[j] - factor * f[j]


def start(readout: Any, prior: float, place: int) -> None:
    """Fill a ``Readout`` with the prior; see ``predict`` for ``place``."""
    first = readout.full.weight.shape[1] - readout.plain.weight.shape[1]
    for model, offset in ((readout.full, 0), (readout.plain, first)):
        outputs, R = model.weight.shape
        model.weight[:] = 0.0
        model.root[:] = math.sqrt(prior) * np.eye(R)
        model.trace[:] = prior * R
        model.noise[:] = 1.0
        model.noise_sum[:] = 1.0
        model.noise_count[:] = 1.0
        model.used[:] = 1.0
        model.turn[:] = 0.0
        if place >= 0:
            for o in range(outputs):
                model.weight[o, place - offset + o % readout.fields] = 1.0
    readout.losses[:] = 0.0
    readout.count[:] = 0.0
