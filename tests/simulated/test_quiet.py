"""Random churn under faults, then quiet: all routes rightly within a stated time, and then costs nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.simulated.cluster import Cluster, Hands
from tests.simulated.faultyapi import FaultyApi, Weather
from tests.simulated.growth import blocks, grown, sizes
from tests.simulated.instantapi import InstantApi
from zenlead.kube.resources import ENDPOINT_SLICES

SERVICES_COUNT = 50
CHURN_S = 120.0
BETWEEN_DEEDS_S = 0.15  # mean
# When the trouble ends, a key may wait for the rest of its backoff (30 s at most), and a request may be lost
# that was under way (10 s) before another is made; a pod may have to ripen (3 s).
BOUND_S = 30.0 + 10.0 + 5.0
# Noise: 50,000 requests and watches that each left one block behind would be far more.
BLOCKS_A_DAY = 2_000

WEATHERS = {
    "fair": Weather(),
    "slow": Weather(slow_s=0.3),
    "lagging": Weather(slow_s=0.05, lag_s=0.3),
    "lossy": Weather(slow_s=0.02, request_lost=0.03, reply_lost=0.05),
    "refusing": Weather(slow_s=0.02, conflict=0.2, throttled=0.05, failed=0.1),
    "cutting": Weather(slow_s=0.02, gone=0.02, cut=0.05),
    "all": Weather(
        slow_s=0.1,
        request_lost=0.02,
        reply_lost=0.04,
        conflict=0.1,
        throttled=0.03,
        failed=0.05,
        gone=0.01,
        cut=0.02,
    ),
}


async def populate(cluster: Cluster, count: int, pods: int = 3) -> list[tuple[str, str]]:
    keys: list[tuple[str, str]] = []
    for number in range(count):
        namespace = f"t{number % 5}"
        if number < 5:
            await cluster.namespace(namespace)
        keys.append((namespace, f"s{number}"))
        await cluster.service(*keys[-1])
        for _ in range(pods):
            await cluster.pod(*keys[-1])
    return keys


@pytest.mark.parametrize("name", list(WEATHERS))
async def test_churn_then_quiet(name: str) -> None:
    loop = asyncio.get_running_loop()
    async with Cluster(sum(map(ord, name)), WEATHERS[name]) as cluster:
        keys = await populate(cluster, SERVICES_COUNT)
        hands = Hands(cluster)
        await cluster.start()
        await cluster.settles(BOUND_S)
        cluster.network.calm = cluster.lease_network.calm = False
        ends = loop.time() + CHURN_S
        while loop.time() < ends:
            await asyncio.sleep(cluster.dice.expovariate(1 / BETWEEN_DEEDS_S))
            await hands.act(*cluster.dice.choice(keys))
            if cluster.dice.random() < 0.002 and name != "fair":
                away_until = loop.time() + cluster.dice.uniform(1.0, 30.0)
                cluster.network.away_until = cluster.lease_network.away_until = away_until
        cluster.network.calm = cluster.lease_network.calm = True
        cluster.network.away_until = cluster.lease_network.away_until = loop.time()
        await cluster.settles(BOUND_S)
        await asyncio.sleep(60.0)  # decorations and Events that are still to be written
        assert await cluster.faults() == []
        quiet_at = loop.time()
        await asyncio.sleep(3600.0)
        assert Counter((r.verb, r.resource) for r in cluster.network.writes(since=quiet_at)) == {}
        assert await cluster.faults() == []


async def test_a_restart_costs_no_write() -> None:
    async with Cluster(1) as cluster:
        await populate(cluster, SERVICES_COUNT)
        await cluster.start()
        await cluster.settles(BOUND_S)
        await asyncio.sleep(30.0)
        await cluster.stop()
        stopped_at = asyncio.get_running_loop().time()
        await cluster.start()
        await asyncio.sleep(60.0)
        assert cluster.network.writes(since=stopped_at) == []
        assert await cluster.faults() == []


async def test_six_idle_minutes_and_then_a_failover() -> None:
    """Streams that the server ends while nothing happens are resumed, and no change is missed between."""
    loop = asyncio.get_running_loop()
    async with Cluster(2) as cluster:
        (key,) = await populate(cluster, 1)
        await cluster.start()
        await cluster.settles(BOUND_S)
        for _ in range(3):
            await asyncio.sleep(360.0)
            (found,) = [s for s in await cluster.all(ENDPOINT_SLICES) if s["metadata"]["name"] == "s0-leader"]
            leader = found["endpoints"][0]["targetRef"]["name"]
            failed_at = loop.time()
            await cluster.status(key[0], leader, ready=False)
            while await cluster.faults():
                await asyncio.sleep(0.01)
                assert loop.time() - failed_at < 0.2
            await asyncio.sleep(10.0)
            await cluster.status(key[0], leader, ready=True)
        lists = Counter(r.resource for r in cluster.network.requests if r.verb == "list")
    # One of slices is the survey of those that others left on leader Services before this term.
    first = {"services": 1, "pods": 1, "nodes": 1, "endpointslices": 2}
    assert lists == first, "a watch that ended is resumed, not begun anew"


@pytest.mark.timeout(400)
async def test_a_quiet_day_costs_no_write_and_nothing_grows() -> None:
    """24 hours: the Lease is renewed, watches are resumed, and that is all."""
    async with Cluster(9) as cluster:
        cluster.lease_network = FaultyApi(InstantApi(), cluster.dice, Weather())  # for 40,000 renewals
        await populate(cluster, SERVICES_COUNT)
        await cluster.start()
        await cluster.settles(BOUND_S)
        await asyncio.sleep(2 * 3600.0)
        quiet_at, day_of = asyncio.get_running_loop().time(), cluster.controller
        cluster.network.requests.clear()
        cluster.facts.clear()
        size, held = sizes(day_of), blocks()
        for _ in range(24):
            await asyncio.sleep(3600.0)
            cluster.lease_network.requests.clear()
            cluster.facts.clear()
        assert cluster.network.writes(since=quiet_at) == []
        assert [r for r in cluster.network.requests if r.full] == []
        assert await cluster.faults() == []
        cluster.network.requests.clear()
        assert grown(size, sizes(day_of)) == {}
        assert blocks() - held <= BLOCKS_A_DAY
