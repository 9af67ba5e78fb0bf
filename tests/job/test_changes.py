"""Every setting of the fingerprint has its row, and what is a job's own is judged by it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from streamrnn.errors import CheckpointError
from streamrnn.job.changes import FEATURE_SETTINGS, SETTINGS, changes, described, former, places, settings, ways_out
from streamrnn.job.config import Config
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import parse
from streamrnn.job.warm_start import FIELD, begun_with
from streamrnn.learner.changes import SETTINGS as OF_LEARNER
from streamrnn.learner.features import FeatureSpec
from streamrnn.learner.hashing import check_of
from streamrnn.learner.verdicts import Way
from streamrnn.storage.fingerprints import as_json
from tests.support.jobs import yaml


def test_every_setting_of_the_fingerprint_has_its_row() -> None:
    of_job = settings(parse(yaml(), {})).keys()
    assert sorted(of_job - SETTINGS.keys() - OF_LEARNER.keys()) == []
    # There where features are hashed, and where a job begins with a model.
    assert sorted(SETTINGS.keys() - of_job) == ["hashing.check", "model.warm_start.sha256"]
    told = {
        "n_features",
        "indicator",
        "missing",
        "has_end",
        "symbols",
        "text",
        "sequence",
        "sequence.max_steps",
        "sequence.stack",
        "sequence.chunks",
        "sequence.carry",
        "sequence.normalise",
    }  # told by features, input.end_field and input.sequence
    assert OF_LEARNER.keys() - of_job == told


def test_every_setting_of_an_encoder_has_its_row() -> None:
    expected = {
        (encoder, name) for encoder in get_args(FeatureSpec) for name in encoder.__struct_fields__ if name != "field"
    }
    assert FEATURE_SETTINGS.keys() == expected


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is said of a job that changes so."""
    old, new = parse(yaml(**before), {}), parse(yaml(**after), {})
    return [described(change) for change in changes(as_json(fingerprint(old)), new, fingerprint(new))]


def test_nothing_is_said_where_nothing_changed() -> None:
    assert lines({}, {}) == []
    assert lines({}, {"output": "{topic: a, dead_letter_topic: b}", "log_level": "debug"}) == []
    assert lines({}, {"model": "{loss: squared}", "learning": "{lr: 0.003}"}) == []


