"""The metrics of a real run, checked against what the test did to the cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES

if TYPE_CHECKING:
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
REASONS = (
    *("deleted", "deselected", "finished", "noIP", "notReady"),
    *("portUnresolved", "preempted", "terminating"),
)


async def test_figures_are_what_was_done(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    zenlead = await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    where = f'namespace="{pods.name}"'
    web = f'{where},service="web"'

    def failovers(found: dict[str, float]) -> dict[str, float]:
        return {
            reason: found[f'zen_lead_failover_count_total{{{where},reason="{reason}",service="web"}}']
            for reason in REASONS
        }

    async def stable() -> dict[str, float] | None:
        """The metrics once nothing is left to write."""
        found = await zenlead.metrics()
        return found if found.get(f"zen_lead_leader_stable{{{web}}}") == 1 else None

    first = await eventually(stable, "a stable leader")
    assert failovers(first) == dict.fromkeys(REASONS, 0), "a first election is no failover"
    began = asyncio.get_running_loop().time()
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1")
    await recorder.quiet(0.6)
    await pods.relabel("web-1", {"app": "other"})
    await recorder.wait_leader(SLICE, "web-2")
    moved = asyncio.get_running_loop().time()
    await recorder.quiet(0.6)
    found = await eventually(stable, "a stable leader again")
    lasted = asyncio.get_running_loop().time() - moved

    assert failovers(found) == dict.fromkeys(REASONS, 0) | {"notReady": 1, "deselected": 1}
    for reason in ("notReady", "deselected"):
        labels = f'{where},reason="{reason}",service="web"'
        assert found[f"zen_lead_failover_latency_seconds_count{{{labels}}}"] == 1
        assert 0 < found[f"zen_lead_failover_latency_seconds_sum{{{labels}}}"] < moved - began
    assert found[f"zen_lead_pods_available{{{web}}}"] == 1
    # Leader Services tell the time of a switch in whole seconds.
    assert found[f"zen_lead_leader_duration_seconds{{{web}}}"] == pytest.approx(lasted, abs=1.5)
    assert found[f"zen_lead_leader_pod_age_seconds{{{web}}}"] > lasted + 0.5
    assert found[f"zen_lead_unavailable_seconds_total{{{web}}}"] < 0.5
    assert found[f"zen_lead_leader_services_total{{{where}}}"] == 1
    assert found[f"zen_lead_endpointslices_total{{{where}}}"] == 1
    assert sum_of(found, "zen_lead_writes_total", 'resource="endpointslices"') == recorder.writes(
        ENDPOINT_SLICES, SLICE
    )
    passes = sum_of(found, "zen_lead_reconciliations_total", f'{where},result="')
    assert passes == sum_of(found, "zen_lead_reconciliation_duration_seconds_count", f'{where},result="')
    assert found["zen_lead_leader_election_is_leader"] == 1


async def test_series_go_with_their_service(pods: Namespace, zenlead_process: StartZenlead) -> None:
    zenlead = await zenlead_process()

    async def about_the_namespace() -> list[str]:
        return [name for name in await zenlead.metrics() if f'namespace="{pods.name}"' in name]

    async def none_is_left() -> bool:
        return not await about_the_namespace()

    assert await about_the_namespace() == []
    await pods.service("web")
    await eventually(about_the_namespace, "series of the Service")
    await pods.annotate("web", {"zen-lead.io/enabled": None})
    await eventually(none_is_left, "no series of the Service any more")


async def test_without_series_for_each_service(pods: Namespace, zenlead_process: StartZenlead) -> None:
    await pods.service("web")
    await pods.service("api", selector={"app": "web"})
    zenlead = await zenlead_process("--metrics-per-service=false")
    sums = f'{{namespace="{pods.name}",service=""}}'

    async def both_stable() -> dict[str, float] | None:
        found = await zenlead.metrics()
        return found if found.get(f"zen_lead_leader_stable{sums}") == 2 else None

    found = await eventually(both_stable, "two Services with stable leaders")
    assert not [name for name in found if 'service="web"' in name or 'service="api"' in name]
    assert found[f"zen_lead_leader_service_without_endpoints{sums}"] == 0
    assert found[f"zen_lead_pods_available{sums}"] == 6
    assert found[f'zen_lead_leader_services_total{{namespace="{pods.name}"}}'] == 2


def sum_of(found: dict[str, float], name: str, labels: str) -> float:
    return sum(
        value for series, value in found.items() if series.startswith(f"{name}{{") and labels in series
    )
