"""Claims about the table and the picture: every number is in them, within 80 columns, and something is drawn."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamrnn.demo.memory.explosion import CLIPS, Course
from streamrnn.demo.memory.findings import Measured
from streamrnn.demo.memory.networks import NETWORKS
from streamrnn.demo.memory.plot import plot_memory
from streamrnn.demo.memory.table import table_of
from tests.demo.memory import made_up


def printed(measured: Measured) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(table_of(measured))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_table_has_a_column_for_each_network_and_fits_a_terminal() -> None:
    lines = printed(made_up.measured())
    assert lines[0].replace(" +", "+").split() == [network.short.replace(" +", "+") for network in NETWORKS]
    assert max(len(line.rstrip()) for line in lines) <= 80
    rows = [line for line in lines[1:] if line.startswith("  ") and line.strip()]
    assert len(rows) == 3 + 3 + 3 + 5 + 3 + 3
    assert all(len(row[34:].split()) == len(NETWORKS) for row in rows), rows


def test_the_table_shows_what_was_measured_in_its_row_and_column() -> None:
    lines = printed(made_up.measured())

    def row(name: str) -> list[str]:
        return next(line for line in lines if line.strip().startswith(name)).removeprefix(f"  {name}").split()

    assert row("128 steps back, at the start") == ["2e-08", "3e-18", "4e-05", "0.2", "0.1"]
    assert row("128 steps back, after learning") == ["0.05"] * 5
    assert row("k2 = 32") == ["64"] * 5
    assert row("over 128, learned from 128") == ["26%"] * 5
    assert row("over 4,096, learned from 1-128") == ["97%"] * 5
    assert row("windows not finite, unclipped") == ["90.0%"] * 5
    assert row("gradient, 64 steps back") == ["7,000"] * 5
    assert row("windows not finite, clipped") == ["0.0%"] * 5
    assert row("loss at the end, clipped") == ["0.03"] * 5
    assert row("layers: 2") == ["16"] * 5


def test_the_table_of_an_interrupted_run_has_the_parts_that_were_finished() -> None:
    whole = made_up.measured()
    assert not any(line.startswith("  ") and line.strip() for line in printed(Measured())[1:])
    text = "\n".join(printed(Measured(start=whole.start)))
    assert "128 steps back, at the start" in text
    assert "after learning" not in text
    assert "k2" not in text


needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the extra streamrnn[demo] is not installed"
)


@needs_matplotlib
def test_the_picture_is_a_png_with_something_in_each_of_its_six_panels(tmp_path: Path) -> None:
    plot_memory(tmp_path / "memory.png", made_up.measured())
    from matplotlib.image import imread

    image = imread(tmp_path / "memory.png")[:, :, :3]
    height, width = image.shape[:2]
    assert (height, width) == (1560, 1200)
    coloured = image.max(axis=2) - image.min(axis=2) > 0.2
    for top in range(3):
        for left in range(2):
            panel = coloured[top * height // 3 : (top + 1) * height // 3, left * width // 2 : (left + 1) * width // 2]
            assert panel.sum() > 500, (top, left)


@needs_matplotlib
def test_the_picture_stands_losses_that_overflowed_and_lags_that_nobody_bridged(tmp_path: Path) -> None:
    blown = Course(loss=np.array([1.0, 1e12, np.inf, np.inf]), growth=1e30, unusable=1.0, error=np.inf)
    measured = made_up.measured()
    measured.explosion = {clip: dict.fromkeys(NETWORKS, blown) for clip in CLIPS}
    assert measured.lags is not None
    measured.lags[8] = made_up.everywhere(0)
    plot_memory(tmp_path / "memory.png", measured)
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
