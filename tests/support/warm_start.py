"""A job that begins with a model file, and what an estimator is given whose model fits it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamrnn.errors import ConfigError
from streamrnn.job.job_file import load
from streamrnn.learner.features import Numeric, OneHot

FEATURES = (OneHot(field="b.c", categories=("x", "y")), Numeric(field="a"))
"""Those of the scenario's job, in another order."""


NETWORK: dict[str, Any] = {
    "cell": "lstm",
    "hidden_size": 4,
    "num_layers": 1,
    "optimizer": "adam",
    "scale": True,
    "previous_target": True,
    "seed": 7,
}
"""Parameters of an estimator that fits the scenario's job, whatever the defaults are."""


def event(rng: random.Random) -> dict[str, Any]:
    return {"a": rng.gauss(0, 1), "b": {"c": rng.choice("xyz")}, "s": rng.randrange(4)}


JOB: dict[str, Any] = {
    "job": "j",
    "input": {"topic": "in"},
    "features": [
        {"field": "a", "encoder": "numeric"},
        {"field": "b.c", "encoder": "onehot", "categories": ["x", "y"]},
    ],
    "target": {"fields": ["y"]},
    "model": {"cell": "lstm", "hidden_size": 4, "readout": "rls"},
    "learning": {"k1": 2, "k2": 4},
    "output": {"topic": "out", "dead_letter_topic": "dead"},
    "http": None,
}


def job_file(directory: Path, file: Path, **sections: Any) -> Path:
    job = {
        **JOB,
        "embedded": {"directory": str(directory / "log")},
        "checkpoint": {"directory": str(directory / "checkpoints")},
        **sections,
    }
    job["model"] = {**JOB["model"], **sections.get("model", {}), "warm_start": str(file)}
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def refusal(directory: Path, file: Path, **sections: Any) -> str:
    path = job_file(directory, file, **sections)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    message = str(caught.value)
    assert message.startswith(f"{path}: model.warm_start: ")
    assert str(file) in message
    return message
