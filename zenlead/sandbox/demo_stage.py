"""What the demo deploys, who puts it back, and who hurts it.

Knows manifests, the stand-in for a StatefulSet controller and the faults. Refuses to judge what follows from
a fault. The rule: the next fault waits until everybody is well again, whatever a visitor did in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.errors import AlreadyExists, ApiError
from zenlead.kube.resources import PODS, SERVICES
from zenlead.lead import contract
from zenlead.sandbox.demo_world import LABELS, NAMESPACE, POD_NAMES, PORT, SERVICE, TARGET_PORT, state
from zenlead.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from zenlead.kube.api import Api
    from zenlead.lead.views import PodView
    from zenlead.sandbox.demo_failovers import Stopwatch
    from zenlead.sandbox.demo_world import World
    from zenlead.sandbox.kubelet import Kubelet
    from zenlead.sandbox.objects import Objects, Occurrence

PUT_BACK_S = 0.6  # what was deleted stays away long enough to be seen
UNREADY_S = 1.6  # a pod that fails its probe does so long enough to be seen
PACE_S = 3.5  # between two faults: time to look at each, and five of them in less than 20 s
LOOK_S = 0.1  # how often the director looks whether everybody is well
HEALING_S = 6.0  # two fit pods are enough when the third is not back by then: a visitor may hold it down
STUCK_S = 20.0  # a leader and a second pod that have not come by then will not come
AGAIN_S = 1.0  # after the API refused to put something back


def service_manifest() -> dict[str, Any]:
    """The opted-in Service."""
    return {
        "metadata": {"name": SERVICE, "labels": LABELS, "annotations": {contract.ENABLED: "true"}},
        "spec": {
            "selector": LABELS,
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def pod_manifest(name: str) -> dict[str, Any]:
    """One of its pods."""
    ports = [{"name": "http", "containerPort": TARGET_PORT, "protocol": "TCP"}]
    container = {"name": "web", "image": "demo.invalid/web:1", "ports": ports}
    return {"metadata": {"name": name, "labels": LABELS}, "spec": {"containers": [container]}}


class Keeper:
    """Keeps the Service and its pods there, as a StatefulSet controller and a deployment pipeline would."""

    def __init__(self, api: Api, objects: Objects) -> None:
        self._api = api
        self._objects = objects
        self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"Keeper(missing={self._missing()})"

    async def run(self) -> None:
        """Put back whatever is missing, until cancelled."""
        await self._put_back()
        unsubscribe = self._objects.subscribe(self._follow)
        try:
            while True:
                await self._wake.wait()  # by every removal; there is nothing to do without one
                self._wake.clear()
                await asyncio.sleep(PUT_BACK_S)
                await self._put_back()
        finally:
            unsubscribe()

    def _follow(self, occurrence: Occurrence) -> None:
        if occurrence.after is None:
            self._wake.set()

    def _missing(self) -> list[str]:
        wanted = [("services", SERVICE), *(("pods", name) for name in POD_NAMES)]
        return [name for storage, name in wanted if self._objects.get((storage, NAMESPACE, name)) is None]

    async def _put_back(self) -> None:
        for name in self._missing():
            resource = SERVICES if name == SERVICE else PODS
            manifest = service_manifest() if name == SERVICE else pod_manifest(name)
            try:
                await self._api.create(resource, NAMESPACE, msgspec.json.encode(manifest))
            except AlreadyExists:
                continue  # a visitor was faster
            except ApiError:
                self._wake.set()
                await asyncio.sleep(AGAIN_S)


class Director:
    """Makes the leader fail, in turn not ready, deleted and crashed.

    ``look`` gives the world, ``hurt`` is told the fault right before it happens, ``stuck`` that there is
    nobody to hurt although there should be.
    """

    def __init__(
        self,
        api: Api,
        kubelet: Kubelet,
        stopwatch: Stopwatch,
        look: Callable[[], World],
        hurt: Callable[[str], None],
    ) -> None:
        self._api = api
        self._kubelet = kubelet
        self._stopwatch = stopwatch
        self._look = look
        self._hurt = hurt
        self._loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"Director(next in at most {PACE_S} s, {self._stopwatch!r})"

    async def run(self, stuck: Callable[[str], None]) -> None:
        """Hurt one leader after the other until cancelled."""
        faults: Sequence[tuple[str, Callable[[str], Awaitable[None]]]] = (
            ("not ready", self._unready),
            ("deleted", self._delete),
            ("crashed", self._crash),
        )
        async with asyncio.TaskGroup() as self._group:
            due = self._loop.time() + PACE_S / 2
            for fault, happen in itertools.cycle(faults):
                await self._everybody_well(due, stuck)
                leader = self._look().leader
                self._hurt(fault)
                with contextlib.suppress(Refusal, ApiError):  # a visitor was faster and took that pod away
                    await happen(leader)
                due = self._loop.time() + PACE_S

    async def _everybody_well(self, due: float, stuck: Callable[[str], None]) -> None:
        """Wait until ``due``, and until there is a leader to hurt and another pod to take over."""
        waited_from = self._loop.time()
        told = False
        while True:
            await asyncio.sleep(LOOK_S)
            now, world = self._loop.time(), self._look()
            fit = len(list(world.fit()))
            calm = world.is_as_deployed and world.leads_fit() and self._stopwatch.current is None
            healed = fit == len(POD_NAMES) or (fit > 1 and now - due > HEALING_S)
            if now >= due and calm and healed:
                return
            if not world.is_as_deployed:
                waited_from = now  # the visitor's turn
            if now - waited_from > STUCK_S and not told:
                told = True
                states = ", ".join(f"{name} {state(world.pods.get(name))}" for name in POD_NAMES)
                stuck(f"for {STUCK_S:.0f} s no leader with a pod to take over: {states}")

    async def _unready(self, name: str) -> None:
        self._kubelet.make_not_ready(NAMESPACE, name)
        if self._group is not None:
            self._group.create_task(self._recover(self._look().pods[name]), name=f"{name} recovers")

    async def _recover(self, pod: PodView) -> None:
        await asyncio.sleep(UNREADY_S)
        now = self._look().pods.get(pod.name)
        if now is not None and now.uid == pod.uid and now.phase == pod.phase:
            self._kubelet.make_ready(NAMESPACE, pod.name)

    async def _delete(self, name: str) -> None:
        await self._api.delete(PODS, NAMESPACE, name, b"{}")

    async def _crash(self, name: str) -> None:
        await self._kubelet.crash(NAMESPACE, name)
