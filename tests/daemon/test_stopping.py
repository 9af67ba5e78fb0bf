"""A stop ends the process within ``shutdown_timeout_s``, whatever it is doing. Every test runs a process of its own.

How long a process may take is checked with much to spare; what fails when a bound is broken is that it waits for ever.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.core import object_file
from streamrnn.core.jit import JIT_DISABLED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

JOB = """
job: j
{log}
input: {{topic: in}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: {at}/checkpoints, interval_s: 3600}}
shutdown_timeout_s: {budget_s}
http: null
"""
RUN = "from streamrnn.cli import main; main()"
WAIT_S = 60.0
LONG_S = 100.0  # longer than any test waits

Start = Callable[..., "Daemon"]


class Daemon:
    """``streamrnn run`` in a directory, after a few lines of Python that stand for what may hang."""

    def __init__(self, at: Path, before: str, budget_s: float, log: str, **env: str) -> None:
        log = log or f"embedded: {{directory: {at}/log}}"
        (at / "job.yaml").write_text(JOB.format(at=at, budget_s=budget_s, log=log))
        self.log = at / "worker.log"
        command = [sys.executable, "-c", f"{before}\n{RUN}", "run", "-c", str(at / "job.yaml")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | env)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while text not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def children(self) -> list[int]:
        deadline = time.monotonic() + WAIT_S
        pid = self.process.pid
        while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        return [int(child) for child in found]

    def stopped(self) -> int:
        """The exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Daemon] = []

    def make(before: str = "", budget_s: float = LONG_S, log: str = "", **env: str) -> Daemon:
        started.append(Daemon(tmp_path, before, budget_s, log, **env))
        return started[-1]

    yield make
    for daemon in started:
        daemon.process.kill()
        daemon.process.wait(10.0)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def fill(at: Path, n: int) -> None:
    log = EmbeddedLog(at / "log")
    log.create_topic("in", 1)
    for i in range(n):
        log.append("in", b"s", json.dumps({"a": i % 5, "y": i % 7}).encode())
    log.flush()
    log.close()


compiles = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")


