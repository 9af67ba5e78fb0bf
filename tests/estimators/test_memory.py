"""Events of a hundred thousand streams fit into the memory of the ten thousand that are remembered, however many come.

Measured is the resident size of this process, which counts everything: arrays, the index of streams, pandas' frames.
Who is evicted when is known from a plain ordered dict that keeps the same number of least recently seen streams.
"""

from __future__ import annotations

import gc
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamrnn import RNNRegressor

EVENTS, STREAMS, REMEMBERED, BATCH = 1_000_000, 100_000, 10_000, 10_000
MAX_GROWTH_BYTES = 20 * 2**20
"""Between the first quarter and the end: 28 bytes an event. Measured are none."""


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_memory_is_flat_over_a_million_events_of_a_hundred_thousand_streams() -> None:
    rng = np.random.default_rng(0)
    # Some streams are seen often, most of them rarely, all of them at some time.
    ids = (STREAMS * rng.random(EVENTS) ** 2).astype(np.int64)
    ids[:STREAMS] = rng.permutation(STREAMS)
    model = RNNRegressor(hidden_size=8, k1=4, k2=8, stream_key="id", max_streams=REMEMBERED)
    seen: OrderedDict[int, int] = OrderedDict()  # how often, least recently first
    new: OrderedDict[int, None] = OrderedDict()
    evicted, sizes = 0, []
    for start in range(0, EVENTS, BATCH):
        part = ids[start : start + BATCH]
        x = rng.normal(size=(BATCH, 4))
        model.learn_many(pd.DataFrame(x, columns=list("abcd")).assign(id=part), pd.Series(x[:, 0] + part % 7))
        for stream in part.tolist():
            if stream not in seen and len(seen) == REMEMBERED:
                # New streams leave first while those of four events and more fill no more than 80 % of the room.
                leaving = next(iter(new if len(seen) - len(new) <= 0.8 * REMEMBERED else seen))
                del seen[leaving]
                new.pop(leaving, None)
                evicted += 1
            seen[stream] = seen.pop(stream, 0) + 1
            new.pop(stream, None)
            if seen[stream] < 4:
                new[stream] = None
        sizes.append(resident_bytes())

    assert model.counters()["records_predicted"] == EVENTS
    assert model.counters()["evictions_capacity"] == evicted
    quarter = sizes[len(sizes) // 4]
    growth = max(sizes[len(sizes) // 4 :]) - quarter
    assert growth < MAX_GROWTH_BYTES, f"grew by {growth / 2**20:.0f} MB"
