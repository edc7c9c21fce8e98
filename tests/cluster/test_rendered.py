"""Every object that can be rendered is accepted by a real API server, from the first write to the last.

Whatever users may write (the sources and pods are accepted first), through the product's own functions.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from tests.cluster import rendering
from tests.cluster.client import StatusError
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES
from zenlead.lead import contract
from zenlead.lead.decide import decide
from zenlead.lead.desired import Absent, Blocked, Serve, Snapshot
from zenlead.lead.select import selected
from zenlead.lead.wire import WirePod, WireService, WireSlice, decode
from zenlead.lead.writes import Create, Delete, Patch, Target, Write, diff

if TYPE_CHECKING:
    from tests.cluster.client import KubeClient, Object
    from tests.cluster.scene import Namespace
    from zenlead.lead.desired import Desired

SCENES = 300
SIDE_BY_SIDE = 8  # scenes at a time: node ports and the patience of a small machine are bounded
LIFE_IN = 4  # every fourth scene goes on after its first objects: a machine with two cores has more to do
PODS_TRIED_IN = 5  # every fifth scene; a pod that no API server takes would be a fault of the dice
MAX_ROUNDS = 8
NOW = 1_800_000_000.0
RESOURCES = {Target.SERVICES: SERVICES, Target.SLICES: ENDPOINT_SLICES}
WIRES: dict[Target, Any] = {Target.SERVICES: WireService, Target.SLICES: WireSlice}


class Rendering:
    """One source, its pods, and what becomes of them. Of the pods some are tried and none is kept: they are
    many, and it is the objects made of them that count."""

    def __init__(self, where: Namespace, number: int) -> None:
        self._client: KubeClient = where.client
        self._namespace = where.name
        self._number = number
        self._pods: list[Any] = []
        self._source: Object = {}
        self._objects: dict[Target, dict[str, Object]] = {target: {} for target in Target}
        self.outcomes: set[str] = set()
        self.writes = 0

    async def play(self) -> None:
        """From a new source, for some through other pods and another spec to opting out."""
        self._source = await self._client.create(SERVICES, self._namespace, rendering.source(self._number))
        await self._draw_pods(0)
        await self._settle()
        if self._number % LIFE_IN == 0:
            await self._live_on()
        with contextlib.suppress(StatusError):  # not found, when an answer was lost and aiohttp asked again
            await self._client.delete(SERVICES, self._namespace, self._source["metadata"]["name"])

    async def _live_on(self) -> None:
        await self._draw_pods(1)
        await self._settle()
        await self._change_source()
        await self._settle()
        await self._patch_source({"metadata": {"annotations": {contract.ENABLED: "false"}}})
        await self._settle()
        left = [name for objects in self._objects.values() for name in objects]
        assert left == [], f"scene {self._number} leaves {left}"

    async def _draw_pods(self, round_: int) -> None:
        self._pods = []
        for index, body in enumerate(rendering.pods(self._number, round_)):
            if self._number % PODS_TRIED_IN == 0:
                whole = {"apiVersion": PODS.api_version, "kind": PODS.kind, **body}
                await self._client.request("POST", PODS.path(self._namespace), whole, query={"dryRun": "All"})
            body["metadata"] |= {"namespace": self._namespace, "uid": f"{self._number}-{round_}-{index}"}
            body["status"] = rendering.status(self._number, round_, index)
            self._pods.append(decode(WirePod, msgspec.json.encode(body)))

    async def _change_source(self) -> None:
        """Other ports and annotations, as an upgrade of the user's chart brings them."""
        dice = rendering.Dice(f"{self._number}/change")
        asked = self._source["metadata"]["annotations"]
        gone: dict[str, str | None] = dict.fromkeys(asked)
        fresh = rendering.annotations(dice, self._number)
        body: Object = {"metadata": {"annotations": gone | fresh}}
        if self._source["spec"].get("clusterIP") != "None" or self._source["spec"].get("ports"):
            body["spec"] = {"ports": rendering.ports(dice)}
        await self._patch_source(body)

    async def _patch_source(self, body: Object) -> None:
        name = self._source["metadata"]["name"]
        self._source = await self._client.patch(SERVICES, self._namespace, name, body)

    async def _settle(self) -> None:
        for _ in range(MAX_ROUNDS):
            seen = self._snapshot()
            desired = decide(seen, NOW)
            self.outcomes.add(_outcome(desired))
            pending = diff(seen, desired)
            if not pending:
                return
            done: set[tuple[Target, str]] = set()
            for write in pending:  # each moves the version that the next on the same object must name
                if (write.target, write.name) not in done:
                    await self._apply(write)
                done.add((write.target, write.name))
        raise AssertionError(f"scene {self._number} is still writing: {pending}")

    def _snapshot(self) -> Snapshot:
        source = decode(WireService, msgspec.json.encode(self._source))
        services, slices = (
            [decode(WIRES[t], msgspec.json.encode(o)) for o in self._objects[t].values()] for t in Target
        )
        wanted = contract.parse_policy(source.name, source.annotations).leader_name
        pods = tuple(pod for pod in self._pods if selected(source.selector, pod.labels))
        return Snapshot(
            self._namespace,
            source.name,
            source,
            pods=pods,
            routed_pod=next(
                (p for s in slices for e in s.endpoints for p in pods if p.uid == e.target_uid), None
            ),
            at_name=next((s for s in services if s.name == wanted), None),
            services=tuple(services),
            slices=tuple(slices),
            zones=tuple(rendering.ZONES.items()),
        )

    async def _apply(self, write: Write) -> None:
        resource, objects = RESOURCES[write.target], self._objects[write.target]
        body = msgspec.json.decode(write.body)
        self.writes += 1
        try:
            match write:
                case Create():
                    objects[write.name] = await self._client.create(resource, self._namespace, body)
                case Patch(subresource=subresource):
                    objects[write.name] = await self._client.patch(
                        resource, self._namespace, write.name, body, subresource=subresource
                    )
                case Delete():
                    path = resource.path(self._namespace, write.name)
                    await self._client.request("DELETE", path, body)
                    del objects[write.name]
        except StatusError as error:
            if error.status == 404 and not isinstance(write, Create):
                del objects[write.name]  # the garbage collector was first: its Service was made anew
                return
            shown = write.body.decode()[:2000]
            raise AssertionError(f"scene {self._number}: {error}\n{type(write).__name__} {shown}") from error


def _outcome(desired: Desired) -> str:
    match desired:
        case Absent():
            return "absent"
        case Blocked(event=event):
            return event
        case Serve():
            return str(desired.routing)


async def test_all_that_can_be_rendered_is_accepted(namespace: Namespace) -> None:
    scenes = [Rendering(namespace, number) for number in range(SCENES)]
    waiting = iter(scenes)

    async def work() -> None:
        for scene in waiting:
            await scene.play()

    async with asyncio.TaskGroup() as group:
        for _ in range(SIDE_BY_SIDE):
            group.create_task(work())
    outcomes = {outcome for scene in scenes for outcome in scene.outcomes}
    assert outcomes == {
        "absent",
        "InvalidService",
        "LeaderElected",
        "NoReadyPods",
        "NoPodsFound",
        "PortUnresolved",
    }
    assert sum(scene.writes for scene in scenes) > 3 * SCENES, "and much was rendered"


async def test_the_addresses_that_are_drawn_are_those_of_pods(namespace: Namespace) -> None:
    await namespace.pod("web-0")
    for address in (*rendering.ADDRESSES_V4, *rendering.ADDRESSES_V6):
        said = await namespace.pod_status("web-0", addresses=[address])
        assert said["status"]["podIP"] == address
