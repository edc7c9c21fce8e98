"""Creating and changing objects: the order in which things are checked and done.

Knows create, update and the actions of pods. Refuses to know the rules of a kind (rules.py), patch formats
(patches.py) and transports. The rule: a change that changes nothing is no change, so nobody hears of it.
Source: Kubernetes API concepts, "Resource operations".
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from zenlead.kube.resources import PODS
from zenlead.sandbox import refusals
from zenlead.sandbox.objects import Stored
from zenlead.sandbox.parsing import SERVERS_OWN, Target, carried, check_finalizers, check_version, parsed
from zenlead.sandbox.rules import Rules, check_new_event
from zenlead.sandbox.validation import check_meta, required
from zenlead.sandbox.views import timestamp

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from zenlead.sandbox.deletion import Deletion
    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.objects import Body, Objects

_NAME_SUFFIX = 5  # characters that generateName adds
_NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words by accident


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
        body = parsed(target, sent)
        meta = body["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            suffix = "".join(self._dice.choices(_NAME_CHARACTERS, k=_NAME_SUFFIX))
            meta["name"] = f"{meta['generateName']}{suffix}"
        name = str(meta.get("name", ""))
        self._admit(kind, target.namespace, name)
        if meta.get("resourceVersion"):
            raise refusals.Refusal(500, "", "resourceVersion should not be set on objects to be created")
        self._mark_as_new(target, meta, counted=bool(rules.counts))
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

    def _mark_as_new(self, target: Target, meta: Body, *, counted: bool) -> None:
        """Give a new object what only the server gives."""
        for own in (*SERVERS_OWN, "resourceVersion"):
            meta.pop(own, None)
        if target.kind.resource.namespaced:
            meta["namespace"] = target.namespace
        meta["uid"] = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        meta["creationTimestamp"] = timestamp(self._now())
        if counted:
            meta["generation"] = 1

    def update(self, target: Target, sent: Body, *, patching: bool = False, dry_run: bool = False) -> Stored:
        """Replace an object, or one part of it for a subresource; ``sent`` may be made by a patch.

        Raises Refusal.
        """
        kind, rules = target.kind, self._rules[target.kind.storage]
        current = self._objects.get(target.key)
        if current is None:
            raise refusals.not_found(kind.resource, target.name)
        body = parsed(target, sent, patching=patching)
        if body["metadata"].get("name") != target.name:
            raise refusals.bad_request(
                f"the name of the object ({body['metadata'].get('name', '')}) does not match the name on the "
                f"URL ({target.name})"
            )
        check_version(target, body["metadata"], current, patching=patching)
        body = carried(target, body, current.body)
        rules.default(body, current.body)
        causes = check_meta(body) + rules.check(body) + rules.check_change(body, current.body)
        causes += check_finalizers(body, current.body)
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


def _counts(rules: Rules, new: Body, old: Body) -> bool:
    if rules.counts_labels and new["metadata"].get("labels") != old["metadata"].get("labels"):
        return True
    return any(new.get(part) != old.get(part) for part in rules.counts)
