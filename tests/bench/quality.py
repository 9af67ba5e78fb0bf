"""How well the estimators learn: progressive scores beside naive rules, River, and figures found elsewhere.

    python -m tests.bench.quality                              everything
    python -m tests.bench.quality --only trump flights         some of it
    python -m tests.bench.quality --skip ours                  the rivals alone
    python -m tests.bench.quality --json scores.json           the same figures for a program to read

Everything is test-then-train in one pass: predict, score, learn. "default" is an estimator with no argument but what
the data demand (its features, its streams, the horizon); "tuned" has the arguments of ``TUNED`` as well, chosen by
their score on the same data. Both are means over seeds 0, 1 and 2. Seconds are for predicting and learning, once the
model is made and its kernels are loaded. Events without an order are better learned each as a sequence of its own,
which is a row of its own. "glru", "elstm" and "bank" are the default with another cell (``CELLS``). "elsewhere" is what
was published, or measured in another program, for the same data and protocol; a rival without a score of its own here
is known by that alone. A rival's own score stands under "default", and it is marked where it is better than every
estimator of ours in a column.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import quality_data as data
from tests.bench import quality_rivals as rivals
from tests.bench.quality_data import Events
from tests.bench.quality_protocols import (
    STEPS_AHEAD,
    Scores,
    accuracy,
    aligned,
    mean_absolute_error,
    normalised_errors,
    river_track,
)
from tests.bench.quality_rivals import AsPredictor, IndependentEvents, Rival

RECURRENT: Final = "RNNClassifier"
INDEPENDENT: Final = "RNNClassifier, end_sequence() after each event"
BANK: Final = "RNNForecaster, cell bank, direct"

# Arguments beyond the default's, by task and row of ours. Candidates were drawn at random, a few hundred a task, and
# compared by the score of seed 0, the best four or five by their mean over seeds 0 to 2; WaterFlow, SP500 and
# TrumpApproval three steps ahead were adjusted by hand after that. Mackey-Glass and the flights were searched by hand.
TUNED: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "trump": {
        "RNNRegressor": {"cell": "gru", "hidden_size": 32, "k2": 8, "rls_prior": 0.01, "lags": 30},
        "RNNForecaster": {"cell": "gru", "lr": 3e-3, "k2": 32, "rls_prior": 0.01, "lags": 1, "baseline": None},
    },
    "water": {
        "RNNRegressor": {
            "cell": "gru", "hidden_size": 8, "lr": 1e-4, "k2": 8, "rls_prior": 1.0, "rls_forgetting": 0.999, "lags": 30,
        },
        "RNNForecaster": {
            "hidden_size": 4, "k2": 32, "rls_prior": 10.0, "rls_forgetting": 0.995, "lags": 30,
            "previous_target": False,
        },
    },
    "airline": {
        "RNNRegressor": {
            "hidden_size": 32, "lr": 3e-4, "k2": 32, "rls_prior": 10.0, "rls_forgetting": 0.999, "lags": 13,
        },
        "RNNForecaster": {"lr": 3e-3, "rls_prior": 0.001, "lags": 2, "baseline": 12},
    },
    "chick": {
        "RNNRegressor": {
            "cell": "gru", "hidden_size": 32, "k2": 8, "rls_prior": 0.01, "rls_forgetting": 0.99, "lags": 13,
        },
    },
    "sp500": {"RNNRegressor": {"rls_prior": 0.01, "rls_forgetting": 1.0, "lags": 0, "previous_target": False}},
    "phishing": {
        RECURRENT: {
            "cell": "gru", "readout": "logistic", "hidden_size": 32, "lr": 0.02, "k2": 1, "previous_target": False,
        },
        INDEPENDENT: {"lr": 0.02, "k2": 1, "clip_norm": 3.0, "previous_target": False},
    },
    "bananas": {
        RECURRENT: {"hidden_size": 32, "lr": 0.03, "k2": 1, "clip_norm": None, "previous_target": False},
        INDEPENDENT: {
            "cell": "gru", "readout": "logistic", "hidden_size": 32, "lr": 0.03, "k2": 1, "previous_target": False,
        },
    },
    "segments": {
        RECURRENT: {"cell": "gru", "hidden_size": 8, "k2": 1, "clip_norm": None},
        INDEPENDENT: {"cell": "gru", "hidden_size": 32, "k2": 1, "clip_norm": 3.0, "previous_target": False},
    },
    "shuttle": {
        RECURRENT: {
            "cell": "gru", "hidden_size": 64, "optimizer": "sgd", "lr": 0.1, "k2": 4, "clip_norm": 3.0,
            "previous_target": False,
        },
        INDEPENDENT: {"cell": "gru", "lr": 3e-3, "k2": 1, "previous_target": False},
    },
    "airline-3": {"RNNForecaster": {"lr": 1e-3, "k2": 32, "rls_prior": 0.01, "lags": 1, "baseline": 12}},
    "airline-3-river": {"RNNForecaster": {"lr": 3e-3, "readout": "linear", "loss": "huber"}},
    "trump-3": {
        "RNNForecaster": {
            "cell": "gru", "hidden_size": 8, "optimizer": "adam", "lr": 1e-3, "k2": 32, "readout": "linear",
            "baseline": "last",
        },
    },
    "trump-3-river": {
        "RNNForecaster": {
            "cell": "gru", "hidden_size": 8, "optimizer": "adam", "lr": 1e-3, "k2": 32, "readout": "linear",
            "baseline": "last",
        },
    },
    "mackey-glass": {
        "RNNForecaster": {
            "hidden_size": 64, "optimizer": "adam", "lr": 3e-5, "betas": (0.9, 0.999), "k1": 8, "k2": 32,
            "rls_prior": 1.0, "rls_forgetting": 0.9999, "baseline": "last",
        },
    },
    "lorenz": {},
    "flights": {
        "RNNRegressor": {
            "hidden_size": 32, "readout": "linear", "loss": "absolute", "optimizer": "adam", "lr": 3e-3, "k2": 8,
        },
    },
}  # fmt: skip

CELLS: Final[dict[str, dict[str, Any]]] = {
    "glru": {"cell": "glru"},
    "elstm": {"cell": "elstm", "hidden_layer": 32},
    "bank": {"cell": "bank"},
}
"""Arguments beyond the default's of the cells that learn without a window: the same for all tasks."""
NUMBERS: Final = frozenset({"bank"})
"""Cells that predict no classes."""
TITLES: Final = {
    "trump": "TrumpApproval", "water": "WaterFlow", "airline": "AirlinePassengers", "chick": "ChickWeights",
    "sp500": "SP500", "phishing": "Phishing", "bananas": "Bananas", "segments": "ImageSegments",
    "shuttle": f"Shuttle, first {data.SHUTTLE_EVENTS:,}",
}  # fmt: skip
SERIES: Final = ("trump", "water", "airline")
FLIGHTS: Final = 20_000
SEEDS: Final = 3
WARM_UP_EVENTS: Final = 100
# A table is not squeezed into the 80 columns assumed of a file.
WIDTH: Final = 200
BAR: Final = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


