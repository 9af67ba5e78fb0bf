"""Whole jobs, drawn from seeds, with logs of hostile records, against everything that holds of any job.

    python -m tests.bench.fuzz_jobs --seeds 0 1000                 all claims of support/claims.py
    python -m tests.bench.fuzz_jobs --seeds 0 100 --claims twin    only this one
    python -m tests.bench.fuzz_jobs --seeds 17 18 --small          the smallest job and log of it that fail

A seed is a job file, a third of them with settings that may not go together, and a log. A job is refused at a field
that there is, or cuts of its log into polls, restores and questions change no byte; its checkpoint is inspected,
exported, loaded by an estimator and begun with; ``evaluate`` says what the daemon says; a changed job is refused with a
reason or goes on; and the naive learner agrees. With ``NUMBA_DISABLE_JIT=1`` kernels are Python, where an index that is
negative or beyond its array is an error (``support/from_the_front``). Failures are told by kind, each as it is found,
and in the end with the seeds that lead to it; how far it came is told now and then, so that it may be stopped any time.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import logging
import random
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streamrnn.broker.protocol import Record
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from tests.support import claims
from tests.support.drawn_jobs import Job as Drawn
from tests.support.drawn_jobs import drawn, grown, spoilt
from tests.support.drawn_records import records
from tests.support.from_the_front import arrays_from_the_front

CHANGES = "changes"
"""The claim about a job whose settings change, which takes two."""
EVERY = 20
"""Seeds from one line about how far it came to the next."""
Failure = tuple[str, ...]


def made(seed: int) -> tuple[Drawn, Drawn, list[Record], float]:
    """A job, the same with a setting changed, a log, and how hostile that is."""
    rng = random.Random(seed)
    job = drawn(rng)
    if rng.random() < 0.35:
        job = spoilt(rng, job, rng.choice((1, 1, 2)))
    hostile = rng.choice((0.0, 0.0, 0.1, 0.5))
    by_label = (job.get("target") or {}).get("known") == "label"
    log = records(rng, rng.choice((1, 10, 40, 80)), hostile, by_label)
    other = grown(rng, job) if _may_grow(job) and rng.random() < 0.6 else spoilt(rng, job, rng.choice((1, 1, 2)))
    return job, other, log, hostile


def _may_grow(job: Drawn) -> bool:
    """Whether there is what ``grown`` changes: a job that was spoilt may lack it, and is refused."""
    return claims.parsed(job) is not None and isinstance(job["model"].get("hidden_size"), int)


def failure(what: str, held: Callable[[], object]) -> Failure | None:
    """What goes wrong and where; None where all is well."""
    try:
        held()
    except Exception as error:
        where = [f"{Path(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(error.__traceback__)[-3:]]
        return what, type(error).__name__, str(error)[:120].replace("\n", " "), " ".join(where)
    return None


def held(claim: str, job: Drawn, other: Drawn, log: Sequence[Record], seed: int) -> bool:
    """Check one claim, raising whatever is raised; False where there is nothing to check."""
    config = claims.parsed(job)
    if config is None:
        return False
    if claim == CHANGES:
        new = claims.parsed(other)
        return new is not None and claims.takes_up(config, new, log, random.Random(seed))
    if claim == "file":
        claims.is_described(config)
        return True
    if claim == "twin" and not _a_twin_can_follow(config):
        return False
    with tempfile.TemporaryDirectory() as directory:
        claims.ALL[claim](Job(config), log, random.Random(seed), Path(directory))
    return True


def _a_twin_can_follow(config: Config) -> bool:
    """The twin solves for all regressors at each record, without tricks."""
    spec = config.learner_spec()
    return spec.n_regressors < 40 and spec.n_outputs < 60 and spec.model.units < 9


def smaller(job: Drawn, log: Sequence[Record], fails: Callable[[Drawn, Sequence[Record]], bool]) -> tuple[Drawn, Any]:
    """The job with fewer settings and the log with fewer records, of which the same fails."""
    step = len(log) // 2
    while step:
        for start in range(0, len(log), step):
            fewer = [*log[:start], *log[start + step :]]
            if fewer and fails(job, fewer):
                log = fewer
                break
        else:
            step //= 2
    for section in list(job):
        for name in [None, *(job[section] if isinstance(job[section], dict) else ())]:
            without = copy.deepcopy(job)
            if name is None:
                del without[section]
            else:
                without.get(section, {}).pop(name, None)
            if fails(without, log):
                job = without
    return job, log


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, check and tell."""
    every = ["file", *claims.ALL, CHANGES]
    parser = argparse.ArgumentParser(description="Whole jobs against what holds of any job.")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 200), metavar=("FROM", "TO"))
    parser.add_argument("--claims", nargs="*", default=every, choices=every)
    parser.add_argument("--small", action="store_true", help="make job and log of the first failure smaller")
    options = parser.parse_args(arguments)
    logging.disable()
    began, counted, failures = time.process_time(), Counter[str](), defaultdict[Failure, list[int]](list)

    def tell(until: str) -> None:
        print(f"{until}: {dict(counted)} held in {time.process_time() - began:.0f} s of processor time", flush=True)

    with arrays_from_the_front() if JIT_DISABLED else contextlib.nullcontext():
        for seed in range(*options.seeds):
            job, other, log, hostile = made(seed)
            for claim in options.claims:
                if claim == "twin" and hostile:
                    continue
                found = failure(claim, lambda: counted.update({claim: held(claim, job, other, log, seed)}))  # noqa: B023
                if found is None:
                    continue
                failures[found].append(seed)
                if len(failures[found]) == 1:
                    print(f"seed {seed}: {' | '.join(found)}", flush=True)
                if options.small:
                    _show(*smaller(job, log, functools.partial(_fails_so, found, claim, other, seed)))
                    return
            if (seed + 1) % EVERY == 0:
                tell(f"before seed {seed + 1}")
    tell("all")
    for found, seeds in sorted(failures.items(), key=lambda each: -len(each[1])):
        print(f"{len(seeds)} seeds, as {seeds[:4]}: {' | '.join(found)}")
    if failures:
        raise SystemExit(1)


def _fails_so(found: Failure, claim: str, other: Drawn, seed: int, job: Drawn, log: Sequence[Record]) -> bool:
    now = failure(claim, lambda: held(claim, job, other, log, seed))
    return now is not None and (now[:2], now[3]) == (found[:2], found[3])


def _show(job: Drawn, log: Sequence[Record]) -> None:
    print(json.dumps(job, indent=1))
    for record in log:
        print(record.key, record.timestamp_ms, record.value)


if __name__ == "__main__":
    main()
