"""The name under which a worker is known to its group when the job file gives it none.

Two processes that join a group under one name fence each other, and one that starts again under the name it had takes
its partitions back. So a name must belong to one process at a time and outlast it. It is made of the host's name, of
what tells apart hosts and containers that are called alike (the boot of the machine, and the network namespace, which a
container has for itself), and of the lowest number that no process there holds for this group: the second worker beside
a first is ``...-2``. An abstract socket holds the number: the system lets go of it however the process ends, and no
directory has to be shared or writable. Where there are none (outside Linux), a name is random: safe, but not lasting.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import secrets
import socket
from pathlib import Path

from streamrnn.system.reading import read


class InstanceName:
    """A name that nobody else has until it is closed.

    >>> first, second = InstanceName("flights"), InstanceName("flights")
    >>> str(first) == str(second)
    False
    >>> first.close(), second.close()
    (None, None)
    """

    def __init__(self, group_id: str) -> None:
        self._held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._text = self._take(group_id, _place())

    def _take(self, group_id: str, place: str) -> str:
        for number in itertools.count(1):
            try:
                self._held.bind(f"\0streamrnn-{_short(f'{group_id} {place} {number}', 16)}")
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                return f"{place}-{secrets.token_hex(4)}"
            return place if number == 1 else f"{place}-{number}"
        raise AssertionError

    def __str__(self) -> str:
        return self._text

    def close(self) -> None:
        """Let others have it. Idempotent."""
        self._held.close()


def _place() -> str:
    """Host or container: the same text for all processes in it, and another one everywhere else."""
    name = socket.gethostname() or "host"
    with contextlib.suppress(OSError):  # as on Linux; elsewhere names are random anyway
        boot = read("/proc/sys/kernel/random/boot_id", 64).decode().strip()
        network = Path("/proc/self/ns/net").stat().st_ino
        return f"{name}-{_short(f'{boot} {network}', 6)}"
    return name


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
