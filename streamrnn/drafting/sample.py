"""The records that a draft is made from, as documents; and a refusal that says what they are where they are no JSON.

Nothing is asked of a clock, a seed or the order in which partitions answered: the same records give the same sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamrnn.broker.protocol import Record
from streamrnn.drafting.foreign import what_it_looks_like
from streamrnn.errors import ConfigError
from streamrnn.escaping import name
from streamrnn.job.codec.json_parser import parse_all

FEW = 200
"""Records below which a draft says how little it rests on."""
USABLE = 0.5
"""The share of records that have to be JSON objects."""


def count(n: int, what: str) -> str:
    """How many there are.

    >>> count(1, "record"), count(2_000, "record")
    ('1 record', '2,000 records')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where records come from. ``records`` is how many there are altogether, as far as anybody knows.

    ``keyed`` is False for a file, whose records have neither a key nor a time of their own.
    """

    topic: str
    records: int
    partitions: int = 1
    keyed: bool = True
    file: str = ""

    @property
    def text(self) -> str:
        """How it is called."""
        return f"the file {name(self.file)}" if self.file else f"topic {name(self.topic)}"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Records whose value is a JSON object, by partition and in the order of the log, and how many were not."""

    source: Source
    records: Sequence[Record]
    documents: Sequence[Mapping[str, Any]]
    looked_at: int
    tombstones: int = 0
    foreign: int = 0

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def small(self) -> bool:
        """Whether it is too small to rest much on."""
        return len(self) < FEW


def sample_of(source: Source, records: Sequence[Record]) -> Sample:
    """The sample in these records. Raises ConfigError for none, and where most of them are no JSON objects."""
    ordered = sorted(records, key=lambda record: (record.partition, record.offset))
    kept, documents, foreign = [], [], []
    for record in ordered:
        document = None if record.value is None else parse_all(record.value)
        if isinstance(document, dict) and document:
            kept.append(record)
            documents.append(document)
        elif record.value is not None or record.refused is not None:
            foreign.append(record)
    if not ordered:
        raise ConfigError(f"{source.text} holds no record, so there is nothing to draft a job from; produce some first")
    if not kept and not foreign:
        raise ConfigError(
            f"{source.text}: all {len(ordered):,} records looked at are tombstones (no value); "
            "expected records with JSON objects"
        )
    if len(kept) < USABLE * (len(kept) + len(foreign)):
        first = foreign[0]
        raise ConfigError(
            f"{source.text}: {len(foreign):,} of {len(kept) + len(foreign):,} records with a value are no JSON "
            f"objects; the first, partition {first.partition}, offset {first.offset}: {what_it_looks_like(first)}"
        )
    return Sample(
        source=source,
        records=kept,
        documents=documents,
        looked_at=len(ordered),
        tombstones=len(ordered) - len(kept) - len(foreign),
        foreign=len(foreign),
    )
