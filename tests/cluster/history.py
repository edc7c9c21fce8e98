"""What a recorder saw, as the few facts that invariants are about, in the order in which the server did it.

Knows the shapes of objects and that one etcd numbers all changes in one sequence. Refuses to judge. The rule
not to break: what is fit is said here in the words of the outside contract, without zenlead's own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.cluster.recorder import Revision

ENABLED = "zen-lead.io/enabled"
LEADER_NAME = "zen-lead.io/leader-service-name"
EPOCH = "zen-lead.io/leader-epoch"
SOURCE = "zen-lead.io/source-service"
CANDIDATE = "zen-lead.io/candidate"
OWN_PREFIX = "zen-lead.io/"
MANAGED_BY = "app.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
REPORTER = "zen-lead-controller"
GO_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, as far as it matters to who may lead."""

    name: str
    uid: str
    labels: Mapping[str, str]
    ready: bool = True
    phase: str = "Running"
    terminating: bool = False
    ips: tuple[str, ...] = ()
    candidate: bool = True

    def unfit(self, selector: Mapping[str, str]) -> str:
        """Why it may not lead a Service with this selector; empty: it may."""
        reasons = {
            "deselected": not selector.items() <= self.labels.items(),
            "no candidate": not self.candidate,
            "terminating": self.terminating,
            self.phase: self.phase != "Running",
            "NotReady": not self.ready,
            "no address": not self.ips,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")


@dataclass(frozen=True, slots=True)
class Service:
    """A source or a leader Service. ``source`` is empty for what zenlead does not manage."""

    name: str
    uid: str
    selector: Mapping[str, str]
    enabled: bool = True
    wanted: str = ""  # the name of the leader Service that it asks for
    said: tuple[tuple[str, str], ...] = ()  # its zen-lead.io/ annotations, sorted
    source: str = ""
    owner: str = ""  # UID


@dataclass(frozen=True, slots=True)
class Endpoint:
    uid: str
    pod: str
    address: str
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice of a leader Service; ``source`` is empty for what zenlead does not manage."""

    name: str
    service: str
    source: str
    family: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    epoch: int = 0
    owner: str = ""  # UID

    @property
    def ready(self) -> tuple[Endpoint, ...]:
        return tuple(e for e in self.endpoints if e.ready)


@dataclass(frozen=True, slots=True)
class Told:
    """An Event of zenlead's (``reason`` is empty for others'); ``count`` is how often it says it happened."""

    name: str
    about: str
    reason: str
    count: int = 1
    note: str = ""


Fact: TypeAlias = Pod | Service | Slice | Told


@dataclass(frozen=True, slots=True)
class Seen:
    """One change. ``at``: loop time of receipt; ``version``: its place in the server's order; ``now`` is None
    where the object was deleted, and ``fact`` its last state then."""

    at: float
    version: int
    fact: Fact
    deleted: bool = False
    added: bool = False


class Knowledge(NamedTuple):
    """Up to which versions of the world somebody surely knew its pods and its Services."""

    pods: int
    services: int


def history(log: Iterable[Revision]) -> list[Seen]:
    """All that was recorded, in the server's order; times of receipt are made to follow it."""
    found = [_seen(r) for r in log if r.resource in _READ]
    found.sort(key=lambda s: s.version)
    latest = float("-inf")
    ordered: list[Seen] = []
    for seen in found:
        # A watch that lags behind another one does not turn the order of things around.
        latest = max(latest, seen.at)
        ordered.append(Seen(latest, seen.version, seen.fact, seen.deleted, seen.added))
    return ordered


def keep(seen: Iterable[Seen], folder: Path) -> Path:
    """Writes a history down, a change a line, for whoever wants to know what led to a fault."""
    path = folder / "history.txt"
    path.write_text("".join(f"{one}\n" for one in seen))
    return path


def _seen(revision: Revision) -> Seen:
    version = int(revision.body["metadata"]["resourceVersion"])
    fact = _READ[revision.resource](revision.body)
    return Seen(revision.at, version, fact, revision.type == "DELETED", revision.type == "ADDED")


def _pod(body: Any) -> Pod:
    meta, status = body["metadata"], body.get("status") or {}
    said = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        labels=meta.get("labels") or {},
        ready=conditions.get("Ready") == "True",
        phase=status.get("phase") or "",
        terminating="deletionTimestamp" in meta,
        ips=tuple(entry["ip"] for entry in status.get("podIPs") or ()),
        candidate=said.get(CANDIDATE) not in GO_FALSE,
    )


def _service(body: Any) -> Service:
    meta = body["metadata"]
    said, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    return Service(
        name=meta["name"],
        uid=meta["uid"],
        selector=body["spec"].get("selector") or {},
        enabled=said.get(ENABLED) == "true" and "deletionTimestamp" not in meta,
        wanted=said.get(LEADER_NAME) or f"{meta['name']}-leader",
        said=tuple(sorted((k, v) for k, v in said.items() if k.startswith(OWN_PREFIX))),
        source=_source(labels),
        owner=_owner(meta),
    )


def _slice(body: Any) -> Slice:
    meta = body["metadata"]
    labels = meta.get("labels") or {}
    endpoints = [_endpoint(e) for e in body.get("endpoints") or ()]
    epoch = (meta.get("annotations") or {}).get(EPOCH, "")
    return Slice(
        name=meta["name"],
        service=labels.get(SERVICE_NAME, ""),
        source=_source(labels),
        family=body["addressType"],
        endpoints=tuple(endpoints),
        epoch=int(epoch) if epoch.isdigit() else 0,
        owner=_owner(meta),
    )


def _owner(meta: Any) -> str:
    return next((o["uid"] for o in meta.get("ownerReferences") or () if o.get("controller")), "")


def _source(labels: Mapping[str, str]) -> str:
    return labels.get(SOURCE, "") if labels.get(MANAGED_BY) == "zen-lead" else ""


def _endpoint(body: Any) -> Endpoint:
    target = body.get("targetRef") or {}
    ready = (body.get("conditions") or {}).get("ready") is not False
    return Endpoint(target.get("uid", ""), target.get("name", ""), body["addresses"][0], ready)


def _told(body: Any) -> Told:
    series = body.get("series") or {}
    about = (body.get("regarding") or {}).get("name", "")
    reason = body.get("reason", "") if body.get("reportingController") == REPORTER else ""
    count = int(series.get("count") or 1)
    return Told(body["metadata"]["name"], about, reason, count, body.get("note") or "")


_READ: dict[str, Callable[[Any], Fact]] = {
    "pods": _pod,
    "services": _service,
    "endpointslices": _slice,
    "events": _told,
}
