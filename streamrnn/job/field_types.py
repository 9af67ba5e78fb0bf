"""Which types may stand where in a job file, as msgspec describes them: alternatives, fields, items."""

from __future__ import annotations

import msgspec.inspect as mi


def alternatives(t: mi.Type) -> list[mi.Type]:
    """The types of which a value may be one, unions and annotations resolved."""
    if isinstance(t, mi.Metadata):
        return alternatives(t.type)
    if isinstance(t, mi.UnionType):
        return [a for member in t.types for a in alternatives(member)]
    return [t]


def field_types(struct: mi.StructType, name: str) -> list[mi.Type]:
    """What the struct's field may be; nothing where it has no such field."""
    if name == struct.tag_field:
        return [mi.LiteralType((struct.tag,))]
    return [a for f in struct.fields if f.encode_name == name for a in alternatives(f.type)]


def item_types(t: mi.Type) -> list[mi.Type]:
    """What an item may be, where the type is a list's."""
    if isinstance(t, mi.CollectionType):
        return alternatives(t.item_type)
    if isinstance(t, mi.TupleType):
        return [a for item in t.item_types for a in alternatives(item)]
    return []


def field_names(struct: mi.StructType) -> list[str]:
    """The fields that a mapping of the file may have."""
    names = [f.encode_name for f in struct.fields]
    return [struct.tag_field, *names] if struct.tag_field else names
