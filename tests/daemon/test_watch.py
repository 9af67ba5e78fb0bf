"""What is probably not meant is said once, with what was probably meant, and taken back when it is no longer true."""

import json
import logging
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.watch import FIRST, PATIENCE
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from tests.support.jobs import job

TP = TopicPartition("in", 0)
X = "[{field: x, encoder: numeric}]"
LABELLED = "{fields: [y], known: label, event_field: id, label_field: of}"


class Worker:
    """A partition that is given records one after the other; what it logs is in ``said``."""

    def __init__(self, config: Config, caplog: pytest.LogCaptureFixture, replay_until: int = 0) -> None:
        job_ = Job(config)
        self.registry = CollectorRegistry()
        start = Start(lineage="a", position=0, ordinal=0, replay_until=replay_until)
        self.partition = Partition(job_, TP, Metrics(self.registry), job_.first_learner(TP), start)
        self.caplog = caplog
        caplog.set_level(logging.INFO, logger="streamrnn.daemon.watch")

    def give(self, values: Iterable[Any], cut: int = 100) -> list[str]:
        """Deliver the records; returns what was said meanwhile."""
        self.caplog.clear()
        records = [
            Record("in", 0, i, 1000 * i, b"k", v if isinstance(v, bytes | None) else json.dumps(v).encode())
            for i, v in enumerate(values, start=self.partition.ordinal)
        ]
        for i in range(0, len(records), cut):
            if live := self.partition.replay(Records.of(records[i : i + cut])):
                self.partition.process(live)
        return [f"{r.levelname} {r.getMessage()}" for r in self.caplog.records]

    def sample(self, name: str, **labels: str) -> float | None:
        self.partition.show(None)
        return self.registry.get_sample_value(name, {"topic": "in", "partition": "0", **labels})


