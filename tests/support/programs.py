"""Programs that some tests run and no package index of Python has. Without them those tests are skipped and say so;
STREAMRNN_REQUIRE_PROGRAMS=1 makes that a failure.
"""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus", "chromium": "chromium", "espeak-ng": "espeak-ng"}
"""Programs, each with the package of Debian that has it; .ci/run installs these packages."""


def program(name: str) -> str:
    """Where one of PACKAGES is."""
    if found := shutil.which(name):
        return found
    reason = f"no {name} found; install Debian's package {PACKAGES[name]}"
    if os.environ.get("STREAMRNN_REQUIRE_PROGRAMS") == "1":
        pytest.fail(f"STREAMRNN_REQUIRE_PROGRAMS=1, but {reason}")
    return pytest.skip(reason)
