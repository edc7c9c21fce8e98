"""The sandbox as an Api in the same process, without sockets.

Knows the request layer and the error classes. Refuses to know HTTP. The rule: nothing is answered in the same
step of the loop in which it was asked, because no real server does that either.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from zenlead.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Throttled,
    Unauthorized,
    Unreachable,
)
from zenlead.sandbox import patches, views
from zenlead.sandbox.apiserver import ApiServer, list_body
from zenlead.sandbox.parsing import Target
from zenlead.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zenlead.kube.resources import Resource

_T = TypeVar("_T")
_ERRORS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: Throttled,
}


class MemoryApi:
    """Reader and Writer of kube/api.py, straight on the store. Loop time drives its watches."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def __repr__(self) -> str:
        return f"MemoryApi({self._server!r})"

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object's body. Raises ApiError."""
        target = self._target(resource, namespace, name)
        return await _answer(lambda: views.whole(target.kind, self._server.get(target)))

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        """One page's body. Raises ApiError."""
        kind = self._target(resource, namespace).kind
        return await _answer(lambda: list_body(kind, self._server.list(kind, namespace or "", query)))

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        """Chunks of a watch. Raises ApiError; Unreachable ("idle") ``deadline_s`` seconds after connect."""
        ends = asyncio.get_running_loop().time() + deadline_s
        kind = self._target(resource, namespace).kind
        feed = await _answer(lambda: self._server.watch(kind, namespace or "", query, views.whole))
        async with aclosing(self._server.stream(feed, query)) as chunks:
            while True:
                try:
                    async with asyncio.timeout_at(ends):
                        chunk = await anext(chunks, b"")
                except TimeoutError as error:
                    raise Unreachable(f"idle: the watch has been open for {deadline_s:g} s") from error
                if not chunk:
                    return
                yield chunk

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """POST. Raises ApiError."""
        target = self._target(resource, namespace)
        return await _answer(lambda: self._server.create(target, body, {}))

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        """JSON merge patch. Raises ApiError."""
        target = self._target(resource, namespace, name, subresource)
        return await _answer(lambda: self._server.patch(target, body, patches.MERGE, {}))

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        """DELETE with DeleteOptions. Raises ApiError."""
        target = self._target(resource, namespace, name)
        return await _answer(lambda: self._server.delete(target, body, {}))

    def _target(
        self, resource: Resource, namespace: str | None, name: str = "", subresource: str = ""
    ) -> Target:
        try:
            kind = self._server.kind(resource.group, resource.version, resource.plural)
        except Refusal as refusal:
            raise as_api_error(refusal) from refusal
        return Target(kind, namespace or "", name, subresource)


async def _answer(ask: Callable[[], _T]) -> _T:
    """Do one request between two steps of the loop: it travels there, and its answer travels back."""
    await asyncio.sleep(0)
    try:
        answer = ask()
    except Refusal as refusal:
        await asyncio.sleep(0)
        raise as_api_error(refusal) from refusal
    await asyncio.sleep(0)
    return answer


def as_api_error(refusal: Refusal) -> ApiError:
    """The error class that a client makes of this answer."""
    error = Unreachable if refusal.code >= 500 else _ERRORS.get(refusal.code, Invalid)
    if refusal.reason == "AlreadyExists":
        error = AlreadyExists
    retry_after_s = refusal.retry_after_s
    return error(
        refusal.message,
        status=refusal.code,
        reason=refusal.reason,
        causes=refusal.causes,
        retry_after_s=None if retry_after_s is None else float(retry_after_s),
    )
