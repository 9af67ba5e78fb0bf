"""What is probably not meant, said once: a field that never comes, a job that learns nothing; and crowds of streams.

A job with a mistyped field is valid and runs, and learns nothing of it. So the watch counts in how many records of a
partition each field had a value: one that came in none of the first ``FIRST`` gets a warning with the nearest names
that do come, and a line when it comes after all. Where no optimiser step was taken for many records, the warning gives
the likeliest reason, and there is a line when learning goes on.

Streams that are dropped for want of room get a line, and then one in ten minutes at most while it goes on.

Nothing of this is saved or enters the learner. A restored learner shows which fields it has had before, and records
that are replayed are counted in silence, so a restart does not repeat what is no longer true.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.logs import Seldom
from streamrnn.job.codec.names import names_in, told
from streamrnn.job.codec.presence import Field, Seen
from streamrnn.job.codec.records import Decoded
from streamrnn.job.job import Job
from streamrnn.learner.block import LABEL
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.lookahead.waiting import waiting

_log = logging.getLogger(__name__)

FIRST = 1_000
"""Records after which a field that never came, or learning that cannot happen, is worth a word."""
PATIENCE = 10_000
"""Records without an optimiser step after which that is worth a word whatever the reason."""
CROWDED_S = 600.0
"""Seconds from one line about streams that are dropped to the next."""
_SAMPLE = 100
"""Newest records whose names are read when there is something to say."""
_LONGEST = 64 * 1024
"""Bytes of the longest of them: they are kept in memory until then."""


class Watch:
    """Watches what one partition's records bring, under one job, from the given state of its learner on."""

    def __init__(self, tp: TopicPartition, job: Job, learner: Foundation) -> None:
        self._tp, self._job, self._learner = tp, job, learner
        self.fields = job.codec.fields
        counters = learner.counters()
        self._unseen = {i: field for i, field in enumerate(self.fields) if not _had(learner, job, field, counters)}
        self._warned: set[int] = set()
        self._newest: deque[bytes] = deque(maxlen=_SAMPLE)
        self._records = 0
        self._total = np.zeros((2, len(self.fields)), np.int64)
        self._shown = np.zeros_like(self._total)  # counted since ``take``
        self._learned = counters  # as they were at the newest optimiser step
        self._idle = Counter[str]()  # since then
        self._idle_seen = np.zeros_like(self._total)
        self._idle_reasons = Counter[str]()
        self._told_idle = False
        self._crowd_in_use, self._crowd_of_new = Seldom(CROWDED_S), Seldom(CROWDED_S)
        self._new_dropped = 0

    def look(self, records: Records, decoded: Decoded) -> None:
        """Count a batch, replayed or live."""
        self._records += len(records)
        self._total += decoded.seen
        self._idle_seen += decoded.seen
        self._idle["records"] += len(records)
        self._idle["filtered"] += decoded.filtered
        self._idle["tombstones"] += decoded.tombstones
        if self._job.config.target.label_field is not None:
            self._idle["labels"] += int(np.count_nonzero(decoded.block.kind == LABEL))
        for _, error in decoded.rejected:
            self._idle_reasons[error.reason] += 1
        if self._unseen or not self._learned["updates"]:
            newest = records.values[-_SAMPLE:]
            self._newest.extend(value for value in newest if value is not None and len(value) <= _LONGEST)

    def tell(self, before: Mapping[str, int], counters: Mapping[str, int], seen: Seen) -> None:
        """Log what there is to say after a live batch; ``counters`` are the learner's ``before`` it and now."""
        self._shown += seen
        if dropped := counters["evictions_capacity"] - before["evictions_capacity"]:
            self._tell_of_crowds(dropped, counters["evictions_in_use"] - before["evictions_in_use"])
        if self._unseen and self._records >= FIRST:
            self._tell_of_fields()
        if counters["updates"] != self._learned["updates"]:
            if self._told_idle:
                _log.info("%s: learning after %d records without it", self._tp, self._idle["records"])
            self._told_idle = False
            self._learned = dict(counters)
            self._idle.clear()
            self._idle_reasons.clear()
            self._idle_seen[:] = 0
        elif self._idle["records"] >= FIRST and not self._told_idle:
            reason, certain = self._why_idle(counters)
            if certain or self._idle["records"] >= PATIENCE:
                self._told_idle = True
                _log.warning("%s: no optimiser step in %d records: %s", self._tp, self._idle["records"], reason)

    def take(self) -> dict[str, tuple[int, int]]:
        """Records with and without each field since the last call, replayed ones left out."""
        present, missing = self._shown.tolist()
        self._shown[:] = 0
        return {field.path: (a, b) for field, a, b in zip(self.fields, present, missing, strict=True)}

    # -- crowds -------------------------------------------------------------------------------------------------------

    def _tell_of_crowds(self, dropped: int, in_use: int) -> None:
        self._new_dropped += dropped - in_use
        room, remedy = self._learner.streams.room, "a producer that makes keys up, or a wrong input.stream_key"
        if in_use and (total := self._crowd_in_use.due(in_use)) is not None:
            _log.warning(
                "%s: %d streams that were in use were dropped for others, since all room is taken (%d streams): raise "
                "streams.max_streams or max_bytes, or look for %s",
                self._tp, total, len(self._learner.streams), remedy,
            )  # fmt: skip
        if self._new_dropped < FIRST:
            return
        total, self._new_dropped = self._crowd_of_new.due(self._new_dropped), 0
        if total is not None:
            _log.warning(
                "%s: %d streams that were new, or had fallen silent, were dropped for others, since all room is taken "
                "(%d streams, %d with history): look for %s, or raise streams.max_streams or max_bytes",
                self._tp, total, len(self._learner.streams), room.established, remedy,
            )  # fmt: skip

    # -- fields -------------------------------------------------------------------------------------------------------

    def _tell_of_fields(self) -> None:
        names: list[str] | None = None
        for i, (path, role) in list(self._unseen.items()):
            present, missing = self._total[:, i].tolist()
            if present:
                del self._unseen[i]
                if i in self._warned:
                    _log.info("%s: %s %r comes now, after %d records without it", self._tp, role, path, missing)
            elif i not in self._warned and missing >= FIRST // 2:  # of the others little is known
                names = names_in(self._newest) if names is None else names
                self._warned.add(i)
                _log.warning(
                    "%s: %s %r came in none of %d records; %s",
                    self._tp, role, path, missing, told(path, names),
                )  # fmt: skip

    # -- learning -----------------------------------------------------------------------------------------------------

    def _why_idle(self, counters: Mapping[str, int]) -> tuple[str, bool]:
        """The likeliest reason that nothing was learned, and whether more records could not change it."""
        config, spec, idle = self._job.config, self._learner.spec, self._idle
        if idle["records"] == idle["filtered"] + idle["tombstones"] + self._idle_reasons.total():
            return self._why_unused(), True
        targets = [i for i, field in enumerate(self.fields) if field.path in config.target.fields]
        present, missing = self._idle_seen[:, targets]
        if missing.any() and not present.any():
            listed = ", ".join(repr(self.fields[i].path) for i in targets)
            near = told(config.target.fields[0], names_in(self._newest))
            return f"none of them had a value in the target {listed}; {near}", True
        grown = {name: counters[name] - self._learned[name] for name in counters}
        if config.target.label_field is not None and (why := self._why_unlabelled(grown)) is not None:
            return why
        if dropped := grown["windows_dropped_loss"] + grown["windows_dropped_gradient"]:
            what = "windows" if spec.rule == "tbptt" else "events"
            return f"{dropped} {what} were dropped, as their loss or gradient was not finite", True
        if windows := grown["windows"]:
            if spec.rule == "rtrl":
                return f"{windows} events that were learned from are fewer than learning.k1 ({spec.k1})", False
            return f"{windows} windows are fewer than learning.batch_size ({spec.lessons_per_step})", False
        if config.input.sequence is not None:
            return self._why_unlearned(grown)
        rows, k1 = self._learner.rows(self._learner.streams.n_slots), spec.k1 if spec.rule == "tbptt" else 1
        predicted = rows["steps"] - waiting(rows, spec)
        if config.target.known == "record" and predicted.size and predicted.max() >= k1:
            return "their targets are numbers too large to square, of which nothing is learned", True
        if spec.delay:
            return self._why_behind(spec.delay), False
        if config.looks_ahead:
            return (
                f"events wait for those behind them: no stream had learning.k1 + model.lookahead ({k1} + "
                f"{config.model.lookahead}) records in its sequence"
            ), False
        return f"no stream had learning.k1 ({k1}) records in its sequence", False

    def _why_behind(self, delay: int) -> str:
        """Of events that are learned in their order, by a state that goes behind the one that predicts."""
        if self._job.config.target.known == "forecast":
            return f"no stream had more than target.horizon ({delay}) records in its sequence"
        return (
            "labelled events wait for those before them in their sequence, whose labels may come yet: so far out of "
            f"order did labels come before, at most target.label_memory ({delay}) events"
        )

    def _why_unlearned(self, grown: Mapping[str, int]) -> tuple[str, bool]:
        """Of whole sequences."""
        meant = {
            "empty": "had no frames",
            "too_long": "were longer than input.sequence.max_steps",
            "too_many": "had answers longer than target.max_symbols",
            "impossible": "had fewer steps than their transcripts need",
        }
        causes = {text: n for cause, text in meant.items() if (n := grown[f"unlearned_sequences_{cause}"])}
        if causes:
            listed = ", ".join(f"{n} {text}" for text, n in causes.items())
            return f"no sequence could be learned from: {listed}", True
        if (field := self._job.config.input.end_field) is not None and not grown["sequences_ended"]:
            return f"no sequence has ended: {field!r} (input.end_field) was true in no record", True
        return "no sequence with a known answer has ended", False

    def _why_unused(self) -> str:
        conditions, filtered = self._job.config.input.where, self._idle["filtered"]
        parts = [f"{n} dead letters as {reason}" for reason, n in self._idle_reasons.most_common()]
        if self._idle["tombstones"]:
            parts.append(f"{self._idle['tombstones']} tombstones")
        if filtered:
            names = names_in(self._newest)
            asked = "; ".join(f"{c.field!r}: {told(c.field, names)}" for c in conditions if c.field not in names)
            parts.append(f"{filtered} passed over by input.where" + (f" ({asked})" if asked else ""))
        return f"none of them could be learned from: {', '.join(parts)}"

    def _why_unlabelled(self, grown: Mapping[str, int]) -> tuple[str, bool] | None:
        target, labels = self._job.config.target, self._idle["labels"]
        if not labels:
            return f"no label came, a record with a value in target.label_field ({target.label_field!r})", False
        if grown["unmatched_labels"] == labels:
            return (
                f"none of {labels} labels named an event that its stream remembers: do target.event_field "
                f"({target.event_field!r}) and label_field ({target.label_field!r}) hold the same ids, and both "
                "records the same stream key?"
            ), labels >= FIRST // 2
        if grown["late_labels"] + grown["unmatched_labels"] == labels:
            if self._learner.spec.rule == "tbptt":
                return f"all of {labels} labels came after their event had left the window: raise learning.k2", True
            if grown["passed_labels"] == labels:
                why = "newer events of their stream had theirs, and learning goes back to no event"
                return f"all of {labels} labels came after {why}", False
            return f"all of {labels} labels came after their event's sequence had ended, and can teach no more", True
        return None


def _had(learner: Foundation, job: Job, field: Field, counters: Mapping[str, int]) -> bool:
    """Whether a learner's state shows that the field has come before."""
    path, role = field
    if role == "target":
        if job.spec.target.classes is not None:
            return counters["updates"] > 0
        return bool(learner.target_statistics().count[job.config.target.fields.index(path)] > 0)
    if role == "feature":
        return _had_feature(learner, job, path)
    if role == "label_field":
        return counters["label_records"] > 0
    if role == "event_field":
        return counters["label_records"] > counters["unmatched_labels"]
    if role == "end_field":
        return counters["sequences_ended"] > 0
    return counters["records_predicted"] > 0


def _had_feature(learner: Foundation, job: Job, path: str) -> bool:
    """Of a feature: its columns held something else than what stands there while it is missing."""
    model, at = learner.model_arrays(), 0
    for feature in job.config.features:
        columns = slice(at, at := at + len(feature.columns))
        held = model["x_count"][columns] > 0
        if getattr(feature, "missing", "zero") == "zero":
            held &= model["x_mean"][columns] != 0
        if feature.field == path and held.any():
            return True
    return False
