"""Jobs of whole sequences through the daemon's own loop, of each kind: as the learner alone, however it is cut."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.newest import NewestPredictions
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.questions import stream_of
from streamrnn.daemon.watch import FIRST
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from tests.support.jobs import EXAMPLES
from tests.support.learners import differing
from tests.support.scenario import TP, KilledError, nth
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


def test_the_page_shows_what_was_said_last_of_a_stream_and_how_wrong_each_sequence_was(tmp_path: Path) -> None:
    jobs = {
        "transcript": "of it wrong",
        "numbers": "off on average",
        "label in chunks": None,
        "transcript in chunks, both ways": "of it wrong",  # which says nothing before the end
        "sequence in chunks": "of it wrong",
    }
    for name, shown in jobs.items():
        made = scenario(tmp_path / name, name)
        found: list[dict[str, Any]] = []
        traces: list[Any] = []

        def turn(loop: Loop, _: object, found: Any = found, traces: Any = traces) -> None:
            if (partition := loop.partitions.get(TP)) is not None:
                found.append(
                    {key.decode(): stream_of(partition, key) for key in list(partition.learner.streams.keys())}
                )
                traces.append(partition.traces.shown(partition.learner.classes))
                partition.traces.choose(partition.learner.streams, 4)

        made.run(turn=turn)
        newest = {output["stream"]: output for output in said(made)}
        assert found[-1].keys() == newest.keys()
        for stream, told in found[-1].items():
            assert told["prediction"] == newest[stream]["prediction"]
            assert told["updates"] == newest[stream]["updates"]
        assert {trace["scored"] for trace in traces[-1]} == {shown}
        points = sum(len(trace["points"]) for trace in traces[-1])
        ended = sum(output.get("complete", True) for output in said(made))
        assert 0 < points <= ended


def test_of_few_streams_what_was_said_of_the_newest_sequences_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamrnn.daemon.newest.SEQUENCES", 2)
    config = JOBS["transcript"][0]
    worker = Job(config)
    learner, newest = worker.learner(TP), NewestPredictions(worker.encoder.width)
    records = [
        Record("in", 0, i, i, b"k%d" % i, json.dumps({"frames": [[1, 2]] * 4, "y": "ab"}).encode()) for i in range(3)
    ]
    block = worker.codec.decode(records).block
    predictions = learner.process(block)
    assert predictions.sequences is not None
    newest.note(learner.streams.newest_slots, block, predictions.value, predictions.updates, predictions.sequences)
    found = [newest.of(slot) for slot in range(3)]
    assert [one is not None and one.sequence is not None for one in found] == [False, True, True]
    nothing = replace(
        predictions.sequences, bounds=np.zeros(4, np.int64), number=np.zeros(0, np.int64), value=np.zeros(0)
    )
    newest.note(learner.streams.newest_slots, block, predictions.value, predictions.updates, nothing)
    assert (said_now := newest.of(2)) is not None
    assert said_now.sequence == ([], [])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"frames": [[1, 2]]}, "no sequence has ended: 'last' (input.end_field) was true in no record"),
        ({"frames": [[1, 2]], "last": True}, "none of them had a value in the target 'y'; names that come"),
        ({"frames": [[1, 2]] * 13, "last": True, "y": "a"}, "were longer than input.sequence.max_steps"),
        ({"frames": [[1, 2]], "last": True, "y": "abc"}, "had fewer steps than their transcripts need"),
        ({"frames": [[1, 2]] * 9, "last": True, "y": "abcabca"}, "had answers longer than target.max_symbols"),
    ],
)
def test_a_job_that_learns_nothing_of_its_sequences_is_told_why(
    caplog: pytest.LogCaptureFixture, values: dict[str, Any], why: str
) -> None:
    (line,) = [line for line in watched(caplog, JOBS["transcript in chunks"][0], values) if "no optimiser step" in line]
    assert why in line


def test_a_field_that_is_in_no_frame_is_named_with_the_nearest_that_is(caplog: pytest.LogCaptureFixture) -> None:
    config = sequence_job(
        frames="max_steps: 9", features="[{field: laod, encoder: numeric}, {field: b, encoder: numeric}]"
    )
    found = watched(caplog, config, {"frames": [{"load": 1, "b": 2}], "y": "low"})
    assert any("feature 'laod' came in none of" in line and "frames[0].load" in line for line in found), found


def watched(caplog: pytest.LogCaptureFixture, config: Config, values: dict[str, Any]) -> list[str]:
    """What is said of a thousand records that are all the same."""
    caplog.set_level(logging.INFO, logger="streamrnn.daemon.watch")
    worker = Job(config)
    start = Start(lineage="a", position=0, ordinal=0, replay_until=0)
    partition = Partition(worker, TP, Metrics(CollectorRegistry()), worker.first_learner(TP), start)
    value = json.dumps(values).encode()
    partition.process(Records.of([Record("in", 0, i, 1000 * i, b"k", value) for i in range(FIRST)]))
    return [record.getMessage() for record in caplog.records]


ODD: tuple[tuple[bytes, str | None], ...] = (
    (json.dumps({"frames": [[0.5, 1.0]] * 10_000, "y": []}).encode(), "too_long"),
    (b'{"frames": [], "y": []}', "empty_sequence"),
    (b'{"y": ["low"]}', "empty_sequence"),
    (b'{"frames": [[NaN, NaN], [null, null]], "y": ["low", "high"]}', None),
    (b'{"frames": [[1, 2]], "y": ["low", "high"]}', "wrong_length"),
    (b'{"frames": [[1, 2, 3]], "y": ["low"]}', "wrong_length"),
    (b'{"frames": [[1, 2]], "y": ["neither"]}', "unknown_class"),
    (b'{"frames": "ab", "y": ["low"]}', "wrong_type"),
    (b'{"frames": [[1e999, 2]], "y": ["low"]}', "out_of_range"),
    (b'{"frames": [' + b"[0.123456789, 1], " * 60_000 + b'[1, 2]], "y": []}', "too_large"),
    (b'{"frames": [[1, 2]], "y": null}', None),
)


def test_odd_sequences_have_their_documented_outcome_and_the_daemon_goes_on(tmp_path: Path) -> None:
    made = SymbolScenario(tmp_path, JOBS["labels"][0])
    usual = json.dumps({"frames": [[0.1, 2.0], [0.9, 1.0]], "y": ["low", "high"]}).encode()
    for i, value in enumerate([usual, *(value for odd, _ in ODD for value in (odd, usual))]):
        made.log.append("in", b"k", value, timestamp_ms=1000 * i, partition=0)
    made.log.flush()
    run = made.run()
    letters = [json.loads(record.value or b"") for record in made.records("dead")]
    assert [letter["reason"] for letter in letters] == [reason for _, reason in ODD if reason]
    assert len(made.predictions()) == 1 + len(ODD) + sum(reason is None for _, reason in ODD)
    assert run.value("streamrnn_updates_total") == 1 + len(ODD) + 1  # of the usual ones, and of that without numbers
    documented = (EXAMPLES.parent / "SEQUENCES.md").read_text()
    assert all(f"`{letter['reason']}`" in documented for letter in letters if letter["reason"] not in BEYOND)


BEYOND = {"wrong_type", "out_of_range"}
"""Reasons that every job's records may have, which the handbook lists."""


