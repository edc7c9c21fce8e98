"""What existed at a moment, put together from changes in the server's order, and what had existed before.

Knows which pods a Service selects and which slices are a source's. Refuses to judge. The rule: nothing is
forgotten, since what a writer knew when it wrote lies a moment back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

from tests.cluster.history import Fact, Pod, Seen, Service, Slice

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T", Pod, Service)


class Past(Generic[T]):
    """All states of all objects of a kind, by name; None while there was none."""

    def __init__(self) -> None:
        self._versions: dict[str, list[int]] = defaultdict(list)
        self._states: dict[str, list[T | None]] = defaultdict(list)

    def __repr__(self) -> str:
        return f"Past({len(self._versions)} objects)"

    def note(self, version: int, name: str, state: T | None) -> None:
        self._versions[name].append(version)
        self._states[name].append(state)

    def since(self, version: int, name: str) -> list[T | None]:
        """The state that was at ``version``, and all that came after it."""
        start = bisect_right(self._versions[name], version)
        states: list[T | None] = self._states[name]
        if start:
            return states[start - 1 :]
        before: list[T | None] = [None]
        return before + states


class Worldview:
    """Feed it with ``apply``, in order."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.services: dict[str, Service] = {}
        self.slices: dict[str, Slice] = {}
        self._by_label: dict[tuple[str, str], dict[str, Pod]] = defaultdict(dict)
        self.past_pods: Past[Pod] = Past()
        self.past_services: Past[Service] = Past()

    def __repr__(self) -> str:
        return f"Worldview({len(self.services)} services, {len(self.pods)} pods, {len(self.slices)} slices)"

    def apply(self, seen: Seen) -> Fact | None:
        """Takes in a change; returns the state that it replaced."""
        fact = seen.fact
        match fact:
            case Pod():
                self.past_pods.note(seen.version, fact.name, None if seen.deleted else fact)
                previous = _put(self.pods, fact, seen)
                for pair in previous.labels.items() if previous else ():
                    self._by_label[pair].pop(fact.name, None)
                for pair in () if seen.deleted else fact.labels.items():
                    self._by_label[pair][fact.name] = fact
                return previous
            case Service():
                self.past_services.note(seen.version, fact.name, None if seen.deleted else fact)
                return _put(self.services, fact, seen)
            case Slice():
                return _put(self.slices, fact, seen)
            case _:
                return None

    def selecting(self, *pods: Pod | None) -> set[str]:
        """The names of the sources that select one of the pods."""
        labels = [p.labels.items() for p in pods if p is not None]
        return {
            s.name
            for s in self.services.values()
            if s.selector and any(s.selector.items() <= items for items in labels)
        }

    def selected(self, service: Service) -> Iterator[Pod]:
        wanted = service.selector.items()
        narrow = [self._by_label.get(pair, {}) for pair in wanted]
        fewest = min(narrow, key=len, default={})
        return (p for p in list(fewest.values()) if wanted <= p.labels.items())

    def fit(self, service: Service) -> list[Pod]:
        """The pods that may lead the Service now."""
        return [p for p in self.selected(service) if not p.unfit(service.selector)]

    def slices_of(self, source: str) -> list[Slice]:
        """The slices of the leader Services that were made for a source."""
        return [s for s in self.slices.values() if s.source == source]

    def steadily_fit(self, service: Service, since: int) -> list[Pod]:
        """The pods that are fit, and were at every moment from a version on."""
        return [p for p in self.fit(service) if not any(self._unfit(p, since, service))]

    def steadily_unfit(self, pod: str, uid: str, service: Service, since: int) -> str:
        """Why a pod is not fit, if it was not at any moment from a version on; empty if it was at one."""
        reasons = [
            "deleted" if state is None or state.uid != uid else state.unfit(service.selector)
            for state in self.past_pods.since(since, pod)
        ]
        return reasons[-1] if all(reasons) else ""

    def _unfit(self, pod: Pod, since: int, service: Service) -> Iterator[bool]:
        for state in self.past_pods.since(since, pod.name):
            yield state is None or state.uid != pod.uid or bool(state.unfit(service.selector))


F = TypeVar("F", Pod, Service, Slice)


def _put(known: dict[str, F], fact: F, seen: Seen) -> F | None:
    previous = known.pop(fact.name, None)
    if not seen.deleted:
        known[fact.name] = fact
    return previous
