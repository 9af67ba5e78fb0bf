"""Has the kernels at hand: loads their object file, and has it compiled where there is none.

Everybody loads, also the process that had to have the file made: a child process compiles, and this one never does. So
all processes run the same machine code, whatever they have used Numba for, and Numba need not be imported.

One file per family of kernels and precision serves every cell, loss, optimiser and size: they are switches inside the
kernels. An installed wheel brings all files along.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from ctypes import CFUNCTYPE, c_int32, c_int64
from pathlib import Path
from typing import Any, Literal, NamedTuple

from streamrnn.core import object_file
from streamrnn.core.jit import ENTRY_POINT, JIT_DISABLED, cpu_features, cpu_target
from streamrnn.core.kinds import Family
from streamrnn.errors import StreamrnnError
from streamrnn.system import child, trusted
from streamrnn.system.reading import UnusableFileError

Precision = Literal["float32", "float64"]
HOW_LONG: Mapping[Family, str] = {"steps": "half a minute", "sequences": "two minutes", "wire": "ten seconds"}
"""To compile kernels, on a machine that is not busy."""
TIMEOUT_S = 900.0
_ASKED_EVERY_S = 0.1

_OUTLIVES_NOBODY = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to outlive whoever waits for it, however it ends
    if os.getppid() != int(sys.argv.pop()):
        sys.exit("nobody waits for this any more")
"""
CHILD = """
family, dtype, output = sys.argv[1:]
from streamrnn.core import jit
jit.use_numba(callable_from_python=False)
from streamrnn.core.emit import write_object
write_object(family, dtype, output)
"""

_log = logging.getLogger(__name__)
_engines: list[Any] = []  # own the code they loaded

Process = Callable[[int, int, int, int], int]


Cancelled = Callable[[], bool]
"""Asked while kernels are compiled: whether nobody wants them any more."""


class CompilationCancelled(StreamrnnError):  # noqa: N818 - no error, but what was asked for
    """The kernels were not compiled, since the process is to end."""


def _never() -> bool:
    return False


class Kernels(NamedTuple):
    """The loaded kernels of one family and precision, and what made them."""

    process: Process
    path: Path
    digest: str
    versions: dict[str, str]


_loaded: dict[tuple[Family, str], Kernels] = {}


def warm_up(dtype: str = "float32", cancelled: Cancelled = _never, family: Family = "steps") -> float:
    """Have these kernels compiled and loaded, so that no record waits; returns the seconds it took.

    Raises CompilationCancelled, with the compiler ended, once ``cancelled`` says so.
    """
    started = time.perf_counter()
    if not JIT_DISABLED:
        kernels(dtype, cancelled, family)
    return time.perf_counter() - started


def is_compiled(dtype: str, family: Family = "steps") -> bool:
    """Whether a process would find these kernels."""
    return JIT_DISABLED or object_file.find(dtype, family) is not None


def ensure_compiled(dtype: str, family: Family = "steps") -> None:
    """Have the kernels of "float32" or "float64" loaded; does nothing where they are interpreted."""
    if not JIT_DISABLED:
        kernels(dtype, family=family)


def kernels(dtype: str, cancelled: Cancelled = _never, family: Family = "steps") -> Kernels:
    """The kernels of one family and precision, from their object file; a child writes that where there is none.

    Raises StreamrnnError where they cannot be compiled or stored, or came with the package and are damaged.
    """
    if (family, dtype) not in _loaded:
        path = object_file.find(dtype, family)
        content = None if path is None else _intact(path)
        if path is None or content is None:
            path, content = compile_once(dtype, cancelled, family)
        _loaded[family, dtype] = Kernels(_load(content.data), path, content.digest, content.versions)
    return _loaded[family, dtype]


def build(dtype: str, family: Family = "steps") -> dict[str, str]:
    """What decides the bits of these kernels, the digest of the object that this process runs among it."""
    sources = object_file.source_digest(family)
    if JIT_DISABLED:
        return {"core": sources, "kernels": "interpreted"}
    loaded = kernels(dtype, family=family)
    made_by: dict[str, str] = {name: version for name, version in loaded.versions.items() if name in ("numba", "llvm")}
    return {"cpu": cpu_target(), "core": sources, "kernels": loaded.digest, **made_by}


def _intact(path: Path) -> object_file.ObjectFile | None:
    """What the file holds; None where it is damaged, or not to be trusted, and can be compiled anew."""
    try:
        return object_file.read(path)
    except (object_file.DamagedError, UnusableFileError) as error:
        if path.parent == object_file.SHIPPED:
            raise StreamrnnError(f"{error}; install streamrnn again") from None
        _log.warning("%s; compiling anew", error)
        return None
    except OSError as error:  # it was readable a moment ago
        raise StreamrnnError(f"{path} cannot be read: {error}") from error


