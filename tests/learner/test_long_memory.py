"""What recurrent networks are for, learned online: events that matter many steps later.

Sequences go through the learner in blocks, in one pass. A task counts as solved the way its literature counts it, and
the number of sequences it took is printed (``pytest -rP``). Settings are the defaults, except where a test says why
not; windows cover whole sequences, so that truncation is not what is tested.

The embedded Reber grammar is judged with frozen weights: a second learner takes them over, and a target that is never
known is never learned from. A step is right when every symbol that may come next is more probable than every other;
at the last but one symbol only what stands at the string's beginning tells which.

Hochreiter & Schmidhuber 1997 (both tasks; 8,440 strings); Pascanu et al. 2013 (clipping).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pytest

from streamrnn import InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, TargetSpec
from tests.support.tasks import (
    REBER_SYMBOLS,
    Floats,
    adding_block,
    delay_block,
    distinct,
    embedded_reber,
    legal_mask,
    reber_block,
    temporal_order_block,
)

pytestmark = pytest.mark.slow

Cell = Literal["rnn", "lstm", "gru"]

LITERATURE = 8_440
"""Strings after which the LSTM of 1997 had solved the embedded Reber grammar."""
USUAL = 3_000
"""Strings that half of the seeds may take; they take 1,750 or fewer."""
CHECK_EVERY = 250
JUDGED = 256

ADDING_LENGTH = 100
ADDED = 0.01
"""Mean squared error, over the last 1,000 sequences, at which the adding problem counts as solved."""

SEEDS = range(3)

DELAY_SEQUENCES = 3_000


def sequence_spec(
    n_features: int, target: TargetSpec, model: ModelSpec, learning: LearningSpec, *, indicator: bool = False
) -> LearnerSpec:
    """One stream of marked sequences; the learner sees the task's own inputs only."""
    return LearnerSpec(
        n_features=n_features,
        indicator=(indicator,) * n_features,
        target=target,
        has_end=True,
        model=model,
        learning=learning,
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


# -- embedded Reber grammar --------------------------------------------------------------------------------------------


def reber_spec(hidden_size: int, lr: float) -> LearnerSpec:
    # 64 steps cover every string of these logs.
    target = TargetSpec(fields=("next",), classes=tuple(REBER_SYMBOLS))
    model = ModelSpec(cell="lstm", hidden_size=hidden_size, readout="softmax")
    return sequence_spec(len(REBER_SYMBOLS), target, model, LearningSpec(k1=64, k2=64, lr=lr), indicator=True)


def knows(learner: Learner, strings: list[str]) -> bool:
    """Whether the learner's weights, frozen, tell legal from illegal symbols at every step of every string."""
    frozen = Learner(learner.spec, seed=0)
    frozen.set_weights(learner.get_weights())
    block = reber_block(strings)
    values = frozen.process(replace(block, y=np.full_like(block.y, np.nan))).value
    assert frozen.counters()["updates"] == 0
    assert frozen.counters()["sequences_ended"] == len(strings)
    legal = legal_mask(strings)
    assert legal[np.arange(len(block)), block.y[:, 0].astype(int)].all()
    lowest_legal = np.where(legal, values, np.inf).min(axis=1)
    highest_illegal = np.where(legal, -np.inf, values).max(axis=1)
    return bool((lowest_legal > highest_illegal).all())


def strings_until_known(learner: Learner, draw: Callable[[], str], judged: list[str]) -> list[str] | None:
    """Learn drawn strings until those judged are known; returns all drawn, or None beyond the literature's number."""
    learned: list[str] = []
    while len(learned) < LITERATURE:
        more = [draw() for _ in range(min(CHECK_EVERY, LITERATURE - len(learned)))]
        learner.process(reber_block(more))
        learned += more
        if knows(learner, judged):
            return learned
    return None


def assert_within_the_literature(needed: list[int | None]) -> None:
    print("strings needed, by seed:", needed)
    solved = [n for n in needed if n is not None]
    assert len(solved) == len(needed), needed
    # With the gradient through the LSTM's own state missing, fresh strings are still learned, in about 5,500.
    assert np.median(solved) <= USUAL, needed


def one_of(rng: np.random.Generator, strings: list[str]) -> str:
    return strings[rng.integers(len(strings))]


def test_lstm_solves_the_embedded_reber_grammar_from_fresh_strings_with_ten_of_ten_seeds() -> None:
    needed: list[int | None] = []
    for seed in range(10):
        rng = np.random.default_rng([1, seed])
        judged = distinct(rng, JUDGED)
        learned = strings_until_known(Learner(reber_spec(32, 3e-3), seed), partial(embedded_reber, rng), judged)
        needed.append(None if learned is None else len(learned))
        # Short strings are frequent and so come up in both; what is judged must not be what was learned by heart.
        assert learned is None or len(set(judged) - set(learned)) >= JUDGED / 8
    assert_within_the_literature(needed)


def test_lstm_solves_the_embedded_reber_grammar_from_256_strings_and_knows_256_others_with_ten_of_ten_seeds() -> None:
    # The protocol behind the literature's number. Few strings are easily learned by heart instead; a wider layer
    # generalises sooner: of 30 seeds the slowest took 7,500 strings with 32 units, 4,000 with 64.
    needed: list[int | None] = []
    for seed in range(10):
        rng = np.random.default_rng([2, seed])
        taught = distinct(rng, JUDGED)
        others = distinct(rng, JUDGED, without=frozenset(taught))
        draw = partial(one_of, rng, taught)
        learned = strings_until_known(Learner(reber_spec(64, 5e-3), seed), draw, taught + others)
        needed.append(None if learned is None else len(learned))
    assert_within_the_literature(needed)


# -- adding problem ----------------------------------------------------------------------------------------------------


def adding_errors(cell: Cell, lr: float, seed: int, limit: int) -> list[float]:
    """Mean squared error over the newest 1,000 sequences, after every 500, until solved or at the limit."""
    # Scaling stays on: a mark that is set once in 50 steps is then seven deviations from its mean, and stands out.
    spec = sequence_spec(
        2,
        TargetSpec(fields=("sum",)),
        ModelSpec(cell=cell, hidden_size=32),
        LearningSpec(k1=ADDING_LENGTH, k2=ADDING_LENGTH, lr=lr),
    )
    learner, rng = Learner(spec, seed), np.random.default_rng([3, seed])
    squared = np.empty(0)
    errors: list[float] = []
    while len(squared) < limit and not (errors and errors[-1] < ADDED):
        block = adding_block(rng, 500, ADDING_LENGTH)
        values = learner.process(block).value
        squared = np.append(squared, (values - block.y)[block.end] ** 2)
        if len(squared) >= 1_000:
            errors.append(float(squared[-1_000:].mean()))
    print(f"{cell}, lr {lr}, seed {seed}: {len(squared)} sequences, MSE {errors[-1]:.4f}, lowest {min(errors):.4f}")
    return errors


# Of 10 other seeds the slowest took 9,000 and 4,500 sequences. A GRU whose gradient misses the direct way from state to
# state arrives as well, in about 20,000.
@pytest.mark.parametrize(("cell", "limit"), [("lstm", 15_000), ("gru", 10_000)])
def test_gated_cells_add_numbers_from_up_to_a_hundred_steps_ago(cell: Cell, limit: int) -> None:
    for seed in SEEDS:
        assert adding_errors(cell, 3e-3, seed, limit)[-1] < ADDED


@pytest.mark.parametrize(("lr", "floor"), [(3e-3, 0.1), (3e-4, 0.05)])
def test_elman_cell_of_the_same_size_and_settings_does_not(lr: float, floor: float) -> None:
    # With the gated cells' settings it never does better than the mean, which costs 1/6. With a tenth of their rate it
    # gets half way at best: the cell decides, not the rate.
    for seed in SEEDS[:2]:
        assert min(adding_errors("rnn", lr, seed, 20_000)) > floor


# -- initial memory ----------------------------------------------------------------------------------------------------


def orders_until_known(cell: Cell, memory: Literal["auto"] | None, seed: int, limit: int) -> int | None:
    """Sequences of 100 to 110 steps until at most 1 % of the newest 500 were answered wrong, or None at the limit."""
    spec = sequence_spec(
        8,
        TargetSpec(fields=("order",), classes=("XX", "XY", "YX", "YY")),
        ModelSpec(cell=cell, hidden_size=32, readout="softmax", memory=memory),
        LearningSpec(k1=110, k2=110),
        indicator=True,
    )
    learner, rng = Learner(spec, seed), np.random.default_rng([5, seed])
    wrong = np.empty(0)
    while len(wrong) < limit:
        block = temporal_order_block(rng, 250, 100)
        wrong = np.append(wrong, learner.process(block).error[block.end])
        if len(wrong) >= 500 and wrong[-500:].mean() <= 0.01:
            print(f"{cell}, memory {memory}, seed {seed}: {len(wrong)} sequences")
            return len(wrong)
    return None


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_with_initial_memory_gated_cells_tell_the_order_of_two_events_tens_of_steps_ago(cell: Cell) -> None:
    for seed in SEEDS:
        assert orders_until_known(cell, "auto", seed, 6_000) is not None
    # The start decides, not the seed: without it none of them is near.
    assert orders_until_known(cell, None, 0, 6_000) is None


# -- clipping ----------------------------------------------------------------------------------------------------------


def losses_with_recurrence(gain: float, clip_norm: float | None, seed: int) -> tuple[Floats, dict[str, int]]:
    """Losses of a tanh network whose recurrent matrix is ``gain`` times orthogonal at first, and the counters.

    One loss per scored step; 1 is what the mean as the only answer costs.
    """
    # Plain SGD: Adam divides by the size of the gradient, and so hides an explosion.
    spec = sequence_spec(
        1,
        TargetSpec(fields=("past",)),
        ModelSpec(cell="rnn", hidden_size=16),
        LearningSpec(k1=50, k2=50, optimizer="sgd", lr=0.2, clip_norm=clip_norm, polyak_bound=None),
    )
    learner = Learner(spec, seed)
    weights = learner.get_weights()
    recurrent = weights["rnn.weight_hh_l0"]
    assert np.allclose(recurrent @ recurrent.T, np.eye(16), atol=1e-5)
    learner.set_weights({**weights, "rnn.weight_hh_l0": gain * recurrent})
    block = delay_block(np.random.default_rng([4, seed]), DELAY_SEQUENCES, 50, lag=2)
    predictions = learner.process(block)
    return predictions.loss[np.isfinite(block.y[:, 0])], learner.counters()


def test_large_recurrent_weights_blow_up_without_clipping_and_learn_with_it() -> None:
    dropped = 0
    for seed in range(5):
        blown, counters = losses_with_recurrence(3.0, None, seed)
        end = len(blown) * 5 // 6  # the last 500 sequences
        assert blown.max() > 1e4
        assert blown[end:].mean() > 0.6
        assert counters["gradient_clips"] == 0
        unused = counters["windows_dropped_gradient"] + counters["windows_dropped_loss"]
        assert counters["updates"] + unused == DELAY_SEQUENCES
        dropped += unused

        clipped, counters = losses_with_recurrence(3.0, 1.0, seed)
        assert clipped[end:].mean() < 0.3
        assert counters["updates"] == DELAY_SEQUENCES
        assert counters["gradient_clips"] > 0

        # Nothing else in the task or its settings blows up.
        tame, _ = losses_with_recurrence(1.0, None, seed)
        assert tame[end:].mean() < 0.1
        print(
            f"seed {seed}: without clipping {blown[end:].mean():.3g} (largest {blown.max():.3g}, {unused} windows "
            f"dropped); with it {clipped[end:].mean():.3f}; from smaller weights without it {tame[end:].mean():.3f}"
        )
    # In some runs the first explosion saturates every unit: gradients vanish, nothing is dropped and nothing learned.
    assert dropped > 0
