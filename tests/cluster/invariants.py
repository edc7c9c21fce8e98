"""What must hold at every moment of a churn, judged afterwards over everything that a recorder saw.

Knows what clients of a leader Service may rely on. Refuses to know how zenlead works and which faults were
ordered: whoever ordered them says when (``excused``) and what a writer can have known (``known``).

The rules, always: never two ready endpoints of one family of a leader Service; no slice emptied while a pod
was fit; nobody newly routed to who was known to be unfit; no epoch that goes back or has two leaders. In time
that is not excused: no ready endpoint that was unfit, no source without routing, no routing that should be
gone for longer than ``Bounds``. In the end: nothing wrong, nothing left over, no Event without a transition.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.cluster.eventcount import EventCount
from tests.cluster.history import Knowledge, Pod, Service, Slice, Told
from tests.cluster.worldview import Worldview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.cluster.history import Endpoint, Seen

Span: TypeAlias = tuple[float, float]

UNFIT, UNSERVED, STALE = "unfit", "unserved", "stale"


@dataclass(frozen=True)
class Bounds:
    """Seconds."""

    unfit_s: float = 2.0  # a ready endpoint whose pod is not fit, or has another address
    # Making and removing objects goes at the pace of the routine lane, which many at once fill.
    unserved_s: float = 5.0  # an opted-in source with a fit pod and without a ready endpoint
    stale_s: float = 5.0  # ready endpoints of a source that opted out or of its former name
    known_s: float = 1.0  # after so long a change is known to a writer of which nothing else is known

    def of(self, kind: str) -> float:
        return {UNFIT: self.unfit_s, UNSERVED: self.unserved_s, STALE: self.stale_s}[kind]


@dataclass(frozen=True)
class Lapse:
    """Something that was not as it must be, from ``start`` to ``end``; ``clear_s`` of it were not excused."""

    kind: str
    what: str
    start: float
    end: float
    clear_s: float


@dataclass
class Verdict:
    """``faults`` in words, none if all held; the rest are figures for a person."""

    faults: list[str] = field(default_factory=list)
    lapses: list[Lapse] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def worst_s(self, kind: str) -> float:
        """The longest lapse of a kind, without what was excused of it."""
        return max((lapse.clear_s for lapse in self.lapses if lapse.kind == kind), default=0.0)

    def __str__(self) -> str:
        worst = ", ".join(f"{kind} {self.worst_s(kind):.3f} s" for kind in (UNFIT, UNSERVED, STALE))
        counted = ", ".join(f"{count} {what}" for what, count in sorted(self.counted.items()))
        return f"{len(self.faults)} faults; worst: {worst}; {counted}"


def judge(
    seen: Sequence[Seen],
    *,
    bounds: Bounds | None = None,
    excused: Sequence[Span] = (),
    known: Callable[[int], Knowledge | None] | None = None,
) -> Verdict:
    """Judges a history whose end must be quiet.

    ``excused``: spans in which a fault makes the bounds impossible to keep. ``known(version)``: what of
    the world the writer of that revision surely knew; None: not known, so nothing is held against it.
    Without, what was seen ``bounds.known_s`` before.
    """
    bounds = bounds or Bounds()
    court = _Court(bounds, excused, known or _known_by_time(seen, bounds.known_s))
    for one in seen:
        court.step(one)
    return court.finish(seen[-1].at if seen else 0.0)


def clear_s(start: float, end: float, excused: Iterable[Span]) -> float:
    """Seconds between ``start`` and ``end`` that lie in none of the spans (which may overlap)."""
    left, reached = 0.0, start
    for begins, ends in sorted(excused):
        if ends <= reached:
            continue
        if begins >= end:
            break
        left += max(0.0, begins - reached)
        reached = max(reached, min(ends, end))
    return left + max(0.0, end - reached)


def _known_by_time(seen: Sequence[Seen], known_s: float) -> Callable[[int], Knowledge]:
    versions, times = [s.version for s in seen], [s.at for s in seen]

    def known(version: int) -> Knowledge:
        at = times[bisect_right(versions, version) - 1]
        reached = bisect_right(times, at - known_s)
        horizon = versions[reached - 1] if reached else 0
        return Knowledge(horizon, horizon)

    return known


class _Court:
    def __init__(
        self, bounds: Bounds, excused: Sequence[Span], known: Callable[[int], Knowledge | None]
    ) -> None:
        self._bounds = bounds
        self._excused = sorted(excused)
        self._known = known
        self._world = Worldview()
        self._events = EventCount()
        self._wrong: dict[str, dict[tuple[str, str], float]] = {}  # by source: what is wrong, since when
        self._leaders: dict[str, tuple[int, str]] = {}  # by source UID: the last epoch and whose it was
        self._verdict = Verdict()

    def step(self, seen: Seen) -> None:
        previous = self._world.apply(seen)
        fact = seen.fact
        self._verdict.counted[f"{type(fact).__name__} revisions"] += 1
        affected: set[str] = set()
        match fact, previous:
            case Pod(), Pod() | None:
                affected = self._world.selecting(fact, previous)
            case Service(), Service() | None:
                affected = {fact.source or fact.name}
            case Slice(), Slice() | None:
                affected = {fact.source, *([previous.source] if previous else [])} - {""}
                self._routing_moved(seen, fact, previous)
            case Told(), _:
                self._events.tell(fact)
        self._events.step(seen, previous, affected, self._world)
        for source in affected:
            self._look(source, seen.at)

    def finish(self, at: float) -> Verdict:
        for source, wrong in self._wrong.items():
            for (kind, what), since in list(wrong.items()):
                self._fault(at, f"{source} was left with {what} ({kind}) since {since:.3f}")
        made: list[Service | Slice] = [*self._world.services.values(), *self._world.slices.values()]
        for item in made:
            if item.source and not self._belongs(item):
                self._fault(at, f"left over: {type(item).__name__} {item.name} of {item.source}")
        self._verdict.faults += self._events.faults()
        self._verdict.counted.update(self._events.figures())
        return self._verdict

    # --- at one moment

    def _routing_moved(self, seen: Seen, fact: Slice, previous: Slice | None) -> None:
        """A slice was made, changed or deleted."""
        self._count_ready(seen.at, fact)
        if not fact.source:
            return
        after = () if seen.deleted else fact.ready
        before = previous.ready if previous else ()
        source = self._world.services.get(fact.source)
        known = self._known(seen.version)
        if known is None:
            self._verdict.counted["writes of which it is not known what the writer knew"] += 1
        elif source is not None:
            if before and not after:
                self._emptied(seen, fact, source, known)
            self._chosen(seen, source, known.pods, [e for e in after if e.uid not in {b.uid for b in before}])
        if after and fact != previous:  # a new version of the same routing says nothing about the leader
            self._epoch(seen, fact, after[0].uid)

    def _count_ready(self, at: float, fact: Slice) -> None:
        """Of all slices of a leader Service, whoever made them."""
        leader = self._world.services.get(fact.service)
        if not fact.source and (leader is None or not leader.source):
            return
        alike = [
            s for s in self._world.slices.values() if (s.service, s.family) == (fact.service, fact.family)
        ]
        pods = [e.pod for s in alike for e in s.ready]
        if len(pods) > 1:
            self._fault(at, f"{fact.family} of {fact.service} routed to {pods}")

    def _emptied(self, seen: Seen, fact: Slice, source: Service, known: Knowledge) -> None:
        states = self._world.past_services.since(known.services, source.name)
        if any(s is None or not s.enabled or s.uid != source.uid for s in states):
            return  # withdrawn, as was asked
        renamed = len({s.wanted for s in states if s}) > 1 or source.wanted != fact.service
        if renamed and any(s.ready for s in self._world.slices_of(source.name)):
            return  # the new one routes already
        for pod in self._world.steadily_fit(source, known.pods):
            self._fault(seen.at, f"{fact.name} was emptied although {pod.name} was fit")
            return

    def _chosen(self, seen: Seen, source: Service, horizon: int, new: list[Endpoint]) -> None:
        for endpoint in new:
            why = self._world.steadily_unfit(endpoint.pod, endpoint.uid, source, horizon)
            others = [e.uid for s in self._world.slices_of(source.name) if s != seen.fact for e in s.ready]
            if why and endpoint.uid not in others:  # a leader under its Service's new name is not new
                self._fault(seen.at, f"{source.name} was routed to {endpoint.pod}, known to be unfit: {why}")

    def _epoch(self, seen: Seen, fact: Slice, leader: str) -> None:
        leader_service = self._world.services.get(fact.service)
        if leader_service is None or leader_service.uid != fact.owner:
            return  # a create that arrived late: it belongs to a Service that is gone, and goes with it
        owner = leader_service.owner
        epoch, whose = self._leaders.get(owner, (0, ""))
        if fact.epoch < epoch:
            self._fault(seen.at, f"the epoch of {fact.name} went back from {epoch} to {fact.epoch}")
        elif fact.epoch == epoch and whose not in {"", leader}:
            self._fault(seen.at, f"epoch {epoch} of {fact.name} had two leaders")
        self._leaders[owner] = (fact.epoch, leader)

    # --- over time

    def _look(self, source: str, at: float) -> None:
        """Compares what is wrong about a source with what was, and keeps what ended."""
        now = set(self._wrong_with(source))
        known = self._wrong.setdefault(source, {})
        for wrong in [w for w in known if w not in now]:
            self._close(*wrong, known.pop(wrong), at)
        for wrong in now:
            known.setdefault(wrong, at)

    def _wrong_with(self, name: str) -> Iterable[tuple[str, str]]:
        service = self._world.services.get(name)
        if service is None or service.source:
            return  # what was owned by it is the garbage collector's to remove
        served = False
        for routing in self._world.slices_of(name):
            if not service.enabled or routing.service != service.wanted:
                if routing.ready:
                    yield STALE, f"routing of {routing.name}"
                continue
            for endpoint in routing.ready:
                served = True
                if self._is_wrong(endpoint, service):
                    yield UNFIT, f"endpoint {endpoint.pod} ({endpoint.address}) of {routing.name}"
        if service.enabled and not served and self._world.fit(service):
            yield UNSERVED, f"no ready endpoint of {service.wanted}"

    def _is_wrong(self, endpoint: Endpoint, service: Service) -> bool:
        pod = self._world.pods.get(endpoint.pod)
        if pod is None or pod.uid != endpoint.uid or endpoint.address not in pod.ips:
            return True
        return bool(pod.unfit(service.selector))

    def _close(self, kind: str, what: str, since: float, at: float) -> None:
        clear = clear_s(since, at, self._excused)
        self._verdict.lapses.append(Lapse(kind, what, since, at, clear))
        if clear > self._bounds.of(kind):
            self._fault(at, f"{kind} for {clear:.3f} s (of {at - since:.3f} s): {what}")

    def _belongs(self, item: Service | Slice) -> bool:
        source = self._world.services.get(item.source)
        leader = item.name if isinstance(item, Service) else item.service
        return source is not None and source.enabled and source.wanted == leader

    def _fault(self, at: float, what: str) -> None:
        self._verdict.faults.append(f"at {at:.3f}: {what}")
