"""Which rules each kind has, and the short rules of the small kinds.

Knows one ``Rules`` per storage. Refuses to know requests. The rule: a kind differs from another only by what
stands in its ``Rules``; no other room asks for a kind by name.
Source: Kubernetes API reference of each kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zenlead.kube.resources import EVENTS
from zenlead.sandbox import pod_rules, slice_rules
from zenlead.sandbox.service_ips import ServiceAddresses
from zenlead.sandbox.service_rules import ServiceRules
from zenlead.sandbox.validation import (
    bad,
    check_dns_label,
    check_immutable,
    check_qualified_name,
    check_subdomain,
    required,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.objects import Body, Objects
    from zenlead.sandbox.refusals import Cause

EVENT_TEXT_MAX = 128  # bytes of an Event's reason, action and reporting instance
EVENT_NOTE_MAX = 1024  # bytes of an Event's note


class Rules(msgspec.Struct, frozen=True):
    """What makes a kind a kind. ``counts`` lists what raises metadata.generation (nothing: it has none)."""

    default: Callable[[Body, Body | None], None]
    check: Callable[[Body], list[Cause]]
    check_change: Callable[[Body, Body], list[Cause]]
    status: Body | None = None  # what status is set to on creation; None: the client's is taken
    counts: tuple[str, ...] = ()
    counts_labels: bool = False


def rules_by_storage(objects: Objects, service_ranges: Sequence[str]) -> dict[str, Rules]:
    """The rules of every stored kind."""
    services = ServiceRules(ServiceAddresses(objects, service_ranges))
    return {
        "configmaps": Rules(_nothing, _check_name, _no_change),
        "events": Rules(_default_event, _check_name, _check_event_change),
        "namespaces": Rules(_default_namespace, _check_namespace, _no_change, {"phase": "Active"}),
        "nodes": Rules(_default_node, _check_name, _no_change),
        "pods": Rules(
            pod_rules.default, pod_rules.check, pod_rules.check_change, {"phase": "Pending"}, ("spec",)
        ),
        "services": Rules(services.default, services.check, services.check_change, {"loadBalancer": {}}),
        "endpointslices": Rules(
            slice_rules.default,
            slice_rules.check,
            slice_rules.check_change,
            counts=("addressType", "endpoints", "ports"),
            counts_labels=True,
        ),
        "leases": Rules(_default_lease, _check_lease, _no_change),
    }


def _nothing(body: Body, old: Body | None) -> None:
    del body, old


def _no_change(new: Body, old: Body) -> list[Cause]:
    del new, old
    return []


def _check_name(body: Body) -> list[Cause]:
    return check_subdomain("metadata.name", body["metadata"]["name"])


def _default_namespace(body: Body, old: Body | None) -> None:
    del old
    body.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    labels = body["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = body["metadata"].get("name", "")


def _check_namespace(body: Body) -> list[Cause]:
    return check_dns_label("metadata.name", body["metadata"]["name"])


def _default_node(body: Body, old: Body | None) -> None:
    del old
    body.setdefault("spec", {})
    body.setdefault("status", {})


def _default_lease(body: Body, old: Body | None) -> None:
    del old
    body.setdefault("spec", {})


def _check_lease(body: Body) -> list[Cause]:
    spec, causes = body["spec"], _check_name(body)
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        causes.append(bad("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        causes.append(bad("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return causes


def _default_event(body: Body, old: Body | None) -> None:
    del old
    for name in ("eventTime", "firstTimestamp", "lastTimestamp"):
        body.setdefault(name, None)
    for name in ("reportingComponent", "reportingInstance"):
        body.setdefault(name, "")
    body.setdefault("source", {})
    body.setdefault("involvedObject", {})


def _check_event_change(new: Body, old: Body) -> list[Cause]:
    """An Event of the newer kind stays as it was, but for its series."""
    if old["eventTime"] is None:
        return []
    return [
        cause
        for name in (
            "eventTime",
            "reason",
            "action",
            "message",
            "type",
            "involvedObject",
            "reportingComponent",
        )
        for cause in check_immutable(name, new.get(name), old.get(name))
    ]


def check_new_event(kind: Kind, body: Body) -> list[Cause]:
    """What a new Event must say, in the stored (core v1) spelling; the newer API asks for more."""
    subject = body["involvedObject"].get("namespace", "")
    namespace = body["metadata"].get("namespace", "")
    newer = kind.resource == EVENTS
    causes: list[Cause] = []
    strays = (subject != namespace and not newer) if subject else namespace not in ("default", "kube-system")
    if strays:
        causes.append(bad("involvedObject.namespace", subject, "does not match event.namespace"))
    if not newer and body["eventTime"] is None:
        return causes
    if body["eventTime"] is None:
        causes.append(required("eventTime"))
    if not body["reportingComponent"]:
        causes.append(required("reportingController"))
    else:
        causes += check_qualified_name("reportingController", body["reportingComponent"])
    for name, value in (
        ("reportingInstance", body["reportingInstance"]),
        ("action", body.get("action", "")),
        ("reason", body.get("reason", "")),
    ):
        if not value:
            causes.append(required(name))
        elif len(value.encode()) > EVENT_TEXT_MAX:
            causes.append(bad(name, "", f"can have at most {EVENT_TEXT_MAX} characters"))
    if body.get("type") not in ("Normal", "Warning"):
        causes.append(unsupported("type", body.get("type", ""), ("Normal", "Warning")))
    if len(body.get("message", "").encode()) > EVENT_NOTE_MAX:
        causes.append(bad("message", "", f"can have at most {EVENT_NOTE_MAX} characters"))
    return causes
