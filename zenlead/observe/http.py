"""A small HTTP/1.1 server for probes and scrapes: GET and HEAD, no body, everything bounded.

Knows the protocol. Refuses to know what is served: routes are functions from Request to Response. It is our
own because a web framework costs more memory than the whole of observe/. The rule not to break: nothing that
a client sends or leaves out may hold a connection longer than the limits below, or reach the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http
import socket
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from zenlead.listening import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HEAD_MAX_BYTES = 16 * 1024  # request line and headers; a scraper with proxies in between sends some 1 kB
IDLE_TIMEOUT_S = 75.0  # longer than the usual scrape interval, so that a scraper can keep its connection
WRITE_TIMEOUT_S = 30.0  # a client that does not read its answer
CONNECTIONS_MAX = 128  # a kubelet, a few scrapers, a curious person
BACKLOG = 128

_LOG = structlog.get_logger("zenlead.http")
_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})  # built in, but switched off on this machine
_END_OF_HEAD = b"\r\n\r\n"


class Request(NamedTuple):
    """A request without a body. Header names are in lower case; of repeated headers the last counts."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool

    def asks_for(self, word: str) -> bool:
        """True when ``word`` is in the query, with or without a value."""
        return word in urllib.parse.parse_qs(self.query, keep_blank_values=True)


class Pieces(NamedTuple):
    """A body that is made while it is sent; ``length`` is that of all pieces together, in bytes."""

    length: int
    pieces: Iterable[bytes]


class Response(NamedTuple):
    """An answer, as plain text unless said otherwise. ``encoding`` as Content-Encoding names it."""

    status: int
    body: bytes | Pieces
    content_type: str = "text/plain; charset=utf-8"
    encoding: str = ""


class Refused(Exception):
    """The request is not one of ours; ``status`` says why, and the connection is closed."""

    def __init__(self, status: int) -> None:
        super().__init__(http.HTTPStatus(status).phrase)
        self.status = status


Route = Callable[[Request], Awaitable[Response]]


@contextlib.asynccontextmanager
async def serve(address: tuple[str, int], routes: Mapping[str, Route]) -> AsyncIterator[Server]:
    """Serve until left. OSError, with the address as its filename, when it cannot be had."""
    listener = _listen(address)
    failure: Exception | None = None
    with contextlib.closing(listener):
        async with asyncio.TaskGroup() as connections:
            server = Server(routes, listener, connections)
            async with server.running():
                try:
                    yield server
                except Exception as error:
                    failure = error  # the caller's; a TaskGroup would wrap it in a group of one
    if failure is not None:
        raise failure


class Server:
    """A listening server; ``address`` is where, port 0 resolved."""

    def __init__(
        self, routes: Mapping[str, Route], listener: socket.socket, connections: asyncio.TaskGroup
    ) -> None:
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._routes = routes
        self._listener = listener
        self._group = connections
        self._connections: set[asyncio.Task[None]] = set()  # each removes itself when done
        self._open = True  # False from the moment that no connection may join the group any more

    def __repr__(self) -> str:
        return f"<Server {self.address[0]}:{self.address[1]} connections={len(self._connections)}>"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept connections until left, then end those that are open."""
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=HEAD_MAX_BYTES)
        try:
            yield
        finally:
            self._open = False
            await end(server)
            for task in tuple(self._connections):
                task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open or len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        task = self._group.create_task(self._converse(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other; ends with the connection, never with an error."""
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away, or never said a whole request
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        keep = with_body = False
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                head = await reader.readuntil(_END_OF_HEAD)
            request = parse(head)
            keep, with_body = request.keep_alive, request.method != "HEAD"
            response = await self._answer(request)
        except asyncio.LimitOverrunError:
            response, with_body = _refusal(431), True
        except Refused as refused:
            response, with_body, keep = _refusal(refused.status), True, False
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            writer.write(_head(response, keep=keep))
            if with_body:
                await _send(writer, response.body)
            await writer.drain()
        return keep

    async def _answer(self, request: Request) -> Response:
        route = self._routes.get(request.path)
        if route is None:
            return _refusal(404)
        try:
            return await route(request)
        except Exception as error:
            _LOG.exception("http.failed", path=request.path, error=str(error))
            return _refusal(500)


def parse(head: bytes) -> Request:
    """The request that a head announces, up to and with its empty line. Raises Refused."""
    lines = head[: -len(_END_OF_HEAD)].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not all(words) or "\n" in lines[0]:
        raise Refused(400)
    method, target, version = words
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise Refused(505 if version.startswith("HTTP/") else 400)
    if method not in {"GET", "HEAD"}:
        raise Refused(405)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line:
            raise Refused(400)
        headers[name.lower()] = value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Refused(400)  # a body would be read as the next request
    if not target.startswith("/"):
        raise Refused(400)
    path, _, query = target.partition("?")
    wishes = {word.strip() for word in headers.get("connection", "").lower().split(",")}
    keep_alive = "close" not in wishes if version == "HTTP/1.1" else "keep-alive" in wishes
    return Request(method, path, query, headers, keep_alive)


def _refusal(status: int) -> Response:
    return Response(status, f"{http.HTTPStatus(status).phrase}\n".encode())


async def _send(writer: asyncio.StreamWriter, body: bytes | Pieces) -> None:
    if isinstance(body, bytes):
        writer.write(body)
        return
    for piece in body.pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # to a client that reads fast there is never anything to wait for


def _head(response: Response, *, keep: bool) -> bytes:
    body = response.body
    lines = [
        f"HTTP/1.1 {response.status} {http.HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(body) if isinstance(body, bytes) else body.length}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if response.encoding:
        lines.append(f"Content-Encoding: {response.encoding}")
    if response.status == 405:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join(lines).encode("ascii") + _END_OF_HEAD


def _listen(address: tuple[str, int]) -> socket.socket:
    """One socket; with no host it takes IPv6 and IPv4 where the machine has both."""
    host, port = address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if not host and socket.has_dualstack_ipv6():
            try:
                return socket.create_server(
                    address, family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
                )
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or "cannot listen").partition(" (while")[0]
        raise OSError(error.errno, reason, shown) from None
