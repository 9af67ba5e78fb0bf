"""What every partition of one running job shares: configuration, codec, encoder, fingerprint, build.

A ``Job`` is immutable and knows neither broker nor threads. It makes a partition's learner and its checkpoint store, so
that there is one place where seeds, fingerprints and directories are derived from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from streamrnn.broker.protocol import TopicPartition
from streamrnn.core import compiled
from streamrnn.errors import ConfigError
from streamrnn.job import warm_start
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.config import Config
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.opening import open_blobs
from streamrnn.learner.axes import lookahead
from streamrnn.learner.foundation import Foundation, seed_of
from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.making import new_learner
from streamrnn.learner.streams import IDLE_AT_ONCE
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.fingerprints import build_info

MOST_NUMBERS = 1 << 22
"""Numbers of predictions that are held at a time, 32 MiB; of most jobs that is any batch."""
MOST_UNITS = 1 << 20
"""Units of texts that are held at a time, some 100 MB."""


class Job:
    """A validated configuration with all that follows from it.

    ``written_under`` is the fingerprint of a job as it was before its settings changed.
    """

    def __init__(self, config: Config, written_under: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self._written_under = written_under
        self.spec = config.learner_spec()
        self.codec = RecordCodec(config)
        self.encoder = PredictionEncoder(self.spec, config.output.top, config.unit)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be continued."""
        return fingerprint(self.config) if self._written_under is None else dict(self._written_under)

    @cached_property
    def build(self) -> dict[str, str]:
        """What decides the bits besides the configuration; loads the kernels, or has them compiled."""
        return build_info(**compiled.build(self.config.model.dtype, self.spec.kernels))

    @property
    def rows_at_once(self) -> int:
        """Of how many records predictions are to be held whole at a time: of thousands of classes, of long texts, or
        where with one record many events come out that have waited."""
        text = self.config.input.text
        of_units = MOST_NUMBERS if text is None else MOST_UNITS // text.max_units
        return max(1, min(MOST_NUMBERS // max(1, self.spec.n_published * self._most_told), of_units))

    @property
    def _most_told(self) -> int:
        """Predictions that one record may lead to: of its own stream, of one that leaves for it, and of idle ones.

        Only under a ``max_bytes`` that was lowered, or for a key longer than others, more than one leaves.
        """
        if not self.spec.looks_ahead:
            return 1
        leaving = 1 + (IDLE_AT_ONCE if self.spec.streams.ttl_s is not None else 0)
        return (leaving + 1) * lookahead(self.spec) + 1

    def learner(self, tp: TopicPartition) -> Foundation:
        """A new learner for one partition, to be restored from a checkpoint.

        Raises ConfigError when there is no memory for as many streams as it is to have room for.
        """
        try:
            return new_learner(self.spec, seed_of(self.config.job, tp.topic, tp.partition))
        except MemoryError as error:
            raise ConfigError(self._too_large()) from error

    def _too_large(self) -> str:
        spec, most = self.spec, self.config.streams.max_streams
        each = bytes_per_slot(spec)
        text = (
            f"streams.max_streams: found {most:,}: a learner takes room for as many when it begins, touched as streams "
            f"come, {each / 1000:,.1f} kB each and {most * each / 1e9:,.1f} GB in all, and this machine gives less to "
            "a process; lower it"
        )
        if spec.sequence is None:
            return text
        why = "which each stream has room for until a sequence has ended, " if spec.sequence.chunks else ""
        return f"{text}, or input.sequence.max_steps ({spec.sequence.max_steps:,}), {why}or model.hidden_size"

    def first_learner(self, tp: TopicPartition) -> Foundation:
        """The learner a partition without checkpoints begins with: blank, or what ``model.warm_start`` names.

        Raises ConfigError when that file cannot be used.
        """
        learner = self.learner(tp)
        if self.config.model.warm_start is not None:
            warm_start.begin(self.config, learner, self.configuration)
        return learner

    def checkpoints(self, tp: TopicPartition) -> CheckpointStore:
        """The partition's checkpoints."""
        return CheckpointStore(
            open_blobs(self.config),
            self.config.job,
            tp.topic,
            tp.partition,
            configuration=self.configuration,
            build=self.build,
        )
