"""The oracle of sequences is itself tested: PyTorch's numbers, every alignment, every symbol sequence, differences."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.oracle.sequences import NaiveSequenceLearner, shape_of
from tests.oracle.sequences_network import Decoder, Shape, as_nodes, encode, one_hot, step_outputs
from tests.oracle.sequences_symbols import (
    all_labellings,
    beam,
    best_path,
    ctc_loss,
    edits,
    greedy,
    least_steps,
    merged,
    prefix_beam,
    values_along_best_alignment,
)
from tests.oracle.sequences_tape import Node, gradients, log_softmax
from tests.support.golden import DATA, load, tensors
from tests.support.sequence_logs import KINDS, chooser, log_of, spec_of

BOTH_WAYS = sorted(path.stem for path in Path(DATA).glob("cells_*_bi.npz"))


def close(actual: object, expected: object, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- networks


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_encoder_matches_pytorch_both_ways(name: str) -> None:
    case = load(name)
    _, cell, layers, _ = name.split("_")
    weights, expected = tensors(case, "w"), tensors(case, "g")
    shape = Shape(cell, "labels", 3, weights["rnn.weight_hh_l0"].shape[1], int(layers[1:]), 2, both=True)
    assert {name: w.shape for name, w in weights.items()} == shape.tensors()
    w = as_nodes(weights)
    encoding = encode(shape, w, case["x"])
    outputs = step_outputs(w, encoding)
    predictions = np.array([out.value for out in outputs])
    close(predictions, case["pred"], 1e-12)
    d_outputs = 2 * (predictions - case["y"]) / predictions.size
    for name, g in zip(w, gradients(list(zip(outputs, d_outputs, strict=True)), list(w.values())), strict=True):
        close(g, expected[name], 1e-10)
    final = np.array([state[0].value for layer in encoding.final for state in layer])
    close(final, case["last_h"].reshape(final.shape), 1e-12)


def test_a_backward_pass_that_sees_the_whole_sequence_ahead_is_the_one_without_a_bound() -> None:
    rng = np.random.default_rng(0)
    bounded = Shape("gru", "labels", 2, 3, 1, 2, both=True, lookahead=6)
    w, x = as_nodes(bounded.random_weights(rng)), rng.normal(size=(7, 2))
    whole = encode(replace(bounded, lookahead=None), w, x)
    first, last = encode(bounded, w, x).steps[0].value, encode(bounded, w, x).steps[6].value
    np.testing.assert_array_equal(first, whole.steps[0].value)
    np.testing.assert_array_equal(last, whole.steps[6].value)
    x[6] += 1.0
    blind = replace(bounded, lookahead=2)
    before, after = (encode(blind, w, xs).steps[3].value for xs in (x, np.concatenate([x[:6], x[6:] * 2])))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_kind_match_central_differences(kind: str) -> None:
    checked = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        spec = spec_of(chooser(rng), kind=kind)
        learner = NaiveSequenceLearner(spec, shape_of(spec).random_weights(rng))
        xs = rng.normal(size=(4, spec.n_inputs))
        targets, known = an_answer(learner, rng)

        def loss(weights: dict[str, np.ndarray]) -> float:
            w = as_nodes(weights)
            encoding = encode(learner.shape, w, xs, learner.new_sequence().first)  # noqa: B023
            return learner.loss_of(w, encoding, targets, known)[0]  # noqa: B023

        w = as_nodes(learner.weights)
        _, seeds = learner.loss_of(w, encode(learner.shape, w, xs, learner.new_sequence().first), targets, known)
        for name, g in zip(w, gradients(seeds, list(w.values())), strict=True):
            for place in rng.choice(g.size, min(2, g.size), replace=False):
                nudge = np.zeros(g.size)
                nudge[place] = 1e-6
                up, down = (
                    loss(learner.weights | {name: learner.weights[name] + sign * nudge.reshape(g.shape)})
                    for sign in (1, -1)
                )
                close(g.flat[place], (up - down) / 2e-6, 1e-7)
                checked += 1
    assert checked > 150


def an_answer(learner: NaiveSequenceLearner, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets of a sequence of four steps, and which of them are known."""
    spec = learner.spec
    if learner.is_transcribed:
        answer = rng.integers(0, learner.in_use - (learner.kind == "sequence"), 2).astype(float)
        return answer, np.ones(2, bool)
    n = {"label": spec.n_targets, "labels": 4, "sequence": spec.target.horizon}[learner.kind or ""]
    known = np.ones(n, bool)
    known[1:] = rng.random(n - 1) < 0.7
    if learner.classify:
        return rng.integers(0, learner.in_use, n).astype(float), known
    return np.where(known, rng.normal(size=n), np.nan), known


