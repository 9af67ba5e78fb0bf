"""What must hold of any job and any log of records, each claim a function that raises AssertionError where it does not.

A job here is what stands in a job file, its records are ``drawn_records``'s; ``drawn_jobs`` draws the former. Claims
that write do so below a directory that they are given. ``ALL`` are the claims by name.
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import msgspec.inspect as mi
import numpy as np
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

import streamrnn
from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record
from streamrnn.cli import show
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.errors import ConfigError
from streamrnn.job.changes import changes, described, former, places
from streamrnn.job.config import Config
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse, warnings
from streamrnn.job.reference import structs
from streamrnn.learner.block import EVENT, Block
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.growth import carry_over
from streamrnn.learner.learner import Learner
from streamrnn.learner.making import new_learner
from streamrnn.learner.verdicts import Way
from streamrnn.offline.evaluation import evaluate
from streamrnn.offline.export import Exported, export
from streamrnn.offline.inspection import inspect
from streamrnn.storage.fingerprints import as_json
from streamrnn.storage.listing import find
from streamrnn.storage.manifest import Manifest, Progress
from streamrnn.storage.snapshot import take_snapshot
from tests.learner import test_learner_matches_naive as steps
from tests.learner.lookahead import test_learner_matches_naive as lookahead
from tests.learner.sequences import test_learner_matches_naive as sequences
from tests.support.drawn_jobs import Job as Drawn
from tests.support.drawn_jobs import as_text
from tests.support.drawn_records import TP, event
from tests.support.learners import Bits, bits_of, differing

LINEAGE = "l"


@dataclass
class Ran:
    """What came of a run: outputs as they were sent, and the learner at the end."""

    learner: Foundation
    outputs: list[tuple[Any, ...]] = field(default_factory=list)
    parts: int = 0

    @property
    def bits(self) -> Bits:
        return bits_of(self.learner)

    def sent(self, topic: str) -> list[tuple[Any, ...]]:
        """What went to one topic. Within a poll predictions come before dead letters, so order holds in each."""
        return [output for output in self.outputs if output[0] == topic]


def run(
    job: Job,
    records: Sequence[Record],
    cuts: Sequence[int] = (),
    between: Callable[[Foundation, int], Foundation] = lambda learner, _: learner,
    learner: Foundation | None = None,
) -> Ran:
    """The records in polls up to each cut; ``between`` them something happens to the learner, or another goes on."""
    learner = job.first_learner(TP) if learner is None else learner
    start = Start(lineage=LINEAGE, position=0, ordinal=0, replay_until=0)
    partition = Partition(job, TP, Metrics(CollectorRegistry()), learner, start)
    ran = Ran(learner)
    places = sorted({0, len(records), *(min(cut, len(records)) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        for batch in partition.process(Records.of(records[begin:end])):
            for one in batch:
                ran.outputs.append((one.topic, one.key, one.value, one.offset))
        partition.outputs = []
        ran.learner = between(partition.learner, end)
        if ran.learner is not partition.learner:
            partition.go_on(job, ran.learner)
    partition.show(None)
    partition.close(1.0)
    return ran


def some_cuts(rng: random.Random, n: int) -> list[int]:
    """Where polls end: everywhere, or at some places."""
    return [*range(n)] if rng.random() < 0.2 else sorted(rng.randrange(n + 1) for _ in range(rng.choice((1, 3, 8))))


# -- a job file is refused at a field that there is, or makes a job ---------------------------------------------------


def known_paths() -> frozenset[str]:
    """Every section and field that a job file may have, items of lists without their number."""
    root = mi.type_info(Config)
    assert isinstance(root, mi.StructType)
    found = set()
    for at, struct in structs(root, ""):
        found.add(at)
        found |= {f"{at}.{one.encode_name}".removeprefix(".") for one in struct.fields}
        if struct.tag_field:
            found.add(f"{at}.{struct.tag_field}")
    return frozenset(found)


_PATHS = known_paths()
_NAMED = re.compile(r"(?:line \d+: )?([a-z_0-9.\[\], ]+): ")


def parsed(job: Drawn) -> Config | None:
    """The job's configuration; None where it is refused, at a field that there is."""
    try:
        return parse(as_text(job), {})
    except ConfigError as error:
        message = str(error)
        named = _NAMED.match(message)
        assert named, f"names no field: {message}"
        for path in named[1].split(", "):
            assert re.sub(r"\[\d+\]", "[]", path) in _PATHS or re.sub(r"\[\d+\]", "", path) in _PATHS, (
                f"names {path}, which there is not: {message}"
            )
        return None


