"""From the queue to a pass and back: no key is lost or kept, and a standby does nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.controller.scene import Scene
from zenlead.controller.apply import Stranger
from zenlead.controller.caches import PodsUnknown, Selectors
from zenlead.controller.facts import ControllerFact, Reconciled, TimedOut
from zenlead.controller.presence import CATCH_UP_S
from zenlead.controller.reconcile import Pass
from zenlead.controller.workers import (
    HASTEN_WITHIN_S,
    LOOK_STEP,
    STRANGER_AGAIN_S,
    TURN_S,
    Rooms,
    Workers,
    places,
)
from zenlead.kube.errors import Forbidden, Unreachable
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import URGENT_IN_FLIGHT, Fenced
from zenlead.kube.lru import AsyncLRU
from zenlead.kube.queue import WorkQueue
from zenlead.kube.resources import ENDPOINT_SLICES
from zenlead.lead import contract
from zenlead.lead.writes import Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from zenlead.controller.selectors import NamespaceIndex
    from zenlead.lead.desired import Snapshot

pytestmark = pytest.mark.virtual_clock

URGENT, FRESH, ROUTINE = Lane
WEB = ("t1", "web")


class Scripted:
    """In place of a Reconciler: each pass does the next thing of the script, then ``Pass()`` for ever."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.passes: list[tuple[float, str, str]] = []  # loop time, Service, lane
        self.seen_at: list[float] = []  # loop times at which the change of each pass was seen
        self.preempted: list[tuple[str, str]] = []
        self.forgotten = 0
        self.takes_s = 0.0
        self.running = 0
        self.most_running = 0

    def preempt(self, key: tuple[str, str]) -> None:
        self.preempted.append(key)

    def forget_all(self) -> None:
        self.forgotten += 1

    async def reconcile(
        self, snapshot: Callable[[], Snapshot], lane: Lane, seen_at: float, *, failing: bool = False
    ) -> Pass:
        seen = snapshot()
        self.passes.append((asyncio.get_running_loop().time(), seen.name, lane.label))
        self.seen_at.append(seen_at)
        step = self.script.pop(0) if self.script else Pass()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.running -= 1
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, Pass)
        return step

    def times(self) -> list[float]:
        return [at for at, _, _ in self.passes]


class Shop:
    """Workers on a Scripted or real reconciler, over the caches of a Scene."""

    def __init__(self, scene: Scene, reconciler: Any = None) -> None:
        self.scene = scene
        self.facts: list[ControllerFact] = []
        self.loads = 0
        self.load_takes_s = 0.0
        cache: AsyncLRU[str, NamespaceIndex] = AsyncLRU(
            "selectors", self._load, max_entries=10, load_timeout_s=1.0
        )
        self.selectors = Selectors(scene.caches, cache)
        self.queue: WorkQueue[tuple[str, str]] = WorkQueue(jitter=lambda: 1.0)
        self.reconciler = reconciler or scene.reconciler
        rooms = Rooms(scene.caches, self.selectors, self.reconciler, scene.lanes)
        self.workers = Workers(rooms, self.queue, wall=scene.wall, notify=self.facts.append)

    async def _load(self, namespace: str) -> NamespaceIndex:
        self.loads += 1
        await asyncio.sleep(self.load_takes_s)
        return await self.scene.caches.load_index(namespace)

    @contextlib.asynccontextmanager
    async def open(self, *, urgent: int = 1, routine: int = 1) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.workers.urgent()) for _ in range(urgent)]
            tasks.append(group.create_task(self.workers.fresh()))
            tasks += [group.create_task(self.workers.routine()) for _ in range(routine)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def results(self) -> list[str]:
        return [fact.result for fact in self.facts if isinstance(fact, Reconciled)]

    def at_rest(self) -> bool:
        """Nothing is remembered of any key."""
        return len(self.queue._schedule) == 0 and not self.workers._asked


def shop(*script: Any, **scene: Any) -> Shop:
    return Shop(Scene(**scene), Scripted(*script))


async def test_a_key_is_worked_on_in_its_lane() -> None:
    s = shop()
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT, ("t1", "api"): ROUTINE})
        await asyncio.sleep(1)
        assert sorted(s.reconciler.passes) == [(0.0, "api", "routine"), (0.0, "web", "urgent")]
        assert s.reconciler.preempted == [WEB]
        await asyncio.sleep(5)
        assert s.at_rest()


