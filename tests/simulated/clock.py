"""A loop whose time passes only when there is nothing to do: an hour of waiting costs no time.

Knows the event loop's clock. Refuses to know sockets that really wait: a test with real network traffic
belongs on a real loop. The rule: time moves in whole nanoseconds, so ``loop.time() == 0.3`` can be asserted.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# How long (real seconds) a thread or a socket may keep a virtual loop waiting before it counts as stuck:
# far more than a worker thread of a test needs, far less than a person waits.
REAL_PATIENCE_S = 5.0
NANOSECONDS = 1_000_000_000
DUE_AT_ONCE_LIMIT = 10  # honest timers fire once; a few may share an instant
# 2025-01-01T00:00:00Z: some fixed day, so that times in failures are readable and equal on every run.
EPOCH = 1_735_689_600.0


class VirtualDeadlock(RuntimeError):
    """Nothing is ready, no timer is set: the tasks that are left wait for each other for ever."""


class _JumpingSelector(selectors.BaseSelector):
    """Polls the real selector; where that would sleep, the clock jumps instead."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.loop: VirtualClockLoop | None = None
        self._due_at_once = 0  # polls in a row in which a timer was due already and nothing else was

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        loop = self.loop
        if ready or loop is None or (timeout is not None and timeout <= 0):
            # A timer that sets itself anew for now (a limiter's rounding remainder) would stop the clock for
            # ever; on a real loop some time always passes.
            busy = ready or loop is None or loop.has_ready_callbacks()
            self._due_at_once = 0 if busy else self._due_at_once + 1
            if loop is not None and self._due_at_once > DUE_AT_ONCE_LIMIT:
                loop.jump(0)
            return ready
        self._due_at_once = 0
        if loop.threads_at_work or timeout is None:
            # A thread answers in real time, so virtual time must stand still until it has.
            ready = self._real.select(REAL_PATIENCE_S if loop.threads_at_work else 0)
            if not ready:
                raise VirtualDeadlock(loop.describe_stuck())
            return ready
        loop.jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at time 0 and jumps from timer to timer."""

    def __init__(self) -> None:
        self._nanoseconds = 0
        self.threads_at_work = 0
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._nanoseconds / NANOSECONDS

    def has_ready_callbacks(self) -> bool:
        """Whether callbacks wait to run, so that a poll that does not wait is no sign of a stopped clock."""
        return bool(self._ready)  # type: ignore[attr-defined]  # asyncio has no public word for it

    def jump(self, seconds: float) -> None:
        """Let ``seconds`` pass at once (at least one nanosecond: a timer that is due must come to be due)."""
        self._nanoseconds += max(1, round(seconds * NANOSECONDS))

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self.threads_at_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self.threads_at_work -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        self.threads_at_work += 1  # the base class waits for a thread that it starts by itself
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self.threads_at_work -= 1

    def describe_stuck(self) -> str:
        """Which tasks wait, and where: what a person wants to read instead of a hang."""
        places = []
        for task in asyncio.all_tasks(self):
            frames = task.get_stack(limit=1)
            place = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "not started"
            places.append(f"{task.get_name()} at {place}")
        return f"virtual deadlock at t={self.time()}: no timer is set and nothing is ready; " + "; ".join(
            places
        )


class WallClock:
    """Wall time tied to the running loop: ``now = start + loop.time()``, with faults on request.

    ``drift`` is the relative error of the rate (0.01 gains 1 %); ``jump`` moves the hands at once.
    """

    def __init__(self, start: float = EPOCH, *, drift: float = 0.0) -> None:
        self._start = start
        self._rate = 1.0 + drift

    def __call__(self) -> float:
        return self._start + asyncio.get_running_loop().time() * self._rate

    def jump(self, seconds: float) -> None:
        """As when somebody sets the clock: ``seconds`` may be negative."""
        self._start += seconds


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` on a fresh virtual loop; for property tests, where each example starts at time 0."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main())