def is_described(config: Config) -> None:
    """``validate`` has something to say of it, and it is made again from what its checkpoints hold."""
    assert show.job(config)
    assert all(":" in warning for warning in warnings(config))
    told = as_json(fingerprint(config))
    again = former(config, told)
    assert again.learner_spec().in_force == config.learner_spec().in_force
    assert changes(told, config, fingerprint(config)) == []


# -- the learner is a function of the log -----------------------------------------------------------------------------


def is_the_same_however_it_is_cut(job: Job, records: Sequence[Record], rng: random.Random, _: Path) -> None:
    """Any cut into polls leads to the same bytes, and so does any restore, of whatever was asked in between."""
    whole = run(job, records)
    finite(whole)
    for how in (stays, resumes, is_asked):
        other = run(job, records, some_cuts(rng, len(records)), how(job, records, rng))
        for topic in ("out", "dead"):
            assert other.sent(topic) == whole.sent(topic), f"{topic} differs where the learner {how.__name__}"
        assert differing(other.bits, whole.bits) == [], f"where the learner {how.__name__}"


def finite(ran: Ran) -> None:
    """Nothing that was said or is kept is no number, and the state is one that a learner of its kind may have."""
    for _, _, value, _ in ran.outputs:
        assert isinstance(json.loads(value, parse_constant=_no_constant), dict)
    state = ran.learner.state()
    state.require_fit(ran.learner.spec)
    for name, array in state.model.items():
        assert np.isfinite(array).all(), f"{name} is not finite"


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


Between = Callable[[Foundation, int], Foundation]


def stays(job: Job, records: Sequence[Record], rng: random.Random) -> Between:  # noqa: ARG001
    return lambda learner, _: learner


def resumes(job: Job, records: Sequence[Record], rng: random.Random) -> Between:  # noqa: ARG001
    def other(learner: Foundation, _: int) -> Foundation:
        found = new_learner(job.spec, seed=99)  # nothing of the seed may survive
        found.resume(copy.deepcopy(learner.state()))
        return found

    return other


def is_asked(job: Job, records: Sequence[Record], rng: random.Random) -> Between:
    def ask(learner: Foundation, at: int) -> Foundation:
        rest = list(records[at : at + rng.choice((1, 3, 10))])
        if rest and not learner.spec.target.is_open:
            block = job.codec.decode(Records.of(rest)).block
            questions(learner, block)
        look(learner)
        return learner

    return ask


def questions(learner: Foundation, block: Block) -> None:
    """Everything that may be asked, none of which changes anything."""
    learner.predict(block)
    events = np.flatnonzero(block.kind == EVENT).tolist()
    if isinstance(learner, Learner) and events:
        learner.imagine(block.keys[events[0]])
        for i in events:
            learner.imagine_one(block.x[i], symbols=[column[i] for column in block.symbols])
            if learner.spec.target.known == "record" and learner.spec.text is None:
                learner.turned_out(block.y[i])


def look(learner: Foundation) -> None:
    """What the endpoint and the metrics look at."""
    learner.gauges(), learner.skill(), learner.counters(), learner.progress(), learner.get_weights()
    for key in list(learner.state().keys):
        if key is not None:
            learner.row_of(key), learner.newest_forecast(key)


# -- what is saved goes on --------------------------------------------------------------------------------------------


