"""What the page's document says, from metrics and health as they are."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.endpoint.history import History
from streamrnn.daemon.endpoint.status import NAMES, Status
from streamrnn.daemon.health import Health
from streamrnn.daemon.metric_table import METRICS
from streamrnn.daemon.metrics import Delta, Metrics

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
NOW = 1_700_000_000.0


class Worker:
    """Two assigned partitions, of which one is restored."""

    def __init__(self) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.metrics, self.health = Metrics(self.registry), Health(60, clock=lambda: self.now)
        self.a, self.b = self.metrics.partition(A), self.metrics.partition(B)
        for tp in (A, B):
            self.health.assigned(tp)
        self.health.restored(A)
        self.status = Status(self.registry, self.health, History(self.registry, lambda: NOW), lambda: NOW)

    def document(self) -> dict[str, Any]:
        return self.status.document()

    def state(self) -> str:
        return str(self.document()["state"]["sentence"])


def test_every_metric_that_is_read_exists() -> None:
    known = {metric.name for metric in METRICS}
    assert set(NAMES) <= known


def test_what_is_not_known_is_null_and_nothing_is_made_up() -> None:
    document = Worker().document()
    assert document["lag"] == {"records": None, "seconds": None}
    assert document["skill"] == document["warnings"] == []
    assert document["reach"] == {"lowest": None, "highest": None, "partition": None, "norms": []}
    assert document["checkpoint"]["oldest_age_s"] is None
    assert document["latency"] == {"median_s": None, "p99_s": None}
    assert document["job"] is None


def test_partitions_that_metrics_do_not_speak_of_are_as_the_probes_say() -> None:
    worker = Worker()
    assert worker.state() == "Restoring: 1 of 2 partitions predicting, 1 restoring."
    worker.health.restored(B)
    assert worker.state() == "Live: 2 of 2 partitions predicting."
    worker.health.progress(B, 5, lag=3)
    worker.now = 61.0
    worker.health.beat()
    assert worker.state() == "Stalled: t/1 has records to read, and none is read."


def test_the_metric_of_a_partition_s_state_comes_first() -> None:
    worker = Worker()
    for state in ("restoring", "replaying", "live", "stalled"):
        worker.b.set("streamrnn_partition_state", float(state == "replaying"), state)
    assert worker.state() == "Replaying: 1 of 2 partitions predicting, 1 replaying."
    assert [one["state"] for one in worker.document()["partitions"]] == ["live", "replaying"]


def test_an_outage_of_the_brokers_is_said_with_its_beginning_and_before_they_first_answered_none_is() -> None:
    worker = Worker()
    worker.health.restored(B)
    worker.metrics.set("streamrnn_broker_connected", 0)
    assert worker.state().startswith("Live")
    worker.metrics.set("streamrnn_broker_last_answer_timestamp_seconds", NOW - 30)
    assert worker.state().startswith("Broker away since 2023-11-14 22:12:50 UTC")
    worker.metrics.set("streamrnn_broker_connected", 1)
    assert worker.state().startswith("Live")


def test_a_loop_that_is_silent_is_hung() -> None:
    worker = Worker()
    worker.health.restored(B)
    worker.now = 61.0
    assert worker.state() == "Hung: the loop has not turned for 61 s; restart the worker."
    assert worker.document()["state"]["good"] is False


def test_sums_add_up_and_of_what_does_not_the_worst_partition_counts() -> None:
    worker = Worker()
    for partition, lag, reach, age, skill in ((worker.a, 3, 16, 60.0, 0.25), (worker.b, 4, 8, 90.0, 0.75)):
        partition.show(active_streams=10, capacity=20, position=7, committed=7, lag=lag, stream_time_ms=None)
        partition.set("streamrnn_input_lag_seconds", 10.0 * lag)
        partition.set("streamrnn_gradient_reach_steps", reach)
        for steps in (0, 2, 16):
            partition.set("streamrnn_state_gradient_norm", reach / (1 + steps), str(steps))
        partition.checkpoint_written(seconds=0.1, size_bytes=100, at_s=NOW - age)
        partition.set("streamrnn_skill", skill, "last")
    document = worker.document()
    assert document["lag"] == {"records": 7.0, "seconds": 40.0}
    assert document["reach"] == {
        "lowest": 8.0, "highest": 16.0, "partition": "t/1", "norms": [[0, 8.0], [2, 8 / 3], [16, 8 / 17]],
    }  # fmt: skip
    assert document["checkpoint"] == {"oldest_age_s": 90.0, "bytes": 200.0, "failures": 0.0}
    assert document["skill"] == [{"rival": "last", "skill": 0.5, "lowest": 0.25, "highest": 0.75}]
    assert document["model"]["streams"] == 20.0
    assert document["partitions"][1]["skill"] == {"last": 0.75}


def test_what_went_wrong_is_a_line_each() -> None:
    worker = Worker()
    worker.a.add(Delta(dead_letters={"malformed": 2}))
    worker.b.add(Delta(dead_letters={"malformed": 1, "no_key": 1}))
    worker.a.fields({"x": (1, 9), "y": (9, 1)})
    worker.a.checkpoint_failed()
    worker.metrics.commit_failed()
    worker.a.set("streamrnn_skill", -0.5, "mean")
    assert worker.document()["warnings"] == [
        "Predictions are worse than saying the running mean: skill -50.0 %.",
        "4 records went to the dead-letter topic (3 malformed, 1 no_key).",
        "Most records have no value in x.",
        "1 checkpoint could not be written.",
        "1 commit failed or stayed in doubt.",
    ]
