"""Jobs of single steps that look ahead, records with everything that ends a wait, and which of them wait at the end."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from streamrnn.broker.protocol import Record
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.learner.streams import IDLE_AT_ONCE
from tests.support.scenario import START_MS
from tests.support.symbol_jobs import SymbolScenario

TARGETS = {
    "number": "{fields: [y]}",
    "two numbers": "{fields: [y, z]}",
    "classes": "{fields: [c], classes: [low, high]}",
    "open classes": "{fields: [c], classes: {open: true, max: 5}}",
    "zero where left out": "{fields: [y], missing: zero}",
}
GAP_S = 40.0
TTL_S = 90.0
STREAMS = f"{{max_streams: 5, protected_share: 0, reset_after_s: {GAP_S}, ttl_s: {TTL_S}}}"


def lookahead_job(
    target: str = TARGETS["number"],
    *,
    lookahead: int = 3,
    source: str = "end_field: end",
    features: str = "[{field: a, encoder: numeric}]",
    model: str = "",
    learning: str = "{k1: 2, k2: 4}",
    streams: str = STREAMS,
    more: str = "",
) -> Config:
    """A small job; ``source`` goes with its input, ``model`` with its model."""
    return parse(
        f"""
job: j
embedded: {{directory: log}}
input: {{topic: in{source and ", " + source}}}
features: {features}
target: {target}
model: {{cell: gru, hidden_size: 4, direction: both, lookahead: {lookahead}{model and ", " + model}}}
learning: {learning}
streams: {streams}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: checkpoints}}
{more}
""",
        {},
    )


class Message(NamedTuple):
    """One record to write."""

    key: bytes
    value: bytes | None
    time_ms: int


def events(n: int, seed: int = 1) -> list[Message]:
    """Records of eight streams, of which there is room for five, some silent for long.

    Among them tombstones, records that are none, end marks, missing values and targets, and pauses.
    """
    rng, found, now = random.Random(seed), [], START_MS
    for i in range(n):
        now += 1000 * (rng.randint(1, 5) if rng.random() < 0.97 else rng.randint(45, 100))
        busy = 3 if i // 40 % 2 else 8
        key, chance = b"s%d" % rng.randrange(busy), rng.random()
        if chance < 0.04:
            found.append(Message(key, None, now))
            continue
        if chance < 0.09:
            found.append(Message(key, b"{", now))
            continue
        fields: dict[str, Any] = {"a": rng.gauss(0, 1), "y": rng.gauss(1, 2), "z": rng.gauss(5, 1)}
        fields["c"] = rng.choice(["low", "high"])
        if rng.random() < 0.1:
            del fields[rng.choice("ayc")]
        if rng.random() < 0.08:
            fields["end"] = True
        found.append(Message(key, json.dumps(fields).encode(), now))
    return found


class LookaheadScenario(SymbolScenario):
    """One job directory with a log of such records."""

    def __init__(self, directory: Path, of: Config, messages: list[Message], **settings: int) -> None:
        super().__init__(directory, of, **settings)
        self.policy: dict[str, Any] = {}  # settings of its section checkpoint
        for key, value, time_ms in messages:
            self.log.append("in", key, value, timestamp_ms=time_ms, partition=0)
        self.log.flush()

    def config(self, **changes: str) -> Config:
        config = super().config(**changes)
        return replace(config, checkpoint=replace(config.checkpoint, **self.policy))

    def outputs(self) -> list[tuple[Record, dict[str, Any]]]:
        """Each prediction's record and what it holds, in the order of the topic."""
        return [(record, json.loads(record.value or b"")) for record in self.records("out")]


def told_by_hand(config: Config, messages: list[Message], wait: int) -> tuple[list[int], list[int]]:
    """Offsets of events in the order in which they are predicted, and those that wait at the end, worked out slowly.

    Room for streams is not bounded here.
    """
    told: list[int] = []
    waiting: dict[bytes, list[int]] = {}
    last: dict[bytes, int] = {}
    for offset, (key, value, time_ms) in enumerate(messages):
        fields = {} if value == b"{" else None if value is None else json.loads(value)
        if fields == {}:
            continue
        idle = [k for k, seen in last.items() if time_ms - seen > 1000 * (config.streams.ttl_s or 1e9)]
        for gone in idle[:IDLE_AT_ONCE] + [key] * (key in idle[IDLE_AT_ONCE:]):
            told += waiting.pop(gone, [])
            del last[gone]
        gap = config.streams.reset_after_s
        if fields is None or (key in last and gap is not None and time_ms - last[key] > 1000 * gap):
            told += waiting.pop(key, [])
        if fields is None:
            last.pop(key, None)
            continue
        last.pop(key, None)
        last[key] = time_ms  # the newest last, as those that are silent for longest are dropped first
        waiting.setdefault(key, []).append(offset)
        while len(waiting[key]) > (0 if fields.get("end") else wait):
            told.append(waiting[key].pop(0))
    return told, sorted(offset for of in waiting.values() for offset in of)
