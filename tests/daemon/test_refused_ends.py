"""A record that ends a sequence in chunks and cannot be used: a dead letter, and the sequence ends all the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn.broker.protocol import Record
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.questions import stream_of
from streamrnn.job.codec.records import Decoded
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.predictions import Predictions
from tests.support.learners import bits_of, differing
from tests.support.scenario import TP, KilledError, Run, nth
from tests.support.sequence_jobs import TARGETS, sequence_job
from tests.support.sequence_records import chunks
from tests.support.symbol_jobs import SymbolScenario, Written, alone

N = 90
SOURCE = "end_field: last"
FORWARD, BOTH = "{cell: gru, hidden_size: 4}", "{cell: gru, hidden_size: 4, direction: both}"
JOBS = {
    "label": ("label", FORWARD),
    "labels": ("labels", FORWARD),
    "transcript": ("transcript", FORWARD),
    "transcript, both ways": ("transcript", BOTH),
    "sequence": ("sequence", BOTH),
}
each = pytest.mark.parametrize("name", JOBS)


def config(name: str) -> Config:
    kind, model = JOBS[name]
    return sequence_job(TARGETS[kind], source=SOURCE, model=model)


def records(name: str) -> list[Written]:
    """Chunks of which every other that ends a sequence, and every tenth that does not, cannot be used."""
    ends, made = Counter[bool](), []
    for key, value in chunks(JOBS[name][0], N):
        ends[value["last"]] += 1
        if ends[value["last"]] % (2 if value["last"] else 10) == 0:
            wrong: dict[str, Any] = {"y": "neither"} if value["last"] and ends[True] % 4 else {"frames": [[1]]}
            value |= wrong
        made.append((key, value))
    return made


def refused(name: str) -> list[int]:
    return [i for i, (_, value) in enumerate(records(name)) if value.get("y") == "neither" or value["frames"] == [[1]]]


def scenario(directory: Path, name: str) -> SymbolScenario:
    made = SymbolScenario(directory, config(name))
    made.write(records(name))
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SymbolScenario, Run]]:
    found = {}
    for name in JOBS:
        made = scenario(tmp_path_factory.mktemp("job"), name)
        found[name] = made, made.run()
    return found


@each
def test_each_record_has_one_output_and_a_refused_one_no_prediction(
    undisturbed: dict[str, tuple[SymbolScenario, Run]], name: str
) -> None:
    made, run = undisturbed[name]
    letters = [json.loads(record.value or b"")["offset"] for record in made.records("dead")]
    assert letters == refused(name)
    assert len(letters) > 10
    predicted = [json.loads(record.value or b"")["offset"] for record in made.records("out")]
    assert sorted(letters + predicted) == list(range(N))
    assert run.value("streamrnn_records_predicted_total") == len(predicted)
    assert run.value("streamrnn_records_consumed_total") == N
    lines, bits = alone(made.config(), made.records("in"))
    assert list(made.predictions().values()) == [line for line in lines if line is not None]
    assert differing(made.saved(), bits) == []


@each
@pytest.mark.parametrize("fault", ["cut otherwise", "stopped", "killed before a commit", "killed after one"])
def test_a_restart_anywhere_gives_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, tuple[SymbolScenario, Run]], name: str, fault: str
) -> None:
    made, usual = scenario(tmp_path, name), undisturbed[name][0]
    for seed in range(2):
        if fault == "stopped":
            made.run(seed=seed, stop_after=2)
        elif fault.startswith("killed"):
            hooks: dict[str, Any] = {"after" if "after" in fault else "before": {"commit": nth(2, KilledError())}}
            with pytest.raises(KilledError):
                made.run(seed=seed, **hooks)
    made.run(seed=7)
    assert made.predictions() == usual.predictions()
    assert {json.loads(record.value or b"")["offset"] for record in made.records("dead")} == set(refused(name))
    assert made.mark()["digest"] == usual.mark()["digest"]
    assert differing(made.saved(), usual.saved()) == []


def learned(job: Config, *values: dict[str, Any]) -> tuple[Foundation, Decoded, Predictions]:
    """What a job learns of these records of one stream, and says of them."""
    worker = Job(job)
    learner = worker.learner(TP)
    encoded = [json.dumps(value).encode() for value in values]
    decoded = worker.codec.decode([Record("in", 0, i, 1000, b"k", value) for i, value in enumerate(encoded)])
    return learner, decoded, learner.process(decoded.block)


FIRST, NEXT = ({"frames": "xyx"}, {"frames": "y", "last": True, "y": "abz"}), ({"frames": "yyx"}, {"frames": "xx"})
END = {"frames": "y", "last": True, "y": "ab"}


@pytest.mark.parametrize("model", [FORWARD, BOTH])
def test_behind_a_typo_in_a_closing_transcript_the_next_utterance_is_learned_alone(model: str) -> None:
    """Of symbols there are no statistics, so that what was not learned left no trace in the model."""
    letters = "[{field: v, encoder: symbol, symbols: {values: [x, y]}}]"
    job = sequence_job(TARGETS["transcript"], frames="max_steps: 9", features=letters, source=SOURCE, model=model)
    after, decoded, predictions = learned(job, *FIRST, *NEXT, END)
    without, _, expected = learned(job, *NEXT, END)
    assert [(record.offset, error.reason) for record, error in decoded.rejected] == [(1, "unknown_class")]
    assert predictions.sequences is not None and expected.sequences is not None
    said = [each.value[each.bounds[-2] :].tobytes() for each in (predictions.sequences, expected.sequences)]
    assert said[0] == said[1]
    assert np.array_equal(predictions.loss[-3:], expected.loss, equal_nan=True)
    assert after.counters()["updates"] == without.counters()["updates"] == 1
    bits, of_next = bits_of(after), bits_of(without)
    assert bits["model.theta"] == of_next["model.theta"]
    assert [name for name in differing(bits, of_next) if name.startswith("streams.")] == ["streams.seen"]


@each
def test_a_refused_end_leaves_what_an_end_without_frames_and_answer_leaves(name: str) -> None:
    start, last = {"frames": [[1, 2], [3, 4]]}, {"last": True, "frames": [[0, 1]], "y": "neither"}
    if name == "labels":
        start["y"] = ["low", "high"]  # type: ignore[assignment]
    answer = "high" if name == "label" else ["low"] if name == "labels" else "a"
    then = {"last": True, "frames": [[0, 1]] * (1 if name == "labels" else 3), "y": answer}
    after, *_ = learned(config(name), start, last, then)
    told, *_ = learned(config(name), start, {"last": True}, then)
    assert differing(bits_of(after), bits_of(told)) == []
    assert after.digest == told.digest
    assert after.counters()["sequences_ended"] == 2


def test_the_page_takes_back_what_was_said_of_a_sequence_whose_end_was_refused(tmp_path: Path) -> None:
    made = SymbolScenario(tmp_path, config("transcript"))
    made.write([("k", {"frames": [[1, 2]] * 3}), ("k", {"frames": [[1, 2]], "last": True, "y": "abz"})])
    found: list[Any] = []
    points: list[Any] = []

    def turn(loop: Loop, _: object) -> None:
        if (partition := loop.partitions.get(TP)) is not None and partition.learner.knows(b"k"):
            found.append(stream_of(partition, b"k"))
            partition.traces.choose(partition.learner.streams, 4)
            points.extend(point for trace in partition.traces.shown(None) for point in trace["points"])

    made.run(turn=turn)
    assert (found[-1]["prediction"], found[-1]["updates"], points) == (None, None, [])
