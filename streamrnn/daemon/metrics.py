"""Every metric of the daemon: name, type, labels and help in one table, over an injected registry.

The loop calls ``PartitionMetrics.add`` once per batch with what happened since the last call, and ``show`` with what is
the case now. Records replayed during recovery are counted as replayed and nothing else, so nothing counts twice.
Invariants: stream keys never become labels; a gauge has no sample while its value is unknown; ``remove`` deletes
every series of a partition, and a late call after it brings none back.

What a learner counts is declared in ``streamrnn.core.counts``, with its help; here each of those rows becomes a metric.
Sums come with counts, so that ``rate(x_sum) / rate(x_count)`` is a mean over any interval: the progressive mean
absolute error is ``rate(streamrnn_absolute_error_sum[5m]) / rate(streamrnn_absolute_error_count[5m])``.

``python -P -m streamrnn.daemon.metrics`` prints the table as Markdown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.process_collector import ProcessCollector

from streamrnn.broker.protocol import TopicPartition
from streamrnn.core.counts import COUNTS, EVICTIONS, WINDOWS_IN_BATCH, Count
from streamrnn.learner.clock import JUMPS
from streamrnn.learner.streams import EVICTIONS_IN_USE

Kind = Literal["counter", "gauge", "histogram", "summary", "info"]

PHASES = ("poll", "decode", "process", "send", "commit", "checkpoint")
REBALANCES = ("assigned", "revoked", "lost")

# From a cached fsync to a disk that is about to fail.
_WRITE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECORDS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)
_NORMS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1_000.0)


class Metric(NamedTuple):
    """One row of the table. ``partition`` metrics have the labels topic and partition before ``labels``."""

    name: str
    kind: Kind
    help: str
    partition: bool = True
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Every label a series of this metric carries."""
        return (*(("topic", "partition") if self.partition else ()), *self.labels)


RECORDS_CONSUMED = Count("records_consumed", "Records read from the input topic, replayed ones excluded.")
RECORDS_FILTERED = Count("records_filtered", "Records that input.where passed over.")
TOMBSTONES = Count("tombstones", "Records with a key and no value, which end their stream, or are ignored.")
REPLAYED_RECORDS = Count("replayed_records", "Records processed again in recovery, silently.")
LEARNER_COUNTS = tuple(count for count in COUNTS if count is not COUNTS[WINDOWS_IN_BATCH])
READ = (RECORDS_CONSUMED, RECORDS_FILTERED, TOMBSTONES)
PARTITION_COUNTS = (*READ, *LEARNER_COUNTS, *EVICTIONS, EVICTIONS_IN_USE, *JUMPS, REPLAYED_RECORDS)
"""Everything counted for a partition, by its learner or by the loop. Dead letters are counted by reason, apart."""


def name_of(count: Count) -> str:
    """The metric of a count."""
    return f"streamrnn_{count.stem}_total"


def _rows(*counts: Count) -> tuple[Metric, ...]:
    """The metrics of these counts; counts that differ only in their cause share one."""
    rows = [Metric(name_of(c), "counter", c.help, labels=("cause",) if c.cause else ()) for c in counts]
    return tuple(dict.fromkeys(rows))


