"""Skill against naive rivals: what they say by hand, and all of it told again from the log and the predictions."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.learner.block import EVENT, FORGET, LABEL, Block
from streamrnn.learner.growth import carry_over
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.skill import rivals_of, skill_of
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.validity import require_sound
from streamrnn.offline.baselines import RunningMean
from tests.support.learners import bits_of, differing
from tests.support.small_learners import spec

KEPT = 0.9999


def of_numbers(**changes: Any) -> LearnerSpec:
    return spec(1, **changes)


def events(keys: str, y: list[Any], **more: Any) -> Block:
    """One event for each letter, which is its stream, a second apart."""
    n = len(keys)
    rows = np.reshape(np.array(y, np.float64), (n, -1))
    return Block.events(
        [key.encode() for key in keys], np.linspace(-1, 1, n)[:, None], rows, time_ms=1000 * np.arange(n), **more
    )


def forgotten(errors: list[float]) -> float:
    return sum(error * KEPT**n for n, error in enumerate(reversed(errors)))


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else np.nan


# ---- by hand


def test_rivals_of_numbers_say_the_stream_s_last_value_and_the_partition_s_mean() -> None:
    said = Learner(of_numbers(), 1).process(events("abab", [2, 3, 7, 1])).rivals
    # Nothing before there is anything; then b has no value of its own, and gets the mean, 2; then 2 and 5/2; then 3 and
    # 12/3.
    np.testing.assert_array_equal(said, [[np.nan] * 2, [1, 1], [5, 4.5], [2, 3]])


def test_rivals_of_classes_say_the_stream_s_last_one_and_the_most_frequent() -> None:
    of = spec(1, classes=("p", "q"), model={"readout": "softmax"})
    wrong = Learner(of, 1).process(events("abbaa", [0, 1, 1, 1, 1])).rivals
    np.testing.assert_array_equal(wrong, [[np.nan] * 2, [1, 1], [0, 1], [1, 0], [0, 0]])


def test_of_what_is_not_known_nothing_is_scored_and_nothing_remembered() -> None:
    said = Learner(of_numbers(), 1).process(events("aaaa", [4, np.nan, np.inf, 6])).rivals
    np.testing.assert_array_equal(said, [*[[np.nan] * 2] * 3, [2, 2]])


def test_a_forecast_is_held_against_what_the_rivals_said_when_it_was_made() -> None:
    of = of_numbers(known="forecast", horizon=2)
    said = Learner(of, 1).process(events("aaa", [1, 4, 2])).rivals
    # When 1 came it was known; 4 was said to be 1; 2 to be 4 and (1 + 4) / 2 one step before, and 1 two steps before.
    np.testing.assert_array_equal(said, [[np.nan] * 2, [3, 3], [(2 + 1) / 2, (0.5 + 1) / 2]])


def test_a_late_label_is_held_against_what_the_rivals_said_when_its_event_came() -> None:
    of = of_numbers(known="label", event_field="id", label_field="of")
    kinds = [EVENT, EVENT, LABEL, EVENT, LABEL, LABEL]
    y = [np.nan, np.nan, 5, np.nan, 1, 8]
    said = Learner(of, 1).process(events("aaaaaa", y, kind=kinds, event=[1, 2, 2, 3, 1, 3])).rivals
    # When 1 and 2 came nothing was known; of 3 the label 5, though 1 came since.
    np.testing.assert_array_equal(said[[2, 4, 5]], [[np.nan] * 2, [np.nan] * 2, [3, 3]])


@pytest.mark.parametrize("kind", ["label", "label of classes"])
def test_that_rivals_knew_nothing_is_remembered_until_the_label_comes_and_by_checkpoints(kind: str) -> None:
    of = LOGS[kind]
    first, second = Learner(of, 1), Learner(of, 2)
    first.process(events("ab", [np.nan, np.nan], event=[1, 2]))
    state = first.state()
    assert np.isnan(state.streams["remembered_rivals"][:, 0]).all()
    require_sound(of, state.model, state.streams, state.keys)
    second.resume(state)
    said = second.process(events("aab", [2, np.nan, 1], kind=[LABEL, EVENT, LABEL], event=[1, 3, 2])).rivals
    assert np.isnan(said).all(), "b's event came before a's label"
    assert second.skill() == {}
    assert second.process(events("a", [1], kind=[LABEL], event=[3])).rivals.tolist() == [[1, 1]], (
        "2 is known to event 3"
    )


def test_the_last_value_outlives_its_sequence_but_not_its_stream() -> None:
    of = replace(of_numbers(), has_end=True, streams=StreamSpec(max_streams=2))
    block = events("aab", [3, 9, 1], end=[True, False, False])
    said = Learner(of, 1).process(block).rivals[:, 0]
    np.testing.assert_array_equal(said, [np.nan, 6, 5]), "9 after 3; then the mean, 6"
    forgotten_stream = events("aaa", [3, np.nan, 9], kind=[EVENT, FORGET, EVENT])
    assert Learner(of, 1).process(forgotten_stream).rivals[2, 0] == 6, "of the mean, which is still 3"


def test_skill_is_one_minus_the_quotient_of_errors_that_fade() -> None:
    learner = Learner(of_numbers(), 1)
    told = learner.process(events("abab", [2, 3, 7, 1]))
    model = forgotten(told.error[1:].tolist())
    assert learner.skill() == {
        "last": pytest.approx(1 - model / forgotten([1, 5, 2]), rel=1e-12),
        "mean": pytest.approx(1 - model / forgotten([1, 4.5, 3]), rel=1e-12),
    }
    assert learner.progress().skill == learner.skill()


def test_before_anything_is_scored_and_where_a_rival_is_never_wrong_there_is_no_skill() -> None:
    learner = Learner(of_numbers(), 1)
    assert learner.skill() == {}
    learner.process(events("aa", [0, 0]))
    assert learner.skill() == {}
    learner.process(events("aa", [4, 4]))
    assert set(learner.skill()) == {"last", "mean"}


LEVELS: dict[str, LearnerSpec] = {
    "record": of_numbers(),
    "forecast 2": of_numbers(known="forecast", horizon=2),
    "label": of_numbers(known="label", event_field="id", label_field="of"),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_skill_does_not_depend_on_how_far_from_0_values_lie(kind: str) -> None:
    of, n = LEVELS[kind], 2_000
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, n)
    keys, y = "abcdefghij" * (n // 10), 5 * x + np.sin(np.arange(n) // 10) + 0.1 * rng.normal(size=n)
    skills = []
    for level in (0.0, 1e7, -1e7):
        learner = Learner(of, 1)
        if of.target.known == "label":  # each comes right behind its event, but the first ones later
            order = sorted(range(2 * n), key=lambda k: k // 2 + (40 if k % 2 and k < 60 else 0))
            kind_of = [(EVENT, LABEL)[k % 2] for k in order]
            values = [level + y[k // 2] if k % 2 else np.nan for k in order]
            ids = [k // 2 + 1 for k in order]
            learner.process(events("".join(keys[k // 2] for k in order), values, kind=kind_of, event=ids))
        else:
            learner.process(events(keys, (level + y).tolist()))
        skills.append(learner.skill())
    assert skills[0]["mean"] > 0.3
    for far in skills[1:]:
        assert far == pytest.approx(skills[0], abs=0.03)


def test_skill_of_a_field_begins_when_something_of_it_is_known() -> None:
    learner = Learner(of_numbers(fields=("y", "z")), 1)
    learner.process(events("aaaa", [[2, np.nan], [3, 1e7], [5, np.nan], [4, 1e7 + 1]]))
    sums = learner.state().model["recent_errors"]
    np.testing.assert_allclose(sums[:, 1:], [[1 * KEPT**2 + 2 * KEPT + 1, KEPT**2 + 2.5 * KEPT + 2 / 3], [1, 1]])
    assert sums[1, 0] < 10


def test_the_running_mean_is_that_of_the_evaluation() -> None:
    rng = np.random.default_rng(2)
    values, mean, expected = rng.normal(50, 9, 400).tolist(), RunningMean(), []
    for y in values:
        expected.append(abs(mean.predict({}) - y))
        mean.learn({}, y)
    told = Learner(of_numbers(), 1).process(events("abcd" * 100, values))
    assert told.rivals[1:, 1].tolist() == expected[1:]


# ---- several fields


def test_no_field_is_heard_for_its_unit() -> None:
    of = of_numbers(fields=("y", "z"))
    rng = np.random.default_rng(4)
    y = np.cumsum(rng.normal(size=(300, 2)), axis=0)
    plain, other = Learner(of, 1), Learner(of, 1)
    plain.process(events("abc" * 100, y.tolist()))
    other.process(events("abc" * 100, (y * [1e6, 1e-3]).tolist()))
    # The first two predictions of a partition are made before there is a unit; all others are the same in theirs.
    assert other.skill() == pytest.approx(plain.skill(), abs=1e-3)


def test_against_the_mean_it_is_the_mean_of_the_fields_skills() -> None:
    of = of_numbers(fields=("y", "z"))
    sums = np.array([[5.0, 8.0, 10.0], [30.0, 20.0, 40.0]])
    assert skill_of(of, sums)["mean"] == pytest.approx(((1 - 5 / 10) + (1 - 30 / 40)) / 2)
    assert skill_of(of, sums)["last"] == pytest.approx(1 - (5 / 10 + 30 / 40) / (8 / 10 + 20 / 40))


def test_a_field_of_which_nothing_is_to_be_foreseen_is_left_out() -> None:
    sums = np.array([[3.0, 0.0, 0.0], [30.0, 20.0, 40.0]])
    assert skill_of(of_numbers(fields=("y", "z")), sums) == {"last": pytest.approx(-0.5), "mean": pytest.approx(0.25)}


# ---- absurd values


def test_one_absurd_value_is_not_all_that_rivals_ever_say() -> None:
    learner = Learner(of_numbers(), 1)
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, 300)
    values[200] = 1e12
    told = learner.process(events("ab" * 150, values.tolist()))
    assert told.rivals[1:].max() < 1000
    assert -1 < learner.skill()["mean"] < 1


def test_a_prediction_that_is_no_number_leaves_the_skill_as_it_is() -> None:
    learner = Learner(of_numbers(known="forecast", horizon=1, model={"readout": "linear"}), 1)
    learner.process(events("aaaaaaaa", [1, 4, 2, 3, 6, 3, 4, 1]))
    before = learner.skill()
    learner._per_stream.remembered[0] = np.nan
    learner.process(events("a", [4]))
    assert learner.skill() == before


# ---- the whole of a random log, told again


class Retold:
    """All that is scored in a log, from its records and the published predictions alone; values that nothing bounds."""

    def __init__(self, of: LearnerSpec) -> None:
        self.of = of
        self.pairs: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
        self.per_record: list[list[tuple[float, float, float]]] = []
        self.known: list[list[float]] = [[] for _ in of.target.fields]
        self.last: dict[tuple[bytes, int], float] = {}
        self.steps: dict[bytes, list[Any]] = defaultdict(list)
        self.waiting: dict[bytes, list[list[Any]]] = defaultdict(list)
        self.lost = 0

    def typical(self, f: int) -> float:
        known = self.known[f]
        if self.of.target.classes is not None:
            counts = Counter(known)
            return max(range(len(self.of.target.classes)), key=lambda c: counts[c]) if known else np.nan
        return sum(known) / len(known) if known else np.nan

    def say(self, key: bytes, value: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
        fields = range(len(self.known))
        return value, [(self.last.get((key, f), self.typical(f)), self.typical(f)) for f in fields]

    def compare(self, said: Any, y: np.ndarray, horizon: int) -> None:
        value, rivals = said
        for f in np.flatnonzero(~np.isnan(y)):
            if self.of.target.classes is not None:
                errors = tuple(float(c != y[f]) if c == c else np.nan for c in (np.argmax(value), *rivals[f]))
            else:
                errors = tuple(abs(p - y[f]) for p in (value[(horizon - 1) * len(y) + f], *rivals[f]))
            if not np.isnan(errors[1]):
                self.pairs[int(f)].append(errors)
            self.per_record[-1].append(errors)

    def learn(self, key: bytes, y: np.ndarray) -> None:
        for f in np.flatnonzero(~np.isnan(y)).tolist():
            self.known[f].append(float(y[f]))
            self.last[key, f] = float(y[f])

    def tell(self, block: Block, told: Predictions) -> None:
        for key, kind, event, y, value in zip(block.keys, block.kind, block.event, block.y, told.value, strict=True):
            self.per_record.append([])
            if kind == LABEL:
                matches = [w for w in self.waiting[key] if w[0] == event]
                if matches:
                    self.compare(matches[-1][1], y, 1)
                    self.learn(key, y)
                    if not np.isnan(y).all():
                        matches[-1][0] = None
            elif self.of.target.known == "label":
                self.waiting[key].append([event, self.say(key, value)])
                if len(self.waiting[key]) > self.of.target.label_memory:
                    self.lost += self.waiting[key].pop(0)[0] is not None
            elif self.of.target.known == "forecast":
                for j, said in enumerate(reversed(self.steps[key][-self.of.target.horizon :])):
                    self.compare(said, y, j + 1)
                self.learn(key, y)
                self.steps[key].append(self.say(key, value))
            else:
                self.compare(self.say(key, value), y, 1)
                self.learn(key, y)


def random_log(of: LearnerSpec, n: int, seed: int) -> Block:
    """Some streams; targets of which a tenth is missing; labels soon, late, twice and never."""
    rng = np.random.default_rng(seed)
    keys = [b"s%d" % k for k in rng.integers(0, 5, n)]
    y = 20 + np.cumsum(rng.normal(size=(n, of.n_targets)), axis=0)
    if of.target.classes is not None:
        y = rng.choice(len(of.target.classes), (n, 1), p=(0.2, 0.5, 0.3)).astype(np.float64)
    y[rng.random(y.shape) < 0.1] = np.nan
    kind, event = np.zeros(n, np.uint8), np.arange(1, n + 1, dtype=np.uint64)
    if of.target.known == "label":
        issued: dict[bytes, list[int]] = defaultdict(list)
        for i, key in enumerate(keys):
            if issued[key] and rng.random() < 0.45:
                kind[i], event[i] = LABEL, issued[key][-int(rng.integers(1, min(9, len(issued[key])) + 1))]
            else:
                issued[key].append(i + 1)
                y[i] = np.nan
    return Block.events(keys, rng.normal(size=(n, 1)), y, time_ms=1000 * np.arange(n), kind=kind, event=event)


LOGS: dict[str, LearnerSpec] = {
    "record": of_numbers(fields=("y", "z")),
    "classes": spec(1, classes=("a", "b", "c"), model={"readout": "softmax"}),
    "forecast 1": of_numbers(known="forecast", horizon=1, model={"readout": "rls"}),
    "forecast 3": of_numbers(fields=("y", "z"), known="forecast", horizon=3, baseline="last"),
    "label": of_numbers(known="label", event_field="id", label_field="of", label_memory=4),
    "label of classes": spec(
        1, classes=("a", "b", "c"), model={"readout": "softmax"}, known="label", event_field="id", label_field="of",
        label_memory=4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("cut", [600, 7])
@pytest.mark.parametrize("kind", LOGS)
def test_all_of_it_can_be_told_again_from_the_log_and_the_predictions(kind: str, cut: int) -> None:
    of = LOGS[kind]
    block, learner, retold = random_log(of, 600, 3), Learner(of, 1), Retold(of)
    told = Predictions.joined([learner.process(block.rows(slice(i, i + cut))) for i in range(0, 600, cut)])
    retold.tell(block, told)

    means = [[mean([e[k] for e in errors if not np.isnan(e[k])]) for k in range(3)] for errors in retold.per_record]
    np.testing.assert_allclose(np.column_stack([told.error, told.rivals]), means, rtol=1e-9, atol=1e-9)
    sums = [[forgotten([e[k] for e in retold.pairs[f]]) for k in range(3)] for f in range(of.n_targets)]
    np.testing.assert_allclose(learner.state().model["recent_errors"], sums, rtol=1e-9)
    shares = np.sum([np.array(of_field) / of_field[2] for of_field in sums], axis=0)
    expected = (1 - shares[0] / shares[1:]).tolist()
    assert learner.skill() == dict(zip(rivals_of(of), (pytest.approx(e, rel=1e-9) for e in expected), strict=True))
    gauges, everything = learner.gauges(), [e for of_record in retold.per_record for e in of_record]
    assert gauges["scored"] == len(everything) > 90
    unknown = kind != "forecast 1"  # there the log's first value is known before it is foretold
    assert np.isnan(everything).any(axis=0).tolist() == [False, unknown, unknown]
    totals = [gauges["error_sum"], gauges["last_error_sum"], gauges["typical_error_sum"]]
    np.testing.assert_allclose(totals, np.nansum(everything, axis=0), rtol=1e-9)
    assert learner.counters()["lost_labels"] == retold.lost
    assert (retold.lost > 20) == (of.target.known == "label")


# ---- questions, growth


def test_questions_and_imagined_records_change_nothing() -> None:
    of = of_numbers(known="forecast", horizon=2)
    learner = Learner(of, 1)
    learner.process(events("aabab", [1, 4, 2, 5, 3]))
    before, skill = bits_of(learner), learner.skill()
    learner.predict(events("abc", [7, 8, 9]))
    learner.imagine(b"a")
    learner.imagine_one([0.5], 100.0)
    assert differing(bits_of(learner), before) == []
    assert learner.skill() == skill


def test_a_new_class_can_become_the_most_frequent() -> None:
    old = spec(1, classes=("p", "q"), model={"readout": "softmax"})
    new = replace(old, target=replace(old.target, classes=("p", "q", "r")))
    small, large = Learner(old, 1), Learner(new, 2)
    small.process(events("abab", [1, 1, 0, 1]))
    carry_over(small.state(), large, range(1))
    assert large.skill() == small.skill() != {}
    said = large.process(events("ccccc", [2, 2, 2, 2, 2])).rivals
    assert said[:, 1].tolist() == [1, 1, 1, 1, 0], "three times q; the fourth r makes r the most frequent"
    assert large.process(events("a", [0])).rivals.tolist() == [[0, 1]], "a's last class is still p"


def test_a_new_field_begins_with_nothing_known_of_it() -> None:
    old, new = of_numbers(), of_numbers(fields=("y", "z"))
    small, large = Learner(old, 1), Learner(new, 2)
    small.process(events("abab", [2, 3, 7, 1]))
    carry_over(small.state(), large, range(1))
    assert large.skill() == small.skill()
    said = large.process(events("ab", [[8, 5], [np.nan, 9]])).rivals
    assert said.tolist() == [[1, 4.75], [4, 4]], "of the first z nothing was known, and only y is compared"


def test_wider_layers_and_other_windows_keep_what_rivals_said() -> None:
    old = of_numbers(known="forecast", horizon=2)
    new = replace(old, model=replace(old.model, hidden_size=6), learning=replace(old.learning, k2=9))
    small, large = Learner(old, 1), Learner(new, 2)
    block = events("ababab", [1, 4, 2, 6, 3, 5])
    small.process(block.rows(slice(0, 4)))
    carry_over(small.state(), large, range(1))
    rest = block.rows(slice(4, 6))
    assert large.process(rest).rivals.tolist() == small.process(rest).rivals.tolist()


def test_a_warm_start_knows_what_is_typical_and_begins_its_skill_anew() -> None:
    of = of_numbers()
    learned, begun = Learner(of, 1), Learner(of, 2)
    learned.process(events("abab", [2, 3, 7, 1]))
    carry_over(learned.state(), begun, range(1), streams=False)
    assert begun.skill() == {}
    assert begun.process(events("a", [5])).rivals.tolist() == [[1.75, 1.75]]


# ---- intervals


def quantiles(*levels: float, **target: Any) -> LearnerSpec:
    return LearnerSpec(
        n_features=1, target=TargetSpec(fields=("y",), **target),
        model=ModelSpec(hidden_size=3, loss="quantile", quantiles=levels), learning=LearningSpec(k1=1, k2=4),
    )  # fmt: skip


@pytest.mark.parametrize("horizon", [1, 3])
def test_targets_within_the_outermost_interval_are_counted_and_its_width_is_told(horizon: int) -> None:
    of = quantiles(0.1, 0.4, 0.9, known="forecast", horizon=horizon)
    learner = Learner(of, 1)
    rng = np.random.default_rng(1)
    y = rng.normal(size=200)
    y[::10] = np.nan
    told = learner.process(events("ab" * 100, y.tolist()))
    intervals: list[list[tuple[float, bool]]] = [[] for _ in y]
    for i, value in enumerate(y):
        for j in range(1, horizon + 1):
            if i - 2 * j >= 0 and not np.isnan(value):  # each stream's every second record
                low, _, high = told.value[i - 2 * j, 3 * (j - 1) : 3 * j]
                intervals[i].append((max(0.0, high - low), low <= value <= high))
    everything = [interval for of_record in intervals for interval in of_record]
    counts = learner.counters()
    assert counts["interval_targets"] == len(everything) > 150
    assert counts["interval_hits"] == sum(hit for _, hit in everything)
    assert 0 < counts["interval_hits"] < counts["interval_targets"]
    widths = [np.mean([width for width, _ in of_record]) if of_record else np.nan for of_record in intervals]
    np.testing.assert_allclose(told.width, widths, rtol=1e-12)


@pytest.mark.parametrize("of", [of_numbers(), quantiles(0.5)])
def test_where_no_interval_is_predicted_none_is_counted(of: LearnerSpec) -> None:
    learner = Learner(of, 1)
    assert np.isnan(learner.process(events("aba", [1, 2, 3])).width).all()
    assert learner.counters()["interval_targets"] == 0
