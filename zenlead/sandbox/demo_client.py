"""The client of the demo: goes through the leader Service, as every program in a cluster would.

Knows the slices of the leader Service, which it watches over HTTP as kube-proxy does, and sends a request to
their endpoint every 20 ms. Refuses to ask anybody else who leads. The rule: one connection for each request,
since that is when kube-proxy chooses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from zenlead.kube.informer import Informer
from zenlead.kube.resources import ENDPOINT_SLICES
from zenlead.kube.store import Store
from zenlead.kube.watch import Kind
from zenlead.lead import contract
from zenlead.lead.wire import WireSlice
from zenlead.sandbox.demo_failovers import Endpoint
from zenlead.sandbox.demo_world import LEADER_SERVICE, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.lead.views import SliceView

PERIOD_S = 0.02  # between two requests: an outage of that length is seen
TIMEOUT_S = 0.25  # for one request; a pod on loopback answers within a millisecond


class Ear(Protocol):
    """Who wants to know how the requests fare. All times are loop times."""

    def heard(self, now: float, endpoint: Endpoint | None) -> None: ...

    def answered(self, sent_at: float, now: float, asked: Endpoint, pod: str) -> None: ...

    def failed(self, sent_at: float, now: float, why: str) -> None: ...

    def unrouted(self) -> None: ...

    def tick(self, now: float) -> None: ...


class Client:
    """``run`` until cancelled. ``resolve`` is the stand-in for kube-proxy: where an address really leads."""

    def __init__(self, api: Any, resolve: Callable[[str, int], tuple[str, int] | None], ear: Ear) -> None:
        self.endpoint: Endpoint | None = None
        self.sent = 0
        self._resolve = resolve
        self._ear = ear
        self._loop = asyncio.get_running_loop()
        self._slices: Store[SliceView] = Store()
        kind: Kind[SliceView] = Kind(ENDPOINT_SLICES, WireSlice, f"{contract.SERVICE_NAME}={LEADER_SERVICE}")
        self._informer = Informer(api, kind, self._slices, lambda _: self._choose(), namespace=NAMESPACE)

    def __repr__(self) -> str:
        return f"Client(endpoint={self.endpoint}, sent={self.sent}, {self._informer!r})"

    async def run(self) -> None:
        """Watch and ask."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run(), name="client's watch")
            await self._ask_for_ever(group)

    def _choose(self) -> None:
        endpoint = choose(list(self._slices))
        if endpoint != self.endpoint:
            self.endpoint = endpoint
            self._ear.heard(self._loop.time(), endpoint)

    async def _ask_for_ever(self, group: asyncio.TaskGroup) -> None:
        """At a steady pace: a beat that comes late is not made up for. TIMEOUT_S bounds what is under way."""
        beat = self._loop.time()
        while True:
            now = self._loop.time()
            self._ear.tick(now)
            if self.endpoint is None:
                self._ear.unrouted()
            else:
                group.create_task(self._ask(self.endpoint), name="request")
            beat = max(beat + PERIOD_S, now)
            await asyncio.sleep(beat - now)

    async def _ask(self, asked: Endpoint) -> None:
        sent_at = self._loop.time()
        self.sent += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                pod = await self._exchange(asked)
        except TimeoutError:
            self._ear.failed(sent_at, self._loop.time(), "timed out")
        except OSError as error:
            self._ear.failed(sent_at, self._loop.time(), error.strerror or str(error))
        else:
            self._ear.answered(sent_at, self._loop.time(), asked, pod)

    async def _exchange(self, asked: Endpoint) -> str:
        """One HTTP request on a connection of its own; the name that the pod gives. Raises OSError."""
        place = self._resolve(asked.address, asked.port)
        if place is None:
            raise ConnectionRefusedError("nobody listens there")
        reader, writer = await asyncio.open_connection(*place)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % LEADER_SERVICE.encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if b" 200 " not in head.partition(b"\r\n")[0] or not body:
            raise ConnectionResetError("cut off")
        return body.decode().strip()


def choose(slices: list[SliceView]) -> Endpoint | None:
    """The endpoint that kube-proxy would take: the first that is ready, in the order of slices."""
    for held in sorted(slices, key=lambda one: one.name):
        for endpoint in held.endpoints:
            port = next((port.port for port in held.ports if port.port is not None), None)
            if endpoint.ready is not False and endpoint.addresses and port is not None:
                return Endpoint(endpoint.target_name, endpoint.target_uid, endpoint.addresses[0], port)
    return None