# ---- transcripts


def some_logs(rng: np.random.Generator) -> np.ndarray:
    rows = rng.normal(size=(rng.integers(1, 6), rng.integers(2, 4))) * 2
    return np.array([log_softmax(Node(row)).value for row in rows])


def test_ctc_is_minus_log_of_the_sum_over_all_alignments() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        logs = some_logs(rng)
        for symbols, probability in all_labellings(logs).items():
            assert least_steps(symbols) <= len(logs)
            close(ctc_loss([Node(row) for row in logs], symbols).value, -math.log(probability), 1e-12)


def test_a_wide_prefix_beam_says_the_most_probable_labelling_and_greedy_the_most_probable_path() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        logs = some_logs(rng)
        probabilities = all_labellings(logs)
        close(probabilities[prefix_beam(logs, 1000, 99)], max(probabilities.values()), 1e-12)
        paths = itertools.product(range(logs.shape[1]), repeat=len(logs))
        path = max(paths, key=lambda path: sum(logs[t, output] for t, output in enumerate(path)))
        said = best_path(logs)
        assert said.symbols == merged(path)
        close(said.values, values_along_best_alignment(logs, said.symbols), 1e-15)


@pytest.mark.parametrize(
    ("said", "truth", "expected"), [((), (1, 2), 2), ((1, 2, 3), (1, 3), 1), ((3, 1, 2), (1, 2, 4), 2), ((5,), (5,), 0)]
)
def test_edits_are_counted(said: tuple[int, ...], truth: tuple[int, ...], expected: int) -> None:
    assert edits(said, truth) == expected


# ---- decoders


def test_a_wide_beam_says_the_best_of_all_sequences_by_the_mean_logarithm_and_a_beam_of_one_is_greedy() -> None:
    rng, most, end, size = np.random.default_rng(2), 3, 2, 3
    for _ in range(20):
        shape = Shape("lstm", "sequence", 2, 2, 1, size, both=True, n_before=size)
        w = as_nodes(shape.random_weights(rng, 2.0))
        decoder = Decoder(shape, w, encode(shape, w, rng.normal(size=(4, 2))))
        start = decoder.state

        def following(state: object, newest: int) -> tuple[np.ndarray, object]:
            decoder.state = state  # type: ignore[assignment]  # noqa: B023
            return log_softmax(decoder.step(one_hot(newest, size))).value, decoder.state  # noqa: B023

        def score(symbols: tuple[int, ...]) -> float:
            state, total, before = start, 0.0, end  # noqa: B023
            following_all = (*symbols, end) if len(symbols) < most else symbols
            for symbol in following_all:
                logs, state = following(state, before)  # type: ignore[assignment]
                total, before = total + logs[symbol], symbol
            return total / len(following_all)

        everything = [s for n in range(most + 1) for s in itertools.product((0, 1), repeat=n)]
        assert beam(following, start, end, most, 1000).symbols == max(everything, key=score)
        one, plain = beam(following, start, end, most, 1), greedy(following, start, end, most)
        assert one.symbols == plain.symbols
        close(one.values, plain.values, 1e-15)


# ---- the learner


def test_questions_change_nothing_and_are_answered_like_the_records_that_come() -> None:
    asked = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        spec = spec_of(chooser(rng))
        block = log_of(spec, 12, chooser(rng), rng)
        weights = shape_of(spec).random_weights(rng)
        learner, curious = NaiveSequenceLearner(spec, weights), NaiveSequenceLearner(spec, weights)
        for n in range(len(block)):
            record = block.rows(slice(n, n + 1))
            question = curious.predict_all(record)[0]
            value, _ = curious.process(record)
            np.testing.assert_array_equal(value, learner.process(record)[0])
            if spec.streams.ttl_s is None and not spec.symbols and len(curious.said[-1].symbols):
                assert question[1].symbols == curious.said[-1].symbols
                asked += 1
        assert curious.said == learner.said
    assert asked > 10
