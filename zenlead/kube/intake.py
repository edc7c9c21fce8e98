"""Where an informer puts what it hears: a whole store, or a part in filling one together with others.

Knows what an informer has to say. Refuses to know where it heard it. Rules: versions are given along even
where the objects' views keep none; a full list is taken over in pieces, between which others may work, and
whoever they are, what they see of it is the old state or the new one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from zenlead.kube.store import Change, Key, Store, V

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zenlead.kube.watchevents import Swap

T = TypeVar("T")

PIECE = 100  # objects of a full list that are looked at in one go: a millisecond or so


class Intake(Protocol[V]):
    """Each method returns what changed by it. ``version`` is the resourceVersion of an event as a number."""

    def begin(self) -> None:
        """A full list is asked for now."""

    def apply(self, view: V, version: int) -> Change[V] | None: ...

    def remove(self, view: V, version: int) -> Change[V] | None: ...

    def replace(self, full: Swap[V]) -> Iterator[list[Change[V]]]:
        """Take over a full list: one piece of the work with each step."""

    def reached(self, version: str) -> None:
        """Everything up to this version has been given."""


class Whole(Generic[V]):
    """All of a store, or all of one namespace in it, is this informer's."""

    def __init__(self, store: Store[V], namespace: str | None) -> None:
        self._store = store
        self._namespace = namespace
        self._mark = store.mark()
        self._filled = False  # a first full list has come

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

    def replace(self, full: Swap[V]) -> Iterator[list[Change[V]]]:
        """The first list fills the store bit by bit, since nobody decides before it is whole; of a later one
        only the differences are found so, and swapped in at once."""
        listed: set[Key] = set()
        differing: list[V] = []
        changes: list[Change[V]] = []
        for piece in pieces(full.views):
            listed.update(view.key for view in piece)
            if self._filled:
                differing += [view for view in piece if self._store.get(view.key) != view]
            else:
                changes += self._store.put(piece)
            yield []
        self._filled = True
        changes += self._store.replace(
            differing,
            mark=self._mark,
            scope=self._namespace,
            unreadable=full.unreadable,
            listed=listed,
            at=full.version,
        )
        yield from pieces(changes)

    def reached(self, version: str) -> None:
        """Nobody else fills what is ours, so nobody asks."""


def pieces(everything: Iterable[T]) -> Iterator[list[T]]:
    """The same in lists of PIECE or fewer."""
    rest = iter(everything)
    while piece := list(itertools.islice(rest, PIECE)):
        yield piece
