"""A million hostile records through whole jobs, on this tree and on another one: not a byte may differ.

    python -m tests.bench.hostile                              what comes out, as sums
    python -m tests.bench.hostile --beside ../before           and whether it does on the checkout there as well

Every job has its share of the records: usual ones, in which every few fields hold something that no producer should
send, and bytes are lost, doubled or changed; keys and times are no better. They go through a partition in batches of
any size. Of every ten thousand the bytes of all outputs (predictions and dead letters, with keys, timestamps, offsets
and topics) are summed up, beside the learner's digest and its counters. Which checkout is at work is said first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import streamrnn

Choices = Sequence[str]
Given = tuple[bytes | None, bytes | None, int]

PIECE = 10_000

FLIGHTS = """
job: flights
embedded: {directory: log}
input: {topic: in}
features:
  - {field: minutes, encoder: cyclic, period: 1440}
  - {field: weekday, encoder: cyclic, period: 7}
  - {field: carrier, encoder: onehot, categories: ["9E", AA, UA, 7]}
  - {field: dest, encoder: hash, buckets: 16}
  - {field: distance, encoder: numeric}
  - {field: a, encoder: log1p}
target: {fields: [delay]}
model: {hidden_size: 3, dtype: float64}
learning: {k1: 1, k2: 4}
streams: {max_streams: 40}
output: {topic: out, dead_letter_topic: dead}
checkpoint: {directory: checkpoints}
"""
NESTED = """
job: nested
embedded: {directory: log}
input: {topic: in, stream_key: n.id, timestamp: {field: t}, end_field: last, max_record_bytes: 600}
features:
  - {field: a, encoder: numeric}
  - {field: n.b, encoder: numeric}
  - {field: n.m.d, encoder: cyclic, period: 24}
  - {field: c, encoder: onehot, categories: [x, 1, "true"]}
