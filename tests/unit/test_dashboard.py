"""The dashboard by the rules of Grafana's own linter, and by ours; and every name in it exists.

That its queries give data is seen in ``tests/cluster/test_promql.py``.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana import dashboard
from zenlead.observe.metrics import COUNTED, Metrics, families
from zenlead.observe.rooms import Build
from zenlead.observe.scrape import Scrape

FILE = Path(dashboard.__file__).with_name("zenlead.json")
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
KINDS = {"stat", "table", "timeseries", "heatmap", "state-timeline"}  # the old "graph" above all is none
OF_PROMETHEUS = {"ALERTS"}
SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
ALWAYS = ('job=~"$job"', 'instance=~"$instance"')


def asked() -> list[tuple[str, str]]:
    """Every query with the title of its panel."""
    found = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    return [*found, ("annotation", DASHBOARD["annotations"]["list"][0]["expr"])]


def labels_of() -> dict[str, set[str]]:
    """All names of series that a scrape can have, with the labels that they bear."""
    metrics = Metrics(build=Build(version=""), now=float, monotonic=float)
    Scrape(metrics, 1.0)
    known = {family.name: {"job", "instance", *family.labels} for family in families()}
    registry: Any = metrics.registry
    for collector in registry._collector_to_names:
        for found in collector.collect():
            own = getattr(found, "_labelnames", None) or getattr(collector, "_labelnames", ())
            name = found.name + ("_total" if found.type == "counter" else "")
            known[name] = {"job", "instance", *own}
            if found.type == "histogram":
                known |= {f"{name}_{part}": {*known[name], "le"} for part in ("bucket", "sum", "count")}
    for family in COUNTED:
        if family.bounds:
            parts = ("bucket", "sum", "count")
            known |= {f"{family.name}_{part}": {*known[family.name], "le"} for part in parts}
    return known


def test_the_file_is_as_it_is_made() -> None:
    assert FILE.read_text() == dashboard.text(), "run: python -m deploy.grafana.dashboard"


def test_it_cannot_be_changed_by_accident_and_can_be_found() -> None:
    assert DASHBOARD["editable"] is False
    assert DASHBOARD["uid"] == "zenlead"
    assert DASHBOARD["schemaVersion"] >= 39
    assert "zenlead" in DASHBOARD["tags"]
    assert [row["title"] for row in DASHBOARD["panels"] if row["type"] == "row"] == [
        "Overview",
        "Control plane",
        "Capacity",
    ]


def test_its_variables_narrow_one_after_the_other() -> None:
    first, *others = DASHBOARD["templating"]["list"]
    assert (first["type"], first["query"], first["name"]) == ("datasource", "prometheus", "datasource")
    assert [v["name"] for v in others] == ["job", "instance", "namespace", "service"]
    for variable in others:
        assert variable["type"] == "query"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["includeAll"]
        assert variable["multi"]
        assert variable["refresh"] == 2, "when the time range changes"
        assert variable["label"]
        found = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["query"]["query"])
        assert found
        assert found[2] in labels_of()[found[1]]
        assert found[2] == variable["name"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["type"] in KINDS
    assert len(panel["title"]) > 2
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert target["legendFormat"]
        once = panel["type"] in {"stat", "table"}
        assert (target["instant"], target["range"]) == (once, not once)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    values = [step["value"] for step in steps]
    assert values[0] is None
    assert values[1:] == sorted(set(values[1:]))


def test_titles_and_places_are_taken_once() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize(("title", "expr"), asked())
def test_every_query_is_about_what_was_chosen(title: str, expr: str) -> None:
    known = labels_of()
    found = SELECTOR.findall(expr)
    assert found, expr
    for name, matchers in found:
        if name in OF_PROMETHEUS:
            continue
        assert name in known, name
        for label in re.findall(r"(\w+)(?:=~|!=|=)", matchers):
            assert label in known[name], (name, label)
        for matcher in ALWAYS:
            assert matcher in matchers, f"{name} of whichever installation"
        for label in ("namespace", "service"):
            if label in known[name]:
                assert f'{label}=~"${label}"' in matchers, f"{name} of all Services"
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on) \([^)]*\)|\"[^\"]*\"", "", expr)
    assert not re.search(r"\b(?:zen_lead|process)_\w+\b(?!\{)", expr), "a selector without labels"
    assert not re.search(r"\[(?!\$__rate_interval\]|\$__range\])", bare), "a window of its own"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_windows_are_those_of_the_panel(panel: dict[str, Any]) -> None:
    """A number over the whole range is an instant; a point of a graph is about its own moment."""
    for target in panel["targets"]:
        windows = set(re.findall(r"(?:rate|increase)\([^()]*\[(\$\w+)\]", target["expr"]))
        assert windows <= ({"$__range"} if target["instant"] else {"$__rate_interval"})


@pytest.mark.parametrize(("title", "expr"), asked())
def test_counters_are_rated_and_gauges_are_not(title: str, expr: str) -> None:
    counters = {family.name for family in families() if family.kind != "gauge"}
    of_rooms = {name for name in labels_of() if name.endswith(("_total", "_bucket", "_count", "_sum"))}
    gauges = {"zen_lead_leader_services_total", "zen_lead_endpointslices_total"}
    for name in re.findall(r"(?:rate|increase)\((\w+)", expr):
        assert name in (counters | of_rooms) - gauges, name
    for name, _ in SELECTOR.findall(expr):
        if name in of_rooms - gauges:
            assert re.search(rf"(?:rate|increase)\({name}\{{", expr), f"{name} as it is says nothing"


def test_failovers_are_marked_with_their_reason() -> None:
    (mark,) = DASHBOARD["annotations"]["list"]
    assert "zen_lead_failover_count_total" in mark["expr"]
    assert "by (namespace, service, reason)" in mark["expr"]
    assert "{{reason}}" in mark["titleFormat"]
    assert mark["enable"]


def test_the_latency_of_failovers_is_a_heat_map_with_exemplars() -> None:
    (panel,) = (panel for panel in PANELS if panel["type"] == "heatmap")
    (target,) = panel["targets"]
    assert "zen_lead_failover_latency_seconds_bucket" in target["expr"]
    assert (target["format"], target["exemplar"]) == ("heatmap", True)
    assert panel["options"]["calculate"] is False


def test_what_the_legend_names_is_a_label_of_the_query() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b[^)]*\)", target["expr"]), (panel["title"], label)
