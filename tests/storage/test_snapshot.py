"""A snapshot's segments on their way through memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np

from streamrnn.storage.segments import Segment
from streamrnn.storage.snapshot import join_segments


def test_a_segment_is_let_go_of_before_the_next_is_asked_for() -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def segments() -> Iterator[Segment]:
        for value in range(3):
            assert all(array() is None for array in held)
            segment = Segment({"h": np.full(2, value)}, (b"a", None))
            held.append(weakref.ref(segment.arrays["h"]))
            yield segment
            del segment

    streams, keys = join_segments(segments(), 6)
    assert streams["h"].tolist() == [0, 0, 1, 1, 2, 2]
    assert keys == [b"a", None] * 3
