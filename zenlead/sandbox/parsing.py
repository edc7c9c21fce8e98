"""What a request is about, and its body as the store wants it.

Knows which parts of a body a client may bring, and what makes it unreadable. Refuses to know the store and
the rules of kinds. The rule: nothing that a client sent reaches the store without passing here.
Source: Kubernetes API conventions, "Metadata", "Concurrency control and consistency", "Spec and status".
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.sandbox import refusals
from zenlead.sandbox.event_views import to_stored
from zenlead.sandbox.shapes import misfit
from zenlead.sandbox.validation import bad, check_immutable, not_permitted

if TYPE_CHECKING:
    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.objects import Body, Key, Stored
    from zenlead.sandbox.refusals import Cause

# Set by the server and by nobody else.
SERVERS_OWN = (
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


def parsed(target: Target, sent: Body, *, patching: bool = False) -> Body:
    """The body in stored spelling, without nulls. Raises Refusal: 400, or 422 for the outcome of a patch."""
    check_shape(target, sent, patching=patching)
    body: Body = without_nulls(sent)
    body.pop("kind", None)
    body.pop("apiVersion", None)
    meta = body.setdefault("metadata", {})
    for empty in ("labels", "annotations", "finalizers", "ownerReferences"):
        if empty in meta and not meta[empty]:
            del meta[empty]
    namespace = meta.get("namespace") or target.namespace
    if target.kind.resource.namespaced and namespace != target.namespace:
        raise refusals.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return to_stored(target.kind, body)


def check_shape(target: Target, sent: Body, *, patching: bool = False) -> None:
    """Whether a body has the types of its kind. Raises Refusal: 400, or 422 for the outcome of a patch."""
    why = _misfit(target, sent)
    if why and patching:
        cause = bad("patch", "", why)
        details = {"causes": [msgspec.to_builtins(cause)]}
        raise refusals.Refusal(422, "Invalid", f'"" is invalid: patch: {cause.message}', details=details)
    if why:
        raise refusals.bad_request(why)


def _misfit(target: Target, sent: Body) -> str:
    resource = target.kind.resource
    version, name = sent.get("apiVersion"), sent.get("kind")
    if version not in (None, "", resource.api_version):
        return (
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if name not in (None, "", resource.kind):
        return f'{name} in version "{version}" cannot be handled as a {resource.kind}'
    if why := misfit(resource, sent):
        return (
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'
        )
    return ""


def without_nulls(value: Any) -> Any:
    """A deep copy without null fields: to a typed server they are absent."""
    if isinstance(value, dict):
        return {name: without_nulls(held) for name, held in value.items() if held is not None}
    if isinstance(value, list):
        return [without_nulls(held) for held in value]
    return value


def check_version(target: Target, meta: Body, current: Stored, *, patching: bool) -> None:
    """Whether a body was made from the object as it is. Raises Refusal: 409, 422, or 500 for no number."""
    kind, name = target.kind, target.name
    revision, uid, held = (
        meta.get("resourceVersion", ""),
        meta.get("uid", ""),
        current.body["metadata"]["uid"],
    )
    if uid and uid != held:
        if patching:
            raise refusals.invalid(kind.resource, name, check_immutable("metadata.uid", uid, held))
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {held}"
        raise refusals.conflict(kind.resource, name, why)
    if not revision and kind.needs_version:
        cause = bad("metadata.resourceVersion", 0, "must be specified for an update")
        raise refusals.invalid(kind.resource, name, [cause])
    if revision and not set(revision) <= set(string.digits):
        raise refusals.Refusal(500, "", f'strconv.ParseUint: parsing "{revision}": invalid syntax')
    if revision and int(revision) not in (0, current.revision):
        raise refusals.conflict(kind.resource, name)


def carried(target: Target, body: Body, old: Body) -> Body:
    """The new body with everything that this request may not touch taken from the old one."""
    meta, was = body["metadata"], old["metadata"]
    if target.subresource:
        merged = {**was}
        for free in ("labels", "annotations", "finalizers"):
            merged.pop(free, None)
            if free in meta:
                merged[free] = meta[free]
        return {**_copied(old), "metadata": merged, "status": body.get("status", {})}
    for own in (*SERVERS_OWN, "namespace", "generateName"):
        meta.pop(own, None)
        if own in was:
            meta[own] = was[own]
    if "status" in target.kind.subresources:
        body["status"] = _copied(old.get("status", {}))
    return body


def _copied(value: Body) -> Body:
    copy: Body = msgspec.json.decode(msgspec.json.encode(value))
    return copy


def check_finalizers(new: Body, old: Body) -> list[Cause]:
    """An object that is on its way out takes no new finalizers."""
    if not old["metadata"].get("deletionTimestamp"):
        return []
    was = old["metadata"].get("finalizers", ())
    if set(new["metadata"].get("finalizers", ())) <= set(was):
        return []
    return [
        not_permitted("metadata.finalizers", "no new finalizers can be added if the object is being deleted")
    ]
