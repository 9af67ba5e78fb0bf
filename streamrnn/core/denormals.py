"""Numbers too small to be normal count as zero while an exact cell is at work.

Traces and states decay by a factor at each step, so where inputs are silent they come to numbers below 1e-38, which a
processor adds and multiplies many times slower. Two bits of its control register (MXCSR of x86-64: flush to zero,
denormals are zero) spare that, and are put back after the call. Elsewhere nothing is done: results differ there by less
than 1e-38. Interpreted kernels keep such numbers, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamrnn.core.jit import X86, intrinsic
from streamrnn.core.vector import Kind, Typed

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext

FLUSH_TO_ZERO, ARE_ZERO = 1 << 15, 1 << 6


def _exchange_python(given: int) -> int:
    return given


@intrinsic(_exchange_python)
def exchange(_context: BaseContext, _given: Kind) -> Typed:
    """Writes the control register: with both bits set where the number is -1, else that. Returns what it was."""
    from numba.core import types

    def generate(_context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
        from llvmlite import ir
        from numba.core import cgutils

        if not X86:
            return arguments[0]
        word = ir.IntType(32)
        place = cgutils.alloca_once(builder, word)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr"), [address])
        before = builder.load(place)
        wanted = builder.select(
            builder.icmp_signed("==", arguments[0], arguments[0].type(-1)),
            builder.or_(before, word(FLUSH_TO_ZERO | ARE_ZERO)),
            builder.trunc(arguments[0], word),
        )
        builder.store(wanted, place)
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr"), [address])
        return builder.zext(before, arguments[0].type)

    return types.int64(types.int64), generate