METRICS: tuple[Metric, ...] = (
    # What came in and went out
    *_rows(*READ),
    Metric(
        "streamrnn_field_present_total",
        "counter",
        "Records that had a value in a field of the job, of those that were looked at for it.",
        labels=("field",),
    ),
    Metric(
        "streamrnn_field_missing_total",
        "counter",
        "Records in which a field of the job was missing or null, or no number where one is expected.",
        labels=("field",),
    ),
    Metric(
        "streamrnn_dead_letters_total",
        "counter",
        "Records that could not be used and went to the dead-letter topic, by reason.",
        labels=("reason",),
    ),
    Metric(
        "streamrnn_amended_outputs_total",
        "counter",
        "Outputs that their topic took only shortened, with a key, or stamped with the present, by what it refused.",
        labels=("reason",),
    ),
    Metric(
        "streamrnn_undeliverable_predictions_total",
        "counter",
        "Predictions that their topic refused for good, by what it refused; a dead letter holds each.",
        labels=("reason",),
    ),
    Metric(
        "streamrnn_undeliverable_dead_letters_total",
        "counter",
        "Dead letters that their topic refused for good, by what it refused.",
        labels=("reason",),
    ),
    # Learning
    *_rows(*LEARNER_COUNTS),
    Metric(
        "streamrnn_gradient_norm",
        "histogram",
        "Norm of the gradient of each optimiser step before clipping.",
        True,
        (),
        _NORMS,
    ),
    Metric("streamrnn_gradient_norm_last", "gauge", "Norm of the newest optimiser step's gradient before clipping."),
    Metric(
        "streamrnn_prediction_loss", "summary", "Loss of predictions when their target became known, in scaled units."
    ),
    Metric(
        "streamrnn_absolute_error",
        "summary",
        "Absolute error of predicted numbers when their target became known, in the target's own unit.",
    ),
    # Streams
    Metric("streamrnn_active_streams", "gauge", "Streams with a hidden state."),
    Metric("streamrnn_streams_with_history", "gauge", "Of these, streams of four records and more."),
    Metric("streamrnn_stream_key_bytes", "gauge", "Bytes of the keys of all streams with a hidden state."),
    Metric("streamrnn_stream_capacity", "gauge", "Streams whose state can be kept at once (streams.max_streams)."),
    *_rows(*EVICTIONS, EVICTIONS_IN_USE),
    # Position in the log
    Metric("streamrnn_stream_timestamp_seconds", "gauge", "Stream time: the running maximum of record timestamps."),
    *_rows(*JUMPS),
    Metric(
        "streamrnn_input_lag_records",
        "gauge",
        "Offsets between the position and the newest end of the log the client knows.",
    ),
    Metric("streamrnn_position_offset", "gauge", "Offset of the next record to process."),
    Metric("streamrnn_committed_offset", "gauge", "Offset up to which predictions are delivered and committed."),
    # Checkpoints and recovery
    Metric(
        "streamrnn_checkpoint_duration_seconds",
        "histogram",
        "Time to write a checkpoint, in the background.",
        buckets=_WRITE_SECONDS,
    ),
    Metric("streamrnn_checkpoint_size_bytes", "gauge", "Size of the newest checkpoint with all segments it names."),
    Metric("streamrnn_checkpoint_last_success_timestamp_seconds", "gauge", "When a checkpoint was last written."),
    Metric("streamrnn_checkpoint_failures_total", "counter", "Checkpoints that could not be written."),
    Metric("streamrnn_corrupt_checkpoints_total", "counter", "Checkpoints found unusable and passed over in recovery."),
    Metric("streamrnn_build_changes_total", "counter", "Restores from a checkpoint written by another build."),
    *_rows(REPLAYED_RECORDS),
    Metric("streamrnn_inexact_replays_total", "counter", "Recoveries that did not arrive at the committed digest."),
    # The process
    Metric(
        "streamrnn_phase_seconds_total", "counter", "Time the loop spent, by phase.", partition=False, labels=("phase",)
    ),
    Metric(
        "streamrnn_commit_duration_seconds",
        "histogram",
        "Time to flush predictions and commit offsets.",
        partition=False,
        buckets=_COMMIT_SECONDS,
    ),
    Metric("streamrnn_commit_failures_total", "counter", "Commits that failed or stayed in doubt.", partition=False),
    Metric(
        "streamrnn_poll_size_records",
        "histogram",
        "Records returned by a poll that returned any.",
        partition=False,
        buckets=_RECORDS,
    ),
    Metric("streamrnn_assigned_partitions", "gauge", "Partitions assigned to this worker.", partition=False),
    Metric(
        "streamrnn_rebalances_total",
        "counter",
        "Rebalance events by what happened to partitions of this worker.",
        partition=False,
        labels=("event",),
    ),
    Metric("streamrnn_ready", "gauge", "1 once partitions are assigned and restored, else 0.", partition=False),
    Metric("streamrnn_build_info", "info", "Versions that decide the bits; the value is 1.", partition=False),
)

_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What happened in one partition since the previous call; everything starts at nothing.

    ``counts`` has what was added to each of ``PARTITION_COUNTS``, by name; those left out and further ones do not
    matter. ``gradient_norms`` holds one norm per optimiser step. ``loss_sum`` over ``loss_count`` and ``error_sum``
    over ``error_count`` are means of loss and of absolute error; a sum that is not finite is left out with its count.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    gradient_norms: Sequence[float] | np.ndarray[Any, Any] = ()
    loss_sum: float = 0.0
    loss_count: int = 0
    error_sum: float = 0.0
    error_count: int = 0


class _BulkSummary(Summary):
    """A summary that takes many observations at once. Its two values are the client library's private ones."""

    def add(self, total: float, count: int) -> None:
        self._sum.inc(total)
        self._count.inc(count)


