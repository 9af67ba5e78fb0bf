"""Vectors of a fixed number of lanes, for code that decides itself in which order numbers are added.

A compiler may not reorder floating-point additions, and one that is allowed to decides by the machine, its version and
its mood. So sums are written with these operations, whose result the source alone determines. A vector is a value of
any number of lanes, which the compiler cuts into as many registers as the machine needs; that changes no bit.

    load_8(v, j)        v[j : j + 8], also load_16, load_32, load_64
    zeros_8(v)          as many zeros, of v's type
    store(v, j, x)      v[j : j + lanes] = x
    fma(a, b, c)        a b + c, rounded once; ``a`` may be one number beside vectors, and all three may be numbers
    add(a, b)           a + b, lane by lane
    widen(x)            x in float64
    total(x)            the sum of the lanes: neighbours first, then neighbouring pairs, and so on
    totals_8(a, ..., h) eight totals of eight lanes each, as a vector

Nothing checks bounds. Where the compiler is off, a vector is a NumPy array and ``fma`` rounds twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamrnn.core.arrays import T1
from streamrnn.core.jit import JIT_DISABLED

LANES = 8
"""Lanes of a sum: a register of float32 with AVX2, two of float64."""

if JIT_DISABLED:

    def _loader(lanes: int) -> Callable[[T1, int], Any]:
        return lambda v, j: v[j : j + lanes].copy()

    def _zeros(lanes: int) -> Callable[[T1], Any]:
        return lambda v: np.zeros(lanes, v.dtype)

    def store(v: T1, j: int, x: Any) -> None:
        v[j : j + len(x)] = x

    def fma(a: Any, b: Any, c: Any) -> Any:
        return a * b + c

    def add(a: Any, b: Any) -> Any:
        return a + b

    def widen(x: Any) -> Any:
        return x.astype(np.float64)

    def total(x: Any) -> Any:
        while len(x) > 1:
            x = x[::2] + x[1::2]
        return x[0]

    def totals_8(*rows: Any) -> Any:
        return np.array([total(row) for row in rows])

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, models, register_model
    from numba.np.arrayobj import make_array

    class Vector(types.Type):  # type: ignore[misc]
        """``lanes`` numbers of one type, as a value."""

        def __init__(self, element: Any, lanes: int) -> None:
            self.element, self.lanes = element, lanes
            super().__init__(name=f"Vector({element}, {lanes})")

    @register_model(Vector)
    class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: Any, kind: Vector) -> None:
            element = manager.lookup(kind.element).get_value_type()
            super().__init__(manager, kind, ir.VectorType(element, kind.lanes))

    def _place(context: Any, builder: Any, kind: Any, arguments: Any, vector: Vector) -> Any:
        """Address of v[j] as one of a vector; v and j come first among the arguments."""
        data = builder.gep(make_array(kind)(context, builder, arguments[0]).data, [arguments[1]])
        return builder.bitcast(data, context.get_value_type(vector).as_pointer())

    def _loader(lanes: int) -> Callable[[T1, int], Any]:
        @intrinsic  # type: ignore[untyped-decorator]
        def load(_context: Any, v: Any, _j: Any) -> Any:
            vector = Vector(v.dtype, lanes)

            def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
                place = _place(context, builder, v, arguments, vector)
                return builder.load(place, align=v.dtype.bitwidth // 8)

            return vector(v, types.intp), generate

        return load  # type: ignore[no-any-return]

    def _zeros(lanes: int) -> Callable[[T1], Any]:
        @intrinsic  # type: ignore[untyped-decorator]
        def zeros(_context: Any, v: Any) -> Any:
            vector = Vector(v.dtype, lanes)

            def generate(context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
                return context.get_value_type(vector)(None)

            return vector(v), generate

        return zeros  # type: ignore[no-any-return]

    @intrinsic  # type: ignore[untyped-decorator]
    def store(_context: Any, v: Any, _j: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, v, arguments, x)
            builder.store(arguments[2], place, align=v.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(v, types.intp, x), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def fma(_context: Any, a: Any, b: Any, c: Any) -> Any:
        element = c.element if isinstance(c, Vector) else c
        lanes = c.lanes if isinstance(c, Vector) else 0

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = context.get_value_type(c)
            values = [
                value if isinstance(given, Vector) == bool(lanes) else _splat(builder, value, kind)
                for value, given in zip(arguments, signature.args, strict=True)
            ]
            name = f"llvm.fma.{f'v{lanes}' if lanes else ''}f{element.bitwidth}"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
            return builder.call(function, values)

        return c(a if isinstance(a, Vector) else element, b, c), generate

    def _splat(builder: Any, value: Any, kind: Any) -> Any:
        """A vector with this number in all lanes."""
        empty = ir.Constant(kind, ir.Undefined)
        one = builder.insert_element(empty, value, ir.IntType(32)(0))
        return builder.shuffle_vector(one, empty, ir.VectorType(ir.IntType(32), kind.count)(None))

    @intrinsic  # type: ignore[untyped-decorator]
    def add(_context: Any, a: Any, b: Any) -> Any:
        return a(a, b), lambda _context, builder, _signature, arguments: builder.fadd(*arguments)

    @intrinsic  # type: ignore[untyped-decorator]
    def widen(_context: Any, x: Any) -> Any:
        vector = Vector(types.float64, x.lanes)

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            if x.element == types.float64:
                return arguments[0]
            return builder.fpext(arguments[0], context.get_value_type(vector))

        return vector(x), generate

    def _pick(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
        """The numbered lanes of a and b, those of b counted on from a's."""
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

    @intrinsic  # type: ignore[untyped-decorator]
    def total(_context: Any, x: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            (value,) = arguments
            lanes = x.lanes
            while lanes > 1:
                even, odd = (_pick(builder, value, value, list(range(first, lanes, 2))) for first in (0, 1))
                value, lanes = builder.fadd(even, odd), lanes // 2
            return builder.extract_element(value, ir.IntType(32)(0))

        return x.element(x), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def totals_8(_context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            # Sums of neighbours within each half of two vectors: what AVX can do without crossing the halves.
            even, odd = [0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15]
            rows = list(arguments)
            for _ in range(2):
                pairs = zip(rows[::2], rows[1::2], strict=True)
                rows = [builder.fadd(_pick(builder, p, q, even), _pick(builder, p, q, odd)) for p, q in pairs]
            low = _pick(builder, rows[0], rows[1], [0, 1, 2, 3, 8, 9, 10, 11])
            high = _pick(builder, rows[0], rows[1], [4, 5, 6, 7, 12, 13, 14, 15])
            return builder.fadd(low, high)

        return a(a, b, c, d, e, f, g, h), generate


load_8, load_16, load_32, load_64 = map(_loader, (8, 16, 32, 64))
zeros_8, zeros_32 = map(_zeros, (8, 32))
