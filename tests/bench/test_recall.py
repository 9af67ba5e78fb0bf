"""Short cases of what the benches of recall and regimes measure at length."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.bench import recall, regimes
from tests.support.tasks import narma_block, recall_block

EXACT = ("lru", "glru", "elstm")


@pytest.mark.parametrize("cell", EXACT)
def test_a_sign_is_recalled_after_64_events_by_every_exact_cell(cell: str) -> None:
    task = recall.recall(64, events=60_000)
    error, _ = recall.run(task, cell, 0, task.draw(0))
    assert error < task.aim


def test_a_window_that_does_not_reach_back_recalls_nothing() -> None:
    task = recall.recall(64, events=60_000)
    error, _ = recall.run(task, "lstm 32", 0, task.draw(0))
    assert error > 0.9


def test_the_adding_problem_is_solved_over_100_steps_from_targets_at_the_end_alone() -> None:
    task = recall.TASKS["adding-100"]
    log = task.draw(0)
    log = recall.Log(log.block.rows(slice(0, 250_000)))
    needed, _ = recall.run(task, "elstm", 0, log)
    assert needed <= 2_500


def test_the_bench_of_recall_prints_a_figure_for_every_cell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"recall-16": recall.recall(16, events=4_000)}
    monkeypatch.setattr(recall, "TASKS", {**recall.TASKS, **tasks})
    recall.main(["--only", "recall-16", "--seeds", "2"])
    printed = capsys.readouterr().out
    for cell in recall.CELLS:
        assert re.search(rf"^recall-16 0\.1 {cell} \d*\.\d+  [0-2]/2 \d+\.\d\d [\d,]+ ", printed, re.MULTILINE), cell


def test_what_is_asked_was_shown_so_many_events_before_and_nothing_else_is_asked() -> None:
    block = recall_block(np.random.default_rng(0), 5_000, 40)
    y, asked = block.y[:, 0], np.flatnonzero(np.isfinite(block.y[:, 0]))
    np.testing.assert_array_equal(asked, np.flatnonzero(block.x[:, 2]))
    np.testing.assert_array_equal(y[asked], block.x[asked - 40, 0])
    gaps = np.diff(asked)
    assert 41 <= gaps.min() < gaps.max() <= 51
    assert abs(y[asked].mean()) < 0.3


def test_narma_is_its_recurrence() -> None:
    block = narma_block(np.random.default_rng(0), 400)
    u, y = block.x[:, 0], np.concatenate([[0.0], block.y[:, 0]])
    for t in range(9, 400):
        rest = 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
        assert y[t + 1] == pytest.approx(min(1.0, 0.3 * y[t] + rest), rel=1e-12)
    assert 0.1 < y[20:].std() < 0.2


def test_answers_are_counted_until_the_newest_are_right() -> None:
    block = recall_block(np.random.default_rng(0), 60_000, 16)
    said = block.y.copy()
    wrong = np.flatnonzero(np.isfinite(said[:, 0]))[:301]
    said[wrong] += 1.0
    # 750 answers: the newest 500 hold 51 wrong ones of error 1; 1,000: none.
    assert recall.until_solved(recall.Log(block), said) == 1_000
    assert recall.until_solved(recall.Log(block), block.y + 1.0) == np.inf


# -- lasting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lru", "glru", "elstm", "elstm, hidden 32", "bank"])
def test_what_was_restored_midway_goes_on_with_the_same_bits(cell: str) -> None:
    assert regimes.differences(cell, 0, 40_000) == []


def test_a_run_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    resume = regimes.Learner.resume

    def resume_otherwise(learner: regimes.Learner, state: object) -> None:
        resume(learner, state)  # type: ignore[arg-type]
        learner._model.theta[-1] += np.float32(1e-6)

    monkeypatch.setattr(regimes.Learner, "resume", resume_otherwise)
    assert any(line.startswith("theta: other bits") for line in regimes.differences("elstm", 0, 40_000))


@pytest.mark.parametrize("cell", EXACT)
def test_regimes_that_come_back_are_learned_no_worse(cell: str) -> None:
    first, second, last = regimes.compared(regimes.errors(cell, 0, regimes.regimes(0, 200_000)))
    assert last < 1.05 * min(first, second)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_weights_of_windows_do_not_grow_for_as_long_as_a_stream_goes_on(cell: str) -> None:
    first, _, last = regimes.compared(regimes.errors(cell, 0, regimes.regimes(0, 400_000)))
    assert last < 1.05 * first
