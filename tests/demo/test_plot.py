"""Claims about the pictures of the error: what is drawn is what was measured, and only on common records."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from streamrnn.demo.plot import error_table, plot_errors, rolling_mean
from streamrnn.errors import ConfigError

DAY_MS = 86_400_000


def year(n=3_650, **levels):
    """n records spread over 2013 and a column of errors per name, around its level."""
    rng = np.random.default_rng(3)
    first = np.datetime64("2013-01-01", "ms").astype(np.int64)
    return first + np.arange(n) * (365 * DAY_MS // n), {k: v + rng.random(n) for k, v in levels.items()}


def printed(table):
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()


def test_rolling_mean_is_the_mean_of_each_window():
    values = np.random.default_rng(1).normal(size=50)
    expected = [values[i : i + 7].mean() for i in range(44)]
    np.testing.assert_allclose(rolling_mean(values, 7), expected, rtol=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="the extra streamrnn[demo] is not installed")
@pytest.mark.parametrize("n", [1, 30, 3_650])
@pytest.mark.parametrize("rivals", [{"median": 12.0, "mean": 20.0}, {}])
def test_the_plot_is_a_png_with_something_on_it(tmp_path, n, rivals):
    times, errors = year(n, eLSTM=10.0, **rivals)
    plot_errors(tmp_path / "errors.png", times, errors, title="Delays")
    from matplotlib.image import imread

    image = imread(tmp_path / "errors.png")
    assert image.shape[0] == (900 if rivals else 540) and image.shape[1] > 800
    assert image.std() > 0.05


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="the extra streamrnn[demo] is not installed")
def test_the_plot_obeys_no_settings_of_the_directory_where_it_is_drawn(tmp_path):
    """Those could have Matplotlib run ``latex``."""
    (tmp_path / "latex").write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\nexit 1\n")
    (tmp_path / "latex").chmod(0o755)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.format: pdf\naxes.facecolor: black\n")
    code = (
        "import numpy as np, pathlib, sys, matplotlib\nfrom streamrnn.demo.plot import plot_errors\n"
        "assert matplotlib.rcParams['text.usetex']\n"
        "plot_errors(pathlib.Path(sys.argv[1]), np.arange(99), {'eLSTM': np.arange(99.0)}, title='Delays')\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name, directory in (("hostile", tmp_path), ("plain", tmp_path.parent)):
        begun = code if name == "hostile" else code.replace("assert", "assert not")
        drawn = [sys.executable, "-c", begun, tmp_path / f"{name}.png"]
        done = subprocess.run(drawn, cwd=directory, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "hostile.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_the_plot_waits_for_nobody_at_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    times, errors = year(99, eLSTM=10.0)
    with pytest.raises(ConfigError, match="cannot be written: is a pipe that nobody reads from"):
        plot_errors(tmp_path / "pipe", times, errors, title="Delays")


def test_the_table_shows_each_months_means():
    times, errors = year(eLSTM=10.0, median=12.0)
    lines = printed(error_table(times, errors)).splitlines()
    june = (times >= np.datetime64("2013-06-01", "ms").astype(np.int64)) & (
        times < np.datetime64("2013-07-01", "ms").astype(np.int64)
    )
    (row,) = [line for line in lines if line.startswith("2013-06")]
    for name in errors:
        assert f"{errors[name][june].mean():.2f}" in row
    (overall,) = [line for line in lines if line.startswith("all")]
    assert "3,650" in overall and f"{errors['eLSTM'].mean():.2f}" in overall


def test_columns_are_compared_on_the_records_all_of_them_scored():
    times, errors = year(1_000, eLSTM=10.0, median=12.0)
    errors["median"][:400] = np.nan
    errors["eLSTM"][:400] = 1_000.0  # would be its ruin
    overall = printed(error_table(times, errors)).splitlines()[-1]
    assert "600" in overall and f"{errors['eLSTM'][400:].mean():.2f}" in overall


def test_a_few_records_after_the_last_month_do_not_make_a_row():
    times, errors = year(1_000, eLSTM=10.0)
    times[-3:] = np.datetime64("2014-01-01T04:00", "ms").astype(np.int64)
    text = printed(error_table(times, errors))
    assert "2014" not in text and "2013-12" in text


def test_a_single_month_is_not_repeated_as_all():
    times, errors = year(100, eLSTM=10.0)
    text = printed(error_table(times[:5], {"eLSTM": errors["eLSTM"][:5]}))
    assert "2013-01" in text and "all" not in text


def test_nothing_to_draw_is_said_in_words(tmp_path):
    times, errors = year(10, eLSTM=10.0)
    with pytest.raises(ConfigError, match="no record was scored"):
        error_table(times, {"eLSTM": np.full(10, np.nan)})
    with pytest.raises(ConfigError, match=r"one entry per timestamp \(9\), got \{'eLSTM': 10\}"):
        plot_errors(tmp_path / "errors.png", times[:9], errors, title="")
