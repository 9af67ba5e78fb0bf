"""A step of plain gradient descent goes where central differences of the published loss say, whatever is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.learner.block import Block
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import LearnerSpec
from tests.support.whole_sequences import learner_with, records, some_frames, spec_with

CASES: dict[str, tuple[Any, Any, Any]] = {
    "label": ("label", {}, {"labels": [2.0]}),
    "label of a number": ("label", {"classes": None}, {"labels": [1.5]}),
    "labels": ("labels", {}, {"answers": [[0.0, np.nan, 2.0, 1.0, np.nan, 0.0]]}),
    "labels that are numbers": ("labels", {"classes": None}, {"answers": [[0.5, np.nan, -2.0, 1.0, 0.3, np.nan]]}),
    "transcript": ("transcript", {}, {"answers": [[0.0, 0.0, 2.0]]}),
    "empty transcript": ("transcript", {}, {"answers": [[]]}),
    "sequence": ("sequence", {}, {"answers": [[1.0, 2.0]]}),
}
NETWORKS = [
    {"direction": "forward"},
    {"direction": "both", "num_layers": 2, "cell": "lstm"},
    {"direction": "both", "lookahead": 2},
]


def loss_with(spec: LearnerSpec, weights: dict[str, np.ndarray], block: Block) -> float:
    learner = SequenceLearner(spec, 0)
    learner.set_weights(weights)
    return float(learner.process(block).loss[0])


@pytest.mark.parametrize("model", NETWORKS, ids=["forward", "both", "look-ahead"])
@pytest.mark.parametrize("case", CASES)
def test_a_step_follows_the_gradient_of_the_published_loss(case: str, model: dict[str, Any]) -> None:
    kind, given, answer = CASES[case]
    spec = spec_with(kind, model=model, **given)
    learner, block = learner_with(spec), records([some_frames(6)], **answer)
    before = learner.get_weights()
    predictions = learner.process(block)
    gradient = {name: (before[name] - w) / spec.learning.lr for name, w in learner.get_weights().items()}
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    assert predictions.grad_norm[0] == pytest.approx(norm, rel=1e-9)
    rng, step = np.random.default_rng(1), 1e-5
    for name, g in gradient.items():
        direction = rng.normal(size=g.shape)
        ahead, behind = (
            loss_with(spec, {**before, name: before[name] + sign * step * direction}, block) for sign in (1, -1)
        )
        assert (g * direction).sum() == pytest.approx((ahead - behind) / (2 * step), rel=1e-6, abs=1e-8), name


def test_a_batch_is_one_step_with_the_mean_of_its_gradients() -> None:
    frames, labels = [some_frames(4, 1), some_frames(7, 2)], [0.0, 2.0]
    one, batch = spec_with("label"), spec_with("label", batch_size=2)
    start = learner_with(one).get_weights()
    steps = []
    for x, y in zip(frames, labels, strict=True):
        learner = learner_with(one)
        learner.process(records([x], labels=[y]))
        steps.append({name: w - start[name] for name, w in learner.get_weights().items()})
    learner = learner_with(batch)
    predictions = learner.process(records(frames, labels=labels))
    assert np.isnan(predictions.grad_norm).tolist() == [True, False]
    for name, w in learner.get_weights().items():
        np.testing.assert_allclose(w - start[name], (steps[0][name] + steps[1][name]) / 2, rtol=1e-9, atol=1e-12)


def test_predictions_are_made_with_the_average_and_learned_with_the_newest() -> None:
    block = records([some_frames(5, s) for s in range(6)], labels=[0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    plain, averaged = learner_with(spec_with("label")), learner_with(spec_with("label", average=0.9))
    average = averaged.state().model["average"]
    np.testing.assert_array_equal(average, averaged.state().model["theta"])
    plain.process(block)
    averaged.process(block)
    for name, w in plain.get_weights().items():
        np.testing.assert_allclose(averaged.get_weights()[name], w, rtol=1e-9, err_msg=name)
    asked = records([some_frames(5, 9)], labels=[0.0], kind=2)
    by_average = averaged.predict(asked).value
    assert not np.allclose(by_average, plain.predict(asked).value, rtol=1e-4)
    model = averaged.state().model
    model["theta"][...] = model["average"]
    frozen = SequenceLearner(spec_with("label"), 0)
    frozen.set_weights(frozen.layout.get_weights(model["theta"]))
    np.testing.assert_allclose(by_average, frozen.predict(asked).value, rtol=1e-12)


def test_steps_behind_the_last_label_are_not_learned() -> None:
    first = records([some_frames(6, 1)], [[0.0, 1.0, 2.0, 0.0, 1.0, 2.0]])
    few, unknown = (learner_with(spec_with("labels")) for _ in range(2))
    for learner, labels in ((few, [2.0, 1.0]), (unknown, [2.0, 1.0] + [np.nan] * 4)):
        learner.process(first)
        learner.process(records([some_frames(6)], [labels]))
    for name, w in few.get_weights().items():
        np.testing.assert_array_equal(unknown.get_weights()[name], w, err_msg=name)
