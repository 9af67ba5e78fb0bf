"""What was learned of whole sequences moves into a larger learner, sequences that have not ended included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core.sequences import reasons
from streamrnn.learner.block import EVENT, Block, Frames
from streamrnn.learner.growth import carry_over
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec

KEY = b"a"


def spec(max_steps: int = 4, **more: Any) -> LearnerSpec:
    """One class for a sequence in chunks."""
    return LearnerSpec(
        n_features=more.pop("n_features", 1),
        target=TargetSpec(fields=("y",), kind="label", classes=more.pop("classes", ("no", "yes"))),
        sequence=SequenceSpec(max_steps=max_steps, chunks=True),
        has_end=True,
        inputs=InputSpec(dt=False, previous_target=False),
        model=ModelSpec(
            readout="softmax", dtype="float64", **{"hidden_size": 3, "cell": "gru", **more.pop("model", {})}
        ),
        learning=LearningSpec(**more.pop("learning", {})),
    )


def chunk(x: list[list[float]], y: float = np.nan, *, end: bool = False) -> Block:
    n = len(x)
    return Block(
        [KEY], np.zeros(1, np.int64), np.zeros((1, 0)), np.array([[y]]), np.array([end]), np.array([EVENT], np.uint8),
        np.zeros(1, np.uint64), frames=Frames(np.array([0, n]), np.array(x, np.float64).reshape(n, -1)),
    )  # fmt: skip


def grown(learner: SequenceLearner, new: LearnerSpec) -> SequenceLearner:
    larger = SequenceLearner(new, seed=2)
    carry_over(learner.state(), larger, range(learner.spec.n_features))
    return larger


def reason(predictions: Predictions) -> int:
    assert predictions.sequences is not None
    return int(predictions.sequences.reason[0])


def test_a_sequence_that_was_too_long_stays_too_long_when_more_steps_are_allowed() -> None:
    learner = SequenceLearner(spec(max_steps=4), seed=1)
    learner.process(chunk([[float(i)] for i in range(6)]))
    larger = grown(learner, spec(max_steps=9))
    before = larger.counters()["updates"]
    said = larger.process(chunk([[7.0]], 1.0, end=True))
    assert (reason(said), larger.counters()["updates"]) == (reasons.TOO_LONG, before)


def test_a_sequence_that_fits_goes_on_and_is_learned() -> None:
    learner = SequenceLearner(spec(max_steps=4), seed=1)
    learner.process(chunk([[1.0], [2.0]]))
    larger, same = grown(learner, spec(max_steps=9)), SequenceLearner(spec(max_steps=9), seed=1)
    same.process(chunk([[1.0], [2.0]]))
    ends = chunk([[3.0], [4.0], [5.0], [6.0]], 1.0, end=True)
    said = larger.process(ends)
    assert reason(said) == reasons.NONE
    np.testing.assert_array_equal(said.value, same.process(ends).value)


@pytest.mark.parametrize(
    "new",
    [
        spec(n_features=2),
        spec(classes=("no", "yes", "perhaps")),
        spec(model={"hidden_size": 5}),
        spec(learning={"average": 0.9}),
    ],
    ids=["a feature", "a class", "units", "an average"],
)
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_predictions_stay_when_a_learner_grows(new: LearnerSpec, both: bool) -> None:
    """A new feature is unknown, and a new class as improbable as the least probable one."""
    direction: dict[str, Any] = {"direction": "both" if both else "forward"}
    old = spec(model=direction)
    new = LearnerSpec(**{**_fields(new), "model": ModelSpec(**{**_fields(new.model), **direction})})
    learner, rng = SequenceLearner(old, seed=1), np.random.default_rng(1)
    for i in range(20):
        learner.process(chunk(rng.normal(size=(3, 1)).tolist(), float(i % 2), end=True))
    larger = grown(learner, new)
    x = rng.normal(size=(4, 1))
    before = learner.predict(chunk(x.tolist(), end=True)).value[0]
    wide = np.column_stack([x, np.full((4, new.n_features - 1), np.nan)])
    after = larger.predict(chunk(wide.tolist(), end=True)).value[0]
    np.testing.assert_allclose(after[:2] / after[:2].sum(), before, rtol=1e-12)


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


def test_new_symbols_of_a_decoder_begin_as_what_all_of_them_shared() -> None:
    def of(most: int) -> LearnerSpec:
        return LearnerSpec(
            n_features=1,
            target=TargetSpec(fields=("y",), kind="sequence", classes=Symbols(open=True, max=most)),
            sequence=SequenceSpec(max_steps=4),
            inputs=InputSpec(dt=False, previous_target=False),
            model=ModelSpec(readout="softmax", hidden_size=3, dtype="float64"),
        )

    larger = grown(SequenceLearner(of(2), seed=1), of(4))
    looked_up = larger.get_weights()["decoder.weight_ih_l0"]
    np.testing.assert_array_equal(looked_up[:, 4:], looked_up[:, [0, 0]])
