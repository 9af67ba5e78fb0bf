"""The lower half of *Pipeline*: the broker, rebalances and recovery, checkpoints, streams and memory."""

from __future__ import annotations

from deploy.grafana.generate.frame import LINEAGES, Line, Section, line, section
from deploy.grafana.generate.panels import Panel, graph, number, rows
from deploy.grafana.generate.promql import (
    EACH,
    TP,
    WORKER,
    Query,
    age,
    events,
    increase,
    of,
    of_worker,
    quantile,
    quantiles,
    rate,
    since_recovery,
    total,
    worst,
)


def sections() -> tuple[Section, ...]:
    """Sections of the dashboard."""
    return (
        section("Broker", _broker(), _failures()),
        section("Rebalances and recovery", _rebalances(), _recovery()),
        section("Checkpoints", _checkpoints(), _lineages()),
        section("Streams and memory", _streams(), _resources()),
    )


def _broker() -> Line:
    return line(
        8,
        (5, (_connected(), _outages())),
        (
            10,
            graph(
                "Since the broker last answered",
                "Of each worker; a worker asks at least every few seconds.",
                "s",
                Query(age(of_worker("streamrnn_broker_last_answer_timestamp_seconds"), "instance"), "{{instance}}"),
                steps=((None, "transparent"), (120, "red")),
            ),
        ),
        (
            9,
            graph(
                "Connections",
                "The clients' connections by their state.",
                "short",
                Query(total(of_worker("streamrnn_broker_connections"), "state"), "{{state}}"),
                stacked=True,
            ),
        ),
    )


def _connected() -> Panel:
    return number(
        "Brokers answer",
        "Whether brokers answer every worker.",
        "short",
        Query(f"min({of_worker('streamrnn_broker_connected')})", "connected"),
        steps=((None, "red"), (1, "green")),
        names={"0": ("outage", "red"), "1": ("yes", "green")},
    )


def _outages() -> Panel:
    return number(
        "Outages in the time chosen",
        "Times that the brokers stopped answering a worker.",
        "short",
        Query(f"round({total(increase(of_worker('streamrnn_broker_outages_total')))})", "outages", instant=True),
        steps=((None, "green"), (1, "yellow")),
        sparkline=False,
    )


def _failures() -> Line:
    return line(
        8,
        (
            12,
            graph(
                "Requests that failed",
                "Requests to the brokers that failed or got no answer, per second, by what they were for.",
                "ops",
                Query(total(rate(of_worker("streamrnn_broker_failures_total")), "request"), "{{request}}"),
            ),
        ),
        (
            12,
            graph(
                "Commits that failed",
                "Commits that failed or stayed in doubt, per second. They are tried again; predictions may be written "
                "twice.",
                "ops",
                Query(total(rate(of_worker("streamrnn_commit_failures_total")), "instance"), "{{instance}}"),
            ),
        ),
    )


def _rebalances() -> Line:
    return line(
        8,
        (
            8,
            graph(
                "Partitions by worker",
                "How many partitions each worker has.",
                "short",
                Query(worst(of_worker("streamrnn_assigned_partitions"), "instance"), "{{instance}}"),
                stacked=True,
            ),
        ),
        (
            8,
            graph(
                "Rebalances",
                "Rebalances since the point before, each at one point, by what happened to partitions of a worker.",
                "short",
                Query(total(events(of_worker("streamrnn_rebalances_total")), "event"), "{{event}}"),
            ),
        ),
        (
            8,
            graph(
                "Length of rebalances",
                "From the first sign of a rebalance until the group was stable again.",
                "s",
                *quantiles(of_worker("streamrnn_rebalance_duration_seconds_bucket")),
                sparse=True,
            ),
        ),
    )


def _recovery() -> Line:
    return line(
        8,
        (
            8,
            graph(
                "Restore and replay, 95 %",
                "restore: from assignment until the learner was loaded; replay: from then until it predicted.",
                "s",
                Query(quantile(0.95, of_worker("streamrnn_restore_duration_seconds_bucket")), "restore"),
                Query(quantile(0.95, of_worker("streamrnn_replay_duration_seconds_bucket")), "replay"),
                sparse=True,
            ),
        ),
        (
            8,
            graph(
                "Records replayed",
                "Records processed again in recovery, per second, by partition.",
                "recps",
                Query(total(rate(of("streamrnn_replayed_records_total")), TP), EACH),
            ),
        ),
        (4, (_inexact(), _corrupt())),
        (4, (_builds(), _jumps())),
    )


def _counted(title: str, description: str, grown: str, legend: str) -> Panel:
    return number(
        title,
        f"{description} In the time chosen.",
        "short",
        Query(f"round({total(grown)})", legend, instant=True),
        steps=((None, "green"), (1, "yellow")),
        sparkline=False,
    )


