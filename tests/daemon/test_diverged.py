"""A learner whose weights are none stops its worker, and what it would have said goes nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamrnn.daemon.loop import Loop
from streamrnn.errors import DivergedError
from tests.support.scenario import Scenario


def test_a_learner_without_weights_stops_the_worker_before_it_says_anything(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    scenario.fill(200)
    for weight in (np.nan, np.inf, -2e30):

        def spoil(loop: Loop, _: object, weight: float = weight) -> None:
            for partition in loop.partitions.values():
                partition.learner._model.theta[0] = weight

        scenario.fill(50, seed=1)
        sent = len(scenario.records("out"))
        with pytest.raises(DivergedError, match=r"came to .*warm_start.*on_lost_offsets: restart"):
            scenario.run(turn=spoil)
        assert len(scenario.records("out")) == sent
        assert scenario.mark().get("handed") is None  # no record is to blame, however often it is tried
        scenario.run()
        assert len(scenario.records("out")) > sent
        assert all(json.loads(record.value)["prediction"] is not None for record in scenario.records("out"))
