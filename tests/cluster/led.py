"""One opted-in Service with pods of its own, so that many of them can go through their stories side by side.

Knows the names that a test uses again and again. Refuses to judge: it waits, and tells what was recorded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from tests.cluster.scene import HTTP_PORTS, eventually
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.cluster.client import Object
    from tests.cluster.recorder import Recorder, Revision
    from tests.cluster.scene import Namespace

PREFIX = "zen-lead.io/"
LEADER_READY = PREFIX + "LeaderReady"
AT_ONCE_S = 3.0  # whoever is to move at once has moved by then, on a machine that does much else too


def now() -> float:
    return asyncio.get_running_loop().time()


def asked(annotations: Mapping[str, str | None]) -> dict[str, str | None]:
    """Annotations of ours by their Python names: ``on_no_ready`` is ``zen-lead.io/on-no-ready``."""
    return {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}


class Led:
    """Service ``name`` with the pods ``name-0``, the oldest, ``name-1`` …"""

    def __init__(self, where: Namespace, recorder: Recorder, name: str = "web") -> None:
        self.where = where
        self.recorder = recorder
        self.name = name
        self.slice = f"{name}-leader"  # of the leader Service too

    def __repr__(self) -> str:
        return f"Led({self.name}: {self.recorder.leaders(self.slice)})"

    def pod(self, index: int) -> str:
        return f"{self.name}-{index}"

    # --- what is done to it

    async def start(self, pods: int = 2, *, ports: Sequence[Object] = HTTP_PORTS, **annotations: str) -> Self:
        """Makes ready pods and the Service, and returns when the first pod leads and all is written."""
        for index in range(pods):
            await self.add_pod(index)
        await self.opt_in(ports=ports, **annotations)
        if pods:
            await self.led_by(0)
            await self.settled()
        return self

    async def opt_in(self, *, ports: Sequence[Object] = HTTP_PORTS, **annotations: str) -> None:
        chosen = {key: value for key, value in asked(annotations).items() if value is not None}
        await self.where.service(self.name, annotations=chosen, ports=ports)

    async def add_pod(
        self, index: int, *, labels: Mapping[str, str] | None = None, ready: bool = True, **more: object
    ) -> Object:
        every = {"app": self.name, **(labels or {})}
        return await self.where.pod(self.pod(index), labels=every, ready=ready, **more)  # type: ignore[arg-type]

    async def ask(self, **annotations: str | None) -> None:
        """Sets annotations of the Service; None takes one away."""
        await self.where.annotate(self.name, asked(annotations))

    async def ready(self, index: int, ready: bool = True) -> None:
        await self.where.pod_status(self.pod(index), ready=ready)

    # --- what became of it

    async def led_by(
        self, index: int | None, *, since: float = 0.0, within_s: float = AT_ONCE_S + 7.0
    ) -> Revision:
        """The first revision from ``since`` on in which that pod leads; None: nobody."""
        leader = None if index is None else self.pod(index)
        return await self.recorder.wait_leader(self.slice, leader, since=since, timeout_s=within_s)

    async def dressed(self, leader: str | None) -> Object:
        """The leader Service, once its annotations name ``leader``."""

        async def named() -> Object | None:
            service = await self.where.client.find(SERVICES, self.where.name, self.slice)
            if service is None:
                return None  # not made yet
            said = service["metadata"]["annotations"].get(f"{PREFIX}current-leader")
            return service if said == leader else None

        found = await eventually(named, f"{self.slice} names {leader}")
        assert found is not None
        return found

    async def settled(self) -> Revision:
        """A first leader Service as recorded, once it has all that a first election writes.

        The condition is the last of it, after the annotations. Whoever counts writes waits for it here: the
        recorder may be about to hear of what a read of the API server shows already.
        """
        return await self.recorder.wait(
            lambda r: (
                (r.resource, r.name) == (SERVICES.plural, self.slice)
                and f"{PREFIX}current-leader" in r.body["metadata"]["annotations"]
                and any(c["type"] == LEADER_READY for c in r.body["status"].get("conditions") or ())
            ),
            f"{self.slice} with its annotations and its condition",
        )

    async def service(self) -> Object:
        return await self.where.client.get(SERVICES, self.where.name, self.slice)

    async def condition(self, status: str, reason: str) -> None:
        """Returns when the LeaderReady condition says this."""

        async def said() -> bool:
            service = await self.where.client.find(SERVICES, self.where.name, self.slice)
            if service is None:
                return False
            conditions = service["status"].get("conditions") or []
            return (status, reason) in [(c["status"], c["reason"]) for c in conditions]

        await eventually(said, f"condition {status}/{reason} of {self.slice}")

    def moves(self, since: float = 0.0) -> list[str]:
        """Who led, in order; an empty name for nobody. From ``since`` on: each revision of the slice."""
        if since:
            return ["+".join(revision.leaders) for revision in self.recorder.slice(self.slice, since=since)]
        return self.recorder.leaders(self.slice)

    def slice_writes(self, since: float) -> int:
        return self.recorder.writes(ENDPOINT_SLICES, self.slice, since=since)

    def told(self, reason: str) -> list[str]:
        """The texts of the Events of a reason, oldest first."""
        events = self.recorder.events(reason, regarding=self.name)
        return [e["note"] for e in sorted(events, key=lambda e: str(e["eventTime"]))]

    async def hears(self, reason: str, times: int = 1) -> list[str]:
        """The texts, once there are so many Events of a reason."""

        async def enough() -> list[str]:
            notes = self.told(reason)
            return notes if len(notes) >= times else []

        return await eventually(enough, f"{times} x {reason} of {self.name}")
