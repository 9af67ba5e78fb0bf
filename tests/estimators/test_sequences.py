"""What all estimators of whole sequences keep: purity, clones, pickles, files, seeds, and that many are one by one."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn import CheckpointError, ConfigError, RecordError, RNNRegressor, RNNSequenceRegressor, RNNTagger
from tests.support.contract import everything, through_pickle, weight_bits
from tests.support.sequence_estimators import (
    CLASSIFIER,
    FORECASTER,
    FORWARD,
    KINDS,
    LOGISTIC,
    REGRESSOR,
    TAGGER,
    TRANSCRIBER,
    TRANSLATOR,
    Kind,
    labelled,
    run,
    teach,
)

each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def go_on_alike(a: Any, b: Any, kind: Kind) -> None:
    """From here on both say the same and end with the same weights, to the bit."""
    pairs = kind.data(6, seed=5)
    assert run(a, pairs) == run(b, pairs)
    assert weight_bits(a) == weight_bits(b)
    assert a.counters() == b.counters()


# ---- one by one, and many


@each_kind
def test_predicting_changes_nothing(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(5))
    before = everything(model)
    for x, y in kind.data(3, seed=3):
        model.predict_one(x)
        model.predict_many([x, x])
        if hasattr(model, "score_one"):
            model.score_one(x, y)
        if hasattr(model, "predict_proba_one"):
            model.predict_proba_one(x)
        if hasattr(model, "attention_one"):
            model.attention_one(x)
    assert everything(model) == before


@each_kind
def test_many_sequences_leave_the_bits_that_they_leave_one_by_one_and_say_what_was_predicted(kind: Kind) -> None:
    pairs = kind.data(12)
    many, one = kind.build(), kind.build()
    if kind is TRANSLATOR:  # a symbol of frames that comes first has a number when it is learned, and not when asked of
        teach(many, [({"frames": "abc"}, "abc")])
        teach(one, [({"frames": "abc"}, "abc")])
    said = many.learn_many([x for x, _ in pairs], [y for _, y in pairs])
    assert said == run(one, pairs)
    assert everything(many) == everything(one)


@each_kind
def test_many_say_of_the_very_first_sequence_what_is_said_before_anything_was_learned(kind: Kind) -> None:
    (x, y), *_ = kind.data(1)
    many, one = kind.build(scale=False), kind.build(scale=False)
    assert many.learn_many([x], [y]) == [one.predict_one(x)]
    one.learn_one(x, y)
    assert everything(many) == everything(one)


def three_labels(seed: int) -> list[Any]:
    """Sequences with one of three labels for each frame, some of which come late."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(int(rng.integers(1, 9)), 2)) for _ in range(4)]
    return [({"frames": each}, rng.choice(list("abc"), size=len(each)).tolist()) for each in arrays]


@pytest.mark.parametrize("direction", ["both", "forward"])
def test_many_say_nothing_of_a_class_that_their_answer_brings(direction: str) -> None:
    for seed in range(30):
        many, one = (TAGGER.build(direction=direction, seed=seed) for _ in range(2))
        pairs = three_labels(seed)
        assert many.learn_many([x for x, _ in pairs], [y for _, y in pairs]) == run(one, pairs)
        assert everything(many) == everything(one)


def test_a_chunk_says_what_would_have_been_predicted_also_where_its_labels_bring_a_class() -> None:
    for seed in range(30):
        model = TAGGER.build(direction="forward", chunks=True, seed=seed)
        for x, y in three_labels(seed):
            expected = copy.deepcopy(model).observe_one(x)
            assert model.observe_one(x, y) == expected
            model.end_sequence()


@each_kind
def test_sequences_are_predicted_together_as_they_are_alone(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(5))
    xs = [x for x, _ in kind.data(4, seed=2)]
    assert model.predict_many(xs) == [model.predict_one(x) for x in xs]


@each_kind
def test_a_sequence_whose_answer_is_not_known_teaches_nothing(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(5))
    before = weight_bits(model)
    model.learn_one(kind.data(1, seed=2)[0][0])
    assert weight_bits(model) == before
    assert model.counters()["records_predicted"] == 6


# ---- copies


@each_kind
def test_a_pickle_goes_on_as_the_model_does(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(5))
    go_on_alike(through_pickle(model), model, kind)


@each_kind
def test_a_file_goes_on_as_the_model_does(kind: Kind, tmp_path: Path) -> None:
    model = teach(kind.build(), kind.data(5))
    model.save(tmp_path / "model.safetensors")
    loaded = kind.estimator.load(tmp_path / "model.safetensors")  # type: ignore[attr-defined]
    assert pickle.dumps(loaded) == pickle.dumps(model)
    go_on_alike(loaded, model, kind)


