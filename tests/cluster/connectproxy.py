"""A forward proxy as companies have them: it speaks CONNECT and knows nothing of what goes through.

Knows one method of HTTP. Refuses to resolve names: all roads lead to the port that it was given. The rule: it
notes every request as it came, headers included.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class ConnectProxy:
    """Use it as an async context manager. ``asked`` holds the heads of all requests."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()
        self.answer = b"200 Connection established"  # anything else is a refusal
        self.asked: list[str] = []
        self.port = 0

    def __repr__(self) -> str:
        return f"ConnectProxy(port={self.port} asked={len(self.asked)} open={len(self._tunnels)})"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for tunnel in tuple(self._tunnels):
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        await asyncio.sleep(0)  # a transport that is closed is gone one turn later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tunnels.add(task)
            task.add_done_callback(self._tunnels.discard)
        writers = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.decode())
                writer.write(b"HTTP/1.1 " + self.answer + b"\r\n\r\n")
                if self.answer.startswith(b"200"):
                    onward, back = await asyncio.open_connection("127.0.0.1", self._target_port)
                    writers.append(back)
                    await asyncio.gather(_copy(reader, back), _copy(onward, writer))
        finally:
            for one in writers:
                one.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    sink.close()
