"""Rolling updates by the real StatefulSet and Deployment controllers: the leader moves at most twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from tests.cluster.kubelet import Kubelet
from tests.cluster.scene import CONTAINER_PORTS, eventually
from zenlead.kube.resources import Resource

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
ROLLOUT_S = 90.0


class Workload(NamedTuple):
    """``first`` is the strategy by which the first leader is found; by default it is the oldest."""

    name: str
    kind: Resource
    size: int
    first: str

    def body(self, version: str) -> Object:
        labels = {"app": self.name}
        container = {"name": "main", "image": f"example/app:{version}", "ports": list(CONTAINER_PORTS)}
        return {
            "metadata": {"name": self.name},
            "spec": {
                "replicas": self.size,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"nodeName": "n1", "containers": [container]},
                },
            },
        }

    async def roll_out(self, namespace: Namespace, version: str) -> None:
        """Creates or updates it; returns when all of its pods are of this version and ready."""
        client, body = namespace.client, self.body(version)
        if await client.find(self.kind, namespace.name, self.name) is None:
            await client.create(self.kind, namespace.name, body)
        else:
            change = {"spec": {"template": body["spec"]["template"]}}
            await client.patch(self.kind, namespace.name, self.name, change)

        async def complete() -> bool:
            found = await client.get(self.kind, namespace.name, self.name)
            status = found.get("status", {})
            counts = {status.get(key) for key in ("replicas", "updatedReplicas", "readyReplicas")}
            observed = status.get("observedGeneration") == found["metadata"]["generation"]
            return counts == {self.size} and observed

        await eventually(complete, f"{self.name} is at version {version}", timeout_s=ROLLOUT_S)


WORKLOADS = (
    Workload("top-down", STATEFUL_SETS, 4, "newest"),  # who is replaced first leads
    Workload("bottom-up", STATEFUL_SETS, 4, "ordinal"),  # who is replaced last leads
    Workload("small", DEPLOYMENTS, 4, "oldest"),
    Workload("large", DEPLOYMENTS, 8, "newest"),  # two pods are replaced at a time
)


async def roll_all_out(namespace: Namespace, version: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        for workload in WORKLOADS:
            tasks.create_task(workload.roll_out(namespace, version))


async def test_rolling_updates(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """Twice in a row: after the first one the pods' ages are no longer in the order of their making."""
    async with Kubelet(namespace):
        await roll_all_out(namespace, "1")
        await zenlead_process()
        for workload in WORKLOADS:
            annotations = {"zen-lead.io/strategy": workload.first}
            await namespace.service(workload.name, annotations=annotations)
        begun = 0.0  # when the last of them was led, in whatever order that came
        for name, *_ in WORKLOADS:
            leader = f"{name}-leader"
            routes = await recorder.wait(lambda r, of=leader: r.name == of and bool(r.leaders), name)
            begun = max(begun, routes.at)
            await namespace.annotate(name, {"zen-lead.io/strategy": None})
        for version in ("2", "3"):
            before = {name: len(recorder.leaders(f"{name}-leader")) for name, *_ in WORKLOADS}
            await roll_all_out(namespace, version)
            await recorder.quiet(1.0)
            for name, *_ in WORKLOADS:
                story = recorder.leaders(f"{name}-leader")[before[name] - 1 :]
                most = 1 if (name, version) == ("bottom-up", "2") else 2
                assert 2 <= len(story) <= 1 + most, f"{name} at version {version}: {story}"
    for name, *_ in WORKLOADS:
        recorder.never_empty_between(f"{name}-leader", begun, recorder.log[-1].at)
        recorder.never_two_ready(f"{name}-leader")