def compile_once(
    dtype: str, cancelled: Cancelled = _never, family: Family = "steps"
) -> tuple[Path, object_file.ObjectFile]:
    """Have the kernels compiled into the cache, unless another process did so meanwhile; returns where, and what.

    Where no directory can be kept, they are compiled for this process alone, below a name that nobody can guess.
    """
    directory = object_file.writable_directory()
    if directory is None:
        return _compile_for_now(dtype, cancelled, family)
    path = directory / object_file.cached_name(dtype, family)
    # Opened for reading, since the file may be another user's; a lock needs no more.
    lock = os.open(f"{path}.lock", os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, object_file.mode())
    try:
        _lock(lock, cancelled)
        content = _intact(path) if path.exists() else None
        if content is None:
            _log.warning(
                "compiling the %s kernels, once on this machine: %s, more when it is busy",
                shown(dtype, family),
                HOW_LONG[family],
            )
            compile_in_child(dtype, path, cancelled, family)
            content = _intact(path)
    finally:
        os.close(lock)
    if content is None:
        raise StreamrnnError(f"{path} was written a moment ago and cannot be used: something else writes there, too")
    return path, content


def shown(dtype: str, family: Family) -> str:
    """What these kernels are called in a message."""
    return {"steps": dtype, "sequences": f"{dtype} sequences", "wire": "wire"}[family]


def _compile_for_now(dtype: str, cancelled: Cancelled, family: Family) -> tuple[Path, object_file.ObjectFile]:
    """Compile into a directory that is gone afterwards."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix="streamrnn-")
        with scratch:
            os.close(trusted.open_directory(Path(scratch.name)))  # before half a minute is spent on it
            _log.warning(
                "compiling the %s kernels for this process alone, %s, since there is no directory to keep them in: "
                "name one in STREAMRNN_CACHE_DIR, or install a wheel, which brings them along",
                shown(dtype, family),
                HOW_LONG[family],
            )
            path = Path(scratch.name) / object_file.cached_name(dtype, family)
            compile_in_child(dtype, path, cancelled, family)
            return path, object_file.read(path)
    except OSError as error:
        raise StreamrnnError(
            f"the {shown(dtype, family)} kernels have to be compiled, and no directory to do it in can be used "
            f"({error}): name one in STREAMRNN_CACHE_DIR, or install a wheel, which brings them along"
        ) from error


def _lock(file: int, cancelled: Cancelled) -> None:
    """Wait until no other process compiles the same."""
    told = False
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                _log.info("another process compiles the kernels; waiting for it")
                told = True
            if cancelled():
                raise CompilationCancelled("waiting for another process that compiles the kernels: stopped") from None
            time.sleep(_ASKED_EVERY_S)


def compile_in_child(dtype: str, path: Path, cancelled: Cancelled = _never, family: Family = "steps") -> None:
    """Write the object file by a process of its own. Raises StreamrnnError with its last words where that fails.

    Hash seed, working directory and the settings of Numba and Python are fixed, so that the same sources give the same
    bytes.
    """
    parent = [str(os.getpid())] if sys.platform == "linux" else []
    command = child.command(CHILD, [family, dtype, str(path.absolute()), *parent], before=_OUTLIVES_NOBODY)
    fixed = {"NUMBA_CPU_NAME": cpu_target(), "NUMBA_CPU_FEATURES": cpu_features(), "PYTHONHASHSEED": "0"}
    kept = child.environment(without=("NUMBA_",))
    failed = f"compiling the {shown(dtype, family)} kernels failed"
    run: dict[str, Any] = {"env": kept | fixed, "cwd": path.parent, "stdin": subprocess.DEVNULL, "text": True}
    try:
        started = subprocess.Popen(command, **run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise StreamrnnError(f"{failed}, since {sys.executable} could not be started: {error}") from error
    with started:
        try:
            said = _said(started, cancelled, failed)
        finally:  # whatever ends the waiting ends the child
            started.kill()
    if started.returncode != 0 or not path.exists():
        raise StreamrnnError(f"{failed}, with status {started.returncode}:\n{said[-2000:]}")


def _said(started: subprocess.Popen[str], cancelled: Cancelled, failed: str) -> str:
    """Wait for the child; returns what it printed."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return started.communicate(timeout=_ASKED_EVERY_S)[0]
        if cancelled():
            raise CompilationCancelled(f"{failed}: stopped")
        if time.monotonic() > deadline:
            raise StreamrnnError(f"{failed}: not done after {TIMEOUT_S:.0f} s; try when the machine is idle")


def _load(data: bytes) -> Process:
    """The entry point of an object, linked into this process."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=cpu_target(), jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    if not (address := engine.get_function_address(ENTRY_POINT)):
        raise StreamrnnError(f"the kernels' object file holds no {ENTRY_POINT}; remove it and start again")
    _engines.append(engine)
    # Called without the GIL, as all of ctypes' functions.
    return CFUNCTYPE(c_int32, c_int64, c_int64, c_int64, c_int64)(address)
