"""A count is found by its name: constants that kernels count with stand where the row of that name stands."""

from __future__ import annotations

from streamrnn.core import counts


def test_every_row_has_the_constant_of_its_name() -> None:
    for index, name in enumerate(count.name for count in counts.COUNTS):
        assert getattr(counts, name.upper()) == index, name
    for index, name in enumerate(counts.GAUGES):
        assert getattr(counts, name.upper()) == index, name
