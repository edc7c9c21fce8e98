"""A real Prometheus scrapes a real run for some minutes, with all rules; then every query of the dashboard is
put to it. ``make check-prometheus`` runs it and prints what was seen.

It is no part of ``make test``: it takes minutes of real time, and the program ``prometheus``, which cannot be
built without a JavaScript tool chain. What it shows is shown there by promtool on fewer scrapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.cluster import promql
from tests.cluster.deeds import Deeds
from tests.cluster.otlp import Collector
from tests.cluster.process import free_port, spawn, stop, tail
from tests.cluster.promql import RULES, Sample
from tests.cluster.scene import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.promql import Question
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SCRAPE_S = 5.0
TURN_S = 3 * SCRAPE_S  # between two deeds: each is seen by some scrapes
RATE_INTERVAL, RANGE = "30s", "20m"  # four scrapes, as Grafana chooses; all of the run
REPLICA_DOWN_S = 330.0  # the longest `for` of the alerts that are waited for, and a few scrapes
# What must be firing in the end, and on what.
FIRING = {
    ("ZenLeadNoLeader", "none"),
    ("ZenLeadNoLeader", "odd"),
    ("ZenLeadUnfitLeader", "keep"),
    ("ZenLeadPortUnresolved", "odd"),
    ("ZenLeadInvariantBroken", "web"),
    ("ZenLeadLeaderFlapping", "web"),
    ("ZenLeadReconcileErrors", "web"),
    ("ZenLeadReplicaDown", None),
}
PENDING = {("ZenLeadPausedLong", "still"), ("ZenLeadNoStandby", "still")}
# Nothing of the kind happens here, so they have no series: a task that dies, the limit's own absence.
WITHOUT_DATA = {"zen_lead_task_restarts_total"}


class Prometheus:
    """A running server, asked over its API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self.url}/api/v1/{path}", params=query) as response:
            body = await response.json()
        assert body["status"] == "success", (query, body)
        return body["data"]

    async def now(self, expr: str) -> list[Sample]:
        """An instant query."""
        found = await self.get("query", query=expr)
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in found["result"]]

    async def then(
        self, expr: str, began: float, ended: float
    ) -> list[tuple[Mapping[str, str], list[float]]]:
        """A range query: each series with its values."""
        query = {"query": expr, "start": f"{began}", "end": f"{ended}", "step": f"{SCRAPE_S}"}
        found = (await self.get("query_range", **query))["result"]
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in found]


@contextlib.asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """Scrapes ``targets``, which are instance names and addresses."""
    program = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
    assert program, "needs the program prometheus: apt-get install prometheus, or PROMETHEUS=/path/to/it"
    job = {
        "job_name": promql.JOB,
        "honor_labels": True,
        "static_configs": [
            {"targets": [address], "labels": {"instance": name}} for name, address in targets.items()
        ],
    }
    every = f"{SCRAPE_S:g}s"
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": "4s", "evaluation_interval": every},
        "rule_files": [str(RULES)],
        "scrape_configs": [job],
    }
    file, log, port = folder / "prometheus.yml", folder / "prometheus.log", free_port()
    file.write_text(json.dumps(config))
    command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    process = spawn(command, log=log)
    try:
        async with aiohttp.ClientSession() as session:
            server = Prometheus(f"http://127.0.0.1:{port}", session)

            async def ready() -> bool:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{server.url}/-/ready") as response:
                        return response.status == 200
                return False

            await eventually(ready, f"Prometheus is ready: {tail(log)}", timeout_s=30.0)
            yield server
    finally:
        stop(process)