class _BulkHistogram(Histogram):
    """A histogram that takes many observations at once, one lock per bucket that grows instead of one per value."""

    def add(self, values: Sequence[float] | np.ndarray[Any, Any]) -> None:
        observed = np.asarray(values, np.float64)
        observed = observed[np.isfinite(observed)]
        if observed.size == 0:
            return
        counts = np.bincount(np.searchsorted(self._upper_bounds, observed, side="left"))
        self._sum.inc(float(observed.sum()))
        for index in np.flatnonzero(counts).tolist():
            self._buckets[index].inc(int(counts[index]))


_TYPES: dict[Kind, type] = {
    "counter": Counter,
    "gauge": Gauge,
    "histogram": _BulkHistogram,
    "summary": _BulkSummary,
    "info": Info,
}


class Metrics:
    """All metrics, registered in ``registry``; process metrics (``process_*``) come along.

    One per registry: a second one raises the client library's ValueError.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._collectors: dict[str, Any] = {}
        for metric in METRICS:
            more = {"buckets": metric.buckets} if metric.kind == "histogram" else {}
            create = _TYPES[metric.kind]
            name = metric.name.removesuffix("_info") if metric.kind == "info" else metric.name
            self._collectors[metric.name] = create(name, metric.help, metric.all_labels, registry=registry, **more)
        ProcessCollector(registry=registry)
        # Series that exist from the start, so that their first increase is seen as one.
        self._phases = {phase: self._collectors["streamrnn_phase_seconds_total"].labels(phase) for phase in PHASES}
        for event in REBALANCES:
            self._collectors["streamrnn_rebalances_total"].labels(event)

    def name_build(self, build: Mapping[str, str]) -> None:
        """``build`` labels ``streamrnn_build_info``; it is known when the kernels are loaded."""
        self._collectors["streamrnn_build_info"].info(dict(build))

    def partition(self, tp: TopicPartition) -> PartitionMetrics:
        """The handle for one partition; its counters start (or, without ``remove``, go on) existing now."""
        return PartitionMetrics(self._collectors, tp)

    def phase(self, phase: str, seconds: float) -> None:
        """Add to the time spent in one of ``PHASES``."""
        self._phases[phase].inc(seconds)

    def polled(self, records: int) -> None:
        """Observe the size of a poll; an empty one is not observed."""
        if records:
            self._collectors["streamrnn_poll_size_records"].observe(records)

    def committed(self, seconds: float) -> None:
        """Observe a commit that succeeded."""
        self._collectors["streamrnn_commit_duration_seconds"].observe(seconds)

    def commit_failed(self) -> None:
        """Count a commit that failed or stayed in doubt."""
        self._collectors["streamrnn_commit_failures_total"].inc()

    def rebalanced(self, event: str, assigned_now: int) -> None:
        """Count one of ``REBALANCES`` and show how many partitions are assigned after it."""
        if event not in REBALANCES:
            raise ValueError(f"event: one of {', '.join(REBALANCES)}, got {event!r}")
        self._collectors["streamrnn_rebalances_total"].labels(event).inc()
        self._collectors["streamrnn_assigned_partitions"].set(assigned_now)

    def ready(self, ready: bool) -> None:
        """Show readiness."""
        self._collectors["streamrnn_ready"].set(1 if ready else 0)


class PartitionMetrics:
    """The metrics of one partition, reported by the loop's thread alone. After ``remove`` every call does nothing.

    Counters, histograms and summaries exist from the start; gauges only once they are shown.
    """

    def __init__(self, collectors: Mapping[str, Any], tp: TopicPartition) -> None:
        self._collectors = collectors
        self._labels = (tp.topic, str(tp.partition))
        self._removed = False
        self._series: set[tuple[str, tuple[str, ...]]] = set()
        self._children: dict[tuple[str, str], Any] = {}
        for metric in METRICS:
            if metric.partition and metric.kind != "gauge" and not metric.labels:
                self._child(metric.name)
        for count in PARTITION_COUNTS:
            self._child(name_of(count), count.cause)

    def add(self, delta: Delta) -> None:
        """Count what happened since the previous call."""
        if self._removed:
            return
        for count in PARTITION_COUNTS:
            if amount := delta.counts.get(count.name):
                self._child(name_of(count), count.cause).inc(amount)
        for reason, amount in delta.dead_letters.items():
            self._child("streamrnn_dead_letters_total", reason).inc(amount)
        if len(delta.gradient_norms):
            self._child("streamrnn_gradient_norm").add(delta.gradient_norms)
            self._child("streamrnn_gradient_norm_last").set(float(delta.gradient_norms[-1]))
        # One infinite loss would make the sum useless for the life of the process.
        if delta.loss_count and math.isfinite(delta.loss_sum):
            self._child("streamrnn_prediction_loss").add(delta.loss_sum, delta.loss_count)
        if delta.error_count and math.isfinite(delta.error_sum):
            self._child("streamrnn_absolute_error").add(delta.error_sum, delta.error_count)

    def fields(self, records: Mapping[str, tuple[int, int]]) -> None:
        """Count records with and without each field since the previous call; from the first one on its series exist."""
        for name, (present, missing) in records.items() if not self._removed else ():
            self._child("streamrnn_field_present_total", name).inc(present)
            self._child("streamrnn_field_missing_total", name).inc(missing)

    def show(
        self,
        *,
        active_streams: int,
        capacity: int,
        position: int,
        committed: int | None,
        lag: int | None,
        stream_time_ms: int | None,
        streams_with_history: int | None = None,
        key_bytes: int | None = None,
    ) -> None:
        """Show the state after a batch; a value that is None has no sample."""
        self._set("streamrnn_active_streams", active_streams)
        self._set("streamrnn_streams_with_history", streams_with_history)
        self._set("streamrnn_stream_key_bytes", key_bytes)
        self._set("streamrnn_stream_capacity", capacity)
        self._set("streamrnn_position_offset", position)
        self._set("streamrnn_committed_offset", committed)
        self._set("streamrnn_input_lag_records", lag)
        self._set("streamrnn_stream_timestamp_seconds", None if stream_time_ms is None else stream_time_ms / 1000)

    def checkpoint_written(self, *, seconds: float, size_bytes: int, at_s: float) -> None:
        """A checkpoint was written: how long it took, all it names, and when (seconds since the epoch)."""
        if not self._removed:
            self._child("streamrnn_checkpoint_duration_seconds").observe(seconds)
        self._set("streamrnn_checkpoint_size_bytes", size_bytes)
        self._set("streamrnn_checkpoint_last_success_timestamp_seconds", at_s)

    def checkpoint_failed(self) -> None:
        """A checkpoint could not be written."""
        self._count("streamrnn_checkpoint_failures_total", 1)

    def restored(self, *, corrupt_checkpoints: int, build_changed: bool) -> None:
        """A checkpoint was loaded: how many newer ones were unusable, and whether another build wrote it."""
        self._count("streamrnn_corrupt_checkpoints_total", corrupt_checkpoints)
        self._count("streamrnn_build_changes_total", int(build_changed))

    def amended(self, reason: str) -> None:
        """An output was taken only in another form."""
        if not self._removed:
            self._child("streamrnn_amended_outputs_total", reason).inc()

    def undeliverable(self, kind: Literal["prediction", "dead_letter"], reason: str) -> None:
        """An output was refused for good."""
        if not self._removed:
            self._child(f"streamrnn_undeliverable_{kind}s_total", reason).inc()

    def replay_inexact(self) -> None:
        """A replay did not arrive at the committed ordinal and digest."""
        self._count("streamrnn_inexact_replays_total", 1)

    def remove(self) -> None:
        """Delete every series of this partition: it belongs to another worker now."""
        self._removed = True
        self._children.clear()
        for name, labels in self._series:
            self._collectors[name].remove(*labels)
        self._series.clear()

    def _count(self, name: str, amount: int) -> None:
        if not self._removed:
            self._child(name).inc(amount)

    def _set(self, name: str, value: float | None) -> None:
        if self._removed:
            return
        if value is not None:
            self._child(name).set(value)
        elif self._children.pop((name, ""), None) is not None:
            self._collectors[name].remove(*self._labels)
            self._series.discard((name, self._labels))

    def _child(self, name: str, last_label: str = "") -> Any:
        child = self._children.get((name, last_label))
        if child is None:
            labels = (*self._labels, last_label) if _BY_NAME[name].labels else self._labels
            child = self._collectors[name].labels(*labels)
            self._children[name, last_label] = child
            self._series.add((name, labels))
        return child


def reference() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and help of every metric, in the order of the table."""
    return [(metric.name, metric.kind, metric.all_labels, metric.help) for metric in METRICS]


def markdown() -> str:
    """The reference as a Markdown table."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    rows += [f"| `{name}` | {kind} | {', '.join(labels)} | {text} |" for name, kind, labels, text in reference()]
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown())
