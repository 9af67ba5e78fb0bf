"""Whole sequences: how many labels are wrong before and after learning, and what a frame costs.

    python -m tests.bench.sequences                                    everything, five seeds
    python -m tests.bench.sequences --only JapaneseVowels --seeds 2    one of them, and fewer seeds
    python -m tests.bench.sequences --only costs                       what a frame costs

Data sets are the training and the test part of their archives. The training part is gone through ten times, each time
in another order (that of JapaneseVowels is sorted by speaker); "progressive" is the share of its first pass that was
right before it was learned, and the columns behind it the share of the test part that is right after so many passes.
Shown are means over seeds, and the least. "tagging" labels each bit of a sequence with the bits three steps before and
behind: the error of the last 200 of 1,000 sequences, before each was learned. In "exclusive" the label is whether
exactly one of them is set, which one layer under a linear readout cannot learn: of the last 800 of 4,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn import RNNSequenceClassifier, RNNTagger, RNNTranscriber
from tests.bench.sequences_data import ARCHIVES, Labelled, archive, tagged

SEEDS: Final = 5
PASSES: Final = (1, 5, 10)
SEQUENCES: Final = 1_000
EXCLUSIVE: Final = 4_000
"""Sequences to tag, and where a label depends on two bits together."""
NETWORKS: Final[dict[str, dict[str, Any]]] = {
    "forward 64": {"direction": "forward", "hidden_size": 64},
    "both 32+32": {"direction": "both", "hidden_size": 32},
}
RAW: Final = {"JapaneseVowels": {f"{name}, raw": {**of, "scale": False} for name, of in NETWORKS.items()}}
TAGGERS: Final[dict[str, tuple[bool, dict[str, Any]]]] = {
    "tagging, forward": (False, {"direction": "forward"}),
    "tagging, lookahead 3": (False, {"direction": "both", "lookahead": 3}),
    "tagging, both": (False, {"direction": "both"}),
    "exclusive, both": (True, {"direction": "both"}),
    "exclusive, both, 2 layers": (True, {"direction": "both", "num_layers": 2}),
}


def passes(train: Labelled, test: Labelled, seed: int, **parameters: Any) -> tuple[float, list[float]]:
    """The progressive share that is right in the first pass, and shares of the test part after the passes."""
    model, rng = RNNSequenceClassifier(**parameters, seed=seed), np.random.default_rng([7, seed])
    asked = [{"frames": frames} for frames in test.frames]
    progressive, after = 0.0, []
    for number in range(1, max(PASSES) + 1):
        order = rng.permutation(len(train.labels)).tolist()
        labels = [train.labels[i] for i in order]
        said = model.learn_many([{"frames": train.frames[i]} for i in order], labels)
        if number == 1:
            progressive = share(said, labels)
        if number in PASSES:
            after.append(share(model.predict_many(asked), test.labels))
    return progressive, after


def share(said: Sequence[Any], labels: Sequence[Any]) -> float:
    """How much of it is right."""
    return float(np.mean([a == b for a, b in zip(said, labels, strict=True)]))


def tags(exclusive: bool, seed: int, **parameters: Any) -> float:
    """The share of labels that is wrong, of the last fifth of so many sequences."""
    model, rng = RNNTagger(**parameters, seed=seed), np.random.default_rng([8, seed])
    wrong, known = 0, 0
    for i in range(n := EXCLUSIVE if exclusive else SEQUENCES):
        x, labels = tagged(rng, exclusive=exclusive)
        said = model.learn_many([{"frames": x}], [labels])[0]
        if i >= n * 4 // 5:
            pairs = [(a, b) for a, b in zip(said, labels, strict=True) if b is not None]
            known += len(pairs)
            wrong += sum(a != b for a, b in pairs)
    return wrong / known


def _shown(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.1f} ({100 * min(values):.1f})"


def archives(names: Sequence[str], seeds: int, changes: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each data set and network."""
    for name in names:
        train, test = archive(name, "TRAIN"), archive(name, "TEST")
        for network, parameters in {**NETWORKS, **RAW.get(name, {})}.items():
            started = time.process_time()
            runs = [passes(train, test, seed, **{**parameters, **changes}) for seed in range(seeds)]
            spent = time.process_time() - started
            frames = seeds * (max(PASSES) * sum(map(len, train.frames)) + len(PASSES) * sum(map(len, test.frames)))
            columns = [_shown([after[k] for _, after in runs]) for k in range(len(PASSES))]
            yield name, network, _shown([first for first, _ in runs]), *columns, f"{1e6 * spent / frames:.1f}"


