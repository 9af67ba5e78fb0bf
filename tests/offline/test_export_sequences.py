"""A checkpoint of a job of whole sequences as a model file: the estimator that loads it says what the daemon would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn import RNNSequenceClassifier, RNNSequenceRegressor, RNNTagger, RNNTranscriber, RNNTranslator
from streamrnn.job.config import Config
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.offline.export import choose, estimator_of, export
from streamrnn.storage.listing import find
from tests.support.scenario import START_MS, Scenario
from tests.support.sequence_jobs import TARGETS, sequence_job

pytestmark = pytest.mark.usefixtures("no_pauses")

ESTIMATORS: dict[str, Any] = {
    "label": RNNSequenceClassifier,
    "number": RNNSequenceRegressor,
    "labels": RNNTagger,
    "labels of numbers": RNNTagger,
    "transcript": RNNTranscriber,
    "open transcript": RNNTranscriber,
    "sequence": RNNTranslator,
    "numbers": RNNTranslator,
}
N, MORE = 20, 5


class Sequences(Scenario):
    """The scenario's job with records that are sequences."""

    kind = "label"

    def config(self, **changes: str) -> Config:
        of = sequence_job(TARGETS[self.kind], model="{cell: gru, hidden_size: 4, direction: both}")
        here = super().config(**changes)
        return replace(
            here,
            input=replace(here.input, sequence=of.input.sequence),
            declared_target=of.declared_target,
            features=of.features,
            inputs=of.inputs,
            model=of.model,
            learning=of.learning,
        )

    def fill(self, n: int, seed: int = 0, gaps: bool = False) -> None:  # noqa: ARG002
        """Records with a few frames of two numbers, and what they turn out to be."""
        rng = np.random.default_rng(seed)
        for i in range(n):
            frames = rng.normal(size=(int(rng.integers(4, 8)), 2))
            labels = ["high" if value > 0 else "low" for value in frames[:, 0].tolist()]
            symbols = rng.choice(list("abc"), size=2).tolist()
            answers = {
                "label": labels[0], "number": float(frames[0, 0]), "labels": labels,
                "labels of numbers": frames[:, 0].tolist(), "transcript": "".join(symbols), "open transcript": symbols,
                "sequence": " ".join(symbols), "numbers": [1.0, 2.0, float(frames[0, 1])],
            }  # fmt: skip
            event = {"frames": frames.tolist(), "y": answers[self.kind]}
            self.append(b"s%d" % rng.integers(3), json.dumps(event).encode(), START_MS + 1000 * i)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_estimator_goes_on_from_a_job_of_sequences(kind: str, tmp_path: Path) -> None:
    scenario = Sequences(tmp_path / "job", streams="{max_streams: 9}")
    scenario.kind = kind
    scenario.fill(N)
    scenario.run()
    done = export(choose(find(tmp_path / "job" / "checkpoints"), None), tmp_path / "model")
    assert done.estimator == ESTIMATORS[kind].__name__
    scenario.fill(MORE, seed=1)
    scenario.run()
    model = ESTIMATORS[kind].load(tmp_path / "model")
    records = [(json.loads(r.value or b""), (r.key or b"").decode()) for r in scenario.records("in")][N:]
    outputs = [json.loads(record.value or b"") for record in scenario.records("out")][N:]
    for (event, stream), output in zip(records, outputs, strict=True):
        x = {"frames": event["frames"], "stream": stream}
        said, prediction = model.predict_one(x), output["prediction"]
        if kind == "label":
            assert model.predict_proba_one(x) == pytest.approx(prediction["probabilities"])
        elif kind == "number":
            assert said == pytest.approx(prediction)
        else:
            (name,) = {"labels", "values", "symbols", "text"} & prediction.keys()
            assert said == (pytest.approx(prediction[name]) if "numbers" in kind else prediction[name])
        model.learn_one(x, event["y"])


def test_what_no_estimator_has_is_told() -> None:
    spec = sequence_job("{fields: [y], kind: label, classes: {open: true}}").learner_spec()
    assert estimator_of(spec, []) == (
        None,
        ["target.classes: an open set has 'other' among them; the classes of an estimator do not"],
    )
    several = replace(
        sequence_job(TARGETS["number"]).learner_spec(), target=TargetSpec(fields=("y", "z"), kind="label")
    )
    assert estimator_of(several, []) == (None, ["target.fields: an estimator of sequences says one number"])
