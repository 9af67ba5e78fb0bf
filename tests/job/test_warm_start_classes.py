"""A model file's classes and targets: those that were learned are those that are declared, in their order."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn import RNNClassifier, RNNMultiTargetRegressor
from streamrnn.errors import ConfigError
from streamrnn.job.job import Job
from streamrnn.job.job_file import load
from tests.support.scenario import TP
from tests.support.warm_start import FEATURES, NETWORK, event, job_file, refusal

pytestmark = pytest.mark.usefixtures("no_pauses")


def classifier(labels: list[Any], path: Path, readout: str = "softmax") -> None:
    model = RNNClassifier(**NETWORK, features=FEATURES, readout=readout)
    rng = random.Random(3)
    for label in labels * 3:
        model.learn_one(event(rng), label)
    model.save(path)


def classes(path: Path, declared: list[Any], readout: str = "softmax") -> Path:
    target = {"fields": ["y"], "classes": declared}
    return job_file(path.parent, path, model={"readout": readout}, target=target)


@pytest.mark.parametrize(
    ("learned", "declared"),
    [
        (["late", "early"], ["late", "early"]),
        (["late", "early"], ["late", "early", "lost"]),
        ([7, True, 2.0], ["7", "true", 2]),
        (["late"], ["late", "early"]),
    ],
)
def test_classes_in_the_order_they_were_learned_are_taken(
    tmp_path: Path, learned: list[Any], declared: list[Any]
) -> None:
    path = tmp_path / "model.safetensors"
    classifier(learned, path)
    learner = Job(load(classes(path, declared), {})).first_learner(TP)
    before = RNNClassifier.load(path).get_weights()["head.weight"]
    now = learner.get_weights()["head.weight"]
    np.testing.assert_array_equal(now[: len(before)], before)
    assert np.all(now[len(before) :] == 0.0)


@pytest.mark.parametrize(
    ("learned", "declared", "remedy"),
    [
        (["late", "early"], ["early", "late"], '["late", "early"]'),
        (["late", "early"], ["early", "lost", "late"], '["late", "early", "lost"]'),
        (["late", "early"], ["lost", "early"], '["late", "early", "lost"]'),
        (["so", "spät"], ["spät", "so"], '["so", "spät"]'),
        ([1, False], [False, 1], "[1, false]"),
        ([2.5, 1], [1, 3], '["2.5", 1, 3]'),
    ],
)
def test_classes_in_another_order_are_refused_with_the_one_to_declare(
    tmp_path: Path, learned: list[Any], declared: list[Any], remedy: str
) -> None:
    path = tmp_path / "model.safetensors"
    classifier(learned, path)
    classes(path, declared)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "job.yaml", {})
    assert f"declare them in the order they were learned: {remedy}\n" in str(caught.value)
    load(classes(path, json.loads(remedy)), {})


def test_a_class_learned_and_not_declared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    classifier(["a", "b", "c"], path)
    classes(path, ["a", "b"])
    with pytest.raises(ConfigError, match=r"target\.classes: 3 in what was learned, 2 here") as caught:
        load(tmp_path / "job.yaml", {})
    assert 'in the order they were learned: ["a", "b", "c"]' in str(caught.value)


def test_a_logistic_readout_keeps_its_two_classes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    classifier(["no", "yes"], path, "logistic")
    load(classes(path, ["no", "yes"], "logistic"), {})
    classes(path, ["yes", "no"], "logistic")
    with pytest.raises(ConfigError, match=r'in the order they were learned: \["no", "yes"\]'):
        load(tmp_path / "job.yaml", {})


def test_several_targets_may_be_renamed_and_not_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = RNNMultiTargetRegressor(**NETWORK, readout="rls", lags=20, features=FEATURES, targets=["u", "v"])
    model.learn_one(event(random.Random(4)), {"u": 1.0, "v": 2.0})
    model.save(path)
    for fields in (["u", "v"], ["first", "second"]):
        load(job_file(tmp_path, path, target={"fields": fields}), {})
    message = refusal(tmp_path, path, target={"fields": ["v", "u"]})
    assert "target.fields: 'u', 'v' in what was learned, 'v', 'u' here; declare them in the order" in message
    assert "target.fields: 2 in what was learned, 1 here" in refusal(tmp_path, path, target={"fields": ["u"]})
    assert "target.fields: 'u', 'v' in what was learned, 'u', 'v', 'w' here; declare as many" in refusal(
        tmp_path, path, target={"fields": ["u", "v", "w"]}
    )
