"""A job with records, and what an undisturbed run of it leads to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.learners import Bits, differing
from tests.support.scenario import JOBS, TP, N, Scenario

Reference = tuple[Bits, dict[int, bytes]]


@pytest.fixture
def kind() -> str:
    """Which of them, where a test does not say."""
    return "windows"


@pytest.fixture
def scenario(tmp_path: Path, kind: str) -> Scenario:
    made = Scenario(tmp_path / "job", **JOBS[kind])  # type: ignore[arg-type]
    made.fill(N)
    return made


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reference]:
    """State and predictions of an uninterrupted run over the log of ``scenario``, by kind of job."""

    @functools.cache
    def reference(kind: str) -> Reference:
        undisturbed = Scenario(tmp_path_factory.mktemp("reference"), **JOBS[kind])  # type: ignore[arg-type]
        undisturbed.fill(N)
        run = undisturbed.run()
        assert differing(run.learners[TP], undisturbed.saved()) == []
        assert run.value("streamrnn_updates_total") > 0
        return run.learners[TP], undisturbed.predictions()

    return reference


@pytest.fixture
def reference(references: Callable[[str], Reference], kind: str) -> Reference:
    """That of the job at hand."""
    return references(kind)