NEW = "new columns begin at zero"
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"features": "[{field: a, encoder: numeric}]"},
        {"features": "[{field: a, encoder: numeric}, {field: z, encoder: log1p}]"},
        f'features[z]: (absent) -> "log1p": by growth: {NEW}',
    ),
    (
        {"features": "[{field: a, encoder: numeric}, {field: z, encoder: log1p}]"},
        {"features": "[{field: a, encoder: numeric}]"},
        'features[z]: "log1p" -> (absent): not possible: what was learned of a column cannot be taken out; declared '
        "and not sent, a field counts as missing",
    ),
    (
        {"features": "[{field: a, encoder: numeric}]"},
        {"features": "[{field: a, encoder: log1p}]"},
        'features[a]: "numeric" -> "log1p": not possible: the column would hold other numbers; the new encoder may '
        "stand beside the old one",
    ),
    (
        {"features": "[{field: a, encoder: numeric}]"},
        {"features": "[{field: a, encoder: log1p}, {field: a, encoder: numeric}]"},
        f'features[a]: (absent) -> "log1p": by growth: {NEW}',
    ),
    (
        {"features": "[{field: a, encoder: numeric}, {field: b, encoder: numeric}]"},
        {"features": "[{field: b, encoder: numeric}, {field: a, encoder: numeric}]"},
        'features: ["a", "b"] -> ["b", "a"]: by growth: columns change places',
    ),
    (
        {"features": "[{field: a, encoder: onehot, categories: [x, 1]}]"},
        {"features": "[{field: a, encoder: onehot, categories: [y, '1', x]}]"},
        f'features[a].categories: ["x", 1] -> ["y", "1", "x"]: by growth: {NEW}',
    ),
    (
        {"features": "[{field: a, encoder: onehot, categories: [x, y]}]"},
        {"features": "[{field: a, encoder: onehot, categories: [x]}]"},
        'features[a].categories: ["x", "y"] -> ["x"]: not possible: what was learned of a column cannot be taken out; '
        "one that no longer comes costs nothing",
    ),
    (
        {"features": "[{field: a, encoder: numeric}]"},
        {"features": "[{field: a, encoder: numeric, missing: zero}]"},
        'features[a].missing: "mean" -> "zero": at once: of the records to come',
    ),
    (
        {"features": "[{field: a, encoder: numeric}]"},
        {"features": "[{field: a, encoder: numeric, missing: last}]"},
        'features[a].missing: "mean" -> "last": by growth: last values are remembered from now on',
    ),
    (
        {},
        {"input": "{topic: departures, where: [{field: op, equals: d, not: true}]}"},
        'input.where: [] -> [{"field": "op", "equals": "d", "in": null, "exists": null, "not": true}]: at once: of the '
        "records to come",
    ),
    (
        {"features": "[{field: a, encoder: symbol, symbols: {open: true, max: 4}}]"},
        {"features": "[{field: a, encoder: symbol, symbols: {open: true, max: 8}}]"},
        'features[a].symbols: {"values": null, "bytes": false, "open": true, "max": 4} -> {"values": null, "bytes": '
        'false, "open": true, "max": 8}: by growth: symbols for which there was no number get their own when they '
        "come again, and begin as what all of them shared",
    ),
    (
        {"features": "[{field: a, encoder: symbol, symbols: {open: true, max: 8}}]"},
        {"features": "[{field: a, encoder: symbol, symbols: {open: true, max: 4}}]"},
        'features[a].symbols: {"values": null, "bytes": false, "open": true, "max": 8} -> {"values": null, "bytes": '
        'false, "open": true, "max": 4}: not possible: a symbol keeps the number it was given, and what was learned of '
        "it: max can be raised, not lowered",
    ),
    (
        {"features": "[{field: a, encoder: symbol, symbols: {values: [x, 1]}}]"},
        {"features": "[{field: a, encoder: symbol, symbols: {values: [x, '1', y]}}]"},
        'features[a].symbols: {"values": ["x", 1], "bytes": false, "open": false, "max": 5000} -> {"values": ["x", '
        '"1", "y"], "bytes": false, "open": false, "max": 5000}: by growth: new symbols begin at zero, as they counted '
        "while they were missing",
    ),
    (
        {"features": "[{field: a, encoder: symbol, symbols: {values: [x, y]}}]"},
        {"features": "[{field: a, encoder: symbol, symbols: {values: [y, x]}}]"},
        'features[a].symbols: {"values": ["x", "y"], "bytes": false, "open": false, "max": 5000} -> {"values": ["y", '
        '"x"], "bytes": false, "open": false, "max": 5000}: not possible: symbols are known by their place: keep the '
        "old ones in their order, new behind",
    ),
    (
        {"features": "[{field: a, encoder: symbol, symbols: {open: true}}, {field: b, encoder: numeric}]"},
        {"features": "[{field: b, encoder: numeric}, {field: a, encoder: symbol, symbols: {open: true}}]"},
        'features: ["a", "b"] -> ["b", "a"]: by growth: columns change places',
    ),
    (
        {"features": "[{field: a, encoder: symbol, symbols: {open: true}}, {field: b, encoder: symbol, symbols: {open: "
            "true}}]"},
        {"features": "[{field: b, encoder: symbol, symbols: {open: true}}, {field: a, encoder: symbol, symbols: {open: "
            "true}}]"},
        'features: ["a", "b"] -> ["b", "a"]: not possible: inputs that are looked up are known by their place: keep '
        "them in their order",
    ),
    (
        {"features": "[{field: a, encoder: numeric}]"},
        {"features": "[{field: a, encoder: numeric}, {field: b, encoder: symbol, symbols: {open: true}}]"},
        'features[b]: (absent) -> "symbol": not possible: inputs that are looked up cannot be put in later; encoders '
        "onehot and hash can",
    ),
    (
        {"target": "{fields: [y], classes: {open: true, max: 5}}"},
        {"target": "{fields: [y], classes: {open: true, max: 6}}"},
        'target.classes: {"values": null, "bytes": false, "open": true, "max": 5} -> {"values": null, "bytes": false, '
        '"open": true, "max": 6}: by growth: symbols for which there was no number get their own when they come again',
    ),
    (
        {"target": "{fields: [y], classes: [a, b]}"},
        {"target": "{fields: [y], classes: {values: [a, b]}}"},
        'target.classes: ["a", "b"] -> {"values": ["a", "b"], "bytes": false, "open": false, "max": 5000}: at once: '
        "the same, written otherwise",
    ),
    (
        {"target": "{fields: [y], classes: {open: true, max: 5}}"},
        {"target": "{fields: [y], classes: {bytes: true}}"},
        'target.classes: {"values": null, "bytes": false, "open": true, "max": 5} -> {"values": null, "bytes": true, '
        '"open": false, "max": 5000}: not possible: the classes of an open set have their numbers from the records',
    ),
    (
        {"target": None, "input": "{topic: departures, text: {field: m}}"},
        {"target": None, "input": "{topic: departures, text: {field: m, max_units: 9}}"},
        'input.text: {"unit": "byte", "carry": true, "mark_end": true, "field": "m", "symbols": null, "max_units": '
        '16384} -> {"unit": "byte", "carry": true, "mark_end": true, "field": "m", "symbols": null, "max_units": 9}: '
        "at once: of the records to come",
    ),
    (
        {"target": None, "input": "{topic: departures, text: {field: m}}"},
        {"target": None, "input": "{topic: departures, text: {field: m, carry: false, mark_end: false}}"},
        'input.text: {"unit": "byte", "carry": true, "mark_end": true, "field": "m", "symbols": null, "max_units": '
        '16384} -> {"unit": "byte", "carry": false, "mark_end": false, "field": "m", "symbols": null, "max_units": '
        "16384}: not possible: units, and whether a text's end is one, give what was learned its meaning",
    ),
    (
        {"target": None, "input": "{topic: departures, text: {field: m, unit: word, symbols: {open: true, max: 5}}}"},
        {
            "target": None,
            "input": "{topic: departures, text: {field: m, unit: word, carry: false, symbols: {open: true, max: 6}}}",
        },
        'input.text: {"unit": "word", "carry": true, "mark_end": true, "field": "m", "symbols": {"values": null, '
        '"bytes": false, "open": true, "max": 5}, "max_units": 16384} -> {"unit": "word", "carry": false, "mark_end": '
        'true, "field": "m", "symbols": {"values": null, "bytes": false, "open": true, "max": 6}, "max_units": 16384}: '
        "by growth: symbols for which there was no number get their own when they come again",
    ),
    (
        {"features": "[{field: a, encoder: hash, buckets: 4}]"},
        {"features": "[{field: a, encoder: hash, buckets: 8}]"},
        "features[a].buckets: 4 -> 8: not possible: each bucket would hold other values",
    ),
    (
        {"features": "[{field: a, encoder: hash, buckets: 4}]"},
        {"features": "[{field: a, encoder: hash, buckets: 4}]", "hashing": "{key: secret}"},
        f'hashing.check: "{check_of("delays")}" -> "{check_of("secret")}": not possible: under another hashing.key '
        "each bucket would hold other values",
    ),
    (
        {"streams": "{protected_share: 0}"},
        {"streams": "{protected_share: 0.5}"},
        "streams.protected_share: 0.0 -> 0.5: at once: the next stream that has to leave is chosen by it",
    ),
    (
        {},
        {"streams": "{max_bytes: 1000000000}"},
        "streams.max_bytes: null -> 1000000000: at once: where streams take more than that, some are dropped with the "
        "next new one",
    ),
    (
        {},
        {"input": "{topic: departures, max_key_bytes: 10}"},
        "input.max_key_bytes: 1024 -> 10: at once: of the records to come; streams of longer names stay until they are "
        "dropped",
    ),
    (
        {"features": "[{field: a, encoder: cyclic, period: 24}]"},
        {"features": "[{field: a, encoder: cyclic, period: 7}]"},
        "features[a].period: 24.0 -> 7.0: not possible: the columns would turn at another pace",
    ),
    (
        {},
        {"target": "{fields: [other]}"},
        'target.fields: ["delay"] -> ["other"]: not possible: what was learned is of other fields, or of fields in '
        "another order",
    ),
    (
        {},
        {"target": "{fields: [delay, other]}"},
        'target.fields: ["delay"] -> ["delay", "other"]: by growth: weights of the new outputs begin at zero',
    ),
    (
        {"model": "{readout: softmax}", "target": "{fields: [c], classes: [a, 1]}"},
        {"model": "{readout: softmax}", "target": "{fields: [c], classes: [a, '1', b]}"},
        'target.classes: ["a", 1] -> ["a", "1", "b"]: by growth: a new class begins with zero weights and the lowest '
        "bias of the others",
    ),
    (
        {"model": "{readout: softmax}", "target": "{fields: [c], classes: [a, b]}"},
        {"model": "{readout: softmax}", "target": "{fields: [c], classes: [c, a, b]}"},
        'target.classes: ["a", "b"] -> ["c", "a", "b"]: not possible: classes are known by their place: keep the old '
        "ones in their order, new behind",
    ),
    (
        {},
        {"input": "{topic: departures, stream_key: k}"},
        'input.stream_key: null -> "k": not possible: streams are remembered under the names they have',
    ),
    (
        {},
        {"input": "{topic: departures, timestamp: {field: t}}"},
        'input.timestamp.field: null -> "t": not possible: stream time and the gaps between records were told by the '
        "other",
    ),
    (
        {},
        {"input": "{topic: departures, max_record_bytes: 10}"},
        "input.max_record_bytes: 1048576 -> 10: at once: of the records to come",
    ),
    (
        {"input": "{topic: departures, end_field: e}"},
        {"input": "{topic: departures, end_field: f}"},
        'input.end_field: "e" -> "f": at once',
    ),
    ({}, {"streams": "{ttl_s: 5}"}, "streams.ttl_s: null -> 5.0: at once: a stream idle for longer is dropped with "
     "the next record"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "said"), CASES, ids=[said.partition(" ")[0] for *_, said in CASES])
