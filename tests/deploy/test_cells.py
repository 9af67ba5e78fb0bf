"""The page on cells says what a stream takes with each of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.test_docs import PAGES

COLUMNS: list[dict[str, Any]] = [
    {"cell": "lstm"}, {"cell": "gru"}, {"cell": "elstm"}, {"cell": "glru"}, {"cell": "glru", "gates": False},
    {"cell": "bank", "readout": "rls"},
]  # fmt: skip


@pytest.mark.parametrize("inputs", [8, 64, 256])
def test_the_bytes_of_a_stream_are_those_of_the_page(inputs: int) -> None:
    (row,) = re.findall(rf"^\| {inputs} \| ([\d,| ]+) \|$", PAGES["deploy/CELLS.md"], re.MULTILINE)
    bare = InputSpec(dt=False, previous_target=False)
    sizes = [
        bytes_per_slot(
            LearnerSpec(n_features=inputs, target=TargetSpec(fields=("y",)), inputs=bare, model=ModelSpec(**column))
        )
        for column in COLUMNS
    ]
    assert row.split(" | ") == [f"{size:,}" for size in sizes]
