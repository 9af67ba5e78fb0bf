"""The row *Symbols* of *learning*: how surprising what came was, and whether sets of symbols have room."""

from __future__ import annotations

from deploy.grafana.generate.frame import Section, line, section
from deploy.grafana.generate.panels import Panel, graph
from deploy.grafana.generate.promql import EACH, Query, mean, of, rate, total

NOTHING = "no classes are predicted"


def symbols() -> Section:
    """Of jobs that predict classes, texts among them."""
    return section(
        "Symbols",
        line(
            8,
            (
                8,
                graph(
                    "Bits per symbol",
                    "Mean surprise of the classes that came, of texts of each unit: -log2 of the probability that was "
                    "given to it. A rise is something new in the records.",
                    "short",
                    Query(mean("streamrnn_surprise"), EACH),
                    nothing=NOTHING,
                ),
            ),
            (8, _full()),
            (
                8,
                graph(
                    "Symbols beyond the bound",
                    "Symbols that came to a full set or are longer than 1,024 bytes, and count as other, per second "
                    "and field; beside them units of texts that were learned. Where many are beyond, a field may hold "
                    "what never comes twice.",
                    "cps",
                    Query(total(rate(of("streamrnn_symbols_beyond_total")), "field"), "beyond: {{field}}"),
                    Query(total(rate(of("streamrnn_text_units_total"))), "units of texts"),
                ),
            ),
        ),
    )


def _full() -> Panel:
    known, most = (of(f"streamrnn_vocabulary{name}_symbols") for name in ("", "_capacity"))
    return graph(
        "Open sets in use",
        "Share of an open set's numbers that are given, of the fullest partition. At 100 % whatever is new counts as "
        "other: raise the set's max in a new job, or leave out what makes so many.",
        "percentunit",
        Query(f"max by (field) ({known} / {most})", "{{field}}"),
        steps=((None, "transparent"), (1, "orange")),
        nothing="no open set",
        high=1,
    )
