"""Whether Events were told on transitions only: how many there could be, and how many there were.

Knows which reason stands for which transition. Refuses to match an Event to its transition: fewer are fine,
since they are told at a bounded pace and once for several occurrences; more are spam.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.cluster.history import Fact, Service, Slice, Told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.cluster.history import Seen
    from tests.cluster.worldview import Worldview

# What an Event of a reason tells of; all others tell of an annotation that somebody set.
TRANSITIONS = {
    "LeaderServiceCreated": "created",
    "LeaderRoutingAvailable": "available",
    "LeaderChanged": "changed",
    "NoReadyPods": "lost",
    "NoPodsFound": "lost",
    "EndpointSliceDeleted": "withdrawn",
}
ANNOTATED = "annotated"
FIT = "fit"


class EventCount:
    """``step`` counts transitions by source, ``tell`` Events."""

    def __init__(self) -> None:
        self._happened: Counter[tuple[str, str]] = Counter()  # (source, transition)
        self._told: dict[str, Told] = {}  # by name of the Event, in its last state
        self._last: dict[str, set[str]] = {}  # by source: UIDs of its last leader
        self._state: dict[str, str] = {}  # by source: whether there are pods, and fit ones

    def __repr__(self) -> str:
        return f"EventCount({self._happened.total()} transitions, {len(self._told)} Events)"

    def tell(self, told: Told) -> None:
        if told.reason:
            self._told[told.name] = told

    def step(self, seen: Seen, previous: Fact | None, sources: Iterable[str], world: Worldview) -> None:
        """Counts what a change makes worth an Event; ``sources`` are concerned by it."""
        fact = seen.fact
        match fact, previous:
            case Slice(source=source), Slice() | None if source and fact.name == fact.service:
                for transition in self._transitions(seen, fact, previous):
                    self._happened[source, transition] += 1
            case Service(source=source), None if source and not seen.deleted:
                self._happened[source, "created"] += 1
            case Service(source="", name=name), Service() | None if not seen.deleted:
                if previous is None or previous.said != fact.said:
                    self._happened[name, ANNOTATED] += 1
                    self._state.pop(name, None)  # whatever is wrong is told of the new leader Service, too
        for name in sources:
            service = world.services.get(name)
            if service is None:
                continue
            # Who has not heard yet that a Service opted out tells of it still, so that does not matter here.
            state = _state(service, world)
            if state not in {FIT, self._state.get(name)}:
                self._happened[name, "lost"] += 1
            self._state[name] = state

    def _transitions(self, seen: Seen, fact: Slice, previous: Slice | None) -> set[str]:
        if seen.deleted:
            return {"withdrawn"}
        now = {e.uid for e in fact.ready}
        before = {e.uid for e in previous.ready} if previous else set()
        if not now or now == before:
            return set()
        last, self._last[fact.source] = self._last.get(fact.source, now), now
        if before:
            return {"changed"}
        # Under a new name, or after an opt-out, the leader may be another than the last one was: both are so.
        return {"available"} if last == now else {"available", "changed"}

    def figures(self) -> Counter[str]:
        """How often each transition happened, and how many Events were told."""
        found: Counter[str] = Counter()
        for (_, transition), count in self._happened.items():
            found[f"x {transition}"] += count
        found["Events"] = sum(told.count for told in self._told.values())
        return found

    def faults(self) -> list[str]:
        told: dict[tuple[str, str], list[Told]] = {}
        for one in self._told.values():
            told.setdefault((one.about, TRANSITIONS.get(one.reason, ANNOTATED)), []).append(one)
        return [
            f"{count} Events about {source} tell that it was {transition}, which happened "
            f"{self._happened[source, transition]} times: "
            + ", ".join(f"{one.reason} {one.count}x ({one.note})" for one in events)
            for (source, transition), events in told.items()
            if (count := sum(one.count for one in events)) > self._happened[source, transition]
        ]


def _state(service: Service, world: Worldview) -> str:
    """That nobody is fit and that nobody is there are two reasons; one may follow the other."""
    if world.fit(service):
        return FIT
    return "unfit" if any(True for _ in world.selected(service)) else "none"
