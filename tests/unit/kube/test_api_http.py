"""HttpApi against a server on loopback: what goes over the wire, and what comes of every kind of answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web

import zenlead
from tests.unit.kube.fakeserver import FakeServer, serving, status, write_kubeconfig
from zenlead.kube import exchange
from zenlead.kube.api import HttpApi, connect, request_lane
from zenlead.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Gone,
    Invalid,
    NotFound,
    Throttled,
    Unreachable,
)
from zenlead.kube.facts import KubeFact, RequestDone
from zenlead.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("quiet_environment")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with serving() as server:
        yield server


@pytest_asyncio.fixture
async def api(server: FakeServer, tmp_path: pathlib.Path) -> AsyncIterator[HttpApi]:
    path = write_kubeconfig(tmp_path / "kubeconfig", server.url, user={"token": "s3cr3t"})
    api = await connect(kubeconfig=path, context=None, request_timeout_s=2.0)
    yield api
    await api.close()


async def read(api: HttpApi, *, deadline_s: float = 30.0) -> list[bytes]:
    async with contextlib.aclosing(api.watch(PODS, None, {}, deadline_s=deadline_s)) as stream:
        return [chunk async for chunk in stream]


# --- requests -------------------------------------------------------------------------------------


async def test_each_verb_is_the_request_that_kubernetes_documents(server: FakeServer, api: HttpApi) -> None:
    await api.get(NODES, None, "n1")
    await api.list(PODS, None, {"limit": "200", "continue": "a+b/c=&d", "labelSelector": "app=web"})
    await api.create(ENDPOINT_SLICES, "t1", b"{1}")
    await api.patch(SERVICES, "t1", "web", b"{2}", subresource="status")
    await api.delete(SERVICES, "t1", "web", b"{3}")
    await read(api)
    slices = "/apis/discovery.k8s.io/v1/namespaces/t1/endpointslices"
    assert [f"{request.method} {request.path}" for request in server.requests] == [
        "GET /api/v1/nodes/n1",
        "GET /api/v1/pods",
        f"POST {slices}",
        "PATCH /api/v1/namespaces/t1/services/web/status",
        "DELETE /api/v1/namespaces/t1/services/web",
        "GET /api/v1/pods",
    ]
    assert dict(server.requests[1].query) == {
        "limit": "200",
        "continue": "a+b/c=&d",
        "labelSelector": "app=web",
    }
    assert dict(server.requests[5].query) == {"watch": "1"}
    assert server.bodies == [b"", b"", b"{1}", b"{2}", b"{3}", b""]
    content = server.sent("Content-Type")
    assert content[2:5] == ["application/json", "application/merge-patch+json", "application/json"]
    assert set(server.sent("Authorization")) == {"Bearer s3cr3t"}
    assert set(server.sent("Accept")) == {"application/json"}
    assert set(server.sent("Accept-Encoding")) == {"identity"}
    assert set(server.sent("User-Agent")) == {f"zenlead/{zenlead.__version__}"}
    assert set(server.sent("Cookie")) == {None}


async def test_bodies_come_back_as_they_were_sent(server: FakeServer, api: HttpApi) -> None:
    body = "リーダー🚀".encode() * 100_000

    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(body), 99_999):
            await response.write(body[start : start + 99_999])
        return response

    server.answer = chunked
    assert await api.list(PODS, None, {}) == body


async def test_the_version_is_what_the_server_says(server: FakeServer, api: HttpApi) -> None:
    async def version(request: web.Request) -> web.Response:
        return web.json_response({"gitVersion": "v1.37.2"})

    server.answer = version
    assert await api.version() == "v1.37.2"
    assert server.requests[0].path == "/version"


async def test_sequential_requests_share_one_connection(server: FakeServer, api: HttpApi) -> None:
    for _ in range(5):
        await api.patch(SERVICES, "t1", "web", b"{}")

    async def refuse(request: web.Request) -> web.Response:
        return status(409, "Conflict")

    server.answer = refuse
    for _ in range(3):
        with pytest.raises(Conflict):
            await api.patch(SERVICES, "t1", "web", b"{}")
    assert len(set(server.connections)) == 1


async def test_a_clone_has_connections_of_its_own(server: FakeServer, api: HttpApi) -> None:
    await api.get(PODS, "t1", "a")
    clone = api.clone()
    await clone.get(PODS, "t1", "a")
    await clone.close()
    await api.get(PODS, "t1", "a")
    assert server.connections[0] == server.connections[2] != server.connections[1]
    assert server.sent("Authorization")[1] == "Bearer s3cr3t"


async def test_watches_do_not_use_up_the_connections_of_writes(
    server: FakeServer, tmp_path: pathlib.Path
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x\n")
        await asyncio.sleep(30)
        return response

    server.answer = answer
    path = write_kubeconfig(tmp_path / "c", server.url)
    api = await connect(kubeconfig=path, context=None, connections=1, request_timeout_s=2)
    streams = [api.watch(PODS, None, {}, deadline_s=30) for _ in range(5)]
    for stream in streams:
        assert [await anext(stream), await anext(stream)] == [b"", b"x\n"]
    await api.patch(SERVICES, "t1", "web", b"{}")
    for stream in streams:
        await stream.aclose()
    await api.close()


async def test_names_cannot_lead_to_another_url(server: FakeServer, api: HttpApi) -> None:
    for name in ("../x", "..", "a/b", "a%2fb", "a?b", "a#b", "a b", "ä"):
        with pytest.raises(Invalid):
            await api.get(SERVICES, "t1", name)
        with pytest.raises(Invalid):
            await api.delete(SERVICES, name, "web", b"{}")
    assert server.requests == []


async def test_netrc_is_not_read(
    server: FakeServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login joe password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    api = await connect(kubeconfig=write_kubeconfig(tmp_path / "c", server.url), context=None)
    await api.get(PODS, "t1", "a")
    await api.close()
    assert server.sent("Authorization") == [None]


async def test_a_server_under_a_path(server: FakeServer, tmp_path: pathlib.Path) -> None:
    path = write_kubeconfig(tmp_path / "c", f"{server.url}/k8s/clusters/c1/")
    api = await connect(kubeconfig=path, context=None)
    await api.get(PODS, "t1", "a")
    await api.close()
    assert server.requests[0].path == "/k8s/clusters/c1/api/v1/namespaces/t1/pods/a"


# --- answers that are no success ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", Unreachable),
    ],
)
async def test_refusals_raise_their_class(
    server: FakeServer, api: HttpApi, code: int, reason: str, kind: type[Exception]
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return status(code, reason, "because", retryAfterSeconds=2, causes=[{"reason": "X"}])

    server.answer = refuse
    for attempt in (api.patch(SERVICES, "t1", "web", b"{}"), api.get(SERVICES, "t1", "web"), read(api)):
        with pytest.raises(kind) as caught:
            await attempt
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.reason) == (code, reason)
        assert (caught.value.retry_after_s, caught.value.causes) == (2.0, ("X",))
        assert str(caught.value).endswith(f"{code} because")
    assert len(server.requests) == 3


async def test_redirects_are_not_followed(server: FakeServer, api: HttpApi) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"})

    server.answer = redirect
    with pytest.raises(Unreachable) as caught:
        await api.get(PODS, "t1", "a")
    assert caught.value.status == 307
    assert len(server.requests) == 1


async def test_an_endless_error_page_is_not_read_to_its_end(server: FakeServer, api: HttpApi) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=502)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"<p>bad gateway</p>" * 4096)
        return response

    server.answer = endless
    with pytest.raises(Unreachable) as caught:
        await api.get(PODS, "t1", "a")
    assert caught.value.status == 502


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_given_up(
    server: FakeServer, api: HttpApi, monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    monkeypatch.setattr(exchange, "BODY_LIMIT", 1000)

    async def big(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if declared:
            response.content_length = 1001
        await response.prepare(request)
        await response.write(b"x" * 1001)
        return response

    server.answer = big
    with pytest.raises(Unreachable, match="larger than 1000 bytes"):
        await api.list(PODS, None, {})


# --- no answer ------------------------------------------------------------------------------------


async def test_nobody_listens(tmp_path: pathlib.Path, server: FakeServer) -> None:
    path = write_kubeconfig(tmp_path / "c", "http://127.0.0.1:9")
    api = await connect(kubeconfig=path, context=None)
    for attempt in (api.get(PODS, "t1", "a"), read(api), api.version()):
        with pytest.raises(Unreachable, match=r"cannot connect to 127\.0\.0\.1:9: .*[Rr]efused|Connect call"):
            await attempt
    await api.close()


async def test_a_server_that_says_nothing_is_given_up(server: FakeServer, tmp_path: pathlib.Path) -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    server.answer = silent
    path = write_kubeconfig(tmp_path / "c", server.url)
    api = await connect(kubeconfig=path, context=None, request_timeout_s=0.2)
    for attempt in (api.patch(PODS, "t1", "a", b"{}"), read(api)):
        started = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            await attempt
        assert 0.15 < time.monotonic() - started < 2
    await api.close()


async def test_an_answer_that_is_cut_is_no_answer(server: FakeServer, api: HttpApi) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport
        request.transport.abort()
        return response

    server.answer = cut
    with pytest.raises(Unreachable):
        await api.patch(PODS, "t1", "a", b"{}")


async def test_a_closed_client_answers_at_once(api: HttpApi) -> None:
    await api.close()
    for attempt in (api.get(PODS, "t1", "a"), read(api)):
        with pytest.raises(Unreachable, match="closed"):
            await attempt


async def test_cancelling_a_request_frees_its_connection(server: FakeServer, tmp_path: pathlib.Path) -> None:
    waiting = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        waiting.set()
        await asyncio.sleep(30)
        return web.Response()

    server.answer = silent
    path = write_kubeconfig(tmp_path / "c", server.url)
    api = await connect(kubeconfig=path, context=None, connections=1)
    facts: list[KubeFact] = []
    api.notify = facts.append
    task = asyncio.create_task(api.get(PODS, "t1", "a"))
    await asyncio.wait_for(waiting.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.answer = server.say_ok
    await asyncio.wait_for(api.get(PODS, "t1", "a"), 5)
    await api.close()
    assert [fact.result for fact in facts if isinstance(fact, RequestDone)] == ["cancelled", "success"]


# --- watches --------------------------------------------------------------------------------------


async def test_a_watch_gives_chunks_as_they_come_and_ends_when_the_server_ends_it(
    server: FakeServer, api: HttpApi
) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in "🚀\n".encode():
            await response.write(bytes([byte]))
            await asyncio.sleep(0.01)
        return response

    server.answer = stream
    chunks = await read(api)
    assert b"".join(chunks) == "🚀\n".encode()
    assert len(chunks) > 1


async def test_a_watch_says_at_once_that_it_is_open(server: FakeServer, api: HttpApi) -> None:
    """Whoever watches a quiet cluster must know that the server is there before anything happens in it."""

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(30)
        return response

    server.answer = silent
    async with contextlib.aclosing(api.watch(PODS, None, {}, deadline_s=30)) as stream:
        assert await asyncio.wait_for(anext(stream), 2) == b""


async def test_a_watch_that_is_cut_is_unreachable(server: FakeServer, api: HttpApi) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED"}\n{"ty')
        await asyncio.sleep(0.05)
        assert request.transport
        request.transport.abort()
        return response

    server.answer = cut
    chunks: list[bytes] = []

    async def follow() -> None:
        async for chunk in api.watch(PODS, None, {}, deadline_s=30):
            chunks.append(chunk)  # noqa: PERF401  # what came before the error counts

    with pytest.raises(Unreachable, match=r"cut|reset"):
        await follow()
    assert b"".join(chunks) == b'{"type":"ADDED"}\n{"ty'


async def hold_open(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first\n")
    await asyncio.sleep(30)
    return response


async def test_a_watch_ends_at_its_deadline(server: FakeServer, api: HttpApi) -> None:
    server.answer = hold_open
    started = time.monotonic()
    with pytest.raises(Unreachable, match="idle"):
        await read(api, deadline_s=0.3)
    assert 0.25 < time.monotonic() - started < 3


async def test_a_watch_that_is_left_lets_go_of_its_connection(server: FakeServer, api: HttpApi) -> None:
    server.answer = hold_open
    async with contextlib.aclosing(api.watch(PODS, None, {}, deadline_s=30)) as stream:
        assert [await anext(stream), await anext(stream)] == [b"", b"first\n"]
    assert "0 in use" in repr(api)

    stream = api.watch(PODS, None, {}, deadline_s=30)
    assert [await anext(stream), await anext(stream)] == [b"", b"first\n"]
    task = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    assert "1 in use" in repr(api)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "0 in use" in repr(api)


async def test_a_reader_that_stops_reading_stops_the_sender(server: FakeServer, api: HttpApi) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while sent < 200 * 1024 * 1024:
                await response.write(b"x" * 65536)
                sent += 65536
        return response

    server.answer = flood
    async with contextlib.aclosing(api.watch(PODS, None, {}, deadline_s=30)) as stream:
        await anext(stream)
        await asyncio.sleep(0.3)
        assert sent < 50 * 1024 * 1024  # what the kernel's and aiohttp's buffers take


# --- facts ----------------------------------------------------------------------------------------


async def test_each_attempt_is_a_fact(server: FakeServer, api: HttpApi) -> None:
    facts: list[KubeFact] = []
    api.notify = facts.append

    async def refuse(request: web.Request) -> web.Response:
        return status(409, "AlreadyExists")

    await api.get(NODES, None, "n")
    await read(api)
    server.answer = refuse
    request_lane.set("urgent")
    with pytest.raises(AlreadyExists):
        await api.create(ENDPOINT_SLICES, "t1", b"{}")
    told = [fact for fact in facts if isinstance(fact, RequestDone)]
    assert [(f.verb, f.resource, f.result, f.lane, f.namespace) for f in told] == [
        ("get", "nodes", "success", "", ""),
        ("watch", "pods", "success", "", ""),
        ("create", "endpointslices", "already_exists", "urgent", "t1"),
    ]
    assert all(0 < fact.seconds < 5 for fact in told)


async def test_repr_shows_where_and_how_busy(server: FakeServer, api: HttpApi) -> None:
    assert repr(api) == f"HttpApi(Link({server.url}, open, 0 in use))"
    assert json.dumps(repr(api._credentials)).count("s3cr3t") == 0


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "secrets"),
    [
        ({"token": "s3cr3t-t0ken"}, ["s3cr3t-t0ken"]),
        ({"username": "joe", "password": "s3cr3t-w0rd"}, ["s3cr3t-w0rd", "am9lOnMzY3IzdC13MHJk"]),
    ],
    ids=["token", "password"],
)
async def test_an_answer_that_repeats_what_was_sent_is_not_repeated(
    server: FakeServer, tmp_path: pathlib.Path, user: dict[str, str], secrets: list[str]
) -> None:
    """As some proxies do in their error pages."""

    async def repeat(request: web.Request) -> web.StreamResponse:
        said = f"{request.headers['Authorization']} {' '.join(secrets)}"
        return web.json_response({"message": said, "reason": said}, status=int(request.query["limit"]))

    server.answer = repeat
    path = write_kubeconfig(tmp_path / "kubeconfig", server.url, user=user)
    api = await connect(kubeconfig=path, context=None, request_timeout_s=2.0)
    for code in ("400", "401", "403", "500"):
        with pytest.raises(ApiError) as caught:
            await api.list(PODS, None, {"limit": code})
        with pytest.raises(ApiError) as streamed:
            await anext(api.watch(PODS, None, {"limit": code}, deadline_s=5))
        for error in (caught.value, streamed.value):
            assert not any(secret in f"{error!r}{error}{error.reason}" for secret in secrets)
            assert "[secret]" in error.message
    await api.close()
