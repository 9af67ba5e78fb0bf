"""Jobs of whole sequences: what goes together, what a refusal says, and what is written down by itself."""

from typing import Any

import msgspec
import pytest

from streamrnn.errors import ConfigError
from streamrnn.job.changes import changes
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import parse
from streamrnn.learner.features import Numeric
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.verdicts import Way
from tests.support.jobs import yaml
from tests.support.sequence_jobs import TARGETS, sequence_job


def refusal(**parts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        sequence_job(**parts)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_each_kind_makes_a_learner_s_specification(target: str) -> None:
    spec = sequence_job(target).learner_spec()
    assert spec.sequence is not None
    assert (spec.n_features, spec.sequence.chunks, spec.inputs) == (
        2,
        False,
        InputSpec(dt=False, previous_target=False),
    )
    assert type(spec.target) is TargetSpec


def test_columns_alone_are_numeric_features() -> None:
    assert sequence_job().features == (Numeric(field="a"), Numeric(field="b"))


def test_an_end_field_makes_chunks_of_records() -> None:
    spec = sequence_job(source="end_field: last").learner_spec()
    assert spec.sequence is not None
    assert spec.sequence.chunks
    assert spec.has_end


def test_single_steps_still_see_time_and_target_unless_told_otherwise() -> None:
    assert parse(yaml(), {}).learner_spec().inputs == InputSpec()
    assert parse(yaml(inputs="{dt: false}"), {}).learner_spec().inputs == InputSpec(dt=False)


LABEL = TARGETS["label"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"target": "{fields: [y], classes: [x, z]}"}, "target.kind: missing beside input.sequence"),
        ({"target": "{fields: [frames], kind: label}"}, "target.fields[0]: 'frames' holds the frames themselves"),
        ({"frames": "stack: 1"}, "input.sequence.columns: found neither columns nor features"),
        ({"frames": "columns: [a, a]"}, "input.sequence.columns: names must differ, found more than once: a"),
        ({"frames": "chunks: true"}, "input.sequence.chunks: unknown field"),
        (
            {"features": "[{field: c, encoder: numeric}]"},
            "features[0].field: found 'c', which is none of input.sequence",
        ),
        ({"source": "text: {field: m}"}, "input.sequence: found beside text"),
        (
            {"target": TARGETS["labels"], "frames": "columns: [a, b], stack: 2"},
            "input.sequence.stack: found 2 where each",
        ),
        (
            {"frames": "columns: [a], normalise: sequence", "source": "end_field: last"},
            "input.sequence.normalise: what is said so far cannot know the whole sequence",
        ),
        (
            {"target": "{fields: [y], kind: labels, classes: {open: true}}", "source": "end_field: last"},
            "target.classes: labels of chunks wait for the end, with numbers of their own: list them",
        ),
        ({"more": "inputs: {dt: true}"}, "inputs.dt: found true beside input.sequence; a sequence is read at once"),
        ({"more": "inputs: {previous_target: true}"}, "inputs.previous_target: found true beside input.sequence"),
        ({"frames": "columns: [a], carry: true", "model": "{direction: both}"}, "model.direction: with carry a state"),
        ({"model": "{lookahead: 3}"}, "model.lookahead: goes with direction both"),
        ({"model": "{readout: rls}", "target": TARGETS["number"]}, "model.readout: rls goes with single steps"),
        ({"target": "{fields: [y], kind: labels, unit: word}"}, "target.unit: found 'word' without classes"),
        ({"target": "{fields: [y], kind: label, unit: word, classes: [x, z]}"}, "target.unit: goes with kind labels,"),
        (
            {"target": "{fields: [y], kind: transcript, unit: character, classes: [ab, c]}"},
            "target.classes: found 'ab', which is not one character",
        ),
        (
            {"target": "{fields: [y], kind: transcript, classes: ['0', '1'], missing: zero}"},
            "target.missing: found zero with kind transcript",
        ),
        ({"target": "{fields: [y], kind: label, known: forecast}"}, "known: what is predicted of a whole sequence"),
        ({"source": "end_field: frames"}, "input.end_field: found 'frames', which is input.sequence.field too"),
        ({"source": "end_field: y"}, "input.end_field: found 'y', which is target.fields[0] too"),
        (
            {"target": "{fields: [y], kind: sequence}"},
            "target.horizon: found 1 with kind sequence and no classes; of one number say kind: label",
        ),
        (
            {"frames": "columns: [load, flow]", "features": "[{field: laod, encoder: numeric}]"},
            "features[0].field: found 'laod', which is none of input.sequence.columns (did you mean 'load'?)",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(parts: dict[str, str], message: str) -> None:
    assert message in refusal(**parts)


def test_a_kind_without_sequences_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"target.kind: found 'label' without input.sequence.*add input.sequence"):
        parse(yaml(target="{fields: [delay], kind: label}"), {})


