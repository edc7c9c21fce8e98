"""A large cluster as bytes: Services, their pods, and what zenlead made of them, from one specimen of each.

Knows how to make a hundred thousand objects out of one in a second or two. Refuses to know servers and what
the objects mean. The rule not to break: every name, UID, address and node of a specimen is a token of fixed
form, so that replacing the tokens is all that makes another object.
"""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.scene import pod_body, pod_status

PODS_PER_NODE = 100
ZONES = 3
CREATED = "2026-01-05T08:00:00Z"
FIRST_VERSION = 1_000_000  # below are those of the objects at the start

encode = msgspec.json.encode


class Fleet(msgspec.Struct, frozen=True):
    """How many of what. The Services are spread evenly over the namespaces."""

    services: int
    pods_each: int
    namespaces: int

    @property
    def pods(self) -> int:
        return self.services * self.pods_each

    @property
    def nodes(self) -> int:
        return max(1, self.pods // PODS_PER_NODE)

    def namespace(self, service: int) -> str:
        return f"ns-{service % self.namespaces:04d}"

    def node(self, service: int, pod: int) -> int:
        return (service * self.pods_each + pod) % self.nodes


def service_name(number: int) -> str:
    return f"web-{number:05d}"


def pod_name(service: int, pod: int) -> str:
    return f"{service_name(service)}-{pod:02d}"


def node_name(number: int) -> str:
    return f"node-{number:05d}"


def address(service: int, pod: int) -> str:
    number = service * 100 + pod
    return f"10.{100 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


def uid(kind: int, number: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


SOURCE, POD, LEADER, SLICE = range(1, 5)  # kinds of UIDs


def pod_uid(service: int, pod: int) -> str:
    return uid(POD, service * 100 + pod)


class Specimens(msgspec.Struct):
    """JSON of one object of each kind: Service 0 and its pod 0. ``leader`` and ``slice`` are empty before
    zenlead has made them."""

    leader: str = ""
    slice: str = ""


def source(fleet: Fleet, number: int) -> bytes:
    """An opted-in Service."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(number),
            "namespace": fleet.namespace(number),
            "uid": uid(SOURCE, number),
            "resourceVersion": str(1 + number),
            "creationTimestamp": CREATED,
            "annotations": {"zen-lead.io/enabled": "true"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "selector": {"app": service_name(number)},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {}},
    }
    return encode(body)


def node(number: int) -> bytes:
    labels = {
        "topology.kubernetes.io/zone": f"zone-{number % ZONES}",
        "kubernetes.io/hostname": node_name(number),
    }
    meta = {"name": node_name(number), "uid": uid(9, number), "resourceVersion": "1", "labels": labels}
    return encode({"apiVersion": "v1", "kind": "Node", "metadata": meta})


# In this order, since one is the beginning of another.
_POD_TOKENS = ("@namespace", "@name", "@service", "@uid", "@version", "@address", "@node")


def pod_specimen(*, ready: bool) -> bytes:
    """A pod of some 5 KB with tokens where objects differ."""
    body: dict[str, Any] = pod_body("@service", "@name")
    status: dict[str, Any] = pod_status("@address", ready=ready)
    container = {
        "name": "main",
        "ready": ready,
        "started": True,
        "restartCount": 0,
        "image": "registry.example/team/application:1.27.3",
        "imageID": "registry.example/team/application@sha256:" + "0" * 64,
        "containerID": "containerd://" + "1" * 64,
        "state": {"running": {"startedAt": CREATED}},
    }
    managed: list[dict[str, Any]] = [
        {
            "manager": who,
            "operation": "Update",
            "apiVersion": "v1",
            "time": CREATED,
            "fieldsType": "FieldsV1",
            "fieldsV1": {f"f:{part}": {f"f:field-{n}": {} for n in range(24)} for part in ("spec", "status")},
        }
        for who in ("kube-controller-manager", "kubelet")
    ]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "@service-5d9f7c6b8d", "controller": True}
    body["metadata"] |= {
        "namespace": "@namespace",
        "uid": "@uid",
        "resourceVersion": "@version",
        "creationTimestamp": CREATED,
        "generateName": "@service-5d9f7c6b8d-",
        "ownerReferences": [{**owner, "uid": uid(8, 0)}],
        "managedFields": managed,
    }
    body["spec"]["nodeName"] = "@node"
    changed = [{**condition, "lastTransitionTime": CREATED} for condition in status["conditions"]]
    body["status"] = {**status, "conditions": changed, "hostIP": "10.0.0.1", "containerStatuses": [container]}
    return encode({"apiVersion": "v1", "kind": "Pod", **body})


class Pods:
    """Makes pods. ``version``: the resourceVersion."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._parts = {ready: _split(pod_specimen(ready=ready)) for ready in (True, False)}

    def make(self, service: int, pod: int, version: int, *, ready: bool = True) -> bytes:
        fleet = self._fleet
        values = (
            fleet.namespace(service),
            pod_name(service, pod),
            service_name(service),
            pod_uid(service, pod),
            str(version),
            address(service, pod),
            node_name(fleet.node(service, pod)),
        )
        told = dict(zip(_POD_TOKENS, (value.encode() for value in values), strict=True))
        return b"".join([told[part] if isinstance(part, str) else part for part in self._parts[ready]])


def _split(specimen: bytes) -> list[bytes | str]:
    """Literal bytes and tokens, in turn."""
    parts: list[bytes | str] = [specimen]
    for token in _POD_TOKENS:
        split: list[bytes | str] = []
        for part in parts:
            if isinstance(part, str):
                split.append(part)
                continue
            for number, piece in enumerate(part.split(token.encode())):
                split += [token, piece] if number else [piece]
        parts = split
    return parts


def led(specimen: str, fleet: Fleet, number: int, version: int) -> bytes:
    """What zenlead made for Service 0, as it would be for another one, whose pod 0 leads, too."""
    node_of = fleet.node(number, 0)
    text = specimen
    for old, new in (
        (fleet.namespace(0), fleet.namespace(number)),
        (service_name(0), service_name(number)),
        (uid(SOURCE, 0), uid(SOURCE, number)),
        (uid(LEADER, 0), uid(LEADER, number)),
        (uid(SLICE, 0), uid(SLICE, number)),
        (pod_uid(0, 0), pod_uid(number, 0)),
        (address(0, 0), address(number, 0)),
        (node_name(0), node_name(node_of)),
        ("zone-0", f"zone-{node_of % ZONES}"),
        ('"@version"', f'"{version}"'),
    ):
        text = text.replace(old, new)
    return text.encode()


def as_specimens(leader: dict[str, Any], slice_: dict[str, Any]) -> Specimens:
    """What zenlead made for Service 0, ready for ``led``."""

    def ready(body: dict[str, Any]) -> str:
        text = encode({**body, "metadata": {**body["metadata"], "resourceVersion": "@version"}}).decode()
        for kind, made in ((LEADER, leader), (SLICE, slice_)):
            text = text.replace(made["metadata"]["uid"], uid(kind, 0))
        return text

    return Specimens(ready(leader), ready(slice_))
