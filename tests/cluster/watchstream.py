"""One open watch on its way from the API server to a client, and what a test puts in, holds or cuts off.

Knows lines and the connection that they go out on. Refuses to read them. The rule not to break: what is put
in never lands inside a line of the server's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from tests.cluster.faultproxy import Asked

Listener: TypeAlias = "Callable[[Asked, bytes], None]"

# Longer than a chunk takes through loopback, so that two of them do not arrive as one.
CHUNK_GAP_S = 0.001


class Stream:
    """One open watch. ``inject`` and ``cut`` act between two lines of the server's."""

    def __init__(
        self,
        asked: Asked,
        response: web.StreamResponse,
        transport: asyncio.Transport,
        delivered: Listener | None = None,
    ) -> None:
        self.asked = asked
        self.held = False  # from then on nothing reaches the client, nor does the end
        self.closed = False
        self.bytewise = False
        self._response = response
        self._transport = transport
        self._delivered = delivered
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Stream({self.asked.path} held={self.held} closed={self.closed})"

    async def inject(self, line: bytes) -> None:
        """Send bytes of our own, or the server's."""
        async with self._turn:
            if self.held or self.closed:
                return
            if self.bytewise:
                await self._inject_bytewise(line)
            else:
                await self._response.write(line)
            if self._delivered is not None:
                self._delivered(self.asked, line)

    async def _inject_bytewise(self, line: bytes) -> None:
        for byte in line:
            if self._transport.is_closing():
                raise ConnectionResetError("the client has gone")
            await self._response.write(bytes((byte,)))
            if byte >= 0x80:  # here it matters that the bytes arrive one by one
                await asyncio.sleep(CHUNK_GAP_S)

    async def cut(self, last: bytes = b"", *, properly: bool = False) -> None:
        """Send ``last``, then end: by a reset, or ``properly``, as a response that is complete."""
        if last:
            await self.inject(last)
        async with self._turn:
            self.closed = True
            if properly:
                await self._response.write_eof()
            self._transport.close()
