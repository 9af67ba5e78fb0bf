"""The bench scripts run; what they measure is for people to read."""

from __future__ import annotations

import re

import pytest

from tests.bench import kernels


def test_the_quick_kernel_bench_prints_a_figure_for_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    kernels.main(["--quick", "--runs", "1"])
    rows = re.findall(r"^\| lstm \| 32 \| ([0-9,]+) \| (.*) \|$", capsys.readouterr().out, re.MULTILINE)
    assert [streams for streams, _ in rows] == ["1", "10,000"]
    for _, figures in rows:
        *microseconds, size = (float(text.replace(",", "")) for text in figures.split(" | "))
        assert len(microseconds) == len(kernels.WINDOWS)
        assert all(value > 0 for value in microseconds)
        assert 0 < size < 3_000
