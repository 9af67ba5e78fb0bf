"""Symbols, open sets and texts in a learner: the same bits for any cut, save and restore; what comes out of texts."""

from __future__ import annotations

import copy
import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from streamrnn import Block, Learner, LearnerSpec, Symbols, TextSpec
from streamrnn.core.kinds import EVENT, FORGET, LABEL
from streamrnn.learner import rows
from streamrnn.learner.block import PREDICT
from streamrnn.learner.growth import carry_over
from streamrnn.learner.predictions import Predictions
from streamrnn.storage.blobs import DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Progress, new_lineage
from streamrnn.storage.model_file import ModelFile, load_model, save_model
from streamrnn.storage.snapshot import take_snapshot
from tests.support.learners import bits_of, bits_of_predictions, differing, one_by_one
from tests.support.logs import part
from tests.support.symbols import ALL, OF_RECORDS, OF_TEXTS, log_of, spec_of

SEED = 3
every_spec = pytest.mark.parametrize("name", ALL)
of_records = pytest.mark.parametrize("name", OF_RECORDS)
of_texts = pytest.mark.parametrize("name", OF_TEXTS)


def taught(name: str, n: int = 60) -> Learner:
    learner = Learner(ALL[name], SEED)
    learner.process(log_of(ALL[name], n))
    return learner


# -- cuts, saving and restoring ---------------------------------------------------------------------------------------


@every_spec
def test_a_log_cut_at_every_record_gives_the_same_bits(name: str) -> None:
    spec, block = ALL[name], log_of(ALL[name], 60)
    whole, by_record, in_three = (Learner(spec, SEED) for _ in range(3))
    predictions = bits_of_predictions(whole.process(block))
    for learner, bounds in ((by_record, range(61)), (in_three, (0, 33, 34, 60))):
        parts = [learner.process(part(block, a, b)) for a, b in pairwise(bounds)]
        assert differing(bits_of_predictions(*parts), predictions) == []
        assert differing(bits_of(learner), bits_of(whole)) == []
        assert learner.digest == whole.digest


def through_checkpoint(learner: Learner, place: Path) -> Learner:
    store = CheckpointStore(DirectoryBlobs(place), "job", "topic", 0, configuration={})
    lineage = new_lineage()
    progress = Progress(lineage=lineage, position=1, ordinal=1, digest=learner.digest)
    store.write(take_snapshot(learner.state()), progress)
    found = store.newest(lineage)
    assert found.checkpoint is not None, found.rejected
    resumed = Learner(learner.spec, SEED + 1)
    resumed.resume(found.checkpoint.state())
    return resumed


def through_model_file(learner: Learner, place: Path) -> Learner:
    save_model(place / "m.safetensors", ModelFile(learner.state(), (), {}))
    saved = load_model(place / "m.safetensors").saved
    assert saved is not None
    resumed = Learner(learner.spec, SEED + 1)
    resumed.resume(saved)
    return resumed


def through_copy(learner: Learner, place: Path) -> Learner:  # noqa: ARG001
    return copy.deepcopy(learner)  # by what pickling it says


@pytest.mark.parametrize("through", [through_checkpoint, through_model_file, through_copy])
@every_spec
def test_a_learner_restored_at_any_record_goes_on_with_the_same_bits(name: str, through: Any, tmp_path: Path) -> None:
    spec, block = ALL[name], log_of(ALL[name], 60)
    whole = Learner(spec, SEED)
    predictions = bits_of_predictions(whole.process(block))
    learner, parts = Learner(spec, SEED), []
    for i in range(60):
        if i % (1 if through is through_copy else 7) == 0:
            learner = through(learner, tmp_path)
        parts.append(learner.process(part(block, i, i + 1)))
    assert differing(bits_of_predictions(*parts), predictions) == []
    assert differing(bits_of(learner), bits_of(whole)) == []
    assert learner.digest == whole.digest


@of_records
def test_single_steps_are_the_same_as_a_block(name: str) -> None:
    spec, block = ALL[name], log_of(ALL[name])
    whole, single = Learner(spec, SEED), Learner(spec, SEED)
    expected = bits_of_predictions(whole.process(block))
    assert differing(bits_of_predictions(one_by_one(single, block)), expected) == []
    assert set(differing(bits_of(single), bits_of(whole))) <= {"model.digest"}


@every_spec
def test_questions_give_no_numbers_and_change_nothing(name: str) -> None:
    learner = taught(name, 24)
    before, later = bits_of(learner), log_of(ALL[name], 200, seed=5)
    asked = learner.predict(later)
    assert differing(bits_of(learner), before) == []
    assert np.isfinite(asked.value).all()
    np.testing.assert_allclose(asked.value.sum(axis=1), 1.0)
    assert asked.texts is None or not len(asked.texts.loss)


