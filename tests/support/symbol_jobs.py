"""The example jobs of symbols over an embedded log, as scenarios with faults, and what their learner alone says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from msgspec.structs import replace

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.job.config import CheckpointConfig, Config, EmbeddedConfig
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from tests.support.jobs import EXAMPLES
from tests.support.learners import Bits, bits_of
from tests.support.scenario import START_MS, TP, Scenario
from tests.support.symbol_streams import LogLines, Visits

Written = tuple[str, dict[str, Any]]
"""Key and fields of a record."""


def example(name: str, **changes: Any) -> Config:
    """An example job on an embedded log, with fields of its sections replaced."""
    whole = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    del whole["kafka"]
    whole["embedded"] = {"directory": "log"}
    whole["input"]["topic"] = "in"
    whole["output"] = whole["output"] | {"topic": "out", "dead_letter_topic": "dead"}
    for section, fields in changes.items():
        whole[section] = {**whole.get(section, {}), **fields}
    return parse(yaml.safe_dump(whole), {})


def log_lines(n: int, hosts: int = 3, seed: int = 1) -> list[Written]:
    """Records of log lines."""
    return [(line.host, {"message": line.message}) for line in itertools.islice(LogLines(hosts, seed), n)]


def visits(n: int, visitors: int = 20, seed: int = 1, **more: int) -> list[Written]:
    """Records of pages."""
    made = itertools.islice(Visits(visitors, seed, **more), n)
    return [(visitor, {"page": page, "device": f"d{len(visitor) % 2}"}) for visitor, page in made]


class SymbolScenario(Scenario):
    """One job directory of an example, with its log."""

    def __init__(self, directory: Path, of: Config, checkpoint_each: int = 25) -> None:
        super().__init__(directory)
        self.of, self.checkpoint_each = of, checkpoint_each

    def config(self, **changes: str) -> Config:
        assert not changes
        return replace(
            self.of,
            embedded=EmbeddedConfig(directory=str(self.directory / "log")),
            checkpoint=CheckpointConfig(
                directory=str(self.directory / "checkpoints"), interval_s=3600, max_replay_records=self.checkpoint_each
            ),
            commit_interval_ms=1,
            http=None,
        )

    def write(self, records: Iterable[Written]) -> None:
        """Append records, a second apart."""
        at = sum(1 for _ in self.log.read("in", 0))
        for i, (key, fields) in enumerate(records, at):
            self.log.append(
                "in", key.encode(), json.dumps(fields).encode(), timestamp_ms=START_MS + 1000 * i, partition=0
            )
        self.log.flush()


def alone(config: Config, records: list[Record], tp: TopicPartition = TP) -> tuple[list[bytes | None], Bits]:
    """What the job's learner says of all records at once, encoded, and its bits afterwards."""
    job = Job(config)
    decoded, learner = job.codec.decode(records), job.learner(tp)
    lines = job.encoder.encode_block(decoded, learner.process(decoded.block), learner.classes)
    return lines.values.tolist(), bits_of(learner)
