"""From few namespaces with opted-in Services to many and back: the watches change, and nobody notices."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.cluster.scene import Namespace, eventually
from zenlead.controller.scope import LINGER_S, NARROW_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cluster.client import KubeClient
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.zenlead_process import ZenleadProcess

SERIES = re.compile(r'zen_lead_informer_last_event_age_seconds{resource="(pods[^"]*)"}')
FAILOVER_S = 3.0  # on two busy cores; without a watch on the pods it would never be made


@pytest.fixture
async def spaces(admin: KubeClient) -> AsyncIterator[list[Namespace]]:
    made = [Namespace(admin, f"many-{uuid.uuid4().hex[:8]}") for _ in range(NARROW_LIMIT + 1)]
    for space in made:
        await space.open()
        for pod in ("web-0", "web-1"):
            await space.pod(pod)
    yield made
    for space in made:
        await space.close()


async def watches(process: ZenleadProcess) -> set[str]:
    _, text = await process.http(process.metrics_url)
    return set(SERIES.findall(text))


async def leader(space: Namespace) -> str:
    found = await space.slices_of("web-leader")
    return str(found[0]["endpoints"][0]["targetRef"]["name"]) if found and found[0]["endpoints"] else ""


async def fails_over(space: Namespace) -> None:
    old = await leader(space)
    new = {"web-0": "web-1", "web-1": "web-0"}[old]
    await space.pod_status(new, ready=True)
    await space.pod_status(old, ready=False)

    async def moved() -> bool:
        return await leader(space) == new

    await eventually(moved, f"{space.name}: {old} to {new}", timeout_s=FAILOVER_S)


@pytest.mark.timeout(180)
async def test_from_few_to_many_and_back(spaces: list[Namespace], zenlead_process: StartZenlead) -> None:
    process = await zenlead_process("--watch-namespaces=")
    few, one_more = spaces[:-1], spaces[-1]
    for space in few:
        await space.service("web")

    async def all_led() -> bool:
        return all([await leader(space) for space in few])

    await eventually(all_led, "each has a leader", timeout_s=20.0)
    assert await watches(process) == {f"pods in {space.name}" for space in few}

    async def churn() -> int:
        count = 0
        while True:
            for space in few[:3]:
                await fails_over(space)
                count += 1
            if "pods" in await watches(process) and len(await watches(process)) == 1:
                return count

    churning = asyncio.create_task(churn())
    await asyncio.sleep(0.2)
    await one_more.service("web")
    assert await asyncio.wait_for(churning, 60.0) >= 3
    await eventually(lambda: has_leader(one_more), "the new one has a leader", timeout_s=10.0)
    for space in spaces:
        await fails_over(space)

    for space in spaces[3:]:
        await space.annotate("web", {"zen-lead.io/enabled": None})
    back = {f"pods in {space.name}" for space in spaces[:3]}

    async def is_back() -> bool:
        for space in spaces[:3]:
            await fails_over(space)
        return await watches(process) == back

    await eventually(is_back, "watched singly again", timeout_s=LINGER_S + 20.0)
    for space in spaces[:3]:
        await fails_over(space)
    await process.ready(timeout_s=5.0)


async def has_leader(space: Namespace) -> bool:
    return bool(await leader(space))
