"""Compiles and loads the kernels, and sees to it that they run from the on-disk cache alone.

The compiling process holds every kernel twice, once as a unit of its own and once inside its caller, optimised
differently, and may run either; a process that loads the cached machine code has one of each. The two differ in the
last bits (measured), so "the same on every machine and after every restart" needs the second kind everywhere. Hence a
missing cache is filled by a child process, and this one then loads it; that it would have to compile after all is an
error.

One compilation per precision serves every cell, loss, optimiser and size: they are switches inside the kernel. A
container image fills the cache while it is built (``streamrnn warmup``).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype

import streamrnn
from streamrnn.core.handle import process
from streamrnn.core.jit import CACHE_DIRECTORY, JIT_DISABLED
from streamrnn.errors import StreamrnnError

Precision = Literal["float32", "float64"]
TIMEOUT_S = 900.0

CHILD = """
import importlib.util, sys
file, dtype, *sys.path = sys.argv[1:]
spec = importlib.util.spec_from_file_location("streamrnn", file)
sys.modules["streamrnn"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from streamrnn.core.compiled import compile_kernels
compile_kernels(dtype)
"""
"""The child is given the very package that this process runs, and its path for all others: whatever stands in the
working directory (which -P keeps out) or came to stand in front of the package is not imported instead."""

_ready: set[str] = set()


def warm_up(dtype: Precision = "float32") -> float:
    """Have the kernels of one precision compiled and loaded, so that no record waits; returns the seconds it took."""
    started = time.perf_counter()
    ensure_compiled(dtype)
    return time.perf_counter() - started


def is_compiled(dtype: str) -> bool:
    """Whether a process would find the kernels of this precision in the cache."""
    return JIT_DISABLED or _marker(dtype).exists()


def ensure_compiled(dtype: str) -> None:
    """Load the kernels of "float32" or "float64"; have them compiled by a child process unless the cache has them.

    Raises StreamrnnError where they cannot be compiled, or are not in the cache although they were.
    """
    if dtype in _ready or JIT_DISABLED:
        return
    if not is_compiled(dtype):
        with Path(f"{_marker(dtype)}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits instead of compiling too
            if not is_compiled(dtype):
                _compile_in_child(dtype)
    compile_kernels(dtype)
    if _cache_misses():
        raise StreamrnnError(
            f"the {dtype} kernels were compiled into {CACHE_DIRECTORY}, but are not found there: remove that "
            "directory and start again"
        )
    _ready.add(dtype)


def compile_kernels(dtype: str) -> None:
    """Load the kernels from the cache; compile them into it where it lacks them."""
    entry: Any = process
    table = types.Array(types.int64, 1, "C")
    entry.compile((types.Array(from_dtype(np.dtype(dtype)), 1, "C"), table, table))


def _cache_misses() -> int:
    entry: Any = process
    return sum(entry.stats.cache_misses.values())


def _compile_in_child(dtype: str) -> None:
    path = [entry for entry in sys.path if Path(entry).is_absolute()]
    command = [sys.executable, "-P", "-c", CHILD, str(streamrnn.__file__), dtype, *path]
    environment = {**os.environ, "STREAMRNN_KERNELS": str(CACHE_DIRECTORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise StreamrnnError(f"compiling the {dtype} kernels failed:\n{done.stderr[-2000:]}")
    _marker(dtype).touch()


def _marker(dtype: str) -> Path:
    return CACHE_DIRECTORY / f"{dtype}.compiled"
