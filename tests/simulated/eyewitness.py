"""The recorder of the cluster tests on an API server in memory: every revision, in the server's order.

Knows lists and watches of the sandbox. Refuses to fail: it stands at the server, with no network between.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

from tests.cluster.recorder import Recorder
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from zenlead.kube.resources import Resource
    from zenlead.sandbox.memory import MemoryApi


class MemoryClient:
    """What a recorder asks of a client. A watch here never ends: one that does is resumed."""

    def __init__(self, api: MemoryApi) -> None:
        self._api = api

    async def list(self, resource: Resource, namespace: str | None = None, **query: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self._api.list(resource, namespace or None, query))
        return found

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str]
    ) -> AsyncGenerator[dict[str, Any], None]:
        reached = query["resourceVersion"]
        while True:
            wanted = {**query, "resourceVersion": reached, "watch": "1"}
            async for chunk in self._api.watch(resource, namespace or None, wanted, deadline_s=math.inf):
                for line in chunk.splitlines():
                    event = json.loads(line)
                    reached = event["object"]["metadata"]["resourceVersion"]
                    yield event
            await asyncio.sleep(0)


def eyewitness(api: MemoryApi) -> Recorder:
    """Of all namespaces; names must be unique among them."""
    return Recorder(MemoryClient(api), "", also=(PODS,))  # type: ignore[arg-type]  # as much as it needs
