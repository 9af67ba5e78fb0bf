"""*Overview*: is it healthy, does it keep up, does it learn? Readable in ten seconds, with links to the details."""

from __future__ import annotations

from deploy.grafana.generate.frame import LEARNING, OVERVIEW, PIPELINE, Line, assemble, line, section
from deploy.grafana.generate.panels import (
    GOOD_BELOW_1,
    SKILL,
    Panel,
    below,
    graph,
    number,
    rows,
    timeline,
    to,
    words,
)
from deploy.grafana.generate.promql import (
    EACH,
    WORKER,
    Query,
    age,
    of,
    of_worker,
    quantile,
    rate,
    skill,
    state,
    total,
    worst,
)

FIRST = """
**Begin with the first tile that is not green**, from left to right.

- **Skill** below 0: the newest value of the stream, or its mean, is the better prediction. Look for drift, clamped and
  missing inputs in *Learning* before you touch the model. No label yet: nothing can be said.
- **Workers not ready**: down, or still restoring. `/healthz` and the last line of the log say why.
- **Partitions not live**: *stalled* does not go on by itself; *Pipeline* shows since when.
- **Broker silent**: Kafka does not answer. Nothing is lost; work goes on when it does.
- **Lag** grows: more workers, as long as there are partitions for them.

`deploy/MONITORING.md` has a runbook for every alert.
"""


def build() -> str:
    """The dashboard as JSON."""
    return assemble(
        OVERVIEW,
        "Healthy, keeping up, learning: the state of a job of streamrnn in one look.",
        section("", _tiles(), _what_now(), _over_time(), _losses(), _what_runs()),
    )


def _tiles() -> Line:
    return line(
        10,
        (8, _skill()),
        (4, (_workers(), _partitions())),
        (4, (_broker(), _alerts())),
        (4, (_lag_seconds(), _lag_records())),
        (4, (_throughput(), _latency())),
    )


def _skill() -> Panel:
    return number(
        "Skill of the worst partition",
        "1 - error / error of the best naive rival, on the newest predictions whose target became known: 30 % means "
        "errors 30 % smaller than those of the better of two rivals, the stream's newest value and its running mean "
        "(for classes: the last and the most frequent one). Below 0 the rival is better.",
        "percentunit",
        Query(f"min({of('streamrnn_skill')})", "skill"),
        steps=SKILL,
        link=to(LEARNING, "Learning"),
        nothing="no label yet",
        decimals=1,
    )


def _workers() -> Panel:
    up = f"count(up{{{WORKER}}})"
    return number(
        "Workers not ready",
        "Workers that Prometheus should scrape, less those that have restored their partitions and predict.",
        "short",
        Query(f"{up} - (sum({of_worker('streamrnn_ready')}) or 0 * {up})", "not ready"),
        steps=GOOD_BELOW_1,
        link=to(PIPELINE, "Pipeline"),
        nothing="no worker",
    )


def _partitions() -> Panel:
    return number(
        "Partitions not live",
        "Partitions that are restored, replayed or stalled. The first two end by themselves, as a rule within minutes.",
        "short",
        Query(f"count({state()} > 1) or 0 * count({state()})", "not live"),
        steps=GOOD_BELOW_1,
        link=to(PIPELINE, "Pipeline"),
        nothing="no partition",
    )


def _broker() -> Panel:
    return number(
        "Broker silent",
        "Time since a broker last answered anything, of the worker that has waited longest.",
        "s",
        Query(f"max({age(of_worker('streamrnn_broker_last_answer_timestamp_seconds'), 'instance')})", "silent"),
        steps=below(60, 120),
        link=to(PIPELINE, "Pipeline"),
    )


def _alerts() -> Panel:
    return number(
        "Alerts firing",
        "Firing alerts of streamrnn that Prometheus knows; always 0 where its rules are not loaded.",
        "short",
        Query(f"count({_firing()}) or vector(0)", "firing"),
        steps=GOOD_BELOW_1,
    )


def _firing() -> str:
    return 'ALERTS{alertstate="firing", alertname=~"Streamrnn.*", job=~"$job|"}'


def _lag_seconds() -> Panel:
    return number(
        "Lag in time",
        "Event time between the newest record processed and the newest one in the log, of the partition that is "
        "furthest behind.",
        "s",
        Query(f"max({of('streamrnn_input_lag_seconds')})", "behind"),
        steps=below(60, 600),
        link=to(PIPELINE, "Pipeline"),
    )


