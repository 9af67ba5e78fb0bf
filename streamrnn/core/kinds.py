"""Kinds of record, of knowing a target, and of kernels; free of imports of ours, so anybody may use them."""

from typing import Literal, get_args

Family = Literal["steps", "sequences", "wire"]
"""Kernels that are compiled together: of single steps; of whole sequences, which build on the former's sources; of the
bytes in which records are fetched and sent."""
Rule = Literal["tbptt", "rtrl", "fixed"]
"""How weights are learned: back through a window, along with the state, not at all."""
TBPTT, RTRL, FIXED = 0, 1, 2
RULES: dict[str, int] = {"tbptt": TBPTT, "rtrl": RTRL, "fixed": FIXED}
"""A kernel cannot raise: ``handle`` refuses a plan with a code that is not among these."""

FAMILIES: tuple[Family, ...] = get_args(Family)
BYTES = "uint8"
"""What kernels compute with that know of no model, in place of its precision."""
COMPILED: tuple[tuple[str, Family], ...] = (
    *((precision, family) for family in FAMILIES if family != "wire" for precision in ("float32", "float64")),
    (BYTES, "wire"),
)
"""All object files that there are for a CPU target: what their kernels compute with, and which they are."""

EVENT, LABEL, PREDICT, IMAGINE, CLOSE, FORGET, LEAVE = 0, 1, 2, 3, 4, 5, 6
"""Predict, advance and learn; a late label for an earlier event; predict and change nothing; predict and advance the
carried state and memory of a row set aside for this, and change nothing else; learn from what is left of a sequence and
end it, without a record; a tombstone, at which everything about its stream is blanked; a stream leaves, and what waits
to be predicted is, without a record."""

KNOWN_IN_RECORD, KNOWN_BY_FORECAST, KNOWN_BY_LABEL = 0, 1, 2
KNOWN = {"record": KNOWN_IN_RECORD, "forecast": KNOWN_BY_FORECAST, "label": KNOWN_BY_LABEL}
