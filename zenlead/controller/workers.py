"""The workers: from the queue to a pass and back, for as long as this replica leads.

Knows lanes, credits and what to do after a pass that failed. Refuses to know what a pass does.
Rules: a key that was taken is always given back; no key is held while waiting for a credit; without the Lease
nothing is taken, and with it everything is looked at once; nothing is decided on what may be long over.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import traceback
from typing import TYPE_CHECKING

import msgspec

from zenlead.controller.apply import NAMESPACE_TERMINATING, Preempted, Stranger
from zenlead.controller.asked import Asked, Since
from zenlead.controller.caches import PodsUnknown
from zenlead.controller.facts import ControllerFact, Reconciled, TimedOut
from zenlead.controller.presence import Presence
from zenlead.controller.reconcile import Unsettled
from zenlead.controller.seats import Seats
from zenlead.controller.spans import Say, Span, untraced
from zenlead.controller.storm import Storm
from zenlead.kube.errors import ApiError, Forbidden
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import URGENT_IN_FLIGHT, Fenced, LaneWriter
from zenlead.kube.supervise import alive, at_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zenlead.controller.caches import Caches, Selectors
    from zenlead.controller.reconcile import Pass, Reconciler
    from zenlead.controller.triggers import Triggers
    from zenlead.kube.queue import WorkQueue
    from zenlead.lead.views import Key

# After an outage the passes that failed meanwhile are made within this time, not all at the same moment.
HASTEN_WITHIN_S = 2.0
# Writes that fail for this long, all of them, are the server's fault; one that succeeds then ends it for all.
OUTAGE_S = 5.0
# A slice that is not ours is not watched either: so often it is seen whether it still is in the way.
STRANGER_AGAIN_S = 10.0
# What RBAC says of a missing permission; admission refuses single objects by 403, too, in other words.
MISSING_RIGHT = re.compile(r'cannot \w+ resource "')
TURN_S = 0.003  # of passes that do not wait, before others are heard
LOOK_STEP = 100  # Services that are asked for in one go: less than a millisecond
URGENT_TRIES = 3  # passes in a row that may fail in the urgent lane: some 0.4 s of backoff in all

_MADE_AGAIN = frozenset({"error", "fenced", "preempted", "waiting"})  # results of passes


class Rooms(msgspec.Struct, frozen=True):
    """What the workers work with."""

    caches: Caches
    selectors: Selectors

    reconciler: Reconciler
    lanes: LaneWriter


class Workers:
    """``enqueue`` takes triggers; ``lead`` and ``follow`` open and shut the gate; ``urgent`` and ``routine``
    are the bodies of worker tasks, of which there are as many as their lane has places."""

    def __init__(
        self,
        rooms: Rooms,
        queue: WorkQueue[Key],
        *,
        wall: Callable[[], float],
        notify: Callable[[ControllerFact], None],
        span: Span = untraced,
    ) -> None:
        self._rooms = rooms
        self._queue = queue
        self._wall = wall
        self._notify = notify
        self._span = span
        self._loop = asyncio.get_running_loop()
        self._leading = asyncio.Event()
        self.presence = Presence()
        self.seats = Seats()  # of the routine lane
        self._asked = Asked()
        self._failing_since: float | None = None  # the first failed pass since one that wrote
        self._forbidden: dict[Key, str] = {}  # what is not permitted; emptied by a pass that is
        self.storm = Storm()
        self._turn_began: float | None = None  # when the first pass of this turn of the loop had ended
        self._under_way = 0  # passes
        self._idle = asyncio.Event()  # set while there are none
        self._idle.set()

    def __repr__(self) -> str:
        return f"Workers(leading={self._leading.is_set()} {self._asked!r} {self._queue!r})"

    @property
    def leading(self) -> bool:
        """Whether this replica works."""
        return self._leading.is_set()

    @property
    def forbidden_count(self) -> int:
        """Of how many Services a write is not permitted."""
        return len(self._forbidden)

    @property
    def forbidden(self) -> str | None:
        """Which verb on which resource is not permitted, in the API server's words; None if all are."""
        if not self._forbidden:
            return None
        also = f" (and {len(self._forbidden) - 1} more Services)" if len(self._forbidden) > 1 else ""
        return next(iter(self._forbidden.values())) + also

    def enqueue(self, triggers: Triggers) -> None:
        """Ask for passes. A standby remembers nothing: when it takes over it looks at everything."""
        if not triggers or not self._leading.is_set():
            return
        now = self._loop.time()
        for key, lane in triggers.items():
            self._asked.ask(key, lane, now)
            if lane is Lane.URGENT:
                self._rooms.reconciler.preempt(key)
        self._queue.add_all(triggers)

    def lead(self) -> None:
        """The Lease is ours: look at every Service, first at those with traffic, since nobody knows what was
        missed."""
        self._leading.set()
        self.look_at(self._rooms.caches.keys())

    def look_at(self, keys: Iterable[Key]) -> None:
        """Ask for passes over Services of which nobody knows what was missed."""
        self._look_on(iter(keys))

    def _look_on(self, rest: Iterator[Key]) -> None:
        """Ask for some, and for the others once everybody else has had a turn: there may be ten thousand."""
        routed = self._rooms.caches.slices.values_of("managed")
        some = list(itertools.islice(rest, LOOK_STEP))
        self.enqueue({key: Lane.URGENT if key in routed else Lane.FRESH for key in some})
        if len(some) == LOOK_STEP and self._leading.is_set():
            self._loop.call_soon(self._look_on, rest)

    def follow(self) -> None:
        """The Lease is not ours (any more)."""
        self._leading.clear()
        self._forbidden.clear()
        self._asked.forget()
        self._rooms.reconciler.forget_all()

    def back(self) -> None:
        """The API server answers again: what failed while it did not need not wait for its turn."""
        self._failing_since = None
        self._queue.hasten(HASTEN_WITHIN_S)

    async def idle(self) -> None:
        """Return once no pass is under way."""
        await self._idle.wait()

    async def urgent(self) -> None:
        while (key := await self._take(Lane.URGENT)) is not None:
            await self._work(key, Lane.URGENT)
            await self._turn()

    async def fresh(self) -> None:
        """Makes what is new at once, whatever the configured pace; but not at a server that fails."""
        while (key := await self._take(Lane.FRESH)) is not None:
            if self._failing_since is None:
                await self._rooms.lanes.try_credit()  # as long as there are any, it costs one like the rest
                await self._work(key, Lane.FRESH)
                await self._turn()
            else:
                self._queue.add(key, Lane.ROUTINE)
                self._queue.done(key)

    async def routine(self, number: int = 0) -> None:
        holds_credit = False
        while True:
            at_rest()
            await self._leading.wait()
            await self.seats.wait(number)
            if (calm_in_s := self.storm.calm_in_s(self._loop.time())) > 0:
                await asyncio.sleep(calm_in_s)
                continue
            if not holds_credit:
                await self._rooms.lanes.credit()
            key = await self._take(Lane.ROUTINE)
            if key is None:
                return
            if not self.seats.has(number):  # it went while this worker waited; another one takes the key
                holds_credit = True
                self._queue.add(key, Lane.ROUTINE)
                self._queue.done(key)
                continue
            holds_credit = await self._work(key, Lane.ROUTINE)
            await self._turn()

    async def _turn(self) -> None:
        """After a pass. One that finds nothing to write never waits, and ten thousand of them in a row would
        let nobody else have the loop: after TURN_S all workers together leave it for one round."""
        if self._turn_began is None:
            self._turn_began = self._loop.time()
            self._loop.call_soon(self._turned)
        # What is waited for is the loop's next round, which is no event.
        while self._turn_began is not None and self._loop.time() - self._turn_began > TURN_S:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _turned(self) -> None:
        self._turn_began = None

    async def _take(self, lane: Lane) -> Key | None:
        while True:
            at_rest()
            await self._leading.wait()
            await self.presence.together()
            key = await self._queue.get((lane,))
            leads, is_time = self._leading.is_set(), self.presence.hold_s() == 0
            if key is None or (leads and is_time):
                return key
            if leads:  # what is known may be over; decided later, it is asked for still
                self._queue.add(key, lane)
            self._queue.done(key)  # else the Lease went while this worker waited: it is another's key now

    async def _work(self, key: Key, lane: Lane) -> bool:
        """One pass and what follows from it, told as a whole. Returns whether it wrote nothing."""
        started = self._loop.time()
        alive()
        self._under_way += 1
        self._idle.clear()
        since = self._asked.take(key, started)
        ago_s = started - since.seen_at
        where = {"namespace": key[0], "service": key[1], "lane": lane.label}
        with self._span("reconcile", where, ago_s) as say:
            with self._span("wait", {}, ago_s):
                pass  # it is over
            return await self._work_on(key, lane, since, started, say)

    async def _work_on(self, key: Key, lane: Lane, since: Since, started: float, say: Say) -> bool:
        fact = Reconciled(*key, "success", 0.0, lane=lane.label, waited_s=started - since.asked_at)
        try:
            done = await self._pass(key, lane, since.seen_at)
        except Fenced:
            fact = msgspec.structs.replace(fact, result="fenced")
            if self._leading.is_set():  # it was renewed after all, so nobody else will look at the key
                self._queue.retry(key, lane)
            return False
        except Preempted:
            fact = msgspec.structs.replace(fact, result="preempted")
            return False  # the queue knows that the key was asked for again
        except PodsUnknown:
            fact = msgspec.structs.replace(fact, result="waiting")
            return False  # whoever reads the pods asks for the key once they are known
        except (ApiError, Stranger, Unsettled) as error:
            fact = self._failed(fact, key, lane, error)
            return False
        except asyncio.CancelledError:
            fact = msgspec.structs.replace(fact, result="cancelled")
            raise
        except Exception as error:  # a defect, of which one Service must not make all the others suffer
            fact = self._failed(fact, key, lane, error)
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename}:{place.lineno}"
            fact = msgspec.structs.replace(fact, error=f"{fact.error} (unexpected, at {where})")
            return False
        else:
            result = "requeue" if done.more else "success"
            fact = msgspec.structs.replace(fact, result=result, writes=done.writes)
            if lane is not Lane.ROUTINE and done.writes:
                self.storm.note(self._loop.time())
            self._came_through(key, done)
            return done.writes == 0
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
            self._keep(key, since, fact)
            self._queue.done(key)
            say("result", fact.result)
            if fact.error:
                say("error", fact.error)
            self._notify(msgspec.structs.replace(fact, seconds=self._loop.time() - started))

    async def _pass(self, key: Key, lane: Lane, seen_at: float) -> Pass:
        rooms = self._rooms
        if not await rooms.selectors.load(key[0]):
            self._notify(TimedOut(key[0], "cache_update"))

        return await rooms.reconciler.reconcile(
            lambda: rooms.caches.snapshot(key, rooms.selectors.peek(key[0])),
            Lane.ROUTINE if lane is Lane.ROUTINE else Lane.URGENT,
            seen_at,
            # What is new and fails goes on at the pace of the routine lane: that is its second try.
            failing=lane is Lane.FRESH or self._queue.failures(key) > 0,
        )

    def _keep(self, key: Key, since: Since, fact: Reconciled) -> None:
        """A pass that did not come through is made again, and is about the same event then."""
        if fact.result in _MADE_AGAIN and self._leading.is_set():
            self._asked.again(key, since)

    def _came_through(self, key: Key, done: Pass) -> None:
        """What follows from a pass that did not fail."""
        self._queue.forget(key)
        if done.more:
            self._queue.add(key, Lane.ROUTINE)
        else:
            self._forbidden.pop(key, None)
        if done.look_after_s is not None:
            self._queue.add(key, Lane.ROUTINE, after_s=done.look_after_s)
        self.enqueue(dict.fromkeys(done.others, Lane.ROUTINE))
        if done.wake_at is not None:
            self._queue.add(key, Lane.URGENT, after_s=max(0.0, done.wake_at - self._wall()))
        self._wrote(done.writes)

    def _wrote(self, writes: int) -> None:
        if not writes:
            return
        since, self._failing_since = self._failing_since, None
        if since is not None and self._loop.time() - since > OUTAGE_S:
            self.back()

    def _failed(self, fact: Reconciled, key: Key, lane: Lane, error: Exception) -> Reconciled:
        if isinstance(error, Forbidden) and NAMESPACE_TERMINATING in error.causes:
            self._forbidden.pop(key, None)
            return msgspec.structs.replace(fact, result="dropped")  # nothing can be made there any more
        if isinstance(error, Stranger):
            self._queue.add(key, Lane.ROUTINE, after_s=STRANGER_AGAIN_S)
            return msgspec.structs.replace(fact, result="error", error_type="Stranger", error=str(error))
        if isinstance(error, Forbidden) and MISSING_RIGHT.search(error.message):
            self._forbidden[key] = error.message
        if self._failing_since is None:
            self._failing_since = self._loop.time()
        # An API server that fails for long is not asked at the urgent lane's pace for ever.
        patient = lane is Lane.FRESH or self._queue.failures(key) >= URGENT_TRIES
        self._queue.retry(key, Lane.ROUTINE if patient else lane)
        return msgspec.structs.replace(
            fact, result="error", error_type=type(error).__name__, error=str(error)
        )


def places(max_concurrent_reconciles: int) -> dict[Lane, int]:
    """How many workers each lane has. The urgent lane is bounded by its requests in flight; of those what is
    new takes a part, so that a failover finds room among a thousand Services that are being made."""
    fresh = URGENT_IN_FLIGHT * 3 // 4
    return {Lane.URGENT: URGENT_IN_FLIGHT, Lane.FRESH: fresh, Lane.ROUTINE: max_concurrent_reconciles}
