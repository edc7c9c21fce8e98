"""What lies below HTTP between a client and a server on this machine, and what can go wrong there.

Knows connections and bytes. Refuses to read them. The rule not to break: without an order everything passes
as it came, and what was held up arrives in order and whole once the order is lifted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from tests.cluster.process import free_port

CHUNK = 1 << 16  # bytes
CONNECT_TIMEOUT_S = 5.0
PACES_PER_S = 50  # in how many portions a slow wire sends what it may send in a second


class Wire:
    """Listens on ``port`` and joins each connection to another port of this machine."""

    def __init__(self) -> None:
        self.port = free_port()
        self.handshake_delay_s = 0.0  # a new connection stays mute for so long: a slow TLS handshake
        self.bytes_per_s: int | None = None  # towards the client; None: as fast as they come
        self._to = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._flows = asyncio.Event()
        self._flows.set()

    def __repr__(self) -> str:
        state = "gone" if self._server is None else "flows" if self._flows.is_set() else "stalled"
        return f"Wire(port={self.port} {state}, {len(self._open)} connections)"

    # --- life

    async def start(self, to: int) -> None:
        """Begin to listen; connections go on to port ``to``."""
        self._to = to
        await self.back()

    async def stop(self) -> None:
        await self.gone()

    # --- what tests say

    async def gone(self) -> None:
        """Nobody listens any more, and what was connected is reset: the server's machine went down."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.reset()

    async def back(self) -> None:
        """Listen again."""
        if self._server is None:
            self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)

    async def reset(self) -> None:
        """All connections end without a word."""
        for writer in self._open.values():
            _abort(writer)
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stall(self) -> None:
        """Nothing passes, new connections are taken and stay mute; nobody is told."""
        self._flows.clear()

    def flow(self) -> None:
        """What was held up passes, and all that comes after it."""
        self._flows.set()

    # --- one connection

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("asyncio runs this in a task")
        self._open[task] = writer
        try:
            with contextlib.suppress(OSError, TimeoutError):
                await self._carry(reader, writer)
        except asyncio.CancelledError:
            _abort(writer)  # by ``reset``, which waits for this task and for nothing it raises
        finally:
            del self._open[task]
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        await asyncio.sleep(self.handshake_delay_s)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        directions = {
            asyncio.create_task(self._pump(reader, to_server)),
            asyncio.create_task(self._pump(from_server, writer, slowly=True)),
        }
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            to_server.close()  # before anything is awaited: a reset may end this task there
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, slowly: bool = False
    ) -> None:
        while portion := await source.read(CHUNK):
            while portion:
                await self._flows.wait()
                pace = self.bytes_per_s if slowly else None
                size = len(portion) if pace is None else max(1, pace // PACES_PER_S)
                target.write(portion[:size])
                await target.drain()
                portion = portion[size:]
                if pace is not None:
                    await asyncio.sleep(size / pace)
        await self._flows.wait()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by a reset, which drops what is still to be sent."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
