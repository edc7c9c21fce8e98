"""A storm in a whole controller: traffic first, Events when it is over, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulated.cluster import Cluster
from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, SERVICES, Resource

pytestmark = pytest.mark.virtual_clock

MANY = 200
# Each write takes its time, so that the storm is not over before anything else could be written.
WRITE_S = 0.2


async def test_events_wait_while_many_services_are_made() -> None:
    async with Cluster(seed=5) as cluster:
        loop = asyncio.get_running_loop()
        made: dict[Resource, list[float]] = {SERVICES: [], ENDPOINT_SLICES: [], EVENTS: []}
        create = cluster.network.create

        async def slowly(resource: Resource, namespace: str, body: bytes) -> bytes:
            if resource in made:
                await asyncio.sleep(WRITE_S)
                made[resource].append(loop.time())
            return await create(resource, namespace, body)

        cluster.network.create = slowly  # type: ignore[method-assign]
        await cluster.namespace("t1")
        for number in range(MANY):
            await cluster.service("t1", f"web{number}")
            await cluster.pod("t1", f"web{number}")
        await cluster.start()
        await asyncio.sleep(MANY)  # one Event after the other, each as slow as any write
        assert len(made[SERVICES]) == len(made[ENDPOINT_SLICES]) == MANY
        first, last = min(made[SERVICES]), max(made[ENDPOINT_SLICES])
        assert last - first > 3.0, "there was a storm"
        amid = [at for at in made[EVENTS] if first + 1.5 < at < last - 0.5]
        assert not amid, "an Event took the place of a write that routes"
        assert len(made[EVENTS]) == 2 * MANY, "created and elected: all are told in the end"
