"""Error over time, for the eye: a PNG of the rolling error and a table by month for the terminal.

Both take absolute errors by name, one per scored record and NaN where a record was not scored, and the records'
timestamps; the first name is the model, the others are what it is measured against. All columns are drawn from
the same records, whoever wins.

Matplotlib is imported when a plot is drawn, with a figure of its own and no global state: no window, no pyplot.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

Floats = npt.NDArray[np.float64]

ROLLING: Final = 10_000  # records, about eleven days: longer than a storm, shorter than a season
_REMEDY: Final = "pip install 'streamrnn[demo]'"
_MODEL_COLOUR: Final = "#c1272d"
# Okabe and Ito's colours for the colour-blind, without their red.
_COLOURS: Final = ("#0072b2", "#009e73", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
_BAR: Final = 12  # characters for the worst month


def rolling_mean(values: Floats, width: int) -> Floats:
    """Mean of each ``width`` consecutive values: n - width + 1 of them.

    >>> rolling_mean(np.array([1.0, 2.0, 3.0, 6.0]), 3).round(2).tolist()
    [2.0, 3.67]
    """
    total = np.cumsum(np.concatenate([[0.0], values]))
    means: Floats = (total[width:] - total[:-width]) / width
    return means


def plot_errors(
    path: Path,
    timestamps_ms: npt.ArrayLike,
    errors: Mapping[str, npt.ArrayLike],
    *,
    title: str,
    unit: str = "minutes",
    width: int = ROLLING,
) -> None:
    """Draws the rolling mean absolute error of each column over time and writes it to ``path`` as PNG.

    Above, the model and every baseline; below, how much less the model errs than each of them, since the common ups and
    downs of a hard week hide the difference. ``width`` is in records and is cut to a tenth of what there is.

    Raises:
        ConfigError: matplotlib is not installed; or no record was scored; or columns of different length.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"the plot needs matplotlib, which is not installed; remedy: {_REMEDY}") from error

    times, columns = _scored(timestamps_ms, errors)
    width = max(1, min(width, len(times) // 10))
    when = times[width - 1 :].astype("datetime64[ms]")
    step = max(1, len(when) // 2_000)  # more points than pixels only blur the line
    smooth = {name: rolling_mean(column, width)[::step] for name, column in columns.items()}
    when = when[::step]
    model, *others = smooth

    figure = Figure(figsize=(10, 7.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")

    colours = dict(zip(others, _COLOURS * len(others), strict=False)) | {model: _MODEL_COLOUR}
    for name in (*others, model):
        mine = name == model
        style: dict[str, Any] = {"color": colours[name], "linewidth": 2.2 if mine else 1.3, "zorder": 3 if mine else 2}
        top.plot(when, smooth[name], **style, label=f"{name}: {columns[name].mean():.2f}")
        if not mine:
            bottom.plot(when, smooth[name] - smooth[model], **style)
    handles, labels = top.get_legend_handles_labels()
    ranked = sorted(range(len(labels)), key=lambda i: columns[(*others, model)[i]].mean())
    figure.legend(
        [handles[i] for i in ranked], [labels[i] for i in ranked], loc="outside lower left", ncols=3, frameon=False,
        title=f"Mean over all {len(times):,} scored records, {unit}", alignment="left",
    )  # fmt: skip
    top.set_ylabel(f"mean absolute error, {unit}")
    top.set_title(f"Rolling over {width:,} records: lower is better", loc="left", fontsize=10, color="#444444")
    top.set_ylim(bottom=0)
    bottom.axhline(0, color=_MODEL_COLOUR, linewidth=2.2, zorder=3)
    bottom.set_title(
        f"Error above {model}'s: over the line, {model} is better", loc="left", fontsize=10, color="#444444"
    )
    bottom.set_ylabel(unit)
    # One hopeless baseline must not flatten the differences that matter.
    gaps = np.concatenate([smooth[name] - smooth[model] for name in others]) if others else np.zeros(1)
    bottom.set_ylim(min(-0.5, float(np.quantile(gaps, 0.005)) - 0.5), max(1.0, float(np.quantile(gaps, 0.9)) * 1.05))
    for axes in (top, bottom):
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    bottom.xaxis.set_major_locator(locator)
    bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    figure.savefig(path, format="png")


def error_table(timestamps_ms: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike], *, unit: str = "minutes") -> Table:
    """Mean absolute error per month (UTC) and over all, one column per column of errors, for ``rich`` to print.

    The best of each row is bold, the bars draw the model's months. A month with less than a hundredth of the records,
    such as the last night's flights that left in the new year, is counted with the one before.
    """
    from rich.table import Table

    times, columns = _scored(timestamps_ms, errors)
    months = times.astype("datetime64[ms]").astype("datetime64[M]")
    present, counts = np.unique(months, return_counts=True)
    starts = [month for i, month in enumerate(present) if i == 0 or counts[i] * 100 >= len(times)]
    bounds = [*np.searchsorted(months, starts), len(times)]
    periods = [slice(start, stop) for start, stop in pairwise(bounds)]
    model = next(iter(columns))
    course = [float(columns[model][period].mean()) for period in periods]

    table = Table(title=f"Mean absolute error, {unit}", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("month")
    table.add_column("records", justify="right")
    for name in columns:
        table.add_column(name, justify="right", max_width=12, header_style="bold" if name == model else "")
    table.add_column("", no_wrap=True)
    for start, period, value in zip(starts, periods, course, strict=True):
        bar = "█" * round(_BAR * value / max(course))
        table.add_row(str(start), f"{period.stop - period.start:,}", *_cells(columns, period), bar)
    table.add_section()
    table.add_row("all", f"{len(times):,}", *_cells(columns, slice(None)))
    return table


def _cells(columns: Mapping[str, Floats], period: slice) -> list[str]:
    texts = [f"{column[period].mean():.2f}" for column in columns.values()]
    best = min(texts, key=float)
    return [f"[bold]{text}[/bold]" if text == best else text for text in texts]


def _scored(
    timestamps_ms: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike]
) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    """Times and columns restricted to the records that every column has scored."""
    times = np.asarray(timestamps_ms, dtype=np.int64)
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in errors.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if set(lengths.values()) != {len(times)}:
        raise ConfigError(f"errors: each column needs one entry per timestamp ({len(times)}), got {lengths}")
    known = np.all([np.isfinite(column) for column in columns.values()], axis=0)
    if not known.any():
        raise ConfigError("errors: no record was scored by every column, so there is nothing to draw")
    return times[known], {name: column[known] for name, column in columns.items()}
