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
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

_Texts = dict[str, str] | None


class _Owner(msgspec.Struct):
    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
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
    selector: _Texts = None
    ports: list[_Port] | None = None
    ipFamilies: list[str] | None = None
    ipFamilyPolicy: str | None = None


class _Service(_Any):
    spec: _ServiceSpec | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str] | None = None
    conditions: dict[str, bool | None] | None = None
    nodeName: str | None = None
    zone: str | None = None


class _Slice(_Any):
    addressType: str | None = None
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _PodStatus(msgspec.Struct):
    phase: str | None = None
    podIP: str | None = None
    podIPs: list[_Texts] | None = None
    conditions: list[_Condition] | None = None


class _Pod(_Any):
    status: _PodStatus | None = None


class _Config(_Any):
    data: _Texts = None


_SHAPES: dict[Resource, type[_Any]] = {
    CONFIG_MAPS: _Config,
    CORE_EVENTS: _Any,
    EVENTS: _Any,
    ENDPOINT_SLICES: _Slice,
    LEASES: _Any,
    NAMESPACES: _Any,
    NODES: _Any,
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
