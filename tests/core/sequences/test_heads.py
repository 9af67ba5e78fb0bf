"""Heads read what they say they read, hand back its gradient, and leave outputs alone that are not in use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core.sequences import heads
from streamrnn.core.sequences.kinds import LABEL, LABELS
from tests.support.whole_networks import WholeNetwork, central_differences, layout_of, plan_with


def told(directions: int, kind: int, steps: int, outputs: int) -> WholeNetwork:
    """A network whose trunk has said something of so many steps."""
    rng = np.random.default_rng(4)
    layout = layout_of("gru", hidden=3, outputs=outputs, directions=directions, kind=kind)
    plan = plan_with(kind=kind, directions=directions)
    net = WholeNetwork(layout, plan, rng.standard_normal(layout.size))
    net.network.encoded[:steps] = rng.standard_normal((steps, layout.encoded_size))
    return net


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_label_is_read_from_the_mean_and_from_the_states_that_have_seen_all(directions: int, steps: int) -> None:
    net = told(directions, LABEL, steps, 4)
    network, work, encoded = net.network, net.work, net.network.encoded[:steps]
    heads.label_forward(network, work, steps, 4)
    last = encoded[-1] if directions == 1 else np.concatenate([encoded[-1, :3], encoded[0, 3:]])
    expected = network.head_w @ np.concatenate([encoded.mean(axis=0), last]) + network.head_b
    np.testing.assert_allclose(work.logits[0], expected, rtol=0, atol=1e-13)
    work.logits[:] = np.nan
    heads.label_raw(network, work, 4)  # what was summed up elsewhere, where a sequence is not over
    np.testing.assert_allclose(work.logits[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [1, 3, 8, 11])
def test_steps_are_read_one_by_one_as_far_as_outputs_are_in_use(n: int) -> None:
    net = told(2, LABELS, 5, 11)
    network, work = net.network, net.work
    heads.steps_forward(network, work, 5, n)
    expected = network.encoded[:5] @ network.head_w.T + network.head_b
    np.testing.assert_allclose(work.logits[:5, :n], expected[:, :n], rtol=0, atol=1e-13)
    assert np.isnan(work.logits[:5, n:]).all()


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", [LABEL, LABELS])
@pytest.mark.parametrize(("steps", "n"), [(1, 1), (4, 9), (7, 11)])
def test_gradients_match_central_differences(directions: int, kind: int, steps: int, n: int) -> None:
    net = told(directions, kind, steps, 11)
    network, work, of = net.network, net.work, np.random.default_rng(5).standard_normal((steps, n))
    forward: Any = heads.label_forward if kind == LABEL else heads.steps_forward
    backward: Any = heads.label_backward if kind == LABEL else heads.steps_backward
    told_rows = 1 if kind == LABEL else steps

    def value() -> float:
        forward(network, work, steps, n)
        return float((work.logits[:told_rows, :n] * of[:told_rows]).sum())

    arrays = {"w": network.head_w, "b": network.head_b, "encoded": network.encoded[:steps]}
    expected = central_differences(arrays, value)
    value()
    work.dlogits[:told_rows, :n] = of[:told_rows]
    backward(network, work, steps, n)
    found = {"w": network.dhead_w, "b": network.dhead_b, "encoded": network.dencoded[:steps]}
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-6, atol=1e-9, err_msg=name)
    assert not network.dlast.any()
    assert not network.dhead_w[n:].any()
    assert not network.dhead_b[n:].any()
