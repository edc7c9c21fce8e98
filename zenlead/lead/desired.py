"""What a decision looks at, and what it can say: the values between the caches and the writes.

Knows the fields and what they promise. Refuses to know how either side is made.
Rule: a closed union; whoever matches on Desired ends with assert_never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from zenlead.lead.contract import Policy, Problem, Reason, Routing
    from zenlead.lead.passed import PassedOver
    from zenlead.lead.ports import Unresolved
    from zenlead.lead.views import EndpointView, PodView, ServiceView, SlicePort, SliceView


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
    """The pod to route to, with its endpoint in each family (in the order of ``Serve.families``); None for a
    preferred family of which it has no address."""

    pod: PodView
    endpoints: tuple[EndpointView | None, ...]
    ports: tuple[SlicePort, ...]


class Absent(msgspec.Struct, frozen=True):
    """The Service is out or gone: nothing of ours should exist for it."""


class Blocked(msgspec.Struct, frozen=True):
    """The Service cannot be served. ``event`` is the Warning's reason (empty: it will be soon, so nothing is
    told), ``message`` says what to do.

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
    passed_over: tuple[PassedOver, ...] = ()  # pods that one thing only keeps from being fit; a few of them
    trigger_at: float | None = None  # when the change that moves the leader happened, Unix seconds
    wake_at: float | None = None  # decide again then, Unix seconds
    decided_at: float = 0.0  # the ``now`` of the decision, Unix seconds
    service: ServiceView | None = None  # the leader Service as it is; None: to be made
    obstacle: Blocked | None = None  # why it is served under the name that it had, not the one it asks for

    def endpoints(self, index: int) -> tuple[EndpointView, ...]:
        """What the slice of the family at ``index`` routes to: one endpoint, or none."""
        endpoint = self.leader.endpoints[index] if self.leader else None
        return (endpoint,) if endpoint else ()


Desired: TypeAlias = Absent | Blocked | Serve


def problems_of(desired: Desired) -> tuple[Problem, ...]:
    """The annotation problems that the decision met, whatever it was."""
    return () if isinstance(desired, Absent) else desired.policy.problems
