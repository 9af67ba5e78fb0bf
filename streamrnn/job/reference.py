"""The reference of the job file, printed from its types: every section and field, what it may be, its default.

    python -P -m streamrnn.job.reference > deploy/CONFIGURATION.md

What a field means is its ``Meta`` description, its range that of its type or of ``learner.sound`` where that is
narrower, so the page says what the code checks. A test holds that the page is current and every field is described.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from streamrnn.job.config import Config
from streamrnn.job.field_types import alternatives
from streamrnn.job.section import FILE_MODE, NAME_PATTERN
from streamrnn.learner.paths import FIELD_PATH
from streamrnn.learner.sound import SOUND

_HEAD: Final = """\
# The job file, field by field

This page is printed from the types that check a job file: `python -P -m streamrnn.job.reference`. A job with every
field, commented, is [examples/full.yaml](examples/full.yaml); a draft for a topic of yours writes `streamrnn init`
([first hour](README.md#first-hour)); `streamrnn schema` prints the same as JSON Schema, for editors.

A field with no default is required. Times are in seconds where the name ends in `_s`, in milliseconds with `_ms`. Text
may refer to the environment: `${NAME}`, `${NAME:-default}`; `$${` is a literal `${`. Unknown fields and duplicate keys
are errors. The handbook says what becomes of a job that has learned when a field changes ([changing a
job](README.md#changing-a-job-that-has-learned))."""
_TITLES: Final = {
    "": "The whole",
    "input.where[]": "input.where, each condition",
    "features[]": "features",
}
_WORDS: Final = {
    FIELD_PATH: "path of a field",
    NAME_PATTERN: "letters, digits, `.` `_` `-`",
    FILE_MODE: "digits in quotes",
}
_BEYOND_USE: Final = 1e12
"""Bounds from here on only keep arithmetic from overflowing."""


def markdown() -> str:
    """The page."""
    config = mi.type_info(Config)
    assert isinstance(config, mi.StructType)
    return "\n\n".join([_HEAD, *_sections(config, "")]) + "\n"


def structs(struct: mi.StructType, path: str) -> Iterator[tuple[str, mi.StructType]]:
    """A section and all within it, each with its path; ``[]`` is an item of a list."""
    yield path, struct
    for field in struct.fields:
        at = f"{path}.{field.encode_name}".removeprefix(".")
        for kind in alternatives(field.type):
            items = alternatives(kind.item_type) if isinstance(kind, mi.VarTupleType) else []
            for inner in (kind, *items):
                if isinstance(inner, mi.StructType):
                    yield from structs(inner, at if inner is kind else f"{at}[]")


def _sections(config: mi.StructType, path: str) -> Iterator[str]:
    seen = None
    for at, struct in structs(config, path):
        if at != seen:
            yield f"## {_title(at)}"
        seen = at
        if struct.tag_field:
            yield f"### {struct.tag_field}: {struct.tag}"
        yield f"{_summary(struct)}\n\n{_table(struct, at)}"


def _title(path: str) -> str:
    return _TITLES.get(path, path)


def _summary(struct: mi.StructType) -> str:
    """The first paragraph of a section's docstring."""
    text = inspect.cleandoc(struct.cls.__doc__ or "").partition("\n\n")[0]
    return " ".join(text.replace("``", "`").split())


def _table(struct: mi.StructType, path: str) -> str:
    rows = ["| field | may be | default | meaning |", "|---|---|---|---|"]
    for field in struct.fields:
        name = field.encode_name
        at = f"{path}.{name}".removeprefix(".")
        cells = (f"`{name}`", _kinds(field.type, at), _default(field), description(field.type))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def description(kind: mi.Type) -> str:
    """What a field means, in its own words or else those of its type."""
    if isinstance(kind, mi.Metadata):
        own = (kind.extra_json_schema or {}).get("description", "")
        return own or description(kind.type)
    if isinstance(kind, mi.UnionType):
        return next(filter(None, map(description, kind.types)), "")
    return ""


def _kinds(kind: mi.Type, path: str) -> str:
    """What a value may be."""
    texts = []
    found = alternatives(kind)
    literals = [f"`{value}`" for t in found if isinstance(t, mi.LiteralType) for value in t.values]
    if literals:
        texts.append(", ".join(literals))
    texts += [_kind(t, path) for t in found if not isinstance(t, mi.LiteralType | mi.NoneType)]
    if any(isinstance(t, mi.NoneType) for t in found):
        texts.append("`null`")
    return " or ".join(dict.fromkeys(texts))


def _kind(kind: mi.Type, path: str) -> str:
    if isinstance(kind, mi.IntType | mi.FloatType):
        return ("whole number" if isinstance(kind, mi.IntType) else "number") + _range(kind, path)
    if isinstance(kind, mi.BoolType):
        return "`true`, `false`"
    if isinstance(kind, mi.CustomType):
        return "text, never shown"
    if isinstance(kind, mi.StrType):
        return _WORDS.get(kind.pattern or "", "text")
    if isinstance(kind, mi.StructType):
        return f"[section](#{_anchor(path)})"
    if isinstance(kind, mi.VarTupleType):
        items = alternatives(kind.item_type)
        if all(isinstance(item, mi.StructType) for item in items):
            return f"list of [sections](#{_anchor(f'{path}[]')})"
        return f"list of: {_kinds(kind.item_type, path)}"
    if isinstance(kind, mi.TupleType):
        return f"list of {len(kind.item_types)}: {_kinds(kind.item_types[0], path)}"
    raise TypeError(f"{path}: a reference has no words for {kind}")


def _anchor(path: str) -> str:
    kept = "".join(c for c in _title(path).lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _range(kind: mi.IntType | mi.FloatType, path: str) -> str:
    """Within which bounds a number has to be."""
    low, high = kind.ge, kind.le
    above, below = kind.gt, kind.lt
    if path in SOUND:
        least, most = SOUND[path]
        low, high = (least if low is None else max(low, least)), (most if high is None else min(high, most))
        if above is not None and least > above:
            above = None
        if below is not None and most < below:
            below = None
    parts = [f"above {_number(above)}"] if above is not None else [f"from {_number(low)}"] if low is not None else []
    if below is not None:
        parts.append(f"below {_number(below)}")
    elif high is not None and high < _BEYOND_USE:
        parts.append(f"up to {_number(high)}" if above is not None else f"to {_number(high)}")
    return " " + " ".join(parts) if parts else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default(field: mi.Field) -> str:
    if field.required:
        return "required"
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(default, msgspec.Struct):
        return "its defaults"
    return f"`{_value(default)}`"


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(markdown(), end="")
