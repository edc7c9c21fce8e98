"""What only the sandbox can be made to do: expiry on demand, older servers, exact times of bookmarks."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from zenlead.kube.errors import Gone, Invalid, Unreachable
from zenlead.kube.resources import SERVICES
from zenlead.sandbox.apiserver import ApiServer, Knobs
from zenlead.sandbox.memory import MemoryApi

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.virtual_clock

SERVICE = json.dumps({"metadata": {"generateName": "web-"}, "spec": {"ports": [{"port": 80}]}}).encode()
STREAMED = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}


def _server(knobs: Knobs | None = None) -> ApiServer:
    return ApiServer(lambda: 0.0, random.Random(1), knobs)


async def _events(
    server: ApiServer, query: Mapping[str, str], deadline_s: float = 3600
) -> list[tuple[float, str, dict[str, Any]]]:
    """Every event of a watch, with the loop time of its arrival."""
    loop, found = asyncio.get_running_loop(), []
    async with aclosing(MemoryApi(server).watch(SERVICES, "default", query, deadline_s=deadline_s)) as chunks:
        async for chunk in chunks:
            for line in chunk.splitlines():
                event = json.loads(line)
                found.append((loop.time(), event["type"], event["object"]))
    return found


async def test_bookmarks_come_at_their_interval_and_just_before_the_end() -> None:
    began = asyncio.get_running_loop().time()
    server = _server(Knobs(bookmark_interval_s=60))
    query = {"resourceVersion": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "150"}
    events = await _events(server, query)
    assert [(at - began, kind) for at, kind, _ in events] == [
        (60, "BOOKMARK"),
        (120, "BOOKMARK"),
        (148, "BOOKMARK"),
    ]
    assert asyncio.get_running_loop().time() - began == 150


async def test_without_asking_there_are_no_bookmarks() -> None:
    assert await _events(_server(), {"resourceVersion": "1", "timeoutSeconds": "150"}) == []


async def test_a_watch_ends_by_itself_after_half_an_hour() -> None:
    began = asyncio.get_running_loop().time()
    await _events(_server(), {"resourceVersion": "1"})
    assert asyncio.get_running_loop().time() - began == 1800


async def test_the_deadline_counts_from_the_beginning() -> None:
    began = asyncio.get_running_loop().time()
    server = _server()
    with pytest.raises(Unreachable, match="idle"):
        await _events(server, {"resourceVersion": "1"}, deadline_s=300)
    assert asyncio.get_running_loop().time() - began == 300
    assert repr(server.watches) == "Watches(open=0)"


@pytest.mark.parametrize("on_connect", [True, False])
async def test_an_old_version_is_expired(*, on_connect: bool) -> None:
    server = _server(Knobs(gone_on_connect=on_connect))
    server.objects.compact()
    query = {"resourceVersion": str(server.objects.revision - 1)}
    if on_connect:
        with pytest.raises(Gone):
            await _events(server, query)
    else:
        [(_, kind, status)] = await _events(server, query)
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    assert (
        await _events(server, {"resourceVersion": str(server.objects.revision), "timeoutSeconds": "1"}) == []
    )


async def test_open_watches_can_be_expired() -> None:
    server = _server()
    watching = asyncio.create_task(_events(server, {"resourceVersion": str(server.objects.revision)}))
    await asyncio.sleep(1)
    await MemoryApi(server).create(SERVICES, "default", SERVICE)
    server.watches.expire()
    assert [(kind, body.get("code")) for _, kind, body in await watching] == [("ADDED", None), ("ERROR", 410)]
    assert repr(server.watches) == "Watches(open=0)"


async def test_pages_of_a_forgotten_list_are_expired_but_can_go_on() -> None:
    server = _server()
    api = MemoryApi(server)
    for _ in range(3):
        await api.create(SERVICES, "default", SERVICE)
    first = json.loads(await api.list(SERVICES, "default", {"limit": "1"}))
    server.objects.compact()
    await api.create(SERVICES, "default", SERVICE)
    server.objects.compact()
    kind = server.kind("", "v1", "services")
    with pytest.raises(Gone) as refused:
        await api.list(SERVICES, "default", {"continue": first["metadata"]["continue"]})
    assert (refused.value.status, refused.value.reason) == (410, "Expired")
    from zenlead.sandbox.refusals import Refusal

    with pytest.raises(Refusal) as told:
        server.list(kind, "default", {"continue": first["metadata"]["continue"]})
    token = told.value.status()["metadata"]["continue"]
    rest = server.list(kind, "default", {"continue": token})
    assert len(rest.items) == 3


async def test_an_older_server_refuses_streamed_lists() -> None:
    with pytest.raises(Invalid) as refused:
        await _events(_server(Knobs(streaming="refused")), STREAMED)
    assert refused.value.status == 422


async def test_a_still_older_server_ignores_the_wish() -> None:
    server = _server(Knobs(streaming="ignored"))
    await MemoryApi(server).create(SERVICES, "default", SERVICE)
    events = await _events(server, {**STREAMED, "timeoutSeconds": "1"})
    assert [kind for _, kind, _ in events] == ["ADDED"]


async def test_a_cancelled_watch_leaves_nothing_behind() -> None:
    server = _server()
    watching = asyncio.create_task(_events(server, {"resourceVersion": "1"}))
    for steps in range(4):
        for _ in range(steps):
            await asyncio.sleep(0)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert repr(server.watches) == "Watches(open=0)"
        assert "listeners=2" in repr(server.objects)
        watching = asyncio.create_task(_events(server, {"resourceVersion": "1"}))
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_an_answer_never_comes_in_the_same_step() -> None:
    order: list[str] = []

    async def ask() -> None:
        await MemoryApi(_server()).list(SERVICES, None, {})
        order.append("answered")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    order.append("asked")
    await asking
    assert order == ["asked", "answered"]
