"""How the package starts Python again: with this very package and this process's path, wherever it was started.

Python puts the working directory in front of its path for ``-m`` and ``-c``, so that a directory called ``numpy`` there
would be imported. A child is therefore started with ``-P``, is told the file of the package that its parent runs, and
takes over its parent's path without what leads from the working directory. The environment's settings of Python itself
are left behind (``PYTHONPATH`` is in the parent's path already).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import streamrnn
from streamrnn.system.import_path import independent

_START: Final = """
import importlib.util, sys
count = int(sys.argv.pop(1))
file, *sys.path = sys.argv[1:count + 1]
del sys.argv[1:count + 1]
spec = importlib.util.spec_from_file_location("streamrnn", file)
sys.modules["streamrnn"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
"""

_OF_PYTHON = "PYTHONHOME"
"""Without it a relocated interpreter does not start."""


def command(script: str, arguments: Sequence[str], *, before: str = "") -> list[str]:
    """The command line of a child that runs ``script`` with these arguments in ``sys.argv[1:]``.

    ``before`` is run first of all, when nothing can be imported yet but the standard library.
    """
    given = [str(streamrnn.__file__), *independent(sys.path)]
    return [sys.executable, "-P", "-c", f"{before}{_START}{script}", str(len(given)), *given, *arguments]


def environment(without: tuple[str, ...] = ()) -> dict[str, str]:
    """This process's, but for Python's own settings and names that begin so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", *without))}
    return kept | {name: os.environ[name] for name in (_OF_PYTHON,) if name in os.environ}
