"""Two hundred Services in as many namespaces come and go on a real server, and so do their series."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from tests.cluster.scene import NAMESPACES, Namespace, eventually
from zenlead.kube.resources import SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import KubeClient
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.zenlead_process import ZenleadProcess

MANY = 200
AT_A_TIME = 20  # requests of the test under way
WITHIN_S = 60.0  # of the last deletion


async def test_series_of_200_namespaces_come_and_go(
    admin: KubeClient, namespace: Namespace, zenlead_process: StartZenlead
) -> None:
    zenlead = await zenlead_process("--watch-namespaces=", "--qps=0")
    run = uuid.uuid4().hex[:8]
    # What is about no Service in particular begins with the first of them and stays.
    await life(admin, zenlead, [f"warm-{run}-{number}" for number in range(3)])
    before = set(await zenlead.metrics())
    assert not [name for name in before if run in name]
    most = await life(admin, zenlead, [f"many-{run}-{number:03d}" for number in range(MANY)])
    assert set(await zenlead.metrics()) == before
    assert len(most) > len(before) + 20 * MANY


async def life(admin: KubeClient, zenlead: ZenleadProcess, names: list[str]) -> set[str]:
    """A Service in each namespace; then a third each opts out, is deleted, goes with its namespace. The
    series while all were there."""
    run = names[0].rpartition("-")[0]
    spaces = [Namespace(admin, name) for name in names]
    turns = asyncio.Semaphore(AT_A_TIME)

    async def begin(space: Namespace) -> None:
        async with turns:
            await space.open()
            await space.service("web")

    async def end(number: int, space: Namespace) -> None:
        async with turns:
            if number % 3 == 0:
                await space.annotate("web", {"zen-lead.io/enabled": None})
            elif number % 3 == 1:
                await space.client.delete_all(SERVICES, space.name)
            else:
                await space.client.delete(NAMESPACES, None, space.name)

    async def all_there() -> set[str] | None:
        found = await zenlead.metrics()
        ours = [name for name in found if run in name and name.startswith("zen_lead_leader_services_total")]
        return set(found) if sum(found[name] for name in ours) == len(names) else None

    async def none_left() -> bool:
        return not [name for name in await zenlead.metrics() if run in name]

    await asyncio.gather(*map(begin, spaces))
    most = await eventually(all_there, "a leader Service in each", timeout_s=WITHIN_S)
    await asyncio.gather(*(end(number, space) for number, space in enumerate(spaces)))
    await eventually(none_left, "no series of any of them", timeout_s=WITHIN_S)
    for number, space in enumerate(spaces):
        if number % 3 != 2:
            await space.client.delete(NAMESPACES, None, space.name)
    return most
