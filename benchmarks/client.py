"""A light client of the API server: bytes in, bytes out, many requests at a time.

Knows HTTP. Refuses to know objects. The rule not to break: it stays cheap, since it shares the machine with
what is measured; it shares no code with zenlead's own client (but the paths of resources).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Self, TypeVar

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

T = TypeVar("T")

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
REQUEST_TIMEOUT_S = 60.0  # in a storm a request may wait for many others
KEEPALIVE_S = 300.0  # a sample never pays for a new connection


class Refused(Exception):
    """The server answered with something else than success."""


class Client:
    """Talks to one API server as one user. Use it as an async context manager."""

    def __init__(self, url: str, *, ca: bytes, token: str) -> None:
        self._url = url
        self._ca = ca
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cadata=self._ca.decode())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, method: str, path: str, body: bytes = b"", content_type: str = JSON) -> bytes:
        """The body of the answer; Refused when it is no success."""
        headers = {"Content-Type": content_type} if body else {}
        async with self._session.request(
            method, self._url + path, data=body or None, headers=headers
        ) as response:
            answer = await response.read()
        if response.status >= 300:
            raise Refused(f"{method} {path}: {response.status} {answer[:300].decode(errors='replace')}")
        return answer

    async def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, several of them joined when they arrive together."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S)
        async with self._session.get(self._url + path, timeout=timeout) as response:
            if response.status != 200:
                raise Refused(f"WATCH {path}: {response.status}")
            rest = b""
            async for chunk in response.content.iter_any():
                lines, newline, tail = chunk.rpartition(b"\n")
                if newline:
                    yield rest + lines
                    rest = tail
                else:
                    rest += chunk


async def pooled(items: Iterable[T], work: Callable[[T], Awaitable[object]], concurrency: int) -> None:
    """Does ``work`` for all items, ``concurrency`` of them at a time."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
