"""Which Services are refused, and with what words.

Knows what makes a leader Service impossible or another's. Refuses to know pods.
Rule: every refusal says what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.lead import contract
from zenlead.lead.desired import Blocked
from zenlead.lead.ownership import orphaned, owned

if TYPE_CHECKING:
    from zenlead.lead.contract import Policy
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import ServiceView

# The server takes more, but the API promises no more to whoever reads slices (EndpointSlice, field ports).
MAX_PORTS = 100


def refusal(snapshot: Snapshot, source: ServiceView, policy: Policy) -> Blocked | None:
    """Why the opted-in ``source`` (with the ports that its leader Service would have) cannot be served, or
    None."""

    def invalid(message: str) -> Blocked:
        return Blocked("InvalidService", message, withdraw=not policy.paused, policy=policy)

    if source.type == "ExternalName":
        return invalid("a Service of type ExternalName has no pods to lead; give it a selector or opt out")
    if not source.selector:
        return invalid("the Service has no selector, so no pod can lead; set spec.selector or opt out")
    if len(policy.leader_name) > contract.MAX_NAME:
        return invalid(
            f"the leader Service's name {policy.leader_name} has {len(policy.leader_name)} characters, "
            f"allowed are {contract.MAX_NAME}; set the annotation {contract.LEADER_SERVICE_NAME}"
        )
    if len(source.ports) > MAX_PORTS:
        return invalid(
            f"the leader Service would have {len(source.ports)} ports, allowed are {MAX_PORTS}; name those "
            f"that it needs in the annotation {contract.PORTS_MODE}: subset:<name>,<name>"
        )
    rival = _stronger_rival(snapshot, source)
    if rival is not None:
        return invalid(
            f"the leader Service name {policy.leader_name} is already claimed by Service {rival.name}; "
            f"set another {contract.LEADER_SERVICE_NAME}"
        )
    if snapshot.at_name is not None and not owned(snapshot.at_name, source):
        if orphaned(snapshot.at_name, source):  # the garbage collector removes it; its going is a change
            return Blocked("", "waiting for what an earlier life left", withdraw=False, policy=policy)
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
