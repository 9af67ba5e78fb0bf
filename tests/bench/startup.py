"""How long it takes until something happens: imports, warm start, cold start, an installed wheel, a bare container.

    python -m tests.bench.startup               all of them; compiles three times, about a minute and a half
    python -m tests.bench.startup --no-cold     what needs no compiler

Every start is a fresh interpreter. A start ends with the first prediction: interpreter, imports, kernels, a worker over
an embedded log of one record. Cold means an empty ``STREAMRNN_CACHE_DIR``. The wheel is built here, unpacked beside the
dependencies, and finds no cache. Its last start has a read-only root, a user without a name and no HOME, which takes
root and ``unshare``; without them that line is left out.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

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


NUMBA_FIRST = """
import numba
assert numba.njit(lambda x: x + 1)(1) == 2
"""
NUMBER_OF_NOBODY = 12345
ROOT = Path(__file__).parents[2]


def run(script: str, environment: Mapping[str, str]) -> float:
    """Seconds from starting an interpreter with this script to its end; shows what it printed when it fails."""
    started = time.perf_counter()
    # -P: the package is the installed one, even where the working directory holds another.
    subprocess.run([sys.executable, "-P", "-c", script], env={**os.environ, **environment}, check=True, timeout=1200)
    return time.perf_counter() - started


def import_s(statement: str, times: int = 5) -> float:
    """Median seconds of an import within the interpreter."""
    command = [sys.executable, "-c", IMPORT.format(statement)]
    return statistics.median(float(subprocess.check_output(command, text=True)) for _ in range(times))


def start_s(before: str = "", **environment: str) -> float:
    """Seconds from nothing to the first prediction written, by an interpreter that did something before."""
    with tempfile.TemporaryDirectory() as directory:
        return run(before + FIRST_PREDICTION.format(directory=Path(directory)), environment)


def cpu_s() -> float:
    """Seconds of CPU that all ended children have used; what others do on the machine hardly changes it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build_wheel(directory: Path) -> Path:
    """The package as its wheel installs it, in a directory of its own."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", directory, ROOT], check=True, timeout=1200)
    (wheel,) = directory.glob("*.whl")
    shutil.unpack_archive(wheel, directory / "installed", "zip")
    return directory / "installed"


def bare_start_s(installed: Path) -> float:
    """As ``start_s`` of an installed wheel, with a read-only root, a user that nobody knows, and no HOME.

    Only the log's directory can be written to. Where the interpreter is below a directory that is closed to others,
    another one is mounted over that, with nothing but the interpreter.
    """
    base = Path(sys.base_prefix).resolve()
    closed = [parent for parent in base.parents if not parent.stat().st_mode & 0o001]
    cover = f"mount -t tmpfs -o mode=755 none {closed[-1]}; mkdir -p {base}; mount --bind $old/python {base}"
    script = FIRST_PREDICTION.format(directory=installed / "data")
    start = ["env", "-i", f"PYTHONPATH={installed}", "PYTHONDONTWRITEBYTECODE=1", sys.executable, "-c", script]
    confined = f"""
        set -e
        mount --make-rprivate /
        old=$(mktemp -d); mount -t tmpfs none $old; mkdir $old/python; mount --bind {base} $old/python
        {cover if closed else ""}
        mkdir -p {installed}/data; mount -t tmpfs -o mode=777 none {installed}/data
        mount -o remount,bind,ro /
        cd /
        date +%s.%N
        setpriv --reuid {NUMBER_OF_NOBODY} --regid {NUMBER_OF_NOBODY} --clear-groups {shlex.join(start)}
        date +%s.%N
    """
    done = subprocess.check_output(["unshare", "--mount", "sh", "-c", confined], text=True, timeout=1200)
    started, ended = map(float, done.split())
    return ended - started


def show(what: str, seconds: float) -> None:
    print(f"| {what} | {seconds:.2f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Time importing the package and starting a worker.")
    parser.add_argument("--no-cold", action="store_true", help="leave out what compiles: the cold start and the wheel")
    options = parser.parse_args(arguments)
    print(f"python {sys.version.split()[0]}, numba {metadata.version('numba')}")
    print("| what | seconds |\n|---|---|")
    show("import of `streamrnn`", import_s("import streamrnn"))
    for name in ("Learner", "RNNRegressor"):
        show(f"import of `{name}`", import_s(f"from streamrnn import {name}"))
    start_s()  # fills the cache if need be
    before = cpu_s()
    show("warm start to the first prediction", statistics.median(start_s() for _ in range(5)))
    show("the same, seconds of CPU", (cpu_s() - before) / 5)
    show("after compiling a function with Numba in the same process", start_s(NUMBA_FIRST))
    if not options.no_cold:
        with tempfile.TemporaryDirectory() as cache:
            before = cpu_s()
            show("cold start to the first prediction", start_s(STREAMRNN_CACHE_DIR=cache))
            show("the same, seconds of CPU", cpu_s() - before)
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o755)
            installed = build_wheel(Path(directory))
            alone = {"PYTHONPATH": str(installed), "STREAMRNN_CACHE_DIR": os.devnull}
            times = (start_s(**alone) for _ in range(5))
            show("installed wheel, no cache, first start", next(times))
            show("later ones", statistics.median(times))
            if os.getuid() == 0 and shutil.which("unshare"):
                bare_start_s(installed)  # reads from the disk what the ones before had at hand
                show("the same: read-only root, unknown user, no HOME", bare_start_s(installed))


if __name__ == "__main__":
    main()
