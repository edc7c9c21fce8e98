"""Worlds for the demo's tests, made without a server."""

from __future__ import annotations

from zenlead.lead import contract
from zenlead.lead.views import EndpointView, PodView, ServiceView, SliceView
from zenlead.sandbox.demo_failovers import Endpoint, Failover
from zenlead.sandbox.demo_referee import Breach, Referee
from zenlead.sandbox.demo_world import LABELS, LEADER_SERVICE, NAMESPACE, PORTS, SERVICE, World

OPTED_IN = {contract.ENABLED: "true"}


def pod(index: int, *, ready: bool = True, generation: int = 1, deleted: bool = False) -> PodView:
    return PodView(
        namespace=NAMESPACE,
        name=f"web-{index}",
        uid=f"uid-{index}-{generation}",
        labels=LABELS,
        created=0.0,
        phase="Running",
        ready_since=1.0 if ready else None,
        deleted_at=5.0 if deleted else None,
        ips=(f"10.244.0.1{index}",),
    )


def a_slice(*leads: PodView, epoch: int = 1, edits: int = 0) -> SliceView:
    """The slice as zenlead writes it; ``edits`` are somebody else's, who leaves its marks alone."""
    return SliceView(
        namespace=NAMESPACE,
        name=LEADER_SERVICE,
        uid="slice",
        resource_version=f"{epoch}{edits}",
        labels={contract.SERVICE_NAME: LEADER_SERVICE},
        annotations={contract.EPOCH: str(epoch)},
        address_type="IPv4",
        endpoints=tuple(
            EndpointView(addresses=lead.ips, ready=True, target_name=lead.name, target_uid=lead.uid)
            for lead in leads
        ),
        ports=(),
    )


def world(*pods: PodView, held: SliceView | None, annotations: dict[str, str] = OPTED_IN) -> World:
    source = ServiceView(NAMESPACE, SERVICE, "svc", annotations=annotations, selector=LABELS, ports=PORTS)
    return World(
        exists=True,
        source=source if contract.ENABLED in annotations else None,
        pods={one.name: one for one in pods},
        slices=() if held is None else (held,),
    )


def endpoint(of: PodView) -> Endpoint:
    return Endpoint(of.name, of.uid, of.ips[0], 8080)


class Hearing:
    """A referee, and what it told. It starts with pod 0 leading three fit pods."""

    def __init__(self) -> None:
        self.failovers: list[Failover] = []
        self.breaches: list[Breach] = []
        self.referee = Referee(self.failovers.append, self.breaches.append)
        self.pods = [pod(0), pod(1), pod(2)]
        self.referee.see(0.0, world(*self.pods, held=a_slice(self.pods[0], epoch=1)))
        self.referee.heard(0.001, endpoint(self.pods[0]))
        self.referee.answered(0.01, 0.011, endpoint(self.pods[0]), "web-0")

    @property
    def broken(self) -> list[str]:
        return [breach.promise.name for breach in self.breaches]
