"""What was learned stays learned, whatever the cell: no step promises more than its loss.

The task asks whether the input four events ago was above zero, of 20,000 events; accuracies are those of the last
quarter. ``python -m tests.bench.collapse`` has more tasks and optimisers.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.collapse import Case, last_quarter

pytestmark = pytest.mark.slow

CASE = Case("sign", {"hidden_size": 32})


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_every_cell_keeps_what_it_learned_at_the_default_rate_with_ten_of_ten_seeds(cell: str) -> None:
    for seed in range(10):
        assert 1.0 - last_quarter(CASE, cell, seed, {}) > 0.96, seed


def test_without_the_bound_the_same_learners_collapse() -> None:
    # Which seeds do depends on last bits; of ten it is about six of the GRU, and all of the Elman cell.
    unbounded: dict[str, Any] = {"polyak_bound": None}
    for cell, least in (("gru", 2), ("rnn", 8)):
        scores = [1.0 - last_quarter(CASE, cell, seed, unbounded) for seed in range(10)]
        assert sum(score < 0.9 for score in scores) >= least, (cell, scores)