async def test_a_standby_remembers_nothing() -> None:
    s = shop()
    async with s.open():
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(60)
        assert (s.reconciler.passes, s.at_rest()) == ([], True)
        s.workers.lead()
        await asyncio.sleep(60)
        assert s.reconciler.passes == [], "nothing is known, so nothing is looked at"


async def test_whoever_takes_over_looks_at_everything_and_at_traffic_first() -> None:
    scene = await Scene().begin("web-0")
    await scene.pass_()
    await scene.service("api")
    await scene.service("quiet", annotations={contract.ENABLED: "false"})
    await scene.sync()
    s = Shop(scene, Scripted())
    async with s.open():
        s.workers.lead()
        await asyncio.sleep(1)
        assert {(name, lane) for _, name, lane in s.reconciler.passes} == {
            ("web", "urgent"),
            ("api", "urgent"),
        }
        assert [name for _, name, _ in s.reconciler.passes] == ["web", "api"]


async def test_what_is_left_of_ours_is_looked_at_too() -> None:
    """The source opted out while nobody led."""
    scene = await Scene().begin("web-0")
    await scene.pass_()
    await scene.patch_source(enabled="false")
    s = Shop(scene)
    async with s.open():
        s.workers.lead()
        await asyncio.sleep(5)
        assert await scene.names(ENDPOINT_SLICES) == set()


async def test_without_the_lease_no_key_is_taken_and_none_is_kept() -> None:
    s = shop()
    async with s.open():
        s.workers.lead()
        await asyncio.sleep(1)
        s.workers.follow()
        s.queue.add(WEB, URGENT)  # as a retry or a wake-up that comes due
        s.queue.add(("t1", "api"), ROUTINE)
        await asyncio.sleep(60)
        assert (s.reconciler.passes, s.at_rest()) == ([], True)


async def test_a_failing_key_is_tried_again_ever_more_slowly() -> None:
    s = shop(*[Unreachable("down", status=500)] * 12)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(300)
        times = s.reconciler.times()
        waits = [b - a for a, b in itertools.pairwise(times)]
        assert len(waits) == 12
        assert waits == sorted(waits)
        assert waits[0] < 0.2
        assert 10 < waits[-1] <= 31
        assert s.results() == ["error"] * 12 + ["success"]
        assert s.at_rest(), "success makes the failures forgotten"
    assert {f.error_type for f in s.facts if isinstance(f, Reconciled)} == {"Unreachable", ""}


async def test_a_stranger_in_the_way_is_looked_at_again_and_again_at_one_pace() -> None:
    s = shop(*[Stranger(Target.SLICES, "web-leader")] * 9)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(120)
        waits = [b - a for a, b in itertools.pairwise(s.reconciler.times())]
        assert waits == pytest.approx([STRANGER_AGAIN_S] * 9, abs=0.1)
        assert s.results() == ["error"] * 9 + ["success"]
        assert {lane for _, _, lane in s.reconciler.passes[1:]} == {"routine"}
        assert s.at_rest()


async def test_services_that_a_pass_names_are_looked_at_too() -> None:
    s = shop(Pass(others=[("t1", "api")]))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: ROUTINE})
        await asyncio.sleep(1)
        assert [name for _, name, _ in s.reconciler.passes] == ["web", "api"]


async def test_a_terminating_namespace_drops_the_key_quietly() -> None:
    terminating = Forbidden("being terminated", status=403, causes=("NamespaceTerminating",))
    s = shop(Unreachable("down"), terminating)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: ROUTINE})
        await asyncio.sleep(120)
        assert len(s.reconciler.passes) == 2
        assert s.results() == ["error", "dropped"]
        assert s.at_rest(), "the earlier failure is remembered for ever"


async def test_other_refusals_are_tried_again() -> None:
    s = shop(Forbidden("rbac", status=403))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: ROUTINE})
        await asyncio.sleep(10)
        assert s.results() == ["error", "success"]


async def test_a_write_that_was_cut_by_a_short_authority_is_not_forgotten_by_who_still_leads() -> None:
    """The Lease was renewed in time after all: nobody takes over, so nobody else looks at the key."""
    s = shop(Fenced("cut"))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(30)
        assert s.results() == ["fenced", "success"]
        assert s.at_rest()


async def test_who_lost_the_lease_leaves_the_key_to_the_next_holder() -> None:
    s = shop(Fenced("lost"))
    s.reconciler.takes_s = 1.0
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(0.5)
        s.workers.follow()
        await asyncio.sleep(60)
        assert s.results() == ["fenced"]
        assert s.at_rest()


