"""What the daemon's own page shows, as one document: read from metrics, health and history, nothing computed twice.

What is not known yet is null. Numbers over all partitions are sums where they add up, the worst partition's where an
operator must look at that one, and a mean with the range beside it for skill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.endpoint import words
from streamrnn.daemon.endpoint.history import History, Latency
from streamrnn.daemon.endpoint.samples import Samples
from streamrnn.daemon.health import Health

_P = "streamrnn_"
_GAUGES = (
    "partition_state", "broker_connected", "broker_last_answer_timestamp_seconds", "input_lag_records",
    "input_lag_seconds", "last_record_timestamp_seconds", "skill", "state_gradient_norm", "gradient_reach_steps",
    "checkpoint_last_success_timestamp_seconds", "checkpoint_size_bytes", "position_offset", "active_streams",
    "stream_capacity", "model_parameters", "job_info", "build_info",
)  # fmt: skip
_COUNTERS = (
    "dead_letters_total", "undeliverable_predictions_total", "undeliverable_dead_letters_total",
    "field_present_total", "field_missing_total", "checkpoint_failures_total", "inexact_replays_total",
    "commit_failures_total", "lost_labels_total", "updates_total", "records_consumed_total", "drift_alarms_total",
)  # fmt: skip
NAMES = tuple(_P + name for name in (*_GAUGES, *_COUNTERS))
STATES = ("restoring", "replaying", "live", "stalled")


class Status:
    """Makes the document. ``clock`` tells seconds since the epoch, as the metrics' timestamps do."""

    def __init__(
        self, registry: CollectorRegistry, health: Health, history: History, clock: Callable[[], float] = time.time
    ) -> None:
        self._registry, self._health, self._history, self._clock = registry, health, history, clock
        self._latency = Latency(registry, clock)

    def word(self) -> words.Word:
        """How the worker is, in words."""
        return self._word(Samples.of(self._registry, NAMES[:4]))

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        samples, now = Samples.of(self._registry, NAMES), self._clock()
        self._latency.look()
        word, skills = self._word(samples), _skills(samples)
        return {
            "now": now,
            "build": _labels(samples, "build_info"),
            "job": _labels(samples, "job_info"),
            "state": {"word": word.word, "sentence": word.sentence, "good": word.good},
            "warnings": _warnings(samples, skills),
            "records_per_second": self._history.rate(),
            "lag": {
                "records": _sum(samples.by_partition(f"{_P}input_lag_records")),
                "seconds": _most(samples.by_partition(f"{_P}input_lag_seconds")),
            },
            "latency": {"median_s": self._latency.quantile(0.5), "p99_s": self._latency.quantile(0.99)},
            "skill": skills,
            "rivals": words.RIVALS,
            "history": self._history.charts(),
            "reach": _reach(samples),
            "checkpoint": _checkpoint(samples, now),
            "model": {
                "parameters": _most(samples.by_partition(f"{_P}model_parameters")),
                "updates": _sum(samples.by_partition(f"{_P}updates_total")),
                "streams": _sum(samples.by_partition(f"{_P}active_streams")),
            },
            "partitions": self._partitions(samples, now),
        }

    def _word(self, samples: Samples) -> words.Word:
        healthy, detail = self._health.healthy()
        standby = self._health.ready()[1]["standby"]
        answered = samples.one(f"{_P}broker_last_answer_timestamp_seconds") or None  # 0 before the first answer
        return words.state(
            words.Situation(
                states={str(tp): state for tp, state in self._states(samples).items()},
                behind=_sum(samples.by_partition(f"{_P}input_lag_records")),
                standby=standby,
                silent_s=detail["loop_silent_s"],
                hung=not healthy and detail["loop_silent_s"] > detail["stall_after_s"],
                away_since_s=None if samples.one(f"{_P}broker_connected") else answered,
            )
        )

    def _states(self, samples: Samples) -> dict[TopicPartition, str]:
        """The state of every assigned partition, by the metric or, where that has none, by what the probes say."""
        alive = {_tp(one): one["healthy"] for one in self._health.healthy()[1]["partitions"]}
        states = {}
        for one in self._health.ready()[1]["partitions"]:
            tp = _tp(one)
            states[tp] = "restoring" if not one["restored"] else "live" if alive.get(tp, True) else "stalled"
        for state, values in samples.by_label(f"{_P}partition_state", "state").items():
            states |= {tp: state for tp, value in values.items() if value == 1}
        return dict(sorted(states.items()))

    def _partitions(self, samples: Samples, now: float) -> list[dict[str, Any]]:
        names = ("input_lag_records", "input_lag_seconds", "position_offset", "active_streams", "gradient_reach_steps")
        columns = {name: samples.by_partition(_P + name) for name in names}
        last = samples.by_partition(f"{_P}last_record_timestamp_seconds")
        skill = samples.by_label(f"{_P}skill", "rival")
        return [
            {
                "topic": tp.topic,
                "partition": tp.partition,
                "state": state,
                **{name: values.get(tp) for name, values in columns.items()},
                "last_record_age_s": None if tp not in last else max(0.0, now - last[tp]),
                "skill": {rival: values[tp] for rival, values in skill.items() if tp in values},
            }
            for tp, state in self._states(samples).items()
        ]


