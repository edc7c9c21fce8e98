"""The types of the fields that matter, so that a body of the wrong shape is answered with 400.

Knows which field is text, number or list, and how times are written. Refuses to know what values mean. The
rule: unknown fields pass, a known field of the wrong type never does.
Source: Kubernetes API reference; MicroTime has exactly six fractional digits, Time may have any number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, LEASES, NODES, PODS, SERVICES, Resource
from zenlead.sandbox.kinds import CONFIG_MAPS, CORE_EVENTS, NAMESPACES

if TYPE_CHECKING:
    from zenlead.sandbox.objects import Body

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")

_Texts = dict[str, str] | None


class _Owner(msgspec.Struct):
    apiVersion: str | None = None
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None
    blockOwnerDeletion: bool | None = None


class _Meta(msgspec.Struct):
    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    resourceVersion: str | None = None
    uid: str | None = None
    labels: _Texts = None
    annotations: _Texts = None
    finalizers: list[str] | None = None
    ownerReferences: list[_Owner] | None = None


class _Any(msgspec.Struct):
    metadata: _Meta | None = None


class _Condition(msgspec.Struct):
    type: str
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    lastTransitionTime: str | None = None


class _Port(msgspec.Struct):
    name: str | None = None
    port: int | None = None
    nodePort: int | None = None
    protocol: str | None = None
    appProtocol: str | None = None
    targetPort: int | str | None = None


class _ServiceSpec(msgspec.Struct):
    type: str | None = None
    clusterIP: str | None = None
    clusterIPs: list[str] | None = None
    externalIPs: list[str] | None = None
    externalName: str | None = None
    selector: _Texts = None
    ports: list[_Port] | None = None
    ipFamilies: list[str] | None = None
    ipFamilyPolicy: str | None = None
    sessionAffinity: str | None = None
    externalTrafficPolicy: str | None = None
    internalTrafficPolicy: str | None = None
    allocateLoadBalancerNodePorts: bool | None = None


class _Conditions(msgspec.Struct):
    conditions: list[_Condition] | None = None


class _Service(_Any):
    spec: _ServiceSpec | None = None
    status: _Conditions | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str] | None = None
    conditions: dict[str, bool | None] | None = None
    hostname: str | None = None
    nodeName: str | None = None
    zone: str | None = None


class _Slice(_Any):
    addressType: str | None = None
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _ContainerPort(msgspec.Struct):
    name: str | None = None
    containerPort: int | None = None
    protocol: str | None = None


class _Container(msgspec.Struct):
    name: str | None = None
    image: str | None = None
    ports: list[_ContainerPort] | None = None


class _Toleration(msgspec.Struct):
    key: str | None = None


class _PodSpec(msgspec.Struct):
    nodeName: str | None = None
    restartPolicy: str | None = None
    terminationGracePeriodSeconds: int | None = None
    containers: list[_Container] | None = None
    initContainers: list[_Container] | None = None
    tolerations: list[_Toleration] | None = None
    readinessGates: list[dict[str, str]] | None = None


class _Ip(msgspec.Struct):
    ip: str | None = None


class _ContainerStatus(msgspec.Struct):
    name: str
    ready: bool | None = None
    restartCount: int | None = None
    state: dict[str, dict[str, object] | None] | None = None


class _PodStatus(_Conditions):
    phase: str | None = None
    reason: str | None = None
    podIP: str | None = None
    podIPs: list[_Ip] | None = None
    hostIP: str | None = None
    hostIPs: list[_Ip] | None = None
    containerStatuses: list[_ContainerStatus] | None = None


class _Pod(_Any):
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


class _Config(_Any):
    data: _Texts = None


class _LeaseSpec(msgspec.Struct):
    holderIdentity: str | None = None
    leaseDurationSeconds: int | None = None
    leaseTransitions: int | None = None


class _Lease(_Any):
    spec: _LeaseSpec | None = None


class _Reference(msgspec.Struct):
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    apiVersion: str | None = None
    fieldPath: str | None = None


class _Series(msgspec.Struct):
    count: int | None = None


class _Source(msgspec.Struct):
    component: str | None = None
    host: str | None = None


class _Event(_Any):
    reason: str | None = None
    action: str | None = None
    type: str | None = None
    reportingInstance: str | None = None
    series: _Series | None = None


class _NewEvent(_Event):
    note: str | None = None
    reportingController: str | None = None
    regarding: _Reference | None = None
    deprecatedSource: _Source | None = None
    deprecatedFirstTimestamp: str | None = None
    deprecatedLastTimestamp: str | None = None


class _CoreEvent(_Event):
    message: str | None = None
    reportingComponent: str | None = None
    involvedObject: _Reference | None = None
    source: _Source | None = None
    count: int | None = None
    firstTimestamp: str | None = None
    lastTimestamp: str | None = None


class _NamespaceSpec(msgspec.Struct):
    finalizers: list[str] | None = None


class _Namespace(_Any):
    spec: _NamespaceSpec | None = None
    status: dict[str, object] | None = None


class _NodeSpec(msgspec.Struct):
    unschedulable: bool | None = None


class _Address(msgspec.Struct):
    type: str
    address: str


class _NodeStatus(_Conditions):
    addresses: list[_Address] | None = None
    nodeInfo: dict[str, object] | None = None


class _Node(_Any):
    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


_SHAPES: dict[Resource, type[_Any]] = {
    CONFIG_MAPS: _Config,
    CORE_EVENTS: _CoreEvent,
    EVENTS: _NewEvent,
    ENDPOINT_SLICES: _Slice,
    LEASES: _Lease,
    NAMESPACES: _Namespace,
    NODES: _Node,
    PODS: _Pod,
    SERVICES: _Service,
}
_MICRO_TIMES: dict[Resource, tuple[tuple[str, ...], ...]] = {
    LEASES: (("spec", "acquireTime"), ("spec", "renewTime")),
    CORE_EVENTS: (("eventTime",), ("series", "lastObservedTime")),
    EVENTS: (("eventTime",), ("series", "lastObservedTime")),
}


def misfit(resource: Resource, body: Body) -> str:
    """Why the body does not have the shape of its kind, or an empty text."""
    shape = _SHAPES.get(resource)
    if shape is None:
        return ""
    try:
        msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        return f"json: cannot unmarshal: {error}"
    for path in _MICRO_TIMES.get(resource, ()):
        value: Any = body
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None and not (isinstance(value, str) and MICRO_TIME.fullmatch(value)):
            return f'parsing time {value!r} as "2006-01-02T15:04:05.000000Z07:00": six fractional digits'
    return ""
