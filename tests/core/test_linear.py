"""The matrix products against NumPy's, at sizes that end inside and outside the unrolled blocks."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.linear import add_outer, add_product, add_rows, add_transposed

SIZES = [(1, 1), (3, 5), (8, 4), (9, 12), (16, 7), (19, 33)]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> type:
    return request.param


def tolerance(dtype: type) -> dict[str, float]:
    return {"rtol": 1e-5, "atol": 1e-5} if dtype is np.float32 else {"rtol": 1e-13, "atol": 1e-13}


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_products_agree_with_numpy_and_add_to_what_is_there(n: int, m: int, dtype: type) -> None:
    rng = np.random.default_rng(n * m)
    w, v, out = (rng.standard_normal(shape).astype(dtype) for shape in ((n, m), n, m))
    expected = out + v @ w
    add_product(out, w, v)
    np.testing.assert_allclose(out, expected, **tolerance(dtype))

    dv, dout = rng.standard_normal(n).astype(dtype), rng.standard_normal(m).astype(dtype)
    expected = dv + w @ dout
    add_transposed(dv, w, dout)
    np.testing.assert_allclose(dv, expected, **tolerance(dtype))


@pytest.mark.parametrize("steps", [0, 1, 7, 8, 11, 16])
def test_outer_products_take_the_first_steps_only(steps: int, dtype: type) -> None:
    rng = np.random.default_rng(steps)
    rows, dout = rng.standard_normal((17, 5)).astype(dtype), rng.standard_normal((17, 6)).astype(dtype)
    dw, total = rng.standard_normal((5, 6)).astype(dtype), rng.standard_normal(6).astype(dtype)
    expected = dw + rows[:steps].T @ dout[:steps]
    add_outer(dw, rows, dout, steps)
    np.testing.assert_allclose(dw, expected, **tolerance(dtype))
    expected = total + dout[:steps].sum(axis=0)
    add_rows(total, dout, steps)
    np.testing.assert_allclose(total, expected, **tolerance(dtype))