# -- tasks ------------------------------------------------------------------------------------------------------------


class Direct:
    """A forecaster asked for the steps that have outputs of their own alone."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def learn_one(self, y: float) -> None:
        self._model.learn_one(y)

    def forecast(self, horizon: int) -> list[float]:
        forecasts = self._model.forecast_direct()
        return [forecasts.get(step, float("nan")) for step in range(1, horizon + 1)]


class Ours(NamedTuple):
    """A row that starts with an estimator's name; what the data demand, and what makes it fit the protocol."""

    name: str
    demanded: Mapping[str, Any]
    adapt: Callable[[Any], Any] = lambda model: model

    def build(self, tuned: Mapping[str, Any], seed: int) -> Any:
        import streamrnn

        estimator = getattr(streamrnn, self.name.partition(",")[0])
        return self.adapt(estimator(**self.demanded, **tuned, seed=seed))


class Task(NamedTuple):
    """Data, a protocol and everybody who takes part."""

    name: str
    title: str
    metric: str
    events: Events
    score: Callable[[Events, Any], Scores]
    rivals: tuple[Rival, ...]
    ours: tuple[Ours, ...]
    labels: tuple[str, ...] = ("",)


def _one_step(name: str) -> Task:
    events, metric, protocol = data.RIVER[name](), "MAE", mean_absolute_error
    ours: tuple[Ours, ...]
    if name in SERIES:
        ours = (Ours("RNNRegressor", {}), Ours("RNNForecaster", {}, AsPredictor))
    elif isinstance(events.y[0], float):
        ours = (Ours("RNNRegressor", {"stream_key": "chick"} if name == "chick" else {}),)
    else:
        ours = (Ours(RECURRENT, {}), Ours(INDEPENDENT, {}, IndependentEvents))
        metric, protocol = "accuracy", accuracy
    return Task(name, f"{TITLES[name]}, one step ahead", metric, events, protocol, rivals.ONE_STEP[name], ours)


