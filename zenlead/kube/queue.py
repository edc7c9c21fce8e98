"""The queue that workers wait on: a Schedule, one timer and one wake-up per key that is ready.

Knows the event loop and who waits. Refuses to know what work means, and every rule about order or repetition:
those are the Schedule's. The rule not to break: change the schedule, then settle, with no await between.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, Generic

import msgspec

from zenlead.kube.lane import Lane
from zenlead.kube.schedule import K, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = ["Lane", "LaneStats", "Schedule", "WorkQueue"]


class LaneStats(msgspec.Struct):
    """Totals of one lane since the start."""

    added: int = 0
    retried: int = 0
    taken: int = 0
    waited_s: float = 0.0  # sum over all taken keys of the time between due and taken


class _Group:
    """The workers that wait for the same lanes: those asleep, and how many were woken but did not run yet."""

    def __init__(self) -> None:
        self.asleep: deque[asyncio.Future[None]] = deque()
        self.woken = 0

    def wake(self, count: int) -> None:
        """See to it that ``count`` workers are up, as far as there are any."""
        while self.asleep and self.woken < count:
            waiter = self.asleep.popleft()
            self.woken += 1
            if not waiter.done():  # a cancelled one has not run yet; when it does, it passes the wake-up on
                waiter.set_result(None)

    def join(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asleep.append(waiter)
        return waiter

    def leave(self, waiter: asyncio.Future[None]) -> None:
        if waiter in self.asleep:
            self.asleep.remove(waiter)
        else:
            self.woken -= 1


class WorkQueue(Generic[K]):
    """A Schedule that workers can wait on. For one event loop; made while it runs.

    A worker calls ``get``, works, calls ``retry`` if that failed, and always calls ``done``.
    """

    def __init__(self, *, jitter: Callable[[], float] = random.random, min_interval_s: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._schedule: Schedule[K] = Schedule(jitter=jitter, min_interval_s=min_interval_s)
        self._groups: dict[frozenset[Lane], _Group] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.stats: dict[Lane, LaneStats] = {lane: LaneStats() for lane in Lane}

    def __repr__(self) -> str:
        asleep = sum(len(group.asleep) for group in self._groups.values())
        return f"WorkQueue({self._schedule!r} asleep={asleep} closed={self._closed})"

    def add(self, key: K, lane: Lane = Lane.ROUTINE, *, after_s: float = 0.0) -> None:
        """Ask for a pass over ``key``, ``after_s`` seconds from now."""
        self.stats[lane].added += 1
        self._schedule.add(key, self._loop.time() + after_s, lane)
        self._settle()

    def add_all(self, asked: Mapping[K, Lane]) -> None:
        """Ask for a pass over each key now."""
        now = self._loop.time()
        for key, lane in asked.items():
            self.stats[lane].added += 1
            self._schedule.add(key, now, lane)
        self._settle()

    def retry(self, key: K, lane: Lane = Lane.ROUTINE) -> float:
        """Ask for another pass after a failed one; returns its delay in seconds. ``done`` still follows."""
        self.stats[lane].retried += 1
        delay_s = self._schedule.retry(key, self._loop.time(), lane)
        self._settle()
        return delay_s

    def hasten(self, within_s: float) -> None:
        """What made keys fail is over: try each again within ``within_s`` seconds."""
        self._schedule.hasten(self._loop.time(), within_s)
        self._settle()

    def failures(self, key: K) -> int:
        """How often in a row passes over ``key`` have failed."""
        return self._schedule.failures(key)

    def forget(self, key: K) -> None:
        """Forget that ``key`` ever failed: its next failure counts as the first."""
        self._schedule.forget(key)

    def done(self, key: K) -> None:
        """The pass over ``key`` has ended; it may be taken again."""
        self._schedule.done(key)
        self._settle()

    async def get(self, lanes: Collection[Lane]) -> K | None:
        """The next key of ``lanes``, waiting for one if need be; None once the queue is shut down."""
        group = self._groups.setdefault(frozenset(lanes), _Group())
        while not self._closed:
            key = self._take(lanes)
            if key is not None:
                return key
            waiter = group.join()
            self._settle()
            try:
                await waiter
            except BaseException:
                group.leave(waiter)
                self._settle()  # the wake-up that this worker will not use goes to another
                raise
            group.leave(waiter)
        return None

    def space(self, min_interval_s: float) -> None:
        """From the next pass on, space the routine passes over a key so."""
        self._schedule.min_interval_s = min_interval_s

    def shutdown(self) -> None:
        """Every ``get``, waiting or to come, returns None. Keys that are out may still be given back."""
        self._closed = True
        for group in self._groups.values():
            group.wake(group.woken + len(group.asleep))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def due(self, lane: Lane) -> int:
        """How many keys wait in ``lane`` for a worker now (those due later are not counted)."""
        self._schedule.advance(self._loop.time())
        return self._schedule.due(lane)

    def longest_running_s(self) -> float:
        """For how long the oldest pass has been running; 0 when none is."""
        started = self._schedule.oldest_start()
        return 0.0 if started is None else self._loop.time() - started

    def _take(self, lanes: Collection[Lane]) -> K | None:
        now = self._loop.time()
        self._schedule.advance(now)
        for lane in sorted(lanes):
            since = self._schedule.waiting_since(lane)
            if since is not None:
                stats = self.stats[lane]
                stats.taken += 1
                stats.waited_s += max(0.0, now - since)
                return self._schedule.take(now, (lane,))
        return None

    def _settle(self) -> None:
        """Have one worker up per key that is ready, never the whole crowd, and the timer set for the rest."""
        if self._closed:
            return
        self._schedule.advance(self._loop.time())
        for lanes, group in self._groups.items():
            group.wake(sum(self._schedule.due(lane) for lane in lanes))
        self._set_timer(lane for lanes, group in self._groups.items() if group.asleep for lane in lanes)

    def _set_timer(self, lanes: Iterable[Lane]) -> None:
        at = self._schedule.next_at(lanes)
        if self._timer is not None:
            if self._timer.when() == at:
                return
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._settle()
