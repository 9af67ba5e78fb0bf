"""Claims about what a person sees: ranks by what was shown, samples that cannot harm a terminal, 80 columns."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from streamrnn.cli.terminal import Terminal
from streamrnn.demo.text.account import Curve, Result
from streamrnn.demo.text.plot import plot_bits
from streamrnn.demo.text.screen import conclude, plain_line, progress
from streamrnn.demo.text.source import Source
from streamrnn.demo.text.writing import Sample
from streamrnn.demo.worker import Worker

RECORDS = 120
SIZE = 1_000 * RECORDS
RIVALS = {"gzip": 2.5, "bz2": 2.25, "xz": 2.0}


def curve(bits: float) -> Curve:
    return Curve.of(np.full(RECORDS, 1_000 * bits), np.full(RECORDS, 1_000), [1_000 * (n + 1) for n in range(RECORDS)])


def result(bits: float, rivals: dict[str, float] = RIVALS, written: bytes = b"", available: int = SIZE) -> Result:
    return Result(
        status=0,
        source=Source("a text", bytes(SIZE), available, is_utf8=True),
        curve=curve(bits),
        figures=dict.fromkeys((1000, 10000, 100000, SIZE), rivals),
        samples=[Sample(10_000, b"read\nlast ", written)] if written else [],
        seconds=2.0,
    )


def printed(made: Result) -> str:
    console = Console(file=io.StringIO(), width=80)
    conclude(console, made, {"model": "m.safetensors"})
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(cell_len, text.splitlines())) <= 80
    return text


def sample_lines(text: str) -> list[str]:
    return [line.removeprefix("  │ ").rstrip() for line in text.splitlines() if line.startswith("  │")]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (1.5, "The LSTM took fewest bits, 25.0% fewer than xz."),
        (2.1, "The LSTM did not win here: xz took fewer bits."),
        (2.4, "The LSTM did not win here: xz, bz2 took fewer bits."),
        (2.0004, "The LSTM did not win here: xz took as many bits."),
    ],
)
def test_the_verdict_names_winners_best_first_and_calls_a_tie_no_win(bits: float, expected: str) -> None:
    assert expected in printed(result(bits))


def test_the_table_ranks_by_all_bytes_and_has_the_milestones_that_were_passed() -> None:
    text = printed(result(2.1))
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows[:4]] == ["xz", "LSTM", "bz2", "gzip"]
    assert "first 10 kB" in text and "first 100 kB" in text and "all 120,000" in text and "1 MB" not in text


def test_what_is_left_is_said_and_how_to_read_it() -> None:
    assert "were left" not in printed(result(2.1))
    assert "880,000 of 1,000,000 bytes were left: more with --bytes and --seconds" in printed(
        result(2.1, available=10**6)
    )


def test_a_sample_begins_behind_the_last_words_read_and_harms_no_terminal() -> None:
    text = printed(result(2.1, written=b"words\n\x1b[2J\xff\tend"))
    assert "  │ last words\n" in "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    assert "\\x1b[2J\\xff" in text
    assert "\x1b" not in text


def test_a_long_line_of_a_sample_goes_on_in_the_next() -> None:
    text = printed(result(2.1, written=b"Q" * 100))
    assert text.count("Q") == 100


def test_a_long_line_is_broken_behind_a_word() -> None:
    text = printed(result(2.1, written=b"words " * 20))
    lines = sample_lines(text)
    assert lines[0] == "last " + " ".join(["words"] * 11)
    assert " ".join(lines) == "last " + " ".join(["words"] * 20)


def test_characters_that_are_two_cells_wide_are_all_shown() -> None:
    wide = "".join(chr(0x4E00 + n) for n in range(120))
    lines = sample_lines(printed(result(2.1, written=wide.encode())))
    assert "".join(lines) == "last " + wide
    assert [cell_len(line) for line in lines[:2]] == [73, 74]  # behind "last " there is room for half a character more


@pytest.mark.parametrize("before", range(10))
@pytest.mark.parametrize("escape", ["\\xf3", "\\u202e", "\\U000e0001"])
def test_no_line_ends_within_an_escape(before: int, escape: str) -> None:
    raw = b"\xf3" if escape == "\\xf3" else escape.encode().decode("unicode_escape").encode()
    lines = sample_lines(printed(result(2.1, written=b"Q" * before + raw * 25)))
    assert "".join(lines) == "last " + "Q" * before + escape * 25
    for line in lines:
        assert re.fullmatch(rf"(last Q*)?({re.escape(escape)})*", line), line


def test_what_stands_before_a_sample_begins_with_a_whole_escape_and_is_at_most_half_a_line() -> None:
    made = result(2.1, written=b"Q")
    made.samples[0] = Sample(10_000, b"\xff" * 60, b"Q")
    assert sample_lines(printed(made)) == ["\\xff" * 9 + "Q"]
    made.samples[0] = Sample(10_000, "\N{CJK UNIFIED IDEOGRAPH-4E00}".encode() * 20, b"Q")
    assert sample_lines(printed(made)) == ["\N{CJK UNIFIED IDEOGRAPH-4E00}" * 18 + "Q"]


def test_a_place_is_one_line_however_long_it_is() -> None:
    console = Console(file=io.StringIO(), width=80)
    long = "RNNLanguageModel.load('" + "directory/" * 10 + "model.safetensors')"
    conclude(console, result(2.1), {"model": "m.safetensors", "in Python": long})
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[-2:] == ["model     m.safetensors", f"in Python {long}"]


def test_the_display_stands_within_80_columns_and_shows_both_averages_of_the_same_bytes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from streamrnn.demo.text.log import job_text
    from streamrnn.job.job_file import parse

    worker = Worker(parse(job_text(tmp_path, is_utf8=True), env={}), RECORDS)
    worker.loop, worker.began, worker.ended, worker.port = object(), 1.0, 3.0, 9308  # type: ignore[assignment]
    per_byte = np.where(np.arange(RECORDS) < 100, 2.1, 0.5)  # from 100 kB on much less
    learned = Curve.of(1_000 * per_byte, np.full(RECORDS, 1_000), result(2.1).source.ends)
    console = Terminal(file=io.StringIO(), width=80)
    sample = Sample(SIZE, b"a", b"\x1b]0;title\x07")
    console.print(progress(worker, result(2.1).source, learned, (100_000, RIVALS), sample))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert "120,000 of 120,000 bytes   60,000 bytes/s   2 s" in text
    assert "newest 10 kB    first 100 kB" in text
    (ours,) = [line for line in text.splitlines() if line.startswith("LSTM")]
    assert ours.split()[1:3] == ["0.500", "2.100"]
    assert "\x1b" not in text and "\\x1b]0;title\\x07" in text


def test_the_plain_line_ranks_the_compressors() -> None:
    line = plain_line(curve(2.1), 100_000, RIVALS).plain
    assert line == "    100,000 bytes  LSTM 2.100, now 2.100  xz 2.000  bz2 2.250  gzip 2.500"


def test_the_plot_is_a_png(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("matplotlib", reason="the extra streamrnn[demo] is not installed")
    plot_bits(tmp_path / "bits.png", result(2.1), title="Learning")
    from matplotlib.image import imread

    image = imread(tmp_path / "bits.png")
    assert image.shape[0] == 720 and image.shape[1] == 1_200
    assert image.std() > 0.05
