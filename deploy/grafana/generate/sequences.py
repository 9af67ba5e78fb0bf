"""The row *Whole sequences and looks ahead* of *learning*: how long sequences are, whether each one is learned, and how
many single steps wait for those behind them."""

from __future__ import annotations

from deploy.grafana.generate.frame import Section, line, section
from deploy.grafana.generate.panels import graph
from deploy.grafana.generate.promql import Query, of, rate, total, worst

NOTHING = "records are single steps"
AT_ONCE = "each record is predicted at once"


def sequences() -> Section:
    """Of jobs whose records are whole sequences, or chunks of them, or single steps that wait for those behind them."""
    read, left, ended = (of(f"streamrnn_{name}_total") for name in ("frames", "frames_dropped", "unlearned_sequences"))
    return section(
        "Whole sequences and looks ahead",
        line(
            8,
            (
                8,
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
                8,
                graph(
                    "Sequences not learned",
                    "Sequences whose answer was known, of which nothing was learned, per second and cause: "
                    "without frames, longer than max_steps or max_symbols, or with fewer steps than its transcript.",
                    "cps",
                    Query(total(rate(ended), "cause"), "{{cause}}"),
                    nothing=NOTHING,
                ),
            ),
            (
                8,
                graph(
                    "Events that wait",
                    "With model.lookahead for single steps: events that are not predicted yet, as those behind them "
                    "have not come. Of streams that fall silent the last ones stay until ttl, a gap or an end.",
                    "short",
                    Query(total(worst(of("streamrnn_waiting_events"))), "events"),
                    nothing=AT_ONCE,
                ),
            ),
        ),
    )
