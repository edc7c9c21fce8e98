"""Children of metric families, kept by the Service they speak of, so that they go when it goes.

Knows owners and labels. Refuses to know what is measured. The rule not to break: whatever has a Service in
its labels is made here, and nothing is made for a Service that has just been forgotten (its last pass may
still be reporting), or its series would stay for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

Family = TypeVar("Family", Counter, Histogram)
Owner = tuple[str, ...]  # (namespace, service), or (namespace,) for what a namespace owns

NOBODY: Owner = ("", "")  # what is not about one Service; its series are few and stay
NO_NAMESPACE: Owner = ("",)

# Reports on a forgotten Service may trail by a write with its retries; a minute is many times that.
FORGOTTEN_FOR_S = 60.0


class Series:
    """Labelled children by owner. Every family given to ``child`` has the owner's labels first."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._children: dict[Owner, dict[tuple[Any, ...], Any]] = {}  # drained by forget
        self._services: dict[str, set[str]] = {}  # by namespace, never empty sets; drained by forget
        self._forgotten: dict[
            Owner, float
        ] = {}  # until when, oldest first; drained by _is_forgotten and forget

    def __repr__(self) -> str:
        series = sum(map(len, self._children.values()))
        return f"<Series owners={len(self._children)} series={series} forgotten={len(self._forgotten)}>"

    def service(self, namespace: str, service: str) -> Owner | None:
        """The owner of what is told about a Service; None when it was forgotten a moment ago."""
        if not service:
            return NOBODY
        owner = (namespace, service)
        if self._is_forgotten(owner):
            return None
        self._services.setdefault(namespace, set()).add(service)
        return owner

    def namespace(self, namespace: str) -> Owner:
        """The owner of what is told about a namespace; one without Services shares the series of none."""
        return (namespace,) if namespace in self._services else NO_NAMESPACE

    def has_services(self, namespace: str) -> bool:
        """True while a Service of that namespace has series."""
        return namespace in self._services

    def child(self, family: Family, owner: Owner, *labels: str) -> Family:
        """The child of ``family`` with the owner's labels and then ``labels``; made on first use."""
        children = self._children.setdefault(owner, {})
        key = (family, *labels)
        found: Family | None = children.get(key)
        if found is None:
            found = children[key] = family.labels(*owner, *labels)
        return found

    def revive(self, namespace: str, service: str) -> None:
        """A statement about a Service shows that it is opted in, forgotten a moment ago or not."""
        self._forgotten.pop((namespace, service), None)
        self._services.setdefault(namespace, set()).add(service)

    def forget(self, namespace: str, service: str) -> None:
        """Remove every series of a Service, and those of its namespace when it was the last one there."""
        now = self._monotonic()
        owner = (namespace, service)
        self._forgotten.pop(owner, None)
        self._forgotten[owner] = now + FORGOTTEN_FOR_S
        while self._forgotten and (oldest := next(iter(self._forgotten))) and self._forgotten[oldest] <= now:
            del self._forgotten[oldest]
        self._remove(owner)
        services = self._services.get(namespace, set())
        services.discard(service)
        if not services:
            self._services.pop(namespace, None)
            self._remove((namespace,))

    def _remove(self, owner: Owner) -> None:
        for family, *labels in self._children.pop(owner, {}):
            family.remove(*owner, *labels)

    def _is_forgotten(self, owner: Owner) -> bool:
        until = self._forgotten.get(owner)
        if until is None or until > self._monotonic():
            return until is not None
        del self._forgotten[owner]
        return False