@each_kind
def test_a_clone_has_learned_nothing_and_learns_the_same(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(5))
    clone = model.clone()
    assert clone.counters() == {}
    assert weight_bits(teach(clone, kind.data(5))) == weight_bits(model)
    go_on_alike(copy.deepcopy(model), model, kind)


@each_kind
def test_the_seed_decides_the_weights(kind: Kind) -> None:
    models = [teach(kind.build(seed=seed), kind.data(3)) for seed in (1, 1, 2)]
    assert weight_bits(models[0]) == weight_bits(models[1])
    assert not set(weight_bits(models[0]).values()) & {
        bits for name, bits in weight_bits(models[2]).items() if name.startswith("rnn.weight")
    }


def test_a_file_of_another_estimator_is_refused(tmp_path: Path) -> None:
    teach(CLASSIFIER.build(), CLASSIFIER.data(2)).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a model of RNNSequenceClassifier, not of RNNTagger"):
        RNNTagger.load(tmp_path / "model")
    with pytest.raises(CheckpointError, match="not of RNNRegressor"):
        RNNRegressor.load(tmp_path / "model")


# ---- growth


def test_a_new_class_gets_an_output_and_leaves_what_was_learned() -> None:
    old = [pair for pair in labelled(200) if pair[1] != "mid"]
    model = teach(CLASSIFIER.build(hidden_size=8), old)
    asked = [x for x, _ in labelled(60, seed=2)]
    before = [model.predict_one(x) for x in asked]
    model.learn_one(*next(pair for pair in labelled(20) if pair[1] == "mid"))
    assert sorted(model.classes) == ["high", "low", "mid"]
    assert model.get_weights()["head.bias"].shape == (3,)
    after = [model.predict_one(x) for x in asked]
    assert sum(a == b for a, b in zip(before, after, strict=True)) > 55


@pytest.mark.parametrize("kind", [CLASSIFIER, TAGGER], ids=str)
def test_it_answers_with_classes_it_has_seen(kind: Kind) -> None:
    model, seen = kind.build(), set()
    for x, y in kind.data(15):
        said = model.predict_one(x)
        assert {*(said if isinstance(said, list) else [said])} <= (seen or {None})
        model.learn_one(x, y)
        seen |= {*(y if isinstance(y, list) else [y])} - {None}


def test_a_new_feature_stands_behind_the_others_and_leaves_what_was_learned() -> None:
    def dicts(pairs: list[Any], **more: float) -> list[Any]:
        return [({"frames": [{"b": b, "a": a, **more} for a, b in x["frames"].tolist()]}, y) for x, y in pairs]

    grown, other = (teach(CLASSIFIER.build(), dicts(CLASSIFIER.data(9))) for _ in range(2))
    grown.learn_one(*dicts(CLASSIFIER.data(10)[9:], Aa=math.nan)[0])  # no value of it yet
    other.learn_one(*dicts(CLASSIFIER.data(10)[9:])[0])
    assert weight_bits(grown) == weight_bits(other)
    without, with_it = (dicts(CLASSIFIER.data(11)[10:], **more)[0][0] for more in ({}, {"Aa": 7.0}))
    assert grown.predict_proba_one(with_it) == grown.predict_proba_one(without)  # not known before it is learned
    before = grown.get_weights()["rnn.weight_ih_l0"]
    grown.learn_one(*dicts(CLASSIFIER.data(12)[11:], Aa=7.0)[0])
    after = grown.get_weights()["rnn.weight_ih_l0"]
    assert after.shape == (12, 3)
    np.testing.assert_allclose(after[:, :2], before, atol=0.05)


def test_symbols_get_their_numbers_as_they_come() -> None:
    model = teach(TRANSCRIBER.build(lr=0.03, hidden_size=8), TRANSCRIBER.data(300))
    assert {*"".join(model.predict_many([x for x, _ in TRANSCRIBER.data(50, seed=1)]))} == {"a", "b"}
    rate = np.mean([model.score_one(x, y) for x, y in TRANSCRIBER.data(50, seed=1)])
    model.learn_one(TRANSCRIBER.data(1)[0][0], "zz")
    assert np.mean([model.score_one(x, y) for x, y in TRANSCRIBER.data(50, seed=1)]) < rate + 0.1


# ---- what it learns


@pytest.mark.parametrize("kind", [CLASSIFIER, LOGISTIC, TAGGER, TRANSCRIBER, TRANSLATOR], ids=str)
def test_it_learns(kind: Kind) -> None:
    model = kind.build(hidden_size=16, lr=0.02)
    pairs = kind.data(1_500)
    said = model.learn_many([x for x, _ in pairs], [y for _, y in pairs])

    def right(part: slice) -> float:
        elements = [
            (a == b)
            for one, y in zip(said[part], [y for _, y in pairs][part], strict=True)
            for a, b in (zip(one, y, strict=False) if isinstance(y, list) else [(one, y)])
            if b is not None
        ]
        return float(np.mean(elements))

    assert right(slice(-300, None)) > 0.85 > right(slice(0, 30))


