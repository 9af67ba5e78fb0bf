"""What absurd numbers, shifts and heavy tails cost the learner.

    python -m tests.bench.robustness                      every table
    python -m tests.bench.robustness --only shifts        one of them
    python -m tests.bench.robustness --learners cells     by cell instead of by readout
    python -m tests.bench.robustness --records 30000      another length of the series with sentinels

Columns are learners: "job" is what a job file has that says nothing of its model (LSTM 32, Adam), by readout or loss;
"estimator" is RNNRegressor or RNNForecaster without arguments. The others are such jobs with another cell and squared
loss, the bank with rls; `--learners cells` are they beside the first.

sentinels   One number in 10,000 is replaced: 999999 (and its negative, and 1e29). Shown is by how many per cent the
            mean absolute error of all other records rises over that of the same data without them; aim: at most 5.
streams     100 streams of one partition, and a sentinel in one of them: the same figure for the 99 others over the
            1,000 steps after it, and for the first 100 steps of a stream that begins just after it.
shifts      All values rise by 20 deviations after 100,000 records, in one stream, and in each of 20 streams after 5,000
            of its own: error from record 500 to 2,000 after the shift over the error in the 2,000 before it.
levels      Series that are stationary and yet go from one level to another for a while (0 and 100, for 50 or 500
            records; a solar plant by the minute, dark for 900 of 1,440): error over that of "the last value".
holes       What else happens to a log, and by how many per cent the error of the records that it did not happen to
            rises: inputs missing, one in ten, or all for 500 records in 5,000; half of the targets unknown; sequences
            that end every 50 records, by a mark or by a gap in time, whose first records are left out; an input stuck
            at one value for half of the time.
mishaps     What else a log brings, and the same figure: one record in 20 comes twice; one in 10 is stamped an hour
            early; the target stands still for half of the time; every other record is of a stream that is seen once;
            the stream begins anew under another name every 1,000 records, whose first is left out; all inputs are
            1e30 in one record in 10,000, and nothing is scaled (``scale: false``). "nan": not asked of estimators.
tails       Noise of Student's t with 1.5 degrees of freedom upon a predictable target: mean absolute error over that of
            the job with squared loss and linear readout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from streamrnn import (
    Block,
    Learner,
    LearnerSpec,
    LearningSpec,
    ModelSpec,
    RNNForecaster,
    RNNRegressor,
    StreamSpec,
    TargetSpec,
)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Predict = Callable[["Data"], Floats]

SENTINELS: Final = (999_999.0, -999_999.0, 1e29)
EVERY: Final = 10_000
SKIPPED: Final = 1_000
SHIFT_AT: Final = 100_000
DEVIATIONS: Final = 20.0
RESET_AFTER_S: Final = 60
WIDTH: Final = 140


class Data(NamedTuple):
    """A log: ``y`` is what to predict, from ``x`` or, where forecast, from its own past."""

    x: Floats
    y: Floats
    streams: int = 1
    baseline: str | None = None
    end: Flags | None = None
    time_ms: npt.NDArray[np.int64] | None = None
    keys: Sequence[bytes] | None = None
    scale: bool = True

    @property
    def forecast(self) -> bool:
        """Whether the target is the stream's next value."""
        return not self.x.shape[1]


def job(readout: str = "linear", loss: str | None = None, **model_fields: Any) -> Predict:
    """What a job of this readout, loss and model predicts for each y; NaN where it was not asked."""

    def predict(data: Data) -> Floats:
        target = TargetSpec(fields=("y",), known="forecast" if data.forecast else "record", baseline=data.baseline)
        model = ModelSpec(readout=readout, loss=loss, **model_fields)
        spec = LearnerSpec(
            n_features=data.x.shape[1],
            target=target,
            has_end=data.end is not None,
            model=model,
            learning=LearningSpec(scale=data.scale),
            streams=StreamSpec(reset_after_s=None if data.time_ms is None else RESET_AFTER_S),
        )
        learner, n, S = Learner(spec, seed=1), len(data.y), data.streams
        names = [b"%d" % s for s in range(S)]
        keys = [names[i % S] for i in range(n)] if data.keys is None else data.keys
        time_ms = np.arange(n) // S * 1000 if data.time_ms is None else data.time_ms
        block = Block.events(keys, data.x, data.y[:, None], time_ms=time_ms, end=data.end)
        predicted = learner.process(block).value[:, 0]
        return np.concatenate([np.full(S, np.nan), predicted[:-S]]) if data.forecast else predicted

    return predict


