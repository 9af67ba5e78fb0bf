"""What output records say of whole sequences: by kind, and never longer than preflight is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.core.sequences import reasons
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.codec.sequence_outputs import LONGEST_SHOWN, NOT_LEARNED
from streamrnn.job.config import Config
from streamrnn.learner.predictions import Predictions, SequenceScores
from streamrnn.learner.vocabulary import Vocabulary
from tests.support.jobs import NAN, decode, record
from tests.support.sequence_jobs import TARGETS, sequence_job

SEVERAL = [kind for kind in TARGETS if kind not in ("label", "number")]
FRAMES = [[1, 2]] * 9
SHORT = "columns: [a, b], max_steps: 9"


def encoder_of(config: Config) -> PredictionEncoder:
    return PredictionEncoder(config.learner_spec(), config.output.top, config.unit)


def predictions(numbers: list[int], values: list[float], *, reason: int = 0, complete: bool = True) -> Predictions:
    """What is said of one sequence."""
    nothing = np.full(1, NAN)
    return Predictions(
        value=np.zeros((1, 0)), updates=np.full(1, 7), loss=nothing, error=nothing, grad_norm=nothing,
        rivals=np.full((1, 2), NAN), width=nothing, rank=np.full((1, 2), NAN), delay=nothing,
        sequences=SequenceScores(
            np.array([0, len(numbers)]), np.array(numbers, np.int64), np.array(values, float), nothing, nothing,
            np.full(1, reason, np.uint8), np.full(1, complete),
        ),
    )  # fmt: skip


def output(config: Config, value: dict[str, Any], said: Predictions, classes: Vocabulary | None = None) -> Any:
    (line,) = encoder_of(config).encode_block(decode(config, value), said, classes).values
    return json.loads(line or b"")


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("labels", ([1, 0], [0.9, 0.8]), {"labels": ["high", "low"], "probabilities": [0.9, 0.8]}),
        ("labels of numbers", ([0, 0], [1.5, NAN]), {"values": [1.5, None]}),
        ("transcript", ([0, 2], [0.9, 0.8]), {"text": "ac", "probabilities": [0.9, 0.8]}),
        ("sequence", ([0, 2], [0.9, 0.8]), {"text": "a c", "probabilities": [0.9, 0.8]}),
        ("numbers", ([0, 0, 0], [1.0, 2.0, 3.0]), {"values": [1.0, 2.0, 3.0]}),
        ("transcript", ([], []), {"text": "", "probabilities": []}),
    ],
)
def test_each_kind_is_said_in_its_own_form(
    kind: str, said: tuple[list[int], list[float]], expected: dict[str, Any]
) -> None:
    found = output(sequence_job(TARGETS[kind]), {"frames": [[1, 2]] * 2}, predictions(*said))
    assert (found["prediction"], found["target"], found["frames"]) == (expected, None, 2)
    assert "surprise" not in found


def test_of_an_open_set_what_has_no_number_is_null_and_long_symbols_are_cut() -> None:
    config = sequence_job(TARGETS["open transcript"])
    classes = Vocabulary(config.target.symbols)  # type: ignore[arg-type]
    long = "x" * 500
    numbers = [0, classes.assign("7"), classes.assign(long)]
    found = output(config, {"frames": FRAMES, "y": [long, 7]}, predictions(numbers, [0.5] * 3), classes)
    assert found["prediction"]["symbols"] == [None, "7", "x" * LONGEST_SHOWN]
    assert found["target"] == ["x" * LONGEST_SHOWN, "7"]
    words = sequence_job("{fields: [y], kind: transcript, unit: word, classes: {open: true}}")
    assert (
        output(words, {"frames": FRAMES}, predictions(numbers[:2], [0.5] * 2), classes)["prediction"]["text"]
        == "\ufffd 7"
    )


def test_why_nothing_was_learned_and_whether_it_is_complete_stand_beside_it() -> None:
    config = sequence_job(TARGETS["transcript"], source="end_field: last")
    long = predictions([0], [0.5], reason=reasons.TOO_LONG)
    found = output(config, {"frames": [[1, 2]], "last": True}, long)
    assert (found["complete"], found["not_learned"]) == (True, "more frames than input.sequence.max_steps takes")
    assert NOT_LEARNED.keys() == {*range(1, reasons.IMPOSSIBLE + 1)}
    so_far = predictions([0], [0.5], complete=False)
    assert output(config, {"frames": [[1, 2]]}, so_far)["prediction"]["text"] == "a"


@pytest.mark.parametrize("kind", ["transcript", "sequence"])
def test_before_the_end_nothing_is_said_where_nothing_can_be(kind: str) -> None:
    config = sequence_job(TARGETS[kind], source="end_field: last", model="{direction: both}")
    assert output(config, {"frames": [[1, 2]]}, predictions([], [], complete=False))["prediction"] is None


@given(st.sampled_from(SEVERAL), st.data())
def test_no_output_record_is_longer_than_preflight_is_told(kind: str, data: st.DataObject) -> None:
    config = sequence_job(TARGETS[kind], frames=SHORT)
    target, encoder = config.target, encoder_of(config)
    classes = Vocabulary(target.symbols) if target.symbols is not None and target.is_open else None
    if classes is not None:
        for symbol in data.draw(st.lists(st.text(min_size=1, max_size=80), max_size=4, unique=True)):
            classes.assign(symbol)
    most = 9 if target.kind == "labels" else target.horizon if target.says_numbers else target.max_symbols
    n = data.draw(st.integers(0, most))
    size = 1 if target.classes is None else classes.known if classes is not None else 2
    numbers = data.draw(st.lists(st.integers(0, size - 1), min_size=n, max_size=n))
    values = data.draw(st.lists(st.floats(), min_size=n, max_size=n))
    answer: Any = {
        "labels": ["high"] * 9, "labels of numbers": [1e-300] * 9, "transcript": "abc" * 5, "sequence": "a " * 30,
        "open transcript": ["\x00" * 100] * 20, "numbers": [-1e-300] * 3,
    }[kind]  # fmt: skip
    (line,) = encoder.encode_block(
        decode(config, {"frames": FRAMES, "y": answer}), predictions(numbers, values), classes
    ).values
    assert line is not None
    assert len(line) <= len(encoder.encode_longest(record({}), b"k"))
