"""What is true of a Service after a pass, as the fact that metrics are made of.

Knows a decision and what it was made from. Refuses to decide, and to know what becomes of the fact. The rule
not to break: it speaks of where traffic goes, and not of where it should.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from zenlead.controller.facts import ServiceState
from zenlead.lead import contract
from zenlead.lead.contract import Reason, Routing
from zenlead.lead.desired import Routed
from zenlead.lead.ownership import owned
from zenlead.lead.routed import epoch_of

if TYPE_CHECKING:
    from zenlead.lead.desired import Blocked, Serve, Snapshot
    from zenlead.lead.views import PodView

NOT_WRITTEN = "NotWritten"  # a pod should lead, and is not routed to yet


def state_of(seen: Snapshot, serve: Serve, *, stable: bool) -> ServiceState:
    pod = _who_leads(seen, serve)
    kept = serve.reason is None and pod is not None
    return ServiceState(
        namespace=seen.namespace,
        service=seen.name,
        pods_available=serve.available,
        leader=pod.name if pod else "",
        leader_since=_leader_since(serve, pod) if pod else None,
        leader_pod_created=pod.created if pod else None,
        stable=stable and kept,
        endpoint_slices=len(seen.slices),
        sticky=_sticky(serve),
        paused=serve.policy.paused,
        leader_services=_leader_services(seen),
        why="" if pod else _why(serve),
    )


def moved_state(seen: Snapshot, serve: Serve, made: int) -> ServiceState:
    """The state right after the writes of ``serve`` came through, ``made`` slices were new among them."""
    leader = serve.leader
    if leader is None:
        raise ValueError("nobody was moved to")
    routed = Routed(leader.pod.uid, leader.pod.name, serve.epoch)
    state = state_of(seen, msgspec.structs.replace(serve, routed=routed), stable=False)
    return msgspec.structs.replace(state, endpoint_slices=state.endpoint_slices + made)


def blocked_state(seen: Snapshot, blocked: Blocked) -> ServiceState:
    return ServiceState(
        namespace=seen.namespace,
        service=seen.name,
        pods_available=0,
        leader="",
        leader_since=None,
        leader_pod_created=None,
        stable=False,
        endpoint_slices=len(seen.slices),
        leader_services=_leader_services(seen),
        why=blocked.event or NOT_WRITTEN,
    )


def _why(serve: Serve) -> str:
    """Why nobody is routed to. Where somebody should be, the write has not come through."""
    return NOT_WRITTEN if serve.routing is Routing.LEADER_ELECTED else serve.routing


def _leader_services(seen: Snapshot) -> int:
    return sum(seen.source is not None and owned(service, seen.source) for service in seen.services)


def _leader_since(serve: Serve, pod: PodView) -> float:
    """Since when the pod leads. Right after a switch the leader Service still speaks of the one before."""
    said = serve.service.annotations if serve.service else {}
    current = said.get(contract.LEADER_POD_UID) == pod.uid and epoch_of(said) in (0, serve.epoch)
    return (_unix(said.get(contract.LAST_SWITCH_TIME)) if current else None) or serve.decided_at


def _who_leads(seen: Snapshot, serve: Serve) -> PodView | None:
    """The pod that is routed to: not one that will be, once the slice can be made."""
    pod = serve.leader.pod if serve.leader else None
    if serve.policy.paused:
        pod = seen.routed_pod  # whoever should lead does not
    return pod if pod is not None and pod.uid == serve.routed.uid else None


def _sticky(serve: Serve) -> str:
    if not serve.policy.sticky or not serve.routed.uid or serve.policy.paused:
        return ""
    return "miss" if serve.reason not in (None, Reason.ELECTED) else "hit"


def _unix(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None
