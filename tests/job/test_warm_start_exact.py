"""Models of cells with exact gradients, and of the bank, go from Python to a job and from a job to Python."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from streamrnn import Block, RNNClassifier, RNNForecaster, RNNLanguageModel, RNNRegressor
from streamrnn.broker.protocol import Record
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.job.job_file import load
from streamrnn.offline.export import export
from streamrnn.storage.listing import find
from tests.support import claims
from tests.support.drawn_records import TP

CELLS: dict[str, dict[str, Any]] = {
    "lru": {"cell": "glru", "gates": False},
    "glru": {"cell": "glru", "hidden_layer": 3},
    "elstm": {"cell": "elstm", "readout": "linear", "loss": "absolute"},
    "elstm with a layer under rls": {"cell": "elstm", "hidden_layer": 4, "readout": "rls", "lags": 2},
    "bank": {"cell": "bank", "readout": "rls", "hidden_layer": 6},
}
CLASSES = ("hi", "lo")
Y = {"fields": ["y"]}
each = pytest.mark.parametrize("cell", CELLS)


def config(directory: Path, model: dict[str, Any], target: dict[str, Any] | None = Y, **more: Any) -> Config:
    """A job of one number, x, that predicts another, y, or what ``target`` says."""
    directory.mkdir(exist_ok=True)
    told = {
        "job": "j",
        "embedded": {"directory": str(directory / "log")},
        "input": {"topic": "in"},
        "features": [{"field": "x", "encoder": "numeric"}],
        "target": target,
        "inputs": {"dt": False},
        "model": {"hidden_size": 5, **model},
        "output": {"topic": "out", "dead_letter_topic": "dead"},
        "checkpoint": {"directory": str(directory / "checkpoints")},
        **more,
    }
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in told.items() if value is not None}))
    return load(path, env={})


def events(n: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        x = rng.gauss(0, 1)
        made.append({"x": x, "y": 3 * x + rng.gauss(5, 0.1), "class": CLASSES[x > 0]})
    return made


def records(of: list[dict[str, Any]], start: int = 0) -> list[Record]:
    return [Record(*TP, start + i, 1000 * (start + i), b"s", json.dumps(event).encode()) for i, event in enumerate(of)]


def said_by(job: Job, of: list[dict[str, Any]], learner: Any) -> np.ndarray:
    """What the learner says of events of a stream that it has not seen."""
    rows = [job.config.feature_encoder().encode_dict(event) for event in of]
    block = Block.events([b"unseen"] * len(of), np.reshape(rows, (len(of), -1)), np.full((len(of), 1), np.nan))
    return np.asarray(learner.predict(block).value)


def exported(of: Config, directory: Path) -> tuple[Path, str | None, claims.Ran]:
    """What a job's export is after 80 records, for which estimator, and the run."""
    ran = claims.run(Job(of), records(events(80)))
    claims.saved(Job(of), ran, 80, directory / "checkpoints")
    (listed,) = find(directory / "checkpoints")
    return directory / "m.safetensors", export(listed, directory / "m.safetensors").estimator, ran


@each
def test_a_job_begins_with_what_an_estimator_learned(tmp_path: Path, cell: str) -> None:
    model = RNNRegressor(**{"hidden_size": 5, "readout": "linear", **CELLS[cell]}, features=["x"])
    for event in events(80):
        model.learn_one({"x": event["x"]}, event["y"])
    model.save(tmp_path / "m.safetensors")
    told = {"readout": "linear", **CELLS[cell], "warm_start": str(tmp_path / "m.safetensors")}
    learning = None if cell == "bank" else {"optimizer": model._spec().learning.optimizer}
    job = Job(config(tmp_path / "job", told, learning=learning))
    learner, more = job.first_learner(TP), events(10, seed=1)
    begun = learner.counters()["updates"]
    assert begun == model.counters()["updates"]
    np.testing.assert_allclose(said_by(job, more, learner), said_by(job, more, model._existing()), rtol=1e-6)
    ran = claims.run(job, records(more), learner=learner)
    claims.finite(ran)
    assert "bank" in cell or ran.learner.counters()["updates"] > begun


