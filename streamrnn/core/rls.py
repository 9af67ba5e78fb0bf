"""Readout by recursive least squares, and the mixture of simple predictors it is part of.

Two linear models per output are fitted as targets come in, one on all regressors phi = [h, x, lags, 1] and one without
the recurrent state, phi[H:], which does not move while the trunk learns. Each keeps its weights w (R,) and a square
root S (R, R) of their covariance P = S S^T, updated in Potter's form, which leaves P positive semi-definite whatever
the rounding; the plain form P - K phi^T P loses that on collinear regressors (Bierman 1977, chapter II; with
forgetting Haykin 2002, chapter 9). All in float64. An output has roots of its own because targets come at different
times, or not at all.

The prior says "repeat the newest value": weight 1 on it, 0 elsewhere, each with variance ``prior`` (Litterman 1986).
The noise variance that weighs a target against the prior is a running mean of squared errors; a target more than three
deviations off counts as noisier (Huber 1964). Old targets are forgotten with factor ``forgetting`` per update, but
only while the total variance is small: without new directions in phi the root would otherwise grow without bound.

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
from streamrnn.core.linear import add_product

EXPERTS = 4
FULL, PLAIN, STILL, REPEAT = range(EXPERTS)

MODEL_HANDICAP = 1.05
"""A model's errors count this much more: it has to earn its place beside the two simple experts."""
LOSS_MEMORY = 0.995
"""What an older error still weighs in the mixture after each newer one."""
NOISE_MEMORY = 0.99
"""The same in the noise variance, which starts at 1, the target's own, as if seen once."""
SMALLEST_NOISE = 1e-8
OUTLIER = 3.0
"""Deviations beyond which a target is believed less."""
LARGEST_GROWTH = 10.0
"""Nothing is forgotten while the total variance exceeds the prior's by this factor."""


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
def predict(readout: Any, phi: Any, place: int, f: Any, g: Any, out: Any) -> None:
    """out (O,) from phi (R,); the newest values of the fields stand in phi from ``place`` on (-1: nowhere), one each.

    f (R,) and g (R - H,) are room.
    """
    tail = phi[phi.shape[0] - g.shape[0] :]
    fields = readout.fields
    for o in range(out.shape[0]):
        newest = phi[place + o % fields] if place >= 0 else 0.0
        full, plain = readout.full, readout.plain
        a = shrunk(dot(full.weight[o], phi), newest, full.noise[o], spread(full.root[o], phi, f))
        b = shrunk(dot(plain.weight[o], tail), newest, plain.noise[o], spread(plain.root[o], tail, g))
        out[o] = mixture(readout.losses[o], readout.count[o], a, b, newest)


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
    readout: Any, o: int, phi: Any, place: int, target: float, forgetting: float, prior: float, f: Any, g: Any, s: Any
) -> None:
    """Output o should have been ``target`` where the regressors were phi (R,): score the experts, then fit both models.

    Writes row o of the readout's arrays; f (R,), g (R - H,) and s (R,) are room. Nothing happens where numbers are not
    finite.
    """
    tail = phi[phi.shape[0] - g.shape[0] :]
    full, plain = readout.full, readout.plain
    newest = phi[place + o % readout.fields] if place >= 0 else 0.0
    said_full, said_plain = dot(full.weight[o], phi), dot(plain.weight[o], tail)
    spread_full, spread_plain = spread(full.root[o], phi, f), spread(plain.root[o], tail, g)
    if not math.isfinite(said_full + said_plain + spread_full + spread_plain + target):
        return
    losses = readout.losses[o]
    for k in range(EXPERTS):
        losses[k] *= LOSS_MEMORY
    losses[FULL] += abs(target - shrunk(said_full, newest, full.noise[o], spread_full))
    losses[PLAIN] += abs(target - shrunk(said_plain, newest, plain.noise[o], spread_plain))
    losses[STILL] += abs(target)
    losses[REPEAT] += abs(target - newest)
    readout.count[o] = LOSS_MEMORY * readout.count[o] + 1.0
    fit(full, o, target - said_full, spread_full, forgetting, prior, f, s)
    fit(plain, o, target - said_plain, spread_plain, forgetting, prior, g, s)


@jit
def fit(model: Any, o: int, error: float, variance: float, forgetting: float, prior: float, f: Any, s: Any) -> None:
    """One step of least squares on row o: ``error`` of its prediction, f (R,) = S^T phi, variance = f f; s is room."""
    R = f.shape[0]
    w, S = model.weight[o], model.root[o]
    forget = forgetting if model.trace[o] <= LARGEST_GROWTH * prior * R else 1.0
    noise = model.noise[o]
    limit = OUTLIER * math.sqrt(noise + variance)
    square = error * error
    if abs(error) > limit:
        noise = (noise + variance) * abs(error) / limit - variance
        square = limit * abs(error)
    noise *= forget
    alpha = noise + variance
    gain = error / alpha
    shrink = 1.0 / (alpha + math.sqrt(alpha * noise))
    grow = 1.0 / math.sqrt(forget)
    for k in range(R):
        s[k] = dot(S[k], f)
    trace = 0.0
    for k in range(R):
        w[k] += gain * s[k]
        row, a = S[k], shrink * s[k]
        for j in range(R):
            row[j] = grow * (row[j] - a * f[j])
            trace += row[j] * row[j]
    model.trace[o] = trace
    model.noise_sum[o] = NOISE_MEMORY * model.noise_sum[o] + square
    model.noise_count[o] = NOISE_MEMORY * model.noise_count[o] + 1.0
    model.noise[o] = max(model.noise_sum[o] / model.noise_count[o], SMALLEST_NOISE)


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
        if place >= 0:
            for o in range(outputs):
                model.weight[o, place - offset + o % readout.fields] = 1.0
    readout.losses[:] = 0.0
    readout.count[:] = 0.0
