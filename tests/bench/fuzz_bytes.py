"""Searches for records at which the way from bytes to outputs breaks what it promises, guided by coverage.

    pip install atheris
    python -m tests.bench.fuzz_bytes search DIRECTORY --seconds 2700
    python -m tests.bench.fuzz_bytes keep DIRECTORY

``search`` begins with the inputs of ``tests/data/byte_path.jsonl`` and what an earlier search left in DIRECTORY; every
input that reaches new code becomes a file there. It stops at the first one that breaks a promise, or that takes longer
than twenty seconds, and names the file that holds it; what is promised stands in ``tests/support/byte_path.py``.
``keep`` writes the smallest inputs that reach as much, edge by edge and how often, over ``tests/data/byte_path.jsonl``.

Only ``search`` needs Atheris, which is libFuzzer for Python and no dependency of the project. An input is bytes there:
the job's number; then records, 0x1e between them; of each a byte of marks (1: no key, 2: no value, 4: a time follows,
in eight bytes), the key, 0x1f, the value.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.fuzzing import Reached, command, smallest_first, steps_of, worth_keeping

if TYPE_CHECKING:
    from tests.support.byte_path import Given

KEPT = Path(__file__).parents[1] / "data" / "byte_path.jsonl"
MOST_KEPT_BYTES = 190_000
MOST_BYTES, MOST_RECORDS = 1_500, 8  # of an input
TIME_MS = 1_600_000_000_000  # of a record without a time of its own
COVERED = ["streamrnn.job.codec", "streamrnn.learner", "streamrnn.broker.protocol"]

WORDS = (
    *('"a"', '"b"', '"c"', '"h"', '"id"', '"k"', '"kind"', '"l"', '"last"', '"late"', '"n"', '"of"', '"t"', '"y"'),
    *('{"a":', '{"n":{"b":', '{"n":{"id":"s"}', '"l":[0,{"h":', '"y":1.5', '"d.e":', '"a\\"b":', '"\\\\":{"\\n":['),
    *('"y\\n":', "true", "false", "null", "NaN", "-Infinity", "+inf", "nan", "1e999", "-1e-400", "1e308", "-0.0"),
    *('"1.5"', '" 12 "', '"1e400"', '"inf"', '"Infinity"', '"true"', '"none"', '"QUI="', "18446744073709551616"),
    *('"2020-01-01"', '"2020-01-01T00:00:00.000+24:00"', '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"'),
    *("\\ud83d", "\\ud83d\\ude00", "\\udc00", "\\u0000", "\\ufdd0\\ufdef", "[[[[[[[[", "]]]]", '{"":', "}}}}"),
    *("\ufeff", "\x1e\x00k\x1f{", "\x1e\x02k\x1f", "\x1e\x01", "[0,{", ",1,", "1e9", "000", "253402300799999"),
    *("0e-077007", "9007199254740993"),
)
"""Words of the fields, and of what is written in them: mutations alone would hardly spell them."""


def search(directory: Path, found: Path, seconds: int) -> None:
    """Search for so long; the process ends here."""
    import atheris

    with atheris.instrument_imports(include=COVERED):
        from tests.support.byte_path import SEEDS, from_line, go
    given = [*SEEDS, *(from_line(line) for line in (KEPT.read_text().splitlines() if KEPT.exists() else ()))]
    for i, each in enumerate(given):
        (found / f"given-{i}").write_bytes(to_bytes(each))
    words = directory / "words"
    escaped = ("".join(rf"\x{byte:02x}" for byte in word.encode()) for word in WORDS)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    limits = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=20", "-rss_limit_mb=3000"]
    atheris.Setup(
        [sys.argv[0], *limits, f"-dict={words}", f"-artifact_prefix={directory}/", str(found)],
        lambda data: go(of_bytes(data)),
    )
    atheris.Fuzz()


def keep(found: Path) -> list[str]:
    """Lines of inputs that reach all that the ones in ``found`` do, the smallest first, as far as there is room."""
    from tests.support.byte_path import SEEDS, to_line

    inputs = [*SEEDS, *map(of_bytes, smallest_first(found))]
    return worth_keeping(inputs, set(), reaches, to_line, MOST_KEPT_BYTES)


def reaches(given: Given) -> Reached:
    """What an input reaches of the covered code, in its job."""
    from tests.support.byte_path import go, job_of

    job_of(given.job)  # made once, before
    return {(given.job, step) for step in steps_of(lambda: go(given), "streamrnn/job/codec", "streamrnn/learner")}


def of_bytes(data: bytes) -> Given:
    """The input that bytes stand for; any bytes stand for one."""
    from tests.support.byte_path import JOBS, Given

    job = JOBS[(data[0] if data else 0) % len(JOBS)]
    records = []
    for each in data[1:].split(b"\x1e")[:MOST_RECORDS]:
        marks, rest, time_ms = (each[0] if each else 0), each[1:], TIME_MS
        if marks & 4 and len(rest) >= 8:
            (time_ms,) = struct.unpack("<q", rest[:8])
            rest = rest[8:]
        key, _, value = rest.partition(b"\x1f")
        records.append((None if marks & 1 else key, None if marks & 2 else value, time_ms))
    return Given(job, tuple(records))


def to_bytes(given: Given) -> bytes:
    """Bytes that stand for an input."""
    from tests.support.byte_path import JOBS

    parts = []
    for key, value, time_ms in given.records:
        marks = (key is None) | 2 * (value is None) | 4 * (time_ms != TIME_MS)
        time = struct.pack("<q", time_ms) if marks & 4 else b""
        parts.append(bytes([marks]) + time + (key or b"") + b"\x1f" + (value or b""))
    return bytes([JOBS.index(given.job)]) + b"\x1e".join(parts)


if __name__ == "__main__":
    command(__doc__, 2700, KEPT, search, keep)
