"""One assigned partition at work: its learner, where it is in the log, and what it has to send.

Delivered records run through codec and learner. Up to the committed offset that is a ``replay``: the same arithmetic,
no output. From there on ``process`` gives one output for every record, a prediction or a dead letter (labels,
tombstones and records that ``input.where`` passes over: none). The ordinal counts delivered records, decodable or not;
offsets are positions only.

When a replay ends, and before the next record is processed, ordinal and digest of the predictions must be those the
committed offset carries in its metadata. Nothing here talks to the broker: the loop sends, commits and says when to
checkpoint.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.broker.columns import Outputs, Records
from streamrnn.broker.protocol import Commit, Output, Record, TopicPartition
from streamrnn.daemon import counted, outgoing, worth
from streamrnn.daemon.jumps import Jumps
from streamrnn.daemon.lateness import Lateness, latencies, newest_of
from streamrnn.daemon.learning import Learning
from streamrnn.daemon.mark import AFRESH, BEGAN_WITH, WAITING, Handed, Mark
from streamrnn.daemon.metric_table import RECORDS_CONSUMED, REPLAYED_RECORDS
from streamrnn.daemon.metrics import Delta, Metrics
from streamrnn.daemon.newest import NewestPredictions
from streamrnn.daemon.saving import Saving
from streamrnn.daemon.traces import Traces
from streamrnn.daemon.watch import Watch
from streamrnn.errors import DivergedError, RecordError
from streamrnn.job.codec.records import Decoded
from streamrnn.job.job import Job
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.state import LearnerProgress
from streamrnn.learner.validity import LARGEST_WEIGHT
from streamrnn.storage.manifest import KEPT_QUARANTINED, Manifest, Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a partition begins: at a checkpoint's position, or at a position of its own (``base`` None).

    Records before ``replay_until`` are replayed; ``expected`` is what the commit there says of the run that got there,
    None where it cannot be compared. ``gap_skipped``: records behind the checkpoint are gone from the log.
    ``began_with``: how many partitions there were when the group began. ``topic_id``: see ``Progress``. ``standing``
    is the commit that was found, None where none was; ``handed``, ``replayed`` and ``quarantined`` its mark says.
    """

    lineage: str
    position: int
    ordinal: int
    replay_until: int
    base: Manifest | None = None
    expected: Mark | None = None
    gap_skipped: bool = False
    began_with: int = 0
    topic_id: str = ""
    standing: Commit | None = None
    handed: Handed | None = None
    replayed: Handed | None = None
    quarantined: tuple[int, ...] = ()


class _Learned(NamedTuple):
    """A batch and what was predicted of it; ``kept`` is that condensed (``PredictionEncoder``)."""

    decoded: Decoded
    predictions: Predictions
    kept: npt.NDArray[np.float64]


