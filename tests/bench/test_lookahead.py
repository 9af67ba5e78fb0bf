"""The bench of look-ahead runs, and its task can be known by those who look ahead alone."""

from __future__ import annotations

import re

import pytest

from tests.bench import lookahead


def test_the_bench_has_a_figure_for_each_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookahead, "RECORDS", 40)
    lookahead.main(["--hidden", "4", "--lookahead", "0", "2", "--turns", "1"])
    printed = capsys.readouterr().out
    for name in ("forward 4", "both 4+4, look-ahead 2"):
        assert re.search(rf"^{re.escape(name)}  \d+\.\d  \d+\.\d  [\d,]+$", printed, re.MULTILINE), name


def test_what_comes_behind_a_record_is_part_of_its_target() -> None:
    block = lookahead.block_of(3, known=True)
    i, n = 100, lookahead.STREAMS
    assert block.keys[i - n] == block.keys[i] == block.keys[i + n]
    assert block.y[i, 0] == pytest.approx(block.x[i, 0] + block.x[i - n, 1] + block.x[i + n, 2])
