"""Sees to it that kernels are run from the on-disk cache, never from the process that compiled them.

The compiling process holds every kernel twice, once as a unit of its own and once inside its caller, optimised
differently, and may run either; a process that loads the cached machine code has one of each. The two differ in the
last bits (measured), so "the same on every machine and after every restart" needs the second kind everywhere. Hence a
missing cache is filled by a child process, and this one then loads it.

One compilation per precision serves every cell, loss, optimiser and size: they are switches inside the kernel.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from streamrnn.core.jit import CACHE_DIRECTORY, JIT_DISABLED
from streamrnn.errors import StreamrnnError

COMPILING = "STREAMRNN_COMPILING"
TIMEOUT_S = 900.0

_ready: set[str] = set()


def is_compiled(dtype: str) -> bool:
    """Whether a process would find the kernels of this precision in the cache."""
    return JIT_DISABLED or _marker(dtype).exists()


def ensure_compiled(dtype: str) -> None:
    """Have the kernels of "float32" or "float64" compiled by a child process unless the cache has them."""
    if dtype in _ready:
        return
    if not is_compiled(dtype) and os.environ.get(COMPILING) is None:
        with Path(f"{_marker(dtype)}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits instead of compiling too
            if not is_compiled(dtype):
                _compile(dtype)
    _ready.add(dtype)


def _compile(dtype: str) -> None:
    environment = {**os.environ, COMPILING: "1", "STREAMRNN_KERNELS": str(CACHE_DIRECTORY)}
    command = [sys.executable, "-m", "streamrnn.learner.warmup", dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise StreamrnnError(f"compiling the {dtype} kernels failed:\n{done.stderr[-2000:]}")
    _marker(dtype).touch()


def _marker(dtype: str) -> Path:
    return CACHE_DIRECTORY / f"{dtype}.compiled"
