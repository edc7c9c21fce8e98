"""A bare client that writes leader Services and their slices: the floor of a first creation.

Knows the JSON of what zenlead makes (a test compares the two). Refuses to look at anything: names, addresses
and leaders are told to it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.client import pooled
from benchmarks.scene import CONCURRENCY, encode, endpoint, node_of
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.client import Client
    from benchmarks.scene import Group

# Somebody else than zenlead, which takes objects without their source for left behind, and removes them.
MANAGER = "floor"
SOME_TIME = "2026-01-01T00:00:00Z"


async def write_leaders(client: Client, group: Group, services: Iterable[str]) -> None:
    """Both objects for each, as zenlead makes them but for who manages them; the first pod leads."""

    async def write(service: str) -> None:
        pod = group.pods[service][0]
        body = leader_service(group.namespace, service, pod, _some_uid(service))
        made = await client.send("POST", SERVICES.path(group.namespace), encode(body))
        uid = msgspec.json.decode(made)["metadata"]["uid"]
        slice_body = leader_slice(group.namespace, service, pod, group.addresses[pod], uid)
        await client.send("POST", ENDPOINT_SLICES.path(group.namespace), encode(slice_body))

    await pooled(services, write, CONCURRENCY)


async def remove_leaders(client: Client, group: Group) -> None:
    """What ``write_leaders`` made goes again."""
    names = [f"{service}-leader" for service in group.services]
    for resource in (ENDPOINT_SLICES, SERVICES):
        await pooled(
            names,
            lambda name, of=resource: client.send("DELETE", of.path(group.namespace, name)),
            CONCURRENCY,
        )


def leader_service(namespace: str, service: str, pod: str, uid: str) -> dict[str, Any]:
    """The leader Service of a ``service`` with that ``uid``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{service}-leader",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": MANAGER, "zen-lead.io/source-service": service},
            "annotations": {
                "zen-lead.io/current-leader": pod,
                "zen-lead.io/leader-pod-name": pod,
                "zen-lead.io/leader-pod-uid": _some_uid(pod),
                "zen-lead.io/leader-epoch": "1",
                "zen-lead.io/leader-last-switch-time": SOME_TIME,
            },
            "ownerReferences": [_owner(service, uid)],
        },
        "spec": {
            "type": "ClusterIP",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
        },
    }


def leader_slice(namespace: str, service: str, pod: str, address: str, uid: str) -> dict[str, Any]:
    """The slice that routes to ``pod``; ``uid`` is that of the leader Service."""
    name = f"{service}-leader"
    routed = endpoint(namespace, pod, address)
    routed["targetRef"] = {"kind": "Pod", "namespace": namespace, "name": pod, "uid": _some_uid(pod)}
    routed["nodeName"] = node_of(pod)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": MANAGER,
                "app.kubernetes.io/managed-by": MANAGER,
                "zen-lead.io/source-service": service,
            },
            "annotations": {
                "zen-lead.io/leader-epoch": "1",
                "endpoints.kubernetes.io/last-change-trigger-time": SOME_TIME,
            },
            "ownerReferences": [_owner(name, uid)],
        },
        "addressType": "IPv4",
        "endpoints": [routed],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def _owner(name: str, uid: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "name": name, "uid": uid, "controller": True}


def _some_uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
