"""Taking everything away: what is ours goes, what is not stays, and never beside a replica that works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.simulated.cluster import Cluster
from zenlead.controller.cleanup import CleanupError, clean, leftovers, pods_gone
from zenlead.controller.parameters import Parameters
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_clock
OURS = Parameters(identity="cleaner", lease_namespace="default")
STRANGER = {
    "metadata": {"name": "copy-leader", "labels": {"app.kubernetes.io/managed-by": "zen-lead"}},
    "spec": {"ports": [{"port": 80}]},
}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Two namespaces with a leader each, and a Service that has our label and nothing else of ours."""
    async with Cluster(1) as made:
        for namespace in ("a", "b"):
            await made.namespace(namespace)
            await made.service(namespace, "web")
            await made.pod(namespace, "web")
        await made.start()
        await made.settles(10.0)
        await made.api.create(SERVICES, "a", json.dumps(STRANGER).encode())
        yield made


async def names(cluster: Cluster) -> list[str]:
    found = []
    for resource in (SERVICES, ENDPOINT_SLICES, LEASES):
        for body in await cluster.all(resource):
            meta = body["metadata"]
            found.append(f"{resource.kind} {meta['namespace']}/{meta['name']}")
    return sorted(found)


async def test_what_is_ours_goes_and_nothing_else(cluster: Cluster) -> None:
    await cluster.stop()
    before, told = await names(cluster), []
    await clean(cluster.api, cluster.api, OURS, now=cluster.wall, say=told.append)
    after = ["Service a/copy-leader", "Service a/web", "Service b/web"]
    assert await names(cluster) == after
    assert sorted(told) == sorted(set(before) - set(after))
    assert len(told) == 5, "two leader Services, two slices, one Lease"


async def test_only_the_namespaces_asked_for(cluster: Cluster) -> None:
    await cluster.stop()
    found = await leftovers(cluster.api, ("b",))
    assert [str(each) for each in found] == ["EndpointSlice b/web-leader", "Service b/web-leader"]


async def test_nothing_goes_while_a_replica_works(cluster: Cluster) -> None:
    before = await names(cluster)
    with pytest.raises(ExceptionGroup) as refused:
        await clean(cluster.api, cluster.api, OURS, now=cluster.wall, say=lambda _: None)
    (error,) = refused.value.exceptions
    assert isinstance(error, CleanupError)
    assert "zenlead-0 holds it; stop zenlead first" in str(error)
    assert await names(cluster) == before


async def test_it_waits_for_pods_but_not_for_ever(cluster: Cluster) -> None:
    await cluster.stop()
    await pods_gone(cluster.api, "a", "app=other")
    with pytest.raises(CleanupError, match=r"app=web stayed for 120 s; nothing was deleted"):
        await pods_gone(cluster.api, "a", "app=web")
