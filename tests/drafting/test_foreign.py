"""A value that is no JSON object is named for what it looks like, with the remedy."""

from __future__ import annotations

import pytest

from streamrnn.broker.protocol import Record, Refused
from streamrnn.drafting.foreign import what_it_looks_like
from streamrnn.drafting.sample import Source, sample_of
from streamrnn.errors import ConfigError
from tests.support.topics import avro


def seen(value: bytes | None, refused: Refused | None = None) -> str:
    return what_it_looks_like(Record("t", 0, 0, 1, b"k", value, (), refused))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"\0\0\0\0\x2a\x10hello", "Avro framed for Confluent's schema registry (a zero byte, then schema 42)"),
        (b"\0\0\0\0\x07\0\x08\x96\x01\x12\x05hello", "Protobuf framed for Confluent's schema registry"),
        (b'\0\0\0\0\x07{"a": 1}', "JSON behind five bytes of Confluent's schema registry (schema 7)"),
        (b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08\x09", "single-object Avro"),
        (b"\x08\x96\x01\x12\x05\xc3\xa9\xff\xfeo", "Protobuf without a schema registry"),
        (b"\xff\xfe\xfd\xfc", "a binary format: 4 bytes that begin with ff fe fd fc"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip, compressed by the producer itself"),
        (b"2025-01-01,12,AA,3.5", "CSV: 2025-01-01,12,AA,3.5"),
        (b"a;b;c", "CSV with semicolons"),
        (b"<order><id>1</id></order>", "XML"),
        (b"level=info msg=x code=2", "key=value text"),
        (b"hello", "plain text: hello"),
        (b"[1, 2]", "JSON, but an array, expected an object"),
        (b"17", "JSON, but a single value"),
        (b"{}", "an empty JSON object"),
        (b'{"a": 1', "begins like JSON and is none"),
        (b"", "it is empty"),
    ],
)
def test_a_value_is_named_for_what_it_looks_like(value: bytes, said: str) -> None:
    assert said in seen(value)


def test_text_of_a_record_cannot_reach_a_terminal_as_it_is() -> None:
    assert "\x1b" not in seen(b"\x1b[2J,b,c, evil and long enough to be text")


def test_a_record_that_was_not_read_says_why() -> None:
    assert seen(None, Refused("too_large", "found 9 MiB")) == "it was not read (found 9 MiB)"


def test_a_topic_that_is_no_json_is_refused_with_the_first_record_s_place() -> None:
    records = [Record("t", 0, i + 7, ms, key, value) for i, (key, ms, value) in enumerate(avro())]
    with pytest.raises(
        ConfigError, match=r"50 of 50 records .*, partition 0, offset 7: it looks like Avro .*JsonConverter"
    ):
        sample_of(Source(topic="t", records=50), records)


def test_a_few_foreign_records_are_counted_and_passed_over() -> None:
    good = [Record("t", 0, i, 1, b"k", b'{"a": 1}') for i in range(8)]
    found = sample_of(
        Source(topic="t", records=10), [*good, Record("t", 0, 8, 1, b"k", b"no"), Record("t", 0, 9, 1, b"k", None)]
    )
    assert (len(found), found.foreign, found.tombstones, found.looked_at) == (8, 1, 1, 10)


@pytest.mark.parametrize(
    ("records", "said"),
    [([], "holds no record"), ([Record("t", 0, 0, 1, b"k", None)], "all 1 records looked at are tombstones")],
)
def test_a_topic_without_values_is_refused(records: list[Record], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sample_of(Source(topic="t", records=0), records)
