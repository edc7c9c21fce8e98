"""The small server on real loopback sockets: what it answers, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from zenlead.observe import health, http
from zenlead.observe.http import HEAD_MAX_BYTES, Pieces, Refused, Request, Response, Server, parse, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LOOPBACK = ("127.0.0.1", 0)


async def hello(request: Request) -> Response:
    return Response(200, f"{request.method} {request.path} {request.query}\n".encode())


async def broken(request: Request) -> Response:
    raise ValueError("odd")


async def packed(request: Request) -> Response:
    return Response(200, b"zipped", "text/x", "gzip")


async def in_pieces(request: Request) -> Response:
    return Response(200, Pieces(9, iter((b"one ", b"two", b"", b" 3"))))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    routes = {"/": hello, "/broken": broken, "/packed": packed, "/pieces": in_pieces}
    async with serve(LOOPBACK, routes) as running:
        yield running


async def talk(server: Server, *requests: bytes) -> bytes:
    """Send all at once, then read until the server closes."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"".join(requests))
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def get(path: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    lines = [f"{method} {path} {version}", "Host: x", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


CLOSE = "Connection: close"


async def test_an_answer_to_the_letter(server: Server) -> None:
    assert await talk(server, get("/?a=1", CLOSE)) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n"
        b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\nGET / a=1\n"
    )


async def test_head_has_no_body(server: Server) -> None:
    answer = await talk(server, get("/", CLOSE, method="HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Length: 8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_an_encoding_is_named(server: Server) -> None:
    answer = await talk(server, get("/packed", CLOSE))
    assert b"\r\nContent-Encoding: gzip\r\n" in answer
    assert answer.endswith(b"\r\n\r\nzipped")
    assert b"Content-Encoding" not in await talk(server, get("/", CLOSE))


async def test_a_body_in_pieces_is_one_body(server: Server) -> None:
    answer = await talk(server, get("/pieces"), get("/pieces", method="HEAD"), get("/", CLOSE))
    assert answer.count(b"Content-Length: 9\r\n") == 2
    assert answer.count(b"\r\n\r\none two 3HTTP/1.1 200 OK") == 1
    assert answer.count(b"one") == 1


async def test_a_client_that_does_not_read_its_pieces_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_TIMEOUT_S", 0.3)
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(1 << 16)

    async def route(request: Request) -> Response:
        return Response(200, Pieces(1 << 40, endless()))

    async with asyncio.timeout(5), serve(LOOPBACK, {"/": route}) as server:
        _, writer = await asyncio.open_connection(*server.address, limit=1024)
        writer.write(get("/"))
        for _ in range(300):
            await asyncio.sleep(0.01)
            if asked and "connections=0" in repr(server):
                break
        assert "connections=0" in repr(server)
        assert 0 < asked < 300, "made for nobody: the kernel takes some 10 MB"
        writer.transport.abort()


async def test_a_connection_serves_many_requests(server: Server) -> None:
    answer = await talk(
        server, get("/"), get("/none"), get("/", method="HEAD"), get("/", "connection: Close")
    )
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200", b"404", b"200", b"200"]
    assert answer.count(b"Connection: keep-alive") == 3


async def test_http_1_0_closes_unless_asked(server: Server) -> None:
    assert b"Connection: close" in await talk(server, get("/", version="HTTP/1.0"))
    kept = await talk(server, get("/", "Connection: keep-alive", version="HTTP/1.0"), get("/", CLOSE))
    assert kept.count(b"HTTP/1.1 200") == 2


async def test_a_request_in_pieces(server: Server) -> None:
    reader, writer = await asyncio.open_connection(*server.address)
    for byte in get("/", CLOSE):
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/none", CLOSE), 404),
        (get("/", method="POST"), 405),
        (get("/", method="OPTIONS"), 405),
        (get("/", version="HTTP/2.0"), 505),
        (get("/", version="SPDY"), 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),  # somebody speaks TLS
        (get("x"), 400),
        (get("http://x/"), 400),
        (get("/", "no colon"), 400),
        (get("/", ": no name"), 400),
        (get("/", "Name : space"), 400),
        (get("/", " folded"), 400),
        (get("/", "a: b\nc: d"), 400),
        (get("/", "Content-Length: 5") + b"12345", 400),
        (get("/", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (get("/", "X: " + "x" * HEAD_MAX_BYTES), 431),
        (b"G" * (2 * HEAD_MAX_BYTES), 431),
    ],
)
async def test_what_is_refused(server: Server, request_bytes: bytes, status: int) -> None:
    answer = await talk(server, request_bytes)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer
    assert (b"Allow: GET, HEAD" in answer) == (status == 405)


async def test_a_client_that_says_nothing_or_half_is_let_go(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "IDLE_TIMEOUT_S", 0.01)
    assert await talk(server) == b""
    assert await talk(server, b"GET / HT") == b""


async def test_a_client_that_hangs_up_half_way_harms_nobody(server: Server) -> None:
    _, writer = await asyncio.open_connection(*server.address)
    writer.write(b"GET / HT")
    writer.transport.abort()
    assert (await talk(server, get("/", CLOSE))).startswith(b"HTTP/1.1 200")


async def test_a_route_that_fails_is_500_and_a_log_line(server: Server) -> None:
    with capture_logs() as logs:
        answer = await talk(server, get("/broken"), get("/", CLOSE))
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error")
    assert b"HTTP/1.1 200 OK" in answer
    assert [(line["event"], line["path"], line["error"]) for line in logs] == [
        ("http.failed", "/broken", "odd")
    ]


async def test_connections_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECTIONS_MAX", 1)
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(get("/"))
    await reader.readuntil(b"\r\n\r\n")
    assert await talk(server, b"") == b""
    assert "connections=1" in repr(server)
    writer.close()
    await writer.wait_closed()


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match="Address already in use") as caught:
            async with serve(address, {}):
                pytest.fail("served on a taken port")
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == "Address already in use"
    assert caught.value.filename == f"127.0.0.1:{address[1]}"


async def test_every_interface_is_one_socket_for_both_families() -> None:
    async with serve(("", 0), {"/": hello}) as server:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("0.0.0.0", server.address[1]))  # noqa: S104 - only to see that it is taken
        reader, writer = await asyncio.open_connection("127.0.0.1", server.address[1])
        writer.write(get("/", CLOSE))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()


async def test_the_end_does_not_wait_for_open_connections() -> None:
    started = asyncio.Event()

    async def forever(request: Request) -> Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(5):
        async with serve(LOOPBACK, {"/": forever}) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(get("/"))
            await started.wait()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*server.address)


