"""A server that is away, fails, is restored or lags: it is not flooded, and soon all is as it should be."""

from __future__ import annotations

import asyncio
import copy
import itertools
from typing import TYPE_CHECKING

import pytest

from tests.simulated.cluster import Cluster
from tests.simulated.faultyapi import Request, Weather
from tests.simulated.test_quiet import populate
from zenlead.controller.facts import LeaderMoved
from zenlead.kube.informer import RETRY_CAP_S
from zenlead.kube.resources import ENDPOINT_SLICES, PODS

if TYPE_CHECKING:
    from zenlead.sandbox.apiserver import ApiServer

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


AWAY_S = 600.0
BACK_WITHIN_S = 5.0
AWAY_COUNT = 40
LEASE_S = 15.0


async def routing(cluster: Cluster) -> dict[str, list[str]]:
    """The addresses behind each leader Service."""
    slices = await cluster.all(ENDPOINT_SLICES)
    return {
        f"{s['metadata']['namespace']}/{s['metadata']['name']}": [
            address for endpoint in s["endpoints"] or () for address in endpoint["addresses"]
        ]
        for s in slices
    }


async def fall(cluster: Cluster, keys: list[tuple[str, str]]) -> None:
    """The pod that leads each of the Services turns NotReady; one that was so before is well again."""
    leaders = {
        (s["metadata"]["namespace"], s["metadata"]["name"]): s["endpoints"][0]["targetRef"]["name"]
        for s in await cluster.all(ENDPOINT_SLICES)
    }
    for pod in await cluster.all(PODS):
        namespace, name, app = (pod["metadata"][key] for key in ("namespace", "name", "labels"))
        if (namespace, app["app"]) in keys:
            leads = leaders[namespace, f"{app['app']}-leader"] == name
            await cluster.status(namespace, name, ready=not leads)


