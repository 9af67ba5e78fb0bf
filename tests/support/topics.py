"""What topics of several kinds hold: (key, timestamp in milliseconds, value), the same in every run."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from streamrnn.broker.protocol import Record
from streamrnn.demo.flights import load_flights, stream_key
from streamrnn.drafting.sample import Sample, Source, sample_of

Sent = tuple[bytes | None, int, bytes]
START_MS = 1_760_000_000_000
TEXT = "the delivery was late and nobody answered my call please refund order box broken thanks great service"
WORDS = TEXT.split()


@functools.cache
def flights(n: int = 20_000) -> list[Sent]:
    """The demo's departures: keyed by aircraft, stamped with the moment of departure."""
    return [(stream_key(r).encode(), r["timestamp"], json.dumps(r).encode()) for r in load_flights(limit=n)]


def machines(n: int = 3_000) -> list[Sent]:
    """Nested JSON: readings of presses, with copies, numbers as text, arrays, constants, a heavy tail and gaps."""
    rng, sent = random.Random(1), []
    level = {f"press-{i}": rng.uniform(20, 60) for i in range(12)}
    for i in range(n):
        device, time_ms = f"press-{rng.randrange(12)}", START_MS + i * 7_000
        hour = time_ms // 3_600_000 % 24
        level[device] += rng.gauss(0, 0.4) - 0.02 * (level[device] - 40)
        celsius = level[device] + 5 * math.sin(2 * math.pi * hour / 24)
        readings: dict[str, Any] = {
            "temperature": {"c": round(celsius, 2), "f": round(celsius * 1.8 + 32, 3)},
            "pressure": round(math.exp(rng.gauss(3, 1.6)), 2),
            "vibration": [round(rng.gauss(0, 1), 3) for _ in range(3)],
            "rpm": str(rng.choice([900, 1200, 1500])),
        }
        if rng.random() < 0.1:
            readings["pressure"] = None
        document = {
            "meta": {"device": device, "site": {"code": f"S{int(device[6:]) % 3}", "country": "AT"}},
            "at": time_ms // 1_000,
            "seq": i,
            "readings": readings,
            "clock": {"hour": hour},
            "heading": round(rng.uniform(0, 360), 1),
            "alarm": celsius > 46,
            "events": [{"k": 1}] * rng.randrange(3),
        }
        sent.append((device.encode(), time_ms, json.dumps(document).encode()))
    return sent


def events(n: int = 4_000) -> list[Sent]:
    """Events with text, without keys, written within hours though they span a month."""
    rng, time_ms, sent = random.Random(2), START_MS, []
    for i in range(n):
        time_ms += int(rng.expovariate(1 / 2_000))
        user, amount = rng.randrange(200), round(math.exp(rng.gauss(3, 1.2)), 2)
        document = {
            "event_id": f"{rng.getrandbits(128):032x}",
            "user_id": user,
            "type": rng.choices(["view", "cart", "buy", "return"], [70, 20, 9, 1])[0],
            "page": f"/p/{rng.randrange(300)}",
            "message": " ".join(rng.choices(WORDS, k=rng.randrange(5, 14))),
            "amount": amount,
            "amount_cents": round(amount * 100),
            "currency": "EUR",
            "created_at": f"2025-10-{1 + i * 28 // n:02d}T{i * 28 * 24 // n % 24:02d}:00:00Z",
            "is_fraud": amount > 60 and user % 7 == 0,
            "score": None,
        }
        sent.append((None, time_ms, json.dumps(document).encode()))
    return sent


def three() -> list[Sent]:
    """Three records of one device."""
    return [
        (b"a", START_MS + i * 1_000, json.dumps({"device": "a", "value": 1.5 * i, "unit": "C"}).encode())
        for i in range(3)
    ]


def avro(n: int = 50) -> list[Sent]:
    """Bytes behind the framing of a schema registry."""
    rng = random.Random(3)
    return [(b"k", START_MS + i, b"\0\0\0\0\x2a" + rng.randbytes(20)) for i in range(n)]


def sample(sent: Sequence[Sent], topic: str = "t", **source: Any) -> Sample:
    """These records as a sample of a topic of one partition."""
    records = [Record(topic, 0, i, time_ms, key, value) for i, (key, time_ms, value) in enumerate(sent)]
    return sample_of(Source(topic=topic, **{"records": len(records)} | source), records)


def sample_like(
    n: int, document: Callable[[int], dict[str, Any]], key: Callable[[int], str | None] = lambda i: f"k{i % 5}"
) -> Sample:
    """A sample of ``n`` documents, a second apart, of five streams unless ``key`` names others."""
    names = map(key, range(n))
    return sample(
        [
            (None if name is None else name.encode(), START_MS + 1_000 * i, json.dumps(document(i)).encode())
            for i, name in enumerate(names)
        ]
    )
