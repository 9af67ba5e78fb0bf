"""What the commands print of jobs that look ahead: how late predictions come, what that takes, which events wait."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamrnn.cli import app
from streamrnn.cli.show_lookahead import bytes_for_waiting
from streamrnn.learner.lowering import bytes_per_slot
from tests.support.jobs import EXAMPLES, yaml
from tests.support.lookahead_jobs import LookaheadScenario, Message, lookahead_job
from tests.support.scenario import START_MS


def printed(*command: str) -> str:
    """Without the ends of lines that a narrow terminal makes."""
    result = CliRunner().invoke(app, list(command), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return re.sub(r"\s+", " ", result.output)


def test_validate_says_how_long_an_event_waits_and_what_that_takes_of_each_stream() -> None:
    output = printed("validate", "-c", str(EXAMPLES / "press-phases.yaml"))
    assert (
        "each event is predicted once 10 more of its stream have come, or its sequence has ended; 424 bytes" in output
    )
    assert "reading forwards, and backwards from 10 steps ahead" in output
    assert "warning" not in output


def test_validate_warns_where_a_silent_stream_keeps_its_last_events(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        yaml(model="{direction: both, lookahead: 7}", checkpoint=f"{{directory: {tmp_path}}}")
    )
    output = printed("validate", "-c", str(tmp_path / "job.yaml"))
    assert (
        "a stream that falls silent keeps its last 7 events waiting, unless a tombstone comes or another stream"
        in output
    )


@pytest.mark.parametrize("ahead", [1, 8])
def test_the_further_it_looks_ahead_the_more_each_stream_takes(ahead: int) -> None:
    spec, further = (lookahead_job(lookahead=steps).learner_spec() for steps in (ahead, ahead + 1))
    assert bytes_for_waiting(spec) < bytes_for_waiting(further) < bytes_per_slot(further)
    # An input in single precision, its event's id, time and target.
    assert bytes_for_waiting(further) - bytes_for_waiting(spec) >= 4 * spec.n_multiplied + 3 * 8


def test_inspect_names_the_events_of_a_stream_that_wait(tmp_path: Path) -> None:
    messages = [Message(b"a", b'{"a": 1, "y": 2}', START_MS + i) for i in range(5)]
    made = LookaheadScenario(tmp_path, lookahead_job(), messages)
    made.run()
    place = str(made.manifests()[-1])
    assert "or its sequence has ended; 3 events waiting" in printed("inspect", place)
    assert "waiting 3 events: offset 2, 3, 4" in printed("inspect", place, "--stream", "a")
