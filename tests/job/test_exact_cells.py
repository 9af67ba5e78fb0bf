"""What a job is told of cells whose gradient is carried along: refusals, warnings, changes, what is in force."""

from __future__ import annotations

import re

import pytest

from streamrnn.errors import ConfigError
from streamrnn.job.changes import changes, described, former
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import parse, warnings
from streamrnn.learner.lowering import bytes_per_stream, sizes_of, trace_bytes
from streamrnn.storage.fingerprints import as_json
from tests.support.jobs import yaml

GLRU, ELSTM, BANK = "{cell: glru}", "{cell: elstm}", "{cell: bank, readout: rls}"
MANY = f"[{', '.join(f'c{i}' for i in range(60))}]"


def lines(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is said of a job that changes so."""
    old, new = parse(yaml(**before), {}), parse(yaml(**after), {})
    return [described(change) for change in changes(as_json(fingerprint(old)), new, fingerprint(new))]


@pytest.mark.parametrize(
    ("model", "learning", "field", "why"),
    [
        ("{cell: glru, num_layers: 2}", "{}", "model.num_layers", "so there is one layer: expected 1"),
        ("{cell: elstm, memory: auto}", "{}", "model.memory", "this cell has none"),
        (ELSTM, "{k2: 32}", "learning.k2", "has no window"),
        (GLRU, "{batch_size: 4}", "learning.batch_size", "k1 says how many events"),
        ("{cell: gru, gates: false}", "{}", "model.gates", "means nothing to gru"),
        (BANK, "{lr: 0.01}", "learning.lr", "of which no weight is trained"),
        ("{cell: bank}", "{}", "model.readout", "expected rls"),
    ],
)
def test_a_job_is_refused_by_field_and_reason(model: str, learning: str, field: str, why: str) -> None:
    with pytest.raises(ConfigError, match=field) as error:
        parse(yaml(model=model, learning=learning), {})
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("model", "learning"),
    [
        (GLRU, "{rule: rtrl, k1: 1, lr: 0.003, schedule: exponential, schedule_updates: 5000, betas: [0.2, 0.999]}"),
        ("{cell: elstm, hidden_size: 32, hidden_layer: 0}", "{}"),
        (ELSTM, "{schedule_updates: 5000}"),
        ("{cell: lstm, hidden_size: 32}", "{k1: 8, k2: 32, schedule: constant}"),
    ],
)
def test_writing_down_what_is_in_force_changes_no_fingerprint(model: str, learning: str) -> None:
    cell = f"{{cell: {parse(yaml(model=model), {}).model.cell}}}"
    told = learning.replace("schedule_updates: 5000", f"schedule_updates: 5000, schedule_least: {1 / 3!r}")
    assert fingerprint(parse(yaml(model=model, learning=told), {})) == fingerprint(parse(yaml(model=cell), {}))


@pytest.mark.parametrize("model", [GLRU, ELSTM, BANK, "{cell: lstm, hidden_layer: 8}"])
def test_a_job_is_made_again_from_its_fingerprint(model: str) -> None:
    job = parse(yaml(model=model), {})
    again = former(job, as_json(fingerprint(job)))
    assert again.learner_spec().in_force == job.learner_spec().in_force
    assert fingerprint(again) == fingerprint(job)
    assert lines({"model": model}, {"model": model}) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            {"model": ELSTM},
            {"model": ELSTM, "learning": "{k1: 4}"},
            "learning.k1: 1 -> 4: at once: what was learned since the last optimiser step is given up",
        ),
        (
            {"model": GLRU},
            {"model": "{cell: glru, gates: false}"},
            "model.gates: true -> false: not possible: units with gates keep and learn another state than those "
            "without",
        ),
        (
            {"model": GLRU},
            {"model": "{cell: glru, memory: 500}"},
            "model.memory: null -> 500: at once: it tells how units begin, which concerns new ones only, and how slow "
            "they may become, which holds from now on",
        ),
        (
            {"model": "{cell: elstm, hidden_layer: 8}"},
            {"model": "{cell: elstm, hidden_layer: 16}"},
            "model.hidden_layer: 8 -> 16: by growth: predictions go on as they were: the weights by which new units "
            "are heard begin at zero",
        ),
        (
            {"model": BANK},
            {"model": "{cell: bank, readout: rls, hidden_size: 24}"},
            "model.hidden_size: 16 -> 24: not possible: new filters would change what the layer makes of the others, "
            "which the readout has learned; hidden_layer can grow",
        ),
    ],
)
def test_a_change_is_told_with_both_values_in_force(before: dict[str, str], after: dict[str, str], said: str) -> None:
    assert lines(before, after) == [said]


def symbols(n: int) -> str:
    return f"[{{field: a, encoder: symbol, symbols: {{values: [{', '.join(f's{i}' for i in range(n))}]}}}}]"


def test_more_symbols_than_an_exact_cell_has_columns_for_are_told_to_be_not_possible() -> None:
    (line,) = lines({"model": GLRU, "features": symbols(16)}, {"model": GLRU, "features": symbols(17)})
    assert "not possible: cell glru has a column for each symbol up to 16" in line
    (line,) = lines({"model": GLRU, "features": symbols(17)}, {"model": GLRU, "features": symbols(18)})
    assert "by growth" in line
    (line,) = lines({"features": symbols(16)}, {"features": symbols(17)})
    assert "by growth" in line


def test_wide_inputs_and_many_symbols_are_warned_of_with_the_remedy() -> None:
    wide = f"[{{field: a, encoder: onehot, categories: {MANY}}}]"
    (warning,) = warnings(parse(yaml(model=GLRU, features=wide), {}))
    assert "take encoder symbol, which shows all of them by 16 columns, for a, or" in warning
    spec = parse(yaml(model=GLRU, features=wide), {}).learner_spec()
    assert f"{trace_bytes(spec) / 1000:,.1f} kB" in warning
    (warning,) = warnings(parse(yaml(model=ELSTM, features=symbols(40)), {}))
    assert "elstm sees 40 symbols by 16 columns of fixed codes" in warning
    for model in ("{cell: lstm}", BANK):
        assert warnings(parse(yaml(model=model, features=wide), {})) == []
    assert warnings(parse(yaml(model=GLRU, features=symbols(16)), {})) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{cell: bank, readout: rls, hidden_layer: 4096}", ("4,096 of them by model.hidden_layer", "13[0-9] MB")),
        ("{cell: lstm, readout: rls, hidden_size: 480}", ("480 of them by model.hidden_size",)),
        ("{cell: lstm, readout: rls, lags: 490}", ("490 of them by model.lags",)),
    ],
)
def test_least_squares_on_many_regressors_are_warned_of_with_what_makes_them_many(
    model: str, said: tuple[str, ...]
) -> None:
    job = parse(yaml(model=model), {})
    (warning,) = warnings(job)
    n = job.learner_spec().n_regressors
    assert n > 500
    for text in (f"rls has {n:,} regressors", rf"through {n:,}\^2 numbers", *said):
        assert re.search(text, warning)
    assert ("or take readout linear" in warning) == ("cell: bank" not in model)  # which has no other readout
    smaller = model.replace("4096", "400").replace("480", "400").replace("490", "400")
    assert warnings(parse(yaml(model=smaller), {})) == []


@pytest.mark.parametrize(
    ("model", "rows", "states"), [(GLRU, 6, 2), ("{cell: glru, gates: false}", 2, 2), (ELSTM, 2, 1)]
)
def test_bytes_of_a_stream_are_those_of_its_states_and_traces(model: str, rows: int, states: int) -> None:
    spec = parse(yaml(model=model), {}).learner_spec()
    d, units = spec.n_multiplied, sizes_of(spec)["H"]
    beside = {6: 2 + 4, 2: 2 if states == 2 else 4}[rows]
    assert trace_bytes(spec) == 4 * units * (rows * d + beside)
    assert bytes_per_stream(spec) > trace_bytes(spec) + 4 * units * states
    assert trace_bytes(parse(yaml(), {}).learner_spec()) == 0
