"""A server that fails all writes for minutes: it is not flooded, and nothing is late when it works again."""

from __future__ import annotations

import asyncio

from tests.simulated.cluster import Cluster
from tests.simulated.faultyapi import Weather
from tests.simulated.test_quiet import populate

COUNT = 500
FALLEN = 200
OUTAGE_S = 120.0
QPS, BURST = 50.0, 100
WITHIN_S = 60.0  # after the server works again
BACKOFF_CAP_S = 30.0


async def test_failing_writes_are_paced_and_all_is_made_up_for() -> None:
    loop = asyncio.get_running_loop()
    async with Cluster(3, Weather(failed=1.0), qps=QPS, burst=BURST) as cluster:
        await populate(cluster, COUNT, pods=1)
        cluster.network.calm = False
        await cluster.start()
        await asyncio.sleep(1.0)
        started = loop.time()
        await asyncio.sleep(OUTAGE_S)
        failed = cluster.network.writes()
        assert len(failed) <= BURST + QPS * (OUTAGE_S + 1.0)
        for second in range(int(started), int(started + OUTAGE_S)):
            assert len([r for r in failed if second <= r.at < second + 1]) <= BURST + QPS
        # Nobody waits longer than the cap: in each such span every Service is tried again.
        late = [r for r in failed if r.at >= loop.time() - BACKOFF_CAP_S - 5.0]
        assert len(late) >= COUNT
        cluster.network.calm = True
        healed_at = loop.time()
        assert await cluster.settles(WITHIN_S) <= WITHIN_S
        # What failed long ago is forgotten: the next failure counts as the first.
        await asyncio.sleep(30.0)
        assert loop.time() - healed_at < 2 * WITHIN_S
        assert "failing=0" in repr(cluster.controller)


async def test_leaders_that_fall_while_all_writes_fail() -> None:
    """The urgent lane has no pace of its own, and yet does not flood a server that fails."""
    loop = asyncio.get_running_loop()
    async with Cluster(4, Weather(failed=1.0), qps=QPS, burst=BURST) as cluster:
        keys = await populate(cluster, FALLEN, pods=2)
        await cluster.start()
        await cluster.settles(90.0)
        await asyncio.sleep(30.0)
        cluster.network.calm = False
        started = loop.time()
        for namespace, service in keys:
            number = 2 * int(service[1:]) + 1  # the older of its two pods
            await cluster.status(namespace, f"{service}-{number}", ready=False)
        await asyncio.sleep(OUTAGE_S)
        asked = cluster.network.writes(since=started)
        # One attempt and its retry for each at once; then the pace of the routine lane.
        assert len(asked) <= 2 * FALLEN + BURST + QPS * OUTAGE_S
        cluster.network.calm = True
        assert await cluster.settles(WITHIN_S) <= WITHIN_S
