"""``validate``: which settings changed since the job's checkpoints were written, and what comes of it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from streamrnn.job.changes import described, ways_out
from streamrnn.job.config import Config
from streamrnn.learner.verdicts import Way
from streamrnn.offline.outlook import Outlook, outlook, topics, unreadable

_COLOURS = {Way.AT_ONCE: "green", Way.GROWTH: "green", Way.IMPOSSIBLE: "red"}


def tell(config: Config, out: Console) -> bool:
    """Print every setting that changed; nothing where none did. False where it cannot go on from what it has learned.

    Raises CheckpointError for checkpoints that this version does not know the settings of.
    """
    found, lost = outlook(config), unreadable(config)
    for each in found:
        _tell(config, each, out)
    for one in lost:
        text = f"no checkpoint of a partition can be read, the newest is {one.place}: {one.reason}"
        out.print(Text.assemble(("error: ", "bold red"), (text, "red")), soft_wrap=True)
    if not found and not lost and (others := topics(config)):
        out.print(
            Text(
                f"input.topic: the job's checkpoints are of {', '.join(others)}; of {config.input.topic} it begins "
                "anew, and what it learned stays behind",
                "yellow",
            ),
            soft_wrap=True,
        )
    return not lost and all(each.possible for each in found)


def _tell(config: Config, each: Outlook, out: Console) -> None:
    if not each.changes:
        return
    where = f"{config.input.topic}/{_listed(each.partitions)}"
    out.print(f"settings changed since the checkpoints of {where} were written:", soft_wrap=True)
    for change in each.changes:
        out.print(Text(f"  {described(change)}", _COLOURS[change.way]), soft_wrap=True)
    if each.possible:
        out.print(Text("the job goes on from what it has learned, in a new lineage", "green"))
        return
    refused = f"the job cannot go on from what it has learned. {ways_out(each.changes)}"
    out.print(Text.assemble(("error: ", "bold red"), (refused, "red")), soft_wrap=True)


def _listed(partitions: list[int]) -> str:
    """Partitions as people list them.

    >>> _listed([0]), _listed([0, 1, 2, 5])
    ('0', '0-2,5')
    """
    runs: list[list[int]] = []
    for partition in sorted(partitions):
        if runs and runs[-1][-1] == partition - 1:
            runs[-1].append(partition)
        else:
            runs.append([partition])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
