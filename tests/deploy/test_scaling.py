"""What SCALING.md says of memory is what `streamrnn validate` says."""

from __future__ import annotations

import pytest

from streamrnn.job.job_file import parse
from streamrnn.learner.lowering import bytes_per_slot
from tests.test_docs import PAGES, ROOT, rows

ROWS = rows(PAGES["deploy/SCALING.md"], "model")
FLIGHTS = (ROOT / "deploy" / "examples" / "flights.yaml").read_text()
MODEL, LEARNING, SHORT, LONG = (
    "cell: elstm, hidden_size: 48",
    "learning:\n  ",
    "k1: 2\n  k2: 8\n  ",
    "k1: 8\n  k2: 32\n  ",
)


@pytest.mark.parametrize("model", ROWS)
def test_a_million_streams_take_what_the_table_says(model: str) -> None:
    cell, units = model.removesuffix(" (no window)").split()
    assert FLIGHTS.count(MODEL) == FLIGHTS.count(LEARNING) == 1
    windowed = (SHORT, LONG) if model == f"{cell} {units}" else ("", "")
    for said, windows in zip(ROWS[model].strip(" |").split(" | "), windowed, strict=True):
        job = FLIGHTS.replace(MODEL, f"cell: {cell}, hidden_size: {units}").replace(LEARNING, LEARNING + windows)
        spec = parse(job).learner_spec()
        assert said == f"{1e6 * bytes_per_slot(spec) / 1e9:.1f} GB"
        assert f"the {spec.n_features} input columns of the flights" in PAGES["deploy/SCALING.md"]
