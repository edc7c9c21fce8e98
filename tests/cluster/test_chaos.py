"""Two replicas under random faults while a hundred Services churn: never wrong, and soon right again.

``ZENLEAD_TEST_CHAOS_S`` makes it longer, ``ZENLEAD_TEST_SEED`` another one; figures are printed (``-s``).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.cluster.chaos import CONVERGES_S, Chaos
from tests.cluster.churn import Churn
from tests.cluster.faultproxy import FaultProxy
from tests.cluster.history import history, keep
from tests.cluster.invariants import Bounds, judge
from tests.cluster.ordeals import Replica
from tests.cluster.recorder import Recorder
from tests.cluster.test_churn import writes
from tests.cluster.witness import Witness, known_to_writers
from zenlead.kube.resources import LEASES, PODS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.invariants import Verdict
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SERVICES = 100
SEED = int(os.environ.get("ZENLEAD_TEST_SEED", "84"))  # of which six episodes are six kinds of ordeal
CHAOS_S = float(os.environ.get("ZENLEAD_TEST_CHAOS_S", "100"))
DEEDS_PER_S = 6.0
QUIET_S = 10.0
SETTLES_S = 60.0
AROUND_S = 240.0  # setting up, the last episode, settling and judging, on busy cores
LEASE = "zen-lead-controller-leader-election"
OPTIONS = (
    "--leader-election-lease-duration=3s",
    "--leader-election-renew-deadline=2s",
    "--leader-election-retry-period=500ms",
    # A watch that carries nothing is found out within 8.5 s, so that a dead one heals within the bound.
    "--leader-pod-cache-ttl-seconds=3",
)
# Every lapse counts alike: 2 s from when nothing excuses it any more.
BOUNDS = Bounds(unfit_s=2.0, unserved_s=2.0, stale_s=2.0)


@pytest.fixture
async def replicas(
    controlplane: ControlPlane, namespace: Namespace, zenlead_process: StartZenlead, tmp_path: Path
) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        made: list[Replica] = []
        for number in range(2):
            folder = tmp_path / f"proxy-{number}"
            folder.mkdir()
            proxy = FaultProxy(controlplane)
            stack.push_async_callback(proxy.stop)
            await proxy.start(folder)
            config = proxy.kubeconfig(folder / "kubeconfig", namespace.name)

            async def start(config: Path = config) -> ZenleadProcess:
                return await zenlead_process(*OPTIONS, kubeconfig=config, ready=False)

            made.append(Replica(proxy, Witness(proxy), start))
        yield made


@pytest.mark.timeout(CHAOS_S + AROUND_S)
async def test_chaos(namespace: Namespace, replicas: list[Replica], tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    churn = Churn(namespace, SEED, SERVICES)

    async def holder() -> str:
        lease = await namespace.client.get(LEASES, namespace.name, LEASE)
        name: str = lease["spec"].get("holderIdentity") or ""
        return name

    chaos = Chaos(replicas, SEED, holder)
    async with Recorder(namespace.client, namespace.name, also=(PODS,)) as recorder:
        await churn.populate()
        for replica in replicas:
            await replica.start()
            await replica.process.ready()
        await recorder.quiet(2.0, timeout_s=SETTLES_S)
        started = loop.time()
        async with asyncio.TaskGroup() as group:
            group.create_task(churn.run(CHAOS_S, DEEDS_PER_S))
            group.create_task(chaos.run(CHAOS_S))
        await recorder.quiet(2.0, timeout_s=SETTLES_S)
        before, written = len(recorder.log), [await writes(r.process) for r in replicas]
        await asyncio.sleep(QUIET_S)
        late = [f"{r.at:.1f}: {r.type} {r.resource}/{r.name}" for r in recorder.log[before:]]
        assert late == []
        assert [await writes(r.process) for r in replicas] == written
    excused = [(0.0, started), *chaos.excused]
    known = known_to_writers([r.witness for r in replicas], recorder.log)
    seen = history(recorder.log)
    verdict = judge(seen, bounds=BOUNDS, excused=excused, known=known)
    told = "\n".join(str(episode) for episode in chaos.episodes)
    print(
        f"\nseed {SEED}: {SERVICES} services, {churn.done.total()} deeds, {len(chaos.episodes)} episodes "
        f"({dict(chaos.counted)}); converged {converged_s(chaos, verdict):.1f} s after a heal at the latest; "
        f"{verdict}\n{told}"
    )
    assert verdict.faults == [], "\n".join([*verdict.faults, str(keep(seen, tmp_path)), told])
    assert converged_s(chaos, verdict) <= CONVERGES_S


def converged_s(chaos: Chaos, verdict: Verdict) -> float:
    """How long after a heal something was still wrong that had been so since before it."""
    return max(
        (
            lapse.end - episode.healed
            for episode in chaos.episodes
            for lapse in verdict.lapses
            if lapse.start < episode.healed < lapse.end
        ),
        default=0.0,
    )
