"""One store that several watches fill together, while some begin and others end.

Knows how new the state of each namespace is, and which watch covers which. Refuses to know why there are
several, and kinds that we write ourselves.
Rules: an event that is older than what is known of its namespace changes nothing, whoever brings it; nothing
is known of a namespace before a full list of it. What makes that enough: each watch brings every event of a
namespace after its list, in order, so whichever is first with one has brought all those before it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from zenlead.kube.intake import pieces
from zenlead.kube.store import Change, Key, Store, V, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zenlead.kube.watchevents import Swap


class Joint(Generic[V]):
    """``index`` is the store's index by namespace; ``on_known`` hears of each that was not known before."""

    def __init__(self, store: Store[V], index: str, on_known: Callable[[str], None]) -> None:
        self._store = store
        self._index = index
        self._on_known = on_known
        self._versions: dict[str, int] = {}  # of the known namespaces: the newest event or list taken over

    def __repr__(self) -> str:
        return f"Joint({len(self._versions)} namespaces, {self._store!r})"

    def knows(self, namespace: str) -> bool:
        """Whether a full list of the namespace stands in the store, and has been kept up to date since."""
        return namespace in self._versions

    def version(self, namespace: str) -> int:
        """How new what is known of the namespace is; 0 for nothing, or where versions are no numbers."""
        return self._versions.get(namespace, 0)

    def drop(self, namespace: str) -> None:
        """Nobody needs the namespace any more: forget it. Nothing of that is a change."""
        self._versions.pop(namespace, None)
        for view in self._store.by(self._index, namespace):
            self._store.deleted(view.key)

    def apply(self, view: V, version: int) -> Change[V] | None:
        return self._store.apply(view) if self._is_news(view.key[0], version) else None

    def remove(self, view: V, version: int) -> Change[V] | None:
        return self._store.remove(view) if self._is_news(view.key[0], version) else None

    def replace(
        self, namespace: str, fresh: dict[Key, V], unreadable: frozenset[Key], version: int
    ) -> list[Change[V]]:
        """Swap in a full list of one namespace. Of one that was not known only ``on_known`` is told."""
        new = not self.knows(namespace)
        self._versions[namespace] = version
        if new:
            self._store.adopt(fresh, self._index, namespace)
            self._on_known(namespace)
            return []
        stale = [
            view.key
            for view in self._store.by(self._index, namespace)
            if view.key not in fresh and view.key not in unreadable
        ]
        found = [self._store.deleted(key) for key in stale]
        found += [self._store.apply(view) for view in fresh.values()]
        return [change for change in found if change is not None]

    def _is_news(self, namespace: str, version: int) -> bool:
        known = self._versions.get(namespace)
        if known is None or 0 < version <= known:
            return False
        self._versions[namespace] = version or known
        return True


class Part(Generic[V]):
    """What one watch brings: an Intake. It ``covers`` these namespaces and takes no notice of others."""

    def __init__(self, joint: Joint[V], covers: Iterable[str]) -> None:
        self._joint = joint
        self.covers = set(covers)
        self.listed = False  # whether its first full list has come
        self._at = 0

    def __repr__(self) -> str:
        return f"Part({len(self.covers)} namespaces, at {self._at or 'no version'})"

    def is_level(self, namespace: str) -> bool:
        """Whether this watch alone would know all that is known of the namespace."""
        return self.listed and namespace in self.covers and self._at >= self._joint.version(namespace)

    def wants(self, namespace: str) -> bool:
        return namespace in self.covers

    def begin(self) -> None:
        """Own writes, which a list may not know of yet, are none here."""

    def apply(self, view: V, version: int) -> Change[V] | None:
        self._at = version or self._at
        return self._joint.apply(view, version)

    def remove(self, view: V, version: int) -> Change[V] | None:
        self._at = version or self._at
        return self._joint.remove(view, version)

    def replace(self, full: Swap[V]) -> Iterator[list[Change[V]]]:
        """A list that is older than what another watch has brought says nothing new; but one that is older
        than what this very watch has brought is of a server that was restored, and wins. Each namespace is
        swapped in at once."""
        restored = 0 < full.version < self._at
        lists: dict[str, dict[Key, V]] = {namespace: {} for namespace in self.covers}
        for piece in pieces(full.views):
            for view in piece:
                key = view.key
                if (fresh := lists.get(key[0])) is not None:
                    fresh[key] = view
            yield []
        for namespace, fresh in lists.items():
            if namespace not in self.covers:  # nobody has needed it since
                continue
            if restored or not 0 < full.version < self._joint.version(namespace):
                yield self._joint.replace(namespace, fresh, full.unreadable, full.version)
        self._at = full.version
        self.listed = True

    def reached(self, version: str) -> None:
        self._at = number(version) or self._at
