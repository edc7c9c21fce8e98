"""The routine lane's workers: how many there are to be, while that number changes.

Knows workers by number. Refuses to know what they do. The rule not to break: nobody is interrupted. Who has
no seat any more ends what it is at, and waits.
"""

from __future__ import annotations

import asyncio
import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from zenlead.kube.lane import Lane
from zenlead.kube.supervise import at_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Body: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class Seats:
    """A worker has a seat if its number is below the count; every worker has one until that is set."""

    def __init__(self) -> None:
        self._count = math.inf
        self._changed = asyncio.Event()  # replaced at each change
        self._hired = 0
        self._hire: Callable[[int], None] | None = None

    def __repr__(self) -> str:
        return f"Seats({self._count:g}, {self._hired} hired)"

    def set(self, count: int) -> None:
        """From now on there are so many."""
        self._count = count
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._staff()

    def fill(
        self, hire: Callable[[str, Body], None], work: Callable[[int], Coroutine[Any, Any, None]]
    ) -> None:
        """Have somebody for each seat, now and whenever there are more; ``hire`` starts a task by name."""
        self._hire = lambda number: hire(
            f"{Lane.ROUTINE.label} worker {number}", functools.partial(work, number)
        )
        self._staff()

    def has(self, number: int) -> bool:
        return number < self._count

    async def wait(self, number: int) -> None:
        """Return as soon as worker ``number`` has a seat."""
        while not self.has(number):
            at_rest()
            await self._changed.wait()

    def _staff(self) -> None:
        while self._hire is not None and self._hired < self._count:
            self._hire(self._hired)
            self._hired += 1
