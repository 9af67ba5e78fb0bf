"""What libraries and the package log, whatever the command, does nothing to the terminal that shows it.

In processes of their own: pytest's own handlers would hide where entries go otherwise.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.core.jit import JIT_DISABLED
from tests.support.impatient import COMMAND
from tests.support.jobs import yaml

FORGED = "2026-01-01 00:00:00,000 ERROR   forged"
HOST = f"127.0.0.1\x1b[31mEVIL\n{FORGED}".encode()
ROOT = Path(__file__).parents[2]


def harmless(text: str) -> None:
    odd = {c for c in text if not c.isprintable() and c != "\n"}
    assert not odd, odd
    assert not any(line.startswith(FORGED) for line in text.splitlines())


def answer(api: int, version: int, port: int) -> bytes:
    """Which requests it knows, and a cluster of one broker, whose host name is hostile."""
    if api == 18:
        known = [(18, 0, 0), (3, 1, 1), (10, 0, 0), (11, 0, 0), (9, 0, 1), (1, 0, 4), (2, 0, 1), (0, 0, 3), (19, 0, 0)]
        body = struct.pack(">hi", 35 if version else 0, len(known))
        return body + b"".join(struct.pack(">hhh", *each) for each in known)
    return struct.pack(">iih", 1, 5, len(HOST)) + HOST + struct.pack(">ihii", port, -1, 5, 0)


@pytest.fixture
def pretender() -> Iterator[int]:
    """The port of what pretends to be Kafka."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, struct.error), client.makefile("rb") as requests:
            while True:
                request = requests.read(struct.unpack(">i", requests.read(4))[0])
                api, version, correlation = struct.unpack(">hhi", request[:8])
                body = answer(api, version, port)
                client.sendall(struct.pack(">ii", 4 + len(body), correlation) + body)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield port
    listener.close()


@pytest.mark.parametrize("command", [["validate", "--connect"], ["topics"], ["run"]], ids=" ".join)
def test_a_broker_that_gives_itself_a_hostile_name(command: list[str], pretender: int, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        yaml(kafka=f"{{bootstrap_servers: '127.0.0.1:{pretender}'}}", embedded=None, http="null")
    )
    called = [*COMMAND, *command, "-c", str(tmp_path / "job.yaml")]
    done = subprocess.run(called, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    assert r"\x1b[31mEVIL" in done.stderr  # else this shows nothing
    harmless(done.stderr + done.stdout)


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_a_cache_directory_with_a_hostile_name(tmp_path: Path) -> None:
    """Nobody's kernels are compiled for it: the command is to fail where it would begin to."""
    directory = tmp_path / f"home\x1b[31mX\n{FORGED}"
    directory.mkdir()
    directory.chmod(0o777)
    code = (
        "from streamrnn import cli\nfrom streamrnn.core import compiled, object_file\n"
        "def fail(*_, **__): raise RuntimeError(str(list(object_file.cache_directories())))\n"
        "compiled.compile_in_child = fail\nobject_file.SHIPPED = object_file.Path('/nowhere')\n"
        "import sys; sys.argv[1:] = ['warmup']\ncli.main()\n"
    )
    environment = {**os.environ, "STREAMRNN_CACHE_DIR": str(directory)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert r"home\x1b[31mX\n2026" in done.stderr
    harmless(done.stderr + done.stdout)


def test_warnings_and_errors_that_nobody_caught() -> None:
    code = (
        "from streamrnn import cli\nimport logging, sys, threading, warnings\n"
        f"hostile = 'x\\x1b[2J\\n{FORGED}'\n"
        "def fail(): raise RuntimeError(hostile)\n"
        "def command(*_, **__):\n"
        "    warnings.warn(hostile); logging.getLogger('kafka').error(hostile)\n"
        "    thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "    raise BaseException(hostile)\n"
        "cli.app = command\ncli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count(r"x\x1b[2J\n2026") >= 2
    harmless(done.stderr)
