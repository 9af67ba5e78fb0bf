"""Whatever names and texts hold, no command crashes over them, and nothing of them acts on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.cli import app
from streamrnn.job.job import Job
from streamrnn.job.job_file import load
from streamrnn.learner.paths import path_text
from streamrnn.storage.fingerprints import canonical_sha256
from streamrnn.storage.snapshot import take_snapshot
from tests.support.checkpoints import progress, resign
from tests.support.jobs import small

HOSTILE = {
    "markup": "a[/b][red]:smile:[link=http://x]",
    "controls": "a\x1b[2J\x1b]0;title\x07\x08\x9b31m\x85\x7f\rnothing to see",
    "lines": "a\nerror: forged\n2026-01-01 00:00:00,000 ERROR   streamrnn.daemon.loop: forged",
    "invisible": "a\u202egnp.exe\u2066\u200b\u2060\ufeff\u2028b\u2029c",
    "long": "a" * 30_000,
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


def call(*arguments: object) -> Result:
    env = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner(env=env).invoke(app, [str(argument) for argument in arguments])


def harmless(result: Result, most: int = 60_000) -> str:
    """The output, in which nothing but text is left, and in which no line is another's."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    text = result.output
    odd = {c for c in text if not c.isprintable() and c not in "\n\t"}
    assert not odd, odd
    assert not [line for line in text.split("\n") if line.startswith(("error: forged", "2026", "nothing to see"))]
    assert "Traceback" not in text
    assert len(text) < most
    return text


def job(directory: Path, **changes: Any) -> Path:
    sections: dict[str, Any] = {**small(directory), "http": None}
    for name, value in changes.items():
        at = sections
        *sectioned, last = name.split("__")
        for section in sectioned:
            at = at[section]
        at[last] = value
    path = directory / "job.yaml"
    path.write_text(json.dumps(sections))  # which is YAML as well, with all escapes
    return path


@hostile
def test_names_in_a_job_file(text: str, tmp_path: Path) -> None:
    name = path_text([text])
    changes: list[dict[str, Any]] = [
        {"features": [{"field": name, "encoder": "numeric"}], "target__fields": [path_text([text + "y"])]},
        {"features": [{"field": "a", "encoder": "onehot", "categories": [text, "x"]}]},
        {"target": {"fields": ["y"], "classes": [text, "x"]}, "model": {"readout": "softmax"}},
        {"input": {"topic": "in", "stream_key": name, "timestamp": {"field": name}, "end_field": name}},
        {"input": {"topic": "in", "where": [{"field": name, "equals": text}]}},
        {"checkpoint__directory": f"{tmp_path}/{text}"[:200], "embedded__directory": f"{tmp_path}/x{text}"[:200]},
        {"job": text},
        {"input__topic": text},
        {text: 1},
        {"model": {text: 1}},
        {"model": {"cell": text}},
        {"model__warm_start": text[:100]},
        {"http": {"host": text}},
        {"log_level": text},
        {"features": [{"field": name, "encoder": text}]},
        {"features": [{"field": name, "encoder": "hash", "buckets": 2}] * 2},
    ]
    for change in changes:
        harmless(call("validate", "-c", job(tmp_path, **change)))
    for command in ("topics", "inspect"):
        harmless(call(command, "-c", job(tmp_path, **changes[0])))


@hostile
def test_names_in_a_data_file(text: str, tmp_path: Path) -> None:
    path = job(tmp_path)
    lines, table = tmp_path / "data.jsonl", tmp_path / "data.csv"
    lines.write_text("".join(json.dumps({text: i, "a": text[:500], "y": text if i else 1}) + "\n" for i in range(3)))
    quoted = text[:1000].replace('"', '""')
    for header in (f'"{quoted}",k', f'"{quoted}","{quoted}"', f'"{quoted}.b","{quoted}"'):
        table.write_text(f"{header}\n1,2\n3,4\n")
        for options in (("--key", "k"), ("--key", text[:1000], "--timestamp", text[:1000])):
            harmless(call("validate", "-c", path, "--data", table, *options))
    for options in (("--key", "a"), ("--key", text[:1000], "--timestamp", "a")):
        harmless(call("validate", "-c", path, "--data", lines, *options))
    assert "wrong_type" in harmless(call("evaluate", "-c", path, "--data", lines, "--key", "a"))


