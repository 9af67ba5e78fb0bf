"""What a partition shows of how its learner learns: what the learner holds, from the moment it is restored on."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.daemon import drift_alarms
from streamrnn.daemon.learning import MOST_COLUMNS
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner import gauges
from tests.support.jobs import job

TP = TopicPartition("in", 0)
X = "[{field: x, encoder: numeric}]"
SMALL = "{cell: gru, hidden_size: 2}"


class Worker:
    """A partition that is given records of one stream, one after the other."""

    def __init__(self, config: Config, replay_until: int = 0, saved: Any = None) -> None:
        job_, self.registry = Job(config), CollectorRegistry()
        learner, self.given = job_.first_learner(TP), 0
        if saved is not None:
            learner.resume(saved)
        start = Start(lineage="a", position=0, ordinal=0, replay_until=replay_until)
        self.partition = Partition(job_, TP, Metrics(self.registry), learner, start)

    def give(self, values: list[dict[str, Any]], cut: int = 100) -> None:
        for i in range(0, len(values), cut):
            records = [
                Record("in", 0, self.given + k, 1000 * (self.given + k), b"k", json.dumps(value).encode())
                for k, value in enumerate(values[i : i + cut])
            ]
            self.given += len(records)
            if live := self.partition.replay(Records.of(records)):
                self.partition.process(live)

    def samples(self, name: str) -> dict[str, float]:
        """By their last label, "" where there is none."""
        self.partition.show(None)
        found = {}
        for family in self.registry.collect():
            for sample in family.samples:
                if sample.name == f"streamrnn_{name}":
                    labels = {k: v for k, v in sample.labels.items() if k not in ("topic", "partition")}
                    found["".join(labels.values())] = sample.value
        return found


def log(n: int, seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{"x": x, "y": y, **more} for x, y in rng.normal(size=(n, 2)).round(3).tolist()]


def test_what_is_shown_is_what_the_learner_holds() -> None:
    worker = Worker(job(features=X, model="{cell: lstm, hidden_size: 2, readout: rls}"))
    assert worker.samples("update_to_weight_ratio") == worker.samples("gradient_reach_steps") == {}
    assert worker.samples("state_gradient_norm") == worker.samples("input_drift") == {}
    assert worker.samples("weight_norm")[""] > 0
    worker.give(log(3_000))
    model = worker.partition.learner.model_arrays()
    assert worker.samples("weight_norm") == {"": gauges.weight_norm(model)}
    assert worker.samples("update_to_weight_ratio") == {"": gauges.update_to_weight_ratio(model)}
    norms = gauges.state_gradient_norms(model)
    assert worker.samples("state_gradient_norm") == {str(steps): norm for steps, norm in norms.items()}
    assert list(norms) == [0, 1, 2, 4, 8, 16, 32]
    assert worker.samples("gradient_reach_steps") == {"": gauges.gradient_reach_steps(norms)}
    assert worker.samples("mixture_share") == gauges.mixture_shares(model)
    assert sum(worker.samples("mixture_share").values()) == pytest.approx(1.0)
    assert worker.samples("input_drift") == dict(zip(("x", "inputs.dt"), gauges.input_drift(model), strict=True))


def test_it_is_there_right_after_a_restore_and_the_same() -> None:
    before = Worker(job(features=X, model=SMALL))
    before.give(log(3_000))
    after = Worker(job(features=X, model=SMALL), saved=before.partition.learner.state().copy())
    for name in ("weight_norm", "update_to_weight_ratio", "state_gradient_norm", "gradient_reach_steps", "input_drift"):
        assert after.samples(name) == before.samples(name) != {}, name


def test_numbers_that_are_none_have_no_sample() -> None:
    worker = Worker(job(features=X, model=SMALL))
    worker.give(log(1_000))
    model = worker.partition.learner.model_arrays()
    model["state_gradient"][1] = math.inf
    assert "1" not in worker.samples("state_gradient_norm")
    assert "0" in worker.samples("state_gradient_norm")


# -- fields out of bounds ---------------------------------------------------------------------------------------------


def clamped(values: list[dict[str, Any]], replay_until: int = 0, cut: int = 100, **config: str) -> dict[str, float]:
    worker = Worker(job(**({"features": X, "model": SMALL} | config)), replay_until)
    worker.give(values, cut)
    return worker.samples("field_clamped_total")


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_values_out_of_bounds_are_counted_by_field_features_and_targets(cut: int) -> None:
    values = log(400)
    usual = clamped(values, cut=cut)
    assert set(usual) == {"x", "y"}
    values[200]["x"] = values[300]["x"] = 1e6
    values[250]["y"] = -1e6
    assert clamped(values, cut=cut) == {"x": usual["x"] + 2, "y": usual["y"] + 1}


def test_replayed_values_are_not_counted_again() -> None:
    values = log(400)
    values[200]["x"] = values[300]["x"] = 1e6
    assert clamped(values, replay_until=250) == {"x": 1, "y": 0}
    assert clamped(values, replay_until=400) == {"x": 0, "y": 0}


def test_a_value_counts_once_however_many_columns_its_field_has_and_categories_never() -> None:
    features = "[{field: x, encoder: numeric}, {field: x, encoder: log1p}, {field: c, encoder: hash, buckets: 2}]"
    values = log(400, c="a")
    values[200]["x"] = 1e6  # far out in both columns
    before = clamped(values[:200], features=features)
    assert clamped(values, features=features) == {"x": before["x"] + 1, "y": before["y"]}


def test_of_classes_only_features_can_be_out_of_bounds() -> None:
    values = [{"x": value["x"], "y": value["y"] > 0} for value in log(100)]
    assert set(clamped(values, target="{fields: [y], classes: ['true', 'false']}", model="{readout: softmax}")) == {"x"}


# -- drift ------------------------------------------------------------------------------------------------------------


def test_the_column_that_drifts_is_named_and_no_category_is_shown() -> None:
    category = "{field: c, encoder: onehot, categories: [a]}"
    worker = Worker(job(features=f"[{{field: x, encoder: numeric}}, {{field: z, encoder: log1p}}, {category}]"))
    values = log(4_000, z=1.0, c="a")
    for value in values[2_000:]:
        value["x"] += 3.0
    worker.give(values, cut=1_000)
    drift = worker.samples("input_drift")
    assert set(drift) == {"x", "log1p(z)", "inputs.dt"}
    assert drift["x"] > 0.3
    assert drift["log1p(z)"] == drift["inputs.dt"] == 0.0  # a second each


def test_no_more_columns_are_shown_than_there_is_room_for_and_always_the_same() -> None:
    features = "[" + ", ".join(f"{{field: f{i}, encoder: numeric}}" for i in range(MOST_COLUMNS + 10)) + "]"
    worker = Worker(job(features=features, model=SMALL))
    worker.give([{f"f{i}": value["x"] for i in range(MOST_COLUMNS + 10)} for value in log(1_100)], cut=1_100)
    assert list(worker.samples("input_drift")) == [f"f{i}" for i in range(MOST_COLUMNS)]


def test_where_another_job_takes_over_columns_and_steps_that_it_does_not_have_are_gone() -> None:
    worker = Worker(job(features="[{field: x, encoder: numeric}, {field: gone, encoder: numeric}]", model=SMALL))
    worker.give(log(2_000, gone=1.0))
    assert "gone" in worker.samples("input_drift")
    other = Worker(job(features=X, model=SMALL))
    other.give(log(10))
    worker.partition.go_on(other.partition.job, other.partition.learner)
    assert worker.samples("input_drift") == {}
    for count in ("present", "missing", "clamped"):
        assert set(worker.samples(f"field_{count}_total")) == {"x", "y"}
    assert worker.samples("field_present_total")["x"] == 2_000, "what is still read counts on"
    assert worker.samples("state_gradient_norm") == other.samples("state_gradient_norm")


def test_where_another_job_takes_over_shares_and_rivals_that_it_does_not_have_are_gone() -> None:
    worker = Worker(job(features=X, model="{readout: rls, hidden_size: 4}"))
    worker.give(log(200))
    assert set(worker.samples("skill")) == {"last", "mean"}
    assert worker.samples("mixture_share") != {}
    target = "{fields: [y], classes: [a, b]}"
    other = Worker(job(features=X, target=target, model="{readout: softmax, hidden_size: 4}"))
    other.give([{"x": 0.5, "y": c} for c in "aabab"])
    worker.partition.go_on(other.partition.job, other.partition.learner)
    assert worker.samples("mixture_share") == {}
    assert worker.samples("skill") == other.samples("skill")
    assert set(worker.samples("skill")) == {"last", "most_frequent"}


# -- alarms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [100, 333])
def test_a_log_whose_error_jumps_is_one_alarm_near_the_jump_and_a_stationary_one_none(cut: int) -> None:
    drift_alarms.RIVER.adwin()
    drift_alarms.RIVER.join()
    calm, jumping = (Worker(job(features=X, model=SMALL)) for _ in range(2))
    values = log(12_000)
    calm.give(values, cut)
    assert calm.samples("drift_alarms_total") == {"": 0}
    for i, value in enumerate(values[8_000:]):
        value["y"] = 4.0 * value["y"] + (3.0 if i % 2 else -3.0) * (i % 5)
    jumping.give(values[:8_000], cut)
    assert jumping.samples("drift_alarms_total") == {"": 0}
    jumping.give(values[8_000:9_000], cut)
    assert jumping.samples("drift_alarms_total") == {"": 1}
    jumping.give(values[9_000:], cut)
    assert jumping.samples("drift_alarms_total") == {"": 1}


def test_classes_that_become_unpredictable_are_an_alarm() -> None:
    drift_alarms.RIVER.adwin()
    drift_alarms.RIVER.join()
    worker = Worker(
        job(features=X, target="{fields: [y], classes: ['true', 'false']}", model="{readout: softmax, hidden_size: 4}")
    )
    values = [{"x": value["x"], "y": value["x"] > 0} for value in log(12_000)]
    worker.give(values)
    assert worker.samples("drift_alarms_total") == {"": 0}
    worker.give([{"x": value["x"], "y": value["y"] > 0} for value in log(3_000, seed=1)])
    assert worker.samples("drift_alarms_total") == {"": 1}


def test_replayed_errors_are_no_alarm() -> None:
    worker = Worker(job(features=X, model=SMALL), replay_until=4_000)
    values = log(4_000)
    for value in values[2_000:]:
        value["y"] *= 100.0
    worker.give(values)
    assert worker.samples("drift_alarms_total") == {"": 0}
