"""What searches by coverage share: their command, what of the inputs found is kept, and what an input reaches."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
Reached = set[Any]


def command(
    text: str | None,
    seconds: int,
    kept: Path,
    search: Callable[[Path, Path, int], None],
    keep: Callable[[Path], list[str]],
) -> None:
    """Search, or keep what was found; ``text`` is the command's help."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "keep"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=int, default=seconds)
    options = parser.parse_args()
    found = options.directory / "inputs"
    found.mkdir(parents=True, exist_ok=True)
    if options.what == "search":
        search(options.directory, found, options.seconds)
    else:
        lines = keep(found)
        kept.write_text("".join(lines))
        print(f"{len(lines)} inputs kept in {kept}")


def smallest_first(found: Path) -> list[bytes]:
    """The inputs that were found."""
    return sorted((path.read_bytes() for path in found.iterdir()), key=lambda data: (len(data), data))


def worth_keeping(
    inputs: Iterable[T], reached: Reached, reaches: Callable[[T], Reached], to_line: Callable[[T], str], most_bytes: int
) -> list[str]:
    """Lines of those inputs that reach what is not ``reached`` yet, as far as there is room."""
    lines: list[str] = []
    for given in inputs:
        new = reaches(given) - reached
        line = to_line(given) + "\n"
        if new and sum(map(len, lines)) + len(line) <= most_bytes:
            reached |= new
            lines.append(line)
    return lines


def steps_of(run: Callable[[], object], *places: str) -> Reached:
    """Steps from line to line that a run takes in files of these names, each with the power of two of how often."""
    steps: Counter[Any] = Counter()
    last = [0]

    def traced(frame: FrameType, *_: Any) -> Any:
        name = frame.f_code.co_filename
        if not any(place in name for place in places):
            return None
        steps[name, last[0], frame.f_lineno] += 1
        last[0] = frame.f_lineno
        return traced

    sys.settrace(traced)
    try:
        run()
    finally:
        sys.settrace(None)
    return {(step, min(count.bit_length(), 4)) for step, count in steps.items()}
