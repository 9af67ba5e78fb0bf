"""Claims about the account that the demo prints at the end: who won, and what a small run cannot tell."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from streamrnn.daemon.metric_table import PHASES
from streamrnn.demo.account import Result
from streamrnn.demo.log import job_text
from streamrnn.demo.screen import conclude
from streamrnn.job.job_file import parse


def printed(tmp_path, seconds=5.0, **means):
    """The account of a run in which each predictor always erred by its mean."""
    result = Result(
        status=0, records=10, timestamps_ms=np.arange(10), errors={name: np.full(10, m) for name, m in means.items()},
        unmatched=0, repeated=0, seconds=seconds, phases=dict.fromkeys(PHASES, 0.1 * seconds),
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=80)
    conclude(console, parse(job_text(tmp_path, None), env={}), result, tmp_path / "job.yaml", None)
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ({"a": 11.0, "b": 10.5}, "The eLSTM erred least, by 0.50 minutes before b."),
        ({"a": 9.5, "b": 9.0}, "The eLSTM did not win here: b, a erred less."),
        ({"a": 10.001, "b": 11.0}, "The eLSTM did not win here: a erred as much."),
    ],
)
def test_the_verdict_names_winners_best_first_and_calls_a_tie_no_win(tmp_path, means, expected):
    assert expected in printed(tmp_path, eLSTM=10.0, **means)


def test_without_rivals_nothing_is_compared(tmp_path):
    text = printed(tmp_path, eLSTM=10.0)
    assert "10.00" in text
    assert not any(word in text for word in ("best first", "vs eLSTM", "did not win", "erred least"))


def test_where_the_time_went_is_shown_of_a_run_of_a_second_or_more(tmp_path):
    assert "predicting and learning" in printed(tmp_path, eLSTM=10.0)
    assert "predicting and learning" not in printed(tmp_path, seconds=0.5, eLSTM=10.0)
