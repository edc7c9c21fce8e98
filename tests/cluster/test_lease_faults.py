"""A Lease that cannot be reached, is deleted under its holder or is another's; work that could delay it."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import os
from typing import TYPE_CHECKING

from tests.cluster.faultproxy import Answer, Hang
from tests.cluster.scene import eventually
from tests.cluster.test_handover import (
    DEADLINE_S,
    DURATION_S,
    FAST,
    LEASE,
    SLICE,
    falling,
    holds,
    is_work,
    now,
)
from zenlead.kube.resources import LEASES, PODS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.client import Object
    from tests.cluster.faultproxy import Asked, FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

HANG_S = 5.0
SLACK_S = 0.7  # a busy machine may let a timer or a probe be late by this much
PODS_COUNT = 20_000
RETRY_PERIOD_S = 2.0  # the default


def is_lease(asked: Asked) -> bool:
    return asked.of(LEASES)


def work_times(proxy: FaultProxy, since: float) -> list[float]:
    """When the replica behind ``proxy`` sent writes that only the holder may send."""
    return [asked.at for asked in proxy.asked if is_work(asked) and asked.at >= since]


async def says(process: ZenleadProcess, words: str) -> None:
    """/readyz is refused, and says why."""

    async def refused() -> bool:
        status, text = await process.http(f"{process.health_url}/readyz")
        return status == 503 and words in text

    await eventually(refused, f"/readyz says {words}", timeout_s=DURATION_S + 2.0)


async def test_lease_requests_that_hang_hand_over_both_ways(
    duo: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    configs: tuple[Path, Path],
    proxies: tuple[FaultProxy, FaultProxy],
) -> None:
    """Everything else works, so who is cut off has work to do and must not do it."""
    processes = [await zenlead_process(*FAST, kubeconfig=config) for config in configs]
    await holds(duo, "zenlead-0", timeout_s=5.0)
    await recorder.wait_leader(SLICE, "web-0")
    async with falling(duo, recorder):
        for leader, standby in ((0, 1), (1, 0)):
            await asyncio.sleep(1.0)
            renewed_at = max(a.at for a in proxies[leader].asked if is_lease(a))
            hang = proxies[leader].on(is_lease, Hang())
            hung_at = now()
            await holds(duo, f"zenlead-{standby}", timeout_s=DURATION_S + 2.0)
            await says(processes[leader], f"Lease {duo.name}/{LEASE}: ")
            assert (await processes[leader].http(f"{processes[leader].health_url}/healthz"))[0] == 200
            await asyncio.sleep(hung_at + HANG_S - now())
            hang.lift()
            await processes[leader].ready(timeout_s=DURATION_S + 2.0)
            last = max(work_times(proxies[leader], since=renewed_at))
            first = min(work_times(proxies[standby], since=renewed_at))
            assert last <= renewed_at + DEADLINE_S + SLACK_S
            assert last < first, "both wrote"
            assert work_times(proxies[leader], since=first) == []
    recorder.never_two_ready(SLICE)


async def test_a_lease_deleted_under_its_holder_is_restored_by_it(
    duo: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """A replica that has never seen the Lease starts meanwhile, and must not take that for a first start."""
    await zenlead_process(*FAST)
    await recorder.wait_leader(SLICE, "web-0")
    newcomer = await zenlead_process(*FAST)
    for _ in range(3):
        await duo.client.delete(LEASES, duo.name, LEASE)
        await holds(duo, "zenlead-0", timeout_s=2.0)
    newcomer.kill()
    await duo.client.delete(LEASES, duo.name, LEASE)
    await zenlead_process(*FAST)
    await asyncio.sleep(DURATION_S + 1.0)
    await holds(duo, "zenlead-0", timeout_s=0.0)


async def test_a_holder_that_cannot_see_its_lease_deleted_has_stopped_before_a_newcomer_acts(
    duo: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    configs: tuple[Path, Path],
    proxies: tuple[FaultProxy, FaultProxy],
) -> None:
    await zenlead_process(*FAST, kubeconfig=configs[0])
    await recorder.wait_leader(SLICE, "web-0")
    async with falling(duo, recorder):
        await asyncio.sleep(1.0)
        proxies[0].on(is_lease, Hang())
        hung_at = now()
        await duo.client.delete(LEASES, duo.name, LEASE)
        await zenlead_process(*FAST, kubeconfig=configs[1])
        await holds(duo, "zenlead-1", timeout_s=5.0)

        async def both_have_written() -> bool:
            return bool(work_times(proxies[1], since=hung_at))

        await eventually(both_have_written, "the newcomer writes")
    last, first = max(work_times(proxies[0], since=0.0)), min(work_times(proxies[1], since=0.0))
    assert hung_at < last < first, "both wrote"
    assert last <= hung_at + DEADLINE_S + SLACK_S
    recorder.never_two_ready(SLICE)


async def test_a_holder_with_a_longer_duration_is_not_robbed(
    duo: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """It renews less often than the candidate's own duration would allow."""

    def spec() -> Object:
        when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": "ghost", "leaseDurationSeconds": 60, "renewTime": when}

    await duo.client.create(LEASES, duo.name, {"metadata": {"name": LEASE}, "spec": spec()})
    await zenlead_process(*FAST)
    for _ in range(2):
        await asyncio.sleep(DURATION_S + 1.0)
        await duo.client.patch(LEASES, duo.name, LEASE, {"spec": spec()})
    assert (await duo.client.get(LEASES, duo.name, LEASE))["spec"]["holderIdentity"] == "ghost"
    assert recorder.slice(SLICE) == []


