"""What a tagger can know of a label that depends on what comes before and behind its frame."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import sequences


def wrong(name: str) -> float:
    """The share of the last labels that is wrong."""
    exclusive, parameters = sequences.TAGGERS[name]
    return sequences.tags(exclusive, 1, hidden_size=16, **parameters)


@pytest.mark.parametrize("name", ["tagging, both", "tagging, lookahead 3"])
def test_who_sees_both_sides_knows_the_label_within_a_thousand_sequences(name: str) -> None:
    assert wrong(name) == 0.0


def test_who_sees_one_side_knows_half_of_it() -> None:
    assert wrong("tagging, forward") == pytest.approx(0.5, abs=0.03)


def test_an_exclusive_or_of_both_sides_needs_a_second_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "EXCLUSIVE", 3_000)
    assert wrong("exclusive, both") == pytest.approx(0.5, abs=0.05)
    assert wrong("exclusive, both, 2 layers") < 0.02


def test_labels_are_as_often_one_as_the_other() -> None:
    rng = np.random.default_rng(0)
    labels = [label for _ in range(200) for label in sequences.tagged(rng, exclusive=True).labels if label is not None]
    assert labels.count("1") / len(labels) == pytest.approx(0.5, abs=0.03)
