"""Cells whose units hear only themselves agree with the slow twin, which goes back through all of a sequence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learner.test_learner_matches_naive import EXAMPLES, check_agreement, pieces
from tests.support.logs import EXACT_CELLS, LOSSES, logs, specs

TRUNKS = EXACT_CELLS[:2]
"""Those that learn by gradients."""


@pytest.mark.slow
@pytest.mark.parametrize("known", ["record", "forecast", "label"])
@EXAMPLES
@given(st.data())
def test_float64_learner_matches_the_twin_however_often_it_is_restored(known: str, data: st.DataObject) -> None:
    losses = LOSSES if known != "forecast" else LOSSES[:6]
    spec = data.draw(specs(losses=losses, known=known, cells=TRUNKS), label="spec")
    block = data.draw(logs(spec, closings=True), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9, restores=True)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float64_readout_by_least_squares_on_exact_cells_and_the_bank_matches_the_twin(data: st.DataObject) -> None:
    spec = data.draw(specs(losses=LOSSES[:1], cells=EXACT_CELLS), label="spec")
    block = data.draw(logs(spec, 30, closings=True), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9, restores=True)


@pytest.mark.slow
@settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 2)
@given(st.data())
def test_float64_learner_of_texts_matches_the_twin(data: st.DataObject) -> None:
    spec = data.draw(specs(losses=(("softmax", "cross_entropy"),), texts=True, cells=TRUNKS), label="spec")
    block = data.draw(logs(spec, 20), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9, restores=True)


@EXAMPLES
@given(st.data())
def test_float32_learner_matches_the_twin(data: st.DataObject) -> None:
    # In float32 both round 1e-7 of each sum; states that add up a thousand inputs with gains of up to 1 / (1 - r) = 100
    # here multiply that, and 25 steps of an optimiser that follows the gradient's size add up to what is allowed.
    # Adam and RMSprop divide by the gradient's own size, which turns rounding of a tiny gradient into a large step.
    spec = data.draw(specs("float32", ("sgd", "momentum"), cells=TRUNKS), label="spec")
    check_agreement(spec, data.draw(logs(spec, 25), label="log"), [], 5e-4)
