"""``streamrnn demo memory``: measure part by part, show how far it is, and tell what was found.

All is done in this thread, on one core. Ctrl-C ends the demo between two calls of the learner, none of which takes
a second: what is known by then is told, and no picture is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from streamrnn.core.compiled import is_compiled, warm_up
from streamrnn.demo.directory import PICTURE_FILE, claimed
from streamrnn.demo.memory import explosion, findings, gradients, lags, lengths
from streamrnn.demo.memory.findings import Measured
from streamrnn.demo.memory.networks import NETWORKS, UNITS
from streamrnn.demo.memory.plot import plot_memory
from streamrnn.demo.memory.table import table_of
from streamrnn.demo.plot import REMEDY, can_draw
from streamrnn.demo.screen import short
from streamrnn.demo.watching import sigterm_as_interrupt

Part = Callable[[Measured, Callable[[], None]], None]


@dataclass(frozen=True)
class Result:
    """What was measured, and whether all of it was."""

    measured: Measured
    interrupted: bool


def run_memory_demo(directory: Path, console: Console) -> Result:
    """Run the demo. Raises StreamrnnError."""
    directory = directory.resolve()
    with claimed(directory) as remarks, sigterm_as_interrupt():
        for remark in remarks:
            console.print(Text(remark, "dim"), soft_wrap=True)
        _introduce(console)
        if not is_compiled("float32"):
            with console.status(Text("compiling the kernels: about half a minute, more on a busy machine")):
                warm_up("float32")
        result = _measure(console)
        if result.interrupted:
            console.print(Text("interrupted; what was measured by then:", "yellow"))
        console.print(table_of(result.measured))
        for sentence in findings.sentences(result.measured):
            console.print(Text(f"- {sentence}."))
        if not result.interrupted:
            console.print(_drawn(directory / PICTURE_FILE, result.measured), soft_wrap=True)
        return result


def _introduce(console: Console) -> None:
    console.print(
        Text.assemble(
            ("How far can a recurrent network remember, and what keeps it from remembering further?", "bold"),
            f" Networks of {UNITS} units learn to recall a cue that was shown some steps ago, with distractors since. "
            "Every number below comes from this run.",
        )
    )


PARTS: Final[dict[str, tuple[int, Part]]] = {}
"""By name, in order: how many steps a part has, and what it does."""


def _measure(console: Console) -> Result:
    measured = Measured()
    columns = (
        SpinnerColumn(finished_text=Text("✓", "green")),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        try:
            for name, (steps, part) in PARTS.items():
                task = progress.add_task(name, total=steps)
                part(measured, lambda task=task: progress.advance(task))  # type: ignore[misc]
        except KeyboardInterrupt:
            return Result(measured, interrupted=True)
    return Result(measured, interrupted=False)


def _part(name: str, steps: int) -> Callable[[Part], Part]:
    def register(part: Part) -> Part:
        PARTS[name] = steps, part
        return part

    return register


@_part("gradients at the start", len(NETWORKS))
def _gradients(measured: Measured, advance: Callable[[], None]) -> None:
    measured.start = gradients.measure(advance)


@_part("longest lags by window", len(NETWORKS) * len(lags.WINDOWS))
def _lags(measured: Measured, advance: Callable[[], None]) -> None:
    measured.lags = lags.by_window(advance)


@_part("one length, and many", len(NETWORKS) * len(lengths.KINDS) * len(lengths.SEEDS))
def _lengths(measured: Measured, advance: Callable[[], None]) -> None:
    measured.learned = lengths.measure(advance)


@_part("exploding gradients", len(NETWORKS) * len(explosion.CLIPS))
def _explosion(measured: Measured, advance: Callable[[], None]) -> None:
    measured.explosion = explosion.measure(advance)


@_part("one, two, three layers", len(NETWORKS) * (len(lags.LAYERS) - 1))
def _layers(measured: Measured, advance: Callable[[], None]) -> None:
    assert measured.lags is not None
    measured.layers = lags.by_layers(measured.lags[lags.DEEP_WINDOW], advance)
    measured.cpu_us = {n: {network: lags.cpu_us(network, n) for network in NETWORKS} for n in lags.LAYERS}


def _drawn(path: Path, measured: Measured) -> Text:
    """Draw the picture, where it can be; where it is."""
    if not can_draw():
        return Text(f"picture  none, as matplotlib is not installed: {REMEDY}")
    plot_memory(path, measured)
    return Text.assemble("picture  ", (short(path), "cyan"))
