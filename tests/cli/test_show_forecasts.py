"""What validate says of which of a stream's next values are forecast."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamrnn.cli.show import job as shown
from tests.support.jobs import job


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("known: forecast", "y: the next value"),
        ("known: forecast, horizon: 3", "y: the stream's next 3 values"),
        ("known: forecast, horizon: [6, 24]", "y: the stream's value 6, 24 steps ahead"),
        (
            "known: forecast, horizon: [6], baseline: 4",
            "y: the stream's value 6 steps ahead, as differences to the one 4",
        ),
    ],
)
def test_steps_ahead_are_named(target: str, said: str) -> None:
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(shown(job(target=f"{{fields: [y], {target}}}")))
    assert said in console.export_text()
