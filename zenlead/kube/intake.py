"""Where an informer puts what it hears: a whole store, or a part in filling one together with others.

Knows what an informer has to say. Refuses to know where it heard it. The rule: versions are given along even
where the objects' views keep none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol

from zenlead.kube.store import Change, Store, V

if TYPE_CHECKING:
    from zenlead.kube.watchevents import Swap


class Intake(Protocol[V]):
    """Each method returns what changed by it. ``version`` is the resourceVersion of an event as a number."""

    def begin(self) -> None:
        """A full list is asked for now."""

    def apply(self, view: V, version: int) -> Change[V] | None: ...

    def remove(self, view: V, version: int) -> Change[V] | None: ...

    def replace(self, full: Swap[V]) -> list[Change[V]]: ...

    def reached(self, version: str) -> None:
        """Everything up to this version has been given."""


class Whole(Generic[V]):
    """All of a store, or all of one namespace in it, is this informer's."""

    def __init__(self, store: Store[V], namespace: str | None) -> None:
        self._store = store
        self._namespace = namespace
        self._mark = store.mark()

    def __repr__(self) -> str:
        return f"Whole({self._store!r} of {self._namespace or 'everywhere'})"

    def begin(self) -> None:
        self._mark = self._store.mark()

    def apply(self, view: V, version: int) -> Change[V] | None:
        del version
        return self._store.apply(view)

    def remove(self, view: V, version: int) -> Change[V] | None:
        del version
        return self._store.remove(view)

    def replace(self, full: Swap[V]) -> list[Change[V]]:
        return self._store.replace(
            full.views, mark=self._mark, scope=self._namespace, unreadable=full.unreadable
        )

    def reached(self, version: str) -> None:
        """Nobody else fills what is ours, so nobody asks."""
