"""What every estimator promises, whatever its kind and cell.

Predicting changes nothing; a batch is its rows one by one, to the bit, however the data are cut; pickles, files and
copies go on exactly where the original was; a seed decides everything that is random; streams keep their states to
themselves; values that are missing or not finite do no lasting harm.
"""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn import load_weights
from tests.support.contract import (
    ALL,
    BATCHED,
    CLASSIFIER,
    DEEP,
    DETECTOR,
    FORECASTER,
    HORIZON,
    K1,
    K2,
    MULTI_TARGET,
    REGRESSOR,
    STREAM_KEY,
    TOLD,
    Case,
    Model,
    Pair,
    assert_go_on_alike,
    case,
    everything,
    frame,
    infer,
    learn,
    numbers,
    run,
    targets,
    teach,
    through_pickle,
    weight_bits,
    with_emerging,
    with_streams,
)

DRAWN = {"glru": "rnn.B_re", "elstm": "rnn.weight_z", "bank": "rnn.B_re"}
"""Weights that begin at random, of cells without a window."""
NOTHING_LEFT = 10 * K1
"""After a multiple of k1 events every known target has been learned from: the next windows hold nothing new."""
BAD = (math.nan, math.inf, -math.inf, None, 1e300, -1e300, 3e38)

every = pytest.mark.parametrize("each", ALL + DEEP, ids=str)
told = pytest.mark.parametrize("each", TOLD, ids=str)
batched = pytest.mark.parametrize("each", BATCHED, ids=str)


def unknown(y: Any, nothing: Any) -> Any:
    """A target of the same form that says nothing."""
    return dict.fromkeys(y, nothing) if isinstance(y, dict) else nothing


# ---- predicting


@every
def test_predicting_changes_nothing_and_repeats_itself(each: Case) -> None:
    pairs = each.data(NOTHING_LEFT + 3)
    model = teach(each.build(), pairs[:-2])
    before = everything(model)
    asked = [pairs[-1][0], pairs[-2][0], {}, {**pairs[-1][0], "never seen": 1.0}, {"a": math.nan, "b": None}]
    first = [infer(model, x) for x in asked]
    assert [infer(model, x) for x in asked] == first
    assert everything(model) == before
    assert first[0] != first[1]


@every
def test_predicting_in_between_does_not_change_later_predictions(each: Case) -> None:
    pairs = each.data(40)
    asked, silent = each.build(), each.build()
    run(asked, pairs)
    teach(silent, pairs)
    assert_go_on_alike(asked, silent, each.data(12, seed=1))


@every
def test_a_model_that_has_seen_nothing_has_an_answer(each: Case) -> None:
    x = each.data(1)[0][0]
    prediction = infer(each.build(), x)
    assert all(math.isfinite(number) for number in numbers(prediction))
    if each.kind is CLASSIFIER and "readout" not in each.parameters:
        assert prediction == {}
        assert each.build().predict_one(x) is None
    if each.kind is REGRESSOR:
        assert isinstance(prediction, float)
    if each.kind is FORECASTER:
        assert len(prediction) == HORIZON


@every
def test_predictions_have_the_form_of_their_kind(each: Case) -> None:
    pairs = each.data(41)
    model, x = teach(each.build(), pairs[:-1]), pairs[-1][0]
    prediction = infer(model, x)
    assert all(math.isfinite(number) for number in numbers(prediction))
    if each.kind is REGRESSOR:
        assert type(prediction) is float
    elif each.kind is MULTI_TARGET:
        assert set(prediction) == {"u", "v"}
        assert all(type(value) is float for value in prediction.values())
    elif each.kind is CLASSIFIER:
        assert set(prediction) == {y for _, y in pairs}
        assert math.isclose(sum(prediction.values()), 1.0)
        assert model.predict_one(x) == max(prediction, key=prediction.__getitem__)
    elif each.kind is FORECASTER:
        assert [len(prediction), len(model.forecast(1, [x]))] == [HORIZON, 1]
        assert model.forecast(1, [x]) == prediction[:1]
        assert all(low <= high for low, high in model.forecast_interval(HORIZON, [x] * HORIZON))
    elif each.kind is DETECTOR:
        assert 0.0 <= prediction <= 1.0


def test_quantiles_come_by_level() -> None:
    model = case(REGRESSOR).build(loss="quantile", readout="linear")
    pairs = REGRESSOR.data(400)
    teach(model, pairs)
    predictions = [model.predict_quantiles_one(x) for x, _ in pairs[-50:]]
    assert all(set(levels) == {0.05, 0.5, 0.95} for levels in predictions)
    assert np.mean([levels[0.05] for levels in predictions]) < np.mean([levels[0.95] for levels in predictions])


