"""Every exception streamrnn raises on purpose.

    StreamrnnError
    ├── ConfigError              the configuration file or a constructor argument is wrong
    ├── RecordError              one record cannot be used; it becomes a dead letter
    ├── CheckpointError          a checkpoint cannot be written or used
    │   ├── CorruptCheckpoint    bytes are missing or differ from their digest
    │   │   └── EarlierFormat    they are whole, and an earlier version wrote them in a format that is no longer read
    │   ├── UnsavedError         a worker was stopped, and its last checkpoint was not written; the log has the records
    │   ├── FingerprintMismatch  it was written under another configuration
    │   └── BlobError            the place where checkpoints are kept refused or could not be reached
    │       └── BlobNotFound     it holds nothing of that name
    ├── DivergedError            a learner's weights are such as no learning leads to; nothing it says is of any use
    ├── RecoveryError            the log and the checkpoints do not lead back to the committed position
    └── BrokerError              the broker refused or could not be reached in time
        ├── FencedError          another worker took over; this one must stop
        ├── RebalanceError       the group changed while a request ran; ask again
        ├── UndeliveredError     outputs did not arrive, so no offset was committed; send them again
        └── RefusedError         the broker does not take one record, whatever it is sent with

and every warning

    StreamrnnWarning
    ├── DelayedLabelsWarning     events are learned later than they are seen, or seem to be
    └── StreamKeyWarning         nearly every event begins a stream, which cannot be meant

A message says what is wrong, what was received, what is expected and, where there is one, the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamrnn.escaping import without_credentials


class StreamrnnError(Exception):
    """Base of everything streamrnn raises on purpose. A password that stands in an address is not shown."""

    def __str__(self) -> str:
        return without_credentials(super().__str__())


class ConfigError(StreamrnnError, ValueError):
    """A configuration file, field or constructor argument is not usable."""


class RecordError(StreamrnnError, ValueError):
    """One record cannot be decoded. ``reason`` is a short, stable code usable as a metric label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class AbsentError(RecordError):
    """One record cannot be decoded for want of a field, which is missing or null."""


class CheckpointError(StreamrnnError):
    """A checkpoint could not be written or used."""


class CorruptCheckpoint(CheckpointError):  # noqa: N818 - reads as the noun it is in logs
    """A checkpoint's bytes are missing or differ from their digest."""


class EarlierFormat(CorruptCheckpoint):
    """A checkpoint or model file is of a format that an earlier version wrote and this one does not read."""


class UnsavedError(CheckpointError):
    """A worker has stopped in good order, except that its last checkpoint was not written: the next start replays."""


class FingerprintMismatch(CheckpointError):  # noqa: N818 - as above
    """A checkpoint was written under a different configuration."""


class BlobError(CheckpointError):
    """The place where checkpoints are kept refused or could not be reached."""


class BlobNotFound(BlobError):  # noqa: N818 - as above
    """There is no blob of that name."""


class DivergedError(StreamrnnError):
    """A learner's weights have left every bound."""


class RecoveryError(StreamrnnError):
    """The log and the checkpoints do not lead back to the committed position."""


class BrokerError(StreamrnnError):
    """The broker refused a request or did not answer in time.

    ``place``: how many outputs of a batch that was being handed over were handed over before this happened.
    """

    place = 0


class FencedError(BrokerError):
    """Another worker took over this identity; this process must stop without committing."""


class RebalanceError(BrokerError):
    """The group changed while a request ran, so nothing of it took effect; the worker itself is still welcome.

    Keep the batch's encoded outputs, call the broker's ``poll`` so that the group settles, drain its ``events``, and
    for every partition still owned read ``committed`` again: at the batch's end, go on; at its start, commit again;
    anything else, drop that learner and restore it.
    """


class RefusedError(BrokerError):
    """The broker does not take one record, however often it is sent.

    ``reason`` is a short code: a metric's label. ``timestamps`` are the first and last (ms) that are taken, if it says.
    """

    def __init__(self, reason: str, detail: str, timestamps: tuple[int, int] | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.timestamps = timestamps


class UndeliveredError(BrokerError):
    """Some outputs of a batch did not arrive, and none of its offsets was committed: deliver the whole batch again.

    Unless ``refused`` says which they were: then all others have arrived. Its keys count what was sent since the last
    flush, from 0, batches by their records. A value is what the broker has against that record or, since brokers refuse
    records in groups, against one it was sent with: sent alone, it may arrive. None stands for one that certainly fell
    with another.
    """

    def __init__(self, message: str, refused: Mapping[int, RefusedError | None] | None = None) -> None:
        super().__init__(message)
        self.refused = refused or {}


class StreamrnnWarning(UserWarning):
    """Base of everything streamrnn warns of."""


class DelayedLabelsWarning(StreamrnnWarning):
    """Events are learned later than they are seen, or seem to be."""


class StreamKeyWarning(StreamrnnWarning):
    """The streams that events name can hardly be meant."""
