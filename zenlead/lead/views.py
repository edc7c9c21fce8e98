"""Trimmed, frozen views of Kubernetes objects: what decides, and nothing else.

Knows which fields matter. Refuses to know how they are spelled in JSON (wire.py does).
Rule: a view holds no field that cannot change a decision or a write: two equal views mean nothing happened.
Source: Kubernetes API reference v1 (Pod, Service, Node) and discovery.k8s.io/v1 (EndpointSlice).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Labels: TypeAlias = dict[str, str]
Key: TypeAlias = tuple[str, str]  # namespace, name

NO_LABELS: Labels = {}
FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


class Owner(msgspec.Struct, frozen=True, gc=False):
    """The controller ownerReference of an object."""

    kind: str
    name: str
    uid: str


class Copies(msgspec.Struct, frozen=True, gc=False):
    """Names of the labels and annotations that whoever made an object took from another one."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


NO_COPIES = Copies()


class PortName(msgspec.Struct, frozen=True, gc=False):
    """A named container port: what a named targetPort can resolve to."""

    name: str
    protocol: str
    port: int


class PodView(msgspec.Struct, frozen=True, gc=False):
    """A Pod, as far as it decides. Times are Unix seconds."""

    namespace: str
    name: str
    uid: str
    labels: Labels
    created: float
    phase: str = ""
    ready_since: float | None = None  # None: the Ready condition is not True
    unready_since: float | None = None  # when the Ready condition last turned False, if it is known
    deleted_at: float | None = None  # deletionTimestamp; not None means terminating
    ips: tuple[str, ...] = ()
    node: str = ""
    ports: tuple[PortName, ...] = ()
    restarts: int = 0  # of all containers together
    candidate: str | None = None  # label or annotation zen-lead.io/candidate, as written
    priority: str | None = None  # likewise zen-lead.io/priority

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    @property
    def marked(self) -> bool:
        """Whether its owner said anything about its leading."""
        return self.candidate is not None or self.priority is not None


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    """One port of a Service. ``target_port``: number, name, or None for the port itself."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    app_protocol: str | None = None


class Condition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """One entry of status.conditions, kept whole so that it can be written back beside ours."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None  # null when whoever wrote it left it out
    observed_generation: int | None = None


class ServiceView(msgspec.Struct, frozen=True, gc=False):
    """A Service. Strangers (neither opted in nor managed by us) keep name and UID only."""

    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""  # only of ours: nobody else's Service is written, nor is its every change news
    labels: Labels = NO_LABELS
    annotations: Labels = NO_LABELS
    owner: Owner | None = None
    created: float = 0.0
    terminating: bool = False
    type: str = "ClusterIP"
    headless: bool = False
    selector: Labels = NO_LABELS
    ports: tuple[ServicePort, ...] = ()
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    conditions: tuple[Condition, ...] = ()
    copies: Copies = NO_COPIES  # only of a leader Service that was made by the Go zen-lead

    @property
    def key(self) -> Key:
        return self.namespace, self.name


class EndpointView(msgspec.Struct, frozen=True, gc=False):
    """One endpoint of an EndpointSlice. The target is a Pod; empty strings where the slice says nothing."""

    addresses: tuple[str, ...] = ()
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    node: str | None = None
    zone: str | None = None
    target_kind: str = ""
    target_namespace: str = ""
    target_name: str = ""
    target_uid: str = ""


class SlicePort(msgspec.Struct, frozen=True, gc=False):
    """One port of an EndpointSlice."""

    name: str
    port: int | None
    protocol: str = "TCP"
    app_protocol: str | None = None


class SliceView(msgspec.Struct, frozen=True, gc=False):
    """An EndpointSlice. ``labels`` and ``annotations`` hold only those that zenlead writes."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Labels
    annotations: Labels
    address_type: str
    endpoints: tuple[EndpointView, ...]
    ports: tuple[SlicePort, ...]
    owner: Owner | None = None
    terminating: bool = False
    copies: Copies = NO_COPIES  # only of one that was made by the Go zen-lead

    @property
    def key(self) -> Key:
        return self.namespace, self.name


class NodeView(msgspec.Struct, frozen=True, gc=False):
    """A Node: where it is."""

    name: str
    zone: str = ""
    namespace: str = ""

    @property
    def key(self) -> Key:
        return self.namespace, self.name


View = PodView | ServiceView | SliceView | NodeView
