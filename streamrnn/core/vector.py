"""Vectors of a fixed number of lanes, for code that decides itself in which order numbers are added.

A compiler that keeps to the rules adds numbers one by one, as written; one that may reorder them decides by machine and
version. So sums are written with these operations, whose result follows from the source alone. A vector is a value of
any number of lanes, which the compiler cuts into the registers that the machine has; that changes no bit.

    load_8(v, j)        v[j : j + 8]; load_16, load_32 and load_64 likewise
    zeros_8(v)          eight zeros of v's type; zeros_32 and zeros_64 likewise
    store(v, j, x)      v[j : j + lanes] = x
    add(a, b)           a + b, lane by lane
    mul(a, b)           a b; ``a`` may be a number for all lanes
    fma(a, b, c)        a b + c, rounded once: of numbers, of vectors, or with a number ``a`` for all lanes of vectors
    size(x)             |x|, lane by lane
    widen(x)            x in float64
    total(x)            sum of the lanes: of neighbours, then of neighbouring pairs, and so on
    totals_8(a, ..., h) eight totals of eight lanes each, as a vector

Arrays are contiguous (others are refused while compiling), and nothing checks bounds. Interpreted, a vector is a NumPy
array, and ``fma`` rounds twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from streamrnn.core.arrays import T1, Array
from streamrnn.core.jit import FALLBACK_CPU, cpu_target, intrinsic

if TYPE_CHECKING:
    from llvmlite.ir import Constant, IRBuilder, Value
    from numba.core.base import BaseContext

LANES = 8
"""Lanes of a sum: a register of float32 with AVX2, two of float64."""

Vector: TypeAlias = Any
"""A vector or a number. For Numba, a type of its own: see ``vector_type``."""
Kind: TypeAlias = Any
"""A type, as Numba calls it."""
Typed: TypeAlias = Any
"""What Numba's intrinsics return: a signature and a function that writes the code."""


@functools.cache
def vector_type() -> Callable[[Kind, int], Kind]:
    """Numba's type of a vector, by the type and number of its lanes. Made late: Numba is imported to compile only."""
    from llvmlite import ir
    from numba.core import types
    from numba.extending import models, register_model

    class VectorType(types.Type):
        def __init__(self, element: Kind, lanes: int) -> None:
            self.element, self.lanes = element, lanes
            super().__init__(name=f"Vector({element}, {lanes})")

    @register_model(VectorType)
    class _Model(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: Kind, kind: Kind) -> None:
            super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.element).get_value_type(), kind.lanes))

    return VectorType


