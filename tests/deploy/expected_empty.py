"""What says nothing of a healthy job, why, and which alerts are waited for in less time than they take.

An expression may be empty in a healthy run when it asks for one of these metrics. ``test_live_kafka`` shows that it
says something where that is provoked.
"""

from __future__ import annotations

import re

EMPTY_WHILE_HEALTHY = {
    "streamrnn_drift_alarms_total": "the error stays what it is",
    "streamrnn_(rebalance|restore|replay)_duration_seconds": "no partition moves",
    "streamrnn_interval_": "no quantiles are predicted",
    "streamrnn_label_delay_seconds": "targets come with their records",
    "streamrnn_(late|lost|unmatched)_labels_total": "targets come with their records",
    "streamrnn_mixture_share": "the readout is no mixture",
    "streamrnn_(vocabulary_|symbols_beyond_|surprise_)": "numbers are predicted, and no feature is a symbol",
    "streamrnn_waiting_events": "each record is predicted at once",
    "ALERTS": "no alert is active",
}
"""Patterns of names, each with the reason."""

HASTENED = {
    "StreamrnnWorkerDown": {"4m": "5s"},
    "StreamrnnNotReady": {"9m": "5s"},
    "StreamrnnBrokerAway": {"2m": "5s"},
    "StreamrnnCommitsFailing": {"offset 5m": "offset 5s"},
    "StreamrnnCheckpointStale": {"> 900": "> 20", "offset 10m": "offset 5s"},
}
"""Thresholds of time that a test does not have: what stands in their place while it runs."""


def expected_empty(expression: str) -> str | None:
    """Why an expression may be empty while all is well; None where it may not."""
    for pattern, reason in EMPTY_WHILE_HEALTHY.items():
        if re.search(rf"\b{pattern}", expression):
            return reason
    return None
