"""The columns that ``kubectl get`` shows for each kind.

Knows which fields make which cell. Refuses to know requests and the Table object (tables.py). The rule: a
cell is made of the stored body alone, and of the age that the caller hands in.
Source: what a real API server prints for these kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, LEASES, NODES, PODS, SERVICES, Resource
from zenlead.sandbox.kinds import CORE_EVENTS, NAMESPACES
from zenlead.sandbox.objects import Body

# Turns a timestamp (or null) into an age such as 5m3s.
Age = Callable[[Any], str]
Cells = Callable[[Body, Age], list[Any]]
MAX_SHOWN = 3  # addresses or ports of a slice in one cell


class Column(msgspec.Struct, frozen=True):
    """One column. ``priority`` above 0 is shown with ``-o wide`` only."""

    name: str
    priority: int = 0
    type: str = "string"


class Columns(msgspec.Struct, frozen=True):
    """The columns of a kind and how a body fills them."""

    columns: tuple[Column, ...]
    cells: Cells


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


def _created(body: Body, age: Age) -> str:
    return age(body["metadata"].get("creationTimestamp"))


def _plain(body: Body, age: Age) -> list[Any]:
    return [_name(body), _created(body, age)]


def _pod(body: Body, age: Age) -> list[Any]:
    spec, status = body["spec"], body.get("status", {})
    containers = status.get("containerStatuses") or []
    ready = sum(1 for one in containers if one.get("ready"))
    gates = spec.get("readinessGates")
    return [
        _name(body),
        f"{ready}/{len(spec['containers'])}",
        _pod_state(body, containers),
        str(sum(one.get("restartCount", 0) for one in containers)),
        _created(body, age),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"0/{len(gates)}" if gates else "<none>",
    ]


def _pod_state(body: Body, containers: list[Body]) -> str:
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for one in containers:
        state = one.get("state") or {}
        for name in ("waiting", "terminated"):
            reason = (state.get(name) or {}).get("reason")
            if reason:
                return str(reason)
    status = body.get("status", {})
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _service(body: Body, age: Age) -> list[Any]:
    spec = body["spec"]
    ports = ",".join(
        f"{port['port']}:{port['nodePort']}/{port['protocol']}"
        if port.get("nodePort")
        else f"{port['port']}/{port['protocol']}"
        for port in spec.get("ports") or ()
    )
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    external = {"LoadBalancer": "<pending>", "ExternalName": spec.get("externalName", "")}
    return [
        _name(body),
        spec["type"],
        spec.get("clusterIP") or "<none>",
        external.get(spec["type"], "<none>"),
        ports or "<none>",
        _created(body, age),
        selector or "<none>",
    ]


def _slice(body: Body, age: Age) -> list[Any]:
    ports = [str(port.get("port") or "*") for port in body.get("ports") or ()]
    addresses = [address for one in body.get("endpoints") or () for address in one.get("addresses") or ()]
    return [
        _name(body),
        body.get("addressType", ""),
        _shortened(ports),
        _shortened(addresses),
        _created(body, age),
    ]


def _shortened(entries: list[str]) -> str:
    if not entries:
        return "<unset>"
    more = len(entries) - MAX_SHOWN
    return ",".join(entries[:MAX_SHOWN]) + (f" + {more} more..." if more > 0 else "")


def _event(body: Body, age: Age) -> list[Any]:
    subject = body.get("involvedObject") or {}
    series = body.get("series") or {}
    last = series.get("lastObservedTime") or body.get("lastTimestamp") or body.get("eventTime")
    first = body.get("firstTimestamp") or body.get("eventTime")
    return [
        age(last),
        body.get("type", ""),
        body.get("reason", ""),
        f"{subject.get('kind', '').lower()}/{subject.get('name', '')}",
        subject.get("fieldPath", ""),
        body.get("reportingComponent") or (body.get("source") or {}).get("component", ""),
        (body.get("message") or "").strip(),
        age(first),
        series.get("count") or body.get("count") or 1,
        _name(body),
    ]


def _lease(body: Body, age: Age) -> list[Any]:
    return [_name(body), body["spec"].get("holderIdentity", ""), _created(body, age)]


def _node(body: Body, age: Age) -> list[Any]:
    status = body.get("status", {})
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    states = ["Ready" if conditions.get("Ready") == "True" else "NotReady"]
    if body["spec"].get("unschedulable"):
        states.append("SchedulingDisabled")
    addresses = {one["type"]: one["address"] for one in status.get("addresses") or ()}
    info = status.get("nodeInfo") or {}
    return [
        _name(body),
        ",".join(states),
        "<none>",
        _created(body, age),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
    ]


def _namespace(body: Body, age: Age) -> list[Any]:
    return [_name(body), body.get("status", {}).get("phase", ""), _created(body, age)]


def _columns(*names: str, wide: tuple[str, ...] = ()) -> tuple[Column, ...]:
    return (*(Column(name) for name in names), *(Column(name, 1) for name in wide))


PLAIN = Columns(_columns("Name", "Age"), _plain)
_EVENT_COLUMNS = (
    *_columns("Last Seen", "Type", "Reason", "Object"),
    *_columns(wide=("Subobject", "Source")),
    Column("Message"),
    Column("First Seen", 1),
    Column("Count", 1, "integer"),
    Column("Name", 1),
)
COLUMNS: dict[Resource, Columns] = {
    PODS: Columns(
        _columns(
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            wide=("IP", "Node", "Nominated Node", "Readiness Gates"),
        ),
        _pod,
    ),
    SERVICES: Columns(
        _columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)), _service
    ),
    ENDPOINT_SLICES: Columns(_columns("Name", "AddressType", "Ports", "Endpoints", "Age"), _slice),
    CORE_EVENTS: Columns(_EVENT_COLUMNS, _event),
    EVENTS: Columns(_EVENT_COLUMNS, _event),
    LEASES: Columns(_columns("Name", "Holder", "Age"), _lease),
    NODES: Columns(
        _columns("Name", "Status", "Roles", "Age", "Version", wide=("Internal-IP", "External-IP")), _node
    ),
    NAMESPACES: Columns(_columns("Name", "Status", "Age"), _namespace),
}