target: {fields: [y, n.z]}
model: {hidden_size: 3, dtype: float64}
learning: {k1: 1, k2: 4}
streams: {max_streams: 40, ttl_s: 50}
output: {topic: out, dead_letter_topic: dead}
checkpoint: {directory: checkpoints}
"""
MORE = {"flights": FLIGHTS, "nested": NESTED}

USUAL: dict[str, Choices] = {
    "a": ("1", "-2.5", "0.25", "1e3", "0", "-0.0"),
    "n": ('{"b": 2.5, "id": "s", "z": 1, "m": {"d": 13}}', '{"b": -1, "id": "q"}', '{"b": 0.5, "id": 7, "z": 4}'),
    "n.b": ("3",),
    "c": ('"x"', "1", '"true"', '"else"'),
    "l": ('[1, {"h": 13}]', '[1, {"h": 0.5}]'),
    "y": ("1.5", "2", '"late"', "1", "true", "null"),
    "k": ('"s"', '"t"', '"st"', "17"),
    "t": ("1600000000", "1600000003.5", "1600000000000", '"2020-09-13T12:26:40Z"'),
    "last": ("false", "false", "true"),
    "late": ("true", "false"),
    "kind": ("1", '"1"'),
    "id": ("7", '"e"', "8"),
    "of": ("7", "8"),
    'a"b': ("4",),
    "\\": ('{"\\n": [7]}',),
    "d.e": ('"w"',),
    "y\n": ("2",),
    "q": ("[[1, 2], [3, null]]", "[]", '[{"a": 1, "b": 2}]'),
    "minutes": ("615", "0", "1439.5"),
    "weekday": ("0", "3"),
    "carrier": ('"UA"', '"AA"', "7", '"ZZ"'),
    "dest": ('"LAX"', '"SFO"', "12"),
    "distance": ("1400", "200.5"),
    "delay": ("-3", "12.5", "null"),
    "else": ("[{}]", '"text"', "1e5"),
}
HOSTILE: Choices = (
    "null", "true", "[]", "{}", "[1]", '{"b": {"c": 1}}', '""', '"1.5"', '" 12 "', '"1e400"', '"nan"', '"Infinity"',
    "NaN", "-Infinity", "+inf", "1e400", "-1e400", "1e-400", "-0", "01", "1.", ".5", "0e-077007", "1E+5",
    "9007199254740993", "18446744073709551616", "-9223372036854775809", "1" * 30, "1" * 400, "9" * 4300, "9" * 4301,
    '"\\ud83d"', '"\\ud83d\\ude00"', '"\ufdd0\ufdef\ufdd0"', '"\\u0000"', '"k" ', f'"{"k" * 70}"', f'"{"é" * 300}"',
    "[" * 63 + "]" * 63, "[" * 64 + "]" * 64, "[" * 3000 + "]" * 3000, '{"z": ' * 62 + "1" + "}" * 62, '"QUI="',
    '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', "253402300799999", "1e17", "-62135596800001",
    "1e308", "-1e308", "5e-324", "", "x", '"', "{", "]",
)  # fmt: skip
KEYS: tuple[bytes | None, ...] = (
    *(b"k%d" % i for i in range(30)),
    b"",
    None,
    b"\xff",
    b"k\xc3",
    b"k" * 3000,
    "é".encode(),
)
WHOLE: tuple[bytes | None, ...] = (
    None, b"", b"{}", b"null", b"[{}]", b"7", b"\x00", b"[" * 5000, b'{"a": 1}{"a": 2}', b'{"a": 1},{"a": 2}',
    b'{"x": [{}', b"{}]}", b'\xef\xbb\xbf{"a": 1, "y": 2}', b' \n{"a": 1, "y": 2}\r\n ', b'{"a": 1 // no\n}',
)  # fmt: skip


def made(rng: random.Random, n: int) -> Iterator[Given]:
    """So many records, the same for everybody who begins with the same numbers."""
    names, time_ms = list(USUAL), 1_600_000_000_000
    for _ in range(n):
        time_ms += rng.randrange(200)
        drawn = rng.random()
        stamp = time_ms if drawn < 0.97 else time_ms - rng.randrange(10**6) if drawn < 0.985 else rng.choice(
            (0, -1, -2, 5, 1 << 62, -(1 << 62), time_ms + 10**10, 253_402_300_800_000)
        )  # fmt: skip
        key = KEYS[rng.randrange(30)] if rng.random() < 0.97 else rng.choice(KEYS)
        if rng.random() < 0.01:
            yield key, rng.choice(WHOLE), stamp
            continue
        hostile = rng.choice((0.0, 0.0, 0.0, 0.05, 0.3))
        fields = [
            (name, rng.choice(HOSTILE if rng.random() < hostile else USUAL[name]))
            for name in names
            if rng.random() < 0.85
        ]
        if rng.random() < 0.05:
            fields.append((rng.choice(names), rng.choice(HOSTILE)))  # one that may be there already
        text = ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields)
        value = f"{{{text}}}".encode("utf-8", "surrogatepass")
        yield key, spoilt(rng, value) if rng.random() < 0.03 else value, stamp


def spoilt(rng: random.Random, value: bytes) -> bytes:
    """With a few bytes lost, doubled, changed or added."""
    at, length = rng.randrange(len(value)), rng.randrange(1, 9)
    change: Callable[[], bytes] = rng.choice((
        lambda: value[:at],
        lambda: value[:at] + value[at + length :],
        lambda: value[: at + length] + value[at:],
        lambda: value[:at] + bytes([rng.randrange(256)]) + value[at + 1 :],
        lambda: value + rng.choice((b" ", b"\n", b"x", b"\x00", b"}")),
    ))  # fmt: skip
    return change()


def sums(names: Iterable[str], per_job: int) -> Iterator[str]:
    """A line for every ``PIECE`` records of each job: what has come out of it so far."""
    from prometheus_client import CollectorRegistry

    from streamrnn.broker.protocol import Record, TopicPartition
    from streamrnn.daemon.metrics import Metrics
    from streamrnn.daemon.partition import Partition, Start
    from streamrnn.job.job import Job
    from streamrnn.job.job_file import parse
    from tests.support.byte_path import config_of

    tp = TopicPartition("in", 0)
    for name in names:
        rng, job = random.Random(name), Job(parse(MORE[name], {}) if name in MORE else config_of(name))
        start = Start(lineage="l", position=0, ordinal=0, replay_until=0)
        metrics = Metrics(CollectorRegistry())
        partition = Partition(job, tp, metrics, job.learner(tp), start)
        came, counts, offset = hashlib.sha256(), {"predictions": 0, "dead letters": 0}, 0
        records = [Record(*tp, i, *_in_log(each)) for i, each in enumerate(made(rng, per_job))]
        while offset < per_job:
            until = min(per_job, (offset // PIECE + 1) * PIECE, offset + rng.choice((1, 3, 20, 500, 3000, PIECE)))
            for topic, *output in _sent(partition.process(_given(records[offset:until]))):
                counts["predictions" if topic == "out" else "dead letters"] += 1
                came.update(repr((topic, *output)).encode())
            partition.outputs = []
            offset = until
            if offset % PIECE == 0 or offset == per_job:
                learner = partition.learner
                yield f"{name} {offset} {came.hexdigest()[:24]} {learner.digest} {counts} {learner.counters()}"
        partition.close(1.0)


def _in_log(given: Given) -> tuple[int, bytes | None, bytes | None]:
    key, value, time_ms = given
    return time_ms, key, value


def _given(records: list[Any]) -> Any:
    """Records as the checkout takes them."""
    try:
        from streamrnn.broker.columns import Records
    except ImportError:
        return records
    return Records.of(records)


def _sent(outputs: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for output in outputs:
        for one in (output,) if hasattr(output, "value") else output:
            # A timestamp beyond the present is replaced by it, which is not the same in two runs.
            yield one.topic, one.key, one.value, one.timestamp_ms, one.offset


def beside(directory: Path, names: Sequence[str], per_job: int) -> Iterator[str]:
    """The same lines from another checkout, in a process of its own."""
    command = [sys.executable, __file__, "--jobs", *names, "--records", str(per_job * len(names))]
    given = {**os.environ, "PYTHONPATH": str(directory.resolve())}
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=given, cwd=scratch)
        assert process.stdout is not None
        for line in process.stdout:
            yield line.rstrip("\n")
        if process.wait():
            raise SystemExit(f"the checkout in {directory} failed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the sums, or what differs."""
    from tests.support.byte_path import JOBS

    parser = argparse.ArgumentParser(description="Hostile records through whole jobs.")
    parser.add_argument("--records", type=int, default=1_000_000, help="over all jobs (default 1000000)")
    parser.add_argument("--jobs", nargs="*", help="only these")
    parser.add_argument("--beside", type=Path, help="another checkout, whose outputs must be the same")
    options = parser.parse_args(arguments)
    names = options.jobs or [*JOBS, *MORE]
    per_job = options.records // len(names)
    logging.disable()
    own = sums(names, per_job)
    if options.beside is None:
        print(f"# {Path(streamrnn.__file__).parent}", flush=True)
        for line in own:
            print(line, flush=True)
        return
    began, lines, differences = time.perf_counter(), 0, []
    others = beside(options.beside, names, per_job)
    print(f"{next(others)} beside {Path(streamrnn.__file__).parent}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for mine, other in zip_longest(own, others):
            lines += 1
            if mine != other:
                differences.append((mine, other))
                print(f"here  {mine}\nthere {other}", flush=True)
    print(f"{per_job * len(names):,} records of {len(names)} jobs in {lines} pieces: {len(differences)} differ "
          f"({time.perf_counter() - began:.0f} s)")  # fmt: skip
    if differences:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
