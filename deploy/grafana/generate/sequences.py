"""The row *Whole sequences* of *learning*: how long they are, and whether each one is learned."""

from __future__ import annotations

from deploy.grafana.generate.frame import Section, line, section
from deploy.grafana.generate.panels import graph
from deploy.grafana.generate.promql import Query, of, rate, total

NOTHING = "records are single steps"


def sequences() -> Section:
    """Of jobs whose records are whole sequences, or chunks of them."""
    read, left, ended = (of(f"streamrnn_{name}_total") for name in ("frames", "frames_dropped", "unlearned_sequences"))
    return section(
        "Whole sequences",
        line(
            8,
            (
                12,
                graph(
                    "Frames",
                    "Frames that were read, and those beyond max_steps, which were not, per second.",
                    "cps",
                    Query(total(rate(read)), "read"),
                    Query(total(rate(left)), "beyond max_steps"),
                    nothing=NOTHING,
                ),
            ),
            (
                12,
                graph(
                    "Sequences not learned",
                    "Sequences whose answer was known, of which nothing was learned, per second and cause: "
                    "without frames, longer than max_steps or max_symbols, or with fewer steps than its transcript.",
                    "cps",
                    Query(total(rate(ended), "cause"), "{{cause}}"),
                    nothing=NOTHING,
                ),
            ),
        ),
    )
