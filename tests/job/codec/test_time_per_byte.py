"""No step between a record's bytes and the arrays takes more than time in proportion to them, whatever they are.

Each value stands in each place that a job may name: key, time, end mark, event, label, target, class, condition,
number, category, hash, a field inside another; and in a field that no job names. Measured is the whole way: decoding
and, where the record is refused, its dead letter. Eight times the bytes may take eight times the processor's time, and
up to three times as much again for caches; their square would take 64 times. A MiB, the longest record by default, that
takes less than a quarter of a second is not looked at closer.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from functools import cache

import msgspec
import pytest

from streamrnn.broker.protocol import Record
from streamrnn.job.codec.dead_letters import encode_dead_letter, shorten_dead_letter
from streamrnn.job.codec.names import names_in, told
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.section import MIB
from streamrnn.offline.data_file import parsed
from tests.support.byte_path import TP, config_of

SMALL, LARGE = MIB // 8, MIB
MOST_GROWTH = 24.0
FAST_S = 0.25

Make = Callable[[int], bytes]


def text(piece: bytes, behind: bytes = b"") -> Make:
    """Text of many pieces."""
    return lambda n: b'"' + piece * (n // len(piece)) + behind + b'"'


def array(piece: bytes) -> Make:
    """An array of many elements."""
    return lambda n: b"[" + (piece + b",") * (n // (len(piece) + 1)) + b"1]"


VALUES: dict[str, Make] = {
    "digits": lambda n: b"1" * n,
    "places": lambda n: b"0." + b"1" * n,
    "zeros": lambda n: b"0." + b"0" * n + b"1",
    "digits that an exponent takes back": lambda n: b"1" * n + b"e-%d" % n,
    "digits of an exponent": lambda n: b"1e" + b"1" * n,
    "half way between two numbers": lambda n: b"9007199254740993" + b"0" * n + b"e-%d" % n,
    "not a number beside such digits": lambda n: b"[NaN,1." + b"1" * n + b"e-%d]" % n,
    "digits as text": text(b"1"),
    "places as text": lambda n: b'"0.' + b"1" * n + b'"',
    "exponent as text": lambda n: b'"' + b"1" * n + b'e-%d"' % n,
    "points as text": text(b"1."),
    "spaces": text(b" ", b"x"),
    "tabs": text(b"\\t", b"1"),
    "letters": text(b"x"),
    "more than ASCII": text("€".encode()),
    "escapes": text(b"\\u20ac"),
    "halves of pairs": text(b"\\ud83d"),
    "quotes": text(b'\\"'),
    "control characters": text(b"\\u0000"),
    "base64": text(b"QUI="),
    "infinities": text(b"inf"),
    "places of a second": lambda n: b'"2020-01-01T00:00:00.' + b"1" * n + b'"',
    "dates": text(b"2020-01-01T"),
    "offset of a time": lambda n: b'"2020-01-01T00:00:00+' + b"0" * n + b'"',
    "numbers": array(b"1e-300"),
    "long numbers": array(b"1." + b"1" * 800 + b"e-300"),
    "longest integers": array(b"1" * 4300),
    "NaN": array(b"NaN"),
    "arrays": array(b"[]"),
    "deep arrays": array(b"[" * 60 + b"]" * 60),
    "names": lambda n: b"{" + b",".join(b'"%x":1' % i for i in range(n // 9)) + b"}",
    "one name": lambda n: b"{" + b",".join([b'"a":1'] * (n // 6)) + b"}",
    "long names": lambda n: b"{" + b",".join(b'"%s%d":1' % (b"x" * 1000, i) for i in range(n // 1008)) + b"}",
}
PLACES = {
    "plain": ("a", "n.b", "c", "l[1].h", "y", "unused"),
    "strict": ("k", "y"),
    "iso": ("t", "n.id", "last"),
    "seconds": ("t", "kind"),
    "micros": ("t", "y"),
    "logistic": ("late",),
    "labels": ("id", "of"),
    "odd": ('a\\"b', "unused"),
}
_USUAL = {
    "a": b"1", "n": b'{"b":1,"id":"q","z":1}', "c": b'"x"', "l": b'[1,{"h":3}]', "y": b"1", "k": b'"s"',
    "t": b"1600000000", "kind": b"1", "last": b"false", "late": b"true", "id": b"7",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """The collector walks what is alive, which is no property of a step; the daemon has it look seldom."""
    gc.disable()
    yield
    gc.enable()


@cache
def codec_of(job: str) -> RecordCodec:
    config = config_of(job)
    source = msgspec.structs.replace(config.input, max_record_bytes=4 * MIB)
    return RecordCodec(msgspec.structs.replace(config, input=source))


def record(place: str, value: bytes) -> Record:
    fields = dict(_USUAL)
    outer, dot, inner = place.partition(".")
    if place == "l[1].h":
        fields["l"] = b'[0,{"h":%s}]' % value
    elif dot:
        fields[outer] = b'{"%s":%s}' % (inner.encode(), value)
    else:
        fields[place] = value
    listed = (b'"%s":%s' % (name.encode(), each) for name, each in fields.items())
    return Record(*TP, 0, 5, b"k", b"{" + b",".join(listed) + b"}")


def cpu_s(step: Callable[[], object], times: int) -> float:
    """The least that a step took of the processor's time."""
    best = math.inf
    for _ in range(times):
        started = time.thread_time()
        step()
        best = min(best, time.thread_time() - started)
    return best


