"""A job of texts, or of next events, that begins with what a language model or a job of the other kind learned."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from streamrnn import Block, RNNLanguageModel
from streamrnn.broker.protocol import TopicPartition
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.job.job_file import load
from streamrnn.learner.block import PREDICT

TP = TopicPartition("in", 0)
WORDS = ["open", "read", "read", "close"]
MODEL: dict[str, Any] = {"hidden_size": 10, "k1": 2, "k2": 8, "lr": 0.02}


def trained(**parameters: Any) -> RNNLanguageModel:
    """A model of four words that follow one another."""
    model = RNNLanguageModel(**{**MODEL, "unit": "word", **parameters})
    for _ in range(120):
        model.learn_many(WORDS)
    return model


def config(directory: Path, warm_start: Path, text: dict[str, Any] | None, classes: Any = None) -> Config:
    """A job of texts, or of next events, of the network above."""
    told: dict[str, Any] = {
        "job": "j",
        "embedded": {"directory": "log"},
        "input": {"topic": "in"} if text is None else {"topic": "in", "text": {"field": "m", **text}},
        "model": {"hidden_size": 10, "warm_start": str(warm_start)},
        "learning": {"k1": 2, "k2": 8, "optimizer": "adam"},
        "inputs": {"dt": False},
        "output": {"topic": "out", "dead_letter_topic": "dead"},
        "checkpoint": {"directory": "checkpoints"},
    }
    if text is None:
        told["target"] = {"fields": ["page"], "known": "forecast", "classes": classes or {"open": True}}
    directory.mkdir(exist_ok=True)
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump(told))
    return load(path, env={})


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, {"unit": "word", "mark_end": False}),
        ({"mark_end": True}, {"unit": "word"}),
        ({"unit": "byte"}, {"unit": "byte", "mark_end": False}),
        (
            {"symbols": ("open", "read", "close")},
            {"unit": "word", "mark_end": False, "symbols": {"values": ["open", "read", "close"]}},
        ),
        ({"carry": False, "mark_end": True}, {"unit": "word", "carry": True}),
    ],
)
def test_a_text_job_begins_as_the_model_went_on(tmp_path: Path, parameters: dict[str, Any], text: Any) -> None:
    if parameters.get("unit") == "byte":
        model = RNNLanguageModel(**{**MODEL, "stream_key": "user"})
        model.learn_many("open read read close " * 20, key="seen")
    else:
        model = trained(**parameters)
        model.save(tmp_path / "one.safetensors")
        model = RNNLanguageModel.load(tmp_path / "one.safetensors")
    path = tmp_path / "m.safetensors"
    model.save(path)
    learner = Job(config(tmp_path / "job", path, text)).first_learner(TP)
    for name, tensor in model.get_weights().items():
        np.testing.assert_array_equal(learner.get_weights()[name], tensor)
    # A stream that it has not seen: what it says of the first unit, to the bit.
    model.end_sequence(*(("seen",) if model.stream_key else ()))
    said = [*model.predict_proba_one(*(("seen",) if model.stream_key else ())).values()]
    assert learner.step(b"unseen", PREDICT, (), math.nan).tolist()[: len(said)] == said
    assert learner.counters()["updates"] == model.counters()["updates"]


@pytest.mark.parametrize(
    ("parameters", "symbols"),
    [
        ({"max_symbols": 2}, {"open": True, "max": 9}),
        ({"max_symbols": 3, "mark_end": True}, {"open": True, "max": 9}),
        ({"symbols": ("open", "read", "close")}, {"values": ["open", "read", "close", "more", "most"]}),
    ],
)
def test_a_text_job_may_take_more_symbols_than_the_model_did(
    tmp_path: Path, parameters: dict[str, Any], symbols: dict[str, Any]
) -> None:
    model, path = trained(**parameters), tmp_path / "m.safetensors"
    model.save(path)
    text = {"unit": "word", "mark_end": model.mark_end, "symbols": symbols}
    learner = Job(config(tmp_path / "job", path, text)).first_learner(TP)
    assert learner.classes is not None
    model.end_sequence()
    said = np.array([*model.predict_proba_one().values()])
    here = learner.step(b"unseen", PREDICT, (), math.nan)
    if model.symbols is None:
        assert here[: len(said)].tolist() == said.tolist()
        assert not here[len(said) :].any()
        assert learner.classes.overflowed == 0
        known = learner.classes.known
        assert learner.classes.assign("new") == known
        assert [learner.classes.number(word) for word in WORDS[:2]] == [1 + model.mark_end, 2 + model.mark_end]
    else:
        np.testing.assert_allclose(here[: len(said)] / here[: len(said)].sum(), said, rtol=1e-6)
        assert [learner.classes.number(word) for word in ("close", "more", "most")] == [2, 3, 4]


@pytest.mark.parametrize("classes", [{"open": True}, ["open", "read", "close"]])
def test_a_job_of_next_events_begins_with_a_model_by_word(tmp_path: Path, classes: Any) -> None:
    model = trained(**({"symbols": tuple(classes)} if isinstance(classes, list) else {}))
    model.save(tmp_path / "m.safetensors")
    learner = Job(config(tmp_path / "job", tmp_path / "m.safetensors", None, classes)).first_learner(TP)
    assert learner.classes is not None
    numbers = [learner.classes.number(word) for word in WORDS * 5]
    assert min(numbers) >= (1 if isinstance(classes, dict) else 0)
    loss = learner.process(Block.events([b"s"] * 20, np.zeros((20, 0)), np.array(numbers, np.float64)[:, None])).loss
    assert np.nanmean(loss[4:]) < 0.5


@pytest.mark.parametrize(
    ("parameters", "text", "line"),
    [
        ({}, {"unit": "character", "mark_end": False}, "text: "),
        ({}, {"unit": "word"}, "text: "),
        ({"mark_end": True}, None, "text: "),
        ({"symbols": ("open", "read", "close")}, {"unit": "word", "mark_end": False}, "target.classes: "),
        (
            {"max_symbols": 9},
            {"unit": "word", "mark_end": False, "symbols": {"open": True, "max": 8}},
            "target.classes: an open set of 9 in what was learned, an open set of 8 here: a symbol keeps the number",
        ),
        (
            {"symbols": ("open", "read", "close")},
            {"unit": "word", "mark_end": False, "symbols": {"values": ["read", "open", "close", "more"]}},
            "target.classes: ",
        ),
        (
            {"symbols": ("open", "read", "close"), "mark_end": True},
            {"unit": "word", "symbols": {"values": ["open", "read", "close", "more"]}},
            "target.classes: 3 in what was learned, 4 here: the end has the number behind the others",
        ),
        ({"hidden_size": 11}, {"unit": "word", "mark_end": False}, "model.hidden_size: "),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, parameters: dict[str, Any], text: Any, line: str) -> None:
    trained(**parameters).save(tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match=rf"does not fit the job \(here\):(.|\n)*\n  {re.escape(line)}"):
        config(tmp_path / "job", tmp_path / "m.safetensors", text)
