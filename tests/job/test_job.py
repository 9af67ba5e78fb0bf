"""What all partitions of a job share makes their learners, or says why it cannot."""

import pytest

from streamrnn.broker.protocol import TopicPartition
from streamrnn.errors import ConfigError
from streamrnn.job.job import MOST_NUMBERS, Job
from streamrnn.job.job_file import parse
from tests.support.jobs import yaml
from tests.support.sequence_jobs import TARGETS, sequence_job

TP = TopicPartition("in", 0)


def test_a_learner_too_large_for_the_machine_is_refused_with_what_it_would_take() -> None:
    chunks = sequence_job(
        TARGETS["transcript"],
        frames="columns: [a, b], max_steps: 100000",
        source="end_field: last",
        more="streams: {max_streams: 100000000}",
    )
    with pytest.raises(
        ConfigError, match=r"streams.max_streams: found 100,000,000: .* kB each and 160,262.4 GB"
    ) as caught:
        Job(chunks).learner(TP)
    assert "or input.sequence.max_steps (100,000), which each stream has room for until" in str(caught.value)


def test_a_learner_of_single_steps_is_told_of_streams_alone() -> None:
    job = Job(parse(yaml(streams="{max_streams: 100000000}", model="{hidden_size: 4}", learning="{k2: 100000}"), {}))
    with pytest.raises(ConfigError, match=r"streams.max_streams: found 100,000,000.*lower it$"):
        job.learner(TP)


@pytest.mark.parametrize(("ahead", "ttl", "most"), [(10, "", 21), (10, "{ttl_s: 60}", 61), (1000, "{ttl_s: 60}", 6001)])
def test_where_events_wait_fewer_records_are_gone_through_at_once_by_what_one_may_have_come_out(
    ahead: int, ttl: str, most: int
) -> None:
    """Of its own stream all that wait and itself, of one that leaves for it, and of four idle ones."""
    sections = {"model": f"{{direction: both, lookahead: {ahead}}}"} | ({"streams": ttl} if ttl else {})
    job = Job(parse(yaml(**sections), {}))
    assert job.rows_at_once == MOST_NUMBERS // most
    assert Job(parse(yaml(), {})).rows_at_once == MOST_NUMBERS
