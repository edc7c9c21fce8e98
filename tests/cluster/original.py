"""Objects exactly as the Go zen-lead 0.1 leaves them behind, so that taking over from it can be tried.

Knows which of the source's labels and annotations it copied when it made an object (it never looked again),
and what it left out of an endpoint. Refuses to know what zenlead makes of it.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.scene import Namespace
    from zenlead.kube.resources import Resource

FIELD_MANAGER = "manager"  # the name of its program, as it stands in managedFields
LEASE = "zen-lead-controller-leader-election"
LABELS_LEFT_OUT = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "argocd.argoproj.io/instance",
    "fluxcd.io/part-of",
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "kustomize.toolkit.fluxcd.io/revision",
)
ANNOTATIONS_LEFT_OUT = (
    "argocd.argoproj.io/sync-wave",
    "argocd.argoproj.io/sync-options",
    "fluxcd.io/sync-checksum",
    "kustomize.toolkit.fluxcd.io/checksum",
)
SWITCHED = "2025-11-30T08:15:00Z"


async def create(namespace: Namespace, resource: Resource, body: Object) -> Object:
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    made: Object = await namespace.client.request(
        "POST", resource.path(namespace.name), whole, query={"fieldManager": FIELD_MANAGER}
    )
    return made


async def leader_service(namespace: Namespace, source: Object, pod: Object | None) -> Object:
    """The leader Service of ``source``, made while ``pod`` led (None: nobody)."""
    meta, spec = source["metadata"], source["spec"]
    kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in ANNOTATIONS_LEFT_OUT}
    body = {
        "metadata": {
            "name": name_of(source),
            "labels": labels(source),
            "annotations": kept | (tracking(pod) if pod else {}),
            "ownerReferences": [owner(source)],
        },
        "spec": {"ports": [numbered(port, pod) for port in spec["ports"]], "type": spec["type"]},
    }
    return await create(namespace, SERVICES, body)


async def leader_slice(namespace: Namespace, source: Object, service: Object, pod: Object) -> Object:
    """The EndpointSlice of the leader Service ``service``, routing to ``pod``."""
    name = service["metadata"]["name"]
    body = {
        "metadata": {
            "name": name,
            "labels": {
                **labels(source),
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "zen-lead",
            },
            "ownerReferences": [owner(service)],
        },
        "addressType": "IPv6" if ":" in pod["status"]["podIP"] else "IPv4",
        "endpoints": [endpoint(pod)],
        "ports": [
            {
                **({"name": port["name"]} if port.get("name") else {}),
                "port": numbered(port, pod)["targetPort"],
                "protocol": port["protocol"],
            }
            for port in source["spec"]["ports"]
        ],
    }
    return await create(namespace, ENDPOINT_SLICES, body)


async def left_behind(namespace: Namespace, source: Object, pod: Object) -> tuple[Object, Object]:
    """Both objects, as they stand when the Go zen-lead is stopped while ``pod`` leads; and its Lease."""
    await released_lease(namespace, LEASE)
    service = await leader_service(namespace, source, pod)
    return service, await leader_slice(namespace, source, service, pod)


async def released_lease(namespace: Namespace, name: str) -> None:
    """A Lease that was just given back."""
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "leaseTransitions": 1,
        "renewTime": when,
        "acquireTime": when,
    }
    await create(namespace, LEASES, {"metadata": {"name": name}, "spec": spec})


def name_of(source: Object) -> str:
    meta = source["metadata"]
    name: str = (meta.get("annotations") or {}).get("zen-lead.io/leader-service-name", "")
    return name or f"{meta['name']}-leader"


def labels(source: Object) -> dict[str, str]:
    meta = source["metadata"]
    kept = {k: v for k, v in (meta.get("labels") or {}).items() if k not in LABELS_LEFT_OUT}
    return {
        **kept,
        "app.kubernetes.io/managed-by": "zen-lead",
        "zen-lead.io/source-service": meta["name"],
    }


def tracking(pod: Object) -> dict[str, str]:
    """Its own annotations of a leader Service."""
    return {
        "zen-lead.io/current-leader": pod["metadata"]["name"],
        "zen-lead.io/leader-pod-name": pod["metadata"]["name"],
        "zen-lead.io/leader-pod-uid": pod["metadata"]["uid"],
        "zen-lead.io/leader-last-switch-time": SWITCHED,
    }


def endpoint(pod: Object) -> Object:
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": True},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod",
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        },
    }


def owner(body: Object) -> Object:
    """A controller reference, without blockOwnerDeletion."""
    meta = body["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def numbered(port: Object, pod: Object | None) -> Object:
    """A Service port as it copied it: with the number that a named targetPort has on the leader."""
    target = port["targetPort"]
    if isinstance(target, str) and pod is not None:
        declared = [p for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
        target = next(p["containerPort"] for p in declared if p["name"] == target)
    return {**port, "targetPort": target}