@pytest.mark.parametrize("cut", [1, 7, 100, 5000])
def test_a_field_that_never_came_is_named_once_with_the_nearest_that_did(
    caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    worker = Worker(job(features="[{field: cpu.laod, encoder: numeric}]"), caplog)
    values = [{"cpu.load": 1.0, "mem": 2, "y": i % 3} for i in range(FIRST)]  # without a rise of the error
    assert worker.give(values, cut) == [
        f"WARNING in/0: feature 'cpu.laod' came in none of {FIRST} records; the nearest names that come: [\"cpu.load\"]"
    ]
    assert worker.give(values, cut) == []
    assert worker.give([{"cpu.laod": 1, "y": 1}], cut) == [
        f"INFO in/0: feature 'cpu.laod' comes now, after {2 * FIRST} records without it"
    ]
    assert worker.give(values, cut) == []


def test_before_that_many_records_and_of_fields_that_came_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(features=X), caplog)
    assert worker.give({"y": 1} for _ in range(FIRST - 1)) == []
    assert worker.give([{"x": 1, "y": 1}]) == []
    assert worker.give({"y": 1} for _ in range(FIRST)) == []


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ({"target": "{fields: [delay]}"}, {"x": 1, "Delay": 2}, "target 'delay'"),
        ({"source": "{topic: in, stream_key: id}"}, {"x": 1, "y": 1, "ID": "a"}, "stream_key 'id'"),
        ({"source": "{topic: in, timestamp: {field: at}}"}, {"x": 1, "y": 1, "At": 5}, "timestamp 'at'"),
        ({"source": "{topic: in, end_field: last}"}, {"x": 1, "y": 1, "las": True}, "end_field 'last'"),
        ({"target": LABELLED}, {"x": 1, "id": 1, "off": 1}, "label_field 'of'"),
        ({"target": LABELLED}, {"x": 1, "ids": 1}, "event_field 'id'"),
    ],
    ids=["target", "key", "time", "end", "label", "event"],
)
def test_fields_of_every_role_are_watched(
    section: dict[str, str], value: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Worker(job(features=X, **section), caplog).give([value] * FIRST)
    warnings = [text for text in told if f"{said} came in none of {FIRST} records" in text]
    assert len(warnings) == 1
    assert "the nearest names that come: " in warnings[0]


UNMATCHED = [{"x": 1, "id": 1}, {"of": 2, "y": 1}]
FILTER = "{topic: in, where: [{field: opp, equals: c}]}"


@pytest.mark.parametrize(
    ("section", "values", "n", "reason"),
    [
        (
            {"target": "{fields: [z]}"},
            [{"x": 1, "Z": 1}],
            FIRST,
            "none of them had a value in the target 'z'; the nearest names that come: Z",
        ),
        (
            {"source": FILTER},
            [{"x": 1, "op": "c"}],
            FIRST,
            "1000 passed over by input.where ('opp': the nearest names that come: op)",
        ),
        ({}, [b"junk"], FIRST, "none of them could be learned from: 1000 dead letters as malformed"),
        ({}, [None], FIRST, "none of them could be learned from: 1000 tombstones"),
        ({}, [{"x": 1, "y": 1e200}], FIRST, "targets are numbers too large to square"),
        ({"target": LABELLED}, UNMATCHED, FIRST, "none of 500 labels named an event that its stream remembers"),
        ({"target": LABELLED}, UNMATCHED[:1], PATIENCE, "no label came, a record with a value in target.label_field"),
    ],
    ids=["target", "where", "malformed", "tombstones", "too large", "unmatched", "no label"],
)
def test_a_job_that_learns_nothing_says_so_once_with_the_likeliest_reason(
    section: dict[str, str], values: list[Any], n: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(job(features=X, **section), caplog)
    said = [text for text in worker.give(values * (2 * n // len(values)), 100) if "no optimiser step" in text]
    assert len(said) == 1
    assert said[0].startswith(f"WARNING in/0: no optimiser step in {n} records: ")
    assert reason in said[0]


def test_streams_too_short_to_learn_from_are_told_after_more_patience(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(features=X, source="{topic: in, stream_key: x}"), caplog)
    assert worker.give({"x": i, "y": 1} for i in range(PATIENCE - 1)) == []
    (said,) = worker.give([{"x": -1, "y": 1}])
    assert "no optimiser step in 10000 records: no stream had learning.k1 (8) records in its sequence" in said


def test_where_events_wait_too_many_that_do_are_told_and_not_blamed_on_their_targets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each stream has more records than learning.k1, and fewer of them predicted."""
    worker = Worker(job(features=X, model="{direction: both, lookahead: 30}"), caplog)
    records = [Record("in", 0, i, 0, b"%d" % (i // 20), b'{"x": 1.5, "y": 1.25}') for i in range(PATIENCE)]
    for i in range(0, PATIENCE, 100):
        worker.partition.process(Records.of(records[i : i + 100]))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "in/0: no optimiser step in 10000 records: events wait for those behind them: no stream had learning.k1 + "
        "model.lookahead (8 + 30) records in its sequence"
    )


EXACT = "{cell: elstm, hidden_size: 4}"


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [
        ({}, lambda i: {"x": 1, "y": 1e200}, "targets are numbers too large to square"),
        (
            {"learning": "{k1: 30000}"},
            lambda i: {"x": 1, "y": i % 7},
            "10000 events that were learned from are fewer than learning.k1 (30000)",
        ),
        (
            {"target": LABELLED, "source": "{topic: in, end_field: end}"},
            lambda i: {"of": i // 2, "y": 1} if i % 2 else {"x": 1, "id": i // 2, "end": True},
            "all of 500 labels came after their event's sequence had ended, and can teach no more",
        ),
        (
            {"target": "{fields: [y], known: forecast, horizon: 20}", "source": "{topic: in, stream_key: x}"},
            lambda i: {"x": i // 15, "y": i % 7},
            "no stream had more than target.horizon (20) records in its sequence",
        ),
    ],
    ids=["too large", "k1", "ended", "short"],
)
def test_a_cell_without_a_window_is_given_reasons_without_one(
    section: dict[str, str], values: Callable[[int], Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(job(features=X, model=EXACT, **section), caplog)
    (said,) = [text for text in worker.give(map(values, range(PATIENCE))) if "no optimiser step" in text]
    assert reason in said


@pytest.mark.parametrize(
    ("n", "rounds", "reason"),
    [
        (11_000, 1, "labels came after newer events of their stream had theirs, and learning goes back to no event"),
        (5_000, 2, "labelled events wait for those before them in their sequence, whose labels may come yet"),
    ],
    ids=["passed", "waiting"],
)
def test_labels_that_come_newest_first_are_missed_the_first_time_and_waited_for_the_second(
    n: int, rounds: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = LABELLED.replace("}", ", label_memory: 20000}")
    worker = Worker(job(features=X, model=EXACT, target=target, streams="{max_streams: 1}"), caplog)
    said = []
    for start in range(0, n * rounds, n):
        worker.give({"x": 1, "id": 1 + start + i} for i in range(n))
        said += worker.give({"of": start + n - i, "y": i % 7} for i in range(n))
    (told,) = [text for text in said if "no optimiser step" in text]
    assert reason in told
    counts = worker.partition.learner.counters()
    assert counts["updates"] + counts["passed_labels"] == n * rounds
    assert (counts["updates"] > 1) == (rounds > 1)


def test_it_says_when_learning_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(features=X), caplog)
    worker.give({"x": 1} for _ in range(FIRST))
    said = worker.give({"x": 1, "y": i} for i in range(100))
    assert "INFO in/0: learning after 1100 records without it" in said
    # The same again, later in life.
    assert sum("no optimiser step" in text for text in worker.give({"x": 1} for _ in range(2 * FIRST))) == 1


def test_a_replay_is_counted_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    values = [{"x": 1} for _ in range(FIRST)] + [{"y": i} for i in range(500)]
    worker = Worker(job(features="[{field: z, encoder: numeric}]"), caplog, replay_until=len(values))
    assert worker.give(values) == []
    said = worker.give([{"y": 1}])
    # The target came during the replay, so nothing is said of it; what never came is still told.
    assert [text.split(";")[0] for text in said] == ["WARNING in/0: feature 'z' came in none of 1501 records"]
    assert worker.sample("streamrnn_field_missing_total", field="z") == 1


@pytest.mark.parametrize(
    "feature",
    [
        "encoder: numeric",
        "encoder: numeric, missing: zero",
        "encoder: hash, buckets: 4",
        "encoder: onehot, categories: [1]",
    ],
)
def test_a_restored_learner_shows_which_fields_it_has_had(feature: str, caplog: pytest.LogCaptureFixture) -> None:
    config = job(features=f"[{{field: x, {feature}}}]", source="{topic: in, end_field: last}")
    before = Worker(config, caplog)
    before.give([{"x": 1, "y": i, "last": i == 15} for i in range(16)])
    after = Worker(config, caplog)
    after.partition.learner.resume(before.partition.learner.state())
    after.partition.go_on(after.partition.job, after.partition.learner)
    assert [text for text in after.give([{"other": 1}] * FIRST) if "came in none" in text] == []
    fresh = Worker(config, caplog)
    assert sum("came in none" in text for text in fresh.give([{"other": 1}] * FIRST)) == 3


def test_records_with_and_without_a_field_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(features=X), caplog)
    assert worker.sample("streamrnn_field_present_total", field="x") == 0
    worker.give([{"x": 1, "y": 1}, {"y": 2}, {"y": None}, b"junk", None])
    counts = {
        (which, field): worker.sample(f"streamrnn_field_{which}_total", field=field)
        for which in ("present", "missing")
        for field in "xy"
    }
    assert counts == {("present", "x"): 1, ("missing", "x"): 2, ("present", "y"): 2, ("missing", "y"): 1}
    assert worker.sample("streamrnn_tombstones_total") == 1
    assert worker.sample("streamrnn_evictions_total", cause="tombstone") == 1


EVERY_ROLE = "{topic: in, stream_key: k, timestamp: {field: at}, end_field: last}"
ALL = {"k": "a", "at": 5, "last": False, "x": 1, "y": 1, "id": 1}


@pytest.mark.parametrize("lacking", ["k", "at", "last", "x", "y"])
def test_each_field_of_the_job_is_counted_where_it_is_missing_whatever_it_is_for(
    lacking: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(job(features=X, source=EVERY_ROLE), caplog)
    fields = {"k", "at", "last", "x", "y"}
    assert {field for field, _ in worker.partition.job.codec.fields} == fields
    worker.give([ALL, {name: value for name, value in ALL.items() if name != lacking}, ALL])
    missing = {field: worker.sample("streamrnn_field_missing_total", field=field) for field in fields}
    assert missing == {field: int(field == lacking) for field in fields}


@pytest.mark.parametrize("lacking", ["id", "of", "y"])
def test_of_labels_an_event_lacks_its_id_and_a_label_its_value(lacking: str, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(features=X, target=LABELLED), caplog)
    event, label = {"x": 1, "id": 7}, {"of": 7, "y": 1}
    worker.give([{name: value for name, value in one.items() if name != lacking} for one in (event, label)])
    missing = {field: worker.sample("streamrnn_field_missing_total", field=field) for field in ("id", "of", "y", "x")}
    # A label that does not say of what is taken for an event, without features.
    assert missing == {
        "id": {"id": 1, "of": 1, "y": 0}[lacking],
        "of": {"id": 1, "of": 2, "y": 1}[lacking],
        "y": {"id": 0, "of": 0, "y": 1}[lacking],
        "x": int(lacking == "of"),
    }


ROOM = "{max_streams: 50, protected_share: 0.5}"


def test_long_records_are_not_kept_for_their_names(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(features="[{field: cpu.laod, encoder: numeric}]"), caplog)
    tracemalloc.start()
    worker.give({"cpu.load": 1.0, "long": chr(97 + i % 26) * 1_000_000, "y": 1} for i in range(30))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 3_000_000
    (said,) = worker.give({"cpu.load": 1.0, "y": 1} for _ in range(FIRST))
    assert said.endswith('the nearest names that come: ["cpu.load"]')


def crowd(worker: Worker, names: Iterable[str]) -> list[str]:
    """One record of each of these streams."""
    worker.caplog.clear()
    first = worker.partition.ordinal
    records = [
        Record("in", 0, i, 1000 * i, name.encode(), b'{"a": 1, "y": 1}') for i, name in enumerate(names, start=first)
    ]
    for i in range(0, len(records), 100):
        worker.partition.process(Records.of(records[i : i + 100]))
    return [r.getMessage() for r in worker.caplog.records if "dropped" in r.getMessage()]


def test_a_flood_of_new_streams_is_said_once_and_those_with_history_are_not_touched(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(job(streams=ROOM), caplog)
    for _ in range(5):
        assert crowd(worker, [f"honest-{i}" for i in range(20)]) == []
    (said,) = crowd(worker, [f"flood-{i}" for i in range(20_000)])
    assert said.startswith("in/0: 1070 streams that were new")
    assert "(50 streams, 20 with history): look for a producer that makes keys up" in said
    assert worker.sample("streamrnn_evictions_in_use_total") == 0
    assert worker.sample("streamrnn_streams_with_history") == 20
    names = [f"honest-{i}" for i in range(20)] + [f"flood-{i}" for i in range(20_000)][-30:]
    assert worker.sample("streamrnn_stream_key_bytes") == sum(map(len, names))


def test_streams_in_use_that_have_to_leave_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(job(streams=ROOM), caplog)
    told = [text for _ in range(9) for text in crowd(worker, [f"honest-{i}" for i in range(50)])]
    assert told == []
    told = [text for _ in range(4) for i in range(20) for text in crowd(worker, [f"other-{i}"] * 5)]
    assert len(told) == 1
    assert "streams that were in use were dropped for others, since all room is taken (50 streams)" in told[0]
    assert "raise streams.max_streams or max_bytes" in told[0]
    assert (worker.sample("streamrnn_evictions_in_use_total") or 0) >= 10
