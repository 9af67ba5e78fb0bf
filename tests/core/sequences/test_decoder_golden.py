"""Encoder, attention and decoder together against PyTorch: one pass over a sequence, the gradient of each weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core import losses
from streamrnn.core.sequences import decoder, trunk
from streamrnn.core.sequences.kinds import SEQUENCE
from tests.support.golden import DATA, load, tensors
from tests.support.whole_networks import WholeNetwork, layout_of, plan_with

CASES = sorted(path.stem for path in DATA.glob("decoder_*.npz"))
LEVELS = np.array([0.5])


def network_of(name: str, case: dict[str, Any]) -> WholeNetwork:
    weights = tensors(case, "w")
    symbols, directions = name.endswith("symbols"), 1 + any(key.endswith("_reverse") for key in weights)
    shown, attention = weights["decoder.weight_ih_l0"].shape[1], "attention.weight" in weights
    layout = layout_of(
        name.split("_")[1],
        inputs=case["x"].shape[1],
        hidden=weights["rnn.weight_hh_l0"].shape[1],
        layers=sum(key.startswith("decoder.weight_hh") for key in weights),
        outputs=len(weights["head.bias"]),
        directions=directions,
        kind=SEQUENCE,
        n_decoder_inputs=0 if symbols else shown,
        n_decoder_rows=shown if symbols else 0,
        attention=attention,
    )
    end = int(case["end"]) if symbols else -1
    plan = plan_with(
        kind=SEQUENCE, directions=directions, attention=int(attention), max_symbols=len(case["answer"]), end=end
    )
    theta = np.zeros(layout.size)
    layout.set_weights(theta, weights)
    return WholeNetwork(layout, plan, theta)


def learn(net: WholeNetwork, case: dict[str, Any]) -> tuple[float, np.ndarray]:
    """The loss and the raw outputs; gradients are left where they belong."""
    plan, network, work = net.plan, net.network, net.work
    T, answer, used = len(case["x"]), case["answer"], net.layout.n_outputs
    network.x[:T] = case["x"]
    trunk.zero_state(network)
    trunk.forward(network, T)
    if plan.end >= 0:
        work.symbols[: len(answer)] = answer
        n = decoder.teach_symbols(plan, network, work, T, len(answer), used)
        loss = decoder.symbols_gradient(work, n, used)
    else:
        numbers = np.ascontiguousarray(answer[:, None])
        n = decoder.teach_numbers(plan, network, work, T, numbers, used)
        loss = decoder.numbers_gradient(losses.SQUARED, work, numbers, LEVELS, 1.0, n, used)
    decoder.backward(plan, network, work, T, n, used)
    trunk.backward(network, T)
    return loss, work.logits[:n]


@pytest.mark.parametrize("name", CASES)
def test_encoder_and_decoder_match_pytorch(name: str) -> None:
    case = load(name)
    net = network_of(name, case)
    loss, raw = learn(net, case)
    assert loss == pytest.approx(float(case["loss"]), rel=1e-12)
    np.testing.assert_allclose(raw, case["raw"], rtol=0, atol=1e-12)
    gradients, expected = net.layout.get_weights(net.grad), tensors(case, "g")
    assert gradients.keys() == expected.keys()
    for key, gradient in expected.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=1e-10, err_msg=key)


def test_all_cells_and_kinds_have_their_case() -> None:
    assert len(CASES) == 12
