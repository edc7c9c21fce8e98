"""The store: objects, one global revision, and a bounded history of what happened to them.

Knows keys, revisions and owners. Refuses to know rules, requests and time. The rule not to break: a body that
was put in is never changed afterwards; every reader shares it.
Source: Kubernetes API concepts, "Resource versions" and "Efficient detection of changes".
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

Body = dict[str, Any]
Key = tuple[str, str, str]  # storage, namespace (empty for cluster-wide kinds), name

# etcd keeps five minutes of history by default; a count is the same promise without a clock.
HISTORY = 10_000


class Compacted(Exception):
    """History does not reach back to the revision that was asked for; ``oldest`` is how far it does."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"history starts at {oldest}")
        self.oldest = oldest


class Stored(msgspec.Struct, frozen=True):
    """One object at one revision. ``raw`` is ``body`` as JSON; neither holds kind and apiVersion."""

    revision: int
    body: Body
    raw: bytes

    def at(self, revision: int) -> Stored:
        """The same object, said to be of another revision (what a DELETED event carries)."""
        return store(self.body, revision)


class Occurrence(msgspec.Struct, frozen=True):
    """What happened at a revision: created (no ``before``), changed, or removed (no ``after``)."""

    revision: int
    key: Key
    before: Stored | None
    after: Stored | None


Listener = Callable[[Occurrence], None]


def store(body: Body, revision: int) -> Stored:
    """A Stored of this body, with the revision written into a copy of its metadata."""
    body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(revision)}}
    return Stored(revision, body, msgspec.json.encode(body))


def owner_uids(stored: Stored | None) -> set[str]:
    """The UIDs that an object names as its owners."""
    if stored is None:
        return set()
    return {str(ref.get("uid", "")) for ref in stored.body["metadata"].get("ownerReferences") or ()}


class Objects:
    """All objects of one API server. Every change raises the one revision by one."""

    def __init__(self, history: int = HISTORY) -> None:
        self.revision = 1
        self._objects: dict[str, dict[tuple[str, str], Stored]] = {}
        self._past: deque[Occurrence] = deque()
        self._history = history
        self._compacted = 1  # the newest revision that history can no longer replay
        self._listeners: list[Listener] = []
        self._by_uid: dict[str, Key] = {}
        self._dependents: dict[str, set[Key]] = {}

    def __repr__(self) -> str:
        held = sum(len(objects) for objects in self._objects.values())
        return (
            f"Objects(revision={self.revision}, held={held}, past={len(self._past)}, "
            f"compacted={self._compacted}, listeners={len(self._listeners)})"
        )

    def get(self, key: Key) -> Stored | None:
        """The object now, if it exists."""
        return self._objects.get(key[0], {}).get(key[1:])

    def find(self, storage: str, namespace: str = "") -> list[tuple[Key, Stored]]:
        """Every object of a storage (in one namespace, if given), in the order of keys."""
        held = self._objects.get(storage, {})
        return _in_order(storage, held, namespace)

    def find_at(self, storage: str, namespace: str, revision: int) -> list[tuple[Key, Stored]]:
        """As ``find``, as it was at ``revision``. Raises Compacted."""
        if revision < self._compacted:
            raise Compacted(self._compacted)
        held = dict(self._objects.get(storage, {}))
        for past in reversed(self._past):
            if past.revision <= revision:
                break
            if past.key[0] != storage:
                continue
            if past.before is None:
                held.pop(past.key[1:], None)
            else:
                held[past.key[1:]] = past.before
        return _in_order(storage, held, namespace)

    def since(self, revision: int) -> list[Occurrence]:
        """What happened after ``revision``, oldest first. Raises Compacted."""
        if revision < self._compacted:
            raise Compacted(self._compacted)
        newer = itertools.takewhile(lambda past: past.revision > revision, reversed(self._past))
        return list(newer)[::-1]

    def put(self, key: Key, body: Body) -> Stored:
        """Create or replace an object; its metadata gets the new revision."""
        before = self.get(key)
        self.revision += 1
        after = store(body, self.revision)
        self._objects.setdefault(key[0], {})[key[1:]] = after
        self._happened(Occurrence(self.revision, key, before, after))
        return after

    def remove(self, key: Key) -> Stored:
        """Take an object away; its last form, at the revision of its removal. KeyError if absent."""
        before = self._objects[key[0]].pop(key[1:])
        self.revision += 1
        self._happened(Occurrence(self.revision, key, before, None))
        return before.at(self.revision)

    def by_uid(self, uid: str) -> Key | None:
        """Where the object of that UID lives."""
        return self._by_uid.get(uid)

    def dependents(self, uid: str) -> list[Key]:
        """The objects that name ``uid`` as an owner, in the order of keys."""
        return sorted(self._dependents.get(uid, ()))

    def compact(self) -> None:
        """Forget all history, as etcd does from time to time: every older revision is expired."""
        self._past.clear()
        self._compacted = self.revision

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with everything that happens, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _happened(self, occurrence: Occurrence) -> None:
        self._past.append(occurrence)
        while len(self._past) > self._history:
            self._compacted = self._past.popleft().revision
        self._index(occurrence)
        for listener in tuple(self._listeners):
            listener(occurrence)

    def _index(self, occurrence: Occurrence) -> None:
        key, before, after = occurrence.key, occurrence.before, occurrence.after
        if before is not None and after is None:
            self._by_uid.pop(before.body["metadata"]["uid"], None)
        if after is not None:
            self._by_uid[after.body["metadata"]["uid"]] = key
        was, now = owner_uids(before), owner_uids(after)
        for uid in was - now:
            self._dependents[uid].discard(key)
            if not self._dependents[uid]:
                del self._dependents[uid]
        for uid in now - was:
            self._dependents.setdefault(uid, set()).add(key)


def _in_order(storage: str, held: dict[tuple[str, str], Stored], namespace: str) -> list[tuple[Key, Stored]]:
    names = sorted(place for place in held if not namespace or place[0] == namespace)
    return [((storage, *place), held[place]) for place in names]
