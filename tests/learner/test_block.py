"""A block is told by keys, features and targets; the rest has a default that means an ordinary event."""

from __future__ import annotations

import numpy as np

from streamrnn.learner.block import EVENT, LABEL, Block

TYPES = {
    "time_ms": np.int64, "x": np.float64, "y": np.float64, "end": np.bool_, "kind": np.uint8, "event": np.uint64,
}  # fmt: skip


def types_of(block: Block) -> dict[str, type]:
    return {name: getattr(block, name).dtype.type for name in TYPES}


def test_left_out_columns_make_events_at_time_0_inside_their_sequence() -> None:
    block = Block.events([b"a", b"b"], [[1, 2], [3, 4]], [[5], [6]])
    assert (len(block), block.keys) == (2, [b"a", b"b"])
    assert block.time_ms.tolist() == [0, 0]
    assert block.kind.tolist() == [EVENT, EVENT]
    assert not block.end.any()
    assert not block.event.any()
    assert types_of(block) == TYPES


def test_columns_that_are_given_are_taken_in_their_type() -> None:
    block = Block.events(
        (b"a", b"b"), np.eye(2), np.eye(2), time_ms=[1, 2], end=[0, 1], kind=(EVENT, LABEL), event=[7, 2**63]
    )
    assert types_of(block) == TYPES
    assert block.time_ms.tolist() == [1, 2]
    assert block.end.tolist() == [False, True]
    assert block.kind.tolist() == [EVENT, LABEL]
    assert block.event.tolist() == [7, 2**63]


def test_arrays_of_the_right_type_are_not_copied() -> None:
    x, y, time_ms = np.zeros((2, 3)), np.zeros((2, 1)), np.zeros(2, np.int64)
    block = Block.events([b"", b""], x, y, time_ms=time_ms)
    assert block.x is x
    assert block.y is y
    assert block.time_ms is time_ms


def test_a_block_may_be_empty() -> None:
    block = Block.events([], np.zeros((0, 3)), np.zeros((0, 1)))
    assert (len(block), block.x.shape) == (0, (0, 3))
    assert types_of(block) == TYPES
