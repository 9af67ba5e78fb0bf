"""What the sections of a job file have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1)]

# The lookahead keeps out a trailing newline, which `$` alone lets pass.
NAME_PATTERN = r"^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$(?!\n)"

KIB = 1024
MIB = 1024 * KIB

TopicName = Annotated[str, Meta(pattern=NAME_PATTERN)]
FILE_MODE = r"^0?6[046][04]$(?!\n)"
FileMode = Annotated[
    str,
    Meta(
        pattern=FILE_MODE,
        description="Mode of the files that are made, in quotes; of their directories it follows. 0600: this user "
        "alone; 0640: the group may read; 0660: workers of several users share it.",
    ),
]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file: immutable, fields by name, unknown ones refused."""
