"""Error over time, for the eye: a PNG of the rolling error and a table by month for the terminal.

Both take absolute errors by name, one per scored record and NaN where a record was not scored, and the records'
timestamps; the first name is the model, the others are what it is measured against. All columns are drawn from
the same records, whoever wins.

Matplotlib is imported when a plot is drawn, with a figure of its own and no global state: no window, no pyplot. It is
drawn by Matplotlib's defaults: a ``matplotlibrc`` in the working directory could have it run ``latex``.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError
from streamrnn.system.writing import open_for_writing

if TYPE_CHECKING:
    from rich.table import Table

Floats = npt.NDArray[np.float64]

ROLLING: Final = 10_000  # records, about eleven days: longer than a storm, shorter than a season
REMEDY: Final = "pip install 'streamrnn[demo]'"
MODEL_COLOUR: Final = "#c1272d"
# Okabe and Ito's colours for the colour-blind, without their red.
COLOURS: Final = ("#0072b2", "#009e73", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
_BAR: Final = 12  # characters for the worst month


def rolling_mean(values: Floats, width: int) -> Floats:
    """Mean of each ``width`` consecutive values: n - width + 1 of them.

    >>> rolling_mean(np.array([1.0, 2.0, 3.0, 6.0]), 3).round(2).tolist()
    [2.0, 3.67]
    """
    total = np.cumsum(np.concatenate([[0.0], values]))
    means: Floats = (total[width:] - total[:-width]) / width
    return means


def plot_errors(path: Path, timestamps_ms: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike], *, title: str) -> None:
    """Draws the rolling mean absolute error of each column over time and writes it to ``path`` as PNG.

    Above, the model and every baseline; below, how much less the model errs than each of them, since the common ups and
    downs of a hard week hide the difference. Without baselines there is nothing below.

    Raises:
        ConfigError: matplotlib is not installed; or no record was scored; or columns of different length.
    """

    def draw() -> Any:
        times, columns = _scored(timestamps_ms, errors)
        return _draw(_Curves.of(times, columns), columns, title)

    save(path, draw)


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def save(path: Path, draw: Callable[[], Any]) -> None:
    """Write the figure that ``draw`` makes to ``path`` as PNG.

    Raises:
        ConfigError: matplotlib is not installed; or the file cannot be written.
    """
    try:
        from matplotlib import rc_context, rcParamsDefault
    except ImportError as error:
        raise ConfigError(f"the plot needs matplotlib, which is not installed; remedy: {REMEDY}") from error

    drawn = io.BytesIO()
    with rc_context(rcParamsDefault):
        draw().savefig(drawn, format="png")
    try:
        with open_for_writing(path) as file:
            file.write(drawn.getbuffer())
    except OSError as error:
        raise ConfigError(f"{path}: the plot cannot be written: {error.strerror}") from error


def new_figure(height: float, title: str) -> Any:
    """An empty figure of the demos' size, so many inches high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")
    return figure


