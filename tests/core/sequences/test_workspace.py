"""Tables wire each layer to its neighbours, its weights and memory that a network keeps alive; nothing overlaps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from streamrnn.core.cells import CELLS
from streamrnn.core.declarations import CACHE_LINE
from streamrnn.core.sequences.kinds import SEQUENCE
from streamrnn.core.sequences.workspace import most_answers, new_buffers, new_network
from tests.support.whole_networks import WholeNetwork, layout_of, plan_with

EXAMPLES: list[dict[str, Any]] = [
    {"directions": 1, "layers": 2},
    {"directions": 2, "layers": 3, "n_rows": 4},
    {"directions": 2, "layers": 1, "lookahead": 3, "inputs": 0, "n_rows": 4},
    {"directions": 2, "layers": 2, "kind": SEQUENCE, "n_decoder_rows": 6, "attention": True, "end": 0},
    {"directions": 1, "layers": 1, "kind": SEQUENCE, "n_decoder_inputs": 1},
]
CASES = pytest.mark.parametrize(("cell", "example"), list(itertools.product(CELLS, EXAMPLES)))
OWN = ("gates", "state", "aux", "dh")


def network_of(cell: str, example: dict[str, Any]) -> WholeNetwork:
    sizes = {name: value for name, value in example.items() if name not in {"lookahead", "end"}}
    layout = layout_of(cell, **sizes)
    plan = {"lookahead": example.get("lookahead", -1), "end": example.get("end", -1)}
    return WholeNetwork(layout, plan_with(kind=layout.kind, directions=layout.directions, **plan), lookups=1)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are one place in memory and one shape; without entries they have no place."""
    return a.shape == b.shape and (a.size == 0 or a.ctypes.data == b.ctypes.data)


@CASES
def test_a_network_keeps_alive_whatever_its_tables_name(cell: str, example: dict[str, Any]) -> None:
    net = network_of(cell, example)
    owned = [*net.network, net.theta, net.grad]
    layers = net.rows(net.network.encoder) + net.rows(net.network.decoder)
    assert len(layers) > 0
    for layer in layers:
        for name, array in layer._asdict().items():
            if name != "cell" and array.size and name != "looked_up":
                assert any(np.shares_memory(array, other) for other in owned), name
    # Rows that a reverse layer looks up are turned round, in memory behind those in the order of time.
    whole = net.network.looked_up.base
    assert all(np.shares_memory(row.looked_up, whole) for row in layers[: net.layout.directions])


@CASES
def test_no_two_layers_write_to_one_place(cell: str, example: dict[str, Any]) -> None:
    net = network_of(cell, example)
    layers = net.rows(net.network.encoder) + net.rows(net.network.decoder)
    own = [getattr(layer, name) for layer in layers for name in OWN]
    own += [net.network.x, layers[0].carry, layers[0].d_ih, layers[0].d_hh]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(own, 2))
    assert all(array.ctypes.data % CACHE_LINE == 0 for array in own if array.size)


@CASES
def test_tables_name_the_weights_and_where_their_gradients_go(cell: str, example: dict[str, Any]) -> None:
    net = network_of(cell, example)
    names = [f"rnn.{{}}_l{k}{side}" for k in range(net.layout.num_layers) for side in ("", "_reverse")]
    names = names if net.layout.directions == 2 else names[::2]
    if net.plan.lookahead >= 0:
        names.append("rnn.{}_l0_reverse")
    layers = net.rows(net.network.encoder) + net.rows(net.network.decoder)
    names += [f"decoder.{{}}_l{k}" for k in range(net.layout.decoder_layers)]
    theta, grad = net.layout.named(net.theta), net.layout.named(net.grad)
    for name, layer in zip(names, layers, strict=True):
        for what in ("ih", "hh"):
            assert same(getattr(layer, f"w_{what}"), theta[name.format(f"weight_{what}")].T)
            assert same(getattr(layer, f"dw_{what}"), grad[name.format(f"weight_{what}")].T)
            assert same(getattr(layer, f"b_{what}"), theta[name.format(f"bias_{what}")])
            assert same(getattr(layer, f"db_{what}"), grad[name.format(f"bias_{what}")])
    v = net.layout.views(net.theta)
    assert all(same(layer.w_rows, rows) for layer, rows in zip(layers, v.rows, strict=False))
    decoder = net.rows(net.network.decoder)
    assert not decoder or same(decoder[0].w_rows, v.decoder_rows)
    assert all(len(layer.w_rows) == 0 for layer in decoder[1:])


@CASES
def test_two_sets_of_weights_share_everything_else(cell: str, example: dict[str, Any]) -> None:
    net = network_of(cell, example)
    averaged, theirs = np.zeros_like(net.theta), net.theta
    other = new_network(net.layout, averaged, net.grad, net.buffers)
    for name, mine, its in zip(net.network._fields, net.network, other, strict=True):
        weights = name in {"attention_w", "head_w", "head_b"}
        if name not in {"encoder", "decoder"} and mine.size:
            assert same(mine, its) != weights, name
    for mine, its in zip(net.rows(net.network.encoder), net.rows(other.encoder), strict=True):
        for name, array in mine._asdict().items():
            if name != "cell" and array.size:
                weights = np.shares_memory(array, theirs)
                assert same(array, getattr(its, name)) != weights, name
                assert np.shares_memory(getattr(its, name), averaged) == weights


def test_a_step_that_is_read_forwards_is_copied_nowhere() -> None:
    net = network_of("lstm", {"directions": 1, "layers": 2})
    below, above = net.rows(net.network.encoder)
    assert same(below.x, net.network.x)
    assert same(above.x, below.state[0, 1:])
    assert same(above.dx, below.dh)
    assert len(below.dx) == 0  # nobody asks for the gradient of the inputs
    assert same(net.network.encoded, above.state[0, 1:])
    assert same(net.network.dencoded, above.dh)


def test_memory_grows_with_the_most_steps_and_hardly_with_the_look_ahead() -> None:
    layout = layout_of("gru", hidden=16, directions=2)

    def entries(steps: int, lookahead: int) -> int:
        plan = plan_with(directions=2, max_steps=steps, lookahead=lookahead)
        return sum(array.size for array in new_buffers(layout, plan, 0, np.float32) if isinstance(array, np.ndarray))

    assert entries(2000, -1) < 2.01 * entries(1000, -1)
    assert entries(1000, 100) < 1.1 * entries(1000, -1)
    assert entries(1000, 5000) == entries(1000, 999)  # no pass is longer than the sequence


def test_answers_have_room_for_their_end() -> None:
    assert most_answers(plan_with(max_symbols=5, end=-1)) == 5
    assert most_answers(plan_with(max_symbols=5, end=0)) == 6
    net = network_of("gru", {"kind": SEQUENCE, "n_decoder_rows": 6, "end": 0, "attention": True})
    assert net.network.before.shape == (6, 1)
    assert net.network.decoded.shape == (6, 5)
    assert net.work.weights.shape == (6, 12)
    assert net.work.symbols.shape == (6,)
