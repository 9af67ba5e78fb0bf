"""Charges of furnaces, generated: what matters is said in the first record, and asked for some two hundred later."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from streamrnn.broker.protocol import Record

MATERIALS = {"ore": 40.0, "mixed": 50.0, "scrap": 60.0}
"""The hardness that each leads to, but for noise of deviation ``NOISE``."""
NOISE = 1.0
LENGTHS = (150, 250)
"""Records of a charge, from and to."""


def charges(n: int, furnaces: int = 4, seed: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Furnace and record, of ``n`` charges of each furnace; furnaces take turns record by record."""
    rng = random.Random(seed)
    running = [_of_one(random.Random(rng.random()), n) for _ in range(furnaces)]
    while running:
        for furnace, records in enumerate(list(running)):
            if (value := next(records, None)) is None:
                running.remove(records)
            else:
                yield f"furnace-{furnace}", value


def _of_one(rng: random.Random, n: int) -> Iterator[dict[str, Any]]:
    for _ in range(n):
        material, length, heat = rng.choice(list(MATERIALS)), rng.randint(*LENGTHS), rng.gauss(740.0, 10.0)
        for step in range(length):
            heat += 0.1 * (740.0 - heat) + rng.gauss(0.0, 4.0)
            value: dict[str, Any] = {"temperature": round(heat, 1), "power": round(rng.uniform(0.3, 0.9), 2)}
            if step == 0:
                value["material"] = material
            if step == length - 1:
                value |= {"hardness": round(MATERIALS[material] + rng.gauss(0.0, NOISE), 1), "done": True}
            yield value


def as_records(found: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Record]:
    """The same in log order, a second apart."""
    for i, (furnace, value) in enumerate(found):
        yield Record("in", 0, i, 1_700_000_000_000 + 1_000 * i, furnace.encode(), json.dumps(value).encode())
