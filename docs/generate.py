"""Writes the tables of docs/ that follow from the code, when run; a test holds the pages to them.

Knows Markdown and where a table goes (between two marks in its page). Refuses to know any setting or metric
by name. The rule not to break: no table cell that the code could say is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from annotation_rows import POD, SERVICE, WRITTEN, Row, Shown

from zenlead.observe.metrics import Metrics, families
from zenlead.observe.rooms import Build
from zenlead.observe.scrape import Scrape
from zenlead.settings import KNOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zenlead.knobs import Knob

DOCS = Path(__file__).resolve().parent
DEPLOY = DOCS.parent / "deploy"
SCRAPE_TIMEOUT_S = 1.0  # of a scrape that never comes


def settings_table() -> str:
    """All knobs, a table for each group."""
    parts = []
    for group, knobs in groupby(KNOBS, key=lambda k: k.group):
        parts.append(f"### {group}\n\n" + table(_SETTING_HEAD, map(_setting, knobs)))
    return "\n".join(parts)


_SETTING_HEAD = ("Flag, variable, key", "Values", "Default", "Live", "What it does")


def _setting(k: Knob) -> tuple[str, ...]:
    names = [f"`--{k.flag}`", f"`{k.env}`", *([f"`{k.also_env}`"] if k.also_env else [])]
    names.append(f"`{k.key}`" if k.in_file else "not in the file")
    default = f"`{k.default}`" if k.default else "none"
    help = f"{k.help[0].upper()}{k.help[1:]}."
    return "<br>".join(names), k.parse.allowed, default, "yes" if k.live else "", help


def metrics_table() -> str:
    """All metrics of a running controller, by name."""
    return table(("Metric", "Type", "Labels", "What it tells"), sorted(set(_metrics())))


def _metrics() -> Iterator[tuple[str, ...]]:
    for family in families():
        yield _metric(family.name, family.kind, family.labels, family.about)
    metrics = Metrics(build=Build(version=""), now=time.time, monotonic=time.monotonic)
    Scrape(metrics, SCRAPE_TIMEOUT_S)  # adds its own
    # The library tells names and types to everybody, and the labels of a metric without samples to nobody.
    registry: Any = metrics.registry
    for collector in registry._collector_to_names:
        for found in collector.collect():
            labels: Any = getattr(found, "_labelnames", None) or getattr(collector, "_labelnames", ())
            name = found.name + ("_total" if found.type == "counter" else "")
            yield _metric(name, found.type, labels, found.documentation)


def _metric(name: str, kind: str, labels: Iterable[str], about: str) -> tuple[str, ...]:
    return f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels) or "none", about


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; cells hold no ``|``."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def annotations_table(rows: Iterable[Row]) -> str:
    """Annotations that are read: what may stand there, what it does, and which tests show it."""
    head = ("Annotation", "Values", "Default", "What it does", "Shown by")
    return table(head, ((_code(r.name), r.values, _default(r), r.does, _tests(r.shown)) for r in rows))


def written_table(rows: Iterable[Row]) -> str:
    """Annotations that zenlead writes, and where."""
    head = ("Annotation", "On", "What it says", "Shown by")
    return table(head, ((_code(r.name), r.values, r.does, _tests(r.shown)) for r in rows))


def _code(name: str) -> str:
    return f"`{name}`" if "/" in name else name


def _default(row: Row) -> str:
    return f"`{row.default}`" if row.accepted and "`" not in row.default else row.default


def _tests(shown: Iterable[Shown]) -> str:
    return "; ".join(f"{s.what}: [{s.test}](../{s.file})" for s in shown)


def alerts_table() -> str:
    """All alerts of the rules file, in its order. Words in capitals come from the alert's labels."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return table(("Alert", "Severity", "After", "What it says"), map(_alert, rules))


def _alert(rule: dict[str, Any]) -> tuple[str, ...]:
    said = re.sub(
        r"\{\{ \$labels\.(\w+) \}\}", lambda found: found[1].upper(), rule["annotations"]["summary"]
    )
    page = Path(rule["annotations"]["runbook"]).relative_to("docs")
    return f"[{rule['alert']}]({page})", rule["labels"]["severity"], rule.get("for", "at once"), said


def dashboard_table() -> str:
    """All panels of the dashboard, row by row."""
    rows, row = [], ""
    for panel in json.loads((DEPLOY / "grafana" / "zenlead.json").read_text())["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        else:
            rows.append((row, panel["title"], panel["description"]))
    return table(("Row", "Panel", "What it shows"), rows)


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "configuration.md": {"settings": settings_table},
    "metrics.md": {"metrics": metrics_table},
    "observability.md": {"alerts": alerts_table, "dashboard": dashboard_table},
    "annotations.md": {
        "annotations-service": lambda: annotations_table(SERVICE),
        "annotations-pod": lambda: annotations_table(POD),
        "annotations-written": lambda: written_table(WRITTEN),
    },
}


def generated(page: str) -> str:
    """The page ``page`` of docs/ as it should be: its text by hand, its tables anew."""
    text = (DOCS / page).read_text()
    for name, render in TABLES[page].items():
        text = _filled(page, text, name, render())
    return text


def _filled(page: str, text: str, name: str, rendered: str) -> str:
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, _, rest = text.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError(f"docs/{page} has no place for its table: {begin.strip()} … {end}")
    return f"{before}{begin}\n{rendered}\n{end}{after}"


if __name__ == "__main__":
    for page in TABLES:
        (DOCS / page).write_text(generated(page))
        print(f"docs/{page}", file=sys.stderr)
