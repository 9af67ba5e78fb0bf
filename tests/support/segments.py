"""Segments of a few slots, so that a log of a few streams has several."""

from __future__ import annotations

import pytest

from streamrnn.learner import copying, foundation, streams
from streamrnn.storage import checkpoints, manifest, putting, snapshot, writer


def make_segments_tiny(monkeypatch: pytest.MonkeyPatch, slots: int = 2) -> None:
    """Have segments of so many slots everywhere, but for what manifests that are read may say."""
    for module in (copying, foundation, streams, checkpoints, putting, snapshot, writer):
        monkeypatch.setattr(module, "SEGMENT_SLOTS", slots)
    assert slots != manifest.SEGMENT_SLOTS
