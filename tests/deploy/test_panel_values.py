"""Panels show the right number, where a form of expression that looks as good shows another; promtool is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.dashboards import queries
from tests.support.programs import program

JOB = 'job="j", instance="a"'
TP = f'{JOB}, topic="t", partition="0"'


def expression(dashboard: str, title: str) -> str:
    (found,) = (query.expr for query in queries("j") if query.dashboard == dashboard and query.name == title)
    return found


def assert_value(tmp_path: Path, expr: str, at: str, expected: float, **values: str) -> None:
    """What an expression is at this time, of series that are scraped every 15 s."""
    labels = {"process_start_time_seconds": JOB, "streamrnn_rebalances_total": f'{JOB}, event="lost"'}
    series = [{"series": f"{name}{{{labels.get(name, TP)}}}", "values": text} for name, text in values.items()]
    ask = {"expr": f"sum({expr})", "eval_time": at, "exp_samples": [{"labels": "{}", "value": expected}]}
    path = tmp_path / "test.yml"
    test = {"interval": "15s", "input_series": series, "promql_expr_test": [ask]}
    path.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    run = subprocess.run(
        [program("promtool"), "test", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("counted", "started", "expected"),
    [
        pytest.param("_x40 1x400", "_x39 580x401", 1, id="born at 1 in a new process"),
        pytest.param("_x40 1x400", "-9000x440", 1, id="born at 1 in a process that was there"),
        pytest.param("1x20 _x5 1x400", "-9000x20 _x5 330x400", 1, id="one again, in the next process"),
        pytest.param("0x40 1x400", "-9000x440", 1, id="one more"),
        pytest.param("0x20 2x10 stale", "-9000x440", 2, id="of a partition that has gone since"),
        pytest.param("1x600", "-9000x600", 0, id="before the time that is looked at"),
    ],
)
@pytest.mark.parametrize(
    ("title", "metric"),
    [
        ("Inexact replays A", "streamrnn_inexact_replays_total"),
        ("Corrupt checkpoints A", "streamrnn_corrupt_checkpoints_total"),
        ("Changes of build A", "streamrnn_build_changes_total"),
    ],
)
def test_what_recovery_counts_is_seen_though_it_is_counted_before_the_first_scrape(
    tmp_path: Path, title: str, metric: str, counted: str, started: str, expected: int
) -> None:
    asked = expression("pipeline", title)
    assert_value(tmp_path, asked, "62m", expected, **{metric: counted, "process_start_time_seconds": started})


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        pytest.param("0x40 2x100", 2, id="two at once"),
        pytest.param("0x40 1x20 2x100", 2, id="two apart"),
        pytest.param("0x40 1x20 stale _x5 1x20 2x60", 2, id="with scrapes that fail in between"),
        pytest.param("0x40 3x20 stale _x5 1x100", 4, id="with a process that begins anew"),
        pytest.param("_x30 1x100", 1, id="born with it"),
    ],
)
@pytest.mark.parametrize(
    ("dashboard", "title", "metric"),
    [
        ("pipeline", "Rebalances A", "streamrnn_rebalances_total"),
        ("pipeline", "Failures A", "streamrnn_checkpoint_failures_total"),
        ("learning", "Drift alarms A", "streamrnn_drift_alarms_total"),
    ],
)
def test_each_event_is_drawn_at_one_point_and_all_points_come_to_as_many_as_there_were(
    tmp_path: Path, dashboard: str, title: str, metric: str, counted: str, expected: int
) -> None:
    drawn = f"sum_over_time(({expression(dashboard, title)})[30m:15s])"
    assert_value(tmp_path, drawn, "31m", expected, **{metric: counted})


@pytest.mark.parametrize(
    ("title", "metric"),
    [
        ("Undeliverable outputs A", "streamrnn_undeliverable_predictions_total"),
        ("Undeliverable outputs B", "streamrnn_undeliverable_dead_letters_total"),
        ("Amended outputs A", "streamrnn_amended_outputs_total"),
        ("Dead letters A", "streamrnn_dead_letters_total"),
    ],
)
def test_a_first_burst_between_two_scrapes_is_drawn(tmp_path: Path, title: str, metric: str) -> None:
    drawn = expression("pipeline", title)
    assert_value(tmp_path, drawn, "10m45s", 6 / 60, **{metric: "0x40 6x100"})


def test_mean_loss_may_be_below_0_and_skips_the_minute_in_which_a_process_begins(tmp_path: Path) -> None:
    loss = expression("learning", "Mean loss A")
    for at, began in (("30m", ""), ("31m", "stale _x3 ")):
        observed = {
            "streamrnn_prediction_loss_sum": f"-1000-15x100 {began}-15-15x100",
            "streamrnn_prediction_loss_count": f"1000+15x100 {began}15+15x100",
        }
        assert_value(tmp_path, loss, at, -1, **observed)
