"""The pods of namespaces with opted-in Services are held and no others, however the watches come and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.simulated.cluster import ENABLED, Cluster
from tests.simulated.test_core_tasks import kill
from zenlead.controller.facts import LeaderMoved, ServiceState
from zenlead.controller.run import gauged, ready_checks
from zenlead.controller.scope import HYSTERESIS, LINGER_S, NARROW_LIMIT
from zenlead.kube.errors import ApiError, Forbidden, Unreachable
from zenlead.kube.intake import PIECE
from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, PODS, SERVICES
from zenlead.kube.watch import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zenlead.controller.assembly import Controller
    from zenlead.kube.resources import Resource

SOON_S = 0.3  # from a pod's failing to the last of the new routing, on a network with 5 ms latency
SETTLES_S = 30.0
TIMES = 60  # failovers in a row, some tenths of a second each: longer than a switch takes


def pods_held(cluster: Cluster) -> set[str]:
    return {view.namespace for view in running(cluster).caches.pods}


def running(cluster: Cluster) -> Controller:
    assert cluster.controller is not None
    return cluster.controller


def watches(cluster: Cluster) -> list[str]:
    """The watches of pods that run now."""
    return sorted(informer.name for informer in running(cluster).pods.informers)


def problems(cluster: Cluster) -> dict[str, str]:
    found = {name: check() for name, check in ready_checks(running(cluster)).items()}
    return {name: words for name, words in found.items() if words}


async def populate(cluster: Cluster, numbers: range, *, enabled: bool = True, pods: int = 2) -> None:
    """Namespaces with a Service web and its pods."""
    for number in numbers:
        await cluster.namespace(f"t{number}")
        await cluster.service(f"t{number}", "web", enabled=enabled)
        for _ in range(pods):
            await cluster.pod(f"t{number}", "web")


async def opt(cluster: Cluster, *numbers: int, enabled: str | None = "true") -> None:
    for number in numbers:
        body = {"metadata": {"annotations": {ENABLED: enabled}}}
        await cluster.patch(SERVICES, f"t{number}", "web", body)


async def is_so(condition: Callable[[], bool], within_s: float, what: str) -> None:
    loop = asyncio.get_running_loop()
    ends = loop.time() + within_s
    while not condition():
        assert loop.time() < ends, what
        await asyncio.sleep(0.01)


def delay_pods(cluster: Cluster, delay_s: Callable[[str | None], float]) -> None:
    """Each page of a list of pods and each chunk of a watch comes so much later, in order."""
    whole, listed = cluster.network.watch, cluster.network.list

    async def list_late(resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        page = await listed(resource, namespace, query)
        if resource == PODS and query["limit"] != "1":  # which is no list, but a question
            await asyncio.sleep(delay_s(namespace))
        return page

    async def watch(
        resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

        async def read() -> None:
            async for chunk in whole(resource, namespace, query, deadline_s=deadline_s):
                arrived.put_nowait((loop.time(), chunk))
            arrived.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (item := await arrived.get()) is not None:
                at, chunk = item
                if resource == PODS:
                    await asyncio.sleep(at + delay_s(namespace) - loop.time())
                yield chunk
        finally:
            reading.cancel()

    cluster.network.watch = watch  # type: ignore[method-assign]
    cluster.network.list = list_late  # type: ignore[method-assign]


async def test_the_pods_of_others_are_not_held_nor_asked_for() -> None:
    async with Cluster(1) as cluster:
        await populate(cluster, range(2))
        await populate(cluster, range(2, 6), enabled=False)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        assert pods_held(cluster) == {"t0", "t1"}
        assert watches(cluster) == ["pods in t0", "pods in t1"]
        asked = {r.namespace for r in cluster.network.requests if r.resource == "pods"}
        assert asked == {"t0", "t1"}


async def test_in_the_wide_mode_they_are_not_held_either() -> None:
    async with Cluster(2) as cluster:
        served = range(NARROW_LIMIT + 1)
        await populate(cluster, served)
        await populate(cluster, range(20, 40), enabled=False)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        assert watches(cluster) == ["pods"]
        assert pods_held(cluster) == {f"t{number}" for number in served}
        await cluster.pod("t30", "web")
        await cluster.pod("t3", "web")
        await asyncio.sleep(1.0)
        assert pods_held(cluster) == {f"t{number}" for number in served}
        asked = {r.namespace for r in cluster.network.requests if r.resource == "pods"}
        assert asked == {""}, "so many at the start are watched widely at once"


async def test_who_opts_in_is_judged_only_when_its_pods_are_known() -> None:
    """Beside others, while this replica leads and the list of the new namespace takes its time."""
    async with Cluster(3) as cluster:
        await populate(cluster, range(2))
        await populate(cluster, range(2, 3), enabled=False)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        delay_pods(cluster, lambda namespace: 5.0 if namespace == "t2" else 0.0)
        cluster.facts.clear()
        wrote_before = len(cluster.network.writes())
        await opt(cluster, 2)
        await asyncio.sleep(4.9)
        assert len(cluster.network.writes()) == wrote_before, "nothing is known, so nothing is said"
        assert problems(cluster) == {}, "that somebody is new is no reason to be no replica"
        await asyncio.sleep(SOON_S)
        assert await cluster.faults() == []
        states = [f for f in cluster.facts if isinstance(f, ServiceState) and f.namespace == "t2"]
        assert states
        assert {state.pods_available for state in states} == {2}
        told = {(e["regarding"]["namespace"], e["reason"]) for e in await cluster.all(EVENTS)}
        assert ("t2", "NoPodsFound") not in told
        assert ("t2", "NoReadyPods") not in told


async def test_who_opts_in_is_judged_by_all_of_its_pods_though_an_index_was_made_before() -> None:
    """More pods than are told of in one go, and the ones that count come last."""
    async with Cluster(15) as cluster:
        await populate(cluster, range(2))
        await cluster.namespace("t2")
        await cluster.service("t2", "zz", enabled=False)
        for app in ["noise"] * (PIECE + 100) + ["zz"] * 2:
            await cluster.pod("t2", app)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        assert await running(cluster).selectors.load("t2")
        cluster.facts.clear()
        await cluster.patch(SERVICES, "t2", "zz", {"metadata": {"annotations": {ENABLED: "true"}}})
        await asyncio.sleep(SOON_S)
        states = [f for f in cluster.facts if isinstance(f, ServiceState) and f.namespace == "t2"]
        assert states
        assert {state.pods_available for state in states} == {2}


async def test_a_slice_whose_pods_are_not_known_yet_is_left_as_it_is() -> None:
    """A restart: the routing stands, and one namespace of two takes long to list."""
    async with Cluster(4) as cluster:
        await populate(cluster, range(2))
        await cluster.start()
        await cluster.settles(SETTLES_S)
        await asyncio.sleep(SETTLES_S)
        await cluster.stop()
        delay_pods(cluster, lambda namespace: 6.0 if namespace == "t1" else 0.0)
        stopped_at = asyncio.get_running_loop().time()
        await cluster.start()
        await asyncio.sleep(1.0)
        assert "pods in t1" in problems(cluster)
        assert "pods in t0" not in problems(cluster)
        await asyncio.sleep(20.0)
        assert problems(cluster) == {}
        assert cluster.network.writes(since=stopped_at) == []


async def failovers(cluster: Cluster, numbers: range, *, gap_s: float, times: int) -> dict[str, float]:
    """So many failovers of every Service, a while apart; the longest that each took, by namespace."""
    loop, longest = asyncio.get_running_loop(), dict[str, float]()
    wanted = {f"t{number}" for number in numbers}
    for _ in range(times):
        leaders: dict[str, str] = {}
        for found in await cluster.all(ENDPOINT_SLICES):
            if found["metadata"]["namespace"] in wanted and found["endpoints"]:
                leaders[found["metadata"]["namespace"]] = found["endpoints"][0]["targetRef"]["name"]
        pods = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in await cluster.all(PODS)]
        for namespace, name in pods:
            if namespace in leaders and name != leaders[namespace]:
                await cluster.status(namespace, name, ready=True)
        failed_at = loop.time()
        for namespace, name in leaders.items():
            await cluster.status(namespace, name, ready=False)
        waiting = set(leaders)
        while waiting:
            wrong = {words.partition("/")[0] for words in await cluster.faults() if "routes" in words}
            for namespace in waiting - wrong:
                longest[namespace] = max(longest.get(namespace, 0.0), loop.time() - failed_at)
            waiting &= wrong
            assert loop.time() - failed_at < 20.0, f"lost: {waiting}"
            await asyncio.sleep(0.02)
        await asyncio.sleep(gap_s)
    return longest


def moves(cluster: Cluster) -> dict[str, int]:
    found: dict[str, int] = {}
    for fact in cluster.facts:
        if isinstance(fact, LeaderMoved):
            found[fact.namespace] = found.get(fact.namespace, 0) + 1
    return found


@pytest.mark.parametrize(
    ("slow", "late_s"),
    [("the new one lags", 3.0), ("the new one lags", 0.05), ("the old ones lag", 1.0), ("none lags", 0.0)],
)
async def test_failovers_during_a_switch_to_the_wide_watch(slow: str, late_s: float) -> None:
    """One after the other, before, while and after: each is made once, in time, and not undone."""
    async with Cluster(5) as cluster:
        few = range(NARROW_LIMIT)
        await populate(cluster, range(NARROW_LIMIT + 1))
        await opt(cluster, NARROW_LIMIT, enabled=None)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        assert len(watches(cluster)) == NARROW_LIMIT
        lags = {"the new one lags": None, "the old ones lag": "narrow"}.get(slow, "nobody")
        await asyncio.sleep(40.0)  # the watches that run are begun anew, and lag from then on
        delay_pods(cluster, lambda ns: late_s if (ns or None) == lags or (lags == "narrow" and ns) else 0.0)
        await asyncio.sleep(40.0)
        cluster.facts.clear()
        switching = asyncio.create_task(failovers(cluster, few, gap_s=0.05, times=TIMES))
        await asyncio.sleep(0.5)
        await opt(cluster, NARROW_LIMIT)
        seen: set[tuple[str, ...]] = set()
        while not switching.done():
            seen.add(tuple(watches(cluster)))
            assert problems(cluster) == {}
            await asyncio.sleep(0.01)
        longest = await switching
        # A watch that lags is level when nothing happens for so long; and it begins with a list.
        await asyncio.sleep(2 * late_s + 1.0)
        assert watches(cluster) == ["pods"]
        assert any(len(both) == NARROW_LIMIT + 1 and "pods" in both for both in seen), "no overlap"
        assert {namespace: count for namespace, count in moves(cluster).items() if namespace != "t10"} == {
            f"t{number}": TIMES for number in few
        }
        assert max(longest.values()) <= SOON_S + late_s
        await asyncio.sleep(60.0)
        assert await cluster.faults() == []
        assert pods_held(cluster) == {f"t{number}" for number in range(NARROW_LIMIT + 1)}


@pytest.mark.parametrize("late_s", [0.0, 2.0])
async def test_failovers_during_the_way_back(late_s: float) -> None:
    """The new watches lag, in one case: what the wide one has brought meanwhile stands."""
    async with Cluster(6) as cluster:
        many, few = range(NARROW_LIMIT + 1), range(NARROW_LIMIT // HYSTERESIS)
        await populate(cluster, many)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        assert watches(cluster) == ["pods"]
        delay_pods(cluster, lambda namespace: late_s if namespace else 0.0)
        await opt(cluster, *range(few.stop, many.stop), enabled=None)
        await asyncio.sleep(LINGER_S - 1.0)
        assert watches(cluster) == ["pods"]
        cluster.facts.clear()
        longest = await failovers(cluster, few, gap_s=0.05, times=25)
        assert max(longest.values()) <= SOON_S + late_s
        await asyncio.sleep(late_s + 1.0)
        assert watches(cluster) == [f"pods in t{number}" for number in few]
        assert moves(cluster) == {f"t{number}": 25 for number in few}
        await asyncio.sleep(60.0)
        assert await cluster.faults() == []


async def test_what_is_wanted_no_longer_is_dropped_without_a_word() -> None:
    """Its pods, its watch and all that is known of either; nobody hears of it, and nothing is written."""
    async with Cluster(7) as cluster:
        await populate(cluster, range(2))
        await cluster.start()
        await cluster.settles(SETTLES_S)
        controller = running(cluster)
        await opt(cluster, 1, enabled=None)
        await asyncio.sleep(LINGER_S / 2)
        assert pods_held(cluster) == {"t0", "t1"}, "it may come back"
        cluster.facts.clear()
        written = len(cluster.network.writes())
        await asyncio.sleep(LINGER_S)
        assert pods_held(cluster) == {"t0"}
        assert watches(cluster) == ["pods in t0"]
        assert "informer pods in t1" not in controller.heartbeats._hearts
        assert set(gauged(controller).informer_silence_s()) >= {"pods in t0", "services"}
        assert "pods in t1" not in gauged(controller).informer_silence_s()
        assert "pods in t1" not in ready_checks(controller)
        assert controller.selectors.peek("t1") is None
        assert len(cluster.network.writes()) == written
        assert [f for f in cluster.facts if getattr(f, "namespace", "") == "t1"] == []
        await asyncio.sleep(300.0)
        assert controller.heartbeats.stuck(asyncio.get_running_loop().time()) == []
        await opt(cluster, 1)
        await asyncio.sleep(SOON_S)
        assert await cluster.faults() == []


async def test_who_comes_back_while_it_lingers_has_never_been_away() -> None:
    async with Cluster(8) as cluster:
        await populate(cluster, range(2))
        await cluster.start()
        await cluster.settles(SETTLES_S)
        lists = len(cluster.network.full_lists("pods"))
        await opt(cluster, 1, enabled=None)
        await asyncio.sleep(LINGER_S - 5.0)
        await opt(cluster, 1)
        await asyncio.sleep(2 * LINGER_S)
        assert await cluster.faults() == []
        assert len(cluster.network.full_lists("pods")) == lists


async def test_who_comes_back_after_it_was_dropped_from_the_wide_watch_is_known_anew() -> None:
    async with Cluster(16) as cluster:
        await populate(cluster, range(NARROW_LIMIT + 2))
        await cluster.start()
        await cluster.settles(SETTLES_S)
        await opt(cluster, 1, enabled=None)
        await asyncio.sleep(2 * LINGER_S)
        assert "t1" not in pods_held(cluster)
        await cluster.pod("t1", "web")
        await opt(cluster, 1)
        await asyncio.sleep(SOON_S)
        assert watches(cluster) == ["pods", "pods in t1"]
        assert await cluster.faults() == []
        assert len([pod for pod in running(cluster).caches.pods if pod.namespace == "t1"]) == 3


async def test_whoever_was_not_told_of_a_service_is_once_a_task_was_started_again() -> None:
    async with Cluster(17) as cluster:
        await populate(cluster, range(1))
        await populate(cluster, range(1, 2), enabled=False)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        pods = running(cluster).pods
        look, pods.look = pods.look, lambda namespace=None: None  # type: ignore[method-assign]
        await opt(cluster, 1)
        await asyncio.sleep(5.0)
        assert watches(cluster) == ["pods in t0"]
        pods.look = look  # type: ignore[method-assign]
        await kill("events")
        await asyncio.sleep(5.0)
        assert watches(cluster) == ["pods in t0", "pods in t1"]
        assert await cluster.faults() == []


async def test_a_watch_that_was_stopped_while_it_got_no_answer_is_missed_by_nobody() -> None:
    async with Cluster(18) as cluster:
        await populate(cluster, range(2))
        await cluster.start()
        await cluster.settles(SETTLES_S)
        refused = {"t1"}
        forbid(cluster, refused, Unreachable("no answer"))
        await asyncio.sleep(40.0)
        assert "pods in t1" in repr(running(cluster).workers.presence)
        await opt(cluster, 1, enabled=None)
        await asyncio.sleep(2 * LINGER_S)
        assert "pods in t1" not in repr(running(cluster).workers.presence)


def forbid(cluster: Cluster, refused: set[str], error: ApiError | None = None) -> None:
    """The pods of these namespaces cannot be read, as long as they are in ``refused``."""
    whole, whole_list = cluster.network.watch, cluster.network.list

    def check(resource: Resource, namespace: str | None) -> None:
        if resource == PODS and namespace in refused:
            raise error or Forbidden(
                f'cannot watch resource "pods" in the namespace "{namespace}"', status=403
            )

    async def watch(
        resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        check(resource, namespace)
        async for chunk in whole(resource, namespace, query, deadline_s=deadline_s):
            yield chunk

    async def list_(resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        check(resource, namespace)
        return await whole_list(resource, namespace, query)

    cluster.network.watch, cluster.network.list = watch, list_  # type: ignore[method-assign]


async def test_a_namespace_that_may_not_be_read_is_named_and_does_not_hold_up_the_others() -> None:
    async with Cluster(9) as cluster:
        await populate(cluster, range(2))
        refused = {"t1"}
        forbid(cluster, refused)
        await cluster.start()
        await asyncio.sleep(10.0)
        assert 'cannot watch resource "pods" in the namespace "t1"' in problems(cluster)["pods in t1"]
        assert {words.partition("/")[0] for words in await cluster.faults()} == {"t1"}
        refused.clear()
        await asyncio.sleep(10.0)
        assert problems(cluster) == {}
        assert await cluster.faults() == []


async def test_with_no_right_at_all_nobody_leads() -> None:
    async with Cluster(10) as cluster:
        await populate(cluster, range(2))
        refused = {"t0", "t1"}
        forbid(cluster, refused)
        await cluster.start()
        await asyncio.sleep(30.0)
        assert not running(cluster).workers.leading
        refused.clear()
        await asyncio.sleep(20.0)
        assert await cluster.faults() == []


async def test_a_standby_keeps_its_watches_warm() -> None:
    async with Cluster(11) as cluster:
        await populate(cluster, range(3), enabled=False)
        cluster.lease_network.away_until = 100.0
        await cluster.start()
        await asyncio.sleep(10.0)
        assert watches(cluster) == []
        await opt(cluster, 0, 2)
        await asyncio.sleep(1.0)
        assert watches(cluster) == ["pods in t0", "pods in t2"]
        assert pods_held(cluster) == {"t0", "t2"}
        assert cluster.network.writes() == []


async def test_of_the_namespaces_that_it_may_watch_no_pods_are_watched_widely() -> None:
    names = tuple(f"t{number}" for number in range(NARROW_LIMIT + 5))
    async with Cluster(12, namespaces=names) as cluster:
        await populate(cluster, range(NARROW_LIMIT + 5))
        await populate(cluster, range(40, 41))
        await opt(cluster, 3, enabled=None)
        await cluster.start()
        await asyncio.sleep(10.0)
        assert watches(cluster) == sorted(f"pods in {name}" for name in names if name != "t3")
        assert {r.namespace for r in cluster.network.requests if r.resource == "pods"} == set(names) - {"t3"}
        assert {words.partition("/")[0] for words in await cluster.faults()} == {"t40"}


async def test_a_thousand_that_opt_in_at_once_cost_few_lists() -> None:
    """Beside a wide watch that runs: one or two new ones, and single watches only while those fill."""
    count = 300
    async with Cluster(13) as cluster:
        await populate(cluster, range(NARROW_LIMIT + 1), pods=1)
        await populate(cluster, range(100, 100 + count), enabled=False, pods=1)
        await cluster.start()
        await cluster.settles(SETTLES_S)
        before = len(cluster.network.full_lists("pods"))
        await opt(cluster, *range(100, 100 + count))
        await cluster.settles(SETTLES_S)
        await asyncio.sleep(SETTLES_S)
        lists = cluster.network.full_lists("pods")[before:]
        assert len([r for r in lists if not r.namespace]) <= 3
        assert len(watches(cluster)) <= 1 + NARROW_LIMIT
        assert len(pods_held(cluster)) == NARROW_LIMIT + 1 + count


async def test_a_server_that_pages_its_lists_is_followed_alike() -> None:
    """Pods of other namespaces among those of ours, over several pages."""
    async with Cluster(14) as cluster:
        cluster.server.watches._streaming = "refused"
        await populate(cluster, range(NARROW_LIMIT + 1))
        await cluster.namespace("noise")
        for _ in range(2 * PAGE_SIZE):
            await cluster.pod("noise", "noise")
        await cluster.start()
        await cluster.settles(SETTLES_S)
        assert watches(cluster) == ["pods"]
        assert "noise" not in pods_held(cluster)
        assert len(running(cluster).caches.pods) == 2 * (NARROW_LIMIT + 1)