@hostile
def test_options_and_arguments(text: str, tmp_path: Path) -> None:
    given, path = text[:2000].replace("\0", ""), job(tmp_path)
    named = tmp_path / (given[:100].replace("/", "_") + ".csv")
    named.write_text("k,a,y\nq,1,2\nq,1,2,3\n")
    for arguments in (
        (given,),
        ("validate", f"--{given}"),
        ("validate", "-c", given),
        ("validate", "-c", path, "--data", given),
        ("validate", "-c", path, "--data", named, "--key", "k"),
        ("validate", "-c", path, "--limit", given),
        ("evaluate", "-c", path, "--data", named, "--key", given),
        ("inspect", given),
        ("inspect", "-c", path, "--stream", given),
        ("export", given, given),
        ("export", given, given, given),
        ("topics", "-c", path, "--partitions", given),
        ("demo", "--plot", f"{given}/x.png"),
        ("demo", "--bootstrap", given),
        ("warmup", "--dtype", given),
    ):
        result = call(*arguments)
        harmless(result)
        assert result.exit_code in (1, 2)


@hostile
def test_values_from_the_environment(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTILE", text[:100_000])
    for changes in ({"job": "${HOSTILE}"}, {"http": {"port": "${HOSTILE}"}}, {"target__fields": ["${HOSTILE}["]}):
        harmless(call("validate", "-c", job(tmp_path, **changes)))


def test_text_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    for text in HOSTILE.values():
        for form in ("job: %s", "%s: 1", "job: '%s", "job: !%s x", "job: *%s", "%s"):
            path.write_text(form % text[:1000])
            harmless(call("validate", "-c", path))


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    """A directory with a job that has a checkpoint."""
    worker, tp = Job(load(job(tmp_path))), TopicPartition("in", 0)
    learner = worker.learner(tp)
    learner.process(
        worker.codec.decode([Record(*tp, i, 1_000 * i, b"s0", b'{"a": 1, "y": 2}') for i in range(9)]).block
    )
    worker.checkpoints(tp).write(take_snapshot(learner.state()), progress(9))
    return tmp_path


def test_checkpoints(learned: Path) -> None:
    """Names of builds and their values, dates, lineages, settings and keys are whatever somebody wrote there."""
    (manifest,) = learned.glob("checkpoints/small/**/manifest-*.json")
    raw = json.loads(manifest.read_bytes())
    for text in HOSTILE.values():
        configuration = raw["configuration"] | {text: {text: text}, "features": [{"field": text, "encoder": text}]}
        changes: list[dict[str, Any]] = [
            {"build": {text: text}, "created": text},
            {"job": text, "topic": text},
            {"progress": raw["progress"] | {"lineage": text, "topic_id": text}},
            {"configuration": configuration, "configuration_sha256": canonical_sha256(configuration)},
            {"progress": raw["progress"] | {"counters": {text: 1}}},
            {text: text},
        ]
        for change in changes:
            manifest.write_text(json.dumps(raw))
            resign(manifest, change)
            shown = call("inspect", manifest)
            harmless(shown)
            assert shown.exit_code == 0 or "build" not in change, shown.output
            harmless(call("inspect", "-c", learned / "job.yaml"))
            harmless(call("validate", "-c", learned / "job.yaml"))
            harmless(call("inspect", manifest, "--stream", "s0"))
            harmless(call("export", manifest, learned / "out.safetensors"))
            told = call("inspect", manifest, "--json")
            if told.exit_code == 0:
                (one,) = json.loads(harmless(told, most=200_000))  # for programs, who want all of it
                assert all(one[name] == value for name, value in change.items() if name not in ("progress",))
