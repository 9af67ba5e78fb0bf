"""Kinds of record a learner is given, and when a target becomes known; free of imports, so anybody may use them."""

EVENT, LABEL, PREDICT = 0, 1, 2
"""Predict, advance and learn; a late label for an earlier event; predict and change nothing."""

KNOWN_IN_RECORD, KNOWN_BY_FORECAST, KNOWN_BY_LABEL = 0, 1, 2
KNOWN = {"record": KNOWN_IN_RECORD, "forecast": KNOWN_BY_FORECAST, "label": KNOWN_BY_LABEL}