# -- numbers ----------------------------------------------------------------------------------------------------------


@of_records
def test_numbers_follow_the_order_of_events_and_labels_and_what_overflows_is_counted(name: str) -> None:
    learner, block = taught(name, 100), log_of(ALL[name], 100)
    brings = (LABEL,) if ALL[name].target.known == "label" else (EVENT, LABEL)
    counted = [
        (learner.vocabularies[0], [t for t, k in zip(block.symbols[0], block.kind, strict=True) if k == EVENT]),
        (learner.classes, [t for t, k in zip(block.labels or (), block.kind, strict=False) if k in brings]),
    ]
    for vocabulary, came in counted[: 1 if block.labels is None else 2]:
        assert vocabulary is not None
        first = list(dict.fromkeys(text for text in came if text is not None))
        most = vocabulary.symbols.max
        assert len(first) > most
        assert [vocabulary.label(number) for number in range(1, vocabulary.known)] == first[:most]
        times = Counter(text for text in came if text is not None)
        assert vocabulary.overflowed == sum(times[text] for text in first[most:])


def test_the_learner_writes_classes_of_an_open_set_to_the_block() -> None:
    block = replace(log_of(ALL["class of the record"], 8), kind=np.array([EVENT] * 6 + [FORGET, EVENT], np.uint8))
    block = replace(block, labels=["b", None, "a", "b", "c", "a", "x", "b"], y=np.full((8, 1), 77.0))
    Learner(ALL["class of the record"], SEED).process(block)
    np.testing.assert_array_equal(block.y[:, 0], [1, np.nan, 2, 1, 3, 2, 77, 1])


@every_spec
def test_classes_in_use_are_those_of_the_vocabulary_after_every_record(name: str) -> None:
    learner, block = Learner(ALL[name], SEED), log_of(ALL[name])
    for i in range(len(block)):
        learner.process(part(block, i, i + 1))
        assert learner.classes is not None
        assert learner.state().model["outputs_in_use"].tolist() == [learner.classes.known]


# -- texts ------------------------------------------------------------------------------------------------------------


def text_spec(unit: str = "character", *, carry: bool = True, mark_end: bool = True, **changes: Any) -> LearnerSpec:
    classes = Symbols(bytes=True) if unit == "byte" else Symbols(open=True, max=20)
    text = TextSpec(unit=unit, carry=carry, mark_end=mark_end)  # type: ignore[arg-type]
    return spec_of({"classes": classes}, text, **{"n_features": 0, "symbols": (), **changes})


def texts_of(*texts: Any, keys: list[bytes] | None = None, **columns: Any) -> Block:
    n = len(texts)
    block = Block.events(keys or [b"s"] * n, np.zeros((n, 0)), np.full((n, 1), np.nan), **columns)
    return replace(block, texts=list(texts))


def of_units(learner: Learner, texts: list[str], *, end: bool) -> Block:
    """The same as one record for each unit."""
    assert learner.classes is not None
    numbers = [number for text in texts for number in [*learner.classes.units(text, True), *([1] if end else [])]]
    return Block.events([b"s"] * len(numbers), np.zeros((len(numbers), 0)), np.array(numbers, float)[:, None])


NOT_THE_INDEX = {"model.arrivals", "model.clock", "model.digest", "streams.seen"}
RANKED = {"model.surprises", "model.surprise_count", "streams.surprises", "streams.surprise_count"}


@pytest.mark.parametrize("mark_end", [True, False])
def test_a_text_is_learned_as_its_units_one_by_one(mark_end: bool) -> None:
    spec, texts = text_spec(mark_end=mark_end), ["abracadabra", "", "a", "xyzzy"]
    by_text, by_unit = Learner(spec, SEED), Learner(spec, SEED)
    scored = by_text.process(texts_of(*texts))
    alone = by_unit.process(of_units(by_unit, texts, end=mark_end))
    assert scored.texts is not None
    np.testing.assert_array_equal(scored.texts.loss, alone.loss)
    assert set(differing(bits_of(by_text), bits_of(by_unit))) <= NOT_THE_INDEX | RANKED


