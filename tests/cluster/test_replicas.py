"""Several replicas, one Lease: who leads, who takes over and how soon, and what the Lease looks like."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.cluster.faultproxy import refusal
from tests.cluster.scene import eventually
from zenlead.kube.resources import LEASES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.client import Object
    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
LEASE = "zen-lead-controller-leader-election"
LEASE_DURATION_S = 3.0
RETRY_PERIOD_S = 0.5
FAST = (
    f"--leader-election-lease-duration={LEASE_DURATION_S:.0f}s",
    "--leader-election-renew-deadline=2s",
    f"--leader-election-retry-period={RETRY_PERIOD_S * 1000:.0f}ms",
)
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
JITTER = 1.2  # retry periods are drawn this much longer at most
SLACK_S = 0.7  # for a busy machine


def now() -> float:
    return asyncio.get_running_loop().time()


async def lease(where: Namespace) -> Object:
    """Its spec; empty while there is none: a replica is ready a moment before it has made the first."""
    found = await where.client.find(LEASES, where.name, LEASE)
    spec: Object = found["spec"] if found else {}
    return spec


async def holds(where: Namespace, name: str, *, timeout_s: float) -> float:
    """Returns the loop's time at which the Lease was seen to name ``name``."""

    async def named() -> bool:
        return (await lease(where)).get("holderIdentity") == name

    await eventually(named, f"{name} holds the Lease", timeout_s=timeout_s)
    return now()


@pytest.mark.parametrize(
    ("ends", "within_s"),
    [
        ("politely", RETRY_PERIOD_S * JITTER + SLACK_S),
        ("by a kill", LEASE_DURATION_S + RETRY_PERIOD_S * JITTER + SLACK_S),
    ],
    ids=["politely", "by a kill"],
)
async def test_the_second_takes_over(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead, ends: str, within_s: float
) -> None:
    await pods.service("web")
    first = await zenlead_process(*FAST)
    await holds(pods, "zenlead-0", timeout_s=5.0)
    second = await zenlead_process(*FAST)  # returns when the standby is ready, too
    assert (await second.http(f"{second.health_url}/readyz"))[0] == 200
    assert (await second.http(f"{second.health_url}/healthz"))[0] == 200
    await recorder.wait_leader(SLICE, "web-0")
    # Twice what a Lease lasts: the standby does not take what is held.
    await asyncio.sleep(2 * LEASE_DURATION_S)
    assert (await lease(pods))["holderIdentity"] == "zenlead-0"
    assert (await lease(pods))["leaseTransitions"] == 0
    started = now()
    if ends == "politely":
        first.terminate()
        assert await first.wait() == 0
        started = now()
    else:
        first.kill()
    await pods.pod_status("web-0", ready=False)
    moved = await recorder.wait_leader(SLICE, "web-1", timeout_s=within_s + 5.0)
    assert moved.at - started <= within_s
    assert (await lease(pods))["holderIdentity"] == "zenlead-1"
    assert (await lease(pods))["leaseTransitions"] >= 1
    await recorder.quiet(0.6)
    assert [r.leaders for r in recorder.slice(SLICE)] == [("web-0",), ("web-1",)]


async def test_the_lease_is_written_as_the_server_wants_it(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    process = await zenlead_process(*FAST)
    await recorder.wait_leader(SLICE, "web-0")
    seen: set[str] = set()

    async def renewed() -> bool:
        spec = await lease(pods)
        assert MICRO_TIME.fullmatch(spec["renewTime"])
        assert MICRO_TIME.fullmatch(spec["acquireTime"])
        assert spec["leaseDurationSeconds"] == LEASE_DURATION_S
        seen.add(spec["renewTime"])
        return len(seen) >= 3

    await eventually(renewed, "three renewals")
    process.terminate()
    assert await process.wait() == 0
    assert not (await lease(pods)).get("holderIdentity")


async def test_a_lease_that_is_refused_shows(
    pods: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    await pods.service("web")
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", pods.name)
    message = "Lease in version v1 cannot be handled as a Lease: parsing time"
    rule = proxy.on(lambda a: a.is_write and a.of(LEASES), refusal(400, "BadRequest", message))
    process = await zenlead_process(*FAST, kubeconfig=config, ready=False)

    async def shown() -> bool:
        status, text = await process.http(f"{process.health_url}/readyz")
        return status == 503 and message in text

    await eventually(shown, "/readyz says what is wrong with the Lease")
    assert any(r["level"] == "error" and message in str(r) for r in process.records)
    assert (await process.http(f"{process.health_url}/healthz"))[0] == 200, "a restart would not help"
    assert len(rule.struck) <= 3 + 10.0 / RETRY_PERIOD_S
    assert recorder.slice(SLICE) == []
    rule.lift()
    await recorder.wait_leader(SLICE, "web-0")
    await process.ready()
