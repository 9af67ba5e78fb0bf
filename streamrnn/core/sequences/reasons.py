"""Why nothing was learned from a sequence; free of imports, so anybody may use it."""

NONE, UNKNOWN, EMPTY, TOO_LONG, TOO_MANY, IMPOSSIBLE = range(6)
"""It was learned, or has not ended; no target came; it has no frames; more frames than ``max_steps`` takes; more
symbols than ``max_symbols``; a transcript that needs more steps than there are: one for each symbol, and one between
two that are alike. From ``EMPTY`` on, counts stand in this order (``counts.UNLEARNED_SEQUENCES_EMPTY``)."""