def test_a_change_is_told_with_both_values_and_what_comes_of_it(
    before: dict[str, Any], after: dict[str, Any], said: str
) -> None:
    assert lines(before, after) == [said]


def test_an_end_of_sequences_that_is_new_lays_windows_out_anew() -> None:
    (line,) = lines({}, {"input": "{topic: departures, end_field: e}"})
    assert line.startswith('input.end_field: null -> "e": by growth: windows are laid out anew')


def test_a_hashed_feature_that_is_new_is_told_as_such_whatever_the_key() -> None:
    hashed = "[{field: distance, encoder: numeric}, {field: c, encoder: hash, buckets: 2}]"
    (line,) = lines({"hashing": "{key: a}"}, {"features": hashed, "hashing": "{key: b}"})
    assert line == f'features[c]: (absent) -> "hash": by growth: {NEW}'
    assert lines({"features": hashed}, {"features": hashed, "hashing": "{key: delays}"}) == []  # the job's name


def test_what_was_hashed_before_there_were_keys_cannot_go_on() -> None:
    new = parse(yaml(features="[{field: c, encoder: hash, buckets: 2}]"), {})
    before = as_json(fingerprint(new))
    del before["hashing"]
    (change,) = changes(before, new, fingerprint(new))
    assert described(change).startswith('hashing.check: (absent) -> "')
    assert change.way is Way.IMPOSSIBLE
    assert "Either put the old values back, or begin anew" in ways_out([change])


