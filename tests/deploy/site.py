"""A release in earnest, and somebody who uses it.

Knows what a release consists of and when it is rolled out. Refuses to know the values. The rule not to break:
nothing but Helm changes what belongs to the release.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.recorder import Recorder
from tests.cluster.scene import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, eventually
from tests.deploy.helm import CHART
from zenlead.kube.resources import LEASES, PODS, SERVICES, Resource

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.scene import Namespace
    from tests.deploy.conftest import Audited
    from tests.deploy.helm import Helm
    from tests.deploy.node import Node

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
JOBS = Resource("batch", "v1", "jobs", "Job")
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NAME = "zen-lead"
LEASE = "zen-lead-zen-lead-controller-leader-election"
ROLLOUT_S = 60.0


class Site:
    """A release's namespace with its node, and a namespace of a user with a Service of two pods."""

    def __init__(self, helm: Helm, home: Namespace, team: Namespace, node: Node, recorder: Recorder) -> None:
        self.helm = helm
        self.home = home
        self.team = team
        self.node = node
        self.recorder = recorder

    def __repr__(self) -> str:
        return f"Site({self.home}, {self.team})"

    async def run(self, *arguments: str) -> str:
        """Helm on the release, while everything goes on."""
        return await asyncio.to_thread(self.helm.run, *arguments, f"--namespace={self.home.name}")

    async def install(self, *arguments: str) -> str:
        """Returns what Helm tells whoever installs it, once all is rolled out."""
        said = await self.run("install", NAME, str(CHART), *arguments)
        await self.rolled_out()
        return said

    async def rolled_out(self) -> None:
        """Every replica is of the newest revision and ready, and none of the old ones is left."""

        async def settled() -> bool:
            found = await self.home.client.get(DEPLOYMENTS, self.home.name, NAME)
            status, wanted = found["status"], found["spec"]["replicas"]
            counts = {status.get(f"{which}Replicas", 0) for which in ("updated", "ready", "available")}
            seen = status.get("observedGeneration") == found["metadata"]["generation"]
            # The counts do not know yet of a pod that was deleted just now.
            pods = (await self.home.client.list(PODS, self.home.name))["items"]
            return seen and counts == {wanted} and [_runs(pod) for pod in pods] == [True] * wanted

        await eventually(settled, "the rollout ends", timeout_s=ROLLOUT_S)

    async def restart_apiserver(self, audited: Audited) -> None:
        """The API server goes away and comes back; what the record missed is not in it."""
        await self.recorder.stop()
        audited.restart()
        self.recorder = Recorder(self.home.client, self.team.name)
        await self.recorder.start()

    async def pods(self) -> list[str]:
        listed = await self.home.client.list(PODS, self.home.name)
        return [pod["metadata"]["name"] for pod in listed["items"]]

    async def holder(self) -> str:
        lease = await self.home.client.find(LEASES, self.home.name, LEASE)
        return (lease or {}).get("spec", {}).get("holderIdentity", "")

    async def leads(self, pod: str, *, since: float = 0.0) -> None:
        await self.recorder.wait_leader("web-leader", pod, since=since, timeout_s=30.0)

    async def fails(self, pod: str, other: str) -> None:
        """A leader turns NotReady, another takes its place, and the first is well again."""
        since = asyncio.get_running_loop().time()
        await self.team.pod_status(pod, ready=False)
        await self.leads(other, since=since)
        await self.team.pod_status(pod, ready=True)

    async def left(self) -> dict[str, list[str]]:
        """What a release leaves in its namespace, by kind."""
        kinds = (DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, BUDGETS, JOBS, LEASES)
        lists = {kind: (await self.home.client.list(kind, self.home.name))["items"] for kind in kinds}
        return {kind.kind: [o["metadata"]["name"] for o in items] for kind, items in lists.items() if items}


def _runs(pod: Object) -> bool:
    ready = [c["status"] for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"]
    return ready == ["True"] and "deletionTimestamp" not in pod["metadata"]
