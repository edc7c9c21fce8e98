"""Who owns series: every Service, every namespace with Services, and nobody. They go when their owner goes.

Knows owners and what was last said of each. Refuses to know what is counted. The rule not to break: whatever
has a Service or a namespace in its labels is kept here, and nothing is kept for a Service that has just been
forgotten (its last pass may still be reporting), or its series would stay for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zenlead.observe.families import EMPTY, Layout, Ledger, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zenlead.controller.facts import ServiceState

# Reports on a forgotten Service may trail by a write with its retries; a minute is many times that.
FORGOTTEN_FOR_S = 60.0
NO_SERVICE = 'namespace="",service=""'  # labels of what is not about one Service; its series are few and stay
NO_NAMESPACE = 'namespace=""'


class OfService(msgspec.Struct, gc=False):
    """What is known of one Service. There may be very many, hence no garbage collection: it has no cycles."""

    labels: str
    ledger: Ledger | None  # None: the namespace counts for it
    state: ServiceState | None = None
    unavailable_s: float = 0.0  # without a leader, up to `since`
    since: float | None = None  # start of the time without a leader that runs now
    routed: bool = True  # false once its slices were seen without a ready endpoint

    @property
    def leaderless(self) -> bool:
        """Whether it has no leader: as a pass found, or because the slices route to nobody."""
        return self.state is not None and not (self.state.leader and self.routed)


class OfNamespace(msgspec.Struct):
    """A namespace, its Services, and sums over what was last said of them."""

    name: str
    labels: str
    ledger: Ledger
    services: dict[str, OfService] = {}  # drained by forget
    told: int = 0  # Services with a state
    leader_services: int = 0
    slices: int = 0
    pods_available: int = 0
    stable: int = 0
    paused: int = 0
    leaderless: int = 0
    leaderless_s: float = 0.0  # of all Services, those that are gone too, up to `counted_at`
    counted_at: float = 0.0

    def add(self, of: OfService, sign: int, moment: float) -> None:
        """Let what is known of a Service count (``sign`` 1) or count no more (-1)."""
        state = of.state
        if state is None:
            return
        self.leaderless_s = self.leaderless_s_at(moment)
        self.counted_at = moment
        self.told += sign
        self.leader_services += sign * state.leader_services
        self.slices += sign * state.endpoint_slices
        self.pods_available += sign * state.pods_available
        self.stable += sign * state.stable
        self.paused += sign * state.paused
        self.leaderless += sign * of.leaderless

    def leaderless_s_at(self, moment: float) -> float:
        """Seconds without a leader, summed over the Services. Never falls."""
        return self.leaderless_s + self.leaderless * (moment - self.counted_at)


class Books:
    """All owners. ``zeros``: the series of a Service and of a namespace that begin at nought, before anything
    happened. Without ``per_service``, namespaces count for their Services, and nobody times them."""

    def __init__(
        self, monotonic: Callable[[], float], zeros: tuple[Layout, Layout], *, per_service: bool
    ) -> None:
        self._monotonic = monotonic
        self.per_service = per_service
        self._of_service, of_namespace = zeros
        self._of_namespace = (
            of_namespace if per_service else Layout.of((*of_namespace.slots, *self._of_service.slots))
        )
        self.nobody = Ledger(EMPTY)
        self._namespaces: dict[str, OfNamespace] = {}  # never one without Services; drained by forget
        self._forgotten: dict[tuple[str, str], float] = {}  # until when, oldest first; drained by forget

    def __repr__(self) -> str:
        services = sum(len(namespace.services) for namespace in self._namespaces.values())
        return (
            f"<Books namespaces={len(self._namespaces)} services={services} forgotten={len(self._forgotten)}>"
        )

    def counts(self, namespace: str, service: str) -> Ledger | None:
        """Where counters of a Service are kept; None when it was forgotten a moment ago."""
        if not service:
            return self.nobody
        if self._is_forgotten((namespace, service)):
            return None
        home = self._namespace(namespace)
        found = home.services.get(service) or self._open(home, service)
        return found.ledger or home.ledger

    def times(self, namespace: str, service: str) -> Ledger | None:
        """Where histograms of a Service are kept; None when it was forgotten a moment ago."""
        counts = self.counts(namespace, service)
        return counts if counts is None or self.per_service else self.nobody

    def namespace(self, namespace: str) -> Ledger | None:
        """Where a namespace's own series are kept; None when no Service of it is known."""
        found = self._namespaces.get(namespace)
        return None if found is None else found.ledger

    def knows(self, namespace: str, service: str) -> bool:
        """True when something was told about that Service."""
        home = self._namespaces.get(namespace)
        return home is not None and service in home.services

    def state(self, state: ServiceState) -> None:
        """Replace what was said of a Service. It shows that it is opted in, forgotten a moment ago or not."""
        self._forgotten.pop((state.namespace, state.service), None)
        home = self._namespace(state.namespace)
        found = home.services.get(state.service) or self._open(home, state.service)
        self._change(home, found, state, routed=found.routed)

    def routing(self, namespace: str, service: str, *, routed: bool) -> None:
        """Whether the slices of a Service route to anybody; of one that is known."""
        home = self._namespaces.get(namespace)
        found = home.services.get(service) if home is not None else None
        if home is not None and found is not None:
            self._change(home, found, found.state, routed=routed)

    def _change(self, home: OfNamespace, of: OfService, state: ServiceState | None, *, routed: bool) -> None:
        moment = self._monotonic()
        home.add(of, -1, moment)
        of.state, of.routed = state, routed
        home.add(of, 1, moment)
        if of.leaderless:
            of.since = moment if of.since is None else of.since
        elif of.since is not None:
            of.unavailable_s += moment - of.since
            of.since = None

    def forget(self, namespace: str, service: str) -> None:
        """Drop all of a Service, and what its namespace has when it was the last one there."""
        now, key = self._monotonic(), (namespace, service)
        self._forgotten.pop(key, None)
        self._forgotten[key] = now + FORGOTTEN_FOR_S
        while (oldest := next(iter(self._forgotten))) and self._forgotten[oldest] <= now:
            del self._forgotten[oldest]
        home = self._namespaces.get(namespace)
        if home is None:
            return
        found = home.services.pop(service, None)
        if found is not None:
            home.add(found, -1, now)
        if not home.services:
            del self._namespaces[namespace]

    def namespaces(self) -> Iterator[OfNamespace]:
        """All namespaces with Services, as they are now: they may come and go while the caller is at it."""
        yield from tuple(self._namespaces.values())

    def services(self) -> Iterator[OfService]:
        """All Services, likewise."""
        for namespace in self.namespaces():
            yield from tuple(namespace.services.values())

    def _namespace(self, name: str) -> OfNamespace:
        found = self._namespaces.get(name)
        if found is None:
            labels = f'namespace="{escaped(name)}"'
            found = self._namespaces[name] = OfNamespace(name, labels, Ledger(self._of_namespace))
        return found

    def _open(self, home: OfNamespace, service: str) -> OfService:
        labels = f'{home.labels},service="{escaped(service)}"'
        ledger = Ledger(self._of_service) if self.per_service else None
        found = home.services[service] = OfService(labels, ledger)
        return found

    def _is_forgotten(self, key: tuple[str, str]) -> bool:
        until = self._forgotten.get(key)
        if until is None or until > self._monotonic():
            return until is not None
        del self._forgotten[key]
        return False