def saved(job: Job, ran: Ran, n: int, directory: Path) -> tuple[Config, Manifest]:
    """A checkpoint of a run, below the directory; and the job that keeps its checkpoints there."""
    config = replace(job.config, checkpoint=replace(job.config.checkpoint, directory=str(directory)))
    reached = ran.learner.progress()
    progress = Progress(
        lineage=LINEAGE, position=n, ordinal=n, digest=reached.digest, stream_time_ms=reached.stream_time_ms,
        updates=reached.updates, parameters=reached.parameters, counters=reached.counters,
    )  # fmt: skip
    store = Job(config).checkpoints(TP)
    return config, store.write(take_snapshot(ran.learner.state()), progress, only_sound=True)


def goes_on_from_checkpoints(job: Job, records: Sequence[Record], rng: random.Random, directory: Path) -> None:
    """A checkpoint is read as it was written; it is inspected; another job may begin with it; it is exported."""
    ran = run(job, records)
    config, manifest = saved(job, ran, len(records), directory / "checkpoints")
    found = Job(config).checkpoints(TP).newest(LINEAGE)
    assert found.checkpoint is not None, found.rejected
    learner = job.learner(TP)
    learner.resume(found.checkpoint.state())
    assert differing(bits_of(learner), ran.bits) == []
    (listed,) = find(directory / "checkpoints")
    looked = inspect(listed)
    json.dumps(looked.as_data(), allow_nan=False)
    for key in found.checkpoint.keys:
        assert key is None or looked.stream(key) is not None
    begins_with(config, ran, Path(listed.place), directory / "other", rng)
    done = export(listed, directory / "model.safetensors")
    if done.estimator is None:
        assert done.notes
    else:
        an_estimator_goes_on(config, done, directory / "model.safetensors", rng)
    if not config.inputs.dt:  # which an export leaves out
        begins_with(config, ran, directory / "model.safetensors", directory / "third", rng)
    assert manifest.progress.updates == ran.learner.progress().updates


def begins_with(config: Config, ran: Ran, place: Path, directory: Path, rng: random.Random) -> None:
    """A job that begins with what was learned says of a stream that nobody saw what the learner says of it."""
    begun = replace(
        config,
        model=replace(config.model, warm_start=str(place)),
        checkpoint=replace(config.checkpoint, directory=str(directory)),
    )
    job = Job(begun)
    learner = job.first_learner(TP)
    if not isinstance(learner, Learner) or learner.spec.target.is_open or learner.spec.symbols:
        return
    block = job.codec.decode(
        Records.of(
            [
                Record(*TP, i, 10**12, b"zz", json.dumps(event(rng, 0.0) | {"k": "zz", "t": 10**12}).encode())
                for i in range(4)
            ]
        )
    ).block
    if len(block):
        np.testing.assert_allclose(learner.predict(block).value, ran.learner.predict(block).value, rtol=1e-6)


def an_estimator_goes_on(config: Config, done: Exported, place: Path, rng: random.Random) -> None:
    """The estimator that an export names loads it, predicts and learns."""
    assert done.estimator is not None
    owner, key = getattr(streamrnn, done.estimator), config.hashing.key
    hashes = key is not None and "hash_key" in signature(owner.load).parameters
    model = owner.load(place, key.reveal()) if key is not None and hashes else owner.load(place)
    for _ in range(3):
        x = event(rng, 0.0)
        x[done.stream_key] = "a"
        if done.estimator == "RNNForecaster":
            model.learn_one(x["y"], {done.stream_key: "a"})
            direct = model.forecast_direct({done.stream_key: "a"})
            assert np.isfinite([*direct.values()]).all()
            assert np.isfinite(model.forecast(1, [{done.stream_key: "a"}])).all() or 1 not in direct
        elif done.estimator == "RNNLanguageModel":
            model.predict_proba_one("a")
        elif done.estimator in _OF_EVENTS:
            model.predict_one(x)
            model.learn_one(x, _OF_EVENTS[done.estimator](config, x))
    model.save(place.with_name("again.safetensors"))


