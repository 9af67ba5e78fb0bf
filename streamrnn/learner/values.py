"""What a value of a record is taken for: a number, a text, nothing; and how to come to it.

Scalars are compared by one canonical text everywhere (categories, symbols, hash buckets, classes, stream keys, event
ids): the number 1, the number 1.0 and the string "1" are the same category. Values of a wrong type raise
``RecordError``, naming the field.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real

import numpy as np

from streamrnn.errors import RecordError
from streamrnn.learner.paths import Step

_NAN = math.nan
# Integers up to here are exact in float64; larger ones take the careful path.
_EXACT_INT = 2**53
_NUMBERS = (Real, np.bool_, Decimal)
_NOTHING = frozenset({"NAType", "NaTType", "MaskedConstant"})
# A found value is quoted in messages up to this length, so that a message stays a line.
_QUOTED_LENGTH = 60
_SHORT = reprlib.Repr()  # the first few elements of each, however deep
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = 4


def number(value: object, field: str) -> float:
    """``value`` as a finite float64, NaN when missing or not finite.

    >>> number(True, "late"), number(None, "late")
    (1.0, nan)
    """
    if value is None:
        return _NAN
    kind = type(value)
    if kind is float:
        return value if value - value == 0.0 else _NAN  # type: ignore[operator,return-value]
    # NumPy counts spans of time among the integers.
    if kind is int or kind is bool or (isinstance(value, _NUMBERS) and kind is not np.timedelta64):
        try:
            x = float(value)  # type: ignore[arg-type]
        except OverflowError:
            raise RecordError(
                "out_of_range", f"field {field!r}: found {describe(value)}, expected a number within float64"
            ) from None
        return x if x - x == 0.0 else _NAN
    if is_missing(value):
        return _NAN
    raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected a number")


def is_missing(value: object) -> bool:
    """Whether a value stands for one that is not there: None, or what pandas or NumPy say for it; not a NaN.

    >>> is_missing(None), is_missing(np.ma.masked), is_missing(0)
    (True, True, False)
    """
    # By name, since importing pandas takes longer than all of this package.
    if value is None or type(value).__name__ in _NOTHING:
        return True
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))


def canonical_text(value: object, field: str) -> str:
    """The text by which scalars are compared, hashed and used as keys.

    >>> canonical_text("UA", "f"), canonical_text(7, "f"), canonical_text(7.0, "f"), canonical_text(True, "f")
    ('UA', '7', '7', 'true')
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is bool or isinstance(value, np.bool_):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer):
        return _integer_text(int(value), field)
    if isinstance(value, float | np.floating):
        x = float(value)
        return str(int(x)) if x.is_integer() and abs(x) <= _EXACT_INT else repr(x)
    raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected a string, number or boolean")


def _integer_text(value: int, field: str) -> str:
    try:
        return str(value)
    except ValueError:  # beyond 4300 digits the conversion is refused, as it takes quadratic time
        raise RecordError("out_of_range", f"field {field!r}: found {describe(value)}") from None


def descend(value: object, path: Sequence[Step], field: str) -> object:
    """Follow ``path`` into nested objects and arrays; None when something on the way is missing or null.

    Raises ``RecordError`` when something on the way is of the wrong kind. ``field`` is the whole path, for the message.
    """
    for step in path:
        if value is None:
            return None
        if isinstance(step, int):
            if not isinstance(value, list | tuple):
                raise _not_inside(value, step, field, "an array")
            value = value[step] if -len(value) <= step < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            raise _not_inside(value, step, field, "an object")
    return value


def _not_inside(value: object, step: Step, field: str, expected: str) -> RecordError:
    return RecordError("wrong_type", f"field {field!r}: found {describe(value)} above {step!r}, expected {expected}")


def describe(value: object) -> str:
    """A value for a message: what it is in JSON's words, and its text if short.

    >>> describe("abc"), describe([1, 2]), describe(None)
    ("the string 'abc'", 'the array [1, 2]', 'null')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, Mapping):
        return f"the object {_SHORT.repr(dict(value))}"
    if isinstance(value, list | tuple | set | np.ndarray):
        return f"the array {_SHORT.repr(value.ravel()[:10].tolist() if isinstance(value, np.ndarray) else value)}"
    if isinstance(value, int) and value.bit_length() > 200:
        # Not printed: it is long, and beyond 4300 digits Python refuses to.
        return "an integer of more than 60 digits"
    if isinstance(value, str):
        return f"the string {value[:_QUOTED_LENGTH]!r}" + ("..." if len(value) > _QUOTED_LENGTH else "")
    kind = "number" if isinstance(value, Real) else type(value).__name__
    return f"the {kind} {value!r:.{_QUOTED_LENGTH}}"
