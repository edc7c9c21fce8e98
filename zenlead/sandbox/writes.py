"""Creating and changing objects: the order of checks, and which parts a client may touch.

Knows create, update and the actions of pods. Refuses to know the rules of a kind (rules.py), patch formats
(patches.py) and transports. The rule: a change that changes nothing is no change, so nobody hears of it.
Source: Kubernetes API conventions, "Metadata", "Concurrency control and consistency", "Spec and status".
"""

from __future__ import annotations

import string
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.resources import PODS
from zenlead.sandbox import refusals
from zenlead.sandbox.event_views import to_stored
from zenlead.sandbox.objects import Body, Key, Objects, Stored
from zenlead.sandbox.rules import Rules, check_new_event
from zenlead.sandbox.shapes import misfit
from zenlead.sandbox.validation import bad, check_meta, not_permitted, required
from zenlead.sandbox.views import timestamp

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from zenlead.sandbox.deletion import Deletion
    from zenlead.sandbox.kinds import Kind

_NAME_SUFFIX = 5  # characters that generateName adds
_NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words by accident
# Set by the server and by nobody else.
_SERVERS_OWN = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
)


class Target(msgspec.Struct, frozen=True):
    """What a request is about."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        """Where the object is stored."""
        return (self.kind.storage, self.namespace if self.kind.resource.namespaced else "", self.name)


class Writes:
    """Creates and changes objects. ``now`` is wall time in Unix seconds; ``dice`` makes UIDs and names."""

    def __init__(
        self,
        objects: Objects,
        rules: Mapping[str, Rules],
        deletion: Deletion,
        now: Callable[[], float],
        dice: random.Random,
    ) -> None:
        self._objects = objects
        self._rules = rules
        self._deletion = deletion
        self._now = now
        self._dice = dice

    def __repr__(self) -> str:
        return f"Writes(kinds={len(self._rules)})"

    def create(self, target: Target, sent: Body, *, dry_run: bool = False) -> Stored:
        """Store a new object. Raises Refusal."""
        kind, rules = target.kind, self._rules[target.kind.storage]
        body = self._parsed(target, sent)
        meta = body["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            suffix = "".join(self._dice.choices(_NAME_CHARACTERS, k=_NAME_SUFFIX))
            meta["name"] = f"{meta['generateName']}{suffix}"
        name = str(meta.get("name", ""))
        self._admit(kind, target.namespace, name)
        if meta.get("resourceVersion"):
            raise refusals.Refusal(
                500, "InternalError", "resourceVersion should not be set on objects to be created"
            )
        for own in (*_SERVERS_OWN, "resourceVersion"):
            meta.pop(own, None)
        if kind.resource.namespaced:
            meta["namespace"] = target.namespace
        meta["uid"] = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        meta["creationTimestamp"] = timestamp(self._now())
        if rules.counts:
            meta["generation"] = 1
        if rules.status is not None:
            body["status"] = dict(rules.status)
        rules.default(body, None)
        causes = check_meta(body)
        causes += rules.check(body) if name else [required("metadata.name", "name or generateName")]
        if kind.storage == "events":
            causes += check_new_event(kind, body)
        if causes:
            raise refusals.invalid(kind.resource, name, causes)
        key = (kind.storage, target.namespace, name)
        if self._objects.get(key) is not None:
            raise refusals.already_exists(kind.resource, name)
        if dry_run:
            return Stored(0, body, msgspec.json.encode(body))
        stored = self._objects.put(key, body)
        self._deletion.collect(key)
        return stored

    def update(self, target: Target, sent: Body, *, dry_run: bool = False) -> Stored:
        """Replace an object, or one part of it for a subresource. Raises Refusal."""
        kind, rules = target.kind, self._rules[target.kind.storage]
        current = self._objects.get(target.key)
        if current is None:
            raise refusals.not_found(kind.resource, target.name)
        body = self._parsed(target, sent)
        if body["metadata"].get("name") != target.name:
            raise refusals.bad_request(
                f"the name of the object ({body['metadata'].get('name', '')}) does not match the name on the "
                f"URL ({target.name})"
            )
        _check_version(kind, target.name, body["metadata"], current)
        body = _carried(target, body, current.body)
        rules.default(body, current.body)
        causes = check_meta(body) + rules.check(body) + rules.check_change(body, current.body)
        causes += _check_finalizers(body, current.body)
        if causes:
            raise refusals.invalid(kind.resource, target.name, causes)
        body["metadata"]["resourceVersion"] = str(current.revision)
        if body == current.body:
            return current
        if "generation" in body["metadata"] and _counts(rules, body, current.body):
            body["metadata"]["generation"] += 1
        if dry_run:
            return Stored(current.revision, body, msgspec.json.encode(body))
        stored = self._objects.put(target.key, body)
        if self._deletion.finish(target.key):
            return stored.at(self._objects.revision)
        self._deletion.collect(target.key)
        return stored

    def bind(self, target: Target, sent: Body) -> None:
        """Put a pod on a node. Raises Refusal."""
        current = self._pod(target)
        node = (sent.get("target") or {}).get("name", "")
        if not node:
            raise refusals.invalid(PODS, target.name, [required("target.name")])
        if current.body["spec"].get("nodeName"):
            why = f"pod {target.name} is already assigned to node {current.body['spec']['nodeName']!r}"
            raise refusals.conflict(PODS, target.name, why)
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(self._now()),
        }
        status = current.body["status"]
        others = [one for one in status.get("conditions", ()) if one["type"] != "PodScheduled"]
        spec = {**current.body["spec"], "nodeName": node}
        body = {**current.body, "spec": spec, "status": {**status, "conditions": [*others, scheduled]}}
        self._objects.put(target.key, body)

    def evict(self, target: Target, sent: Body, *, dry_run: bool = False) -> None:
        """Delete a pod the polite way (no disruption budgets are kept here). Raises Refusal."""
        self._pod(target)
        self._deletion.delete(target.kind, target.key, sent.get("deleteOptions") or {}, dry_run=dry_run)

    def _pod(self, target: Target) -> Stored:
        current = self._objects.get(target.key)
        if current is None:
            raise refusals.not_found(target.kind.resource, target.name)
        return current

    def _parsed(self, target: Target, sent: Body) -> Body:
        """The body in stored spelling, without nulls, or a Refusal (400) if it is not of its kind."""
        resource = target.kind.resource
        version, name = sent.get("apiVersion"), sent.get("kind")
        if version not in (None, "", resource.api_version):
            raise refusals.bad_request(
                f"the API version in the data ({version}) does not match the expected API version "
                f"({resource.api_version})"
            )
        if name not in (None, "", resource.kind):
            raise refusals.bad_request(
                f"{name} in version {version!r} cannot be handled as a {resource.kind}"
            )
        if why := misfit(resource, sent):
            raise refusals.bad_request(
                f"{resource.kind} in version {resource.version!r} cannot be handled as a {resource.kind}: {why}"
            )
        body: Body = without_nulls(sent)
        body.pop("kind", None)
        body.pop("apiVersion", None)
        meta = body.setdefault("metadata", {})
        for empty in ("labels", "annotations", "finalizers", "ownerReferences"):
            if empty in meta and not meta[empty]:
                del meta[empty]
        namespace = meta.get("namespace") or target.namespace
        if resource.namespaced and namespace != target.namespace:
            raise refusals.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        return to_stored(target.kind, body)

    def _admit(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.resource.namespaced:
            return
        holder = self._objects.get(("namespaces", "", namespace))
        if holder is None:
            raise refusals.Refusal(
                404,
                "NotFound",
                f'namespaces "{namespace}" not found',
                details={"name": namespace, "kind": "namespaces"},
            )
        if holder.body["metadata"].get("deletionTimestamp"):
            raise refusals.namespace_terminating(kind.resource, name, namespace)


def without_nulls(value: Any) -> Any:
    """A deep copy without null fields: to a typed server they are absent."""
    if isinstance(value, dict):
        return {name: without_nulls(held) for name, held in value.items() if held is not None}
    if isinstance(value, list):
        return [without_nulls(held) for held in value]
    return value


def _check_version(kind: Kind, name: str, meta: Body, current: Stored) -> None:
    revision, uid = meta.get("resourceVersion", ""), meta.get("uid", "")
    if uid and uid != current.body["metadata"]["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {uid}, "
            f"UID in object meta: {current.body['metadata']['uid']}"
        )
        raise refusals.conflict(kind.resource, name, why)
    if not revision and kind.needs_version:
        cause = bad("metadata.resourceVersion", 0, "must be specified for an update")
        raise refusals.invalid(kind.resource, name, [cause])
    if revision and not set(revision) <= set(string.digits):
        cause = bad("metadata.resourceVersion", revision, "is no resource version")
        raise refusals.invalid(kind.resource, name, [cause])
    if revision and int(revision) not in (0, current.revision):
        raise refusals.conflict(kind.resource, name)


def _carried(target: Target, body: Body, old: Body) -> Body:
    """The new body with everything that this request may not touch taken from the old one."""
    meta, was = body["metadata"], old["metadata"]
    if target.subresource:
        merged = {**was}
        for free in ("labels", "annotations"):
            merged.pop(free, None)
            if free in meta:
                merged[free] = meta[free]
        return {**_copied(old), "metadata": merged, "status": body.get("status", {})}
    for own in (*_SERVERS_OWN, "namespace", "generateName"):
        meta.pop(own, None)
        if own in was:
            meta[own] = was[own]
    if "status" in target.kind.subresources:
        body["status"] = _copied(old.get("status", {}))
    return body


def _copied(value: Body) -> Body:
    copy: Body = msgspec.json.decode(msgspec.json.encode(value))
    return copy


def _check_finalizers(new: Body, old: Body) -> list[refusals.Cause]:
    if not old["metadata"].get("deletionTimestamp"):
        return []
    was = old["metadata"].get("finalizers", ())
    if set(new["metadata"].get("finalizers", ())) <= set(was):
        return []
    return [
        not_permitted("metadata.finalizers", "no new finalizers can be added if the object is being deleted")
    ]


def _counts(rules: Rules, new: Body, old: Body) -> bool:
    if rules.counts_labels and new["metadata"].get("labels") != old["metadata"].get("labels"):
        return True
    return any(new.get(part) != old.get(part) for part in rules.counts)
