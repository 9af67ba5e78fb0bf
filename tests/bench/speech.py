"""Digit errors of the demo's speech, by who speaks, after one pass; and what a string costs.

    python -m tests.bench.speech                                      3,000 strings, five networks, one seed
    python -m tests.bench.speech --strings 500 --tested 50            less of it
    python -m tests.bench.speech --only both --seeds 3                one network, and more seeds

The strings are those of ``streamrnn demo speech``: of 60 voices of espeak-ng, half of them with noise of 5 to 25 dB
below the voice. Each is transcribed before it is learned, in one pass; "progressive" is the digit error of the last
third of them. Then strings of every group are heard, without and with noise, of which none is learned. Forward
networks standardise by what they have heard so far, so that they can listen; "both" also by the string itself. With
``lookahead`` a second network sees so many ms ahead of each step. Time is this process's on one processor, the
transcript, the learning and the coefficients; making the sound comes on top. Sound is kept in ``--directory``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from streamrnn.demo.speech.account import rate_of
from streamrnn.demo.speech.features import HOP_S, Floats, mfcc
from streamrnn.demo.speech.recogniser import STACK, Recogniser, new_spec
from streamrnn.demo.speech.run import ahead
from streamrnn.demo.speech.sound import RATE, Studio
from streamrnn.demo.speech.voices import GROUPS, KNOWN, Utterance, Voice, choose, utterance
from streamrnn.learner.spec import LearnerSpec

STEP_MS: Final = round(1000 * HOP_S * STACK)
NETWORKS: Final[dict[str, dict[str, Any]]] = {
    "forward": {},
    "lookahead-80": {"direction": "both", "lookahead": 80 // STEP_MS},
    "lookahead-320": {"direction": "both", "lookahead": 320 // STEP_MS},
    "both": {"direction": "both", "normalise": "sequence"},
    "both-32": {"direction": "both", "normalise": "sequence", "hidden_size": 32},
}
LEARNED, TESTED = 1, 100
"""Seeds of the strings that are learned, and of the first group that is tested."""
Sounding = tuple[Utterance, Floats]


def spec_of(direction: str = "forward", normalise: str = "running", **model: Any) -> LearnerSpec:
    """The demo's learner with another network; whole strings, no chunks."""
    spec = new_spec()
    assert spec.sequence is not None
    return replace(
        spec,
        has_end=False,
        sequence=replace(spec.sequence, chunks=False, normalise=normalise),
        model=replace(spec.model, direction=direction, **model),
    )


def made(studio: Studio, said: Sequence[Utterance]) -> list[Sounding]:
    """Utterances and their coefficients."""
    with ThreadPoolExecutor(2) as pool:
        return list(ahead(pool, lambda one: mfcc(studio.speak(one), RATE), said))


def strings(seed: int, voices: tuple[Voice, ...], n: int, *, noisy: bool | None = None) -> list[Utterance]:
    """n strings of a group of voices."""
    return [utterance(choose(voices, seed, number), seed, number, noisy=noisy) for number in range(n)]


def measured(
    spec: LearnerSpec, seed: int, train: list[Sounding], tested: dict[tuple[str, bool], list[Sounding]]
) -> list[float]:
    """ms a string, the progressive error, and the errors of all that is tested."""
    recogniser = Recogniser(spec, seed)
    began = time.process_time()
    heard = [recogniser.learn(frames, said.digits) for said, frames in train]
    ms = 1000 * (time.process_time() - began) / len(train)
    progressive = rate_of(heard[-len(train) // 3 :])
    errors = [rate_of([recogniser.hear(frames, said.digits) for said, frames in of]) for of in tested.values()]
    return [ms, progressive, *errors]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strings", type=int, default=3_000)
    parser.add_argument("--tested", type=int, default=200, help="strings of each group, with and without noise each")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=NETWORKS, action="append")
    parser.add_argument("--directory", type=Path, help="where sound is kept; none: it is made anew")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        studio = Studio(options.directory or Path(temporary))
        train = made(studio, strings(LEARNED, KNOWN, options.strings))
        tested = {
            (name, noisy): made(studio, strings(TESTED + number, voices, options.tested, noisy=noisy))
            for number, (name, voices) in enumerate(GROUPS.items())
            for noisy in (False, True)
        }
    names = options.only or list(NETWORKS)
    found = {
        name: np.array([measured(spec_of(**NETWORKS[name]), seed, train, tested) for seed in range(options.seeds)])
        for name in names
    }
    table = Table(title=f"{options.strings:,} strings, {options.tested} of each group; means of {options.seeds} seeds")
    table.add_column("digit error, %")
    for name in names:
        table.add_column(name, justify="right")
    titles = ["progressive", *(f"{group}{', in noise' if noisy else ''}" for group, noisy in tested)]
    for row, title in enumerate(titles, 1):
        table.add_row(title, *(f"{100 * found[name][:, row].mean():.1f}" for name in names))
    table.add_row("ms a string", *(f"{found[name][:, 0].mean():.2f}" for name in names))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
