"""A job with records, and what an undisturbed run of it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.learners import Bits, differing
from tests.support.scenario import TP, N, Scenario


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    made = Scenario(tmp_path / "job")
    made.fill(N)
    return made


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bits, dict[int, bytes]]:
    """State and predictions of an uninterrupted run over the log of ``scenario``."""
    undisturbed = Scenario(tmp_path_factory.mktemp("reference"))
    undisturbed.fill(N)
    run = undisturbed.run()
    assert differing(run.learners[TP], undisturbed.saved()) == []
    return run.learners[TP], undisturbed.predictions()