def _draw(curves: _Curves, columns: Mapping[str, Floats], title: str) -> Any:
    """The figure."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    ratios = (3, 2) if len(columns) > 1 else (3,)
    figure = new_figure(1.5 * sum(ratios), title)
    panels = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    _draw_errors(panels[0], curves, columns)
    for axes in panels[1:]:
        _draw_gaps(axes, curves)
    _draw_legend(figure, panels[0], columns)
    for axes in panels:
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return figure


@dataclass(frozen=True)
class _Curves:
    """What is drawn: per name the rolling means over ``width`` records, ``when`` each window ends, and how it looks.

    The model comes last, so that it is drawn over the others.
    """

    width: int
    when: npt.NDArray[np.datetime64]
    smooth: dict[str, Floats]
    style: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, times: npt.NDArray[np.int64], columns: Mapping[str, Floats]) -> _Curves:
        """Windows of ``ROLLING`` records, or of a tenth of what there is."""
        width = max(1, min(ROLLING, len(times) // 10))
        when = times[width - 1 :].astype("datetime64[ms]")
        step = max(1, len(when) // 2_000)  # more points than pixels only blur the line
        model, *others = columns
        style = {
            name: {"color": colour, "linewidth": 1.3, "zorder": 2}
            for name, colour in zip(others, COLOURS * len(others), strict=False)
        }
        style[model] = {"color": MODEL_COLOUR, "linewidth": 2.2, "zorder": 3}
        smooth = {name: rolling_mean(columns[name], width)[::step] for name in (*others, model)}
        return cls(width, when[::step], smooth, style)


def _draw_errors(axes: Any, curves: _Curves, columns: Mapping[str, Floats]) -> None:
    for name, smooth in curves.smooth.items():
        axes.plot(curves.when, smooth, **curves.style[name], label=f"{name}: {columns[name].mean():.2f}")
    axes.set_ylabel("mean absolute error, minutes")
    axes.set_title(f"Rolling over {curves.width:,} records: lower is better", loc="left", fontsize=10, color="#444444")
    axes.set_ylim(bottom=0)


def _draw_gaps(axes: Any, curves: _Curves) -> None:
    *others, model = curves.smooth
    gaps = {name: curves.smooth[name] - curves.smooth[model] for name in others}
    for name, gap in gaps.items():
        axes.plot(curves.when, gap, **curves.style[name])
    axes.axhline(0, color=MODEL_COLOUR, linewidth=2.2, zorder=3)
    # One hopeless baseline must not flatten the differences that matter.
    every = np.concatenate(list(gaps.values()))
    low, high = min(-0.5, float(np.quantile(every, 0.005)) - 0.5), max(1.0, float(np.quantile(every, 0.9)) * 1.05)
    axes.set_ylim(low, high)
    axes.set_ylabel("minutes")
    title = f"How much more each rival errs; above the line the {model} is better"
    if every.min() < low or every.max() > high:
        title += " (curves that leave the panel are cut off)"
    axes.set_title(title, loc="left", fontsize=10, color="#444444")


def _draw_legend(figure: Any, axes: Any, columns: Mapping[str, Floats]) -> None:
    """Names and means, best first."""
    model, *others = columns
    handles, labels = axes.get_legend_handles_labels()
    ranked = sorted(range(len(labels)), key=lambda i: columns[(*others, model)[i]].mean())
    figure.legend(
        [handles[i] for i in ranked], [labels[i] for i in ranked], loc="outside lower left", ncols=3, frameon=False,
        title=f"Mean over all {len(columns[model]):,} scored records, minutes", alignment="left",
    )  # fmt: skip


def error_table(timestamps_ms: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike]) -> Table:
    """Mean absolute error per month (UTC) and, of several, over all; one column per column of errors, for ``rich``.

    The best of each row is bold, the bars draw the model's months. A month with less than a hundredth of the records,
    such as the last night's flights that left in the new year, is counted with the one before.
    """
    from rich.table import Table
    from rich.text import Text

    times, columns = _scored(timestamps_ms, errors)
    months = times.astype("datetime64[ms]").astype("datetime64[M]")
    present, counts = np.unique(months, return_counts=True)
    starts = [month for i, month in enumerate(present) if i == 0 or counts[i] * 100 >= len(times)]
    bounds = [*np.searchsorted(months, starts), len(times)]
    periods = [slice(start, stop) for start, stop in pairwise(bounds)]
    model = next(iter(columns))
    course = [float(columns[model][period].mean()) for period in periods]

    table = Table(title="Mean absolute error, minutes", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("month")
    table.add_column("scored", justify="right")
    for name in columns:
        table.add_column(name, justify="right", max_width=12, header_style="bold" if name == model else "")
    table.add_column("", no_wrap=True)
    for start, period, value in zip(starts, periods, course, strict=True):
        bar = "█" * round(_BAR * value / max(course))
        cells = (Text(*cell) for cell in _cells(columns, period))
        table.add_row(str(start), f"{period.stop - period.start:,}", *cells, bar)
    if len(periods) > 1:
        table.add_section()
        table.add_row("all", f"{len(times):,}", *(Text(*cell) for cell in _cells(columns, slice(None))))
    return table


def _cells(columns: Mapping[str, Floats], period: slice) -> list[tuple[str, str]]:
    """Text and style of each column's mean."""
    texts = [f"{column[period].mean():.2f}" for column in columns.values()]
    best = min(texts, key=float)
    return [(text, "bold" if text == best else "") for text in texts]


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
