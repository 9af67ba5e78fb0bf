"""The oracle's cells whose units hear only themselves: backwards through time, by differences, and by sensitivities."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle import exact
from tests.oracle.network import Array, Weights, read_out, read_out_backward
from tests.oracle.sensitivities import Sensitivities
from tests.support.slopes import slope

KINDS = ("lru", "glru", "elstm")
D, N, T = 3, 4, 12


def lived(kind: str, weights: list[Weights], xs: Array) -> tuple[exact.Life, Array]:
    """Steps with these weights, one after the other, and the state they lead to."""
    state, life = exact.zero(kind, N, np.float64), []
    for w, x in zip(weights, xs, strict=True):
        life.append((w, x, state))
        state = exact.step(kind, w, x, state)
    return life, state


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_backward_matches_central_differences(kind: str, hidden: int) -> None:
    rng = np.random.default_rng(3)
    w, xs = exact.random_weights(rng, kind, D, N, hidden, 2), rng.standard_normal((T, D))
    if kind == "elstm":  # so that no step back is held within its bounds: that is no derivative
        w["rnn.weight_cf"], w["rnn.weight_cz"] = 0.2 * w["rnn.weight_cf"], 0.1 * w["rnn.weight_cz"]

    def total() -> float:
        after = lived(kind, [w] * T, xs)[1]
        outputs, _ = read_out(w, exact.handed_up(kind, w, xs[-1], after), xs[-1])
        return float(np.sin(outputs).sum())

    life, after = lived(kind, [w] * T, xs)
    up = exact.handed_up(kind, w, xs[-1], after)
    grads, d_up = read_out_backward(w, up, xs[-1], np.cos(read_out(w, up, xs[-1])[0]))
    grads |= exact.gradient(kind, w, life, after, d_up)
    assert set(grads) == set(w)
    for name, values in w.items():
        np.testing.assert_allclose(grads[name], slope(total, values), rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("moving", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_carried_forwards_is_what_is_found_backwards_however_weights_move(kind: str, moving: float) -> None:
    rng = np.random.default_rng(4)
    w, xs = exact.random_weights(rng, kind, D, N, 0, 1), rng.standard_normal((40, D))
    weights = [{n: v + moving * rng.standard_normal(v.shape) for n, v in w.items()} for _ in xs]
    life, after = lived(kind, weights, xs)
    carried = Sensitivities.at_rest(kind, w)
    for at, x in zip(weights, xs, strict=True):
        carried.advance(at, x)
    np.testing.assert_allclose(carried.state, after, rtol=1e-12, atol=1e-12)
    now = weights[-1]
    d_up = rng.standard_normal(N if kind == "elstm" else 2 * N)
    backwards = exact.gradient(kind, now, life, after, d_up)
    gate = exact.handed_up(kind, now, xs[-1], np.ones(N))
    d_state = d_up * gate if kind == "elstm" else d_up[:N] + 1j * d_up[N:]
    forwards = carried.gradient(now, d_state)
    assert set(forwards) == {name for name in backwards if not name.endswith("_o")}
    for name, g in forwards.items():
        np.testing.assert_allclose(g, backwards[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_elstm_s_steps_back_are_held_within_bounds() -> None:
    rng = np.random.default_rng(4)
    w = exact.random_weights(rng, "elstm", D, N, 0, 1)
    w["rnn.weight_cf"][:], w["rnn.weight_cz"][:] = 2.0, 4.0
    life, after = lived("elstm", [w] * 300, np.zeros((300, D)))
    assert np.abs(exact.gradient("elstm", w, life, after, np.ones(N))["rnn.bias_f"]).max() < 300
