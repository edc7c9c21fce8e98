"""The decision: from one snapshot of the cluster around a Service to what should be.

Knows when a leader stays, when it goes and who comes next. Refuses to know the API, the clock, or what was
decided before: who leads now is read from the observed EndpointSlice, so a restart changes nothing.
Rule: a pod that is not fit never gets traffic, and traffic never goes away while a fit pod exists.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from zenlead.lead import contract
from zenlead.lead.addresses import address, families_needed, families_served
from zenlead.lead.choose import Choice, choose
from zenlead.lead.contract import Policy, Reason, Routing
from zenlead.lead.desired import Absent, Desired, Leader, Routed, Serve, Snapshot
from zenlead.lead.ownership import owned
from zenlead.lead.passed import passed_over
from zenlead.lead.ports import Unresolved, narrowed, resolve
from zenlead.lead.refuse import refusal
from zenlead.lead.routed import read_routed
from zenlead.lead.select import Need, is_candidate, pod_problems, priority, unfit
from zenlead.lead.views import EndpointView, PodView, ServiceView, SlicePort

if TYPE_CHECKING:
    from collections.abc import Callable


def decide(snapshot: Snapshot, now: float) -> Desired:
    """What should exist for the Service; ``now`` in Unix seconds. Deterministic in its arguments."""
    source = snapshot.source
    if source is None or not contract.opted_in(source.annotations):
        return Absent()
    policy = contract.parse_policy(source.name, source.annotations)
    source, policy = narrowed(source, policy)
    blocked = refusal(snapshot, source, policy)
    if blocked is None:
        return _serve(snapshot, source, policy, now)
    former = None if blocked.withdraw or policy.paused else _former(snapshot, source)
    if former is None:
        return blocked
    # The name that it asks for is another's. Until that is settled, whoever uses the old one is served.
    kept = msgspec.structs.replace(policy, leader_name=former.name)
    serve = _serve(msgspec.structs.replace(snapshot, at_name=former), source, kept, now)
    return msgspec.structs.replace(serve, obstacle=blocked)


def _former(snapshot: Snapshot, source: ServiceView) -> ServiceView | None:
    """The leader Service from before a rename that cannot be made."""
    ours = (s for s in snapshot.services if owned(s, source) and not s.terminating)
    return min(ours, key=lambda s: s.name, default=None)


def _serve(snapshot: Snapshot, source: ServiceView, policy: Policy, now: float) -> Serve:
    policy = _with_pod_problems(policy, snapshot.pods)
    families = families_served(snapshot.at_name, source)
    need = Need(source, families_needed(families, source))
    routed = read_routed(snapshot, policy)
    pick = partial(choose, snapshot.pods, routed.uid, policy=policy, now=now)
    choice = _choose(pick, need, families, routed, policy)
    chosen = choice.pod
    moved = (chosen.uid if chosen else "") != routed.uid
    resolved, unresolved = _ports(source, chosen, snapshot.pods, routed)
    return Serve(
        policy=policy,
        source=source,
        families=families,
        leader=_leader(chosen, families, resolved, snapshot) if chosen else None,
        routed=routed,
        epoch=_epoch(routed, source, chosen, now),
        reason=_reason(snapshot, need, routed, choice.fit) if moved else None,
        routing=_routing(snapshot, choice, policy, unresolved),
        available=len(choice.fit),
        ports=resolved,
        unresolved=unresolved,
        passed_over=passed_over(snapshot.pods, choice.fit, need),
        # A slice that has to be made is a change of routing too, whoever leads.
        trigger_at=_trigger(snapshot.routed_pod, chosen, routed, now)
        if moved or not snapshot.slices
        else None,
        wake_at=choice.wake_at,
        decided_at=now,
        service=snapshot.at_name,
    )


def _epoch(routed: Routed, source: ServiceView, chosen: PodView | None, now: float) -> int:
    """One more with each new leader. Where none is known, whoever deleted our objects took it along; the age
    of the source in milliseconds is higher than any that was used: no leadership is written in less."""
    if chosen is None or (routed.epoch and chosen.uid == routed.uid):
        return routed.epoch
    return (routed.epoch or max(0, int((now - source.created) * 1000))) + 1


def _with_pod_problems(policy: Policy, pods: tuple[PodView, ...]) -> Policy:
    found = tuple(problem for pod in pods if pod.marked for problem in pod_problems(pod))
    return msgspec.structs.replace(policy, problems=policy.problems + found) if found else policy


def _choose(
    pick: Callable[[Need], Choice], need: Need, families: tuple[str, ...], routed: Routed, policy: Policy
) -> Choice:
    """Of equal priority, whoever is new has rather an address of every family. Who leads and may stay need
    not go for the want of one."""
    choice = pick(need)
    if choice.pod is None or need.families == families:
        return choice
    if choice.pod.uid == routed.uid and (policy.sticky or choice.pod not in choice.fit):
        return choice
    whole = pick(Need(need.source, families))
    if whole.pod is None or whole.kept_unfit or priority(whole.pod) < priority(choice.pod):
        return choice
    return msgspec.structs.replace(choice, pod=whole.pod)


def _reason(snapshot: Snapshot, need: Need, routed: Routed, fit: tuple[PodView, ...]) -> Reason:
    if not routed.uid:
        return Reason.ELECTED
    pod = next((pod for pod in snapshot.pods if pod.uid == routed.uid), snapshot.routed_pod)
    if pod is None or pod.uid != routed.uid:
        return Reason.DELETED
    return Reason.PREEMPTED if pod in fit else unfit(pod, need) or Reason.DESELECTED


def _ports(
    source: ServiceView, chosen: PodView | None, pods: tuple[PodView, ...], routed: Routed
) -> tuple[tuple[SlicePort, ...], Unresolved | None]:
    """The slice's ports: the chosen pod's; with nobody chosen, those of a selected pod (and what fails)."""
    if chosen is not None:
        resolved = resolve(source.ports, chosen)
        return (resolved, None) if isinstance(resolved, tuple) else ((), resolved)
    unresolved = None
    for pod in sorted(pods, key=lambda p: (p.uid != routed.uid, p.created, p.name)):
        resolved = resolve(source.ports, pod)
        if isinstance(resolved, tuple):
            return resolved, None
        unresolved = unresolved or resolved
    return (), unresolved


def _leader(
    pod: PodView, families: tuple[str, ...], ports: tuple[SlicePort, ...], snapshot: Snapshot
) -> Leader:
    zones = dict(snapshot.zones)

    def endpoint(ip: str | None) -> EndpointView | None:
        if ip is None:
            return None
        return EndpointView(
            addresses=(ip,),
            ready=True,
            serving=True,
            terminating=False,
            node=pod.node or None,
            zone=zones.get(pod.node) or None,
            target_kind="Pod",
            target_namespace=pod.namespace,
            target_name=pod.name,
            target_uid=pod.uid,
        )

    return Leader(pod, tuple(endpoint(address(pod, family)) for family in families), ports)


def _routing(snapshot: Snapshot, choice: Choice, policy: Policy, unresolved: Unresolved | None) -> Routing:
    if policy.paused:
        return Routing.PAUSED
    if choice.pod is not None and not choice.kept_unfit:
        return Routing.LEADER_ELECTED
    if not any(is_candidate(pod) for pod in snapshot.pods):
        return Routing.NO_PODS_FOUND
    return Routing.PORT_UNRESOLVED if unresolved else Routing.NO_READY_PODS


def _trigger(previous: PodView | None, chosen: PodView | None, routed: Routed, now: float) -> float:
    """When the change happened that moves the leader: the newest time that the lost pod can tell, or, when
    nobody led, since when the new one is ready."""
    lost = previous if previous is not None and previous.uid == routed.uid else None
    told = [
        time
        for time in (
            lost.deleted_at if lost else None,
            lost.unready_since if lost else None,
            chosen.ready_since if chosen and not routed.uid else None,
        )
        if time is not None and time <= now  # deletionTimestamp lies in the future by the grace period
    ]
    return max(told, default=now)
