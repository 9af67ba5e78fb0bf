"""What was measured, and each finding as a sentence that follows from the numbers, whatever they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from streamrnn.demo.memory.explosion import GAIN, STEPS, Course
from streamrnn.demo.memory.gradients import SMALLEST, SPAN, Shares
from streamrnn.demo.memory.lags import Lags
from streamrnn.demo.memory.lengths import JUDGED_LAGS, LONGEST, WINDOW, Kind, Learned
from streamrnn.demo.memory.networks import PATIENT, PLAIN, Network

FAR = JUDGED_LAGS[-1]
RIGHT = 0.95


@dataclass(kw_only=True)
class Measured:
    """What is known so far; None where a part was not measured, as the run was interrupted."""

    start: dict[Network, Shares] | None = None
    lags: Lags | None = None
    learned: dict[Kind, Learned] | None = None
    explosion: dict[float | None, dict[Network, Course]] | None = None
    layers: Lags | None = None
    cpu_us: dict[int, dict[Network, float]] | None = None


def vanishing(start: Mapping[Network, Shares]) -> str:
    """Of gradients before anything was learned."""
    left = {network: start[network][SPAN] for network in PLAIN}
    each = ", ".join(f"{network.name} {share(left[network])}" for network in sorted(PLAIN, key=lambda n: left[n]))
    verb = "vanish" if max(left.values()) < 0.01 else "shrink"
    patient = min(start[network][SPAN] for network in PATIENT)
    return (
        f"Gradients {verb}: {SPAN} steps back the share that is left is {each}; "
        f"begun with long memory it is {share(patient)} or more"
    )


def after_learning(start: Mapping[Network, Shares], learned: Learned) -> str:
    """Of gradients after learning from many lengths."""
    change = {network: learned.gradient[network][SPAN] / start[network][SPAN] for network in PLAIN}
    most, least = max(PLAIN, key=lambda n: change[n]), min(PLAIN, key=lambda n: change[n])
    able = learned.right[least][SPAN]
    opened, shut = learned.gradient[most][SPAN], learned.gradient[least][SPAN]
    return (
        f"Learning moves that share: {most.name} from {share(start[most][SPAN])} to {share(opened)}, {least.name} from "
        f"{share(start[least][SPAN])} to {share(shut)}, though the {least.name} recalls {able:.0%} over {SPAN} steps"
    )


def windows(lags: Lags) -> str:
    """Of the longest lags by k2."""
    longest, shortest = lags[max(lags)], lags[min(lags)]
    which = "every" if all(longest[network] > shortest[network] for network in longest) else "not every"
    gained, plain = max(
        zip(PATIENT, PLAIN[1:], strict=True), key=lambda pair: longest[pair[0]] / max(1, longest[pair[1]])
    )
    return (
        f"The window limits {which} cell: with k2 = {_listed(map(str, lags))} they bridge "
        f"{_listed(_range(row.values()) for row in lags.values())} steps of one length "
        f"({plain.name} {longest[plain]}, with long memory {longest[gained]})"
    )


def lengths(learned: Mapping[Kind, Learned]) -> str:
    """Of learning from one length and from many."""
    of = len(learned["many"].right)
    many = sum(right[FAR] >= RIGHT for right in learned["many"].right.values())
    one = sum(right[LONGEST] >= RIGHT for right in learned["one"].right.values())
    return (
        f"Many lengths overcome it: with k2 = {WINDOW}, having learned lags of 1 to {LONGEST}, {many} of {of} recall "
        f"over {FAR:,} steps; having learned {LONGEST} alone, {one} of {of} over {LONGEST}"
        if many > one
        else f"With k2 = {WINDOW}, {many} of {of} recall over {FAR:,} steps after lags of 1 to {LONGEST}, and {one} of "
        f"{of} over {LONGEST} after those alone"
    )


def explosion(found: Mapping[float | None, Mapping[Network, Course]]) -> str:
    """Of recurrent weights that are too large."""
    free, clipped = found[None], found[1.0]
    worst = max(free, key=lambda network: free[network].unusable)
    others = max(course.unusable for network, course in free.items() if network is not worst)
    growth = free[worst].growth
    grows = f"grows {growth:,.0f}-fold" if growth > 1 else f"shrinks to {share(growth)}"
    return (
        f"With recurrent weights times {GAIN:g} the {worst.name}'s gradient {grows} in {STEPS} steps: "
        f"{free[worst].unusable:.1%} of its windows are not finite, clipped {clipped[worst].unusable:.1%}; of the "
        f"other cells' unclipped {others:.1%}"
    )


def depth(layers: Lags, cpu_us: Mapping[int, Mapping[Network, float]]) -> str:
    """Of layers upon layers."""
    middle = {n: median(layers[n].values()) for n in layers}
    cost = {n: median(cpu_us[n][network] / cpu_us[1][network] for network in cpu_us[n]) for n in layers}
    verb = "lengthen" if middle[max(layers)] > middle[1] else "do not lengthen"
    each, costs = _listed(f"{m:g}" for m in middle.values()), _listed(f"{c:.1f}" for c in cost.values())
    return (
        f"More layers {verb} memory: the median cell bridges {each} steps with {_listed(map(str, layers))} layers, "
        f"at {costs} times the CPU"
    )


def sentences(measured: Measured) -> list[str]:
    """Those whose numbers are there."""
    said = []
    if measured.start is not None:
        said.append(vanishing(measured.start))
    if measured.lags is not None:
        said.append(windows(measured.lags))
    if measured.start is not None and measured.learned is not None:
        said += [lengths(measured.learned), after_learning(measured.start, measured.learned["many"])]
    if measured.explosion is not None:
        said.append(explosion(measured.explosion))
    if measured.layers is not None and measured.cpu_us is not None:
        said.append(depth(measured.layers, measured.cpu_us))
    return said


def share(value: float) -> str:
    """A share of a gradient, in few characters.

    >>> share(0.123), share(0.0012), share(3.2e-18), share(1e-38)
    ('0.1', '0.001', '3e-18', '0')
    """
    return "0" if value <= 2 * SMALLEST else f"{value:.1g}"


def _range(values: Iterable[int]) -> str:
    each = list(values)
    return f"{min(each)}" if min(each) == max(each) else f"{min(each)} to {max(each)}"


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
