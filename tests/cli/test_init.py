"""``streamrnn init`` on files: what it writes, what it refuses, and what never stands in a job file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streamrnn.cli import app, drafting
from streamrnn.job.job_file import load
from tests.support.topics import events, flights, machines, three

SECRET = "hunter2-not-to-be-seen"


def call(*arguments: object, **environment: str) -> Result:
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"} | environment)
    return runner.invoke(app, [str(argument) for argument in arguments])


def write_lines(path: Path, sent: list[Any]) -> Path:
    path.write_bytes(b"\n".join(value for _, _, value in sent))
    return path


def test_a_file_becomes_a_job_that_is_valid_and_can_be_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "past.jsonl", machines(600))
    done = call("init", "--data", "past.jsonl", "--target", "readings.temperature.c")
    assert done.exit_code == 0, done.output
    assert "streamrnn evaluate -c job.yaml --data past.jsonl" in done.output
    job = load("job.yaml")
    assert job.embedded is not None
    assert job.input.topic == "past"
    assert job.input.stream_key == "meta.device"
    assert (job.input.timestamp.field, job.input.timestamp.unit) == ("at", "s")
    assert call("validate", "-c", "job.yaml", "--data", "past.jsonl").exit_code == 0
    result = call("evaluate", "-c", "job.yaml", "--data", "past.jsonl")
    assert result.exit_code == 0, result.output
    assert "readings.temperature.c: skill " in result.output


def test_a_csv_file_is_drafted_as_its_values_plainly_are(tmp_path: Path) -> None:
    rows = [json.loads(value) for _, _, value in flights()[:3_000]]
    with (tmp_path / "past.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    done = call("init", "--data", tmp_path / "past.csv", "--target", "delay", "-o", tmp_path / "job.yaml")
    assert done.exit_code == 0, done.output
    job = load(tmp_path / "job.yaml")
    assert job.input.timestamp.field == "timestamp"
    assert {type(f).__struct_config__.tag for f in job.features} == {"onehot", "hash", "numeric", "cyclic"}
    assert call("evaluate", "-c", tmp_path / "job.yaml", "--data", tmp_path / "past.csv").exit_code == 0


def test_a_dash_prints_the_file_alone(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "e.jsonl", events(400))
    done = call("init", "--data", path, "-o", "-")
    (tmp_path / "job.yaml").write_text(done.stdout)
    assert load(tmp_path / "job.yaml").target.fields == ("is_fraud",)


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path, out = write_lines(tmp_path / "e.jsonl", events(400)), tmp_path / "job.yaml"
    out.write_text("mine")
    refused = call("init", "--data", path, "-o", out)
    assert refused.exit_code == 2
    assert "exists; --force replaces it" in refused.output
    assert out.read_text() == "mine"
    assert call("init", "--data", path, "-o", out, "--force").exit_code == 0
    assert load(out).job == "e-is_fraud"


def test_three_records_are_enough(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "few.jsonl", [(k, t, v.replace(b'"C"', b'"C", "sensor": "s"')) for k, t, v in three()]
    )
    done = call("init", "--data", path, "-o", tmp_path / "job.yaml")
    assert done.exit_code == 0, done.output
    assert "only 3 records were found" in done.output
    result = call("evaluate", "-c", tmp_path / "job.yaml", "--data", path)
    assert result.exit_code == 0, result.output
    assert "rests on 2 predictions only" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected --bootstrap HOST:PORT and --topic NAME, or --data FILE"),
        (("--topic", "t"), "expected --bootstrap HOST:PORT and --topic NAME, or --data FILE"),
        (("--bootstrap", "localhost:9092"), "expected --bootstrap HOST:PORT and --topic NAME, or --data FILE"),
        (("--bootstrap", "localhost:9092", "--topic", "a b"), "expected letters, digits and . _ -"),
        (("--bootstrap", "localhost", "--topic", "t"), "expected host:port"),
        (("--bootstrap", "127.0.0.1:1", "--topic", "t"), "nothing listens there"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = call("init", *arguments, "-o", tmp_path / "job.yaml")
    assert done.exit_code != 0
    assert said in done.output
    assert not (tmp_path / "job.yaml").exists()


# ---- the cluster


def security(tmp_path: Path, password: str, *, section: bool = True) -> Path:
    path = tmp_path / "client.yaml"
    text = f"security: {{protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: me, sasl_password: {password}}}"
    path.write_text(f"kafka: {{bootstrap_servers: 'b:9093', {text}, group_id: mine}}" if section else text)
    return path


@pytest.mark.parametrize("section", [True, False])
def test_a_password_in_the_environment_is_referred_to_again(
    section: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", SECRET)
    found = drafting.cluster_of("a:9092", security(tmp_path, "'${BROKER_PASSWORD}'", section=section))
    assert found is not None
    assert found.servers == "a:9092"
    assert '    sasl_password: "${BROKER_PASSWORD}"' in found.lines
    assert SECRET not in "\n".join(found.lines)
    assert "group_id" not in "\n".join(found.lines)


def test_a_password_that_was_written_out_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_PASSWORD", raising=False)
    found = drafting.cluster_of(None, security(tmp_path, SECRET))
    assert found is not None
    assert found.servers == "b:9093"
    assert '    sasl_password: "${KAFKA_PASSWORD}"' in found.lines
    assert SECRET not in "\n".join(found.lines)
    assert found.environment["KAFKA_PASSWORD"] == SECRET


def test_a_file_without_a_cluster_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "client.yaml"
    path.write_text("sasl_password: hunter2")
    done = call("init", "--kafka-config", path, "--bootstrap", "a:9092", "--topic", "t")
    assert done.exit_code == 2
    assert "has neither bootstrap_servers nor security" in done.output
    assert "hunter2" not in done.output
