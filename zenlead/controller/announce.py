"""What a user is told by Kubernetes Events, and when.

Knows the words. Refuses to know how Events are written or whether this one was told before: ``dedup`` names
the transition, and the recorder tells each transition once.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from zenlead.lead import contract
from zenlead.lead.contract import Reason, Routing
from zenlead.lead.desired import Absent, Blocked, Desired, Serve, problems_of
from zenlead.lead.views import PodView  # noqa: TC001 - a field of a Struct

if TYPE_CHECKING:
    from zenlead.lead.passed import PassedOver


class Announcement(msgspec.Struct, frozen=True):
    """One Event about the source Service; ``related`` is the pod that it is about, if any. ``recurs``: when
    it has gone and comes back, that is news again."""

    warning: bool
    reason: str
    action: str
    note: str
    dedup: str
    related: PodView | None = None
    recurs: bool = False


_WHY = {
    Reason.DELETED: "was deleted",
    Reason.FINISHED: "has finished",
    Reason.TERMINATING: "is terminating",
    Reason.DESELECTED: "is no longer selected, or no candidate any more",
    Reason.NO_IP: "has no usable address",
    Reason.NOT_READY: "is not ready",
    Reason.PORT_UNRESOLVED: "does not resolve every port",
    Reason.PREEMPTED: "was outranked",
}


def warnings(desired: Desired, source_uid: str) -> list[Announcement]:
    """What is wrong as things stand; the same text for as long as it stays wrong in the same way."""
    told = [
        Announcement(
            True,
            "InvalidAnnotation",
            "Parse",
            f"{problem}; the default is used",
            f"{source_uid}/InvalidAnnotation/{problem.annotation}={_digest(problem.value)}",
            recurs=not problem.pod,  # pods come and go, with the same words each time
        )
        for problem in problems_of(desired)
    ]
    if isinstance(desired, Serve):
        told += [_passed_over(it, desired, source_uid) for it in _named(desired)]
    blocked = desired.obstacle if isinstance(desired, Serve) else desired
    if isinstance(blocked, Blocked) and blocked.event:
        dedup = f"{source_uid}/{blocked.event}/{blocked.message}"
        told.append(Announcement(True, blocked.event, "Refuse", blocked.message, dedup, recurs=True))
    match desired:
        case Serve(routing=routing) if routing is not Routing.LEADER_ELECTED:
            told.append(_no_leader(desired, source_uid))
        case _:
            pass
    return told


def _digest(value: str) -> str:
    """Stands for a value of whatever length."""
    return hashlib.sha256(value.encode(errors="replace")).hexdigest()


def _named(serve: Serve) -> list[PassedOver]:
    """The pods that are passed over, without what is told already of all of them together."""
    together = Reason.PORT_UNRESOLVED if serve.routing is Routing.PORT_UNRESOLVED else None
    return [one for one in serve.passed_over if one.reason is not together]


def _passed_over(one: PassedOver, serve: Serve, source_uid: str) -> Announcement:
    reason = "UnusableAddress" if one.reason is Reason.NO_IP else "PortResolutionFailed"
    note = f"pod {one.pod.name} cannot lead Service {serve.policy.leader_name}: {one.why}"
    return Announcement(True, reason, "Elect", note, f"{source_uid}/{reason}/{one.told_as}", one.pod)


def _no_leader(serve: Serve, source_uid: str) -> Announcement:
    name = serve.policy.leader_name
    if serve.routing is Routing.PAUSED:
        note = f"the routing of Service {name} is left as it is while {contract.PAUSED} is true"
        return Announcement(True, "Paused", "Pause", note, f"{source_uid}/Paused/{name}", recurs=True)
    if serve.routing is Routing.PORT_UNRESOLVED and serve.unresolved is not None:
        reason = "NamedPortResolutionFailed"
        note = f"target port {serve.unresolved} resolves on no selected pod; Service {name} routes nowhere"
    elif serve.routing is Routing.NO_PODS_FOUND:
        reason, note = "NoPodsFound", f"the selector matches no pod; Service {name} routes nowhere"
    else:
        reason, note = "NoReadyPods", f"no selected pod is fit to lead; Service {name} routes nowhere"
    # One telling per leadership that was lost: the epoch only moves when somebody leads again.
    return Announcement(True, reason, "Elect", note, f"{source_uid}/{reason}/{name}/{serve.epoch}")


def created(serve: Serve, leader_service_uid: str) -> Announcement:
    name = serve.policy.leader_name
    dedup = f"{leader_service_uid}/created"
    return Announcement(False, "LeaderServiceCreated", "Create", f"created Service {name}", dedup)


def moved(serve: Serve, reason: Reason, leader_service_uid: str) -> list[Announcement]:
    """What the change of routing that was just written is told as."""
    if serve.leader is None:
        return []  # that is a warning
    pod, name = serve.leader.pod, serve.policy.leader_name
    dedup = f"{leader_service_uid}/{serve.epoch}/{pod.uid}"
    if reason is Reason.ELECTED:
        note = f"Service {name} routes to pod {pod.name}"
        return [Announcement(False, "LeaderRoutingAvailable", "Elect", note, dedup, pod)]
    note = f"Service {name} moved from pod {serve.routed.name} to {pod.name}: the former {_WHY[reason]}"
    return [Announcement(False, "LeaderChanged", "Failover", note, dedup, pod)]


def conflict(note: str, source_uid: str) -> Announcement:
    dedup = f"{source_uid}/LeaderServiceConflict/{note}"
    return Announcement(True, "LeaderServiceConflict", "Refuse", f"{note}; remove it", dedup)


def refused(what: str, words: str, source_uid: str) -> Announcement:
    """``what`` could not be written. Numbers in the words of a quota change; it stays the same refusal."""
    note = f"the API server refuses to {what}: {words}"
    dedup = f"{source_uid}/WriteRefused/{what}/{re.sub('[0-9]+', '#', words)}"
    return Announcement(True, "WriteRefused", "Write", note, dedup)


def withdrawn(desired: Desired, name: str, slice_uid: str) -> Announcement:
    why = desired.message if isinstance(desired, Blocked) else "the Service opted out"
    if not isinstance(desired, Absent | Blocked):
        why = "the leader Service has no use for it any more"
    dedup = f"{slice_uid}/withdrawn"
    return Announcement(
        True, "EndpointSliceDeleted", "Withdraw", f"withdrew EndpointSlice {name}: {why}", dedup
    )
