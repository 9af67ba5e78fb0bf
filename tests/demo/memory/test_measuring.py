"""Claims about how the demo measures: what it says of a network is true of that network, and repeats to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.demo.memory import explosion, gradients, lags, lengths
from streamrnn.demo.memory.networks import NETWORKS, generator, recalling, repeating, with_gain
from streamrnn.demo.memory.tasks import CHANCE, recall
from streamrnn.learner.learner import Learner

RNN, GRU, LSTM, PATIENT_GRU, PATIENT_LSTM = NETWORKS


def test_the_share_of_the_gradient_is_that_of_the_product_of_the_cell_s_jacobians() -> None:
    # The RNN's by hand, in NumPy and float64: h <- tanh(W x + b + U h), dh <- U^T (1 - h^2) dh.
    seed = 3
    learner = Learner(recalling(RNN, gradients.SPAN), seed)
    weights = {name: array.astype(np.float64) for name, array in learner.get_weights().items()}
    block = recall(generator(seed), np.array([gradients.SPAN]))
    h, states = np.zeros(32), []
    for x in block.x:
        pre = weights["rnn.weight_ih_l0"] @ x + weights["rnn.weight_hh_l0"] @ h
        h = np.tanh(pre + weights["rnn.bias_ih_l0"] + weights["rnn.bias_hh_l0"])
        states.append(h)
    scores = weights["head.weight"] @ h + weights["head.bias"]
    said = np.exp(scores) / np.exp(scores).sum()
    dh = weights["head.weight"].T @ (said - np.eye(4)[int(block.y[-1, 0])])
    expected = {0: np.linalg.norm(dh)}
    for back in range(1, gradients.SPAN + 1):
        dh = weights["rnn.weight_hh_l0"].T @ ((1 - states[-back] ** 2) * dh)
        expected[back] = np.linalg.norm(dh)
    left = gradients.left(RNN, seed, None)
    assert left.keys() == {0, 1, 2, 4, 8, 16, 32, 64, 128}
    for back, share in left.items():
        # float32 errs by about a millionth at each of the steps
        assert share == pytest.approx(expected[back] / expected[0], rel=1e-3), back


def test_a_gradient_that_is_nothing_in_float32_has_a_mean_all_the_same() -> None:
    assert gradients.mean([{128: 0.0}, {128: 1.0}])[128] == pytest.approx(1e-19)


def test_measuring_again_gives_the_same_numbers() -> None:
    assert lags.sequences_needed(LSTM, 8, 4, seed=1) == lags.sequences_needed(LSTM, 8, 4, seed=1)
    assert gradients.left(GRU, 2, None) == gradients.left(GRU, 2, None)


def test_a_lag_is_bridged_once_95_of_100_answers_given_before_they_were_learned_are_right() -> None:
    needed = lags.sequences_needed(GRU, 8, 4, seed=0)
    assert needed is not None
    learner, rng, right = Learner(recalling(GRU, 8), 0), generator(0), np.empty(0, np.bool_)
    for _ in range(needed // 100):
        block = recall(rng, np.full(100, 4))
        value = learner.process(block).value
        right = np.append(right, value[block.end].argmax(axis=1) == block.y[block.end, 0])
    assert right[-200:].mean() >= 0.95
    assert right[-300:-100].mean() < 0.95


def test_a_lag_that_is_not_bridged_in_time_is_not_bridged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lags.longest(GRU, 8) >= 4
    monkeypatch.setattr(lags, "SEQUENCES", lags.JUDGED)  # of those above a few hundred more were needed
    assert lags.sequences_needed(GRU, 8, 4, seed=0) is None
    assert lags.longest(GRU, 8) < 4


@pytest.mark.parametrize(
    ("needed", "is_bridged", "tried"),
    [
        ([700, None, None, 800, 900], True, 5),
        ([700, None, 800, None, None], False, 5),
        ([700, 800, 900, None, None], True, 3),
        ([None, None, None, 800, 900], False, 3),
    ],
)
def test_a_lag_is_bridged_when_most_of_five_seeds_bridge_it_and_no_more_are_tried_than_that_takes(
    monkeypatch: pytest.MonkeyPatch, needed: list[int | None], is_bridged: bool, tried: int
) -> None:
    seeds: list[int] = []

    def sequences_needed(_network: object, _k2: int, lag: int, seed: int, _layers: int) -> int | None:
        if lag < 16:
            return 100
        seeds.append(seed)
        return needed[seed] if lag == 16 else None

    monkeypatch.setattr(lags, "sequences_needed", sequences_needed)
    assert lags.longest(LSTM, 8) == (16 if is_bridged else 8)
    assert seeds[:tried] == list(range(tried))
    assert len(seeds) == tried + (3 if is_bridged else 0)


def test_a_network_that_has_learned_nothing_is_right_as_often_as_one_that_guesses() -> None:
    weights = Learner(recalling(LSTM, lengths.WINDOW), 0).get_weights()
    right = [lengths.share_right(LSTM, weights, lag) for lag in lengths.JUDGED_LAGS]
    assert abs(np.mean(right) - CHANCE) < 0.05


def test_the_gain_multiplies_the_recurrent_weights_and_nothing_else() -> None:
    spec = repeating(RNN, explosion.STEPS, {})
    before, after = Learner(spec, 0).get_weights(), with_gain(Learner(spec, 0), 2.0).get_weights()
    for name, array in before.items():
        assert np.array_equal(after[name], 2.0 * array if name == "rnn.weight_hh_l0" else array), name
    recurrent = before["rnn.weight_hh_l0"]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(len(recurrent)), atol=1e-5)


def test_nothing_but_the_gain_makes_windows_unusable() -> None:
    tame = explosion.course(RNN, None, gain=1.0)
    assert tame.unusable == 0.0
    assert tame.growth < 1.0
    assert tame.error < 0.05


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_after_many_lengths_the_rnn_holds_the_cue_in_saturated_units_and_the_gru_in_units_that_stay_as_they_are() -> (
    None
):
    # By hand, as above: what a step computes from x and h, before any nonlinearity.
    def parts(w: dict[str, np.ndarray], x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = w["rnn.weight_ih_l0"] @ x + w["rnn.bias_ih_l0"]
        return inputs, w["rnn.weight_hh_l0"] @ h + w["rnn.bias_hh_l0"]

    block = recall(generator(9), np.array([128]))
    w, h, sizes = lengths.weights_after(RNN, "many", 0), np.zeros(32), []
    for x in block.x:
        h = np.tanh(sum(parts(w, x, h)))
        sizes.append(np.abs(h))
    assert np.median(sizes[10:-1]) > 0.99

    w, h, kept = lengths.weights_after(GRU, "many", 0), np.zeros(32), []
    for x in block.x:
        inputs, recurrent = parts(w, x, h)
        r, z = sigmoid(inputs[:64] + recurrent[:64]).reshape(2, 32)
        h = (1 - z) * np.tanh(inputs[64:] + r * recurrent[64:]) + z * h
        kept.append(z)
    assert np.mean(kept[10:-1], axis=0).max() > 0.99
