"""The metrics of ``metric_table`` at work, over an injected registry.

The loop calls ``PartitionMetrics.add`` once per batch with what happened since the last call, and ``show`` with what is
the case now. Records replayed during recovery are counted as replayed and nothing else, so nothing counts twice.
Invariants: a gauge has no sample while its value is unknown; ``remove`` deletes
every series of a partition, and a late call after it brings none back.

Sums come with counts, so that ``rate(x_sum) / rate(x_count)`` is a mean over any interval: the progressive mean
absolute error is ``rate(streamrnn_absolute_error_sum[5m]) / rate(streamrnn_absolute_error_count[5m])``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Sample

from streamrnn.broker.protocol import CONNECTION_STATES, REFUSALS, REQUESTS, TopicPartition
from streamrnn.daemon.health import STATES, State
from streamrnn.daemon.metric_table import METRICS, PARTITION_COUNTS, PHASES, REBALANCES, Kind, name_of
from streamrnn.errors import BrokerError
from streamrnn.job.codec.dead_letters import REASONS

# Reasons that are counted apart; their series exist from the start, so that even a burst that is over before the next
# scrape is seen as an increase.
_BY_REASON = {
    "streamrnn_dead_letters_total": REASONS,
    "streamrnn_amended_outputs_total": REFUSALS,
    "streamrnn_undeliverable_predictions_total": REFUSALS,
    "streamrnn_undeliverable_dead_letters_total": REFUSALS,
}
LAGS = ("streamrnn_input_lag_records", "streamrnn_input_lag_seconds")

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


class _LaterGauge(Gauge):
    """A gauge without labels that has no sample before it is set; the client library's would show 0."""

    _is_known = False

    def set(self, value: float) -> None:
        self._is_known = True
        super().set(value)

    def _child_samples(self) -> Iterable[Sample]:
        return super()._child_samples() if self._is_known else ()


_LATER = ("streamrnn_broker_connected", "streamrnn_broker_last_answer_timestamp_seconds")

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
            create = _LaterGauge if metric.name in _LATER else _TYPES[metric.kind]
            name = metric.name.removesuffix("_info") if metric.kind == "info" else metric.name
            self._collectors[metric.name] = create(name, metric.help, metric.all_labels, registry=registry, **more)
        ProcessCollector(registry=registry)
        # Series that exist from the start, so that their first increase is seen as one.
        self._phases = {phase: self._collectors["streamrnn_phase_duration_seconds"].labels(phase) for phase in PHASES}
        for event in REBALANCES:
            self._collectors["streamrnn_rebalances_total"].labels(event)
        for request in REQUESTS:
            self._collectors["streamrnn_broker_failures_total"].labels(request)
        for state in CONNECTION_STATES:
            self._collectors["streamrnn_broker_connections"].labels(state)

    def name_build(self, build: Mapping[str, str]) -> None:
        """``build`` labels ``streamrnn_build_info``; it is known when the kernels are loaded."""
        self._collectors["streamrnn_build_info"].info(dict(build))

    def name_job(self, job: Mapping[str, str]) -> None:
        """``job`` labels ``streamrnn_job_info``."""
        self._collectors["streamrnn_job_info"].info(dict(job))

    def partition(self, tp: TopicPartition) -> PartitionMetrics:
        """The handle for one partition; its counters start (or, without ``remove``, go on) existing now."""
        return PartitionMetrics(self._collectors, tp)

    def phase(self, phase: str, seconds: float) -> None:
        """Observe the time spent in one of ``PHASES``."""
        self._phases[phase].observe(seconds)

    def set(self, name: str, value: float, label: str = "") -> None:
        """Show a gauge of the worker."""
        self._child(name, label).set(value)

    def count(self, name: str, amount: float = 1, label: str = "") -> None:
        """Add to a counter of the worker."""
        self._child(name, label).inc(amount)

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Add a value to a histogram of the worker."""
        self._child(name, label).observe(value)

    def _child(self, name: str, label: str) -> Any:
        return self._collectors[name].labels(label) if label else self._collectors[name]

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

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Count a commit that fails in this context."""
        try:
            yield
        except BrokerError:
            self.commit_failed()
            raise

    def rebalanced(self, event: str, assigned_now: int) -> None:
        """Count one of ``REBALANCES`` and show how many partitions are assigned after it."""
        if event not in REBALANCES:
            raise ValueError(f"event: one of {', '.join(REBALANCES)}, got {event!r}")
        self._collectors["streamrnn_rebalances_total"].labels(event).inc()
        self._collectors["streamrnn_assigned_partitions"].set(assigned_now)

    def partition_state(self, tp: TopicPartition, state: State | None) -> None:
        """Show which of ``STATES`` a partition is in; None: it is gone."""
        gauge = self._collectors["streamrnn_partition_state"]
        for each in STATES:
            labels = (tp.topic, str(tp.partition), each)
            if state is None:
                gauge.remove(*labels)
            else:
                gauge.labels(*labels).set(1 if state == each else 0)

    def forget_lag(self) -> None:
        """Nobody answers, so no lag is known; from any thread."""
        for name in LAGS:
            self._collectors[name].clear()

    def ready(self, ready: bool) -> None:
        """Show readiness."""
        self._collectors["streamrnn_ready"].set(1 if ready else 0)