@each
def test_an_estimator_goes_on_with_what_a_job_learned(tmp_path: Path, cell: str) -> None:
    of = config(tmp_path, CELLS[cell])
    path, estimator, ran = exported(of, tmp_path)
    assert estimator == "RNNRegressor"
    model, later = RNNRegressor.load(path), events(20, seed=2)
    outputs = claims.run(Job(of), records(later, 80), learner=ran.learner).sent("out")
    for event, (_, _, value, _) in zip(later, outputs, strict=True):
        assert model.predict_one({"x": event["x"], "stream": "s"}) == json.loads(value)["prediction"]
        model.learn_one({"x": event["x"], "stream": "s"}, event["y"])


@pytest.mark.parametrize("cell", ["lru", "glru", "elstm"])
def test_classes_go_from_a_job_to_python_and_back(tmp_path: Path, cell: str) -> None:
    network = {name: value for name, value in CELLS[cell].items() if name in ("cell", "gates", "hidden_layer")}
    target = {"fields": ["class"], "classes": list(CLASSES)}
    path, estimator, ran = exported(config(tmp_path, network, target), tmp_path)
    assert estimator == "RNNClassifier"
    model = RNNClassifier.load(path)
    model.save(tmp_path / "again.safetensors")
    job = Job(config(tmp_path / "back", network | {"warm_start": str(tmp_path / "again.safetensors")}, target))
    more = events(10, seed=1)
    np.testing.assert_allclose(said_by(job, more, job.first_learner(TP)), said_by(job, more, ran.learner), rtol=1e-6)


@pytest.mark.parametrize("cell", ["glru", "elstm", "bank"])
def test_forecasts_go_from_a_job_to_python(tmp_path: Path, cell: str) -> None:
    target = {"fields": ["y"], "known": "forecast", "horizon": [1, 3]}
    path, estimator, ran = exported(config(tmp_path, CELLS[cell], target, features=[]), tmp_path)
    assert estimator == "RNNForecaster"
    model = RNNForecaster.load(path)
    newest = ran.learner.newest_forecast(b"s")
    assert newest is not None
    said = model.forecast_direct({"stream": "s"})
    assert list(said) == [1, 3]
    np.testing.assert_allclose([said[1], said[3]], newest, rtol=1e-6)
    model.learn_one(5.0, {"stream": "s"})


@pytest.mark.parametrize("cell", ["lru", "glru", "elstm"])
def test_a_job_of_texts_begins_with_a_language_model(tmp_path: Path, cell: str) -> None:
    network = {name: value for name, value in CELLS[cell].items() if name in ("cell", "gates", "hidden_layer")}
    model = RNNLanguageModel(hidden_size=5, **network)
    model.learn_many("to be or not to be, that is the question. " * 3)
    model.save(tmp_path / "m.safetensors")
    told = network | {"warm_start": str(tmp_path / "m.safetensors")}
    text = {"topic": "in", "text": {"field": "m", "mark_end": False}}
    job = Job(config(tmp_path / "job", told, input=text, features=[], target=None))
    assert job.first_learner(TP).counters()["updates"] == model.counters()["updates"] > 0


@pytest.mark.parametrize(("learned", "here"), [("lstm", "elstm"), ("elstm", "lstm"), ("gru", "glru"), ("glru", "bank")])
def test_one_cell_is_refused_for_another_with_the_reason(tmp_path: Path, learned: str, here: str) -> None:
    model = RNNRegressor(cell=learned, hidden_size=5, readout="rls", features=["x"])
    for event in events(20):
        model.learn_one({"x": event["x"]}, event["y"])
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(ConfigError) as refused:
        config(tmp_path / "job", {"cell": here, "readout": "rls", "warm_start": str(tmp_path / "m.safetensors")})
    assert f"model.cell: {learned!r} in what was learned, {here!r} here: gates and states of one cell mean" in str(
        refused.value
    )
