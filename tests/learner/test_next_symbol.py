"""Texts and next events go on with what was learned of each other, as far as a symbol is the same to both."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from streamrnn import Block, InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, TargetSpec
from streamrnn.learner.growth import carry_over
from streamrnn.learner.next_symbol import as_text, is_next_event, meant_for
from streamrnn.learner.symbols import Symbols, TextSpec

SYMBOLS = [Symbols(values=("a", "b", "c", "d")), Symbols(open=True, max=3)]


WINDOWS = LearningSpec(k1=2, k2=12, lr=0.02, optimizer="adam")
RULES = [(ModelSpec(hidden_size=12, readout="softmax"), WINDOWS)] + [
    (ModelSpec(cell=cell, hidden_size=12, readout="softmax"), LearningSpec(lr=0.02)) for cell in ("elstm", "glru")
]
each_rule = pytest.mark.parametrize(("model", "learning"), RULES, ids=["windows", "elstm", "glru"])


def spec_of(classes: Symbols, text: TextSpec | None, **changes: Any) -> LearnerSpec:
    spec = LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("s",), known="forecast" if text is None else "record", classes=classes),
        text=text,
        model=RULES[0][0],
        learning=WINDOWS,
        inputs=InputSpec(dt=False),
    )
    return msgspec.structs.replace(spec, **changes)


TEXT = TextSpec(unit="word", mark_end=False)


def taught(spec: LearnerSpec, n: int = 1200) -> Learner:
    learner = Learner(spec, 3)
    loss(learner, n)
    return learner


def loss(learner: Learner, n: int) -> float:
    """Mean loss over a cycle of three symbols."""
    vocabulary = learner.classes
    assert vocabulary is not None
    numbers = np.array([[vocabulary.assign(name)] for name in "aabc" * (n // 4)], np.float64)
    return float(np.nanmean(learner.process(Block.events([b"k"] * n, np.zeros((n, 0)), numbers)).loss))


@pytest.mark.parametrize("symbols", SYMBOLS, ids=["declared", "open"])
@pytest.mark.parametrize("forth", [True, False])
@each_rule
def test_one_goes_on_with_what_the_other_learned(
    symbols: Symbols, forth: bool, model: ModelSpec, learning: LearningSpec
) -> None:
    specs = [spec_of(symbols, text, model=model, learning=learning) for text in (TEXT, None)]
    old, new = specs if forth else specs[::-1]
    learner = taught(old)
    found = meant_for(learner.state(), new)
    assert found.spec == new
    other = Learner(new, 9)
    carry_over(found, other, (), streams=False)
    for name, tensor in learner.get_weights().items():
        np.testing.assert_array_equal(other.get_weights()[name], tensor)
    assert other.counters()["updates"] == learner.counters()["updates"]
    assert len(other.streams) == 0
    # The first few symbols apart, which begin a stream, it knows what comes.
    fresh = taught(new, 20)
    loss(other, 20)
    assert 4 * loss(other, 100) < loss(fresh, 100)


@pytest.mark.parametrize("k", [1, 12])
def test_what_texts_learned_in_windows_without_overlap_goes_on_in_those_of_events(k: int) -> None:
    """Forecasts need k2 > k1; the windows in force are those of the learner that is to begin."""
    old = spec_of(SYMBOLS[1], TEXT, learning=msgspec.structs.replace(WINDOWS, k1=k, k2=k))
    new = spec_of(SYMBOLS[1], None)
    learner, other = taught(old, 100), Learner(new, 9)
    found = meant_for(learner.state(), new)
    assert found.spec == new
    carry_over(found, other, (), streams=False)
    for name, tensor in learner.get_weights().items():
        np.testing.assert_array_equal(other.get_weights()[name], tensor)


def test_what_is_of_its_kind_stays_as_it_is() -> None:
    for text in (TEXT, None):
        state = taught(spec_of(SYMBOLS[0], text), 40).state()
        assert meant_for(state, spec_of(SYMBOLS[0], text)) is state


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (spec_of(SYMBOLS[0], TextSpec(unit="word", mark_end=True)), spec_of(SYMBOLS[0], None)),
        (spec_of(SYMBOLS[0], None), spec_of(SYMBOLS[0], TextSpec(unit="word", mark_end=True))),
        (spec_of(SYMBOLS[0], TEXT), spec_of(SYMBOLS[0], None, symbols=(SYMBOLS[0],))),
        (spec_of(SYMBOLS[0], TEXT), spec_of(SYMBOLS[0], None, n_features=1)),
        (spec_of(SYMBOLS[0], TEXT), spec_of(SYMBOLS[0], None, inputs=InputSpec(dt=False, previous_target=False))),
    ],
)
def test_what_cannot_be_brought_together_is_refused(old: LearnerSpec, new: LearnerSpec) -> None:
    state = Learner(old, 3).state()
    assert meant_for(state, new) is state
    with pytest.raises(ValueError, match=r"text|target\.known"):
        carry_over(state, Learner(new, 9), (), streams=False)


@each_rule
def test_next_events_become_texts_by_word_without_an_end(model: ModelSpec, learning: LearningSpec) -> None:
    learner = taught(spec_of(SYMBOLS[1], None, model=model, learning=learning), 40)
    assert is_next_event(learner.spec)
    found = as_text(learner.state())
    assert found.spec == spec_of(SYMBOLS[1], TEXT, model=model, learning=learning)
    found.require_fit(found.spec)
    assert found.keys == []