class PartitionMetrics:
    """The metrics of one partition, reported by the loop's thread alone. After ``remove`` every call does nothing.

    Counters, histograms and summaries exist from the start; gauges and infos only once they are shown.
    """

    def __init__(self, collectors: Mapping[str, Any], tp: TopicPartition) -> None:
        self._collectors = collectors
        self._labels = (tp.topic, str(tp.partition))
        self._removed = False
        self._series: set[tuple[str, tuple[str, ...]]] = set()
        self._children: dict[tuple[str, str], Any] = {}
        for metric in METRICS:
            if metric.partition and metric.kind not in ("gauge", "info") and not metric.labels:
                self._child(metric.name)
        for count in PARTITION_COUNTS:
            self._child(name_of(count), count.cause)
        for name, reasons in _BY_REASON.items():
            for reason in reasons:
                self._child(name, reason)

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

    def forget_fields(self, names: Iterable[str]) -> None:
        """The job does not read these fields any more: no series of theirs stands still for good."""
        for name in names:
            for count in ("field_present", "field_missing", "field_clamped", "symbols_beyond"):
                self.set(f"streamrnn_{count}_total", None, name)

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
        self.set("streamrnn_active_streams", active_streams)
        self.set("streamrnn_streams_with_history", streams_with_history)
        self.set("streamrnn_stream_key_bytes", key_bytes)
        self.set("streamrnn_stream_capacity", capacity)
        self.set("streamrnn_position_offset", position)
        self.set("streamrnn_committed_offset", committed)
        self.set("streamrnn_input_lag_records", lag)
        self.set("streamrnn_stream_timestamp_seconds", None if stream_time_ms is None else stream_time_ms / 1000)

    def checkpoint_written(self, *, seconds: float, size_bytes: int, at_s: float) -> None:
        """A checkpoint was written: how long it took, all it names, and when (seconds since the epoch)."""
        if not self._removed:
            self._child("streamrnn_checkpoint_duration_seconds").observe(seconds)
        self.checkpoint_known(size_bytes=size_bytes, at_s=at_s)

    def checkpoint_known(self, *, size_bytes: int, at_s: float) -> None:
        """The newest checkpoint there is, whoever wrote it."""
        self.set("streamrnn_checkpoint_size_bytes", size_bytes)
        self.set("streamrnn_checkpoint_last_success_timestamp_seconds", at_s)

    def checkpoint_failed(self) -> None:
        """A checkpoint could not be written."""
        self.count("streamrnn_checkpoint_failures_total", 1)

    def restored(self, *, corrupt_checkpoints: int, build_changed: bool) -> None:
        """A checkpoint was loaded: how many newer ones were unusable, and whether another build wrote it."""
        self.count("streamrnn_corrupt_checkpoints_total", corrupt_checkpoints)
        self.count("streamrnn_build_changes_total", int(build_changed))

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
        self.count("streamrnn_inexact_replays_total", 1)

    def set(self, name: str, value: float | None, label: str = "") -> None:
        """Show a gauge of this partition; None: it is not known, and has no sample."""
        if self._removed:
            return
        if name in LAGS:  # another thread may have removed it
            self._children.pop((name, label), None)
        if value is not None:
            self._child(name, label).set(value)
        elif name in LAGS or self._children.pop((name, label), None) is not None:
            self._drop(name, label)

    def count(self, name: str, amount: float = 1, label: str = "") -> None:
        """Add to a counter of this partition."""
        if not self._removed:
            self._child(name, label).inc(amount)

    def add_sum(self, name: str, total: float, count: int, label: str = "") -> None:
        """Add ``count`` observations that come to ``total``; one that is not finite would spoil the sum for good."""
        if not self._removed and count and math.isfinite(total):
            self._child(name, label).add(total, count)

    def observe(self, name: str, values: Sequence[float] | np.ndarray[Any, Any]) -> None:
        """Add values to a histogram of this partition."""
        if not self._removed:
            self._child(name).add(values)

    def info(self, name: str, **labels: str) -> None:
        """Show an info; its labels replace those shown before."""
        if not self._removed:
            self._child(name).info(labels)

    def remove(self) -> None:
        """Delete every series of this partition: it belongs to another worker now."""
        self._removed = True
        self._children.clear()
        for name, labels in self._series:
            self._collectors[name].remove(*labels)
        self._series.clear()

    def _drop(self, name: str, label: str) -> None:
        labels = (*self._labels, label) if label else self._labels
        self._collectors[name].remove(*labels)
        self._series.discard((name, labels))

    def _child(self, name: str, last_label: str = "") -> Any:
        child = self._children.get((name, last_label))
        if child is None:
            labels = (*self._labels, last_label) if _BY_NAME[name].labels else self._labels
            child = self._collectors[name].labels(*labels)
            self._children[name, last_label] = child
            self._series.add((name, labels))
        return child