def test_a_chunk_of_ten_thousand_frames_is_predicted_from_what_fits_and_not_learned(tmp_path: Path) -> None:
    made = SymbolScenario(tmp_path, JOBS["transcript in chunks"][0])
    made.write(
        [("k", {"frames": [[0.5, 1.0]] * 10_000}), ("k", {"last": True, "y": "ab"}), ("k", {"frames": [[1, 1]]})]
    )
    run = made.run()
    first, last, _ = said(made)
    assert (first["frames"], first["complete"], last["frames"], last["complete"]) == (10_000, False, 0, True)
    assert last["not_learned"] == "more frames than input.sequence.max_steps takes"
    assert run.value("streamrnn_frames_dropped_total") == 10_000 - 12
    assert run.value("streamrnn_updates_total") == 0


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("transcript", {"learning": "{average: 0.99}", "model": BOTH[:-1] + ", beam: 3}"}),
        ("transcript in chunks", {"frames": "columns: [a, b], max_steps: 20"}),
        ("transcript in chunks", {"learning": "{average: 0.99}"}),
        ("sequence", {"frames": "columns: [a, b], max_steps: 9", "learning": "{}"}),
    ],
)
def test_settings_that_may_change_are_taken_up_however_the_log_is_cut(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario], name: str, changed: dict[str, str]
) -> None:
    chunked = "chunks" in name
    usual = {
        "frames": "columns: [a, b], max_steps: 12" if chunked else "columns: [a, b]",
        "source": "end_field: last" if chunked else "",
        "model": FORWARD if chunked else BOTH,
        "learning": "{}" if chunked else "{average: 0.9}",
    }
    config = sequence_job(TARGETS[name.removesuffix(" in chunks")], **(usual | changed))
    found = []
    for seed in (1, 2):
        made = scenario(tmp_path / str(seed), name)
        with pytest.raises(KilledError):
            made.run(before={"poll": nth(4, KilledError())})
        offset = made.mark()["offset"]
        made.of = config
        run = made.run(seed=seed)
        assert run.value("streamrnn_inexact_replays_total") == 0
        after = list(made.predictions().values())
        assert after[: offset // 2] == list(undisturbed[name].predictions().values())[: offset // 2]
        found.append(after)
    assert 0 < offset < N
    assert found[0] == found[1]
