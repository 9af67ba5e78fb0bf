"""What an update leaves behind, checkpoints that this version does not read, is not called damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamrnn.errors import RecoveryError
from tests.support.scenario import Scenario

RESTART = "{interval_s: 3600, on_lost_offsets: restart}"


@pytest.fixture
def updated(tmp_path: Path) -> Scenario:
    """A job whose checkpoints an earlier version wrote."""
    scenario = Scenario(tmp_path)
    scenario.fill(200)
    scenario.run(stop_after=6)
    for manifest in scenario.manifests():
        make_earlier(manifest)
    return scenario


def make_earlier(manifest: Path, number: int = 4) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": number}))


@pytest.mark.parametrize("number", [4, 8])
def test_the_error_names_format_and_ways_out_and_does_not_ask_for_the_directory(updated: Scenario, number: int) -> None:
    for manifest in updated.manifests():
        make_earlier(manifest, number)
    reason = rf"has format {number}(.|\n)*Go back to the version .* or start afresh"
    with pytest.raises(RecoveryError, match=reason) as told:
        updated.run()
    assert "Bring the directory back" not in str(told.value)


def test_without_offsets_they_are_named_too_and_restart_learns_anew(updated: Scenario) -> None:
    (updated.directory / "log" / "groups" / "j.json").unlink()
    with pytest.raises(RecoveryError, match=r"has format 4(.|\n)*Go back to the version .* restart to learn anew"):
        updated.run()
    before = sum(1 for _ in updated.directory.rglob("manifest-*"))
    run = updated.run(checkpoint=RESTART[1:-1])
    assert run.value("streamrnn_corrupt_checkpoints_total") == 0
    assert len(updated.predictions()) == 200
    assert sum(1 for _ in updated.directory.rglob("manifest-*")) > before, "those of the earlier version stay for it"


def test_one_that_can_be_read_is_used_and_the_others_do_not_count_as_corrupt(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    scenario.fill(200)
    scenario.run(stop_after=12)
    make_earlier(scenario.manifests()[-1])
    run = scenario.run()
    assert run.value("streamrnn_corrupt_checkpoints_total") == 0
    assert run.value("streamrnn_replayed_records_total") > 0
