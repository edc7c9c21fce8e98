"""How a panel of a Grafana dashboard is written down: JSON made from a few words.

Knows Grafana's format (schema version 39, Grafana 10). Refuses to know what is asked: dashboard.py does. The
rule not to break: every panel has a title, a description, a unit and the data source of the variable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

WIDTH = 24  # of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Ask:
    """One query; ``legend`` names its series, by their labels in ``{{ }}``."""

    expr: str
    legend: str = "__auto"
    exemplar: bool = False


@dataclass(frozen=True)
class Panel:
    """``kind`` as Grafana calls it. ``steps``: colours from a value on. ``more``: options of that kind."""

    kind: str
    title: str
    about: str
    unit: str
    asks: tuple[Ask, ...]
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float, str], ...] = ()
    custom: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    mappings: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    decimals: int | None = None


def stat(title: str, about: str, unit: str, expr: str, *steps: tuple[float, str], **more: Any) -> Panel:
    """One number, coloured."""
    calc = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    options = {
        "colorMode": "background_solid" if steps else "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": calc,
        "textMode": "auto",
        "wideLayout": True,
    }
    return Panel(
        "stat", title, about, unit, (Ask(expr, title),), 4, 4, steps or ((0, GREEN),), options=options, **more
    )


def graph(title: str, about: str, unit: str, *asks: Ask, style: str = "line", **more: Any) -> Panel:
    """Lines over time; ``style``: line, bars, or stacked areas."""
    custom: Json = {
        "drawStyle": "bars" if style == "bars" else "line",
        "fillOpacity": {"line": 8, "bars": 80, "stacked": 40}[style],
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "none" if style == "line" else "normal"},
    }
    options = {
        "legend": {"calcs": ["max", "lastNotNull"], "displayMode": "table", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, about, unit, asks, custom=custom, options=options, **more)


def table(title: str, about: str, unit: str, expr: str, value: str, *labels: str, **more: Any) -> Panel:
    """The series of an instant query, a row each: ``labels`` as columns, the number in column ``value``."""
    columns = {label: at for at, label in enumerate((*labels, "Value"))}
    order = {
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True},
            "indexByName": columns,
            "renameByName": {"Value": value},
        },
    }
    options = {"cellHeight": "sm", "showHeader": True, "sortBy": [{"displayName": value, "desc": True}]}
    return Panel("table", title, about, unit, (Ask(expr),), options=options, transformations=(order,), **more)


def heatmap(title: str, about: str, unit: str, ask: Ask, **more: Any) -> Panel:
    """A histogram over time, from a query of its buckets by ``le``."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "steps": 64,
            "exponent": 0.5,
            "scale": "exponential",
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return Panel("heatmap", title, about, unit, (ask,), options=options, **more)


def states(title: str, about: str, ask: Ask, names: dict[str, tuple[str, str]], **more: Any) -> Panel:
    """A band for each series, coloured and named by its value: ``{"1": (name, colour)}``."""
    named = {value: {"color": colour, "text": name} for value, (name, colour) in names.items()}
    mapping = {"type": "value", "options": {v: {**o, "index": i} for i, (v, o) in enumerate(named.items())}}
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0}
    return Panel(
        "state-timeline",
        title,
        about,
        "none",
        (ask,),
        options=options,
        custom=custom,
        mappings=(mapping,),
        **more,
    )


def query_variable(name: str, label: str, query: str, everything: str) -> Json:
    """A variable with the values of a label, several or all."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": query, "refId": name},
        "definition": query,
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": everything,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "options": [],
        "regex": "",
        "skipUrlSync": False,
    }


def datasource_variable() -> Json:
    """The Prometheus to ask."""
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


def laid_out(rows: dict[str, tuple[Panel, ...]]) -> list[Json]:
    """All panels with their places: row by row, left to right, what does not fit on the next line."""
    made: list[Json] = []
    top = 0
    for title, panels in rows.items():
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        made.append(
            {
                "type": "row",
                "id": len(made) + 1,
                "title": title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        left, height = 0, 0
        top += 1
        for panel in panels:
            if left + panel.width > WIDTH:
                left, top, height = 0, top + height, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            made.append(_panel(panel, len(made) + 1, place))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return made


def _panel(panel: Panel, number: int, place: Json) -> Json:
    steps = [{"color": GREEN, "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.steps if value > 0]
    if panel.steps and panel.steps[0][0] == 0:
        steps[0]["color"] = panel.steps[0][1]
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.steps else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": list(panel.mappings),
        "custom": panel.custom,
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": panel.options,
        "targets": [_target(panel, ask, at) for at, ask in enumerate(panel.asks)],
        "transformations": list(panel.transformations),
    }


def _target(panel: Panel, ask: Ask, at: int) -> Json:
    once = panel.kind in {"stat", "table"}
    form = {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series")
    return {
        "refId": chr(ord("A") + at),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": ask.expr,
        "legendFormat": ask.legend,
        "format": form,
        "instant": once,
        "range": not once,
        "exemplar": ask.exemplar,
    }
