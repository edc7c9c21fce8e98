"""Rules and dashboard on real numbers: a real run is scraped, and Prometheus' engine answers each query."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.cluster import promql
from tests.cluster.deeds import Deeds
from tests.cluster.promql import RULES, Scrapes
from tests.cluster.scene import eventually
from zenlead.observe.metrics import FAILOVER_REASONS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.promql import Answers, Question, Sample
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

STEP_S = 30.0  # as if so much lay between two scrapes
RATE_INTERVAL, RANGE = "2m", "10m"
WEB_REASONS = {"notReady": 3, "noIP": 1, "deselected": 1, "terminating": 1, "finished": 1}
# What a run that is well for the rest does not have. Made up, so that their queries are tried too.
MADE_UP = {"zen_lead_task_restarts_total": 'task="sweep"'}
# Alerts that the story brings about, whose condition is true at some step.
TRUE_AT_TIMES = {
    *(
        "ZenLeadNoLeader",
        "ZenLeadInvariantBroken",
        "ZenLeadUnfitLeader",
        "ZenLeadNoStandby",
        "ZenLeadFailover",
    ),
    *("ZenLeadPausedLong", "ZenLeadPortUnresolved", "ZenLeadReconcileErrors", "ZenLeadReplicaDown"),
    *("ZenLeadTaskRestarts", "zen_lead:without_leader"),
}
NEVER_TRUE = {
    *("ZenLeadDown", "ZenLeadNobodyLeads", "ZenLeadSeveralLead", "ZenLeadLeaseFlapping"),
    *(
        "ZenLeadWatchSilent",
        "ZenLeadBacklog",
        "ZenLeadCacheFull",
        "ZenLeadObjectsRejected",
        "ZenLeadTimeouts",
    ),
    *("ZenLeadReconcileStorm", "ZenLeadReconcileSlow", "ZenLeadWritesForbidden"),
}


def test_the_rules_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promql.promtool("check", "rules", "--lint-fatal", str(RULES))
    said = promql.promtool("test", "rules", str(RULES.with_name("rules_test.yaml")))
    assert "SUCCESS" in said, said
    assert "FAILED" not in said, said


async def test_every_query_answers_with_what_happened(
    namespace: Namespace,
    recorder: Recorder,
    proxy: FaultProxy,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> None:
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    first = await zenlead_process(kubeconfig=config)
    await eventually(lambda: leads(first), "the first replica leads")
    second = await zenlead_process()
    deeds, scrapes, last = Deeds(namespace, recorder, proxy), Scrapes(STEP_S), ""

    async def turn() -> None:
        nonlocal last
        texts: dict[str, str | None] = {}
        for name, process in (("a", first), ("b", second)):
            status, text = await process.http(process.metrics_url)
            texts[name] = text if status == 200 else None
        last = texts["a"] or ""
        scrapes.take(texts)

    await deeds.tell(turn, second.kill)
    assert deeds.failovers == WEB_REASONS
    clean_by_promtool(last)
    await counts_are_equal(deeds, scrapes, namespace.name)
    for number in range(scrapes.steps):
        for name, labels in MADE_UP.items():
            scrapes.add(f'{name}{{job="zen-lead",instance="a",{labels}}}', str(int(number > 5)), number)
    queries = promql.of_dashboard(rate_interval=RATE_INTERVAL, within=RANGE)
    alerts = promql.of_rules()
    looked_at = [part for alert in alerts for part in promql.parts(alert.expr)]
    exprs = [*(q.expr for q in (*queries, *alerts)), *looked_at]
    answers = await asyncio.to_thread(promql.ask, scrapes, exprs, tmp_path)
    panels_answer(queries, answers, scrapes)
    figures_of_panels(queries, answers, scrapes, namespace.name)
    assert [part for part in looked_at if not at_any_time(part, answers, scrapes)] == []
    true = {alert.title for alert in alerts if at_any_time(alert.expr, answers, scrapes)}
    assert true >= TRUE_AT_TIMES
    assert not true & NEVER_TRUE


async def leads(process: ZenleadProcess) -> bool:
    return (await process.metrics())["zen_lead_leader_election_is_leader"] == 1


def clean_by_promtool(text: str) -> None:
    """``promtool check metrics`` has nothing to say but of two names that are older than this program."""
    said = promql.promtool("check", "metrics", given=text).strip().splitlines()
    assert sorted(line.split()[0] for line in said) == [
        "zen_lead_endpointslices_total",
        "zen_lead_leader_services_total",
    ]


async def counts_are_equal(deeds: Deeds, scrapes: Scrapes, namespace: str) -> None:
    """What was counted is what was done, not about that."""

    def of(
        name: str, labels: str = "", about: str = f'namespace="{namespace}",service="web"'
    ) -> float | None:
        more = f",{labels}" if labels else ""
        return scrapes.last(f'{name}{{job="zen-lead",instance="a",{about}{more}}}')

    for name in ("zen_lead_failover_count_total", "zen_lead_failover_latency_seconds_count"):
        counted = {reason: of(name, f'reason="{reason}"') for reason in FAILOVER_REASONS}
        assert {reason: count for reason, count in counted.items() if count} == WEB_REASONS
    assert deeds.moves() == sum(WEB_REASONS.values())
    whole = 'zen_lead_leader_switch_duration_seconds_count{job="zen-lead",instance="a"}'
    assert scrapes.last(whole) == deeds.moves()
    assert of("zen_lead_invariant_violations_total") == 1
    here = f'namespace="{namespace}"'
    assert of("zen_lead_leader_services_total", about=here) == len(await deeds.leader_services()) == 5
    assert of("zen_lead_endpointslices_total", about=here) == len(await deeds.slices()) == 5
    assert scrapes.total("zen_lead_writes_total", resource="endpointslices") == deeds.written()
    failed = scrapes.total("zen_lead_endpoint_write_errors_total", service="web")
    again = scrapes.total("zen_lead_retry_attempts_total", service="web")
    assert failed + again == len(deeds.refused) == 7
    assert scrapes.total("zen_lead_write_retries_total") == again
    assert of("zen_lead_reconciliations_total", 'result="error"') == failed
    assert scrapes.total("zen_lead_leaderless_seconds", service="none", reason="NoPodsFound") > 1
    assert scrapes.total("zen_lead_leaderless_seconds", service="odd", reason="PortUnresolved") > 1
    assert of("zen_lead_paused", about=f'{here},service="still"') == 1
    assert of("zen_lead_pods_available", about=f'{here},service="keep"') == 0
    assert of("zen_lead_leader_service_without_endpoints", about=f'{here},service="keep"') == 0
    assert scrapes.total("zen_lead_pods_available", service="solo") == 0, "its series are gone"


def at_any_time(expr: str, answers: Answers, scrapes: Scrapes) -> list[Sample]:
    return [sample for time in scrapes.times() for sample in answers.get((expr, time), ())]


def panels_answer(queries: list[Question], answers: Answers, scrapes: Scrapes) -> None:
    """Every query has data, and each of its series can be named as the legend says."""
    empty = [(q.title, q.expr) for q in queries if not at_any_time(q.expr, answers, scrapes)]
    assert empty == [], empty
    for query in queries:
        named = set(re.findall(r"\{\{(\w+)\}\}", query.legend)) - {"namespace", "service"}
        kept = re.match(r"(?:sum|max|count) by \(([^)]*)\)", query.expr)
        for sample in at_any_time(query.expr, answers, scrapes):
            assert named <= set(sample.labels), query
            if kept:
                assert set(sample.labels) <= set(kept[1].split(", ")), query


def figures_of_panels(queries: list[Question], answers: Answers, scrapes: Scrapes, namespace: str) -> None:
    """The numbers that a person would read at the end."""
    (*_, now) = scrapes.times()
    by_title = {query.title: query.expr for query in queries}

    def shown(title: str) -> list[Sample]:
        return answers.get((by_title[title], now), [])

    assert [s.value for s in shown("Services")] == [5]
    assert [s.value for s in shown("Without a leader")] == [2]
    assert [s.value for s in shown("Replicas that lead")] == [1]
    assert [s.value for s in shown("Paused")] == [1]
    (failovers,) = shown("Failovers")
    assert failovers.value == pytest.approx(sum(WEB_REASONS.values()), rel=0.3)  # increase() extrapolates
    leaderless = {(s.labels["service"], s.labels["reason"]) for s in shown("Services without a leader")}
    assert leaderless == {("none", "NoPodsFound"), ("odd", "PortUnresolved")}
    reasons = {
        s.labels["reason"] for s in at_any_time(by_title["Failovers by reason"], answers, scrapes) if s.value
    }
    assert reasons == set(WEB_REASONS)
    marks = {s.labels["reason"] for s in at_any_time(by_title["mark of Failovers"], answers, scrapes)}
    assert marks == set(WEB_REASONS), "a mark for each"
    bands = {s.labels["service"]: s.value for s in shown("Times without a leader")}
    assert bands["none"] == bands["odd"] == 1