class Partition:
    """A partition whose learner is at ``position`` (the next offset), having been given ``ordinal`` records."""

    def __init__(self, job: Job, tp: TopicPartition, metrics: Metrics, learner: Foundation, start: Start) -> None:
        self.job, self.tp, self.learner = job, tp, learner
        self.lineage = start.lineage
        self.position, self.ordinal = start.position, start.ordinal
        self.committed = self.replay_until = start.replay_until
        self.offered: set[int] = set()  # positions whose commit was refused or got no answer, since the last confirmed
        self.expected, self.gap_skipped = start.expected, start.gap_skipped
        self.began_with, self.topic_id = start.began_with, start.topic_id
        self.standing, self.handed, self.quarantined = start.standing, start.handed, start.quarantined
        self.before_try: Commit | None = None  # what stood before the records that are handed over at the moment
        # In which a worker was lost; whether this one has been marked; and what the standing commit says of it.
        self.lost_replay, self.replay_marked, self.replayed = start.replayed, False, start.replayed
        # A worker was lost at records below it.
        self.careful_until = 0 if start.handed is None else start.handed.until
        self._began_at = start.replay_until
        self.caught_up = False
        self.outputs: list[Outputs] = []  # since the last confirmed commit
        self._given_up: list[str] = []  # what there is to say of records once their quarantine is committed
        self.metrics = metrics.partition(tp)
        self._timing = metrics
        self._jumps = Jumps(tp)
        self.lateness = Lateness()
        self._watch_over(learner)
        self.start_writer(start.base)

    # -- records ------------------------------------------------------------------------------------------------------

    @property
    def replaying(self) -> bool:
        """Whether records are still learned from silently."""
        return self.position < self.replay_until

    def replay(self, records: Records) -> Records:
        """Learn silently from delivered records before the committed offset; returns those from there on."""
        if not self.replaying:
            return records
        silent = records.before(self.replay_until)
        if silent:
            self._learn_again(records[:silent])
            self.metrics.add(Delta(counts={REPLAYED_RECORDS.name: silent}))
        if silent < len(records):
            # A record from beyond is here, so no other one lies before the committed offset: the replay has ended.
            self.position = self.replay_until
        return records[silent:]

    def process(self, records: Records) -> list[Outputs]:
        """Predict and learn from delivered records in order; returns what is to be sent for them."""
        before = self.learner.counters()
        self._jumps.begin(self.learner.streams.clock)
        self._learning.begin()
        # One call learns the whole batch; how the log was cut into batches does not show in the predictions.
        learned = self._learn(records)
        decoded, predictions = learned.decoded, learned.predictions
        started = time.perf_counter()
        outputs = outgoing.outputs(self.job, decoded, predictions, self.learner.classes, learned.kept)
        self._timing.phase("encode", time.perf_counter() - started)
        after = self.learner.counters()
        self._watch.tell(before, after, decoded.seen)
        self._learning.saw(predictions)
        self.metrics.add(counted.delta(len(records), decoded, predictions, before, after))
        counted.add_surprise(self.metrics, self.learner.spec, predictions)
        worth.add(self.metrics, self.learner.spec, predictions)
        self._jumps.tell(before, after, self.learner.streams.clock, self.job.config.streams.max_time_jump_s)
        self.outputs += outputs
        return outputs

    def quarantine(self, record: Record, error: RecordError) -> Output:
        """Never let the learner see this record; returns the dead letter that says so.

        It is counted and logged once a commit that says so is confirmed, see :meth:`tell_of_quarantined`.
        """
        self.quarantined = tuple(sorted({*self.quarantined, record.offset}))[-KEPT_QUARANTINED:]
        size = len(record.key or b"") + len(record.value or b"")
        self._given_up.append(f"the record at offset {record.offset} (key and value: {size} bytes) is {error}")
        return outgoing.dead_letter(self.job, record, error, unread=True)

    def tell_of_quarantined(self) -> None:
        """Count and log what is given up for good by now."""
        for line in self._given_up:
            _log.error("%s: %s", self.tp, line)
            self.metrics.add(Delta(dead_letters={"quarantined": 1}))
        self._given_up = []

    def pass_over(self, record: Record, letter: Output) -> list[Outputs]:
        """Go on behind a record that is quarantined; returns what is to be sent for it."""
        self.position, self.ordinal = record.offset + 1, self.ordinal + 1
        self.saving.learned(1)
        # With a checkpoint behind each of them, what a mark names reaches further back than the checkpoints kept.
        self.saving.asked = True
        self.metrics.add(Delta(counts={RECORDS_CONSUMED.name: 1}))
        outputs = [Outputs.of([letter])]
        self.outputs += outputs
        return outputs

    def pass_gap(self, position: int) -> None:
        """The client reads on at ``position``: what lay before holds no records (markers, compacted ones)."""
        self.position = max(self.position, position)

    def go_on(self, job: Job, learner: Foundation) -> None:
        """Go on from the present position under another job, with the learner that took over."""
        self._show_fields()
        self._learning.end()
        counted = {field.path for field in self._watch.fields}
        self.job, self.learner = job, learner
        self._watch_over(learner)
        self.metrics.forget_fields(counted - {field.path for field in self._watch.fields})

    def _watch_over(self, learner: Foundation) -> None:
        self._learning = Learning(self.tp, self.job, learner, self.metrics)
        self._watch, self._bytes_per_stream = Watch(self.tp, self.job, learner), bytes_per_slot(learner.spec)
        encoder = self.job.encoder
        self.newest = NewestPredictions(encoder.width, so_far=encoder.says_so_far)
        self.traces = Traces(learner.spec)

    def _learn_again(self, records: Records) -> None:
        """Learn what was learned before, which quarantined records were not."""
        kept = records
        if self.quarantined:
            kept = records.at(np.flatnonzero(~np.isin(records.offset, self.quarantined)))
        if kept:
            self._learn(kept)
        self.position = int(records.offset[-1]) + 1
        self.ordinal += len(records) - len(kept)

    def _learn(self, records: Records) -> _Learned:
        started = time.perf_counter()
        decoded = self.job.codec.decode(records)
        between = time.perf_counter()
        predictions, kept = self._predictions(decoded)
        self._require_weights(records)
        self._watch.look(records, decoded)
        self.lateness.processed(newest_of(records, time.time()))
        self._timing.phase("decode", between - started)
        self._timing.phase("process", time.perf_counter() - between)
        self.position = int(records.offset[-1]) + 1
        self.ordinal += len(records)
        self.saving.learned(len(records))
        return _Learned(decoded, predictions, kept)

    def _predictions(self, decoded: Decoded) -> tuple[Predictions, npt.NDArray[np.float64]]:
        """What the learner says of the records, as it is worth keeping; where that is much, piece by piece."""
        block, parts, kept, at_once = decoded.block, [], [], self.job.rows_at_once
        for start in range(0, max(1, len(block)), at_once):
            piece = slice(start, start + at_once)
            rows, silent = block.rows(piece), decoded.silent[piece]
            said = self.learner.process(rows)
            slots, condensed = self.learner.streams.newest_slots, self.job.encoder.condensed(said.value)
            if said.told is None:
                self.newest.note(slots, rows, condensed, said.updates, said.sequences, silent)
            else:
                self.newest.note_told(self.learner.streams, rows, said.told, condensed, said.updates)
            self.traces.note(slots, rows, said, silent)
            kept.append(condensed)
            parts.append(said if len(block) <= at_once else replace(said, value=condensed))
        return (parts[0], kept[0]) if len(parts) == 1 else (Predictions.joined(parts), np.concatenate(kept))

    def _require_weights(self, records: Records) -> None:
        """Stop before anything is sent that a learner without weights says, and before that is committed."""
        largest = self.learner.largest_weight()
        if not largest <= LARGEST_WEIGHT:
            raise DivergedError(
                f"{self.tp}: with the records from offset {records[0].offset} to {records[-1].offset} the learner's "
                f"weights came to {largest:g}, which no learning leads to, and nothing it predicts is of use. They "
                "were not learned here: look where the model.warm_start file or the checkpoints came from. To start "
                f"afresh, without that file: {AFRESH}"
            )

    # -- commits and checkpoints --------------------------------------------------------------------------------------

    @property
    def careful(self) -> bool:
        """Whether a worker was lost at records that come next."""
        return self.position < self.careful_until

    @property
    def proven(self) -> bool:
        """Whether something was committed that was done since the partition was restored."""
        return self.committed > self._began_at

    def commit(self, partitions: int, handed: Handed | None = None) -> Commit:
        """A commit of the present position. ``handed``: what is going to be handed to the learner from there on."""
        if handed is None:
            handed = self._stands()
        mark = Mark(
            self.lineage, self.ordinal, self.learner.digest, partitions, self.began_with, handed, self.quarantined
        )
        return Commit(self.position, mark.to_metadata())

    def commit_of_replay(self, replayed: Handed | None) -> Commit | None:
        """The commit that stands, and that ``replayed`` is going to be replayed; None where there is none."""
        mark = None if self.standing is None else Mark.from_metadata(self.standing.metadata)
        if self.standing is None or mark is None:
            return None
        mark = msgspec.structs.replace(mark, replayed=replayed, quarantined=self.quarantined)
        return Commit(self.standing.offset, mark.to_metadata())

    def _stands(self) -> Handed | None:
        """What a commit of the present position says of what was handed over behind it."""
        if self.position == self.committed:
            return self.handed
        return Handed(self.careful_until) if self.careful else None

    def confirmed(self, commit: Commit) -> None:
        """The present position is committed and everything up to it was delivered."""
        self.metrics.observe("streamrnn_prediction_latency_seconds", latencies(self.outputs, time.time()))
        self.standing, self.handed = commit, self._stands()
        self.before_try = self.replayed = None
        self.tell_of_quarantined()
        self.committed = self.replay_until = self.position
        self.expected = None  # what an earlier commit said is overtaken
        self.offered.clear()
        self.outputs = []

    def start_writer(self, base: Manifest | None) -> None:
        """Begin writing checkpoints on top of ``base`` (None: the next one is complete)."""
        self.saving = Saving(self, base)
        if base is not None:
            self.metrics.checkpoint_known(size_bytes=base.bytes, at_s=base.created_s)

    @property
    def waiting(self) -> int:
        """How many outputs were made since the last confirmed commit."""
        return sum(map(len, self.outputs))

    @property
    def dirty(self) -> bool:
        """Whether something was done that is not committed. A replay repeats what is."""
        return self.caught_up and self.position != self.committed

    @property
    def in_hand(self) -> bool:
        """Whether the standing commit says of this worker that records are being handed over."""
        return self.before_try is not None or (self.replay_marked and self.replayed is not None)

    def progress(self) -> Progress:
        """Where the learner is, for a checkpoint's manifest."""
        reached = self.learner.progress()
        waits = {WAITING: self.learner.n_waiting} if self.learner.spec.looks_ahead else {}
        return Progress(
            lineage=self.lineage,
            position=self.position,
            ordinal=self.ordinal,
            digest=reached.digest,
            stream_time_ms=reached.stream_time_ms,
            updates=reached.updates,
            parameters=reached.parameters,
            counters={**reached.counters, "streams": reached.streams, BEGAN_WITH: self.began_with, **waits},
            topic_id=self.topic_id,
            quarantined=self.quarantined,
        )

    # -- what there is to see -----------------------------------------------------------------------------------------

    def show(self, lag: int | None) -> None:
        """Bring the partition's gauges up to date and report finished checkpoints."""
        reached = self.learner.progress()
        self.metrics.show(
            active_streams=reached.streams,
            capacity=reached.capacity,
            position=self.position,
            committed=self.committed,
            lag=lag,
            stream_time_ms=reached.stream_time_ms,
            streams_with_history=reached.established,
            key_bytes=reached.key_bytes,
        )
        self._show_what_it_is(reached)
        self.metrics.set("streamrnn_input_lag_seconds", self.lateness.lag_s(lag, time.time()))
        self.metrics.set("streamrnn_last_record_timestamp_seconds", self.lateness.processed_at_s)
        self._show_fields()
        for outcome in self.saving.writer.outcomes():
            if outcome.manifest is None:
                self.metrics.checkpoint_failed()
            else:
                self.metrics.checkpoint_written(
                    seconds=outcome.duration_s, size_bytes=outcome.manifest.bytes, at_s=time.time()
                )

    def _show_what_it_is(self, reached: LearnerProgress) -> None:
        self.metrics.set("streamrnn_state_bytes", reached.streams * self._bytes_per_stream)
        self.metrics.set("streamrnn_model_parameters", reached.parameters)
        if self.learner.spec.looks_ahead:
            self.metrics.set("streamrnn_waiting_events", self.learner.n_waiting)
        worth.show(self.metrics, self.learner.spec, reached)
        self.metrics.info("streamrnn_lineage_info", lineage=self.lineage)

    def _show_fields(self) -> None:
        """Report which fields came, and how it learns: seldom, as there may be thousands of fields."""
        self.metrics.fields(self._watch.take())
        self._learning.show()

    def close(self, timeout_s: float) -> bool:
        """Wait for checkpoints handed in, and remove the partition's metrics; False when they are not durable."""
        done = self.saving.close(timeout_s)
        self.metrics.remove()
        return done
