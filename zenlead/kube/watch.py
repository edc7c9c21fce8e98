"""The list/watch machine: which request comes next, and what its answer means.

Knows resourceVersions, pages, watch lines, bookmarks and the errors that ask for a new list. Refuses to know
sockets and time. Rules: lines are split in bytes and decoded whole; a version moves only with its object.
Source: Kubernetes API concepts: efficient detection of changes, streaming lists, large results in chunks.
"""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from zenlead.kube.errors import ApiError, Forbidden, Gone, Invalid, Unreachable
from zenlead.kube.resources import Resource  # noqa: TC001 - a field of a Struct
from zenlead.kube.status import error_of
from zenlead.kube.store import Key, V, number
from zenlead.kube.watchevents import Broken, Event, Rejected, Remove, Swap, Upsert
from zenlead.kube.watchwire import AnyObject, Code, Line, Page

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_SIZE = 100  # objects; a page is decoded in one go, and 100 big pods block the loop for some 4 ms
# More than so many objects after the first page are streamed. A stream is one request, and no page of it
# expires, but it costs the server twice as much: 3000 pods take 0.65 s instead of 0.4 s.
MANY = 10_000
LINE_LIMIT = 16 * 1024 * 1024  # bytes; etcd refuses objects of more than 1.5 MiB, JSON may double that
END_OF_INITIAL_EVENTS = "k8s.io/initial-events-end"
UNEXPLAINED = 500  # the code of an ERROR event that has none
TOO_NEW = "ResourceVersionTooLarge"  # the cause of a 504: the server was restored to before that version

V_co = TypeVar("V_co", covariant=True)


class Wire(Protocol[V_co]):
    """A msgspec Struct that mirrors an object's JSON and gives its view.

    ``metadata`` has at least name, namespace, resource_version and annotations.
    """

    metadata: Any

    def view(self) -> V_co: ...


class Kind(msgspec.Struct, Generic[V], frozen=True):
    """What to watch: the resource, how to decode its objects, and which of them (a label selector)."""

    resource: Resource
    wire: Any  # type[Wire[V]]
    label_selector: str = ""


class Phase(enum.Enum):
    """Where the cursor is."""

    LISTING = "listing"  # initial list by pages; -> WATCHING at their end, -> STREAMING if many, or forbidden
    STREAMING = "streaming"  # initial list by watch; -> WATCHING at its end mark, -> LISTING if refused
    WATCHING = "watching"  # changes from a version on; -> STREAMING or LISTING when that is too old


class Request(msgspec.Struct, frozen=True):
    """The next request: a list page or a watch, with its query."""

    watch: bool
    query: dict[str, str]


