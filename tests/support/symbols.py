"""Learners of symbols and of texts, and logs of many sessions whose symbols are new, go out of use, are too many."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamrnn import Block, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, Symbols, TargetSpec, TextSpec
from streamrnn.core.kinds import EVENT, FORGET, LABEL
from streamrnn.learner.block import Units

PAGES, STATES = Symbols(open=True, max=9), Symbols(values=("on", "off"))
CLOSED = Symbols(values=tuple("abcdefgh "))


def spec_of(target: dict[str, Any], text: TextSpec | None = None, **changes: Any) -> LearnerSpec:
    """A small learner of classes with two inputs that are symbols and a number."""
    return LearnerSpec(
        **{
            "n_features": 1,
            "symbols": (PAGES, STATES),
            "target": TargetSpec(fields=("y",), **target),
            "text": text,
            "model": ModelSpec(hidden_size=4, readout="softmax", dtype="float64"),
            "learning": LearningSpec(k1=2, k2=5, lr=0.02),
            "streams": StreamSpec(max_streams=8, reset_after_s=50.0),
            **changes,
        }
    )


_LABELS = {"known": "label", "event_field": "id", "label_field": "of", "label_memory": 4}
OF_RECORDS = {
    "next event": spec_of({"known": "forecast", "classes": Symbols(open=True, max=7)}, has_end=True),
    "class of the record": spec_of({"classes": Symbols(open=True, max=7)}),
    "label": spec_of({"classes": Symbols(open=True, max=7), **_LABELS}),
    "closed": spec_of({"known": "forecast", "classes": tuple("abcdefghij")}),
}
OF_TEXTS = {
    "bytes": spec_of({"classes": Symbols(bytes=True)}, TextSpec(), has_end=True),
    "characters": spec_of({"classes": Symbols(open=True, max=7)}, TextSpec(unit="character", carry=False)),
    "declared characters": spec_of({"classes": CLOSED}, TextSpec(unit="character", mark_end=False), has_end=True),
    "words": spec_of({"classes": Symbols(open=True, max=5)}, TextSpec(unit="word", mark_end=False, carry=False)),
}
ALL = {**OF_RECORDS, **OF_TEXTS}


def log_of(spec: LearnerSpec, n: int = 60, seed: int = 0) -> Block:
    """Records of twelve streams. Which symbols come drifts through the alphabet, so that sets grow and overflow."""
    rng = np.random.default_rng(seed)
    at = np.arange(n) * 14 // n
    kind = rng.choice([EVENT, FORGET], n, p=[0.96, 0.04]).astype(np.uint8)
    event, names = np.arange(1, n + 1, dtype=np.uint64), [b"s%d" % i for i in rng.integers(0, 12, n)]
    if spec.target.known == "label":
        for i in np.flatnonzero(rng.random(n) < 0.5)[3:].tolist():
            kind[i], of = LABEL, int(rng.integers(max(0, i - 4), i))
            names[i], event[i] = names[of], event[of]
    letters = [[chr(97 + (a + int(k)) % 26) for k in rng.integers(0, 4, 12)] for a in at]
    text, is_open = spec.text, spec.target.is_open
    texts = None if text is None else [_text(text, row, rng) for row in letters]
    classes: list[str | None] = [row[0] if rng.random() < 0.9 else None for row in letters]
    y = np.full((n, 1), np.nan)
    if text is None and not is_open:
        y[:, 0] = rng.integers(0, spec.n_classes, n)
    return Block(
        keys=names,
        time_ms=1_700_000_000_000 + np.cumsum(rng.choice([0, 1500, 9000, 60_000], n, p=[0.3, 0.4, 0.28, 0.02])),
        x=rng.normal(size=(n, 1)),
        y=y,
        end=rng.random(n) < 0.1,
        kind=kind,
        event=event,
        symbols=([row[1] if rng.random() < 0.9 else None for row in letters], ["on", None, "off", "?"] * (n // 4)),
        labels=classes if text is None and is_open else None,
        texts=texts,
    )


def _text(text: TextSpec, letters: list[str], rng: np.random.Generator) -> Units:
    letters = letters[: int(rng.integers(0, 13))]
    if text.unit == "word":
        return letters
    return "".join(letters).encode() if text.unit == "byte" else "".join(letters)
