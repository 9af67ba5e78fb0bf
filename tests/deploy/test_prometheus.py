"""Scrape configuration, recording rules and alerts, as promtool sees them; ``test_live_kafka`` asks a real server."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamrnn.daemon import metric_table
from streamrnn.daemon.endpoint.words import WORSE
from tests.deploy.alerts import PROMETHEUS, RULE_FILES, alerts, markdown, rules
from tests.support.programs import program

CONFIGURATION = PROMETHEUS / "prometheus.yml"
UNIT_TEST = Path(__file__).with_name("alerts_test.yml")
HANDBOOK = (PROMETHEUS.parent / "MONITORING.md").read_text()
SUFFIX = {"histogram": "_(?:bucket|sum|count)", "summary": "_(?:sum|count)"}
each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])


def promtool(*arguments: str | Path) -> str:
    run = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def unit_tests() -> list[dict[str, Any]]:
    return list(yaml.safe_load(UNIT_TEST.read_text())["tests"])


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"(?<![\w:])(?:streamrnn|process)_\w+|(?<![\w:])up\b", expression))


def test_promtool_finds_nothing_to_say_of_configuration_and_rules() -> None:
    shown = promtool("check", "config", "--lint=all", "--lint-fatal", CONFIGURATION)
    assert "2 rule files found" in shown
    shown = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert sum(map(int, re.findall(r"SUCCESS: (\d+) rules found", shown))) == len(rules())


def test_what_the_configuration_offers_in_comments_is_valid_too(tmp_path: Path) -> None:
    text = re.sub(r"^( *)# (?=[\w -]*:|  )", r"\1", CONFIGURATION.read_text(), flags=re.MULTILINE)
    text = text.replace("Where it sets http.certfile", "# Where it sets http.certfile")
    text = text.replace("Where the job file sets http.token", "# Where the job file sets http.token")
    for name in ("token", "ca.pem"):
        (tmp_path / name).write_text("only-for-tests")
        text = text.replace(f"/etc/prometheus/{name}", str(tmp_path / name))
    for path in RULE_FILES:
        (tmp_path / path.name).write_text(path.read_text())
    uncommented = tmp_path / "prometheus.yml"
    uncommented.write_text(text)
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["authorization"] == {"credentials_file": str(tmp_path / "token")}
    assert (job["scheme"], job["tls_config"]) == ("https", {"ca_file": str(tmp_path / "ca.pem")})
    promtool("check", "config", uncommented)


def test_alerts_fire_when_they_should_and_are_silent_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", UNIT_TEST)


@each_alert
def test_every_alert_is_seen_to_fire_and_named_by_the_test(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    fires = [
        test["name"]
        for test in unit_tests()
        for ask in test["promql_expr_test"]
        for sample in ask["exp_samples"]
        if f'alertname="{name}"' in sample["labels"] and 'alertstate="firing"' in sample["labels"]
    ]
    assert any(f"{name} fires" in test for test in fires)


def test_the_idle_job_shows_all_that_alerts_look_at_so_that_their_silence_says_something() -> None:
    (idle,) = (test for test in unit_tests() if test["name"] == "silent on a job that is healthy and idle")
    shown = {series["series"].partition("{")[0] for series in idle["input_series"]}
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    looked_at = {
        metric
        for alert in alerts()
        for expression in (alert["expr"], *(recorded[name] for name in recorded if name in alert["expr"]))
        for metric in metrics_in(expression)
    }
    assert len(looked_at) > 20
    assert looked_at == shown


@each_alert
def test_every_alert_says_how_bad_it_is_and_first_what_it_means_for_predictions(alert: dict[str, Any]) -> None:
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert re.fullmatch(r"\d+[smh]", alert["for"])
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert re.match(r"(No predictions|Predictions|Predicted intervals) ", alert["annotations"]["runbook"])
    assert len(alert["annotations"]["runbook"].splitlines()) >= 3, "and then what to do"


def test_no_alert_is_there_once_for_each_worker() -> None:
    found = re.findall(r"ALERTS\{alertname=.*?\}", UNIT_TEST.read_text())
    assert len(found) > len(alerts())
    assert not [labels for labels in found if "instance" in labels]


def test_rules_ask_for_metrics_that_exist() -> None:
    exist = {rule["record"] for rule in rules() if "record" in rule}
    samples = "|".join(f"{m.name}{SUFFIX.get(m.kind, '')}" for m in metric_table.METRICS)
    for rule in rules():
        for name in metrics_in(rule["expr"]) - {"up", "process_start_time_seconds"}:
            assert re.fullmatch(samples, name), name
        assert set(re.findall(r"\w+:\w+:\w+", rule["expr"])) <= exist


def test_recorded_series_say_which_labels_they_have_and_how_they_were_made() -> None:
    levels = {"topic", "topic_field", "partition"}
    for rule in rules():
        if "record" in rule:
            level, _, operation = rule["record"].split(":")
            assert level in levels
            assert re.fullmatch(r"(max|min|ratio|ratio_rate(15m|1h))", operation)


def test_every_recorded_series_is_asked_for_by_an_alert() -> None:
    asked = "\n".join(alert["expr"] for alert in alerts())
    assert [rule["record"] for rule in rules() if "record" in rule and rule["record"] not in asked] == []


def test_no_rule_matches_by_job_and_instance_which_two_clusters_may_share() -> None:
    assert [rule for rule in rules() if re.search(r"\bon *\(", rule["expr"])] == []


def test_worse_than_naive_means_the_same_to_the_alert_and_to_the_worker_s_page() -> None:
    (alert,) = (alert for alert in alerts() if alert["alert"] == "StreamrnnWorseThanNaive")
    assert f"partition:streamrnn_skill:min < {WORSE}\n" in alert["expr"]
    assert f"below {WORSE} for" in alert["annotations"]["description"]


def test_the_handbook_has_a_section_for_each_alert() -> None:
    assert markdown() in HANDBOOK
    titles = re.findall(r"^### (Streamrnn\w+)$", HANDBOOK, re.MULTILINE)
    assert titles == [alert["alert"] for alert in alerts()]
