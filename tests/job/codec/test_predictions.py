"""Output records are valid JSON whatever the numbers and keys are."""

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.config import Config
from tests.support.jobs import CLASSES, LABELLED, NAN, PLAIN, decode, job, record
from tests.support.predictions import said


def output(config: Config, value: list[float], target: list[float], key: bytes = b"k") -> dict[str, Any]:
    encoder = PredictionEncoder(config.learner_spec())
    (kept,) = encoder.condensed(np.array([value])).tolist()
    known = None if config.target.known == "forecast" else encoder.named_target(target)
    text = encoder.encode(record({}, offset=9), key, 77, encoder.named(kept), known, 4)
    decoded: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return decoded


def test_an_output_record_holds_where_it_comes_from_and_what_was_predicted() -> None:
    assert output(PLAIN, [1.5], [2.0]) == {
        "stream": "k", "topic": "in", "partition": 3, "offset": 9, "timestamp": 77,
        "prediction": 1.5, "target": 2.0, "updates": 4,
    }  # fmt: skip


def test_an_unknown_target_and_a_prediction_that_is_not_finite_are_null() -> None:
    for value in (NAN, math.inf, -math.inf):
        out = output(PLAIN, [value], [NAN])
        assert (out["prediction"], out["target"]) == (None, None)


def test_several_outputs_are_named_by_target_step_and_level() -> None:
    two = job(target="{fields: [y, z]}")
    assert output(two, [1, 2], [3, NAN])["prediction"] == {"y": 1, "z": 2}
    assert output(two, [1, 2], [3, NAN])["target"] == {"y": 3, "z": None}
    levels = job(model="{loss: quantile, quantiles: [0.05, 0.5]}")
    assert output(levels, [1, NAN], [3])["prediction"] == {"y": {"0.05": 1, "0.5": None}}
    ahead = job(target="{fields: [y], known: forecast, horizon: 2}")
    assert output(ahead, [1, 2], [3])["prediction"] == {"y": {"1": 1, "2": 2}}
    assert output(ahead, [1, 2], [3])["target"] is None
    chosen = job(target="{fields: [y], known: forecast, horizon: [6, 24]}")
    assert output(chosen, [1, 2], [3])["prediction"] == {"y": {"6": 1, "24": 2}}
    one_ahead = job(target="{fields: [y], known: forecast}")
    assert output(one_ahead, [1], [3])["prediction"] == 1
    everything = job(
        target="{fields: [y, z], known: forecast, horizon: 2}", model="{loss: quantile, quantiles: [0.1, 0.9]}"
    )
    # Columns: levels within targets within steps, the last running fastest.
    assert output(everything, list(range(8)), [3, 4])["prediction"] == {
        "y": {"1": {"0.1": 0, "0.9": 1}, "2": {"0.1": 4, "0.9": 5}},
        "z": {"1": {"0.1": 2, "0.9": 3}, "2": {"0.1": 6, "0.9": 7}},
    }


def test_classes_are_named_by_their_label() -> None:
    out = output(CLASSES, [0.2, 0.7, 0.1], [2.0])
    assert out["prediction"] == {"class": 1, "probabilities": {"late": 0.2, "1": 0.7, "true": 0.1}}
    assert out["target"] is True
    assert output(CLASSES, [NAN, 0.7, 0.1], [NAN])["prediction"]["class"] is None
    assert output(CLASSES, [NAN, 0.7, 0.1], [NAN])["target"] is None
    logistic = job(target="{fields: [y], classes: [no-show, show]}", model="{readout: logistic}")
    assert output(logistic, [0.75], [0.0])["prediction"] == {
        "class": "show", "probabilities": {"no-show": 0.25, "show": 0.75},
    }  # fmt: skip
    assert output(logistic, [0.75], [0.0])["target"] == "no-show"
    assert output(logistic, [NAN], [0.0])["prediction"]["class"] is None


@given(st.binary(max_size=20))
@example(b"\xff\xfe")
@example(b'"\\\x00')
def test_any_key_comes_back_from_the_output_record(key: bytes) -> None:
    out = output(PLAIN, [1.0], [1.0], key)
    if out["stream"] is None:
        assert base64.b64decode(out["stream_base64"]) == key
    else:
        assert "stream_base64" not in out
        assert out["stream"].encode() == key


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_bit_for_bit(value: float) -> None:
    out = output(PLAIN, [value], [value])
    assert np.float64(out["prediction"]).tobytes() == np.float64(value).tobytes()


def test_a_column_that_is_too_short_drops_no_output_unnoticed() -> None:
    decoded = decode(PLAIN, {"x": 1}, {"x": 2}, {"x": 3})
    encoder = PredictionEncoder(PLAIN.learner_spec())
    with pytest.raises(ValueError, match="2 output records were written of 3 predictions"):
        encoder.encode_block(decoded, said([[1.0], [2.0], [3.0]], updates=np.array([5, 5])))


def test_a_block_of_predictions_skips_label_records() -> None:
    decoded = decode(LABELLED, {"id": 1}, {"of": 1, "y": 2}, {"id": 2})
    encoder = PredictionEncoder(LABELLED.learner_spec())
    written = encoder.encode_block(decoded, said([[1.0], [NAN], [3.0]], updates=np.array([5, 5, 6])))
    lines = [json.loads(line or b"") for line in written.values]
    assert [(line["prediction"], line["updates"]) for line in lines] == [(1.0, 5), (3.0, 6)]
    first, _, last = decoded.sources
    assert written.keys.tolist() == [first.key, last.key]
    assert written.offset.tolist() == [first.offset, last.offset]
    assert written.timestamp_ms.tolist() == [first.timestamp_ms, last.timestamp_ms]
