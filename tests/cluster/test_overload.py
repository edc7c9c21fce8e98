"""Too much at once: failing writes are paced, hanging ones hold nobody up, and patience is had if asked."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from tests.cluster.faultproxy import Answer, Hang, refusal
from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.faultproxy import Asked, FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

MANY = 120
FAULT_S = 12.0
QPS, BURST = 40, 40
HEALED_WITHIN_S = 60.0
WORKERS = 10  # of the routine lane
HANGING = 12
BACKLOG = 40
RETRY_PERIOD_S = 2.0
SLACK_S = 1.0  # for a busy machine
RETRY_AFTER_S = 3


def now() -> float:
    return asyncio.get_running_loop().time()


def is_work(asked: Asked) -> bool:
    return asked.is_write and (asked.of(SERVICES) or asked.of(ENDPOINT_SLICES))


async def opted_in_later(where: Namespace, names: list[str]) -> None:
    """Services with a pod each, not opted in yet."""
    for name in names:
        await where.pod(f"{name}-0", labels={"app": name})
        await where.service(name, enabled=False)


async def opt_in(where: Namespace, names: list[str]) -> None:
    for name in names:
        await where.annotate(name, {"zen-lead.io/enabled": "true"})


async def test_a_hundred_services_whose_writes_all_fail(
    namespace: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    names = [f"s{number}" for number in range(MANY)]
    await opted_in_later(namespace, names)
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    await zenlead_process(f"--qps={QPS}", f"--burst={BURST}", kubeconfig=config)
    broken = proxy.on(is_work, refusal(500, "InternalError"))
    started = now()
    await opt_in(namespace, names)
    await asyncio.sleep(FAULT_S)
    took_s = now() - started
    broken.lift()
    healed = now()
    assert MANY <= len(broken.struck) <= BURST + QPS * took_s
    for name in names:
        left_s = HEALED_WITHIN_S - (now() - healed)
        await recorder.wait_leader(f"{name}-leader", f"{name}-0", timeout_s=max(left_s, 0.1))


async def test_hanging_writes_and_a_backlog_delay_neither_a_failover_nor_the_lease(
    pods: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    await pods.service("web")
    hanging = [f"h{number}" for number in range(HANGING)]
    waiting = [f"s{number}" for number in range(BACKLOG)]
    await opted_in_later(pods, hanging + waiting)
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", pods.name)
    await zenlead_process("--qps=15", "--burst=15", kubeconfig=config)
    await recorder.wait_leader("web-leader", "web-0")
    await recorder.quiet(1.0)
    hang = proxy.on(lambda a: is_work(a) and a.method == "POST" and a.of(SERVICES), Hang())
    await opt_in(pods, hanging + waiting)

    async def all_hang() -> bool:
        return len(hang.struck) >= WORKERS

    await eventually(all_hang, "every worker of the routine lane hangs")
    began = now()
    for leader, following in itertools.pairwise(("web-0", "web-1", "web-2")):
        failed_at = now()
        await pods.pod_status(leader, ready=False)
        await recorder.wait_leader("web-leader", following, since=failed_at, timeout_s=SLACK_S)
    await asyncio.sleep(8.0)
    renewed = [
        a.at for a in proxy.asked if a.is_write and a.of(LEASES) and a.at >= began - RETRY_PERIOD_S * 2
    ]
    assert len(renewed) >= 3
    assert max(b - a for a, b in itertools.pairwise(renewed)) <= RETRY_PERIOD_S * 1.2 + SLACK_S
    hang.lift()


async def test_a_server_that_asks_for_patience_gets_it(
    namespace: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    names = [f"s{number}" for number in range(10)]
    await opted_in_later(namespace, names)
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    await zenlead_process(kubeconfig=config)
    busy = refusal(429, "TooManyRequests")
    busy = Answer(429, busy.body, {"Retry-After": str(RETRY_AFTER_S)})
    rule = proxy.on(lambda a: is_work(a) and a.method == "POST", busy, times=1)
    await opt_in(namespace, names)
    for name in names:
        await recorder.wait_leader(f"{name}-leader", f"{name}-0", timeout_s=10.0 + RETRY_AFTER_S)
    (told,) = rule.struck
    # What was under way at that moment may still arrive; after that the whole lane is silent.
    early = [a for a in proxy.asked if is_work(a) and 0.5 < a.at - told.at < RETRY_AFTER_S - 0.1]
    assert early == []
