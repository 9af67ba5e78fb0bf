"""Bits per byte of a text that is learned as it is read, beside compressors on the same bytes.

    python -m tests.bench.text                                     Python's standard library, 1 MB and 4 MB
    python -m tests.bench.text kjv.txt                             a file, 200 kB and 1 MB
    python -m tests.bench.text kjv.txt --settings small --whole    one setting, and all of the file as well

The King James text is in Debian's packages bible-kjv and bible-kjv-text: ``bible -f gen1:1-rev22:21 > kjv.txt`` makes
4,404,412 bytes.

One pass, online: every byte is predicted before anything learns from it, and what is summed is the surprise of that
prediction, which is what an arithmetic coder would write. Bytes are 256 classes of which nothing else is known. A
record is a piece of the text, whose place has no meaning. Time is the processor's, of the whole call that processes
a block; memory is that of the arrays that a learner holds.
"""

from __future__ import annotations

import argparse
import math
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn import (
    Block,
    InputSpec,
    Learner,
    LearnerSpec,
    LearningSpec,
    ModelSpec,
    StreamSpec,
    TargetSpec,
)
from streamrnn.demo.text.compressors import bits_per_byte
from streamrnn.demo.text.source import load_source
from streamrnn.learner.symbols import Symbols, TextSpec

FIRST: Final = (200_000, 1_000_000)
FIRST_OF_SOURCES: Final = (1_000_000, 4_000_000)
PIECE: Final = 1_000
"""Bytes of a record. All figures are after whole pieces."""
BLOCK: Final = 20
"""Records of a block."""


class Setting(NamedTuple):
    """A network and how it learns; everything else as by default. All have the same beta of second moments."""

    model: ModelSpec
    learning: LearningSpec

    @property
    def shown(self) -> str:
        """What a table says of it."""
        model, learning = self
        layers = f" x {model.num_layers}" if model.num_layers > 1 else ""
        return (
            f"{model.cell} {model.units}{layers}, k1={learning.k1}, k2={learning.k2}, lr={learning.lr:g}, "
            f"T={learning.schedule_updates:,}, beta1={learning.betas[0]:g}"
        )

    def specification(self) -> LearnerSpec:
        """A learner of one text, known by its bytes alone."""
        return LearnerSpec(
            n_features=0,
            target=TargetSpec(fields=("text",), classes=Symbols(bytes=True)),
            text=TextSpec(unit="byte", carry=True, mark_end=False),
            model=self.model,
            learning=self.learning,
            streams=StreamSpec(max_streams=1),
            inputs=InputSpec(dt=False),
        )


def setting(hidden_size: int, k1: int, k2: int, lr: float, updates: int, beta1: float = 0.2) -> Setting:
    """What all settings of this bench have in common, and what they differ in."""
    return Setting(
        ModelSpec(cell="lstm", hidden_size=hidden_size, readout="softmax"),
        LearningSpec(k1=k1, k2=k2, lr=lr, betas=(beta1, 0.999), schedule="inverse_sqrt", schedule_updates=updates),
    )


SETTINGS: Final = {
    "smallest": setting(64, 16, 16, 1.5e-2, 2_000),
    "small": setting(96, 24, 24, 1.5e-2, 1_000),
    "medium": setting(128, 16, 16, 1e-2, 2_000),
    "large": setting(160, 16, 16, 8e-3, 2_000),
}
"""The demo of a text has the medium one, and so has ``RNNLanguageModel`` by default."""


class Learned(NamedTuple):
    """Bits per byte up to each limit, bytes per second of processor time, and bytes of the learner's arrays."""

    bits: dict[int, float]
    rate: float
    memory: int


def learn(data: bytes, one: Setting, limits: Sequence[int], seed: int = 0) -> Learned:
    """Learn ``data`` up to the last of ``limits``, whole pieces each."""
    Learner(one.specification(), seed)  # what the first one loads is nobody's memory
    tracemalloc.start()
    learner = Learner(one.specification(), seed)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    nats, seconds, bits = 0.0, 0.0, {}
    for start in range(0, max(limits), PIECE * BLOCK):
        pieces = [data[at : at + PIECE] for at in range(start, min(start + PIECE * BLOCK, max(limits)), PIECE)]
        block = Block.events([b"text"] * len(pieces), np.zeros((len(pieces), 0)), np.full((len(pieces), 1), math.nan))
        started = time.process_time()
        texts = learner.process(replace(block, texts=pieces)).texts
        seconds += time.process_time() - started
        assert texts is not None
        for i, piece in enumerate(pieces):
            nats += float(texts.loss[texts.bounds[i] : texts.bounds[i + 1]].sum())
            read = start + i * PIECE + len(piece)
            if read in limits:
                bits[read] = nats / math.log(2) / read
    return Learned(bits, max(limits) / seconds, memory)


def table(title: str, data: bytes, limits: Sequence[int], names: Sequence[str], seed: int) -> Table:
    """Compressors first, then a row for each setting."""
    view = Table(title=title, title_justify="left")
    view.add_column("")
    for limit in limits:
        view.add_column(f"first {limit:,}", justify="right")
    view.add_column("kB/s", justify="right")
    view.add_column("MB", justify="right")
    compressed = [bits_per_byte(data[:limit]) for limit in limits]
    for name in compressed[0]:
        view.add_row(name, *(f"{bits[name]:.3f}" for bits in compressed), "", "")
    view.add_section()
    for name in names:
        learned = learn(data, SETTINGS[name], limits, seed)
        figures = [f"{learned.bits[limit]:.3f}" for limit in limits]
        view.add_row(
            f"{name}: {SETTINGS[name].shown}", *figures, f"{learned.rate / 1e3:.0f}", f"{learned.memory / 1e6:.1f}"
        )
        print(name, *figures, f"{learned.rate / 1e3:.0f} kB/s", flush=True)
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and each setting's figures as soon as they are known."""
    parser = argparse.ArgumentParser(description="Bits per byte of a text that is learned as it is read.")
    parser.add_argument("file", nargs="?", type=Path, help="the text (default: Python's standard library)")
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), metavar="NAME", default=tuple(SETTINGS))
    parser.add_argument("--bytes", nargs="+", type=int, metavar="N", help="figures after so many bytes")
    parser.add_argument("--whole", action="store_true", help="and after the last")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights (default 0)")
    options = parser.parse_args(arguments)
    limits = options.bytes or list(FIRST_OF_SOURCES if options.file is None else FIRST)
    source = load_source(options.file, 1 << 30 if options.whole else max(limits))
    if options.whole:
        limits.append(len(source.data) // PIECE * PIECE)
    title = f"Bits per byte of {source.name}"
    Console(width=140).print(table(title, source.data, limits, options.settings, options.seed))


if __name__ == "__main__":
    main()
