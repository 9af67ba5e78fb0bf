"""Claims about ``streamrnn demo text``: end to end through the daemon's loop, the same again, ended at any moment."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import streamrnn
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import TopicPartition
from streamrnn.demo.directory import MARKER, claimed
from streamrnn.demo.text.account import Curve, Result
from streamrnn.demo.text.compressors import bits_per_byte
from streamrnn.demo.text.run import Options, run_text_demo
from streamrnn.demo.text.writing import LENGTH, TEMPERATURE
from streamrnn.errors import ConfigError
from streamrnn.estimators.language_model import RNNLanguageModel
from streamrnn.job.job import Job
from streamrnn.job.job_file import load
from tests.support.interrupted import interrupted_demo

SENTENCE = "the state of a stream is carried on and learned from a moment later \N{EN DASH} byte by byte\n"
WORDS = SENTENCE.split(" ")


def text(size: int) -> bytes:
    """Words in an order that has no pattern: what is to be learned of it is how they are written."""
    drawn = np.random.default_rng(7).integers(0, len(WORDS), size // 2)
    return " ".join(WORDS[n] for n in drawn).encode()[:size].decode(errors="ignore").encode()


def demo(directory: Path, data: bytes, **options: Any) -> tuple[Result, str]:
    """Run it in this process on a file; what came of it, and what was printed on 80 columns."""
    file = directory.with_name("file.txt")
    file.write_bytes(data)
    console = Console(file=io.StringIO(), width=80)
    result = run_text_demo(Options(directory=directory, file=file, port=0, **options), console)
    assert result is not None
    printed: str = console.file.getvalue()  # type: ignore[attr-defined]
    return result, printed


@pytest.mark.slow
def test_the_demo_runs_end_to_end(tmp_path: Path) -> None:
    data = text(25_000)
    result, printed = demo(tmp_path / "demo", data)
    assert (result.status, result.why, result.curve.read) == (0, None, len(data))

    log = EmbeddedLog(tmp_path / "demo" / "log")
    written = [json.loads(r.value or b"") for r in log.read("surprises", 0)]
    pieces = [json.loads(r.value or b"")["text"].encode() for r in log.read("text", 0)]
    assert b"".join(pieces) == data
    assert [one["surprise"]["symbols"] for one in written] == list(map(len, pieces))
    bits = sum(one["surprise"]["bits"] for one in written)
    assert result.curve.mean[-1] == pytest.approx(bits / len(data))
    assert result.figures[len(data)] == bits_per_byte(data)
    assert result.figures[10_000] == bits_per_byte(data[:10_000])
    # Letters by their frequencies alone cost almost four bits, words drawn at random less than one.
    assert result.curve.now[-1] < 1.5
    assert result.curve.now[-1] < result.curve.now[0] / 2

    first, last = result.samples
    assert 10_000 - 3 <= first.at <= 10_000  # no record ends within a character
    assert last.at == len(data)
    for figure in (result.curve.mean[-1], *result.figures[len(data)].values()):
        assert f"{figure:.3f}" in printed
    assert "What it wrote after" in printed
    # Paths, commands and the call stand in one line each, to be copied from there.
    placed = ("job file ", "plot ", "samples ", "model ", "in Python ", "in a job ", "look inside ", "go on ")
    assert max(len(line) for line in printed.splitlines() if not line.startswith(placed)) <= 80
    left = {path.name for path in (tmp_path / "demo").iterdir()}
    assert left == {
        MARKER,
        "job.yaml",
        "worker.log",
        "log",
        "checkpoints",
        "bits.png",
        "samples.txt",
        "model.safetensors",
    }
    assert (tmp_path / "demo" / "bits.png").read_bytes().startswith(b"\x89PNG")
    kept = (tmp_path / "demo" / "samples.txt").read_text()
    assert all(f"==== after {sample.at:,} bytes\n" in kept for sample in result.samples)


@pytest.mark.slow
def test_the_demo_repeats_itself_and_what_it_leaves_goes_on(tmp_path: Path) -> None:
    data = text(12_000)
    first, _ = demo(tmp_path / "demo", data)
    second, printed = demo(tmp_path / "demo", data, plot=tmp_path / "elsewhere.png")
    assert "held an earlier run" in printed
    assert (tmp_path / "elsewhere.png").is_file()
    np.testing.assert_array_equal(first.curve.mean, second.curve.mean)
    assert first.samples == second.samples

    model = RNNLanguageModel.load(tmp_path / "demo" / "model.safetensors")
    last = second.samples[-1]
    assert last.at == len(data)
    # The call that is printed, as it stands there.
    (call,) = [line.removeprefix("in Python") for line in printed.splitlines() if line.startswith("in Python ")]
    written = eval(call.strip(), {"RNNLanguageModel": streamrnn.RNNLanguageModel})
    assert isinstance(written, bytes)
    assert len(written) == LENGTH
    assert model.generate(LENGTH, TEMPERATURE, seed=last.at, key="text") == last.written
    config = load(tmp_path / "demo" / "job.yaml")
    assert config.embedded is not None
    assert EmbeddedLog(config.embedded.directory).commits("text")[("text", 0)].offset == len(first.source.ends)


@pytest.mark.slow
def test_it_says_what_a_learner_says_that_nobody_watches(tmp_path: Path) -> None:
    """Stages, samples and questions between two turns leave no trace."""
    result, _ = demo(tmp_path / "demo", text(15_000))
    assert len(result.samples) == 2
    job = Job(load(tmp_path / "demo" / "job.yaml"))
    records = list(EmbeddedLog(tmp_path / "demo" / "log").read("text", 0))
    learner = job.first_learner(TopicPartition("text", 0))
    scores = learner.process(job.codec.decode(records).block).texts
    assert scores is not None
    bits = np.array([part.sum() for part in np.split(scores.loss / math.log(2), scores.bounds[1:-1])])
    alone = Curve.of(bits, np.diff(scores.bounds), result.source.ends)
    np.testing.assert_array_equal(result.curve.mean, alone.mean)


@pytest.mark.slow
def test_the_model_file_is_what_another_job_begins_with(tmp_path: Path) -> None:
    data = text(12_000)
    first, _ = demo(tmp_path / "demo", data)
    from streamrnn.demo.text import log

    model = (tmp_path / "demo" / "model.safetensors").rename(tmp_path / "model.safetensors")
    warm = log.job_text

    def warmed(directory: Path, *, is_utf8: bool) -> str:
        return log.replaced(
            warm(directory, is_utf8=is_utf8), "readout: softmax", f"readout: softmax, warm_start: {model}"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamrnn.demo.text.run.job_text", warmed)
        second, _ = demo(tmp_path / "demo", data)
    assert second.curve.mean[0] < first.curve.mean[0] / 2


@pytest.mark.slow
def test_a_file_that_is_no_text_is_learned_byte_by_byte(tmp_path: Path) -> None:
    data = bytes(range(256)) * 44
    result, printed = demo(tmp_path / "demo", data)
    assert not result.source.is_utf8
    assert "It is not UTF-8" in printed
    assert result.curve.read == len(data) == 11_264
    assert result.curve.now[-1] < 7.5
    assert printed.replace("\n", "").isprintable()


@pytest.mark.slow
def test_of_one_record_there_is_no_plot_and_that_is_said(tmp_path: Path) -> None:
    result, printed = demo(tmp_path / "demo", text(900), plot=tmp_path / "wanted.png")
    assert len(result.curve.ends) == 1
    assert "none: one record of at most 1,000 bytes was read, and a curve takes two" in printed
    assert not (tmp_path / "wanted.png").exists()
    assert not (tmp_path / "demo" / "bits.png").exists()


@pytest.mark.slow
def test_time_that_is_up_ends_it_with_an_account_of_what_was_done(tmp_path: Path) -> None:
    result, printed = demo(tmp_path / "demo", text(200_000) * 10, seconds=0.5)
    assert (result.status, result.why) == (0, "stopped after 0.5 s")
    assert 0 < result.curve.read < 2_000_000
    assert f"stopped after 0.5 s; {result.source.available - result.curve.read:,} of" in " ".join(printed.split())


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly_with_an_account_in_plain_text_of_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(text(500_000))
    output = tmp_path / "demo" / "log" / "topics" / "surprises" / "0.jsonl"
    arguments = ("text", str(tmp_path / "file"), "--directory", str(tmp_path / "demo"), "--port", "0")
    stdout, _ = interrupted_demo(*arguments, predicted=output, NO_COLOR="1")
    assert "bytes/s through the daemon" in stdout.replace("\n", " ")
    assert "interrupted; " in stdout
    assert "\x1b" not in stdout
    log = EmbeddedLog(tmp_path / "demo" / "log")
    assert log.commits("text")[("text", 0)].offset == sum(1 for _ in log.read("surprises", 0)) < 500
    assert (tmp_path / "demo" / "model.safetensors").is_file()


def test_a_file_that_cannot_be_read_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    for name in (MARKER, "bits.png"):
        (tmp_path / "demo" / name).write_text("")
    console = Console(file=io.StringIO())
    with pytest.raises(ConfigError, match="missing cannot be read: No such file"):
        run_text_demo(Options(directory=tmp_path / "demo", file=tmp_path / "missing"), console)
    with pytest.raises(ConfigError, match=r"--plot: the directory of .*x.png does not exist"):
        run_text_demo(Options(directory=tmp_path / "demo", plot=tmp_path / "none" / "x.png"), console)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {MARKER, "bits.png"}


def test_either_demo_removes_what_the_other_left_and_nothing_else(tmp_path: Path) -> None:
    with claimed(tmp_path):
        pass
    log = EmbeddedLog(tmp_path / "log")
    for topic in ("departures", "text", "surprises", "dead-letters", "mine"):
        log.create_topic(topic)
    for path in ("bits.png", "errors.png", "model.safetensors", "samples.txt", "thesis.txt", "checkpoints/text/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    with claimed(tmp_path) as remarks:
        assert log.topics() == ["mine"]
        assert {path.name for path in tmp_path.iterdir()} == {MARKER, "log", "thesis.txt"}
        assert any("held an earlier run" in remark for remark in remarks)
