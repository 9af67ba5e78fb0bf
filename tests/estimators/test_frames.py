"""Frames in all their forms, and what is refused: it is named, and changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn import (
    Numeric,
    OneHot,
    RecordError,
    RNNSequenceClassifier,
    RNNTagger,
    RNNTranscriber,
    RNNTranslator,
    Symbol,
    Symbols,
)
from tests.support.contract import everything, weight_bits

ROWS = [[1.0, 20.0], [2.0, 21.0], [4.0, 19.0]]


def taught(frames: Any, **parameters: Any) -> RNNSequenceClassifier:
    model = RNNSequenceClassifier(hidden_size=4, **parameters)
    model.learn_one({"frames": frames}, "a")
    model.learn_one({"frames": frames}, "b")
    return model


@pytest.mark.parametrize(
    ("frames", "parameters"),
    [
        (ROWS, {}),
        (np.array(ROWS, np.float32), {}),
        (np.array(ROWS)[::-1][::-1], {}),
        (np.asfortranarray(ROWS), {}),
        (ROWS, {"features": ["x", "y"]}),
        (ROWS, {"features": [Numeric(field="x"), Numeric(field="y")]}),
        ([{"y": y, "x": x} for x, y in ROWS], {}),
        ([{"y": y, "x": x, "z": 9.0} for x, y in ROWS], {"features": ["x", "y"]}),
        ([{"y": y, "x": x} for x, y in ROWS], {"features": [Numeric(field="x"), Numeric(field="y")]}),
    ],
)
def test_the_same_frames_in_another_form_leave_the_same_bits(frames: Any, parameters: dict[str, Any]) -> None:
    assert weight_bits(taught(frames, **parameters)) == weight_bits(taught(np.array(ROWS)))


def test_plain_numbers_are_one_column() -> None:
    expected = weight_bits(taught([[1.0], [2.0], [4.0]]))
    for frames in ([1, 2, 4], np.array([1, 2, 4]), (1.0, 2.0, 4.0)):
        assert weight_bits(taught(frames)) == expected
    assert weight_bits(taught([1, 2, 4], features=["x"])) == expected


def test_a_text_is_a_sequence_of_characters_that_are_looked_up() -> None:
    expected = weight_bits(taught("abca"))
    assert weight_bits(taught(["a", "b", "c", "a"])) == expected
    features = [Symbol(field="letter", symbols=Symbols(open=True, max=1_000))]
    for frames in ("abca", [{"letter": letter} for letter in "abca"]):
        assert weight_bits(taught(frames, features=features)) == expected


def test_encoders_read_dicts() -> None:
    features = [Numeric(field="x"), OneHot(field="kind", categories=("p", "q"))]
    model = taught([{"x": 1.0, "kind": "p"}, {"x": 2.0, "kind": None}], features=features)
    assert model.get_weights()["rnn.weight_ih_l0"].shape == (12, 3)
    with pytest.raises(RecordError, match="frames: expected dicts, which the encoders read, got an array"):
        model.predict_one({"frames": ROWS})


def test_what_is_missing_counts_as_the_mean() -> None:
    model = taught(ROWS)
    before = model.counters()["imputed_inputs"]
    masked = np.ma.array([[7.0, 20.0]], mask=[[True, False]])
    for frames in ([[None, 20.0]], np.array([[np.nan, 20.0]]), [[np.inf, 20.0]], masked, masked.astype(np.int64)):
        said = model.predict_proba_one({"frames": frames})
        assert said == model.predict_proba_one({"frames": [[None, 20.0]]})
        assert all(np.isfinite(list(said.values())))
    model.learn_one({"frames": np.full((3, 2), np.nan)}, "a")
    assert model.counters()["imputed_inputs"] == before + 6
    assert all(np.isfinite(weight).all() for weight in model.get_weights().values())


REFUSED: list[tuple[Any, str, str]] = [
    ({"frames": []}, "empty_sequence", "at least one frame"),
    ({"frames": np.zeros((0, 2))}, "empty_sequence", "at least one frame"),
    ({"frames": np.zeros((3, 3))}, "wrong_width", "expected frames of 2 numbers, .* got 3"),
    ({"frames": [[1.0, 2.0], [1.0]]}, "wrong_width", "frames of one width"),
    ({"frames": [[1.0, "2"]]}, "wrong_type", r"field 'frames\[0\]': found the string '2'"),
    ({"frames": [[1.0, 2.0], None]}, "wrong_type", r"frames\[1\]: expected a list of numbers, .* got null"),
    ({"frames": "text"}, "wrong_type", "expected an array, as those before, got text"),
    ({"frames": [{"a": 1.0}]}, "wrong_type", "expected an array, as those before, got dicts"),
    ({"frames": np.zeros((1, 2, 2))}, "wrong_type", r"of shape \(1, 2, 2\)"),
    ({"frames": 3.0}, "wrong_type", "expected an array, a list or a text, got the number 3.0"),
    ({"frames": np.zeros((41, 2))}, "too_long", "expected at most 40, got 41"),
    ({"other": 1.0}, "no_frames", "expected a dict whose 'frames'"),
    (ROWS, "no_frames", "expected a dict whose 'frames'"),
]


@pytest.mark.parametrize(("x", "reason", "message"), REFUSED)
def test_what_is_no_sequence_is_refused_and_changes_nothing(x: Any, reason: str, message: str) -> None:
    model = taught(ROWS, max_steps=40)
    before = everything(model)
    learn, learn_many = (lambda x: model.learn_one(x, "c")), (lambda x: model.learn_many([{"frames": ROWS}, x], "cd"))
    for call in (model.predict_one, learn, learn_many):
        with pytest.raises(RecordError, match=message) as error:
            call(x)
        assert error.value.reason == reason
    assert everything(model) == before


@pytest.mark.parametrize(
    ("model", "frames", "y", "message"),
    [
        (RNNTagger(), ROWS, ["a", "b"], "y: expected a label for each of 3 frames, got 2"),
        (RNNTagger(chunks=True), ROWS, ["a"], "for each of 3 frames, got 1; of frames that came before observe_one"),
        (RNNTagger(), ROWS, "abc", "y: expected a list, got the string 'abc'"),
        (RNNTagger(readout="linear"), ROWS, [1.0, "b", 2.0], "field 'y': found the string 'b'"),
        (RNNTagger(readout="logistic"), ROWS, ["a", "b", "c"], "tells two classes apart"),
        (RNNSequenceClassifier(), ROWS, ["a"], "y: a class is text, a number or a boolean"),
        (RNNTranscriber(), ROWS, "ab", "y: expected a list of symbols; unit='character' or 'word' takes text"),
        (RNNTranscriber(unit="word"), ROWS, ["ab"], "y: expected text, got the array"),
        (RNNTranscriber(symbols=["a", "b"]), ROWS, ["a", "c"], "y: 'c' is not one of the symbols given"),
        (RNNTranslator(horizon=2), ROWS, [1.0], "y: expected 2 numbers, got 1"),
    ],
)
def test_what_is_no_answer_is_refused_and_changes_nothing(model: Any, frames: Any, y: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        model.learn_one({"frames": frames}, y)
    assert model.counters() == {}
