"""WATCH: what one watcher has not read yet, and the stream that gives it out.

Knows where a watch starts, selectors that objects enter and leave, bookmarks and expiry. Refuses to know
transports: http.py and memory.py send the same bytes. The rule: events come in the order of revisions, and a
bookmark never overtakes an event.
Source: Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming lists".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from zenlead.sandbox import refusals, views
from zenlead.sandbox.kinds import Kind
from zenlead.sandbox.lists import options_refused, revision_of
from zenlead.sandbox.objects import Compacted, Objects, Occurrence, Stored
from zenlead.sandbox.selectors import matcher

if TYPE_CHECKING:
    from zenlead.sandbox.refusals import Refusal

# How long a watch lasts that does not say so itself; a real server takes 30 to 60 minutes.
TIMEOUT_S = 1800.0
# A watch that will end by its own timeout gets a last bookmark this long before.
LAST_BOOKMARK_S = 2.0
# A watcher that has not read this many events is cut off, as the real server does with slow ones.
BACKLOG = 100_000

Streaming = Literal["served", "refused", "ignored"]
Render = Callable[[Kind, Stored], bytes]


class Feed:
    """The unread lines of one watcher; ``wake`` is set whenever there is something to do."""

    def __init__(self, objects: Objects, kind: Kind, namespace: str, query: Mapping[str, str]) -> None:
        self.kind = kind
        self.lines: deque[bytes] = deque()
        self.ended = False
        self.wake = asyncio.Event()
        self.render: Render = views.whole
        self.bookmarks = query.get("allowWatchBookmarks", "").lower() in ("true", "1")
        self._objects = objects
        self._namespace = namespace
        self._matches = matcher(kind, query)
        self._after = 0  # events up to this revision are not for this watcher
        self._unsubscribe: Callable[[], None] | None = None
        self._open_feeds: set[Feed] | None = None

    def __repr__(self) -> str:
        return f"Feed({self.kind.resource.plural}, unread={len(self.lines)}, ended={self.ended})"

    def start(self, revision: int | None, open_feeds: set[Feed], *, initial: bool) -> None:
        """Begin after ``revision``, or with every object of now. Raises Compacted.

        Until it is closed, the feed is one of ``open_feeds``.
        """
        if initial or not revision:
            for _, stored in self._objects.find(self.kind.storage, self._namespace):
                if self._matches is None or self._matches(stored.body):
                    self._send(b"ADDED", stored)
            self._after = self._objects.revision
            if initial and self.bookmarks:
                self.bookmark(initial_end=True)
        else:
            for occurrence in self._objects.since(revision):
                self._follow(occurrence)
            self._after = revision
        self._unsubscribe = self._objects.subscribe(self._follow)
        self._open_feeds = open_feeds
        open_feeds.add(self)

    def bookmark(self, *, initial_end: bool = False) -> None:
        """Tell the watcher that it has seen everything up to now."""
        body = views.bookmark(self.kind, self._objects.revision, initial_end=initial_end)
        self.lines.append(b'{"type":"BOOKMARK","object":' + msgspec.json.encode(body) + b"}\n")
        self.wake.set()

    def fail(self, refusal: Refusal) -> None:
        """End the stream with an ERROR event."""
        self.lines.append(b'{"type":"ERROR","object":' + msgspec.json.encode(refusal.status()) + b"}\n")
        self.close()

    def close(self) -> None:
        """End the stream after what is unread; whoever opened a feed closes it."""
        self.ended = True
        self.wake.set()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._open_feeds is not None:
            self._open_feeds.discard(self)

    def take(self) -> bytes:
        """Everything unread, as bytes."""
        chunk = b"".join(self.lines)
        self.lines.clear()
        self.wake.clear()
        return chunk

    def _follow(self, occurrence: Occurrence) -> None:
        storage, namespace, _ = occurrence.key
        if storage != self.kind.storage or occurrence.revision <= self._after:
            return
        if self._namespace and namespace != self._namespace:
            return
        before, after = occurrence.before, occurrence.after
        was = before is not None and (self._matches is None or self._matches(before.body))
        is_now = after is not None and (self._matches is None or self._matches(after.body))
        if after is not None and is_now:
            self._send(b"MODIFIED" if was else b"ADDED", after)
        elif before is not None and was:
            # Gone, or no longer selected: the last form that the watcher knew, at the revision of now.
            self._send(b"DELETED", before.at(occurrence.revision))
        if len(self.lines) > BACKLOG:
            self.close()

    def _send(self, kind_of_event: bytes, stored: Stored) -> None:
        body = self.render(self.kind, stored)
        self.lines.append(b'{"type":"' + kind_of_event + b'","object":' + body + b"}\n")
        self.wake.set()


class Watches:
    """Opens feeds and keeps those that are open. ``bookmark_interval_s`` is in loop seconds."""

    def __init__(
        self,
        objects: Objects,
        *,
        bookmark_interval_s: float,
        streaming: Streaming = "served",
        gone_on_connect: bool = False,
    ) -> None:
        self._objects = objects
        self._bookmark_interval_s = bookmark_interval_s
        self._streaming = streaming
        self._gone_on_connect = gone_on_connect
        self._open: set[Feed] = set()

    def __repr__(self) -> str:
        return f"Watches(open={len(self._open)})"

    def open(self, kind: Kind, namespace: str, query: Mapping[str, str], render: Render) -> Feed:
        """Start a watch. Raises Refusal; what the real server only says in the stream is said there."""
        revision, initial = revision_of(query), self._wants_initial(query)
        feed = Feed(self._objects, kind, namespace, query)
        feed.render = render
        if revision and revision > self._objects.revision and initial:
            feed.fail(refusals.from_the_future(revision, self._objects.revision))
            return feed
        try:
            feed.start(revision, self._open, initial=initial)
        except Compacted as error:
            refusal = refusals.expired(revision or 0, error.oldest)
            if self._gone_on_connect:
                raise refusal from error
            feed.fail(refusal)
        return feed

    async def stream(self, feed: Feed, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The bytes of a feed as they come, until it ends or ``timeoutSeconds`` are over."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _timeout_s(query)
        bookmark_at = _next_bookmark(loop.time(), self._bookmark_interval_s, ends)
        while True:
            if feed.lines:
                yield feed.take()
                continue
            if feed.ended or loop.time() >= ends:
                return
            if feed.bookmarks and loop.time() >= bookmark_at:
                feed.bookmark()
                bookmark_at = _next_bookmark(loop.time(), self._bookmark_interval_s, ends)
                continue
            until = min(ends, bookmark_at) if feed.bookmarks else ends
            await _wait(feed.wake, until - loop.time())
            feed.wake.clear()

    def expire(self) -> None:
        """Forget all history and tell every open watch that its version is too old."""
        self._objects.compact()
        for feed in tuple(self._open):
            feed.fail(refusals.expired(self._objects.revision - 1, self._objects.revision))

    def close(self) -> None:
        """End every open watch."""
        for feed in tuple(self._open):
            feed.close()

    def _wants_initial(self, query: Mapping[str, str]) -> bool:
        asked, match = query.get("sendInitialEvents", ""), query.get("resourceVersionMatch", "")
        if self._streaming == "ignored":
            return False
        if not asked:
            if match:
                raise options_refused(
                    "resourceVersionMatch", "is forbidden for watch without sendInitialEvents"
                )
            return False
        if self._streaming == "refused":
            raise options_refused("sendInitialEvents", "is forbidden: this server does not stream lists")
        if match != "NotOlderThan":
            raise options_refused("sendInitialEvents", "requires resourceVersionMatch NotOlderThan")
        return asked.lower() in ("true", "1")


def _timeout_s(query: Mapping[str, str]) -> float:
    text = query.get("timeoutSeconds", "")
    return float(text) if text.isdigit() and int(text) > 0 else TIMEOUT_S


def _next_bookmark(now: float, interval_s: float, ends: float) -> float:
    """The usual interval, or the last chance before the end; after that one, none."""
    last = ends - LAST_BOOKMARK_S
    return min(now + interval_s, last) if now < last else ends


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await event.wait()
    except TimeoutError:
        return
