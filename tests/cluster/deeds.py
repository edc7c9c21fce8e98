"""A story to measure by: failovers of five kinds, faults, a pause, an opt-out and a replica that dies.

Knows what it does and counts that. Refuses to know metrics and how they are scraped: between two deeds
whoever listens gets a turn. The rule not to break: it counts at the API server, or what its own hands did.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.cluster.faultproxy import Asked, refusal
from tests.cluster.scene import HTTP_PORTS, eventually
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cluster.client import Object
    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
# Enough for five passes that fail, within two seconds of backoff; and as few as one pass tries again.
MANY_REFUSED, ONE_REFUSED = 6, 1
QUIET_S = 0.6  # what the routine lane has left to write after a failover comes sooner
OURS = "app.kubernetes.io/managed-by=zen-lead"
OUR_SLICES = "endpointslice.kubernetes.io/managed-by=zen-lead"


class Deeds:
    """``tell`` does it all. What happened stands in the attributes afterwards."""

    def __init__(self, where: Namespace, recorder: Recorder, proxy: FaultProxy) -> None:
        self._where = where
        self._recorder = recorder
        self._proxy = proxy
        self.failovers: dict[str, int] = {}  # of Service web, by reason
        self.refused: list[Asked] = []  # writes of slices that got an error
        self.by_hand = 0  # writes of slices that were ours, not zenlead's
        self.leaderless_at = 0.0  # loop time at which Service none opted in

    async def tell(self, turn: Callable[[], Awaitable[None]], die: Callable[[], None]) -> None:
        """``turn`` is awaited between deeds; ``die`` ends the standby."""
        await turn()
        await self._opt_in()
        await turn()
        for reason, deed in self._failovers():
            await deed()
            self.failovers[reason] = self.failovers.get(reason, 0) + 1
            await self._recorder.quiet(QUIET_S)
            await turn()
        await self._pause_and_keep()
        await turn()
        await self._refuse_writes(MANY_REFUSED, "web-4", "web-5")
        await turn()
        await self._refuse_writes(ONE_REFUSED, "web-5", "web-6")
        await turn()
        await self._cut_watches()
        await turn()
        await self._route_to_two()
        await turn()
        await self._where.annotate("solo", {"zen-lead.io/enabled": None})
        await eventually(self._solo_is_gone, "the leader Service of solo is gone")
        await self._recorder.quiet(QUIET_S)
        await turn()
        die()
        for _ in range(3):
            await turn()

    async def _opt_in(self) -> None:
        where = self._where
        for name in ("web-0", "web-1", "web-2"):
            await where.pod(name)
        for app in ("solo", "still", "keep"):
            await where.pod(f"{app}-0", labels={"app": app})
        await where.service("web")
        await where.service("solo")
        await where.service("still")
        await where.service("keep", annotations={"zen-lead.io/on-no-ready": "keep-last"})
        await where.service("none")
        await where.service(
            "odd", selector={"app": "web"}, ports=[{**HTTP_PORTS[0], "targetPort": "nowhere"}]
        )
        for app in ("web", "solo", "still", "keep"):
            await self._recorder.wait_leader(f"{app}-leader", f"{app}-0")
        for app in ("none", "odd"):
            await self._recorder.wait_leader(f"{app}-leader", None)
        await self._recorder.quiet(QUIET_S)

    def _failovers(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Each with its reason. They follow one another: web-0, web-1, web-2, web-0, web-3, web-4."""
        where, lead = self._where, self._recorder.wait_leader

        async def not_ready() -> None:
            await where.pod_status("web-0", ready=False)
            await lead(SLICE, "web-1")

        async def no_address() -> None:
            await where.pod_status("web-1", addresses=[])
            await lead(SLICE, "web-2")
            await where.pod_status("web-0", ready=True)

        async def deselected() -> None:
            since = self._recorder.log[-1].at
            await where.relabel("web-2", {"app": "other"})
            await lead(SLICE, "web-0", since=since)

        async def terminating() -> None:
            await where.pod("web-3")
            await where.delete_pod("web-0", grace_s=300)
            await lead(SLICE, "web-3")

        async def finished() -> None:
            await where.pod("web-4")
            await where.pod_status("web-3", ready=False, phase="Succeeded")
            await lead(SLICE, "web-4")

        return [
            ("notReady", not_ready),
            ("noIP", no_address),
            ("deselected", deselected),
            ("terminating", terminating),
            ("finished", finished),
        ]

    async def _pause_and_keep(self) -> None:
        await self._where.annotate("still", {"zen-lead.io/paused": "true"})
        await self._where.pod_status("keep-0", ready=False)
        await self._recorder.quiet(QUIET_S)

    async def _refuse_writes(self, times: int, leader: str, other: str) -> None:
        """The API server fails just when the leader does."""
        rule = self._proxy.on(
            lambda asked: asked.is_write and asked.of(ENDPOINT_SLICES),
            refusal(500, "InternalError"),
            times=times,
        )
        await self._where.pod(other)
        await self._where.pod_status(leader, ready=False)
        await self._recorder.wait_leader(SLICE, other, timeout_s=30.0)
        self.failovers["notReady"] += 1
        self.refused += rule.struck
        await self._recorder.quiet(QUIET_S)

    async def _cut_watches(self) -> None:
        for stream in self._proxy.streams:
            if not stream.closed:
                await stream.cut()

    async def _route_to_two(self) -> None:
        """Somebody adds a second endpoint by hand; it is taken away again."""
        since = self._recorder.log[-1].at
        found = await self._where.client.get(ENDPOINT_SLICES, self._where.name, SLICE)
        (endpoint,) = found["endpoints"]
        ghost = {**endpoint["targetRef"], "name": "ghost", "uid": "ghost"}
        second = {**endpoint, "addresses": ["10.9.9.9"], "targetRef": ghost}
        body = {"endpoints": [endpoint, second]}
        await self._where.client.patch(ENDPOINT_SLICES, self._where.name, SLICE, body)
        self.by_hand += 1
        await self._recorder.wait(
            lambda r: r.name == SLICE and r.at > since and len(r.addresses) == 2, "it routes to two"
        )
        await self._recorder.wait(
            lambda r: r.name == SLICE and r.at > self._of_two(since) and len(r.addresses) == 1,
            "and to one again",
        )
        await self._recorder.quiet(QUIET_S)

    def _of_two(self, since: float) -> float:
        return next(r.at for r in self._recorder.slice(SLICE, since=since) if len(r.addresses) == 2)

    async def _solo_is_gone(self) -> bool:
        return await self._where.client.find(SERVICES, self._where.name, "solo-leader") is None

    # --- what the API server has to say

    async def leader_services(self) -> list[Object]:
        listed = await self._where.client.list(SERVICES, self._where.name, labelSelector=OURS)
        items: list[Object] = listed["items"]
        return items

    async def slices(self) -> list[Object]:
        listed = await self._where.client.list(ENDPOINT_SLICES, self._where.name, labelSelector=OUR_SLICES)
        items: list[Object] = listed["items"]
        return items

    def written(self) -> int:
        """How many writes of slices zenlead made, as the API server counts revisions."""
        ours = (name for name in ("web", "solo", "still", "keep", "none", "odd"))
        return sum(self._recorder.writes(ENDPOINT_SLICES, f"{name}-leader") for name in ours) - self.by_hand

    def moves(self) -> int:
        """How often the slice of web went from one leader to another."""
        leaders = [name for name in self._recorder.leaders(SLICE) if "+" not in name]
        return sum(one != other and bool(one and other) for one, other in itertools.pairwise(leaders))
