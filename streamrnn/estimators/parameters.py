"""Checking the parameters of an estimator, so that a refusal says which one, what was expected and what was received.

What a parameter may be is declared once, as the type of the specification's field of that name. Each value is checked
against its type alone; only then the specification compares parameters with each other, and says itself what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, inspect

from streamrnn.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)

Natural = Annotated[int, Meta(ge=0, le=1 << 62)]
"""A number of something, in what estimators save of themselves."""

_UNBOUNDED = (1 << 63) - 1  # what 64 bits hold is not worth telling

UNORDERED = (set, frozenset)
"""What is refused where a sequence is meant: a set of text has another order at each start of Python, so the same
program would make another model each time."""

LONGEST_VALUE = 200
"""Characters of a refused value that are shown."""


def section(owner: str, struct: type[S], values: Mapping[str, Any]) -> S:
    """One section of the specification. Raises ConfigError, naming the estimator ``owner`` and the parameter."""
    types = field_types(struct)
    sound = {name: checked(owner, name, value, types[name]) for name, value in values.items()}
    try:
        return struct(**sound)
    except ValueError as error:
        raise ConfigError(f"{owner}: {error}") from None


def checked(owner: str, name: str, value: Any, kind: Any) -> Any:
    """The value as the annotated type ``kind`` has it (a list as a tuple, a whole number as a float).

    >>> from streamrnn.learner.sound import PositiveFloat
    >>> checked("RNNRegressor", "lr", -1, PositiveFloat)
    Traceback (most recent call last):
    ...
    streamrnn.errors.ConfigError: RNNRegressor: lr: expected a number above 0, got -1
    """
    try:
        if isinstance(value, UNORDERED):
            raise msgspec.ValidationError
        return msgspec.convert(plain(value), kind)
    except msgspec.ValidationError:
        shown = repr(value)
        cut = shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]} ..."
        raise ConfigError(f"{owner}: {name}: expected {described(kind)}, got {cut}") from None


def plain(value: Any) -> Any:
    """NumPy's scalars as Python's; everything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def described(kind: Any) -> str:
    """What a value of this type is, in words.

    >>> described(int | bool | None), described(tuple[bool, ...])
    ('a whole number, True, False or None', 'a sequence, each True or False')
    >>> described(tuple[float, float]), described(tuple[str, int])
    ('a sequence of 2 values, each a number', 'a sequence of 2 values: text, a whole number')
    """
    return _either(_alternatives(inspect.type_info(kind)))


@cache
def field_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The annotated types of a section's fields."""
    types = {field.name: field.type for field in msgspec.structs.fields(struct)}
    if "loss" in types:
        types["loss"] = str | None  # which losses there are depends on the readout, and ModelSpec lists them
    return types


def _alternatives(info: inspect.Type) -> list[str]:
    match info:
        case inspect.Metadata():
            return _alternatives(info.type)
        case inspect.UnionType():
            return [text for each in info.types for text in _alternatives(each)]
        case inspect.LiteralType():
            return [repr(value) for value in info.values]
        case inspect.VarTupleType():
            length = "" if info.max_length is None else f" of {info.min_length or 0:,} to {info.max_length:,} values"
            return [f"a sequence{length}, each {_either(_alternatives(info.item_type))}"]
        case inspect.TupleType():
            items = [_either(_alternatives(item)) for item in info.item_types]
            each = f", each {items[0]}" if len(set(items)) == 1 else f": {', '.join(items)}"
            return [f"a sequence of {len(items)} values{each}"]
        case inspect.IntType():
            return [f"a whole number{_range(info)}"]
        case inspect.FloatType():
            return [f"a number{_range(info)}"]
    simple: dict[type, list[str]] = {
        inspect.BoolType: ["True", "False"],
        inspect.StrType: ["text"],
        inspect.NoneType: ["None"],
    }
    return simple[type(info)]


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    limits = (("above", info.gt), ("of at least", info.ge), ("below", info.lt), ("at most", info.le))
    bounds = [f"{word} {limit:,}" for word, limit in limits if limit is not None and limit != _UNBOUNDED]
    return f" {' and '.join(bounds)}" if bounds else ""


def _either(texts: list[str]) -> str:
    *others, last = texts
    return f"{', '.join(others)} or {last}" if others else last