class Cursor(Generic[V]):
    """The machine: ask ``request``; give the answer to ``page``, ``feed`` and ``ended``, or ``failed``.

    Of objects in namespaces that it does not want (``wants``; None: it wants all) nothing is said.
    """

    def __init__(
        self,
        kind: Kind[V],
        *,
        page_size: int | None = None,
        wants: Callable[[str], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.version = ""
        self.phase = Phase.LISTING
        self._streams = True  # until the server refuses or ignores streaming lists
        self._page_size = page_size or PAGE_SIZE
        self._wants = wants
        self._token = ""
        self._initial: list[V] = []  # the full list so far; only while STREAMING or LISTING
        self._unreadable: set[Key] = set()  # likewise
        self._parts: list[bytes] = []  # of a line that has not ended yet
        self._partial_size = 0
        self._line: msgspec.json.Decoder[Line[Wire[V]]] = msgspec.json.Decoder(Line[kind.wire])  # type: ignore[name-defined]  # a type made at run time
        self._page: msgspec.json.Decoder[Page[Wire[V]]] = msgspec.json.Decoder(Page[kind.wire])  # type: ignore[name-defined]  # likewise

    def __repr__(self) -> str:
        return f"Cursor({self.kind.resource.plural} {self.phase.value} version={self.version or 'none'})"

    @property
    def at_start(self) -> bool:
        """Whether the next request begins a full list."""
        return self.phase is Phase.STREAMING or (self.phase is Phase.LISTING and not self._token)

    def request(self) -> Request:
        """What to ask next; bytes left over from an earlier stream are forgotten."""
        self._forget_partial()
        selector = {"labelSelector": self.kind.label_selector} if self.kind.label_selector else {}
        if self.phase is Phase.LISTING:
            page = {"limit": str(self._page_size)} | ({"continue": self._token} if self._token else {})
            return Request(False, selector | page)
        watch = selector | {"watch": "1", "allowWatchBookmarks": "true"}
        if self.phase is Phase.STREAMING:
            return Request(
                True, watch | {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            )
        return Request(True, watch | {"resourceVersion": self.version})

    def question(self) -> Request:
        """What to ask a server that was away before its watch is resumed; the answer is for ``answered``.

        One that was restored to an older state takes a watch from a version that it has not reached yet, and
        is silent about everything until it has.
        """
        selector = {"labelSelector": self.kind.label_selector} if self.kind.label_selector else {}
        return Request(False, selector | {"limit": "1"})

    def answered(self, body: bytes) -> None:
        """Raises Gone when the server is at an older version than ours, Unreachable for what is no list."""
        try:
            now = msgspec.json.decode(body, type=Page[msgspec.Raw]).metadata.resource_version
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"a list of {self.kind.resource.plural} that is no list: {error}") from error
        self._compare(now)

    def page(self, body: bytes) -> list[Event[V]]:
        """Take one page of a list. The Swap comes with the last page; where the first one says that there are
        MANY more, the list begins anew as a stream."""
        rejected: list[Event[V]] = []
        first = not self._token
        try:
            page = self._page.decode(body)
            self._initial += [wire.view() for wire in page.items or () if self._is_wanted(wire.metadata)]
        except (ValueError, RecursionError):
            page, rejected = self._page_by_object(body)
        self._token = page.metadata.token or ""
        if first and self._streams and self._token and (page.metadata.remaining or 0) > MANY:
            self._restart(Phase.STREAMING)
            return []
        if self._token:
            return rejected
        return [*rejected, self._synced(page.metadata.resource_version)]

    def feed(self, chunk: bytes) -> list[Event[V]]:
        """Take bytes of a watch as they arrive.

        Broken is the last event when the stream cannot go on: the error that a line of type ERROR carries,
        Unreachable for what is no watch event, Gone when versions run backwards (a restored API server).
        """
        end = chunk.find(b"\n")
        if end < 0:
            self._parts.append(chunk)
            self._partial_size += len(chunk)
            if self._partial_size > LINE_LIMIT:
                return [Broken(Unreachable(f"a watch line of more than {LINE_LIMIT} bytes"))]
            return []
        lines = chunk.split(b"\n")
        lines[0] = b"".join((*self._parts, lines[0]))
        self._parts = [lines.pop()]
        self._partial_size = len(self._parts[0])
        events: list[Event[V]] = []
        try:
            for line in lines:
                if line.strip():
                    self._take(line, events)
        except ApiError as error:  # what came before it in the chunk counts
            events.append(Broken(error))
        return events

    def ended(self) -> None:
        """The watch came to its normal end. Raises Unreachable when it ended inside a line, or before the
        initial list was whole: a server that ignores streaming lists is then asked for pages."""
        partial = self._partial_size > 0
        self._forget_partial()
        if self.phase is Phase.STREAMING:
            self.ignored_streaming()
            raise Unreachable("the stream ended before the initial list was whole")
        if partial:
            raise Unreachable("the watch was cut inside a line")

    def failed(self, error: ApiError) -> bool:
        """A request or its stream failed. Returns whether a new full list is needed (else it is resumed)."""
        self._forget_partial()
        if self.phase is Phase.STREAMING:
            self._streams = self._streams and not isinstance(error, Invalid)
            self._restart()
            return True
        if self.phase is Phase.LISTING:
            if isinstance(error, Forbidden) and self._streams:  # who may only watch gets a list by that
                self._restart(Phase.STREAMING)
                return True
            if self._token and isinstance(error, Gone | Invalid):  # the continue token expired, or is no good
                self._restart()
                return True
            return bool(self._token)  # the page is asked for again
        if isinstance(error, Gone | Invalid) or TOO_NEW in error.causes:
            self._restart()
            return True
        return False

    def ignored_streaming(self) -> None:
        """The server has not ended the initial list of a stream in time: ask for pages from now on."""
        self._forget_partial()
        self._streams = False
        self._restart()

    def _restart(self, phase: Phase = Phase.LISTING) -> None:
        self.phase = phase
        self.version = self._token = ""
        self._initial, self._unreadable = [], set()

    def _forget_partial(self) -> None:
        self._parts, self._partial_size = [], 0

    def _synced(self, resource_version: str) -> Swap[V]:
        self.phase, self._token = Phase.WATCHING, ""
        version = number(resource_version)
        self.version = resource_version if version else ""
        swap = Swap(self._initial, frozenset(self._unreadable), version)
        self._initial, self._unreadable = [], set()
        return swap

    def _take(self, line: bytes, events: list[Event[V]]) -> None:
        try:
            event = self._line.decode(line)
            wire = event.object
            meta = wire.metadata
        except (ValueError, RecursionError) as error:
            self._take_odd(line, error, events)
            return
        if event.type == "ERROR":  # a Status has a metadata too
            self._raise_error(line)
        if event.type == "BOOKMARK":
            self._bookmark(meta.resource_version, meta.annotations or {}, events)
            return
        if not self._is_wanted(meta):
            self._pass_over(meta.resource_version)
            return
        try:
            view = wire.view()
        except ValueError as error:
            self._take_odd(line, error, events)
            return
        if self.phase is Phase.STREAMING:
            self._initial.append(view)
            return
        version = self._advance(meta.resource_version)
        events.append(Remove(view, version) if event.type == "DELETED" else Upsert(view, version))

    def _is_wanted(self, metadata: Any) -> bool:
        return self._wants is None or self._wants(metadata.namespace or "")

    def _pass_over(self, version: str) -> None:
        if self.phase is not Phase.STREAMING:
            self._advance(version)

    def _bookmark(self, version: str, annotations: dict[str, str], events: list[Event[V]]) -> None:
        if self.phase is Phase.STREAMING and annotations.get(END_OF_INITIAL_EVENTS) == "true":
            events.append(self._synced(version))
        else:
            self._pass_over(version)

    def _advance(self, version: str) -> int:
        now = self._compare(version)
        if now:  # else it is no version, and nobody would understand it in a request
            self.version = version
        return now

    def _compare(self, version: str) -> int:
        now = number(version)
        if 0 < now < number(self.version):
            raise Gone(f"the version went back from {self.version} to {version}")
        return now

    def _take_odd(self, line: bytes, error: Exception, events: list[Event[V]]) -> None:
        """A line that does not decode as it should: an ERROR, an unreadable object, or no event at all."""
        try:
            event = msgspec.json.decode(line, type=Line[msgspec.Raw])
        except (ValueError, RecursionError) as nonsense:
            raise Unreachable(f"a watch line that is no event: {nonsense}") from error
        if event.type == "ERROR":
            self._raise_error(line)
        try:
            meta = msgspec.json.decode(event.object, type=AnyObject).metadata
        except (ValueError, RecursionError) as nonsense:
            raise Unreachable(f"a watch event without an object: {nonsense}") from error
        if event.type == "BOOKMARK":
            annotated = END_OF_INITIAL_EVENTS.encode() in bytes(event.object)
            self._bookmark(
                meta.resource_version, {END_OF_INITIAL_EVENTS: "true"} if annotated else {}, events
            )
            return
        if not self._is_wanted(meta):
            self._pass_over(meta.resource_version)
            return
        if self.phase is Phase.STREAMING:
            self._unreadable.add((meta.namespace or "", meta.name))
        elif event.type == "DELETED":  # the last good view must not stay, and only a full list can tell
            raise Gone(f"{meta.name} was deleted in a state that does not decode: {error}")
        else:
            self._advance(meta.resource_version)
        events.append(Rejected(meta.namespace or "", meta.name, str(error)))

    def _raise_error(self, line: bytes) -> None:
        status, code = b"", UNEXPLAINED
        with contextlib.suppress(ValueError, RecursionError):
            status = bytes(msgspec.json.decode(line, type=Line[msgspec.Raw]).object)
            code = msgspec.json.decode(status, type=Code).code or UNEXPLAINED
        raise error_of(f"WATCH {self.kind.resource.plural}", code, {}, status, 0.0)

    def _page_by_object(self, body: bytes) -> tuple[Page[Any], list[Event[V]]]:
        """A page in which some object does not decode: keep the others, name the culprit."""
        try:
            page = msgspec.json.decode(body, type=Page[msgspec.Raw])
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"a list of {self.kind.resource.plural} that is no list: {error}") from error
        rejected: list[Event[V]] = []
        for raw in page.items or ():
            try:
                wire = msgspec.json.decode(raw, type=self.kind.wire)
                if self._is_wanted(wire.metadata):
                    self._initial.append(wire.view())
            except (ValueError, RecursionError) as error:
                culprit = _rejected(raw, error)
                if self._is_wanted(culprit):
                    self._unreadable.add((culprit.namespace, culprit.name))
                    rejected.append(culprit)
        return page, rejected


def _rejected(raw: msgspec.Raw, error: Exception) -> Rejected:
    try:
        meta = msgspec.json.decode(raw, type=AnyObject).metadata
    except (ValueError, RecursionError):
        return Rejected("", "", str(error))
    return Rejected(meta.namespace or "", meta.name, str(error))
