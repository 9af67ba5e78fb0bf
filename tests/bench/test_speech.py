"""The bench of speech runs; what it measures is for people to read."""

from __future__ import annotations

import re

import pytest

from streamrnn.demo.speech.voices import GROUPS
from tests.bench import speech
from tests.support.programs import program


def test_the_bench_of_speech_has_a_figure_for_every_group_and_network(capsys: pytest.CaptureFixture[str]) -> None:
    program("espeak-ng")
    speech.main(["--strings", "12", "--tested", "2", "--only", "both", "--only", "lookahead-80"])
    printed = capsys.readouterr().out
    for name in ("progressive", *GROUPS, *(f"{group}, in noise" for group in GROUPS), "ms a string"):
        assert re.search(rf"{name} +. +\d+\.\d+ . +\d+\.\d+ ", printed), name
