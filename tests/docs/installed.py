"""zenlead as the pages take it to be installed: a Deployment, its ServiceAccount and its rights.

Knows deploy/manifests and rbac.md. Refuses to run anything in these pods: a process beside them
does the work. The rule not to break: what belongs to the whole cluster has a name of its own, and is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.cluster.client import StatusError
from tests.cluster.scene import SERVICE_ACCOUNTS
from tests.docs.blocks import ROOT, Use, blocks, use_of
from zenlead.kube.resources import LEASES, Resource

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.scene import Namespace

RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = Resource(RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
NAME = "zen-lead"
LEASE = "zen-lead-controller-leader-election"


class Installation:
    """One in the namespace ``home``; nothing is there until ``make``."""

    def __init__(self, home: Namespace) -> None:
        self._home = home
        self._client = home.client
        self._name = f"{NAME}-{home.name}"  # of the objects of the cluster

    async def make(self) -> None:
        home = self._home.name
        await self._unless_there(SERVICE_ACCOUNTS, {"metadata": {"name": NAME}})
        await self._client.create(
            CLUSTER_ROLES, None, {"metadata": {"name": self._name}, "rules": documented_rules()}
        )
        await self._client.create(
            CLUSTER_ROLE_BINDINGS,
            None,
            {
                "metadata": {"name": self._name},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": self._name},
                "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": home}],
            },
        )
        body = deployment()
        body["metadata"]["namespace"] = home
        await self._unless_there(DEPLOYMENTS, body)
        await self._unless_there(LEASES, {"metadata": {"name": LEASE}, "spec": {}})

    async def remove(self) -> None:
        """What is in the namespace goes with that."""
        for kind in (CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES):
            if await self._client.find(kind, None, self._name):
                await self._client.delete(kind, None, self._name)

    async def _unless_there(self, resource: Resource, body: Object) -> None:
        try:
            await self._client.create(resource, self._home.name, body)
        except StatusError as error:
            if error.status != 409:
                raise


def documented_rules() -> list[Object]:
    """The rules of the ClusterRole of rbac.md."""
    for block in blocks(ROOT / "docs" / "rbac.md"):
        for body in yaml.safe_load_all(block.text) if use_of(block) is Use.ELSEWHERE else ():
            if body["kind"] == "ClusterRole":
                rules: list[Object] = body["rules"]
                return rules
    raise AssertionError("rbac.md has no ClusterRole")


def deployment() -> Object:
    """The Deployment of the manifests."""
    for body in yaml.safe_load_all((ROOT / "deploy" / "manifests" / "base" / "zenlead.yaml").read_text()):
        if body["kind"] == "Deployment":
            found: Object = body
            return found
    raise AssertionError("the manifests have no Deployment")
