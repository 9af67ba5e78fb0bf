"""Jobs of single steps that look ahead: what goes together, what a refusal says, and what is written down by itself."""

import pytest

from streamrnn.errors import ConfigError
from streamrnn.job.changes import changes
from streamrnn.job.config import Config
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import parse, warnings
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.verdicts import Way
from streamrnn.storage.fingerprints import as_json
from tests.support.jobs import yaml
from tests.support.lookahead_jobs import TARGETS, lookahead_job

BOTH = "{hidden_size: 4, direction: both, lookahead: 3}"


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_job_of_single_steps_may_look_ahead(target: str) -> None:
    spec = lookahead_job(target).learner_spec()
    assert spec.looks_ahead
    assert (spec.sequence, spec.model.lookahead, spec.kernels) == (None, 3, "sequences")


def test_the_target_before_is_not_shown_by_itself_and_time_is() -> None:
    assert lookahead_job().learner_spec().inputs == InputSpec(dt=True, previous_target=False)
    config = parse(yaml(model=BOTH, inputs="{dt: false}"), {})
    assert config.learner_spec().inputs == InputSpec(dt=False, previous_target=False)


def test_a_job_that_reads_forward_is_what_it_was() -> None:
    spec = parse(yaml(), {}).learner_spec()
    assert (spec.looks_ahead, spec.kernels, spec.inputs.previous_target) == (False, "steps", True)


REFUSED = {
    "no lookahead": (
        {"model": "{direction: both}"},
        ("model.lookahead: missing beside model.direction: both", "1 to 1,000", "or model.direction: forward"),
    ),
    "a lookahead of nothing": (
        {"model": "{direction: both, lookahead: 0}"},
        ("model.lookahead: found 0 beside model.direction: both", "or model.direction: forward"),
    ),
    "further than that": ({"model": "{direction: both, lookahead: 1001}"}, ("model.lookahead", "1000")),
    "several layers": (
        {"model": "{direction: both, lookahead: 2, num_layers: 2}"},
        ("model.num_layers: found 2", "expected 1", "hidden_size"),
    ),
    "several layers and a readout": (
        {"model": "{direction: both, lookahead: 2, num_layers: 2, readout: linear}"},
        ("lookahead: goes with direction both and num_layers 1, got both and 2",),
    ),
    "a lookahead forward": ({"model": "{lookahead: 2}"}, ("lookahead: goes with direction both",)),
    "the target before": (
        {"model": BOTH, "inputs": "{previous_target: true}"},
        ("inputs.previous_target: found true", "tell its target before it is predicted", "say false"),
    ),
    "forecasts": (
        {"model": BOTH, "target": "{fields: [delay], known: forecast}"},
        ("target.known: found forecast", "known: record", "model.direction: forward"),
    ),
    "labels that come later": (
        {"model": BOTH, "target": "{fields: [delay], known: label, event_field: id, label_field: of}"},
        ("target.known: found label", "known: record", "model.direction: forward"),
    ),
    "an event field alone": (
        {"model": BOTH, "target": "{fields: [delay], event_field: id}"},
        ("event_field, label_field: both go with known: label",),
    ),
    "least squares": (
        {"model": "{direction: both, lookahead: 2, readout: rls}"},
        ("model.readout: found 'rls'", "say linear"),
    ),
    "averaged weights": ({"model": BOTH, "learning": "{average: 0.9}"}, ("learning.average: goes with whole seq",)),
    "a kind of answer": (
        {"model": BOTH, "target": "{fields: [delay], kind: labels}"},
        ("target.kind: found 'labels' without input.sequence",),
    ),
    "steps ahead": (
        {"model": BOTH, "target": "{fields: [delay], horizon: 2}"},
        ("horizon: goes with known: forecast",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_with_looking_ahead_is_refused_with_reason_and_remedy(name: str) -> None:
    sections, messages = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        parse(yaml(**sections), {})
    for message in messages:
        assert message in str(caught.value)


def test_texts_are_refused_for_what_they_are() -> None:
    text = """
job: j
embedded: {directory: log}
input: {topic: in, text: {field: m}}
model: {direction: both, lookahead: 2}
output: {topic: out, dead_letter_topic: dead}
checkpoint: {directory: checkpoints}
"""
    with pytest.raises(ConfigError, match=r"model.direction: found both beside input.text; .* say model.direction"):
        parse(text, {})


def changed(before: Config, after: Config) -> dict[str, Way]:
    return {change.path: change.way for change in changes(as_json(fingerprint(before)), after, fingerprint(after))}


def test_how_far_it_looks_ahead_cannot_change_and_windows_can() -> None:
    job = lookahead_job()
    assert changed(job, lookahead_job(lookahead=4)) == {"model.lookahead": Way.IMPOSSIBLE}
    assert changed(job, lookahead_job(learning="{k1: 2, k2: 6}")) == {"learning.k2": Way.GROWTH}
    (why,) = [
        change.why
        for change in changes(as_json(fingerprint(job)), lookahead_job(lookahead=4), fingerprint(lookahead_job()))
        if change.path == "model.lookahead"
    ]
    assert "events that wait" in why


def test_a_job_that_reads_forward_cannot_begin_to_look_ahead() -> None:
    before, after = parse(yaml(model="{hidden_size: 4}"), {}), parse(yaml(model=BOTH), {})
    found = changed(before, after)
    assert found["model.direction"] is found["model.lookahead"] is Way.IMPOSSIBLE


@pytest.mark.parametrize(
    ("streams", "source", "said"),
    [
        ("{}", "", "waiting, unless a tombstone"),
        ("{reset_after_s: 60}", "", "waiting until its next record, unless a tombstone"),
        ("{ttl_s: 60}", "", None),
        ("{}", "end_field: end", None),
    ],
)
def test_it_is_said_where_nothing_makes_the_last_events_of_a_silent_stream_come_out(
    streams: str, source: str, said: str | None
) -> None:
    found = [line for line in warnings(lookahead_job(streams=streams, source=source)) if "model.lookahead" in line]
    assert [said in line for line in found if said] == ([True] if said else [])
    assert len(found) == (said is not None)
