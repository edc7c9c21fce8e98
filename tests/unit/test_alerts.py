"""Every alert says what a person needs, is about metrics that exist, and is shown firing and not firing.

That the expressions do what they say is seen in ``tests/cluster/test_promql.py``, by promtool.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_dashboard import labels_of

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
TESTS = ROOT / "deploy" / "prometheus" / "rules_test.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
SEVERITIES = {"critical", "warning", "info"}
GAUGES_CALLED_TOTAL = {"zen_lead_leader_services_total", "zen_lead_endpointslices_total"}
OF_PROMETHEUS = {"up"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("ZenLead")
    assert alert["labels"]["severity"] in SEVERITIES
    said = alert["annotations"]
    assert set(said) == {"summary", "description", "runbook"}
    assert len(said["summary"]) < 100
    assert said["description"].endswith(".")
    page = ROOT / said["runbook"]
    assert page == RUNBOOKS / f"{alert['alert']}.md"
    text = page.read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert f"Severity: {alert['labels']['severity']}\n" in text


def test_there_is_no_page_of_an_alert_that_is_gone() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("ZenLead*.md")}
    assert pages == {alert["alert"] for alert in ALERTS}
    listed = re.findall(r"^\| \[(\w+)\]", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_what_exists(alert: dict[str, Any]) -> None:
    known = labels_of()
    expr = alert["expr"]
    names = set(re.findall(r"\b(?:zen_lead[a-z_:]*|up)\b(?!\w)", expr))
    assert names
    for name in names - RECORDED - OF_PROMETHEUS:
        assert name in known, name
    for labels in re.findall(r"\{([^}]*)\}", expr):
        for label in re.findall(r"(\w+)(?:=~|!=|!~|=)", labels):
            assert any(label in known.get(name, ()) for name in names) or label == "job", label
    for name in re.findall(r"(?:rate|increase)\(\s*(\w+)", expr):
        assert name.endswith(("_total", "_bucket", "_count", "_sum")), f"{name} is a gauge"
        assert name not in GAUGES_CALLED_TOTAL


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_shown_firing_and_not_firing(alert: dict[str, Any]) -> None:
    shown = [
        bool(case["exp_alerts"])
        for group in yaml.safe_load(TESTS.read_text())["tests"]
        for case in group.get("alert_rule_test", ())
        if case["alertname"] == alert["alert"]
    ]
    assert set(shown) == {True, False}