def assert_in_proportion(step: Callable[[int], Callable[[], object]], what: str) -> None:
    """``step`` makes, of a number of bytes, what is measured."""
    large = cpu_s(step(LARGE), 1)
    if large < FAST_S:
        return
    small = cpu_s(step(SMALL), 3)
    large = min(large, cpu_s(step(LARGE), 2))
    assert large < FAST_S or large < MOST_GROWTH * small, f"{what}: {small:.4f} s, of eight times as much {large:.4f} s"


@pytest.mark.parametrize("value", VALUES)
def test_a_record_takes_time_in_proportion_to_its_bytes_wherever_the_value_stands(value: str) -> None:
    for job, places in PLACES.items():
        codec = codec_of(job)
        for place in places:

            def step(n: int, codec: RecordCodec = codec, place: str = place) -> Callable[[], None]:
                given = record(place, VALUES[value](n))

                def whole() -> None:
                    for source, error in codec.decode([given]).rejected:
                        shorten_dead_letter(encode_dead_letter(source, error, 256 * 1024), 5_000)

                return whole

            assert_in_proportion(step, f"{job}, {place}")


@pytest.mark.parametrize("piece", [b"k", b"\xff", b"\x00", "€".encode(), b'"'])
def test_keys_take_time_in_proportion_to_their_bytes(piece: bytes) -> None:
    """Refused or not: what is measured is all that reads a key, and what writes one."""
    codec, encoder = codec_of("plain"), PredictionEncoder(config_of("plain").learner_spec())

    def step(n: int) -> Callable[[], None]:
        given = Record(*TP, 0, 5, piece * (n // len(piece)), b'{"a":1}')

        def whole() -> None:
            for source, error in codec.decode([given]).rejected:
                shorten_dead_letter(encode_dead_letter(source, error), 5_000)
            encoder.encode(given, given.key or b"", 5, 1.0, 2.0, 0)

        return whole

    assert_in_proportion(step, repr(piece))


@pytest.mark.parametrize("value", [*VALUES, "many records"])
def test_a_look_for_names_takes_a_moment_however_much_there_is(value: str) -> None:
    if value == "many records":
        values = [b'{"%d":1}' % i for i in range(50_000)]
    else:
        values = [record("unused", VALUES[value](LARGE - 2_000))._replace(key=None).value or b""] * 50
    assert cpu_s(lambda: told("b.missing", names_in(values)), 2) < 2.0


@pytest.mark.parametrize(
    "make",
    [lambda n: "1" * n, lambda n: "1." * n, lambda n: "1" * n + "x", lambda n: "." + "1" * n + "e", lambda n: "+" * n],
)
def test_a_value_of_a_table_takes_time_in_proportion_to_its_length(make: Callable[[int], str]) -> None:
    def step(n: int) -> Callable[[], object]:
        given = make(n)
        return lambda: parsed(given)

    assert_in_proportion(step, "parsed")