def test_columns_go_to_the_places_of_their_names() -> None:
    old: Config = parse(yaml(features="[{field: a, encoder: numeric}, {field: b, encoder: cyclic, period: 7}]"), {})
    new = parse(yaml(features="[{field: b, encoder: cyclic, period: 7}, {field: a, encoder: numeric}]"), {})
    assert places(old, new) == (2, 0, 1)


SECTIONS = ("input", "inputs", "target", "model", "learning", "streams")
OTHER_KINDS = [
    *((section, other) for section in SECTIONS for other in ([], [[1]], 7, None, "x")),
    *(("job", other) for other in ([], 7, None, {})),
    *(("features", other) for other in ([[1]], 7, None, "x", {"a": []})),
]


@pytest.mark.parametrize(("section", "other"), OTHER_KINDS)
def test_a_checkpoint_s_section_of_another_kind_is_one_that_this_version_does_not_know(
    section: str, other: object
) -> None:
    config = parse(yaml(), {})
    with pytest.raises(CheckpointError, match="does not know"):
        former(config, as_json(fingerprint(config)) | {section: other})


@pytest.mark.parametrize("told", [[], 7, "x", {"sha256": None}, {}])
def test_what_a_checkpoint_tells_of_a_beginning_in_another_way_is_no_beginning(told: object) -> None:
    assert begun_with({FIELD: told}) is None


def test_of_a_long_set_the_beginning_is_shown() -> None:
    before, after = (
        {"features": f"[{{field: a, encoder: symbol, symbols: {{values: {list(range(n))}}}}}]"} for n in (5_000, 4_999)
    )
    (line,) = lines(before, after)
    assert "... (28," in line
    assert len(line) < 1_100
