"""A pace that can be changed while others wait for their turn.

Knows tokens, and who waits for one. Refuses to know what a token pays for. The rule not to break: a change is
felt by those who wait already, or a pace that was too slow by mistake would be felt for hours.
"""

from __future__ import annotations

import asyncio

import aiolimiter


class Pace:
    """``qps`` tokens a second, and ``burst`` at once after a rest; 0 in either means no limit."""

    def __init__(self, qps: float, burst: int) -> None:
        self._limiter = _limiter(qps, burst)
        self._waiting: dict[asyncio.Timeout, None] = {}  # in the order in which they came

    def __repr__(self) -> str:
        return f"Pace({self._limiter or 'unlimited'} {len(self._waiting)} waiting)"

    def change(self, qps: float, burst: int) -> None:
        """Go on at another pace, as after a rest."""
        self._limiter = _limiter(qps, burst)
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            if not waiting.expired():
                waiting.reschedule(now)

    async def token(self) -> None:
        """Wait for one token, and take it."""
        while (limiter := self._limiter) is not None:
            cut = asyncio.timeout(None)
            try:
                async with cut:
                    self._waiting[cut] = None
                    await limiter.acquire()
                    return
            except TimeoutError:
                if not cut.expired():
                    raise
            finally:
                self._waiting.pop(cut, None)

    async def try_token(self) -> bool:
        """Take one token if one is there; never waits."""
        if self._limiter is None:
            return True
        if not self._limiter.has_capacity():
            return False
        await self._limiter.acquire()
        return True


def _limiter(qps: float, burst: int) -> aiolimiter.AsyncLimiter | None:
    return aiolimiter.AsyncLimiter(burst, burst / qps) if qps > 0 and burst > 0 else None
