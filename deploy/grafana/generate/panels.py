"""One function for each kind of panel, with what all panels of the kind share.

Every panel has a title, a description that says how to read it, and Grafana's name of a unit. ``steps`` are thresholds:
the first one is the colour of what lies below all others.
"""

from __future__ import annotations

from string import ascii_uppercase

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models import prometheus as queries
from grafana_foundation_sdk.models import text as texts
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

from deploy.grafana.generate.promql import STATES, Query
from streamrnn.daemon.endpoint.words import WORSE

Steps = tuple[tuple[float | None, str], ...]

SOURCE = shapes.DataSourceRef(type_val="prometheus", uid="${datasource}")
PLAIN: Steps = ((None, "blue"),)
GOOD_BELOW_1: Steps = ((None, "green"), (1, "red"))
STATE_COLORS = {"live": "green", "replaying": "blue", "restoring": "purple", "stalled": "red"}


Panel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | table.Panel | text.Panel | timeseries.Panel
"""A panel that can still be placed."""


def below(warn: float, fail: float) -> Steps:
    """Good while small."""
    return ((None, "green"), (warn, "yellow"), (fail, "red"))


def above(fail: float, warn: float) -> Steps:
    """Good while large."""
    return ((None, "red"), (fail, "yellow"), (warn, "green"))


SKILL: Steps = above(WORSE, 0.02)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    marks = [Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(marks)


def _queries(asked: tuple[Query, ...]) -> list[prometheus.Dataquery]:
    built = []
    for letter, query in zip(ascii_uppercase, asked, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
        target = target.instant() if query.instant else target.range()
        if query.legend:
            target.legend_format(query.legend)
        if query.table:
            target.format(queries.PromQueryFormat.TABLE)
        if query.heatmap:
            target.format(queries.PromQueryFormat.HEATMAP)
        built.append(target)
    return built


def mapping(names: dict[str, tuple[str, str]]) -> list[ValueMapping]:
    """What is shown, and in which colour, in place of values."""
    results = {
        value: ValueMappingResult(text=shown, color=color, index=index)
        for index, (value, (shown, color)) in enumerate(names.items())
    }
    return [ValueMap(options=results)]


STATE_NAMES = mapping({str(number): (name, STATE_COLORS[name]) for name, number in STATES.items()})


def _reduced(calculation: str) -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs([calculation]).fields("").values(False)


def to(uid: str, title: str) -> dashboard.DashboardLink:
    """A link of a panel to another dashboard, with the same choices and the same time."""
    address = f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(address)


def number(
    title: str,
    description: str,
    unit: str,
    *asked: Query,
    steps: Steps = PLAIN,
    names: dict[str, tuple[str, str]] | None = None,
    link: dashboard.DashboardLink | None = None,
    sparkline: bool = True,
    nothing: str = "no data",
    decimals: int | None = None,
) -> stat.Panel:
    """One number, or one for each series, on its colour."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .targets([*_queries(asked)])
        .thresholds(_thresholds(steps))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .reduce_options(_reduced("lastNotNull"))
        .color_mode(shapes.BigValueColorMode.BACKGROUND)
        .graph_mode(shapes.BigValueGraphMode.AREA if sparkline else shapes.BigValueGraphMode.NONE)
        .text_mode(shapes.BigValueTextMode.AUTO)
        .no_value(nothing)
    )
    if decimals is not None:
        panel.decimals(decimals)
    if names:
        panel.mappings(mapping(names))
    if link:
        panel.links([link])
    return panel


def graph(
    title: str,
    description: str,
    unit: str,
    *asked: Query,
    steps: Steps = (),
    stacked: bool = False,
    low: float | None = 0,
    high: float | None = None,
    logarithmic: bool = False,
    dashed: str = "",
    sparse: bool = False,
    nothing: str = "no data",
) -> timeseries.Panel:
    """Lines over time. ``steps`` draw lines where thresholds lie; series whose name matches ``dashed`` are so.

    ``low=None`` lets the axis begin below 0 where values do. ``sparse``: values are rare, so they are points.
    ``nothing`` stands in place of a graph without series.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .targets([*_queries(asked)])
        .thresholds(_thresholds(steps or ((None, "transparent"),)))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .line_width(1)
        .fill_opacity(60 if stacked else 0)
        .no_value(nothing)
        .show_points(shapes.VisibilityMode.ALWAYS if sparse else shapes.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    )
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if logarithmic:
        panel.scale_distribution(common.ScaleDistributionConfig().type(shapes.ScaleDistribution.LOG).log(10))
    elif low is None:
        panel.axis_soft_min(0)
    else:
        panel.min(low)
    if high is not None:
        panel.max(high)
    if dashed:
        panel.override_by_regexp(dashed, _DASHED)
    return panel


_DASHED = [
    DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
]


def bars(
    title: str,
    description: str,
    unit: str,
    *asked: Query,
    steps: Steps = PLAIN,
    high: float | None = None,
) -> bargauge.Panel:
    """A bar for each series, of its newest value."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .targets([*_queries(asked)])
        .thresholds(_thresholds(steps))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .reduce_options(_reduced("lastNotNull"))
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .text(common.VizTextDisplayOptions().title_size(14).value_size(18))
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .value_mode(shapes.BarGaugeValueMode.TEXT)
        .show_unfilled(True)
        .min(0)
        .no_value("no data")
    )
    if high is not None:
        panel.max(high)
    return panel


def timeline(title: str, description: str, *asked: Query) -> statetimeline.Panel:
    """The state of each partition over time."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .targets([*_queries(asked)])
        .mappings(STATE_NAMES)
        .thresholds(_thresholds(((None, "transparent"),)))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
        .show_value(shapes.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(80)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .calcs([])
        )
    )


def clouds(title: str, description: str, unit: str, query: Query) -> heatmap.Panel:
    """How often which value was observed, over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets([*_queries((query._replace(heatmap=True, legend="{{le}}"),))])
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(shapes.AxisPlacement.LEFT))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmaps.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .steps(64)
            .exponent(0.5)
            .reverse(False)
            .fill("blue")
        )
        .cell_gap(1)
    )


def rows(
    title: str,
    description: str,
    *asked: Query,
    names: dict[str, str],
    units: dict[str, str] | None = None,
    hidden: tuple[str, ...] = (),
    state: str = "",
    sort: str = "partition",
) -> table.Panel:
    """A table: a row for each set of labels, a column for each query (``Value #A``...) and label, under new names."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .targets([*_queries(tuple(query._replace(instant=True, table=True) for query in asked))])
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(DataTransformerConfig(id_val="organize", options=_organized(names, hidden)))
        .thresholds(_thresholds(((None, "text"),)))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
        .show_header(True)
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(False)])
        .cell_height(shapes.TableCellHeight.SM)
        .no_value("none")
    )
    for name, unit in (units or {}).items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    if state:
        shown = [DynamicConfigValue("mappings", STATE_NAMES), DynamicConfigValue("custom.cellOptions", _COLORED)]
        panel.override_by_name(state, shown)
    return panel


_COLORED = {"type": "color-background", "mode": "basic"}


def _organized(names: dict[str, str], hidden: tuple[str, ...]) -> dict[str, object]:
    """Options of Grafana's transformation that orders, renames and hides columns."""
    return {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": {name: shown for name, shown in names.items() if shown != name},
    }


def words(title: str, description: str, markdown: str) -> text.Panel:
    """Text."""
    panel = text.Panel().title(title).description(description)
    return panel.mode(texts.TextMode.MARKDOWN).content(markdown.strip())
