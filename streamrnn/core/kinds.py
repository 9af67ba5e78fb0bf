"""Kinds of record a learner is given, and when a target becomes known; free of imports, so anybody may use them."""

EVENT, LABEL, PREDICT, IMAGINE, CLOSE, FORGET = 0, 1, 2, 3, 4, 5
"""Predict, advance and learn; a late label for an earlier event; predict and change nothing; predict and advance the
carried state and memory of a row set aside for this, and change nothing else; learn from what is left of a sequence and
end it, without a record; a tombstone, at which everything about its stream is blanked."""

KNOWN_IN_RECORD, KNOWN_BY_FORECAST, KNOWN_BY_LABEL = 0, 1, 2
KNOWN = {"record": KNOWN_IN_RECORD, "forecast": KNOWN_BY_FORECAST, "label": KNOWN_BY_LABEL}
