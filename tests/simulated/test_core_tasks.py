"""Each core task killed, and made to hang: the work goes on, or the probe and the exit say it does not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulated.cluster import Cluster
from tests.simulated.faultyapi import Weather
from tests.simulated.test_quiet import populate
from zenlead.controller.run import alive_checks
from zenlead.controller.workers import places
from zenlead.kube.facts import TaskRestarted
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES
from zenlead.kube.supervise import ALIVE_S, FAILURES_LIMIT, LATE_S
from zenlead.observe import health

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zenlead.kube.resources import Resource

LEASE = "zen-lead-controller-leader-election"
PODS_WATCHES = ("informer pods in t0", "informer pods in t1")  # where the two Services are
INFORMERS = (*(f"informer {kind}" for kind in ("services", "endpointslices", "nodes")), *PODS_WATCHES)
KILLED = (*INFORMERS, "scope", "elector", "events", "sweep", "urgent worker 0", "routine worker 0")
LONGEST_WATCH_S = 30.0 * 7 / 6 + 5.0  # as asked for, jittered, and what it may outlive that by


class Defect(Exception):
    """What no room expects."""


class Plain:
    """A request without a query."""

    @staticmethod
    def asks_for(word: str) -> bool:
        return False


async def healthz(cluster: Cluster) -> tuple[int, str]:
    assert cluster.controller is not None
    checks = alive_checks(cluster.controller)
    respond = health.routes(lambda: checks, dict)["/healthz"]
    plain: Any = Plain()
    response = await respond(plain)
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


def task(name: str) -> asyncio.Task[Any]:
    (found,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
    return found


async def kill(name: str, *, cancelled: bool = False) -> None:
    """Raise Defect in a task where it waits; or cancel what it waits for, though nobody asked it to end."""
    while True:
        waits_for = task(name)._fut_waiter  # type: ignore[attr-defined]  # there is no other way in
        if waits_for is not None and not waits_for.done() and not isinstance(waits_for, asyncio.Task):
            break
        await asyncio.sleep(0.01)
    if cancelled:
        waits_for.cancel()
    else:
        waits_for.set_exception(Defect(f"in {name}"))


async def begin(cluster: Cluster) -> list[tuple[str, str]]:
    """Two Services with leaders and nothing left to do."""
    keys = await populate(cluster, 2)
    await cluster.start()
    await cluster.settles(60.0)
    await asyncio.sleep(30.0)
    return keys


async def fail_leaders(cluster: Cluster) -> None:
    for found in await cluster.all(ENDPOINT_SLICES):
        meta = found["metadata"]
        if meta["name"].endswith("-leader"):
            pod = found["endpoints"][0]["targetRef"]["name"]
            await cluster.status(meta["namespace"], pod, ready=False)


def test_the_list_is_whole() -> None:
    """Whoever adds a core task has to say here what becomes of the work when it dies."""

    async def names() -> set[str]:
        async with Cluster(1) as cluster:
            await begin(cluster)
            assert cluster.controller is not None
            return set(cluster.controller.heartbeats._hearts)

    from tests.simulated.clock import run_virtual

    workers = {f"{lane.label} worker {n}" for lane, count in places(10).items() for n in range(count)}
    assert run_virtual(names) == set(KILLED) | workers


@pytest.mark.parametrize("cancelled", [False, True], ids=["raises", "what it waits for is cancelled"])
@pytest.mark.parametrize("name", KILLED)
async def test_a_task_that_dies_is_started_again_and_nothing_is_missed(name: str, cancelled: bool) -> None:
    async with Cluster(1) as cluster:
        await begin(cluster)
        for _ in range(3):
            await kill(name, cancelled=cancelled)
            assert (await healthz(cluster))[0] == 200
            await fail_leaders(cluster)
            assert await cluster.settles(10.0) <= 10.0
            assert (await healthz(cluster))[0] == 200
            await asyncio.sleep(60.0)
            assert await cluster.faults() == []
        restarts = [fact.task for fact in cluster.facts if isinstance(fact, TaskRestarted)]
        assert restarts == [name] * 3


@pytest.mark.parametrize("name", KILLED)
async def test_a_task_that_keeps_dying_ends_the_process_and_frees_the_lease(name: str) -> None:
    async with Cluster(1) as cluster:
        await begin(cluster)
        running, cluster._task = cluster._task, None
        assert running is not None

        async def keep_killing() -> None:
            for _ in range(FAILURES_LIMIT):
                await kill(name)
                await asyncio.sleep(5.0)

        killer = asyncio.create_task(keep_killing())
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(running, 60.0)
        killer.cancel()
        assert str(ended.value.exceptions[0]) == f"in {name}"
        lease = json.loads(await cluster.api.get(LEASES, "default", LEASE))
        assert lease["spec"]["holderIdentity"] == ""
        assert [t.get_name() for t in asyncio.all_tasks() if t not in {asyncio.current_task(), killer}] == []


async def hang(*args: object, **kwargs: object) -> Any:
    await asyncio.Event().wait()


def hang_informer(kind: str) -> Callable[[Cluster], None]:
    """Its next watch ends neither by the server's limit nor by its own."""

    def stick(cluster: Cluster) -> None:
        whole = cluster.network.watch

        async def watch(
            resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
        ) -> AsyncGenerator[bytes, None]:
            if resource.plural == kind:
                await hang()
            async for chunk in whole(resource, namespace, query, deadline_s=deadline_s):
                yield chunk

        cluster.network.watch = watch  # type: ignore[method-assign]

    return stick