NO_RIGHT = 'services "web-leader" is forbidden: User "zen" cannot patch resource "services" in API group ""'


async def test_a_permission_that_is_missing_is_named_until_the_write_comes_through() -> None:
    s = shop(Forbidden(NO_RIGHT, status=403), Forbidden(NO_RIGHT, status=403), Pass(writes=1, more=True))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT, ("t1", "api"): URGENT})
        assert s.workers.forbidden is None
        await asyncio.sleep(0.001)  # both have failed once, and are to be tried again a little later
        assert s.workers.forbidden == f"{NO_RIGHT} (and 1 more Services)"
        await asyncio.sleep(10)
        assert s.workers.forbidden is None


async def test_a_permission_is_another_replicas_matter_once_that_leads() -> None:
    s = shop(*[Forbidden(NO_RIGHT, status=403)] * 50)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(5)
        assert s.workers.forbidden == NO_RIGHT
        s.workers.follow()
        assert s.workers.forbidden is None


async def test_a_refusal_of_one_object_is_no_missing_permission() -> None:
    s = shop(
        *[Forbidden("services is forbidden: exceeded quota: few, requested: services=1", status=403)] * 9
    )
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(5)
        assert s.results()[0] == "error"
        assert s.workers.forbidden is None


async def test_a_bug_in_one_service_is_told_and_leaves_the_workers_to_the_others() -> None:
    s = shop(ZeroDivisionError("a bug"))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(5)
        assert s.results() == ["error", "success"]
        assert s.at_rest()
    (told,) = [f for f in s.facts if isinstance(f, Reconciled) and f.result == "error"]
    assert told.error_type == "ZeroDivisionError"
    assert "a bug (unexpected, at " in told.error


async def test_a_cancelled_pass_gives_its_key_back() -> None:
    s = shop()
    s.reconciler.takes_s = 60.0
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(1)
    assert s.queue.longest_running_s() == 0.0
    assert "success" not in s.results(), "it did not succeed"
    async with asyncio.timeout(1):
        await s.workers.idle()


async def test_what_happens_during_a_pass_is_looked_at_after_it() -> None:
    s = shop()
    s.reconciler.takes_s = 1.0
    async with s.open(urgent=4):
        s.workers.lead()
        for _ in range(4):
            s.workers.enqueue({WEB: URGENT})
            await asyncio.sleep(0.2)
        await asyncio.sleep(10)
        assert s.reconciler.times() == [0.0, 1.0]
        assert s.reconciler.most_running == 1


async def test_what_the_urgent_lane_leaves_is_the_routine_lanes() -> None:
    s = shop(Pass(writes=1, more=True))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(5)
        assert [lane for _, _, lane in s.reconciler.passes] == ["urgent", "routine"]
        assert s.results() == ["requeue", "success"]


async def test_a_pass_that_asks_to_be_woken_is() -> None:
    s = shop()
    s.reconciler.script.append(Pass(wake_at=s.scene.wall() + 7.5))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: ROUTINE})
        await asyncio.sleep(60)
        assert s.reconciler.times() == [0.0, 7.5]


async def test_a_time_that_is_past_wakes_at_once() -> None:
    s = shop()
    s.reconciler.script.append(Pass(wake_at=s.scene.wall() - 100))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: ROUTINE})
        await asyncio.sleep(60)
        assert s.reconciler.times() == [0.0, 0.0]


async def test_no_key_is_held_while_waiting_for_a_credit() -> None:
    s = shop(*[Pass(writes=1)] * 3, qps=0.1, burst=1)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({("t1", name): ROUTINE for name in ("a", "b")})
        await asyncio.sleep(5)  # a has been done; the worker waits for its second credit
        assert len(s.reconciler.passes) == 1
        s.workers.enqueue({("t1", "b"): URGENT})
        await asyncio.sleep(0.1)
        assert s.reconciler.passes[-1][1:] == ("b", "urgent"), "the key was free for the urgent lane"


async def test_a_pass_that_wrote_nothing_keeps_its_credit() -> None:
    s = shop(qps=0.001, burst=1)
    async with s.open():
        s.workers.lead()
        for _ in range(20):
            s.workers.enqueue({WEB: ROUTINE})
            await asyncio.sleep(2)
        assert len(s.reconciler.passes) == 20


