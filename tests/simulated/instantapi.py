"""An API server without rules that answers at once: for tests of a hundred thousand writes.

Knows objects, versions, watches and that what is owned goes with its owner. Refuses to know validation and
defaults: those are the sandbox's. The rule: it keeps what exists now, so growth can only be the controller's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.errors import AlreadyExists, Conflict, NotFound
from zenlead.kube.resources import EVENTS
from zenlead.kube.watch import END_OF_INITIAL_EVENTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from zenlead.kube.resources import Resource

Body = dict[str, Any]


class _Feed:
    def __init__(self, namespace: str | None) -> None:
        self.namespace = namespace
        self.lines: deque[bytes] = deque()
        self.wake = asyncio.Event()

    def wants(self, body: Body) -> bool:
        return self.namespace in (None, body["metadata"].get("namespace"))

    def send(self, kind: bytes, body: bytes) -> None:
        self.lines.append(b'{"type":"' + kind + b'","object":' + body + b"}\n")
        self.wake.set()

    def take(self) -> bytes:
        chunk = b"".join(self.lines)
        self.lines.clear()
        self.wake.clear()
        return chunk


class InstantApi:
    """Api of kube/api.py. ``writes`` counts them by verb and resource; selectors are not looked at."""

    def __init__(self) -> None:
        self.writes: dict[tuple[str, str], int] = {}
        self._version = 1
        self._objects: dict[str, dict[tuple[str, str], Body]] = {}
        self._owned: dict[str, list[tuple[Resource, str, str]]] = {}  # by UID of the owner
        self._feeds: dict[str, set[_Feed]] = {}

    def __repr__(self) -> str:
        return f"InstantApi({ {plural: len(held) for plural, held in self._objects.items()} })"

    def count(self, resource: Resource) -> int:
        return len(self._objects.get(resource.plural, ()))

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        await asyncio.sleep(0)
        return msgspec.json.encode(self._found(resource, namespace or "", name))

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        """All objects; but of slices only ours are ever here, so whoever asks for others gets none."""
        await asyncio.sleep(0)
        strangers = "!=" in query.get("labelSelector", "")
        items = [] if strangers else list(self._objects.get(resource.plural, {}).values())
        return msgspec.json.encode({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        await asyncio.sleep(0)
        made = msgspec.json.decode(body)
        held = self._objects.setdefault(resource.plural, {})
        if (namespace, made["metadata"]["name"]) in held:
            raise AlreadyExists("there already", status=409)
        made["metadata"] |= {"namespace": namespace, "uid": f"uid-{self._version}"}
        made["metadata"].setdefault("creationTimestamp", "2025-01-01T00:00:00Z")
        if resource != EVENTS:  # which a real server forgets after an hour
            held[namespace, made["metadata"]["name"]] = made
        for owner in made["metadata"].get("ownerReferences") or ():
            self._owned.setdefault(owner["uid"], []).append((resource, namespace, made["metadata"]["name"]))
        return self._changed("create", b"ADDED", resource, made)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        await asyncio.sleep(0)
        held = self._found(resource, namespace, name)
        change = msgspec.json.decode(body)
        wanted = change.get("metadata", {}).pop("resourceVersion", None)
        if wanted not in (None, held["metadata"]["resourceVersion"]):
            raise Conflict("changed meanwhile", status=409)
        _merge(held, change)
        return self._changed("patch", b"MODIFIED", resource, held)

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        await asyncio.sleep(0)
        gone = self._found(resource, namespace, name)
        self._remove(resource, namespace, name)
        return msgspec.json.encode(gone)

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + float(query.get("timeoutSeconds", deadline_s - 1))
        feed = _Feed(namespace)
        feeds = self._feeds.setdefault(resource.plural, set())
        feeds.add(feed)
        if "sendInitialEvents" in query:
            for body in self._objects.get(resource.plural, {}).values():
                if feed.wants(body):
                    feed.send(b"ADDED", msgspec.json.encode(body))
            said = {"annotations": {END_OF_INITIAL_EVENTS: "true"}, "resourceVersion": str(self._version)}
            feed.send(b"BOOKMARK", msgspec.json.encode({"metadata": said}))
        try:
            yield b""
            while loop.time() < ends:
                if feed.lines:
                    yield feed.take()
                    continue
                try:
                    async with asyncio.timeout_at(ends):
                        await feed.wake.wait()
                except TimeoutError:
                    return
        finally:
            feeds.discard(feed)

    def _remove(self, resource: Resource, namespace: str, name: str) -> None:
        gone = self._objects[resource.plural].pop((namespace, name), None)
        if gone is not None:
            self._changed("delete", b"DELETED", resource, gone)
            for owned in self._owned.pop(gone["metadata"]["uid"], ()):
                self._remove(*owned)

    def _found(self, resource: Resource, namespace: str, name: str) -> Body:
        found = self._objects.get(resource.plural, {}).get((namespace, name))
        if found is None:
            raise NotFound("no such object", status=404)
        return found

    def _changed(self, verb: str, kind: bytes, resource: Resource, body: Body) -> bytes:
        self.writes[verb, resource.plural] = self.writes.get((verb, resource.plural), 0) + 1
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        encoded = msgspec.json.encode(body)
        for feed in self._feeds.get(resource.plural, ()):
            if feed.wants(body):
                feed.send(kind, encoded)
        return encoded


def _merge(into: Body, change: Body) -> None:
    """A JSON merge patch (RFC 7386) in place."""
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
