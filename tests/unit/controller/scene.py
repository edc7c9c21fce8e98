"""A Reconciler on the sandbox, with a hand on every request and an ear on everything that is told.

The stores are filled by lists when a test says so (``sync``): what a pass knows, and when, is the test's.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import msgspec

from tests.simulated.clock import EPOCH, WallClock
from tests.unit.lead.builders import Json, stamp
from zenlead.controller.apply import Listener
from zenlead.controller.caches import Caches
from zenlead.controller.reconcile import Options, Pass, Reconciler
from zenlead.controller.spans import untraced
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import LaneWriter
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Resource
from zenlead.lead import contract
from zenlead.lead.wire import WirePod, WireService, WireSlice, decode
from zenlead.sandbox.box import Sandbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from zenlead.controller.announce import Announcement
    from zenlead.controller.facts import ControllerFact
    from zenlead.kube.errors import ApiError
    from zenlead.lead.views import ServiceView

NS = "t1"
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


class Sent(msgspec.Struct, frozen=True):
    verb: str
    resource: str
    name: str
    body: Json


class Tapped:
    """An Api that notes every request and can fail, lose or delay it."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.sent: list[Sent] = []
        self.faults: list[tuple[str, ApiError, bool]] = []  # verb, error, whether it was applied nonetheless
        self.delay_s = 0.0
        self.before: Callable[[Sent], Awaitable[None]] | None = None
        self.after: Callable[[Sent], Awaitable[None]] | None = (
            None  # it was applied, the answer is on its way
        )

    def fail(self, verb: str, error: ApiError, *, applied: bool = False) -> None:
        """The next request of that verb fails so; ``applied``: it was done, and only the reply is lost."""
        self.faults.append((verb, error, applied))

    def writes(self) -> list[tuple[str, str]]:
        return [(s.verb, s.resource) for s in self.sent if s.verb != "get"]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        return await self._do("get", resource, name, b"{}", lambda: self._api.get(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        body: bytes = await self._api.list(resource, namespace, query)
        return body

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        name = msgspec.json.decode(body)["metadata"]["name"]
        return await self._do(
            "create", resource, name, body, lambda: self._api.create(resource, namespace, body)
        )

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        return await self._do(
            "patch",
            resource,
            name,
            body,
            lambda: self._api.patch(resource, namespace, name, body, subresource=subresource),
        )

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        return await self._do(
            "delete", resource, name, body, lambda: self._api.delete(resource, namespace, name, body)
        )

    async def _do(
        self, verb: str, resource: Resource, name: str, body: bytes, ask: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        sent = Sent(verb, resource.plural, name, msgspec.json.decode(body))
        self.sent.append(sent)
        if self.before is not None:
            await self.before(sent)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        fault = next((f for f in self.faults if f[0] == verb), None)
        if fault is None:
            answer = await ask()
            if self.after is not None:
                await self.after(sent)
            return answer
        self.faults.remove(fault)
        if fault[2]:
            await ask()
        raise fault[1]


class Scene:
    """Namespace t1 with whatever a test puts there; ``key`` is Service web."""

    def __init__(self, *, qps: float = 0.0, burst: int = 0, **options: Any) -> None:
        self.wall = WallClock()
        self.box = Sandbox(now=self.wall, seed=1)
        self.api = Tapped(self.box.api)
        self.caches = Caches(index_limit=0)
        self.facts: list[ControllerFact] = []
        self.told: list[Announcement] = []
        self.authority_s = math.inf
        self.lanes = LaneWriter(self.api, fence=lambda: self.authority_s, qps=qps, burst=burst)
        self.spans: list[str] = []
        listener = Listener(self.facts.append, self._hear, self._span)
        self.reconciler = Reconciler(
            self.caches, self.api, self.lanes, listener, wall=self.wall, options=Options(**options)
        )
        self.key = (NS, "web")

    def _hear(self, source: ServiceView, said: Announcement) -> None:
        self.told.append(said)

    def _span(self, name: str, attributes: Mapping[str, str], ago_s: float = 0.0, /) -> Any:
        self.spans.append(name)
        return untraced(name, attributes, ago_s)

    async def begin(self, *pods: str, **over: Any) -> Scene:
        """The namespace, Service web and these ready pods, known to the stores."""
        await self.box.api.create(NAMESPACES, "", msgspec.json.encode({"metadata": {"name": NS}}))
        await self.service(**over)
        for index, name in enumerate(pods):
            await self.pod(name, f"10.1.0.{10 + index}")
        await self.sync()
        return self

    async def service(self, name: str = "web", **over: Any) -> None:
        annotations = {contract.ENABLED: "true"} | over.pop("annotations", {})
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]} | over
        await self.create(SERVICES, {"metadata": {"name": name, "annotations": annotations}, "spec": spec})

    async def pod(self, name: str, ip: str, **status: Any) -> None:
        body = {
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        }
        await self.create(PODS, body)
        await self.ready(name, ip=ip, **status)
        await asyncio.sleep(1)  # pods differ in age

    async def ready(self, name: str, *, now: bool = True, ip: str = "", **status: Any) -> None:
        condition = {
            "type": "Ready",
            "status": "True" if now else "False",
            "lastTransitionTime": stamp(self.wall()),
        }
        body = {"phase": "Running", "conditions": [condition]} | status
        if ip:
            body |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        await self.patch(PODS, name, {"status": body}, subresource="status")

    async def create(self, resource: Resource, body: Json) -> None:
        body = {"apiVersion": resource.api_version, "kind": resource.kind} | body
        await self.box.api.create(resource, NS, msgspec.json.encode(body))

    async def patch(self, resource: Resource, name: str, body: Json, *, subresource: str = "") -> None:
        await self.box.api.patch(resource, NS, name, msgspec.json.encode(body), subresource=subresource)

    async def patch_source(self, *, enabled: str | None) -> None:
        """Opt in or out."""
        await self.patch(SERVICES, "web", {"metadata": {"annotations": {contract.ENABLED: enabled}}})
        await self.sync()

    async def remove(self, resource: Resource, name: str) -> None:
        await self.box.api.delete(resource, NS, name, b'{"gracePeriodSeconds":0}')

    async def read(self, resource: Resource, name: str) -> Json:
        decoded: Json = msgspec.json.decode(await self.box.api.get(resource, NS, name))
        return decoded

    async def names(self, resource: Resource) -> set[str]:
        body = msgspec.json.decode(await self.box.api.list(resource, NS, {}))
        return {item["metadata"]["name"] for item in body["items"]}

    async def sync(self) -> None:
        """What is there now is known now."""
        for resource, wire, store in (
            (PODS, WirePod, self.caches.pods),
            (SERVICES, WireService, self.caches.services),
            (ENDPOINT_SLICES, WireSlice, self.caches.slices),
        ):
            items = msgspec.json.decode(await self.box.api.list(resource, NS, {}))["items"] or ()
            views = [decode(wire, msgspec.json.encode(item)) for item in items]
            store.replace(views, mark=store.mark())

    async def pass_(self, lane: Lane = Lane.ROUTINE, key: tuple[str, str] | None = None) -> Pass:
        seen_at = asyncio.get_running_loop().time()
        return await self.reconciler.reconcile(
            lambda: self.caches.snapshot(key or self.key, None), lane, seen_at
        )

    async def settled(self) -> Scene:
        """As after a first pass; nothing is remembered of it."""
        await self.pass_()
        self.forget()
        return self

    def forget(self) -> None:
        self.api.sent.clear()
        self.facts.clear()
        self.told.clear()

    async def routes(self, name: str = "web-leader") -> list[str]:
        """Names of the pods that the slice routes to."""
        body = await self.read(ENDPOINT_SLICES, name)
        return [endpoint["targetRef"]["name"] for endpoint in body["endpoints"] or ()]

    def facts_of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def reasons(self) -> list[str]:
        return [said.reason for said in self.told]


__all__ = ["EPOCH", "NS", "Scene", "Sent", "Tapped"]
