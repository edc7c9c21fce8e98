"""A reverse proxy between zenlead and the API server that does on command what networks do by themselves.

Knows HTTP requests, watch streams and the faults that a test orders. Refuses to know objects, and connections
(``wire`` does). The rule not to break: without an order everything passes as it came, the token included.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
import yaml
import yarl
from aiohttp import web

from tests.cluster.pki import Authority
from tests.cluster.process import free_port
from tests.cluster.watchstream import Listener, Stream
from tests.cluster.wire import Wire
from zenlead.kube.watch import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.client import Object
    from tests.cluster.controlplane import ControlPlane
    from zenlead.kube.resources import Resource

UNTOUCHED = ("Authorization", "Content-Type", "Accept")
LINE_LIMIT = 4 << 20  # bytes; the largest object that etcd takes is 1.5 MiB, JSON may double it


@dataclass(frozen=True)
class Asked:
    """One request as it came. ``at`` is the loop's time."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    authorization: str = ""

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in {"1", "true"}

    @property
    def is_full(self) -> bool:
        """Asks for all objects of a kind, by a list (its first page) or by an initial stream."""
        if self.is_watch:
            return "sendInitialEvents" in self.query
        whole = self.query.get("limit") == str(PAGE_SIZE)  # other limits are those of smaller questions
        return self.method == "GET" and whole and "continue" not in self.query

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    def of(self, resource: Resource) -> bool:
        """Whether it is about objects of this kind."""
        return f"/{resource.plural}" in self.path and (not resource.group or resource.group in self.path)


@dataclass(frozen=True)
class Delay:
    """Forward after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Late:
    """Forward a write after so many seconds, although whoever sent it may have given it up."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Take the request, never answer."""


