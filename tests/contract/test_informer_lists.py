"""An informer's first list, by pages and as a stream, and that its watch goes on where the list ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.contract.world import service
from zenlead.kube import watch as lists
from zenlead.kube.informer import Informer
from zenlead.kube.resources import SERVICES
from zenlead.kube.store import Store
from zenlead.kube.watch import Kind
from zenlead.lead.wire import WireService

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from tests.contract.world import World
    from zenlead.kube.api import Api
    from zenlead.kube.resources import Resource
    from zenlead.lead.views import ServiceView

COUNT = 7
SOON_S = 10.0


class Asked:
    """An Api that keeps in mind how it was asked for lists."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.pages = self.streams = 0

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        self.pages += 1
        return await self._api.list(resource, namespace, query)

    def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        self.streams += "sendInitialEvents" in query
        return self._api.watch(resource, namespace, query, deadline_s=deadline_s)


@pytest.mark.parametrize(("many", "pages", "streams"), [(COUNT - 3, 1, 1), (COUNT - 2, 4, 0)])
async def test_many_are_streamed_and_fewer_come_by_pages(
    world: World, monkeypatch: pytest.MonkeyPatch, many: int, pages: int, streams: int
) -> None:
    """Two are in the first page, so that ``COUNT - 2`` are left."""
    monkeypatch.setattr(lists, "PAGE_SIZE", 2)
    monkeypatch.setattr(lists, "MANY", many)
    names = [f"web-{number}" for number in range(COUNT)]
    for name in names:
        await world.create(SERVICES, service(name))
    store: Store[ServiceView] = Store()
    asked, changed = Asked(world.api), asyncio.Event()
    informer = Informer(
        asked,
        Kind(SERVICES, WireService),
        store,
        lambda _: changed.set() if informer.synced.is_set() else None,
        namespace=world.namespace,
    )
    running = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(SOON_S):
            await informer.synced.wait()
        assert sorted(view.name for view in store) == names
        assert (asked.pages, asked.streams) == (pages, streams)
        await world.create(SERVICES, service("later"))
        async with asyncio.timeout(SOON_S):
            while (world.namespace, "later") not in {view.key for view in store}:
                await changed.wait()
                changed.clear()
    finally:
        running.cancel()
