"""A stand-in for the kubelets: pods that others make (a StatefulSet, a Deployment) run, and end when told.

Knows a pod's life, and with ``schedules`` a scheduler's part in it. Refuses to know why a pod is wanted.
Rule: it only ever writes pod status, and removes pods that somebody else deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from tests.cluster.client import StatusError
from tests.cluster.scene import NODE_NAMES, new_address, new_address_v6
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.cluster.client import Object
    from tests.cluster.scene import Namespace

GONE = (404, 409)  # the pod went, or was changed, while it was being looked after


class Kubelet:
    """Looks after the pods of one namespace while it is open. Pods take ``start_s`` to become ready, and
    ``stop_s`` from being told to stop until they are gone; all this time they stay ready, as real ones may.

    ``schedules``: pods without a node get one (without, the API server removes a pod as soon as somebody
    deletes it). ``dual_stack``: pods have an address of both families.
    """

    def __init__(
        self,
        namespace: Namespace,
        *,
        start_s: float = 0.2,
        stop_s: float = 0.3,
        schedules: bool = False,
        dual_stack: bool = False,
    ) -> None:
        self._namespace = namespace
        self._schedules = schedules
        self._dual_stack = dual_stack
        self._start_s = start_s
        self._stop_s = stop_s
        self._cared_for: set[tuple[str, bool]] = set()  # (UID, ends): one task for each half of a life
        self._scope = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        return f"Kubelet({self._namespace.name}, {len(self._cared_for)} lives)"

    async def __aenter__(self) -> Self:
        tasks = await self._scope.enter_async_context(asyncio.TaskGroup())
        watch = tasks.create_task(self._watch(tasks))
        self._scope.callback(watch.cancel)
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._scope.aclose()

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        listed = await self._namespace.client.list(PODS, self._namespace.name)
        for pod in listed["items"]:
            self._notice(pod, tasks)
        query = {"resourceVersion": listed["metadata"]["resourceVersion"]}
        events = self._namespace.client.watch(PODS, self._namespace.name, query)
        async with contextlib.aclosing(events):
            async for event in events:
                if event["type"] != "DELETED":
                    self._notice(event["object"], tasks)

    def _notice(self, pod: Object, tasks: asyncio.TaskGroup) -> None:
        ends = "deletionTimestamp" in pod["metadata"]
        life = (pod["metadata"]["uid"], ends)
        if life not in self._cared_for:
            self._cared_for.add(life)
            name = pod["metadata"]["name"]
            bound = "nodeName" in pod["spec"] or not self._schedules
            tasks.create_task(self._end(name) if ends else self._run(name, bound=bound))

    async def _run(self, name: str, *, bound: bool) -> None:
        if not bound:
            await _unless_gone(self._bind(name))
        await asyncio.sleep(self._start_s)
        addresses = [new_address(), *([new_address_v6()] if self._dual_stack else [])]
        await _unless_gone(self._namespace.pod_status(name, ready=True, addresses=addresses))

    async def _bind(self, name: str) -> None:
        path = PODS.path(self._namespace.name, name, "binding")
        node = {"kind": "Node", "name": next(iter(NODE_NAMES))}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": node}
        await self._namespace.client.request("POST", path, body)

    async def _end(self, name: str) -> None:
        await asyncio.sleep(self._stop_s)
        await _unless_gone(self._namespace.delete_pod(name))


async def _unless_gone(effect: Awaitable[object]) -> None:
    try:
        await effect
    except StatusError as error:
        if error.status not in GONE:
            raise
