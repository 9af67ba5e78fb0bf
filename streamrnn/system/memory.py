"""How much memory this process may have, by the machine and by the control group (a container's limit) it is in."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

from streamrnn.system import reading

_LONGEST = 1 << 16  # of what the kernel tells of control groups
_UNBOUNDED = 1 << 62


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process may have: what the machine has, or its control group allows; None where nobody says."""
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError):
        for line in _text(root / "proc/self/cgroup").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            base, name = (
                ("sys/fs/cgroup", "memory.max")
                if controllers == ""
                else ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            )
            # A group is within those above it; in a container, what is seen as the uppermost one is the container's.
            at = PurePosixPath(group.lstrip("/"))
            for above in (at, *at.parents):
                with suppress(OSError, ValueError):
                    limits.append(int(_text(root / base / above / name)))
    return min(limits, default=None)


def _text(path: Path) -> str:
    return reading.read(path, _LONGEST, links=True).decode()


AS_MUCH_AS_FITS = (memory_limit() or _UNBOUNDED) // 2
"""For files as large as what was learned: half of the memory, since their arrays are made beside their bytes."""