def test_a_text_may_be_cut_into_records_where_nothing_marks_its_end() -> None:
    whole, parts = (Learner(text_spec(mark_end=False), SEED) for _ in range(2))
    one = whole.process(texts_of("abracadabra, simsalabim"))
    several = parts.process(texts_of("abra", "cadabra, ", "", "simsalabim"))
    assert one.texts is not None
    assert several.texts is not None
    np.testing.assert_array_equal(one.texts.loss, several.texts.loss)
    np.testing.assert_array_equal(one.value[0], several.value[-1])
    assert set(differing(bits_of(whole), bits_of(parts))) <= NOT_THE_INDEX | RANKED


def test_what_is_said_of_a_text_is_the_mean_over_its_units_and_what_comes_next() -> None:
    learner = Learner(text_spec(), SEED)
    said = learner.process(texts_of("abab", "ab", "", keys=[b"s", b"t", b"s"]))
    assert said.texts is not None
    assert said.texts.bounds.tolist() == [0, 5, 8, 9]
    assert said.texts.number.tolist() == [2, 3, 2, 3, 1, 2, 3, 1, 1]
    losses = np.split(said.texts.loss, said.texts.bounds[1:-1])
    np.testing.assert_allclose(said.loss, [loss.mean() for loss in losses], rtol=1e-15)
    np.testing.assert_array_equal(said.value[2], learner.predict(texts_of("")).value[0])
    assert said.updates[2] == learner.counters()["updates"]
    assert ((said.error >= 0) & (said.error <= 1)).all()
    assert np.isnan(said.rank[0]).all()
    assert ((said.rank[2] >= 0) & (said.rank[2] <= 1)).all()


def test_without_carry_each_text_begins_as_a_stream_that_was_never_seen() -> None:
    for carry in (True, False):
        learner = Learner(text_spec(carry=carry), SEED)
        learner.process(texts_of("some text", "another"))
        known, unknown = learner.predict(texts_of("", "", keys=[b"s", b"never seen"])).value
        assert np.array_equal(known, unknown) is not carry
        assert learner.counters()["sequences_ended"] == (0 if carry else 2)


@pytest.mark.parametrize("mark_end", [True, False])
def test_an_end_mark_ends_the_sequence_after_the_text_even_where_there_is_no_unit(mark_end: bool) -> None:
    learner = Learner(text_spec(mark_end=mark_end, has_end=True), SEED)
    learner.process(texts_of("some text", "", end=[False, True]))
    known, unknown = learner.predict(texts_of("", "", keys=[b"s", b"never seen"])).value
    np.testing.assert_array_equal(known, unknown)
    assert learner.counters()["sequences_ended"] == 1


def test_no_time_passes_within_a_text_and_its_other_inputs_stay() -> None:
    """Checked against the same units as records, whose time and inputs are given by hand."""
    spec = spec_of({"classes": Symbols(open=True, max=9)}, TextSpec(unit="character", mark_end=False))
    by_text, by_unit = Learner(spec, SEED), Learner(spec, SEED)
    texts, times, pages, x = ["abc", "ab"], [0, 7000], ["home", "cart"], [[0.5], [-2.0]]
    block = Block.events([b"s"] * 2, x, np.full((2, 1), np.nan), time_ms=times)
    by_text.process(replace(block, texts=texts, symbols=(pages, ["on", None])))
    assert by_unit.classes is not None
    for text, time, page, row, state in zip(texts, times, pages, x, ["on", None], strict=True):
        for number in by_unit.classes.units(text, True).tolist():
            by_unit.step(b"s", EVENT, row, number, time, symbols=(page, state))
    assert set(differing(bits_of(by_text), bits_of(by_unit))) <= NOT_THE_INDEX | RANKED


def test_tombstones_and_labels_have_no_units_and_an_evicted_stream_begins_anew() -> None:
    kinds = np.array([EVENT, FORGET, LABEL, EVENT], np.uint8)
    for mark_end in (True, False):
        learner = Learner(text_spec(mark_end=mark_end), SEED)
        said = learner.process(texts_of("abc", "not read", "not read", "", kind=kinds))
        assert said.texts is not None
        assert np.diff(said.texts.bounds).tolist() == [3 + mark_end, 0, 0, int(mark_end)]
        assert np.isnan(said.value[1:3]).all()
        assert learner.classes is not None
        assert learner.classes.known == 1 + mark_end + 3
        assert learner.row_of(b"s")["steps"] == int(mark_end)


def test_a_unit_that_is_not_in_a_closed_set_is_a_step_whose_symbol_is_unknown() -> None:
    learner = Learner(ALL["declared characters"], SEED)
    block = replace(log_of(ALL["declared characters"], 4), texts=["a?b?", "?", "", "ab"], kind=np.zeros(4, np.uint8))
    said = learner.process(block)
    assert said.texts is not None
    assert said.texts.number.tolist() == [0, -1, 1, -1, -1, 0, 1]
    assert np.isnan(said.texts.loss).tolist() == [number < 0 for number in said.texts.number]
    assert np.isnan(said.loss).tolist() == [False, True, True, False]


