"""The decision: from one snapshot of the cluster around a Service to what should be.

Knows when a leader stays, when it goes and who comes next. Refuses to know the API, the clock, or what was
decided before: who leads now is read from the observed EndpointSlice, so a restart changes nothing.
Rule: a pod that is not fit never gets traffic, and traffic never goes away while a fit pod exists.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from zenlead.lead import contract
from zenlead.lead.choose import Choice, choose
from zenlead.lead.contract import Policy, Problem, Reason, Routing
from zenlead.lead.ownership import owned, owned_slices
from zenlead.lead.ports import Unresolved, resolve
from zenlead.lead.select import Need, address, best, is_candidate, pod_problems, unfit
from zenlead.lead.views import EndpointView, PodView, ServiceView, SlicePort, SliceView

ADDRESS_FAMILIES = ("IPv4", "IPv6")


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that a decision about the Service ``namespace/name`` may look at, at one moment."""

    namespace: str
    name: str
    source: ServiceView | None  # None: there is no such Service
    pods: tuple[PodView, ...] = ()  # those that the selector matches
    routed_pod: PodView | None = None  # the pod that the slice points to, selected or not
    at_name: ServiceView | None = None  # whatever Service has the leader's name
    services: tuple[ServiceView, ...] = ()  # leader Services of ours for this source, under any name
    slices: tuple[SliceView, ...] = ()  # EndpointSlices of ours for this source, under any name
    rivals: tuple[ServiceView, ...] = ()  # other opted-in Services that claim the same leader name
    zones: tuple[tuple[str, str], ...] = ()  # node name -> zone, for the nodes of these pods


class Routed(msgspec.Struct, frozen=True):
    """Who is routed to now, as the observed objects say. ``uid`` is empty when nobody is."""

    uid: str = ""
    name: str = ""
    epoch: int = 0


class Leader(msgspec.Struct, frozen=True):
    """The pod to route to, with the endpoint of each family (in the order of ``Serve.families``)."""

    pod: PodView
    endpoints: tuple[EndpointView, ...]
    ports: tuple[SlicePort, ...]


class Absent(msgspec.Struct, frozen=True):
    """The Service is out or gone: nothing of ours should exist for it."""


class Blocked(msgspec.Struct, frozen=True):
    """The Service cannot be served. ``event`` is the Warning's reason, ``message`` says what to do.

    ``withdraw``: our slices are to go (the source makes no sense); otherwise everything stays as it is.
    """

    event: str
    message: str
    withdraw: bool
    policy: Policy


class Serve(msgspec.Struct, frozen=True):
    """The leader Service and its slices should exist, routing to ``leader`` (None: to nobody)."""

    policy: Policy
    source: ServiceView
    families: tuple[str, ...]
    leader: Leader | None
    routed: Routed
    epoch: int
    reason: Reason | None  # why the routing changes; None when it stays
    routing: Routing
    available: int  # fit pods
    ports: tuple[SlicePort, ...]  # ports of the slices when nobody leads
    unresolved: Unresolved | None = None
    trigger_at: float | None = None  # when the change that moves the leader happened, Unix seconds
    wake_at: float | None = None  # decide again then, Unix seconds
    decided_at: float = 0.0  # the ``now`` of the decision, Unix seconds


Desired: TypeAlias = Absent | Blocked | Serve


def decide(snapshot: Snapshot, now: float) -> Desired:
    """What should exist for the Service; ``now`` in Unix seconds. Deterministic in its arguments."""
    source = snapshot.source
    if source is None or not contract.opted_in(source.annotations):
        return Absent()
    policy = contract.parse_policy(source.name, source.annotations)
    return _refusal(snapshot, source, policy) or _serve(snapshot, source, policy, now)


def _refusal(snapshot: Snapshot, source: ServiceView, policy: Policy) -> Blocked | None:
    def invalid(message: str, *, withdraw: bool = True) -> Blocked:
        return Blocked("InvalidService", message, withdraw, policy)

    if source.type == "ExternalName":
        return invalid("a Service of type ExternalName has no pods to lead; give it a selector or opt out")
    if not source.selector:
        return invalid("the Service has no selector, so no pod can lead; set spec.selector or opt out")
    if len(policy.leader_name) > contract.MAX_NAME:
        return invalid(
            f"the leader Service's name {policy.leader_name} has {len(policy.leader_name)} characters, "
            f"allowed are {contract.MAX_NAME}; set the annotation {contract.LEADER_SERVICE_NAME}"
        )
    rival = _stronger_rival(snapshot, source)
    if rival is not None:
        return invalid(
            f"the leader Service name {policy.leader_name} is already claimed by Service {rival.name}; "
            f"set another {contract.LEADER_SERVICE_NAME}"
        )
    if snapshot.at_name is not None and not owned(snapshot.at_name, source):
        return Blocked(
            "LeaderServiceConflict",
            f"a Service {policy.leader_name} that zen-lead does not own is in the way; remove it, or set the "
            f"annotation {contract.LEADER_SERVICE_NAME}",
            withdraw=False,
            policy=policy,
        )
    return None


def _stronger_rival(snapshot: Snapshot, source: ServiceView) -> ServiceView | None:
    """The Service that has the better claim to the leader name: whoever owns it now, else the older one."""
    claims = sorted((*snapshot.rivals, source), key=lambda s: (s.created, s.name))
    if snapshot.at_name is not None:
        claims.sort(key=lambda s: not owned(snapshot.at_name, s))  # stable: age decides among non-owners
    return None if claims[0] is source else claims[0]