async def test_routine_writes_keep_the_pace_and_urgent_ones_do_not_wait() -> None:
    s = shop(*[Pass(writes=1)] * 40, qps=1, burst=1)
    async with s.open(routine=4):
        s.workers.lead()
        s.workers.enqueue({("t1", f"s{i}"): ROUTINE for i in range(10)})
        await asyncio.sleep(0.5)
        s.workers.enqueue({("t1", f"u{i}"): URGENT for i in range(10)})
        await asyncio.sleep(0.1)
        assert sum(lane == "urgent" for _, _, lane in s.reconciler.passes) == 10
        await asyncio.sleep(20)
        routine = [at for at, _, lane in s.reconciler.passes if lane == "routine"]
        assert len(routine) == 10
        assert routine[-1] >= 8


async def test_what_is_new_is_made_at_once_without_a_credit() -> None:
    s = shop(*[Pass(writes=2, more=True)] * 20, qps=0.01, burst=1)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({("t1", f"n{i}"): FRESH for i in range(20)})
        await asyncio.sleep(0.1)
        assert [lane for _, _, lane in s.reconciler.passes].count("urgent") == 20


async def test_at_a_server_that_fails_what_is_new_keeps_the_pace() -> None:
    s = shop(*[Unreachable("no")] * 200, qps=1, burst=1)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({("t1", f"n{i}"): FRESH for i in range(30)})
        await asyncio.sleep(10.5)
        lanes = [lane for _, _, lane in s.reconciler.passes]
        assert lanes.count("urgent") == 1, "the one that was under way"
        assert 10 <= lanes.count("routine") <= 12


@pytest.mark.parametrize("lane", [URGENT, FRESH])
async def test_in_a_storm_the_rest_waits_for_its_end(lane: Lane) -> None:
    s = shop(*[Pass(writes=1)] * 100)
    async with s.open():
        s.workers.lead()
        for number in range(40):
            s.workers.enqueue({("t1", f"u{number}"): lane, ("t1", f"r{number}"): ROUTINE})
            await asyncio.sleep(0.05)
        routine = [at for at, _, lane in s.reconciler.passes if lane == "routine"]
        assert max(routine) < 1.0, "before it was one"
        await asyncio.sleep(1.5)
        routine = [at for at, _, lane in s.reconciler.passes if lane == "routine"]
        assert len(routine) == 40
        assert len([lane for _, _, lane in s.reconciler.passes if lane == "urgent"]) == 40


async def test_the_time_in_the_queue_is_told() -> None:
    s = shop()
    s.workers.lead()
    s.workers.enqueue({WEB: URGENT})
    await asyncio.sleep(3)
    async with s.open():
        await asyncio.sleep(1)
    (fact,) = [f for f in s.facts if isinstance(f, Reconciled)]
    assert (fact.waited_s, fact.lane, fact.namespace, fact.service) == (3.0, "urgent", "t1", "web")


async def test_a_failover_is_timed_from_the_event_that_hurt() -> None:
    s = shop()
    s.workers.lead()
    s.workers.enqueue({WEB: ROUTINE})
    await asyncio.sleep(3)
    s.workers.enqueue({WEB: URGENT})
    await asyncio.sleep(1)
    s.workers.enqueue({WEB: ROUTINE})
    s.workers.enqueue({WEB: URGENT})
    async with s.open():
        await asyncio.sleep(1)
    assert s.reconciler.seen_at == [3.0]
    assert [f.waited_s for f in s.facts if isinstance(f, Reconciled)] == [4.0]
    assert s.at_rest()


async def test_a_failover_that_takes_several_passes_is_timed_from_the_first() -> None:
    s = shop(Unreachable("down"), Fenced("too short"), ValueError("a bug"), Pass(), Pass())
    s.workers.lead()
    async with s.open():
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(10)
        assert s.reconciler.seen_at == [0.0] * 4
        s.workers.enqueue({WEB: URGENT})  # the next one begins anew
        await asyncio.sleep(1)
    assert s.reconciler.seen_at[4:] == [10.0]
    assert s.at_rest()


async def test_what_failed_before_the_lease_went_is_not_timed_when_it_comes_back() -> None:
    s = shop(Unreachable("down"), Pass())
    s.reconciler.takes_s = 1.0
    s.workers.lead()
    async with s.open():
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(0.5)
        s.workers.enqueue({WEB: URGENT})
        s.workers.follow()
        assert not s.workers._asked
        await asyncio.sleep(59.5)
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(1)
    assert s.reconciler.seen_at == [0.0, 60.0]


