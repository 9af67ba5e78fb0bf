"""Claims about ``streamrnn demo memory``: what the textbooks say of recurrent networks is what a run of it finds.

The run takes one or two minutes of CPU and is made once, with all that a person sees. Bounds are orders of magnitude,
or orderings: the numbers themselves are those of one seed after another and would be a little different with others.

Hochreiter 1991 and Bengio et al. 1994 (vanishing, and why what is held safely has no gradient); Pascanu et al. 2013
(explosion, clipping); Gers et al. 2000 and Tallec & Ollivier 2018 (gates that begin open).
"""

from __future__ import annotations

import importlib.util
import io
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from streamrnn.demo.directory import MARKER
from streamrnn.demo.memory import findings, run
from streamrnn.demo.memory.findings import FAR, Measured
from streamrnn.demo.memory.gradients import SPAN
from streamrnn.demo.memory.lags import LAYERS, WINDOWS
from streamrnn.demo.memory.lengths import JUDGED_LAGS, LONGEST
from streamrnn.demo.memory.networks import NETWORKS
from streamrnn.demo.memory.run import run_memory_demo
from streamrnn.errors import ConfigError

RNN, GRU, LSTM, PATIENT_GRU, PATIENT_LSTM = NETWORKS


@dataclass(frozen=True)
class Ran:
    measured: Measured
    printed: str
    directory: Path


def demo(directory: Path) -> tuple[run.Result, str]:
    console = Console(file=io.StringIO(), width=80)
    result = run_memory_demo(directory, console)
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    directory = tmp_path_factory.mktemp("memory") / "made"
    result, printed = demo(directory)
    assert not result.interrupted
    return Ran(result.measured, printed, directory)


@pytest.mark.slow
def test_gradients_vanish_at_the_start_in_the_order_gru_rnn_lstm_and_hardly_with_long_memory(ran: Ran) -> None:
    start = ran.measured.start
    assert start is not None
    left = {network: start[network][SPAN] for network in NETWORKS}
    assert left[GRU] < 1e-14
    assert 1e-10 < left[RNN] < 1e-6
    assert 1e-6 < left[LSTM] < 1e-3
    assert min(left[PATIENT_GRU], left[PATIENT_LSTM]) > 0.05
    for network in NETWORKS:
        steps = [back for back in start[network] if back >= 8]
        assert all(start[network][far] < start[network][near] for near, far in pairwise(steps))


@pytest.mark.slow
def test_learning_opens_the_gru_s_gates_and_shuts_the_rnn_s_gradient_though_it_remembers(ran: Ran) -> None:
    assert ran.measured.start is not None
    assert ran.measured.learned is not None
    many = ran.measured.learned["many"]
    assert many.gradient[GRU][SPAN] > 1e10 * ran.measured.start[GRU][SPAN]
    assert many.gradient[GRU][SPAN] > 1e-3
    assert many.gradient[RNN][SPAN] < 1e-5 * ran.measured.start[RNN][SPAN]
    assert many.right[RNN][SPAN] >= 0.95


@pytest.mark.slow
def test_of_lags_of_one_length_none_much_longer_than_the_window_is_bridged_and_longer_windows_bridge_more(
    ran: Ran,
) -> None:
    lags = ran.measured.lags
    assert lags is not None
    for k2 in WINDOWS:
        assert all(1 <= lags[k2][network] <= 4 * k2 for network in NETWORKS), k2
    for network in NETWORKS:
        assert lags[8][network] <= lags[32][network] <= lags[128][network]
        assert lags[8][network] < lags[128][network]


@pytest.mark.slow
def test_long_memory_at_the_start_bridges_twice_as_much_and_more(ran: Ran) -> None:
    assert ran.measured.lags is not None
    longest = ran.measured.lags[128]
    assert longest[PATIENT_GRU] >= 2 * longest[GRU]
    assert longest[PATIENT_LSTM] >= 2 * longest[LSTM]


@pytest.mark.slow
def test_sequences_of_many_lengths_teach_every_cell_what_sequences_of_one_length_teach_none(ran: Ran) -> None:
    assert ran.measured.learned is not None
    one, many = ran.measured.learned["one"], ran.measured.learned["many"]
    for network in NETWORKS:
        assert one.right[network][LONGEST] < 0.7  # 0.25 is guessing; some seeds of the RNN know a cue from the others
        assert min(many.right[network][lag] for lag in JUDGED_LAGS) >= 0.95
    # Far beyond the window of 32, and beyond all that was learned.
    assert FAR == 32 * LONGEST


@pytest.mark.slow
def test_twice_the_recurrent_weights_ruin_the_rnn_unless_gradients_are_clipped_and_leave_gated_cells_alone(
    ran: Ran,
) -> None:
    assert ran.measured.explosion is not None
    free, clipped = ran.measured.explosion[None], ran.measured.explosion[1.0]
    assert free[RNN].growth > 100
    assert free[RNN].unusable > 0.99
    assert free[RNN].error > 1e3
    assert clipped[RNN].unusable == 0.0
    assert clipped[RNN].error < 0.1
    for network in (GRU, LSTM, PATIENT_GRU, PATIENT_LSTM):
        assert free[network].growth < 10
        assert free[network].unusable == clipped[network].unusable == 0.0
        assert max(free[network].error, clipped[network].error) < 0.05


