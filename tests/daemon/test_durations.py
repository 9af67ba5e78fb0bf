"""What takes longer than a turn is reported once, when it ends; how late a partition is follows the log's own time."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Outputs, Records
from streamrnn.broker.protocol import Output, Record, TopicPartition
from streamrnn.daemon.durations import Durations
from streamrnn.daemon.lateness import Lateness, latencies, newest_of
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metrics import Metrics
from tests.support.scenario import START_MS, KilledError, N, Run, Scenario

TP, OTHER = TopicPartition("in", 0), TopicPartition("in", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def seen(metrics: Metrics, name: str) -> tuple[float | None, float | None]:
    """How many were observed, and their sum."""
    value = metrics.registry.get_sample_value
    return value(f"streamrnn_{name}_seconds_count"), value(f"streamrnn_{name}_seconds_sum")


def test_a_batch_lasts_from_its_first_records_to_the_commit_that_covers_it(clock: Clock, metrics: Metrics) -> None:
    durations = Durations(metrics, clock)
    for now in (2.0, 3.0):
        clock.now = now
        durations.handed_over()
    clock.now = 5.5
    durations.committed()
    durations.committed()
    assert seen(metrics, "batch_latency") == (1, 3.5)


def test_a_batch_that_is_given_up_is_not_reported(clock: Clock, metrics: Metrics) -> None:
    durations = Durations(metrics, clock)
    durations.handed_over()
    durations.given_up()
    clock.now = 60.0
    durations.committed()
    durations.handed_over()
    clock.now = 61.0
    durations.committed()
    assert seen(metrics, "batch_latency") == (1, 1.0)


def test_a_rebalance_lasts_until_the_group_is_stable_again(clock: Clock, metrics: Metrics) -> None:
    durations = Durations(metrics, clock)
    for now, stable in ((0.0, True), (1.0, False), (2.0, False), (4.0, True), (9.0, True)):
        clock.now = now
        durations.polled(stable=stable)
    assert seen(metrics, "rebalance_duration") == (1, 3.0)


def test_restore_and_replay_are_told_apart_and_what_is_dropped_is_not_reported(clock: Clock, metrics: Metrics) -> None:
    durations = Durations(metrics, clock)
    durations.assigned(TP)
    durations.assigned(OTHER)
    clock.now = 2.0
    durations.restored(TP)
    durations.dropped(OTHER)
    durations.restored(OTHER)
    clock.now = 7.0
    durations.caught_up(TP)
    durations.caught_up(TP)
    durations.dropped(OTHER)
    durations.caught_up(OTHER)
    assert seen(metrics, "restore_duration") == (1, 2.0)
    assert seen(metrics, "replay_duration") == (1, 5.0)


def test_a_log_of_past_years_is_late_by_what_is_left_of_it() -> None:
    lateness = Lateness()
    lateness.processed(START_MS)
    lateness.seen(START_MS + 3_600_000)
    assert lateness.lag_s(10, 2e9) == 3600.0
    assert lateness.lag_s(0, 2e9) == 0.0
    assert lateness.lag_s(None, 2e9) is None, "nobody knows how much waits"


def test_a_record_from_the_future_makes_nobody_late_whether_it_waits_or_was_processed() -> None:
    now = START_MS / 1000
    lateness = Lateness()
    lateness.processed(START_MS - 5_000)
    lateness.seen(START_MS + 365 * 86_400_000)
    assert lateness.lag_s(3, now) == 5.0
    lateness.processed(START_MS + 365 * 86_400_000)
    assert lateness.lag_s(3, now) == 0.0
    lateness.processed(START_MS - 2_000)
    assert lateness.lag_s(3, now) == 2.0


def test_what_waits_behind_the_newest_timestamp_that_is_known_is_never_a_lag_of_zero() -> None:
    """A log that grows while it is read through, faster than the broker is asked for its end."""
    lateness = Lateness()
    lateness.seen(START_MS)
    lateness.processed(START_MS + 60_000)
    now = START_MS / 1000 + 3600.0
    assert lateness.lag_s(500, now) is None, "it may be anything up to an hour"
    lateness.seen(START_MS + 1_800_000)
    assert lateness.lag_s(500, now) == 1740.0
    lateness.processed(START_MS + 3_598_000)
    assert lateness.lag_s(500, now) == 2.0, "nothing can be newer than now"
    lateness.seen(START_MS + 3_598_000)
    assert lateness.lag_s(500, now) == 0.0, "asked since: those that wait are older"


def test_a_partition_that_was_at_its_end_a_moment_ago_is_late_by_no_more_than_the_time_since() -> None:
    lateness = Lateness()
    lateness.processed(START_MS)
    lateness.seen(None)
    assert lateness.lag_s(2, START_MS / 1000 + 3.0) == 3.0
    assert lateness.lag_s(2, START_MS / 1000 + 300.0) is None


def test_a_producer_whose_clock_is_behind_makes_a_partition_late_only_once_nothing_else_is_read() -> None:
    now, hour = START_MS / 1000 + 1.0, 3_600_000
    lateness = Lateness()
    for second in range(5):
        lateness.processed(START_MS - 5_000 + 1000 * second)
        lateness.processed(START_MS - 5_000 + 1000 * second - hour)
        lateness.seen(START_MS)
    assert lateness.lag_s(1, now) == 1.0
    lateness._processed.clear()  # as after many batches and seconds: a log of the past, read through
    lateness.processed(START_MS - hour)
    assert lateness.lag_s(1, now) == 3600.0


def test_only_what_was_processed_lately_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("streamrnn.daemon.lateness.time.time", clock)
    lateness = Lateness()
    lateness.processed(START_MS)
    lateness.seen(START_MS + 60_000)
    for number in range(20):
        clock.now = float(number)
        lateness.processed(START_MS - 1_000_000 + number)
        expected = 60.0 if number < 15 else 1059.981 + (19 - number) / 1000
        assert lateness.lag_s(1, 2e9) == pytest.approx(expected), number


def test_of_a_batch_the_newest_record_counts_that_is_not_from_the_future() -> None:
    def batch(*stamps: int) -> Records:
        return Records.of([Record("in", 0, i, stamp, None, None) for i, stamp in enumerate(stamps)])

    assert newest_of(batch(1_000, 9_000, 3_000), 10.0) == 9_000
    assert newest_of(batch(1_000, 99_000, 3_000), 10.0) == 3_000
    assert newest_of(batch(99_000, 98_000), 10.0) == 99_000
    assert newest_of(batch(-1, -1), 10.0) == -1


def test_records_without_a_timestamp_tell_nothing() -> None:
    lateness = Lateness()
    lateness.processed(-1)
    lateness.seen(START_MS)
    assert lateness.lag_s(3, 2e9) is None
    assert latencies([Outputs.of([Output("out", None, b"1")])], 5.0).size == 0
    assert latencies([], 5.0).dtype == np.float64


def test_a_run_reports_its_batches_restore_and_every_prediction_delivered(scenario: Scenario) -> None:
    run = scenario.run()
    phases = {phase: run_value(run, "phase_duration_seconds_count", phase=phase) for phase in ("restore", "encode")}
    assert phases["restore"] >= 1
    assert phases["encode"] > 1
    assert run_value(run, "batch_latency_seconds_count") > 1
    assert run_value(run, "restore_duration_seconds_count") == run_value(run, "replay_duration_seconds_count") == 1
    assert run.value("streamrnn_prediction_latency_seconds_count") == N
    # Records of years ago: the latency is what it is.
    assert run.value("streamrnn_prediction_latency_seconds_bucket", le="86400.0") == 0
    assert run.value("streamrnn_input_lag_seconds") == 0
    assert run.value("streamrnn_last_record_timestamp_seconds") > START_MS / 1000
    assert run.value("streamrnn_model_parameters") > 0
    lineage = scenario.mark()["lineage"]
    assert run.value("streamrnn_lineage_info", lineage=lineage) == 1


def test_a_restored_partition_knows_the_age_of_its_checkpoint_before_it_writes_one(scenario: Scenario) -> None:
    written = scenario.run().value("streamrnn_checkpoint_last_success_timestamp_seconds")
    again = scenario.run(checkpoint="interval_s: 3600")
    assert again.value("streamrnn_checkpoint_duration_seconds_count") == 0
    assert 0 < again.value("streamrnn_checkpoint_last_success_timestamp_seconds") <= written + 1
    assert again.value("streamrnn_checkpoint_size_bytes") > 0


def test_records_that_are_replayed_begin_no_batch(scenario: Scenario) -> None:
    def killed(n: int) -> None:
        if n == 8:
            raise KilledError

    with pytest.raises(KilledError):
        scenario.run(after={"commit": killed}, checkpoint="interval_s: 3600")
    began: list[tuple[bool, bool]] = []

    def turn(loop: Loop, _: object) -> None:
        replaying = any(partition.replaying for partition in loop.partitions.values())
        began.append((replaying, loop._durations._batch_since is not None))

    again = scenario.run(turn=turn, checkpoint="interval_s: 3600")
    assert again.value("streamrnn_replayed_records_total") > 100
    assert sum(replaying for replaying, _ in began) > 3
    assert not any(batch for replaying, batch in began if replaying)
    assert again.value("streamrnn_records_predicted_total") > 0


def run_value(run: Run, name: str, **labels: str) -> float:
    """A sample of the worker as a whole."""
    return run.shown[f"streamrnn_{name}", tuple(sorted(labels.items()))]
