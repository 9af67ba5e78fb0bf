"""The matrix products against NumPy's, at widths that end inside and outside tiles, and against their own order."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.linear import (
    add_looked_up,
    add_outer,
    add_outer_product,
    add_product,
    add_products,
    add_rows,
    add_to_looked_up,
    add_transposed,
    add_transposed_product,
    dot,
)  # fmt: skip

SIZES = [(1, 1), (3, 5), (8, 4), (9, 12), (16, 7), (19, 33), (8, 8), (17, 64), (5, 100), (33, 119)]


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

    dv, dout = rng.standard_normal((3, n)).astype(dtype), rng.standard_normal((3, m)).astype(dtype)
    expected = dv + dout @ w.T
    add_transposed(dv, w, dout)
    np.testing.assert_allclose(dv, expected, **tolerance(dtype))


def test_looking_up_rows_gives_the_bits_of_multiplying_one_hot_vectors(dtype: type) -> None:
    rng, rows = np.random.default_rng(5), np.array([[0, 6], [3, -1], [-1, -1], [6, 6], [2, 0]])
    one_hot = np.zeros((5, 7), dtype)
    for t, k in np.argwhere(rows >= 0):
        one_hot[t, rows[t, k]] += 1
    w, out, dout = (rng.standard_normal(shape).astype(dtype) for shape in ((7, 19), (5, 19), (5, 19)))
    multiplied, looked_up = out.copy(), out.copy()
    add_products(multiplied, w, one_hot)
    add_looked_up(looked_up, w, rows)
    in_order = np.r_[0:3, 4]  # the row that is named twice is doubled before it is added, or added twice
    np.testing.assert_array_equal(looked_up[[0, 1, 2]], multiplied[[0, 1, 2]])
    np.testing.assert_allclose(looked_up[in_order], multiplied[in_order], **tolerance(dtype))
    dw, dw_looked_up = w.copy(), w.copy()
    add_outer(dw, one_hot, dout, 5)
    add_to_looked_up(dw_looked_up, rows, dout)
    np.testing.assert_array_equal(dw_looked_up[:6], dw[:6])
    np.testing.assert_allclose(dw_looked_up, dw, **tolerance(dtype))


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


@pytest.mark.parametrize("m", [*range(1, 35), 39, 40, 63, 64, 65, 95, 96, 103, 104, 127, 128, 129, 200])
def test_products_of_every_width_agree_with_numpy_and_stay_inside_their_output(m: int, dtype: type) -> None:
    rng, n, T = np.random.default_rng(m), 5, 6
    w, v, dout = (rng.standard_normal(shape).astype(dtype) for shape in ((n, m), (T, n), (T, m)))
    memory = np.full((T + 2) * max(m, n), 7, dtype)
    out = memory[m : (1 + T) * m].reshape(T, m)
    add_products(out, w, v)
    np.testing.assert_allclose(out, 7 + v @ w, **tolerance(dtype))
    out[:] = 7
    add_product(out[2], w, v[2])
    np.testing.assert_allclose(out[2], 7 + v[2] @ w, **tolerance(dtype))
    memory[:] = 7
    dw = memory[m : (1 + n) * m].reshape(n, m)
    add_outer(dw, v, dout, T)
    np.testing.assert_allclose(dw, 7 + v.T @ dout, **tolerance(dtype))
    assert set(memory[:m]) | set(memory[(1 + n) * m :]) == {7}
    memory[:] = 7
    dv = memory[1 : T * n + 1].reshape(T, n)
    add_transposed(dv, w, dout)
    np.testing.assert_allclose(dv, 7 + dout @ w.T, **tolerance(dtype))
    assert memory[0] == memory[T * n + 1] == 7
    np.testing.assert_allclose(dot(w[0], dout[0]), w[0] @ dout[0], **tolerance(dtype))


def test_an_output_has_the_same_bits_alone_and_among_any_others(dtype: type) -> None:
    rng, n, T, m = np.random.default_rng(0), 37, 9, 130
    w, v = rng.standard_normal((n, m)).astype(dtype), rng.standard_normal((T, n)).astype(dtype)
    expected = np.zeros((T, m), dtype)
    add_products(expected, w, v)
    for first, width in [(0, 1), (3, 7), (1, 8), (5, 30), (2, 67), (11, 119)]:
        out = np.zeros((T, width), dtype)
        part = np.ascontiguousarray(w[:, first : first + width])
        for t in range(T):
            add_product(out[t], part, v[t])
        np.testing.assert_array_equal(out, expected[:, first : first + width])
        out[:] = 0
        add_outer(out, np.ascontiguousarray(v.T), part, n)
        np.testing.assert_array_equal(out, expected[:, first : first + width])


@pytest.mark.parametrize("m", [7, 8, 19, 64])
def test_lanes_share_a_row_and_what_is_left_of_it_comes_last(m: int, dtype: type) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.integers(-9, 9, (2, m)).astype(dtype)  # products are exact, so only the order of additions rounds
    a *= dtype(2.0**10) ** rng.integers(-2, 3, m).astype(dtype)
    whole = m - m % 8
    lanes = np.zeros(8, dtype)
    for j in range(0, whole, 8):
        lanes += a[j : j + 8] * b[j : j + 8]
    while len(lanes) > 1:
        lanes = lanes[::2] + lanes[1::2]
    expected = lanes[0]
    for j in range(whole, m):
        expected += a[j] * b[j]
    assert dot(a, b) == expected
    dv = np.zeros((2, 9), dtype)
    add_transposed(dv, np.tile(a, (9, 1)), np.stack([b, b]))
    assert set(dv.flat) == {expected}


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_gradients_of_one_step_have_the_bits_of_those_of_many(n: int, m: int, dtype: type) -> None:
    rng = np.random.default_rng(n + m)
    w, v, dout = (rng.standard_normal(shape).astype(dtype) for shape in ((n, m), (1, n), (1, m)))
    dv, dw = rng.standard_normal(n).astype(dtype), rng.standard_normal((n, m)).astype(dtype)
    many_dv, many_dw = dv[None].copy(), dw.copy()
    add_transposed(many_dv, w, dout)
    add_transposed_product(dv, w, dout[0])
    np.testing.assert_array_equal(dv, many_dv[0])
    add_outer(many_dw, v, dout, 1)
    add_outer_product(dw, v[0], dout[0])
    np.testing.assert_array_equal(dw, many_dw)
