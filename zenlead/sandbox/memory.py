"""The sandbox as an Api in the same process, without sockets.

Knows the request layer and the error classes. Refuses to know HTTP. The rule: nothing is answered in the same
step of the loop in which it was asked, because no real server does that either.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from zenlead.kube.errors import Unreachable
from zenlead.kube.status import error_of
from zenlead.sandbox import patches, views
from zenlead.sandbox.apiserver import ApiServer, list_body
from zenlead.sandbox.parsing import Target
from zenlead.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zenlead.kube.errors import ApiError
    from zenlead.kube.resources import Resource
    from zenlead.sandbox.watches import Feed

_T = TypeVar("_T")


class MemoryApi:
    """Reader and Writer of kube/api.py, straight on the store. Loop time drives its watches."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def __repr__(self) -> str:
        return f"MemoryApi({self._server!r})"

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object's body. Raises ApiError."""
        target = self._target(resource, namespace, name)
        return await _answer(
            f"GET {resource.plural}", lambda: views.whole(target.kind, self._server.get(target))
        )

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        """One page's body. Raises ApiError."""
        kind = self._target(resource, namespace).kind
        return await _answer(
            f"LIST {resource.plural}",
            lambda: list_body(kind, self._server.list(kind, namespace or "", query)),
        )

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        """Chunks of a watch. Raises ApiError; Unreachable ("idle") ``deadline_s`` seconds after connect."""
        ends = asyncio.get_running_loop().time() + deadline_s
        kind = self._target(resource, namespace).kind
        with contextlib.ExitStack() as opened:

            def connect() -> Feed:
                feed = self._server.watch(kind, namespace or "", query, views.whole)
                opened.callback(feed.close)
                return feed

            feed = await _answer(f"WATCH {resource.plural}", connect)
            yield b""
            async with contextlib.aclosing(self._server.stream(feed, query)) as chunks:
                while chunk := await _next(chunks, ends, deadline_s):
                    yield chunk

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """POST. Raises ApiError."""
        target = self._target(resource, namespace)
        return await _answer(f"POST {resource.plural}", lambda: self._server.create(target, body, {}))

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        """JSON merge patch. Raises ApiError."""
        target = self._target(resource, namespace, name, subresource)
        return await _answer(
            f"PATCH {resource.plural}", lambda: self._server.patch(target, body, patches.MERGE, {})
        )

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        """DELETE with DeleteOptions. Raises ApiError."""
        target = self._target(resource, namespace, name)
        return await _answer(f"DELETE {resource.plural}", lambda: self._server.delete(target, body, {}))

    def _target(
        self, resource: Resource, namespace: str | None, name: str = "", subresource: str = ""
    ) -> Target:
        try:
            kind = self._server.kind(resource.group, resource.version, resource.plural)
        except Refusal as refusal:
            raise _as_error(resource.plural, refusal) from refusal
        return Target(kind, namespace or "", name, subresource)


async def _next(chunks: AsyncGenerator[bytes, None], ends: float, deadline_s: float) -> bytes:
    """The next chunk; empty at the end of the stream. Raises Unreachable at ``ends`` (loop seconds)."""
    try:
        async with asyncio.timeout_at(ends):
            return await anext(chunks, b"")
    except TimeoutError as error:
        raise Unreachable(f"idle: the watch has been open for {deadline_s:g} s") from error


async def _answer(request: str, ask: Callable[[], _T]) -> _T:
    """Do one request between two steps of the loop: it travels there, and its answer travels back."""
    await asyncio.sleep(0)
    try:
        answer = ask()
    except Refusal as refusal:
        await asyncio.sleep(0)
        raise _as_error(request, refusal) from refusal
    await asyncio.sleep(0)
    return answer


def _as_error(request: str, refusal: Refusal) -> ApiError:
    """The error that zenlead's own client makes of this answer."""
    return error_of(request, refusal.code, {}, msgspec.json.encode(refusal.status()), now=0.0)