@of_texts
def test_texts_longer_than_the_kernel_is_given_at_once_leave_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, block = ALL[name], log_of(ALL[name])
    whole, pieces = Learner(spec, SEED), Learner(spec, SEED)
    expected = bits_of_predictions(whole.process(block))
    monkeypatch.setattr(rows, "MOST_ROWS", 3)
    assert differing(bits_of_predictions(pieces.process(block)), expected) == []
    assert differing(bits_of(pieces), bits_of(whole)) == []


def test_a_long_text_needs_no_prediction_for_each_of_its_units() -> None:
    spec = spec_of({"classes": Symbols(open=True, max=5_000)}, TextSpec(unit="character"), n_features=0, symbols=())
    learner, text = Learner(spec, SEED), "abcdefgh" * 1_000
    tracemalloc.start()
    try:
        learner.process(texts_of(text))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.02 * len(text) * spec.n_outputs * 8


# -- going on elsewhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
@every_spec
def test_a_learner_that_takes_over_has_the_same_numbers(name: str, streams: bool) -> None:
    source, spec = taught(name), ALL[name]
    target = Learner(with_fields(spec, n_features=2), SEED + 1)
    carry_over(source.state(), target, [1], streams=streams)
    later = log_of(spec, 32, seed=8)
    wider = replace(later, x=np.insert(later.x, 0, np.nan, axis=1), y=later.y.copy())
    if streams:
        np.testing.assert_allclose(target.predict(wider).value, source.predict(later).value, rtol=1e-9)
    pairs = [*zip(source.vocabularies, target.vocabularies, strict=True), (source.classes, target.classes)]
    for before, after in pairs:
        assert before is not None
        assert after is not None
        assert [before.label(n) for n in range(before.known)] == [after.label(n) for n in range(after.known)]
        assert after.overflowed == (before.overflowed if streams else 0)
    said = target.process(wider)
    assert np.isfinite(said.loss).any()


# -- what does not fit ------------------------------------------------------------------------------------------------


def forged(name: str, **arrays: Any) -> Any:
    state = taught(name).state().copy()
    model = dict(state.model)
    for array, value in arrays.items():
        if value is None:
            del model[array]
        else:
            model[array] = np.array(value, model[array].dtype)
    return replace(state, model=model)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vocabulary_classes_ends": None}, "vocabulary_classes_...: ends must be a vector of int64, found nothing"),
        ({"vocabulary_symbols0_ends": [1]}, "vocabulary_symbols0_...: the ends of its symbols do not match"),
        ({"vocabulary_classes_texts": [97] * 7}, "vocabulary_classes_...: it gives one symbol two numbers"),
        ({"outputs_in_use": [3]}, "3 classes in use, its vocabulary has 8|classes that are none of the 3 in use"),
        (
            {"vocabulary_classes_texts": [97], "vocabulary_classes_ends": [1]},
            "8 classes in use, its vocabulary has 2",
        ),
    ],
)
def test_a_state_whose_symbols_were_forged_is_refused(arrays: dict[str, Any], message: str) -> None:
    learner = Learner(ALL["next event"], SEED)
    before = bits_of(learner)
    with pytest.raises(ValueError, match=message):
        learner.resume(forged("next event", **arrays))
    assert differing(bits_of(learner), before) == []


@pytest.mark.parametrize("array", ["newest", "last_known", "y"])
def test_a_state_that_remembers_a_class_which_has_not_come_is_refused(array: str) -> None:
    learner = Learner(ALL["next event"], SEED)
    learner.process(log_of(ALL["next event"], 4))
    state = learner.state().copy()
    assert learner.classes is not None
    assert learner.classes.known < learner.classes.size
    state.streams[array].flat[0] = learner.classes.known
    with pytest.raises(ValueError, match=f"'{array}' names classes that are none of the {learner.classes.known} "):
        Learner(ALL["next event"], SEED).resume(state)


def test_a_state_with_symbols_is_refused_by_a_learner_without() -> None:
    state = taught("next event").state()
    closed = taught("closed").state()
    with pytest.raises(ValueError, match=r"vocabulary_classes_ends, which no learner of this version keeps"):
        replace(closed, model={**closed.model, "vocabulary_classes_ends": np.zeros(0, np.int64)}).require_fit(
            closed.spec
        )
    with pytest.raises(ValueError, match="another specification"):
        Learner(ALL["closed"], SEED).resume(state)


