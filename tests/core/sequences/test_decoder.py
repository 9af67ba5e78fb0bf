"""What a decoder says and learns, against the slow twin and against central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from streamrnn.core import losses
from streamrnn.core.arrays import I1
from streamrnn.core.cells import CELLS
from streamrnn.core.jit import jit
from streamrnn.core.sequences import decoder
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from tests.oracle.decoder import Gradients
from tests.support.decoders import Built, Case

Array = np.ndarray
SHAPES = [(1, 1, True), (2, 2, True), (1, 2, False), (2, 1, False)]
"""Layers, directions, attention."""
PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-12)]


def learn_symbols(built: Built, count: int) -> float:
    case, arrays = built.case, (built.plan, built.network, built.scratch)
    n = decoder.teach_symbols(*arrays, case.T, count, case.used)
    loss = decoder.symbols_gradient(built.scratch, n, case.used)
    decoder.backward(*arrays, case.T, n, case.used)
    return float(loss)


def learn_numbers(built: Built, numbers: Array, loss: int, levels: Array) -> float:
    case, arrays = built.case, (built.plan, built.network, built.scratch)
    n = decoder.teach_numbers(*arrays, case.T, numbers, case.used)
    value = decoder.numbers_gradient(loss, built.scratch, numbers, levels, 1.0, n, case.used)
    decoder.backward(*arrays, case.T, n, case.used)
    return float(value)


@jit
def go_step_by_step(
    plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, symbols: I1, used: int
) -> None:
    """``start`` is part of its caller and cannot be called from Python."""
    decoder.start(plan, network, T)
    for t in range(symbols.shape[0]):
        network.before[0, 0] = symbols[t]
        decoder.step(plan, network, scratch, T, t, used)


def spoken(case: Case, answer: list[int]) -> tuple[Built, float]:
    built = Built(case)
    built.scratch.symbols[: len(answer)] = answer
    return built, learn_symbols(built, len(answer))


def expected_of_symbols(built: Built, answer: list[int]) -> tuple[float, Gradients]:
    """The loss and its gradients, by the twin."""
    case, twin = built.case, built.twin()
    logits, tape = twin.run(twin.inputs_of(answer, case.end))
    said = np.array([*answer, case.end])
    p = np.exp(logits[:, : case.used] - logits[:, : case.used].max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(said))
    d = np.zeros_like(logits)
    d[:, : case.used] = p
    d[rows, said] -= 1
    return float(-np.log(p[rows, said]).mean()), twin.backward(tape, d / len(said))


def pairs(written: Gradients, expected: Gradients) -> Iterator[tuple[str, Array, Array]]:
    for name, gradient in expected.weights.items():
        yield name, written.weights[name], gradient
    yield "encoded", written.encoded, expected.encoded
    for k, (mine, theirs) in enumerate(zip(written.start, expected.start, strict=True)):
        for part, a, b in zip("hc", mine, theirs, strict=False):
            yield f"{part} before layer {k}", a, b


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize(("layers", "directions", "attention"), SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_loss_and_gradients_of_symbols_match_the_twin(
    cell: str, layers: int, directions: int, attention: bool, dtype: Any, tolerance: float
) -> None:
    case = Case(cell, layers, directions, attention, used=4, units=5, T=11, dtype=dtype)
    answer = [0, 3, 3, 2]
    built, loss = spoken(case, answer)
    expected_loss, expected = expected_of_symbols(built, answer)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    for name, mine, theirs in pairs(built.gradients_written(), expected):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize(("layers", "directions", "attention"), SHAPES)
def test_loss_and_gradients_of_numbers_match_the_twin(cell: str, layers: int, directions: int, attention: bool) -> None:
    case = Case(cell, layers, directions, attention, symbols=0, levels=3, used=3, most=4)
    built, levels = Built(case), np.array([0.1, 0.5, 0.9])
    numbers = np.array([[0.4], [np.nan], [-1.2], [0.3]])
    value = learn_numbers(built, numbers, losses.QUANTILE, levels)
    twin = built.twin()
    logits, tape = twin.run(np.array([[0.0], [0.4], [0.0], [-1.2]]))  # an unknown number is shown as the mean
    error = logits - numbers
    slope = np.nan_to_num(np.where(error > 0, 1 - levels, -levels) * np.where(np.isnan(error), np.nan, 1.0))
    assert value == pytest.approx(float(np.nansum(slope * error) / 9), rel=1e-12)
    for name, mine, theirs in pairs(built.gradients_written(), twin.backward(tape, slope / 9)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize(("layers", "directions", "attention"), SHAPES)
@pytest.mark.parametrize("kind", ["symbols", "numbers"])
def test_gradients_match_central_differences(
    cell: str, layers: int, directions: int, attention: bool, kind: str
) -> None:
    case = Case(cell, layers, directions, attention, units=2, T=3, most=3, used=4, seed=8)
    if kind == "numbers":
        case = Case(cell, layers, directions, attention, symbols=0, levels=1, used=1, units=2, T=3, most=3, seed=8)
    built, value = loss_of(case)
    value()
    written = built.gradients_written()
    gradients = {name: gradient.copy() for name, gradient in written.weights.items()}
    arrays = dict(built.weights) | {"encoded": built.network.encoded[: case.T]}
    gradients["encoded"] = written.encoded.copy()
    for k, layer in enumerate(built.finals):
        for c in range(built.C):
            arrays[f"final {k} {c}"] = layer.state[c, case.T]
            gradients[f"final {k} {c}"] = built.network.dlast[k, c].copy()
    for name, array in arrays.items():
        for index in np.ndindex(array.shape):
            slope = central_difference(array, index, value)
            assert gradients[name][index] == pytest.approx(slope, rel=1e-6, abs=1e-9), (name, index)


def loss_of(case: Case) -> tuple[Built, Callable[[], float]]:
    built = Built(case)

    def symbols() -> float:
        built.scratch.symbols[:3] = 2, 0, 2
        return learn_symbols(built, 3)

    def numbers() -> float:
        targets, levels = np.array([[0.7], [-0.4], [1.1]]), np.array([0.5])
        return learn_numbers(built, targets, losses.SQUARED, levels)

    return built, numbers if case.levels else symbols


def central_difference(array: Array, index: tuple[int, ...], value: Callable[[], float], step: float = 1e-3) -> float:
    """Of the fourth order: the softmax's exponential is right to 1e-13, which a shorter step would make too much of."""
    kept, values = array[index], []
    for steps in (-2, -1, 1, 2):
        array[index] = kept + steps * step
        values.append(value())
    array[index] = kept
    return (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * step)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("attention", [True, False])
def test_a_run_equals_its_steps_one_by_one_to_the_bit(dtype: Any, attention: bool) -> None:
    """What is learned goes through all steps at once, what is said through one after the other."""
    case = Case("gru", 2, 2, attention, symbols=11, used=9, units=5, T=19, dtype=dtype)
    answer = [0, 3, 8, 2, 2]
    built, _ = spoken(case, answer)
    rows = slice(0, len(answer) + 1)
    logits, weights = built.scratch.logits[rows, :9].copy(), built.scratch.weights[rows, :19].copy()
    before = np.array([case.end, *answer])
    go_step_by_step(built.plan, built.network, built.scratch, case.T, before, case.used)
    assert built.scratch.logits[rows, :9].tobytes() == logits.tobytes()
    assert not attention or built.scratch.weights[rows, :19].tobytes() == weights.tobytes()


def test_outputs_that_are_not_in_use_receive_no_gradient_and_the_end_alone_can_be_learned() -> None:
    built, loss = spoken(Case(used=3), [])
    assert built.scratch.symbols[0] == built.case.end
    assert np.isfinite(loss)
    assert built.gradients["head.weight"][:3].all()
    assert not built.gradients["head.weight"][3:].any()
    assert not built.gradients["head.bias"][3:].any()
