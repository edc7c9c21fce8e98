"""The independent eye: one watch on all EndpointSlices, and when which of them changed to what.

Knows slices as far as routing goes. Refuses to know who wrote them. The rule not to break: a time is taken
when bytes arrive, before they are looked at.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from zenlead.kube.resources import ENDPOINT_SLICES

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.client import Client

Key: TypeAlias = tuple[str, str]  # namespace, name of the Service that the slice belongs to
Targets: TypeAlias = dict[str, bool]  # pod name -> ready

SERVICE_NAME = "kubernetes.io/service-name"
CONNECT_TIMEOUT_S = 10.0


class _Meta(msgspec.Struct, rename="camel"):
    namespace: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}


class _Ref(msgspec.Struct):
    name: str = ""


class _Conditions(msgspec.Struct):
    ready: bool | None = None


class _Endpoint(msgspec.Struct, rename="camel"):
    target_ref: _Ref | None = None
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)


class _Slice(msgspec.Struct):
    metadata: _Meta
    endpoints: list[_Endpoint] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_event = msgspec.json.Decoder(_Event)
_slice = msgspec.json.Decoder(_Slice)


class Observer:
    """``targets`` is where each slice points now; ``expect`` gives the time at which one has changed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._expected: dict[Key, tuple[Callable[[Targets], bool], asyncio.Future[float]]] = {}
        self.targets: dict[Key, Targets] = {}
        self._version = ""
        self.events = 0
        self.last_event = 0.0

    async def run(self, started: asyncio.Event) -> None:
        """Watches until cancelled; the sync is over when ``started`` is set. A watch that the server ends, as
        it does with one that reads too slowly, is resumed where it ended."""
        query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        while True:
            await self._watch(query, started)
            if not started.is_set():
                raise RuntimeError("the first list of the observer was cut")
            query = f"&resourceVersion={self._version}"

    async def _watch(self, query: str, started: asyncio.Event) -> None:
        path = f"{ENDPOINT_SLICES.path()}?watch=1&allowWatchBookmarks=true"
        async for lines in self._client.stream(path + query):
            now = time.perf_counter()
            for line in lines.split(b"\n"):
                event = _event.decode(line)
                if event.type in {"ADDED", "MODIFIED", "DELETED"}:
                    self._take(event, now)
                elif event.type == "BOOKMARK":
                    self._version = _slice.decode(event.object).metadata.resource_version
                    started.set()
                else:
                    raise RuntimeError(f"the watch of the observer failed: {bytes(event.object)!r}")

    def _take(self, event: _Event, now: float) -> None:
        seen = _slice.decode(event.object)
        key = (seen.metadata.namespace, seen.metadata.labels.get(SERVICE_NAME, ""))
        self._version = seen.metadata.resource_version
        self.events += 1
        self.last_event = now
        if event.type == "DELETED":
            self.targets.pop(key, None)
            return
        targets = {
            e.target_ref.name: e.conditions.ready is not False for e in seen.endpoints or () if e.target_ref
        }
        self.targets[key] = targets
        waiting = self._expected.get(key)
        if waiting is not None and waiting[0](targets):
            del self._expected[key]
            if not waiting[1].done():
                waiting[1].set_result(now)

    def expect(self, key: Key, changed: Callable[[Targets], bool]) -> asyncio.Future[float]:
        """Resolves to the time (perf_counter) of the first event from now on that satisfies ``changed``."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._expected[key] = (changed, future)
        return future
