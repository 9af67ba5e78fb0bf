"""The garbage collector in a process that lives for weeks.

Python's collector walks every live container object again and again, and nearly all of them stay for as long as the
process does: modules, classes, the job, learners. That was a sixth of the processor's time of a record on the embedded
log and a quarter on Kafka. So what is there after the start and after a partition was restored is taken out of its
sight (``gc.freeze``), and it looks at the rest less often.

Memory stays bounded. Objects without cycles are freed at once as ever, and batches leave no others, however many they
are. Garbage in cycles is found once 100,000 more container objects were made than freed, a few dozen megabytes. Only
what lived through two such looks stays for long. A partition that left may be of that kind, or frozen: hence everything
is looked at once more before it is frozen again.

These are settings of the process, so only those whose process it is ask for them: the commands, never an import.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

THRESHOLDS = (100_000, 20, 100)
"""Container objects made beyond those freed before the young ones are looked at, and how many such looks make one at
older and at all objects. A poll of 5,000 records makes some 40,000, all of which the commit frees."""


def freeze() -> None:
    """Collect all garbage, then let the collector pass over whatever is left. Takes a tenth of a second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def seldom() -> Iterator[None]:
    """Freeze what is there now, and collect by ``THRESHOLDS`` inside; afterwards all is as before."""
    before, others_froze = gc.get_threshold(), gc.get_freeze_count() > 0
    freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not others_froze:
            gc.unfreeze()
