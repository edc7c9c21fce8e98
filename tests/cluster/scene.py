"""What tests do to a namespace: Services, pods and their status, said as briefly as tests want to say it.

Knows the shapes of Service, Pod and Node, and plays the kubelet's part in pod status. Refuses to know leaders
(but the opt-in annotation). Each call is one request, done when it returns.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
from typing import TYPE_CHECKING, TypeVar

from tests.cluster.client import KubeClient, Object, StatusError
from zenlead.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES, Resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

T = TypeVar("T")

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")

POLL_INTERVAL_S = 0.02
NODE_NAMES = {"n1": "z1", "n2": "z2", "n3": "z3"}  # name: zone

HTTP_PORTS = ({"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},)
CONTAINER_PORTS = ({"name": "http", "containerPort": 8080, "protocol": "TCP"},)

_addresses = itertools.count(1)  # no two pods of a test run share an address


def new_address() -> str:
    """An IPv4 pod address that no other pod of this run has."""
    number = next(_addresses)
    return f"10.1.{number // 250 % 250}.{number % 250 + 1}"


def new_address_v6() -> str:
    """An IPv6 pod address that no other pod of this run has."""
    return f"fd00:10::{next(_addresses):x}"


def rfc3339(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def eventually(probe: Callable[[], Awaitable[T]], what: str, *, timeout_s: float = 10.0) -> T:
    """Polls until the probe gives something true, and returns that; else AssertionError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        answer = await probe()
        if answer:
            return answer
        if loop.time() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what} (last: {answer!r})")
        await asyncio.sleep(POLL_INTERVAL_S)


class Namespace:
    """One namespace of one test. ``name`` is unique; ``client`` may do everything."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self.client = client
        self.name = name

    def __repr__(self) -> str:
        return f"Namespace({self.name})"

    async def open(self) -> None:
        await self.client.create(NAMESPACES, None, {"metadata": {"name": self.name}})

    async def close(self) -> None:
        """Removes what is in it at once (there is no kubelet to end pods), then the namespace itself."""
        await self.client.delete_all(SERVICES, self.name)
        await self.client.delete_all(PODS, self.name)
        await self.client.delete_all(ENDPOINT_SLICES, self.name)
        await self.client.delete(NAMESPACES, None, self.name)

    # --- Services

    async def service(
        self,
        name: str = "web",
        *,
        enabled: bool = True,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        selector: Mapping[str, str] | None = None,
        ports: Sequence[Object] = HTTP_PORTS,
        **spec: object,
    ) -> Object:
        """Creates a Service, opted in unless told otherwise; ``spec`` adds to its spec."""
        opt_in = {"zen-lead.io/enabled": "true"} if enabled else {}
        body = {
            "metadata": {
                "name": name,
                "labels": dict(labels or {}),
                "annotations": {**opt_in, **(annotations or {})},
            },
            "spec": {"selector": dict(selector or {"app": name}), "ports": list(ports), **spec},
        }
        return await self.client.create(SERVICES, self.name, body)

    async def annotate(
        self, name: str, annotations: Mapping[str, str | None], resource: Resource = SERVICES
    ) -> Object:
        """Sets annotations of an object (of a Service by default); None removes one."""
        body = {"metadata": {"annotations": dict(annotations)}}
        return await self.client.patch(resource, self.name, name, body)

    async def slices_of(self, service: str) -> list[Object]:
        """The EndpointSlices of a Service, whoever made them."""
        listed = await self.client.list(
            ENDPOINT_SLICES, self.name, labelSelector=f"kubernetes.io/service-name={service}"
        )
        items: list[Object] = listed["items"]
        return items

    # --- pods

    async def pod(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        node: str = "n1",
        ports: Sequence[Object] = CONTAINER_PORTS,
        addresses: Sequence[str] | None = None,
        ready: bool = True,
        running: bool = True,
        **spec: object,
    ) -> Object:
        """Creates a pod (of Service ``web`` by default) on a node and lets it run; returns it with status.

        ``running=False`` leaves it Pending and without an address.
        """
        container = {"name": "main", "image": "example/app:1", "ports": list(ports)}
        body = {
            "metadata": {
                "name": name,
                "labels": dict(labels or {"app": "web"}),
                "annotations": dict(annotations or {}),
            },
            "spec": {"nodeName": node, "containers": [container], **spec},
        }
        made = await self.client.create(PODS, self.name, body)
        if not running:
            return made
        return await self.pod_status(name, ready=ready, addresses=addresses or [new_address()])

    async def pod_status(
        self,
        name: str,
        *,
        ready: bool | None = None,
        since: datetime.datetime | None = None,
        addresses: Sequence[str] | None = None,
        phase: str = "Running",
        restarts: int | None = None,
    ) -> Object:
        """Patches the status as a kubelet would, in one write; what is None stays as it is.

        ``since`` is when Ready last changed (default: now). ``addresses=[]`` takes the addresses away.
        """
        status: Object = {"phase": phase}
        if ready is not None:
            status["conditions"] = _conditions(ready, since)
        if addresses is not None:
            status["podIP"] = addresses[0] if addresses else None
            status["podIPs"] = [{"ip": a} for a in addresses] or None
        if restarts is not None:
            container = {"name": "main", "ready": bool(ready), "restartCount": restarts}
            status["containerStatuses"] = [{**container, "image": "example/app:1", "imageID": "x"}]
        return await self.client.patch(PODS, self.name, name, {"status": status}, subresource="status")

    async def relabel(self, pod: str, labels: Mapping[str, str | None]) -> Object:
        return await self.client.patch(PODS, self.name, pod, {"metadata": {"labels": dict(labels)}})

    async def delete_pod(self, name: str, *, grace_s: int = 0) -> None:
        """Deletes a pod: gone at once with no grace, else terminating for good (no kubelet ends it)."""
        await self.client.delete(PODS, self.name, name, grace_s=grace_s)

    # --- restricted users

    async def service_account(self, name: str, rules: Sequence[Object]) -> str:
        """Makes a ServiceAccount with a Role of these rules in this namespace; returns a token of it."""
        await self.client.create(SERVICE_ACCOUNTS, self.name, {"metadata": {"name": name}})
        await self.client.create(ROLES, self.name, {"metadata": {"name": name}, "rules": list(rules)})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": ROLES.group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.name}],
        }
        await self.client.create(ROLE_BINDINGS, self.name, binding)
        path = SERVICE_ACCOUNTS.path(self.name, name, "token")
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await self.client.request("POST", path, request)
        token: str = answer["status"]["token"]
        return token


def _conditions(ready: bool, since: datetime.datetime | None) -> list[Object]:
    when = rfc3339(since or datetime.datetime.now(datetime.UTC))
    return [
        {"type": kind, "status": str(status), "lastTransitionTime": when}
        for kind, status in (
            ("PodScheduled", True),
            ("Initialized", True),
            ("ContainersReady", ready),
            ("Ready", ready),
        )
    ]


async def create_nodes(client: KubeClient, names: Mapping[str, str] = NODE_NAMES) -> None:
    """Makes the nodes (name: zone) that pods of tests name; those that are there stay."""
    for name, zone in names.items():
        labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name}
        try:
            await client.create(NODES, None, {"metadata": {"name": name, "labels": labels}})
        except StatusError as error:
            if error.status != 409:
                raise