@compiles
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_kernels_are_compiled_the_compiler_ends_as_well_and_the_status_is_zero(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    daemon = start(STREAMRNN_CACHE_DIR=str(tmp_path / "cache"))
    daemon.wait_for("compiling the float32 kernels")
    (compiler,) = daemon.children()
    daemon.process.send_signal(number)
    assert daemon.process.wait(WAIT_S) == 0, daemon.log.read_text()
    assert gone(compiler)
    assert not list((tmp_path / "cache").rglob("*.kernels"))


@compiles
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_compiler_does_not_outlive_a_parent_that_was_killed(start: Start, tmp_path: Path) -> None:
    daemon = start(STREAMRNN_CACHE_DIR=str(tmp_path / "cache"))
    daemon.wait_for("compiling the float32 kernels")
    (compiler,) = daemon.children()
    time.sleep(1.0)  # until it has asked for that; before, it looks for itself whether its parent is there
    daemon.process.kill()
    assert gone(compiler)


@compiles
def test_while_another_process_compiles(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "cache" / "streamrnn"
    directory.mkdir(parents=True)
    with (directory / f"{object_file.cached_name('float32')}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        daemon = start(STREAMRNN_CACHE_DIR=str(tmp_path / "cache"))
        daemon.wait_for("another process compiles the kernels")
        assert daemon.stopped() == 0, daemon.log.read_text()


HANGS = "import os, time; fsync = os.fsync"


def test_while_a_first_checkpoint_is_written_to_a_disk_that_hangs(start: Start, tmp_path: Path) -> None:
    fill(tmp_path, 3)
    daemon = start(f"{HANGS}\nos.fsync = lambda fd: (print('hangs', flush=True), time.sleep(3600))", budget_s=2.0)
    daemon.wait_for("hangs")
    assert daemon.stopped() == 1, daemon.log.read_text()
    assert "not done within 2 s" in daemon.log.read_text()


def test_while_the_main_thread_is_in_code_that_no_signal_gets_out_of(start: Start, tmp_path: Path) -> None:
    fill(tmp_path, 3)
    block = "import hashlib; spin = lambda: hashlib.pbkdf2_hmac('sha1', b'', b'', 2**31 - 1)"
    hang = "os.fsync = lambda fd: (print('hangs', flush=True), spin())"
    daemon = start(f"{HANGS}\n{block}\n{hang}", budget_s=2.0)
    daemon.wait_for("hangs")
    assert daemon.stopped() == 1, daemon.log.read_text()
    assert "not done within 2 s" in daemon.log.read_text()


def test_when_only_the_last_checkpoint_hangs_the_status_says_that_it_was_not_written(
    start: Start, tmp_path: Path
) -> None:
    fill(tmp_path, 50)
    hang = f"time.sleep(3600) if os.path.exists('{tmp_path}/hang') else fsync(fd)"
    daemon = start(f"{HANGS}\nos.fsync = lambda fd: {hang}", budget_s=3.0)
    daemon.wait_for("predicting")
    until_read(tmp_path, 50)
    (tmp_path / "hang").touch()
    assert daemon.stopped() == 4, daemon.log.read_text()
    assert "last checkpoint of in/0 was not written" in daemon.log.read_text()


def test_a_last_checkpoint_that_the_disk_refuses_is_no_clean_stop(start: Start, tmp_path: Path) -> None:
    fill(tmp_path, 50)
    refuse = f"""
def fsync_or_not(fd):
    if os.path.exists('{tmp_path}/full'):
        raise OSError(28, 'no space left')
    fsync(fd)
os.fsync = fsync_or_not"""
    daemon = start(HANGS + refuse)
    until_read(tmp_path, 50)
    (tmp_path / "full").touch()
    assert daemon.stopped() == 4, daemon.log.read_text()
    said = daemon.log.read_text()
    assert "no space left" in said and "stopped cleanly" not in said
    assert f"{tmp_path}/checkpoints" in said.splitlines()[-1]


def test_a_stop_with_nothing_in_the_way_is_clean(start: Start, tmp_path: Path) -> None:
    fill(tmp_path, 50)
    daemon = start()
    until_read(tmp_path, 50)
    assert daemon.stopped() == 0, daemon.log.read_text()
    said = daemon.log.read_text()
    assert "stopped cleanly" in said
    assert "compiling" not in said, "they were only loaded"


def until_read(at: Path, n: int) -> None:
    """Wait until so many records are committed."""
    deadline = time.monotonic() + WAIT_S
    while committed(at) < n:
        assert time.monotonic() < deadline, (at / "worker.log").read_text()
        time.sleep(0.05)


def committed(at: Path) -> int:
    log = EmbeddedLog(at / "log")
    found: dict[Any, Any] = log.commits("j") if log.partitions("out") else {}
    log.close()
    return max((commit.offset for commit in found.values()), default=0)


@pytest.mark.parametrize("accepts", [False, True])
def test_before_the_cluster_has_answered_at_all(start: Start, accepts: bool) -> None:
    """It listens, and says nothing: the client is still being made, or waits for its first answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        accepted: list[socket.socket] = []
        if accepts:
            threading.Thread(target=lambda: accepted.append(silent.accept()[0]), daemon=True).start()
        log = f"kafka: {{bootstrap_servers: '127.0.0.1:{silent.getsockname()[1]}', group_instance_id: one}}"
        daemon = start(log=log)
        daemon.wait_for("kernels ready")
        assert daemon.stopped() == 0, daemon.log.read_text()
        assert "stopped cleanly" in daemon.log.read_text()
        for each in accepted:
            each.close()


def test_while_nobody_listens_where_the_cluster_should_be(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    daemon = start(log=f"kafka: {{bootstrap_servers: '127.0.0.1:{port}', group_instance_id: one}}")
    daemon.wait_for("kernels ready")
    assert daemon.stopped() == 0, daemon.log.read_text()
    assert "stopped cleanly" in daemon.log.read_text()


# -- the last line ----------------------------------------------------------------------------------------------------


def last_line(daemon: Daemon) -> dict[str, Any]:
    """What the log, which has been JSON from its first line on, ends with."""
    entries: list[dict[str, Any]] = list(map(json.loads, daemon.log.read_text().splitlines()))
    return entries[-1]


JSON = "log: {format: json}\nembedded: {directory: AT}"


def test_the_last_line_names_the_signal_and_the_status(start: Start, tmp_path: Path) -> None:
    fill(tmp_path, 50)
    daemon = start(log=JSON.replace("AT", f"{tmp_path}/log"))
    until_read(tmp_path, 50)
    assert daemon.stopped() == 0
    last = last_line(daemon)
    assert (last["message"], last["exit_status"]) == ("stopped cleanly, exit status 0: SIGTERM", 0)
    assert last["level"] == "info"


@pytest.mark.parametrize(
    ("fails", "status", "why"),
    [
        ("errors.BrokerError('no such place')", 1, "no such place"),
        ("errors.ConfigError('kafka: what a field')", 2, "kafka: what a field"),
        ("errors.FencedError('another process runs')", 3, "another process runs"),
        ("errors.UnsavedError('it was not written')", 4, "all is committed, but it was not written"),
        ("KeyboardInterrupt", 130, "a second SIGINT"),
        (
            "ZeroDivisionError('a\\n2026')", 1,
            "an error that nobody expected, ZeroDivisionError, whose traceback stands above",
        ),
    ],
)  # fmt: skip
def test_the_last_line_says_why_it_ended_and_with_which_status(
    start: Start, tmp_path: Path, fails: str, status: int, why: str
) -> None:
    before = (
        "import streamrnn.daemon.run\nfrom streamrnn import errors\n"
        f"def run_worker(*_, **__):\n    raise {fails}\n"
        "streamrnn.daemon.run.run_worker = run_worker"
    )
    daemon = start(before, log=JSON.replace("AT", f"{tmp_path}/log"))
    assert daemon.process.wait(WAIT_S) == status
    last = last_line(daemon)
    assert (last["message"], last["exit_status"]) == (f"stopped, exit status {status}: {why}", status)
    assert last["level"] == "error"
    if "ZeroDivision" in fails:
        assert "ZeroDivisionError: a" in json.loads(daemon.log.read_text().splitlines()[-2])["traceback"]


@pytest.mark.parametrize("before", ["SIG_DFL", "SIG_IGN"], ids=["in front", "in the background"])
def test_a_second_interrupt_ends_it_at_once_with_a_last_line(start: Start, tmp_path: Path, before: str) -> None:
    """Also where a shell started it in the background, and had it ignore interrupts."""
    fill(tmp_path, 3)
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if before == "SIG_IGN" else ""
    wait = "import sys\nos.fsync = lambda fd: (print('hangs', file=sys.stderr, flush=True), time.sleep(3600))"
    daemon = start(f"{ignored}{HANGS}\n{wait}")
    daemon.wait_for("hangs")
    daemon.process.send_signal(signal.SIGINT)
    daemon.wait_for("SIGINT received, draining")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(WAIT_S) == 130, daemon.log.read_text()
    assert daemon.log.read_text().splitlines()[-1].endswith("stopped, exit status 130: a second SIGINT")


TWICE = """
import logging, signal, sys
class Twice(logging.Handler):
    def emit(self, record):
        if "once more to stop at once" in record.getMessage():
            os.kill(os.getpid(), signal.SIGINT)
logging.getLogger("streamrnn.daemon.stopping").addHandler(Twice())
os.fsync = lambda fd: (print('hangs', file=sys.stderr, flush=True), time.sleep(3600))"""


def test_a_second_interrupt_counts_as_soon_as_the_first_is_said_to_be_received(start: Start, tmp_path: Path) -> None:
    fill(tmp_path, 3)
    daemon = start(HANGS + TWICE)
    daemon.wait_for("hangs")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(WAIT_S) == 130, daemon.log.read_text()
    assert "Broken pipe" not in daemon.log.read_text()
