"""From what should be and what is to the writes between them, traffic first.

Knows the order in which objects may be written. Refuses to send anything.
Rules: every write on an existing object carries the resourceVersion (or UID) that was observed; nothing is
written that is not ours; the diff of an applied diff is empty.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec

from zenlead.lead import contract
from zenlead.lead.contract import Routing
from zenlead.lead.desired import Absent, Blocked, Desired, Serve, Snapshot
from zenlead.lead.ownership import draining_s, owned, owned_slices
from zenlead.lead.render import (
    Json,
    following,
    headless,
    rfc3339,
    service_annotations,
    service_body,
    service_labels,
    service_type,
    slice_body,
    slice_names,
)
from zenlead.lead.routed import epoch_of
from zenlead.lead.views import Condition, ServicePort, ServiceView, SliceView


class Target(StrEnum):
    """The two kinds of object that are written, by their plural."""

    SERVICES = "services"
    SLICES = "endpointslices"


class Create(msgspec.Struct, frozen=True):
    """``opens``: traffic waits for it, though none was there before; in no hurry unless that can be had."""

    target: Target
    name: str
    body: bytes
    urgent: bool = False
    opens: bool = False


class Patch(msgspec.Struct, frozen=True):
    """A JSON merge patch; metadata.resourceVersion in it is the precondition."""

    target: Target
    name: str
    body: bytes
    urgent: bool = False
    subresource: str = ""


class Delete(msgspec.Struct, frozen=True):
    """``body`` is a DeleteOptions with the observed UID and ``resourceVersion`` as preconditions."""

    target: Target
    name: str
    body: bytes
    urgent: bool = False


Write: TypeAlias = Create | Patch | Delete

_MESSAGES = {
    Routing.LEADER_ELECTED: "The leader Service routes to one ready pod.",
    Routing.NO_READY_PODS: "No selected pod is fit to lead.",
    Routing.NO_PODS_FOUND: "The selector matches no pod that may lead.",
    Routing.PORT_UNRESOLVED: "A named targetPort resolves on no selected pod.",
    Routing.PAUSED: "The routing is left as it is while the annotation pauses it.",
}


def diff(snapshot: Snapshot, desired: Desired, *, conditions: bool = True) -> list[Write]:
    """The writes that can be made now, in order. Some wait for others (a slice for the UID of its Service):
    apply, look again, until the diff is empty. ``conditions``: whether the LeaderReady condition is kept."""
    match desired:
        case Absent():
            # Slices first: without the Service nobody would know whose one is that a finalizer holds.
            return _withdraw(snapshot) or [_delete(Target.SERVICES, s) for s in _owned_services(snapshot)]
        case Blocked(withdraw=withdraw):
            return _withdraw(snapshot) if withdraw else []
        case Serve():
            return _serve(snapshot, desired, conditions)
        case _:
            assert_never(desired)


def _serve(snapshot: Snapshot, serve: Serve, conditions: bool) -> list[Write]:
    service = serve.service
    if serve.policy.paused:
        return _diff_condition(service, serve) if service is not None and conditions else []
    if service is None:
        body = service_body(serve, snapshot.namespace)
        opens = serve.leader is not None
        return [Create(Target.SERVICES, serve.policy.leader_name, _encode(body), opens=opens)]
    if _must_recreate(service, serve):
        return [] if service.terminating else [_delete(Target.SERVICES, service)]
    kept: list[str] = []
    writes: list[Write] = []
    observed = {s.name: s for s in owned_slices(snapshot, serve.policy.leader_name)}
    for index, name in enumerate(slice_names(serve)):
        kept.append(name)
        wanted = slice_body(serve, index, snapshot.namespace, service.uid)
        writes += _diff_slice(observed.get(name), wanted, serve, index)
    if any(write.urgent for write in writes):  # traffic first; the rest is looked at when that is done
        return [write for write in writes if write.urgent]
    writes += _diff_service(service, serve)
    writes += _diff_condition(service, serve) if conditions else []
    if all(name in observed for name in kept):  # the new routing stands: what an earlier one left may go
        stale = _delete_slices([s for s in observed.values() if s.name not in kept])
        others = (s for s in _owned_services(snapshot) if s.name != serve.policy.leader_name)
        # Slices first: who waits for the name of the Service needs that of its slice, too.
        writes += stale or [_delete(Target.SERVICES, s) for s in others]
    return writes


def _owned_services(snapshot: Snapshot) -> list[ServiceView]:
    source = snapshot.source
    if source is None:  # then the garbage collector has them all
        return []
    return [s for s in snapshot.services if owned(s, source) and not s.terminating]


def fence(target: Target, observed: ServiceView | SliceView) -> Patch:
    """Changes nothing but the version: a write that named the old one fails from then on."""
    version = observed.resource_version
    metadata = {"annotations": {contract.FENCED: version}, "resourceVersion": version}
    return Patch(target, observed.name, _encode({"metadata": metadata}), urgent=True)


# --- the leader Service -------------------------------------------------------------------------------------


def _must_recreate(service: ServiceView, serve: Serve) -> bool:
    """What the API server never lets change: headless or not, and the first address family."""
    source = serve.source
    return service.headless != headless(serve) or bool(
        source.ip_families and service.ip_families and source.ip_families[0] != service.ip_families[0]
    )


def _diff_service(service: ServiceView, serve: Serve) -> list[Write]:
    metadata: Json = {}
    spec: Json = {}
    wanted = dict.fromkeys(service.copies.labels) | service_labels(serve)
    if labels := {k: v for k, v in wanted.items() if service.labels.get(k) != v}:
        metadata["labels"] = labels
    stale = (key for key in service.copies.annotations if key not in contract.LEADER_ANNOTATIONS)
    wanted = dict.fromkeys(stale) | service_annotations(serve, service.annotations)
    if annotations := {k: v for k, v in wanted.items() if service.annotations.get(k) != v}:
        metadata["annotations"] = annotations
    source = serve.source
    if service.type != service_type(serve):
        spec["type"] = service_type(serve)
    if service.selector and not draining_s(service, serve.decided_at):
        spec["selector"] = None
    if (
        _default_targets(service.ports) != _default_targets(source.ports)
        or source.ip_families not in ((), service.ip_families)
        or source.ip_family_policy not in (None, service.ip_family_policy)
    ):
        spec |= following(source)
    if not metadata and not spec:
        return []
    metadata["resourceVersion"] = service.resource_version
    body = {"metadata": metadata, **({"spec": spec} if spec else {})}
    return [Patch(Target.SERVICES, service.name, _encode(body))]


def _default_targets(ports: tuple[ServicePort, ...]) -> tuple[ServicePort, ...]:
    """Ports as the API server stores them: a targetPort that was left out is the port itself."""
    return tuple(
        msgspec.structs.replace(port, target_port=port.port) if port.target_port is None else port
        for port in ports
    )


def _diff_condition(service: ServiceView, serve: Serve) -> list[Write]:
    routes = serve.routing is Routing.LEADER_ELECTED or (
        serve.routing is Routing.PAUSED and bool(serve.routed.uid)
    )
    status = "True" if routes else "False"
    current = next((c for c in service.conditions if c.type == contract.LEADER_READY), None)
    if current is not None and (current.status, current.reason) == (status, serve.routing):
        return []
    since = rfc3339(serve.decided_at)
    if current is not None and current.status == status:
        since = current.last_transition_time or since
    ours = Condition(contract.LEADER_READY, status, serve.routing, _MESSAGES[serve.routing], since)
    # A merge patch replaces the whole list, so everybody else's conditions are sent back as they were.
    others = [c for c in service.conditions if c.type != contract.LEADER_READY]
    body = {
        "metadata": {"resourceVersion": service.resource_version},
        "status": {"conditions": [*others, ours]},
    }
    return [Patch(Target.SERVICES, service.name, _encode(body), subresource="status")]


def _diff_witness(service: ServiceView, last: SliceView) -> list[Write]:
    """What a leader Service must say of the last leader before the slice goes that knows more. It may outlive
    the slice, and an epoch that nobody remembers would be used again."""
    if epoch_of(service.annotations) >= epoch_of(last.annotations):
        return []
    endpoint = last.endpoints[0] if last.endpoints else None
    name = endpoint.target_name or None if endpoint else None
    said = {
        contract.EPOCH: last.annotations[contract.EPOCH],
        contract.LEADER_POD_UID: endpoint.target_uid or None if endpoint else None,
        contract.LEADER_POD_NAME: name,
        contract.CURRENT_LEADER: name,
    }
    metadata = {"annotations": said, "resourceVersion": service.resource_version}
    return [Patch(Target.SERVICES, service.name, _encode({"metadata": metadata}))]


# --- the EndpointSlices -------------------------------------------------------------------------------------


def _diff_slice(observed: SliceView | None, wanted: Json, serve: Serve, index: int) -> list[Write]:
    name = wanted["metadata"]["name"]
    if observed is None:
        return [Create(Target.SLICES, name, _encode(wanted), urgent=True)]
    if observed.address_type != wanted["addressType"]:  # immutable
        return [] if observed.terminating else [_delete(Target.SLICES, observed)]
    body: Json = {}
    metadata: Json = {}
    if observed.endpoints != serve.endpoints(index):
        body["endpoints"] = wanted["endpoints"]
    if observed.ports != serve.ports:
        body["ports"] = wanted["ports"]
    urgent = bool(body)
    labels = wanted["metadata"]["labels"]
    stale = dict.fromkeys(observed.copies.labels)
    if stale.keys() - labels.keys() or any(observed.labels.get(k) != v for k, v in labels.items()):
        metadata["labels"] = stale | labels
    # The trigger time rides along with a change of routing; alone it is no news.
    if urgent or observed.annotations.get(contract.EPOCH) != str(serve.epoch):
        metadata["annotations"] = wanted["metadata"]["annotations"]
    owner = wanted["metadata"]["ownerReferences"]
    if observed.owner is None or observed.owner.uid != owner[0]["uid"]:
        metadata["ownerReferences"] = owner
    if not body and not metadata:
        return []
    metadata["resourceVersion"] = observed.resource_version
    return [Patch(Target.SLICES, name, _encode({"metadata": metadata, **body}), urgent=urgent)]


def _withdraw(snapshot: Snapshot) -> list[Write]:
    slices = owned_slices(snapshot, "")
    if slices:
        last = max(slices, key=lambda s: epoch_of(s.annotations))
        writes = [write for service in _owned_services(snapshot) for write in _diff_witness(service, last)]
        if writes:
            return writes
    return _delete_slices(slices)


def _delete_slices(unwanted: list[SliceView]) -> list[Write]:
    """What a finalizer holds is not deleted twice; but proxies still follow it, so it must lead nowhere."""
    return [
        _empty(s) if s.terminating else _delete(Target.SLICES, s)
        for s in unwanted
        if not s.terminating or s.endpoints
    ]


def _empty(observed: SliceView) -> Patch:
    metadata = {"resourceVersion": observed.resource_version}
    body = _encode({"metadata": metadata, "endpoints": []})
    return Patch(Target.SLICES, observed.name, body, urgent=True)


# --- shared -------------------------------------------------------------------------------------------------


def _delete(target: Target, observed: ServiceView | SliceView) -> Delete:
    # A deletion that arrives late must not take what has been put to use again meanwhile.
    seen = {"uid": observed.uid, "resourceVersion": observed.resource_version}
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": seen}
    return Delete(target, observed.name, _encode(options))


def _encode(body: Json) -> bytes:
    return msgspec.json.encode(body)