def _loader(lanes: int) -> Callable[[T1, int], Vector]:
    def python(v: T1, j: int) -> Vector:
        return v[j : j + lanes].copy()

    @intrinsic(python)
    def load(_context: BaseContext, v: Kind, _j: Kind) -> Typed:
        from numba.core import types

        require_neighbours(v)
        vector = vector_type()(v.dtype, lanes)

        def generate(context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
            place = _place(context, builder, v, arguments, vector)
            return builder.load(place, align=v.dtype.bitwidth // 8)

        return vector(v, types.intp), generate

    return load


def _zeros(lanes: int) -> Callable[[T1], Vector]:
    def python(v: T1) -> Vector:
        return np.zeros(lanes, v.dtype)

    @intrinsic(python)
    def zeros(_context: BaseContext, v: Kind) -> Typed:
        vector = vector_type()(v.dtype, lanes)
        return vector(v), lambda context, *_: context.get_value_type(vector)(None)

    return zeros


def require_neighbours(v: Kind) -> None:
    """Raise Numba's TypingError unless the numbers of v (n,) stand side by side, as far as its type tells."""
    from numba.core.errors import TypingError

    if v.layout != "C" or v.ndim != 1:
        raise TypingError(f"lanes are read from and written to contiguous vectors, not {v}")


def _place(context: BaseContext, builder: IRBuilder, v: Kind, arguments: Sequence[Value], vector: Kind) -> Value:
    """The address of v[j] as one of a vector; v and j come first among the arguments."""
    from numba.np.arrayobj import make_array

    place = builder.gep(make_array(v)(context, builder, arguments[0]).data, [arguments[1]])
    return builder.bitcast(place, context.get_value_type(vector).as_pointer())


def _store_python(v: T1, j: int, x: Vector) -> None:
    v[j : j + len(x)] = x


@intrinsic(_store_python)
def store(_context: BaseContext, v: Kind, _j: Kind, x: Kind) -> Typed:
    from numba.core import types

    require_neighbours(v)

    def generate(context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
        builder.store(arguments[2], _place(context, builder, v, arguments, x), align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(v, types.intp, x), generate


def _add_python(a: Vector, b: Vector) -> Vector:
    return a + b


@intrinsic(_add_python)
def add(_context: BaseContext, a: Kind, b: Kind) -> Typed:
    return a(a, b), lambda _context, builder, _signature, arguments: builder.fadd(*arguments)


def _fma_python(a: Vector, b: Vector, c: Vector) -> Vector:
    return a * b + c


@intrinsic(_fma_python)
def fma(_context: BaseContext, a: Kind, b: Kind, c: Kind) -> Typed:
    lanes = getattr(c, "lanes", 0)
    element = c.element if lanes else c
    # Where there is no such instruction llvm.fma calls the C library: the same bits, far slower. A target that somebody
    # named gets that. The one an old processor falls back to gets two roundings, and a warning (``jit``).
    name = "llvm.fmuladd" if cpu_target() == FALLBACK_CPU else "llvm.fma"

    def generate(context: BaseContext, builder: IRBuilder, signature: Typed, arguments: Sequence[Value]) -> Value:
        from llvmlite import ir
        from numba.core import cgutils

        kind, factor = context.get_value_type(c), arguments[0]
        if signature.args[0] != c:
            factor = _spread(builder, factor, kind, lanes)
        full_name = f"{name}.{f'v{lanes}' if lanes else ''}f{element.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), full_name)
        return builder.call(function, [factor, *arguments[1:]])

    return c(c if a == c else element, b, c), generate


def _spread(builder: IRBuilder, number: Value, kind: Kind, lanes: int) -> Value:
    """The vector, as LLVM calls its kind, whose lanes are all that number."""
    from llvmlite import ir

    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.VectorType(ir.IntType(32), lanes)(None))


def _mul_python(a: Vector, b: Vector) -> Vector:
    return a * b


@intrinsic(_mul_python)
def mul(_context: BaseContext, a: Kind, b: Kind) -> Typed:
    def generate(context: BaseContext, builder: IRBuilder, signature: Typed, arguments: Sequence[Value]) -> Value:
        factor, vector = arguments
        if signature.args[0] != b:
            factor = _spread(builder, factor, context.get_value_type(b), b.lanes)
        return builder.fmul(factor, vector)

    return b(b if a == b else b.element, b), generate


def _size_python(x: Vector) -> Vector:
    return np.abs(x)


@intrinsic(_size_python)
def size(_context: BaseContext, x: Kind) -> Typed:
    def generate(context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
        from llvmlite import ir
        from numba.core import cgutils

        kind = context.get_value_type(x)
        name = f"llvm.fabs.v{x.lanes}f{x.element.bitwidth}"
        return builder.call(
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name), arguments
        )

    return x(x), generate


def _widen_python(x: Vector) -> Vector:
    return x.astype(np.float64)


@intrinsic(_widen_python)
def widen(_context: BaseContext, x: Kind) -> Typed:
    from numba.core import types

    wide = vector_type()(types.float64, x.lanes)

    def generate(context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
        return arguments[0] if x == wide else builder.fpext(arguments[0], context.get_value_type(wide))

    return wide(x), generate


def _total_python(x: Vector) -> Vector:
    while len(x) > 1:
        x = x[::2] + x[1::2]
    return x[0]


@intrinsic(_total_python)
def total(_context: BaseContext, x: Kind) -> Typed:
    def generate(_context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
        from llvmlite import ir

        (value,), lanes = arguments, x.lanes
        while lanes > 1:
            even, odd = _numbers(range(0, lanes, 2)), _numbers(range(1, lanes, 2))
            value = builder.fadd(builder.shuffle_vector(value, value, even), builder.shuffle_vector(value, value, odd))
            lanes //= 2
        return builder.extract_element(value, ir.IntType(32)(0))

    return x.element(x), generate


def _numbers(numbers: Sequence[int]) -> Constant:
    """The numbers of lanes, as a shuffle takes them."""
    from llvmlite import ir

    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _totals_python(*rows: Vector) -> Array:
    return np.array([_total_python(row) for row in rows])


@intrinsic(_totals_python)
def totals_8(_context: BaseContext, a: Kind, b: Kind, c: Kind, d: Kind, e: Kind, f: Kind, g: Kind, h: Kind) -> Typed:
    def generate(_context: BaseContext, builder: IRBuilder, _signature: Typed, arguments: Sequence[Value]) -> Value:
        def pick(p: Value, q: Value, *lanes: int) -> Value:
            return builder.shuffle_vector(p, q, _numbers(lanes))

        # Neighbours are added within each half of two vectors: AVX does not cross halves. Lanes of q count from 8.
        rows = list(arguments)
        for _ in range(2):
            rows = [
                builder.fadd(pick(p, q, 0, 2, 8, 10, 4, 6, 12, 14), pick(p, q, 1, 3, 9, 11, 5, 7, 13, 15))
                for p, q in zip(rows[::2], rows[1::2], strict=True)
            ]
        low, high = pick(*rows, 0, 1, 2, 3, 8, 9, 10, 11), pick(*rows, 4, 5, 6, 7, 12, 13, 14, 15)
        return builder.fadd(low, high)

    return a(a, b, c, d, e, f, g, h), generate


load_8, load_16, load_32, load_64 = map(_loader, (8, 16, 32, 64))
zeros_8, zeros_32, zeros_64 = map(_zeros, (8, 32, 64))
