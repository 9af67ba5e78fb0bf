"""Where the command and its children import from: nothing that depends on the directory where they were started.

An empty or relative entry of ``PYTHONPATH`` stands for that directory or leads from it, and comes before the standard
library: a file ``json.py`` there would be run. A directory that holds this very package or what was installed stays.

This is run before anything else is imported, so that it needs nothing but what Python itself has loaded at its start.
Who imports the package into a program of theirs keeps the path they have.
"""

from __future__ import annotations

import os
import site
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120 - not loaded yet


def independent(path: list[str]) -> list[str]:
    """The entries that lead to the same place wherever the process was started."""
    from_here = {os.path.realpath(""), *map(os.path.realpath, _relative())}
    stay = {_PACKAGE, *map(os.path.realpath, site.getsitepackages())}
    return [
        entry
        for entry in path
        if os.path.isabs(entry)  # noqa: PTH117 - as above
        and (os.path.realpath(entry) not in from_here or os.path.realpath(entry) in stay)
    ]


def make_independent() -> None:
    """Take everything else off this process's path. For the command alone."""
    sys.path[:] = independent(sys.path)


def _relative() -> list[str]:
    """Python has made them absolute by now in its path; the variable still tells which they were."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [entry for entry in given if not os.path.isabs(entry)]  # noqa: PTH117 - as above