def _inexact() -> Panel:
    text = "Recoveries that did not arrive at the committed digest: what is predicted may differ from before."
    return _counted("Inexact replays", text, since_recovery("streamrnn_inexact_replays_total"), "inexact")


def _corrupt() -> Panel:
    text = "Checkpoints found unusable and passed over in recovery."
    return _counted("Corrupt checkpoints", text, since_recovery("streamrnn_corrupt_checkpoints_total"), "corrupt")


def _builds() -> Panel:
    text = "Restores from a checkpoint that another build wrote: expected after an upgrade."
    return _counted("Changes of build", text, since_recovery("streamrnn_build_changes_total"), "changes")


def _jumps() -> Panel:
    text = "Far jumps of record timestamps: refused, believed or taken back."
    return _counted("Jumps of time", text, increase(of("streamrnn_time_jumps_total")), "jumps")


def _checkpoints() -> Line:
    return line(
        8,
        (
            6,
            graph(
                "Age",
                "Time since each partition's newest checkpoint: what a restart has to replay.",
                "s",
                Query(age(of("streamrnn_checkpoint_last_success_timestamp_seconds")), EACH),
            ),
        ),
        (
            6,
            graph(
                "Time to write",
                "Quantiles over partitions; writing is in the background.",
                "s",
                *quantiles(of("streamrnn_checkpoint_duration_seconds_bucket")),
                sparse=True,
            ),
        ),
        (
            6,
            graph(
                "Size",
                "Of each partition's newest checkpoint with all segments it names.",
                "bytes",
                Query(worst(of("streamrnn_checkpoint_size_bytes")), EACH),
            ),
        ),
        (
            6,
            graph(
                "Failures",
                "Checkpoints that could not be written, each at the first point after it.",
                "short",
                Query(total(events(of("streamrnn_checkpoint_failures_total")), TP), EACH),
            ),
        ),
    )


def _lineages() -> Line:
    return line(
        6,
        (
            24,
            rows(
                "Lineages",
                "The line of checkpoints that each partition goes on with. An operator's intervention, such as going "
                "on behind lost records, begins a new one.",
                Query(LINEAGES),
                names={"topic": "topic", "partition": "partition", "lineage": "lineage"},
                hidden=("Value",),
            ),
        ),
    )


def _streams() -> Line:
    held, capacity = worst(of("streamrnn_active_streams")), worst(of("streamrnn_stream_capacity"))
    return line(
        8,
        (
            6,
            graph(
                "Streams over capacity",
                "Streams with a hidden state, over those that can be kept at once (streams.max_streams). At 100 % each "
                "new stream pushes another one out.",
                "percentunit",
                Query(f"{held} / {capacity}", EACH),
                steps=((None, "transparent"), (0.9, "red")),
                high=1,
            ),
        ),
        (
            6,
            graph(
                "Streams",
                "Streams with a hidden state, of all partitions, and those of them with four records and more.",
                "short",
                Query(total(held), "streams"),
                Query(total(worst(of("streamrnn_streams_with_history"))), "with history"),
            ),
        ),
        (
            6,
            graph(
                "Evictions",
                "Streams whose state was dropped, per second, by cause. in use: streams with history that came for "
                "longer than they were silent; more capacity would have kept them.",
                "cps",
                Query(total(rate(of("streamrnn_evictions_total")), "cause"), "{{cause}}"),
                Query(total(rate(of("streamrnn_evictions_in_use_total"))), "in use"),
            ),
        ),
        (
            6,
            graph(
                "Memory of streams",
                "What the states and the keys of all streams take, of all partitions.",
                "bytes",
                Query(total(worst(of("streamrnn_state_bytes"))), "states"),
                Query(total(worst(of("streamrnn_stream_key_bytes"))), "keys"),
                stacked=True,
            ),
        ),
    )


def _resources() -> Line:
    def process(name: str) -> str:
        return f"process_{name}{{{WORKER}}}"

    descriptors = f"{process('open_fds')} / {process('max_fds')}"
    return line(
        8,
        (
            8,
            graph(
                "Processor",
                "Processors in use by each worker; the loop of a worker is one thread, and 100 % of one its limit.",
                "percentunit",
                Query(rate(process("cpu_seconds_total")), "{{instance}}"),
            ),
        ),
        (
            8,
            graph(
                "Resident memory",
                "Of each worker.",
                "bytes",
                Query(process("resident_memory_bytes"), "{{instance}}"),
            ),
        ),
        (
            8,
            graph(
                "Open files and sockets",
                "Share of what each worker may open at once.",
                "percentunit",
                Query(descriptors, "{{instance}}"),
                steps=((None, "transparent"), (0.8, "red")),
            ),
        ),
    )
