"""How objects go: preconditions, grace, finalizers, dependents and namespaces.

Knows what a DELETE sets in motion and finishes it at once, where a cluster's controllers take a moment.
Refuses to know requests. The rule: an object with finalizers, or a pod that a node still runs, stays.
Source: Kubernetes concepts "Finalizers", "Garbage collection", "Pod termination", "Namespaces".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from zenlead.sandbox import refusals
from zenlead.sandbox.kinds import BY_STORAGE, Kind, kind_named
from zenlead.sandbox.pod_rules import GRACE_S
from zenlead.sandbox.views import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.sandbox.objects import Body, Key, Objects, Stored

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class _Preconditions(msgspec.Struct):
    uid: str | None = None
    resourceVersion: str | None = None


class _Options(msgspec.Struct):
    gracePeriodSeconds: int | None = None
    preconditions: _Preconditions | None = None
    propagationPolicy: Literal["Background", "Foreground", "Orphan"] | None = None
    orphanDependents: bool | None = None
    dryRun: list[str] | None = None


class Deletion:
    """Deletes objects and settles what follows from it. ``now`` is wall time in Unix seconds."""

    def __init__(self, objects: Objects, now: Callable[[], float], *, collects: bool = True) -> None:
        self._objects = objects
        self._now = now
        self._collects = collects  # False: dependents and namespaces wait for controllers that are not here

    def __repr__(self) -> str:
        return f"Deletion(collects={self._collects})"

    def delete(self, kind: Kind, key: Key, options: Body, *, dry_run: bool = False) -> tuple[Stored, bool]:
        """Delete, and say whether the object is gone (else it is only marked). Raises Refusal."""
        current = self._objects.get(key)
        if current is None:
            raise refusals.not_found(kind.resource, key[2])
        _check_preconditions(kind, key[2], current, options.get("preconditions") or {})
        if dry_run:
            return current, True
        if key[0] == "namespaces":
            return self._delete_namespace(key, current)
        grace_s = _grace_s(kind, current.body, options)
        added = _added_finalizer(options)
        meta = current.body["metadata"]
        finalizers = [*meta.get("finalizers", ()), *([added] if added else ())]
        if grace_s == 0 and not finalizers:
            if kind.graceful:
                self._mark(key, current, 0, [])  # even a pod that goes at once is seen to be going
            return self.remove(key), True
        marked = self._mark(key, current, grace_s, finalizers)
        if added and self._collects:
            self._work_off(key, added)
        left = self._objects.get(key)
        return (left or marked), left is None

    def remove(self, key: Key) -> Stored:
        """Take the object away now and settle what that leaves behind."""
        gone = self._objects.remove(key)
        if self._collects:
            self._settle(gone, key)
        return gone

    def finish(self, key: Key) -> bool:
        """Remove an object that was only waiting for its finalizers; True if it is gone now."""
        current = self._objects.get(key)
        if current is None:
            return True
        meta = current.body["metadata"]
        if not meta.get("deletionTimestamp") or meta.get("finalizers"):
            return False
        if meta.get("deletionGracePeriodSeconds", 0) > 0 or key[0] == "namespaces":
            return False
        self.remove(key)
        return True

    def collect(self, key: Key) -> None:
        """Delete a dependent none of whose owners exists, as the garbage collector would."""
        stored = self._objects.get(key)
        if stored is None or not self._collects:
            return
        owners = stored.body["metadata"].get("ownerReferences") or []
        if not owners or any(self._lives(key[1], owner) for owner in owners):
            return
        self.delete(BY_STORAGE[key[0]], key, {"propagationPolicy": "Background"})

    def _mark(self, key: Key, current: Stored, grace_s: int, finalizers: list[str]) -> Stored:
        meta = dict(current.body["metadata"])
        was_s = meta.get("deletionGracePeriodSeconds")
        if was_s is not None and grace_s >= was_s and finalizers == meta.get("finalizers", []):
            return current
        if was_s is None or grace_s < was_s:
            meta["deletionTimestamp"] = timestamp(self._now() + grace_s)
            meta["deletionGracePeriodSeconds"] = grace_s
        if was_s is None and "generation" in meta:
            meta["generation"] += 1
        if finalizers:
            meta["finalizers"] = sorted(set(finalizers), key=finalizers.index)
        return self._objects.put(key, {**current.body, "metadata": meta})

    def _work_off(self, key: Key, finalizer: str) -> None:
        """Do what the finalizer of a propagation policy waits for."""
        stored = self._objects.get(key)
        if stored is None:
            return
        uid = stored.body["metadata"]["uid"]
        for dependent in self._objects.dependents(uid):
            if finalizer == ORPHAN:
                self._drop_owner(dependent, uid)
            else:
                self.delete(BY_STORAGE[dependent[0]], dependent, {"propagationPolicy": "Foreground"})
        self._drop_finalizer_when_free(key, uid, finalizer)

    def _drop_finalizer_when_free(self, key: Key, uid: str, finalizer: str) -> None:
        stored = self._objects.get(key)
        if stored is None or any(self._blocks(dependent, uid) for dependent in self._objects.dependents(uid)):
            return
        finalizers = [one for one in stored.body["metadata"].get("finalizers", ()) if one != finalizer]
        self._objects.put(key, _with_meta(stored.body, finalizers=finalizers))
        self.finish(key)

    def _blocks(self, dependent: Key, uid: str) -> bool:
        stored = self._objects.get(dependent)
        owners = stored.body["metadata"].get("ownerReferences", ()) if stored else ()
        return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)

    def _drop_owner(self, dependent: Key, uid: str) -> None:
        stored = self._objects.get(dependent)
        if stored is not None:
            owners = stored.body["metadata"].get("ownerReferences", ())
            kept = [owner for owner in owners if owner["uid"] != uid]
            self._objects.put(dependent, _with_meta(stored.body, ownerReferences=kept))

    def _lives(self, namespace: str, owner: Body) -> bool:
        kind = kind_named(owner["apiVersion"], owner["kind"])
        if kind is None:
            return True  # a kind that is not served here: nobody can tell
        place = namespace if kind.resource.namespaced else ""
        return self._objects.by_uid(owner["uid"]) == (kind.storage, place, owner["name"])

    def _settle(self, gone: Stored, key: Key) -> None:
        meta = gone.body["metadata"]
        for dependent in self._objects.dependents(meta["uid"]):
            self.collect(dependent)
        for owner in meta.get("ownerReferences", ()):
            place = self._objects.by_uid(owner["uid"])
            held = self._objects.get(place) if place else None
            if place and held and FOREGROUND in held.body["metadata"].get("finalizers", ()):
                self._drop_finalizer_when_free(place, owner["uid"], FOREGROUND)
        if key[1]:
            self._finish_namespace(("namespaces", "", key[1]))

    def _delete_namespace(self, key: Key, current: Stored) -> tuple[Stored, bool]:
        if not current.body["metadata"].get("deletionTimestamp"):
            meta = {**current.body["metadata"], "deletionTimestamp": timestamp(self._now())}
            body = {**current.body, "metadata": meta, "status": {"phase": "Terminating"}}
            current = self._objects.put(key, body)
        if self._collects:
            for storage, kind in BY_STORAGE.items():
                for content, _ in self._objects.find(storage, key[2]):
                    if self._objects.get(content) is not None:
                        self.delete(kind, content, {})
            self._finish_namespace(key)
        return current, False

    def _finish_namespace(self, key: Key) -> None:
        stored = self._objects.get(key)
        if stored is None or not stored.body["metadata"].get("deletionTimestamp"):
            return
        if not any(self._objects.find(storage, key[2]) for storage in BY_STORAGE):
            self._objects.remove(key)


def _with_meta(body: Body, **changes: Any) -> Body:
    """A copy with these metadata fields; an empty one is left out."""
    meta = {**body["metadata"], **changes}
    return {**body, "metadata": {name: value for name, value in meta.items() if value not in ([], {})}}


def _check_preconditions(kind: Kind, name: str, current: Stored, wanted: Body) -> None:
    uid, revision = wanted.get("uid"), wanted.get("resourceVersion")
    held = current.body["metadata"]["uid"]
    if uid is not None and uid != held:
        why = f"the UID in the precondition ({uid}) does not match the UID in record ({held})"
        raise refusals.conflict(kind.resource, name, why)
    if revision is not None and revision != str(current.revision):
        why = (
            f"the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in "
            f"record ({current.revision})"
        )
        raise refusals.conflict(kind.resource, name, why)


def _grace_s(kind: Kind, body: Body, options: Body) -> int:
    """How long the object stays for whoever runs it, in seconds."""
    if not kind.graceful:
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = body["spec"].get("terminationGracePeriodSeconds", GRACE_S)
    if not body["spec"].get("nodeName") or body["status"].get("phase") in ("Failed", "Succeeded"):
        return 0
    return 1 if asked < 0 else int(asked)


def _added_finalizer(options: Body) -> str:
    policy = options.get("propagationPolicy")
    if policy == "Orphan" or options.get("orphanDependents") is True:
        return ORPHAN
    return FOREGROUND if policy == "Foreground" else ""


def decode_options(body: bytes) -> Body:
    """DeleteOptions from a request body; empty means none. Raises Refusal (400)."""
    if not body.strip():
        return {}
    try:
        options = msgspec.json.decode(body, type=_Options)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise refusals.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    decoded: Body = msgspec.to_builtins(options)
    return {name: value for name, value in decoded.items() if value is not None}
