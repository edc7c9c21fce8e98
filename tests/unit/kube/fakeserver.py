"""A server on loopback that answers as a test says, a CA made on the spot, and kubeconfigs for both."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.cluster.pki import Authority

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.cluster.pki import KeyPair


class Pki:
    """A CA with a server certificate, as files; signs client certificates on request."""

    def __init__(self, folder: pathlib.Path, name: str = "ca") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self._authority = Authority(name)
        self.ca = self.folder / "ca.crt"
        self.ca.write_bytes(self._authority.certificate)
        pair = self._authority.serving(("api.test", "localhost"), ("127.0.0.1", "::1"))
        self.server = self._write("server", pair)

    def sign(self, user: str) -> tuple[pathlib.Path, pathlib.Path]:
        """Paths of a client certificate for ``user`` and its key."""
        return self._write(user, self._authority.client(user))

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _write(self, name: str, pair: KeyPair) -> tuple[pathlib.Path, pathlib.Path]:
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        return certificate, key


class FakeServer:
    """Answers every request with ``answer``; remembers requests and the connections that they came by."""

    def __init__(self) -> None:
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.say_ok
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.connections: list[Any] = []
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def say_ok(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Pod"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.connections.append(request.transport and request.transport.get_extra_info("peername"))
        return await self.answer(request)

    def sent(self, header: str) -> list[str | None]:
        """The values of one header, request by request."""
        return [request.headers.get(header) for request in self.requests]

    def caller(self) -> str:
        """The common name in the last request's client certificate; empty without one."""
        transport = self.requests[-1].transport
        shown = transport.get_extra_info("ssl_object").getpeercert() if transport else None
        subject = dict(pair for part in shown["subject"] for pair in part) if shown else {}
        return str(subject.get("commonName", ""))


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeServer]:
    """A FakeServer on a free port of 127.0.0.1."""
    server = FakeServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.port = runner.addresses[0][1]
        server.scheme = "https" if tls else "http"
        yield server
    finally:
        await runner.cleanup()


def status(code: int, reason: str = "", message: str = "no", **details: Any) -> web.Response:
    """An answer with a Status object."""
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body | ({"details": details} if details else {}), status=code)


def write_kubeconfig(
    path: pathlib.Path,
    server: str,
    *,
    user: dict[str, Any] | None = None,
    name: str = "test",
    namespace: str | None = None,
    **cluster: Any,
) -> str:
    """A kubeconfig with one context called ``name``; gives its path. JSON is YAML."""
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": context}],
        "clusters": [{"name": name, "cluster": {"server": server} | cluster}],
        "users": [{"name": name, "user": user or {}}],
    }
    path.write_text(json.dumps(document))
    return str(path)


def inline(path: pathlib.Path) -> str:
    """A file's content as kubeconfig's ``…-data`` keys have it."""
    return base64.b64encode(path.read_bytes()).decode()