def estimator(data: Data) -> Floats:
    """The same of an estimator without arguments; several streams are told apart by their key."""
    predicted = np.full(len(data.y), np.nan)
    if data.keys is not None or not data.scale:
        return predicted
    if data.forecast:
        forecaster = RNNForecaster(stream_key="s" if data.streams > 1 else None, **_given(data.baseline))
        for i, y in enumerate(data.y):
            forecaster.learn_one(y, {"s": i % data.streams} if data.streams > 1 else None)
            if i + data.streams < len(predicted):
                key = [{"s": i % data.streams}] if data.streams > 1 else None
                predicted[i + data.streams] = forecaster.forecast(1, key)[0]
        return predicted
    regressor = RNNRegressor()
    for i, (row, y) in enumerate(zip(data.x, data.y, strict=True)):
        x = {str(k): float(value) for k, value in enumerate(row)}
        predicted[i] = regressor.predict_one(x)
        regressor.learn_one(x, y)
    return predicted


def _given(baseline: str | None) -> dict[str, Any]:
    return {} if baseline is None else {"baseline": baseline}


LEARNERS: Final[Mapping[str, Predict]] = {
    "job, squared": job("linear"),
    "job, huber": job("linear", "huber"),
    "job, absolute": job("linear", "absolute"),
    "job, rls": job("rls"),
    "estimator": estimator,
    "rnn": job(cell="rnn"),
    "gru": job(cell="gru"),
    "lru": job(cell="glru", gates=False),
    "glru": job(cell="glru"),
    "elstm": job(cell="elstm"),
    "elstm, hidden 32": job(cell="elstm", hidden_layer=32),
    "bank": job("rls", cell="bank"),
}
OF_JOBS: Final = ("job, squared", "job, huber", "job, absolute", "job, rls", "estimator")
BY_CELL: Final = ("job, squared", "rnn", "gru", "lru", "glru", "elstm", "elstm, hidden 32", "bank")


# -- series -----------------------------------------------------------------------------------------------------------


def sine(n: int, streams: int = 1) -> Data:
    """Sine waves with noise, each stream with a phase and a frequency of its own."""
    rng = np.random.default_rng(0)
    phase, frequency = rng.uniform(0, 6.28, streams), rng.uniform(0.1, 0.6, streams)
    t, s = np.divmod(np.arange(n), streams)
    return Data(np.zeros((n, 0)), np.sin(phase[s] + frequency[s] * t) + 0.05 * rng.standard_normal(n), streams)


def walk(n: int) -> Data:
    """A random walk whose steps are alike, forecast as differences to the last value."""
    rng, steps = np.random.default_rng(0), np.zeros(n)
    for t, noise in enumerate(rng.standard_normal(n - 1)):
        steps[t + 1] = 0.7 * steps[t] + noise
    return Data(np.zeros((n, 0)), np.cumsum(steps), baseline="last")


def regression(n: int) -> Data:
    """A target that follows from three inputs and what they were a record ago."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3))
    before = np.roll(x[:, 1], 1)
    return Data(x, 5.0 + np.tanh(x[:, 0]) + 0.5 * before + 0.1 * rng.standard_normal(n))


def with_sentinels(values: Floats, sentinel: float) -> tuple[Floats, Flags]:
    """One value in ``EVERY`` replaced, and which."""
    where = np.arange(len(values)) % EVERY == EVERY // 2
    return np.where(where, sentinel, values), where


# -- tables -----------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of a table: what happened, and a figure for a learner."""

    name: str
    figure: Callable[[Predict], float]


def cost(predict: Predict, clean: Data, dirty: Data, scored: Flags) -> float:
    """Per cent by which the mean absolute error of the scored records rises."""
    return _cost_of(predict, clean, predict(dirty), scored)


def _cost_of(predict: Predict, clean: Data, predicted: Floats, scored: Flags) -> float:
    if (key := (predict, id(clean))) not in _clean:
        _clean[key] = clean, predict(clean)
    before, after = (np.abs(said - clean.y)[scored].mean() for said in (_clean[key][1], predicted))
    return float(100 * (after / before - 1))


_clean: dict[tuple[Predict, int], tuple[Data, Floats]] = {}
"""Predictions without sentinels, which several rows are compared with; the data stay alive with their id."""


def sentinels(records: int) -> Iterator[Row]:
    """Of a single stream."""
    everything = {"target": regression(records), "forecast": sine(records), "walk": walk(records)}
    for sentinel in SENTINELS:
        for name, data in everything.items():
            y, where = with_sentinels(data.y, sentinel)
            scored = ~where & (np.arange(records) >= SKIPPED)
            yield Row(f"{name}, {sentinel:g}", _costs(data, data._replace(y=y), scored))
        data = everything["target"]
        x = data.x.copy()
        x[:, 0], where = with_sentinels(x[:, 0], sentinel)
        scored = ~where & (np.arange(records) >= SKIPPED)
        yield Row(f"input, {sentinel:g}", _costs(data, data._replace(x=x), scored))


