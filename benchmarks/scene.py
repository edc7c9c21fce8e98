"""What the contestants work on: groups of Services with their pods, and pods that fail and recover.

Knows the JSON of Pod, Service and EndpointSlice and plays the kubelet. Refuses to know who reacts.
"""

from __future__ import annotations

import datetime
import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.client import MERGE_PATCH, pooled
from zenlead.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES, Resource

if TYPE_CHECKING:
    from benchmarks.client import Client

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODE_COUNT = 3
# Requests at a time when objects are made and when pods fail. Two cores of API server are busy with a dozen;
# more only queue there, and the flips of a storm shall be sent as fast as the server takes them.
CONCURRENCY = 32

encode = msgspec.json.encode
_addresses = itertools.count(1)


def _address() -> str:
    number = next(_addresses)
    return f"10.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


class Group:
    """``services`` of one namespace, each with ``pods_each`` pods that have an address and are ready.

    ``opted_in``: True and False make source Services (``headless`` ones if asked), None makes pods alone.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        services: int,
        pods_each: int,
        *,
        opted_in: bool | None,
        headless: bool = False,
    ) -> None:
        self._client = client
        self._opted_in = opted_in
        self._headless = headless
        self.namespace = namespace
        self.services = [f"web-{number:05d}" for number in range(services)]
        self.pods = {s: [f"{s}-{index}" for index in range(pods_each)] for s in self.services}
        self.addresses = {pod: _address() for pods in self.pods.values() for pod in pods}
        self.down: set[str] = set()  # pods that are not ready

    async def fill(self, *, services_too: bool = True) -> None:
        """Makes all objects; the namespace is made by ``open``."""
        pods = [(service, pod) for service, pods in self.pods.items() for pod in pods]
        await pooled(pods, lambda pair: self._pod(*pair), CONCURRENCY)
        if services_too and self._opted_in is not None:
            await pooled(self.services, self._service, CONCURRENCY)

    async def open(self) -> None:
        await self._client.send("POST", NAMESPACES.path(), encode({"metadata": {"name": self.namespace}}))

    async def fail(self, pod: str) -> None:
        """The pod is not ready any more. One request, sent at once."""
        self.down.add(pod)
        await self._status(pod, ready=False)

    async def recover(self) -> None:
        """All pods are ready again."""
        down, self.down = self.down, set()
        await pooled(down, lambda pod: self._status(pod, ready=True), CONCURRENCY)

    async def remove(self) -> None:
        """Deletes the Services and pods, and the slices that nobody collects; the namespace stays empty."""
        for resource in (SERVICES, PODS, ENDPOINT_SLICES):
            options = encode({"gracePeriodSeconds": 0})
            await self._client.send("DELETE", resource.path(self.namespace), options)

    async def _pod(self, service: str, pod: str) -> None:
        await self._client.send("POST", PODS.path(self.namespace), encode(pod_body(service, pod)))
        await self._status(pod, ready=True)

    async def _status(self, pod: str, *, ready: bool) -> None:
        body = encode({"status": pod_status(self.addresses[pod], ready=ready)})
        await self._client.send("PATCH", PODS.path(self.namespace, pod, "status"), body, MERGE_PATCH)

    async def _service(self, service: str) -> None:
        body = service_body(service, opted_in=bool(self._opted_in), headless=self._headless)
        await self._client.send("POST", SERVICES.path(self.namespace), encode(body))


async def create_nodes(client: Client) -> None:
    """The nodes that pods name; without them the native controller leaves pods out of its slices."""
    for number in range(NODE_COUNT):
        labels = {"topology.kubernetes.io/zone": f"z{number}", "kubernetes.io/hostname": f"n{number}"}
        body = encode({"metadata": {"name": f"n{number}", "labels": labels}})
        await client.send("POST", NODES.path(), body)


def service_body(service: str, *, opted_in: bool, headless: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"name": service, "annotations": {"zen-lead.io/enabled": "true"} if opted_in else {}},
        "spec": {
            "selector": {"app": service},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            **({"clusterIP": "None"} if headless else {}),
        },
    }


def endpoint(namespace: str, pod: str, address: str) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
    }


def node_of(pod: str) -> str:
    return f"n{sum(pod.encode()) % NODE_COUNT}"


def pod_body(service: str, pod: str) -> dict[str, Any]:
    """A pod of the size that Deployments make (some 6 KB as JSON, with what the server adds)."""
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5, "failureThreshold": 3}
    container = {
        "name": "main",
        "image": "registry.example/team/application:1.27.3",
        "args": ["--listen=:8080", "--metrics=:9090", "--config=/etc/application/config.yaml"],
        "ports": [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
        ],
        "env": [{"name": f"APPLICATION_OPTION_{n}", "value": f"value-{n}"} for n in range(10)],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "readinessProbe": probe,
        "livenessProbe": probe,
        "volumeMounts": [{"name": "config", "mountPath": "/etc/application"}],
    }
    return {
        "metadata": {
            "name": pod,
            "labels": {"app": service, "pod-template-hash": "5d9f7c6b8d", "team": "benchmark"},
            "annotations": {"example.com/config-hash": "0123456789abcdef" * 4},
        },
        "spec": {
            "nodeName": node_of(pod),
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "application"}}],
        },
    }


def pod_status(address: str, *, ready: bool) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    conditions = [
        {"type": kind, "status": str(status), "lastTransitionTime": now} for kind, status in told.items()
    ]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
    }
