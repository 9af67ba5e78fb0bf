"""What the example charge-hardness claims: what is said once is still known two hundred records later, and used."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.far_cue import NETWORKS, run
from tests.support.charges import NOISE, as_records, charges

CHARGES = 300


@pytest.mark.slow
def test_the_example_knows_at_a_charge_s_end_what_went_in_and_a_window_of_32_does_not() -> None:
    records = list(as_records(charges(CHARGES)))
    last = {name: run(records, **NETWORKS[name])[0][-4 * CHARGES // 3 :].mean() for name in ("elstm", "lstm, k2 32")}
    of_the_noise, of_the_mean = NOISE * np.sqrt(2 / np.pi), 20 / 3
    assert last["elstm"] < 2 * of_the_noise
    assert last["lstm, k2 32"] > 0.9 * of_the_mean
