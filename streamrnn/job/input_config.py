"""The section ``input``: the topic that is learned from, which of its records count, and what they hold."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamrnn.job.section import KIB, MIB, Section, TopicName
from streamrnn.job.sequence_config import SequenceConfig
from streamrnn.learner.paths import FieldPath
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.texts import units_of
from streamrnn.learner.values import canonical_text

MAX_KEY_BYTES = 64 * KIB
"""Of a record: the output records of a longer key could exceed what a broker accepts."""

MAX_TEXT_UNITS = 65_536
"""Of a text: each unit is a step of the network."""

Scalar = str | int | float | bool


class TimestampConfig(Section, frozen=True, kw_only=True):
    """Where a record's time comes from."""

    field: Annotated[FieldPath | None, Meta(description="Field with the time; null: the record's own timestamp.")] = (
        None
    )
    unit: Annotated[
        Literal["ms", "s", "us", "iso8601"],
        Meta(
            description="Milliseconds, seconds or microseconds since the epoch, or ISO 8601 text (UTC unless it says)."
        ),
    ] = "ms"


class Condition(Section, frozen=True, kw_only=True):
    """What a field of a record must be for the record to count; exactly one of equals, in and exists.

    Values are compared by their text, as everywhere: 1 and "1" are the same. A field that is missing, null, an object
    or an array equals nothing.
    """

    field: FieldPath
    equals: Annotated[Scalar | None, Meta(description="The value it must have.")] = None
    any_of: Annotated[
        Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=10_000)] | None,
        Meta(description="The values of which it must have one."),
    ] = msgspec.field(default=None, name="in")
    exists: Annotated[bool | None, Meta(description="Whether it must be there, and not null, or must not.")] = None
    negate: Annotated[bool, Meta(description="true: the opposite must hold.")] = msgspec.field(
        default=False, name="not"
    )

    def __post_init__(self) -> None:
        given = [name for name, value in self._asked.items() if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"field: {self.field!r} needs exactly one of equals, in and exists; found {found}")

    @property
    def _asked(self) -> dict[str, object]:
        return {"equals": self.equals, "in": self.any_of, "exists": self.exists}

    @property
    def values(self) -> frozenset[str]:
        """The texts of the values that the field may have; none where it is only asked whether it is there."""
        listed = self.any_of if self.equals is None else (self.equals,)
        return frozenset(canonical_text(value, self.field) for value in listed or ())


class TextConfig(TextSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The records are texts: one record is as many steps of its stream as the text has units, each predicted from those
    before it, and learned. The job then has no target. Texts that are missing, null or no text become dead letters.

    What the learner has to know of it is a ``TextSpec``; where the text stands is the job's alone.
    """

    field: Annotated[FieldPath, Meta(description="Field of the record that holds the text.")]
    symbols: Annotated[
        Symbols | None,
        Meta(
            description="The set that units are of; null: with unit byte the 256 bytes, else an open set of 5,000. "
            "A text with a unit that a set of values does not have becomes a dead letter."
        ),
    ] = None
    max_units: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_TEXT_UNITS,
            description="Longer texts go to the dead letters: each unit takes as long as a record.",
        ),
    ] = 16_384

    def __post_init__(self) -> None:
        symbols = self.symbols
        if symbols is None:
            return
        if symbols.bytes != (self.unit == "byte"):
            remedy = "leave symbols out, or choose unit: character" if self.unit == "byte" else "bytes are unit: byte"
            found = "bytes: true" if symbols.bytes else "another set than the 256 bytes"
            raise ValueError(f"symbols: found {found} with unit: {self.unit}; {remedy}")
        for label in symbols.values or ():
            value = canonical_text(label, "symbols.values")
            if list(units_of(value, self.unit)) != [value]:
                raise ValueError(
                    f"symbols.values: found {value!r}, which is not one {self.unit}, so no text would have it as a unit"
                )

    @property
    def spec(self) -> TextSpec:
        """What the learner knows of it."""
        return TextSpec(unit=self.unit, carry=self.carry, mark_end=self.mark_end)

    @property
    def units(self) -> Symbols:
        """The set that units are of."""
        return self.symbols or (Symbols(bytes=True) if self.unit == "byte" else Symbols(open=True))


class InputConfig(Section, frozen=True, kw_only=True):
    """The topic that is learned from."""

    topic: Annotated[TopicName, Meta(description="Topic to read.")]
    stream_key: Annotated[
        FieldPath | None, Meta(description="Field that names a record's stream; null: the record key, which is best.")
    ] = None
    timestamp: Annotated[TimestampConfig, Meta(description="A record's time.")] = TimestampConfig()
    start: Annotated[
        Literal["earliest", "latest"],
        Meta(description="Where the very first start begins; partitions added later are read from their beginning."),
    ] = "earliest"
    end_field: Annotated[FieldPath | None, Meta(description="Field that is true on a sequence's last record.")] = None
    text: Annotated[
        TextConfig | None, Meta(description="Records are texts, which are learned unit by unit; null: they are not.")
    ] = None
    sequence: Annotated[
        SequenceConfig | None,
        Meta(description="Records are whole sequences of frames, or chunks of them; null: each is a single step."),
    ] = None
    where: Annotated[
        tuple[Condition, ...],
        Meta(max_length=100, description="Conditions that a record must meet, all of them; others are passed over."),
    ] = ()
    tombstones: Annotated[
        Literal["forget", "dead_letter", "ignore"],
        Meta(
            description="What a record with a key and no value does: forget its stream, become a dead letter, or none."
        ),
    ] = "forget"
    numbers: Annotated[
        Literal["strict", "lenient"],
        Meta(
            description='lenient: a number, truth value or time in milliseconds may also be text, as in "1.5"; strict: '
            "text is of the wrong type."
        ),
    ] = "lenient"
    max_record_bytes: Annotated[
        int, Meta(ge=1, le=64 * MIB, description="Larger records (key and value) go to the dead letters unread.")
    ] = MIB
    max_unpacked_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            description="What a compressed batch of Kafka's may unpack to; the records behind that go to the dead "
            "letters unread.",
        ),
    ] = 1024 * MIB
    max_key_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_KEY_BYTES,
            description="Records whose stream has a longer name, from their key or a field, go to the dead letters: "
            "each stream's name is kept in memory.",
        ),
    ] = KIB

    @property
    def max_record_key_bytes(self) -> int:
        """How long the keys of records may be, which name no streams where a field does."""
        return self.max_key_bytes if self.stream_key is None else MAX_KEY_BYTES

    def __post_init__(self) -> None:
        if self.text is not None and self.sequence is not None:
            raise ValueError(
                "sequence: found beside text; a record is a text, whose units are predicted one after the other, or a "
                "sequence of frames, of which something else is predicted: keep one of the two"
            )
        if self.timestamp.field is None and self.timestamp.unit != "ms":
            raise ValueError(
                f"timestamp.unit: goes with timestamp.field, found {self.timestamp.unit!r} and no field "
                "(the record's own timestamp is always in milliseconds)"
            )
        if self.max_unpacked_bytes < self.max_record_bytes + MIB:
            raise ValueError(
                f"max_unpacked_bytes: found {self.max_unpacked_bytes}, expected at least max_record_bytes and a MiB, "
                f"{self.max_record_bytes + MIB}: a record comes in a batch"
            )
