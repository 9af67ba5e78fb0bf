"""Claims about evaluating a job over a file: what is read, what is scored, and that the sums are right."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from streamrnn.errors import ConfigError
from streamrnn.job.job_file import parse
from streamrnn.offline.data_file import Fields, parsed, read_rows, records
from streamrnn.offline.evaluation import evaluate
from tests.support.jobs import small, text_job

N = 400


def job(**sections):
    """A small job over fields a, b and y, keyed by the record key."""
    return parse(json.dumps(small() | sections), env={})


def rows(n=N, seed=1):
    """n rows of three streams; every tenth lacks its target."""
    rng = np.random.default_rng(seed)
    return [
        {"k": f"s{rng.integers(3)}", "t": 1_000 * i, "a": float(rng.normal()),
         "y": None if i % 10 == 3 else float(rng.normal() * 5 + 20), "c": str(rng.choice(["no", "yes", "no"]))}
        for i in range(n)
    ]  # fmt: skip


def run(tmp_path, config, data, **options):
    """Evaluate over JSON lines; returns the report and the output records."""
    path, out = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in data))
    with out.open("wb") as stream:
        source = records(config, read_rows(path), Fields(key="k", timestamp="t"))
        report = evaluate(config, source, predictions=stream, **options)
    return report, [json.loads(line) for line in out.read_text().splitlines()]


def table(report):
    """(target, predictor) -> values."""
    return {(s.target, s.predictor): s.values | {"n": s.scored} for s in report.scores}


@pytest.mark.parametrize("encoder", ["numeric", "log1p"])
def test_zeros_left_out_are_zeros_where_the_job_says_so(tmp_path, encoder):
    config = job(features=[{"field": "a", "encoder": encoder, "missing": "zero"}])
    given = [row | {"a": max(0.0, row["a"])} for row in rows()]
    left_out = [{name: value for name, value in row.items() if name != "a" or value} for row in given]
    assert len({len(row) for row in left_out}) == 2
    _, expected = run(tmp_path, config, given)
    _, out = run(tmp_path, config, left_out)
    assert [o["prediction"] for o in out] == [o["prediction"] for o in expected]
    _, as_mean = run(tmp_path, job(features=[{"field": "a", "encoder": encoder}]), left_out)
    assert [o["prediction"] for o in as_mean] != [o["prediction"] for o in expected]


def test_regression_metrics_equal_an_independent_computation(tmp_path):
    data = rows()
    report, out = run(tmp_path, job(), data)
    y = np.array([np.nan if r["y"] is None else r["y"] for r in data])
    known = ~np.isnan(y)
    model = np.array([o["prediction"] for o in out])

    seen = lambda i: y[:i][known[:i]]  # noqa: E731
    mean = np.array([seen(i).mean() if len(seen(i)) else 0.0 for i in range(N)])
    median = np.array([np.median(seen(i)) if len(seen(i)) else 0.0 for i in range(N)])
    last = np.empty(N)
    for i in range(N):
        before = [j for j in range(i) if data[j]["k"] == data[i]["k"] and known[j]]
        last[i] = y[before[-1]] if before else median[i]
    known[: known.argmax() + 1] = False  # the first was predicted by whoever knew nothing
    for name, column in [
        ("model", model), ("running mean", mean), ("running median", median), ("last value of the stream", last)
    ]:  # fmt: skip
        error = (column - y)[known]
        values = table(report)["y", name]
        assert values["n"] == known.sum()
        assert values["MAE"] == pytest.approx(np.abs(error).mean(), abs=1e-9)
        assert values["RMSE"] == pytest.approx(np.sqrt((error**2).mean()), abs=1e-9)
    assert (report.records, report.streams, report.rejected.total(), report.backwards) == (N, 3, 0, 0)


def test_skill_at_the_end_is_that_of_the_errors_but_for_what_fades(tmp_path):
    report, _ = run(tmp_path, job(), rows())
    errors = {score.predictor: score.values["MAE"] for score in report.scores}
    assert report.skill["mean"] == pytest.approx(1 - errors["model"] / errors["running mean"], abs=0.005)
    assert report.skill["last"] == pytest.approx(1 - errors["model"] / errors["last value of the stream"], abs=0.02)


def test_a_verdict_does_not_depend_on_how_far_from_0_values_lie(tmp_path):
    near = [row | {"y": 5 * row["a"]} for row in rows()]
    far = [row | {"y": row["y"] + 1e7} for row in near]
    (near_report, _), (far_report, _) = run(tmp_path, job(), near), run(tmp_path, job(), far)
    expected, found = ({s.predictor: s.values["MAE"] for s in report.scores} for report in (near_report, far_report))
    assert found == pytest.approx(expected, rel=0.01)


def test_class_metrics_equal_an_independent_computation(tmp_path):
    data = rows()
    config = job(target={"fields": ["c"], "classes": ["no", "yes"]}, model={"hidden_size": 4, "readout": "softmax"})
    report, out = run(tmp_path, config, data)
    truth = np.array([["no", "yes"].index(r["c"]) for r in data])
    probability = np.array([[o["prediction"]["probabilities"][c] for c in ("no", "yes")] for o in out])
    counts = np.stack([np.concatenate([[0], np.cumsum(truth == c)[:-1]]) for c in (0, 1)], axis=1) + 1.0
    frequency = counts / counts.sum(axis=1, keepdims=True)
    for name, p in [("model", probability), ("class frequencies", frequency)]:
        values = table(report)["c", name]
        assert values["accuracy"] == pytest.approx((p.argmax(axis=1) == truth).mean())
        assert values["log-loss"] == pytest.approx(-np.log(p[np.arange(N), truth]).mean())
    last, right = {}, 0
    for i, row in enumerate(data):
        right += last.get(row["k"], int(frequency[i].argmax())) == truth[i]
        last[row["k"]] = truth[i]
    assert table(report)["c", "last class of the stream"]["accuracy"] == pytest.approx(right / N)


@pytest.mark.parametrize(("horizon", "steps"), [(2, (1, 2)), ([1, 3], (1, 3))])
def test_a_forecast_is_scored_when_its_value_arrives_at_each_horizon(tmp_path, horizon, steps):
    data = rows()
    config = job(target={"fields": ["y"], "known": "forecast", "horizon": horizon}, learning={"k1": 1, "k2": 4})
    report, out = run(tmp_path, config, data)
    for step in steps:
        errors, last_errors = [], []
        for stream in ("s0", "s1", "s2"):
            mine = [i for i in range(N) if data[i]["k"] == stream]
            last = None
            for at, i in enumerate(mine):
                last = data[i]["y"] if data[i]["y"] is not None else last
                if at + step < len(mine) and (y := data[mine[at + step]]["y"]) is not None:
                    errors.append(abs(out[i]["prediction"]["y"][str(step)] - y))
                    if last is not None:
                        last_errors.append(abs(last - y))
        values = table(report)[f"y +{step}", "model"]
        assert values["n"] == len(errors)
        assert values["MAE"] == pytest.approx(np.mean(errors))
        if len(last_errors) == len(errors):  # no stream began with an unknown value
            assert table(report)[f"y +{step}", "last value of the stream"]["MAE"] == pytest.approx(np.mean(last_errors))


def test_a_forecast_across_the_end_of_a_sequence_is_not_scored(tmp_path):
    data = [{"k": "s", "t": i, "a": 1.0, "y": 1.0, "end": i % 2 == 1} for i in range(10)]
    config = job(
        input={"topic": "in", "end_field": "end"},
        target={"fields": ["y"], "known": "forecast"},
        learning={"k1": 1, "k2": 3},
    )
    report, _ = run(tmp_path, config, data)
    assert table(report)["y +1", "model"]["n"] == 5


def test_a_label_scores_the_prediction_of_the_event_it_names(tmp_path):
    data = []
    for i in range(50):
        data.append({"k": "s", "t": 2 * i, "a": float(i), "id": f"e{i}"})
        if i >= 2 and i % 5:
            data.append({"k": "s", "t": 2 * i + 1, "of": f"e{i - 2}", "y": float(i)})
    target = {"fields": ["y"], "known": "label", "event_field": "id", "label_field": "of"}
    report, out = run(tmp_path, job(target=target), data)
    events = [o["prediction"] for o in out]
    pairs = [(int(r["of"][1:]), r["y"]) for r in data if "of" in r]
    assert report.labels == len(pairs)
    pairs = pairs[3:]  # the events of the others came before any label
    assert table(report)["y", "model"]["n"] == len(pairs)
    expected = np.mean([abs(events[i] - y) for i, y in pairs])
    assert table(report)["y", "model"]["MAE"] == pytest.approx(expected)


def test_quantiles_are_scored_by_pinball_loss_and_coverage(tmp_path):
    data = [row for row in rows() if row["y"] is not None]
    config = job(model={"hidden_size": 4, "loss": "quantile", "quantiles": [0.1, 0.5, 0.9]})
    report, out = run(tmp_path, config, data)
    q = np.array([[o["prediction"]["y"][level] for level in ("0.1", "0.5", "0.9")] for o in out])
    y = np.array([r["y"] for r in data])[:, None]
    q, y = q[1:], y[1:]  # of the first nothing was known
    level = np.array([0.1, 0.5, 0.9])
    values = table(report)["y", "model"]
    assert values["MAE"] == pytest.approx(np.abs(q[:, 1:2] - y).mean())
    assert values["pinball"] == pytest.approx(np.maximum(level * (y - q), (level - 1) * (y - q)).mean())
    assert values["within 0.1-0.9"] == pytest.approx(((q[:, :1] <= y) & (y <= q[:, 2:])).mean())


def test_blocks_have_no_meaning(tmp_path, monkeypatch):
    whole, out = run(tmp_path, job(), rows())
    monkeypatch.setattr("streamrnn.offline.evaluation.BLOCK", 7)
    cut, again = run(tmp_path, job(), rows())
    assert out == again
    assert whole.scores == cut.scores
    assert math.isclose(whole.loss, cut.loss)  # summed by block


def test_bad_records_are_counted_by_reason_and_change_nothing(tmp_path):
    data = rows(60)
    clean, out = run(tmp_path, job(), data)
    dirty = [*data[:20], "{broken\n", {"t": 0, "a": 1.0, "y": 1.0}, *data[20:], {**data[0], "a": "text"}]
    report, again = run(tmp_path, job(), dirty)
    assert dict(report.rejected) == {"malformed": 1, "null_key": 1, "wrong_type": 1}
    assert report.first_rejected["malformed"].startswith("record 20: ")
    assert [o["prediction"] for o in out] == [o["prediction"] for o in again]
    assert clean.scores == report.scores


def test_timestamps_that_go_backwards_are_counted(tmp_path):
    data = rows(10)
    data[4]["t"] = 0
    assert run(tmp_path, job(), data)[0].backwards == 1


def test_limit_stops_early(tmp_path):
    report, out = run(tmp_path, job(), rows(), limit=25)
    assert (report.records, len(out)) == (25, 25)


def test_csv_and_json_lines_give_the_same_predictions(tmp_path):
    data = rows(50)
    _, expected = run(tmp_path, job(), data)
    path = tmp_path / "data.csv"
    lines = [",".join("" if v is None else str(v) for v in r.values()) for r in data]
    path.write_text("\n".join([",".join(data[0]), *lines]) + "\n")
    out = tmp_path / "csv.jsonl"
    with out.open("wb") as stream:
        evaluate(job(), records(job(), read_rows(path), Fields(key="k", timestamp="t")), predictions=stream)
    assert [json.loads(line) for line in out.read_text().splitlines()] == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("NaN", None), ("TRUE", True), ("0", 0), ("-3", -3), (".5", 0.5), ("1e3", 1000.0), ("007", "007"),
     ("1_000", "1_000"), ("e5", "e5"), (".", "."), ("-", "-"), ("12:30", "12:30"), ("NA", "NA"), ("5.", 5.0)],
)  # fmt: skip
def test_csv_values_mean_what_they_plainly_are(text, value):
    found = parsed(text)
    assert found == value
    assert type(found) is type(value)


def test_dotted_csv_columns_are_nested_and_keys_stay_text(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("k,place.x,place.y\n1.10,2,true\n007,,\n")
    first, second = records(job(), read_rows(path), Fields(key="k"))
    assert (first.key, second.key) == (b"1.10", b"007")
    assert json.loads(first.value)["place"] == {"x": 2, "y": True}
    assert (first.timestamp_ms, second.timestamp_ms) == (0, 1000)


def test_a_column_of_texts_is_text_whatever_it_looks_like(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("k,message\na,404\na,true\na,\n")
    found = records(text_job(), read_rows(path), Fields(key="k"))
    assert [json.loads(record.value)["message"] for record in found] == ["404", "true", ""]


def test_times_may_be_iso_text(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"k": 1, "t": "1970-01-01T00:00:02Z"}\n{"k": 1, "t": "1970-01-01T00:00:03"}\n{"k": 1, "t": "x"}\n')
    told = []
    found = records(job(), read_rows(path), Fields(key="k", timestamp="t"), told.append)
    assert [r.timestamp_ms for r in found] == [2000, 3000, -1]
    assert told == [
        "--timestamp: record 2 (the first is 0), field 't': found the string 'x', "
        "expected milliseconds or ISO 8601 text"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "expected .csv, .jsonl or .ndjson"),
        ("a.csv", "", "is empty"),
        ("a.csv", "k,k\n1,2\n", "same name"),
        ("a.csv", "k,a\n1\n", "line 2: found 1 values, expected 2"),
        ("a.csv", "k,a,a.b\n1,2,3\n", "exclude each other"),
        ("a.csv", "x,a\n1,2\n", "has no field 'k'"),
        ("a.csv", b"k\n\xff\n", "not UTF-8"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with closing(read_rows(path)) as source, pytest.raises(ConfigError, match=message):
        list(records(job(), source, Fields(key="k")))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read"):
        list(read_rows(tmp_path / "none.csv"))


def test_the_key_must_come_from_one_place():
    with pytest.raises(ConfigError, match="--key"):
        list(records(job(), [{"k": "1"}], Fields()))
    with pytest.raises(ConfigError, match="--key"):
        list(records(job(input={"topic": "in", "stream_key": "k"}), [{"k": "1"}], Fields(key="k")))


def test_river_is_not_imported():
    imported = "streamrnn.offline.evaluation, streamrnn.cli.show"
    code = f"import sys, {imported}; assert not {{'river', 'pandas'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
