"""The elector and the recorder against the API servers: what they write is accepted and holds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from zenlead.kube.facts import LeaseFailed
from zenlead.kube.lease import ElectionOptions, Elector
from zenlead.kube.recorder import ObjectReference, Recorder
from zenlead.kube.resources import EVENTS, LEASES

if TYPE_CHECKING:
    from tests.contract.world import World

PATIENCE_S = 20.0  # for what takes about a second on an idle machine


def _elector(world: World, name: str, facts: list[Any]) -> Elector:
    options = ElectionOptions(
        name, world.namespace, "lock", lease_duration_s=4, renew_deadline_s=3, retry_period_s=0.2
    )
    return Elector(world.api, options, facts.append)


async def test_a_lease_is_taken_kept_restored_and_handed_over(world: World) -> None:
    facts: list[Any] = []
    a, b = _elector(world, "a", facts), _elector(world, "b", facts)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(a.run())
        await a.wait_leading()
        tasks.create_task(b.run())
        first = await world.get(LEASES, "lock")
        await asyncio.sleep(0.7)
        second = await world.get(LEASES, "lock")
        assert second["spec"]["renewTime"] > first["spec"]["renewTime"]
        assert second["spec"]["acquireTime"] == first["spec"]["acquireTime"]
        await world.delete(LEASES, "lock")
        await asyncio.sleep(0.7)
        assert (await world.get(LEASES, "lock"))["spec"]["holderIdentity"] == "a"
        assert (a.is_leader, b.is_leader, b.holder) == (True, False, "a")
        released_at = asyncio.get_running_loop().time()
        await a.release()
        await b.wait_leading()
        assert asyncio.get_running_loop().time() - released_at < 3, "b need not wait for the expiry"
        held = (await world.get(LEASES, "lock"))["spec"]
        assert (held["holderIdentity"], held["leaseTransitions"], held["leaseDurationSeconds"]) == ("b", 1, 4)
        await b.release()
    assert not [fact for fact in facts if isinstance(fact, LeaseFailed)]


async def test_an_event_is_accepted_and_told_once_by_two_replicas(world: World) -> None:
    facts: list[Any] = []
    web = ObjectReference("v1", "Service", world.namespace, "web", "5d1f4b6e-0000-4000-8000-000000000000")
    for identity in ("zen-lead-0", "zen-lead-1"):
        recorder = Recorder(world.api, identity, fence=lambda: 10.0, now=time.time, notify=facts.append)
        recorder.record(
            regarding=web,
            type="Warning",
            reason="NoReadyPods",
            action="Elect",
            note="no pod is ready: " + "ä" * 2000,
            dedup="web/epoch 7",
        )
        running = asyncio.create_task(recorder.run())
        async with asyncio.timeout(PATIENCE_S):
            while not (await world.list(EVENTS))["items"]:  # noqa: ASYNC110 - the server has no signal to wait on
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.wait([running])
    (told,) = (await world.list(EVENTS))["items"]
    assert told["reportingInstance"] == "zen-lead-0"
    assert told["regarding"]["name"] == "web"
    assert facts == []
