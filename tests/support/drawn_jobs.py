"""Job files of every kind, drawn from a seed: each setting that decides what is learned is drawn somewhere.

Most are valid, since what goes with what is drawn together; ``spoilt`` changes some settings of one without asking
whether the others allow it. Networks are small and sets of symbols smaller than what records bring, so that all that
can be full is. Where checkpoints and records are is for whoever runs the job.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

Job = dict[str, Any]

WAYS = ("steps", "labels", "forecasts", "texts", "sequences", "lookahead")
"""What a job is of; the first three are single steps."""
WINDOWED, EXACT = ("lstm", "gru", "rnn"), ("glru", "elstm", "bank")
MANY = [f"s{i}" for i in range(20)]
"""More symbols than an exact cell has columns for."""


def as_text(job: Job) -> str:
    """The job file."""
    return json.dumps(job)


def maybe(rng: random.Random, chance: float = 0.5, **options: Sequence[Any]) -> dict[str, Any]:
    """Some of these settings, each with one of its values."""
    return {name: rng.choice(values) for name, values in options.items() if rng.random() < chance}


def drawn(rng: random.Random, way: str | None = None, cell: str | None = None) -> Job:
    """A job, most probably a valid one."""
    way = way or rng.choices(WAYS, (5, 4, 4, 2, 3, 2))[0]
    cells = WINDOWED if way in ("sequences", "lookahead") else (*WINDOWED, *EXACT, *EXACT)
    cell = cell or rng.choice(cells)
    if cell == "bank" and way == "texts":
        way = "steps"
    target, readout, loss = _target(rng, way, cell)
    job: Job = {
        "job": "drawn",
        "embedded": {"directory": "log"},
        "input": _input(rng, way),
        "features": _features(rng, way),
        "target": target,
        "model": _model(rng, way, cell, readout, loss),
        "learning": _learning(rng, way, cell, target),
        "streams": {
            "max_streams": rng.choice((1, 2, 4, 10)),
            "max_time_jump_s": 60,
            **maybe(rng, 0.4, ttl_s=(30, 5), reset_after_s=(10, 2), protected_share=(0.5, 0.0), max_bytes=(10**6,)),
        },
        "inputs": {} if way in ("texts", "sequences", "lookahead") else maybe(rng, 0.3, dt=(True, False)),
        "output": {
            "topic": "out",
            "dead_letter_topic": "dead",
            **maybe(rng, 0.3, top=(1, 3), dead_letter_value_bytes=(0, 50)),
        },
        "checkpoint": {"directory": "checkpoints"},
        "http": None,
    }
    if way in WAYS[:3]:
        job["inputs"] |= maybe(rng, 0.3, previous_target=(True, False))
    if rng.random() < 0.3:
        job["hashing"] = {"key": "k" * 20}
    if way == "texts":
        del job["target"]
    return job


def _input(rng: random.Random, way: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "topic": "in",
        **maybe(
            rng, 0.25, stream_key=("k",), tombstones=("dead_letter", "forget", "ignore"), numbers=("strict",),
            max_record_bytes=(120,), max_key_bytes=(2,), end_field=("last",),
        ),
    }  # fmt: skip
    if rng.random() < 0.25:
        found["timestamp"] = {"field": "t", **maybe(rng, unit=("ms", "s", "us", "iso8601"))}
    if rng.random() < 0.2:
        found["where"] = [
            {"field": "kind", **rng.choice(({"equals": 1}, {"exists": True}, {"in": [1, "x"], "not": True}))}
        ]
    if way == "texts":
        unit = rng.choice(("byte", "character", "word"))
        found["text"] = {"field": "text", "unit": unit, **maybe(rng, carry=(True, False), mark_end=(True, False))}
        found["text"] |= maybe(rng, 0.2, max_units=(1, 4))
        if unit != "byte" and rng.random() < 0.7:
            found["text"]["symbols"] = rng.choice(
                ({"open": True, "max": 2}, {"open": True, "max": 20}, {"values": ["p", "q", "r"]})
            )
    if way == "sequences":
        found["sequence"] = {"field": "q", "max_steps": rng.choice((2, 5, 9))}
        found["sequence"] |= maybe(
            rng, 0.3, carry=(True, False), stack=(2, 3), normalise=("running", "sequence"), columns=(["a", "b"],)
        )
    return found


def _symbols(rng: random.Random) -> dict[str, Any]:
    return rng.choice(
        (
            {"values": ["p", "q", "r"]}, {"open": True, "max": 2}, {"open": True, "max": 18}, {"values": MANY},
            {"values": MANY[:3]}, {"bytes": True},
        )
    )  # fmt: skip


def _features(rng: random.Random, way: str) -> list[dict[str, Any]]:
    missing = maybe(rng, missing=("mean", "zero", "last"))
    pool: list[dict[str, Any]] = [
        {"field": "a", "encoder": "numeric", **missing},
        {"field": "b", "encoder": "log1p", **maybe(rng, missing=("mean", "zero", "last"))},
        {"field": "c", "encoder": "onehot", "categories": ["x", 1, "true"]},
        {"field": "c", "encoder": "hash", "buckets": rng.choice((2, 5, 40))},
        {"field": "b", "encoder": "cyclic", "period": 24, **maybe(rng, missing=("mean", "zero", "last"))},
        {"field": "s", "encoder": "symbol", "symbols": _symbols(rng)},
        {"field": "u", "encoder": "symbol", "symbols": _symbols(rng)},
    ]
    n = rng.choice((0, 1, 1, 2, 3))
    found = rng.sample(pool, max(n, 1) if way in ("sequences", "lookahead") else n)
    rng.shuffle(found)
    return found


def _classes(rng: random.Random, readout: str) -> tuple[list[str], Any, dict[str, Any]]:
    """Field, classes, and what goes with them."""
    if readout == "logistic":
        zero = rng.choice(({}, {"missing": "zero"}))
        return rng.choice(((["v"], [False, True], zero), (["g"], ["p", "q"], {})))
    return rng.choice(
        (
            (["g"], ["p", "q", "r"], {}), (["g"], {"open": True, "max": 2}, {}), (["g"], {"open": True, "max": 30}, {}),
            (["n"], {"bytes": True}, {}), (["n"], [0, 1, 2], {"missing": "zero"}), (["n"], list(range(18)), {}),
        )
    )  # fmt: skip


def _target(rng: random.Random, way: str, cell: str) -> tuple[dict[str, Any], str, str]:
    """The target, and the readout and loss that go with it."""
    if way == "texts":
        return {}, "softmax", "cross_entropy"
    if way == "sequences":
        return _of_sequence(rng)
    known = {"labels": "label", "forecasts": "forecast"}.get(way, "record")
    readout = rng.choice(("linear", "linear", "rls", "softmax", "softmax", "logistic"))
    if cell == "bank":
        readout = "rls"
    if way == "lookahead" and readout == "rls":
        readout = "linear"
    found: dict[str, Any] = {"fields": rng.choice((["y"], ["y", "z"])), "known": known}
    if readout in ("softmax", "logistic"):
        fields, classes, more = _classes(rng, readout)
        found |= {"fields": fields, "classes": classes, **more}
        loss = "cross_entropy"
    else:
        loss = "squared" if readout == "rls" else rng.choice(("squared", "absolute", "huber", "quantile"))
        found |= maybe(rng, 0.2, missing=("zero", "unknown"))
    if known == "label":
        found |= {"event_field": "id", "label_field": "of", **maybe(rng, 0.8, label_memory=(1, 2, 4, 9))}
    if known == "forecast" and "classes" not in found:
        found |= maybe(rng, 0.7, horizon=(1, 2, 3, [2], [1, 4], [1, 2, 3]), baseline=("last", 2, 3))
    return found, readout, loss


def _of_sequence(rng: random.Random) -> tuple[dict[str, Any], str, str]:
    kind = rng.choice(("label", "labels", "transcript", "sequence"))
    found: dict[str, Any] = {"fields": ["y"], "kind": kind}
    if kind == "transcript" or rng.random() < 0.5:
        classes: Any = rng.choice((["p", "q", "r"], {"open": True, "max": 2}, {"open": True, "max": 9}))
        found |= {"fields": ["g" if kind == "label" else "gs"], "classes": classes}
        if kind in ("transcript", "sequence"):
            found |= maybe(rng, max_symbols=(1, 4))
        if kind != "label":
            found |= maybe(rng, 0.5, unit=("element", "character", "word"))
        return found, "softmax", "cross_entropy"
    if kind == "label":
        found["fields"] = rng.choice((["y"], ["y", "z"]))
        return found, "linear", rng.choice(("squared", "absolute", "huber", "quantile"))
    found["fields"] = ["ys"]
    if kind == "sequence":
        found["horizon"] = rng.choice((2, 3))
    return found, "linear", rng.choice(("squared", "absolute", "huber"))


def _model(rng: random.Random, way: str, cell: str, readout: str, loss: str) -> dict[str, Any]:
    found: dict[str, Any] = {"cell": cell, "hidden_size": rng.choice((1, 2, 3, 5)), "readout": readout}
    found |= maybe(rng, 0.5, dtype=("float64",), loss=(loss,))
    if loss not in ("squared", "cross_entropy"):
        found["loss"] = loss
    if cell == "glru":
        found |= maybe(rng, gates=(True, False))
    if way in ("steps", "labels", "forecasts", "texts"):
        found |= maybe(rng, hidden_layer=(0, 1, 4))
    if cell == "bank":
        found["hidden_layer"] = rng.choice((0, 1, 5))
    if cell in WINDOWED:
        found |= maybe(rng, 0.3, num_layers=(1, 2, 3) if way != "lookahead" else (1,))
    if cell not in ("rnn", "bank"):
        found |= maybe(rng, 0.3, memory=(2, 50, "auto") if cell in WINDOWED and way != "sequences" else (2, 50))
    if readout == "rls":
        found |= maybe(rng, lags=(0, 1, 3), rls_forgetting=(1, 0.99, 0.5), rls_prior=(0.1, 10))
    if loss == "huber":
        found |= maybe(rng, huber_delta=(0.3,))
    if loss == "quantile":
        found |= maybe(rng, quantiles=([0.2, 0.7], [0.5]))
    if way == "lookahead":
        found |= {"direction": "both", "lookahead": rng.choice((1, 2, 4))}
    if way == "sequences":
        found |= maybe(rng, 0.3, direction=("forward", "both"), attention=(True, False), beam=(1, 3))
    return found


def _learning(rng: random.Random, way: str, cell: str, target: dict[str, Any]) -> dict[str, Any]:
    found = maybe(rng, 0.3, scale=(True, False), target_shrinkage=(0.5, 200), scale_memory=(100,))
    if cell == "bank":
        return found
    found |= maybe(
        rng, 0.35, lr=(0.003, 0.03), schedule=("constant", "inverse_sqrt", "exponential"), schedule_updates=(1, 5),
        schedule_least=(0.3,), clip_norm=("auto", None, 0.2), polyak_bound=(None, 1, 0.01), betas=([0.9, 0.999],),
        eps=(1e-4,), momentum=(0.5,), rmsprop_alpha=(0.9,),
        optimizer=("sgd", "momentum", "rmsprop", "adam", "adamw"),
    )  # fmt: skip
    if cell in EXACT:
        found |= {"weight_decay": 0} if found.get("optimizer") == "adamw" else {}
        return found | maybe(rng, 0.5, k1=(1, 2, 4), rule=("rtrl",))
    if way == "sequences":
        return found | maybe(rng, 0.3, average=(0.5, 0.9), batch_size=(1, 2, 3))
    horizon = target.get("horizon", 1) if target.get("known") == "forecast" else 0
    ahead = max(horizon) if isinstance(horizon, list) else horizon
    found["k1"] = rng.choice((1, 2, 4))
    found["k2"] = found["k1"] + ahead + rng.choice((0, 1, 5))
    return found | maybe(rng, 0.3, batch_size=(1, 2, 3), rule=("tbptt",))


ELSEWHERE: dict[str, tuple[Any, ...]] = {
    "model.cell": (*WINDOWED, *EXACT),
    "model.gates": (False,),
    "model.hidden_layer": (0, 3, None),
    "model.hidden_size": (None, 4),
    "model.num_layers": (1, 2),
    "model.direction": ("both", "forward"),
    "model.lookahead": (0, 2, None),
    "model.attention": (False,),
    "model.beam": (2,),
    "model.memory": ("auto", 2, 10**6),
    "model.dtype": ("float32", "float64"),
    "model.readout": ("linear", "rls", "softmax", "logistic", None),
    "model.loss": ("squared", "absolute", "huber", "quantile", "cross_entropy", None),
    "model.quantiles": ([0.5], [0.5, 0.2], [0.1, 0.9]),
    "model.lags": (0, 1024),
    "model.rls_forgetting": (1, 1e-3, 1e-30),
    "model.rls_prior": (1e-9, 1e9),
    "model.huber_delta": (1e-9, 1e9),
    "learning.rule": ("rtrl", "tbptt", None),
    "learning.k1": (1, 9, None),
    "learning.k2": (1, 9, None),
    "learning.batch_size": (1, 5),
    "learning.optimizer": ("sgd", "momentum", "rmsprop", "adam", "adamw"),
    "learning.lr": (1e-9, 1, 1000, None),
    "learning.schedule": ("constant", "inverse_sqrt", "exponential", None),
    "learning.average": (0.5, None),
    "learning.clip_norm": ("auto", None, 1e-9, 1e9),
    "learning.polyak_bound": (None, 1e-9, 1e9),
    "learning.betas": ([0.2, 0.999], [0.9, 0.9], None),
    "learning.eps": (1e-30, 1),
    "learning.weight_decay": (0, 0.1, 1000),
    "learning.scale": (True, False),
    "learning.scale_memory": (100, 10**15),
    "learning.target_shrinkage": (1e-9, 1e9),
    "streams.max_streams": (1, 3),
    "streams.max_bytes": (1, 3000, 10**5),
    "streams.protected_share": (0, 0.99),
    "streams.ttl_s": (1e-3, 1e11),
    "streams.reset_after_s": (1e-3, 1e11),
    "streams.max_time_jump_s": (1e-3, 1e11),
    "target": (None,),
    "target.fields": (["y"], ["y", "z"], ["g"], ["id"], ["of"], ["a"], ["last"], ["q"], ["text"]),
    "target.known": ("record", "forecast", "label"),
    "target.kind": ("label", "labels", "transcript", "sequence", None),
    "target.horizon": (1, 3, [2], [1, 9], [3, 1], 1000),
    "target.baseline": ("last", 3, None),
    "target.classes": (["p", "q"], ["p", "q", "r"], {"open": True}, {"bytes": True}, [0, 1, 2], [1, "1"], None),
    "target.missing": ("zero", "unknown"),
    "target.event_field": ("id", "a", None),
    "target.label_field": ("of", "id", None),
    "target.label_memory": (1, 100),
    "target.max_symbols": (1, 10_000),
    "target.unit": ("character", "word", "element"),
    "input.stream_key": ("k", "y", None),
    "input.end_field": ("last", "y", None),
    "input.text": ({"field": "text"}, {"field": "a", "unit": "word"}, None),
    "input.sequence": ({"field": "q"}, {"field": "q", "columns": ["a", "b"]}, None),
    "input.timestamp": ({"field": "t"}, {"unit": "s"}),
    "inputs.dt": (True, False, None),
    "inputs.previous_target": (True, False, None),
    "output.top": (1, 1000),
    "features": ([], [{"field": "y", "encoder": "numeric"}], [{"field": "a", "encoder": "numeric"}] * 2,
                 [{"field": "s", "encoder": "symbol", "symbols": {"open": True}}]),
}  # fmt: skip
"""Settings by their paths, with values that some other settings do not go with."""


def spoilt(rng: random.Random, job: Job, n: int = 1) -> Job:
    """The job with so many settings changed, whether or not the others allow it."""
    job = copy.deepcopy(job)
    for _ in range(n):
        section, _, name = (path := rng.choice(list(ELSEWHERE))).partition(".")
        value = copy.deepcopy(rng.choice(ELSEWHERE[path]))
        if not name:
            job[section] = value
        elif isinstance(job.setdefault(section, {}), dict):
            job[section][name] = value
    return job


def grown(rng: random.Random, job: Job) -> Job:
    """The job with more of what can be more: features, units, layers between, classes, symbols, events remembered."""
    job = copy.deepcopy(job)
    model, learning, target = job["model"], job["learning"], job.get("target") or {}
    if rng.random() < 0.6 and "text" not in job["input"]:
        new = {"field": rng.choice("abz"), "encoder": rng.choice(("numeric", "log1p"))}
        if all(new["field"] != each["field"] for each in job["features"]) and new["field"] not in target["fields"]:
            job["features"].insert(rng.randrange(len(job["features"]) + 1), new)
    if rng.random() < 0.5 and model["cell"] != "bank":
        model["hidden_size"] += rng.choice((1, 4, 9))
    if rng.random() < 0.5 and model.get("hidden_layer"):
        model["hidden_layer"] += rng.choice((1, 5))
    if rng.random() < 0.5 and "label_memory" in target:
        target["label_memory"] = rng.choice((1, 3, 20))
    if rng.random() < 0.3 and model["cell"] in EXACT[:2]:
        learning["k1"] = rng.choice((1, 3))
    if isinstance(target.get("classes"), dict) and "max" in target["classes"]:
        target["classes"]["max"] += rng.choice((0, 3))
    for each in job["features"]:
        if each["encoder"] == "symbol" and "max" in each["symbols"]:
            each["symbols"]["max"] += rng.choice((0, 2))
    return job
