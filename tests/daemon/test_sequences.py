"""Jobs of whole sequences through the daemon's own loop, of each kind: as the learner alone, however it is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamrnn.job.config import Config
from tests.support.learners import differing
from tests.support.scenario import KilledError, nth
from tests.support.sequence_jobs import TARGETS, sequence_job
from tests.support.sequence_records import chunks, sequences
from tests.support.symbol_jobs import SymbolScenario, Written, alone

BOTH = "{cell: gru, hidden_size: 4, direction: both}"
FORWARD = "{cell: gru, hidden_size: 4}"
N = 90


def whole(kind: str) -> tuple[Config, list[Written]]:
    return sequence_job(TARGETS[kind], model=BOTH, learning="{average: 0.9}"), sequences(kind, N)


def in_chunks(kind: str, model: str = FORWARD) -> tuple[Config, list[Written]]:
    frames = "columns: [a, b], max_steps: 9" if kind == "label" else "columns: [a, b], max_steps: 12"
    return sequence_job(TARGETS[kind], frames=frames, source="end_field: last", model=model), chunks(kind, N)


JOBS: dict[str, tuple[Config, list[Written]]] = {
    **{kind: whole(kind) for kind in TARGETS},
    **{f"{kind} in chunks": in_chunks(kind) for kind in ("label", "labels", "transcript", "sequence")},
    "transcript in chunks, both ways": in_chunks("transcript", BOTH),
    "carried": (
        sequence_job(TARGETS["label"], frames="columns: [a, b], carry: true", model=FORWARD),
        sequences("label", N),
    ),
}
each = pytest.mark.parametrize("name", JOBS)


def scenario(directory: Path, name: str) -> SymbolScenario:
    config, records = JOBS[name]
    made = SymbolScenario(directory, config)
    made.write(records)
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SymbolScenario]:
    found = {}
    for name in JOBS:
        found[name] = scenario(tmp_path_factory.mktemp("job"), name)
        found[name].run()
    return found


@each
def test_the_daemon_says_what_the_learner_alone_says_of_all_records_at_once(
    undisturbed: dict[str, SymbolScenario], name: str
) -> None:
    made = undisturbed[name]
    lines, bits = alone(made.config(), made.records("in"))
    assert list(made.predictions().values()) == lines
    rejected = sum(not value["frames"] for _, value in JOBS[name][1]) if "chunks" not in name else 0
    assert len(lines) == N - rejected
    assert len(made.records("dead")) == rejected
    assert differing(made.saved(), bits) == []


@each
@pytest.mark.parametrize("fault", ["cut otherwise", "stopped", "killed before a commit", "killed after one"])
def test_a_restart_anywhere_gives_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario], name: str, fault: str
) -> None:
    made = scenario(tmp_path, name)
    for seed in range(2):
        if fault == "stopped":
            made.run(seed=seed, stop_after=2)
        elif fault.startswith("killed"):
            hooks: dict[str, Any] = {"after" if "after" in fault else "before": {"commit": nth(2, KilledError())}}
            with pytest.raises(KilledError):
                made.run(seed=seed, **hooks)
    made.run(seed=7)
    assert made.predictions() == undisturbed[name].predictions()
    assert made.mark()["digest"] == undisturbed[name].mark()["digest"]
    assert differing(made.saved(), undisturbed[name].saved()) == []


def said(made: SymbolScenario) -> list[dict[str, Any]]:
    return [json.loads(line or b"") for line in made.predictions().values()]


SAID = {
    "label": {"class", "probabilities"},
    "labels": {"labels", "probabilities"},
    "labels of numbers": {"values"},
    "transcript": {"text", "probabilities"},
    "open transcript": {"symbols", "probabilities"},
    "sequence": {"text", "probabilities"},
    "numbers": {"values"},
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_has_the_form_of_its_kind_and_the_answer_stands_beside_it(
    undisturbed: dict[str, SymbolScenario], name: str
) -> None:
    came = [value for _, value in JOBS[name][1] if value["frames"]]
    for output, value in zip(said(undisturbed[name]), came, strict=True):
        assert output["prediction"].keys() == SAID[name]
        assert output["frames"] == len(value["frames"])
        assert output["target"] == value["y"]
        assert "complete" not in output
        assert output.get("not_learned") == ("no answer came" if value["y"] is None else None)
        if "labels" in name:
            assert len(next(iter(output["prediction"].values()))) == len(value["frames"])


def test_numbers_that_are_one_label_stand_alone(undisturbed: dict[str, SymbolScenario]) -> None:
    assert all(type(output["prediction"]) is float for output in said(undisturbed["number"]))


@pytest.mark.parametrize("name", [name for name in JOBS if "chunks" in name])
def test_of_chunks_each_output_says_whether_the_sequence_is_complete(
    undisturbed: dict[str, SymbolScenario], name: str
) -> None:
    outputs = said(undisturbed[name])
    assert [output["complete"] for output in outputs] == [value["last"] for _, value in JOBS[name][1]]
    before = [output["prediction"] for output in outputs if not output["complete"]]
    if "both" in name or name.startswith("sequence"):
        assert set(map(str, before)) == {"None"}
    else:
        assert any(before)


def test_metrics_count_frames_and_why_nothing_was_learned(tmp_path: Path) -> None:
    made = scenario(tmp_path, "label in chunks")
    run = made.run()
    came = sum(len(value["frames"]) for _, value in JOBS["label in chunks"][1])
    read, dropped = run.value("streamrnn_frames_total"), run.value("streamrnn_frames_dropped_total")
    assert read + dropped == came
    assert dropped > 0 < run.value("streamrnn_unlearned_sequences_total", cause="too_long")
    assert run.value("streamrnn_unlearned_sequences_total", cause="impossible") == 0
