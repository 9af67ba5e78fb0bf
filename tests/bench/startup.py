"""How long it takes until something happens: imports, warm start, cold start.

    python -m tests.bench.startup               all of them; the cold start compiles for about a minute
    python -m tests.bench.startup --no-cold     without it

Every start is a fresh interpreter. A start ends with the first prediction: interpreter, imports, kernels, a worker over
an embedded log of one record. Cold means an empty ``STREAMRNN_CACHE_DIR``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numba

IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
FIRST_PREDICTION = """
import sys, threading
from streamrnn.job.job_file import parse
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
config = parse('''
job: startup
embedded: {{directory: {directory}/log}}
input: {{topic: in}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: {directory}/checkpoints}}
http: null
''', env={{}})
with EmbeddedLog(config.embedded.directory) as log:
    log.create_topic("in")
    log.append("in", b"a", b'{{"x": 1.0, "y": 2.0}}', timestamp_ms=0)
    log.flush()
stop = threading.Event()
run_worker(config, open_broker(config), stop, idle=stop.set)
with EmbeddedLog(config.embedded.directory) as log:
    assert len(list(log.read("out", 0))) == 1
"""


def run(script: str, **environment: str) -> float:
    """Seconds from starting an interpreter with this script to its end; shows what it printed when it fails."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **environment}, check=True, timeout=1200)
    return time.perf_counter() - started


def import_s(statement: str, times: int = 5) -> float:
    """Median seconds of an import within the interpreter."""
    command = [sys.executable, "-c", IMPORT.format(statement)]
    return statistics.median(float(subprocess.check_output(command, text=True)) for _ in range(times))


def start_s(**environment: str) -> float:
    """Seconds from nothing to the first prediction written."""
    with tempfile.TemporaryDirectory() as directory:
        return run(FIRST_PREDICTION.format(directory=Path(directory)), **environment)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Time importing the package and starting a worker.")
    parser.add_argument("--no-cold", action="store_true", help="leave out the start that compiles")
    options = parser.parse_args(arguments)
    print(f"python {sys.version.split()[0]}, numba {numba.__version__}")
    for statement in ("import streamrnn", "from streamrnn import RNNRegressor"):
        print(f"{statement:35} {import_s(statement):6.3f} s", flush=True)
    start_s()  # fills the cache if need be
    print(f"warm start to first prediction      {statistics.median(start_s() for _ in range(3)):6.2f} s", flush=True)
    if not options.no_cold:
        with tempfile.TemporaryDirectory() as cache:
            print(f"cold start to first prediction      {start_s(STREAMRNN_CACHE_DIR=cache):6.1f} s", flush=True)


if __name__ == "__main__":
    main()
