"""Every metric of the daemon: name, type, labels and help, one row for each.

What a learner counts is declared in ``streamrnn.core.counts``, with its help; here each of those rows becomes a metric.
Ages are given as the time since which they run, as Prometheus has it: ``time() - x`` is right whenever it is asked.
Stream keys never become labels, and every label has few values.

``python -P -m streamrnn.daemon.metric_table`` prints the table as Markdown.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from streamrnn.core.counts import COUNTS, EVICTIONS, WINDOWS_IN_BATCH, Count
from streamrnn.learner.clock import JUMPS
from streamrnn.learner.streams import EVICTIONS_IN_USE

Kind = Literal["counter", "gauge", "histogram", "summary", "info"]

PHASES = ("poll", "decode", "process", "encode", "send", "commit", "checkpoint", "restore")
REBALANCES = ("assigned", "revoked", "lost")

# From a cached fsync to a disk that is about to fail.
_WRITE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PHASE_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_RECOVERY_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0)
# From a fast broker to a log that is days behind; records of years ago fall beyond.
_LATENCY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0)
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


def _worker(name: str, kind: Kind, text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = ()) -> Metric:
    """A metric of the worker as a whole."""
    return Metric(name, kind, text, False, labels, buckets)


METRICS: tuple[Metric, ...] = (
    # What came in and went out
    *_rows(*READ),
    Metric(
        "streamrnn_field_present_total", "counter",
        "Records that had a value in a field of the job, of those that were looked at for it.", labels=("field",),
    ),
    Metric(
        "streamrnn_field_missing_total", "counter",
        "Records in which a field of the job was missing or null, or no number where one is expected.",
        labels=("field",),
    ),
    Metric(
        "streamrnn_field_clamped_total", "counter",
        "Values of a field of the job out of bounds (ten deviations, for targets more where such values keep coming), "
        "which count only as far as the bound.",
        labels=("field",),
    ),
    Metric(
        "streamrnn_dead_letters_total", "counter",
        "Records that could not be used and went to the dead-letter topic, by reason.", labels=("reason",),
    ),
    Metric(
        "streamrnn_amended_outputs_total", "counter",
        "Outputs that their topic took only shortened, with a key, or stamped with the present, by what it refused.",
        labels=("reason",),
    ),
    Metric(
        "streamrnn_undeliverable_predictions_total", "counter",
        "Predictions that their topic refused for good, by what it refused; a dead letter holds each.",
        labels=("reason",),
    ),
    Metric(
        "streamrnn_undeliverable_dead_letters_total", "counter",
        "Dead letters that their topic refused for good, by what it refused.", labels=("reason",),
    ),
    # Symbols
    Metric(
        "streamrnn_text_units_total", "counter",
        "Units of texts (bytes, characters or words) that were learned, with the end of each where it is marked.",
    ),
    Metric(
        "streamrnn_vocabulary_symbols", "gauge", "Symbols of a field that have a number of their own, of an open set.",
        labels=("field",),
    ),
    Metric(
        "streamrnn_vocabulary_capacity_symbols", "gauge", "Symbols of the field that can have one: the set's max.",
        labels=("field",),
    ),
    Metric(
        "streamrnn_symbols_beyond_total", "counter",
        "Symbols of the field that came when no number was left for them, or that are longer than 1,024 bytes: they "
        "count as other.", labels=("field",),
    ),
    Metric(
        "streamrnn_surprise", "summary",
        "Surprise of each class that came, -log2 of the probability it was given; of texts, of each unit; of whole "
        "sequences, of each step's label, or symbol.",
    ),
    # Does it learn?
    Metric(
        "streamrnn_skill", "gauge",
        "1 - error / error of a naive rival on the newest predictions whose target became known; below 0 is worse.",
        labels=("rival",),
    ),
    Metric(
        "streamrnn_absolute_error", "summary",
        "Absolute error of predicted numbers (for classes: 1 where wrong), when their target became known, in the "
        "target's own unit.",
    ),
    Metric(
        "streamrnn_rival_error", "summary",
        "Error of a naive rival on the same predictions as absolute_error, but for those made "
        "before any value was known.",
        labels=("rival",),
    ),
    Metric(
        "streamrnn_prediction_loss", "summary",
        "Loss of predictions when their target became known, in scaled units.",
    ),
    Metric("streamrnn_interval_width", "summary", "Width of the outermost interval, in the target's own unit."),
    Metric("streamrnn_interval_level", "gauge", "Share of targets that should lie within the outermost interval."),
    Metric("streamrnn_label_delay_seconds", "summary", "Event time between an event and its label."),
    Metric("streamrnn_drift_alarms_total", "counter", "Rises of the error that River's ADWIN found."),
    *_rows(*LEARNER_COUNTS),
    Metric(
        "streamrnn_gradient_norm", "histogram", "Norm of the gradient of each optimiser step before clipping.",
        buckets=_NORMS,
    ),
    Metric("streamrnn_gradient_norm_last", "gauge", "Norm of the newest optimiser step's gradient before clipping."),
    Metric(
        "streamrnn_weight_norm", "gauge",
        "Euclidean norm of the network's weights, which cell bank never changes; those of readout rls are apart.",
    ),
    Metric(
        "streamrnn_update_to_weight_ratio", "gauge",
        "Norm of the newest optimiser step measured (one in sixteen), over the weights' norm.",
    ),
    Metric(
        "streamrnn_state_gradient_norm", "gauge",
        "Norm of the gradient of a step's loss with respect to the state (h and c) so many steps before it, of the "
        "newest window measured (one in 128 of the longest).",
        labels=("steps",),
    ),
    Metric(
        "streamrnn_gradient_reach_steps", "gauge",
        "How many steps back that norm is still above 1 % of what it is at the step itself.",
    ),
    Metric(
        "streamrnn_mixture_share", "gauge", "Share of each expert in what the rls readout predicts.",
        labels=("expert",),
    ),
    Metric(
        "streamrnn_input_drift", "gauge",
        "Fast mean of an input column minus its slow mean, in standard deviations.", labels=("column",),
    ),
    # Streams
    Metric("streamrnn_active_streams", "gauge", "Streams with a hidden state."),
    Metric("streamrnn_streams_with_history", "gauge", "Of these, streams of four records and more."),
    Metric(
        "streamrnn_waiting_events", "gauge",
        "With model.lookahead for single steps: events that are not predicted yet, as those behind them have not come.",
    ),
    Metric("streamrnn_stream_key_bytes", "gauge", "Bytes of the keys of all streams with a hidden state."),
    Metric("streamrnn_state_bytes", "gauge", "Memory that the states of all these streams take."),
    Metric("streamrnn_stream_capacity", "gauge", "Streams whose state can be kept at once (streams.max_streams)."),
    *_rows(*EVICTIONS, EVICTIONS_IN_USE),
    # Does it keep up?
    Metric(
        "streamrnn_input_lag_records", "gauge",
        "Offsets between the position and the newest end of the log the client knows.",
    ),
    Metric(
        "streamrnn_input_lag_seconds", "gauge",
        "Time by Kafka's timestamps, also where input.timestamp.field is set, between the newest record processed of "
        "late and the newest one in the log; 0 when none waits, no sample while unknown.",
    ),
    Metric("streamrnn_last_record_timestamp_seconds", "gauge", "When a record was last processed."),
    Metric(
        "streamrnn_prediction_latency_seconds", "histogram",
        "From a record's timestamp until its prediction was acknowledged by the broker.", buckets=_LATENCY_SECONDS,
    ),
    Metric("streamrnn_position_offset", "gauge", "Offset of the next record to process."),
    Metric("streamrnn_committed_offset", "gauge", "Offset up to which predictions are delivered and committed."),
    Metric("streamrnn_stream_timestamp_seconds", "gauge", "Stream time: the running maximum of record timestamps."),
    *_rows(*JUMPS),
    # Will it come back?
    Metric(
        "streamrnn_partition_state", "gauge",
        "1 for the state a partition is in, 0 for the others: restoring, replaying, live, stalled.", labels=("state",),
    ),
    Metric(
        "streamrnn_lineage_info", "info",
        "The line of checkpoints that the partition goes on with; an operator's intervention begins a new one.",
    ),
    Metric(
        "streamrnn_model_parameters", "gauge", "Weights of the partition's network; with cell bank they are fixed."
    ),
    Metric(
        "streamrnn_checkpoint_duration_seconds", "histogram", "Time to write a checkpoint, in the background.",
        buckets=_WRITE_SECONDS,
    ),
    Metric("streamrnn_checkpoint_size_bytes", "gauge", "Size of the newest checkpoint with all segments it names."),
    Metric("streamrnn_checkpoint_last_success_timestamp_seconds", "gauge", "When a checkpoint was last written."),
    Metric("streamrnn_checkpoint_failures_total", "counter", "Checkpoints that could not be written."),
    Metric("streamrnn_corrupt_checkpoints_total", "counter", "Checkpoints found unusable and passed over in recovery."),
    Metric("streamrnn_build_changes_total", "counter", "Restores from a checkpoint written by another build."),
    *_rows(REPLAYED_RECORDS),
    Metric("streamrnn_inexact_replays_total", "counter", "Recoveries that did not arrive at the committed digest."),
    # The worker
    _worker("streamrnn_ready", "gauge", "1 while partitions are assigned and restored and the brokers answer, else 0."),
    _worker("streamrnn_assigned_partitions", "gauge", "Partitions assigned to this worker."),
    _worker(
        "streamrnn_rebalances_total", "counter", "Rebalance events by what happened to partitions of this worker.",
        labels=("event",),
    ),
    _worker(
        "streamrnn_rebalance_duration_seconds", "histogram",
        "From the first sign of a rebalance until the group was stable again.", buckets=_RECOVERY_SECONDS,
    ),
    _worker(
        "streamrnn_restore_duration_seconds", "histogram",
        "From a partition's assignment until its learner was loaded.", buckets=_RECOVERY_SECONDS,
    ),
    _worker(
        "streamrnn_replay_duration_seconds", "histogram",
        "From then until its learner was at the committed offset and predicted.", buckets=_RECOVERY_SECONDS,
    ),
    _worker(
        "streamrnn_phase_duration_seconds", "histogram", "Time the loop spent in a phase of one turn.",
        labels=("phase",), buckets=_PHASE_SECONDS,
    ),
    _worker(
        "streamrnn_batch_latency_seconds", "histogram",
        "From the poll that brought a batch's first record to the commit that covers it.", buckets=_COMMIT_SECONDS,
    ),
    _worker(
        "streamrnn_commit_duration_seconds", "histogram", "Time to flush predictions and commit offsets.",
        buckets=_COMMIT_SECONDS,
    ),
    _worker("streamrnn_commit_failures_total", "counter", "Commits that failed or stayed in doubt, when they did."),
    _worker(
        "streamrnn_poll_size_records", "histogram", "Records returned by a poll that returned any.",
        buckets=_RECORDS,
    ),
    # The broker
    _worker("streamrnn_broker_connected", "gauge", "1 while the brokers answer, 0 during an outage."),
    _worker(
        "streamrnn_broker_connections", "gauge", "The client's connections by their state.", labels=("state",),
    ),
    _worker("streamrnn_broker_last_answer_timestamp_seconds", "gauge", "When a broker last answered anything."),
    _worker("streamrnn_broker_outages_total", "counter", "Times that the brokers stopped answering."),
    _worker(
        "streamrnn_broker_failures_total", "counter",
        "Connections and requests that came to nothing for want of an answer, when they did.", labels=("request",),
    ),
    # What runs
    _worker("streamrnn_job_info", "info", "The job that runs and its model; the value is 1."),
    _worker("streamrnn_build_info", "info", "Versions that decide the bits; the value is 1."),
)  # fmt: skip


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
