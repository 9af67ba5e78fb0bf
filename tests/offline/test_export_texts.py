"""A job of texts, or of next events, written as a model file: the language model that loads it goes on as it did."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn import RNNLanguageModel
from streamrnn.errors import CheckpointError
from streamrnn.estimators.language_model import Mark
from streamrnn.job.codec.classes import BYTES
from streamrnn.job.config import Config
from streamrnn.job.input_config import TextConfig
from streamrnn.job.job import Job
from streamrnn.learner.features import Numeric, Symbol
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.offline.export import Exported, choose, export
from streamrnn.offline.inspection import inspect
from streamrnn.storage.listing import find
from tests.support.scenario import START_MS, TP, Scenario

N, MORE = 60, 25
WORDS = ("login", "ok", "user", "7", "failed", "from", "host", "é", "timeout")

pytestmark = pytest.mark.usefixtures("no_pauses")


class Texts(Scenario):
    """The scenario's job with texts, or with pages that follow one another."""

    def __init__(self, directory: Path, changes: dict[str, Any], text: dict[str, Any] | None, **sections: str) -> None:
        self.changes, self.text = changes, text
        super().__init__(directory, streams="{max_streams: 9}", **sections)

    def config(self, **changes: str) -> Config:
        config = super().config(**changes)
        settings: dict[str, Any] = {"model": replace(config.model, readout="softmax")}
        if self.text is not None:
            settings |= {
                "input": replace(config.input, text=TextConfig(field="m", **self.text)),
                "declared_target": None,
                "features": (),
                "inputs": InputSpec(dt=False),
            }
        return replace(config, **{**settings, **self.changes})

    def fill(self, n: int, seed: int = 0) -> None:
        """Messages of a few words, which are pages, too."""
        rng = np.random.default_rng(seed)
        for i in range(n):
            stream = int(rng.integers(4))
            message = " ".join(rng.choice(WORDS, int(rng.integers(0, 6))))
            event = {"m": message, "page": str(rng.choice(WORDS)), "a": float(rng.normal())}
            self.append(b"s%d" % stream, json.dumps(event).encode(), START_MS + 1000 * i)


def learned(directory: Path, text: dict[str, Any] | None, **changes: Any) -> tuple[Texts, Exported, Path]:
    """A job that learned, and its export; then the daemon went on."""
    scenario = Texts(directory / "job", changes, text)
    scenario.fill(N)
    scenario.run()
    out = directory / "model.safetensors"
    done = export(choose(find(directory / "job" / "checkpoints"), None), out)
    scenario.fill(MORE, seed=1)
    scenario.run()
    return scenario, done, out


