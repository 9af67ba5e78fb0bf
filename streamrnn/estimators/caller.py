"""Where a warning points: at the line of whoever called, for only that can be changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

import river

_PACKAGES = tuple(str(Path(file).parent) + os.sep for file in (str(Path(__file__).parent), str(river.__file__)))
"""Estimators are called through River's pipelines and evaluation, which are no more the user's than this package."""


def level_of_the_caller() -> int:
    """The ``stacklevel`` of ``warnings.warn``, for the function that asks, of the call into streamrnn or River."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGES):
        frame, level = frame.f_back, level + 1
    return level
