"""The naive learner of symbols and texts, rates that fall and rows in use, against what was worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle.learner import NaiveLearner
from tests.oracle.network import (
    Optimizer,
    class_loss,
    learning_rate,
    network_backward,
    network_forward,
    random_weights,
    zero_state,
)
from tests.oracle.streams import LABEL, Record
from tests.oracle.symbols import NaiveVocabulary, Surprise, rank
from tests.support.slopes import slope

OPEN = Symbols(open=True, max=3)
NAN = float("nan")


def learner_of(**given: Any) -> NaiveLearner:
    """A small float64 GRU, without clipping or bounds; of the stream's next class unless the target is given."""
    spec = LearnerSpec(
        **{
            "n_features": 0,
            "target": TargetSpec(fields=("page",), known="forecast", classes=OPEN),
            "inputs": InputSpec(dt=False),
            "model": ModelSpec(cell="gru", hidden_size=3, dtype="float64", readout="softmax"),
            "learning": LearningSpec(k1=1, k2=4, optimizer="sgd", lr=0.5, clip_norm=None, polyak_bound=None),
            **given,
        }
    )
    weights = random_weights(np.random.default_rng(5), "gru", spec.n_inputs, 3, 1, spec.n_outputs)
    return NaiveLearner(spec, weights)


def pages(learner: NaiveLearner, names: str, key: bytes = b"a", **given: Any) -> np.ndarray:
    """Predictions for these pages of a stream, a letter each, ``-`` being none."""
    names_or_none = (None if name == "-" else name for name in names)
    return learner.run(Record(key, 0, [], [NAN], label=name, **given) for name in names_or_none)[0]


# ---- numbers


def test_an_open_set_numbers_symbols_in_the_order_they_come_and_counts_what_comes_too_late() -> None:
    vocabulary = NaiveVocabulary(OPEN)
    assert [vocabulary.take(s) for s in ("x", "y", "x", "z", "w", "w", "y")] == [1, 2, 1, 3, 0, 0, 2]
    assert (vocabulary.overflowed, vocabulary.in_use, vocabulary.ask("w"), vocabulary.ask("z")) == (2, 4, 0, 3)


def test_the_end_of_a_text_stands_first_in_an_open_set_and_last_in_any_other() -> None:
    assert (NaiveVocabulary(OPEN, True).end, NaiveVocabulary(OPEN, True).take("x")) == (1, 2)
    assert (NaiveVocabulary(Symbols(bytes=True), True).end, NaiveVocabulary(Symbols(bytes=True)).take("7")) == (256, 7)
    assert NaiveVocabulary(Symbols(values=("p", "q"))).take("r") == -1


# ---- inputs


def test_symbols_are_columns_behind_the_numbers_in_the_order_of_their_sets() -> None:
    learner = learner_of(
        n_features=1, symbols=(OPEN, Symbols(values=("p", "q"))), indicator=(True,),
        target=TargetSpec(fields=("y",), classes=("u", "v")),
    )  # fmt: skip
    log = [("x", "q", 1.0), ("y", None, NAN), ("x", "r", 0.0)]
    learner.run(Record(b"a", 0, [0.5], [y], symbols=[first, second]) for first, second, y in log)
    x, other = [0.5], [0.0]
    np.testing.assert_array_equal(
        learner.streams[b"a"].sequence.inputs,
        [
            [*x, *other, 1, 0, 0, 0, 1, 0, 0, 0],  # x; q; no class yet
            [*x, *other, 0, 1, 0, 0, 0, 0, 1, 1],  # y; missing; class v, known
            [*x, *other, 1, 0, 0, 0, 0, 0, 1, 1],  # x; one that is not declared; still v
        ],
    )
    assert learner.counts["imputed_inputs"] == 2


def test_a_network_without_any_input_has_a_column_of_zeros() -> None:
    learner = learner_of(inputs=InputSpec(dt=False, previous_target=False))
    pages(learner, "xy")
    np.testing.assert_array_equal(learner.streams[b"a"].sequence.inputs, [[0.0], [0.0]])


# ---- open sets of classes


def test_only_classes_that_came_have_a_probability() -> None:
    predictions = pages(learner_of(), "xxyzw")
    in_use = predictions > 0
    assert in_use.tolist() == [[k < n for k in range(4)] for n in (2, 2, 3, 4, 4)]
    np.testing.assert_allclose(predictions.sum(axis=1), 1, rtol=1e-12)


