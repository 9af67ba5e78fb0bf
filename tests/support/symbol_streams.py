"""Streams of symbols as they come in practice, made from a seed: log lines of hosts, and visits to a site.

Each is known well enough that what a good model can do is known, too: lines come from scripts, so their order is nearly
certain within one; pages follow from the one before and the one before that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

SCRIPTS: tuple[tuple[str, ...], ...] = (
    (
        "sshd: accepted key for {user}",
        "sshd: session opened for user {user}",
        "sudo: {user} runs systemctl status",
        "sshd: session closed for user {user}",
    ),
    (
        "cron: backup of {unit} begins",
        "backup: {number} files of {unit} changed",
        "backup: {unit} finished without errors",
    ),
    ("systemd: starting {unit}", "systemd: started {unit}", "{unit}: listening on port 80"),
    ("nginx: GET /orders/{number} 200", "nginx: GET /logo.png 304"),
    ("kernel: eth0 link is up",),
)
WEIGHTS = (3, 2, 2, 6, 1)
UNSEEN = "kernel: EXT4-fs error: unable to read inode block, remounting filesystem read-only"
"""A line of which hardly a word has come before."""
OUT_OF_ORDER = SCRIPTS[0][3]
"""A line that comes often, and never where ``line_out_of_order`` says."""


class Line(NamedTuple):
    """A line of a host's log; ``last`` says whether its script is over, so that anything may come next."""

    host: str
    message: str
    last: bool


class LogLines:
    """Lines of some hosts in turn, without end."""

    def __init__(self, hosts: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._running: dict[str, list[str]] = {f"host-{i}": [] for i in range(hosts)}

    def __iter__(self) -> Iterator[Line]:
        while True:
            host = self._random.choice(list(self._running))
            if not self._running[host]:
                self._running[host] = list(self._script())
            message = self._running[host].pop(0)
            yield Line(host, message, not self._running[host])

    def _script(self) -> list[str]:
        """A script, filled in: what stands in several of its lines is the same in all."""
        (lines,) = self._random.choices(SCRIPTS, WEIGHTS)
        return [self.filled(line) for line in lines]

    def filled(self, line: str) -> str:
        """A line with numbers and names in it."""
        chance = self._random
        return line.format(
            number=chance.randint(1, 1_000_000_000),
            user=chance.choice(("root", "ada", "grace", "linus")),
            unit=chance.choice(("orders", "billing", "search")),
        )


class Visits:
    """Visitors who go through a site, each by habits of their own; pages come and go, new ones for ever.

    What a visitor does next hangs on more than the page they are on: from an item they go back to the shelf they came
    from, or to the basket where they searched for it, and each prefers one shelf. With time the preferences change (a
    drift), and now and then an item is one that nobody has seen, so that any bounded set of pages overflows.
    """

    def __init__(self, visitors: int, seed: int, *, shelves: int = 6, drift: int = 10_000, growth: int = 200) -> None:
        self._random = random.Random(seed)
        self._at = {f"visitor-{i}": ("", "") for i in range(visitors)}
        self._shelves, self._drift, self._growth = shelves, drift, growth
        self._step = 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        while True:
            visitor = self._random.choice(list(self._at))
            before, now = self._at[visitor]
            page = self._next(int(visitor.split("-")[1]), before, now)
            self._at[visitor] = now, page
            self._step += 1
            yield visitor, page

    def _next(self, visitor: int, before: str, now: str) -> str:
        chance = self._random
        if now.startswith("/item/"):
            return "/basket" if before == "/search" else before
        if now == "/basket":
            return "/pay" if chance.random() < 0.9 else "/"
        if now in ("", "/pay"):
            return "/"
        if now.startswith("/shelf/") and (now == before or chance.random() < 0.7):
            return f"/item/{self._item()}"
        if now == "/search":
            return f"/item/{self._item()}"
        if now == "/" and chance.random() < 0.9:
            return f"/shelf/{(visitor + self._step // self._drift) % self._shelves}"
        return "/search"

    def _item(self) -> int:
        """Mostly one of a few; now and then the newest there is."""
        chance = self._random
        return 10 + self._step // self._growth if chance.random() < 0.1 else int(chance.random() ** 2 * 5)
