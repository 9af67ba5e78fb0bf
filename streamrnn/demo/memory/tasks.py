"""Two tasks as blocks of whole sequences of one stream; each begins from the zero state.

Recall: one of four cues is shown, then distractors, then a mark that asks for the cue. From the cue to the mark there
are ``lag`` steps, and only there is a target: nothing on the way tells what is to be kept (after Hochreiter &
Schmidhuber 1997, and the copying problem of Arjovsky et al. 2016). Who guesses is right in a quarter of the cases.

Repeat: say the number of two steps ago. That takes hardly any memory, but the gradient of every step's loss goes back
through the whole window, and grows on its way where recurrent weights are large.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.learner.block import Block

CUES: Final = 4
DISTRACTORS: Final = 4
SYMBOLS: Final = CUES + DISTRACTORS + 1
"""Columns of the input: cues, distractors, and the mark that asks."""
CHANCE: Final = 1 / CUES


def recall(rng: np.random.Generator, lags: npt.NDArray[np.int64]) -> Block:
    """A sequence of ``lag + 1`` steps for each lag: cue, distractors, mark.

    >>> block = recall(np.random.default_rng(0), np.array([1, 3]))
    >>> block.end.tolist(), int(np.isfinite(block.y).sum())
    ([False, True, False, False, False, True], 2)
    """
    last = np.cumsum(lags + 1) - 1
    first = last - lags
    cues = rng.integers(0, CUES, len(lags))
    symbols = rng.integers(CUES, CUES + DISTRACTORS, last[-1] + 1)
    symbols[first], symbols[last] = cues, SYMBOLS - 1
    y = np.full((len(symbols), 1), np.nan)
    y[last, 0] = cues
    return _block(np.eye(SYMBOLS)[symbols], y, last)


def repeat(rng: np.random.Generator, n: int, steps: int) -> Block:
    """n sequences of numbers in [-1, 1); the target is the number of two steps ago, once there is one."""
    x = rng.uniform(-1.0, 1.0, (n, steps))
    y = np.full((n, steps), np.nan)
    y[:, 2:] = x[:, :-2]
    return _block(x.reshape(-1, 1), y.reshape(-1, 1), np.arange(1, n + 1) * steps - 1)


def _block(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], last: npt.NDArray[np.int64]) -> Block:
    end = np.zeros(len(x), np.bool_)
    end[last] = True
    return Block.events([b"s"] * len(x), x, y, end=end)