@pytest.mark.timeout(1800)
async def test_rules_and_dashboard_on_a_real_prometheus(
    namespace: Namespace,
    recorder: Recorder,
    proxy: FaultProxy,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> None:
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    deeds = Deeds(namespace, recorder, proxy)
    async with Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        first = await zenlead_process(kubeconfig=config, env=environment)
        await eventually(lambda: leads(first), "the first replica leads")
        second = await zenlead_process()
        targets = {"a": address_of(first), "b": address_of(second)}
        async with prometheus(tmp_path, targets) as server:
            began = (await server.now("time()"))[0].value

            async def turn() -> None:
                await asyncio.sleep(TURN_S)

            await deeds.tell(turn, second.kill)
            await figures_are_equal(server, deeds, namespace.name)
            await asyncio.sleep(REPLICA_DOWN_S)
            ended = (await server.now("time()"))[0].value
            lines = [f"{ended - began:.0f} s, scraped every {SCRAPE_S:g} s"]
            lines += await of_the_dashboard(server, began, ended)
            lines += await of_the_rules(server, began, ended)
            lines += await of_exemplars(server, collector, began, ended)
    print("", *lines, sep="\n")


async def leads(process: ZenleadProcess) -> bool:
    return (await process.metrics())["zen_lead_leader_election_is_leader"] == 1


def address_of(process: ZenleadProcess) -> str:
    return process.metrics_url.removeprefix("http://").removesuffix("/metrics")


async def figures_are_equal(server: Prometheus, deeds: Deeds, namespace: str) -> None:
    """What Prometheus holds is what was done."""
    here = f'namespace="{namespace}"'

    async def by(label: str, expr: str) -> dict[str, float]:
        return {
            s.labels.get(label, ""): s.value
            for s in await server.now(f"sum by ({label}) ({expr})")
            if s.value
        }

    failovers = await by("reason", f'zen_lead_failover_count_total{{{here},service="web"}}')
    assert failovers == deeds.failovers
    timed = await by("reason", f'zen_lead_failover_latency_seconds_count{{{here},service="web"}}')
    assert timed == deeds.failovers
    assert sum(failovers.values()) == deeds.moves()
    writes = await by("resource", "zen_lead_writes_total")
    assert writes["endpointslices"] == deeds.written()
    assert (await by("service", "zen_lead_invariant_violations_total")) == {"web": 1}
    services = await by("namespace", "zen_lead_leader_services_total")
    assert services == {namespace: len(await deeds.leader_services())} == {namespace: 5}
    slices = await by("namespace", "zen_lead_endpointslices_total")
    assert slices == {namespace: len(await deeds.slices())}
    failed = (await by("service", "zen_lead_endpoint_write_errors_total"))["web"]
    again = (await by("service", "zen_lead_retry_attempts_total")).get("web", 0)
    assert failed + again == len(deeds.refused)
    assert not await server.now('{service="solo"}'), "who opted out has no series"
    leaderless = {
        s.labels["service"]: s.labels["reason"] for s in await server.now("zen_lead_leaderless_seconds")
    }
    assert leaderless == {"none": "NoPodsFound", "odd": "PortUnresolved"}


async def of_the_dashboard(server: Prometheus, began: float, ended: float) -> list[str]:
    """A line for each query, with what it showed; every one has data."""
    lines, empty = ["", "| panel | query | series | last values |", "|---|---|---|---|"], []
    for query in promql.of_dashboard(rate_interval=RATE_INTERVAL, within=RANGE):
        if query.instant:
            found = [(s.labels, [s.value]) for s in await server.now(query.expr)]
        else:
            found = await server.then(query.expr, began, ended)
        lines.append(f"| {query.title} | `{short(query)}` | {len(found)} | {shown(found)} |")
        if not found and not any(name in query.expr for name in WITHOUT_DATA):
            empty.append(query)
    assert empty == []
    return lines


def short(query: Question) -> str:
    labels = 'job=~".+",instance=~".*"'
    expr = query.expr.replace(f'{labels},namespace=~".*",service=~".*"', "…")
    return expr.replace(f'{labels},namespace=~".*"', "…").replace(labels, "…").replace("|", "\\|")


def shown(found: list[tuple[Mapping[str, str], list[float]]]) -> str:
    """The last number of each series, the largest first; of what came and went, the largest ever too."""
    numbers = [(labels, [v for v in values if not math.isnan(v)] or [math.nan]) for labels, values in found]
    numbers.sort(key=lambda one: -max(one[1]))
    named = [
        f"{','.join(v for k, v in labels.items() if k != '__name__') or 'all'}: {values[-1]:.4g}"
        + (f" (max {max(values):.4g})" if max(values) > values[-1] else "")
        for labels, values in numbers[:6]
    ]
    return "; ".join(named)


async def of_the_rules(server: Prometheus, began: float, ended: float) -> list[str]:
    """Every rule is healthy, looks at data, and fires where it should."""
    rules = [rule for group in (await server.get("rules"))["groups"] for rule in group["rules"]]
    assert len(rules) == len(promql.of_rules())
    assert [rule for rule in rules if rule["health"] != "ok"] == []
    blind = [
        (alert.title, part)
        for alert in promql.of_rules()
        for part in promql.parts(alert.expr)
        if not any(name in part for name in WITHOUT_DATA) and not await server.then(part, began, ended)
    ]
    assert blind == []
    states: dict[str, set[tuple[str, str | None]]] = {"firing": set(), "pending": set()}
    for alert in (await server.get("alerts"))["alerts"]:
        states[alert["state"]].add((alert["labels"]["alertname"], alert["labels"].get("service")))
    assert states["firing"] >= FIRING
    assert states["firing"] | states["pending"] >= PENDING
    ever = await server.then('ALERTS{alertstate="firing"}', began, ended)
    count = Counter(labels["alertname"] for labels, _ in ever)
    lines = ["", "| alert | in the end | fired for so many series |", "|---|---|---|"]
    alerting = [rule for rule in rules if rule["type"] == "alerting"]
    lines += [f"| {rule['name']} | {rule['state']} | {count[rule['name']]} |" for rule in alerting]
    assert not {name for name in count if name in {"ZenLeadDown", "ZenLeadNobodyLeads", "ZenLeadSeveralLead"}}
    return lines


async def of_exemplars(server: Prometheus, collector: Collector, began: float, ended: float) -> list[str]:
    """Each failover's exemplar names a trace that the collector has."""
    query = {
        "query": "zen_lead_failover_latency_seconds_bucket",
        "start": f"{began}",
        "end": f"{ended}",
    }
    found = [one for series in await server.get("query_exemplars", **query) for one in series["exemplars"]]
    traces = {one["labels"]["trace_id"] for one in found}
    assert traces
    for trace in traces:
        assert [span.name for span in collector.trace(trace)][:2] == ["reconcile", "wait"]
    return ["", f"{len(traces)} exemplars of failovers, each with its trace at the collector"]