def _three_steps(name: str, by_river: bool) -> Task:
    events, everybody = data.RIVER[name](), rivals.THREE_STEPS[name]
    ours = (Ours("RNNForecaster", {"horizon": STEPS_AHEAD}),)
    title = f"{TITLES[name]}, {STEPS_AHEAD} steps ahead"
    if by_river:
        return Task(f"{name}-3-river", f"{title}, River's track", "MAE", events, river_track, everybody, ours)
    measured = tuple(rival._replace(elsewhere=None) for rival in everybody if rival.build is not None)
    return Task(f"{name}-3", f"{title}, aligned", "MAE", events, aligned, measured, ours)


def _chaos(name: str, title: str, events: Events, horizons: Sequence[int], everybody: tuple[Rival, ...]) -> Task:
    def score(events: Events, model: Any) -> Scores:
        return normalised_errors(events, model, horizons)

    title = f"{title}, {' / '.join(map(str, horizons))} steps ahead"
    # The first one's horizon stays 1: further ahead it goes by its own forecasts.
    ours = (Ours("RNNForecaster", {}), Ours(BANK, {"cell": "bank", "horizon": tuple(horizons)}, Direct))
    return Task(name, title, "NRMSE", events, score, everybody, ours, tuple(map(str, horizons)))


def _flights(limit: int) -> Task:
    demanded = {"features": data.flight_features(), "stream_key": "tailnum"}
    ours, everybody = (Ours("RNNRegressor", demanded),), rivals.flight_rivals()
    events = data.flights(limit)
    return Task("flights", "Flights, delay", "MAE in minutes", events, mean_absolute_error, everybody, ours)


def task(name: str, flights: int = FLIGHTS) -> Task:
    """The task of that name, its data loaded; ``flights`` is the number of departures."""
    if name in data.RIVER:
        return _one_step(name)
    if name == "mackey-glass":
        title = f"Mackey-Glass, tau {data.TAU}"
        return _chaos(name, title, data.mackey_glass(), rivals.MACKEY_GLASS_HORIZONS, rivals.MACKEY_GLASS)
    if name == "lorenz":
        return _chaos(name, "Lorenz", data.lorenz(), rivals.LORENZ_HORIZONS, rivals.LORENZ)
    if name == "flights":
        return _flights(flights)
    series, _, rest = name.partition("-3")
    return _three_steps(series, by_river=bool(rest))


# -- running ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What one model scored, and how long it took; of ours means over seeds. Without a score: one from elsewhere."""

    model: str
    ours: bool
    column: str
    scores: Scores | None
    seconds: float | None
    elsewhere: Scores | None = None


def runs(
    one: Task,
    skip: str | None,
    with_tuned: bool,
    seeds: int = SEEDS,
    report: Callable[[str], None] = lambda _: None,
    *,
    with_cells: bool = False,
) -> list[Run]:
    """Everybody's runs, rivals first; ``seeds`` of each of ours."""

    def timed(model: Any) -> tuple[Scores, float]:
        started = time.perf_counter()
        return one.score(one.events, model), time.perf_counter() - started

    def mean(ours: Ours, arguments: Mapping[str, Any]) -> tuple[Scores, float]:
        # Kernels are loaded, or compiled, with the first events: not on the clock.
        one.score(one.events.first(WARM_UP_EVENTS), ours.build(arguments, 0))
        scores, seconds = zip(*(timed(ours.build(arguments, seed)) for seed in range(seeds)), strict=True)
        return tuple(map(statistics.fmean, zip(*scores, strict=True))), statistics.fmean(seconds)

    done = []
    for rival in one.rivals if skip != "rivals" else ():
        report(f"{one.name}: {rival.name}")
        scores, seconds = (None, None) if rival.build is None else timed(rival.build())
        done.append(Run(rival.name, False, "default", scores, seconds, rival.elsewhere))
    for ours in one.ours if skip != "ours" else ():
        report(f"{one.name}: {ours.name}")
        done.append(Run(ours.name, True, "default", *mean(ours, {})))
        if with_tuned and ours.name in TUNED[one.name]:
            report(f"{one.name}: {ours.name}, tuned")
            done.append(Run(ours.name, True, "tuned", *mean(ours, TUNED[one.name][ours.name])))
        for cell, arguments in CELLS.items() if with_cells else ():
            if cell in NUMBERS and one.metric == "accuracy":
                continue
            report(f"{one.name}: {ours.name}, {cell}")
            done.append(Run(ours.name, True, cell, *mean(ours, arguments)))
    return done


