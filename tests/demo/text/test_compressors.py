"""Claims about what the model is measured against: the modules' own sizes, at each step reached and at the end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time

import numpy as np

from streamrnn.demo.text.compressors import FIRST, Compressors, bits_per_byte

DATA = b" ".join(b"%d" % n for n in np.random.default_rng(1).integers(0, 10**6, 3_000))


def test_figures_are_the_sizes_that_the_modules_give() -> None:
    whole = {"gzip": gzip.compress(DATA, 9), "bz2": bz2.compress(DATA, 9), "xz": lzma.compress(DATA, preset=9)}
    assert bits_per_byte(DATA) == {name: 8 * len(packed) / len(DATA) for name, packed in whole.items()}


def test_each_figure_is_of_no_more_than_was_read() -> None:
    compressors = Compressors(DATA)
    assert compressors.newest() == (0, {})
    compressors.reach(FIRST - 1)
    compressors.reach(5 * FIRST)
    deadline = time.monotonic() + 60
    while not compressors.newest()[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    at, figures = compressors.newest()
    assert FIRST <= at <= 5 * FIRST
    assert figures == bits_per_byte(DATA[:at])
    assert max(compressors.end([FIRST])) == FIRST


def test_a_step_that_was_not_reached_is_not_computed() -> None:
    compressors = Compressors(DATA)
    compressors.reach(FIRST - 1)
    time.sleep(0.05)  # in which it could
    assert compressors.newest() == (0, {})
    compressors.end([FIRST])


def test_at_the_end_there_are_figures_of_exactly_what_was_asked_for() -> None:
    compressors = Compressors(DATA)
    compressors.reach(len(DATA))
    found = compressors.end([1_234, 7_777])
    assert {1_000, 1_400, 1_960, 2_744, 3_842, 5_379, 7_531} <= found.keys()
    assert list(found) == sorted(found)
    assert max(found) == 7_777
    assert found[1_234] == bits_per_byte(DATA[:1_234])
    assert found[7_777] == bits_per_byte(DATA[:7_777])
