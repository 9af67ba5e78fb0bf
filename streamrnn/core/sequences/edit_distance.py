"""How far a sequence of symbols is from the true one: the fewest insertions, deletions and substitutions (Levenshtein).

One row of the table of all beginnings is kept and the next one made of it, so room goes with the length of the truth
alone. Levenshtein, Binary codes capable of correcting deletions, insertions and reversals, 1966.
"""

from __future__ import annotations

from streamrnn.core.arrays import I1, I2
from streamrnn.core.jit import jit


@jit
def distance(said: I1, truth: I1, rows: I2) -> int:
    """The fewest edits between said (Q,) and truth (U,); rows (2, at least U + 1) is work space."""
    length = truth.shape[0]
    for u in range(length + 1):
        rows[0, u] = u
    for q in range(said.shape[0]):
        before, now = rows[q % 2], rows[(q + 1) % 2]
        now[0] = q + 1
        for u in range(length):
            replaced = before[u] + (0 if said[q] == truth[u] else 1)
            now[u + 1] = min(replaced, before[u + 1] + 1, now[u] + 1)
    return int(rows[said.shape[0] % 2, length])