@dataclass(frozen=True)
class Answer:
    """Answer this without asking the server."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DropReply:
    """Forward, let the server act, close the connection without a word."""


@dataclass(frozen=True)
class Bytewise:
    """Send what the server sends in chunks of one byte."""


Fault: TypeAlias = Delay | Late | Hang | Answer | DropReply | Bytewise


def refusal(code: int, reason: str, message: str = "as the test ordered", *causes: str) -> Answer:
    """An Answer with a Status object, as the API server refuses."""
    return Answer(code, json.dumps(status_of(code, reason, message, *causes)).encode())


def status_of(code: int, reason: str, message: str, *causes: str) -> Object:
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"code": code, "reason": reason, "message": message}
    if causes:
        status["details"] = {"causes": [{"reason": cause, "message": cause} for cause in causes]}
    return status


class Rule:
    """A fault that is in force until ``lift``, or until it has struck ``times`` times."""

    def __init__(self, matches: Callable[[Asked], bool], fault: Fault, times: int | None) -> None:
        self.matches = matches
        self.fault = fault
        self.left = times
        self.struck: list[Asked] = []

    def __repr__(self) -> str:
        return f"Rule({self.fault}, struck {len(self.struck)} times, left {self.left})"

    def lift(self) -> None:
        self.left = 0

    def takes(self, asked: Asked) -> bool:
        if self.left == 0 or not self.matches(asked):
            return False
        if self.left is not None:
            self.left -= 1
        self.struck.append(asked)
        return True


class FaultProxy:
    """``start`` it, ``stop`` it. ``asked`` holds every request, ``streams`` every watch so far.

    ``delivered`` hears of what reached the client (a list, or a line of a watch), ``written`` of the server's
    answers to writes that it did, whether they reach the client or not. ``wire`` is what lies below.
    """

    def __init__(self, upstream: ControlPlane) -> None:
        self._upstream = upstream
        self._authority = Authority("zenlead-test-proxy-ca")
        self._rules: list[Rule] = []
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.wire = Wire()
        self.port = self.wire.port
        self.delivered: Listener | None = None
        self.written: Listener | None = None
        self.speaks_as = ""  # Authorization to the server, whatever came from the client; empty: what came
        self._late: set[asyncio.Task[web.Response]] = set()
        self.asked: list[Asked] = []
        self.streams: list[Stream] = []

    def __repr__(self) -> str:
        return f"FaultProxy(port={self.port} asked={len(self.asked)} rules={self._rules})"

    # --- what tests say

    def on(self, matches: Callable[[Asked], bool], fault: Fault, *, times: int | None = None) -> Rule:
        """Put a fault in force for the requests that match; of several the first counts."""
        rule = Rule(matches, fault, times)
        self._rules.append(rule)
        return rule

    def watches(self, resource: Resource) -> list[Stream]:
        """The open watches of a kind."""
        return [s for s in self.streams if s.asked.of(resource) and not s.closed]

    def full_lists(self, resource: Resource, since: float = 0.0) -> list[Asked]:
        """The requests for all objects of a kind."""
        return [a for a in self.asked if a.is_full and a.of(resource) and a.at >= since]

    @property
    def ca(self) -> bytes:
        """The certificate (PEM) of the authority that vouches for this proxy."""
        return self._authority.certificate

    def kubeconfig(self, path: Path, namespace: str) -> Path:
        """Writes a kubeconfig of the administrator that leads through this proxy."""
        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority-data": base64.b64encode(self.ca).decode(),
        }
        context = {"cluster": "proxied", "user": "admin", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxied", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._upstream.token}}],
            "contexts": [{"name": "proxied", "context": context}],
            "current-context": "proxied",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    # --- life

    async def start(self, folder: Path) -> None:
        """``folder`` takes the certificate for a moment: Python's ssl reads it from files only."""
        pair = self._authority.serving(("localhost",), ("127.0.0.1",))
        files = folder / "proxy.crt", folder / "proxy.key"
        for path, content in zip(files, pair, strict=True):
            path.write_bytes(content)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*files)
        trusted = ssl.create_default_context(cadata=self._upstream.ca.decode())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusted, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
            read_bufsize=LINE_LIMIT,
        )
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1
        )
        await self._runner.setup()
        behind = free_port()
        await web.TCPSite(self._runner, "127.0.0.1", behind, ssl_context=tls).start()
        await self.wire.start(behind)

    async def stop(self) -> None:
        await self.wire.stop()
        for late in self._late:
            late.cancel()
        for stream in self.streams:
            stream.closed = True
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    # --- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        said = request.headers.get("Authorization", "")
        asked = Asked(now, request.method, request.path, dict(request.query), said)
        self.asked.append(asked)
        body = await request.read()
        fault = next((rule.fault for rule in self._rules if rule.takes(asked)), None)
        match fault:
            case Answer(status, content, headers):
                return web.Response(
                    status=status, body=content, headers=headers, content_type="application/json"
                )
            case Hang():
                await asyncio.Event().wait()
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Late(seconds):
                late = asyncio.create_task(self._forward_late(request, asked, body, seconds))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
                return await asyncio.shield(late)
        async with self._forward(request, body) as answer:
            if asked.is_watch and answer.status == 200:
                return await self._stream(request, asked, answer, bytewise=isinstance(fault, Bytewise))
            content = await answer.read()
        if asked.is_write and answer.status < 300 and self.written is not None:
            self.written(asked, content)
        if isinstance(fault, DropReply):
            _transport(request).close()
        elif not asked.is_write and answer.status == 200 and self.delivered is not None:
            self.delivered(asked, content)
        kept = {k: answer.headers[k] for k in ("Content-Type", "Retry-After") if k in answer.headers}
        return web.Response(status=answer.status, body=content, headers=kept)

    async def _forward_late(
        self, request: web.BaseRequest, asked: Asked, body: bytes, seconds: float
    ) -> web.Response:
        await asyncio.sleep(seconds)
        async with self._forward(request, body) as answer:
            content = await answer.read()
        if answer.status < 300 and self.written is not None:
            self.written(asked, content)
        return web.Response(status=answer.status, body=content, content_type="application/json")

    def _forward(self, request: web.BaseRequest, body: bytes) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            raise RuntimeError("the proxy is not started")
        headers = {k: request.headers[k] for k in UNTOUCHED if k in request.headers}
        if self.speaks_as:
            headers["Authorization"] = self.speaks_as
        headers["Accept-Encoding"] = "identity"  # lines are to be seen as lines
        url = self._upstream.url + request.raw_path
        return self._session.request(
            request.method, yarl.URL(url, encoded=True), data=body or None, headers=headers
        )

    async def _stream(
        self, request: web.BaseRequest, asked: Asked, answer: aiohttp.ClientResponse, *, bytewise: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
        response.enable_chunked_encoding()
        await response.prepare(request)
        stream = Stream(asked, response, _transport(request), self.delivered)
        stream.bytewise = bytewise
        self.streams.append(stream)
        try:
            async for line in answer.content:
                await stream.inject(line)
            if stream.held:
                await asyncio.Event().wait()  # for ever, or until the client gives up
        except (ConnectionError, aiohttp.ClientError):
            pass  # one of the two sides has gone; the other is told below
        finally:
            stream.closed = True
        return response


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    if request.transport is None:
        raise ConnectionResetError("the client has gone")
    return request.transport  # type: ignore[return-value]  # aiohttp says BaseTransport