# ---- targets that are unknown


@told
def test_an_event_without_target_advances_the_state_and_nothing_else(each: Case) -> None:
    pairs = each.data(NOTHING_LEFT + 2 * K1)
    model = teach(each.build(), pairs[:NOTHING_LEFT])
    x = pairs[0][0]
    if each.kind is FORECASTER:  # with covariates the newest value is learned when those of the next step come
        for _ in range(each.settles):
            learn(model, x, None)
    for i in range(NOTHING_LEFT, NOTHING_LEFT + 2 * K1):
        weights, counters, prediction = weight_bits(model), model.counters(), infer(model, x)
        learn(model, pairs[i][0], None)
        assert weight_bits(model) == weights
        assert model.counters()["updates"] == counters["updates"]
        assert model.counters()["records_predicted"] == counters["records_predicted"] + 1
        assert infer(model, x) != prediction


@told
def test_a_target_that_is_not_a_number_is_no_target(each: Case) -> None:
    pairs = each.data(30)
    silent, odd = each.build(), each.build()
    for i, (x, y) in enumerate(pairs):
        hidden = i % 4 == 3
        learn(silent, x, None if hidden else y)
        learn(odd, x, unknown(y, math.nan) if hidden else y)
    assert_go_on_alike(silent, odd, each.data(12, seed=1))


# ---- batches


@batched
def test_learning_a_batch_is_learning_its_rows(each: Case) -> None:
    pairs = each.data(45)
    one, many = each.build(), each.build()
    teach(one, pairs)
    many.learn_many(frame(pairs), targets(pairs))
    assert_go_on_alike(one, many, each.data(12, seed=1))


@batched
@settings(max_examples=15)
@given(
    cuts=st.sets(st.integers(1, 39)),
    holes=st.sets(st.tuples(st.integers(1, 39), st.sampled_from("abc"))),
    silent=st.sets(st.integers(3, 39)),
    several=st.booleans(),
)
def test_where_data_are_cut_into_batches_has_no_influence(
    each: Case, cuts: set[int], holes: set[tuple[int, str]], silent: set[int], several: bool
) -> None:
    # The first rows stay whole: they decide which columns, targets and classes there are.
    pairs: list[Pair] = [
        ({k: math.nan if (i, k) in holes else v for k, v in x.items()}, unknown(y, None) if i in silent else y)
        for i, (x, y) in enumerate(each.data(40))
    ]
    if several:
        pairs = with_streams(pairs)
    key = STREAM_KEY if several else None
    one, many = each.build(stream_key=key), each.build(stream_key=key)
    teach(one, pairs)
    edges = [0, *sorted(cuts), 40]
    for start, stop in itertools.pairwise(edges):
        many.learn_many(frame(pairs[start:stop]), targets(pairs[start:stop]))
    rest = each.data(6, seed=1)
    assert_go_on_alike(one, many, with_streams(rest) if several else rest)


@batched
def test_predicting_a_batch_is_predicting_each_row_from_the_present_state(each: Case) -> None:
    pairs = each.data(40)
    model = teach(each.build(), pairs[:25])
    X = frame(pairs[25:]).set_axis(range(100, 115))
    X.loc[104, "b"] = math.nan
    rows: list[Any] = [dict(row) for row in X.to_dict("records")]
    before = everything(model)
    predictions = model.predict_many(X)
    assert list(predictions.index) == list(X.index)
    if each.kind is MULTI_TARGET:
        assert isinstance(predictions, pd.DataFrame)
        assert predictions.to_dict("records") == [model.predict_one(x) for x in rows]
    else:
        assert isinstance(predictions, pd.Series)
        assert predictions.tolist() == [model.predict_one(x) for x in rows]
    if each.kind is CLASSIFIER:
        probabilities = model.predict_proba_many(X)
        assert list(probabilities.index) == list(X.index)
        assert probabilities.to_dict("records") == [model.predict_proba_one(x) for x in rows]
    assert everything(model) == before


@batched
def test_an_empty_batch_is_nothing(each: Case) -> None:
    pairs = each.data(20)
    model = teach(each.build(), pairs)
    before = everything(model)
    model.learn_many(frame(pairs).iloc[:0], targets(pairs).iloc[:0])
    assert len(model.predict_many(frame(pairs).iloc[:0])) == 0
    assert everything(model) == before


# ---- copies


def saved_and_loaded(model: Model, directory: Path) -> Model:
    path = directory / "model.safetensors"
    model.save(path)
    return type(model).load(path)


