"""The template of a systemd unit is one, and fits the job file and the handbook."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamrnn.job.job_file import parse
from tests.test_docs import PAGES, ROOT

UNIT = ROOT / "deploy" / "systemd" / "streamrnn@.service"


class _Settings(dict[str, str]):
    """Keeps all values of a key that comes again, one line each."""

    def __setitem__(self, key: str, value: object) -> None:
        if key in self and isinstance(value, list):
            value = [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]


def settings(section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, dict_type=_Settings)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    return dict(parser[section])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    # Where it is installed is the operator's; here it has to be something that is there.
    text = UNIT.read_text().replace("/opt/streamrnn/bin/streamrnn ", f"{sys.executable} -m streamrnn ")
    for name in ("streamrnn@.service", "streamrnn@9308.service"):
        (tmp_path / name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "streamrnn@9308.service"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "streamrnn" not in checked.stdout + checked.stderr
    assert checked.returncode == 0


def test_it_waits_longer_for_a_stop_than_a_worker_takes() -> None:
    job = parse((ROOT / "deploy" / "examples" / "minimal.yaml").read_text())
    assert float(settings("Service")["TimeoutStopSec"]) > job.shutdown_timeout_s


def test_the_job_file_takes_what_it_says_it_should_have() -> None:
    said = re.search(r"The job file says  (http: .*?)  and  (checkpoint: .*?)\.$", UNIT.read_text(), re.MULTILINE)
    assert said is not None
    text = re.sub(r"(?m)^checkpoint: .*$", said[2], (ROOT / "deploy" / "examples" / "minimal.yaml").read_text())
    job = parse(f"{text}\n{said[1]}\n", env={"HTTP_PORT": "9311"})
    assert job.http is not None
    assert job.http.port == 9311
    service = settings("Service")
    assert job.checkpoint.directory == f"/var/lib/{service['StateDirectory']}"
    assert "HTTP_PORT=%i" in service["Environment"]


def test_what_a_person_has_to_look_at_does_not_start_again() -> None:
    kept = set(settings("Service")["RestartPreventExitStatus"].split())
    rows = dict(re.findall(r"(?m)^\| (\d+) \| (.*) \|$", PAGES["deploy/README.md"]))
    assert "wrong option or configuration" in rows["2"]
    assert "took over" in rows["3"]
    assert kept == {"2", "3"}


def test_the_handbook_starts_instances_of_it() -> None:
    assert "systemctl enable --now streamrnn@9308 streamrnn@9309" in PAGES["deploy/SCALING.md"]
    assert "(systemd/streamrnn@.service)" in PAGES["deploy/SCALING.md"]
