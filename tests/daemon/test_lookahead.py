"""Jobs that look ahead, through the daemon's own loop: each input has one output, with its own coordinates, in time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.questions import stream_of
from streamrnn.job.job import Job
from streamrnn.offline.inspection import Inspection, find, inspect
from tests.support.learners import differing
from tests.support.lookahead_jobs import (
    STREAMS,
    TARGETS,
    LookaheadScenario,
    Message,
    events,
    lookahead_job,
    told_by_hand,
)
from tests.support.scenario import START_MS, TP, KilledError, Scenario, nth
from tests.support.symbol_jobs import alone

N = 320
ROOM = STREAMS.replace("max_streams: 5", "max_streams: 100")

JOBS = {
    **{name: lookahead_job(target) for name, target in TARGETS.items()},
    "quantiles": lookahead_job(model="loss: quantile"),
    "logistic": lookahead_job(TARGETS["classes"], model="readout: logistic"),
    "symbols": lookahead_job(
        features="[{field: c, encoder: symbol, symbols: {open: true, max: 6}}]", target=TARGETS["number"]
    ),
    "one ahead of windows of one": lookahead_job(lookahead=1, learning="{k1: 1, k2: 1}"),
    "far ahead": lookahead_job(lookahead=20),
    "room for all": lookahead_job(streams=ROOM),
}
MESSAGES = events(N)
each = pytest.mark.parametrize("name", JOBS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LookaheadScenario]:
    found = {}
    for name, config in JOBS.items():
        found[name] = LookaheadScenario(tmp_path_factory.mktemp("job"), config, MESSAGES)
        found[name].run()
    return found


def inspected(made: LookaheadScenario) -> Inspection:
    (listed,) = find(made.manifests()[-1])
    return inspect(listed)


def waiting(made: LookaheadScenario) -> list[int]:
    """Offsets of the events that wait, as the newest checkpoint tells."""
    found = inspected(made)
    keys = [key for key in found.checkpoint.keys if key is not None]
    streams = [found.stream(key) for key in keys]
    return sorted(event["offset"] for stream in streams if stream is not None for event in stream["waiting"])


@each
def test_every_input_leads_to_one_output_or_waits_for_those_behind_it(
    undisturbed: dict[str, LookaheadScenario], name: str
) -> None:
    made = undisturbed[name]
    came = Counter(output["offset"] for _, output in made.outputs())
    came.update(json.loads(record.value or b"")["offset"] for record in made.records("dead"))
    came.update(offset for offset, message in enumerate(MESSAGES) if message.value is None)
    came.update(waiting(made))
    assert came == Counter(range(N))
    assert 0 < len(waiting(made)) == inspected(made).waiting()


@each
def test_a_prediction_has_the_coordinates_of_its_event(undisturbed: dict[str, LookaheadScenario], name: str) -> None:
    made, target = undisturbed[name], JOBS[name].target
    for record, output in made.outputs():
        key, value, time_ms = MESSAGES[output["offset"]]
        fields = json.loads(value or b"{}")
        assert (record.key, record.timestamp_ms) == (key, time_ms)
        assert (output["stream"], output["timestamp"]) == (key.decode(), time_ms)
        assert (output["topic"], output["partition"]) == ("in", 0)
        left_out = 0.0 if target.missing == "zero" else None
        expected = {field: fields.get(field, left_out) for field in target.fields}
        assert output["target"] == (expected if len(expected) > 1 else expected[target.fields[0]])


def test_events_are_predicted_once_those_behind_them_have_come_or_their_sequence_has_ended(
    undisturbed: dict[str, LookaheadScenario],
) -> None:
    told, left = told_by_hand(JOBS["room for all"], MESSAGES, 3)
    made = undisturbed["room for all"]
    assert [output["offset"] for _, output in made.outputs()] == told
    assert waiting(made) == left


@each
def test_of_each_stream_predictions_stand_in_the_order_of_its_events(
    undisturbed: dict[str, LookaheadScenario], name: str
) -> None:
    newest: dict[bytes | None, int] = {}
    for record, output in undisturbed[name].outputs():
        assert output["offset"] > newest.get(record.key, -1)
        newest[record.key] = output["offset"]


@each
def test_the_daemon_says_what_the_learner_alone_says_of_all_records_at_once(
    undisturbed: dict[str, LookaheadScenario], name: str
) -> None:
    made = undisturbed[name]
    lines, bits = alone(made.config(), made.records("in"))
    assert [record.value for record in made.records("out")] == lines
    assert differing(made.saved(), bits) == []


@each
@pytest.mark.parametrize("fault", ["cut otherwise", "stopped", "killed before a commit", "killed after one"])
def test_a_restart_anywhere_gives_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, LookaheadScenario], name: str, fault: str
) -> None:
    made = LookaheadScenario(tmp_path, JOBS[name], MESSAGES)
    for seed in range(3):
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


def test_a_restart_between_any_two_records_gives_the_same_bytes(tmp_path: Path) -> None:
    messages = MESSAGES[:70]
    whole = LookaheadScenario(tmp_path / "whole", JOBS["classes"], messages)
    whole.run()
    made = LookaheadScenario(tmp_path / "cut", JOBS["classes"], [], checkpoint_each=1)
    for key, value, time_ms in messages:
        made.append(key, value, time_ms)
        made.run()
    assert [record.value for record in made.records("out")] == [record.value for record in whole.records("out")]
    assert made.mark()["digest"] == whole.mark()["digest"]
    assert differing(made.saved(), whole.saved()) == []


def test_metrics_count_predictions_when_they_are_made_and_show_how_many_events_wait(tmp_path: Path) -> None:
    made = LookaheadScenario(tmp_path, JOBS["number"], MESSAGES)
    run = made.run()
    assert run.value("streamrnn_records_predicted_total") == len(made.outputs())
    assert run.value("streamrnn_waiting_events") == len(waiting(made)) > 0
    scored = sum(output["target"] is not None for _, output in made.outputs())
    assert scored - 3 <= run.value("streamrnn_absolute_error_count") <= scored


def test_a_job_that_predicts_at_once_has_no_gauge_of_events_that_wait(tmp_path: Path) -> None:
    made = Scenario(tmp_path)
    made.fill(20)
    assert not [name for name, _ in made.run().shown if name == "streamrnn_waiting_events"]


def test_the_page_shows_a_stream_s_newest_prediction_with_its_event_and_how_many_wait(tmp_path: Path) -> None:
    made = LookaheadScenario(tmp_path, JOBS["number"], MESSAGES)
    found: dict[str, Any] = {}
    traces: list[Any] = []

    def turn(loop: Loop, _: object) -> None:
        if (partition := loop.partitions.get(TP)) is not None:
            found.clear()
            found.update({key.decode(): stream_of(partition, key) for key in list(partition.learner.streams.keys())})
            traces.append(partition.traces.shown(None))
            partition.traces.choose(partition.learner.streams, 4)

    made.run(turn=turn)
    newest = {output["stream"]: output for _, output in made.outputs()}
    assert found
    for stream, told in found.items():
        if told["prediction"] is None:
            assert told["offset"] is told["timestamp"] is None
            continue
        assert {name: told[name] for name in ("prediction", "offset", "timestamp", "updates")} == {
            name: newest[stream][name] for name in ("prediction", "offset", "timestamp", "updates")
        }
    assert any(told["prediction"] is not None for told in found.values())
    assert sum(told["waiting"] for told in found.values()) == len(waiting(made))
    by_time = {(output["stream"], output["timestamp"]): output for _, output in made.outputs()}
    points = [(trace["stream"], point) for trace in traces[-1] for point in trace["points"]]
    assert points
    for stream, (time_ms, actual, predicted) in points:
        output = by_time[stream, time_ms]
        assert predicted == output["prediction"]
        assert actual == output["target"] or output["target"] is None


def test_a_stream_that_takes_another_s_place_is_not_shown_the_other_s_prediction() -> None:
    worker = Job(lookahead_job(lookahead=2, streams="{max_streams: 1, protected_share: 0}"))
    start = Start(lineage="a", position=0, ordinal=0, replay_until=0)
    partition = Partition(worker, TP, Metrics(CollectorRegistry()), worker.first_learner(TP), start)
    records = [Record("in", 0, i, START_MS + i, b"a" if i < 5 else b"b", b'{"a": 1, "y": 1}') for i in range(6)]
    partition.process(Records.of(records[:5]))
    found = stream_of(partition, b"a")
    assert (found["offset"], found["timestamp"], found["waiting"]) == (2, START_MS + 2, 2)
    (outputs,) = partition.process(Records.of(records[5:]))
    assert outputs.offset.tolist() == [3, 4]  # as it was dropped
    assert [outputs.keys[i] for i in range(2)] == [b"a", b"a"]
    found = stream_of(partition, b"b")
    assert (found["prediction"], found["offset"], found["waiting"]) == (None, None, 1)


@pytest.mark.parametrize("leaves", ["tombstone", "room", "idle"])
@pytest.mark.parametrize("cut", [1, 99])
def test_a_stream_that_comes_back_is_not_shown_what_was_said_before_it_left(leaves: str, cut: int) -> None:
    """Even to the slot that it had; what is said of its new events is shown."""
    worker = Job(lookahead_job(lookahead=2, streams="{max_streams: 1, protected_share: 0, ttl_s: 1000}"))
    start = Start(lineage="a", position=0, ordinal=0, replay_until=0)
    partition = Partition(worker, TP, Metrics(CollectorRegistry()), worker.first_learner(TP), start)
    event, later = b'{"a": 1, "y": 1}', START_MS + (10**7 if leaves == "idle" else 10)
    between: dict[str, list[tuple[bytes, bytes | None]]] = {"tombstone": [(b"a", None)], "room": [(b"b", event)]}
    given = [*[(b"a", event, START_MS + i) for i in range(4)], *[(*one, later) for one in between.get(leaves, [])]]
    given.append((b"a", event, later))
    records = [Record("in", 0, i, time_ms, key, value) for i, (key, value, time_ms) in enumerate(given)]
    if cut == 1:
        partition.process(Records.of(records[:4]))
        assert stream_of(partition, b"a")["offset"] == 1
        for record in records[4:]:
            partition.process(Records.of([record]))
    else:
        partition.process(Records.of(records))
    found, n = stream_of(partition, b"a"), len(records)
    assert (found["prediction"], found["offset"], found["timestamp"], found["waiting"]) == (None, None, None, 1)
    end = Record("in", 0, n, later + 1, b"a", b'{"a": 1, "y": 1, "end": true}')
    partition.process(Records.of([end]))
    assert stream_of(partition, b"a")["offset"] == n


def test_a_stream_that_begins_anew_and_ends_with_one_record_is_shown_what_was_said_of_that() -> None:
    worker = Job(lookahead_job(lookahead=2, streams="{max_streams: 5, protected_share: 0, ttl_s: 1000}"))
    start = Start(lineage="a", position=0, ordinal=0, replay_until=0)
    partition = Partition(worker, TP, Metrics(CollectorRegistry()), worker.first_learner(TP), start)
    ended = b'{"a": 1, "y": 1, "end": true}'
    times = [START_MS, START_MS + 1, START_MS + 10**7]
    values = [b'{"a": 1, "y": 1}'] * 2 + [ended]
    records = [Record("in", 0, i, at, b"a", value) for i, (at, value) in enumerate(zip(times, values, strict=True))]
    (outputs,) = partition.process(Records.of(records))
    assert outputs.offset.tolist() == [0, 1, 2]
    assert (stream_of(partition, b"a")["offset"], stream_of(partition, b"a")["waiting"]) == (2, 0)


def test_a_record_far_in_the_future_is_stamped_with_the_present(tmp_path: Path) -> None:
    late = 4_000_000_000_000
    messages = [Message(b"a", b'{"a": 1, "y": 1, "end": true}', time_ms) for time_ms in (START_MS, late)]
    made = LookaheadScenario(tmp_path, lookahead_job(), messages)
    made.run()
    stamps = [record.timestamp_ms for record, _ in made.outputs()]
    assert stamps[0] == START_MS < stamps[1] < late
    assert [output["timestamp"] for _, output in made.outputs()] == [START_MS, late]


def test_codec_gives_each_event_the_id_of_its_offset() -> None:
    made = Job(JOBS["number"])
    records = [Record("in", 0, offset, START_MS, b"k", b'{"a": 1}') for offset in (0, 7, 1 << 40)]
    assert made.codec.decode(records).block.event.tolist() == [1, 8, (1 << 40) + 1]