def _serve(snapshot: Snapshot, source: ServiceView, policy: Policy, now: float) -> Serve:
    source, policy = _narrowed(source, policy)
    policy = _with_pod_problems(policy, snapshot.pods)
    families = _families(snapshot.at_name, source)
    need = Need(source, families)
    routed = read_routed(snapshot, policy)
    choice = choose(snapshot.pods, routed.uid, need, policy, now)
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
        # A slice that has to be made is a change of routing too, whoever leads.
        trigger_at=_trigger(snapshot.routed_pod, chosen, routed, now)
        if moved or not snapshot.slices
        else None,
        wake_at=choice.wake_at,
        decided_at=now,
    )


def _epoch(routed: Routed, source: ServiceView, chosen: PodView | None, now: float) -> int:
    """One more with each new leader. Where none is known, whoever deleted our objects took it along; the age
    of the source in seconds is higher than any that was used, as long as leaders last a second on average."""
    if chosen is None or (routed.epoch and chosen.uid == routed.uid):
        return routed.epoch
    return (routed.epoch or max(0, int(now - source.created))) + 1


def _narrowed(source: ServiceView, policy: Policy) -> tuple[ServiceView, Policy]:
    """The source with the ports that the leader Service shall have; all if one asked for is not there."""
    if policy.ports is None:
        return source, policy
    known = tuple(port.name for port in source.ports)
    if not set(policy.ports) <= set(known):
        value = source.annotations.get(contract.PORTS_MODE, "")
        allowed = f"mirror, or subset: and some of {', '.join(name or 'no name' for name in known)}"
        problem = Problem(contract.PORTS_MODE, value, allowed)
        return source, msgspec.structs.replace(policy, problems=(*policy.problems, problem))
    kept = tuple(port for port in source.ports if port.name in policy.ports)
    return msgspec.structs.replace(source, ports=kept), policy


def _with_pod_problems(policy: Policy, pods: tuple[PodView, ...]) -> Policy:
    found = tuple(problem for pod in pods if pod.marked for problem in pod_problems(pod))
    return msgspec.structs.replace(policy, problems=policy.problems + found) if found else policy


def _families(leader_service: ServiceView | None, source: ServiceView) -> tuple[str, ...]:
    """What the leader Service really has; until it exists, what the source has."""
    if leader_service is not None and leader_service.ip_families:
        return leader_service.ip_families
    return source.ip_families or ADDRESS_FAMILIES[:1]


def read_routed(snapshot: Snapshot, policy: Policy) -> Routed:
    """Who leads now: the endpoint of the slice, else what the leader Service says.

    The slice is written first, so its higher epoch wins; at the same epoch the two must agree, and a slice
    that names another pod was edited by a stranger.
    """
    slices = owned_slices(snapshot, policy.leader_name)
    slices.sort(key=lambda s: s.name != policy.leader_name)
    source = snapshot.source
    services = [s for s in snapshot.services if source is not None and owned(s, source)]
    services.sort(key=lambda s: s.name != policy.leader_name)
    by_slice = next((_by_slice(s, snapshot.pods) for s in slices if s.endpoints), None)
    said = services[0].annotations if services else {}
    by_service = Routed(
        said.get(contract.LEADER_POD_UID, ""), said.get(contract.LEADER_POD_NAME, ""), epoch_of(said)
    )
    epoch = max((by_service.epoch, *(epoch_of(s.annotations) for s in slices)))
    if by_slice is None and slices:
        return Routed(epoch=epoch)
    if by_slice is None or (by_service.uid and by_service.epoch and by_slice.epoch <= by_service.epoch):
        return Routed(by_service.uid, by_service.name, epoch)
    return Routed(by_slice.uid, by_slice.name, epoch)


def _by_slice(observed: SliceView, pods: tuple[PodView, ...]) -> Routed:
    endpoint = observed.endpoints[0]
    if endpoint.target_uid:
        return Routed(endpoint.target_uid, endpoint.target_name, epoch_of(observed.annotations))
    # A slice without targetRef (an older writer's): the pod that has the address. On the host's network
    # several may have it; then one is as good as another, as long as it is always the same.
    pod = best(pod for pod in pods if set(pod.ips) & set(endpoint.addresses))
    uid, name = (pod.uid, pod.name) if pod else ("", endpoint.target_name)
    return Routed(uid, name, epoch_of(observed.annotations))


def epoch_of(annotations: dict[str, str]) -> int:
    """The leader epoch in annotations; 0 when there is none, or what stands there is no count."""
    value = annotations.get(contract.EPOCH, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0


def _reason(snapshot: Snapshot, need: Need, routed: Routed, fit: tuple[PodView, ...]) -> Reason:
    if not routed.uid:
        return Reason.ELECTED
    pod = snapshot.routed_pod
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
    endpoints = tuple(
        EndpointView(
            addresses=(address(pod, family) or "",),
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
        for family in families
    )
    return Leader(pod, endpoints, ports)


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


def problems_of(desired: Desired) -> tuple[Problem, ...]:
    """The annotation problems that the decision met, whatever it was."""
    return () if isinstance(desired, Absent) else desired.policy.problems
