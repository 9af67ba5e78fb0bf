"""Predictions beside what came: the right rows, in the right order, few of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core.kinds import EVENT, FORGET, LABEL
from streamrnn.core.losses import LOGISTIC
from streamrnn.core.scoring import class_score
from streamrnn.daemon.newest import NewestPredictions, Said
from streamrnn.daemon.traces import AT_ONCE, POINTS, Traces
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Predictions
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.streams import StreamIndex
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.vocabulary import Vocabulary

RECORD = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))


class Followed:
    """A partition's traces over blocks made by hand: each record is key, actual, prediction, and kind and event."""

    def __init__(self, spec: LearnerSpec = RECORD) -> None:
        self.streams = StreamIndex(max_streams=8, ttl_ms=None, max_time_jump_ms=10**9)
        self.traces, self.newest = Traces(spec), NewestPredictions(spec.n_outputs)
        self.time_ms = 0
        self.loss = 0.0

    def note(self, *records: tuple[Any, ...]) -> None:
        keys, actual, said, kinds, events = zip(
            *((*r, EVENT, 0)[:5] if len(r) == 3 else r for r in records), strict=True
        )
        n = len(records)
        times = np.arange(self.time_ms, self.time_ms + n)
        self.time_ms += n
        slots, _, _ = self.streams.assign(list(keys), times.tolist(), list(kinds))
        block = Block.events(
            list(keys), x=np.zeros((n, 1)), y=np.array(actual, float).reshape(n, 1), time_ms=times,
            kind=np.array(kinds, np.uint8), event=np.array(events, np.uint64),
        )  # fmt: skip
        value = np.array(said, float).reshape(n, -1)
        rest = dict.fromkeys({*Predictions.__slots__} - {"value", "updates", "told"}, np.zeros(n))
        predictions = Predictions(value=value, updates=times + 100, **{**rest, "loss": np.full(n, self.loss)})
        self.newest.note(slots, block, value, predictions.updates)
        self.traces.note(slots, block, predictions)

    def points(self, key: str) -> list[list[float]]:
        (trace,) = (one for one in self.traces.shown() if one["stream"] == key)
        return [point[1:] for point in trace["points"]]


def test_the_most_frequent_streams_are_followed_and_their_records_alone_kept() -> None:
    followed = Followed()
    followed.note((b"a", 1, 1), (b"b", 1, 1), (b"b", 1, 1), (b"c", 1, 1), (b"c", 1, 1), (b"c", 1, 1))
    followed.traces.choose(followed.streams, 2)
    assert [trace.key for trace in followed.traces.followed] == [b"c", b"b"]
    followed.note((b"c", 2, 3), (b"a", 4, 5), (b"c", 6, 7))
    assert followed.points("c") == [[2, 3], [6, 7]]
    assert followed.points("b") == []


def test_a_stream_that_is_forgotten_makes_room_for_another() -> None:
    followed = Followed()
    followed.note((b"a", 1, 1), (b"a", 1, 1), (b"b", 1, 1))
    followed.traces.choose(followed.streams, 1)
    followed.note((b"a", 0, math.nan, FORGET, 0), (b"c", 5, 6))
    followed.traces.choose(followed.streams, 1)
    assert [trace.key for trace in followed.traces.followed] != [b"a"]


def test_one_that_is_silent_while_others_are_not_is_left() -> None:
    followed = Followed()
    followed.note((b"a", 1, 1), (b"a", 1, 1))
    followed.traces.choose(followed.streams, 1)
    for _ in range(POINTS + 2):
        followed.note(*[(b"b", 1, 1)] * 10)
        followed.traces.choose(followed.streams, 1)
    assert [trace.key for trace in followed.traces.followed] == [b"b"]


def test_of_one_batch_only_the_last_records_are_taken_and_points_are_bounded() -> None:
    followed = Followed()
    followed.note((b"a", 0, 0))
    followed.traces.choose(followed.streams, 1)
    followed.note(*((b"a", i, -i) for i in range(100)))
    assert followed.points("a") == [[i, -i] for i in range(100 - AT_ONCE, 100)]
    for _ in range(20):
        followed.note(*((b"a", i, -i) for i in range(AT_ONCE)))
    assert len(followed.points("a")) == POINTS


def test_a_forecast_stands_beside_the_value_it_was_of() -> None:
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",), known="forecast", horizon=2))
    followed = Followed(spec)
    followed.note((b"a", 1, (11, 12)))
    followed.traces.choose(followed.streams, 1)
    followed.note((b"a", 2, (21, 22)), (b"a", 3, (31, 32)))
    followed.note((b"a", 4, (41, 42)))
    shown = followed.points("a")
    assert shown[1:] == [[3, 21], [4, 31]]
    assert math.isnan(shown[0][1]), "what was said before it was followed is not known"
    followed.note(*((b"a", i, (10 * i, 0)) for i in range(5, 100)))
    assert followed.points("a")[-AT_ONCE:] == [[i, 10 * (i - 1)] for i in range(100 - AT_ONCE, 100)]


