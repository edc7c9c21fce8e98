"""A name that one Service gives up and another one wants, however answers and watches overtake each other."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulated.cluster import NAME, Cluster
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

SOON_S = 3.0


@pytest.mark.parametrize("lag_s", [0.0, 1.0], ids=["watches as fast as answers", "watches behind answers"])
@pytest.mark.parametrize("how", ["renames", "opts out", "is deleted"])
async def test_who_waits_for_a_name_gets_it_once_it_is_free(how: str, lag_s: float) -> None:
    async with Cluster(4) as cluster:
        await cluster.namespace("t1")
        for name in ("first", "second"):
            await cluster.service("t1", name, {NAME: "shared"})
            await cluster.pod("t1", name)
            await asyncio.sleep(2.0)  # the older one has the better claim
        await cluster.start()
        await asyncio.sleep(5.0)
        assert await routed(cluster) == {"shared": "first-1"}
        cluster.network.lag_s = lag_s
        if how == "renames":
            await cluster.patch(SERVICES, "t1", "first", {"metadata": {"annotations": {NAME: "other"}}})
        elif how == "opts out":
            await cluster.patch(
                SERVICES, "t1", "first", {"metadata": {"annotations": {"zen-lead.io/enabled": None}}}
            )
        else:
            await cluster.delete(SERVICES, "t1", "first")
        await asyncio.sleep(SOON_S + 3 * lag_s)
        assert (await routed(cluster)).get("shared") == "second-2"
        assert await cluster.faults() == []


async def routed(cluster: Cluster) -> dict[str, str]:
    return {
        item["metadata"]["name"]: "".join(e["targetRef"]["name"] for e in item["endpoints"] or ())
        for item in await cluster.all(ENDPOINT_SLICES)
    }
