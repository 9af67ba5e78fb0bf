"""*Pipeline*: from the broker through the worker and back: state, lag, latency, phases; the rest is in ``recovery``."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from deploy.grafana.generate import recovery
from deploy.grafana.generate.frame import PIPELINE, Line, assemble, line, section
from deploy.grafana.generate.panels import Steps, clouds, graph, rows, timeline, words
from deploy.grafana.generate.promql import (
    EACH,
    TP,
    Query,
    age,
    lately,
    of,
    of_worker,
    quantile,
    quantiles,
    rate,
    state,
    total,
    worst,
)

LATE: Steps = ((None, "transparent"), (600, "red"))
IDLE = [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "#808080"})]
FIRST = """
**From the top:** which partition, since when, and where does the time go?

- **Lag grows, phases busy**: the worker is at its limit; the phase with the largest share says of what. More workers
  help as long as there are partitions.
- **Lag grows, phases idle**: the broker or the network; see *Broker*.
- **Last record long ago, no lag**: nothing comes in. Ask the producer.
- **Stalled**: the log says what the partition waits for.
- **Inexact replay**: predictions since the restart may differ from those before; see the runbook.
- **Age of checkpoints grows**: the disk; a restart takes longer by as much.
"""


def build() -> str:
    """The dashboard as JSON."""
    return assemble(
        PIPELINE,
        "From the broker through the workers of a job of streamrnn and back, partition by partition.",
        section("Partitions", _partitions(), _states()),
        section("Throughput and lag", _throughput(), _lag()),
        section("Latency", _latency()),
        section("Where the time goes", _phases()),
        *recovery.sections(),
        section("What did not get through", _losses()),
    )


def _partitions() -> Line:
    asked = (
        state(),
        worst(of("streamrnn_input_lag_records")),
        worst(of("streamrnn_input_lag_seconds")),
        age(of("streamrnn_last_record_timestamp_seconds")),
        worst(of("streamrnn_position_offset")),
        worst(of("streamrnn_committed_offset")),
        age(of("streamrnn_checkpoint_last_success_timestamp_seconds")),
        worst(of("streamrnn_active_streams")),
        worst(of("streamrnn_model_parameters")),
    )
    shown = (
        "state", "records behind", "time behind", "last record", "position", "committed", "checkpoint",
        "streams", "weights",
    )  # fmt: skip
    columns = {f"Value #{letter}": name for letter, name in zip("ABCDEFGHI", shown, strict=True)}
    return line(
        9,
        (
            24,
            rows(
                "Partitions",
                "Each partition now: its state, how far behind it is in records and in event time, when it last "
                "processed a record, its offsets, the age of its newest checkpoint, its streams and weights.",
                *map(Query, asked),
                names={"topic": "topic", "partition": "partition", **columns},
                units={"time behind": "s", "last record": "s", "checkpoint": "s", "position": "none",
                       "committed": "none"},
                state="state",
            ),
        ),
    )  # fmt: skip


def _states() -> Line:
    return line(
        9,
        (
            16,
            timeline(
                "State of partitions",
                "What each partition was doing. After a start or a rebalance: restoring, replaying, live.",
                Query(state(), EACH),
            ),
        ),
        (8, words("What to do first", "How to read this dashboard, and what to do about what it shows.", FIRST)),
    )


def _throughput() -> Line:
    return line(
        8,
        (
            8,
            graph(
                "Records read by partition",
                "Per second; replayed ones are not counted.",
                "recps",
                Query(total(rate(of("streamrnn_records_consumed_total")), TP), EACH),
            ),
        ),
        (
            8,
            graph(
                "What became of them",
                "Records per second: predicted for, labels of earlier events, filtered by input.where, tombstones.",
                "recps",
                Query(total(rate(of("streamrnn_records_predicted_total"))), "predicted"),
                Query(total(rate(of("streamrnn_label_records_total"))), "labels"),
                Query(total(rate(of("streamrnn_records_filtered_total"))), "filtered"),
                Query(total(rate(of("streamrnn_tombstones_total"))), "tombstones"),
            ),
        ),
        (
            8,
            graph(
                "Records of a poll",
                "Quantiles of the number of records that a poll returned; large ones show a worker that catches up.",
                "short",
                *quantiles(of_worker("streamrnn_poll_size_records_bucket")),
            ),
        ),
    )


def _lag() -> Line:
    return line(
        8,
        (
            6,
            graph(
                "Lag in records",
                "Offsets between the position and the newest end of the log.",
                "short",
                Query(worst(of("streamrnn_input_lag_records")), EACH),
            ),
        ),
        (
            6,
            graph(
                "Lag in time",
                "Event time between the newest record processed and the newest one in the log.",
                "s",
                Query(worst(of("streamrnn_input_lag_seconds")), EACH),
                steps=LATE,
            ),
        ),
        (
            6,
            graph(
                "Since the last record",
                "Time since a record of the partition was last processed.",
                "s",
                Query(age(of("streamrnn_last_record_timestamp_seconds")), EACH),
            ),
        ),
        (
            6,
            graph(
                "Stream time behind the clock",
                "How far the newest timestamp seen is behind the clock. Below 0 records come from the future.",
                "s",
                Query(age(of("streamrnn_stream_timestamp_seconds")), EACH),
                low=None,
            ),
        ),
    )


def _latency() -> Line:
    buckets = of("streamrnn_prediction_latency_seconds_bucket")
    return line(
        8,
        (
            8,
            graph(
                "Record to prediction, 95 %",
                "From a record's timestamp until its prediction was acknowledged, of each partition.",
                "s",
                Query(quantile(0.95, buckets, TP), EACH),
                logarithmic=True,
            ),
        ),
        (
            8,
            clouds(
                "Record to prediction",
                "How many predictions took how long, from the record's timestamp until the acknowledgement.",
                "s",
                Query(total(lately(buckets), "le")),
            ),
        ),
        (
            8,
            graph(
                "Poll to commit",
                "From the poll that brought a batch's first record to the commit that covers it.",
                "s",
                *quantiles(of_worker("streamrnn_batch_latency_seconds_bucket")),
            ),
        ),
    )


def _phases() -> Line:
    spent = of_worker("streamrnn_phase_duration_seconds_sum")
    return line(
        9,
        (
            12,
            graph(
                "Share of time by phase",
                "Of the workers' time, mean of workers. poll includes waiting for records: a worker without it is at "
                "its limit.",
                "percentunit",
                Query(f"avg by (phase) ({rate(spent)})", "{{phase}}"),
                stacked=True,
            ).override_by_name("poll", IDLE),
        ),
        (
            6,
            graph(
                "Length of phases, 95 %",
                "Of one turn of the loop.",
                "s",
                Query(quantile(0.95, of_worker("streamrnn_phase_duration_seconds_bucket"), "phase"), "{{phase}}"),
                logarithmic=True,
            ),
        ),
        (
            6,
            graph(
                "Commits",
                "Time to flush predictions and commit offsets.",
                "s",
                *quantiles(of_worker("streamrnn_commit_duration_seconds_bucket")),
            ),
        ),
    )


def _losses() -> Line:
    dead = f"{total(rate(of('streamrnn_dead_letters_total')), 'reason')}"
    refused = "streamrnn_undeliverable_predictions_total", "streamrnn_undeliverable_dead_letters_total"
    return line(
        8,
        (
            8,
            graph(
                "Dead letters",
                "Records per second that could not be used and went to the dead-letter topic, by reason.",
                "recps",
                Query(dead, "{{reason}}"),
                nothing="none",
            ),
        ),
        (
            8,
            graph(
                "Amended outputs",
                "Outputs per second that their topic took only shortened, with a key, or stamped with the present.",
                "recps",
                Query(total(rate(of("streamrnn_amended_outputs_total")), "reason"), "{{reason}}"),
                nothing="none",
            ),
        ),
        (
            8,
            graph(
                "Undeliverable outputs",
                "Outputs per second that their topic refused for good: predictions, of which a dead letter is written, "
                "and dead letters, which are gone.",
                "recps",
                Query(total(rate(of(refused[0])), "reason"), "prediction: {{reason}}"),
                Query(total(rate(of(refused[1])), "reason"), "dead letter: {{reason}}"),
                nothing="none",
            ),
        ),
    )
