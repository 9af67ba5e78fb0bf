"""Jobs of symbols through the daemon's own loop: the examples, on data made for the purpose, however it is cut."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.protocol import Output, Record
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.run import run_worker
from streamrnn.job.compatibility import misfits
from streamrnn.job.config import Config
from streamrnn.job.job import MOST_UNITS, Job
from streamrnn.job.job_file import parse
from streamrnn.learner.features import Symbol
from streamrnn.learner.symbols import Symbols
from tests.support.jobs import yaml
from tests.support.learners import differing
from tests.support.scenario import KilledError, nth
from tests.support.symbol_jobs import SymbolScenario, Written, alone, example, log_lines, visits

SMALL = {"model": {"hidden_size": 6}, "learning": {"k1": 2, "k2": 8}}
FEW = {"open": True, "max": 12}
CLICKS = example("next-event", **SMALL, target={"classes": FEW})
LINES = example("log-anomaly", **SMALL)
LETTERS_TEXT = {"field": "message", "unit": "character", "carry": False, "symbols": FEW}
LETTERS = example("log-anomaly", **SMALL, input={"text": LETTERS_TEXT})
BYTES = example("log-anomaly", **SMALL, input={"text": {"field": "message", "mark_end": False}}, output={"top": 2})
JOBS: dict[str, tuple[Config, list[Written]]] = {
    "clicks": (CLICKS, visits(150)),
    "lines": (LINES, log_lines(120)),
    "letters": (LETTERS, log_lines(120)),
    "bytes": (BYTES, [*log_lines(60), ("host-1", {"message": ""}), *log_lines(60, seed=2)]),
}
each = pytest.mark.parametrize("name", JOBS)


def scenario(directory: Path, name: str) -> SymbolScenario:
    config, records = JOBS[name]
    made = SymbolScenario(directory, config)
    made.write(records)
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SymbolScenario]:
    found = {}
    for name in JOBS:
        found[name] = scenario(tmp_path_factory.mktemp(name), name)
        found[name].run()
    return found


@each
def test_the_daemon_says_what_the_learner_alone_says_of_all_records_at_once(
    undisturbed: dict[str, SymbolScenario], name: str
) -> None:
    made = undisturbed[name]
    lines, bits = alone(made.config(), made.records("in"))
    assert list(made.predictions().values()) == lines
    assert len(lines) == len(JOBS[name][1])
    assert differing(made.saved(), bits) == []


@each
def test_any_cut_of_the_log_into_polls_gives_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario], name: str
) -> None:
    made = scenario(tmp_path, name)
    made.run(seed=7)
    assert made.predictions() == undisturbed[name].predictions()
    assert made.mark()["digest"] == undisturbed[name].mark()["digest"]


@each
@pytest.mark.parametrize("fault", ["stopped", "killed before a commit", "killed after one"])
def test_a_restart_anywhere_gives_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario], name: str, fault: str
) -> None:
    made = scenario(tmp_path, name)
    for seed in range(2):
        if fault == "stopped":
            made.run(seed=seed, stop_after=3)
            continue
        hooks: dict[str, Any] = {"after" if "after" in fault else "before": {"commit": nth(2, KilledError())}}
        with pytest.raises(KilledError):
            made.run(seed=seed, **hooks)
    made.run()
    assert made.predictions() == undisturbed[name].predictions()
    assert differing(made.saved(), undisturbed[name].saved()) == []


def handed_on(monkeypatch: pytest.MonkeyPatch, seen: Callable[[Sequence[Record]], None]) -> None:
    """Have ``seen`` called with the records of each piece, as a partition is given them."""
    process = Partition.process

    def spied(self: Partition, records: Sequence[Record]) -> list[Output]:
        seen(records)
        return process(self, records)

    monkeypatch.setattr(Partition, "process", spied)


def units(records: Sequence[Record]) -> int:
    return sum(len(json.loads(record.value or b"")["message"]) for record in records)


def test_a_poll_of_long_texts_is_handed_on_in_pieces_and_a_stop_takes_effect_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = SymbolScenario(tmp_path, BYTES)
    made.write([("host-1", {"message": f"{n} {'mostly the same ' * 60}"}) for n in range(40)])
    lines, bits = alone(made.config(), made.records("in"))
    most = 5_000
    monkeypatch.setattr("streamrnn.daemon.pace.FIRST", 40)  # one poll brings them all
    monkeypatch.setattr("streamrnn.daemon.pace.MOST_BYTES", most)
    monkeypatch.setattr("streamrnn.daemon.pace.FIRST_BYTES", most)
    pieces: list[int] = []
    stop = threading.Event()

    def stopped_at_the_third(records: Sequence[Record]) -> None:
        pieces.append(units(records))
        if len(pieces) == 3:
            stop.set()

    with monkeypatch.context() as patched:
        handed_on(patched, stopped_at_the_third)
        run_worker(made.config(), EmbeddedBroker(made.log, made.config().group_id), stop, idle=stop.set)
    assert len(pieces) == 3
    assert max(pieces) <= most
    assert 0 < len(made.predictions()) < 20
    made.run()
    assert list(made.predictions().values()) == lines
    assert differing(made.saved(), bits) == []


def test_an_evaluation_holds_no_more_units_of_texts_at_a_time_than_there_may_be() -> None:
    text = BYTES.input.text
    assert text is not None
    for most in (100, 16_384, 1_000_000):
        job = Job(replace(BYTES, input=replace(BYTES.input, text=replace(text, max_units=most))))
        assert 1 <= job.rows_at_once <= max(1, MOST_UNITS // most)


def test_metrics_count_symbols_units_and_bits(tmp_path: Path) -> None:
    clicks = scenario(tmp_path / "clicks", "clicks")
    run = clicks.run()
    pages = {json.loads(record.value or b"")["page"] for record in clicks.records("in")}
    assert len(pages) > FEW["max"]
    assert run.value("streamrnn_vocabulary_symbols", field="page") == FEW["max"]
    assert run.value("streamrnn_vocabulary_capacity_symbols", field="page") == FEW["max"]
    assert run.value("streamrnn_vocabulary_symbols", field="device") == 2
    beyond = run.value("streamrnn_symbols_beyond_total", field="page")
    assert beyond > 0 == run.value("streamrnn_symbols_beyond_total", field="device")
    surprises = [json.loads(line)["surprise"] for line in clicks.predictions().values()]
    scored = [surprise["bits"] for surprise in surprises if surprise is not None]
    assert run.value("streamrnn_surprise_count") == len(scored) == 130  # of 20 visitors all but the first page
    assert run.value("streamrnn_surprise_sum") == pytest.approx(sum(scored))

    lines = scenario(tmp_path / "bytes", "bytes")
    run = lines.run()
    n = sum(len(json.loads(record.value or b"")["message"]) for record in lines.records("in"))
    assert run.value("streamrnn_text_units_total") == n == run.value("streamrnn_surprise_count")


def test_symbols_beyond_a_set_are_not_counted_again_while_they_are_replayed(tmp_path: Path) -> None:
    config = example("next-event", **SMALL, target={"classes": {"open": True, "max": 3}})

    def beyond(name: str, records: list[Written], *, lost: bool = False) -> tuple[float, int]:
        """What a run counts, and how many records were committed before it."""
        made = SymbolScenario(tmp_path / name, config, checkpoint_each=1_000)  # all of them are replayed
        made.write(records)
        if lost:
            with pytest.raises(KilledError):
                made.run(before={"commit": nth(6, KilledError())})
        committed = made.mark()["offset"] if lost else 0
        run = made.run()
        assert run.value("streamrnn_replayed_records_total") == committed
        return run.value("streamrnn_symbols_beyond_total", field="page"), committed

    records = visits(200)
    again, committed = beyond("again", records, lost=True)
    before, _ = beyond("first", records[:committed])
    whole, _ = beyond("whole", records)
    assert before > 0
    assert again == whole - before > 0


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("clicks", {"target": {"classes": {"open": True, "max": 40}}}),
        ("letters", {"input": {"text": {**LETTERS_TEXT, "symbols": {"open": True, "max": 40}}}}),
    ],
)
def test_a_bound_that_is_raised_leaves_what_is_said_and_gives_numbers_to_what_had_none(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario], name: str, raised: dict[str, Any]
) -> None:
    """Across a restart that replays what was committed under the old bound, and however the log is cut afterwards."""
    before, found = list(undisturbed[name].predictions().values()), []
    for seed in (1, 2):
        made = SymbolScenario(tmp_path / str(seed), JOBS[name][0], checkpoint_each=50)
        made.write(JOBS[name][1])
        with pytest.raises(KilledError):
            made.run(before={"poll": nth(5, KilledError())})
        offset = made.mark()["offset"]
        assert 0 < offset < len(before) - 40
        made.of = example("next-event" if name == "clicks" else "log-anomaly", **SMALL | raised)
        run = made.run(seed=seed)
        after = list(made.predictions().values())
        assert after[:offset] == before[:offset]
        first, same = (json.loads(lines[offset] or b"") for lines in (after, before))
        if name == "clicks":  # the page that comes is new, and takes its share; units of texts are learned from at once
            assert first["surprise"] == same["surprise"]
            labels, shares = (of["prediction"]["probabilities"] for of in (same, first))
            assert [*labels] == [*shares]
            ratios = [shares[label] / labels[label] for label in labels]
            assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-5)
            assert 0.8 < ratios[0] <= 1.0
        field = "page" if name == "clicks" else "message"
        assert run.value("streamrnn_replayed_records_total") > 0 == run.value("streamrnn_inexact_replays_total")
        assert run.value("streamrnn_vocabulary_capacity_symbols", field=field) == 40
        assert run.value("streamrnn_vocabulary_symbols", field=field) > FEW["max"]
        assert run.value("streamrnn_symbols_beyond_total", field=field) == 0
        found.append(after)
    assert found[0] == found[1]


def test_a_value_that_is_appended_to_a_declared_set_leaves_the_next_prediction(tmp_path: Path) -> None:
    """Of a record with that value, which counted as missing."""

    def job_of(*values: str) -> Config:
        return replace(CLICKS, features=(Symbol(field="device", symbols=Symbols(values=values)),))

    records, lines = visits(150), []
    for name in ("undisturbed", "changed"):
        made = SymbolScenario(tmp_path / name, job_of("d0", "tv"))
        made.write(records)
        if name == "changed":
            made.run(stop_after=6)
            offset = made.mark()["offset"]
            made.of = job_of("d0", "tv", "d1")
        made.run()
        lines.append(list(made.predictions().values()))
    assert records[offset][1]["device"] == "d1"
    first, same = (json.loads(of[offset] or b"") for of in lines)
    assert first == same
    assert len(lines[1]) == len(lines[0]) == 150
    assert lines[1][149] != lines[0][149]


def test_texts_that_cannot_be_learned_become_dead_letters_and_disturb_nothing(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario]
) -> None:
    made = SymbolScenario(tmp_path, LINES)
    records = JOBS["lines"][1]
    bad: list[Written] = [("host-1", {}), ("host-1", {"message": 7}), ("new", {"message": "x " * 20_000})]
    made.write([*records[:30], *bad])
    made.run()
    letters = [json.loads(record.value or b"") for record in made.records("dead")]
    assert [letter["reason"] for letter in letters] == ["null_text", "wrong_type", "too_large"]
    assert list(made.predictions().values()) == list(undisturbed["lines"].predictions().values())[:30]


def test_a_job_begins_with_the_symbols_that_another_has_learned(
    tmp_path: Path, undisturbed: dict[str, SymbolScenario]
) -> None:
    for name in ("clicks", "lines"):
        config, records = JOBS[name]
        begun_with = str(undisturbed[name].directory / "checkpoints")
        model = replace(config.model, warm_start=begun_with)
        second = SymbolScenario(tmp_path / name, replace(config, job="second", model=model))
        second.write(records[:20])
        second.run()
        first, *_ = (json.loads(line)["prediction"] for line in second.predictions().values())
        blank, *_ = (json.loads(line)["prediction"] for line in undisturbed[name].predictions().values())
        assert len(first["probabilities"]) == min(config.output.top, 5)
        assert first != blank


def test_symbols_of_other_fields_or_in_another_order_are_no_beginning() -> None:
    def job_of(*fields: str) -> Config:
        looked_up = [{"field": field, "encoder": "symbol", "symbols": FEW} for field in fields]
        return parse(yaml(features=json.dumps(looked_up)), {})

    learned = job_of("a", "b")
    owner = {"parameters": {"features": msgspec.to_builtins(learned.features)}}
    model: Any = SimpleNamespace(owner=owner, columns=learned.feature_encoder().names)
    for fields, told in ((("a", "b"), ""), (("b", "a"), "'b', 'a'"), (("a", "c"), "'a', 'c'")):
        here = job_of(*fields)
        found = misfits(model, learned.learner_spec(), here.feature_encoder(), here.learner_spec())
        remedy = "declare the same fields in the order they were learned"
        line = f"features: the symbols of 'a', 'b' in what was learned, of {told} here; {remedy}"
        assert found == ([line] if told else [])
