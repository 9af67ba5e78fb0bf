"""How a kernel is marked, and the one place where Numba is configured: CPU target, floating-point flags.

What the decorators make of a function depends on what the process is for:

loading       the usual case. Kernels come as machine code from an object file (``compiled``), so the decorators hand
              the function back as it is, nobody calls it, and Numba is not imported.
compiling     after ``use_numba()``, which has to come before any other module of ``core`` is imported: the process that
              writes the object file, and tests that call a single kernel. The decorators are Numba's.
interpreting  with ``NUMBA_DISABLE_JIT=1``: the functions run as the Python they are.

No fast-math flag is set, so that every operation rounds as IEEE 754 says and stays where it was written, whatever the
compiler's version and its target; sums over lanes and fused multiply-adds are written out (``vector``). Only functions
of the C library (exp, log, log1p, and tanh of float64) may differ from one machine to another. The target, x86-64-v3
(AVX2 and FMA), decides speed. ``NUMBA_CPU_NAME`` overrides it, and a host without AVX2 falls back to x86-64-v2 with a
warning: there a multiply-add rounds twice, so that its results do differ. Intel's SVML, where installed, is switched
off: its exp is not the C library's.
"""

from __future__ import annotations

import functools
import os
import platform
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

X86 = platform.machine().lower() in {"x86_64", "amd64"}
PINNED_CPU = "x86-64-v3" if X86 else "generic"
FALLBACK_CPU = "x86-64-v2"
OF_PINNED_CPU = frozenset({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"})
"""What x86-64-v3 has beyond x86-64-v2; the code may use any of it."""
ENTRY_POINT = "streamrnn_process"
"""The function of the object file that Python calls."""
JIT_DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # a zero-division check would keep every loop with a division from vectorising
    "nogil": True,
    # Kernels own no memory: without Numba's reference counting a step is four times faster. It also means that a kernel
    # which allocates does not compile.
    "_nrt": False,
    "no_cfunc_wrapper": True,
}

ZERO = cast(int, np.int64(0))
NO = cast(bool, np.bool_(False))
"""Typed, because Numba compiles a callee once more for every literal it is given."""

_compiling = _callable = False
_plain: list[str] = []
"""Modules whose kernels are plain Python in this process."""


def use_numba(*, callable_from_python: bool = True) -> None:
    """From here on the decorators are Numba's. Raises RuntimeError where kernels were imported before.

    ``callable_from_python=False`` leaves out the wrappers that only a caller in Python needs.
    """
    global _compiling, _callable
    if JIT_DISABLED or _compiling:
        return
    if _plain:
        raise RuntimeError(f"use_numba() comes too late: {_plain[0]} was imported as plain Python")
    from numba.core import config

    config.DISABLE_INTEL_SVML = 1
    config.CPU_NAME = cpu_target()
    config.CPU_FEATURES = cpu_features()
    _compiling, _callable = True, callable_from_python


def compiling() -> bool:
    """Whether the decorators are Numba's in this process."""
    return _compiling


@functools.cache
def cpu_target() -> str:
    """The CPU that code is generated for."""
    from llvmlite import binding as llvm

    if given := os.environ.get("NUMBA_CPU_NAME"):
        return given
    if not X86:
        return PINNED_CPU
    features = llvm.get_host_cpu_features()
    lacking = sorted(name for name in OF_PINNED_CPU if not features.get(name))
    if not lacking:
        return PINNED_CPU
    warnings.warn(
        f"this CPU lacks {', '.join(lacking)}: kernels are slower, and results differ in their last bits from those of "
        "other machines",
        RuntimeWarning,
        stacklevel=2,
    )
    return FALLBACK_CPU


def cpu_features() -> str:
    """What is added to the CPU target or taken from it: nothing, unless ``NUMBA_CPU_FEATURES`` says so."""
    return os.environ.get("NUMBA_CPU_FEATURES", "")


def _compiled(function: F, *, inline: bool) -> F:
    if not _compiling:
        _plain.append(function.__module__)
        return function
    import numba

    # Spelled out in both cases: what is not set is inherited from the first caller.
    wrapped = _callable and not inline
    return cast(F, numba.njit(**OPTIONS, forceinline=inline, no_cpython_wrapper=not wrapped)(function))


def jit(function: F) -> F:
    """Compile a function that other kernels call; LLVM decides where it is inlined."""
    return _compiled(function, inline=False)


def internal(function: F) -> F:
    """As ``jit``, but always inlined, and not to be called from Python: steps of a loop that are functions to be read.

    A named tuple that does not come from a table (``numba_tables``) would be copied word by word for each call.
    """
    return _compiled(function, inline=True)


def intrinsic(python: F) -> Callable[[Callable[..., Any]], F]:
    """A kernel that is written as LLVM code, and ``python``, which does the same and stands in for it elsewhere.

        def add(a, b):
            return a + b

        @intrinsic(add)
        def add_emitted(context, a, b):
            from numba import types  # never imported where kernels are loaded

            def generate(context, builder, signature, arguments):
                return builder.fadd(*arguments)

            return a(a, b), generate

    The decorated function is what ``numba.extending.intrinsic`` expects. It is called only where code is generated.
    """

    def decorate(typing: Callable[..., Any]) -> F:
        if not _compiling:
            _plain.append(typing.__module__)
            return python
        from numba import extending

        return cast(F, extending.intrinsic(typing))

    return decorate