def test_settings_of_windows_are_said_to_be_without_effect() -> None:
    from streamrnn.job.job_file import warnings

    (found,) = warnings(sequence_job(learning="{k1: 4, k2: 16}"))
    assert found.startswith("learning.k1, learning.k2: without effect beside input.sequence")


@pytest.mark.parametrize(
    ("target", "model", "said"),
    [
        ("label", "beam: 3", ["model.beam: without effect beside target.kind: label"]),
        ("labels", "attention: false", ["model.attention: without effect beside target.kind: labels"]),
        ("transcript", "attention: false", ["model.attention: without effect beside target.kind: transcript"]),
        ("numbers", "beam: 2", ["model.beam: without effect beside target.kind: sequence"]),
        ("transcript", "beam: 3", []),
        ("sequence", "beam: 3, attention: false", []),
        ("numbers", "attention: false", []),
    ],
)
def test_settings_of_another_kind_of_answer_are_said_to_be_without_effect(
    target: str, model: str, said: list[str]
) -> None:
    from streamrnn.job.job_file import warnings

    found = warnings(sequence_job(TARGETS[target], model=f"{{{model}}}"))
    assert [line.split(";")[0] for line in found] == said


def test_most_symbols_of_one_label_and_a_beam_of_single_steps_are_without_effect_too() -> None:
    from streamrnn.job.job_file import warnings

    (found,) = warnings(sequence_job("{fields: [y], kind: label, max_symbols: 7}"))
    assert found.startswith("target.max_symbols: without effect beside target.kind: label; it goes with transcripts")
    (found,) = warnings(parse(yaml(model="{beam: 2}"), {}))
    assert found.startswith("model.beam: without effect beside records that are single steps")


def as_json(whole: dict[str, Any]) -> dict[str, Any]:
    """A fingerprint as it is read back from a manifest."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
    return found


TWO, THREE = "columns: [a, b]", "columns: [a, b, c]"
CHUNKED = {"source": "end_field: last"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"frames": f"{TWO}, max_steps: 10"}, {"input.sequence": Way.AT_ONCE}),
        (CHUNKED, {**CHUNKED, "frames": f"{TWO}, max_steps: 10"}, {"input.sequence": Way.IMPOSSIBLE}),
        (CHUNKED, {**CHUNKED, "frames": f"{TWO}, max_steps: 2000"}, {"input.sequence": Way.GROWTH}),
        ({}, {"frames": f"{TWO}, stack: 2"}, {"input.sequence": Way.IMPOSSIBLE}),
        ({}, {"frames": f"{TWO}, normalise: sequence"}, {"input.sequence": Way.IMPOSSIBLE}),
        ({}, {"frames": f"{TWO}, carry: true"}, {"input.sequence": Way.IMPOSSIBLE}),
        ({}, {"frames": THREE}, {"features[c]": Way.GROWTH, "input.sequence": Way.AT_ONCE}),
        ({}, {"model": "{hidden_size: 4, direction: both}"}, {"model.direction": Way.IMPOSSIBLE}),
        ({}, {"model": "{hidden_size: 4, beam: 3}"}, {"model.beam": Way.AT_ONCE}),
        ({}, {"learning": "{average: 0.9}"}, {"learning.average": Way.GROWTH}),
        (
            {"target": TARGETS["transcript"]},
            {"target": TARGETS["transcript"].replace("character", "word")},
            {"target.unit": Way.AT_ONCE},
        ),
        (
            {"target": TARGETS["transcript"]},
            {"target": TARGETS["transcript"].replace("transcript", "sequence")},
            {"target.kind": Way.IMPOSSIBLE},
        ),
    ],
)
def test_what_becomes_of_a_job_that_has_learned(
    before: dict[str, str], after: dict[str, str], expected: dict[str, Way]
) -> None:
    old, new = sequence_job(**before), sequence_job(**after)  # type: ignore[arg-type]
    found = changes(as_json(fingerprint(old)), new, fingerprint(new))
    assert {change.path: change.way for change in found} == expected


def test_a_fingerprint_from_before_there_were_sequences_is_that_of_a_job_without_them() -> None:
    config = parse(yaml(), {})
    then = as_json(fingerprint(config))
    del then["input"]["sequence"], then["target"]["kind"], then["target"]["unit"], then["learning"]["average"]
    assert changes(then, config, fingerprint(config)) == []
