"""What the micro-benchmarks stand on: event bytes, an echo, and a controller over the sandbox's store."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from benchmarks.scene import NAMESPACES, pod_body, pod_status
from zenlead.controller.assembly import Controller
from zenlead.controller.parameters import Parameters
from zenlead.controller.triggers import Trigger
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Resource
from zenlead.kube.store import Change
from zenlead.kube.watch import Cursor, Kind
from zenlead.lead.wire import WirePod
from zenlead.sandbox.apiserver import ApiServer
from zenlead.sandbox.memory import MemoryApi

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import Key, PodView

ECHO = """
import asyncio
BODY = b'{"metadata":{"name":"web-leader","namespace":"default","resourceVersion":"2"}}'
HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
ANSWER = HEAD % len(BODY) + BODY
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
SETTLE_S = 3.0  # what is only decoration waits for a second after so many were made at once
DECORATE_S = 0.01  # a failover's other writes are done by then
WRITE_TIMEOUT_S = 60.0

encode = msgspec.json.encode
SLICE_BODY = encode(
    {
        "metadata": {"resourceVersion": "1", "annotations": {"zen-lead.io/leader-epoch": "2"}},
        "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": True}, "nodeName": "n1"}],
    }
)


def pod_line(version: int, *, ready: bool = True) -> bytes:
    """A MODIFIED event of a pod of the usual size, with managedFields."""
    pod: dict[str, Any] = pod_body("web", "web-0")
    pod["metadata"] |= {
        "namespace": "default",
        "uid": "5b2c6a1e-0000-4000-8000-000000000000",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [
            {
                "manager": "kubelet",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {f"f:field-{n}": {".": {}, "f:name": {}, "f:value": {}} for n in range(60)},
            }
        ],
    }
    pod["status"] = pod_status("10.1.0.1", ready=ready)
    return encode({"type": "MODIFIED", "object": pod}) + b"\n"


POD_LINE = pod_line(2)


def watching() -> Cursor[PodView]:
    """A cursor behind its initial list."""
    cursor: Cursor[PodView] = Cursor(Kind(PODS, WirePod))
    cursor.page(encode({"metadata": {"resourceVersion": "1"}, "items": []}))
    return cursor


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """A server in a process of its own that answers whatever arrives; its port."""
    process = subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    try:
        if process.stdout is None:
            raise RuntimeError("the echo has no output")
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


class Stopwatch(MemoryApi):
    """An Api that notes how long after the last bytes of a pod's watch a slice is written."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server)
        self.seen = 0.0
        self._waits: asyncio.Queue[float] = asyncio.Queue()

    async def written(self) -> float:
        """Waits for the next write of a slice; seconds from the last bytes to its request."""
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            return await self._waits.get()

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        if resource is ENDPOINT_SLICES:
            self._waits.put_nowait(time.perf_counter() - self.seen)
        return await super().create(resource, namespace, body)

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(
            super().watch(resource, namespace, query, deadline_s=deadline_s)
        ) as chunks:
            async for chunk in chunks:
                if resource is PODS:
                    self.seen = time.perf_counter()
                yield chunk

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        if resource is ENDPOINT_SLICES:
            self._waits.put_nowait(time.perf_counter() - self.seen)
        return await super().patch(resource, namespace, name, body, subresource=subresource)


class Scene:
    """A controller that leads ``services`` Services of three pods each, settled. An async context manager."""

    namespace = "bench"

    def __init__(self, services: int) -> None:
        self.services = [f"web-{number:05d}" for number in range(services)]
        self._api = Stopwatch(ApiServer(time.time, random.Random(1)))

    async def __aenter__(self) -> Self:
        await self._fill()
        self.controller = Controller(
            self._api,
            self._api,
            Parameters(identity="micro", lease_namespace="default", elect=False, qps=0, burst=0),
            wall=time.time,
            notify=lambda _: None,
        )
        self._task = asyncio.create_task(self.controller.run())
        for _ in self.services:
            await self._api.written()
        await asyncio.sleep(SETTLE_S)
        self._trigger = Trigger(self.controller.caches, self.controller.selectors)
        pod = next(iter(self.controller.caches.pods))
        self._noise = Change(pod, msgspec.structs.replace(pod, node="elsewhere"))
        self._line = pod_line(2)
        self._cursor = watching()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.controller.stop()
        await self._task

    def snapshot(self, key: Key) -> Snapshot:
        return self.controller.caches.snapshot(key, self.controller.selectors.peek(key[0]))

    def trigger_noise(self) -> None:
        """A changed pod of an opted-in Service, from the store's change to the keys."""
        self._trigger.pod(self._noise)

    def apply_noise(self) -> None:
        """A pod event whose view is the same as before, from bytes to nothing."""
        for event in self._cursor.feed(self._line):
            self.controller.caches.pods.apply(event.view)  # type: ignore[union-attr]  # an Upsert

    def drop_index(self) -> None:
        self.controller.index_cache.invalidate(self.namespace)

    async def load_index(self) -> None:
        await self.controller.index_cache.get(self.namespace)

    async def failovers(self, count: int) -> tuple[list[float], float]:
        """Leaders fail one after the other: seconds from bytes to PATCH, and CPU seconds of each in all.

        That CPU includes the sandbox's share.
        """
        waits: list[float] = []
        cpu = time.process_time()
        for service in self.services[:count]:
            (leader,) = (s for s in self.controller.caches.slices if s.name == f"{service}-leader")
            await self._set_ready(leader.endpoints[0].target_name, ready=False)
            waits.append(await self._api.written())
            await asyncio.sleep(DECORATE_S)
        await asyncio.sleep(SETTLE_S)
        return waits, (time.process_time() - cpu) / count

    async def _fill(self) -> None:
        await self._api.create(NAMESPACES, "", encode({"metadata": {"name": self.namespace}}))
        for service in self.services:
            body = {
                "metadata": {"name": service, "annotations": {"zen-lead.io/enabled": "true"}},
                "spec": {"selector": {"app": service}, "ports": [{"port": 80, "targetPort": "http"}]},
            }
            await self._api.create(SERVICES, self.namespace, encode(body))
            for index in range(3):
                pod = f"{service}-{index}"
                await self._api.create(PODS, self.namespace, encode(pod_body(service, pod)))
                await self._set_ready(pod, ready=True)

    async def _set_ready(self, pod: str, *, ready: bool) -> None:
        body = encode({"status": pod_status("10.1.0.1", ready=ready)})
        await self._api.patch(PODS, self.namespace, pod, body, subresource="status")
