"""Of any job and any log the claims of ``support.claims`` hold; jobs are drawn from seeds, the same in every run.

``python -m tests.bench.fuzz_jobs`` draws as many as one likes.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from streamrnn.core.jit import JIT_DISABLED
from streamrnn.job.job import Job
from tests.support import claims
from tests.support.drawn_jobs import EXACT, WAYS, WINDOWED, drawn, grown, spoilt
from tests.support.drawn_records import records
from tests.support.from_the_front import arrays_from_the_front

SPOILT = 400
CHEAP = [name for name in claims.ALL if name != "twin"]


def of_labels(job: dict[str, object]) -> bool:
    target = job.get("target")
    return isinstance(target, dict) and target.get("known") == "label"


def test_a_job_is_valid_or_refused_at_a_field_that_there_is() -> None:
    refused = 0
    for seed in range(SPOILT):
        rng = random.Random(seed)
        config = claims.parsed(spoilt(rng, drawn(rng), 1 + seed % 3))
        if config is None:
            refused += 1
        elif seed % 4 == 0:
            claims.is_described(config)
    assert SPOILT // 4 < refused < 3 * SPOILT // 4


def test_most_jobs_that_are_drawn_are_valid() -> None:
    valid = sum(claims.parsed(drawn(random.Random(seed))) is not None for seed in range(100))
    assert valid > 80


@pytest.mark.parametrize("claim", CHEAP)
@pytest.mark.parametrize(
    ("way", "cell"),
    [(way, cell) for way in WAYS for cell in (*WINDOWED, *EXACT) if way not in WAYS[4:] or cell in WINDOWED],
)
def test_what_holds_of_any_job(way: str, cell: str, claim: str, tmp_path: Path) -> None:
    seed = f"{way} {cell}"
    while (config := claims.parsed(job := drawn(random.Random(seed), way, cell))) is None:
        seed += " again"
    rng = random.Random(seed)
    log = records(rng, 60, rng.choice((0.0, 0.2)), of_labels(job))
    claims.ALL[claim](Job(config), log, rng, tmp_path)


def test_settings_that_change_are_refused_or_taken_up() -> None:
    taken_up = 0
    for seed in range(60):
        rng = random.Random(f"changed {seed}")
        job = drawn(rng)
        before, after = claims.parsed(job), claims.parsed(spoilt(rng, job))
        if before is not None and after is not None:
            taken_up += claims.takes_up(before, after, records(rng, 60, labels=of_labels(job)), rng)
    assert taken_up > 15


@pytest.mark.parametrize("cell", [*WINDOWED, *EXACT])
@pytest.mark.parametrize("way", WAYS[:3])
def test_a_job_that_grows_says_what_it_said_and_goes_on(way: str, cell: str) -> None:
    grew = 0
    for seed in range(6):
        rng = random.Random(f"grown {way} {cell} {seed}")
        job = drawn(rng, way, cell)
        before, after = claims.parsed(job), claims.parsed(grown(rng, job))
        if before is not None and after is not None:
            grew += claims.takes_up(before, after, records(rng, 60, labels=of_labels(job)), rng)
    assert grew > 2


@pytest.mark.skipif(not JIT_DISABLED, reason="compiled arrays are addresses")
@pytest.mark.parametrize("cell", [*WINDOWED, *EXACT])
@pytest.mark.parametrize("way", WAYS[:4])
def test_no_kernel_leaves_its_arrays(way: str, cell: str) -> None:
    asked = 0
    for seed in range(2):
        rng = random.Random(f"indices {way} {cell} {seed}")
        job = drawn(rng, way, cell)
        before, after = claims.parsed(job), claims.parsed(grown(rng, job))
        if before is None:
            continue
        log = records(rng, 24, rng.choice((0.0, 0.2)), of_labels(job))
        with arrays_from_the_front():
            claims.run(Job(before), log, claims.some_cuts(rng, len(log)), claims.is_asked(Job(before), log, rng))
            if after is not None:
                claims.takes_up(before, after, log, rng)
        asked += 1
    assert asked > 0
