"""From spelling to sounds on CMU's dictionary: error rates of words that were never learned, and what a word costs.

    python -m tests.bench.pronunciation                        three passes as in the demo, about ten minutes of CPU
    python -m tests.bench.pronunciation --words 10000 --no-attention
    python -m tests.bench.pronunciation --words 30000 --direction forward --hidden 128

12,000 words of the shuffled dictionary are held out. The others are learned one by one, a step of the optimiser for
each; a pass behind the first goes through them in another order. "said before learned" is the error rate of sounds
among the newest 2,000 words, which are new to it in the first pass alone. CPU is that of predicting and learning, the
words that are held out apart. Needs the extra streamrnn[pronounce].
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from streamrnn.demo.pronounce.account import Tally
from streamrnn.demo.pronounce.pronouncer import SPEC, Pronouncer
from streamrnn.demo.pronounce.words import Word, load_words
from streamrnn.learner.spec import LearnerSpec

HELD_OUT = 12_000
MARKS = (10_000, 30_000)
NEWEST = 2_000
BLOCK = 500


def specification(options: argparse.Namespace) -> LearnerSpec:
    """The demo's, with what the command line changes."""
    model = replace(
        SPEC.model, cell=options.cell, hidden_size=options.hidden, direction=options.direction,
        attention=options.attention, num_layers=options.layers, beam=options.beam,
    )  # fmt: skip
    learning = replace(
        SPEC.learning, lr=options.lr, schedule_updates=options.falls_after, average=options.average or None,
        clip_norm=options.clip_norm or SPEC.learning.clip_norm,
    )  # fmt: skip
    return replace(SPEC, model=model, learning=learning)


def held_out_rates(pronouncer: Pronouncer, words: Sequence[Word]) -> tuple[float, float]:
    tally = Tally()
    tally.add(pronouncer.try_only(words))
    return tally.rates()


def measure(options: argparse.Namespace, table: Table, console: Console) -> None:
    """Fill the table, a row for each mark and each pass."""
    words = load_words()
    held_out, to_learn = words[:HELD_OUT][: options.held_out], words[HELD_OUT:][: options.words]
    pronouncer, cpu, tally = Pronouncer(specification(options), options.seed), 0.0, Tally()

    def row(name: str) -> None:
        sounds, whole = held_out_rates(pronouncer, held_out)
        cells = (
            name,
            f"{sounds:.2%}",
            f"{whole:.1%}",
            f"{tally.rates(NEWEST)[0]:.2%}",
            f"{cpu / len(tally) * 1e3:.2f}",
        )
        table.add_row(*cells)
        console.print("  ".join(cells))

    for number in range(1, options.passes + 1):
        order = np.random.default_rng([options.seed, number]).permutation(len(to_learn)).tolist()
        for start in range(0, len(order), BLOCK):
            began = time.process_time()
            attempts = pronouncer.try_and_learn([to_learn[i] for i in order[start : start + BLOCK]])
            cpu += time.process_time() - began
            tally.add(attempts)
            if number == 1 and len(tally) in MARKS and len(tally) < len(order):
                row(f"{len(tally):,} words")
        row(f"pass {number}" if len(to_learn) > MARKS[-1] else f"{len(tally):,} words")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--words", type=int, default=1_000_000, help="words to learn, by default all but the held out")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="how many of the 12,000 are looked at")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--cell", choices=("lstm", "gru", "rnn"), default=SPEC.model.cell)
    parser.add_argument("--hidden", type=int, default=SPEC.model.units, help="units of each direction")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--direction", choices=("forward", "both"), default="both")
    parser.add_argument("--attention", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--lr", type=float, default=SPEC.learning.lr)
    parser.add_argument("--falls-after", type=int, default=SPEC.learning.schedule_updates)
    parser.add_argument("--average", type=float, default=SPEC.learning.average, help="0: none")
    parser.add_argument("--clip-norm", type=float, default=0.0, help="0: as by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table("after", "sounds wrong", "words wrong", "said before learned", "CPU ms a word")
    console = Console()
    measure(options, table, console)
    console.print(table)


if __name__ == "__main__":
    main()
