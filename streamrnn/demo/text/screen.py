"""What the demo prints: the introduction, the display while the worker runs, and the account at the end.

Everything is laid out for 80 columns. Numbers are given in the order in which they rank, whoever wins. What the model
writes, and the text itself, may hold anything, and is shown with escapes in place of what is no plain character.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamrnn.demo.screen import short
from streamrnn.demo.text.account import MODEL, NEWEST, Curve, Result
from streamrnn.demo.text.plot import shortened
from streamrnn.demo.text.source import Source
from streamrnn.demo.text.writing import MILESTONES, TEMPERATURE, Sample, shown
from streamrnn.demo.watching import headway
from streamrnn.demo.worker import Worker

WIDTH: Final = 74
"""Cells of a line of a sample; most characters take one, those of Chinese two."""
LINES: Final = 10
"""Lines of a sample; always as many, so that the display stands still."""


def introduce(console: Console, source: Source, job_file: Path) -> None:
    """Say what is about to happen."""
    console.print(
        Text.assemble(
            ("What comes next? ", "bold"),
            f"An LSTM that knows nothing reads {source.name} through the daemon's own worker, byte by byte. It says "
            "how probable each byte is, and only then learns from it: so its bits per byte can be compared with what "
            "gzip, bz2 and xz make of the same bytes.",
        )
    )
    if not source.is_utf8:
        console.print(Text("It is not UTF-8, so each byte is a character by itself.", "dim"))
    console.print(Text.assemble("job file  ", (short(job_file), "cyan")), soft_wrap=True)


def progress(
    worker: Worker, source: Source, curve: Curve, figures: tuple[int, dict[str, float]], sample: Sample | None
) -> RenderableType:
    """One frame of the display while the worker runs."""
    if worker.loop is None:
        return Text("starting the worker")
    rows = headway(worker, curve.read, len(source.data), "bytes", width=WIDTH)
    rows.add_row(Text())
    rows.add_row(_bits_so_far(curve, figures))
    if sample is not None:
        rows.add_row(Text())
        rows.add_row(Text(f"what it would write now, behind the last words read (temperature {TEMPERATURE})", "dim"))
        rows.add_row(_written(sample, LINES, pad=True))
    return rows


def plain_line(curve: Curve, size: int, figures: dict[str, float]) -> Text:
    """One line for where no display can stand."""
    newest = curve.now[-1] if len(curve.now) else math.nan
    rivals = "  ".join(f"{name} {bits:.3f}" for name, bits in sorted(figures.items(), key=lambda item: item[1]))
    return Text(f"{size:>11,} bytes  {MODEL} {curve.mean_at(size):.3f}, now {newest:.3f}  {rivals}")


def conclude(console: Console, result: Result, places: dict[str, str]) -> None:
    """The account: bits, rate, samples, what is left, where things are."""
    console.print()
    console.print(_bits(result))
    console.print(_verdict(result))
    console.print()
    read = result.curve.read
    rate = read / result.seconds
    console.print(
        Text.assemble(
            (f"{read:,} bytes in {result.seconds:.1f} s: {rate:,.0f} bytes/s", "bold"),
            " through the daemon, each predicted, learned and accounted for",
        )
    )
    if (left := _left(result)) is not None:
        console.print(left)
    for sample in result.samples:
        console.print()
        console.print(Text(f"What it wrote after {sample.at:,} bytes", "bold"))
        console.print(_written(sample, LINES))
    console.print()
    width = max(map(len, places))
    for name, place in places.items():
        # One line each, however long: a call or a command that a table had broken could not be copied.
        console.print(Text.assemble((f"{name:{width}} ", "dim"), (place, "cyan")), soft_wrap=True)


def _bits_so_far(curve: Curve, figures: tuple[int, dict[str, float]]) -> Table:
    at, rivals = figures
    newest = curve.now[-1] if len(curve.now) else math.nan
    mean = curve.mean_at(at) if at else curve.mean_at(curve.read)
    bits = {MODEL: mean} | rivals
    worst = max((value for value in bits.values() if math.isfinite(value)), default=1.0) or 1.0
    table = Table(show_header=True, show_edge=False, pad_edge=False, box=None)
    table.add_column("bits per byte", min_width=14)
    table.add_column(f"newest {shortened(NEWEST)}", justify="right", min_width=14)
    table.add_column(f"first {shortened(_rounded(at))}" if at else "so far", justify="right", min_width=14)
    table.add_column("")
    for name in sorted(bits, key=lambda name: (not math.isfinite(bits[name]), bits[name])):
        ours = name == MODEL
        bar = "█" * max(1, round(28 * bits[name] / worst)) if math.isfinite(bits[name]) else ""
        cells = (_number(newest) if ours else "", _number(bits[name]))
        table.add_row(name, *cells, Text(bar, "bold red" if ours else "dim"), style="bold red" if ours else "")
    return table


def _rounded(size: int) -> int:
    """To three digits, for a heading."""
    return int(float(f"{size:.2e}"))


def _number(bits: float) -> str:
    return f"{bits:.3f}" if math.isfinite(bits) else "-"


def _bits(result: Result) -> Table:
    read = result.curve.read
    sizes = [*(size for size in MILESTONES if size < read and size in result.figures), read]
    names = [MODEL, *result.figures[read]]
    bits = {
        name: [result.curve.mean_at(size) if name == MODEL else result.figures[size][name] for size in sizes]
        for name in names
    }
    table = Table(title="Bits per byte, best first", title_justify="left", title_style="bold")
    table.add_column("", min_width=8)
    for size in sizes:
        table.add_column(f"all {size:,}" if size == read else f"first {shortened(size)}", justify="right")
    table.add_column(f"vs {MODEL}", justify="right")
    for name in sorted(names, key=lambda name: bits[name][-1]):
        gap = "" if name == MODEL else f"{bits[name][-1] / bits[MODEL][-1] - 1:+.1%}"
        table.add_row(name, *(f"{v:.3f}" for v in bits[name]), gap, style="bold red" if name == MODEL else "")
    return table


def _verdict(result: Result) -> Text:
    # Compared as they are shown: who differs in no digit of the table is neither better nor worse.
    ours = round(result.curve.mean_at(result.curve.read), 3)
    rivals = {name: round(bits, 3) for name, bits in result.figures[result.curve.read].items()}
    ranked = sorted(rivals, key=lambda name: rivals[name])
    if better := [name for name in ranked if rivals[name] < ours]:
        return Text(f"The {MODEL} did not win here: {', '.join(better)} took fewer bits.", "yellow")
    if equal := [name for name in ranked if rivals[name] == ours]:
        return Text(f"The {MODEL} did not win here: {', '.join(equal)} took as many bits.", "yellow")
    least = ranked[0]
    return Text(f"The {MODEL} took fewest bits, {1 - ours / rivals[least]:.1%} fewer than {least}.", "green")


def _left(result: Result) -> Text | None:
    read, source = result.curve.read, result.source
    if read == source.available:
        return None
    why = f"{result.why}; " if result.why else ""
    return Text(
        f"{why}{source.available - read:,} of {source.available:,} bytes were left: more with --bytes and --seconds"
    )


def _written(sample: Sample, most: int, *, pad: bool = False) -> RenderableType:
    """A sample as lines: the end of the text's newest line, dim, then what was written."""
    before = _end(shown(sample.before)[-1])
    first, *others = shown(sample.written)
    pieces = list(chain.from_iterable(_pieces(line) for line in (before + first, *others)))[:most]
    rows = Table.grid()
    rows.add_column(no_wrap=True, overflow="crop")
    for number, piece in enumerate(pieces + [""] * (most - len(pieces) if pad else 0)):
        text = Text(piece)
        if number == 0:
            text.stylize("dim", 0, min(len(before), len(piece)))
        rows.add_row(Text.assemble(("│ ", "dim"), text))
    return Padding(rows, (0, 0, 0, 2))


_UNIT: Final = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])|.", re.DOTALL)
"""What is not broken: a character, or what may be the escape of one."""


def _pieces(line: str) -> Iterator[str]:
    """A line as lines that fit, broken behind a word where one ends in the second half, never within an escape."""
    while (fitting := _fitting(line)) < len(line):
        word = line.rfind(" ", 0, fitting) + 1
        end = word if cell_len(line[:word]) > WIDTH // 2 else fitting
        yield line[:end]
        line = line[end:]
    yield line


def _fitting(line: str) -> int:
    """How many characters of the line fit."""
    cells = 0
    for unit in _UNIT.finditer(line):
        cells += cell_len(unit[0])
        if cells > WIDTH:
            return unit.start()
    return len(line)


def _end(line: str) -> str:
    """The last characters of the line, at most half of one that fits."""
    kept, cells = [""], 0
    for unit in reversed(_UNIT.findall(line)):
        cells += cell_len(unit)
        if cells > WIDTH // 2:
            break
        kept.append(unit)
    return "".join(reversed(kept))
