"""A call that is broken off before it has learned anything, by an error or Ctrl-C, leaves an estimator as it was."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from streamrnn import ConfigError, RNNClassifier, RNNRegressor, RNNSequenceClassifier
from streamrnn.core.sequences.handle import SequenceHandle
from streamrnn.estimators.base import RecurrentEstimator
from streamrnn.estimators.sequences import SequenceEstimator
from streamrnn.learner.sequences.rows import Rows
from tests.support.contract import everything, weight_bits
from tests.support.sequence_estimators import CLASSIFIER, TAGGER, TRANSCRIBER, TRANSLATOR, Kind, run, teach


def break_off(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def named(frames: Any, **more: float) -> dict[str, Any]:
    return {"frames": [{"a": a, "b": b, **more} for a, b in frames.tolist()]}


def test_a_specification_that_cannot_be_leaves_no_class_and_no_form_of_frames_behind() -> None:
    model = RNNSequenceClassifier(stack=2)
    before = pickle.dumps(model)
    for _ in range(2):
        with pytest.raises(ConfigError, match="stack"):  # symbols are not joined
            model.learn_one({"frames": "abc"}, "zz")
        with pytest.raises(ConfigError, match="stack"):
            model.learn_many([{"frames": "abc"}], ["zz"])
    assert model.classes == []
    assert pickle.dumps(model) == before
    model.learn_one({"frames": np.ones((3, 1))}, "a")
    assert model.classes == ["a"]
    assert model.counters()["updates"] == 1


@pytest.mark.parametrize("kind", [CLASSIFIER, TAGGER], ids=str)
def test_ctrl_c_while_it_grows_leaves_features_and_classes_as_they_were(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(named(x["frames"]), y) for x, y in kind.data(9)]
    model = teach(kind.build(), pairs)
    before, (x, y) = everything(model), kind.data(1, seed=3)[0]
    new = ["new"] * len(y) if isinstance(y, list) else "new"
    for given in ((named(x["frames"], c=1.0), y), (named(x["frames"]), new), (named(x["frames"], c=1.0), new)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(SequenceEstimator, "_new_learner", break_off)
            model.learn_one(*given)
        assert everything(model) == before
        assert model.predict_one(given[0]) == model.predict_one(named(x["frames"]))
    copied = copy.deepcopy(model)
    more = [(named(x["frames"], c=2.0), y) for x, y in kind.data(4, seed=4)]
    assert run(model, more) == run(copied, more)
    assert weight_bits(model) == weight_bits(copied)


@pytest.mark.parametrize("kind", [CLASSIFIER, TRANSCRIBER, TRANSLATOR], ids=str)
def test_ctrl_c_before_the_kernels_leaves_classes_and_symbols_as_they_were(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = teach(kind.build(), kind.data(9))
    copied, x = copy.deepcopy(model), kind.data(1)[0][0]
    frames = "xyx" if kind is TRANSLATOR else x["frames"]
    for y in ("yx", "x"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(SequenceHandle, "process", break_off)
            model.learn_one({"frames": frames}, y)
    more = [({"frames": "yxy" if kind is TRANSLATOR else x["frames"]}, y) for y in ("x", "y", "yx")]
    assert run(model, more) == run(copied, more)
    assert weight_bits(model) == weight_bits(copied)


def test_ctrl_c_at_the_first_sequence_leaves_nothing_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CLASSIFIER.build()
    before = pickle.dumps(model)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SequenceHandle, "process", break_off)
        model.learn_one(*CLASSIFIER.data(1)[0])
    assert pickle.dumps(model) == before
    assert model.counters() == {}


def test_ctrl_c_after_the_kernels_leaves_the_class_that_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    (x, _), *_ = CLASSIFIER.data(1)
    model, whole = teach(CLASSIFIER.build(), [(x, "a")]), teach(CLASSIFIER.build(), [(x, "a"), (x, "b")])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Rows, "predictions", break_off)
        model.learn_one(x, "b")
    assert model.classes == ["a", "b"]
    assert weight_bits(model) == weight_bits(whole)


def test_ctrl_c_while_an_estimator_of_events_grows_leaves_features_and_classes_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models: list[tuple[Any, Any, Any]] = [
        (RNNRegressor(hidden_size=3), [1.0, 2.0], 3.0),
        (RNNClassifier(hidden_size=3), ["a", "b"], "c"),
    ]
    for model, known, new in models:
        for y in known:
            model.learn_one({"u": 1.0}, y)
        copied, before = copy.deepcopy(model), everything(model)
        for x in ({"u": 2.0}, {"u": 2.0, "v": 3.0}) if new == "c" else ({"u": 2.0, "v": 3.0},):
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(RecurrentEstimator, "_new_learner", break_off)
                model.learn_one(x, new)
            assert everything(model) == before
            model.predict_one(x)
            if new == "c":
                assert list(model.predict_proba_one(x)) == ["a", "b"]
        for each in (model, copied):
            each.learn_one({"u": 2.0, "v": 1.0}, new)
        assert weight_bits(model) == weight_bits(copied)
