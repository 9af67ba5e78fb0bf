"""The dashboards are what the generator makes, and as far as can be told without a server, Grafana can show them."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.generate.__main__ import dashboards
from deploy.grafana.generate.frame import IN_A_MENU, LEARNING, OVERVIEW, PIPELINE
from streamrnn.daemon.metric_table import METRICS
from streamrnn.job.job_file import parse
from streamrnn.storage.fingerprints import build_info
from tests.deploy.dashboards import DASHBOARDS, GRAFANA, panels, queries, raw

ROOT = Path(__file__).parents[2]
UNITS = set(json.loads((ROOT / "tests" / "data" / "grafana_units.json").read_text()))
JOB = parse((ROOT / "deploy" / "examples" / "minimal.yaml").read_text(), {})
BUILT_IN = {"__rate_interval", "__interval", "__range", "__url_time_range", "__all_variables"}
"""Variables that Grafana defines itself."""
PROCESS = {f"process_{name}" for name in (
    "start_time_seconds", "cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds",
)}  # fmt: skip
"""Metrics of the client library that the dashboards show."""
INFO_LABELS = {
    "streamrnn_job_info": {*JOB.labels()},
    "streamrnn_build_info": {*build_info()},
    "streamrnn_lineage_info": {"lineage"},
}
NOT_SHOWN: dict[str, str] = {}
"""Metrics that no dashboard shows, and why."""
each = pytest.mark.parametrize("name", DASHBOARDS)
EVERY_PANEL = [
    pytest.param(panel, id=f"{name}: {panel['title']}") for name in DASHBOARDS for panel in panels(DASHBOARDS[name])
]
EVERY_QUERY = [
    pytest.param(name, expr, id=f"{title}: {kind} {name}")
    for title in DASHBOARDS
    for kind, name, expr, _ in raw(DASHBOARDS[title])
]


def series_of(selected: str) -> set[str]:
    """Names of series in an expression."""
    return set(re.findall(r"\b(?:streamrnn|process)_\w+|\bup\b|\bALERTS\b", selected))


SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
LABELS_OF = {
    f"{metric.name}{suffix}": {*metric.all_labels, "job", "instance", *INFO_LABELS.get(metric.name, ())}
    | ({"le"} if suffix == "_bucket" else set())
    for metric in METRICS
    for suffix in SUFFIXES.get(metric.kind, ("",))
}
LABELS_OF |= {name: {"job", "instance"} for name in (*PROCESS, "up")}
LABELS_OF["ALERTS"] = {"alertname", "alertstate", "severity", "job", "instance", "topic", "partition"}


def shown_labels(expr: str) -> set[str]:
    """Labels that the result of an expression may carry."""
    grouped = {label for by in re.findall(r"by \(([^)]*)\)", expr) for label in by.split(", ") if label}
    return grouped if "by (" in expr else set().union(*(LABELS_OF[series] for series in series_of(expr)))


# ---- they are what the generator makes


def test_there_are_three_and_they_are_current() -> None:
    files = {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}
    assert files == dashboards(), "run: python -m deploy.grafana.generate"
    assert files.keys() == {"overview.json", "learning.json", "pipeline.json"}


@each
def test_a_dashboard_goes_through_grafana_s_types_unchanged(name: str) -> None:
    """But for the ``placement`` of links and annotations, of which the types know one value alone: in a menu."""
    register_default_plugins()
    text = json.dumps(Dashboard.from_json(DASHBOARDS[name]), cls=JSONEncoder)
    back = json.loads(
        text, object_hook=lambda node: {k: v for k, v in node.items() if (k, v) != ("placement", IN_A_MENU)}
    )
    assert back == DASHBOARDS[name]


@each
def test_links_and_marks_are_beside_the_variables_and_legends_below_their_graphs(name: str) -> None:
    assert IN_A_MENU not in json.dumps(DASHBOARDS[name])
    with_legend = [panel for panel in panels(DASHBOARDS[name]) if panel["type"] in ("timeseries", "state-timeline")]
    assert with_legend
    assert {panel["options"]["legend"]["placement"] for panel in with_legend} == {"bottom"}


def test_uids_are_unique_and_links_lead_to_dashboards_that_exist() -> None:
    assert sorted(board["uid"] for board in DASHBOARDS.values()) == sorted((OVERVIEW, LEARNING, PIPELINE))
    for board in DASHBOARDS.values():
        text = json.dumps(board)
        assert {OVERVIEW, LEARNING, PIPELINE} - {board["uid"]} <= set(re.findall(r"/d/([\w-]+)", text))
        assert set(re.findall(r"/d/([\w-]+)", text)) <= {OVERVIEW, LEARNING, PIPELINE}


# ---- the grid


@each
def test_panels_have_unique_ids_and_titles_that_tell_them_apart(name: str) -> None:
    ids = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    assert len(ids) == len(set(ids))
    assert all(number > 0 for number in ids)
    titles = Counter(panel["title"] for panel in panels(DASHBOARDS[name]))
    assert titles.total() == len(titles), titles.most_common(3)


@each
def test_no_panel_overlaps_another_or_lies_outside_the_grid(name: str) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARDS[name]["panels"]]
    for title, place in places:
        assert place["x"] >= 0 and place["w"] > 0 and place["h"] > 0, title
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} overlaps {other}"


@each
def test_the_grid_has_no_holes(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    bottom = max(place["y"] + place["h"] for place in places)
    assert sum(place["w"] * place["h"] for place in places) == 24 * bottom


def test_the_skill_is_the_overview_s_first_and_largest_number() -> None:
    numbers = [panel for panel in panels(DASHBOARDS["overview"]) if panel["type"] == "stat"]
    largest = max(numbers, key=lambda panel: panel["gridPos"]["w"] * panel["gridPos"]["h"])
    assert largest is numbers[0]
    assert (largest["gridPos"]["x"], largest["gridPos"]["y"]) == (0, 0)
    assert "streamrnn_skill" in largest["targets"][0]["expr"]
    assert largest["targets"][0]["expr"].startswith("min(")


@each
def test_what_to_do_first_is_written_on_every_dashboard(name: str) -> None:
    (text,) = [panel for panel in panels(DASHBOARDS[name]) if panel["type"] == "text"]
    assert text["title"] == "What to do first"
    assert len(text["options"]["content"]) > 300


# ---- each panel


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_a_panel_asks_something_and_says_how_to_read_it(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["type"] in {"stat", "timeseries", "bargauge", "state-timeline", "heatmap", "table", "text"}
    if panel["type"] == "text":
        return
    assert panel["targets"]
    assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_a_panel_s_units_are_grafana_s(panel: dict[str, Any]) -> None:
    if panel["type"] == "text":
        return
    own = panel["options"]["yAxis"]["unit"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]["unit"]
    others = [
        change["value"]
        for override in panel.get("fieldConfig", {}).get("overrides", ())
        for change in override["properties"]
        if change["id"] == "unit"
    ]
    assert {own, *others} <= UNITS


@pytest.mark.parametrize("panel", [param for param in EVERY_PANEL if param.values[0]["type"] in ("stat", "bargauge")])
def test_thresholds_rise_from_a_colour_for_all_that_is_below(panel: dict[str, Any]) -> None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(set(values))


def test_the_list_of_units_is_the_one_the_sdk_knows() -> None:
    sdk = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("__")}
    assert sdk <= UNITS | {""}


# ---- each expression


@pytest.mark.parametrize(("name", "expr"), EVERY_QUERY)
def test_a_query_asks_for_metrics_that_exist_by_labels_they_have(name: str, expr: str) -> None:
    assert series_of(expr), name
    for series in series_of(expr):
        assert series in LABELS_OF, f"{series} is in no table"
    for series, matchers in re.findall(r"(\w+)\{([^}]*)\}", expr):
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers))
        assert labels <= LABELS_OF[series], f"{series} has no label {labels - LABELS_OF[series]}"
    known = set().union(*(LABELS_OF[series] for series in series_of(expr))) | {"order"}
    for labels in re.findall(r"\b(?:by|on|ignoring) \(([^)]*)\)", expr):
        assert set(labels.split(", ")) - {""} <= known, f"{labels} of {series_of(expr)}"


@each
def test_a_legend_names_labels_that_the_result_has(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert used <= shown_labels(target["expr"]), panel["title"]
    for annotation in DASHBOARDS[name]["annotations"]["list"]:
        used = set(re.findall(r"\{\{(\w+)\}\}", annotation["titleFormat"] + annotation["textFormat"]))
        assert used <= shown_labels(annotation["expr"]), annotation["name"]


@each
def test_every_query_follows_the_choice_of_job_and_worker_and_partition(name: str) -> None:
    for kind, title, expr, _ in raw(DASHBOARDS[name]):
        if kind == "variable":
            continue
        for series, matchers in re.findall(r"(\w+)\{([^}]*)\}", expr):
            assert "$job" in matchers, title
            if series != "ALERTS":
                assert 'instance=~"$instance"' in matchers, title
                assert ('partition=~"$partition"' in matchers) == ("partition" in LABELS_OF[series]), title


@each
def test_variables_are_the_four_and_each_one_used_is_defined(name: str) -> None:
    board = DASHBOARDS[name]
    defined = [variable["name"] for variable in board["templating"]["list"]]
    assert defined == ["datasource", "job", "instance", "partition"]
    used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", json.dumps(board)))
    assert used - BUILT_IN <= {*defined, "__all"}
    assert set(defined) <= used
    for variable in board["templating"]["list"]:
        assert variable["description"] and variable["label"], variable["name"]
        earlier = defined[: defined.index(variable["name"])]
        assert set(re.findall(r"\$\{?(\w+)", json.dumps(variable.get("query", "")))) <= set(earlier)


@each
def test_every_query_goes_to_the_data_source_chosen(name: str) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    board = DASHBOARDS[name]
    asking = [panel for panel in panels(board) if panel["type"] != "text"]
    asking += [target for panel in asking for target in panel["targets"]]
    asking += [*board["annotations"]["list"], *(v for v in board["templating"]["list"] if v["type"] == "query")]
    assert all(asked["datasource"] == chosen for asked in asking)


@each
def test_restarts_lineages_and_drift_are_marked_in_every_graph(name: str) -> None:
    marks = {mark["name"]: mark for mark in DASHBOARDS[name]["annotations"]["list"]}
    assert marks.keys() == {"Restarts", "Lineages", "Drift"}
    assert all(mark["enable"] and mark["target"]["expr"] == mark["expr"] for mark in marks.values())
    assert marks["Restarts"]["useValueForTime"]


def test_every_metric_has_its_place() -> None:
    asked = {series for board in DASHBOARDS.values() for _, _, expr, _ in raw(board) for series in series_of(expr)}
    shown = {
        metric.name
        for metric in METRICS
        if asked & {f"{metric.name}{suffix}" for suffix in SUFFIXES.get(metric.kind, ("",))}
    }
    missing = {metric.name for metric in METRICS} - shown
    assert missing == NOT_SHOWN.keys()


def test_queries_come_with_their_variables_filled_in() -> None:
    asked = queries("flights", rate_interval="5s", range_s=60)
    assert not [query for query in asked if re.search(r"\$[A-Za-z_{]", query.expr)]
    assert {query.kind for query in asked} == {"panel", "annotation", "variable"}
    assert any("[5s]" in query.expr for query in asked) and any("[60s]" in query.expr for query in asked)


# ---- provisioning


def provisioned(kind: str) -> dict[str, Any]:
    (path,) = (GRAFANA / "provisioning" / kind).iterdir()
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_provisioning_names_the_folder_that_the_dashboards_are_mounted_at() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert provider["type"] == "file"


def test_provisioning_brings_one_prometheus_which_the_dashboards_take_by_default() -> None:
    (source,) = provisioned("datasources")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)


def test_the_compose_file_mounts_what_the_provisioning_reads() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    mounts = dict(mount.split(":")[:2][::-1] for mount in services["grafana"]["volumes"])
    assert (ROOT / "docker" / mounts["/etc/grafana/provisioning"]).resolve() == GRAFANA / "provisioning"
    assert (ROOT / "docker" / mounts["/var/lib/grafana/dashboards"]).resolve() == GRAFANA / "dashboards"
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path("/var/lib/grafana/dashboards")
    assert (GRAFANA / "dashboards" / home.name).exists()
    assert "prometheus" in services
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    (source,) = provisioned("datasources")["datasources"]
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


def test_the_config_map_of_kubernetes_has_every_dashboard() -> None:
    made = yaml.safe_load((GRAFANA / "dashboards" / "kustomization.yaml").read_text())["configMapGenerator"]
    assert [name for part in made for name in part["files"]] == [
        f"{name}.json" for name in ("overview", "learning", "pipeline")
    ]


def test_every_dashboard_has_its_picture() -> None:
    assert {path.stem for path in (GRAFANA / "pictures").iterdir()} == DASHBOARDS.keys()
