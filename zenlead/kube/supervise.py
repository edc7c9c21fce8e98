"""Core tasks: started again when they die, given up when that does not help, missed when they fall silent.

Knows tasks by name. Refuses to know what they do. The rule not to break: cancellation passes through, and a
task that keeps dying ends the process, for somebody outside to start afresh.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from zenlead.kube.errors import Unauthorized
from zenlead.kube.facts import TaskRestarted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# Five deaths within two minutes: no passing trouble (rooms deal with failing requests) but a defect.
FAILURES_LIMIT = 5
FAILURES_WINDOW_S = 120.0
# The first restart is soon, because a core task is missed; the last before giving up leaves time to look.
RESTART_BASE_S = 0.5
# How often the loop is asked whether it is late, and for how long its worst answer counts.
LAG_PERIOD_S = 0.5
LAG_MEMORY_S = 60.0


async def supervise(
    name: str,
    factory: Callable[[], Coroutine[None, None, None]],
    notify: Callable[[TaskRestarted], None],
    *,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run ``factory()`` until it returns. After an unexpected exception, run it again a little later.

    Raises that exception when it is the fifth within two minutes, and Unauthorized at once.
    """
    loop = asyncio.get_running_loop()
    failures: deque[float] = deque(maxlen=FAILURES_LIMIT)
    while True:
        try:
            await factory()
        except Unauthorized:
            raise  # whoever lets this out has given the credentials their time, and is not to give it again
        except Exception as error:
            failures.append(loop.time())
            while failures[0] < loop.time() - FAILURES_WINDOW_S:
                failures.popleft()
            if len(failures) >= FAILURES_LIMIT:
                raise
            delay_s = RESTART_BASE_S * 2.0 ** (len(failures) - 1) * (0.5 + 0.5 * jitter())
            notify(TaskRestarted(name, f"{type(error).__name__}: {error}", delay_s))
        else:
            return
        await asyncio.sleep(delay_s)


class _Heart(msgspec.Struct):
    limit_s: float
    beat_at: float


class Heartbeats:
    """Who has to give a sign of life how often. Times are loop seconds."""

    def __init__(self) -> None:
        self._hearts: dict[str, _Heart] = {}

    def __repr__(self) -> str:
        return f"Heartbeats({', '.join(self._hearts)})"

    def expect(self, name: str, limit_s: float, now: float) -> None:
        """From ``now`` on, ``name`` has to beat at least every ``limit_s`` seconds."""
        self._hearts[name] = _Heart(limit_s, now)

    def beat(self, name: str, now: float) -> None:
        """A sign of life. Nothing is remembered of who is not expected."""
        heart = self._hearts.get(name)
        if heart is not None:
            heart.beat_at = now

    def forget(self, name: str) -> None:
        """``name`` has ended in good order."""
        self._hearts.pop(name, None)

    def stuck(self, now: float) -> list[str]:
        """The names of those not heard of for longer than they may."""
        return [name for name, heart in self._hearts.items() if now - heart.beat_at > heart.limit_s]


class LoopLag:
    """How late the event loop runs what is due: what every task of it suffers when one hogs it."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()  # (when, seconds late), later ones smaller

    def __repr__(self) -> str:
        return f"LoopLag(worst={self.worst_s:.3f}s)"

    @property
    def worst_s(self) -> float:
        """The longest delay within the last minute, in seconds."""
        return self._seen[0][1] if self._seen else 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            self._note(loop.time(), loop.time() - due)

    def _note(self, now: float, late_s: float) -> None:
        while self._seen and self._seen[-1][1] <= late_s:
            self._seen.pop()
        self._seen.append((now, late_s))
        while self._seen[0][0] <= now - LAG_MEMORY_S:
            self._seen.popleft()