async def test_an_index_that_does_not_load_in_time_is_told_and_the_pass_goes_on() -> None:
    s = shop()
    s.load_takes_s = 5.0
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(4)
        assert [f for f in s.facts if isinstance(f, TimedOut)] == [TimedOut("t1", "cache_update")]
        assert s.results() == ["success"]


async def test_shutdown_ends_the_workers() -> None:
    s = shop()
    s.workers.lead()
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        group.create_task(s.workers.urgent())
        group.create_task(s.workers.routine())
        await asyncio.sleep(0.1)
        s.queue.shutdown()


async def test_a_failover_from_the_queue_to_the_slice() -> None:
    scene = await Scene(qps=1, burst=1).begin("web-0", "web-1")
    s = Shop(scene)
    async with s.open():
        s.workers.lead()
        await asyncio.sleep(30)
        assert await scene.routes() == ["web-0"]
        scene.forget()
        await scene.ready("web-0", now=False)
        await scene.sync()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(0.01)
        assert await scene.routes() == ["web-1"]
        assert scene.api.writes()[0] == ("patch", "endpointslices")
        await asyncio.sleep(30)
        assert scene.api.writes() == [("patch", "endpointslices"), ("patch", "services")]
        assert s.at_rest()


async def test_routine_workers_come_and_go_while_they_work() -> None:
    """No pass is interrupted, no key is lost, and never do more work than there are seats."""
    s = shop()
    s.reconciler.takes_s = 1.0
    hired: list[str] = []
    async with asyncio.TaskGroup() as group:
        tasks = []

        def hire(name: str, body: Any) -> None:
            hired.append(name)
            tasks.append(group.create_task(body()))

        async def most_at_work() -> int:
            s.reconciler.most_running = 0
            s.workers.enqueue({("t1", f"s{number}"): ROUTINE for number in range(12)})
            await asyncio.sleep(1.5)
            return int(s.reconciler.most_running)

        s.workers.lead()
        s.workers.seats.set(2)
        s.workers.seats.fill(hire, s.workers.routine)
        assert hired == ["routine worker 0", "routine worker 1"]
        assert await most_at_work() == 2
        s.workers.seats.set(6)
        assert hired[2:] == [f"routine worker {number}" for number in range(2, 6)]
        await asyncio.sleep(30)
        assert await most_at_work() == 6
        await asyncio.sleep(30)
        s.workers.seats.set(1)  # five of those that wait for a key have no seat any more
        assert await most_at_work() == 1
        s.workers.seats.set(3)
        assert len(hired) == 6, "those that wait are as good as new ones"
        await asyncio.sleep(30)
        assert await most_at_work() == 3
        await asyncio.sleep(30)
        assert len(s.reconciler.passes) == 4 * 12
        assert s.at_rest()
        for task in tasks:
            task.cancel()


def test_the_lanes_have_their_places() -> None:
    assert places(7) == {URGENT: URGENT_IN_FLIGHT, FRESH: 24, ROUTINE: 7}
    assert places(7)[FRESH] < URGENT_IN_FLIGHT, "a failover finds room"


async def test_when_the_server_is_back_nothing_waits_for_its_backoff() -> None:
    s = shop(*[Unreachable("down", status=500)] * 40)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(200)
        failed = len(s.reconciler.passes)
        s.reconciler.script.clear()
        back_at = asyncio.get_running_loop().time()
        s.workers.back()
        await asyncio.sleep(HASTEN_WITHIN_S + 0.1)
        assert len(s.reconciler.passes) == failed + 1
        assert s.reconciler.times()[-1] - back_at <= HASTEN_WITHIN_S
        assert s.at_rest()


@pytest.mark.parametrize(("writes", "hastened"), [(1, True), (0, False)])
async def test_the_first_write_that_succeeds_after_an_outage_of_writes_ends_it_for_all(
    writes: int, hastened: bool
) -> None:
    s = shop(*[Unreachable("down", status=500)] * 40)
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: ROUTINE})
        await asyncio.sleep(13.0)
        failed = len(s.reconciler.passes)
        assert failed == 9, "the next pass is twelve seconds away"
        s.reconciler.script[:] = [Pass(writes=writes)]
        s.workers.enqueue({("t1", "api"): URGENT})
        await asyncio.sleep(HASTEN_WITHIN_S + 0.1)
        again = [at for at, name, _ in s.reconciler.passes[failed + 1 :] if name == "web"]
        assert bool(again) is hastened


# --- after an outage the informers return one after the other -----------------------------------------------


def informed(*script: Any) -> Shop:
    s = shop(*script)
    for name in ("services", "pods"):
        s.workers.presence.add(name)
    return s