def _lag_records() -> Panel:
    return number(
        "Lag in records",
        "Records that wait, of all partitions.",
        "short",
        Query(total(worst(of("streamrnn_input_lag_records"))), "waiting"),
        steps=below(100_000, 1_000_000),
        link=to(PIPELINE, "Pipeline"),
    )


def _throughput() -> Panel:
    return number(
        "Records read",
        "Records read from the input topic per second, of all partitions; replayed ones are not counted.",
        "recps",
        Query(total(rate(of("streamrnn_records_consumed_total"))), "read"),
        link=to(PIPELINE, "Pipeline"),
    )


def _latency() -> Panel:
    return number(
        "Latency (95 %)",
        "From a record's timestamp until its prediction was acknowledged, of 95 % of the predictions.",
        "s",
        Query(quantile(0.95, of("streamrnn_prediction_latency_seconds_bucket")), "95 %"),
        steps=below(5, 60),
        link=to(PIPELINE, "Pipeline"),
        nothing="no prediction",
    )


def _what_now() -> Line:
    return line(
        11,
        (8, words("What to do first", "How to read this dashboard, and what to do about what it shows.", FIRST)),
        (
            10,
            timeline(
                "State of partitions",
                "What each partition is doing. After a start or a rebalance: restoring, replaying, live.",
                Query(state(), EACH),
            ),
        ),
        (
            6,
            rows(
                "Alerts that fire",
                "Firing alerts of streamrnn, with their severity. The handbook has a runbook for each.",
                Query(f"max by (alertname, severity, partition) ({_firing()})"),
                names={"alertname": "alert", "severity": "severity", "partition": "partition"},
                hidden=("Value",),
                sort="alert",
            ),
        ),
    )


def _over_time() -> Line:
    return line(
        8,
        (
            12,
            graph(
                "Skill by partition",
                "1 - error / error of the best naive rival, of each partition. The dashed line is the rival itself.",
                "percentunit",
                Query(skill(), EACH),
                steps=((None, "transparent"), (0, "red")),
                low=None,
            ),
        ),
        (
            12,
            graph(
                "Lag in time by partition",
                "Event time between the newest record processed and the newest one in the log, of each partition.",
                "s",
                Query(worst(of("streamrnn_input_lag_seconds")), EACH),
                steps=((None, "transparent"), (600, "red")),
            ),
        ),
    )


def _losses() -> Line:
    return line(
        8,
        (
            8,
            graph(
                "Dead letters by reason",
                "Records per second that could not be used and went to the dead-letter topic.",
                "recps",
                Query(total(rate(of("streamrnn_dead_letters_total")), "reason"), "{{reason}}"),
                nothing="none",
            ),
        ),
        (
            8,
            graph(
                "Failures",
                "Requests to the brokers, commits and checkpoints that failed, per second.",
                "ops",
                Query(total(rate(of_worker("streamrnn_broker_failures_total"))), "requests"),
                Query(total(rate(of_worker("streamrnn_commit_failures_total"))), "commits"),
                Query(total(rate(of("streamrnn_checkpoint_failures_total"))), "checkpoints"),
            ),
        ),
        (
            8,
            graph(
                "Age of checkpoints",
                "Time since each partition's newest checkpoint: what a restart has to replay.",
                "s",
                Query(age(of("streamrnn_checkpoint_last_success_timestamp_seconds")), EACH),
            ),
        ),
    )


def _what_runs() -> Line:
    job = {"job_name": "job", "input_topic": "input", "output_topic": "output", "delivery": "delivery"}
    model = {"known": "target known by", "cell": "cell", "gates": "gates", "hidden_size": "units"}
    model |= {"num_layers": "layers", "hidden_layer": "tanh layer", "memory": "memory"}
    learning = {"rule": "learns by", "k1": "k1", "k2": "k2", "optimizer": "optimizer"}
    rest = {"readout": "readout", "loss": "loss", "dtype": "dtype"}
    shown = job | model | learning | rest
    return line(
        6,
        (
            24,
            rows(
                "What runs",
                "The job of each worker, its model, and the version of streamrnn.",
                Query(f"max by ({', '.join(('instance', *shown))}) ({of_worker('streamrnn_job_info')})"),
                Query(f"max by (instance, streamrnn) ({of_worker('streamrnn_build_info')})"),
                names={"instance": "worker", "streamrnn": "version", **shown},
                hidden=("Value #A", "Value #B"),
                sort="worker",
            ),
        ),
    )
