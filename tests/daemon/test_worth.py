"""Skill, rivals, intervals and labels in a partition's metrics, while it goes on and after a restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.daemon import worth
from streamrnn.daemon.metrics import Metrics, PartitionMetrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.skill import rivals_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.jobs import job
from tests.support.scenario import Scenario

TP = TopicPartition("in", 0)
LABELS = {"topic": "in", "partition": "0"}
NO_FEATURES = "[{field: x, encoder: numeric}]"


class Worker:
    """A partition, and what its metrics show."""

    def __init__(self, config: Config) -> None:
        job_ = Job(config)
        self.registry = CollectorRegistry()
        start = Start(lineage="a", position=0, ordinal=0, replay_until=0)
        self.partition = Partition(job_, TP, Metrics(self.registry), job_.first_learner(TP), start)

    def give(self, *values: dict[str, Any], seconds: tuple[int, ...] = ()) -> None:
        """One batch of one stream."""
        first = self.partition.ordinal
        times = seconds or tuple(range(first, first + len(values)))
        self.partition.process(Records.of([
            Record("in", 0, first + i, 1000 * time, b"k", json.dumps({"x": 0.5, **value}).encode())
            for i, (value, time) in enumerate(zip(values, times, strict=True))
        ]))  # fmt: skip

    def value(self, name: str, **labels: str) -> float | None:
        self.partition.show(None)
        return self.registry.get_sample_value(f"streamrnn_{name}", {**LABELS, **labels})


def ys(*values: float | None) -> list[dict[str, Any]]:
    return [{"y": value} for value in values]


def test_errors_of_rivals_are_summed_up_over_the_predictions_that_the_model_s_are() -> None:
    worker = Worker(job(features=NO_FEATURES))
    assert worker.value("skill", rival="last") is None
    assert worker.value("rival_error_count", rival="last") is None
    worker.give(*ys(2, None, 3))
    worker.give(*ys(7))
    # Of 2 nothing; 2 and 3 instead of 3 and 7; and the means 2 and 5/2.
    assert worker.value("rival_error_sum", rival="last") == 1 + 4
    assert worker.value("rival_error_sum", rival="mean") == 1 + 4.5
    assert worker.value("absolute_error_count") == 3, "what the model says is scored from the first"
    for rival in ("last", "mean"):
        assert worker.value("rival_error_count", rival=rival) == 2
    error = worker.value("absolute_error_sum")
    assert error is not None
    error -= 2  # what the model said first, of 2, was 0
    assert worker.value("skill", rival="last") == pytest.approx(1 - error / 5, abs=1e-3)
    assert worker.value("skill", rival="mean") == pytest.approx(1 - error / 5.5, abs=1e-3)
    assert worker.value("interval_level") is None


def test_rivals_of_classes_have_other_names() -> None:
    worker = Worker(job(features=NO_FEATURES, target="{fields: [y], classes: [a, b]}", model="{readout: softmax}"))
    worker.give(*[{"y": c} for c in "abbba"])
    assert worker.value("rival_error_sum", rival="last") == 2
    assert worker.value("rival_error_sum", rival="most_frequent") == 3
    assert worker.value("skill", rival="most_frequent") is not None
    assert worker.value("skill", rival="mean") is None


def test_intervals_show_their_level_how_often_they_hit_and_how_wide_they_are() -> None:
    worker = Worker(job(features=NO_FEATURES, model="{loss: quantile, quantiles: [0.1, 0.5, 0.9]}"))
    assert worker.value("interval_level") == 0.8
    assert worker.value("interval_width_count") == 0
    worker.give(*ys(*np.random.default_rng(1).normal(size=50).tolist(), None))
    counts = worker.partition.learner.counters()
    assert worker.value("interval_targets_total") == worker.value("interval_width_count") == 50
    assert worker.value("interval_hits_total") == counts["interval_hits"] > 0
    width = worker.value("interval_width_sum")
    assert width is not None
    assert width > 0


def test_labels_show_how_late_they_were_and_how_many_were_lost() -> None:
    target = "{fields: [y], known: label, event_field: id, label_field: of, label_memory: 2}"
    worker = Worker(job(features=NO_FEATURES, target=target))
    worker.give(
        {"id": 1},
        {"id": 2},
        {"of": 1, "y": 5},
        {"id": 3},
        {"id": 4},
        {"of": 4, "y": 6},
        seconds=(0, 10, 30, 31, 32, 40),
    )
    assert worker.value("label_delay_seconds_sum") == 30 + 8
    assert worker.value("label_delay_seconds_count") == 2
    assert worker.value("lost_labels_total") == 1, "that of 2"


def test_labels_in_order_are_learned_at_once_and_one_that_comes_after_those_of_newer_events_is_counted() -> None:
    target = "{fields: [y], known: label, event_field: id, label_field: of, label_memory: 50}"
    model = "{cell: elstm, hidden_size: 4}"
    worker = Worker(job(features=NO_FEATURES, target=target, model=model))
    for i in range(1, 31):
        worker.give({"id": i}, *([] if i % 3 == 0 else [{"of": i, "y": i % 7}]))
    assert worker.value("updates_total") == 20, "though the label of every third never came"
    worker.give({"of": 3, "y": 3})
    assert worker.value("updates_total") == 20
    assert worker.value("passed_labels_total") == worker.value("late_labels_total") == 1


def test_skill_is_there_again_right_after_a_restore_and_nothing_counts_twice(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    scenario.fill(200)
    before = scenario.run()
    after = scenario.run()
    for rival in ("last", "mean"):
        shown = before.value("streamrnn_skill", topic="in", partition="0", rival=rival)
        assert shown == after.value("streamrnn_skill", topic="in", partition="0", rival=rival) < 1
        assert before.value("streamrnn_rival_error_count", topic="in", partition="0", rival=rival) > 100
        assert after.registry.get_sample_value("streamrnn_rival_error_count", {**LABELS, "rival": rival}) is None


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_errors_of_rivals_are_left_out_where_the_model_s_are(bad: float) -> None:
    registry, spec = CollectorRegistry(), LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
    metrics: PartitionMetrics = Metrics(registry).partition(TP)
    nothing = np.full(2, np.nan)
    for error in (np.array([bad, 1.0]), np.array([2.0, 1.0])):
        rivals = np.array([[3.0, 4.0], [5.0, 6.0]])
        worth.add(metrics, spec, Predictions(nothing, nothing, error, error, nothing, rivals, nothing, rivals, nothing))
    sums = [registry.get_sample_value("streamrnn_rival_error_sum", {**LABELS, "rival": r}) for r in rivals_of(spec)]
    assert sums == ([8 + 5, 10 + 6] if np.isnan(bad) else [8, 10])
