"""What names a stream: the record key, or a field that looks like an entity with several records each.

A hidden state lives as long as its stream, so a key that never repeats teaches a recurrent network nothing, and one
that is missing makes a dead letter of its record. The record key is preferred wherever it repeats: Kafka places records
by it, so that a stream stays within one partition.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streamrnn.drafting.fields import Field, Kind
from streamrnn.drafting.sample import Sample, count
from streamrnn.errors import ConfigError
from streamrnn.escaping import name, names

SEVERAL: Final = 3.0
"""Records a stream should have on average for a field to name streams."""
_MOST_MISSING: Final = 0.05
_LONGEST: Final = 64

_ENTITY = re.compile(
    r"(?:^|_|\b)(?:id|key|uuid|name|device|sensor|user|customer|client|account|acct|host|hostname|machine|vehicle|tail|tailnum|car|"
    r"truck|station|site|store|shop|symbol|ticker|session|node|instance|meter|product|item|sku|card|patient|series|asset|"
    r"unit|turbine|pump|engine|line|room|cell|imsi|imei|mac|ip|player|driver|merchant|service|pod|tenant)(?:$|_|\b)|[a-z](?:Id|ID|Key|Name)$"
)


@dataclass(frozen=True, eq=False)
class Streams:
    """What names streams, and who they are in the sample. ``field`` is None where the record key does.

    ``alike`` are the fields that say the same as the key; ``others`` could name streams as well.
    """

    field: str | None
    keys: Sequence[str | None]
    why: str
    alike: frozenset[str] = frozenset()
    others: Sequence[str] = ()
    warning: str = ""

    @property
    def counts(self) -> Counter[str]:
        """Records by stream."""
        return Counter(key for key in self.keys if key is not None)

    @property
    def n_streams(self) -> int:
        """How many streams the sample has."""
        return len(set(self.keys) - {None})

    @property
    def mean_length(self) -> float:
        """Records a stream has on average."""
        return sum(key is not None for key in self.keys) / max(1, self.n_streams)


def streams_of(sample: Sample, fields: Mapping[str, Field]) -> Streams:
    """What names the streams of the sample. Raises ConfigError where nothing can."""
    entities = _entities(fields)
    found = _by_record_key(sample, fields, entities) if sample.source.keyed else None
    return found or _by_field(sample, fields, entities)


def _by_record_key(sample: Sample, fields: Mapping[str, Field], entities: Sequence[Field]) -> Streams | None:
    """The record key, unless there is none, or it never repeats and a field does."""
    keys = [None if r.key is None else r.key.decode(errors="backslashreplace") for r in sample.records]
    known = [key for key in keys if key is not None]
    if not known or (entities and len(known) < (1 - _MOST_MISSING) * len(keys)):
        return None
    n = len(set(known))
    alike = frozenset(path for path, field in fields.items() if _says_the_same(field, keys))
    why = f"the record key: {count(n, 'stream')} in {count(len(known), 'record')}"
    warnings = []
    if len(known) < len(keys):
        warnings.append(f"{len(keys) - len(known):,} records have no key and would be dead letters")
    if n == len(known) and n > 1:
        if entities:
            return None
        warnings.append("no key comes twice: every stream has one record, and a recurrent network nothing to remember")
    others = [field.path for field in entities if field.path not in alike]
    return Streams(None, keys, why, alike, others, "; ".join(warnings))


def _by_field(sample: Sample, fields: Mapping[str, Field], entities: Sequence[Field]) -> Streams:
    """The field that most looks like an entity, or one that is always the same: then all is one stream."""
    before = "" if not sample.source.keyed else "the record key is missing or never repeats, and "
    if entities:
        best, *others = entities
        n = best.distinct
        why = f"{before}{name(best.path)} looks like what records are about: {n:,} values in {best.present:,} records"
        missing = len(sample) - best.present
        warning = f"{missing:,} records lack it and would be dead letters" if missing else ""
        return Streams(best.path, best.texts, why, frozenset({best.path}), [o.path for o in others], warning)
    for field in fields.values():
        if field.kind in (Kind.TEXT, Kind.BOOLEAN) and field.distinct == 1 and field.present == len(sample):
            why = f"{before}{name(field.path)} has one value in all records: everything is one stream"
            return Streams(field.path, field.texts, why, frozenset({field.path}))
    where = "its records have no key, and no" if sample.source.keyed else "no"
    raise ConfigError(
        f"{sample.source.text}: {where} field looks like what records are about (found {names(list(fields))}), so "
        "nothing can name their streams; "
        + (
            "produce the topic with a key, or with a field that names the device, user, series ..."
            if sample.source.keyed
            else "add a column that names the device, user, series ...; where it is all one series, one with the same "
            "text in every row"
        )
    )


def _entities(fields: Mapping[str, Field]) -> list[Field]:
    """Fields that may name streams, the likeliest first: those named like one, then those with the most values."""
    found = [field for field in fields.values() if _is_entity(field)]
    order = list(fields)
    return sorted(found, key=lambda f: (not is_named_like_an_entity(f), -f.distinct, order.index(f.path)))


def is_named_like_an_entity(field: Field) -> bool:
    """Whether a field's name is one that people give to what records are about."""
    return named_like_an_entity(field.path)


def named_like_an_entity(path: str) -> bool:
    """Whether the last name of a path is one of these."""
    return _ENTITY.search(path.rpartition(".")[2]) is not None


def _is_entity(field: Field) -> bool:
    if field.kind is not Kind.TEXT and not (
        field.kind is Kind.NUMBER and field.whole and is_named_like_an_entity(field)
    ):
        return False
    if field.missing_share > _MOST_MISSING or field.distinct < 2 or field.present < SEVERAL * field.distinct:
        return False
    return all(len(text) <= _LONGEST for text in field.counts)


def _says_the_same(field: Field, keys: Sequence[str | None]) -> bool:
    """Whether a field repeats the key, or names the same streams by other words, several of them."""
    if field.kind not in (Kind.TEXT, Kind.NUMBER, Kind.MIXED, Kind.BOOLEAN):
        return False
    pairs = [(text, key) for text, key in zip(field.texts, keys, strict=True) if text is not None and key is not None]
    if len(pairs) < 0.9 * len(keys) or not pairs:
        return False
    if sum(text == key or f'"{text}"' == key for text, key in pairs) > 0.99 * len(pairs):
        return True
    n = len(set(pairs))
    return 1 < n < len(pairs) and n == len({text for text, _ in pairs}) == len({key for _, key in pairs})
