"""What validate says of whole sequences: how they are read, and what those that have not ended take."""

import io

import pytest
from rich.console import Console

from streamrnn.cli import show, show_sequences
from streamrnn.cli.show_sequences import direction, frames_read, remarks_on_chunks, remarks_on_work, said, work_space
from streamrnn.job.job_file import load
from streamrnn.learner.lowering import bytes_per_slot
from tests.support.jobs import EXAMPLES
from tests.support.sequence_jobs import TARGETS, sequence_job

CHUNKS = "end_field: last"


def test_room_for_sequences_that_have_not_ended_is_told_where_it_is_much() -> None:
    (remark,) = remarks_on_chunks(sequence_job(source=CHUNKS))
    assert remark.startswith("input.sequence.max_steps: each stream has room for the 1,000 steps of a sequence")
    assert "100,000 streams" in remark
    assert list(remarks_on_chunks(sequence_job(source=CHUNKS, more="streams: {max_streams: 100}"))) == []
    assert list(remarks_on_chunks(sequence_job())) == []
    assert list(remarks_on_chunks(load(EXAMPLES / "transcriber.yaml", {}))) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("label", "one class for the whole sequence"),
        ("labels of numbers", "one number for each step"),
        ("transcript", "a transcript of at most 6 symbols"),
        ("sequence", "another sequence, of at most 6 symbols"),
        ("numbers", "3 numbers"),
    ],
)
def test_what_is_said_is_told_by_kind(kind: str, expected: str) -> None:
    assert said(sequence_job(TARGETS[kind]).learner_spec()) == expected


def test_how_sequences_are_read_is_told() -> None:
    chunked = sequence_job(source=CHUNKS)
    assert "a chunk of a sequence, up to the one where last is true" in frames_read(chunked)
    assert direction(chunked.learner_spec()) == "forwards"
    both = sequence_job(model="{direction: both, lookahead: 3}").learner_spec()
    assert direction(both) == "forwards, and backwards from 3 steps ahead"


def test_the_work_space_grows_with_the_longest_sequence() -> None:
    short, long = (
        work_space(sequence_job(frames=f"columns: [a], max_steps: {n}").learner_spec()) for n in (100, 10_000)
    )
    assert 50 * short < long < 110 * short


def test_a_job_whose_longest_sequence_does_not_fit_into_memory_is_shown_with_a_remark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert list(remarks_on_work(sequence_job())) == []

    def too_much(_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(show_sequences, "work_bytes", too_much)
    (remark,) = remarks_on_work(sequence_job())
    assert remark.startswith("input.sequence.max_steps: 1,000 steps take more memory than there is (hidden_size 4,")
    console = Console(file=io.StringIO(), width=200)
    console.print(show.job(sequence_job()))
    assert isinstance(console.file, io.StringIO)
    assert "more than there is per partition" in console.file.getvalue()


def test_what_a_checkpoint_takes_while_it_is_made_is_shown() -> None:
    console, job = Console(file=io.StringIO(), width=200), sequence_job()
    console.print(show.job(job))
    assert isinstance(console.file, io.StringIO)
    spec = job.learner_spec()
    expected = show.size((spec.streams.max_streams + 4 * 4096) * bytes_per_slot(spec))
    assert f"at most {expected} while a checkpoint is made" in console.file.getvalue()
