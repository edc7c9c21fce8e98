"""The shared request layer: verbs over targets, below both HTTP and the in-process Api.

Knows how the rooms of the sandbox make one API server. Refuses to know sockets and media types of answers.
The rule: every request comes through here, so that HTTP and memory cannot differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.sandbox import patches, protobuf, refusals, views
from zenlead.sandbox.applies import Applies
from zenlead.sandbox.deletion import Deletion, decode_options
from zenlead.sandbox.kinds import ACCESS_REVIEWS, NAMESPACES, Kind, find_kind
from zenlead.sandbox.lists import Page, options_refused, page
from zenlead.sandbox.objects import HISTORY, Body, Objects, Stored
from zenlead.sandbox.parsing import Target, check_shape
from zenlead.sandbox.rules import rules_by_storage
from zenlead.sandbox.validation import required
from zenlead.sandbox.watches import Feed, Render, Streaming, Watches
from zenlead.sandbox.writes import Writes

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

NAMESPACES_AT_START = ("default", "kube-node-lease", "kube-public", "kube-system")
BOOKMARK_INTERVAL_S = 60.0  # about once a minute, as the real server does


class Knobs(msgspec.Struct, frozen=True):
    """How real servers differ from each other; the defaults are those of a current one."""

    history: int = HISTORY  # occurrences that can be replayed
    bookmark_interval_s: float = BOOKMARK_INTERVAL_S
    streaming: Streaming = "served"  # older servers refuse or ignore streaming lists
    gone_on_connect: bool = False  # True: 410 as the answer to a watch, not inside it
    collects_garbage: bool = True  # False: no garbage collector and no namespace controller
    service_ranges: Sequence[str] = ("10.96.0.0/16", "fd00:10:96::/112")  # one: a single-stack cluster


class ApiServer:
    """One API server. ``now`` is wall time in Unix seconds; ``dice`` makes UIDs and names."""

    def __init__(self, now: Callable[[], float], dice: random.Random, knobs: Knobs | None = None) -> None:
        self.knobs = knobs or Knobs()
        self.objects = Objects(self.knobs.history)
        self.watches = Watches(
            self.objects,
            bookmark_interval_s=self.knobs.bookmark_interval_s,
            streaming=self.knobs.streaming,
            gone_on_connect=self.knobs.gone_on_connect,
        )
        rules = rules_by_storage(self.objects, self.knobs.service_ranges)
        self._deletion = Deletion(self.objects, now, collects=self.knobs.collects_garbage)
        self._writes = Writes(self.objects, rules, self._deletion, now, dice)
        self._applies = Applies(self.objects)
        namespaces = self.kind(NAMESPACES.group, NAMESPACES.version, NAMESPACES.plural)
        for name in NAMESPACES_AT_START:
            self._writes.create(Target(namespaces), {"metadata": {"name": name}})

    def __repr__(self) -> str:
        return f"ApiServer({self.objects!r}, {self.watches!r})"

    @staticmethod
    def kind(group: str, version: str, plural: str) -> Kind:
        """The kind served at that path. Raises Refusal (404)."""
        kind = find_kind(group, version, plural)
        if kind is None:
            raise refusals.no_such_resource()
        return kind

    def get(self, target: Target) -> Stored:
        """One object. Raises Refusal (404)."""
        stored = self.objects.get(target.key)
        if stored is None:
            raise refusals.not_found(target.kind.resource, target.name)
        return stored

    def list(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> Page:
        """One page of objects. Raises Refusal."""
        return page(self.objects, kind, namespace, query)

    def watch(self, kind: Kind, namespace: str, query: Mapping[str, str], render: Render) -> Feed:
        """Open a watch, whose bytes ``stream`` gives. Raises Refusal."""
        return self.watches.open(kind, namespace, query, render)

    def stream(self, feed: Feed, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The bytes of an open watch."""
        return self.watches.stream(feed, query)

    def create(self, target: Target, body: bytes, query: Mapping[str, str]) -> bytes:
        """POST: store an object, or do what a subresource does. Raises Refusal."""
        sent = protobuf.decode(body) if protobuf.is_protobuf(body) else patches.decode_object(body)
        dry_run = _is_dry_run(query)
        if target.subresource:
            return self._act(target, sent, dry_run=dry_run)
        if target.kind.resource == ACCESS_REVIEWS:
            return msgspec.json.encode({"metadata": {}, **sent, "status": {"allowed": True}})
        return views.whole(target.kind, self._writes.create(target, sent, dry_run=dry_run))

    def update(self, target: Target, body: bytes, query: Mapping[str, str]) -> tuple[bytes, bool]:
        """PUT: replace an object or its status, and say whether it is new. Raises Refusal."""
        sent, dry_run = patches.decode_object(body), _is_dry_run(query)
        if target.kind.put_creates and self.objects.get(target.key) is None and not target.subresource:
            return views.whole(target.kind, self._writes.create(target, sent, dry_run=dry_run)), True
        return views.whole(target.kind, self._writes.update(target, sent, dry_run=dry_run)), False

    def patch(self, target: Target, body: bytes, media_type: str, query: Mapping[str, str]) -> bytes:
        """PATCH in any of the formats of patches.py. Raises Refusal."""
        if media_type == patches.APPLY:
            return self._apply(target, body, query)
        current = self.get(target)
        changed = patches.patched(target.kind, views.shown(target.kind, current.body), body, media_type)
        stored = self._writes.update(target, changed, patching=True, dry_run=_is_dry_run(query))
        return views.whole(target.kind, stored)

    def delete(self, target: Target, body: bytes, query: Mapping[str, str]) -> bytes:
        """DELETE one object. Raises Refusal."""
        options = _options(body, query)
        dry_run = _is_dry_run({**query, "dryRun": (options.get("dryRun") or [query.get("dryRun", "")])[0]})
        stored, gone = self._deletion.delete(target.kind, target.key, options, dry_run=dry_run)
        resource = target.kind.resource
        if not gone or target.kind.graceful or resource.plural == "services":
            return views.whole(target.kind, stored)
        group = {"group": resource.group} if resource.group else {}
        uid = stored.body["metadata"]["uid"]
        return views.success({"name": target.name, **group, "kind": resource.plural, "uid": uid})

    def delete_all(self, kind: Kind, namespace: str, body: bytes, query: Mapping[str, str]) -> Page:
        """DELETE a collection: every object that the selectors match. Raises Refusal."""
        options = _options(body, query)
        found = self.list(kind, namespace, {**query, "limit": "0"})
        for stored in found.items:
            meta = stored.body["metadata"]
            key = (kind.storage, meta.get("namespace", ""), meta["name"])
            if self.objects.get(key) is not None:
                self._deletion.delete(kind, key, options, dry_run=_is_dry_run(query))
        return found

    def _act(self, target: Target, sent: Body, *, dry_run: bool) -> bytes:
        match target.subresource:
            case "binding":
                self._writes.bind(target, sent)
            case "eviction":
                self._writes.evict(target, sent, dry_run=dry_run)
            case _:
                raise refusals.not_allowed()
        return views.success()

    def _apply(self, target: Target, body: bytes, query: Mapping[str, str]) -> bytes:
        applied, manager = patches.decode_yaml(body), query.get("fieldManager", "")
        check_shape(target, applied)
        if not manager:
            cause = required("fieldManager", "is required for apply patch")
            raise refusals.invalid(target.kind.resource, target.name, [cause])
        dry_run, held = _is_dry_run(query), self.objects.get(target.key)
        if held is None:
            meta = {"name": target.name, **(applied.get("metadata") or {})}
            stored = self._writes.create(target, {**applied, "metadata": meta}, dry_run=dry_run)
        else:
            force = query.get("force", "").lower() in ("true", "1")
            current = views.shown(target.kind, held.body)
            merged = self._applies.merged(target.kind, current, applied, manager, force=force)
            stored = self._writes.update(target, merged, patching=True, dry_run=dry_run)
        if not dry_run and self.objects.get(target.key) is not None:
            self._applies.remember(target.kind, stored.body["metadata"]["uid"], applied, manager)
        return views.whole(target.kind, stored)


def list_body(kind: Kind, found: Page) -> bytes:
    """A page as the answer to a LIST."""
    meta: dict[str, Any] = {"resourceVersion": str(found.revision)}
    if found.token:
        meta["continue"] = found.token
    if found.remaining is not None:
        meta["remainingItemCount"] = found.remaining
    resource = kind.resource
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta}
    items = b",".join(views.item(kind, stored) for stored in found.items)
    return msgspec.json.encode(head)[:-1] + b',"items":[' + items + b"]}"


def _is_dry_run(query: Mapping[str, str]) -> bool:
    asked = query.get("dryRun", "")
    if asked not in ("", "All"):
        raise options_refused("dryRun", f"Unsupported value: {asked!r}: supported values: All")
    return asked == "All"


def _options(body: bytes, query: Mapping[str, str]) -> Body:
    options = decode_options(body)
    if "gracePeriodSeconds" in query:
        if not query["gracePeriodSeconds"].lstrip("-").isdigit():
            raise refusals.bad_request("gracePeriodSeconds must be a number")
        options.setdefault("gracePeriodSeconds", int(query["gracePeriodSeconds"]))
    if "propagationPolicy" in query:
        options.setdefault("propagationPolicy", query["propagationPolicy"])
    return options