BAD_BLOCKS = [
    ("next event", {"symbols": ()}, "block.symbols has 0 columns, expected 2"),
    (
        "next event",
        {"symbols": (["a"], ["a"] * 8)},
        r"block.symbols\[0\] has 1 rows, expected 8",
    ),
    ("next event", {"labels": ["a"]}, "block.labels has 1 rows"),
    ("next event", {"texts": ["a"] * 8}, "goes with a learner of texts"),
    ("next event", {"labels": None, "y": np.full((8, 1), 5.0)}, "class indices outside 0 to 0"),
    ("next event", {"labels": None, "y": np.full((8, 1), np.inf)}, "class indices outside 0 to 0"),
    ("closed", {"y": np.full((8, 1), -np.inf)}, "class indices outside 0 to"),
    ("closed", {"labels": ["a"] * 8}, "block.labels goes with an open set"),
    ("words", {"labels": ["a"] * 8}, "block.labels goes with an open set of classes of records"),
    ("words", {"texts": [["a"]]}, "block.texts has 1 rows"),
    ("bytes", {"texts": ["a"] * 8}, "block.texts holds str, expected bytes: its unit is a byte"),
    ("characters", {"texts": [["a"]] * 8}, "block.texts holds list, expected str: its unit is a character"),
    ("words", {"texts": ["to be"] * 8}, "block.texts holds str, expected list or tuple: its unit is a word"),
    ("words", {"texts": [b"to be"] * 8}, "block.texts holds bytes, expected list or tuple: its unit is a word"),
    ("bytes", {"texts": None, "y": np.full((8, 1), 257.0)}, "class indices outside 0 to 256"),
]


@pytest.mark.parametrize(("name", "changes", "message"), BAD_BLOCKS)
def test_blocks_that_do_not_fit_are_refused_before_anything_changes(
    name: str, changes: dict[str, Any], message: str
) -> None:
    learner, block = Learner(ALL[name], SEED), log_of(ALL[name], 8)
    before = bits_of(learner)
    for call in (learner.process, learner.predict):
        with pytest.raises(ValueError, match=message):
            call(replace(block, **changes))
    assert differing(bits_of(learner), before) == []


@every_spec
@pytest.mark.parametrize("kind", [EVENT, PREDICT, LABEL])
def test_a_step_or_an_imagined_one_of_a_class_that_is_not_in_use_is_refused_before_anything_changes(
    name: str, kind: int
) -> None:
    learner = taught(name, 4)
    assert learner.classes is not None
    before, known = bits_of(learner), learner.classes.known
    learner.imagine(b"s1")
    for y in (-1.0, 0.5, float(known), 5_000.0, 1e12, 1e300, np.inf, -np.inf):
        with pytest.raises(ValueError, match=rf"is no class; expected a whole number from 0 to {known - 1}"):
            learner.step(b"s1", kind, (0.5,), y, 1_700_000_100_000, event=3, symbols=("new", "on"))
        with pytest.raises(ValueError, match="is no class"):
            learner.imagine_one((0.5,), y)
    assert differing(bits_of(learner), before) == []
    learner.step(b"s1", kind, (0.5,), known - 1.0, 1_700_000_100_000, event=3)


def test_a_class_is_told_by_its_text_only_where_its_set_is_open() -> None:
    """A closed set has no number for what is not in it."""
    learner = taught("closed")
    before = bits_of(learner)
    for label in ("a", "not there"):
        with pytest.raises(ValueError, match="label: goes with an open set"):
            learner.step(b"s1", EVENT, (0.5,), np.nan, symbols=("new", "on"), label=label)
    assert differing(bits_of(learner), before) == []


def test_bytes_are_no_units_of_other_sets() -> None:
    for name in ("words", "characters", "declared characters"):
        classes = Learner(ALL[name], SEED).classes
        assert classes is not None
        with pytest.raises(ValueError, match="bytes are symbols of the set of all bytes alone"):
            classes.units(b"abc", assign=True)


@of_texts
def test_joined_predictions_are_those_of_one_block(name: str) -> None:
    spec, block = ALL[name], log_of(ALL[name])
    whole, parts = Learner(spec, SEED), Learner(spec, SEED)
    joined = Predictions.joined([parts.process(part(block, 0, 20)), parts.process(part(block, 20, 60))])
    assert differing(bits_of_predictions(joined), bits_of_predictions(whole.process(block))) == []