@pytest.mark.parametrize("kind", [REGRESSOR, FORECASTER], ids=str)
def test_it_learns_numbers(kind: Kind) -> None:
    pairs = kind.data(1_000)
    said = kind.build(hidden_size=16).learn_many([x for x, _ in pairs], [y for _, y in pairs])
    errors = np.abs(np.array(said) - np.array([y for _, y in pairs]))
    spread = np.abs(np.array([y for _, y in pairs]) - np.mean([y for _, y in pairs], axis=0)).mean()
    assert errors[-200:].mean() < 0.35 * spread


# ---- chunks


@pytest.mark.parametrize("kind", [each for each in FORWARD if each.estimator is not RNNTagger], ids=str)
def test_chunks_leave_the_bits_of_the_whole_sequence(kind: Kind) -> None:
    # Where inputs are standardised, each chunk is so by what was seen before it: then chunks are not the whole.
    whole, parts = kind.build(chunks=True, scale=False), kind.build(chunks=True, scale=False)
    for model in (whole, parts):
        teach(model, kind.data(8))
    for x, y in kind.data(8, seed=1):
        said = whole.predict_one(x)
        for end in range(2, len(x["frames"]) + 2, 2):
            so_far = whole.predict_one({"frames": x["frames"][:end]})
            now = parts.observe_one({"frames": x["frames"][end - 2 : end]})
            # So far, means over steps are added up chunk by chunk.
            assert now == (pytest.approx(so_far, rel=1e-5) if kind.estimator is RNNSequenceRegressor else so_far)
        whole.learn_one(x, y)
        assert parts.end_sequence(y=y) == said
    assert weight_bits(parts) == weight_bits(whole)


def test_each_stream_has_a_sequence_under_way() -> None:
    mixed, alone = (CLASSIFIER.build(direction="forward", chunks=True, stream_key="id") for _ in range(2))
    (a, y), (b, z) = CLASSIFIER.data(2)
    mixed.observe_one({**a, "id": "a"})
    mixed.observe_one({**b, "id": "b"})
    said = [mixed.end_sequence("a", y), mixed.end_sequence("b", z)]
    assert [said[0]] == [None]
    alone.learn_one({**a, "id": "a"}, y)
    alone.learn_one({**b, "id": "b"}, z)
    assert mixed.counters()["updates"] == alone.counters()["updates"] == 2


def test_chunks_that_make_a_sequence_too_long_are_refused_and_change_nothing() -> None:
    model = CLASSIFIER.build(direction="forward", chunks=True, max_steps=5, stack=2, stream_key="id")
    frames = CLASSIFIER.data(1)[0][0]["frames"][[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]]
    model.observe_one({"frames": frames[:6], "id": "a"})
    before = everything(model)
    calls: list[Any] = [model.observe_one, model.predict_one, lambda x: model.learn_one(x, "low")]
    calls += [lambda x: model.learn_many([x], ["low"]), lambda x: model.predict_many([x])]
    for call in calls:
        with pytest.raises(RecordError, match=r"at most 10 in a sequence, got 5 after 6; .*end_sequence") as error:
            call({"frames": frames[:5], "id": "a"})
        assert error.value.reason == "too_long"
        with pytest.raises(RecordError, match=r"expected at most 10, got 11; raise max_steps$"):
            call({"frames": frames, "id": "b"})
    assert everything(model) == before
    model.observe_one({"frames": frames[:5], "id": "b"})  # each stream has a sequence of its own
    model.learn_many([{"frames": frames[:4], "id": "a"}, {"frames": frames[:10], "id": "a"}], ["low", "high"])
    model.end_sequence("b", "low")
    assert model.counters()["updates"] == 3


def test_a_sequence_that_is_as_long_as_may_be_still_ends() -> None:
    model = TRANSCRIBER.build(chunks=True, max_steps=4)
    frames = TRANSCRIBER.data(1)[0][0]["frames"][[0, 1, 2, 0]]
    model.observe_one({"frames": frames})
    with pytest.raises(RecordError, match="got 1 after 4"):
        model.observe_one({"frames": frames[:1]})
    model.end_sequence(y="ab")
    assert model.counters()["updates"] == 1


def test_both_directions_say_nothing_before_the_end() -> None:
    model = TRANSCRIBER.build(chunks=True)
    (x, y), *_ = TRANSCRIBER.data(1)
    assert model.observe_one(x) is None
    assert model.end_sequence(y=y) == ""


