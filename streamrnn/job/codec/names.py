"""Which fields records have, and which of them may have been meant: for messages about a field that never came.

Values are gone through whole, which is slow; done for a few records, when there is something to say, and for no more
bytes and names than take a moment: whoever fills a topic with long records must not be able to stop the loop by it.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from streamrnn.escaping import names as shown
from streamrnn.job.codec.json_parser import parse_all
from streamrnn.learner.paths import Step, parse_path, path_text

MAX_NAMES = 1_000
"""Names told apart; records with keys that never repeat would otherwise fill the memory."""

MAX_BYTES = 1 << 20
"""Bytes of records that are gone through at most, whichever are short enough."""

_MAX_DEPTH, _MAX_ELEMENTS = 8, 3
_MAX_LEAVES = 2_000  # fields of one record


def names_in(values: Iterable[bytes | None]) -> list[str]:
    """Paths of the fields that hold a value in these records, the most frequent first."""
    counted: Counter[str] = Counter()
    left = MAX_BYTES
    for value in values:
        if value is None or len(value) > left:
            continue
        left -= len(value)
        for steps in islice(_leaves(parse_all(value), ()), _MAX_LEAVES):
            name = path_text(steps)
            if name in counted or len(counted) < MAX_NAMES:
                counted[name] += 1
    return [name for name, _ in counted.most_common()]


def nearest(path: str, names: Iterable[str], n: int = 3) -> list[str]:
    """Those names that a path was probably meant to be, the likeliest first."""
    known = list(names)
    last = str(parse_path(path)[-1]).lower()
    # A field that is there under the same name elsewhere, as behind an envelope, is likelier than one spelt alike.
    same = [name for name in known if str(parse_path(name)[-1]).lower() == last]
    # A feature of frames is named from its frame on, so what stands behind the place in an array counts by itself, too.
    inner = {_behind_place(name).lower(): name for name in reversed(known)}
    spelt = inner | {name.lower(): name for name in reversed(known)}
    alike = [spelt[name] for name in difflib.get_close_matches(path.lower(), spelt, n=n)]
    return list(dict.fromkeys([*same, *alike]))[:n]


def _behind_place(name: str) -> str:
    """The path from an element of the first array in it on; where there is none, the whole."""
    steps = parse_path(name)
    place = next((i for i, step in enumerate(steps[:-1]) if isinstance(step, int)), -1)
    return path_text(steps[place + 1 :])


def _leaves(value: object, steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    if isinstance(value, dict) and len(steps) < _MAX_DEPTH:
        for name, inner in value.items():
            yield from _leaves(inner, (*steps, name))
    elif isinstance(value, list) and steps and len(steps) < _MAX_DEPTH:
        for place, inner in enumerate(value[:_MAX_ELEMENTS]):
            yield from _leaves(inner, (*steps, place))
    elif steps and value is not None:
        yield steps


def told(path: str, names: list[str]) -> str:
    """What to say beside a path that never came: the nearest names that did, or else some of them."""
    if near := nearest(path, names):
        return f"the nearest names that come: {shown(near)}"
    if not names:
        return "no fields were found in them"
    return f"names that come: {shown(names, most=10)}"