def taggers(seeds: int, changes: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each tagger."""
    for name, (exclusive, parameters) in TAGGERS.items():
        errors = [tags(exclusive, seed, **{"hidden_size": 16, **parameters, **changes}) for seed in range(seeds)]
        yield name, f"{100 * float(np.mean(errors)):.2f} ({100 * max(errors):.2f})"


def cost(model: Any, x: Any, y: Any, *, seconds: float = 0.5) -> tuple[float, float]:
    """Microseconds of CPU per frame, of predicting and of predicting and learning."""
    model.learn_one(x, y)
    frames = len(x["frames"])

    def each(call: Callable[[], Any]) -> float:
        spent: list[float] = []
        while len(spent) < 3 or sum(spent) < seconds:
            started = time.process_time()
            call()
            spent.append(time.process_time() - started)
        return 1e6 * float(np.median(spent)) / frames

    return each(lambda: model.predict_one(x)), each(lambda: model.learn_one(x, y))


def costs() -> Iterator[tuple[str, ...]]:
    """A row for each length, size, and number of symbols."""
    rng = np.random.default_rng(0)
    for steps in (10, 100, 1_000, 10_000):
        model: Any = RNNSequenceClassifier(hidden_size=32, max_steps=10_000)
        yield f"label, both 32+32, T={steps:,}", *_costs(model, {"frames": rng.normal(size=(steps, 8))}, "a")
    for hidden in (16, 32, 64, 128):
        for direction in ("forward", "both"):
            model = RNNSequenceClassifier(hidden_size=hidden, direction=direction)
            yield f"label, {direction} {hidden}, T=100", *_costs(model, {"frames": rng.normal(size=(100, 8))}, "a")
    for symbols in (5, 20, 80):
        model = RNNTranscriber(hidden_size=32, unit="character")
        y = "".join(rng.choice(list("abcdefghij"), size=symbols))
        yield f"transcript, {symbols} symbols, T=200", *_costs(model, {"frames": rng.normal(size=(200, 8))}, y)


def _costs(model: Any, x: Any, y: Any) -> tuple[str, str]:
    predicting, learning = cost(model, x, y)
    return f"{predicting:.2f}", f"{learning:.2f}"


def show(title: str, headers: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    """Print each row as soon as it is known, then all of them as a table."""
    view = Table(title=title, title_justify="left")
    for header in headers:
        view.add_column(header)
    for row in rows:
        print(*row, sep="  ", flush=True)
        view.add_row(*row)
    Console(width=140).print(view)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    everything = (*ARCHIVES, "tagging", "costs")
    parser = argparse.ArgumentParser(description="Whole sequences: what is right, and what a frame costs.")
    parser.add_argument("--only", nargs="+", choices=everything, metavar="NAME", default=everything)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs of each (default {SEEDS})")
    parser.add_argument("--set", nargs="+", metavar="NAME=VALUE", default=(), help="parameters other than the defaults")
    options = parser.parse_args(arguments)
    changes = {name: _value(text) for name, _, text in (each.partition("=") for each in options.set)}
    if names := [name for name in ARCHIVES if name in options.only]:
        headers = ("data", "network", "progressive, %", *(f"after {n}" for n in PASSES), "us/frame")
        show("right, mean (least)", headers, archives(names, options.seeds, changes))
    if "tagging" in options.only:
        show("wrong, mean (most)", ("task", "%"), taggers(options.seeds, changes))
    if "costs" in options.only:
        show("us of CPU per frame", ("what", "predict", "predict and learn"), costs())


def _value(text: str) -> Any:
    """A parameter as it was meant: a number, True, False, None, or text."""
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
