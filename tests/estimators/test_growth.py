"""Features, classes and targets may appear late: what was learned before stays where it was.

A new feature is a new column after the old ones, a new class a new row, whatever their names sort like. Weights and
optimiser moments of the others are kept, so a feature that never comes again leaves training as it would have been.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from streamrnn import Numeric, OneHot, RNNClassifier, RNNMultiTargetRegressor, RNNRegressor
from tests.support.contract import (
    BATCHED,
    CASES,
    CLASSIFIER,
    FORECASTER,
    K1,
    LOGISTIC,
    REGRESSOR,
    SMALL,
    TOLD,
    Case,
    Model,
    Row,
    assert_close,
    assert_go_on_alike,
    case,
    classification,
    frame,
    infer,
    learn,
    run,
    targets,
    teach,
    weight_bits,
    with_emerging,
)

batched = pytest.mark.parametrize("each", BATCHED, ids=str)
COLUMNS = {"glru": "rnn.B_re", "elstm": "rnn.weight_z", "bank": "rls.weight"}
"""By cell, a matrix with a column for each feature that learns; of the others ``rnn.weight_ih_l0``."""
CLASSIFIERS = [each for each in CASES if each.kind is CLASSIFIER]
NEW = "AA"
"""Sorts before every other feature."""


def grown_and_not(each: Case, **parameters: Any) -> tuple[Model, Model]:
    """Two models after the same events; in the last of them, without target, the first also saw a new feature.

    The feature's first value is 0, which is worth as much as a missing one, scaled or not.
    """
    pairs = each.data(20 * K1)
    grown, plain = each.build(**parameters), each.build(**parameters)
    teach(grown, pairs)
    teach(plain, pairs)
    x = each.data(1, seed=9)[0][0]
    learn(grown, {NEW: 0.0, **x}, None)
    learn(plain, x, None)
    return grown, plain


@pytest.mark.parametrize("each", TOLD, ids=str)
@pytest.mark.parametrize("scale", [True, False])
def test_growing_changes_no_prediction_without_the_new_feature(each: Case, scale: bool) -> None:
    grown, plain = grown_and_not(each, scale=scale)
    for x, _ in each.data(10, seed=1):
        assert_close(infer(grown, x), infer(plain, x))


@batched
def test_growing_keeps_the_old_columns_and_adds_one_after_them(each: Case) -> None:
    grown, plain = grown_and_not(each, previous_target=False)
    new, old = grown.get_weights(), plain.get_weights()
    wider = {name for name in old.keys() - {"rls.weight"} if new[name].shape != old[name].shape}
    assert wider
    for name in old.keys() - {"rls.weight"}:
        added = int(name in wider)  # the features are the last of the inputs, and these of what is read
        assert new[name].shape[-1] == old[name].shape[-1] + added
        np.testing.assert_array_equal(new[name][..., : old[name].shape[-1]], old[name])
    if each.is_windowed:
        assert wider == {"rnn.weight_ih_l0"}
    if "rls.weight" in old:
        assert grown._learner is not None
        place = grown._learner.spec.n_read + 3  # behind what is read and the old columns
        np.testing.assert_array_equal(np.delete(new["rls.weight"], place, axis=1), old["rls.weight"])
        assert not new["rls.weight"][:, place].any()


@pytest.mark.parametrize("each", [each for each in TOLD if each.parameters["cell"] != "bank"], ids=str)
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "momentum"])
def test_growing_keeps_the_moments_so_training_goes_on_as_if_nothing_had_happened(each: Case, optimizer: str) -> None:
    grown, plain = grown_and_not(each, optimizer=optimizer, dtype="float64")
    rest = each.data(40, seed=1)
    assert_close(run(grown, rest), run(plain, rest))


@batched
def test_the_new_feature_is_learned_from(each: Case) -> None:
    model = teach(each.build(), each.data(20))
    late = with_emerging(each.data(30, seed=1), at=0, name=NEW)
    teach(model, late[:1])
    columns = COLUMNS.get(each.parameters["cell"], "rnn.weight_ih_l0")
    before = model.get_weights()[columns]
    teach(model, late[1:])
    assert (before != model.get_weights()[columns]).any(axis=0).all()
    x = late[0][0]
    assert infer(model, x) != infer(model, {**x, NEW: x[NEW] + 2.0})


@batched
def test_a_feature_that_emerges_inside_a_batch_does_as_it_would_row_by_row(each: Case) -> None:
    pairs = with_emerging(each.data(40), at=17, name=NEW)
    one, many = each.build(dtype="float64"), each.build(dtype="float64")
    teach(one, pairs)
    many.learn_many(frame(pairs[:10]), targets(pairs[:10]))
    many.learn_many(frame(pairs[10:]), targets(pairs[10:]))
    rest = with_emerging(each.data(10, seed=1), at=0, name=NEW)
    assert_close(run(one, rest), run(many, rest))


@pytest.mark.parametrize("each", CASES, ids=str)
def test_the_order_of_a_rows_features_has_no_influence(each: Case) -> None:
    pairs = each.data(30)
    turned = [(dict(reversed(x.items())), y) for x, y in pairs]
    a, b = each.build(), each.build()
    assert run(a, pairs) == run(b, turned)
    assert weight_bits(a) == weight_bits(b)


@pytest.mark.parametrize("each", CASES, ids=str)
def test_with_declared_features_all_others_are_ignored(each: Case) -> None:
    pairs = each.data(30)
    more = [({**x, "zz": 5.0, "text": "any"}, y) for x, y in pairs]
    a, b = each.build(features=("b", "a")), each.build(features=("b", "a"))
    assert run(a, pairs) == run(b, more)
    assert weight_bits(a) == weight_bits(b)


def test_encoders_turn_text_into_columns() -> None:
    features = (Numeric(field="a"), OneHot(field="colour", categories=("red", "blue")))
    model = RNNRegressor(**SMALL, features=features, previous_target=False)
    rng = np.random.default_rng(0)
    rows: list[tuple[Row, float]] = []
    for _ in range(600):
        red = bool(rng.random() < 0.5)
        rows.append(({"a": float(rng.normal()), "colour": "red" if red else "blue"}, 10.0 if red else -10.0))
    teach(model, rows)
    assert model.get_weights()["rnn.weight_ih_l0"].shape[1] == 3
    assert model.predict_one({"a": 0.0, "colour": "red"}) > 5 > -5 > model.predict_one({"a": 0.0, "colour": "blue"})
    assert math.isfinite(model.predict_one({"a": 0.0, "colour": "green"}))


# ---- forecasters' covariates


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_forecaster_needs_no_covariates(cell: str) -> None:
    model = case(FORECASTER, cell=cell).build()
    for _, y in FORECASTER.data(60):
        model.learn_one(y)
    assert all(math.isfinite(value) for value in model.forecast(3))


# ---- classes


@pytest.mark.parametrize("each", CLASSIFIERS, ids=str)
def test_a_new_class_keeps_the_rows_of_the_others(each: Case) -> None:
    known = [(x, y) for x, y in each.data(200) if y != "high"][:80]
    model, same = (teach(each.build(k1=4, k2=8, previous_target=False), known) for _ in range(2))
    before = model.get_weights()
    # The event after a window's: nothing is learned from it yet.
    x = each.data(1, seed=1)[0][0]
    model.learn_one(x, "high")
    same.learn_one(x, "low")
    after = model.get_weights()
    assert after["head.weight"].shape[0] == before["head.weight"].shape[0] + 1 == 3
    np.testing.assert_array_equal(after["head.weight"][:2], before["head.weight"])
    np.testing.assert_array_equal(after["rnn.weight_hh_l0"], before["rnn.weight_hh_l0"])
    probabilities, expected = model.predict_proba_one(x), same.predict_proba_one(x)
    assert math.isclose(probabilities["low"] / probabilities["mid"], expected["low"] / expected["mid"], rel_tol=1e-4)


@pytest.mark.parametrize("each", CLASSIFIERS, ids=str)
def test_a_late_class_that_sorts_first_disturbs_no_other_and_is_learned(each: Case) -> None:
    rng = np.random.default_rng(2)
    model = each.build(hidden_size=8)

    def accuracy(labels: str, n: int) -> float:
        right = 0
        for label in rng.choice(list(labels), n):
            x = {name: float(name == label) + 0.05 * float(rng.normal()) for name in "abc"}
            right += model.predict_one(x) == label
            model.learn_one(x, str(label))
        return right / n

    accuracy("bc", 2000)
    assert accuracy("bc", 100) >= 0.98
    accuracy("a", 1)
    assert accuracy("bc", 50) >= 0.96
    accuracy("abc", 2000)
    assert accuracy("abc", 100) >= 0.95


def test_a_logistic_readout_refuses_a_third_class() -> None:
    model = teach(LOGISTIC[0].build(), LOGISTIC[0].data(30))
    before = weight_bits(model)
    with pytest.raises(ValueError, match="logistic"):
        model.learn_one({"a": 1.0}, "a third")
    assert weight_bits(model) == before


def test_classes_of_any_type_come_back_as_they_were_given() -> None:
    for labels in (("x", "y"), (1, 2), (False, True), (np.int64(3), np.int64(4))):
        model = RNNClassifier(**SMALL)
        for i, (x, _) in enumerate(classification(20)):
            model.learn_one(x, labels[i % 2])
        assert set(model.predict_proba_one({"a": 0.0})) == set(labels)
        assert model.predict_one({"a": 0.0}) in labels


# ---- targets


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("readout", ["rls", "linear"])
def test_a_target_that_is_left_out_is_unknown(cell: str, readout: str) -> None:
    a, b = (RNNMultiTargetRegressor(cell=cell, readout=readout, **SMALL) for _ in range(2))
    for i, (x, y) in enumerate(REGRESSOR.data(40)):
        whole = {"u": y, "v": -y}
        a.learn_one(x, {"u": y} if i % 3 == 2 else whole)
        b.learn_one(x, {"u": y, "v": math.nan} if i % 3 == 2 else whole)
    rest = [(x, {"u": y, "v": -y}) for x, y in REGRESSOR.data(10, seed=1)]
    assert_go_on_alike(a, b, rest)


def test_declared_targets_are_predicted_from_the_start() -> None:
    model = RNNMultiTargetRegressor(**SMALL, targets=("v", "u"))
    assert set(model.predict_one({"a": 1.0})) == {"u", "v"}
    assert teach(model, [({"a": 1.0}, {"u": 2.0, "v": 3.0, "w": 4.0})] * 10)
    assert set(model.predict_one({"a": 1.0})) == {"u", "v"}


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "momentum"])
def test_previous_classes_keep_their_rows_when_another_class_comes(optimizer: str) -> None:
    model = RNNClassifier(**SMALL, previous_target=True, optimizer=optimizer)
    events = [(x, label == "low") for x, label in classification(60)]
    teach(model, events)
    before = model.get_weights()["rnn.weight_ih_l0"]
    at = before.shape[1] - 3  # behind the features: a row for each class, and one that says it is known
    model.lr = 1e-30
    model.learn_one(events[0][0], "a third")
    after = model.get_weights()["rnn.weight_ih_l0"]
    assert after.shape[1] == before.shape[1] + 1
    np.testing.assert_array_equal(after[:, [*range(at + 2), at + 3]], before)
    assert not after[:, at + 2].any()
    model.lr = 0.05
    for _ in range(30):
        model.learn_one(events[0][0], "a third")
    assert model.get_weights()["rnn.weight_ih_l0"][:, at + 2].any()
    assert model.predict_one(events[0][0]) == "a third"
