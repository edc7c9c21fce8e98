"""Core tasks: started again when they die, given up when that does not help, missed when they fall silent.

Knows tasks by name, and until when each said that it will be heard of again. Refuses to know what they do.
The rules not to break: cancellation passes through; a task that keeps dying ends the process, for somebody
outside to start afresh; waiting for an answer that has a time limit is a sign of life, hanging is none.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING

from zenlead.kube.errors import Unauthorized
from zenlead.kube.facts import TaskRestarted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# Five deaths within two minutes: no passing trouble (rooms deal with failing requests) but a defect.
FAILURES_LIMIT = 5
FAILURES_WINDOW_S = 120.0
# The first restart is soon, because a core task is missed; the last before giving up leaves time to look.
RESTART_BASE_S = 0.5
# Work that has no time limit of its own takes milliseconds; with LATE_S it is missed after half a minute.
ALIVE_S = 25.0
LATE_S = 5.0  # how much later than it said a task may be on a machine that is busy


class Stray(Exception):
    """A core task ended although nobody had asked it to."""


class Heart:
    """When one task has to give its next sign of life, in loop seconds. It rests until the first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._due_at: float | None = None

    def __repr__(self) -> str:
        return f"Heart({self.name} {'at rest' if self._due_at is None else f'due at {self._due_at:.3f}'})"

    def beat(self, within_s: float = ALIVE_S) -> None:
        """A sign of life; the next one comes within so many seconds."""
        self._due_at = asyncio.get_running_loop().time() + within_s

    def rest(self) -> None:
        """Nothing to do, for however long: the task waits to be woken."""
        self._due_at = None

    def is_stuck(self, now: float) -> bool:
        return self._due_at is not None and now > self._due_at + LATE_S


class Heartbeats:
    """The hearts of all core tasks, by name."""

    def __init__(self) -> None:
        self._hearts: dict[str, Heart] = {}

    def __repr__(self) -> str:
        return f"Heartbeats({', '.join(map(repr, self._hearts.values()))})"

    def heart(self, name: str) -> Heart:
        """The heart of the task ``name``, from now on watched."""
        return self._hearts.setdefault(name, Heart(name))

    def forget(self, name: str) -> None:
        """The task ``name`` was ended on purpose."""
        self._hearts.pop(name, None)

    def stuck(self, now: float) -> list[str]:
        """The names of those that should have been heard of by now."""
        return [name for name, heart in self._hearts.items() if heart.is_stuck(now)]


# The heart of the core task that the running code works for. A room says what it is at without knowing who
# runs it, and tasks that it starts for a while speak for it too.
_current: ContextVar[Heart | None] = ContextVar("heart", default=None)


def alive(within_s: float = ALIVE_S) -> None:
    """The current core task makes progress, and will again within so many seconds."""
    heart = _current.get()
    if heart is not None:
        heart.beat(within_s)


def at_rest() -> None:
    """The current core task waits for work, for however long."""
    heart = _current.get()
    if heart is not None:
        heart.rest()


async def supervise(
    heart: Heart,
    factory: Callable[[], Coroutine[None, None, None]],
    notify: Callable[[TaskRestarted], None],
    *,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run ``factory()`` until it returns. After an unexpected exception, run it again a little later.

    Raises that exception when it is the fifth within two minutes, and Unauthorized at once. A cancellation
    that nobody asked this task for (something that it waited for was cancelled) counts as an exception.
    """
    loop = asyncio.get_running_loop()
    failures: deque[float] = deque(maxlen=FAILURES_LIMIT)
    _current.set(heart)
    while True:
        heart.beat()
        try:
            await factory()
        except Unauthorized:
            raise  # whoever lets this out has given the credentials their time, and is not to give it again
        except (Exception, asyncio.CancelledError) as error:
            failure = _unexpected(error)
        else:
            heart.rest()
            return
        failures.append(loop.time())
        while failures[0] < loop.time() - FAILURES_WINDOW_S:
            failures.popleft()
        if len(failures) >= FAILURES_LIMIT:
            raise failure
        delay_s = RESTART_BASE_S * 2.0 ** (len(failures) - 1) * (0.5 + 0.5 * jitter())
        notify(TaskRestarted(heart.name, f"{type(failure).__name__}: {failure}", delay_s))
        heart.beat(delay_s)
        await asyncio.sleep(delay_s)


def _unexpected(error: Exception | asyncio.CancelledError) -> Exception:
    """``error`` as a failure of the task; a cancellation that is meant for the task is raised."""
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return Stray("what it waited for was cancelled")
