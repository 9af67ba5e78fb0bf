"""The bench of whole sequences runs, and what it reads and makes up is what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.bench import sequences
from tests.bench.sequences_data import LAG, parsed, tagged

TEXT = "# about\n@data\n1,2,3:4,5,6:a\n7:8:b\n"


def test_sequences_are_read_with_their_dimensions_as_columns() -> None:
    data = parsed(TEXT)
    assert [frames.tolist() for frames in data.frames] == [[[1, 4], [2, 5], [3, 6]], [[7, 8]]]
    assert data.labels == ["a", "b"]


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_bit_is_labelled_by_the_bits_three_steps_before_and_behind(exclusive: bool) -> None:
    frames, labels = tagged(np.random.default_rng(0), exclusive=exclusive)
    bits = frames[:, 0].astype(int).tolist()
    assert labels[:LAG] == labels[-LAG:] == [None] * LAG
    for t in range(LAG, len(bits) - LAG):
        before, behind = bits[t - LAG], bits[t + LAG]
        assert labels[t] == (str(int(before != behind)) if exclusive else f"{before}{behind}")


def test_the_bench_has_a_figure_for_every_task(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "SEQUENCES", 20)
    monkeypatch.setattr(sequences, "EXCLUSIVE", 20)
    sequences.main(["--only", "tagging", "--seeds", "1"])
    printed = capsys.readouterr().out
    for name in sequences.TAGGERS:
        assert re.search(rf"^{re.escape(name)}  \d+\.\d\d \(\d+\.\d\d\)$", printed, re.MULTILINE), name


def test_passes_are_scored_before_and_after_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    frames = [rng.normal(size=(5, 2)) + 3 * (i % 2) for i in range(60)]
    data = sequences.Labelled(frames, ["even" if i % 2 == 0 else "odd" for i in range(60)])
    monkeypatch.setattr(sequences, "PASSES", (1, 2))
    progressive, after = sequences.passes(data, data, 0, hidden_size=8)
    assert 0.5 < progressive < 1.0
    assert after[1] == 1.0
