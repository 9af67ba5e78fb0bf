"""The benches of texts, grammars and vocabularies run; what they measure is for people to read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn import RNNLanguageModel
from streamrnn.demo.text.log import job_text
from streamrnn.job.job_file import parse
from tests.bench import grammars, text, vocabularies


def test_the_bench_of_texts_shows_every_compressor_and_setting_at_every_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"In the beginning was the word. " * 200)
    text.main([str(path), "--settings", "smallest", "--bytes", "2000", "4000", "--whole"])
    printed = capsys.readouterr().out
    assert len(re.findall(r"^. (gzip|bz2|xz) +(. +\d\.\d{3} ){3}", printed, re.MULTILINE)) == 3
    early, later, last = re.findall(r"\d\.\d{3}", re.findall(r"^smallest (.*) kB/s$", printed, re.MULTILINE)[0])
    assert 8 > float(early) > float(later) > float(last) > 0
    assert "first 6,000" in printed  # whole pieces of 6,200 bytes


def test_the_settings_are_those_of_the_demo_and_the_estimator_where_they_are_said_to_be() -> None:
    demo = parse(job_text(Path("/demo"), is_utf8=True), env={}).learner_spec()
    assert (demo.model, demo.learning) == text.SETTINGS["medium"]
    model = RNNLanguageModel()
    model.learn_one("a")
    assert model._learner is not None
    own, (measured, learned) = model._learner.spec, text.SETTINGS["medium"]
    assert own.model == measured
    assert own.learning == replace(learned, optimizer=demo.optimizer)  # which the others leave open


def test_a_text_costs_the_same_bits_whatever_its_pieces_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).choice(np.frombuffer(b"abcde ", np.uint8), 4_000).tobytes()
    whole = text.learn(data, text.SETTINGS["smallest"], [4_000]).bits
    monkeypatch.setattr(text, "PIECE", 500)
    monkeypatch.setattr(text, "BLOCK", 3)
    assert text.learn(data, text.SETTINGS["smallest"], [4_000]).bits[4_000] == pytest.approx(whole[4_000], rel=1e-12)


def test_the_bench_of_grammars_prints_a_row_for_every_seed(capsys: pytest.CaptureFixture[str]) -> None:
    grammars.main(["--only", "reber", "--seeds", "2", "--symbols", "4000"])
    rows = re.findall(r"^reber (\d) 0\.5833 (\d\.\d{4}) ([0-9,]+) ([0-9,]+) - ", capsys.readouterr().out, re.MULTILINE)
    assert [seed for seed, *_ in rows] == ["0", "1"]


def test_a_stretch_without_errors_is_found_wherever_it_lies() -> None:
    assert grammars.stretches(np.array([], np.int64), 100, 100) == (100, 0)
    assert grammars.stretches(np.array([0, 60]), 100, 50) == (59, 1)
    assert grammars.stretches(np.array([49, 99]), 100, 50) == (49, None)


def test_the_bench_of_vocabularies_has_a_figure_for_every_size_and_side(capsys: pytest.CaptureFixture[str]) -> None:
    vocabularies.main(["--sizes", "64", "300", "--rounds", "1", "--hidden", "8"])
    rows = re.findall(r"^. +(64|300) (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert [size for size, _ in rows] == ["64", "300"]
    assert all(len(re.findall(r"\d+\.\d\d", figures)) == 4 for _, figures in rows)
