"""The language model: symbols learned one by one or many at once, what it says of the next, what it would write."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from river import checks

from streamrnn import (
    Block,
    CheckpointError,
    ConfigError,
    Learner,
    Predictions,
    RNNLanguageModel,
    RNNRegressor,
)
from tests.bench.text import SETTINGS as SETTINGS_MEASURED
from tests.support.language_models import END, OTHER, SETTINGS, TEXT, UNITS, bits, each_unit, made, taught

# ---- one by one, and many


@pytest.mark.parametrize("settings", SETTINGS)
@each_unit
def test_a_text_leaves_the_bits_that_its_units_leave_one_by_one(unit: str, settings: str) -> None:
    many, one = made(unit, **SETTINGS[settings]), made(unit, **SETTINGS[settings])
    for text in (UNITS[unit], UNITS[unit][:7], []):
        many.learn_many(text)
        for symbol in text:
            one.learn_one(symbol)
        one.end_text()
    assert bits(many) == bits(one)


@each_unit
def test_a_text_may_be_text_bytes_or_a_list(unit: str) -> None:
    text = " ".join(UNITS["word"])
    models = [made(unit) for _ in range(3)]
    models[0].learn_many(text)
    models[1].learn_many(text.encode())
    models[2].learn_many({"byte": list(text.encode()), "character": list(text), "word": UNITS["word"]}[unit])
    assert bits(models[0]) == bits(models[1]) == bits(models[2])


def test_a_text_is_one_call_of_the_kernel_and_in_pieces_where_it_is_long_leaves_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, process = [], Learner.process

    def counted(learner: Learner, block: Block) -> Predictions:
        calls.append(len(block))
        return process(learner, block)

    monkeypatch.setattr(Learner, "process", counted)
    whole, pieces = made(), made()
    whole.learn_many(TEXT * 10)
    assert calls == [len(TEXT) * 10]
    monkeypatch.setattr("streamrnn.estimators.language_model.OUTPUT_BYTES", 8 * 256 * 7)
    pieces.learn_many(TEXT * 10)
    assert max(calls[1:]) == 7
    assert sum(calls[1:]) == calls[0]
    assert bits(whole) == bits(pieces)


@pytest.mark.parametrize("mark_end", [False, True])
@each_unit
def test_the_bits_that_come_back_are_those_it_was_surprised_by(unit: str, mark_end: bool) -> None:
    many, one = made(unit, mark_end=mark_end), made(unit, mark_end=mark_end)
    one.get_weights()  # before a model has weights, all symbols are alike to it
    scored = []
    for symbol in [*UNITS[unit], *([END] if mark_end else [])]:
        scored.append(one.score_one(symbol))
        one.learn_one(symbol)
    np.testing.assert_allclose(many.learn_many(UNITS[unit]), scored, rtol=1e-4, atol=1e-5)


def test_an_end_is_learned_as_a_symbol() -> None:
    many, one = made("word", mark_end=True), made("word", mark_end=True)
    many.learn_many(["a", "b"])
    for symbol in ("a", "b", END):
        one.learn_one(symbol)
    assert bits(many) == bits(one)


@pytest.mark.parametrize("mark_end", [False, True])
@each_unit
def test_texts_that_do_not_carry_begin_anew_and_others_go_on(unit: str, mark_end: bool) -> None:
    for carry in (False, True):
        model = made(unit, mark_end=mark_end, carry=carry, stream_key="user")
        model.learn_many(UNITS[unit], key="u")
        at_a_beginning = model.predict_proba_one("u") == model.predict_proba_one("never seen")
        assert at_a_beginning is not carry
        model.learn_one(UNITS[unit][0], key="u")
        assert model.predict_proba_one("u") != model.predict_proba_one("never seen")
        model.end_text("u")
        assert (model.predict_proba_one("u") == model.predict_proba_one("never seen")) is not carry


# ---- what it says


@each_unit
def test_probabilities_are_of_all_symbols_in_use_and_make_one(unit: str) -> None:
    model = taught(unit, mark_end=True)
    said = model.predict_proba_one()
    seen = set(range(256)) if unit == "byte" else {*UNITS[unit], OTHER}
    assert {*said} == seen | {END}
    assert math.isclose(sum(said.values()), 1.0, rel_tol=1e-5)
    assert model.predict_one() == max(said, key=lambda symbol: said[symbol] if symbol is not OTHER else -1.0)
    for symbol in [*seen - {OTHER}, END]:
        assert model.score_one(symbol) == -math.log2(said[symbol])


def test_before_anything_was_learned_all_symbols_are_alike() -> None:
    assert made().predict_proba_one() == dict.fromkeys(range(256), 1 / 256)
    assert made().score_one(65) == 8.0
    assert made("word").predict_proba_one() == {OTHER: 1.0}
    assert made("word", mark_end=True).predict_proba_one() == {OTHER: 0.5, END: 0.5}
    assert made("word").predict_one() is OTHER
    assert made("word", symbols=("a", "b")).predict_proba_one() == {"a": 0.5, "b": 0.5}


def test_a_symbol_that_was_never_seen_is_as_likely_as_any_other_such() -> None:
    model = taught("word")
    assert model.score_one("Genesis") == model.score_one("Exodus") == -math.log2(model.predict_proba_one()[OTHER])
    assert model.score_one(OTHER) == model.score_one("Genesis")
    model.learn_one("Genesis")
    assert "Genesis" in model.predict_proba_one()


def test_symbols_beyond_the_bound_share_a_number() -> None:
    model = made("word", max_symbols=2)
    model.learn_many(["a", "b", "c", "d"])
    assert {*model.predict_proba_one()} == {OTHER, "a", "b"}
    assert model.score_one("c") == model.score_one("never seen")


@pytest.mark.parametrize("settings", SETTINGS)
@each_unit
def test_questions_change_nothing(unit: str, settings: str) -> None:
    model, same = taught(unit, **SETTINGS[settings]), taught(unit, **SETTINGS[settings])
    model.predict_one()
    model.predict_proba_one()
    model.score_one(UNITS[unit][0])
    if unit != "byte":
        model.score_one("字")
    for temperature in (0, 0.7, 1, 3):
        model.generate(30, temperature)
    assert pickle.dumps(model) == pickle.dumps(same)
    model.learn_many(UNITS[unit])
    same.learn_many(UNITS[unit])
    assert pickle.dumps(model) == pickle.dumps(same)


def test_with_its_defaults_it_learns_a_text_that_repeats_within_a_hundred_times() -> None:
    model, text = RNNLanguageModel(), "to be or not to be, "
    took = model.learn_many(text * 100)
    assert took[-200:].mean() < 0.1 < 4.0 < took[:20].mean()
    assert model.generate(60, temperature=0) == text.encode() * 3


def test_its_defaults_are_a_setting_whose_bits_were_measured() -> None:
    """``tests/bench/README.md`` has its figures."""
    bench, own = SETTINGS_MEASURED["medium"], RNNLanguageModel()._spec()
    assert own.model == bench.model
    assert own.learning == replace(bench.learning, optimizer=bench.specification().optimizer)  # left open there
    assert own.text == bench.specification().text


# ---- broken off


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("when", ["before the kernel", "behind it"])
def test_a_text_that_is_broken_off_leaves_a_model_of_what_was_learned_before(
    when: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, process, calls = [f"w{i}" for i in range(40)], Learner.process, 0
    model = made("word", max_symbols=100)
    model.learn_many(["w0", "w7"])

    def broken_off(learner: Learner, block: Block) -> Predictions:
        nonlocal calls
        calls += 1
        if calls == 3 and when == "before the kernel":
            raise error
        done = process(learner, block)
        if calls == 3:
            raise error
        return done

    with monkeypatch.context() as patch:
        patch.setattr("streamrnn.estimators.language_model.OUTPUT_BYTES", 8 * 101 * 10)
        patch.setattr(Learner, "process", broken_off)
        with pytest.raises(error):
            model.learn_many(text)
    learned = 20 if when == "before the kernel" else 30
    assert set(model.predict_proba_one()) == {OTHER, *text[:learned]}
    model.save(tmp_path / "m.safetensors")
    same = made("word", max_symbols=100)
    same.learn_many(["w0", "w7", *text[:learned]])
    copies = [RNNLanguageModel.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model)), model]  # noqa: S301
    same.learn_many(text)
    for copy in copies:
        copy.learn_many(text)
        assert bits(copy) == bits(same)


def test_so_does_a_symbol_that_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model, same = taught("word"), taught("word")

    def broken_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", broken_off)
        with pytest.raises(KeyboardInterrupt):
            model.learn_one("Genesis")
    assert pickle.dumps(model) == pickle.dumps(same)


# ---- what it would write


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-30, 1e-12])
@each_unit
def test_a_temperature_next_to_none_takes_the_most_probable(unit: str, temperature: float) -> None:
    model = taught(unit)
    assert model.generate(30, temperature, seed=1) == model.generate(30, 0)


@pytest.mark.parametrize("temperature", [1e3, 1e308])
@each_unit
def test_at_the_highest_temperatures_all_are_alike(unit: str, temperature: float) -> None:
    model = taught(unit, mark_end=False)
    symbols = {*model.predict_proba_one()} - {OTHER}
    drawn = model.generate(20 * len(symbols), temperature, seed=2)
    assert {*drawn} == symbols


@pytest.mark.parametrize("temperature", [0, 0.5, 1.0, 2.0])
@each_unit
def test_a_seed_makes_what_is_written_repeatable(unit: str, temperature: float) -> None:
    model = taught(unit)
    first = model.generate(40, temperature, seed=5)
    assert model.generate(40, temperature, seed=5) == first
    assert len(first) == 40
    assert isinstance(first, {"byte": bytes, "character": str, "word": list}[unit])
    if temperature:
        assert any(model.generate(40, temperature, seed=seed) != first for seed in range(6, 10))


@each_unit
def test_what_is_written_is_what_a_copy_predicts_when_it_is_told(unit: str) -> None:
    """Each unit is the most probable one after those before it, as a copy says that learns them at no rate."""
    model = made(unit, hidden_size=32)
    for _ in range(12):
        model.learn_many(UNITS[unit])
    copy = RNNLanguageModel(**{**model._parameters(), "lr": 1e-30})
    copy.learn_many(UNITS[unit])
    copy.set_weights(model.get_weights())
    # Its state came about with other weights: begin a sequence in both.
    model.end_sequence()
    copy.end_sequence()
    written = model.generate(15, temperature=0)
    assert len({*written}) > 4
    for symbol in written:
        assert copy.predict_one() == symbol
        copy.learn_one(symbol)


def test_draws_follow_the_probabilities_and_the_temperature() -> None:
    model = taught("word")
    said = model.predict_proba_one()
    for temperature in (1.0, 0.5):
        drawn = [model.generate(1, temperature, seed=seed)[0] for seed in range(2000)]
        weights = {symbol: p ** (1 / temperature) for symbol, p in said.items() if symbol is not OTHER}
        for symbol, weight in weights.items():
            expected = weight / sum(weights.values())
            spread = math.sqrt(expected * (1 - expected) / 2000)
            assert abs(drawn.count(symbol) / 2000 - expected) < 5 * spread


def test_writing_stops_at_an_end() -> None:
    model = made("character", mark_end=True, carry=False, hidden_size=16, lr=0.02)
    for _ in range(150):
        model.learn_many("amen")
    assert model.generate(50, temperature=0) == "amen"
    assert model.predict_one() == "a"


def test_a_model_that_has_seen_nothing_writes_no_words_and_any_bytes() -> None:
    assert made("word").generate(9) == []
    assert made("character").generate(9, seed=1) == ""
    assert len({*made().generate(500, seed=1)}) > 150


# ---- streams


def test_each_stream_has_a_state_and_all_share_what_is_learned() -> None:
    model = made(stream_key="user", hidden_size=16, lr=0.02)
    for _ in range(150):
        model.learn_many("abcabc", key="u")
        model.learn_many("xyzxyz", key="v")
    assert (model.generate(6, 0, key="u"), model.generate(6, 0, key="v")) == (b"abcabc", b"xyzxyz")
    model.learn_one("a", key="u")
    assert (model.generate(3, 0, key="u"), model.generate(3, 0, key="v")) == (b"bca", b"xyz")


CALLS: dict[str, Callable[[RNNLanguageModel, Any], Any]] = {
    "learn_one": lambda model, key: model.learn_one(1, key=key),
    "learn_many": lambda model, key: model.learn_many("a", key=key),
    "end_text": lambda model, key: model.end_text(key),
    "predict_one": lambda model, key: model.predict_one(key),
    "predict_proba_one": lambda model, key: model.predict_proba_one(key),
    "score_one": lambda model, key: model.score_one(1, key=key),
    "generate": lambda model, key: model.generate(1, key=key),
    "end_sequence": lambda model, key: model.end_sequence(key),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_stream_has_to_be_named_where_there_are_several_and_only_there(call: str) -> None:
    with pytest.raises(ConfigError, match="key: needed, since stream_key is set"):
        CALLS[call](made(stream_key="user"), None)
    with pytest.raises(ConfigError, match="key: goes with stream_key, which is not set"):
        CALLS[call](made(), "u")


# ---- saving


@pytest.mark.parametrize("settings", SETTINGS)
@each_unit
def test_files_pickles_and_copies_go_on_to_the_bit(unit: str, settings: str, tmp_path: Path) -> None:
    model = taught(unit, **SETTINGS[settings])
    model.save(tmp_path / "m.safetensors")
    copies = [
        RNNLanguageModel.load(tmp_path / "m.safetensors"),
        pickle.loads(pickle.dumps(model)),  # noqa: S301 - written a moment ago
        model.clone(include_attributes=True),
    ]
    for copy in (model, *copies):
        copy.learn_many(UNITS[unit][::-1])
    for copy in copies:
        assert bits(copy) == bits(model)
        assert copy._parameters() == model._parameters()


def test_a_file_of_another_estimator_is_refused(tmp_path: Path) -> None:
    taught().save(tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="holds a model of RNNLanguageModel, not of RNNRegressor"):
        RNNRegressor.load(tmp_path / "m.safetensors")


def test_a_clone_has_learned_nothing() -> None:
    assert taught().clone().counters() == {}


def test_an_open_vocabulary_is_part_of_the_file(tmp_path: Path) -> None:
    model = taught("word", symbols=None, max_symbols=6)
    model.save(tmp_path / "m.safetensors")
    assert RNNLanguageModel.load(tmp_path / "m.safetensors").predict_proba_one() == model.predict_proba_one()


# ---- River


def test_rivers_checks_hold() -> None:
    for parameters in RNNLanguageModel._unit_test_params():
        checks.check_estimator(RNNLanguageModel(**parameters))
    assert made()._unit_test_skips() == set()
