"""The object asks for nothing but the C library, and comes out the same whatever Numba did before."""

from __future__ import annotations

import subprocess
import sys

import pytest
from llvmlite import binding as llvm

from streamrnn.core import compiled, emit, object_file
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.kinds import BYTES, Family

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")


def emitted(code: str) -> bytes:
    """The object of a few lines of LLVM."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    data: bytes = machine.emit_object(llvm.parse_assembly(code))
    return data


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_ask_for_functions_of_the_c_library_alone(dtype: str) -> None:
    names = emit.undefined(object_file.read(compiled.kernels(dtype).path).data)
    assert {"exp", "tanh"} <= names <= emit.FOREIGN


def test_the_kernels_of_bytes_ask_for_nothing_but_to_clear_memory() -> None:
    found = object_file.read(compiled.kernels(BYTES, family="wire").path).data
    assert emit.undefined(found) <= {"memset", "memcpy"}


@pytest.mark.parametrize(("dtype", "family"), [("float32", "steps"), ("float64", "steps"), (BYTES, "wire")])
def test_there_is_no_pickle_in_the_object(dtype: str, family: Family) -> None:
    assert b"pickle" not in object_file.read(compiled.kernels(dtype, family=family).path).data


def test_an_object_that_asks_for_more_is_refused() -> None:
    call = "declare void @{0}()\n define void @f() {{ call void @{0}()\n ret void }}"
    emit.require_c_library_only(emitted(call.format("exp")))
    assert emit.undefined(emitted(call.format("numba_do_raise"))) == {"numba_do_raise"}
    with pytest.raises(RuntimeError, match="numba_do_raise"):
        emit.require_c_library_only(emitted(call.format("numba_do_raise")))


LEARN = """
import sys
from streamrnn import Block, Learner, LearnerSpec, ModelSpec, TargetSpec
learner = Learner(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), model=ModelSpec(readout="rls")), seed=1)
learner.process(Block.events([b"a"] * 50, x=[[i % 7] for i in range(50)], y=[[i % 5] for i in range(50)]))
print(learner.digest, "numba" in sys.modules)
"""


def test_a_process_that_used_numba_before_runs_the_same_bits() -> None:
    """It compiled something of its own, with other flags and for the processor at hand."""
    before = "import numba\nassert numba.njit(fastmath=True)(lambda x: x + 1)(1) == 2"
    run = [subprocess.check_output([sys.executable, "-c", f"{first}\n{LEARN}"], text=True) for first in ("", before)]
    (plain, imported), (digest, used) = map(str.split, run)
    assert (imported, used) == ("False", "True")
    assert digest == plain
