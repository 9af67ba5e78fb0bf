"""Records for jobs that were drawn (``drawn_jobs``): usual ones, and some in which things are as no producer has them.

Every record has the fields of every job, so that a log goes with any of them. Streams come in turns, go back and forth
in time, pause and end; labels come at once, late, twice, out of order, in bulk, never, and for events that never were.
"""

from __future__ import annotations

import json
import random
from typing import Any

from streamrnn.broker.protocol import Record, TopicPartition
from tests.bench.hostile import HOSTILE, KEYS, WHOLE, spoilt
from tests.support.drawn_jobs import MANY
from tests.support.logs import START_MS, STEPS_MS

TP = TopicPartition("in", 0)
STREAMS = (b"a", b"b", b"c", b"d", b"e")
LETTERS = "pqrstu"


def event(rng: random.Random, missing: float = 0.1) -> dict[str, Any]:
    """One record's fields, all of the right types, some missing or null."""
    n = rng.choice((0, 1, 1, 2, 3, 4, 5))
    frames = [{"a": rng.gauss(3, 2), "b": rng.random(), "c": "x", "s": "p", "u": 7} for _ in range(n)]
    letters = [LETTERS[min(int(rng.expovariate(1)), 5)] for _ in range(4)]
    a = rng.gauss(3, 2)
    found: dict[str, Any] = {
        "a": a,
        "b": rng.choice((0, -2.5, 13.5, 1e3)),
        "c": rng.choice(("x", 1, "true", "else", 12)),
        "s": rng.choice((*LETTERS, *MANY)),
        "u": rng.choice((7, 200, *MANY)),
        "y": 2 * a + rng.gauss(0, 0.3),
        "z": rng.choice((1, -4.25)),
        "v": a > 3,
        "g": letters[0],
        "n": rng.choice((0, 0, 1, 2, 17)),
        "text": rng.choice(("", "p", "pq r", "".join(letters), "é q", "word word, p")),
        "q": frames,
        "ys": [rng.gauss(0, 1) for _ in range(rng.choice((2, 3, n)))],
        "gs": rng.choice((letters[:n], "".join(letters[:n]), " ".join(letters[:n]))),
        "k": rng.choice("abc"),
        "last": rng.random() < 0.12,
        "kind": rng.choice((1, 1, 1, "x")),
    }
    if rng.random() < 0.5:
        found["q"] = [[frame["a"], frame["b"]] for frame in frames]
    for name in list(found):
        if rng.random() < missing:
            found[name] = None
            if rng.random() < 0.5:
                del found[name]
    return found


class _Labels:
    """Names of events whose label is yet to come, and which one comes next."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.waiting, self.done = rng, {key: [] for key in STREAMS}, 0
        self.chance = rng.choice((0.0, 0.2, 0.5))
        self.how = rng.choice(("in order", "newest", "any", "bulk"))
        self.bulk = False

    def event(self, key: bytes, number: int) -> int:
        self.waiting[key].append(number)
        return number

    def next(self, key: bytes) -> int | None:
        """The event that is answered now; None: none is."""
        waiting = self.waiting[key]
        if self.how == "bulk":
            self.bulk = bool(waiting) and (self.bulk or len(waiting) > 6)
        if not (self.bulk if self.how == "bulk" else self.rng.random() < self.chance) or not waiting:
            return None
        place = {"newest": len(waiting) - 1, "any": self.rng.randrange(len(waiting))}.get(self.how, 0)
        found = waiting[place]
        if self.rng.random() < 0.9:  # else it comes twice
            del waiting[place]
        if self.rng.random() < 0.1 and waiting:  # one that never gets its label
            waiting.pop(0)
        return found if self.rng.random() < 0.95 else 10**6 + found


def records(rng: random.Random, n: int, hostile: float = 0.0, labels: bool = False) -> list[Record]:
    """A log of n records; ``hostile``: the share of fields, and some whole records, that no producer should send.

    Keys, times and gaps are no better then. With ``labels`` some records answer others.
    """
    made: list[Record] = []
    answers, time_ms = _Labels(rng), START_MS
    missing = rng.choice((0.0, 0.1, 0.4))
    for number in range(1, n + 1):
        key = rng.choice(STREAMS[:2] if number % 2 else STREAMS)
        time_ms += rng.choice(STEPS_MS[:5] if rng.random() < 0.9 else STEPS_MS)
        stamp = time_ms
        if abs(time_ms - START_MS) > 10**7:
            time_ms = START_MS
        fields = event(rng, missing)
        fields["t"] = stamp
        of = answers.next(key) if labels else None
        if of is None:
            fields["id"] = answers.event(key, number) if labels and rng.random() < 0.95 else None
        else:
            fields |= {"of": of, "k": "a"}
        made.append(_written(rng, number - 1, stamp, key, fields, hostile))
    return made


def _written(rng: random.Random, offset: int, stamp: int, key: bytes, fields: dict[str, Any], hostile: float) -> Record:
    whole: bytes | None
    if rng.random() < 0.03:
        return Record(*TP, offset, stamp, key, None)
    if rng.random() >= hostile:
        return Record(*TP, offset, stamp, key, json.dumps(fields).encode())
    texts = {name: json.dumps(value) for name, value in fields.items()}
    for name in texts:
        if rng.random() < 0.15:
            texts[name] = rng.choice(HOSTILE)
    whole = ("{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}").encode(
        "utf-8", "surrogatepass"
    )
    if rng.random() < 0.1:
        whole = rng.choice((*WHOLE, spoilt(rng, whole)))
    if rng.random() < 0.1:
        stamp = rng.choice((0, -1, 1 << 62, -(1 << 62), 253_402_300_800_000))
    name = rng.choice(KEYS) if rng.random() < 0.1 else key
    return Record(*TP, offset, stamp, name, whole)
