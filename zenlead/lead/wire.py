"""From an object's JSON straight to its view.

Knows how Kubernetes spells what the views keep, and that null can stand wherever a field may be absent.
Refuses to know how bytes arrive. Rule: wire structs mirror the JSON and exist for a moment only; views share
what repeats (label sets, ports, node names) and hold no reference to the bytes that they came from.
Source: Kubernetes API reference v1 (Pod, Service, Node) and discovery.k8s.io/v1 (EndpointSlice).
"""

from __future__ import annotations

import sys
from datetime import datetime  # noqa: TC003 - msgspec reads the annotation at run time
from typing import Any

import msgspec

from zenlead.lead import contract
from zenlead.lead.copies import copies
from zenlead.lead.shared import SHARED
from zenlead.lead.views import (
    FINISHED_PHASES,
    NO_COPIES,
    NO_LABELS,
    Condition,
    Copies,
    EndpointView,
    Labels,
    NodeView,
    Owner,
    PodView,
    PortName,
    ServicePort,
    ServiceView,
    SlicePort,
    SliceView,
)


class WireOwner(msgspec.Struct):
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None


class WireMeta(msgspec.Struct, rename="camel"):
    """ObjectMeta: what every view needs of it."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: list[WireOwner] | None = None

    def created(self) -> float:
        return self.creation_timestamp.timestamp() if self.creation_timestamp else 0.0

    def owner(self) -> Owner | None:
        for reference in self.owner_references or ():
            if reference.controller:
                return Owner(sys.intern(reference.kind or ""), reference.name or "", reference.uid or "")
        return None


class _WireManagedMeta(WireMeta, rename="camel"):
    """ObjectMeta of the kinds that zenlead writes."""

    managed_fields: msgspec.Raw = msgspec.Raw()

    def copies(self) -> Copies:
        """What was copied onto it, as long as it has no epoch: that is written by zenlead alone."""
        made_by_us = contract.EPOCH in (self.annotations or ())
        return NO_COPIES if made_by_us else copies(self.managed_fields)


class _WireContainerPort(msgspec.Struct, rename="camel"):
    container_port: int = 0
    name: str | None = None
    protocol: str | None = None


class _WireContainer(msgspec.Struct, rename="camel"):
    ports: list[_WireContainerPort] | None = None
    restart_policy: str | None = None


class _WirePodSpec(msgspec.Struct, rename="camel"):
    node_name: str | None = None
    containers: list[_WireContainer] | None = None
    init_containers: list[_WireContainer] | None = None


class _WireCondition(msgspec.Struct, rename="camel"):
    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None


class _WireIP(msgspec.Struct):
    ip: str | None = None


class _WireContainerStatus(msgspec.Struct, rename="camel"):
    restart_count: int | None = None


class _WirePodStatus(msgspec.Struct, rename="camel"):
    phase: str | None = None
    conditions: list[_WireCondition] | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: list[_WireIP] | None = msgspec.field(default=None, name="podIPs")
    container_statuses: list[_WireContainerStatus] | None = None


class WirePod(msgspec.Struct):
    metadata: WireMeta
    spec: _WirePodSpec | None = None
    status: _WirePodStatus | None = None

    def view(self) -> PodView:
        """The flat view; label sets and port lists that many pods share are one object."""
        meta, status = self.metadata, self.status or _WirePodStatus()
        spec = self.spec or _WirePodSpec()
        ready = next((c for c in status.conditions or () if c.type == "Ready"), None)
        since = ready.last_transition_time.timestamp() if ready and ready.last_transition_time else None
        is_ready = ready is not None and ready.status == "True"
        return PodView(
            namespace=sys.intern(meta.namespace or ""),
            name=meta.name,
            uid=meta.uid,
            labels=SHARED.labels(meta.labels),
            created=meta.created(),
            phase=sys.intern(status.phase or ""),
            ready_since=(since if since is not None else meta.created()) if is_ready else None,
            unready_since=None if is_ready else since,
            deleted_at=meta.deletion_timestamp.timestamp() if meta.deletion_timestamp else None,
            ips=() if status.phase in FINISHED_PHASES else _pod_ips(status),  # given to others by now
            node=sys.intern(spec.node_name or ""),
            ports=SHARED.one(_named_ports(spec)),
            restarts=sum(c.restart_count or 0 for c in status.container_statuses or ()),
            candidate=_said(meta, contract.CANDIDATE),
            priority=_said(meta, contract.PRIORITY),
        )


def _said(meta: WireMeta, name: str) -> str | None:
    """What the pod's owner says by a label or else an annotation."""
    return (meta.labels or {}).get(name) or (meta.annotations or {}).get(name)


def _pod_ips(status: _WirePodStatus) -> tuple[str, ...]:
    ips = tuple(entry.ip for entry in status.pod_ips or () if entry.ip)
    return ips or ((status.pod_ip,) if status.pod_ip else ())


def _named_ports(spec: _WirePodSpec) -> tuple[PortName, ...]:
    """Named ports in the order in which a name resolves: containers, then restartable init containers."""
    sidecars = [c for c in spec.init_containers or () if c.restart_policy == "Always"]
    return tuple(
        PortName(sys.intern(port.name), sys.intern(port.protocol or "TCP"), port.container_port)
        for container in [*(spec.containers or ()), *sidecars]
        for port in container.ports or ()
        if port.name
    )


class _WireServicePort(msgspec.Struct, rename="camel"):
    port: int = 0
    name: str | None = None
    protocol: str | None = None
    target_port: int | str | None = None
    app_protocol: str | None = None

    def view(self) -> ServicePort:
        target = self.target_port if self.target_port != 0 else None
        return ServicePort(
            self.port, self.name or "", self.protocol or "TCP", target or None, self.app_protocol
        )


