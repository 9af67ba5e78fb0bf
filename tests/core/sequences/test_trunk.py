"""The trunk both ways against PyTorch's golden numbers, a plain account of what a look-ahead means, and differences."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from streamrnn.core.cells import CELLS
from streamrnn.core.sequences import heads, trunk
from streamrnn.core.sequences.layout import REVERSE
from tests.oracle.network import FORWARD
from tests.support.golden import BOTH_WAYS_CASES, load, tensors
from tests.support.whole_networks import WholeNetwork, central_differences, layout_of, plan_with

WAYS = [(1, -1), (2, -1), (2, 0), (2, 2), (2, 50)]  # directions, look-ahead


def run(net: WholeNetwork, x: np.ndarray, looked_up: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
    """What the trunk says of each step."""
    T = len(x)
    net.network.x[:T], net.network.looked_up[:T] = x, looked_up
    trunk.zero_state(net.network)
    if state is not None:
        trunk.load_state(net.network, state)
    trunk.forward(net.network, T)
    return net.network.encoded[:T]


def final_states(net: WholeNetwork, steps: int) -> np.ndarray:
    target = np.full(net.network.dlast.shape, np.nan)
    trunk.keep_state(net.network, steps, target)
    return target


def told_in_order(net: WholeNetwork, x: np.ndarray, looked_up: np.ndarray) -> np.ndarray:
    """The same by the naive cells: of each step what is before it, and what is up to ``lookahead`` steps ahead."""
    layout, T, cell = net.layout, len(x), next(name for name, code in CELLS.items() if code == net.layout.cell)
    weights = layout.get_weights(net.theta)
    symbols = np.zeros((T, layout.n_rows))
    for t, k in itertools.product(range(T), range(looked_up.shape[1])):
        if looked_up[t, k] >= 0:
            symbols[t, looked_up[t, k]] += 1.0
    below: Any = np.hstack([x, symbols])
    for layer in range(layout.num_layers):

        def told(order: range, side: str, inputs: Any = below, layer: int = layer) -> list[np.ndarray]:
            names = (f"rnn.{what}_l{layer}{side}" for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            w = [weights[name] for name in names]
            state: Any = tuple(np.zeros(layout.hidden_size) for _ in range(layout.state_count))
            states = []
            for t in order:
                state, _ = FORWARD[cell](*w, inputs[t], state)
                states.append(state[0])
            return states

        ahead = told(range(T), "")
        if layout.directions == 1:
            below = ahead
            continue
        far = T if net.plan.lookahead < 0 else net.plan.lookahead
        back = [told(range(min(t + far, T - 1), t - 1, -1), REVERSE)[-1] for t in range(T)]
        below = [np.concatenate(pair) for pair in zip(ahead, back, strict=True)]
    return np.array(below)


def example(
    cell: str, directions: int, layers: int, lookahead: int, steps: int = 5
) -> tuple[WholeNetwork, np.ndarray, np.ndarray]:
    """A network whose inputs are two numbers and two symbols of four, one of them missing once; inputs for it."""
    rng = np.random.default_rng(7)
    layout = layout_of(cell, inputs=2, hidden=3, layers=layers, n_rows=4, directions=directions)
    plan = plan_with(directions=directions, lookahead=lookahead)
    net = WholeNetwork(layout, plan, rng.uniform(-0.9, 0.9, layout.size), lookups=2)
    looked_up = rng.integers(0, 4, (steps, 2))
    looked_up[1, 0] = -1
    return net, rng.standard_normal((steps, 2)), looked_up


def ways_and_layers() -> list[tuple[int, int, int]]:
    return [(d, a, n) for (d, a), n in itertools.product(WAYS, (1, 2)) if a < 0 or n == 1]


CASES = pytest.mark.parametrize(("directions", "lookahead", "layers"), ways_and_layers())


def test_there_are_golden_cells_both_ways() -> None:
    assert len(BOTH_WAYS_CASES) == 6


@pytest.mark.parametrize("name", BOTH_WAYS_CASES)
def test_a_pass_both_ways_reproduces_pytorch(name: str) -> None:
    case, cell = load(name), name.split("_")[1]
    (T, inputs), (rows, hidden), outputs = case["x"].shape, case["last_h"].shape, case["y"].shape[1]
    layout = layout_of(cell, inputs, hidden, rows // 2, outputs, directions=2)
    theta = np.zeros(layout.size)
    layout.set_weights(theta, tensors(case, "w"))
    net = WholeNetwork(layout, plan_with(directions=2, max_steps=T + 3), theta)
    network = net.network
    run(net, case["x"], np.zeros((T, 0), np.int64))
    heads.steps_forward(network, net.work, T, outputs)
    raw = net.work.logits[:T]
    np.testing.assert_allclose(raw, case["pred"], rtol=1e-12, atol=1e-12)
    for part, last in enumerate(("last_h", "last_c")[: layout.state_count]):
        np.testing.assert_allclose(final_states(net, T)[:, part], case[last], rtol=1e-12, atol=1e-12)
    assert np.mean((raw - case["y"]) ** 2) == pytest.approx(float(case["loss"]), rel=1e-12)

    net.work.dlogits[:T] = 2.0 * (raw - case["y"]) / raw.size
    heads.steps_backward(network, net.work, T, outputs)
    trunk.backward(network, T)
    gradients = layout.get_weights(net.grad)
    for key, expected in tensors(case, "g").items():
        np.testing.assert_allclose(gradients[key], expected, rtol=1e-10, atol=1e-10, err_msg=key)


@CASES
@pytest.mark.parametrize("cell", list(CELLS))
def test_each_step_is_told_what_is_before_it_and_as_far_ahead_as_allowed(
    cell: str, directions: int, lookahead: int, layers: int
) -> None:
    for steps in (1, 2, 5, 12):
        net, x, looked_up = example(cell, directions, layers, lookahead, max(steps, 2))
        x, looked_up = x[:steps], looked_up[:steps]
        expected = told_in_order(net, x, looked_up)
        np.testing.assert_allclose(run(net, x, looked_up), expected, rtol=0, atol=1e-13)
        H = net.layout.hidden_size
        final = final_states(net, steps)[-directions:, 0]  # the reverse layer's has seen the first step last
        np.testing.assert_allclose(final[0], expected[-1, :H], rtol=0, atol=1e-13)
        np.testing.assert_allclose(final[-1], expected[-1 if directions == 1 else 0, -H:], rtol=0, atol=1e-13)


@CASES
@pytest.mark.parametrize("cell", list(CELLS))
def test_gradients_of_all_that_is_told_match_central_differences(
    cell: str, directions: int, lookahead: int, layers: int
) -> None:
    net, x, looked_up = example(cell, directions, layers, lookahead)
    rng, T, states = np.random.default_rng(8), len(x), net.network.dlast.shape
    of_encoded, of_last = rng.standard_normal((T, net.layout.encoded_size)), rng.standard_normal(states)

    def value() -> float:
        encoded = run(net, x, looked_up)
        return float((encoded * of_encoded).sum() + (final_states(net, T) * of_last).sum())

    value()
    trunk.clear_gradients(net.network, T)
    net.network.dencoded[:T] += of_encoded
    net.network.dlast[...] += of_last
    trunk.backward(net.network, T)
    found, expected = net.layout.named(net.grad), central_differences(net.layout.named(net.theta), value)
    for name, gradient in expected.items():
        if not name.startswith("head"):
            np.testing.assert_allclose(found[name], gradient, rtol=1e-6, atol=1e-9, err_msg=name)
            if "hh_l0_reverse" not in name or lookahead != 0:  # a pass of one step has no step before it
                assert np.abs(gradient).max() > 1e-3, name


@pytest.mark.parametrize("cell", list(CELLS))
def test_a_forward_network_goes_on_from_a_state_as_if_it_had_never_stopped(cell: str) -> None:
    net, x, looked_up = example(cell, 1, 2, -1, steps=9)
    whole = run(net, x, looked_up).copy()
    first = run(net, x[:4], looked_up[:4]).copy()
    rest = run(net, x[4:], looked_up[4:], final_states(net, 4))
    np.testing.assert_allclose(np.vstack([first, rest]), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lookahead", [-1, 1])
def test_a_run_does_not_depend_on_what_a_longer_one_left_behind(lookahead: int) -> None:
    net, x, looked_up = example("lstm", 2, 1, lookahead, steps=11)
    alone = run(net, x[:4], looked_up[:4]).tobytes()
    run(net, x, looked_up)
    assert run(net, x[:4], looked_up[:4]).tobytes() == alone
