"""Arrays for kernels that run as Python, which refuse what the compiled ones would take without a word.

Compiled, an index is an address: nothing is counted from an array's end (``core.emit``), and nothing is held against
its length. A vector of lanes is loaded from and stored to wherever it begins (``core.vector``), where NumPy would cut a
slice short. So an index or slice that is negative is an error here, and so is one that goes beyond its array.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamrnn.core import tables


class FromTheFront(np.ndarray):
    """An array that refuses such indices, and so do the arrays that are parts of it."""

    def __getitem__(self, key: Any) -> Any:
        require_within(self.shape, key)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        require_within(self.shape, key)
        super().__setitem__(key, value)


def require_within(shape: tuple[int, ...], key: Any) -> None:
    """Raise IndexError for an index or slice of an array that does not lie within it.

    An axis without entries is as long as anybody likes: kernels leave it to it that there is nothing to do.
    """
    for size, index in zip(shape, key if isinstance(key, tuple) else (key,), strict=False):
        if isinstance(index, slice):
            bounds = [bound for bound in (index.start, index.stop) if bound is not None]
            within = not size or all(bound <= size for bound in bounds)
        else:
            bounds, within = [index], index < size
        if not within or any(bound < 0 for bound in bounds):
            raise IndexError(f"a kernel asked for {index} of {size} entries")


@contextlib.contextmanager
def arrays_from_the_front() -> Iterator[None]:
    """Within it, interpreted kernels are given such arrays."""

    def asarray(there: Any) -> np.ndarray:
        return np.asarray(there).view(FromTheFront)

    def zeros(shape: tuple[int, ...], kind: str) -> np.ndarray:
        return np.zeros(shape, kind).view(FromTheFront)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "np", SimpleNamespace(**{**vars(np), "asarray": asarray, "zeros": zeros}))
        yield
