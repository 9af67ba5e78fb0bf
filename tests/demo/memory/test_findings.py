"""Claims about the sentences: they follow from the numbers, also from such as nobody expects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamrnn.demo.memory import findings
from streamrnn.demo.memory.explosion import CLIPS
from streamrnn.demo.memory.findings import Measured
from streamrnn.demo.memory.lags import WINDOWS
from streamrnn.demo.memory.networks import NETWORKS
from tests.demo.memory import made_up


def test_gradients_vanish_where_less_than_a_hundredth_is_left_of_all_and_are_named_from_the_least() -> None:
    said = findings.vanishing(made_up.starts(2e-8, 3e-18, 4e-5, 0.2, 0.11))
    assert said.startswith(
        "Gradients vanish: 128 steps back the share that is left is GRU 3e-18, RNN 2e-08, LSTM 4e-05"
    )
    assert said.endswith("0.1 or more")
    assert findings.vanishing(made_up.starts(0.5, 0.2, 0.3, 0.2, 0.2)).startswith("Gradients shrink")


def test_the_cells_whose_gradient_learning_changed_most_are_named() -> None:
    after = made_up.learned(0.75, 0.03)
    after.gradient[NETWORKS[2]] = made_up.fading(1e-12)
    said = findings.after_learning(made_up.starts(2e-8, 3e-18, 4e-5, 0.2, 0.11), after)
    assert "GRU from 3e-18 to 0.03, LSTM from 4e-05 to 1e-12, though the LSTM recalls 75% over 128 steps" in said


@pytest.mark.parametrize(("longest", "word"), [(64, "limits every cell"), (16, "limits not every cell")])
def test_the_window_limits_those_that_bridge_more_with_a_longer_one(longest: int, word: str) -> None:
    lags = {k2: made_up.everywhere(bridged) for k2, bridged in zip(WINDOWS, (16, 32, longest), strict=True)}
    lags[WINDOWS[1]] = {**lags[WINDOWS[1]], NETWORKS[0]: 8}
    said = findings.windows(lags)
    assert word in said
    assert f"k2 = 8, 32 and 128 they bridge 16, 8 to 32 and {longest} steps" in said


def test_many_lengths_overcome_it_only_where_they_do() -> None:
    good, bad = made_up.learned(0.97, 0.1), made_up.learned(0.3, 0.1)
    assert findings.lengths({"one": bad, "many": good}).startswith("Many lengths overcome it")
    assert "5 of 5 recall over 4,096 steps; having learned 128 alone, 0 of 5" in findings.lengths(
        {"one": bad, "many": good}
    )
    assert "overcome" not in findings.lengths({"one": good, "many": bad})
    assert "overcome" not in findings.lengths({"one": good, "many": good})


def test_the_cell_that_explodes_is_told_beside_those_that_do_not() -> None:
    found = {clip: {n: made_up.course(0.5, 0.0, 0.02) for n in NETWORKS} for clip in CLIPS}
    assert "gradient shrinks to 0.5 in 64 steps: 0.0% of its windows" in findings.explosion(found)
    found[None][NETWORKS[1]] = made_up.course(12_345.0, 0.996, 1e9)
    said = findings.explosion(found)
    assert "the GRU's gradient grows 12,345-fold in 64 steps: 99.6% of its windows are not finite" in said
    assert "clipped 0.0%; of the other cells' unclipped 0.0%" in said


@pytest.mark.parametrize(("deep", "verb"), [(32, "do not lengthen"), (16, "do not lengthen"), (64, "lengthen")])
def test_layers_lengthen_memory_only_where_more_of_them_bridge_more(deep: int, verb: str) -> None:
    layers = {1: made_up.everywhere(32), 2: made_up.everywhere(32), 3: made_up.everywhere(deep)}
    cpu_us = {n: dict.fromkeys(NETWORKS, 0.5 * n) for n in (1, 2, 3)}
    said = findings.depth(layers, cpu_us)
    assert said.startswith(f"More layers {verb} memory")
    assert f"bridges 32, 32 and {deep} steps with 1, 2 and 3 layers, at 1.0, 2.0 and 3.0 times the CPU" in said


def test_only_what_was_measured_is_told() -> None:
    whole = made_up.measured()
    assert findings.sentences(Measured()) == []
    assert len(findings.sentences(Measured(start=whole.start))) == 1
    assert len(findings.sentences(replace(whole, layers=None, cpu_us=None))) == 5
    assert len(findings.sentences(whole)) == 6
