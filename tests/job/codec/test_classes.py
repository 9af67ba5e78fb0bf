"""Of thousands of classes a record names the likeliest, whatever the symbols are, and how surprising it was."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.job.codec.classes import BYTES, Classes
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.config import Config
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import TextScores
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.vocabulary import Vocabulary
from tests.support.jobs import CLASSES, NAN, NEXT, decode, job, text_job
from tests.support.predictions import said

SOFTMAX = ModelSpec(readout="softmax")


def lines(config: Config, values: list[Any], value: Any, known: tuple[str, ...] = (), **more: Any) -> list[Any]:
    spec = config.learner_spec()
    symbols = spec.target.symbols
    assert symbols is not None
    classes = Vocabulary(symbols, end=spec.text is not None and spec.text.mark_end)
    for text in known:
        classes.assign(text)
    encoder = PredictionEncoder(spec, config.output.top)
    encoded = encoder.encode_block(decode(config, *values), said(value, **more), classes).values
    return [json.loads(line or b"", parse_constant=pytest.fail) for line in encoded]


def test_the_most_probable_classes_come_first_and_no_more_than_are_asked_for() -> None:
    config = job(target="{fields: [y], classes: [a, b, c, d]}", top=2)
    (out,) = lines(config, [{"y": "c"}], [[0.1, 0.4, 0.3, 0.2]])
    assert list(out["prediction"]["probabilities"].items()) == [("b", 0.4), ("c", 0.3)]
    assert (out["prediction"]["class"], out["target"]) == ("b", "c")
    assert out["prediction"].keys() == {"class", "probabilities"}


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_picking_is_a_stable_sort_of_each_row(top: int, n_classes: int, seed: int) -> None:
    value = np.random.default_rng(seed).integers(0, 4, (70, n_classes)) / 4
    spec = LearnerSpec(
        n_features=1, target=TargetSpec(fields=("y",), classes=tuple(map(str, range(n_classes)))), model=SOFTMAX
    )
    kept = Classes(spec, top).condensed(value)
    n = min(top, n_classes)
    expected = np.argsort(-value, axis=1, kind="stable")[:, :n]
    assert (kept[:, 2 : 2 + n] == expected).all()
    assert (kept[:, 2 + n :] == np.take_along_axis(value, expected, axis=1)).all()


def test_an_open_set_has_other_and_its_symbols_by_name_and_none_that_had_no_probability_yet() -> None:
    value = [[0.25, 0.0, 0.75, 0.0]]
    (out,) = lines(NEXT, [{"page": "/b"}], value, ("/a", "/b", "/c"))
    assert out["prediction"] == {"class": "/b", "probabilities": {"/b": 0.75}, "other": 0.25}
    assert out["target"] is None
    (first,) = lines(NEXT, [{"page": "/b"}], [[1.0, 0.0, 0.0, 0.0]])
    assert first["prediction"] == {"class": None, "probabilities": {}, "other": 1.0}


def test_the_class_that_came_is_named_where_the_record_itself_has_it() -> None:
    config = job(target="{fields: [y], classes: {open: true}}", top=1)
    out = lines(config, [{"y": 404}, {"y": "x\x1b"}, {}], np.zeros((3, 5001)))
    assert [line["target"] for line in out] == ["404", "x\x1b", None]
    bytes_ = job(target="{fields: [y], classes: {bytes: true}}", top=1)
    (out,) = lines(bytes_, [{"y": 10}], [np.eye(256)[101]])
    assert (out["target"], out["prediction"]) == (10, {"class": 101, "probabilities": {"101": 1.0}})


def test_surprise_is_in_bits_and_null_where_nothing_was_scored() -> None:
    loss, rank = np.array([3 * math.log(2), NAN]), np.array([[1.0, 0.75], [NAN, NAN]])
    out = lines(CLASSES, [{"y": 1}, {"y": 1}], np.full((2, 3), 1 / 3), loss=loss, rank=rank)
    assert out[0]["surprise"] == {"bits": pytest.approx(3.0), "rank": {"stream": 1.0, "partition": 0.75}}
    assert out[1]["surprise"] is None
    (young,) = lines(CLASSES, [{"y": 1}], [[1, 0, 0]], loss=loss[:1], rank=rank[1:])
    assert young["surprise"]["rank"] == {"stream": None, "partition": None}


def scores(*texts: list[float]) -> TextScores:
    bounds = np.cumsum([0, *map(len, texts)])
    bits = np.array([bit for text in texts for bit in text], np.float64)
    return TextScores(bounds, bits * math.log(2), np.zeros(len(bits), np.int64))


def test_a_text_tells_its_bits_and_the_most_surprising_place() -> None:
    config, rank = text_job(), np.array([[0.5, 1.0]] * 3)
    texts = scores([1, 2, 9, 4], [0.5, 0.25], [3])
    out = lines(
        config, [{"message": "né"}, {"message": "\n"}, {"message": ""}], np.full((3, 257), 0.0), texts=texts, rank=rank
    )
    assert out[0]["surprise"] == {
        "symbols": 4, "bits": pytest.approx(16), "bits_per_symbol": pytest.approx(4),
        "most_surprising": {"at": 2, "symbol": "\\xa9", "bits": pytest.approx(9)},
        "rank": {"stream": 0.5, "partition": 1.0},
    }  # fmt: skip
    assert out[1]["surprise"]["most_surprising"] == {"at": 0, "symbol": "\\n", "bits": pytest.approx(0.5)}
    assert out[2]["surprise"]["most_surprising"] == {"at": 0, "symbol": None, "bits": pytest.approx(3)}
    assert [line["target"] for line in out] == [None] * 3


def test_what_comes_next_in_a_text_is_named_and_so_is_its_end() -> None:
    value = np.zeros((1, 257))
    value[0, [ord("e"), 0xC3, 256]] = 0.5, 0.25, 0.25
    (out,) = lines(text_job(top=2), [{"message": "th"}], value, texts=scores([1, 1, 1]))
    assert out["prediction"] == {"class": "e", "probabilities": {"e": 0.5, "\\xc3": 0.25}, "end": 0.25}
    words = text_job("{field: message, unit: word, symbols: {open: true, max: 2}}")
    (out,) = lines(words, [{"message": "GET /"}], [[0.1, 0.2, 0.3, 0.4]], ("GET", "/"), texts=scores([1, 1, 1]))
    assert out["prediction"] == {"class": "/", "probabilities": {"/": 0.4, "GET": 0.3}, "other": 0.1, "end": 0.2}
    endless = text_job("{field: message, unit: word, mark_end: false, symbols: {open: true, max: 2}}")
    (out,) = lines(endless, [{"message": ""}], [[0.1, 0.2, 0.7]], ("GET", "/"), texts=scores([]))
    assert out["prediction"] == {"class": "/", "probabilities": {"/": 0.7, "GET": 0.2}, "other": 0.1}
    assert out["surprise"] is None


@given(st.binary(min_size=1, max_size=30))
def test_any_byte_is_shown_as_text_that_no_terminal_obeys(raw: bytes) -> None:
    config = text_job()
    shown = [BYTES[byte] for byte in raw]
    assert all(text.isprintable() and text.isascii() for text in shown)
    assert len(set(BYTES)) == 256
    value = np.zeros((1, 257))
    value[0, raw[0]] = 1.0
    (out,) = lines(config, [{"message": "x"}], value, texts=scores([1.0, 2.0]))
    assert out["prediction"]["class"] == shown[0]


def test_a_word_that_nobody_has_seen_is_shown_and_a_long_one_is_cut() -> None:
    config = text_job("{field: message, unit: word}")
    (out,) = lines(config, [{"message": "a " + "é" * 1_000}], np.zeros((1, 5_002)), texts=scores([1, 9, 1]))
    assert out["surprise"]["most_surprising"]["symbol"] == "é" * 256


def test_no_output_record_is_longer_than_the_longest() -> None:
    record = decode(NEXT, {"page": "x"}).sources[0]
    for config in (NEXT, CLASSES, text_job(), text_job("{field: message, unit: word}"), job()):
        encoder = PredictionEncoder(config.learner_spec(), config.output.top)
        assert json.loads(encoder.encode_longest(record, b"k"))["stream"] == "k"
    encoder = PredictionEncoder(NEXT.learner_spec())
    classes = Vocabulary(Symbols(open=True, max=3))
    for text in ("x" * 1_024, "y" * 1_024, "z" * 1_024):
        classes.assign(text)
    decoded = decode(NEXT, {"page": "x"})
    (line,) = encoder.encode_block(
        decoded, said([[1 / 3, 1 / 7, 1 / 9, 1 / 11]], loss=np.array([1 / 3])), classes
    ).values
    assert line is not None and len(line) <= len(encoder.encode_longest(record, b"k"))


def test_the_longest_output_record_counts_every_class_that_is_asked_for_and_how_long_json_makes_it() -> None:
    n = 1_200
    names = [f"{i:04d}" + "\x01" * 1_020 for i in range(n)]
    beyond = "\x01" * 100_000
    config = job(target=f"{{fields: [page], classes: {{open: true, max: {n}}}}}", top=1_000)
    probabilities = np.full((1, n + 1), 1 / 3 / n)
    spec = config.learner_spec()
    classes = Vocabulary(Symbols(open=True, max=n))
    for name in names:
        classes.assign(name)
    decoded, encoder = decode(config, {"page": beyond}), PredictionEncoder(spec, config.output.top)
    (line,) = encoder.encode_block(decoded, said(probabilities), classes).values
    assert line is not None
    out = json.loads(line)
    assert len(out["prediction"]["probabilities"]) == 1_000
    assert out["target"] == beyond[:1_024]
    longest = len(encoder.encode_longest(decoded.sources[0], b"k"))
    assert len(line) <= longest <= 1.1 * len(line)

    values = [f"{i:04d}" + '"' * (i % 50) for i in range(n)]
    config = job(target=f"{{fields: [page], classes: {json.dumps(values)}}}", top=500)
    encoder = PredictionEncoder(config.learner_spec(), config.output.top)
    likeliest = np.argsort([len(value) for value in values])[-500:]
    probabilities = np.zeros((1, n))
    probabilities[0, likeliest] = 1 / 3
    (line,) = encoder.encode_block(decode(config, {"page": values[49]}), said(probabilities)).values
    assert line is not None and len(line) <= len(encoder.encode_longest(decoded.sources[0], b"k"))
