"""A worker watched by somebody at a terminal: the display until it ends, Ctrl-C and SIGTERM, the metrics' port.

The display begins with how far the worker is; what else there is to see, each demo says.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamrnn.demo.worker import Worker

REFRESH_S: Final = 0.25
INTERRUPTED: Final = 130


def watch(worker: Worker, console: Console, frame: Callable[[bool], RenderableType]) -> bool:
    """Start the worker and show it until it ends; True when the user ended it. ``frame`` is told of the last one."""
    interrupted = False
    console.print()
    worker.thread.start()
    live = Live(console=console, auto_refresh=False, transient=False)
    with live:
        while worker.thread.is_alive():
            try:
                # Closely until the first partition is there, so that the rate leaves out what came before it.
                worker.thread.join(REFRESH_S if worker.began else 0.01)
                if not worker.ended:
                    worker.look()
                live.update(frame(False), refresh=True)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                worker.look()
                worker.stop.set()
        worker.ended = worker.ended or time.perf_counter()
        live.update(frame(True), refresh=True)
    return interrupted


def headway(
    worker: Worker, done: int, total: int, unit: str, *, width: int, aside: tuple[str, str] | None = None
) -> Table:
    """How far a worker is that has begun: where its metrics are, a bar, how much of what, and how fast.

    ``aside`` is one more number and what it counts. More rows may follow.
    """
    seconds = (worker.ended or time.perf_counter()) - worker.began if worker.began else 0.0
    rate = done / seconds if seconds > 0.05 else 0.0
    line = Text.assemble((f"{done:,}", "bold"), f" of {total:,} {unit}   ", (f"{rate:,.0f}", "bold"), f" {unit}/s   ")
    if aside is not None:
        line.append(aside[0], "bold").append(f" {aside[1]}   ")
    line.append(f"{seconds:.0f} s")
    served = "" if worker.port is None else f"metrics   http://127.0.0.1:{worker.port}/metrics"
    rows = Table.grid()
    rows.add_row(Text(served, style="cyan"))
    rows.add_row(ProgressBar(total=total, completed=done, width=width))
    rows.add_row(line)
    return rows


def free_port(port: int, console: Console) -> int:
    """The port, or 0 (any free one) when it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            console.print(Text(f"port {port} is taken; serving metrics on a free one", "yellow"))
            return 0
    return port


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, with an account of what was done; and so does SIGINT where it was ignored.

    A shell without job control has what it starts in the background ignore interrupts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