async def test_nothing_is_decided_while_no_informer_gets_an_answer() -> None:
    s = informed()
    async with s.open():
        s.workers.lead()
        for name in ("services", "pods"):
            s.workers.presence.left(name)
        s.workers.enqueue({WEB: URGENT, ("t1", "api"): ROUTINE})
        await asyncio.sleep(600.0)
        assert s.reconciler.passes == []
        s.workers.presence.came("services")
        await asyncio.sleep(CATCH_UP_S - 1.0)
        assert s.reconciler.passes == [], "what is known of pods may be over"
        s.workers.presence.came("pods")
        await asyncio.sleep(0.1)
        assert sorted(name for _, name, _ in s.reconciler.passes) == ["api", "web"]
        assert s.at_rest()


async def test_one_informer_that_stays_away_holds_up_for_seconds_and_no_longer() -> None:
    s = informed()
    async with s.open():
        s.workers.lead()
        for name in ("services", "pods"):
            s.workers.presence.left(name)
        await asyncio.sleep(60.0)
        s.workers.presence.came("services")
        came_at = asyncio.get_running_loop().time()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(2 * CATCH_UP_S)
        assert s.reconciler.times() == [pytest.approx(came_at + CATCH_UP_S)]
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(0.1)
        assert len(s.reconciler.passes) == 2


async def test_one_informer_without_an_answer_holds_nobody_up() -> None:
    s = informed()
    async with s.open():
        s.workers.lead()
        s.workers.presence.left("services")
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(0.1)
        assert len(s.reconciler.passes) == 1


async def test_a_service_whose_pods_are_not_known_waits_until_somebody_asks_again() -> None:
    s = shop(PodsUnknown("not read yet"))
    async with s.open():
        s.workers.lead()
        s.workers.enqueue({WEB: URGENT})
        await asyncio.sleep(100.0)
        assert len(s.reconciler.passes) == 1, "it does not ask by itself"
        assert s.results() == ["waiting"]
        s.workers.look_at([WEB])
        await asyncio.sleep(1.0)
        assert s.reconciler.seen_at == [0.0, 0.0], "both passes are about the same event"
        assert s.results() == ["waiting", "success"]
        assert s.at_rest()


async def test_no_snapshot_is_taken_of_a_service_whose_pods_are_not_known() -> None:
    scene = await Scene().begin("web-0")
    scene.caches.knows_pods = lambda namespace: namespace != "t1"
    with pytest.raises(PodsUnknown):
        scene.caches.snapshot(WEB, None)
    with pytest.raises(PodsUnknown):
        await scene.pass_()
    assert scene.api.writes() == []
    await scene.patch_source(enabled=None)
    assert scene.caches.snapshot(WEB, None).pods == (), "who is out can be tidied up"


class Instant(Scripted):
    """Passes that take a millisecond and wait for nothing."""

    async def reconcile(self, *_: Any, **__: Any) -> Pass:
        loop: Any = asyncio.get_running_loop()
        loop.jump(0.001)
        self.passes.append((loop.time(), "", ""))
        return Pass()


async def test_passes_that_wait_for_nothing_leave_the_loop_to_others() -> None:
    instant = Instant()
    shop = Shop(await Scene().begin(), instant)
    shop.workers.follow()
    loop = asyncio.get_running_loop()
    async with shop.open(urgent=4, routine=2):
        shop.workers.lead()
        await asyncio.sleep(1.0)
        instant.passes.clear()
        shop.workers.look_at([("t1", f"s{number}") for number in range(300)])
        last, longest = loop.time(), 0.0
        while len(instant.passes) < 300:
            await asyncio.sleep(0)
            last, longest = loop.time(), max(longest, loop.time() - last)
    assert longest < TURN_S + 0.001 * 8, "one pass of each worker, and what a turn may take"


async def test_very_many_services_are_asked_for_bit_by_bit() -> None:
    shop = Shop(await Scene().begin(), Scripted())
    shop.workers.lead()
    await asyncio.sleep(0)
    before = shop.queue.due(FRESH)
    shop.workers.look_at([("t1", f"s{number}") for number in range(2 * LOOK_STEP + 1)])
    assert shop.queue.due(FRESH) == before + LOOK_STEP
    await asyncio.sleep(0)
    assert shop.queue.due(FRESH) == before + 2 * LOOK_STEP
    await asyncio.sleep(0)
    assert shop.queue.due(FRESH) == before + 2 * LOOK_STEP + 1