def hang_elector(cluster: Cluster) -> None:
    assert cluster.controller is not None
    cluster.controller.elector._sleep = hang  # type: ignore[union-attr, method-assign]


def hang_recorder(cluster: Cluster) -> None:
    assert cluster.controller is not None
    cluster.controller.recorder._try = hang  # type: ignore[method-assign]


def hang_pass(cluster: Cluster) -> None:
    assert cluster.controller is not None
    cluster.controller.workers._rooms.reconciler.reconcile = hang  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("name", "stick", "within_s"),
    [
        # From when its current watch ends at the latest, to when the next one should have.
        *(
            (f"informer {kind}", hang_informer(kind), 2 * LONGEST_WATCH_S + LATE_S)
            for kind in ("services", "pods")
        ),
        ("elector", hang_elector, 2.4 + 2.4 + LATE_S),
        ("events", hang_recorder, ALIVE_S + LATE_S),
        ("urgent worker", hang_pass, ALIVE_S + LATE_S),
    ],
)
async def test_a_task_that_hangs_shows_in_the_probe(
    name: str, stick: Callable[[Cluster], None], within_s: float
) -> None:
    loop = asyncio.get_running_loop()
    async with Cluster(1) as cluster:
        await begin(cluster)
        stick(cluster)
        stuck_at = loop.time()
        await fail_leaders(cluster)
        while (answer := await healthz(cluster))[0] == 200:
            await asyncio.sleep(0.5)
            assert loop.time() - stuck_at <= within_s + 1.0, f"{name} hangs and the probe is content"
        assert answer[0] == 503
        assert f"no sign of life from {name}" in answer[1]


@pytest.mark.parametrize(
    "weather", [Weather(request_lost=1.0), Weather(reply_lost=1.0), Weather(throttled=1.0)]
)
async def test_an_api_server_that_does_not_answer_is_no_reason_to_restart(weather: Weather) -> None:
    """Three attempts of a write take half a minute then, and a pass may make several writes."""
    async with Cluster(1, weather) as cluster:
        keys = await begin(cluster)
        cluster.network.calm = False
        await fail_leaders(cluster)
        for namespace, service in keys:
            await cluster.service(namespace, f"{service}-too")
        for _ in range(300):
            await asyncio.sleep(1.0)
            assert await healthz(cluster) == (200, "ok\n")
        cluster.network.calm = True
        await cluster.settles(60.0)
        assert not [fact for fact in cluster.facts if isinstance(fact, TaskRestarted)]