def test_a_replay_is_judged_by_the_classes_in_use() -> None:
    learner = learner_of()
    pages(learner, "xx")
    np.testing.assert_allclose(learner.losses, [learner.scores[1][0]], rtol=1e-12)


def test_a_class_is_scored_and_learned_as_one_of_the_others_when_it_comes_first_and_then_as_itself() -> None:
    learner = learner_of()
    predictions = pages(learner, "xyyw")
    expected = [NAN, *(-np.log(p) for p in (predictions[0, 0], predictions[1, 2], predictions[2, 0]))]
    np.testing.assert_allclose([loss for loss, _ in learner.scores], expected, rtol=1e-12)
    sequence = learner.streams[b"a"].sequence
    assert [target[0] for target in sequence.targets[:3]] == [0, 2, 0]
    assert sequence.values == [[1.0, 2.0, 2.0, 3.0]]


def test_a_class_that_another_stream_brought_since_is_scored_as_what_could_be_said_and_learned_as_itself() -> None:
    learner = learner_of()
    predictions = pages(learner, "x")
    pages(learner, "y", b"b")
    pages(learner, "y")
    np.testing.assert_allclose(learner.scores[-1][0], -np.log(predictions[0, 0]), rtol=1e-12)
    assert learner.streams[b"a"].sequence.targets[0].tolist() == [2]


def test_a_class_comes_into_use_as_the_least_likely_and_untouched_until_then() -> None:
    learning = LearningSpec(k1=1, k2=4, optimizer="adamw", weight_decay=0.1)  # a decay takes no gradient
    learner = learner_of(learning=learning)
    before = {name: w.copy() for name, w in learner.weights.items()}
    pages(learner, "xxxx")
    for name in ("head.weight", "head.bias"):
        np.testing.assert_array_equal(learner.weights[name][2:], before[name][2:])
        assert (learner.weights[name][:2] != before[name][:2]).all()
    lowest = learner.weights["head.bias"][:2].min()
    pages(learner, "y", b"b")
    assert learner.weights["head.bias"][2] == lowest


def test_a_label_without_its_event_brings_its_class_into_use_and_nothing_else() -> None:
    target = TargetSpec(fields=("y",), classes=OPEN, known="label", event_field="id", label_field="of")
    learner = learner_of(target=target)
    pages(learner, "x", b"nobody", kind=LABEL, event=7)
    learner.run([Record(b"a", 0, [], [NAN], event=7)])
    pages(learner, "y", kind=LABEL, event=9)
    assert (learner.in_use, learner.streams[b"a"].sequence.values, learner.surprises) == (3, [[]], [])
    assert np.ptp(learner.weights["head.bias"][:3]) == 0
    pages(learner, "y", kind=LABEL, event=7)
    assert (learner.in_use, learner.streams[b"a"].sequence.values) == (3, [[2.0]])


def test_rivals_are_held_against_the_same_class_and_remember_the_class_itself() -> None:
    learner = learner_of()
    pages(learner, "xxyyx")
    # last says x, x, y, y; typical says "other" (x came first as that), then whichever is most frequent.
    assert [last for last, _ in learner.rival_scores[1:]] == [0, 1, 0, 1]
    assert learner.rivals.known[0] == [0, 1, 0, 2, 1]


# ---- the stream's next class


def test_a_forecast_is_made_from_the_newest_class_and_learned_when_the_next_one_comes() -> None:
    learner = learner_of()
    pages(learner, "xy-y")
    sequence = learner.streams[b"a"].sequence
    np.testing.assert_array_equal(sequence.inputs, [[0, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 1, 0, 1], [0, 0, 1, 0, 1]])
    assert [bool(known[0]) for known in sequence.known] == [True, False, True, False]
    assert [bool(np.isfinite(loss)) for loss, _ in learner.scores] == [False, True, False, True]
    assert learner.windows == 2


# ---- texts


def text_learner(text: TextSpec, classes: Symbols = OPEN, **given: Any) -> NaiveLearner:
    return learner_of(target=TargetSpec(fields=("text",), classes=classes), text=text, **given)


def texts(learner: NaiveLearner, *given: Any) -> np.ndarray:
    return learner.run(Record(b"a", 0, [], [NAN], text=units) for units in given)[0]