@every
@pytest.mark.parametrize("way", ["pickle", "file"])
@pytest.mark.parametrize("seen", [0, 1, 37])
def test_a_model_goes_on_identically_after_a_round_trip(each: Case, way: str, seen: int, tmp_path: Path) -> None:
    # In the middle of sequences and between windows, of several streams, after a feature has joined.
    pairs = with_streams(with_emerging(each.data(70), at=20))
    model = teach(each.build(stream_key=STREAM_KEY), pairs[:seen])
    twin = through_pickle(model) if way == "pickle" else saved_and_loaded(model, tmp_path)
    assert type(twin) is type(model)
    assert repr(twin) == repr(model)
    assert_go_on_alike(model, twin, pairs[seen:])


@every
def test_a_saved_file_holds_tensors_and_no_code(each: Case, tmp_path: Path) -> None:
    model = teach(each.build(), each.data(20))
    model.save(tmp_path / "model.safetensors")
    assert load_weights(tmp_path / "model.safetensors")


@every
def test_a_model_is_saved_over_an_older_one(each: Case, tmp_path: Path) -> None:
    model = teach(each.build(), each.data(20))
    model.save(str(tmp_path / "model"))
    teach(model, each.data(9, seed=1))
    model.save(str(tmp_path / "model"))
    assert_go_on_alike(type(model).load(str(tmp_path / "model")), model, each.data(12, seed=2))


@every
def test_a_deep_copy_is_independent_and_goes_on_identically(each: Case) -> None:
    pairs = each.data(60)
    model = teach(each.build(), pairs[:31])
    twin = copy.deepcopy(model)
    before = everything(twin)
    predictions = run(model, pairs[31:])
    assert everything(twin) == before
    assert run(twin, pairs[31:]) == predictions


@every
def test_a_clone_is_a_fresh_model_with_the_same_parameters(each: Case) -> None:
    pairs = each.data(30)
    model = teach(each.build(), pairs)
    before = everything(model)
    clone = model.clone()
    assert repr(clone) == repr(model)
    assert_go_on_alike(clone, each.build(), pairs)
    assert everything(model) == before


@every
def test_weights_go_out_and_in_by_name(each: Case) -> None:
    pairs = each.data(30)
    model, other = teach(each.build(), pairs), teach(each.build(seed=1), pairs)
    names = set(model.get_weights())
    if each.is_windowed:
        assert {"rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"} <= names
    else:
        assert DRAWN[each.parameters["cell"]] in names
    other.set_weights(model.get_weights())
    assert weight_bits(other) == weight_bits(model)


# ---- seeds


@every
def test_a_seed_decides_the_run(each: Case) -> None:
    pairs = each.data(40)
    assert_go_on_alike(each.build(seed=5), each.build(seed=5), pairs)
    drawn = "rnn.weight_ih_l0" if each.is_windowed else DRAWN[each.parameters["cell"]]
    weights = [teach(each.build(seed=seed), pairs[:3]).get_weights()[drawn] for seed in (5, 6, None, None)]
    assert all(not np.array_equal(a, b) for i, a in enumerate(weights) for b in weights[:i])


@every
def test_nothing_random_is_taken_from_or_left_to_others(each: Case) -> None:
    pairs = each.data(20)
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    predictions = run(each.build(), pairs)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
    np.random.seed(4)
    assert run(each.build(), pairs) == predictions


# ---- streams


@told
def test_events_of_one_stream_leave_the_state_of_another_alone(each: Case) -> None:
    # Weights and statistics are shared, so neither may move here: no targets, and inputs as they are. Among these are
    # targets of 30, for which tanh rounds to one in float32: states would be alike for that reason alone.
    pairs = each.data(4 * NOTHING_LEFT)
    model = each.build(stream_key=STREAM_KEY, scale=False, features=("a", "c"), dtype="float64")
    for i, (x, y) in enumerate(pairs[: 2 * NOTHING_LEFT]):
        learn(model, {**x, STREAM_KEY: "pq"[i % 2]}, y)
    x = pairs[0][0]
    if each.kind is FORECASTER:  # with covariates the newest value is learned when those of the next step come
        for stream in "pq" * each.settles:
            learn(model, {**x, STREAM_KEY: stream}, None)
    alone, other = infer(model, {**x, STREAM_KEY: "p"}), infer(model, {**x, STREAM_KEY: "q"})
    assert alone != other
    for z, _ in pairs[2 * NOTHING_LEFT :]:
        learn(model, {**z, STREAM_KEY: "q"}, None)
    assert infer(model, {**x, STREAM_KEY: "p"}) == alone
    assert infer(model, {**x, STREAM_KEY: "q"}) != other


