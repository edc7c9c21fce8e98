"""The sandbox over HTTP, for kubectl and for real clients.

Knows paths, media types and tokens. Refuses to know what requests mean (apiserver.py). The rule: it listens
on loopback only, and nobody without the token reads or writes an object.
Source: Kubernetes API concepts, "Resource URIs" and "Alternate representations of resources".
"""

from __future__ import annotations

import hmac
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from zenlead.sandbox import refusals, views
from zenlead.sandbox.apiserver import ApiServer, list_body
from zenlead.sandbox.discovery import VERSION, document
from zenlead.sandbox.parsing import Target
from zenlead.sandbox.refusals import Refusal
from zenlead.sandbox.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zenlead.sandbox.kinds import Kind

LOOPBACK = "127.0.0.1"
# etcd takes objects of 1.5 MiB; a request may be twice that, as on the real server.
MAX_BODY_BYTES = 3 * 1024 * 1024
# Clients do not send a token over plain HTTP unless told to; kubectl never does. So the token may also be the
# first part of the path, which a kubeconfig can carry as part of the server's address.
PATH_OF_TOKEN = "with-token"  # noqa: S105 - the name of a path segment, not a secret
_OPEN_PATHS = ("healthz", "livez", "readyz")


class HttpServer:
    """Serves one ApiServer on a loopback port. ``now`` is wall time in Unix seconds, for ages in tables."""

    def __init__(self, server: ApiServer, token: str, now: Callable[[], float]) -> None:
        self._server = server
        self._token = token
        self._now = now
        self._runner: web.AppRunner | None = None
        self.port = 0

    def __repr__(self) -> str:
        return f"HttpServer(port={self.port}, {self._server!r})"

    @property
    def url(self) -> str:
        """Where it listens, for clients that send the token as a bearer token."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def url_with_token(self) -> str:
        """The same with the token in it, for clients that do not."""
        return f"{self.url}/{PATH_OF_TOKEN}/{self._token}"

    async def start(self, port: int = 0) -> None:
        """Listen on ``port`` (0: any free one). Raises OSError."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A watcher that goes away ends its watch at once.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End every watch and stop listening."""
        self._server.watches.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._routed(request)
        except Refusal as refusal:
            headers = {}
            if refusal.retry_after_s is not None:
                headers["Retry-After"] = str(refusal.retry_after_s)
            return _json(msgspec.json.encode(refusal.status()), refusal.code, headers)

    async def _routed(self, request: web.Request) -> web.StreamResponse:
        segments = tuple(part for part in request.path.split("/") if part)
        if segments and segments[0] in _OPEN_PATHS:
            return web.Response(text="ok")
        if segments == ("version",):
            return _json(msgspec.json.encode(VERSION))
        segments, prefix = self._admitted(request, segments)
        found = document(segments, prefix) if request.method == "GET" else None
        if found is not None:
            return _json(msgspec.json.encode(found))
        target = self._target(segments)
        query = dict(request.query)
        if request.method != "GET":
            return self._changed(request, target, query, await _body(request))
        if target.name:
            return self._got(request, target)
        if query.get("watch", "").lower() in ("true", "1"):
            return await self._watched(request, target.kind, target.namespace, query)
        return self._listed(request, target.kind, target.namespace, query)

    def _changed(
        self, request: web.Request, target: Target, query: Mapping[str, str], body: bytes
    ) -> web.Response:
        match request.method:
            case "POST":
                return _json(self._server.create(target, body, query), 201)
            case "PUT" if target.name:
                changed, created = self._server.update(target, body, query)
                return _json(changed, 201 if created else 200)
            case "PATCH" if target.name:
                return _json(self._server.patch(target, body, request.content_type, query))
            case "DELETE" if target.name:
                return _json(self._server.delete(target, body, query))
            case "DELETE":
                gone = self._server.delete_all(target.kind, target.namespace, body, query)
                return _json(list_body(target.kind, gone))
            case _:
                raise refusals.not_allowed()

    def _admitted(self, request: web.Request, segments: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
        """The path without its token, and the prefix the client came by. Raises Refusal (401)."""
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        prefix = ""
        while len(segments) >= 2 and segments[0] == PATH_OF_TOKEN:
            offered, prefix, segments = segments[1], f"/{PATH_OF_TOKEN}/{segments[1]}", segments[2:]
        if not hmac.compare_digest(offered.encode(), self._token.encode()):
            raise refusals.unauthorized()
        return segments, prefix

    def _target(self, segments: tuple[str, ...]) -> Target:
        match segments:
            case ("api", version, *rest):
                group = ""
            case ("apis", group, version, *rest):
                pass
            case _:
                raise refusals.no_such_resource()
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        match rest:
            case [plural]:
                name = part = ""
            case [plural, name]:
                part = ""
            case [plural, name, part]:
                pass
            case _:
                raise refusals.no_such_resource()
        kind = self._server.kind(group, version, plural)
        if part and part not in (*kind.subresources, *kind.actions):
            raise refusals.no_such_resource()
        if name and kind.resource.namespaced and not namespace:
            raise refusals.no_such_resource()
        return Target(kind, namespace, name, part)

    def _tables(self, request: web.Request) -> Tables | None:
        first = request.headers.get("Accept", "").split(",")[0].replace(" ", "")
        if "as=Table" not in first.split(";"):
            return None
        return Tables(self._now, request.query.get("includeObject", ""))

    def _got(self, request: web.Request, target: Target) -> web.Response:
        stored = self._server.get(target)
        tables = self._tables(request)
        if tables is not None:
            return _json(tables.row(target.kind, stored))
        return _json(views.whole(target.kind, stored))

    def _listed(
        self, request: web.Request, kind: Kind, namespace: str, query: Mapping[str, str]
    ) -> web.Response:
        if "list" not in kind.verbs:
            raise refusals.not_allowed()
        found = self._server.list(kind, namespace, query)
        tables = self._tables(request)
        return _json(tables.page(kind, found) if tables is not None else list_body(kind, found))

    async def _watched(
        self, request: web.Request, kind: Kind, namespace: str, query: Mapping[str, str]
    ) -> web.StreamResponse:
        tables = self._tables(request)
        feed = self._server.watch(kind, namespace, query, tables.row if tables is not None else views.whole)
        with closing(feed):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            async with aclosing(self._server.stream(feed, query)) as chunks:
                async for chunk in chunks:
                    try:
                        await response.write(chunk)
                    except ConnectionResetError:
                        return response
            await response.write_eof()
        return response


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise refusals.too_large(MAX_BODY_BYTES) from error


def _json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