@pytest.mark.parametrize(("mark_end", "carry"), list(itertools.product([True, False], repeat=2)))
def test_a_text_is_as_many_steps_as_it_has_units(mark_end: bool, carry: bool) -> None:
    learner = text_learner(TextSpec(unit="character", mark_end=mark_end, carry=carry))
    texts(learner, "xy", "", "x")
    sequence, end = learner.streams[b"a"].sequence, [1.0] if mark_end else []
    first = 1.0 + mark_end
    assert learner.counts["records_predicted"] == 3 + 3 * mark_end
    assert learner.text_numbers == ([[2, 3, 1], [1], [2, 1]] if mark_end else [[1, 2], [], [1]])
    assert [len(losses) for losses in learner.text_losses] == [len(numbers) for numbers in learner.text_numbers]
    assert sequence.values == ([[first, first + 1, *end, *end, first, *end]] if carry else [[]])
    assert learner.counts["sequences_ended"] == (0 if carry else 2 + mark_end)


@pytest.mark.parametrize("carry", [True, False])
def test_what_is_said_of_a_text_is_the_symbol_behind_it(carry: bool) -> None:
    learner, twin = (text_learner(TextSpec(carry=carry), Symbols(bytes=True)) for _ in range(2))
    said = texts(learner, b"no", b"yes")
    texts(twin, b"no")
    np.testing.assert_array_equal(said[0], twin.foretell(Record(b"a", 0, [], [NAN]), twin.streams[b"a"], 0)[0])
    np.testing.assert_array_equal(learner.question(Record(b"a", 0, [], [NAN]), learner.streams[b"a"], 0), said[1])


def test_a_text_is_the_same_steps_as_its_units_one_by_one() -> None:
    learner = text_learner(TextSpec(unit="character", mark_end=False))
    twin = learner_of(target=TargetSpec(fields=("text",), classes=OPEN))
    texts(learner, "xyx", "yxw")
    pages(twin, "xyxyxw")
    assert learner.updates == twin.updates == 6
    for name, w in learner.weights.items():
        np.testing.assert_array_equal(w, twin.weights[name])


# ---- surprise


def test_a_rank_is_the_share_of_the_newest_below_and_beyond_all_of_them_grows_to_one() -> None:
    assert np.isnan(rank([], 1.0))
    assert rank([1.0, 2.0, 3.0], 2.0) == 1 / 4
    assert rank([1.0, 2.0, 3.0], 4.0) == (3 + 1 / 4) / 4
    assert rank([0.0], 0.0) == 0.0
    assert rank([0.0, 0.0, 0.0], 1.0) == 3 / 4
    assert Surprise(1.0, [2.0], [0.5]).ranks() == (0.0, 0.75)


def test_a_record_is_ranked_among_the_newest_of_its_stream_and_of_the_partition() -> None:
    learner = learner_of()
    pages(learner, "xyxzx")
    pages(learner, "xy", b"b")
    losses = [loss for loss, _ in learner.scores]
    assert learner.ranked[0] is None
    assert learner.ranked[5] is None
    last = learner.ranked[6]
    assert last is not None
    assert (last.loss, last.own, last.others) == (losses[6], [], losses[1:5])
    third = learner.ranked[3]
    assert third is not None
    assert third.own == third.others == losses[1:3]


def test_a_text_is_ranked_by_the_mean_of_its_units() -> None:
    learner = text_learner(TextSpec(unit="character"))
    texts(learner, "xy", "", "yyy")
    means = [np.mean(losses) for losses in learner.text_losses]
    last = learner.ranked[2]
    assert last is not None
    assert (last.loss, last.own) == (means[2], means[:2])


# ---- learning