def go_away(cluster: Cluster, seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    cluster.network.away_until = cluster.lease_network.away_until = until
    cluster.server.watches.close()


@pytest.mark.parametrize("elect", [True, False], ids=["elected", "alone"])
async def test_ten_minutes_without_an_api_server(elect: bool) -> None:
    """The routing stays, nobody asks in a hot loop, nothing grows; and soon after, all is as it should be."""
    loop = asyncio.get_running_loop()
    async with Cluster(5, elect=elect) as cluster:
        keys = await populate(cluster, AWAY_COUNT, pods=2)
        await cluster.start()
        await cluster.settles(30.0)
        await asyncio.sleep(40.0)
        before = await routing(cluster)
        # Some leaders fall just before, so that writes are under way and their Services fail from then on.
        await fall(cluster, keys[:10])
        await asyncio.sleep(0.001)
        left_at = loop.time()
        go_away(cluster, AWAY_S)
        await asyncio.sleep(AWAY_S / 2)
        # And all others fall meanwhile. The server forgets its history: no watch can be resumed.
        await fall(cluster, keys[10:])
        cluster.server.objects.compact()
        await asyncio.sleep(AWAY_S / 2 - 1.0)
        assert await routing(cluster) == before
        asked = [r for r in cluster.network.requests if r.at > left_at and not r.answered]
        assert_calm([r for r in asked if r.verb in {"list", "watch"}])
        writes = [r for r in asked if r.verb in {"create", "patch", "delete"}]
        # What was under way fails; after that nobody decides on what may be long over.
        assert len(writes) <= 10 * 2 * 4
        assert "Asked(10," in repr(cluster.controller) or elect
        await asyncio.sleep(1.0)
        back_at = loop.time()
        while wrong := await cluster.faults():
            assert loop.time() - back_at <= BACK_WITHIN_S, f"{wrong[:3]}; {cluster.controller!r}"
            await asyncio.sleep(0.05)
        await asyncio.sleep(2 * RETRY_CAP_S)  # until the last of them is back, too
        lists = [
            (r.resource, r.namespace)
            for kind in ("services", "endpointslices", "pods", "nodes")
            for r in cluster.network.full_lists(kind, since=back_at)
        ]
        assert len(lists) == len(set(lists)), "one of each watch"
        reconnects = [
            min(r.at for r in cluster.network.requests if r.resource == kind and r.at >= back_at)
            for kind in ("services", "endpointslices", "pods", "nodes")
        ]
        assert len(set(reconnects)) == len(reconnects), "together"
        assert "failing=0" in repr(cluster.controller)


def assert_calm(asked: list[Request]) -> None:
    """Connection attempts of each watch: backed off to seconds, jittered, and none of them stopped trying."""
    watches = {(r.resource, r.namespace) for r in asked}
    assert {resource for resource, _ in watches} == {"services", "endpointslices", "pods", "nodes"}
    for watch in watches:
        times = [r.at for r in asked if (r.resource, r.namespace) == watch]
        assert AWAY_S / RETRY_CAP_S * 0.8 <= len(times) <= AWAY_S / RETRY_CAP_S * 2 * 1.25 + 10
        gaps = [round(b - a, 3) for a, b in itertools.pairwise(times)]
        assert max(gaps) <= RETRY_CAP_S + 0.01
        assert len(set(gaps)) > len(gaps) / 2


async def test_a_short_outage_is_not_felt_for_longer_than_it_was() -> None:
    """Shorter than the authority lasts: no new election tells everybody to look again."""
    loop = asyncio.get_running_loop()
    async with Cluster(6) as cluster:
        keys = await populate(cluster, 10, pods=2)
        await cluster.start()
        await cluster.settles(30.0)
        await asyncio.sleep(40.0)
        await fall(cluster, keys)
        await asyncio.sleep(0.001)
        go_away(cluster, 7.0)
        await asyncio.sleep(7.0)
        back_at = loop.time()
        while await cluster.faults():
            assert loop.time() - back_at <= BACK_WITHIN_S, repr(cluster.controller)
            await asyncio.sleep(0.05)


async def test_an_api_server_that_comes_back_with_an_older_state() -> None:
    """As after etcd was restored from a snapshot: what is there counts, whatever was known of later times."""
    loop = asyncio.get_running_loop()
    async with Cluster(7) as cluster:
        keys = await populate(cluster, AWAY_COUNT, pods=2)
        await cluster.start()
        await cluster.settles(30.0)
        await asyncio.sleep(40.0)
        saved, before = Snapshot(cluster.server), await routing(cluster)
        for _ in range(3):
            await fall(cluster, keys)
            await asyncio.sleep(20.0)
        assert await cluster.faults() == []
        assert all(before[name] != addresses for name, addresses in (await routing(cluster)).items())
        go_away(cluster, 20.0)
        saved.restore()
        await asyncio.sleep(20.0)
        back_at = loop.time()
        # The Lease is another's for all that its holder knows, so it may last to its end.
        await asyncio.sleep(LEASE_S + BACK_WITHIN_S)
        # In the restored state the pods of then are well and lead: the routing is right as it is.
        assert await routing(cluster) == before
        assert await cluster.faults() == []
        for resource in ("services", "endpointslices", "pods"):
            lists = [r.namespace for r in cluster.network.full_lists(resource, since=back_at)]
            assert lists
            assert len(lists) == len(set(lists)), "one of each watch"
        await fall(cluster, keys)
        failed_at = loop.time()
        while await cluster.faults():
            assert loop.time() - failed_at <= BACK_WITHIN_S, repr(cluster.controller)
            await asyncio.sleep(0.05)


class Snapshot:
    """What a server has now, to be had again later."""

    def __init__(self, server: ApiServer) -> None:
        self._objects = server.objects
        self._server = server
        self._saved = {
            name: copy.deepcopy(value)
            for name, value in vars(server.objects).items()
            if name not in {"_listeners", "_past"}
        }

    def restore(self) -> None:
        vars(self._objects).update(self._saved)
        self._objects.compact()
        self._server.watches.close()


async def test_watches_that_lag_behind_our_own_writes_bring_no_older_leader_back() -> None:
    """Seconds late, in order: a state that our write has overtaken is never acted upon."""
    loop = asyncio.get_running_loop()
    async with Cluster(8) as cluster:
        keys = await populate(cluster, 10, pods=3)
        await cluster.start()
        await cluster.settles(30.0)
        await asyncio.sleep(40.0)
        cluster.network.lag_s = 4.0
        for _ in range(9):
            await fall(cluster, keys)
            await asyncio.sleep(cluster.dice.uniform(0.5, 6.0))
        await cluster.settles(20.0)
        moves = [(f.service, f.leader, f.epoch) for f in cluster.facts if isinstance(f, LeaderMoved)]
        for _, service in keys:
            epochs = [epoch for name, _, epoch in moves if name == service]
            assert len(epochs) > 3
            assert epochs == sorted(set(epochs)), "an epoch was used twice or went back"
        quiet_at = loop.time()
        await asyncio.sleep(60.0)
        assert cluster.network.writes(since=quiet_at) == [], "what lagged was taken for news"