def test_a_label_goes_to_its_event() -> None:
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",), known="label", event_field="e", label_field="l"))
    followed = Followed(spec)
    followed.note((b"a", math.nan, 0, EVENT, 1))
    followed.traces.choose(followed.streams, 1)
    followed.note((b"a", math.nan, 5, EVENT, 2), (b"a", math.nan, 6, EVENT, 3))
    followed.note((b"a", 7, math.nan, LABEL, 2), (b"unknown", 8, math.nan, LABEL, 3))
    shown = followed.points("a")
    assert shown[0] == [7, 5]
    assert math.isnan(shown[1][0])


def test_an_interval_is_the_outermost_levels_around_the_middle_one() -> None:
    spec = LearnerSpec(
        n_features=1, target=TargetSpec(fields=("y",)), model=ModelSpec(loss="quantile", quantiles=(0.1, 0.5, 0.9))
    )
    followed = Followed(spec)
    followed.note((b"a", 0, (1, 2, 3)))
    followed.traces.choose(followed.streams, 1)
    followed.note((b"a", 9, (4, 5, 6)))
    assert followed.points("a") == [[9, 5, 4, 6]]


def test_one_probability_shows_the_class_that_is_published_and_scored() -> None:
    target = TargetSpec(fields=("y",), classes=("no", "yes"))
    spec = LearnerSpec(n_features=1, target=target, model=ModelSpec(readout="logistic"))
    encoder = PredictionEncoder(spec)
    followed = Followed(spec)
    followed.note((b"a", 0, 0.1))
    followed.traces.choose(followed.streams, 1)
    probabilities = [0.2, 0.5, float(np.nextafter(0.5, 1)), 0.9]
    followed.note(*[(b"a", 1, p) for p in probabilities])
    shown = [int(point[1]) for point in followed.points("a")]
    assert shown == [0, 0, 1, 1]
    right = [class_score(LOGISTIC, np.array([p]), float(c))[1] for p, c in zip(probabilities, shown, strict=True)]
    assert right == [0, 0, 0, 0]
    published = [encoder.named(row)["class"] for row in encoder.condensed(np.array(probabilities)[:, np.newaxis])]
    assert published == ["no", "no", "yes", "yes"]


def test_the_newest_prediction_of_a_stream_is_its_last_event_s() -> None:
    followed = Followed()
    followed.note((b"a", 1, 10), (b"b", 1, 20), (b"a", 1, 30), (b"a", 7, math.nan, LABEL, 1))
    slot_of = followed.streams.find
    assert followed.newest.of(slot_of(b"a")) == Said(2, 102, [30.0])
    assert followed.newest.of(slot_of(b"b")) == Said(1, 101, [20.0])
    assert followed.newest.of(slot_of(b"never")) is None


def test_a_slot_that_changes_hands_tells_of_its_new_stream() -> None:
    followed = Followed()
    followed.note((b"a", 1, 10))
    slot = followed.streams.find(b"a")
    followed.note((b"a", 0, math.nan, FORGET, 0), (b"b", 1, 20))
    assert followed.streams.find(b"b") == slot
    assert followed.newest.of(slot) == Said(2, 102, [20.0])


def test_classes_of_an_open_set_are_named_where_they_stand_and_no_others() -> None:
    symbols = Symbols(open=True, max=100)
    target = TargetSpec(fields=("page",), known="forecast", classes=symbols)
    followed = Followed(LearnerSpec(n_features=1, target=target, model=ModelSpec(readout="softmax")))
    classes = Vocabulary(symbols)
    for page in ("/a", "/b", "/c"):
        classes.assign(page)
    likely = np.eye(101)
    followed.note((b"a", 1, likely[3]))
    followed.traces.choose(followed.streams, 1)
    followed.note((b"a", 2, likely[0]), (b"a", 1, likely[2]))
    (trace,) = followed.traces.shown(classes)
    assert [point[1:] for point in trace["points"]][1:] == [[1, 0]]
    assert trace["classes"] == {0: "other", 1: "/a", 2: "/b"}
    assert trace["bits_per_symbol"] is False


def test_of_texts_there_is_what_a_symbol_cost() -> None:
    spec = LearnerSpec(
        n_features=1, target=TargetSpec(fields=("m",), classes=Symbols(bytes=True)), text=TextSpec(),
        model=ModelSpec(readout="softmax"),
    )  # fmt: skip
    followed = Followed(spec)
    followed.note((b"a", math.nan, np.zeros(257)))
    followed.traces.choose(followed.streams, 1)
    followed.loss = 2 * math.log(2)
    followed.note((b"a", math.nan, np.zeros(257)), (b"b", math.nan, np.zeros(257)))
    (trace,) = followed.traces.shown()
    ((_, actual, bits),) = trace["points"]
    assert math.isnan(actual)
    assert bits == 2.0
    assert (trace["classes"], trace["bits_per_symbol"]) == (None, True)
