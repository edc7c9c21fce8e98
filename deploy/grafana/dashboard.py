"""The dashboard as a whole: its rows, its variables and the marks of failovers.

Knows what belongs together. Refuses to know Grafana's format (panels.py) and PromQL (asking.py). The rule not
to break: zenlead.json is written by ``python -m deploy.grafana.dashboard``, never by hand; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.asking import EACH, S, new
from deploy.grafana.capacity import CAPACITY
from deploy.grafana.controlplane import CONTROL_PLANE
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.panels import DATASOURCE, Json, datasource_variable, laid_out, query_variable

FILE = Path(__file__).with_name("zenlead.json")
UID = "zenlead"

ROWS = {"Overview": OVERVIEW, "Control plane": CONTROL_PLANE, "Capacity": CAPACITY}


def failovers_marked() -> Json:
    """Marks every failover in all graphs."""
    return {
        "name": "Failovers",
        "enable": True,
        "hide": False,
        "iconColor": "orange",
        "datasource": DATASOURCE,
        "expr": f"{new('zen_lead_failover_count_total', S, f'{EACH}, reason')} > 0",
        "step": "15s",
        "titleFormat": "Failover: {{reason}}",
        "textFormat": "{{namespace}}/{{service}}",
        "tagKeys": "reason",
        "useValueForTime": False,
    }


def variables() -> list[Json]:
    """In the order in which they narrow."""
    by_job = 'zen_lead_build_info{job=~"$job"}'
    return [
        datasource_variable(),
        query_variable("job", "Job", "label_values(zen_lead_build_info, job)", ".+"),
        query_variable("instance", "Replica", f"label_values({by_job}, instance)", ".*"),
        query_variable(
            "namespace",
            "Namespace",
            'label_values(zen_lead_leader_services_total{job=~"$job"}, namespace)',
            ".*",
        ),
        query_variable(
            "service",
            "Service",
            'label_values(zen_lead_pods_available{job=~"$job",namespace=~"$namespace"}, service)',
            ".*",
        ),
    ]


def dashboard() -> Json:
    """All of it."""
    return {
        "uid": UID,
        "title": "zenlead",
        "description": "Leader Services: who has none, what failed over, what zenlead does about it.",
        "tags": ["kubernetes", "zenlead"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one crosshair in all graphs
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "weekStart": "",
        "links": [],
        "annotations": {"list": [failovers_marked()]},
        "templating": {"list": variables()},
        "panels": laid_out(ROWS),
    }


def text() -> str:
    """The file as it should be."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