async def test_an_error_of_the_caller_passes_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with serve(LOOPBACK, {}):
            raise LookupError("mine")


def test_query_words() -> None:
    request = parse(get("/readyz?verbose&x=1"))
    assert request.asks_for("verbose")
    assert request.asks_for("x")
    assert not request.asks_for("y")
    assert not parse(get("/verbose")).asks_for("verbose")


def test_headers_are_lower_case_and_trimmed() -> None:
    assert parse(get("/", "AcCept:  text/plain ")).headers["accept"] == "text/plain"


def test_a_refusal_says_why() -> None:
    with pytest.raises(Refused, match="Method Not Allowed"):
        parse(get("/", method="PUT"))


class Probes:
    """Two checks that can be made to fail."""

    def __init__(self) -> None:
        self.missing: str | None = None
        self.routes = health.routes(
            lambda: {"loop": lambda: None},
            lambda: {"caches": lambda: self.missing, "lease": lambda: None},
        )

    async def ask(self, target: str) -> tuple[int, str]:
        response = await self.routes[target.partition("?")[0]](parse(get(target)))
        return response.status, response.body.decode()


async def test_probes_that_are_well() -> None:
    probes = Probes()
    for path in ("/healthz", "/livez", "/readyz"):
        assert await probes.ask(path) == (200, "ok\n")
    assert await probes.ask("/healthz?verbose") == (200, "[+]loop ok\nhealthz check passed\n")
    assert await probes.ask("/livez?verbose=1") == (200, "[+]loop ok\nlivez check passed\n")
    assert await probes.ask("/readyz?verbose") == (200, "[+]caches ok\n[+]lease ok\nreadyz check passed\n")


async def test_a_failing_probe_names_what_is_missing() -> None:
    probes = Probes()
    probes.missing = "pods not listed yet: forbidden to list pods"
    expected = "[-]caches: pods not listed yet: forbidden to list pods\n[+]lease ok\nreadyz check failed\n"
    assert await probes.ask("/readyz") == (503, expected)
    assert await probes.ask("/healthz") == (200, "ok\n")


async def test_a_check_that_raises_is_a_failed_check() -> None:
    def raises() -> str | None:
        raise KeyError("x")

    response = await health.routes(lambda: {"odd": raises}, dict)["/livez"](parse(get("/livez")))
    assert response.status == 503
    assert response.body == b"[-]odd: the check itself failed: KeyError: 'x'\nlivez check failed\n"
