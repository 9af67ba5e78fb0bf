"""How a worker is, in a sentence."""

from __future__ import annotations

import pytest

from streamrnn.daemon.endpoint.words import Situation, counted, missing_fields, state, worse_than


@pytest.mark.parametrize(
    ("situation", "word", "sentence"),
    [
        (
            Situation({"t/0": "live", "t/1": "live"}, 0.0),
            "live",
            "Live: 2 of 2 partitions predicting, 0 records behind.",
        ),
        (Situation({"t/0": "live"}, 1234.0), "live", "Live: 1 of 1 partition predicting, 1,234 records behind."),
        (Situation({"t/0": "live"}), "live", "Live: 1 of 1 partition predicting."),
        (
            Situation({"t/0": "live", "t/1": "restoring"}, 7.0),
            "restoring",
            "Restoring: 1 of 2 partitions predicting, 1 restoring, 7 records behind.",
        ),
        (Situation({"t/0": "replaying"}), "replaying", "Replaying: 0 of 1 partition predicting, 1 replaying."),
        (
            Situation({"t/0": "live", "t/1": "stalled", "t/2": "restoring"}),
            "stalled",
            "Stalled: t/1 has records to read, and none is read.",
        ),
        (
            Situation({"t/0": "stalled"}, away_since_s=1_700_000_000.0),
            "away",
            "Broker away since 2023-11-14 22:13:20 UTC: nothing comes and nothing is sent until it answers.",
        ),
        (
            Situation({"t/0": "live"}, silent_s=130.0, hung=True, away_since_s=1.0),
            "hung",
            "Hung: the loop has not turned for 2 min; restart the worker.",
        ),
        (Situation({}), "starting", "Starting: no partition is assigned yet."),
        (Situation({}, standby=True), "standby", "Standing by: other workers of the group have all partitions."),
    ],
)
def test_the_worst_is_said(situation: Situation, word: str, sentence: str) -> None:
    said = state(situation)
    assert (said.word, said.sentence, said.good) == (word, sentence, word in ("live", "standby"))


def test_nothing_is_said_of_what_did_not_happen() -> None:
    assert counted({}, "record", "was lost") == counted({"why": 0.0}, "record", "was lost") == []
    assert missing_fields({"a": 10.0}, {"a": 10.0}) == missing_fields({}, {"a": 0.0}) == []
    assert worse_than([("last", -0.009), ("mean", 0.4)]) == []


def test_names_from_elsewhere_are_escaped_and_no_more_than_a_few() -> None:
    (line,) = missing_fields({}, {f"field\n{i}": 1.0 for i in range(9)})
    assert line.count("\n") == 0
    assert "field\\n0" in line
    assert line.endswith("...")
    assert counted({"bad\x1b": 1.0}, "record", "went") == ["1 record went (1 bad\\x1b)."]


def test_a_rival_that_is_not_beaten_is_named_in_words() -> None:
    assert worse_than([("mean", -0.25)]) == ["Predictions are worse than saying the running mean: skill -25.0 %."]