def test_labels_of_chunks_come_with_them() -> None:
    model = TAGGER.build(chunks=True, direction="forward")
    (x, y), *_ = TAGGER.data(1)
    model.observe_one({"frames": x["frames"][:2]}, y[:2])
    model.learn_one({"frames": x["frames"][2:]}, y[2:])
    assert model.counters()["updates"] == 1
    with pytest.raises(RecordError, match="told end_sequence"):
        CLASSIFIER.build(chunks=True).observe_one(CLASSIFIER.data(1)[0][0], "low")


def test_without_chunks_there_is_nothing_under_way() -> None:
    for call in (lambda model: model.observe_one({"frames": [[1.0]]}), lambda model: model.end_sequence()):
        with pytest.raises(ConfigError, match=r"RNNSequenceClassifier: chunks: .* goes with chunks=True"):
            call(CLASSIFIER.build())


# ---- what else can be asked


def test_attention_says_where_each_symbol_looked() -> None:
    model = teach(TRANSLATOR.build(), TRANSLATOR.data(30))
    x = {"frames": "abcab"}
    looked = model.attention_one(x)
    assert looked.shape == (len(model.predict_one(x)), 5)
    np.testing.assert_allclose(looked.sum(axis=1), 1.0, atol=1e-5)
    assert TRANSLATOR.build().attention_one(x).shape == (0, 0)
    assert TRANSLATOR.build(attention=False).attention_one(x).shape == (0, 0)


@pytest.mark.parametrize("kind", [TRANSCRIBER, TRANSLATOR], ids=str)
def test_each_symbol_has_its_probability(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(100))
    for x, _ in kind.data(5, seed=1):
        confidence = model.confidence_one(x)
        assert len(confidence) == len(model.predict_one(x))
        assert all(0.0 < p <= 1.0 for p in confidence)


@pytest.mark.parametrize("kind", [CLASSIFIER, LOGISTIC], ids=str)
def test_probabilities_of_the_classes_seen_sum_to_one(kind: Kind) -> None:
    model = kind.build()
    assert model.predict_proba_one(kind.data(1)[0][0]) == {}
    assert model.predict_one(kind.data(1)[0][0]) is None
    teach(model, kind.data(10))
    said = model.predict_proba_one(kind.data(1)[0][0])
    assert list(said) == model.classes
    assert sum(said.values()) == pytest.approx(1.0)
    assert model.predict_one(kind.data(1)[0][0]) == max(said, key=lambda label: said[label])


def test_river_is_told_how_many_classes_there_may_be() -> None:
    assert CLASSIFIER.build()._multiclass
    assert not LOGISTIC.build()._multiclass


@each_kind
def test_the_average_of_the_weights_is_what_predicts(kind: Kind) -> None:
    model = teach(kind.build(), kind.data(9))
    x, newest, predicting = kind.data(1)[0][0], model.get_weights(), model.get_weights(average=True)
    assert any((newest[name] != predicting[name]).any() for name in newest)
    said = model.predict_one(x)
    model.set_weights(predicting)
    assert model.predict_one(x) == said
    for name, weight in model.get_weights().items():
        np.testing.assert_array_equal(weight, predicting[name])
    newest_alone = teach(kind.build(average=None), kind.data(3))
    for name, weight in newest_alone.get_weights(average=True).items():
        np.testing.assert_array_equal(weight, newest_alone.get_weights()[name])


# ---- parameters


def test_a_rate_is_taken_up_and_a_direction_is_not() -> None:
    model = teach(CLASSIFIER.build(), CLASSIFIER.data(3))
    model.lr = 0.001
    model.hidden_size = 6
    teach(model, CLASSIFIER.data(3))
    assert model.get_weights()["rnn.weight_hh_l0"].shape == (18, 6)
    with pytest.raises(ConfigError, match="direction: 'both' cannot become 'forward' once events were learned"):
        model.direction = "forward"
    assert model.direction == "both"


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (CLASSIFIER, {"direction": "back"}, "direction: expected 'both' or 'forward', got 'back'"),
        (CLASSIFIER, {"readout": "linear"}, "classes"),
        (CLASSIFIER, {"carry": True}, "direction: with carry"),
        (CLASSIFIER, {"max_steps": 0}, "max_steps: expected a whole number of at least 1"),
        (REGRESSOR, {"loss": "quantile"}, "loss: expected 'absolute', 'huber', 'squared' or None"),
        (TAGGER, {"stack": 2}, "stack: found 2 where each frame has a label"),
        (TRANSCRIBER, {"unit": "byte"}, "unit: expected 'character', 'element' or 'word', got 'byte'"),
        (TRANSCRIBER, {"beam": 0}, "beam: expected a whole number of at least 1"),
        (FORECASTER, {"horizon": 0}, "horizon: expected a whole number"),
    ],
)
def test_parameters_that_cannot_be_are_refused(kind: Kind, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind.estimator.__name__}: .*{message}"):
        kind.build(**parameters)
