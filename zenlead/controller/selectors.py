"""Which opted-in Services select which pods, in one namespace, without looking at all of either.

Knows equality selectors and memberships. Refuses to know why anybody asks.
Rule: bounded. Services beyond the limit are answered by comparing selectors one by one: slower, never wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.lead.select import selected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zenlead.lead.views import Labels, PodView, ServiceView


class NamespaceIndex:
    """From pod labels to Services and from Services to their pods. ``limit`` 0 means none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._selectors: dict[str, Labels] = {}  # indexed Services
        self._beyond: dict[str, Labels] = {}  # Services that the limit pushed out
        self._by_pair: dict[tuple[str, str], dict[str, None]] = {}  # one pair of each indexed selector
        self._members: dict[str, dict[str, None]] = {}  # indexed Service -> names of the pods it selects

    def __repr__(self) -> str:
        return f"NamespaceIndex({len(self._selectors)} services, {len(self._beyond)} beyond the limit)"

    def __len__(self) -> int:
        return len(self._selectors)

    def build(self, sources: Iterable[ServiceView], pods: Iterable[PodView]) -> None:
        """Fill an empty index. The oldest Services get the places."""
        for source in sorted(sources, key=lambda s: (s.created, s.name)):
            self._place(source.name, source.selector)
        for pod in pods:
            for name in self._indexed(pod.labels):
                self._members[name][pod.name] = None

    def put_service(self, name: str, selector: Labels, pods: Iterable[PodView]) -> None:
        """A Service opted in or changed its selector; ``pods`` are all of the namespace."""
        if selector == self._selectors.get(name):
            return
        self.drop_service(name)
        if self._place(name, selector):
            self._members[name] = {pod.name: None for pod in pods if selected(selector, pod.labels)}

    def drop_service(self, name: str) -> None:
        """A Service opted out or went."""
        self._beyond.pop(name, None)
        selector = self._selectors.pop(name, None)
        if selector is None:
            return
        self._members.pop(name, None)
        pair = _pair(selector)
        names = self._by_pair.get(pair, {})
        names.pop(name, None)
        if not names:
            self._by_pair.pop(pair, None)

    def move_pod(self, old: PodView | None, new: PodView | None) -> list[str]:
        """A pod came, changed or went; the names of all Services that select it before or after."""
        before = self._indexed(old.labels) if old is not None else []
        after = self._indexed(new.labels) if new is not None else []
        for name in before:
            if old is not None and name not in after:
                self._members[name].pop(old.name, None)
        for name in after:
            if new is not None:
                self._members[name][new.name] = None
        names = dict.fromkeys((*before, *after))
        names |= dict.fromkeys(matching(self._beyond, old, new))
        return list(names)

    def members(self, name: str) -> list[str] | None:
        """Names of the pods that the Service selects; None if the Service is beyond the limit."""
        members = self._members.get(name)
        return None if members is None else list(members)

    def _place(self, name: str, selector: Labels) -> bool:
        if not selector:
            return False
        if self._limit and len(self._selectors) >= self._limit:
            self._beyond[name] = selector
            return False
        self._selectors[name] = selector
        self._by_pair.setdefault(_pair(selector), {})[name] = None
        self._members[name] = {}
        return True

    def _indexed(self, labels: Labels) -> list[str]:
        return [
            name
            for pair in labels.items()
            for name in self._by_pair.get(pair, ())
            if selected(self._selectors[name], labels)
        ]


def matching(selectors: dict[str, Labels], old: PodView | None, new: PodView | None) -> list[str]:
    """The slow way: the names whose selector matches the pod before or after."""
    return [
        name
        for name, selector in selectors.items()
        if (old is not None and selected(selector, old.labels))
        or (new is not None and selected(selector, new.labels))
    ]


def _pair(selector: Labels) -> tuple[str, str]:
    """The pair that a selector is filed under: the one with the longest value tends to be the rarest."""
    return max(selector.items(), key=lambda pair: (len(pair[1]), pair))
