"""What the examples claim: lines unlike all before are told, and what comes next is told better than by counting."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn.broker.protocol import Record
from streamrnn.offline.evaluation import evaluate
from tests.support.scenario import START_MS
from tests.support.symbol_jobs import SymbolScenario, example, visits
from tests.support.symbol_streams import OUT_OF_ORDER, UNSEEN, LogLines

HOSTS = 4
LINES = 50_000


@pytest.mark.slow
def test_an_unseen_line_and_an_unseen_order_are_in_the_top_thousandth_of_surprise(tmp_path: Path) -> None:
    made = LogLines(HOSTS, seed=1)
    lines = list(itertools.islice(made, LINES))
    last = {line.host: line for line in lines}
    # Where a script is over another one begins, and none begins with this line; where one of its own has come before,
    # the host says nothing that is out of order.
    over = [host for host, line in last.items() if line.last and not line.message.startswith("sshd")]
    assert over, "no host is between two scripts; take another seed"
    scenario = SymbolScenario(tmp_path, example("log-anomaly"), checkpoint_each=LINES)
    scenario.write((line.host, {"message": line.message}) for line in lines)
    scenario.write([(over[0], {"message": made.filled(OUT_OF_ORDER)}), (next(iter(last)), {"message": UNSEEN})])
    scenario.run()
    surprises = [json.loads(line)["surprise"] for line in scenario.predictions().values()]
    *ordinary, order, unseen = [surprise["bits_per_symbol"] for surprise in surprises]
    assert len(ordinary) == LINES
    for surprise in (order, unseen):
        assert np.mean(np.array(ordinary[LINES // 10 :]) >= surprise) < 0.001
    assert [surprise["rank"]["partition"] > 0.999 for surprise in surprises[-2:]] == [True, True]
    assert surprises[-1]["most_surprising"]["bits"] > 10
    # A thousandth of what is ordinary has such a rank as well; the floor that deploy/SYMBOLS.md names tells them apart.
    by_rank = [s["bits"] for s in surprises[LINES // 10 :] if s["rank"]["partition"] > 0.999]
    assert 2 < len(by_rank) <= 2 * LINES / 1000
    assert sorted(bits > 20 for bits in by_rank)[-3:] == [False, True, True]
    # By then ordinary lines are nearly known: of some 40 bits in bytes a line is told by a few.
    assert np.mean(ordinary[-5_000:]) < 0.5


def test_next_events_are_told_better_than_by_what_came_most_often_after_the_last_one() -> None:
    """Sessions of many visitors, whose pages grow in number, drift and overflow the set."""
    records = visits(20_000, 200)
    pages = list(dict.fromkeys(fields["page"] for _, fields in records))
    config = example("next-event", target={"classes": {"open": True, "max": 60}})
    assert len(pages) > 100
    source = [
        Record("in", 0, i, START_MS + 1000 * i, key.encode(), json.dumps(fields).encode())
        for i, (key, fields) in enumerate(records)
    ]
    scores: dict[str, dict[str, Any]] = {score.predictor: score.values for score in evaluate(config, source).scores}
    model, frequent = scores["model"], scores["frequencies after the last symbol"]
    assert model["bits per symbol"] < frequent["bits per symbol"] - 0.5
    assert model["accuracy"] > frequent["accuracy"] + 0.15
    assert frequent["accuracy"] > scores["symbol frequencies"]["accuracy"]
