"""Gradients without a formula for any network: each number remembers what it was made of.

A ``Node`` is a NumPy array with the nodes it came from and, for each, how a gradient passes to it. Whatever is computed
with nodes can be differentiated, so networks and losses of whole sequences are written down forwards alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tests.oracle.network import Array

Pull = Callable[[Array], Array]
"""The gradient of a part, from that of what was made of it."""


class Node:
    """An array, and where it came from."""

    def __init__(self, value: Array | float, parts: Iterable[tuple[Node, Pull]] = ()) -> None:
        self.value = np.asarray(value, np.float64)
        self.parts = list(parts)

    def __add__(self, other: Node) -> Node:
        return Node(self.value + other.value, [(self, lambda d: d), (other, lambda d: d)])

    def __sub__(self, other: Node) -> Node:
        return Node(self.value - other.value, [(self, lambda d: d), (other, lambda d: -d)])

    def __mul__(self, other: Node) -> Node:
        return Node(self.value * other.value, [(self, lambda d: d * other.value), (other, lambda d: d * self.value)])

    def __matmul__(self, vector: Node) -> Node:
        """A matrix times a vector."""
        return Node(
            self.value @ vector.value,
            [(self, lambda d: np.outer(d, vector.value)), (vector, lambda d: self.value.T @ d)],
        )

    def __getitem__(self, index: int | slice) -> Node:
        def back(d: Array) -> Array:
            whole = np.zeros_like(self.value)
            whole[index] = d
            return whole

        return Node(self.value[index], [(self, back)])

    @property
    def turned(self) -> Node:
        """The transposed matrix."""
        return Node(self.value.T, [(self, lambda d: d.T)])

    def split(self, n: int) -> list[Node]:
        """n parts of equal length."""
        size = len(self.value) // n
        return [self[k * size : (k + 1) * size] for k in range(n)]


def tanh(x: Node) -> Node:
    y = np.tanh(x.value)
    return Node(y, [(x, lambda d: d * (1 - y * y))])


def sigmoid(x: Node) -> Node:
    y = 0.5 * (1 + np.tanh(0.5 * x.value))
    return Node(y, [(x, lambda d: d * y * (1 - y))])


def joined(vectors: Sequence[Node]) -> Node:
    """One vector behind the other."""
    ends = np.cumsum([0, *(len(v.value) for v in vectors)]).tolist()
    parts = [(v, lambda d, k=k: d[ends[k] : ends[k + 1]]) for k, v in enumerate(vectors)]
    return Node(np.concatenate([v.value for v in vectors]), parts)


def stacked(rows: Sequence[Node]) -> Node:
    """One more axis: rows to a matrix, single numbers to a vector."""
    return Node(np.array([row.value for row in rows]), [(row, lambda d, k=k: d[k]) for k, row in enumerate(rows)])


def mean(rows: Sequence[Node]) -> Node:
    return Node(np.mean([row.value for row in rows], axis=0), [(row, lambda d: d / len(rows)) for row in rows])


def softmax(x: Node) -> Node:
    e = np.exp(x.value - x.value.max())
    y = e / e.sum()
    return Node(y, [(x, lambda d: y * (d - (d * y).sum()))])


def log_softmax(x: Node) -> Node:
    y = x.value - x.value.max()
    y = y - np.log(np.exp(y).sum())
    return Node(y, [(x, lambda d: d - np.exp(y) * d.sum())])


def log_sum(terms: Sequence[Node]) -> Node:
    """log(exp(a) + exp(b) + ...) of single numbers."""
    values = np.array([float(term.value) for term in terms])
    total = values.max() + np.log(np.exp(values - values.max()).sum())
    return Node(total, [(t, lambda d, k=k: d * np.exp(values[k] - total)) for k, t in enumerate(terms)])


def gradients(seeds: Sequence[tuple[Node, Array | float]], of: Sequence[Node]) -> list[Array]:
    """The gradients of nodes, where those of ``seeds`` are given; zeros where nothing depends on one."""
    found: dict[int, Array] = {}
    for node, seed in seeds:
        found[id(node)] = found.get(id(node), 0.0) + np.asarray(seed, np.float64)
    for node in reversed(in_order([node for node, _ in seeds])):
        d = found.get(id(node))
        if d is None:
            continue
        for part, pull in node.parts:
            found[id(part)] = found.get(id(part), 0.0) + pull(d)
    return [np.asarray(found.get(id(node), np.zeros_like(node.value))) for node in of]


def in_order(roots: Sequence[Node]) -> list[Node]:
    """All that the roots are made of, and they, each behind its parts."""
    order: list[Node] = []
    seen: set[int] = set()
    waiting = [(root, False) for root in roots]
    while waiting:
        node, is_done = waiting.pop()
        if is_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((part, False) for part, _ in node.parts)
    return order