_OF_EVENTS: dict[str, Callable[[Config, dict[str, Any]], Any]] = {
    "RNNRegressor": lambda _, x: x["y"],
    "RNNMultiTargetRegressor": lambda config, x: {name: x[name] for name in config.target.fields},
    "RNNClassifier": lambda config, x: (config.target.labels or (None,))[0],
}
"""What an event's target is, of estimators that learn from events."""


def evaluates_as_the_daemon_predicts(job: Job, records: Sequence[Record], *_: Any) -> None:
    """``evaluate`` writes the predictions that the daemon sends, and scores them."""
    out = io.BytesIO()
    report = evaluate(job.config, records, predictions=out)
    assert report.records == len(records)
    assert out.getvalue().splitlines() == [value for _, _, value, _ in run(job, records).sent("out")]


def agrees_with_its_twin(job: Job, records: Sequence[Record], rng: random.Random, _: Path) -> None:
    """The naive learner of its kind says and learns the same, in float64 and of records without absurd numbers."""
    spec = replace(job.spec, model=replace(job.spec.model, dtype="float64"))
    block = job.codec.decode(Records.of(list(records[:40]))).block
    if not len(block):
        return
    cuts = some_cuts(rng, len(block))[:4]
    if spec.sequence is not None:
        sequences.check_agreement(spec, block, cuts, restores=True)
    elif spec.looks_ahead:
        lookahead.check_agreement(spec, block, cuts, 1e-9, restores=True)
    else:
        steps.check_agreement(spec, block, [(cut, True) for cut in cuts], 1e-9, restores=True)


# -- settings change --------------------------------------------------------------------------------------------------


def takes_up(old: Config, new: Config, records: Sequence[Record], rng: random.Random) -> bool:
    """Settings are refused with a reason, or what was learned goes on under them; returns whether it does."""
    told = as_json(fingerprint(old))
    found = changes(told, new, fingerprint(new))
    assert all(described(change) for change in found)
    if any(change.way is Way.IMPOSSIBLE for change in found):
        return False
    before, after = Job(old), Job(new)
    half = len(records) // 2
    learned = run(before, records[:half])
    learner = after.learner(TP)
    carry_over(learned.learner.state(), learner, places(old, new))
    learner.state().require_fit(after.spec)
    if all(change.path in _HEARD_LATER for change in found):
        says_the_same(before, learned.learner, after, learner, records[half:])
    finite(run(after, records[half:], some_cuts(rng, len(records) - half), resumes(after, records, rng), learner))
    return True


_HEARD_LATER = ("features", "model.hidden_size", "model.hidden_layer", "target.label_memory", "learning.k1")
"""Settings that grow without changing a prediction before more is learned."""


def says_the_same(before: Job, old: Foundation, after: Job, new: Foundation, records: Sequence[Record]) -> None:
    """What the larger learner says of records to come is what the smaller one says.

    Under rls only where little is forgotten: ``tests/learner/test_growth_exact.py`` and its like hold that.
    """
    if not records or old.spec.target.is_open or old.spec.text is not None or old.spec.model.readout == "rls":
        return
    said, says = (
        learner.predict(job.codec.decode(Records.of(list(records))).block).value
        for job, learner in ((before, old), (after, new))
    )
    assert said.shape == says.shape
    close = 1e-9 if old.spec.model.dtype == "float64" else 1e-4
    np.testing.assert_allclose(says, said, rtol=close, atol=close * max(1.0, np.nanmax(np.abs(said), initial=0.0)))


ALL: dict[str, Callable[[Job, Sequence[Record], random.Random, Path], None]] = {
    "cuts": is_the_same_however_it_is_cut,
    "checkpoints": goes_on_from_checkpoints,
    "evaluation": evaluates_as_the_daemon_predicts,
    "twin": agrees_with_its_twin,
}
