"""What is said greedily and by a beam, against the slow twin and against trying everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core.cells import CELLS
from streamrnn.core.sequences import decoding
from tests.support.decoders import Built, Case

Array = np.ndarray
SHAPES = [(1, 1, True), (2, 2, True), (2, 1, False)]


def said_by(case: Case, end_bias: float = 0.0) -> tuple[Built, list[int], Array]:
    built = Built(case)
    built.weights["head.bias"][case.end] += end_bias
    n = decoding.say(built.plan, built.network, built.scratch, case.T, case.used)
    return built, built.scratch.said[:n].tolist(), built.scratch.said_value[:n]


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize(("layers", "directions", "attention"), SHAPES)
def test_greedy_says_what_the_twin_says(cell: str, layers: int, directions: int, attention: bool) -> None:
    lengths = set()
    for seed in range(12):
        case = Case(cell, layers, directions, attention, used=4, seed=seed, scale=1.5)
        built, said, probabilities = said_by(case)
        expected, likely = built.twin().greedy(case.end, case.used, case.most)
        assert said == expected, seed
        np.testing.assert_allclose(probabilities, likely, rtol=1e-12)
        lengths.add(len(said))
    assert len(lengths) > 1


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize(("layers", "directions", "attention"), SHAPES)
@pytest.mark.parametrize("width", [2, 3, 8])
def test_a_beam_says_what_the_twin_says(cell: str, layers: int, directions: int, attention: bool, width: int) -> None:
    for seed in range(8):
        case = Case(cell, layers, directions, attention, used=4, beam=width, seed=seed, scale=1.5)
        built, said, probabilities = said_by(case)
        twin = built.twin()
        assert said == twin.beam(case.end, case.used, case.most, width), seed
        expected = twin.log_probabilities(said, case.end, case.used)[:-1]
        np.testing.assert_allclose(np.log(probabilities), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("attention", [True, False])
def test_a_beam_with_room_for_all_finds_the_best_of_all(attention: bool) -> None:
    """Three symbols and the end, up to four of them: 81 can be alive at once, and 40 have ended."""
    greedy_differs, lengths = 0, set()
    for seed in range(15):
        case = Case("gru", 1, 1, attention, symbols=4, used=4, most=4, beam=400, seed=seed, scale=2.0)
        built, said, _ = said_by(case)
        twin = built.twin()
        assert said == twin.exhaustive(case.end, case.used, case.most), seed
        greedy_differs += said != twin.greedy(case.end, case.used, case.most)[0]
        lengths.add(len(said))
    assert greedy_differs > 0
    assert len(lengths) > 1


def test_a_beam_of_one_says_what_greedy_says() -> None:
    for seed in range(10):
        case = Case("lstm", 1, 2, seed=seed, scale=1.5)
        built, said, _ = said_by(case)
        greedy = said
        n = decoding.beam(built.plan, built.network, built.scratch, case.T, case.used, 1)
        assert built.scratch.said[:n].tolist() == greedy, seed


@pytest.mark.parametrize("width", [1, 3])
def test_ties_go_to_the_lower_number(width: int) -> None:
    """All of the head's weights are zero, so all symbols are alike; the end is the last but likelier than none."""
    case = Case(symbols=4, used=4, end=3, most=3, beam=width)
    built = Built(case)
    built.network.head_w[:] = 0
    built.network.head_b[:] = 0
    n = decoding.say(built.plan, built.network, built.scratch, case.T, case.used)
    assert built.scratch.said[:n].tolist() == [0, 0, 0]
    np.testing.assert_allclose(built.scratch.said_value[:n], 0.25)


@pytest.mark.parametrize("width", [1, 4])
def test_nothing_is_said_where_the_end_comes_first_and_no_more_than_allowed_where_it_never_comes(width: int) -> None:
    assert said_by(Case(beam=width), end_bias=50.0)[1] == []
    _, said, _ = said_by(Case(beam=width), end_bias=-50.0)
    assert len(said) == Case().most
    assert Case().end not in said


@pytest.mark.parametrize("width", [1, 3])
def test_where_each_step_looked_stays_in_the_scratch(width: int) -> None:
    case = Case("gru", beam=width, seed=3, T=5)
    built, said, _ = said_by(case, -3.0)
    twin = built.twin()
    expected = twin.weights_of_attention(twin.inputs_of(said, case.end))
    assert len(said) > 0
    np.testing.assert_allclose(built.scratch.weights[: len(said), :5], expected[: len(said)], rtol=1e-12)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("attention", [True, False])
def test_each_number_is_the_next_input(cell: str, attention: bool) -> None:
    case = Case(cell, 2, 2, attention, symbols=0, levels=3, used=3, most=5)
    built = Built(case)
    n = decoding.say(built.plan, built.network, built.scratch, case.T, case.used)
    assert n == 5
    np.testing.assert_allclose(built.scratch.said_value[:n], built.twin().numbers(5), rtol=1e-11)
    np.testing.assert_array_equal(built.scratch.logits[:n, 1], built.scratch.said_value[:n])
    assert not built.scratch.said[:n].any()


@pytest.mark.parametrize("width", [1, 3])
def test_float32_says_what_float64_says_but_for_its_rounding(width: int) -> None:
    wide: Any = said_by(Case(beam=width, seed=4, dtype=np.float64))
    narrow: Any = said_by(Case(beam=width, seed=4, dtype=np.float32))
    assert wide[1] == narrow[1]
    np.testing.assert_allclose(wide[2], narrow[2], rtol=1e-4)