def _costs(clean: Data, dirty: Data, scored: Flags) -> Callable[[Predict], float]:
    return lambda predict: cost(predict, clean, dirty, scored)


def streams(_: int) -> Iterator[Row]:
    """One sentinel in one of 100."""
    S, steps, at = 100, 1_500, 500
    clean = sine(S * steps, S)
    for sentinel in SENTINELS:
        y = clean.y.copy()
        y[at * S + 7] = sentinel
        others = (np.arange(S * steps) // S >= at) & (np.arange(S * steps) % S != 7)
        yield Row(f"others, {sentinel:g}", _costs(clean, clean._replace(y=y), others))
    # Stream 99 has no values before the sentinel.
    y = clean.y.copy()
    y[(np.arange(S * steps) % S == 99) & (np.arange(S * steps) // S <= at)] = np.nan
    first = (np.arange(S * steps) % S == 99) & (abs(np.arange(S * steps) // S - at - 52) <= 50)
    late = clean._replace(y=y)
    dirty = late.y.copy()
    dirty[at * S + 7] = SENTINELS[0]
    yield Row("a new stream", _costs(late, late._replace(y=dirty), first))


def holes(records: int) -> Iterator[Row]:
    """Per cent by which the error of the records that nothing happened to rises."""
    data, t = regression(records), np.arange(records)
    scored = t >= SKIPPED
    missing = np.random.default_rng(3).uniform(size=records) < 0.1
    x = np.where(missing[:, None], np.nan, data.x)
    whole = scored & ~missing & ~np.roll(missing, 1)
    yield Row("inputs, one in ten", _costs(data, data._replace(x=x), whole))
    missing = t % 5_000 >= 4_500
    x = np.where(missing[:, None], np.nan, data.x)
    whole = scored & ~missing & ~np.roll(missing, 1)
    yield Row("inputs, 500 of 5,000", _costs(data, data._replace(x=x), whole))
    # What is predicted is scored by what the target would have been.
    y = np.where(np.random.default_rng(4).uniform(size=records) < 0.5, np.nan, data.y)
    yield Row("targets, half", _costs(data, data._replace(y=y), scored))
    inside = scored & (t % 50 > 0)
    yield Row("ends every 50", _costs(data, data._replace(end=t % 50 == 49), inside))
    yield Row(
        "gaps every 50", _costs(data, data._replace(time_ms=1_000 * t + 10_000 * RESET_AFTER_S * (t // 50)), inside)
    )
    stuck = t % 10_000 >= 5_000
    x = np.where(stuck[:, None] & (np.arange(3) == 2), 7.0, data.x)  # the third says nothing of the target
    yield Row("an input stuck", _costs(data, data._replace(x=x), scored))


def mishaps(records: int) -> Iterator[Row]:
    """The same where records come twice, early, or of other streams, where targets stand still or inputs are absurd."""
    data, t = regression(records), np.arange(records)
    scored = t >= SKIPPED
    yield Row("one in 20 twice", _repeated(data, np.flatnonzero(t % 20 == 7), scored & (t % 20 != 8)))
    early = np.where(t % 10 == 7, 3_600_000, 0)
    yield Row("one in 10 stamped early", _costs(data, data._replace(time_ms=1_000 * t + 10_000_000 - early), scored))
    still = t % 10_000 >= 5_000
    yield Row("a target stuck", _costs(data, data._replace(y=np.where(still, 7.0, data.y)), scored & ~still))
    once = [b"s" if i % 2 == 0 else b"%d" % i for i in range(2 * records)]
    twice = data._replace(x=np.repeat(data.x, 2, axis=0), y=np.repeat(data.y, 2), keys=once)
    yield Row("streams of one record", lambda predict: _cost_of(predict, data, predict(twice)[::2], scored))
    anew = data._replace(keys=[b"%d" % (i // 1_000) for i in range(records)])
    yield Row("begins anew every 1,000", _costs(data, anew, scored & (t % 1_000 > 0)))
    raw = data._replace(scale=False)
    absurd = t % EVERY == EVERY // 2
    yield Row(
        "inputs of 1e30, unscaled",
        _costs(raw, raw._replace(x=np.where(absurd[:, None], 1e30, raw.x)), scored & ~absurd),
    )


def _repeated(data: Data, which: npt.NDArray[np.intp], scored: Flags) -> Callable[[Predict], float]:
    at = np.sort(np.concatenate([np.arange(len(data.y)), which]))
    first = np.searchsorted(at, np.arange(len(data.y)))
    return lambda predict: _cost_of(predict, data, predict(data._replace(x=data.x[at], y=data.y[at]))[first], scored)


def shifts(_: int) -> Iterator[Row]:
    """Error after a shift over the error before."""
    for S in (1, 20):
        clean = sine(SHIFT_AT + 2_000 * S, S)
        moved = np.arange(len(clean.y)) >= SHIFT_AT
        data = clean._replace(y=clean.y + DEVIATIONS * clean.y.std() * moved)
        yield Row(f"{S} stream{'s' * (S > 1)}", _after_shift(data))
    data = regression(SHIFT_AT + 2_000)
    moved = np.arange(len(data.y)) >= SHIFT_AT
    yield Row("target", _after_shift(data._replace(y=data.y + DEVIATIONS * data.y.std() * moved)))


def _after_shift(data: Data) -> Callable[[Predict], float]:
    def figure(predict: Predict) -> float:
        error, S = np.abs(predict(data) - data.y), data.streams
        return float(np.nanmean(error[SHIFT_AT + 500 * S :]) / np.nanmean(error[SHIFT_AT - 2_000 * S : SHIFT_AT]))

    return figure


def tails(records: int) -> Iterator[Row]:
    """Error over that of squared loss with a linear readout."""
    noise = 0.1 * np.random.default_rng(1).standard_t(1.5, records)
    for name, data in (("target", regression(records)), ("forecast", sine(records))):
        noisy = data._replace(y=data.y + noise)
        yield Row(name, _over_squared(noisy))


def levels(records: int) -> Iterator[Row]:
    """Error over that of the last value."""
    rng, t = np.random.default_rng(2), np.arange(records)
    day = np.maximum(0.0, np.sin(2 * np.pi * (t % 1440 - 900) / 1080)) * (t % 1440 >= 900)
    for name, y in (
        ("dwell 50", 100.0 * (t // 50 % 2) + rng.standard_normal(records)),
        ("dwell 500", 100.0 * (t // 500 % 2) + rng.standard_normal(records)),
        ("solar", 5_000.0 * day * (1 + 0.1 * rng.standard_normal(records))),
    ):
        yield Row(name, _over_last(Data(np.zeros((records, 0)), y)))


def _over_last(data: Data) -> Callable[[Predict], float]:
    base = np.abs(np.diff(data.y))[SKIPPED:].mean()
    return lambda predict: float(np.nanmean(np.abs(predict(data) - data.y)[SKIPPED:]) / base)


def _over_squared(data: Data) -> Callable[[Predict], float]:
    base = float(np.nanmean(np.abs(LEARNERS["job, squared"](data) - data.y)[SKIPPED:]))
    return lambda predict: float(np.nanmean(np.abs(predict(data) - data.y)[SKIPPED:])) / base


TABLES: Final[Mapping[str, tuple[str, Callable[[int], Iterator[Row]]]]] = {
    "sentinels": ("cost of a sentinel in 10,000, per cent", sentinels),
    "holes": ("cost of holes, ends and gaps, per cent", holes),
    "mishaps": ("cost of records twice, early, absurd and the like, per cent", mishaps),
    "streams": ("cost of a sentinel in one of 100 streams, per cent", streams),
    "shifts": ("error 500 records after a shift of 20 deviations, before = 1", shifts),
    "levels": ("error where levels come and go, last value = 1", levels),
    "tails": ("error with Student-t noise (1.5), squared and linear = 1", tails),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What absurd numbers, shifts and heavy tails cost.")
    parser.add_argument("--only", nargs="+", choices=tuple(TABLES), metavar="NAME", default=tuple(TABLES))
    parser.add_argument("--learners", nargs="+", choices=(*LEARNERS, "cells"), metavar="NAME", default=OF_JOBS)
    parser.add_argument("--records", type=int, metavar="N", default=30_000, help="of a series with sentinels")
    options = parser.parse_args(arguments)
    learners = BY_CELL if "cells" in options.learners else options.learners
    output = Console()
    if not output.is_terminal:
        output = Console(width=WIDTH)
    for name in options.only:
        title, rows = TABLES[name]
        table = Table(title=title, title_justify="left")
        table.add_column(name)
        for learner in learners:
            table.add_column(learner, justify="right")
        for row in rows(options.records):
            figures = [row.figure(LEARNERS[learner]) for learner in learners]
            table.add_row(row.name, *(f"{figure:.3g}" for figure in figures))
        output.print(table)


if __name__ == "__main__":
    main()
