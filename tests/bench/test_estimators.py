"""The bench of the estimators runs; what it measures is for people to read."""

from __future__ import annotations

import re

import pytest

from streamrnn import RNNRegressor
from tests.bench import estimators


def test_the_quick_bench_prints_a_figure_for_every_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    estimators.main(["--quick", "--repeats", "3"])  # the median of one would be what the machine did meanwhile
    printed = capsys.readouterr().out
    assert all(column in printed for column in estimators.COLUMNS)
    (line,) = (line for line in printed.splitlines() if "lstm 32, linear" in line)
    figures = [float(text) for text in re.findall(r"\d+\.\d+", line)]
    assert len(figures) == len(estimators.COLUMNS)
    predict, learn, both, _, process, one_by_one = figures
    assert all(0.0 < figure < 10_000.0 for figure in figures)
    # Columns in this order, with room for whatever else the machine does.
    assert process < 2 * learn
    assert process < one_by_one
    assert predict < 3 * both


def test_every_case_of_the_bench_can_be_built() -> None:
    assert len(estimators.CASES) == len(estimators.CELLS) * len(estimators.READOUTS) + 1
    for parameters in estimators.CASES.values():
        RNNRegressor(**parameters)
