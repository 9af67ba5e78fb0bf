"""Why a job file's data are refused, as a message an operator can act on: field and line, found, allowed, remedy.

msgspec validates the data, but its messages are English for programmers, which another release may word otherwise, and
may repeat a secret. So once it has refused, the data are gone through here beside the types, in the order in which it
does so (fields as they stand in the file, a mapping's own rules last), and the first place that fails is described in
our words. Whether one value is of one type is still asked of msgspec, so that the two cannot disagree.

A value from the environment is shown as its reference; values in a section that holds a secret, or may hold one further
inside, are not shown at all, nor is the name of an unknown field there that may be a password in the wrong place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import msgspec.inspect as mi
from msgspec import Meta

from streamrnn.errors import ConfigError
from streamrnn.job.field_types import alternatives, field_names, field_types, item_types
from streamrnn.job.section import NAME_PATTERN
from streamrnn.job.yaml_text import Document
from streamrnn.learner.paths import FIELD_PATH, parse_path

Convert = Callable[[Any, Any], Any]
"""Converts data to a type, or raises msgspec.ValidationError."""

_MEANING = {
    NAME_PATTERN: "1 to 249 letters, digits and . _ -",
    FIELD_PATH: "the name of a field, a.b for b inside a, a[0] for an element of a",
}
_TOLD_APART = 3  # characters from which on a value is not a piece of many words
_HARMLESS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}|<<")  # the last one is YAML's merge key
_HARMLESS_AMONG_SECRETS = re.compile(r"[a-z_]{1,30}")
_PYTHON = {mi.BoolType: bool, mi.IntType: int, mi.FloatType: float, mi.StrType: str, mi.NoneType: None}


def explain(document: Document, root: type, convert: Convert) -> ConfigError:
    """The message for ``document.data``, which ``convert`` refuses to make a ``root`` of."""
    refusal = _Search(document, convert).check(document.data, [mi.type_info(root)], "", hidden=False)
    assert refusal is not None, "msgspec refused data in which nothing is wrong"
    return ConfigError(_with_references(str(refusal), document.environment))


def _with_references(message: str, environment: Mapping[str, str]) -> str:
    """The message of a rule, which knows nothing of the file, with references for what came from the environment."""
    for value, name in sorted(environment.items(), key=lambda item: -len(item[0])):
        if len(value) >= _TOLD_APART:
            whole = rf"(?<!\w){re.escape(repr(value)[1:-1])}(?!\w)"
            message = re.sub(whole, lambda _, name=name: f"${{{name}}}", message)  # type: ignore[misc]
    return message


class _Search:
    """Looks for the first place that fails. Every method returns what is wrong there, None where all is well."""

    def __init__(self, document: Document, convert: Convert) -> None:
        self.document = document
        self.convert = convert

    def check(self, value: Any, types: Sequence[mi.Type], path: str, hidden: bool) -> ConfigError | None:
        """Of a value that may be one of ``types``; ``hidden`` says that it stands in a section with secrets."""
        # What has parts comes first, so that the part that fails is named and not the whole.
        structs = [t for t in types if isinstance(t, mi.StructType)]
        if isinstance(value, dict) and structs:
            # Of the whole file it would always be so.
            inside = path != "" and any(_holds_secret(value, t) or _has_secret_inside(t) for t in structs)
            return self._mapping(value, structs, path, hidden or inside)
        lists = [t for t in types if isinstance(t, mi.CollectionType | mi.TupleType)]
        if isinstance(value, list) and any(_fits_length(t, len(value)) for t in lists):
            items = [item for t in lists for item in item_types(t)]
            refusals = (self.check(item, items, f"{path}[{i}]", hidden) for i, item in enumerate(value))
            return next((refusal for refusal in refusals if refusal is not None), None)
        if any(self._is(value, t) for t in types):
            return None
        if secrets := [t for t in types if isinstance(t, mi.CustomType)]:
            return self._own_rule(value, secrets[0].cls, path)
        return self._wrong_value(value, types, path, hidden)

    def _mapping(
        self, value: dict[str, Any], structs: Sequence[mi.StructType], path: str, hidden: bool
    ) -> ConfigError | None:
        tag = structs[0].tag_field
        if tag is not None:  # the tag decides what else may be there
            if tag not in value:
                return self._missing(tag, structs, path)
            tags = [t for s in structs for t in field_types(s, tag)]
            if refusal := self.check(value[tag], tags, f"{path}.{tag}", hidden):
                return refusal
        # Types without a tag cannot be told apart, so msgspec allows one of them at most.
        (struct,) = (s for s in structs if tag is None or s.tag == value[tag])
        # As msgspec does: fields in the file's order, then what is missing, then the rules that tie fields together.
        for name, item in value.items():
            at = f"{path}.{name}" if path else name
            if not (types := field_types(struct, name)):
                return self._unknown(name, field_names(struct), path, hidden)
            if refusal := self.check(item, types, at, hidden):
                return refusal
        if missing := [f.encode_name for f in struct.fields if f.required and f.encode_name not in value]:
            return self._missing(missing[0], [struct], path)
        return self._own_rule(value, struct.cls, path)

    def _unknown(self, name: str, known: Sequence[str], path: str, hidden: bool) -> ConfigError:
        harmless = (_HARMLESS_AMONG_SECRETS if hidden else _HARMLESS).fullmatch(name)
        if harmless:
            shown, problem = name, f"unknown field{_suggest(name, known)}"
        else:
            # `password:abc`, without a space behind the colon, is the name of a field with nothing in it.
            shown = next((k for k in known if name.startswith(f"{k}:")), "")
            problem = "an unknown field, whose name is not shown"
            if ":" in name:
                problem += " (a colon needs a space behind it)"
        where, at = (f"{path}.{text}" if path and text else path or text for text in (shown, name))
        return _message(self.document, where, problem, "", "allowed here: " + ", ".join(known), line_of=at)

    def _missing(self, name: str, structs: Sequence[mi.StructType], path: str) -> ConfigError:
        wanted = [t for s in structs for t in field_types(s, name)]
        at = f"{path}.{name}" if path else name
        expected = f"expected: {_allowed(wanted)}"
        return _message(self.document, at, "required, but missing", "", expected, line_of=path)

    def _own_rule(self, value: Any, kind: type, path: str) -> ConfigError | None:
        """What a rule of ours says that ties several fields together, or that a secret must keep."""
        try:
            self.convert(value, kind)
        except msgspec.ValidationError as error:
            broken = error.__cause__  # msgspec wraps what a rule raises, and adds words of its own
        else:
            return None
        assert isinstance(broken, ValueError), f"{path}: refused, and not by a rule"
        text = str(broken)
        named = re.match(r"([a-z_0-9.\[\]]+): ", text)  # many of our rules name their field themselves
        if path:
            return ConfigError(f"{_where(self.document, path)}{path}{'.' if named else ': '}{text}")
        return ConfigError(f"{_where(self.document, named[1]) if named else ''}{text}")

    def _wrong_value(self, value: Any, types: Sequence[mi.Type], path: str, hidden: bool) -> ConfigError:
        literals = [str(v) for t in types if isinstance(t, mi.LiteralType) for v in t.values]
        # One of a few words allowed is no secret, so one that is nearly spelt like it may be shown.
        misspelt = isinstance(value, str) and bool(_suggest(value, literals))
        hidden = (hidden and not misspelt) or any(_has_secret(t) for t in types)
        found = "a value that is not shown" if hidden else self.document.references.get(path) or _found(value)
        paths = any(isinstance(t, mi.StrType) and t.pattern == FIELD_PATH for t in types)
        if paths and isinstance(value, str) and path not in self.document.references:
            found += f": {_no_path(value)}"
        hint = _suggest(value, literals) if isinstance(value, str) and not hidden else ""
        return _message(self.document, path, f"found {found}", hint, f"allowed: {_allowed(types)}")

    def _is(self, value: Any, t: mi.Type) -> bool:
        """Whether a value without parts is of the type."""
        if isinstance(t, mi.LiteralType):
            kind: Any = Literal[t.values]
        elif isinstance(t, mi.CustomType):
            kind = t.cls
        elif type(t) in _PYTHON:
            limits = {name: limit for name in t.__struct_fields__ if (limit := getattr(t, name)) is not None}
            kind = Annotated[_PYTHON[type(t)], Meta(**limits)] if limits else _PYTHON[type(t)]
        else:
            return False
        try:
            self.convert(value, kind)
        except msgspec.ValidationError:
            return False
        return True


def _no_path(text: str) -> str:
    """Where a text that is no path goes wrong."""
    try:
        parse_path(text)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{text!r} is a path, and was refused as none")


def _has_secret(t: mi.Type) -> bool:
    """Whether a type is that of a secret, or has one anywhere inside."""
    if isinstance(t, mi.StructType):
        return any(_has_secret(a) for f in t.fields for a in alternatives(f.type))
    return isinstance(t, mi.CustomType)


def _has_secret_inside(section: mi.StructType) -> bool:
    """Whether one of its sections has a secret."""
    inner = (a for f in section.fields for a in alternatives(f.type) if isinstance(a, mi.StructType))
    return any(map(_has_secret, inner))


def _holds_secret(value: dict[str, Any], section: mi.StructType) -> bool:
    """Whether one of the fields that are given is a secret, or nearly: it may then stand in the wrong field, too."""
    secret = [f.encode_name for f in section.fields if any(isinstance(a, mi.CustomType) for a in alternatives(f.type))]
    return any(difflib.get_close_matches(str(name), secret, n=1) for name in value)


def _fits_length(t: mi.CollectionType | mi.TupleType, length: int) -> bool:
    if isinstance(t, mi.TupleType):
        return length == len(t.item_types)
    return (t.min_length or 0) <= length and (t.max_length is None or length <= t.max_length)


# --- wording --------------------------------------------------------------------------------------------------------


def _message(
    document: Document, path: str, problem: str, hint: str, *lines: str, line_of: str | None = None
) -> ConfigError:
    head = f"{_where(document, path if line_of is None else line_of)}{path or 'top level'}: {problem}{hint}"
    return ConfigError("\n  ".join([head, *lines]))


def _where(document: Document, path: str) -> str:
    line = document.lines.get(path)
    return f"line {line}: " if line and path else ""


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1)
    return f" (did you mean {next(k for k in known if k.lower() == close[0])!r}?)" if close else ""


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:60]!r}" + ("..." if len(value) > 60 else "")
    return str(value)[:60]


def _allowed(types: Sequence[mi.Type]) -> str:
    texts: list[str] = []
    values = [str(v) for t in types if isinstance(t, mi.LiteralType) for v in t.values]
    if values:
        texts.append("one of " + ", ".join(dict.fromkeys(values)))
    tagged = [t for t in types if isinstance(t, mi.StructType) and t.tag_field]
    if tagged:
        texts.append(f"a mapping with {tagged[0].tag_field}: {', '.join(str(t.tag) for t in tagged)}")
    for t in types:
        if isinstance(t, mi.IntType | mi.FloatType):
            texts.append(("an integer" if isinstance(t, mi.IntType) else "a number") + _range(t))
        elif isinstance(t, mi.StrType):
            texts.append(_MEANING.get(t.pattern or "", f"text matching {t.pattern}") if t.pattern else "text")
        elif isinstance(t, mi.BoolType):
            texts.append("true or false")
        elif isinstance(t, mi.NoneType):
            texts.append("null")
        elif isinstance(t, mi.CollectionType):
            texts.append(f"a list{_length(t)} of: {_allowed(alternatives(t.item_type))}")
        elif isinstance(t, mi.TupleType):
            texts.append(f"a list of exactly {len(t.item_types)}: {_allowed(alternatives(t.item_types[0]))}")
        elif isinstance(t, mi.StructType) and not t.tag_field:
            texts.append("a mapping with " + ", ".join(field_names(t)))
        elif isinstance(t, mi.CustomType):
            texts.append("text (in quotes if it looks like a number)")
    return " or ".join(dict.fromkeys(texts))


def _range(t: mi.IntType | mi.FloatType) -> str:
    words = ((">=", t.ge), (">", t.gt), ("<=", t.le), ("<", t.lt))
    limits = [f"{word} {limit}" for word, limit in words if limit is not None]
    return " " + " and ".join(limits) if limits else ""


def _length(t: mi.CollectionType) -> str:
    low, high = t.min_length, t.max_length
    if low and high:
        return f" of {low} to {high}"
    return f" of at least {low}" if low else ""
