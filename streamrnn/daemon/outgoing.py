"""What is sent for a batch: a prediction for every record that asks for one, then a dead letter for each that cannot be
used.

A prediction has its record's timestamp, or, where that had to wait for those behind it, its event's time; a dead letter
that of its sending.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from streamrnn.broker.columns import NOW, Outputs
from streamrnn.broker.protocol import Output, Record
from streamrnn.errors import RecordError
from streamrnn.job.codec.dead_letters import encode_dead_letter
from streamrnn.job.codec.records import Decoded
from streamrnn.job.job import Job
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.vocabulary import Vocabulary

MAX_AHEAD_S = 1800.0
"""A prediction carries its record's timestamp unless that is so far in the future; then it carries the present."""


def outputs(
    job: Job,
    decoded: Decoded,
    predictions: Predictions,
    classes: Vocabulary | None,
    kept: npt.NDArray[np.float64],
) -> list[Outputs]:
    """The predictions of a batch, then its dead letters; what there is none of is left out.

    ``kept``: the predictions condensed (``PredictionEncoder``).
    """
    written = job.encoder.encode_block(decoded, predictions, classes, kept)
    stamps = written.timestamp_ms
    # Brokers refuse timestamps of a future more than an hour away, and the batch with them.
    limit_ms = 1000 * int(time.time() + MAX_AHEAD_S)
    predicted = Outputs(
        job.config.output.topic,
        written.keys,
        written.values,
        np.where((stamps >= 0) & (stamps <= limit_ms), stamps, NOW),
        written.offset,
    )
    letters = [dead_letter(job, record, error) for record, error in decoded.rejected]
    return [batch for batch in (predicted, *batches(letters)) if batch]


def dead_letter(job: Job, record: Record, error: RecordError, *, unread: bool = False) -> Output:
    """The dead letter of a record."""
    to, longest = job.config.output, job.config.input.max_record_key_bytes
    key = None if record.key is None else record.key[:longest]  # too long a key may be why it is here
    letter = encode_dead_letter(record, error, to.dead_letter_value_bytes, unread=unread)
    return Output(to.dead_letter_topic, key, letter, offset=record.offset)


def batches(of: Iterable[Output]) -> list[Outputs]:
    """These outputs in as few batches as their topics and their order allow."""
    return [Outputs.of(list(alike)) for _, alike in itertools.groupby(of, key=lambda output: output.topic)]
