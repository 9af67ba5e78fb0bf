"""Sets of symbols that take more: nothing that is said changes by it, and what had no number gets its own.

A symbol beyond the bound of an open set was looked up as "other"; its own row begins as a copy of that. One that was in
no declared set counted as missing; its row begins at zero. So it is the coming ones from which the rows are learned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from streamrnn import Block, Learner, LearnerSpec, LearningSpec, ModelSpec, Symbols, TextSpec
from streamrnn.learner.changes import refusals
from streamrnn.learner.growth import carry_over
from streamrnn.learner.predictions import Predictions
from tests.support.learners import bits_of, bits_of_predictions, differing
from tests.support.logs import part
from tests.support.symbols import ALL, CLOSED, log_of, spec_of

SEED = 3
BATCHES = with_fields(ALL["next event"], learning=LearningSpec(k1=2, k2=5, lr=0.02, batch_size=3, optimizer="adamw"))
OLD = {**ALL, "in batches": BATCHES}
RAISED = [name for name, spec in OLD.items() if spec.target.is_open]
APPENDED = ("closed", "declared characters")


def larger(spec: LearnerSpec) -> LearnerSpec:
    """Each set takes more: the open ones five, the declared ones "?" (a class of records: "k")."""
    return with_fields(
        spec,
        symbols=tuple(map(more, spec.symbols)),
        target=with_fields(spec.target, classes=more(spec.target.classes)),
    )


def more(of: Any) -> Any:
    if isinstance(of, tuple):
        return (*of, "k")
    if of.bytes:
        return of
    return Symbols(open=True, max=of.max + 5) if of.open else Symbols(values=(*of.values, "?"))


def grown(name: str, n: int = 60, **options: Any) -> tuple[Learner, Learner]:
    """A learner whose sets overflowed and the larger one that took over, of other weights at the start."""
    source, target = Learner(OLD[name], SEED), Learner(larger(OLD[name]), SEED + 1)
    source.process(log_of(OLD[name], n))
    carry_over(source.state(), target, [0], **options)
    return source, target


def only_known(learner: Learner, n: int = 60) -> Block:
    """Records of the symbols that the learner has a number for."""
    block = log_of(learner.spec, n, seed=9)

    def kept(texts: Any, vocabulary: Any) -> Any:
        return [text if text is None or vocabulary.number(text) > 0 else None for text in texts]

    symbols = tuple(map(kept, block.symbols, learner.vocabularies))
    if block.labels is not None:
        return replace(block, symbols=symbols, labels=kept(block.labels, learner.classes))
    if block.texts is None or isinstance(block.texts[0], bytes):
        return replace(block, symbols=symbols)
    vocabulary = learner.classes
    assert vocabulary is not None
    units = [[unit for unit in text if vocabulary.number(str(unit)) > 0] for text in block.texts]
    assert any(units)
    texts: Any = ["".join(map(str, text)) for text in units] if isinstance(block.texts[0], str) else units
    return replace(block, symbols=symbols, texts=texts)


def assert_said_alike(after: Predictions, before: Predictions) -> None:
    """To the bit; outputs that are not in use have no probability."""
    shared = before.value.shape[1]
    assert (after.value[:, shared:][~np.isnan(before.value[:, 0])] == 0.0).all()
    found = replace_values(after, after.value[:, :shared])
    assert differing(bits_of_predictions(found), bits_of_predictions(before)) == []


def replace_values(of: Predictions, values: Any) -> Predictions:
    fields = {name: getattr(of, name) for name in Predictions.__slots__} | {"value": np.ascontiguousarray(values)}
    return Predictions(**fields)


# -- nothing that is said changes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("name", RAISED)
def test_predictions_are_the_same_bits_also_of_symbols_that_have_no_number_yet(name: str, streams: bool) -> None:
    source, target = grown(name, streams=streams)
    assert refusals(source.spec, target.spec) == []
    later = log_of(OLD[name], 60, seed=5)
    if not streams:
        later = replace(later, keys=[b"new %d" % i for i in range(60)])
    before = source.predict(later)
    assert np.ptp(before.value[:, 0]) > 1e-3
    assert_said_alike(target.predict(later), before)


@pytest.mark.parametrize("name", [*RAISED, "bytes"])
def test_learning_goes_on_with_the_same_bits_where_no_new_symbol_comes(name: str) -> None:
    source, target = grown(name)
    rest = only_known(source)
    assert_said_alike(target.process(replace(rest, y=rest.y.copy())), source.process(rest))
    assert target.counters()["updates"] == source.counters()["updates"] > 5
    weights, before = (of.get_weights()["rnn.weight_hh_l0"] for of in (target, source))
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("name", RAISED)
def test_a_symbol_is_at_first_what_other_was_and_one_that_comes_again_is_learned(name: str) -> None:
    source, target = grown(name)
    pages = target.vocabularies[0]
    assert source.vocabularies[0].number("z") == pages.number("z") == 0
    one = replace(part(log_of(OLD[name], 60, seed=5), 0, 1), symbols=(["z"], ["on"]), keys=[b"unseen"])
    empty: Any = None if one.texts is None else [type(one.texts[0])()]
    one = replace(one, kind=np.zeros(1, np.uint8), texts=empty)
    before, after = (learner.process(replace(one, y=one.y.copy())) for learner in (source, target))
    np.testing.assert_array_equal(after.loss, before.loss)
    if name != "characters":  # whose end, which is scored above, is learned before the prediction of what comes next
        np.testing.assert_array_equal(after.value[:, : before.value.shape[1]], before.value)
    number = pages.number("z")
    assert (number, source.vocabularies[0].number("z")) == (source.vocabularies[0].known, 0)
    assert (pages.label(number), pages.overflowed) == ("z", source.vocabularies[0].overflowed - 1)
    weights = target.get_weights()["rnn.weight_ih_l0"]
    first = target.spec.n_multiplied
    np.testing.assert_array_equal(weights[:, first + number + 1], weights[:, first])  # nobody came for this one yet
    rest = only_known(source)
    target.process(replace(rest, symbols=(["z"] * len(rest), rest.symbols[1])))
    weights = target.get_weights()["rnn.weight_ih_l0"]
    assert not np.array_equal(weights[:, first + number], weights[:, first])


# -- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAISED)
def test_classes_beyond_the_bound_get_outputs_as_they_come(name: str) -> None:
    source, target = grown(name)
    assert source.classes is not None
    assert target.classes is not None
    assert source.classes.known == source.classes.size == target.classes.known < target.classes.size
    assert target.state().model["outputs_in_use"].tolist() == [source.classes.known]
    assert [target.classes.label(n) for n in range(target.classes.known)] == [
        source.classes.label(n) for n in range(source.classes.known)
    ]
    assert target.classes.overflowed == source.classes.overflowed > 0
    later = target.process(log_of(OLD[name], 60, seed=5)).value
    assert target.classes.known == target.classes.size
    assert np.nanmax(later[:, source.spec.n_outputs :]) > 0.01
    assert target.state().model["outputs_in_use"].tolist() == [target.classes.size]


def test_a_larger_next_event_learner_comes_to_predict_what_had_no_number() -> None:
    """A cycle of which only the first two had one; the last two are told apart afterwards."""
    spec = spec_of(
        {"known": "forecast", "classes": Symbols(open=True, max=2)},
        n_features=0,
        symbols=(),
        model=ModelSpec(hidden_size=8, readout="softmax"),
        learning=LearningSpec(k1=2, k2=6, lr=0.02),
    )
    source, target = Learner(spec, SEED), Learner(larger(spec), SEED)

    def cycles(n: int) -> Block:
        labels = list("abcd" * n)
        return replace(Block.events([b"s"] * 4 * n, np.zeros((4 * n, 0)), np.zeros((4 * n, 1))), labels=labels)

    source.process(cycles(200))
    carry_over(source.state(), target, [])
    target.process(cycles(200))
    loss = target.process(cycles(20)).loss
    assert np.nanmean(loss) < 0.1
    assert target.classes is not None
    assert [target.classes.number(label) for label in "abcd"] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", APPENDED)
def test_declared_sets_take_new_values_behind_the_others(name: str) -> None:
    source, target = grown(name)
    outputs = source.spec.n_outputs
    later = log_of(OLD[name], 60, seed=5)
    before, after = source.predict(later).value, target.predict(later).value
    asked = ~np.isnan(before[:, 0])
    share = after[:, :outputs] / after[:, :outputs].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(share[asked], before[asked], rtol=1e-12)
    assert (after[asked, outputs] <= after[asked, :outputs].max(axis=1)).all()
    assert target.vocabularies[1].number("?") == 2 > source.vocabularies[1].number("?") == -1
    target.process(later)
    weights, first = target.get_weights()["rnn.weight_ih_l0"], target.spec.n_multiplied + target.vocabularies[0].size
    assert weights[:, first + 2].any()  # "?" came, and was learned from


@pytest.mark.parametrize("name", ["closed", "next event"])
def test_what_was_predicted_before_there_was_a_class_is_scored_as_it_was_said(name: str) -> None:
    source, target = grown(name)
    state = source.state()
    said = {key: state.streams["remembered"][i, 0] for i, key in enumerate(state.keys) if key is not None}
    key = next(key for key in said if source.row_of(key)["steps"] > 0)
    rest = part(log_of(OLD[name], 60, seed=5), 0, 1)
    right = float(said[key].argmax())
    rest = replace(rest, kind=np.zeros(1, np.uint8), y=np.full((1, 1), right), keys=[key], labels=None)
    before, after = source.process(replace(rest, y=rest.y.copy())), target.process(rest)
    assert before.error.tolist() == after.error.tolist() == [0.0]
    np.testing.assert_array_equal(after.loss, before.loss)


def test_a_class_that_comes_right_after_it_was_declared_was_the_least_probable() -> None:
    source, target = grown("closed")
    state = source.state()
    key = next(key for key in state.keys if key is not None and source.row_of(key)["steps"] > 0)
    lowest = state.streams["remembered"][state.keys.index(key), 0].min()
    rest = replace(part(log_of(OLD["closed"], 60, seed=5), 0, 1), kind=np.zeros(1, np.uint8), keys=[key])
    said = target.process(replace(rest, y=np.full((1, 1), float(source.spec.n_outputs))))
    assert (said.loss.tolist(), said.error.tolist()) == ([-np.log(lowest)], [1.0])
    assert np.isfinite(target.state().model["gauges"]).all()


# -- what does not go together ----------------------------------------------------------------------------------------


def test_lowering_a_bound_or_taking_values_out_is_refused_and_nothing_changes() -> None:
    for name in (*RAISED, *APPENDED):
        source, target = Learner(larger(OLD[name]), SEED), Learner(OLD[name], SEED)
        source.process(log_of(OLD[name], 12))
        before = bits_of(target)
        with pytest.raises(ValueError, match=r"symbols: .*target\.classes: "):
            carry_over(source.state(), target, [0])
        assert differing(bits_of(target), before) == []


def test_texts_of_bytes_have_the_256_bytes_and_no_other_texts_have() -> None:
    for unit, classes in (("byte", CLOSED), ("byte", Symbols(open=True)), ("character", Symbols(bytes=True))):
        found = "bytes: true" if classes.bytes else "another set than the 256 bytes"
        with pytest.raises(ValueError, match=rf"target.classes: found {found} with text.unit: {unit}; expected bytes"):
            spec_of({"classes": classes}, TextSpec(unit=unit))
