"""What is true in the demo's cluster at one moment, and what changed since the moment before.

Knows the demo's own Service, its pods and the slices beside it. Refuses to ask the controller: fitness is
judged here anew, so that a mistake of the controller cannot hide itself. The rule: a World never changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.lead import contract
from zenlead.lead.views import EndpointView, PodView, ServicePort, ServiceView, SliceView
from zenlead.lead.wire import WirePod, WireService, WireSlice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.sandbox.objects import Objects, Occurrence

NAMESPACE = "default"
SERVICE = "web"
LEADER_SERVICE = SERVICE + contract.LEADER_SUFFIX
POD_NAMES = ("web-0", "web-1", "web-2")
LABELS = {"app": "web"}
PORT = 80
TARGET_PORT = 8080
# The Service as the demo deploys it: a visitor who changes more than pods and the opt-in plays by own rules.
PORTS = (ServicePort(PORT, "http", "TCP", "http"),)

_WATCHED = ("pods", "services", "endpointslices")


class World(msgspec.Struct, frozen=True):
    """One moment. ``exists``: whether the Service is there; ``source`` is None unless it is opted in."""

    exists: bool = False
    source: ServiceView | None = None
    pods: dict[str, PodView] = {}
    slices: tuple[SliceView, ...] = ()

    @property
    def is_as_deployed(self) -> bool:
        """Opted in, and otherwise untouched: the promises hold as the demo states them."""
        source = self.source
        if source is None or source.terminating:
            return False
        plain = source.annotations == {contract.ENABLED: "true"}
        return plain and source.selector == LABELS and source.ports == PORTS

    @property
    def ready_endpoints(self) -> int:
        """How many ready endpoints the slices of one address family have, the worst of them."""
        counts: dict[str, int] = {}
        for held in self.slices:
            ready = sum(1 for endpoint in held.endpoints if endpoint.ready is not False)
            counts[held.address_type] = counts.get(held.address_type, 0) + ready
        return max(counts.values(), default=0)

    @property
    def routed(self) -> EndpointView | None:
        """The endpoint that traffic goes to."""
        endpoints = (endpoint for held in self.slices for endpoint in held.endpoints)
        return next((endpoint for endpoint in endpoints if endpoint.ready is not False), None)

    @property
    def leader(self) -> str:
        """The name of the pod that traffic goes to, or nothing."""
        return self.routed.target_name if self.routed is not None else ""

    @property
    def epoch(self) -> int | None:
        """The leader's epoch, as the slice says."""
        texts = (held.annotations.get(contract.EPOCH, "") for held in self.slices)
        return next((int(text) for text in texts if text.isdigit()), None)

    def fit(self) -> Iterator[PodView]:
        """The pods that may lead."""
        return (pod for pod in self.pods.values() if is_fit(pod))

    def leads_fit(self) -> bool:
        """Whether traffic goes to a pod that is fit, by UID and address."""
        routed = self.routed
        return routed is not None and any(
            pod.uid == routed.target_uid and set(routed.addresses) <= set(pod.ips) for pod in self.fit()
        )


def is_fit(pod: PodView) -> bool:
    """Whether a pod of the demo may lead."""
    up = pod.phase == "Running" and pod.ready_since is not None and pod.deleted_at is None
    asked = pod.candidate is None or pod.candidate.lower() not in ("false", "f", "0")
    return up and bool(pod.ips) and asked and LABELS.items() <= pod.labels.items()


def state(pod: PodView | None) -> str:
    """What is the matter with a pod, in a word or two."""
    if pod is None:
        return "deleted"
    if pod.deleted_at is not None:
        return "terminating"
    if pod.phase != "Running":
        return pod.phase.lower() or "pending"
    if pod.ready_since is None:
        return "not ready"
    return "ready" if is_fit(pod) else "not eligible"


class Sight:
    """Follows the store of the sandbox and keeps ``world``."""

    def __init__(self, objects: Objects) -> None:
        self.world = World()
        self._objects = objects

    def __repr__(self) -> str:
        return f"Sight(leader={self.world.leader!r}, epoch={self.world.epoch}, pods={len(self.world.pods)})"

    def follow(self, occurrence: Occurrence) -> bool:
        """Take in what happened; whether the world is another one now."""
        storage, namespace, _ = occurrence.key
        if storage not in _WATCHED or namespace != NAMESPACE:
            return False
        before, self.world = self.world, self._look()
        return before != self.world

    def _look(self) -> World:
        stored = self._objects.get(("services", NAMESPACE, SERVICE))
        service = msgspec.convert(stored.body, WireService).view() if stored is not None else None
        slices: list[Any] = [
            msgspec.convert(body, WireSlice).view() for body in self._bodies("endpointslices")
        ]
        pods: list[Any] = [msgspec.convert(body, WirePod).view() for body in self._bodies("pods")]
        opted_in = service is not None and contract.ENABLED in service.annotations
        return World(
            exists=service is not None,
            source=service if opted_in else None,
            pods={pod.name: pod for pod in pods if pod.name in POD_NAMES},
            slices=tuple(one for one in slices if one.labels.get(contract.SERVICE_NAME) == LEADER_SERVICE),
        )

    def _bodies(self, storage: str) -> list[dict[str, Any]]:
        return [stored.body for _, stored in self._objects.find(storage, NAMESPACE)]


def differences(old: World, new: World) -> Iterator[str]:
    """What happened between two moments, for people."""
    if old.exists and not new.exists:
        yield f"the Service {SERVICE} was deleted"
    elif old.source is not None and new.source is None:
        yield f"the Service {SERVICE} opted out"
    elif old.source is None and new.source is not None:
        yield f"the Service {SERVICE} opted in"
    elif old.source is not None and old.is_as_deployed and not new.is_as_deployed:
        yield f"the Service {SERVICE} was edited: promises rest until it is as before"
    elif old.source is not None and new.is_as_deployed and not old.is_as_deployed:
        yield f"the Service {SERVICE} is as before"
    for name in POD_NAMES:
        was, now = old.pods.get(name), new.pods.get(name)
        if was == now or (was is None and now is not None):
            continue
        if (was and was.uid) != (now and now.uid) or state(was) != state(now):
            yield f"{name} is {state(now)}" if now is not None else f"{name} is gone"
    if old.routed is not None and new.routed is None:
        yield f"{LEADER_SERVICE} leads to no pod"
    elif new.routed is not None and (old.routed is None or old.routed.target_uid != new.routed.target_uid):
        yield f"{new.leader} leads, epoch {new.epoch}"
