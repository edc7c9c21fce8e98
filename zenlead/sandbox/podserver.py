"""The real server that stands for a pod's containers: it says its name over HTTP.

Knows one listening socket and its connections. Refuses to know pods and the API. The rule: ``stop`` cuts
every connection at once, as a crash does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zenlead.listening import end
from zenlead.sandbox.proxy import LOOPBACK

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

# A client that says nothing for this long, in seconds, is cut off.
IDLE_S = 30.0


class PodServer:
    """Answers every HTTP request with the pod's name. ``port`` is the real loopback port once started."""

    def __init__(self, name: str) -> None:
        self.port = 0
        self._body = f"{name}\n".encode()
        self._server: asyncio.Server | None = None
        self._writers: set[StreamWriter] = set()

    def __repr__(self) -> str:
        return f"PodServer({self._body!r}, port={self.port}, connections={len(self._writers)})"

    async def start(self) -> None:
        """Listen on a free loopback port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is None:
            return
        await end(self._server)
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._answered(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answered(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Answer one request (they have no bodies); False when the client wants no more."""
        async with asyncio.timeout(IDLE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            keeps = b"connection: close" not in head.lower()
            connection = b"keep-alive" if keeps else b"close"
            fields = b"Content-Length: %d\r\nConnection: %s" % (len(self._body), connection)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%s\r\n\r\n%s" % (fields, self._body)
            )
            await writer.drain()
        return keeps