@batched
def test_after_its_end_a_stream_begins_anew(each: Case) -> None:
    pairs = with_streams(each.data(40))
    model = teach(each.build(stream_key=STREAM_KEY, scale=False, features=("a", "c")), pairs)
    x = {"a": 0.5, "c": -3.0}
    learn(model, {**x, STREAM_KEY: "q"}, pairs[-1][1])
    assert infer(model, {**x, STREAM_KEY: "q"}) != infer(model, {**x, STREAM_KEY: "new"})
    model.end_sequence("q")
    assert infer(model, {**x, STREAM_KEY: "q"}) == infer(model, {**x, STREAM_KEY: "new"})
    assert infer(model, {**x, STREAM_KEY: "p"}) != infer(model, {**x, STREAM_KEY: "new"})


# Without a window each step is learned from at once, and nothing is left.
@pytest.mark.parametrize("each", [each for each in BATCHED if each.is_windowed], ids=str)
def test_the_end_of_a_sequence_learns_from_what_is_left(each: Case) -> None:
    model = teach(each.build(k1=4, k2=8), each.data(4 * 5 + 1))
    weights = weight_bits(model)
    model.end_sequence()
    assert weight_bits(model) != weights
    weights = weight_bits(model)
    model.end_sequence()
    assert weight_bits(model) == weights


def test_beyond_max_streams_the_least_recently_seen_is_forgotten() -> None:
    model = case(REGRESSOR).build(stream_key=STREAM_KEY, max_streams=2)
    for name, (x, y) in zip("ppqpr", REGRESSOR.data(5), strict=True):
        model.learn_one({**x, STREAM_KEY: name}, y)
    assert model.counters()["evictions_capacity"] == 1
    x = REGRESSOR.data(1)[0][0]
    assert model.predict_one({**x, STREAM_KEY: "q"}) == model.predict_one({**x, STREAM_KEY: "new"})
    assert model.predict_one({**x, STREAM_KEY: "p"}) != model.predict_one({**x, STREAM_KEY: "new"})


# ---- values that are missing or not finite


@every
@settings(max_examples=10)
@given(bad=st.dictionaries(st.tuples(st.integers(1, 39), st.sampled_from("abc")), st.sampled_from(BAD), min_size=1))
def test_inputs_that_are_missing_or_not_finite_never_poison_later_predictions(
    each: Case, bad: dict[tuple[int, str], float | None]
) -> None:
    pairs = [({k: bad.get((i, k), v) for k, v in x.items()}, y) for i, (x, y) in enumerate(each.data(40))]
    model = each.build()
    for prediction in [*run(model, pairs), *run(model, each.data(2 * K2, seed=1))]:
        assert all(math.isfinite(number) for number in numbers(prediction))
    assert all(np.isfinite(array).all() for array in model.get_weights().values())


@pytest.mark.parametrize("each", [each for each in TOLD if each.kind is not CLASSIFIER], ids=str)
@pytest.mark.parametrize("bad", [math.inf, -math.inf, 1e300])
def test_targets_that_are_not_finite_never_poison_later_predictions(each: Case, bad: float) -> None:
    model = each.build()
    for i, (x, y) in enumerate(each.data(60)):
        assert all(math.isfinite(number) for number in numbers(infer(model, x)))
        learn(model, x, unknown(y, bad) if i % 7 == 2 and i < 40 else y)
    assert all(np.isfinite(array).all() for array in model.get_weights().values())


@every
def test_a_feature_that_disappears_counts_as_missing(each: Case) -> None:
    pairs = each.data(40)
    models = [teach(each.build(), pairs[:20]) for _ in range(3)]
    imputed = models[0].counters()["imputed_inputs"]
    for x, y in pairs[20:]:
        rest = {k: v for k, v in x.items() if k != "b"}
        predictions = [
            infer(m, z) for m, z in zip(models, (rest, {**rest, "b": None}, {**rest, "b": math.nan}), strict=True)
        ]
        assert predictions[0] == predictions[1] == predictions[2]
        learn(models[0], rest, y)
        learn(models[1], {**rest, "b": None}, y)
        learn(models[2], {**rest, "b": math.nan}, y)
    if each.kind is not DETECTOR:  # its features are what it forecasts, so none is an input to be replaced
        assert models[0].counters()["imputed_inputs"] == imputed + 20
    assert weight_bits(models[0]) == weight_bits(models[1]) == weight_bits(models[2])
