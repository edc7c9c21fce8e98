"""Keeps every revision of a namespace's EndpointSlices, Services and Events, and answers what tests ask.

Knows watches and the order of revisions. Refuses to poll: what was true for a millisecond is here too. Times
are the running loop's (``loop.time()``), taken when a revision was received.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple, Self

from zenlead.kube.recorder import REPORTING_CONTROLLER
from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.cluster.client import KubeClient, Object
    from zenlead.kube.resources import Resource

RECORDED = (ENDPOINT_SLICES, SERVICES, EVENTS)
SERVICE_NAME = "kubernetes.io/service-name"


def of_zenlead(event: Object) -> bool:
    """The API server writes Events too: it can find a cluster IP that it has not yet seen allocated."""
    return event.get("reportingController") == REPORTING_CONTROLLER


class Revision(NamedTuple):
    """One event of a watch. ``type`` is ADDED, MODIFIED or DELETED; ``at`` the loop's time when it came."""

    at: float
    type: str
    resource: str
    name: str
    body: Object

    @property
    def leaders(self) -> tuple[str, ...]:
        """Of a slice: the pods that its ready endpoints point at."""
        if self.type == "DELETED":
            return ()
        endpoints = self.body.get("endpoints") or ()
        return tuple(e["targetRef"]["name"] for e in endpoints if e["conditions"].get("ready") is not False)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of a slice: all addresses, ready or not."""
        if self.type == "DELETED":
            return ()
        return tuple(a for e in self.body.get("endpoints") or () for a in e["addresses"])


class Recorder:
    """Watches one namespace from ``start`` until ``stop``."""

    def __init__(self, client: KubeClient, namespace: str, also: Sequence[Resource] = ()) -> None:
        """``also``: kinds that are recorded besides slices, Services and Events."""
        self._client = client
        self._namespace = namespace
        self._recorded = (*RECORDED, *also)
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()
        self.log: list[Revision] = []

    def __repr__(self) -> str:
        return f"Recorder({self._namespace}, {len(self.log)} revisions)"

    async def start(self) -> None:
        """Returns when nothing can be missed any more."""
        for resource in self._recorded:
            listed = await self._client.list(resource, self._namespace)
            for item in listed["items"]:
                await self._keep("ADDED", resource, item)
            version = listed["metadata"]["resourceVersion"]
            self._tasks.append(asyncio.create_task(self._follow(resource, version)))

    async def stop(self) -> None:
        """Ends the watches; raises what one of them died of, since then the record has a hole."""
        died = [t.exception() for t in self._tasks if t.done() and not t.cancelled()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in died:
            raise error or AssertionError("a watch of the recorder ended")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _follow(self, resource: Resource, version: str) -> None:
        async with contextlib.aclosing(
            self._client.watch(resource, self._namespace, {"resourceVersion": version})
        ) as events:
            async for event in events:
                if event["type"] == "ERROR":
                    raise AssertionError(f"the watch of {resource.plural} broke: {event['object']}")
                await self._keep(event["type"], resource, event["object"])

    async def _keep(self, kind: str, resource: Resource, body: Object) -> None:
        if resource == EVENTS and not of_zenlead(body):
            return
        at = asyncio.get_running_loop().time()
        body["metadata"].pop("managedFields", None)  # two thirds of the bytes, and nobody asks
        self.log.append(Revision(at, kind, resource.plural, body["metadata"]["name"], body))
        async with self._news:
            self._news.notify_all()

    # --- questions

    def revisions(self, resource: Resource, name: str | None = None, *, since: float = 0.0) -> list[Revision]:
        """What was seen of a kind (and an object), oldest first, from loop time ``since`` on."""
        return [
            r for r in self.log if r.resource == resource.plural and name in {None, r.name} and r.at >= since
        ]

    def slice(self, name: str, *, since: float = 0.0) -> list[Revision]:
        """The revisions of one EndpointSlice."""
        return self.revisions(ENDPOINT_SLICES, name, since=since)

    def writes(self, resource: Resource, name: str | None = None, *, since: float = 0.0) -> int:
        """How many writes reached the server (a write that changes nothing is no revision)."""
        return len(self.revisions(resource, name, since=since))

    def leaders(self, slice_name: str) -> list[str]:
        """Who led, in order, without repetition; an empty name for a time without a leader."""
        found: list[str] = []
        for revision in self.slice(slice_name):
            leader = "+".join(revision.leaders)
            if not found or found[-1] != leader:
                found.append(leader)
        return found

    def events(self, reason: str | None = None, *, regarding: str | None = None) -> list[Object]:
        """zenlead's Events in their last state, those of a reason or about an object's name."""
        last = {r.name: r.body for r in self.revisions(EVENTS) if r.type != "DELETED"}
        return [
            e
            for e in last.values()
            if reason in {None, e["reason"]} and regarding in {None, e["regarding"]["name"]}
        ]

    async def wait(self, found: Callable[[Revision], object], what: str, timeout_s: float = 10.0) -> Revision:
        """The first revision (an earlier one counts) that ``found`` accepts."""
        seen = 0
        try:
            async with asyncio.timeout(timeout_s), self._news:
                while True:
                    for revision in self.log[seen:]:
                        seen += 1
                        if found(revision):
                            return revision
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {what}; seen: {self.story()}") from None

    async def wait_leader(
        self, slice_name: str, leader: str | None, *, since: float = 0.0, timeout_s: float = 10.0
    ) -> Revision:
        """The first revision (from ``since`` on) in which exactly ``leader`` leads; None: nobody does."""
        wanted = () if leader is None else (leader,)
        return await self.wait(
            lambda r: (
                r.resource == ENDPOINT_SLICES.plural
                and r.name == slice_name
                and r.at >= since
                and r.leaders == wanted
            ),
            f"{slice_name} routes to {leader or 'nobody'}",
            timeout_s,
        )

    async def quiet(self, seconds: float, timeout_s: float = 20.0) -> None:
        """Waits until nothing new has come for ``seconds``."""
        async with asyncio.timeout(timeout_s):
            while True:
                before = len(self.log)
                await asyncio.sleep(seconds)
                if len(self.log) == before:
                    return

    def story(self) -> str:
        """Everything seen, briefly, for a person who looks at a failure."""
        return "; ".join(f"{r.at:.3f} {r.type} {r.resource}/{r.name} {r.leaders or ''}" for r in self.log)

    # --- assertions

    def never_two_ready(self, service: str) -> None:
        """At no moment did the slices of a Service have two ready endpoints of one address family."""
        now: dict[str, Revision] = {}
        for revision in self.revisions(ENDPOINT_SLICES):
            if (revision.body["metadata"].get("labels") or {}).get(SERVICE_NAME) != service:
                now.pop(revision.name, None)
                continue
            now[revision.name] = revision
            for family in {r.body["addressType"] for r in now.values()}:
                ready = [p for r in now.values() if r.body["addressType"] == family for p in r.leaders]
                assert len(ready) <= 1, f"{family} of {service} routed to {ready} at {revision.at:.3f}"

    def never_empty_between(self, slice_name: str, start: float, end: float) -> None:
        """From ``start`` to ``end`` (loop times) the slice always had a ready endpoint."""
        before = [r for r in self.slice(slice_name) if r.at <= start]
        assert before, f"{slice_name} was not there at {start:.3f}"
        for revision in [before[-1], *self.slice(slice_name, since=start)]:
            if revision.at <= end:
                assert revision.leaders, f"{slice_name} was empty at {revision.at:.3f}: {self.story()}"

    def never_routes_to(self, slice_name: str, address: str, *, since: float = 0.0) -> None:
        """No revision from ``since`` on holds the address."""
        for revision in self.slice(slice_name, since=since):
            assert address not in revision.addresses, f"{slice_name} held {address} at {revision.at:.3f}"
