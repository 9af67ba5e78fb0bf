"""What is scored, inspected and exported of jobs that look ahead, against what is worked out from their outputs."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from streamrnn.broker.protocol import Record
from streamrnn.cli import app
from streamrnn.job.config import Config
from streamrnn.offline.evaluation import Report, evaluate
from streamrnn.offline.export import estimator_of, export
from streamrnn.offline.inspection import find, inspect
from streamrnn.offline.scoring import Score
from tests.support.lookahead_jobs import TARGETS, LookaheadScenario, Message, events, lookahead_job
from tests.support.scenario import START_MS

MESSAGES = events(260)
RECORDS = [Record("in", 0, i, m.time_ms, m.key, m.value) for i, m in enumerate(MESSAGES)]


def evaluated(config: Config) -> tuple[Report, list[dict[str, Any]]]:
    out = io.BytesIO()
    report = evaluate(config, RECORDS, predictions=out)
    return report, [json.loads(line) for line in out.getvalue().splitlines()]


def test_scores_of_numbers_are_those_of_the_output_records() -> None:
    report, outputs = evaluated(lookahead_job())
    scored: list[tuple[float, float, float, float]] = []
    values: list[float] = []
    last: dict[str, float] = {}
    for output in outputs:
        if (target := output["target"]) is None:
            continue
        if values:
            before = last.get(output["stream"], float(np.median(values)))
            scored.append((output["prediction"], float(np.mean(values)), before, target))
        values.append(target)
        last[output["stream"]] = target
    said, mean, before, came = np.array(scored).T
    found = {score.predictor: score for score in report.scores}
    for predictor, column in (("model", said), ("running mean", mean), ("last value of the stream", before)):
        assert found[predictor].scored == len(scored)
        assert found[predictor].values["MAE"] == pytest.approx(np.abs(column - came).mean(), rel=1e-12)
        assert found[predictor].values["RMSE"] == pytest.approx(np.sqrt(((column - came) ** 2).mean()), rel=1e-12)


def test_scores_of_classes_are_those_of_the_output_records() -> None:
    report, outputs = evaluated(lookahead_job(TARGETS["classes"]))
    known = [output for output in outputs if output["target"] is not None]
    right = [output["prediction"]["class"] == output["target"] for output in known]
    costs = [-math.log(output["prediction"]["probabilities"][output["target"]]) for output in known]
    (model,) = [score for score in report.scores if score.predictor == "model"]
    assert model.scored == len(known)
    assert model.values["accuracy"] == pytest.approx(np.mean(right))
    assert model.values["log-loss"] == pytest.approx(np.mean(costs))
    assert report.loss == pytest.approx(np.mean(costs), rel=1e-5)


def test_scores_of_an_open_set_are_the_surprises_of_the_output_records() -> None:
    report, outputs = evaluated(lookahead_job(TARGETS["open classes"]))
    bits = [output["surprise"]["bits"] for output in outputs if output["surprise"] is not None]
    (model,) = [score for score in report.scores if score.predictor == "model"]
    assert model.scored == len(bits) > 100
    assert model.values["bits per symbol"] == pytest.approx(np.mean(bits), rel=1e-6)


def test_events_that_still_wait_are_counted_and_not_scored() -> None:
    report, outputs = evaluated(lookahead_job())
    tombstones = sum(message.value is None for message in MESSAGES)
    assert report.waiting > 0
    assert len(outputs) + report.waiting + report.rejected.total() + tombstones == len(MESSAGES)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> LookaheadScenario:
    made = LookaheadScenario(tmp_path_factory.mktemp("job"), lookahead_job(), MESSAGES)
    made.run()
    return made


def test_a_checkpoint_shows_which_events_of_a_stream_wait(scenario: LookaheadScenario) -> None:
    (listed,) = find(scenario.manifests()[-1])
    found = inspect(listed)
    keys = [key for key in found.checkpoint.keys if key is not None]
    told = {json.loads(record.value or b"")["offset"] for record in scenario.records("out")}
    n = 0
    for key in keys:
        state = found.stream(key)
        assert state is not None
        for event in state["waiting"]:
            message = MESSAGES[event["offset"]]
            assert (message.key, message.time_ms) == (key, event["timestamp"])
            assert event["target"] == json.loads(message.value or b"").get("y")
            assert event["offset"] not in told
            n += 1
        offsets = [event["offset"] for event in state["waiting"]]
        assert offsets == sorted(offsets)
    assert n == found.waiting() == found.as_data()["waiting"] > 0


WAIT = [
    ("number", b'{"a": 1, "y": 2.5}', 2.5),
    ("number", b'{"a": 1}', None),
    ("two numbers", b'{"a": 1, "y": 2.5}', {"y": 2.5, "z": None}),
    ("classes", b'{"a": 1, "c": "high"}', "high"),
    ("open classes", b'{"a": 1, "c": "never seen before"}', "never seen before"),
    ("open classes", b'{"a": 1}', None),
]


@pytest.mark.parametrize(("target", "value", "shown"), WAIT)
def test_a_waiting_event_s_target_is_shown_as_output_records_say_it(
    target: str, value: bytes, shown: Any, tmp_path: Path
) -> None:
    made = LookaheadScenario(tmp_path, lookahead_job(TARGETS[target]), [Message(b"a", value, START_MS)])
    made.run()
    place = str(made.manifests()[-1])
    result = CliRunner().invoke(app, ["inspect", place, "--stream", "a", "--json"])
    assert result.exit_code == 0, result.output

    def no_json(constant: str) -> None:
        raise AssertionError(constant)

    (state,) = json.loads(result.stdout, parse_constant=no_json)
    assert state["waiting"] == [{"offset": 0, "timestamp": START_MS, "target": shown}]


def test_a_rival_does_not_know_what_came_before_a_tombstone_but_what_is_told_of_with_it() -> None:
    """A stream that begins anew behind it is scored as another would be."""
    config = lookahead_job(TARGETS["open classes"], lookahead=2)
    values: list[str | None] = [*"pqpqpq", None, *"qqpqpq", None]

    def scores(second: str) -> list[Score]:
        keys = ["a"] * 7 + [second] * 7
        given = [None if value is None else json.dumps({"a": 1, "c": value}).encode() for value in values]
        records = [
            Record("in", 0, i, START_MS + i, key.encode(), value)
            for i, (key, value) in enumerate(zip(keys, given, strict=True))
        ]
        return evaluate(config, records).scores

    assert scores("a") == scores("b")
    assert scores("a")[0].scored == 12


def test_such_a_model_is_exported_for_a_warm_start_only(scenario: LookaheadScenario, tmp_path: Path) -> None:
    (listed,) = find(scenario.manifests()[-1])
    assert listed.manifest is not None
    name, reasons = estimator_of(listed.manifest.spec, [])
    assert name is None
    assert any("model.lookahead" in reason for reason in reasons)
    exported = export(listed, tmp_path / "model.safetensors")
    assert exported.estimator is None
    fresh = LookaheadScenario(
        tmp_path / "fresh", lookahead_job(model=f"warm_start: '{tmp_path}/model.safetensors'"), MESSAGES[:80]
    )
    fresh.run()
    # Also with room for fewer streams: none comes along.
    fewer = lookahead_job(model=f"warm_start: '{tmp_path}/model.safetensors'", streams="{max_streams: 2}")
    LookaheadScenario(tmp_path / "fewer", fewer, MESSAGES[:80]).run()
    cold = LookaheadScenario(tmp_path / "cold", lookahead_job(), MESSAGES[:80])
    cold.run()
    assert fresh.predictions().keys() == cold.predictions().keys()
    assert fresh.predictions() != cold.predictions()
