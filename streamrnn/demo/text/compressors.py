"""What the model is measured against: gzip, bz2 and xz at their highest level on the very bytes it has read so far.

A text compressed as a whole, headers included, is what these programs would make of it. That takes longer the longer
the text, so it is done at steps, each a fixed factor behind the last, on a thread beside the worker's: the modules give
up the interpreter while they compress.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import threading
from collections.abc import Callable
from typing import Final

COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2": lambda data: bz2.compress(data, 9),
    "xz": lambda data: lzma.compress(data, preset=9),
}
FIRST: Final = 1_000
STEP: Final = 1.4
"""At it all steps together compress three and a half times the text."""
SHORT: Final = 100_000
"""Bytes up to which compressing takes no time worth mentioning."""


def bits_per_byte(data: bytes) -> dict[str, float]:
    """What each compressor makes of the bytes.

    >>> sorted(bits_per_byte(bytes(1_000)))
    ['bz2', 'gzip', 'xz']
    """
    return {name: 8 * len(compress(data)) / len(data) for name, compress in COMPRESSORS.items()}


class Compressors:
    """The figures at each step that was reached: ``figures`` by number of bytes, which grows."""

    def __init__(self, data: bytes) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self._data = data
        self._reached = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="compressors", daemon=True)
        self._thread.start()

    def reach(self, size: int) -> None:
        """So many bytes have been read."""
        with self._changed:
            self._reached = size
            self._changed.notify()

    def end(self, sizes: list[int]) -> dict[int, dict[str, float]]:
        """All figures up to the last of ``sizes``, these among them, and the short steps that were passed too fast."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        while self._thread.is_alive():  # in slices, so that Ctrl-C is not kept waiting
            self._thread.join(0.1)
        step = FIRST
        while step <= min(SHORT, sizes[-1]):
            sizes, step = [step, *sizes], round(step * STEP)
        for size in sizes:
            self.figures.setdefault(size, bits_per_byte(self._data[:size]))
        return {at: figures for at, figures in sorted(self.figures.items()) if at <= sizes[-1]}

    def newest(self) -> tuple[int, dict[str, float]]:
        """The figures of the longest beginning that there are, and its bytes; 0 before the first."""
        at = max(list(self.figures), default=0)
        return at, self.figures.get(at, {})

    def _run(self) -> None:
        step = FIRST
        while True:
            with self._changed:
                while not self._ended and self._reached < step:
                    self._changed.wait()
                if self._ended:
                    return
                while step * STEP <= self._reached:  # what was passed meanwhile is left out
                    step = round(step * STEP)
            self.figures[step] = bits_per_byte(self._data[:step])
            step = round(step * STEP)
