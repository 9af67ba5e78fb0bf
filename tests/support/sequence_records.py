"""Records of whole sequences of every kind, odd ones among them, and of chunks of them."""

from __future__ import annotations

import random
from typing import Any

from tests.support.symbol_jobs import Written

_WORDS = "abc"


def answer(kind: str, frames: list[list[float]]) -> Any:
    """What a sequence turns out to be, by the kinds of ``sequence_jobs.TARGETS``: something that can be learned."""
    high = [frame[0] > 0.5 for frame in frames]
    symbols = [_WORDS[sum(pair)] for pair in zip(high[::2], [*high[1::2], False], strict=False)]
    return {
        "label": "high" if high[0] else "low",
        "number": sum(frame[1] for frame in frames),
        "labels": ["high" if each else "low" for each in high],
        "labels of numbers": [frame[0] + frame[1] for frame in frames],
        "transcript": "".join(symbols)[: len(frames) // 2],
        "open transcript": symbols[: len(frames) // 3],
        "sequence": " ".join(reversed(symbols)),
        "numbers": [frames[0][0], frames[-1][0], frames[0][1]],
    }[kind]


def sequences(kind: str, n: int, streams: int = 4, seed: int = 1) -> list[Written]:
    """Whole sequences of 1 to 8 frames; of each tenth or so the answer is missing, or a frame, or all of it."""
    rng = random.Random(seed)
    made: list[Written] = []
    for _ in range(n):
        frames = [[round(rng.random(), 3), round(rng.gauss(0, 1), 3)] for _ in range(rng.randint(1, 8))]
        value: dict[str, Any] = {"frames": frames, "y": answer(kind, frames)}
        odd = rng.random()
        if odd < 0.1:
            value["y"] = None
        elif odd < 0.2:
            value["frames"] = [[None, None], *frames[1:]]
        elif odd < 0.25:
            value["frames"] = []  # a dead letter
        made.append((f"k{rng.randrange(streams)}", value))
    return made


def chunks(kind: str, n: int, streams: int = 3, seed: int = 1) -> list[Written]:
    """``n`` records that are chunks of sequences of several streams at once; some have no frames, some end nothing."""
    rng = random.Random(seed)
    whole: dict[str, list[list[float]]] = {}
    made: list[Written] = []
    for _ in range(n):
        key = f"k{rng.randrange(streams)}"
        frames = [[round(rng.random(), 3), round(rng.gauss(0, 1), 3)] for _ in range(rng.randint(0, 4))]
        value: dict[str, Any] = {"frames": frames, "last": rng.random() < 0.3}
        came = whole.setdefault(key, [])
        came += frames
        if kind.startswith("labels"):
            value["y"] = answer(kind, frames) if frames else []
        elif value["last"] and came:
            value["y"] = answer(kind, came)
        if value["last"]:
            whole[key] = []
        made.append((key, value))
    return made
