"""Where a Service's ports lead on one pod.

Knows targetPort resolution: by number, or by name AND protocol, first match in container order.
Refuses to guess: a name that the pod does not declare fails closed, with the port that is at fault.
Source: Kubernetes Service, "Field spec reference: targetPort"; a name is matched with its protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zenlead.lead.views import PodView, ServicePort, SlicePort

if TYPE_CHECKING:
    from collections.abc import Sequence


class Unresolved(msgspec.Struct, frozen=True):
    """The target port that the pod does not have, e.g. ``dns/UDP``."""

    port_name: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.port_name}/{self.protocol}"


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