def later(scenario: Texts) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Stream, event and output of the records after the export."""
    outputs = [json.loads(record.value or b"") for record in scenario.records("out")]
    events = [((r.key or b"").decode(), json.loads(r.value or b"")) for r in scenario.records("in")]
    return [(*event, output) for event, output in zip(events, outputs, strict=True)][N:]


def shown(symbol: Any) -> str:
    """A symbol as output records have it."""
    if isinstance(symbol, Mark):
        return symbol.value
    return BYTES[symbol] if isinstance(symbol, int) else str(symbol)


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("mark_end", [True, False])
@pytest.mark.parametrize("unit", ["byte", "character", "word"])
def test_a_language_model_goes_on_as_the_daemon_did_to_the_bit(
    tmp_path: Path, unit: str, mark_end: bool, carry: bool
) -> None:
    text = {"unit": unit, "mark_end": mark_end, "carry": carry}
    scenario, done, out = learned(tmp_path, text)
    assert (done.estimator, done.stream_key, done.notes) == ("RNNLanguageModel", "stream", ())
    model = RNNLanguageModel.load(out)
    assert (model.unit, model.mark_end, model.carry) == (unit, mark_end, carry)
    for stream, event, output in later(scenario):
        bits = model.learn_many(event["m"], key=stream)
        if len(bits):
            assert math.isclose(bits.sum(), output["surprise"]["bits"], rel_tol=1e-9)
            assert output["surprise"]["symbols"] == len(bits)
        said = {shown(symbol): p for symbol, p in model.predict_proba_one(stream).items()}
        assert output["prediction"]["probabilities"].items() <= said.items()
        if mark_end:
            assert output["prediction"]["end"] == said["end"]


def test_a_closed_set_comes_along(tmp_path: Path) -> None:
    scenario, _, out = learned(tmp_path, {"unit": "word", "symbols": Symbols(values=WORDS)})
    model = RNNLanguageModel.load(out)
    assert model.symbols == WORDS
    stream, event, output = later(scenario)[0]
    model.learn_many(event["m"], key=stream)
    said = model.predict_proba_one(stream)
    assert output["prediction"]["probabilities"].items() <= said.items()


@pytest.mark.parametrize("dt", [False, True])
def test_next_events_become_a_model_by_word_without_their_streams(tmp_path: Path, dt: bool) -> None:
    target = TargetSpec(fields=("page",), known="forecast", classes=Symbols(open=True, max=20))
    changes = {"declared_target": target, "features": (), "inputs": InputSpec(dt=dt)}
    _, done, out = learned(tmp_path, None, **changes)
    assert done.estimator == "RNNLanguageModel"
    assert any(note.startswith("target.known: forecast: the states of streams are left out") for note in done.notes)
    assert any(note.startswith("inputs.dt: left out") for note in done.notes) == dt
    model = RNNLanguageModel.load(out)
    assert {*model.predict_proba_one("s1")} == {*WORDS, RNNLanguageModel.OTHER}
    assert model.counters()["updates"] > 10
    model.learn_many(["login", "ok"], key="s1")


def test_a_job_of_next_events_begins_with_a_checkpoint_of_texts(tmp_path: Path) -> None:
    _, _, out = learned(tmp_path, {"unit": "word", "mark_end": False, "symbols": Symbols(open=True, max=20)})
    target = TargetSpec(fields=("page",), known="forecast", classes=Symbols(open=True, max=20))
    changes = {"declared_target": target, "features": (), "inputs": InputSpec(dt=False)}
    config = Texts(tmp_path / "other", changes, None).config()
    checkpoints = str(tmp_path / "job" / "checkpoints")
    config = replace(config, job="other", model=replace(config.model, warm_start=checkpoints))
    learner = Job(config).first_learner(TP)
    assert learner.counters()["updates"] > 10
    assert learner.classes is not None
    assert {learner.classes.label(number) for number in range(learner.classes.known)} == {None, *WORDS}
    assert RNNLanguageModel.load(out).get_weights()["head.weight"].shape == learner.get_weights()["head.weight"].shape


def test_texts_beside_fields_are_for_no_estimator(tmp_path: Path) -> None:
    _, done, out = learned(tmp_path, {"unit": "word"}, features=(Numeric(field="a"),))
    assert done.estimator is None
    with pytest.raises(CheckpointError, match="no estimator can go on from: features: the estimator of texts"):
        RNNLanguageModel.load(out)


def test_an_inspection_tells_how_full_open_sets_are(tmp_path: Path) -> None:
    text = {"unit": "word", "symbols": Symbols(open=True, max=5)}
    learned(tmp_path, text)
    (of_words,) = inspect(find(tmp_path / "job" / "checkpoints")[-1]).as_data()["open_sets"]
    beyond = of_words.pop("beyond")
    assert of_words == {"field": "m", "symbols": 5, "most": 5}
    assert beyond > 0


def test_an_inspection_names_the_fields_of_open_sets(tmp_path: Path) -> None:
    page = Symbols(open=True)
    changes = {
        "features": (Symbol(field="m", symbols=Symbols(values=("a", "b"))), Symbol(field="page", symbols=page)),
        "declared_target": TargetSpec(fields=("page",), known="forecast", classes=page),
    }
    scenario = Texts(tmp_path / "job", changes, None)
    scenario.fill(N)
    scenario.run()
    sets = inspect(find(tmp_path / "job" / "checkpoints")[-1]).open_sets()
    assert sets == [{"field": "page", "symbols": len(WORDS), "most": 5_000, "beyond": 0}] * 2