def many_pods(namespace: str, version: str) -> bytes:
    """The initial stream of a watch of pods, as the server sends it where there are many."""
    stamp = "2026-01-01T00:00:00Z"
    lines = []
    for number in range(PODS_COUNT):
        container = {
            "name": "main",
            "image": "registry.example/app:1",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": f"SETTING_{i}", "value": "x" * 20} for i in range(15)],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        }
        pod: Object = {
            "metadata": {
                "name": f"many-{number}",
                "namespace": namespace,
                "uid": f"00000000-0000-4000-8000-{number:012d}",
                "resourceVersion": version,
                "creationTimestamp": stamp,
                "labels": {"app": f"many-{number % 100}", "pod-template-hash": "5d8f"},
            },
            "spec": {"nodeName": "n1", "containers": [container]},
            "status": {
                "phase": "Running",
                "conditions": [
                    {"type": kind, "status": "True", "lastTransitionTime": stamp}
                    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
                ],
                "podIP": f"10.{number // 65536 + 100}.{number // 256 % 256}.{number % 256}",
                "podIPs": [{"ip": f"10.{number // 65536 + 100}.{number // 256 % 256}.{number % 256}"}],
            },
        }
        lines.append(json.dumps({"type": "ADDED", "object": {"kind": "Pod", "apiVersion": "v1", **pod}}))
    done = {"annotations": {"k8s.io/initial-events-end": "true"}, "resourceVersion": version}
    mark = {"kind": "Pod", "apiVersion": "v1", "metadata": done, "spec": {"containers": None}, "status": {}}
    lines.append(json.dumps({"type": "BOOKMARK", "object": mark}))
    return ("\n".join(lines) + "\n").encode()


FIRST_OF_MANY = json.dumps(
    {"metadata": {"resourceVersion": "1", "continue": "t", "remainingItemCount": PODS_COUNT}, "items": []}
).encode()


async def test_no_work_makes_a_renewal_late(
    namespace: Namespace,
    proxy: FaultProxy,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> None:
    """20,000 pods, listed anew while the Lease is held, on one CPU; Services that select among them; writes
    that hang in every place of a lane."""
    version = (await namespace.client.list(PODS, namespace.name))["metadata"]["resourceVersion"]
    streamed = proxy.on(
        lambda a: a.is_full and a.of(PODS) and a.is_watch, Answer(200, many_pods(namespace.name, version))
    )
    proxy.on(lambda a: a.is_full and a.of(PODS) and not a.is_watch, Answer(200, FIRST_OF_MANY))
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    await namespace.service("first", selector={"app": "nobody"})  # or no pods would be watched at all
    process = await zenlead_process("--leader-pod-cache-ttl-seconds=3", kubeconfig=config, ready=False)
    os.sched_setaffinity(process.pid, {0})
    await process.ready(timeout_s=60.0)
    await holds(namespace, "zenlead-0", timeout_s=5.0)
    started = now()
    lists = len(streamed.struck)

    async def watched() -> bool:
        return len(proxy.watches(PODS)) == 1

    for relist in range(1, 3):
        await eventually(watched, "the pods are watched")  # a watch ends every few seconds
        (stream,) = proxy.watches(PODS)
        gone = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 410, "reason": "Expired"}
        await stream.inject(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")

        async def listed_anew(count: int = lists + relist) -> bool:
            return len(streamed.struck) == count and len(proxy.watches(PODS)) == 1

        await eventually(listed_anew, "the pods are listed anew", timeout_s=30.0)
        await asyncio.sleep(RETRY_PERIOD_S)
    hung = proxy.on(is_work, Hang())
    for number in range(60):
        await namespace.service(f"s{number}", selector={"app": f"many-{number}"})

    async def many_hang() -> bool:
        return len(hung.struck) >= 10  # as many as the routine lane has places

    await eventually(many_hang, "writes hang", timeout_s=20.0)
    await asyncio.sleep(3 * RETRY_PERIOD_S)
    renewals = [a.at for a in proxy.asked if a.of(LEASES) and a.is_write and a.at >= started - RETRY_PERIOD_S]
    gaps = [later - sooner for sooner, later in itertools.pairwise(renewals)]
    assert max(gaps) <= RETRY_PERIOD_S + 1.0
    assert len(gaps) >= 5
    changes = [r for r in process.records if r["event"] == "election.changed"]
    assert [r["is_leader"] for r in changes] == [True]
    assert (await process.http(f"{process.health_url}/healthz"))[0] == 200
