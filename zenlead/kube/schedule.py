"""What to work on next: keys in lanes, each at most once, each when it is due. Pure; time is an argument.

Knows keys, points in time and failures. Refuses to know what a key stands for or what work on it means.
The rule not to break: what is asked while a key is being worked on is not lost, and a key is never worked on
twice at once.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from zenlead.kube.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    K = TypeVar("K", bound=Hashable)
else:
    K = TypeVar("K")

# A failed pass has already retried its writes for some tens of milliseconds, so the first repeat of the whole
# pass waits about as long: shorter only repeats the same answer, longer would be felt after a blip.
BACKOFF_BASE_S = 0.05
# A key that fails for a reason of its own is looked at this often; when an outage ends, ``hasten`` says so.
BACKOFF_CAP_S = 30.0
# News about a failing key is not held back until its backoff ends (it may be the cure), but a key whose own
# failing writes make news must not spin.
FAILING_INTERVAL_S = 1.0
# Heap entries that were overtaken stay until they come up; beyond this many useless ones the heap is rebuilt.
STALE_ENTRIES = 64


class _Failure(msgspec.Struct):
    count: int
    at: float  # when the last pass failed
    retry_at: float  # when the key is due again by itself


class _Pass(msgspec.Struct):
    started: float
    failed: bool
    asked: dict[Lane, float]  # what was asked of the key since it was taken: the earliest time per lane


class _Later(Generic[K]):
    """Keys that are not due yet, each with its earliest time: a heap whose overtaken entries are skipped."""

    def __init__(self) -> None:
        self._at: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def add(self, key: K, at: float) -> None:
        known = self._at.get(key)
        if known is not None and known[0] <= at:
            return
        self._count += 1  # equal times come out in the order they went in, and keys need no order
        self._at[key] = (at, self._count)
        heapq.heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 2 * len(self._at) + STALE_ENTRIES:
            self._heap = [(at, count, key) for key, (at, count) in self._at.items()]
            heapq.heapify(self._heap)

    def next_at(self) -> float | None:
        while self._heap:
            at, count, key = self._heap[0]
            if self._at.get(key) == (at, count):
                return at
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> tuple[K, float] | None:
        at = self.next_at()
        if at is None or at > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._at[key]
        return key, at


class Schedule(Generic[K]):
    """The pure queue. Times are seconds of one clock that never goes back; ``jitter`` gives values in [0, 1).

    ``min_interval_s`` spaces the starts of routine passes over one key; urgent ones are never delayed by it.
    Every operation costs O(log n).
    """

    def __init__(self, *, jitter: Callable[[], float], min_interval_s: float = 0.0) -> None:
        self._jitter = jitter
        self.min_interval_s = min_interval_s
        self._later: dict[Lane, _Later[K]] = {lane: _Later() for lane in Lane}
        # A key is ready in one lane at most, the more urgent one; the value is when it came due. FIFO.
        self._ready: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        self._active: dict[K, _Pass] = {}
        self._failures: dict[K, _Failure] = {}
        # When a key may start its next routine pass; ordered by that time, dropped once it is past.
        self._spaced: OrderedDict[K, float] = OrderedDict()

    def __repr__(self) -> str:
        ready = " ".join(f"{lane.label}={len(self._ready[lane])}" for lane in Lane)
        later = sum(map(len, self._later.values()))
        return f"Schedule({ready} later={later} active={len(self._active)} failing={len(self._failures)})"

    def __len__(self) -> int:
        """How much is remembered about keys: 0 once nothing is asked, running, failing or spaced."""
        waiting = sum(map(len, self._later.values())) + sum(map(len, self._ready.values()))
        return waiting + len(self._active) + len(self._failures) + len(self._spaced)

    def add(self, key: K, at: float, lane: Lane) -> None:
        """Ask for a pass over ``key`` from ``at`` on. Of several asks in one lane the earliest stands."""
        if lane is not Lane.URGENT:
            at = max(at, self._floor(key))
        self._place(key, at, lane)

    def take(self, now: float, lanes: Collection[Lane]) -> K | None:
        """The key to work on next in one of ``lanes``, or None. It is the caller's until ``done``.

        A pass covers all that was due for the key, whatever the lane.
        """
        self.advance(now)
        for lane in sorted(lanes):
            if self._ready[lane]:
                key, _ = self._ready[lane].popitem(last=False)
                self._active[key] = _Pass(started=now, failed=False, asked={})
                if lane is not Lane.URGENT and self.min_interval_s > 0:
                    self._spaced[key] = now + self.min_interval_s
                    self._spaced.move_to_end(key)
                return key
        return None

    def done(self, key: K) -> None:
        """The pass over ``key`` has ended. Without a ``retry`` since ``take`` it was a success."""
        ended = self._active.pop(key)
        if not ended.failed:
            self._failures.pop(key, None)
        for lane, at in ended.asked.items():
            self._place(key, at, lane)

    def retry(self, key: K, now: float, lane: Lane) -> float:
        """The pass over ``key`` failed: ask for another one. Returns its delay in seconds.

        The delay doubles with each failure in a row up to the cap; drawn from its upper half, never zero.
        """
        count = self._failures[key].count + 1 if key in self._failures else 1
        # The exponent is cut where the cap is long reached, so that years of failing do not overflow.
        full_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(count - 1, 32))
        delay_s = full_s * (0.5 + 0.5 * self._jitter())
        self._failures[key] = _Failure(count=count, at=now, retry_at=now + delay_s)
        if key in self._active:
            self._active[key].failed = True
        self._place(key, now + delay_s, lane)
        return delay_s

    def failures(self, key: K) -> int:
        """How often in a row passes over ``key`` have failed."""
        return self._failures[key].count if key in self._failures else 0

    def hasten(self, now: float, within_s: float) -> None:
        """What made keys fail is over: each is due within ``within_s``, spread out, if it is not sooner."""
        for key, failure in self._failures.items():
            at = now + within_s * self._jitter()
            if key in self._active:  # this pass began before, and may fail as well
                self._place(key, at, Lane.ROUTINE)
            elif at < failure.retry_at:
                failure.retry_at = at
                for lane in Lane:
                    if key in self._later[lane]:
                        self._later[lane].add(key, at)

    def forget(self, key: K) -> None:
        """Forget that ``key`` ever failed. What was asked of it stays asked, spacing included."""
        self._failures.pop(key, None)

    def advance(self, now: float) -> None:
        """Move what has come due into its lane."""
        for lane in Lane:
            while (due := self._later[lane].pop_due(now)) is not None:
                self._come_due(*due, lane)
        while self._spaced and next(iter(self._spaced.values())) <= now:
            self._spaced.popitem(last=False)

    def next_at(self, lanes: Iterable[Lane]) -> float | None:
        """When the next key that was not due at the last ``advance`` comes due in one of ``lanes``."""
        times = (self._later[lane].next_at() for lane in lanes)
        return min((at for at in times if at is not None), default=None)

    def due(self, lane: Lane) -> int:
        """How many keys were ready in ``lane`` at the last ``advance``."""
        return len(self._ready[lane])

    def waiting_since(self, lane: Lane) -> float | None:
        """When the key that ``take`` would give next in ``lane`` came due."""
        return next(iter(self._ready[lane].values()), None)

    def oldest_start(self) -> float | None:
        """When the longest pass that is still running was taken."""
        return min((running.started for running in self._active.values()), default=None)

    def _floor(self, key: K) -> float:
        """The earliest time at which a routine pass over ``key`` may start."""
        floor = self._spaced.get(key, float("-inf"))
        failure = self._failures.get(key)
        if failure is not None:
            floor = max(floor, min(failure.retry_at, failure.at + FAILING_INTERVAL_S))
        return floor

    def _place(self, key: K, at: float, lane: Lane) -> None:
        running = self._active.get(key)
        if running is not None:
            running.asked[lane] = min(at, running.asked.get(lane, at))
        elif key not in self._ready[lane]:
            self._later[lane].add(key, at)

    def _come_due(self, key: K, at: float, lane: Lane) -> None:
        if key in self._active:
            self._place(key, at, lane)
        elif not any(key in self._ready[other] for other in Lane if other <= lane):
            for other in Lane:
                self._ready[other].pop(key, None)
            self._ready[lane][key] = at
