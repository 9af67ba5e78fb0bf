"""``validate --data``: what the records of a file are to the job, before anything runs."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from streamrnn.cli import app
from tests.support.jobs import yaml

JOB = yaml(kafka=None, embedded="{directory: log}", features="[{field: cpu.laod, encoder: numeric}]")


def validated(directory: Path, lines: list[str], text: str = JOB, *options: str) -> tuple[int, str]:
    """Exit status and what was printed."""
    (directory / "job.yaml").write_text(text)
    (directory / "data.jsonl").write_text("".join(f"{line}\n" for line in lines))
    command = ["validate", "-c", str(directory / "job.yaml"), "--data", str(directory / "data.jsonl"), "--key", "k"]
    result = CliRunner().invoke(app, [*command, *options])
    return result.exit_code, result.output


def test_it_shows_shares_of_missing_fields_and_what_was_probably_meant(tmp_path: Path) -> None:
    lines = ['{"k": 1, "cpu.load": 1, "delay": 2}', '{"k": 1, "cpu.load": 2}', "junk", '{"k": 1, "delay": "x"}']
    status, output = validated(tmp_path, lines)
    assert status == 1
    assert "cpu.laod in 100 %, delay in 50 %" in output
    assert "rejected, malformed: 1 (25 %); the first: record 2" in output
    assert "feature 'cpu.laod' came in none of 2 records; the nearest names that come: [\"cpu.load\"]" in output


def test_a_file_that_fits_is_status_0_and_is_read_up_to_the_limit(tmp_path: Path) -> None:
    lines = [f'{{"k": 1, "cpu.load": {i}, "delay": 2.5}}' for i in range(9)] + ["junk"]
    status, output = validated(tmp_path, lines, JOB.replace("laod", "load"), "--limit", "9")
    assert status == 0, output
    assert "records   9" in output
    assert "rejected  none" in output


def test_a_file_of_which_nothing_can_be_used_is_status_1(tmp_path: Path) -> None:
    assert validated(tmp_path, ["junk", "[]"])[0] == 1
    assert validated(tmp_path, [])[0] == 2


SEQUENCES = yaml(
    kafka=None,
    embedded="{directory: log}",
    input="{topic: in, sequence: {field: frames}}",
    features="[{field: cpu.laod, encoder: numeric}, {field: up, encoder: numeric}]",
    target="{fields: [y], kind: label}",
)


def test_a_misspelt_feature_of_frames_is_named_with_the_nearest_that_comes(tmp_path: Path) -> None:
    lines = ['{"k": 1, "frames": [{"cpu": {"load": 1}, "up": 3}, {"cpu": {"load": 2}, "up": 4}], "y": 2}'] * 3
    status, output = validated(tmp_path, lines, SEQUENCES)
    assert status == 1
    assert "feature 'cpu.laod' came in none of" in output
    assert "the nearest names that come: frames[0].cpu.load" in output
