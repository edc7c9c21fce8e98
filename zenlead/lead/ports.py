"""Which ports a leader Service has, and where they lead on one pod.

Knows ports-mode and targetPort resolution: by number, or by name AND protocol, first match in container
order.
Refuses to guess: a name that the pod does not declare fails closed, with the port that is at fault.
Source: Kubernetes Service, "Field spec reference: targetPort"; a name is matched with its protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zenlead.lead import contract
from zenlead.lead.contract import Problem
from zenlead.lead.views import PodView, ServicePort, SlicePort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zenlead.lead.contract import Policy
    from zenlead.lead.views import ServiceView


class Unresolved(msgspec.Struct, frozen=True):
    """The target port that the pod does not have, e.g. ``dns/UDP``."""

    port_name: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.port_name}/{self.protocol}"


def narrowed(source: ServiceView, policy: Policy) -> tuple[ServiceView, Policy]:
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


def resolve(ports: Sequence[ServicePort], pod: PodView) -> tuple[SlicePort, ...] | Unresolved:
    """The slice ports for ``ports`` on ``pod``, in the Service's order and under the Service's names."""
    resolved: list[SlicePort] = []
    for port in ports:
        number = _target(port, pod)
        if number is None:
            return Unresolved(str(port.target_port), port.protocol)
        resolved.append(SlicePort(port.name, number, port.protocol, port.app_protocol))
    return tuple(resolved)


def _target(port: ServicePort, pod: PodView) -> int | None:
    if port.target_port is None:
        return port.port
    if isinstance(port.target_port, int):
        return port.target_port
    return next(
        (
            declared.port
            for declared in pod.ports
            if declared.name == port.target_port and declared.protocol == port.protocol
        ),
        None,
    )
