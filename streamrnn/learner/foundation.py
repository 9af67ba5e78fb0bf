"""What every learner is, whatever one of its records is: a pure function of its specification, seed and log.

``process`` takes a block of records through the kernels. Blocks have no meaning: any cut of the same log leaves the
same bits in weights, states and predictions, and so does saving and restoring between any two records. The running
digest of the predictions lets a replay prove that it arrived where the first run was.

Nothing here knows of Kafka, files or River. Records are trusted to be decoded; numbers too large to square count as
missing.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.compiled import ensure_compiled
from streamrnn.core.counts import COUNTS, EVICTIONS, GAUGES, LOST_LABELS, RECORDS_PREDICTED
from streamrnn.core.declarations import by_name
from streamrnn.core.exact.layout import ExactLayout
from streamrnn.learner.block import EVENT, FORGET, LABEL, PREDICT, Block
from streamrnn.learner.clock import JUMPS
from streamrnn.learner.copying import Spare, StreamsCopy
from streamrnn.learner.lowering import bytes_per_stream, initial_weights, layout_of, new_model, new_streams
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.rows import Leaving, Placed
from streamrnn.learner.skill import skill_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import Beside, LearnerProgress, LearnerState, Slots, TargetStatistics
from streamrnn.learner.streams import EVICTIONS_IN_USE, SEGMENT_SLOTS, StreamIndex
from streamrnn.learner.vocabulary import Vocabularies

RLS_WEIGHT = "rls.weight"
"""The name of the RLS readout's weights (n_outputs, n_regressors) beside PyTorch's."""


def seed_of(job: str, topic: str, partition: int) -> int:
    """The seed of a partition's learner, the same wherever it runs."""
    return int.from_bytes(hashlib.sha256(f"{job}\0{topic}\0{partition}".encode()).digest()[:8], "big")


