"""Compiles the kernels into one object file. Runs in a process of its own (``compiled`` starts it), and imports Numba.

Numba would optimise each of the hundred functions, emit machine code for it, and do both again inside each of its
callers: two thirds of a minute for code that nobody calls. Here a callee ends as LLVM code (``Unemitted``), all are
linked once, and what the entry point needs of them is optimised and emitted once. A function that Python calls from C
is added; an exception that a kernel could raise becomes a status, so nothing of Numba's runtime is asked for.

What comes out depends on sources and versions alone: not on what Numba did before, on paths or on the order of sets.
"""

from __future__ import annotations

import gc
import platform
import struct
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from llvmlite.ir import Value
from numba import types
from numba.core import callconv, cgutils, codegen
from numba.core.base import BaseContext
from numba.core.registry import cpu_target
from numba.np import arrayobj
from numba.np.numpy_support import from_dtype

from streamrnn.core.jit import ENTRY_POINT
from streamrnn.core.kinds import Family
from streamrnn.core.numba_tables import array_at
from streamrnn.core.object_file import ObjectFile, write

FOREIGN = frozenset(
    {
        "cos",
        "exp",
        "expm1",
        "fma",
        "fmaf",
        "log",
        "log1p",
        "memcpy",
        "memmove",
        "memset",
        "sin",
        "sincos",
        "sqrt",
        "sqrtf",
        "tanh",
    }
)
"""What the object may ask of the C library. Where a processor has no instruction for fma, or an older Numba does not
use the one for sqrt, the library's rounds the same."""


class Unemitted(codegen.JITCodeLibrary):  # type: ignore[misc]
    """A function's LLVM code and the libraries of those it calls: nothing is linked, optimised or emitted."""

    def _optimize_functions(self, module: llvm.ModuleRef) -> None:
        """Not one by one: all are optimised once they are linked."""
        module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True

    def get_pointer_to_function(self, _name: str) -> int:
        return 0

    def modules(self, seen: set[int] | None = None) -> Iterator[llvm.ModuleRef]:
        """The LLVM modules of this and all it needs, each once."""
        seen = set() if seen is None else seen
        if id(self) not in seen:
            seen.add(id(self))
            yield self._final_module
            for library in self._linking_libraries:
                yield from library.modules(seen)


class Codegen(codegen.JITCPUCodegen):  # type: ignore[misc]
    """Numba's code generator with these libraries."""

    _library_class = Unemitted

    def set_env(self, _name: str, _environment: object) -> None:
        """Of use to Python's wrappers alone, and there are none."""


class StatusOnly(callconv.CPUCallConv):  # type: ignore[misc]
    """An exception is a number: no pickled exception is put into the code, and nobody to read it."""

    def return_user_exc(self, builder: ir.IRBuilder, *_what: object, **_where: object) -> None:
        self._return_errcode_raw(builder, callconv.RETCODE_USEREXC)


def write_object(family: Family, dtype: str, path: str) -> None:
    """Compile one family in one precision and write its object file. For a process that does nothing else."""
    if family == "steps":  # of its kernels it is tested that all indices are from the front
        take_indices_as_they_are()
    write(Path(path), ObjectFile(emit(dtype, family), versions()))


def take_indices_as_they_are() -> None:
    """Have no index mean a place counted from an array's end, in what is compiled from here on.

    Numba asks of every index of a signed type whether it is negative, which LLVM mostly cannot answer: three
    instructions each, of which the walk over records had as many as of arithmetic.
    """

    def as_it_is(context: BaseContext, builder: ir.IRBuilder, kind: types.Integer, index: Value, _size: Value) -> Value:
        return context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)

    arrayobj.fix_integer_index = as_it_is


def entry_of(family: Family) -> Any:
    """The kernel that Python calls."""
    if family == "sequences":
        from streamrnn.core.sequences.handle import process as of_sequences

        return of_sequences
    if family == "wire":
        from streamrnn.core.wire.handle import process as of_bytes

        return of_bytes
    from streamrnn.core.handle import process

    return process


def emit(dtype: str, family: Family = "steps") -> bytes:
    """The object of one family and precision."""
    gc.set_threshold(50_000, 20, 100)
    context = cpu_target.target_context
    context._internal_codegen = generator = Codegen("streamrnn")
    type(context).call_conv = property(StatusOnly)
    table = types.Array(types.int64, 1, "C")
    signature = (types.Array(from_dtype(np.dtype(dtype)), 1, "C"), table, table)
    entry = entry_of(family)
    entry.compile(signature)
    (compiled,) = entry.overloads.values()
    module = llvm.parse_assembly(str(generator._create_empty_module("streamrnn")))
    for part in compiled.library.modules():
        module.link_in(part, preserve=True)
    module.link_in(_entry_point(context, signature, compiled.fndesc.llvm_func_name))
    for part in (*module.functions, *module.global_variables):
        if not part.is_declaration and part.name != ENTRY_POINT:
            part.linkage = "internal"
    module.verify()
    for passes, builder in (
        generator._module_pass_manager(loop_vectorize=False, slp_vectorize=False, opt=0, cost="cheap"),
        generator._module_pass_manager(),
    ):
        passes.run(module, builder)
    data: bytes = generator._tm.emit_object(module)
    require_c_library_only(data)
    return data


def versions() -> dict[str, str]:
    """What made an object file besides the sources."""
    return {
        "numba": metadata.version("numba"),
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _entry_point(context: BaseContext, signature: tuple[types.Type, ...], name: str) -> llvm.ModuleRef:
    """``int32 streamrnn_process(learner, n, records, m)``, two tables by address and length: 0, or Numba's status."""
    module = ir.Module("entry")
    word, status = ir.IntType(64), ir.IntType(32)
    native = ir.Function(module, context.call_conv.get_function_type(types.none, signature), name)
    function = ir.Function(module, ir.FunctionType(status, [word] * 4), ENTRY_POINT)
    builder = ir.IRBuilder(function.append_basic_block())
    learner, n, records, m = function.args
    places = ((word(0), word(0)), (learner, n), (records, m))
    arguments = [
        array_at(context, builder, kind, address, [length])
        for kind, (address, length) in zip(signature, places, strict=True)
    ]
    outcome, _ = context.call_conv.call_function(builder, native, types.none, signature, arguments)
    builder.ret(outcome.code)
    return llvm.parse_assembly(cgutils.normalize_ir_text(str(module)))


def require_c_library_only(data: bytes) -> None:
    """Raises RuntimeError for an object that asks for more, since that would end the process which calls it."""
    if foreign := undefined(data) - FOREIGN:
        raise RuntimeError(f"the kernels ask for {', '.join(sorted(foreign))}, which is not known to be in libm")


def undefined(data: bytes) -> set[str]:
    """Names that an ELF object (64 bits, little-endian) leaves to be found elsewhere."""
    if data[:6] != b"\x7fELF\x02\x01":
        return set()
    (start,), (size, count) = struct.unpack_from("<Q", data, 0x28), struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + size * i) for i in range(count)]
    names = set()
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind == 2:  # SHT_SYMTAB
            strings = sections[link][4]
            for place in range(offset + 24, offset + length, 24):  # the first entry is empty
                name, _, _, section = struct.unpack_from("<IBBH", data, place)
                if section == 0:
                    names.add(data[strings + name : data.index(b"\0", strings + name)].decode())
    return names