def beaten(rival: Run, done: Sequence[Run], column: str, lower_is_better: bool) -> list[int]:
    """Indices of the scores at which the rival is better than all of ours in that column."""
    shown = rival.scores or rival.elsewhere or ()
    ours = [run.scores for run in done if run.ours and run.column == column and run.scores]
    sign = 1 if lower_is_better else -1
    # A score of ours that is no number is beaten by any.
    return [i for i, score in enumerate(shown) if ours and not any(sign * scores[i] <= sign * score for scores in ours)]


def table(one: Task, done: Sequence[Run]) -> Table:
    """The task's rows: a rival each, then ours with both columns."""
    view = Table(title=f"{one.title}: {one.metric}, {len(one.events.y):,} events", title_justify="left")
    view.add_column("model")
    for header in ("default", "s", "tuned", "s", *(text for cell in CELLS for text in (cell, "s")), "elsewhere"):
        view.add_column(header, justify="right")
    view.add_column("better than ours")

    def figure(score: float) -> str:
        return f"{score:.4f}" if score < 0.01 else f"{score:#.3g}" if score < 1 else f"{score:.2f}"

    def figures(scores: Scores | None) -> str:
        return "-" if scores is None else " / ".join(map(figure, scores))

    def cells(run: Run | None) -> tuple[str, str]:
        if run is None or run.scores is None or run.seconds is None:
            return "-", "-"
        return figures(run.scores), f"{run.seconds:.2f}"

    for run in done:
        if not run.ours:
            marks = []
            for column in ("default", "tuned"):
                at = beaten(run, done, column, one.metric != "accuracy")
                labels = f" ({', '.join(one.labels[i] for i in at)})" if len(one.labels) > 1 else ""
                marks += [f"[bold red]{column}{labels}[/]"] if at else []
            blank = [""] * (2 + 2 * len(CELLS))
            view.add_row(run.model, *cells(run), *blank, figures(run.elsewhere), ", ".join(marks))
    view.add_section()
    for run in done:
        if run.ours and run.column == "default":
            of_model = {each.column: each for each in done if each.ours and each.model == run.model}
            others = [text for column in ("tuned", *CELLS) for text in cells(of_model.get(column))]
            view.add_row(f"[bold]{run.model}[/]", *cells(run), *others, "", "")
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Progressive scores of the estimators, their rivals beside them.")
    parser.add_argument(
        "--only", nargs="+", choices=tuple(TUNED), metavar="NAME", default=tuple(TUNED), help=", ".join(TUNED)
    )
    parser.add_argument("--skip", choices=("rivals", "ours"), help="leave one side out")
    parser.add_argument(
        "--tuned", action=argparse.BooleanOptionalAction, default=True, help="run what TUNED holds as well (default)"
    )
    parser.add_argument(
        "--cells", action=argparse.BooleanOptionalAction, default=True, help="run what CELLS holds as well (default)"
    )
    parser.add_argument("--seeds", type=int, metavar="N", default=SEEDS, help=f"of each of ours (default {SEEDS})")
    parser.add_argument("--flights", type=int, metavar="N", default=FLIGHTS, help=f"departures (default {FLIGHTS:,})")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file too")
    options = parser.parse_args(arguments)

    output, written = Console(), {}
    if not output.is_terminal:
        output = Console(width=WIDTH)
    for i, name in enumerate(options.only):
        # The bar is gone before the table is printed: both may be on one terminal.
        with Progress(*BAR, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
            report = partial(_show, progress, progress.add_task(name, completed=i, total=len(options.only)))
            one = task(name, options.flights)
            done = runs(one, options.skip, options.tuned, options.seeds, report, with_cells=options.cells)
        output.print(table(one, done))
        written[name] = {"metric": one.metric, "events": len(one.events.y), "steps": one.labels}
        written[name]["runs"] = [asdict(run) for run in done]
        if options.json is not None:
            options.json.write_text(json.dumps(written, indent=1) + "\n")


def _show(progress: Progress, bar: TaskID, text: str) -> None:
    progress.update(bar, description=text)


if __name__ == "__main__":
    main()
