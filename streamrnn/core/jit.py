"""The one place where Numba is configured: CPU target, floating-point flags, on-disk cache.

Bits must not depend on the machine, so the CPU target is pinned to x86-64-v3 (AVX2 and FMA) before the first
compilation: the vector width decides the order of additions. ``NUMBA_CPU_NAME`` overrides it, and a host without AVX2
falls back to x86-64-v2 with a warning. Intel's SVML, where installed, is switched off for the same reason.

Fast-math is limited to contraction (FMA), reassociation (vectorised sums) and unsigned zeros. ``nnan`` and ``ninf``
stay off: with them ``isfinite(nan)`` compiles to True and the guards would vanish.

Entry points are cached on disk. Numba looks only at the file of the cached function, not at its callees in other
modules, so the directory's name carries a digest of all of ``core``. The index in it is a pickle written by Numba:
the directory is private to its user (mode 0700) and one owned by somebody else is not used.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

X86 = platform.machine().lower() in {"x86_64", "amd64"}
PINNED_CPU = "x86-64-v3"
FALLBACK_CPU = "x86-64-v2"

import numba  # noqa: E402 - after the constants that configure it
import numpy as np  # noqa: E402
from llvmlite import binding as llvm  # noqa: E402
from numba.core import config  # noqa: E402


def _pin_cpu() -> str:
    """Pin the code generator and return the target's name ("host" where nothing is pinned)."""
    config.DISABLE_INTEL_SVML = 1
    if config.CPU_NAME is None and X86:
        features = llvm.get_host_cpu_features()
        config.CPU_NAME = PINNED_CPU if features.get("avx2") and features.get("fma") else FALLBACK_CPU
        config.CPU_FEATURES = ""
        if config.CPU_NAME == FALLBACK_CPU:
            warnings.warn(
                "this CPU lacks AVX2 or FMA: kernels are slower, and results differ in their last bits from "
                "other machines",
                RuntimeWarning,
                stacklevel=2,
            )
    return str(config.CPU_NAME or "host")


CPU_TARGET = _pin_cpu()


def core_digest() -> str:
    """Twelve hex digits over the sources of ``core`` and all that decides the generated code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    versions = (sys.version, numba.__version__, CPU_TARGET, str(config.CPU_FEATURES))
    digest.update("\0".join(versions).encode())
    return digest.hexdigest()[:12]


def cache_directory() -> Path:
    """Where kernels are cached: ``$STREAMRNN_CACHE_DIR``, else the user's cache directory, else a temporary one.

    ``$STREAMRNN_KERNELS`` names the very directory; a process that compiles for another is told so. A cache directory
    has to be writable and its user's own. Numba looks at the time stamp of the cached function's file, so that is in
    the name.
    """
    if given := os.environ.get("STREAMRNN_KERNELS"):
        return Path(given)
    stamp = (Path(__file__).parent / "handle.py").stat().st_mtime_ns
    name = f"kernels-{core_digest()}-{stamp:x}"
    roots = [
        os.environ.get("STREAMRNN_CACHE_DIR"),
        os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser()),
        str(Path(tempfile.gettempdir()) / f"streamrnn-{os.getuid()}"),
    ]
    for root in filter(None, roots):
        path = Path(root) / "streamrnn" / name
        with contextlib.suppress(OSError):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.stat().st_uid == os.getuid() and os.access(path, os.W_OK):
                path.chmod(0o700)
                return path
    path = Path(tempfile.mkdtemp(prefix="streamrnn-kernels-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


CACHE_DIRECTORY = cache_directory()
JIT_DISABLED = bool(config.DISABLE_JIT)


ZERO = cast(int, np.int64(0))
"""Typed, because Numba compiles a callee once more for every literal it is given."""


OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # a zero-division check would keep every loop with a division from vectorising
    "nogil": True,
    # Kernels own no memory: without Numba's reference counting a step is four times faster. It also means that a kernel
    # which allocates does not compile.
    "_nrt": False,
}


def jit(function: F) -> F:
    """Compile a function that other kernels call; it is specialised and linked into its caller."""
    return cast(F, numba.njit(**OPTIONS)(function))


def internal(function: F) -> F:
    """As ``jit``, for functions that take the big named tuples: always inlined, and not to be called from Python.

    Handing the tuples over would mean copying hundreds of words per call, half the time of a step; and the wrapper that
    takes them apart for Python costs more compile time than the function itself.
    """
    return cast(F, numba.njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(function))


def merged(function: F) -> F:
    """As ``internal``, for what only the entry point calls: it becomes part of it before anything is optimised.

    Every level of calls is optimised again with all that is below it; this saves a quarter of the compile time.
    """
    return cast(F, numba.njit(**OPTIONS, inline="always")(function))


def entry_point(function: F) -> F:
    """Compile a function that Python calls: as ``jit``, and cached on disk."""
    saved = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_DIRECTORY)
    try:
        compiled = numba.njit(**OPTIONS, no_cfunc_wrapper=True, cache=True)(function)
    finally:
        config.CACHE_DIR = saved
    return cast(F, compiled)