@pytest.mark.slow
def test_layers_do_not_lengthen_memory_by_much(ran: Ran) -> None:
    layers = ran.measured.layers
    assert layers is not None
    assert ran.measured.cpu_us is not None
    for network in NETWORKS:
        bridged = [layers[n][network] for n in LAYERS]
        assert max(bridged) <= 2 * bridged[0], network
        assert min(ran.measured.cpu_us[n][network] for n in LAYERS) > 0.0


@pytest.mark.slow
def test_what_is_printed_are_all_findings_the_table_and_where_the_picture_is(ran: Ran) -> None:
    flat = " ".join(ran.printed.split())
    for sentence in findings.sentences(ran.measured):
        assert sentence in flat
    assert max(len(line) for line in ran.printed.splitlines() if not line.startswith("picture")) <= 80
    assert "windows not finite, unclipped" in flat
    if importlib.util.find_spec("matplotlib") is not None:
        assert (ran.directory / "memory.png").read_bytes().startswith(b"\x89PNG")
        assert "memory.png" in ran.printed


# -- what the page says ------------------------------------------------------------------------------------------------


def page_says(beginning: str) -> str:
    """What the page says that a run found, in the row that begins so."""
    page = (Path(findings.__file__).parents[1] / "README.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {beginning}")]
    return row.split(" | ")[1]


@pytest.mark.slow
def test_the_page_s_shares_of_gradients_are_those_of_a_run(ran: Ran) -> None:
    measured = ran.measured
    assert measured.start is not None and measured.learned is not None
    said = {
        name: float(share)
        for share, name in re.findall(r"([0-9.e-]+) (?:of it )?(?:is left )?in the (\w+)", page_says("The gradient"))
    }
    assert said.keys() == {"RNN", "GRU", "LSTM"}
    for network in (RNN, GRU, LSTM):
        assert measured.start[network][SPAN] == pytest.approx(said[network.name], rel=0.5)
    after = page_says("The same after learning")
    gradient = measured.learned["many"].gradient
    (gru,) = re.findall(r"and more: ([0-9.]+)\.", after)
    (rnn,) = re.findall(r"of its gradient about (1e-\d+)", after)
    assert float(gru) / 3 < gradient[GRU][SPAN] < float(gru) * 3
    assert float(rnn) / 1e4 < gradient[RNN][SPAN] < float(rnn) * 1e4


@pytest.mark.slow
def test_the_page_s_lags_are_those_of_a_run_to_a_factor_of_two(ran: Ran) -> None:
    assert ran.measured.lags is not None
    said = page_says("The longest lag")
    rows = dict(re.findall(r"(RNN|GRU|LSTM) (\d+, \d+, \d+)", said))
    for network in (RNN, GRU, LSTM):
        for k2, lag in zip(WINDOWS, map(int, rows[network.name].split(", ")), strict=True):
            assert lag / 2 <= ran.measured.lags[k2][network] <= 2 * lag, (network, k2)
    (patient,) = map(int, re.findall(r"Long memory makes it (\d+) for both", said))
    for network in (PATIENT_GRU, PATIENT_LSTM):
        assert patient / 2 <= ran.measured.lags[128][network] <= 2 * patient


@pytest.mark.slow
def test_the_page_s_right_answers_are_those_of_a_run(ran: Ran) -> None:
    assert ran.measured.learned is not None
    one, many = ran.measured.learned["one"].right, ran.measured.learned["many"].right
    said = page_says("Right answers")
    ((least, most),) = re.findall(r"(\d+) to (\d+) %, and guessing", said)
    answers = [one[network][LONGEST] for network in NETWORKS]
    assert min(answers) == pytest.approx(int(least) / 100, abs=0.1)
    assert max(answers) == pytest.approx(int(most) / 100, abs=0.1)
    (every,) = re.findall(r"all five recall at least (\d+) % over 4,096 steps", said)
    assert FAR == 4_096
    assert min(right[FAR] for right in many.values()) >= int(every) / 100


@pytest.mark.slow
def test_the_page_s_explosion_is_that_of_a_run(ran: Ran) -> None:
    assert ran.measured.explosion is not None
    rnn = ran.measured.explosion[None][RNN]
    said = page_says("Windows whose loss")
    (share,) = re.findall(r"RNN: ([0-9.]+) % of them", said)
    assert rnn.unusable == pytest.approx(float(share) / 100, abs=0.005)
    assert "grows ten thousandfold in 64 steps" in said
    assert 3_000 < rnn.growth < 30_000


# -- being interrupted -------------------------------------------------------------------------------------------------


def test_an_interrupted_run_tells_what_it_knows_and_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    steps, _ = run.PARTS["longest lags by window"]
    monkeypatch.setitem(run.PARTS, "longest lags by window", (steps, interrupt))
    result, printed = demo(tmp_path / "made")
    assert result.interrupted
    assert "interrupted; what was measured by then:" in printed
    assert "128 steps back, at the start" in printed
    assert "Gradients vanish" in printed
    assert "k2" not in printed
    assert {path.name for path in (tmp_path / "made").iterdir()} == {MARKER}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_with_130_and_no_traceback(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "streamrnn", "demo", "memory", "--directory", str(tmp_path / "made")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "remember" in process.stdout.readline()
        process.send_signal(number)
        printed, complaints = process.communicate(timeout=60)
    # So early nothing may have been measured yet, of which there would be an account.
    assert process.returncode == 130
    assert complaints in ("", "interrupted\n")
    assert "Traceback" not in printed
    assert not (tmp_path / "made" / "memory.png").exists()


def test_a_directory_that_is_somebody_else_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="was not made by the demo"):
        demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
