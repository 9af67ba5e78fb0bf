"""Whether a number is a function of another that is no straight line: ranges of it, its square, what was rounded of it.

Told from a strong correlation by what is left: between neighbours in the order of the one, the other leaves nothing,
where a measurement would leave its noise. And ranges that somebody cut touch each other, while groups that differ for a
reason of their own lie apart: that one kind of customer always pays more than another gives nothing away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from streamrnn.drafting.fields import Floats

_FEWEST: Final = 200
"""Records below which neighbours are too far apart to tell a curve from noise."""
_FEWEST_PLACES: Final = 50
"""Different numbers that a curve or ranges have to be seen at."""
_LEFT: Final = 1e-3
"""What a curve may leave between neighbours, of nearly all of its spread."""
_NEARLY_ALL: Final = 98.0
_BESIDE: Final = 10
_APART: Final = 8.0
"""How much wider than those beside it a gap between two ranges may be for them to touch."""


def curve(of: Floats, x: Floats) -> bool:
    """Whether one number lies on a curve over the other; both without NaN."""
    if len(x) < _FEWEST or min(len(np.unique(x)), len(np.unique(of))) < _FEWEST_PLACES:
        return False
    order = np.lexsort((of, x))
    a, b = x[order], of[order]
    whole = a[2:] - a[:-2]
    share = np.divide(a[1:-1] - a[:-2], whole, out=np.full(len(whole), 0.5), where=whole > 0)
    left = np.abs(b[1:-1] - b[:-2] - share * (b[2:] - b[:-2]))
    low, high = np.percentile(of, (5.0, 95.0))
    return bool(np.percentile(left, _NEARLY_ALL) < _LEFT * (high - low))


def ranges(of: Sequence[object], x: Floats) -> bool:
    """Whether each value is that of one range of a number (or of few, for what is no monotone function of it)."""
    n_values = len(set(of))
    if len(x) < max(_FEWEST, 5 * n_values) or not 2 <= n_values <= len(x) // 5:
        return False
    seen: dict[float, object] = {}
    odd = sum(seen.setdefault(number, value) != value for number, value in zip(x.tolist(), of, strict=True))
    if odd > 0 or len(seen) < max(_FEWEST_PLACES, 2 * n_values):
        return False
    places = np.array(sorted(seen))
    values = [seen[place] for place in places.tolist()]
    ends = [i for i in range(len(values) - 1) if values[i] != values[i + 1]]
    if len(ends) + 1 > 2 * n_values:
        return False
    gaps = np.diff(places)
    told = [
        _touch(gaps[first + 1 : end], gaps[end], gaps[end + 1 : last])
        for first, end, last in zip([-1, *ends], ends, [*ends[1:], len(gaps)], strict=False)
        if min(end - first, last - end) > _BESIDE
    ]
    return bool(told) and sum(told) >= 0.9 * len(told)


def _touch(left: Floats, between: float, right: Floats) -> bool:
    """Whether two ranges were cut from one: the gap between them is like those beside it, and they do not thin out."""
    sides = [(float(np.median(left[-_BESIDE:])), float(np.median(left)))]
    sides.append((float(np.median(right[:_BESIDE])), float(np.median(right))))
    beside = max(near for near, _ in sides)
    return between <= _APART * beside and any(near <= _APART * usual for near, usual in sides)
