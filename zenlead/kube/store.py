"""Objects by key, with named indexes: what an informer knows of one kind.

Knows keys, equality and resourceVersions. Refuses to know what an object means.
Rules: an equal view is no change; an older version never replaces a newer one, except by a full list; and to
be gone is newer than to have been there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence

Key: TypeAlias = tuple[str, str]  # namespace (empty for cluster-wide kinds), name
Index: TypeAlias = "Callable[[V], Iterable[Hashable]]"


class Keyed(Protocol):
    """A view: hashable by nothing, equal by value, named by its key."""

    @property
    def key(self) -> Key: ...


VERSION_DIGITS = 20  # of the largest number of 64 bits; Python refuses to read ones of some thousands

V = TypeVar("V", bound=Keyed)


class Change(msgspec.Struct, Generic[V], frozen=True):
    """What happened to one object: ``old`` is None for a new one, ``new`` is None for one that went."""

    old: V | None
    new: V | None

    @property
    def key(self) -> Key:
        view = self.new if self.new is not None else self.old
        if view is None:
            raise ValueError("a change of nothing")
        return view.key


def _nobody(changes: Sequence[Change[Any]]) -> None:
    del changes


class Store(Generic[V]):
    """All views of one kind. ``indexes``: name -> function from a view to the values it is found under.

    ``heard`` is called with what changed, by whoever it came, once all of it is here; it must not fail.
    """

    def __init__(self, indexes: Mapping[str, Callable[[V], Iterable[Hashable]]] | None = None) -> None:
        self._views: dict[Key, V] = {}
        self._functions = dict(indexes or {})
        # Under most values there is one object, and a table of one entry would be larger than many a view.
        self._indexes: dict[str, dict[Hashable, Key | dict[Key, None]]] = {n: {} for n in self._functions}
        # Keys whose stored state came from our own write, with the count of writes at that time: a list that
        # was asked for before the write does not know of it. Emptied by every full list and by the watch.
        self._own: dict[Key, int] = {}
        self._writes = 0
        self._inquiries: dict[Key, list[Inquiry[V]]] = {}  # under way; each removes itself
        self.heard: Callable[[Sequence[Change[V]]], None] = _nobody

    def __repr__(self) -> str:
        return f"Store({len(self._views)} objects, {len(self._own)} own writes not seen back)"

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[V]:
        return iter(self._views.values())

    def get(self, key: Key) -> V | None:
        """The view under ``key``, or None."""
        return self._views.get(key)

    def by(self, index: str, value: Hashable) -> list[V]:
        """The views under ``value`` in the index, in no particular order."""
        found = self._indexes[index].get(value)
        if found is None:
            return []
        return [self._views[key] for key in found] if isinstance(found, dict) else [self._views[found]]

    def keys_in(self, index: str) -> set[Key]:
        """The keys of all views that the index has under any value."""
        keys: set[Key] = set()
        for found in self._indexes[index].values():
            keys.update(found if isinstance(found, dict) else (found,))
        return keys

    def values_of(self, index: str) -> Collection[Hashable]:
        """All values under which the index has views; a live set (a dict, whose hashes need no computing)."""
        return self._indexes[index]

    def mark(self) -> int:
        """A point in the order of own writes; given to ``replace`` with the list that was asked for then."""
        return self._writes

    def apply(self, view: V) -> Change[V] | None:
        """Take a view from the watch. None: nothing that matters is different, or it is older than ours."""
        old = self._views.get(view.key)
        if old is not None and _older(view, old):
            return None
        self._own.pop(view.key, None)
        return self._say(self._put(old, view))

    def remove(self, view: V) -> Change[V] | None:
        """Take a deletion from the watch; ``view`` is the last state, at the version of the deletion."""
        for inquiry in self._inquiries.get(view.key, ()):
            inquiry.ended(version(view))
        old = self._views.get(view.key)
        if old is None or _older(view, old):
            return None  # an object made anew under that name is already here
        self._own.pop(view.key, None)
        return self._say(self._drop(old))

    def asking(self, key: Key) -> Inquiry[V]:
        """For the time of a request about one object: ``with store.asking(key) as inquiry``."""
        return Inquiry(self, key, self._inquiries)

    def wrote(self, view: V) -> Change[V] | None:
        """Take the answer to a write of our own, before the watch brings it."""
        change = self.apply(view)
        self._writes += 1
        self._own[view.key] = self._writes
        return change

    def deleted(self, key: Key) -> Change[V] | None:
        """Forget an object that is surely gone (``asking`` is for those who were told so)."""
        self._own.pop(key, None)
        old = self._views.get(key)
        return None if old is None else self._say(self._drop(old))

    def put(self, views: Iterable[V]) -> list[Change[V]]:
        """Take views of a first full list, whatever their versions, while nobody decides on them yet."""
        changes = [change for view in views if (change := self._put(self._views.get(view.key), view))]
        self.heard(changes)
        return changes

    def adopt(self, fresh: Mapping[Key, V], index: str, value: Hashable) -> None:
        """Take over views of which none is known, at the speed of one assignment, and tell nobody.

        All are found under ``value`` in ``index``, and there is no other index.
        """
        self._views.update(fresh)
        if fresh:
            self._indexes[index][value] = dict.fromkeys(fresh)

    def replace(
        self,
        views: Iterable[V],
        *,
        mark: int,
        scope: str | None = None,
        unreadable: frozenset[Key] = frozenset(),
        listed: Collection[Key] | None = None,
        at: int = 0,
    ) -> list[Change[V]]:
        """Swap in a full list of version ``at``, asked for at ``mark``, of one namespace (``scope``) or all.

        A full list wins over any version (an API server can be restored to an older state), but not over a
        write of ours that it cannot know. ``unreadable`` objects are in the list too; they stay as they are.
        ``listed``: the keys of the whole list, where ``views`` are only those that differ from what is here.
        """
        fresh = {view.key: view for view in views}
        if listed is None:
            listed = fresh.keys()
        for key, inquiries in self._inquiries.items():
            if key not in listed and key not in unreadable and scope in (None, key[0]):
                for inquiry in inquiries:
                    inquiry.ended(at + 1)
        kept = {key for key, write in self._own.items() if write > mark} | unreadable
        changes: list[Change[V]] = []
        stale = [
            old
            for key, old in self._views.items()
            if key not in listed and key not in kept and scope in (None, key[0])
        ]
        changes += [self._drop(old) for old in stale]
        for key, view in fresh.items():
            old = self._views.get(key)
            if key in kept and old is not None and _older(view, old):
                continue
            if (change := self._put(old, view)) is not None:
                changes.append(change)
        self._own = {
            key: write for key, write in self._own.items() if key in kept or scope not in (None, key[0])
        }
        self.heard(changes)
        return changes

    def _say(self, change: Change[V] | None) -> Change[V] | None:
        if change is not None:
            self.heard((change,))
        return change

    def _put(self, old: V | None, view: V) -> Change[V] | None:
        if old == view:
            return None
        key = view.key  # one object for all tables: of a hundred thousand pods that is some megabytes
        self._views[key] = view
        self._reindex(key, old, view)
        return Change(old, view)

    def _drop(self, old: V) -> Change[V]:
        key = old.key
        del self._views[key]
        self._reindex(key, old, None)
        return Change(old, None)

    def _reindex(self, key: Key, old: V | None, new: V | None) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            before = set(function(old)) if old is not None else set()
            after = set(function(new)) if new is not None else set()
            for value in before - after:
                keys = index[value]
                if isinstance(keys, dict):
                    del keys[key]
                if not isinstance(keys, dict) or not keys:
                    del index[value]
            for value in after - before:
                keys = index.setdefault(value, key)
                if isinstance(keys, dict):
                    keys[key] = None
                elif keys is not key:
                    index[value] = {keys: None, key: None}


class Inquiry(Generic[V]):
    """A request about one object, from before it is sent until its answer is taken in.

    The watch may tell meanwhile what the answer does not know: what has gone since does not come back by it,
    and what was made since does not go.
    """

    def __init__(self, store: Store[V], key: Key, under_way: dict[Key, list[Inquiry[V]]]) -> None:
        self._store = store
        self._key = key
        self._under_way = under_way
        self._before = store.get(key)
        self._gone_at: int | None = None  # whatever was there at a lower version is not any more

    def __enter__(self) -> Inquiry[V]:
        self._under_way.setdefault(self._key, []).append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        others = self._under_way[self._key]
        others.remove(self)
        if not others:
            del self._under_way[self._key]

    def ended(self, at: int) -> None:
        """The object went at that version (0: who knows), or is not in a full list of the version before."""
        self._gone_at = max(self._gone_at or 0, at)

    def found(self, view: V) -> Change[V] | None:
        """Take the object as it was read or written. Where versions do not tell, the watch knows better."""
        late = self._gone_at is not None and not 0 < self._gone_at <= version(view)
        return None if late else self._store.wrote(view)

    def gone(self) -> Change[V] | None:
        """Take that there is no such object (any more)."""
        now = self._store.get(self._key)
        same = now is None or (self._before is not None and _uid(now) == _uid(self._before))
        return self._store.deleted(self._key) if same else None


def _uid(view: object) -> str:
    return str(getattr(view, "uid", ""))


def _older(view: object, than: object) -> bool:
    return 0 < version(view) < version(than)


def version(view: object) -> int:
    """The view's resourceVersion as a number, 0 for a view that keeps none (then the last to come wins)."""
    return number(getattr(view, "resource_version", ""))


def number(resource_version: str) -> int:
    """A resourceVersion as a number, 0 for what is none: of ASCII digits, and no longer than etcd's 64 bits.

    Source: KEP-5504, resourceVersions of one resource are integers that compare.
    """
    if len(resource_version) > VERSION_DIGITS or not resource_version.isascii():
        return 0
    return int(resource_version) if resource_version.isdigit() else 0
