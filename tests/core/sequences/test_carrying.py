"""Sequences that come in chunks, states that are carried, and gaps: what goes on from record to record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.core.sequences.reasons import NONE, TOO_LONG, UNKNOWN
from streamrnn.learner.block import PREDICT
from streamrnn.learner.predictions import Predictions, SequenceScores
from streamrnn.learner.spec import StreamSpec
from tests.support.whole_sequences import learner_with, records, some_frames, spec_with

CHUNKS = {"chunks": True}
FRAMES = some_frames(7)
CUTS = [2, 2, 5]
"""The second chunk has no frames."""
PARTS = np.split(FRAMES, CUTS)
ENDS = [False, False, False, True]
ANSWERS: dict[str, Any] = {
    "label": {"labels": [np.nan, np.nan, np.nan, 2.0]},
    "transcript": {"answers": [None, None, None, [0.0, 2.0]]},
    "sequence": {"answers": [None, None, None, [0.0, 2.0]]},
    "labels": {"answers": [[0.0, 1.0], [], [2.0, np.nan, 0.0], [1.0, 1.0]]},
}
WHOLE: dict[str, Any] = {
    "label": {"labels": [2.0]},
    "transcript": {"answers": [[0.0, 2.0]]},
    "sequence": {"answers": [[0.0, 2.0]]},
    "labels": {"answers": [[0.0, 1.0, 2.0, np.nan, 0.0, 1.0, 1.0]]},
}


def said(predictions: Predictions) -> SequenceScores:
    assert predictions.sequences is not None
    return predictions.sequences


def said_of(predictions: Predictions, i: int) -> tuple[list[int], np.ndarray]:
    sequences = said(predictions)
    inside = slice(*sequences.bounds[i : i + 2])
    return sequences.number[inside].tolist(), sequences.value[inside]


@pytest.mark.parametrize("model", [{}, {"direction": "both"}, {"cell": "lstm", "num_layers": 2}], ids=str)
@pytest.mark.parametrize(("stack", "kind"), [(1, kind) for kind in ANSWERS] + [(2, "label"), (3, "transcript")])
def test_chunks_come_to_what_the_whole_comes_to(kind: str, stack: int, model: dict[str, Any]) -> None:
    whole = learner_with(spec_with(kind, sequence={"stack": stack}, model=model))
    parts = learner_with(spec_with(kind, sequence={"stack": stack, **CHUNKS}, model=model))
    once = whole.process(records([FRAMES], **WHOLE[kind]))
    last = parts.process(records(PARTS, end=ENDS, **ANSWERS[kind]))
    np.testing.assert_allclose(last.value[-1], once.value[0], rtol=1e-12)
    assert said_of(last, 3)[0] == said_of(once, 0)[0]
    np.testing.assert_allclose(said_of(last, 3)[1], said_of(once, 0)[1], rtol=1e-12)
    assert last.loss[-1] == pytest.approx(once.loss[0], rel=1e-12)
    assert np.isnan(last.loss[:-1]).all()
    assert said(last).reason.tolist() == [NONE] * 4
    for name, weights in whole.get_weights().items():
        np.testing.assert_allclose(parts.get_weights()[name], weights, rtol=1e-9, atol=1e-12, err_msg=name)
    assert parts.counters()["sequences_ended"] == 1


def test_what_is_said_so_far_of_a_label_is_what_would_be_said_if_that_were_all() -> None:
    whole, parts = learner_with(spec_with("label")), learner_with(spec_with("label", sequence=CHUNKS))
    so_far = parts.process(records(PARTS, end=ENDS, labels=[np.nan] * 4))
    for i, cut in enumerate([*CUTS, len(FRAMES)]):
        alone = whole.predict(records([FRAMES[:cut]], labels=[np.nan], kind=PREDICT))
        np.testing.assert_allclose(so_far.value[i], alone.value[0], rtol=1e-12)


@pytest.mark.parametrize("stack", [1, 2])
def test_the_transcript_so_far_is_that_of_the_whole_steps_that_came(stack: int) -> None:
    sequence = {"stack": stack}
    whole = learner_with(spec_with("transcript", sequence=sequence), seed=3)
    parts = learner_with(spec_with("transcript", sequence={**sequence, **CHUNKS}), seed=3)
    so_far = parts.process(records(PARTS, end=ENDS, answers=[None] * 4))
    assert said_of(so_far, 3)[0]
    for i, cut in enumerate(CUTS):
        alone = whole.predict(records([FRAMES[: cut // stack * stack]], answers=[None], kind=PREDICT))
        assert said_of(so_far, i)[0] == said_of(alone, 0)[0]
        np.testing.assert_allclose(said_of(so_far, i)[1], said_of(alone, 0)[1], rtol=1e-12)


def test_a_chunk_says_the_labels_of_the_steps_it_brings_and_the_last_one_all_of_them() -> None:
    parts = learner_with(spec_with("labels", sequence=CHUNKS))
    predictions = parts.process(records(PARTS, end=ENDS, answers=[None] * 4))
    assert np.diff(said(predictions).bounds).tolist() == [2, 0, 3, 7]
    joined = np.concatenate([said_of(predictions, i)[1] for i in range(3)])
    np.testing.assert_allclose(said_of(predictions, 3)[1][:5], joined, rtol=1e-12)


@pytest.mark.parametrize("kind", ANSWERS)
def test_nothing_is_said_before_the_end_by_who_reads_both_ways(kind: str) -> None:
    learner = learner_with(spec_with(kind, sequence=CHUNKS, model={"direction": "both"}))
    predictions = learner.process(records(PARTS, end=ENDS, **ANSWERS[kind]))
    assert np.isnan(predictions.value[:3]).all()
    assert said(predictions).bounds[3] == 0
    assert said(predictions).complete.tolist() == ENDS


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_chunk_that_is_asked_about_twice_is_told_what_the_event_will_be(kind: str) -> None:
    learner = learner_with(spec_with(kind, sequence=CHUNKS))
    block = records(PARTS, end=ENDS, **ANSWERS[kind])
    for i in range(len(PARTS)):
        learner.predict(block.rows(slice(i, i + 1)))
        asked = learner.predict(block.rows(slice(i, i + 1)))
        told = learner.process(block.rows(slice(i, i + 1)))
        np.testing.assert_array_equal(asked.value, told.value)
        np.testing.assert_array_equal(said(asked).number, said(told).number)
        np.testing.assert_array_equal(said(asked).value, said(told).value)


def test_a_carried_state_makes_two_sequences_of_labels_read_as_one() -> None:
    whole, carried = (learner_with(spec_with("labels", sequence={"carry": carry})) for carry in (False, True))
    once = whole.process(records([FRAMES], answers=[None]))
    twice = carried.process(records([FRAMES[:3], FRAMES[3:]], answers=[None, None]))
    np.testing.assert_allclose(said(twice).value, said(once).value, rtol=1e-12)


def test_chunks_go_on_from_the_carried_state_and_are_learned_from_it() -> None:
    sequence = {"carry": True}
    whole = learner_with(spec_with("label", sequence=sequence))
    parts = learner_with(spec_with("label", sequence={**sequence, **CHUNKS}))
    first = some_frames(4, 5)
    once = whole.process(records([first, FRAMES], labels=[0.0, 2.0]))
    last = parts.process(records([first, *PARTS], end=[True, *ENDS], labels=[0.0, *ANSWERS["label"]["labels"]]))
    np.testing.assert_allclose(last.value[-1], once.value[-1], rtol=1e-9)
    for name, weights in whole.get_weights().items():
        np.testing.assert_allclose(parts.get_weights()[name], weights, rtol=1e-9, atol=1e-12, err_msg=name)


def after_a_gap(kind: str, sequence: dict[str, Any], parts: list[np.ndarray], ends: list[bool], **given: Any) -> Any:
    spec = replace(spec_with(kind, sequence=sequence), streams=StreamSpec(reset_after_s=1))
    learner, block = learner_with(spec), records(parts, end=ends, time_ms=[0, 2_000], **given)
    first = learner.process(block.rows(slice(0, 1)))
    asked = learner.predict(block.rows(slice(1, 2)))
    last = learner.process(block.rows(slice(1, 2)))
    np.testing.assert_array_equal(asked.value, last.value)
    return learner, Predictions.joined([first, last])


def test_a_gap_ends_a_sequence_in_chunks_unlearned_and_another_begins() -> None:
    learner, predictions = after_a_gap("label", CHUNKS, [FRAMES[:3], FRAMES[3:]], [False, True], labels=[np.nan, 1.0])
    alone = learner_with(spec_with("label")).process(records([FRAMES[3:]], labels=[1.0]))
    np.testing.assert_allclose(predictions.value[1], alone.value[0], rtol=1e-12)
    assert learner.counters()["sequences_ended"] == 2
    assert learner.counters()["updates"] == 1


def test_a_gap_forgets_a_carried_state() -> None:
    learner, predictions = after_a_gap(
        "label", {"carry": True}, [FRAMES[:3], FRAMES[3:]], [True, True], labels=[np.nan] * 2
    )
    alone = learner_with(spec_with("label")).process(records([FRAMES[3:]], labels=[np.nan]))
    np.testing.assert_allclose(predictions.value[1], alone.value[0], rtol=1e-12)
    assert learner.counters()["sequences_ended"] == 3


def test_a_sequence_in_chunks_that_is_too_long_is_predicted_from_what_fits_and_not_learned() -> None:
    learner = learner_with(spec_with("label", sequence={**CHUNKS, "max_steps": 4}))
    predictions = learner.process(
        records([FRAMES[:3], FRAMES[3:], FRAMES[:0], FRAMES[:0]], end=ENDS, labels=[np.nan, np.nan, np.nan, 1.0])
    )
    alone = learner_with(spec_with("label")).process(records([FRAMES[:4]], labels=[np.nan]))
    np.testing.assert_allclose(predictions.value[3], alone.value[0], rtol=1e-12)
    assert said(predictions).reason.tolist() == [NONE, NONE, NONE, TOO_LONG]
    assert learner.counters()["frames"] == 4
    assert learner.counters()["frames_dropped"] == 3
    assert learner.counters()["updates"] == 0


def test_of_chunks_only_the_last_one_can_lack_an_answer() -> None:
    learner = learner_with(spec_with("label", sequence=CHUNKS))
    predictions = learner.process(records(PARTS, end=ENDS, labels=[1.0, 1.0, 1.0, np.nan]))
    assert said(predictions).reason.tolist() == [NONE, NONE, NONE, UNKNOWN]
