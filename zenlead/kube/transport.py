"""HTTP to a real API server: one request in, one body or one of our errors out.

Knows the verbs and signs requests. Refuses to know why a request is made, and retries nothing but a refused
login, once. The rule: every wait in here has a time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from zenlead.kube import importdiet  # noqa: F401  # first, for its effect on the imports below

# isort: split
import aiohttp
import yarl

from zenlead.kube.access import ConfigError
from zenlead.kube.connections import Link
from zenlead.kube.errors import ApiError, Unauthorized, Unreachable
from zenlead.kube.exchange import (
    JSON,
    MERGE_PATCH,
    TLS_PROBLEM,
    Request,
    headers_of,
    limit,
    path_of,
    read_body,
    refusal_of,
    unreachable,
)
from zenlead.kube.facts import KubeFact, RequestDone
from zenlead.kube.status import explained, result_of
from zenlead.kube.supervise import ALIVE_S, alive
from zenlead.kube.unsaid import masked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from zenlead.kube.credentials import Credentials
    from zenlead.kube.resources import Resource

# More than the requests that all lanes together have in flight, so that nobody waits for a connection.
CONNECTIONS = 64
REQUEST_TIMEOUT_S = 10.0  # an API server answers in milliseconds; a load balancer that lost it never does
LIST_TIMEOUT_S = 60.0  # a page of a busy server's list may come slowly

# Which lane the current task's requests belong to; goes into RequestDone.lane. The elector sets "lease", the
# recorder "event", LaneWriter the lane of each write.
request_lane: contextvars.ContextVar[str] = contextvars.ContextVar("request_lane", default="")

T = TypeVar("T")


class HttpApi:
    """Api (kube/api.py) over HTTPS. Concurrent use is fine; ``close`` it when done.

    ``notify`` gets a RequestDone for each attempt (a watch's when its stream begins).
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        connections: int = CONNECTIONS,
        notify: Callable[[KubeFact], None] = lambda _: None,
        owner: bool = True,
    ) -> None:
        self.notify = notify
        self._credentials = credentials
        self._request_timeout_s = request_timeout_s
        self._connections = connections
        self._owner = owner  # whether close() ends the credentials too
        self._closed = False
        self._asked_at = time.monotonic()
        self._link = Link(credentials.access, connections)
        self._timeout = limit(request_timeout_s)
        self._list_timeout = limit(max(request_timeout_s, LIST_TIMEOUT_S))

    @property
    def host(self) -> str:
        """The server's base URL."""
        return self._credentials.access.host

    @property
    def default_namespace(self) -> str:
        """The service account's namespace, else that of the kubeconfig's context, else ``default``."""
        return self._credentials.access.namespace

    def idle_s(self) -> float:
        """Seconds since the last request ended, or failed to reach the server; watches apart."""
        return time.monotonic() - self._asked_at

    def clone(self, *, connections: int | None = None) -> HttpApi:
        """Another client with connections of its own and the same credentials; close it before this one."""
        return HttpApi(
            self._credentials,
            request_timeout_s=self._request_timeout_s,
            connections=connections or self._connections,
            notify=self.notify,
            owner=False,
        )

    async def version(self) -> str:
        """The server's gitVersion, e.g. ``v1.37.2``; empty when it does not say."""
        body = await self._send(Request("get", "GET", "version", "", "/version", self._timeout))
        try:
            return str(msgspec.json.decode(body, type=dict[str, object]).get("gitVersion", ""))
        except (ValueError, RecursionError):
            return ""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        path = path_of(resource, namespace, name)
        return await self._send(Request("get", "GET", resource.plural, namespace or "", path, self._timeout))

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        path = path_of(resource, namespace, query=query)
        return await self._send(
            Request("list", "GET", resource.plural, namespace or "", path, self._list_timeout)
        )

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        path = path_of(resource, namespace)
        return await self._send(
            Request("create", "POST", resource.plural, namespace, path, self._timeout, body, JSON)
        )

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        path = path_of(resource, namespace, name, subresource)
        return await self._send(
            Request("patch", "PATCH", resource.plural, namespace, path, self._timeout, body, MERGE_PATCH)
        )

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        path = path_of(resource, namespace, name)
        return await self._send(
            Request("delete", "DELETE", resource.plural, namespace, path, self._timeout, body, JSON)
        )

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        path = path_of(resource, namespace, query={**query, "watch": "1"})
        request = Request("watch", "GET", resource.plural, namespace or "", path, limit(deadline_s))
        response, link = await self._signed(request, self._open_stream)
        async with link:
            try:
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
            except TimeoutError:
                raise Unreachable(f"{request.title}: idle, no end within {deadline_s:g} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise unreachable(request, error) from None
            finally:
                response.close()

    async def close(self) -> None:
        """Close all connections; requests under way and later ones fail as Unreachable."""
        self._closed = True
        await self._link.close()
        if self._owner:
            await self._credentials.close()

    async def _signed(self, request: Request, attempt: Callable[[Request, str, Link], Awaitable[T]]) -> T:
        """``attempt`` with the current credentials; once more when these are refused and others are there."""
        if self._closed:
            raise Unreachable(f"{request.title}: this client is closed")
        authorization = await self._credentials.authorization()
        link = await self._current_link()
        access = link.access
        try:
            return await attempt(request, authorization, link)
        except (Unauthorized, Unreachable) as error:
            if error.reason != TLS_PROBLEM and not isinstance(error, Unauthorized):
                raise
            if not await self._credentials.renew(authorization, access):
                if self._credentials.problem:
                    raise explained(error, self._credentials.problem) from None
                raise
        return await attempt(request, await self._credentials.authorization(), await self._current_link())

    async def _current_link(self) -> Link:
        """The link by the current credentials: the old one when these need no other connections."""
        access = self._credentials.access
        link = self._link
        if link.access is access:
            return link
        if link.fits(access):
            link.access = access
            return link
        self._link = Link(access, self._connections)
        await link.retire()
        return self._link

    async def _send(self, request: Request) -> bytes:
        try:
            return await self._signed(request, self._exchange)
        finally:
            self._asked_at = time.monotonic()

    async def _exchange(self, request: Request, authorization: str, link: Link) -> bytes:
        """One attempt: the body of a success, or the error that the answer means."""
        with self._attempt(request, authorization, link):
            async with (
                link,
                link.requests.request(
                    request.method,
                    yarl.URL(link.access.host + request.path, encoded=True),
                    headers=headers_of(request, authorization),
                    data=request.body,
                    timeout=request.timeout,
                    **link.options,
                ) as response,
            ):
                if response.status >= 300:
                    raise await refusal_of(request, response)
                return await read_body(request, response)

    async def _open_stream(
        self, request: Request, authorization: str, link: Link
    ) -> tuple[aiohttp.ClientResponse, Link]:
        """One attempt: a response whose stream has begun."""
        with self._attempt(request, authorization, link):
            async with link, asyncio.timeout(self._request_timeout_s):
                response = await link.watches.request(
                    request.method,
                    yarl.URL(link.access.host + request.path, encoded=True),
                    headers=headers_of(request, authorization),
                    timeout=request.timeout,
                    **link.options,
                )
                if response.status < 300:
                    return response, link
                try:
                    raise await refusal_of(request, response)
                finally:
                    response.close()

    @contextlib.contextmanager
    def _attempt(self, request: Request, authorization: str, link: Link) -> Iterator[None]:
        """Turn what aiohttp raises into our errors, without secrets, and report how the attempt ended."""
        proxy = link.access.proxy
        secret = (authorization, proxy.authorization if proxy is not None else "")
        started = time.perf_counter()
        result = "cancelled"
        alive(request.timeout.total or ALIVE_S)
        try:
            yield
            result = "success"
        except ApiError as error:
            result = result_of(type(error))
            raise masked(error, *secret) from None
        except aiohttp.InvalidURL:
            raise ConfigError(f"{request.title}: the server's URL cannot be used") from None
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            result = result_of(Unreachable)
            raise masked(unreachable(request, error), *secret) from None
        finally:
            self.notify(
                RequestDone(
                    verb=request.verb,
                    resource=request.resource,
                    result=result,
                    seconds=time.perf_counter() - started,
                    lane=request_lane.get(),
                    namespace=request.namespace,
                )
            )

    def __repr__(self) -> str:
        return f"HttpApi({self._link!r})"