def test_gradients_of_classes_in_use_match_central_differences_and_the_others_have_none() -> None:
    rng = np.random.default_rng(7)
    weights, state = random_weights(rng, "lstm", 5, 3, 2, 6), zero_state("lstm", 3, 2)
    x = np.eye(5)[rng.integers(0, 4, 6)]  # the last column is never looked up
    classes, known = rng.integers(0, 4, 6), np.array([True, True, False, True, True, True])

    def value_and_gradient() -> tuple[float, np.ndarray, list[Any]]:
        outputs, _, tape = network_forward("lstm", weights, x, state)
        return *class_loss("softmax", outputs, classes, known, 4), tape

    _, d_outputs, tape = value_and_gradient()
    grads, _ = network_backward("lstm", weights, tape, d_outputs)
    loss: Callable[[], float] = lambda: value_and_gradient()[0]  # noqa: E731
    for name, w in weights.items():
        np.testing.assert_allclose(grads[name], slope(loss, w), rtol=1e-6, atol=1e-9, err_msg=name)
    assert not grads["head.weight"][4:].any()
    assert not grads["rnn.weight_ih_l0"][:, 4].any()


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adam", "adamw"])
def test_a_row_in_use_now_and_then_learns_as_if_the_steps_without_it_had_not_been_but_for_their_number(
    name: Literal["sgd", "momentum", "rmsprop", "adam", "adamw"],
) -> None:
    rng, settings = np.random.default_rng(1), {"lr": 0.1, "weight_decay": 0.3}
    together, weights = Optimizer(name, **settings), {"w": rng.standard_normal((4, 3))}
    alone = [(Optimizer(name, **settings), {"w": row.copy()}) for row in weights["w"]]
    for number in range(1, 12):
        rows = rng.random(4) < 0.5
        gradient = rng.standard_normal((4, 3)) * rows[:, None]
        together.step(weights, {"w": gradient}, in_use={"w": np.broadcast_to(rows[:, None], (4, 3))})
        for row in np.flatnonzero(rows):
            optimizer, own = alone[row]
            optimizer.steps = number - 1
            optimizer.step(own, {"w": gradient[row]})
        np.testing.assert_allclose(weights["w"], [own["w"] for _, own in alone], rtol=1e-12)


def test_a_shortened_step_shortens_the_momentum_of_rows_in_use_alone() -> None:
    optimizer, weights = Optimizer("momentum", 0.1), {"w": np.zeros((2, 1))}
    first = np.array([[True], [False]])
    optimizer.step(weights, {"w": np.ones((2, 1))})
    assert optimizer.step(weights, {"w": np.array([[3.0], [0.0]])}, limit=0.1, in_use={"w": first})
    np.testing.assert_allclose(optimizer.first["w"], [[0.1 / (0.1 * 3)], [1.0]])  # 3.9 * share, promised 0.3 * 3.9
    np.testing.assert_allclose(weights["w"][1], [-0.1])


def test_a_rate_falls_by_the_number_of_steps_before() -> None:
    def rates(schedule: str, least: float = 0.0) -> list[float]:
        return [learning_rate(schedule, 0.2, 10, least, t) for t in (0, 10, 30)]

    np.testing.assert_allclose(rates("constant"), [0.2, 0.2, 0.2])
    np.testing.assert_allclose(rates("inverse_sqrt"), [0.2, 0.2 / 2**0.5, 0.1])
    np.testing.assert_allclose(rates("exponential"), [0.2, 0.2 / np.e, 0.2 / np.e**3])
    np.testing.assert_allclose(rates("exponential", 0.25), [0.2, 0.2 / np.e, 0.05])


def test_the_first_step_is_taken_at_the_whole_rate_and_decay_falls_with_it() -> None:
    optimizer, weights = (
        Optimizer("adamw", 0.5, weight_decay=0.5, schedule="inverse_sqrt", schedule_updates=1),
        {"w": np.ones(1)},
    )
    for expected in (0.75, 0.75 * (1 - 0.25 / 2**0.5)):
        optimizer.step(weights, {"w": np.zeros(1)})
        np.testing.assert_allclose(weights["w"], expected)


def test_rows_looked_up_by_any_window_of_a_batch_are_in_use() -> None:
    learning = LearningSpec(k1=1, k2=1, batch_size=2, optimizer="adamw", lr=0.1, weight_decay=0.5)
    learner = learner_of(symbols=(Symbols(values=("p", "q", "r")),), learning=learning,
                         target=TargetSpec(fields=("y",), classes=("u", "v")),
                         inputs=InputSpec(dt=False, previous_target=False))  # fmt: skip
    before = learner.weights["rnn.weight_ih_l0"].copy()
    learner.run(Record(b"a", 0, [], [1.0], symbols=[name]) for name in "pr")
    changed = (learner.weights["rnn.weight_ih_l0"] != before).all(axis=0)
    assert changed.tolist() == [True, False, True]
