"""What the dashboards have in common: variables, annotations, links, and the grid that panels are placed on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.generate.panels import SOURCE, Panel
from deploy.grafana.generate.promql import WORKER, lately, of, of_worker, total, worst

OVERVIEW, LEARNING, PIPELINE = "streamrnn-overview", "streamrnn-learning", "streamrnn-pipeline"
TITLES = {OVERVIEW: "Streamrnn: overview", LEARNING: "Streamrnn: learning", PIPELINE: "Streamrnn: pipeline"}
IN_A_MENU = "inControlsMenu"
WIDTH = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True)
class Line:
    """Panels side by side: for each its width, or for several one above the other the width they share."""

    height: int
    cells: tuple[tuple[int, Panel | tuple[Panel, ...]], ...]


@dataclass(frozen=True)
class Section:
    """Lines of panels under a heading; without a title there is no heading."""

    title: str
    lines: tuple[Line, ...]


def line(height: int, *cells: tuple[int, Panel | tuple[Panel, ...]]) -> Line:
    """Panels side by side, as wide as the grid."""
    if sum(width for width, _ in cells) != WIDTH:
        raise ValueError(f"widths of a line: {WIDTH} in all, got {[width for width, _ in cells]}")
    return Line(height, cells)


def section(title: str, *lines: Line) -> Section:
    """Lines of panels under a heading."""
    return Section(title, lines)


class _Grid:
    """Places panels from top to bottom and numbers them."""

    def __init__(self, board: dashboard.Dashboard) -> None:
        self._board = board
        self._y = 0
        self._ids = 0

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids

    def add(self, part: Section) -> None:
        """Place a section below all that is there."""
        if part.title:
            heading = dashboard.Row(part.title).id(self._next_id()).grid_pos(GridPos(h=1, w=WIDTH, x=0, y=self._y))
            self._board.with_row(heading)
            self._y += 1
        for beside in part.lines:
            x = 0
            for width, cell in beside.cells:
                self._stack(cell if isinstance(cell, tuple) else (cell,), x, width, beside.height)
                x += width
            self._y += beside.height

    def _stack(self, panels: tuple[Panel, ...], x: int, width: int, height: int) -> None:
        each, rest = divmod(height, len(panels))
        if rest:
            raise ValueError(f"height of a line: a multiple of the {len(panels)} panels in it, got {height}")
        for index, panel in enumerate(panels):
            place = GridPos(h=each, w=width, x=x, y=self._y + index * each)
            self._board.with_panel(panel.id(self._next_id()).grid_pos(place))


def _chosen(name: str, label: str, description: str, values: str, *, several: bool) -> dashboard.QueryVariable:
    """A variable whose values Prometheus is asked for."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query({"qryType": 1, "query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .definition(values)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        variable.all_value(".*").current(VariableOption(selected=True, text="All", value="$__all"))
    return variable


def _variables() -> list[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    partition = of_worker("streamrnn_partition_state")
    return [
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the workers.")
        .type("prometheus"),
        _chosen(
            "job", "Job", "The scrape job of Prometheus; each job of streamrnn should have one of its own.",
            "label_values(streamrnn_ready, job)", several=False,
        ),
        _chosen(
            "instance", "Worker", "Address of a worker, as Prometheus scrapes it.",
            'label_values(streamrnn_ready{job="$job"}, instance)', several=True,
        ),
        _chosen(
            "partition", "Partition", "Partitions of the input topic; what belongs to a worker as a whole stays.",
            f"label_values({partition}, partition)", several=True,
        ),
    ]  # fmt: skip


def _annotation(name: str, color: str, expr: str, title: str, text: str) -> dashboard.AnnotationQuery:
    query = prometheus.Dataquery().expr(expr).ref_id("Anno").datasource(SOURCE).range()
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .target(query)
        .expr(expr)
        .title_format(title)
        .text_format(text)
    )


LINEAGES = worst(of("streamrnn_lineage_info"), "topic, partition, lineage")


def _annotations() -> list[dashboard.AnnotationQuery]:
    before = f"last_over_time({of('streamrnn_lineage_info')}[1h] offset $__rate_interval)"
    drift = f"{total(lately(of('streamrnn_drift_alarms_total')), 'topic, partition')} > 0"
    restarts = f"process_start_time_seconds{{{WORKER}}} * 1000"
    return [
        # The value is the time of the event, so a start is marked where it was, however coarse the steps are.
        _annotation("Restarts", "blue", restarts, "A worker started", "{{instance}}").use_value_for_time(True),
        _annotation(
            "Lineages", "purple", f"{LINEAGES} unless {worst(before, 'topic, partition, lineage')}",
            "A line of checkpoints began", "{{topic}}/{{partition}}: {{lineage}}",
        ),
        _annotation(
            "Drift", "orange", drift, "The error changed", "{{topic}}/{{partition}}: another level of error",
        ),
    ]  # fmt: skip


def assemble(uid: str, description: str, *sections: Section) -> str:
    """A dashboard as Grafana reads it: JSON with sorted keys."""
    board = (
        dashboard.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags(["streamrnn"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .variables([*_variables()])
        .annotations([*_annotations()])
    )
    for other, title in TITLES.items():
        if other != uid:
            link = dashboard.DashboardLink(title.removeprefix("Streamrnn: ").capitalize())
            board.link(
                link.type(DashboardLinkType.LINK)
                .url(f"/d/{other}")
                .icon("dashboard")
                .include_vars(True)
                .keep_time(True)
            )
    grid = _Grid(board)
    for part in sections:
        grid.add(part)
    return json.dumps(_shown(json.loads(json.dumps(board.build(), cls=JSONEncoder))), indent=2, sort_keys=True) + "\n"


def _shown(node: Any) -> Any:
    """Without the ``placement`` that the SDK gives every link and annotation, which hides them in a menu."""
    if isinstance(node, dict):
        return {name: _shown(inner) for name, inner in node.items() if (name, inner) != ("placement", IN_A_MENU)}
    return [_shown(inner) for inner in node] if isinstance(node, list) else node
