"""A client that is quiet for long keeps one connection warm; one that is busy is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.unit.kube.fakeserver import serving, status, write_kubeconfig
from zenlead.kube import connections, warmth
from zenlead.kube.api import connect
from zenlead.kube.errors import Forbidden, Unreachable
from zenlead.kube.resources import ENDPOINT_SLICES
from zenlead.kube.warmth import WARM_S, Warmth

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator

    from aiohttp import web


class Quiet:
    """Notes when it is asked; ``trouble`` is what comes of it."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.asked: list[float] = []
        self.last = asyncio.get_running_loop().time()
        self._trouble = trouble

    def idle_s(self) -> float:
        return asyncio.get_running_loop().time() - self.last

    async def version(self) -> str:
        self.last = asyncio.get_running_loop().time()
        self.asked.append(self.last)
        if self._trouble is not None:
            raise self._trouble
        return "v1.37.2"


@contextlib.asynccontextmanager
async def keeping(client: Quiet) -> AsyncIterator[None]:
    task = asyncio.create_task(Warmth(client).run())
    yield
    assert not task.done()
    task.cancel()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("trouble", [None, Unreachable("away"), Forbidden("no", status=403)])
async def test_who_is_quiet_asks_now_and_then(trouble: Exception | None) -> None:
    client = Quiet(trouble)
    started = client.last
    async with keeping(client):
        await asyncio.sleep(3.5 * WARM_S)
    assert [at - started for at in client.asked] == pytest.approx([WARM_S, 2 * WARM_S, 3 * WARM_S])


@pytest.mark.virtual_clock
async def test_who_asks_often_anyway_is_left_alone() -> None:
    client = Quiet()
    async with keeping(client):
        for _ in range(20):
            await asyncio.sleep(0.9 * WARM_S)
            client.last = asyncio.get_running_loop().time()
    assert client.asked == []


@pytest.mark.usefixtures("quiet_environment")
@pytest.mark.parametrize("kept", [True, False])
async def test_a_write_after_a_long_quiet_finds_a_connection(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr(connections, "KEEPALIVE_TIMEOUT_S", 0.6)
    monkeypatch.setattr(warmth, "WARM_S", 0.2)
    async with serving() as server:
        api = await connect(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", server.url), context=None)
        task = asyncio.create_task(Warmth(api).run()) if kept else None
        try:
            for _ in range(2):
                await api.patch(ENDPOINT_SLICES, "t1", "web-leader", b"{}")
                await asyncio.sleep(1.5)
        finally:
            if task is not None:
                task.cancel()
            await api.close()
        writes = [
            at for at, request in zip(server.connections, server.requests, strict=True) if is_write(request)
        ]
        assert len(set(writes)) == (1 if kept else 2)
        assert (len(server.requests) > len(writes)) is kept


def is_write(request: web.Request) -> bool:
    return request.method == "PATCH"


@pytest.mark.usefixtures("quiet_environment")
async def test_an_answer_that_refuses_counts_as_one(tmp_path: pathlib.Path) -> None:
    async with serving() as server:
        server.answer = refuse
        api = await connect(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", server.url), context=None)
        await asyncio.sleep(0.2)
        before = api.idle_s()
        with pytest.raises(Forbidden):
            await api.version()
        assert api.idle_s() < before
        await api.close()


async def refuse(_: web.Request) -> web.Response:
    return status(403, "Forbidden")
