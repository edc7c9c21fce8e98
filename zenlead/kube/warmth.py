"""A connection that is kept warm, so that the first write after a long quiet needs no handshake.

Knows for how long nothing was asked. Refuses to know what will be. The rule: a client that asks often anyway
is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from zenlead.kube.errors import ApiError
from zenlead.kube.supervise import alive

# Idle connections are closed by ourselves after 75 s, by an API server after 90 s, and by load balancers
# before one after 60 s or 50 s. The question costs the server a fraction of a millisecond.
WARM_S = 30.0


class Client(Protocol):
    def idle_s(self) -> float:
        """Seconds since the last request on a connection for writes."""
        ...

    async def version(self) -> str: ...


class Warmth:
    """``run`` asks the server for its version whenever ``client`` has not asked for anything in WARM_S."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"Warmth({self._client!r})"

    async def run(self) -> None:
        """For ever. A server that does not answer, or refuses, is others' business."""
        while True:
            if (rest_s := WARM_S - self._client.idle_s()) > 0:
                alive(rest_s)
                await asyncio.sleep(rest_s)
                continue
            with contextlib.suppress(ApiError):
                await self._client.version()
