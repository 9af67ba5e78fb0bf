"""What is said once and asked for two hundred records later: the example charge-hardness, with one cell after another.

    .venv/bin/python -m tests.bench.far_cue [--charges 300]

Prints the table of deploy/CELLS.md: mean absolute errors by sixths of the charges, microseconds of CPU a record in the
learner, decoding apart, and bytes a stream.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.job import Job
from streamrnn.learner.lowering import bytes_per_slot
from tests.support.charges import as_records, charges
from tests.support.symbol_jobs import example

PART = 20_000
NETWORKS: dict[str, dict[str, Any]] = {
    "elstm": {},
    "glru": {"model": {"cell": "glru"}},
    "lstm, k2 32": {"model": {"cell": "lstm"}},
    "gru, k2 32": {"model": {"cell": "gru"}},
    "lstm, k2 256": {"model": {"cell": "lstm"}, "learning": {"k2": 256}},
    "gru, k2 256": {"model": {"cell": "gru"}, "learning": {"k2": 256}},
}


def run(records: list[Record], **changes: Any) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float, int]:
    """Absolute errors of all charges in order, microseconds of CPU a record, and bytes a stream."""
    config = example("charge-hardness", **changes)
    learner, codec = Job(config).first_learner(TopicPartition("in", 0)), RecordCodec(config)
    errors, cpu_s = [], 0.0
    for i in range(0, len(records), PART):
        block = codec.decode(records[i : i + PART]).block
        began = time.process_time()
        errors.append(learner.process(block).error.ravel())
        cpu_s += time.process_time() - began
    scored = np.concatenate(errors)
    return scored[np.isfinite(scored)], 1e6 * cpu_s / len(records), bytes_per_slot(config.learner_spec())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charges", type=int, default=300, help="of each of four furnaces")
    records = list(as_records(charges(parser.parse_args().charges)))
    print("| cell | errors, first to last sixth | us a record | bytes a stream |\n|---|---|--:|--:|")
    for name, changes in NETWORKS.items():
        errors, us, size = run(records, **changes)
        sixths = ", ".join(f"{part.mean():.2f}" for part in np.array_split(errors, 6))
        print(f"| {name} | {sixths} | {us:.2f} | {size:,} |", flush=True)


if __name__ == "__main__":
    main()