class Foundation(ABC):
    """What a learner of single steps and one of whole sequences have in common.

    Parameters
    ----------
    spec
        Everything that, with the log, determines the learner.
    seed
        Decides the initial weights, nothing else is random.

    Attributes
    ----------
    vocabularies
        The numbers of each input that is a symbol.
    classes
        Those of the classes; None where numbers are predicted.
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        ensure_compiled(spec.model.dtype, spec.kernels)
        self.spec = spec
        self.digest = 0
        self.streams = StreamIndex(
            spec.streams.max_streams,
            None if spec.streams.ttl_s is None else round(1000 * spec.streams.ttl_s),
            round(1000 * spec.streams.max_time_jump_s),
            protected_share=spec.streams.protected_share,
            max_bytes=spec.streams.max_bytes,
            stream_bytes=bytes_per_stream(spec),
            notes_left=spec.target.known == "label",
            names_leaving=spec.looks_ahead,
        )
        self._vocabularies = Vocabularies(spec)
        self.vocabularies, self.classes = self._vocabularies.of_inputs, self._vocabularies.of_classes
        self.layout = layout_of(spec)
        self._model = new_model(spec, initial_weights(spec, seed))
        self._keep_within_bounds()
        self._per_stream = new_streams(spec)
        self._copy: StreamsCopy | None = None  # under way

    @abstractmethod
    def _require_fit(self, block: Block) -> None:
        """Refuse what would make a kernel read or write outside its arrays."""

    @abstractmethod
    def _predictions(self, records: Placed) -> Predictions:
        """What it says of the records, through which it goes in order."""

    # -- the log ------------------------------------------------------------------------------------------------------

    def process(self, block: Block) -> Predictions:
        """Predict, score and learn every record of the block, in order."""
        self._require_fit(block)
        kinds = block.kind.tobytes()
        if kinds.count(EVENT) + kinds.count(LABEL) + kinds.count(FORGET) != len(kinds):
            raise ValueError(
                f"block.kind holds other kinds than {EVENT} (event), {LABEL} (label) and {FORGET} (tombstone)"
            )
        before = self.streams.records
        slots, fresh, times = self.streams.assign(block.keys, block.time_ms, kinds)
        leaving = tuple(Leaving(number - 1 - before, slot, key) for number, slot, key in self.streams.pop_leaving())
        records = Placed(block, slots, fresh, times, block.kind, leaving)
        self._rows_change(np.append(slots, np.array([of.slot for of in leaving], np.int64)))
        parts, start = [], 0
        for record, now in self.streams.pop_returns():
            parts.append(self._predictions(records.rows(slice(start, record - before))))
            self._go_back(now)
            start = record - before
        if parts:
            parts.append(self._predictions(records.rows(slice(start, len(block)))))
            predictions = Predictions.joined(parts)
        else:
            predictions = self._predictions(records)
        if self.streams.left:
            self._count_lost()
        self.digest = predictions.digest(self.digest)
        return predictions

    def predict(self, block: Block) -> Predictions:
        """Predict every record from its stream's present state, and change nothing.

        Unlike ``process`` it ignores how long the stream was idle (``ttl_s``), believes any timestamp, and does not
        look at the record's own value where targets are forecasts.
        """
        self._require_fit(block)
        slots = np.array([self.streams.find(key) for key in block.keys], dtype=np.int64)
        kind = np.full(len(block), PREDICT, dtype=np.uint8)
        return self._predictions(Placed(block, slots, np.zeros(len(block), np.bool_), block.time_ms, kind))

    def knows(self, key: bytes) -> bool:
        """Whether the stream is remembered."""
        return self.streams.find(key) != self.streams.blank

    def row_of(self, key: bytes) -> dict[str, npt.NDArray[Any]]:
        """What is kept of a stream: its row of each of ``core.arrays.Streams``, live; a blank one if unknown."""
        slot = self.streams.find(key)
        return {name: array[slot] for name, array in self._per_stream._asdict().items()}

    def newest_forecast(self, key: bytes) -> npt.NDArray[np.float64] | None:
        """The forecast made at the stream's newest event, (n_outputs,); None before its sequence had one."""
        slot = self.streams.find(key)
        step = int(self._per_stream.steps[slot])
        if step == 0 or self.spec.target.known != "forecast":
            return None
        forecast: npt.NDArray[np.float64] = self._per_stream.remembered[slot, (step - 1) % self.spec.target.furthest]
        return forecast.copy()

    @property
    def n_waiting(self) -> int:
        """How many events wait for those behind them before they are predicted; where nothing looks ahead none."""
        return 0

    @property
    def records_predicted(self) -> int:
        """How many events have gone through the kernels."""
        return int(self._model.counters[RECORDS_PREDICTED])

    def take_back_classes(self) -> None:
        """Forget the classes that have numbers, but no outputs yet: a call was broken off in between, as by Ctrl-C."""
        if self.classes is not None and self.spec.target.is_open:
            self.classes.take_back(int(self._model.outputs_in_use[0]))

    def _go_back(self, now_ms: int) -> None:
        """Stream time went back: streams that followed the wrong one must not seem to have no pauses until it comes."""
        newest = self._per_stream.last_ms[: self.streams.n_slots]
        events = self._per_stream.event_ms[: self.streams.n_slots]
        later = np.flatnonzero((newest > now_ms) | (events > now_ms).any(axis=1))
        self._rows_change(later)
        for slot in later.tolist():
            newest[slot] = min(newest[slot], now_ms)
            np.minimum(events[slot], now_ms, out=events[slot])
            self.streams.touch(slot)

    def _count_lost(self) -> None:
        """Count events that still waited for a label when their stream left.

        Where another stream has taken the slot, the kernel did so when it cleared it.
        """
        events = self._per_stream.event
        left = self.streams.pop_left()
        self._rows_change(np.array(left, np.int64))
        for slot in left:
            self._model.counters[LOST_LABELS] += np.count_nonzero(events[slot])
            events[slot] = 0

    def _rows_change(self, slots: npt.NDArray[np.int64]) -> None:
        """The rows of these slots are about to change. Whoever changes others as well has to say so before."""
        if self._copy is not None:
            self._copy.before_rows_change(slots)
            if not self._copy.left:
                self._copy = None

    # -- what there is to see -----------------------------------------------------------------------------------------

    def progress(self) -> LearnerProgress:
        """How far it has come: streams, stream time, counts, digest."""
        clock, counters = self.streams.clock, self.counters()
        return LearnerProgress(
            streams=len(self.streams),
            established=self.streams.room.established,
            key_bytes=self.streams.room.key_bytes,
            capacity=self.streams.max_streams,
            stream_time_ms=clock.now if clock.started else None,
            updates=counters["updates"],
            parameters=self.layout.size,
            counters=counters,
            digest=self.digest,
            skill=self.skill(),
        )

    def skill(self) -> dict[str, float]:
        """1 - error / error of a naive rival, by rival, over some ten thousand newest scored values (``skill``)."""
        return skill_of(self.spec, self._model.recent_errors)

    def target_statistics(self) -> TargetStatistics:
        """Count, mean and deviation of each target field over all streams so far; not kept for classes."""
        model = self._model
        return TargetStatistics.of(model.y_count, model.y_mean, model.y_m2)

    def counters(self) -> dict[str, int]:
        """Running counts of what happened, by name (``core.counts``)."""
        counts = dict(zip((count.name for count in COUNTS), self._model.counters.tolist(), strict=True))
        counts.update((count.name, getattr(self.streams, count.name)) for count in (*EVICTIONS, EVICTIONS_IN_USE))
        counts.update((count.name, getattr(self.streams.clock, count.name)) for count in JUMPS)
        return counts

    def gauges(self) -> dict[str, float]:
        """Newest gradient norm and window loss, and running sums (``core.counts.GAUGES``)."""
        return dict(zip(GAUGES, self._model.gauges.tolist(), strict=True))

    def model_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The live arrays of the model, by name; for ``learner.gauges``."""
        return by_name(self._model)

    def add_zeros(self, counts: npt.NDArray[np.int64]) -> None:
        """To the statistics of the features, as if each had been 0 in so many (n_features,) more records, long ago."""
        model, memory = self._model, float(self.spec.learning.scale_memory)
        for k in np.flatnonzero(counts).tolist():
            known, new = model.x_count[k], float(counts[k])
            total = known + new
            model.x_first[k, int(known) : int(total)] = 0.0
            # Two sets of values put together; see ``scaler.together``, of which one has no deviation.
            model.x_m2[k] += model.x_mean[k] ** 2 * known * new / total
            model.x_mean[k] *= known / total
            model.x_count[k] = min(total, memory)
            model.x_m2[k] *= model.x_count[k] / total

    def get_weights(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all weights under PyTorch's names and shapes."""
        weights = self.layout.get_weights(self._model.theta)
        if self.spec.n_regressors:
            weights[RLS_WEIGHT] = self._model.readout.full.weight.copy()
        return weights

    def largest_weight(self) -> float:
        """The largest weight of the network by its amount; NaN where one is no number."""
        theta = self._model.theta
        return max(-float(theta.min()), float(theta.max()))

    def set_weights(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Overwrite all weights, those that predict too; optimiser moments, statistics and states stay.

        Raises ValueError naming the tensors that are missing, unknown, of another shape or not finite.
        """
        weights = dict(weights)
        if self.spec.n_regressors:
            mine = self._model.readout.full.weight
            given = np.asarray(weights.pop(RLS_WEIGHT, np.nan), np.float64)
            if given.shape != mine.shape or not np.isfinite(given).all():
                raise ValueError(f"weights: {RLS_WEIGHT} must be there, of shape {mine.shape} and finite")
            self.layout.set_weights(self._model.theta, weights)
            mine[...] = given
        else:
            self.layout.set_weights(self._model.theta, weights)
            if self._model.average.size:
                self._model.average[...] = self._model.theta

        self._keep_within_bounds()

    def _keep_within_bounds(self) -> None:
        """Weights that came from elsewhere within the bounds of their cell: a question finds, and leaves, them so."""
        if isinstance(self.layout, ExactLayout):
            self.layout.constrain(self._model.theta, self.spec.model.memory)

    # -- saving -------------------------------------------------------------------------------------------------------

    def pop_touched_segments(self) -> set[int]:
        """Segments of slots touched since the last call."""
        return self.streams.pop_touched_segments()

    def state(self) -> LearnerState:
        """All it knows. Arrays and keys are the live ones: copy before going on."""
        _, _, keys, seen = self.streams.state()
        rows = {name: array[: len(keys)] for name, array in self._per_stream._asdict().items()}
        return LearnerState(self.spec, self.model_state(), {**rows, **by_name(Slots(seen))}, keys)

    def model_state(self) -> dict[str, npt.NDArray[Any]]:
        """The part of its state that is not kept per stream, live."""
        beside = Beside(*self.streams.log_state(), np.array([self.digest], np.int64))
        return by_name(self._model) | by_name(beside) | self._vocabularies.state()

    def copy_streams(self, segments: Collection[int] | None = None, spare: Spare | None = None) -> StreamsCopy:
        """Begin to copy what is kept per stream, as it is now, in these segments of slots (None: all).

        One copy at a time: where one is under way, it has to ``end`` before. Raises MemoryError where there is no room
        for what it may have to put aside; the learner goes on all the same. ``spare``: as of ``StreamsCopy``.
        """
        if self._copy is not None and self._copy.left:
            raise RuntimeError("a copy of the learner's streams is under way, and has to end before another begins")
        if segments is None:
            segments = range(-(-self.streams.n_slots // SEGMENT_SLOTS))
        self._copy = StreamsCopy(self._per_stream._asdict(), self.streams, segments, spare)
        return self._copy

    def rows(self, n_slots: int) -> dict[str, npt.NDArray[Any]]:
        """The live arrays of the first so many slots, for a state to be read into: what ``resume`` need not copy.

        Only ``resume`` makes a learner of them; before, nothing else may be asked of it.
        """
        if n_slots > self.streams.max_streams:
            raise ValueError(f"{n_slots} slots are asked for, the learner has {self.streams.max_streams}")
        rows = {**self._per_stream._asdict(), **by_name(Slots(self.streams.seen_of_all))}
        return {name: array[:n_slots] for name, array in rows.items()}

    def resume(self, state: LearnerState, *, fits: bool = False) -> None:
        """Go on from a state, instead of from what it holds now. Its arrays are copied, unless they are of ``rows``.

        Raises ValueError, and changes nothing, when the state is of another specification (``streams.max_streams``
        apart), lacks an array, holds one of another shape or type or one that nobody knows, or has more slots than
        there are here. ``fits``: all that was looked at by who read it, but for the specification.
        """
        if fits:
            state.require_spec(self.spec)
        else:
            state.require_fit(self.spec)
        if self._copy is not None:
            self._copy.end()
        for name, array in by_name(self._model).items():
            array[...] = state.model[name]
        self._keep_within_bounds()
        n = len(state.keys)
        for name, array in self._per_stream._asdict().items():
            if not np.may_share_memory(array, state.streams[name]):
                array[:n] = state.streams[name]
            array[n : self.streams.n_slots] = 0  # as of slots never used, so that what is saved tells nothing of before
        self.streams.resume(state.model["clock"], state.model["arrivals"], state.keys, state.streams["seen"])
        self._vocabularies.resume(state.model)
        self.digest = state.digest

    def __getstate__(self) -> dict[str, Any]:
        # The kernels know the arrays by address, so a copy is a learner of its own that goes on from the same state.
        return {"state": self.state().copy()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        state: LearnerState = saved["state"]
        self.__init__(state.spec, 0)  # type: ignore[misc]
        self.resume(state)
