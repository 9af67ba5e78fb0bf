"""Which symbols there are, and how a text is made of them, as validated values.

A *symbol* is one of a set: a page, a log template, the state of a machine, a byte. As an input it is a row of
``weight_ih``, looked up and not multiplied; as a target it is a class. Nothing here keeps state: the numbers that an
open set of symbols is given as it comes are ``vocabulary``'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

OTHER = 0
"""Of an open set: the number of whatever has none of its own."""

Label = str | int | bool

_MOST_OPEN = 5_000


class Symbols(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of symbols: exactly one of ``values``, ``bytes`` and ``open``.

    ``values`` lists them; ``bytes`` are the numbers 0 to 255; an ``open`` set takes each symbol as it comes first, in
    the order of the partition's records, up to ``max`` of them. What comes behind that shares one number, "other",
    which also stands for a symbol at its very first appearance: before, nothing could have told it from others.

    >>> Symbols(bytes=True).size, Symbols(open=True, max=10).size, Symbols(values=("a", "b")).size
    (256, 11, 2)
    """

    values: Annotated[
        Annotated[tuple[Label, ...], Meta(min_length=2, max_length=100_000)] | None,
        Meta(description="The symbols, as text or whole numbers, in the order of their numbers."),
    ] = None
    bytes: Annotated[bool, Meta(description="true: the numbers 0 to 255.")] = False
    open: Annotated[bool, Meta(description="true: each symbol as it comes first.")] = False
    max: Annotated[int, Meta(ge=1, le=100_000, description="With open: most symbols with a number of their own.")] = (
        _MOST_OPEN
    )

    def __post_init__(self) -> None:
        given = [name for name in ("values", "bytes", "open") if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"exactly one of values, bytes and open is needed; found {found}")
        if self.values is not None and len({(type(v), v) for v in self.values}) != len(self.values):
            raise ValueError(f"values: must differ, got {list(self.values)}")
        if not self.open and self.max != _MOST_OPEN:
            raise ValueError(f"max: goes with open: true, got {self.max} with {given[0]}; leave it out")

    @property
    def size(self) -> int:
        """How many numbers there are, the shared one of an open set counted."""
        if self.values is not None:
            return len(self.values)
        return 256 if self.bytes else self.max + 1

    @property
    def labels(self) -> tuple[Label, ...] | None:
        """The symbols by number; None of an open set, whose symbols are not known beforehand."""
        if self.values is not None:
            return self.values
        return tuple(range(256)) if self.bytes else None


class TextSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record is a text: as many steps of its stream as the text has units, each predicted from those before it.

    ``carry`` takes the state from one text of a stream to its next; else each begins as a sequence of its own.
    ``mark_end`` gives each text one more symbol, its end.
    """

    unit: Annotated[
        Literal["byte", "character", "word"],
        Meta(
            description="What a text is made of: byte: the bytes of its UTF-8; character; word: runs of letters, "
            "digits and _, and each other character but blanks."
        ),
    ] = "byte"
    carry: Annotated[
        bool, Meta(description="true: a text goes on from the stream's last one; false: each begins anew.")
    ] = True
    mark_end: Annotated[
        bool,
        Meta(description="true: the end of a text is a symbol, too, which is predicted and learned like the others."),
    ] = True
