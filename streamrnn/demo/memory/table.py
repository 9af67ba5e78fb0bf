"""All numbers in one table, a column for each network, laid out for 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from streamrnn.demo.memory.explosion import GAIN, STEPS
from streamrnn.demo.memory.findings import FAR, Measured, share
from streamrnn.demo.memory.gradients import SPAN
from streamrnn.demo.memory.lags import DEEP_WINDOW
from streamrnn.demo.memory.lengths import LONGEST, WINDOW
from streamrnn.demo.memory.networks import LONG, NETWORKS, Network

_NOTE: Final = f"+ begins with long memory (model.memory: {LONG})"


def table_of(measured: Measured) -> Table:
    """What was measured so far."""
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), caption=_NOTE, caption_justify="left"
    )
    table.add_column("")
    for network in NETWORKS:
        table.add_column(network.short, justify="right", no_wrap=True, min_width=7)
    for title, rows in _sections(measured):
        table.add_row(Text(title, "bold"))
        for name, cell in rows:
            table.add_row(f"  {name}", *(Text(cell(network)) for network in NETWORKS))
        table.add_section()
    return table


Row = tuple[str, Callable[[Network], str]]


def _sections(measured: Measured) -> list[tuple[str, list[Row]]]:
    found: list[tuple[str, list[Row]]] = []
    if (rows := _gradients(measured)) is not None:
        found.append(("Share of the gradient that is left", rows))
    if measured.lags is not None:
        found.append(("Longest lag bridged, one length", _lags(measured.lags, "k2 = {}")))
    if measured.learned is not None:
        found.append((f"Right answers, k2 = {WINDOW}", _lengths(measured)))
    if measured.explosion is not None:
        found.append((f"Recurrent weights times {GAIN:g}", _explosion(measured)))
    if measured.layers is not None:
        found.append((f"Longest lag bridged, k2 = {DEEP_WINDOW}", _lags(measured.layers, "layers: {}")))
    if (cpu_us := measured.cpu_us) is not None:
        found.append(("CPU of a record, us", [(f"layers: {n}", _number(cpu_us[n], "{:.1f}")) for n in cpu_us]))
    return found


def _gradients(measured: Measured) -> list[Row] | None:
    if (start := measured.start) is None:
        return None
    rows: list[Row] = [
        (f"{back} steps back, at the start", lambda network, back=back: share(start[network][back]))  # type: ignore[misc]
        for back in (SPAN // 2, SPAN)
    ]
    if (learned := measured.learned) is not None:
        rows.append(
            (f"{SPAN} steps back, after learning", lambda network: share(learned["many"].gradient[network][SPAN]))
        )
    return rows


def _lags(lags: Mapping[int, Mapping[Network, int]], name: str) -> list[Row]:
    return [(name.format(key), _number(lags[key], "{}")) for key in lags]


def _lengths(measured: Measured) -> list[Row]:
    learned = measured.learned
    assert learned is not None
    one, many = learned["one"].right, learned["many"].right
    return [
        (f"over {LONGEST}, learned from {LONGEST}", lambda network: f"{one[network][LONGEST]:.0%}"),
        (f"over {LONGEST}, learned from 1-{LONGEST}", lambda network: f"{many[network][LONGEST]:.0%}"),
        (f"over {FAR:,}, learned from 1-{LONGEST}", lambda network: f"{many[network][FAR]:.0%}"),
    ]


def _explosion(measured: Measured) -> list[Row]:
    assert measured.explosion is not None
    free, clipped = measured.explosion[None], measured.explosion[1.0]
    return [
        (f"gradient, {STEPS} steps back", lambda network: _times(free[network].growth)),
        ("windows not finite, unclipped", lambda network: f"{free[network].unusable:.1%}"),
        ("windows not finite, clipped", lambda network: f"{clipped[network].unusable:.1%}"),
        ("loss at the end, unclipped", lambda network: f"{free[network].error:.2g}"),
        ("loss at the end, clipped", lambda network: f"{clipped[network].error:.2g}"),
    ]


def _times(growth: float) -> str:
    return f"{growth:,.0f}" if growth >= 10 else share(growth)


def _number(values: Mapping[Network, float], form: str) -> Callable[[Network], str]:
    return lambda network: form.format(values[network])
