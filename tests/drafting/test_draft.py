"""What a draft decides of whole samples: streams, time, target, and what gives it away."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from streamrnn.broker.protocol import Record
from streamrnn.drafting.draft import Draft, draft
from streamrnn.drafting.sample import Sample, Source, sample_of
from streamrnn.errors import ConfigError
from tests.support.topics import START_MS, events, machines, sample, sample_like, three

N = 600


def left_out(found: Draft) -> dict[str, str]:
    return {one.path: one.why for one in found.left_out}


def encoders(found: Draft) -> dict[str, str]:
    return {feature.path: feature.encoder for feature in found.features}


def drafted(document: Callable[[int, random.Random], dict[str, Any]], target: str | None = "y") -> Draft:
    rng = random.Random(6)
    return draft(sample_like(N, lambda i: document(i, rng)), target)


# ---- whole topics


def test_nested_records_are_gone_into() -> None:
    found = draft(sample(machines()))
    assert found.streams.field is None
    assert found.streams.n_streams == 12
    assert (found.target.path, found.target.known) == ("readings.temperature.c", "forecast")
    assert found.wanders
    assert encoders(found) == {
        "meta.site.code": "onehot", "readings.pressure": "log1p", "readings.vibration[0]": "numeric",
        "readings.vibration[1]": "numeric", "readings.vibration[2]": "numeric", "readings.rpm": "numeric",
        "clock.hour": "cyclic", "heading": "cyclic", "alarm": "numeric",
    }  # fmt: skip
    assert left_out(found) == {
        "meta.device": "names the stream, as the record key does",
        "meta.site.country": "the same in every record: AT",
        "at": "the record's time, as its timestamp is",
        "seq": "a counter: it grows with every record, so as a number it teaches nothing that lasts",
        "readings.temperature.c": "the target; inputs.previous_target shows its newest value",
        "readings.temperature.f": "a linear function of the target (1.8 times it + 32), "
        "which inputs.previous_target shows",
        "events": "no single values: an array of changing length, objects too deep, or numbers beyond float64; where "
        "it holds the steps of a whole sequence, such as a session or sound, learn that in a job of its own: input: "
        "{sequence: {field: events}} (deploy/SEQUENCES.md)",
    }


def test_events_with_text_have_their_user_as_stream_and_their_field_as_time() -> None:
    found = draft(sample(events()))
    assert found.streams.field == "user_id"
    assert (found.time.field, found.time.unit) == ("created_at", "iso8601")
    assert (found.target.path, found.target.known, found.target.classes) == ("is_fraud", "record", [False, True])
    assert encoders(found) == {"type": "onehot", "page": "hash", "amount": "log1p"}
    why = left_out(found)
    assert why["message"].startswith("free text")
    assert "input: {text: {field: message, unit: word}} without a target (deploy/SYMBOLS.md)" in why["message"]
    assert why["event_id"].startswith("an identifier")
    assert why["amount_cents"] == "a linear function of amount"
    assert why["score"] == "null in every record"


def test_three_records_are_enough_and_said_to_be_few() -> None:
    found = draft(sample(three()))
    assert found.target.path == "value"
    assert found.warnings == ["only 3 records were found: types, ranges and categories rest on very little"]


def test_the_order_in_which_partitions_answer_does_not_matter() -> None:
    records = [Record("t", i % 3, i // 3, ms, key, value) for i, (key, ms, value) in enumerate(machines(900))]
    source = Source(topic="t", records=900, partitions=3)
    one, other = (draft(sample_of(source, r)) for r in (records, sorted(records, key=lambda r: -r.partition)))
    assert one.features == other.features
    assert one.left_out == other.left_out
    assert one.sizes == other.sizes


# ---- streams


def unkeyed(document: Callable[[int], dict[str, Any]], n: int = N) -> Sample:
    return sample_like(n, document, key=lambda i: None)


def test_a_key_that_never_repeats_gives_way_to_a_field_that_does() -> None:
    found = draft(sample_like(N, lambda i: {"device": f"d{i % 7}", "value": i % 13 * 1.5}, key=lambda i: f"record-{i}"))
    assert found.streams.field == "device"


def test_a_key_that_never_repeats_is_kept_with_a_warning_where_no_field_does() -> None:
    found = draft(sample_like(N, lambda i: {"value": i % 13 * 1.5}, key=lambda i: f"record-{i}"))
    assert found.streams.field is None
    assert "no key comes twice" in found.warnings[0]


def test_without_keys_a_field_named_like_an_entity_goes_before_others_with_more_values() -> None:
    found = draft(unkeyed(lambda i: {"word": f"w{i % 50}", "sensor_id": i % 9, "value": i % 13 * 1.5}))
    assert found.streams.field == "sensor_id"
    assert list(found.streams.others) == ["word"]


def test_without_keys_a_constant_makes_one_stream() -> None:
    assert draft(unkeyed(lambda i: {"series": "A", "value": i % 13 * 1.5})).streams.field == "series"


def test_records_that_nothing_names_a_stream_of_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        ConfigError, match=r"no field looks like what records are about \(found value\).*produce the topic with a key"
    ):
        draft(unkeyed(lambda i: {"value": i % 13 * 1.5}))


def test_some_records_without_a_key_are_told() -> None:
    found = draft(sample_like(N, lambda i: {"value": i % 13 * 1.5}, key=lambda i: None if i % 50 == 0 else f"k{i % 5}"))
    assert "12 records have no key and would be dead letters" in found.warnings


# ---- time


def test_a_time_that_tells_the_target_turns_dt_off() -> None:
    rng = random.Random(7)
    sent = []
    for i in range(N):
        due, late = i * 2, round(rng.gauss(0, 20))
        document = {"due": due % 1440, "late": late, "distance": rng.random()}
        sent.append((f"k{i % 5}".encode(), START_MS + 60_000 * (due + late), json.dumps(document).encode()))
    found = draft(sample(sent), "late")
    assert found.time.tells == "due"
    assert any("the record's time is due plus late" in warning for warning in found.warnings)


def test_a_time_that_tells_nothing_leaves_dt_on() -> None:
    found = drafted(lambda i, rng: {"due": i % 1440, "y": rng.gauss(0, 20)})
    assert found.time.tells is None


def test_a_file_s_time_is_the_field_that_holds_one_in_every_record() -> None:
    documents = [
        {"id": f"d{i % 5}", "seen": None if i == 3 else START_MS + i, "ts": START_MS // 1_000 + i, "value": i % 7}
        for i in range(N)
    ]
    records = [Record("f", 0, i, -1, None, json.dumps(document).encode()) for i, document in enumerate(documents)]
    found = draft(sample_of(Source(topic="f", records=N, keyed=False, file="f.csv"), records))
    assert (found.time.field, found.time.unit) == ("ts", "s")


# ---- the target


def test_a_target_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match="no record of topic t has a field 'vlaue'; the nearest names that come: value"
    ):
        draft(sample(three()), "vlaue")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (lambda i, rng: {"y": None, "x": rng.random()}, "'y' is null in all 600 records"),
        (lambda i, rng: {"y": [1] * (i % 3), "x": rng.random()}, "'y' is no single value"),
        (lambda i, rng: {"y": f"text number {i}", "x": rng.random()}, "'y' has 600 different values"),
        (
            lambda i, rng: {"y": f"/page/{i % 101}", "x": rng.random()},
            r"2 to 100 classes\. .*: \{fields: \[y\], known: forecast, classes: \{open: true\}\}, .*SYMBOLS",
        ),
        (lambda i, rng: {"y": "a", "x": rng.random()}, "from 2 to 100 classes$"),
        (lambda i, rng: {"y": True, "x": rng.random()}, "'y' is true in all 600 records"),
        (lambda i, rng: {"y": f"2025-01-01T00:{i % 60:02d}:00", "x": rng.random()}, "'y' is a time"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(
    document: Callable[[int, random.Random], dict[str, Any]], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        drafted(document)


def test_without_anything_to_predict_a_draft_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no field could be predicted.*--target"):
        draft(sample_like(N, lambda i: {"note": f"so much text {i} in here"}))


def test_a_target_that_no_other_field_speaks_of_is_forecast() -> None:
    assert drafted(lambda i, rng: {"y": rng.random()}).target.known == "forecast"


def test_few_values_are_classes_where_no_number_is_there() -> None:
    found = draft(sample_like(N, lambda i: {"state": ("ok", "ok", "bad")[i % 3], "kind": "x"}))
    assert (found.target.path, found.target.classes) == ("state", ["ok", "bad"])


def test_truth_values_as_text_keep_their_spelling_as_classes() -> None:
    assert drafted(lambda i, rng: {"y": "True" if rng.random() < 0.3 else "False"}).target.classes == ["False", "True"]


# ---- what gives it away


@pytest.mark.parametrize(
    ("leak", "why"),
    [
        (lambda y: y, "the same as the target"),
        (lambda y: str(y), "the same as the target"),
        (lambda y: -60 * y + 3, "a linear function of the target (-60 times it + 3)"),
        (lambda y: y**3, "rises and falls with the target in every record"),
        (lambda y: "n" if y is None else f"bin-{y:.0f}", "each of its values has one value of the target"),
    ],
)
def test_a_field_that_gives_a_number_away_is_left_out(leak: Callable[[Any], Any], why: str) -> None:
    def document(_: int, rng: random.Random) -> dict[str, Any]:
        y = float(rng.randrange(40))
        return {"y": y, "leak": leak(y), "x": rng.random() + y / 40}

    found = drafted(document)
    assert left_out(found)["leak"] == f"GIVES THE TARGET AWAY: {why}; put it in only if it is known before"
    assert encoders(found) == {"x": "numeric"}


@pytest.mark.parametrize(
    ("leak", "why"),
    [
        (lambda bad, rng: "E" if bad else "none", "each of its values has one class of the target"),
        (lambda bad, rng: rng.random() + bad, "its ranges tell the classes of the target apart"),
    ],
)
def test_a_field_that_gives_a_class_away_is_left_out(leak: Callable[[bool, random.Random], Any], why: str) -> None:
    def document(_: int, rng: random.Random) -> dict[str, Any]:
        bad = rng.random() < 0.2
        return {"y": bad, "leak": leak(bad, rng), "x": rng.random()}

    assert why in left_out(drafted(document))["leak"]


def test_a_field_that_merely_helps_stays() -> None:
    found = drafted(lambda i, rng: {"x": (x := rng.gauss(0, 1)), "y": x + rng.gauss(0, 0.1)})
    assert encoders(found) == {"x": "numeric"}


def test_a_sum_of_fields_is_warned_of() -> None:
    found = drafted(
        lambda i, rng: {"net": (net := rng.uniform(1, 9)), "tax": (tax := rng.uniform(0, 2)), "y": net + tax}
    )
    assert "y is a sum of multiples of net, tax" in found.warnings[-1]


def test_other_words_for_the_same_are_left_out() -> None:
    found = drafted(lambda i, rng: {"code": f"c{i % 6}", "title": f"Title {i % 6}", "y": rng.random()})
    assert left_out(found)["title"] == "says what code says, by other words"
    assert "code" not in left_out(found)
