"""A task whose answer is known exactly shows what reading both ways, a look-ahead and a second layer are worth.

Inputs are fair coins; three steps before the end and after the beginning nothing is asked. The label of a step is the
pair (x[t - 3], x[t + 3]), of which a forward network can know one coin: it errs in half of the cases and pays one bit.
If the label is whether both are alike, a linear readout of two separate states errs in half of the cases, too, since it
can only add what one says to what the other does; a second layer brings them together before they are read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.sequences import heads, trunk
from tests.support.whole_networks import WholeNetwork, layout_of, plan_with

STEPS, SCORED = 20, 200
pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="a thousand sequences take minutes where nothing is compiled")


class Outcome(NamedTuple):
    """Means over the last sequences: share of steps that are wrong, and bits a step."""

    error: float
    bits: float


def learned(
    *, alike: bool = False, cell: str = "gru", layers: int = 1, lookahead: int | None = -1, sequences: int = 1000
) -> Outcome:
    """What a network is worth after so many sequences, each predicted before it is learned (None: no reverse)."""
    directions, outputs = 1 if lookahead is None else 2, 2 if alike else 4
    layout = layout_of(cell, inputs=1, hidden=32, layers=layers, outputs=outputs, directions=directions)
    plan = plan_with(directions=directions, lookahead=-1 if lookahead is None else lookahead, max_steps=STEPS)
    net, rng, asked = WholeNetwork(layout, plan), np.random.default_rng(1), np.arange(3, STEPS - 3)
    network, work = net.network, net.work
    moments, found = np.zeros((2, layout.size)), []
    for i in range(1, sequences + 1):
        coins = rng.integers(0, 2, STEPS)
        labels: Any = (coins[:-6] ^ coins[6:]) if alike else 2 * coins[:-6] + coins[6:]
        network.x[:, 0] = 2.0 * coins - 1.0
        trunk.zero_state(network)
        trunk.forward(network, STEPS)
        heads.steps_forward(network, work, STEPS, outputs)
        p = np.exp(work.logits[asked])
        p /= p.sum(axis=1, keepdims=True)
        found.append((np.mean(p.argmax(axis=1) != labels), -np.mean(np.log2(p[np.arange(len(asked)), labels]))))
        work.dlogits[:STEPS] = 0.0
        work.dlogits[asked] = p / len(asked)
        work.dlogits[asked, labels] -= 1.0 / len(asked)
        net.grad[:] = 0.0
        heads.steps_backward(network, work, STEPS, outputs)
        trunk.backward(network, STEPS)
        adam_step(net, moments, i)
    return Outcome(*np.mean(found[-SCORED:], axis=0))


def adam_step(net: WholeNetwork, moments: np.ndarray, number: int, lr: float = 3e-3) -> None:
    gradient = net.grad * min(1.0, 1.0 / np.linalg.norm(net.grad))
    moments[0] += 0.1 * (gradient - moments[0])
    moments[1] += 0.001 * (gradient**2 - moments[1])
    net.theta -= lr * moments[0] / (1 - 0.9**number) / (np.sqrt(moments[1] / (1 - 0.999**number)) + 1e-8)


def test_a_forward_network_knows_one_coin_of_two() -> None:
    found = learned(lookahead=None)
    assert found.error == pytest.approx(0.5, abs=0.03)
    assert 0.99 < found.bits < 1.1


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("lookahead", [-1, 3])
def test_who_sees_three_steps_ahead_knows_both(cell: str, lookahead: int) -> None:
    found = learned(cell=cell, lookahead=lookahead)
    assert found.error < 1e-3
    assert found.bits < 0.05


def test_two_steps_ahead_are_not_enough() -> None:
    assert learned(lookahead=2).error == pytest.approx(0.5, abs=0.03)


def test_whether_both_are_alike_takes_a_second_layer() -> None:
    assert learned(alike=True).error == pytest.approx(0.5, abs=0.04)
    assert learned(alike=True, layers=2, sequences=1500).error < 0.01
