"""An Api behind a bad network: slow, losing requests and replies, refusing, cutting, gone for a while.

Knows requests and dice. Refuses to know objects. The rule: what it does follows from its seed, and nothing
but latency happens while it is ``calm``.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster.faultproxy import Asked
from zenlead.kube import watch as lists
from zenlead.kube.errors import ApiError, Conflict, Gone, Throttled, Unreachable

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from tests.cluster.watchstream import Listener
    from zenlead.kube.resources import Resource

LATENCY_S = 0.005  # of a request on a good day, there and back
LATE_S = 20.0  # how long after its sender gave up a request may still arrive
REQUEST_TIMEOUT_S = 10.0  # after which zenlead's own client gives up
STATUS_410 = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 410, "reason": "Expired"}
GONE_LINE = json.dumps({"type": "ERROR", "object": {**STATUS_410, "message": "too old"}}).encode() + b"\n"


@dataclass(frozen=True)
class Weather:
    """Probabilities of what happens to a request, or to a chunk of a watch; latency in seconds."""

    slow_s: float = 0.0  # mean of the extra latency
    lag_s: float = 0.0  # of a watch, mean: what has happened comes later than the answer to who did it
    request_lost: float = 0.0
    reply_lost: float = 0.0
    conflict: float = 0.0  # of writes with a precondition
    throttled: float = 0.0
    failed: float = 0.0  # 500 to a write, nothing applied
    late: float = 0.0  # a write arrives up to LATE_S after its sender has given up
    gone: float = 0.0  # of a chunk: 410 in its place
    gone_on_connect: float = 0.0  # of a watch: 410 at once
    cut: float = 0.0  # of a chunk: half of it arrives
    stalled: float = 0.0  # of a chunk: it does not come, nor does anything after it, nor an end
    duplicate: float = 0.0  # of a chunk: it comes twice
    split: float = 0.0  # of a chunk: it comes in two pieces, wherever the cut falls


@dataclass(frozen=True)
class Request:
    at: float
    verb: str
    resource: str
    full: bool = False  # begins to read all objects of a kind
    answered: bool = True  # whether the server was there to answer
    namespace: str = ""  # of a list or watch of one namespace


class FaultyApi:
    """Api around an Api. ``requests`` notes every one; until ``away_until`` (loop seconds) it is away.

    ``lag_s`` is how late watches bring what has happened, as a watch cache that is behind its store.
    ``delivered`` hears of what reached the client, ``written`` of the answers to writes that were done.
    """

    def __init__(self, api: Any, dice: random.Random, weather: Weather) -> None:
        self._api = api
        self._dice = dice
        self.weather = weather
        self.delivered: Listener | None = None
        self.written: Listener | None = None
        self._late: set[asyncio.Task[None]] = set()  # writes that are still under way
        self.calm = True
        self.away_until = float("-inf")
        self.lag_s = 0.0
        self.requests: list[Request] = []

    def __repr__(self) -> str:
        return f"FaultyApi({len(self.requests)} requests, calm={self.calm})"

    def full_lists(self, resource: str, since: float = 0.0) -> list[Request]:
        """Requests for all objects of a kind that the server was there to answer."""
        found = [r for r in self.requests if r.full and r.answered and r.resource == resource]
        return [r for r in found if r.at >= since]

    def writes(self, since: float = 0.0) -> list[Request]:
        """Requests that change something, from loop time ``since`` on."""
        return [r for r in self.requests if r.verb in {"create", "patch", "delete"} and r.at >= since]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        asked = _asked("GET", resource, namespace, name)
        return await self._send("get", resource, asked, lambda: self._api.get(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        full = "continue" not in query and query.get("limit") == str(lists.PAGE_SIZE)
        asked = _asked("GET", resource, namespace, query=query)
        answer = await self._send(
            "list", resource, asked, lambda: self._api.list(resource, namespace, query), namespace, full=full
        )
        if self.delivered is not None:
            self.delivered(asked, answer)
        return answer

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        asked = _asked("POST", resource, namespace)
        return await self._send(
            "create", resource, asked, lambda: self._api.create(resource, namespace, body)
        )

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        def apply() -> Awaitable[bytes]:
            return self._api.patch(resource, namespace, name, body, subresource=subresource)  # type: ignore[no-any-return]

        return await self._send("patch", resource, _asked("PATCH", resource, namespace, name), apply)

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        asked = _asked("DELETE", resource, namespace, name)
        return await self._send(
            "delete", resource, asked, lambda: self._api.delete(resource, namespace, name, body)
        )

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        self._note("watch", resource, namespace, full="sendInitialEvents" in query)
        asked = _asked("GET", resource, namespace, query={"watch": "1", **query})
        ends = asked.at + deadline_s
        await self._travel()
        if self._happens(self.weather.gone_on_connect):
            raise Gone("too old resource version", status=410)
        stream = self._api.watch(resource, namespace, query, deadline_s=deadline_s)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                if chunk and self.lag_s:
                    await asyncio.sleep(self.lag_s)
                if chunk and self.weather.lag_s and not self.calm:
                    await asyncio.sleep(self._dice.expovariate(1 / self.weather.lag_s))
                self._be_there()
                if self._happens(self.weather.gone):
                    yield GONE_LINE
                    return
                if self._happens(self.weather.cut):
                    yield chunk[: len(chunk) // 2]
                    raise Unreachable("cut")
                if self._happens(self.weather.stalled):
                    await asyncio.sleep(ends - asyncio.get_running_loop().time())
                    raise Unreachable("idle")
                for piece in self._pieces(chunk):
                    yield piece
                if self.delivered is not None:
                    for line in chunk.splitlines():
                        self.delivered(asked, line)

    def _pieces(self, chunk: bytes) -> list[bytes]:
        if self._happens(self.weather.duplicate):
            return [chunk, chunk]
        if len(chunk) > 1 and self._happens(self.weather.split):
            cut = self._dice.randrange(1, len(chunk))
            return [chunk[:cut], chunk[cut:]]
        return [chunk]

    async def _send(
        self,
        verb: str,
        resource: Resource,
        asked: Asked,
        apply: Callable[[], Awaitable[bytes]],
        namespace: str | None = None,
        *,
        full: bool = False,
    ) -> bytes:
        self._note(verb, resource, namespace, full=full)
        weather, writes = self.weather, asked.is_write
        await self._travel()
        if writes and self._happens(weather.late):
            task = asyncio.create_task(self._arrive_late(asked, apply))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            await asyncio.sleep(REQUEST_TIMEOUT_S)
            raise Unreachable("no answer")
        if self._happens(weather.request_lost):
            await asyncio.sleep(REQUEST_TIMEOUT_S)
            raise Unreachable("lost on the way there")
        if self._happens(weather.throttled):
            raise Throttled("slow down", status=429, retry_after_s=self._dice.choice([None, 0.0, 1.0, 3.0]))
        if writes and self._happens(weather.failed):
            raise Unreachable("internal error", status=500)
        if verb in {"patch", "delete"} and self._happens(weather.conflict):
            raise Conflict("the object has been modified", status=409)
        answer = await self._apply(asked, apply)
        if self._happens(weather.reply_lost):
            await asyncio.sleep(REQUEST_TIMEOUT_S)
            raise Unreachable("lost on the way back")
        await self._travel()
        return answer

    async def _apply(self, asked: Asked, apply: Callable[[], Awaitable[bytes]]) -> bytes:
        answer = await apply()
        if asked.is_write and self.written is not None:
            self.written(asked, answer)
        return answer

    async def _arrive_late(self, asked: Asked, apply: Callable[[], Awaitable[bytes]]) -> None:
        await asyncio.sleep(REQUEST_TIMEOUT_S + self._dice.uniform(0.0, LATE_S))
        with suppress(ApiError):  # which nobody hears of
            await self._apply(asked, apply)

    def _note(
        self, verb: str, resource: Resource, namespace: str | None = None, *, full: bool = False
    ) -> None:
        now = asyncio.get_running_loop().time()
        there = now >= self.away_until
        self.requests.append(Request(now, verb, resource.plural, full, there, namespace or ""))

    def _be_there(self) -> None:
        if asyncio.get_running_loop().time() < self.away_until:
            raise Unreachable("connection refused")

    async def _travel(self) -> None:
        self._be_there()
        extra_s = 0.0
        if not self.calm and self.weather.slow_s:
            extra_s = self._dice.expovariate(1 / self.weather.slow_s)
        await asyncio.sleep(LATENCY_S / 2 + extra_s)
        self._be_there()

    def _happens(self, probability: float) -> bool:
        return not self.calm and self._dice.random() < probability


def _asked(
    method: str,
    resource: Resource,
    namespace: str | None,
    name: str = "",
    query: Mapping[str, str] | None = None,
) -> Asked:
    now = asyncio.get_running_loop().time()
    return Asked(now, method, resource.path(namespace, *([name] if name else [])), dict(query or {}))
