"""Whether what is known of the cluster is of one time: after an outage informers return one after the other.

Knows which of them get no answer, and since when one does again. Refuses to know what they watch. The rule:
to wait for the slowest is worth seconds and no more, but while nobody answers there is nothing to decide on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math

# They look every 3 s at most; then each may have to read everything anew.
CATCH_UP_S = 5.0


class Presence:
    """``add`` each informer; ``left`` and ``came`` say how it fares. For one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._present: dict[str, bool] = {}
        self._came_at = float("-inf")  # when the last one returned
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        away = [name for name, present in self._present.items() if not present]
        return f"Presence(away={away or None} hold={self.hold_s():g}s)"

    def add(self, name: str) -> None:
        self._present[name] = True

    def left(self, name: str) -> None:
        """It gets no answer."""
        self._present[name] = False
        self._changed.set()

    def came(self, name: str) -> None:
        """It is up to date again."""
        self._present[name] = True
        self._came_at = self._loop.time()
        self._changed.set()

    def hold_s(self) -> float:
        """For how many seconds no decision should be made; infinite while nobody gets an answer."""
        if all(self._present.values()):
            return 0.0
        if not any(self._present.values()):
            return math.inf
        return max(0.0, self._came_at + CATCH_UP_S - self._loop.time())

    async def together(self) -> None:
        """Return when there is nothing to wait for."""
        while (hold_s := self.hold_s()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(hold_s) else hold_s):
                    await self._changed.wait()
