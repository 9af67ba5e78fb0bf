"""What was learned of hashed values goes with its key: from estimator to daemon and back, and never into a file."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from streamrnn import Hash, Numeric, RNNRegressor
from streamrnn.errors import CheckpointError, ConfigError
from streamrnn.job.job import Job
from streamrnn.job.job_file import load
from streamrnn.learner.block import Block
from tests.daemon.test_watch import TP

SECRET = "0b3f6c0a9be34c0e"
CITIES = [f"city-{i}" for i in range(40)]
FEATURES = [Numeric(field="a"), Hash(field="c", buckets=8)]
JOB = """
job: delays
embedded: {{directory: {directory}/log}}
input: {{topic: in}}
features: [{{field: a, encoder: numeric}}, {{field: c, encoder: hash, buckets: 8}}]
target: {{fields: [y]}}
inputs: {{dt: false}}
model: {{hidden_size: 4, readout: rls, warm_start: {directory}/model.safetensors}}
learning: {{k1: 1, k2: 4, optimizer: rmsprop, lr: 0.01}}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: {directory}/checkpoints}}
{hashing}
"""


def trained(**parameters: Any) -> RNNRegressor:
    model = RNNRegressor(hidden_size=4, k2=4, features=FEATURES, **parameters)
    for i in range(80):
        model.learn_one({"a": i % 7, "c": CITIES[i % 40]}, float(i % 5))
    return model


def predictions(model: RNNRegressor) -> list[float]:
    return [model.predict_one({"a": 1.0, "c": city}) for city in CITIES]


def job_of(directory: Path, hashing: str = "") -> Job:
    (directory / "job.yaml").write_text(JOB.format(directory=directory, hashing=hashing))
    return Job(load(directory / "job.yaml", {"HASH_KEY": SECRET}))


@pytest.mark.parametrize(
    ("key", "hashing"),
    [
        ({"hash_key": "delays"}, ""),  # the job's name, under which it hashes unless told otherwise
        ({"hash_key": SECRET}, 'hashing: {key: "${HASH_KEY}"}'),
        ({}, "hashing: {key: streamrnn}"),
    ],
)
def test_a_job_under_the_estimators_key_begins_with_what_was_learned_of_each_value(
    tmp_path: Path, key: dict[str, Any], hashing: str
) -> None:
    model = trained(**key)
    model.save(tmp_path / "model.safetensors")
    job = job_of(tmp_path, hashing)
    encoder = job.config.feature_encoder()
    rows = [encoder.encode_dict({"a": 1.0, "c": city}) for city in CITIES]
    block = Block.events([b"unseen"] * len(rows), rows, [[float("nan")]] * len(rows))
    unseen = RNNRegressor.load(tmp_path / "model.safetensors", **key)
    unseen.end_sequence()
    found = job.first_learner(TP).predict(block).value[:, 0]
    by_bucket: dict[tuple[float, ...], set[float]] = {}
    for row, value in zip(rows, found, strict=True):
        by_bucket.setdefault(tuple(row), set()).add(value)
    assert len(by_bucket) == 8
    assert len({value for values in by_bucket.values() for value in values}) > 4
    columns = unseen._columns
    assert rows == [columns.row({"a": 1.0, "c": city}) for city in CITIES]


@pytest.mark.parametrize(
    ("key", "hashing", "remedy"),
    [
        ({}, "", 'set hashing.key "streamrnn", or train under the job\'s'),
        ({"hash_key": SECRET}, "", "set hashing.key to the secret that it was learned under"),
        ({"hash_key": "delays"}, 'hashing: {key: "${HASH_KEY}"}', "set hashing.key to the secret"),
    ],
)
def test_under_another_key_a_job_does_not_begin_and_says_why(
    tmp_path: Path, key: dict[str, Any], hashing: str, remedy: str
) -> None:
    trained(**key).save(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="features: 'c': hashed under another key in what was learned") as refusal:
        job_of(tmp_path, hashing)
    assert remedy in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_no_file_holds_the_key_and_load_asks_for_it(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", trained(hash_key=SECRET)
    model.save(path)
    assert SECRET.encode() not in path.read_bytes()
    assert predictions(RNNRegressor.load(path, hash_key=SECRET)) == predictions(model)
    with pytest.raises(CheckpointError, match="hashed under a key that no file holds; give it to load"):
        RNNRegressor.load(path)
    with pytest.raises(CheckpointError, match="hash_key is not the key that its features were hashed under"):
        RNNRegressor.load(path, hash_key="another")


def test_the_key_that_everybody_knows_need_not_be_given(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", trained()
    model.save(path)
    assert predictions(RNNRegressor.load(path)) == predictions(model)


def test_copies_keep_the_key_and_clones_too() -> None:
    model = trained(hash_key=SECRET)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
        assert predictions(copied) == predictions(model)
    assert model.clone()._columns.hash_check == model._columns.hash_check != trained()._columns.hash_check


def test_the_key_is_not_shown_nor_changed_once_something_was_learned() -> None:
    model = trained(hash_key=SECRET)
    assert SECRET not in repr(model)
    with pytest.raises(ConfigError, match="buckets would hold other values") as refusal:
        model.hash_key = "another"
    assert SECRET not in str(refusal.value)


def test_before_that_it_can_be_set() -> None:
    model = RNNRegressor(features=FEATURES)
    model.hash_key = SECRET
    assert model._columns.hash_check == RNNRegressor(features=FEATURES, hash_key=SECRET)._columns.hash_check
