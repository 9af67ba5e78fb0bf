"""Estimators of whole sequences and jobs: the same records leave the same bits; a job begins with what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn import RNNSequenceRegressor, RNNTagger, RNNTranscriber, RNNTranslator
from streamrnn.job import warm_start
from streamrnn.job.fingerprint import fingerprint
from streamrnn.learner.making import new_learner
from tests.support.jobs import decode
from tests.support.sequence_jobs import TARGETS, sequence_job

LEARNING = (
    "{lr: 0.01, schedule: inverse_sqrt, schedule_updates: 100, average: 0.99, clip_norm: auto, polyak_bound: 1.0}"
)
SMALL: dict[str, Any] = {"hidden_size": 4, "lr": 0.01, "schedule_updates": 100, "clip_norm": "auto"}
CASES: dict[str, tuple[type, dict[str, Any]]] = {
    "number": (RNNSequenceRegressor, {}),
    "labels of numbers": (RNNTagger, {"readout": "linear"}),
    "transcript": (RNNTranscriber, {"unit": "character", "symbols": ["a", "b", "c"], "max_symbols": 6}),
    "open transcript": (RNNTranscriber, {"unit": "element", "max_vocabulary": 5, "max_symbols": 6}),
    "sequence": (RNNTranslator, {"unit": "word", "symbols": ["a", "b", "c"], "max_symbols": 6}),
    "numbers": (RNNTranslator, {"horizon": 3}),
}


def answer(kind: str, frames: np.ndarray[Any, Any], rng: np.random.Generator) -> Any:
    symbols = rng.choice(list("abc"), size=int(rng.integers(1, 4))).tolist()
    return {
        "number": float(frames[:, 0].mean()),
        "labels of numbers": frames[:, 0].tolist(),
        "transcript": "".join(symbols),
        "open transcript": symbols,
        "sequence": " ".join(symbols),
        "numbers": frames[0, :1].tolist() * 3,
    }[kind]


def records(kind: str, n: int = 12) -> list[dict[str, Any]]:
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=(int(rng.integers(5, 9)), 2)) for _ in range(n)]
    return [{"frames": each.tolist(), "y": answer(kind, each, rng)} for each in arrays]


def job(kind: str, warm: Path | None = None) -> Any:
    begins = "" if warm is None else f", warm_start: {warm}"
    model = f"{{cell: gru, hidden_size: 4, direction: both{begins}}}"
    return sequence_job(TARGETS[kind], model=model, learning=LEARNING)


def taught(kind: str, given: list[dict[str, Any]]) -> Any:
    estimator, parameters = CASES[kind]
    model = estimator(**{**SMALL, **parameters, "features": ["a", "b"], "seed": 7})
    for record in given:
        model.learn_one({"frames": record["frames"]}, record["y"])
    return model


@pytest.mark.parametrize("kind", CASES)
def test_a_job_and_an_estimator_come_to_the_same_weights_by_the_same_records(kind: str) -> None:
    given, config = records(kind), job(kind)
    learner = new_learner(config.learner_spec(), 7)
    decoded = decode(config, *given)
    assert not decoded.rejected
    learner.process(decoded.block)
    weights = taught(kind, given).get_weights()
    for name, tensor in learner.get_weights().items():
        np.testing.assert_array_equal(tensor, weights[name], err_msg=name)


@pytest.mark.parametrize("kind", CASES)
def test_a_job_begins_with_what_an_estimator_has_learned(kind: str, tmp_path: Path) -> None:
    model = taught(kind, records(kind))
    model.save(tmp_path / "model.safetensors")
    config = job(kind, tmp_path / "model.safetensors")
    warm_start.check(config)
    learner = new_learner(config.learner_spec(), 1)
    warm_start.begin(config, learner, fingerprint(config))
    for name, tensor in learner.get_weights().items():
        np.testing.assert_array_equal(tensor, model.get_weights()[name], err_msg=name)
