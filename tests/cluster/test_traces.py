"""One failover as a collector of traces sees it, and collectors that are not there."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.otlp import BlackHole, Collector
from tests.cluster.scene import eventually
from tests.cluster.zenlead_process import ROOT
from zenlead.kube.resources import LEASES

if TYPE_CHECKING:
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.otlp import Span
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SLICE = "web-leader"
LEASE = "zen-lead-controller-leader-election"
KEY = "k-5ecret"  # what collectors are paid with
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
EXEMPLAR = re.compile(r'^(\S+)_bucket{.*} \S+ # {trace_id="(\w+)"} (\S+) ', re.MULTILINE)
# Failovers take some 20 ms; a reconcile that waited for its exporter would take seconds.
FAILOVER_S = 1.0
# Give the Lease back, then spend at most two seconds on what is not sent yet.
EXIT_S = 10.0


def environment(url: str) -> dict[str, str]:
    """As users say it; batches go out at once, so that nobody has to wait for them here."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={KEY}",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }


async def said(process: ZenleadProcess, event: str, **fields: Any) -> dict[str, Any]:
    """The first line of a log with these fields."""

    async def look() -> dict[str, Any] | None:
        wanted = {"event": event} | fields
        found = (line for line in process.records if wanted.items() <= line.items())
        return next(found, None)

    return await eventually(look, f"a line {event} {fields}")


def documented() -> dict[str, set[str]]:
    """The spans of docs/observability.md and the attributes of each."""
    page = (ROOT / "docs" / "observability.md").read_text()
    table = re.search(r"<!-- spans:begin -->(.*?)<!-- spans:end -->", page, re.DOTALL)
    assert table
    rows = [line.split("|")[1:-1] for line in table[1].strip().splitlines()[2:]]
    return {re.findall(r"`(.+?)`", row[0])[0]: set(re.findall(r"`(.+?)`", row[2])) for row in rows}


async def test_one_failover_is_one_trace(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    async with Collector() as collector:
        await pods.service("web")
        zenlead = await zenlead_process(env=environment(collector.url))
        await recorder.wait_leader(SLICE, "web-0")
        await recorder.quiet(0.6)
        await pods.pod_status("web-0", ready=False)
        await recorder.wait_leader(SLICE, "web-1")
        line = await said(zenlead, "leader.changed", reason="notReady")
        spans = await collector.whole(line["trace_id"])
        by_name = {span.name: span for span in spans}
        root, move = by_name["reconcile"], by_name["patch endpointslices"]
        assert_story(spans, pods.name)
        assert line["span_id"] == root.span_id
        assert move.ended - root.began == pytest.approx(line["ms"] / 1000, abs=0.02)
        assert root.resource["service.name"] == "zenlead"
        assert root.resource["deployment.environment.name"] == "test"
        await assert_exemplars(zenlead, line)
        table = documented()
        for span in collector.spans:
            assert set(span.attributes) <= table[span.name], span
        for span in spans[:4]:
            assert set(span.attributes) == table[span.name], "in a failover all are told"
        assert {headers["api-key"] for headers in collector.headers} == {KEY}
        zenlead.terminate()
        assert await zenlead.wait(EXIT_S) == 0
    assert not [text for text in zenlead.lines if KEY in text]
    assert not [line for line in zenlead.records if line["event"] == "telemetry.lost"]


def assert_story(spans: list[Span], namespace: str) -> None:
    """From the event to the acknowledged write, each part within the whole and after the one before."""
    root, *parts = spans[:4]
    assert [span.name for span in spans[:4]] == ["reconcile", "wait", "decide", "patch endpointslices"]
    assert root.parent_id == ""
    assert root.attributes == {
        "k8s.namespace.name": namespace,
        "k8s.service.name": "web",
        "zen_lead.lane": "urgent",
        "zen_lead.result": "requeue",
    }
    assert {part.parent_id for part in parts} == {root.span_id}
    wait, decide, move = parts
    assert decide.attributes == {
        "zen_lead.routing": "LeaderElected",
        "zen_lead.previous": "web-0",
        "zen_lead.leader": "web-1",
        "zen_lead.reason": "notReady",
        "zen_lead.writes": decide.attributes["zen_lead.writes"],
    }
    assert move.attributes["zen_lead.object"] == SLICE
    assert move.attributes["zen_lead.result"] == "success"
    assert wait.began == pytest.approx(root.began, abs=0.001)
    assert root.began <= wait.ended <= decide.began <= decide.ended <= move.began <= move.ended <= root.ended
    assert all(span.error is None for span in spans)


async def assert_exemplars(zenlead: ZenleadProcess, line: dict[str, Any]) -> None:
    """The histograms of failovers lead to the trace, for who asks for OpenMetrics."""
    _, text = await zenlead.http(zenlead.metrics_url, OPENMETRICS)
    found = {name: (trace, float(seconds)) for name, trace, seconds in EXEMPLAR.findall(text)}
    assert set(found) == {
        "zen_lead_failover_latency_seconds",
        "zen_lead_leader_switch_duration_seconds",
    }
    for trace, seconds in found.values():
        assert trace == line["trace_id"]
        assert seconds == pytest.approx(line["ms"] / 1000, abs=0.0001)


@pytest.mark.parametrize("kind", ["refused", "silent"])
async def test_a_dead_collector_delays_nothing(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead, kind: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        url = "http://127.0.0.1:9"
        if kind == "silent":
            hole = await stack.enter_async_context(BlackHole())
            url = hole.url
        await pods.service("web")
        zenlead = await zenlead_process(env=environment(url))
        await recorder.wait_leader(SLICE, "web-0")
        for lost, next_one in (("web-0", "web-1"), ("web-1", "web-2"), ("web-2", "web-0")):
            await pods.pod_status(next_one, ready=True)
            await pods.pod_status(lost, ready=False)
            line = await said(zenlead, "leader.changed", **{"from": lost})
            assert line["ms"] < FAILOVER_S * 1000
        if kind == "silent":
            assert hole.taken
        zenlead.terminate()
        assert await zenlead.wait(EXIT_S) == 0
    lease = await pods.client.find(LEASES, pods.name, LEASE)
    assert lease is not None
    assert not lease["spec"].get("holderIdentity"), "it was given back"
    complaints = [line for line in zenlead.records if line["event"] == "library.said"]
    assert len(complaints) < 20, "a collector that stays away does not fill the log"
    assert not [text for text in zenlead.lines if KEY in text]