def _skills(samples: Samples) -> list[dict[str, Any]]:
    """Skill against each rival: the mean of the partitions, and how far they are apart."""
    return [
        {"rival": rival, "skill": sum(values.values()) / len(values), "lowest": min(values.values()),
         "highest": max(values.values())}
        for rival, values in samples.by_label(f"{_P}skill", "rival").items()
    ]  # fmt: skip


def _reach(samples: Samples) -> dict[str, Any]:
    """How far back the partitions learn, and the gradients of the one that reaches least far."""
    steps = samples.by_partition(f"{_P}gradient_reach_steps")
    norms = samples.by_label(f"{_P}state_gradient_norm", "steps")
    least = min(steps, key=lambda tp: steps[tp], default=None)
    return {
        "lowest": None if least is None else steps[least],
        "highest": _most(steps),
        "partition": None if least is None else str(least),
        "norms": sorted([int(j), values[least]] for j, values in norms.items() if least in values),
    }


def _checkpoint(samples: Samples, now: float) -> dict[str, Any]:
    written = samples.by_partition(f"{_P}checkpoint_last_success_timestamp_seconds")
    oldest = min(written.values(), default=None)
    return {
        "oldest_age_s": None if oldest is None else max(0.0, now - oldest),
        "bytes": _sum(samples.by_partition(f"{_P}checkpoint_size_bytes")),
        "failures": _sum(samples.by_partition(f"{_P}checkpoint_failures_total")),
    }


def _warnings(samples: Samples, skills: list[dict[str, Any]]) -> list[str]:
    def by(name: str, label: str) -> dict[str, float]:
        return {of: sum(values.values()) for of, values in samples.by_label(_P + name, label).items()}

    def total(name: str) -> dict[str, float]:
        return {"": sum(samples.by_partition(_P + name).values())}

    commit_failures = samples.one(f"{_P}commit_failures_total") or 0.0
    return [
        *words.worse_than([(one["rival"], one["skill"]) for one in skills]),
        *words.counted(by("dead_letters_total", "reason"), "record", "went to the dead-letter topic"),
        *words.counted(by("undeliverable_predictions_total", "reason"), "prediction", "could not be delivered"),
        *words.counted(by("undeliverable_dead_letters_total", "reason"), "dead letter", "could not be delivered"),
        *words.missing_fields(by("field_present_total", "field"), by("field_missing_total", "field")),
        *words.counted(total("checkpoint_failures_total"), "checkpoint", "could not be written"),
        *words.counted(total("inexact_replays_total"), "replay", "did not arrive where the run before had been"),
        *words.counted({"": commit_failures}, "commit", "failed or stayed in doubt"),
        *words.counted(total("lost_labels_total"), "event", "went without a label"),
        *words.counted(total("drift_alarms_total"), "change", "of the error was found by ADWIN"),
    ]


def _labels(samples: Samples, name: str) -> dict[str, str] | None:
    """What an info says; None before it says anything."""
    return next(iter(samples.labels(_P + name)), None) or None


def _tp(one: Mapping[str, Any]) -> TopicPartition:
    return TopicPartition(one["topic"], one["partition"])


def _sum(values: Mapping[TopicPartition, float]) -> float | None:
    return sum(values.values()) if values else None


def _most(values: Mapping[TopicPartition, float]) -> float | None:
    return max(values.values(), default=None)