class _WireServiceSpec(msgspec.Struct, rename="camel"):
    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    selector: dict[str, str] | None = None
    ports: list[_WireServicePort] | None = None
    ip_families: list[str] | None = None
    ip_family_policy: str | None = None


class _WireServiceStatus(msgspec.Struct):
    conditions: list[Condition] | None = None


class WireService(msgspec.Struct):
    metadata: _WireManagedMeta
    spec: _WireServiceSpec | None = None
    status: _WireServiceStatus | None = None

    def view(self) -> ServiceView:
        """All that decides for a source or for one of ours; only the name of anybody else."""
        meta = self.metadata
        labels, annotations = meta.labels or {}, meta.annotations or {}
        managed = labels.get(contract.MANAGED_BY) == contract.MANAGER
        namespace = sys.intern(meta.namespace or "")
        if not managed and not contract.opted_in(annotations):
            return ServiceView(namespace, meta.name, meta.uid)
        spec, status = self.spec or _WireServiceSpec(), self.status or _WireServiceStatus()
        return ServiceView(
            namespace=namespace,
            name=meta.name,
            uid=meta.uid,
            resource_version=meta.resource_version if managed else "",
            labels=labels if managed else NO_LABELS,
            annotations=_interned(annotations) if managed else _ours(annotations),
            owner=meta.owner(),
            created=meta.created(),
            terminating=meta.deletion_timestamp is not None,
            type=sys.intern(spec.type or "ClusterIP"),
            headless=spec.cluster_ip == "None",
            selector=spec.selector or NO_LABELS,
            ports=SHARED.one(tuple(port.view() for port in spec.ports or ())),
            ip_families=SHARED.one(tuple(spec.ip_families or ())),
            ip_family_policy=SHARED.one(spec.ip_family_policy),
            conditions=tuple(map(_condition, status.conditions or ())) if managed else (),
            copies=meta.copies() if managed else NO_COPIES,
        )


def _ours(annotations: Labels) -> Labels:
    prefixes = (contract.PREFIX, contract.LEADER_PREFIX)
    return SHARED.labels({key: value for key, value in annotations.items() if key.startswith(prefixes)})


def _interned(annotations: Labels) -> Labels:
    return {sys.intern(key): value for key, value in annotations.items()}


def _condition(seen: Condition) -> Condition:
    """The same, with the words that all such conditions share."""
    words = {name: SHARED.one(getattr(seen, name)) for name in ("type", "status", "reason", "message")}
    return msgspec.structs.replace(seen, **words)


class _WireConditions(msgspec.Struct):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _WireTarget(msgspec.Struct):
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None


class _WireEndpoint(msgspec.Struct, rename="camel"):
    addresses: list[str] | None = None
    conditions: _WireConditions | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: _WireTarget | None = None

    def view(self) -> EndpointView:
        conditions, target = self.conditions or _WireConditions(), self.target_ref or _WireTarget()
        return EndpointView(
            addresses=tuple(self.addresses or ()),
            ready=conditions.ready,
            serving=conditions.serving,
            terminating=conditions.terminating,
            node=SHARED.one(self.node_name),
            zone=SHARED.one(self.zone),
            target_kind=sys.intern(target.kind or ""),
            target_namespace=sys.intern(target.namespace or ""),
            target_name=target.name or "",
            target_uid=target.uid or "",
        )


class _WireSlicePort(msgspec.Struct, rename="camel"):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class WireSlice(msgspec.Struct, rename="camel"):
    metadata: _WireManagedMeta
    address_type: str = ""
    endpoints: list[_WireEndpoint] | None = None
    ports: list[_WireSlicePort] | None = None

    def view(self) -> SliceView:
        meta = self.metadata
        ports = tuple(
            SlicePort(p.name or "", p.port, p.protocol or "TCP", p.app_protocol) for p in self.ports or ()
        )
        return SliceView(
            namespace=sys.intern(meta.namespace or ""),
            name=meta.name,
            uid=meta.uid,
            resource_version=meta.resource_version,
            labels=_only(meta.labels, SLICE_LABELS),
            annotations=_only(meta.annotations, SLICE_ANNOTATIONS),
            address_type=sys.intern(self.address_type),
            endpoints=tuple(endpoint.view() for endpoint in self.endpoints or ()),
            ports=SHARED.one(ports),
            owner=meta.owner(),
            terminating=meta.deletion_timestamp is not None,
            copies=meta.copies(),
        )


SLICE_LABELS = (
    contract.SERVICE_NAME,
    contract.SLICE_MANAGED_BY,
    contract.MANAGED_BY,
    contract.SOURCE_SERVICE,
)
SLICE_ANNOTATIONS = (contract.EPOCH, contract.TRIGGER_TIME)


def _only(entries: Labels | None, keys: tuple[str, ...]) -> Labels:
    return {key: entries[key] for key in keys if key in entries} if entries else NO_LABELS


class WireNode(msgspec.Struct):
    metadata: WireMeta

    def view(self) -> NodeView:
        zone = (self.metadata.labels or {}).get("topology.kubernetes.io/zone", "")
        return NodeView(sys.intern(self.metadata.name), sys.intern(zone))


def decode(wire: type[Any], body: bytes) -> Any:
    """One object's view from its JSON; ``wire`` is one of the Wire structs above.

    Raises ValueError (msgspec.DecodeError) when the bytes are no such object.
    """
    try:
        return msgspec.json.decode(body, type=wire).view()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
