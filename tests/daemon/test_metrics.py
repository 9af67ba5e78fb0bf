"""Every metric follows the conventions, and every sample is exactly what was reported."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamrnn.broker.protocol import REFUSALS, TopicPartition
from streamrnn.core.counts import COUNTS, EVICTIONS
from streamrnn.daemon.metric_table import METRICS, PHASES, Metric, markdown, reference
from streamrnn.daemon.metrics import Delta, Metrics, PartitionMetrics
from streamrnn.job.codec.dead_letters import REASONS
from streamrnn.learner.streams import EVICTIONS_IN_USE

TP = TopicPartition("departures", 3)
LABELS = {"topic": "departures", "partition": "3"}


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(CollectorRegistry())
    metrics.name_build({"version": "0.1.0", "numpy": "2.4"})
    return metrics


COUNTED = {
    "records_consumed": 10,
    "records_filtered": 16,
    "tombstones": 17,
    "records_predicted": 7,
    "label_records": 2,
    "updates": 3,
    "windows": 4,
    "windows_dropped_loss": 1,
    "windows_dropped_gradient": 14,
    "gradient_clips": 2,
    "steps_shortened": 15,
    "imputed_inputs": 5,
    "outlying_targets": 15,
    "sequences_ended": 6,
    "frames": 21,
    "frames_dropped": 22,
    "unlearned_sequences_too_long": 23,
    "evictions_ttl": 8,
    "evictions_capacity": 9,
    "evictions_tombstone": 18,
    "evictions_in_use": 19,
    "late_labels": 11,
    "passed_labels": 25,
    "unmatched_labels": 12,
    "lost_labels": 20,
    "replayed_records": 13,
    "windows_in_batch": -2,
}


GAUGES_BY_NAME = {
    "streamrnn_interval_level": 0.8,
    "streamrnn_waiting_events": 12,
    "streamrnn_weight_norm": 2.5,
    "streamrnn_update_to_weight_ratio": 0.001,
    "streamrnn_gradient_reach_steps": 16,
    "streamrnn_state_bytes": 4_096,
    "streamrnn_input_lag_seconds": 12.5,
    "streamrnn_last_record_timestamp_seconds": 2e9,
    "streamrnn_model_parameters": 4_481,
}
COUNTERS_BY_NAME = {
    "streamrnn_interval_targets_total": 10,
    "streamrnn_interval_hits_total": 8,
    "streamrnn_drift_alarms_total": 1,
    "streamrnn_text_units_total": 30,
}
SUMS_BY_NAME = {
    "streamrnn_interval_width": (50.0, 10),
    "streamrnn_label_delay_seconds": (120.0, 4),
    "streamrnn_surprise": (64.0, 30),
}
LABELLED = {
    "streamrnn_skill": "last",
    "streamrnn_state_gradient_norm": "4",
    "streamrnn_mixture_share": "network",
    "streamrnn_input_drift": "temperature",
    "streamrnn_vocabulary_symbols": "page",
    "streamrnn_vocabulary_capacity_symbols": "page",
    "streamrnn_partition_state": "live",
}


def report_by_name(metrics: Metrics, handle: PartitionMetrics) -> None:
    for name, value in GAUGES_BY_NAME.items():
        handle.set(name, value)
    for name, amount in COUNTERS_BY_NAME.items():
        handle.count(name, amount)
    for name, (total, count) in SUMS_BY_NAME.items():
        handle.add_sum(name, total, count)
    for name, label in LABELLED.items():
        handle.set(name, 0.5, label)
    handle.count("streamrnn_field_clamped_total", 3, "a.b")
    handle.count("streamrnn_symbols_beyond_total", 2, "page")
    handle.add_sum("streamrnn_rival_error", 90.0, 5, "last")
    handle.observe("streamrnn_prediction_latency_seconds", [0.02, 0.08])
    handle.info("streamrnn_lineage_info", lineage="5e1f")
    for name in ("streamrnn_broker_connected", "streamrnn_broker_last_answer_timestamp_seconds"):
        metrics.set(name, 1)
    metrics.set("streamrnn_broker_connections", 3, "connected")
    metrics.count("streamrnn_broker_outages_total")
    metrics.count("streamrnn_broker_failures_total", 2, "commit")
    for name in ("rebalance_duration", "restore_duration", "replay_duration", "batch_latency"):
        metrics.observe(f"streamrnn_{name}_seconds", 0.25)
    metrics.name_job({"job_name": "flights", "cell": "lstm"})


def report_everything(metrics: Metrics) -> PartitionMetrics:
    handle = metrics.partition(TP)
    handle.add(
        Delta(
            counts=dict(COUNTED),
            dead_letters={"json": 1, "key": 2},
            gradient_norms=np.array([0.5, 0.1, 2.0]),
            loss_sum=1.5,
            loss_count=7,
            error_sum=70.0,
            error_count=5,
        )
    )
    handle.show(
        active_streams=4,
        capacity=100,
        position=50,
        committed=48,
        lag=0,
        stream_time_ms=1_500,
        streams_with_history=3,
        key_bytes=44,
    )
    handle.checkpoint_written(seconds=0.2, size_bytes=1_000, at_s=1e9)
    handle.checkpoint_failed()
    handle.restored(corrupt_checkpoints=2, build_changed=True)
    handle.replay_inexact()
    handle.amended("bad_timestamp")
    handle.undeliverable("prediction", "too_large")
    handle.undeliverable("dead_letter", "too_large")
    handle.fields({"a.b": (3, 0)})
    handle.fields({"a.b": (4, 1)})
    report_by_name(metrics, handle)
    metrics.phase("poll", 0.5)
    metrics.polled(100)
    metrics.committed(0.004)
    metrics.commit_failed()
    metrics.rebalanced("assigned", 1)
    metrics.ready(True)
    return handle


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def series(metrics: Metrics) -> set[str]:
    """Names of the series of the partition."""
    return {s.name for family in metrics.registry.collect() for s in family.samples if s.labels.get("topic")}


EXPECTED = {
    "streamrnn_records_consumed_total": 10,
    "streamrnn_records_filtered_total": 16,
    "streamrnn_tombstones_total": 17,
    "streamrnn_records_predicted_total": 7,
    "streamrnn_label_records_total": 2,
    "streamrnn_updates_total": 3,
    "streamrnn_windows_total": 4,
    "streamrnn_gradient_clips_total": 2,
    "streamrnn_steps_shortened_total": 15,
    "streamrnn_imputed_inputs_total": 5,
    "streamrnn_outlying_targets_total": 15,
    "streamrnn_sequences_ended_total": 6,
    "streamrnn_late_labels_total": 11,
    "streamrnn_passed_labels_total": 25,
    "streamrnn_unmatched_labels_total": 12,
    "streamrnn_lost_labels_total": 20,
    "streamrnn_replayed_records_total": 13,
    "streamrnn_gradient_norm_last": 2.0,
    "streamrnn_gradient_norm_sum": 2.6,
    "streamrnn_gradient_norm_count": 3,
    "streamrnn_prediction_loss_sum": 1.5,
    "streamrnn_prediction_loss_count": 7,
    "streamrnn_absolute_error_sum": 70,
    "streamrnn_absolute_error_count": 5,
    "streamrnn_active_streams": 4,
    "streamrnn_streams_with_history": 3,
    "streamrnn_stream_key_bytes": 44,
    "streamrnn_evictions_in_use_total": 19,
    "streamrnn_stream_capacity": 100,
    "streamrnn_position_offset": 50,
    "streamrnn_committed_offset": 48,
    "streamrnn_input_lag_records": 0,
    "streamrnn_stream_timestamp_seconds": 1.5,
    "streamrnn_checkpoint_duration_seconds_sum": 0.2,
    "streamrnn_checkpoint_duration_seconds_count": 1,
    "streamrnn_checkpoint_size_bytes": 1_000,
    "streamrnn_checkpoint_last_success_timestamp_seconds": 1e9,
    "streamrnn_checkpoint_failures_total": 1,
    "streamrnn_corrupt_checkpoints_total": 2,
    "streamrnn_build_changes_total": 1,
    "streamrnn_inexact_replays_total": 1,
    "streamrnn_interval_width_sum": 50,
    "streamrnn_interval_width_count": 10,
    "streamrnn_surprise_sum": 64,
    "streamrnn_surprise_count": 30,
    "streamrnn_text_units_total": 30,
    "streamrnn_frames_total": 21,
    "streamrnn_frames_dropped_total": 22,
    "streamrnn_label_delay_seconds_sum": 120,
    "streamrnn_label_delay_seconds_count": 4,
    "streamrnn_prediction_latency_seconds_sum": 0.1,
    "streamrnn_prediction_latency_seconds_count": 2,
    **GAUGES_BY_NAME,
    **COUNTERS_BY_NAME,
}


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("streamrnn_dead_letters_total", REASONS),
        ("streamrnn_amended_outputs_total", REFUSALS),
        ("streamrnn_undeliverable_predictions_total", REFUSALS),
        ("streamrnn_undeliverable_dead_letters_total", REFUSALS),
    ],
)
def test_a_reason_is_counted_from_0_so_that_its_first_burst_is_an_increase(
    metrics: Metrics, name: str, reasons: tuple[str, ...]
) -> None:
    metrics.partition(TP)
    assert {reason: sample(metrics, name, **LABELS, reason=reason) for reason in reasons} == dict.fromkeys(reasons, 0)


def test_each_report_shows_as_exactly_its_sample(metrics: Metrics) -> None:
    report_everything(metrics)
    assert {name: sample(metrics, name, **LABELS) for name in EXPECTED} == pytest.approx(EXPECTED)
    assert sample(metrics, "streamrnn_dead_letters_total", **LABELS, reason="json") == 1
    assert sample(metrics, "streamrnn_dead_letters_total", **LABELS, reason="key") == 2
    assert sample(metrics, "streamrnn_amended_outputs_total", **LABELS, reason="bad_timestamp") == 1
    assert sample(metrics, "streamrnn_undeliverable_predictions_total", **LABELS, reason="too_large") == 1
    assert sample(metrics, "streamrnn_undeliverable_dead_letters_total", **LABELS, reason="too_large") == 1
    assert sample(metrics, "streamrnn_evictions_total", **LABELS, cause="ttl") == 8
    assert sample(metrics, "streamrnn_evictions_total", **LABELS, cause="capacity") == 9
    assert sample(metrics, "streamrnn_evictions_total", **LABELS, cause="tombstone") == 18
    assert sample(metrics, "streamrnn_field_present_total", **LABELS, field="a.b") == 7
    assert sample(metrics, "streamrnn_field_missing_total", **LABELS, field="a.b") == 1
    assert sample(metrics, "streamrnn_windows_dropped_total", **LABELS, cause="loss") == 1
    assert sample(metrics, "streamrnn_windows_dropped_total", **LABELS, cause="gradient") == 14
    assert sample(metrics, "streamrnn_unlearned_sequences_total", **LABELS, cause="too_long") == 23
    assert sample(metrics, "streamrnn_unlearned_sequences_total", **LABELS, cause="impossible") == 0
    assert sample(metrics, "streamrnn_phase_duration_seconds_sum", phase="poll") == 0.5
    assert sample(metrics, "streamrnn_phase_duration_seconds_sum", phase="send") == 0
    assert sample(metrics, "streamrnn_poll_size_records_sum") == 100
    assert sample(metrics, "streamrnn_commit_duration_seconds_sum") == 0.004
    assert sample(metrics, "streamrnn_commit_failures_total") == 1
    assert sample(metrics, "streamrnn_rebalances_total", event="assigned") == 1
    assert sample(metrics, "streamrnn_rebalances_total", event="lost") == 0
    assert sample(metrics, "streamrnn_assigned_partitions") == 1
    assert sample(metrics, "streamrnn_ready") == 1
    assert sample(metrics, "streamrnn_build_info", version="0.1.0", numpy="2.4") == 1
    for name, label in LABELLED.items():
        (kind,) = next(metric.labels for metric in METRICS if metric.name == name)
        assert sample(metrics, name, **LABELS, **{kind: label}) == 0.5
    assert sample(metrics, "streamrnn_rival_error_sum", **LABELS, rival="last") == 90
    assert sample(metrics, "streamrnn_field_clamped_total", **LABELS, field="a.b") == 3
    assert sample(metrics, "streamrnn_lineage_info", **LABELS, lineage="5e1f") == 1
    assert sample(metrics, "streamrnn_job_info", job_name="flights", cell="lstm") == 1
    assert sample(metrics, "streamrnn_broker_failures_total", request="commit") == 2
    assert sample(metrics, "streamrnn_replay_duration_seconds_sum") == 0.25


def test_the_samples_expected_above_cover_the_whole_table(metrics: Metrics) -> None:
    report_everything(metrics)
    suffixes = {"histogram": "_count", "summary": "_count"}
    partition_names = {
        m.name + suffixes.get(m.kind, "") for m in METRICS if m.partition and not m.labels and m.kind != "info"
    }
    assert partition_names <= EXPECTED.keys()
    names = {s.name for family in metrics.registry.collect() for s in family.samples}
    assert {m.name + suffixes.get(m.kind, "") for m in METRICS} <= names, "every metric of the table has a sample"


def test_every_count_of_a_learner_is_a_metric_under_its_own_name(metrics: Metrics) -> None:
    handle = metrics.partition(TP)
    counts = {count.name: i + 1 for i, count in enumerate((*COUNTS, *EVICTIONS, EVICTIONS_IN_USE))}
    handle.add(Delta(counts=counts))
    for count in (*COUNTS, *EVICTIONS, EVICTIONS_IN_USE):
        name, cause = f"streamrnn_{count.stem}_total", {"cause": count.cause} if count.cause else {}
        shown = None if count.name == "windows_in_batch" else counts[count.name]
        assert sample(metrics, name, **LABELS, **cause) == shown
        assert shown is None or (name, count.help) in {(metric.name, metric.help) for metric in METRICS}


def test_deltas_add_up_and_states_replace(metrics: Metrics) -> None:
    handle = report_everything(metrics)
    handle.add(
        Delta(
            counts={"records_consumed": 5}, dead_letters={"json": 1}, loss_sum=0.5, loss_count=1, gradient_norms=[0.25]
        )
    )
    handle.show(active_streams=3, capacity=100, position=60, committed=60, lag=2, stream_time_ms=1_000)
    assert sample(metrics, "streamrnn_records_consumed_total", **LABELS) == 15
    assert sample(metrics, "streamrnn_dead_letters_total", **LABELS, reason="json") == 2
    assert sample(metrics, "streamrnn_prediction_loss_count", **LABELS) == 8
    assert sample(metrics, "streamrnn_gradient_norm_last", **LABELS) == 0.25
    assert sample(metrics, "streamrnn_active_streams", **LABELS) == 3
    assert sample(metrics, "streamrnn_input_lag_records", **LABELS) == 2


def test_many_norms_at_once_fall_into_the_same_buckets_as_one_by_one(metrics: Metrics) -> None:
    norms = [0.0, 0.001, 0.0011, 1.0, 5e3, 1e30, float("nan"), float("inf")]
    metrics.partition(TP).add(Delta(gradient_norms=norms))
    other = TopicPartition("departures", 4)
    handle = metrics.partition(other)
    for norm in norms:
        handle.add(Delta(gradient_norms=[norm]))
    buckets = [
        {s.labels["le"]: s.value for f in metrics.registry.collect() for s in f.samples
         if s.name == "streamrnn_gradient_norm_bucket" and s.labels["partition"] == partition}
        for partition in ("3", "4")
    ]  # fmt: skip
    assert buckets[0] == buckets[1]
    assert buckets[0]["0.001"] == 2
    assert buckets[0]["1.0"] == 4
    assert buckets[0]["+Inf"] == 6, "a norm that is not finite is not observed"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sum_that_is_not_finite_does_not_poison_the_mean(metrics: Metrics, bad: float) -> None:
    handle = metrics.partition(TP)
    handle.add(Delta(loss_sum=bad, loss_count=3, error_sum=bad, error_count=3))
    handle.add(Delta(loss_sum=1.0, loss_count=1, error_sum=2.0, error_count=1))
    for name, total in (("streamrnn_prediction_loss", 1.0), ("streamrnn_absolute_error", 2.0)):
        assert sample(metrics, name + "_sum", **LABELS) == total
        assert sample(metrics, name + "_count", **LABELS) == 1


def test_counters_exist_from_the_start_and_gauges_only_once_known(metrics: Metrics) -> None:
    handle = metrics.partition(TP)
    assert sample(metrics, "streamrnn_records_consumed_total", **LABELS) == 0
    assert sample(metrics, "streamrnn_evictions_total", **LABELS, cause="ttl") == 0
    assert sample(metrics, "streamrnn_windows_dropped_total", **LABELS, cause="loss") == 0
    gauges = [m.name for m in METRICS if m.partition and m.kind == "gauge"]
    assert [sample(metrics, name, **LABELS) for name in gauges] == [None] * len(gauges)
    handle.show(active_streams=0, capacity=9, position=0, committed=None, lag=None, stream_time_ms=None)
    assert sample(metrics, "streamrnn_active_streams", **LABELS) == 0
    for name in ("committed_offset", "input_lag_records", "stream_timestamp_seconds"):
        assert sample(metrics, "streamrnn_" + name, **LABELS) is None


def test_lag_disappears_when_it_becomes_unknown_and_comes_back(metrics: Metrics) -> None:
    handle = metrics.partition(TP)
    for lag in (5, None, None, 7):
        handle.show(active_streams=0, capacity=9, position=0, committed=0, lag=lag, stream_time_ms=0)
        assert sample(metrics, "streamrnn_input_lag_records", **LABELS) == lag


def test_a_removed_partition_leaves_no_series_and_late_reports_bring_none_back(metrics: Metrics) -> None:
    handle = report_everything(metrics)
    other = metrics.partition(TopicPartition("departures", 4))
    other.add(Delta(counts={"records_consumed": 1}))
    handle.remove()
    assert not {s.name for f in metrics.registry.collect() for s in f.samples if s.labels.get("partition") == "3"}
    handle.add(Delta(counts={"records_consumed": 1}, dead_letters={"json": 1}, gradient_norms=[1.0]))
    handle.show(active_streams=4, capacity=100, position=50, committed=48, lag=1, stream_time_ms=0)
    handle.checkpoint_written(seconds=0.2, size_bytes=1, at_s=1.0)
    handle.checkpoint_failed()
    handle.replay_inexact()
    other.remove()
    assert series(metrics) == set()
    handle.remove()


def test_a_partition_that_returns_starts_again_from_zero(metrics: Metrics) -> None:
    report_everything(metrics).remove()
    metrics.partition(TP)
    assert sample(metrics, "streamrnn_records_consumed_total", **LABELS) == 0


# ---------------------------------------------------------------------------------------------------- conventions

LABELS_KNOWN = {
    "topic", "partition", "reason", "cause", "phase", "event", "field", "rival", "steps", "expert", "column", "state",
    "request",
}  # fmt: skip


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_follows_the_naming_conventions_and_explains_itself(metric: Metric) -> None:
    assert re.fullmatch(r"streamrnn_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert not re.search(
        r"_(ms|millis|milliseconds|us|minutes|hours|kb|mb|kilobytes|percent|ratio_percent)(_|$)", metric.name
    )
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_created")), "reserved for histograms and summaries"
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.help.endswith(".")
    assert len(metric.help) > 15
    assert set(metric.all_labels) <= LABELS_KNOWN
    assert not set(metric.all_labels) & {"key", "stream", "stream_key", "le", "quantile"}
    assert all(part not in metric.name for label in metric.labels for part in (f"_by_{label}", f"_{label}_total"))


def test_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_exposition_parses_and_carries_type_and_help(metrics: Metrics) -> None:
    report_everything(metrics)
    families = {f.name: f for f in text_string_to_metric_families(generate_latest(metrics.registry).decode())}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.documentation == metric.help
        assert family.type == ("gauge" if metric.kind == "info" else metric.kind)
    assert "process_resident_memory_bytes" in families or sys.platform != "linux"


def test_the_reference_lists_every_metric_and_prints_as_markdown() -> None:
    assert [row[0] for row in reference()] == [metric.name for metric in METRICS]
    assert ("streamrnn_dead_letters_total", "counter", ("topic", "partition", "reason")) in [r[:3] for r in reference()]
    command = [sys.executable, "-W", "error", "-m", "streamrnn.daemon.metric_table"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == markdown()
    assert len(printed.splitlines()) == len(METRICS) + 2


def test_unknown_phases_and_events_are_refused(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.phase("lunch", 1.0)
    with pytest.raises(ValueError, match="assigned, revoked, lost"):
        metrics.rebalanced("stolen", 1)
    for phase in PHASES:
        metrics.phase(phase, 0.1)


def test_an_empty_poll_is_not_observed(metrics: Metrics) -> None:
    metrics.polled(0)
    assert sample(metrics, "streamrnn_poll_size_records_count") == 0
