"""What the decorators make of a function depends on what the process is for, and that is settled before the first."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from llvmlite import binding as llvm

from streamrnn.core import jit


def printed(script: str, **environment: str) -> str:
    script = f"from streamrnn.core import jit\n{script}"
    return subprocess.check_output([sys.executable, "-c", script], text=True, env=environment).strip()


KIND = "from streamrnn.core.linear import copy\nprint(type(copy).__name__, jit.compiling())"


def test_kernels_are_plain_functions_unless_numba_is_asked_for() -> None:
    assert printed(KIND) == "function False"
    assert printed(f"jit.use_numba()\n{KIND}") == "CPUDispatcher True"
    assert printed(f"jit.use_numba()\n{KIND}", NUMBA_DISABLE_JIT="1") == "function False"


def test_asking_for_numba_when_kernels_were_imported_is_an_error() -> None:
    late = "import streamrnn.core.linear\ntry:\n    jit.use_numba()\nexcept RuntimeError as error:\n    print(error)"
    assert printed(late).startswith("use_numba() comes too late: streamrnn.core.")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A processor whose features can be chosen."""
    host = SimpleNamespace(features=dict.fromkeys(jit.OF_PINNED_CPU, True))
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: host.features)
    monkeypatch.setattr(jit, "X86", True)
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    return host


def test_the_target_is_pinned_and_a_processor_without_avx2_falls_back_with_a_warning(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = jit.cpu_target.__wrapped__
    assert target() == jit.PINNED_CPU
    host.features["bmi2"] = False
    with pytest.warns(RuntimeWarning, match="this CPU lacks bmi2: kernels are slower"):
        assert target() == jit.FALLBACK_CPU
    monkeypatch.setenv("NUMBA_CPU_NAME", "znver4")
    assert target() == "znver4"
