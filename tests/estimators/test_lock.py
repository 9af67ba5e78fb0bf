"""An estimator may be called from several threads: every call sees it as some earlier call left it.

Threads are switched as often as Python can, and kernels are called without the interpreter's lock, so that what is not
held together falls apart within a second.
"""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrnn import RNNRegressor
from tests.support.contract import (
    ALL,
    BATCHED,
    Case,
    Kind,
    Model,
    Pair,
    everything,
    frame,
    infer,
    learn,
    regression,
    run,
    targets,
    teach,
    through_pickle,
)

EVENTS, READERS, PATIENCE_S = 600, 2, 60
each_kind = pytest.mark.parametrize("each", [case for case in ALL if case.parameters.get("cell") == "gru"], ids=str)


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*actions: Callable[[], object]) -> None:
    """All at once, each on a thread of its own. Raises what the first of them raised."""
    failed: list[BaseException] = []

    def guarded(action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread waits for ever"
    if failed:
        raise failed[0]


def beside_readers(work: Callable[[], object], read: Callable[[int], object]) -> None:
    """``work`` while ``READERS`` threads read again and again, each at least once."""
    done = threading.Event()

    def reading(reader: int) -> None:
        n = reader
        while True:
            read(n)
            n += READERS
            if done.is_set():
                return

    def working() -> None:
        try:
            work()
        finally:
            done.set()

    together(working, *(lambda r=r: reading(r) for r in range(READERS)))


# ---- predicting while another thread learns


@each_kind
def test_what_is_learned_and_predicted_is_the_same_with_readers(each: Case) -> None:
    pairs = each.data(EVENTS)
    alone, read = each.build(), each.build()
    expected = run(alone, pairs)
    got: list[Any] = []
    beside_readers(lambda: got.extend(run(read, pairs)), lambda n: infer(read, pairs[n % EVENTS][0]))
    assert got == expected
    assert everything(read) == everything(alone)


@each_kind
def test_a_reader_gets_what_some_moment_between_two_events_gives(each: Case) -> None:
    pairs = each.data(EVENTS)
    asked = pairs[-1][0]
    model = each.build()
    teach(model, pairs[:50])
    alone = through_pickle(model)
    moments = [infer(alone, asked)]
    for x, y in pairs[50:]:
        learn(alone, x, y)
        moments.append(infer(alone, asked))
    answers: list[Any] = []
    beside_readers(lambda: teach(model, pairs[50:]), lambda _: answers.append(infer(model, asked)))
    assert [answer for answer in answers if answer not in moments] == []


@pytest.mark.parametrize("each", [case for case in BATCHED if case.parameters.get("cell") == "gru"], ids=str)
def test_batches_are_learned_the_same_with_readers(each: Case) -> None:
    pairs = each.data(2 * EVENTS)
    X, y = frame(pairs), targets(pairs)
    alone, read = each.build(), each.build()
    for start in range(0, len(pairs), 40):
        alone.learn_many(X[start : start + 40], y[start : start + 40])

    def work() -> None:
        for start in range(0, len(pairs), 40):
            read.learn_many(X[start : start + 40], y[start : start + 40])

    beside_readers(work, lambda n: infer(read, pairs[n % EVENTS][0]))
    assert everything(read) == everything(alone)


# ---- learning in several threads


@each_kind
def test_features_may_grow_in_two_threads(each: Case) -> None:
    model = each.build()

    def teaching(prefix: str, pairs: list[Pair]) -> None:
        for i, (x, y) in enumerate(pairs):
            learn(model, {**x, f"{prefix}{i // 10}": float(i % 7)}, y)

    pairs = each.data(120)
    together(lambda: teaching("first", pairs), lambda: teaching("second", pairs))
    assert model.counters()["records_predicted"] >= 2 * len(pairs) - 1  # a forecaster's newest waits for covariates
    names = {name for name in model._columns.names if str(name).startswith(("first", "second"))}
    assert names == {f"{prefix}{i}" for prefix in ("first", "second") for i in range(12)}


# ---- whole copies


def _by_file(model: Model, folder: Path) -> Model:
    path = folder / f"{threading.get_ident()}.safetensors"
    model.save(path)
    return type(model).load(path)


COPIES: dict[str, Callable[[Model, Path], Model]] = {
    "pickle": lambda model, _: through_pickle(model),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "save": _by_file,
}


@each_kind
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_made_while_features_grow_is_whole(each: Case, way: str, tmp_path: Path) -> None:
    pairs = [({**x, f"new{i // 5}": 1.0 + i % 3}, y) for i, (x, y) in enumerate(each.data(150))]
    model, copies = each.build(), []
    teach(model, pairs[:1])
    beside_readers(lambda: teach(model, pairs[1:]), lambda _: copies.append(COPIES[way](model, tmp_path)))
    alone = each.build()
    states = []
    for x, y in pairs:
        learn(alone, x, y)
        states.append(alone.counters())
    for one in copies:
        assert one.counters() in states
        infer(one, pairs[0][0])


def test_a_copy_has_a_lock_of_its_own_and_a_pickle_none() -> None:
    model = teach(RNNRegressor(), regression(5))
    copies = (through_pickle(model), copy.deepcopy(model), model.clone(), model.clone(include_attributes=True))
    with model._lock:  # were it shared, the copies would wait for it
        together(*(lambda one=one: one.predict_one({"a": 1.0}) for one in copies))
    assert b"Lock" not in pickle.dumps(model)


# ---- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forked_while_another_thread_learns_goes_on_from_between_two_events() -> None:
    pairs = Kind(RNNRegressor, regression).data(EVENTS)
    model, alone = RNNRegressor(hidden_size=4), RNNRegressor(hidden_size=4)
    states = set()
    for x, y in pairs:
        learn(alone, x, y)
        states.add(everything(alone)["pickle"])
    teach(model, pairs[:20])
    statuses: list[int] = []

    def forking(_: int) -> None:
        if len(statuses) < 10 * READERS:
            child = os.fork()
            if child == 0:
                _exit_of_child(model, states, pairs[0])
            statuses.append(os.waitpid(child, 0)[1])

    beside_readers(lambda: teach(model, pairs[20:]), forking)
    assert set(statuses) == {0}


def _exit_of_child(model: Model, states: set[str], pair: Pair) -> None:
    """In the child: whole, and able to go on, or a status that says no."""
    try:
        whole = everything(model)["pickle"] in states
        learn(model, *pair)
        os._exit(0 if whole else 1)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(2)
