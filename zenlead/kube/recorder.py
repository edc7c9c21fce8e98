"""Kubernetes Events: told once each, at a bounded rate, never in the way of the work they tell of.

Knows the Event object, what was told lately and what waits to be told. Refuses to know why something is worth
an Event: the caller names each occurrence (``dedup``). The rule not to break: ``record`` neither waits nor
raises.
Source: events.k8s.io/v1 Event and its validation (k8s.io/kubernetes pkg/apis/core/validation/events.go).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from aiolimiter import AsyncLimiter

from zenlead.kube.api import request_lane
from zenlead.kube.errors import AlreadyExists, ApiError, Forbidden, NotFound, Throttled, Unreachable
from zenlead.kube.facts import EventDropped
from zenlead.kube.microtime import micro_time
from zenlead.kube.resources import EVENTS
from zenlead.kube.supervise import alive, at_rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.kube.resources import Resource

REPORTING_CONTROLLER = "zen-lead-controller"
NOTE_LIMIT = 1024  # bytes; the API server refuses more
FIELD_LIMIT = 128  # characters of reason, action and reportingInstance; likewise
NAME_LIMIT = 253  # characters of an object's name; likewise
HASH_DIGITS = 16  # 64 bits: two of a million Events of one Service do not meet
# Two Events for each of 2000 Services that are opted in at once. Oldest go first when it is more.
QUEUE_LIMIT = 4096
# Names of Events told lately, some 100 bytes each; what falls out costs one more request.
RECENT_LIMIT = 8192
# Far below what a small API server bears, and enough for a failover of everything within a minute or two.
EVENTS_PER_S = 20.0
BURST = 100.0
# One request; an Event is not worth more waiting.
WRITE_TIMEOUT_S = 5.0
RETRY_DELAY_S = 1.0  # after no answer or a plea for patience, once: about what either means


class ObjectReference(msgspec.Struct, frozen=True, rename="camel"):
    """Which object an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class EventWriter(Protocol):
    """What a recorder needs of kube/api.py."""

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes: ...


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str


class _Event(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    metadata: _Metadata
    regarding: ObjectReference
    type: str
    reason: str
    action: str
    note: str
    event_time: str
    reporting_instance: str
    # Fields with a default are left out while they have it, so what must always be sent has none.
    related: ObjectReference | None = None


class Recorder:
    """Tells Events while ``run`` runs, and only while ``fence`` (seconds of authority) is positive.

    While the server has more important things to do, ``patience`` says for how many seconds Events wait until
    it is asked again; 0 when they need not.
    """

    def __init__(
        self,
        api: EventWriter,
        identity: str,
        *,
        fence: Callable[[], float],
        now: Callable[[], float],
        notify: Callable[[EventDropped], None],
        patience: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._api = api
        self._identity = identity[:FIELD_LIMIT]
        self._fence = fence
        self._now = now
        self._notify = notify
        self._patience = patience
        self._waiting: deque[_Event] = deque()
        self._some = asyncio.Event()  # set while anything waits
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()  # (namespace, name): told or waiting
        self._limiter = AsyncLimiter(BURST, BURST / EVENTS_PER_S)

    def __repr__(self) -> str:
        return f"Recorder({self._identity} waiting={len(self._waiting)} recent={len(self._recent)})"

    def record(
        self,
        *,
        regarding: ObjectReference,
        type: Literal["Normal", "Warning"],
        reason: str,
        action: str,
        note: str,
        dedup: str,
        related: ObjectReference | None = None,
    ) -> None:
        """Tell that something has happened to ``regarding``.

        ``dedup`` names the occurrence: the same one is told once, by whichever replica, across restarts, for
        as long as the API server keeps Events. Notes over 1024 bytes are cut.
        """
        metadata = _Metadata(event_name(regarding.name, dedup), regarding.namespace or "default")
        key = (metadata.namespace, metadata.name)
        if key in self._recent:
            self._recent.move_to_end(key)
            return
        self._recent[key] = None
        if len(self._recent) > RECENT_LIMIT:
            self._recent.popitem(last=False)
        if len(self._waiting) >= QUEUE_LIMIT:
            self._drop(self._waiting.popleft(), "queue_full")
        event = _Event(
            metadata=metadata,
            regarding=regarding,
            type=type,
            reason=reason[:FIELD_LIMIT],
            action=action[:FIELD_LIMIT],
            note=cut(note, NOTE_LIMIT),
            event_time=micro_time(self._now()),
            reporting_instance=self._identity,
            related=related,
        )
        self._waiting.append(event)
        self._some.set()

    async def run(self) -> None:
        """Write what is recorded, until cancelled."""
        request_lane.set("event")
        while True:
            at_rest()
            await self._some.wait()
            alive()
            if (wait_s := self._patience()) > 0:
                await asyncio.sleep(wait_s)
                continue
            await self._limiter.acquire()
            if self._waiting:
                await self._tell(self._waiting.popleft())
            if not self._waiting:
                self._some.clear()

    async def _tell(self, event: _Event) -> None:
        why = await self._try(event)
        if why in {"unreachable", "throttled"}:
            alive(RETRY_DELAY_S)
            await asyncio.sleep(RETRY_DELAY_S)
            why = await self._try(event)
        if why:
            self._drop(event, why)

    async def _try(self, event: _Event) -> str:
        """Empty if the Event is told or never can be; else why it is not."""
        authority_s = self._fence()
        if authority_s <= 0:
            return "fenced"
        alive(WRITE_TIMEOUT_S)
        body = msgspec.json.encode({"apiVersion": EVENTS.api_version, "kind": EVENTS.kind, **_fields(event)})
        try:
            async with asyncio.timeout(min(authority_s, WRITE_TIMEOUT_S)):
                await self._api.create(EVENTS, event.metadata.namespace, body)
        except (AlreadyExists, NotFound):
            return ""  # told before; or the namespace is gone, and with it all who might read
        except Forbidden as error:
            return "" if "NamespaceTerminating" in error.causes else "refused"
        except (Unreachable, TimeoutError):
            return "unreachable"
        except Throttled:
            return "throttled"
        except ApiError:
            return "refused"
        return ""

    def _drop(self, event: _Event, why: str) -> None:
        self._recent.pop((event.metadata.namespace, event.metadata.name), None)  # it may be told another time
        self._notify(EventDropped(event.reason, why))


def event_name(subject: str, dedup: str) -> str:
    """A valid object name that is the same for the same occurrence: ``web.0123456789abcdef``."""
    digest = hashlib.sha256(dedup.encode(errors="replace")).hexdigest()[:HASH_DIGITS]
    start = subject[: NAME_LIMIT - HASH_DIGITS - 1].rstrip("-.")
    return f"{start}.{digest}" if start else digest


def cut(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` bytes of UTF-8, with an ellipsis if it had to be cut."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _fields(event: _Event) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(event)
    return {**fields, "reportingController": REPORTING_CONTROLLER}
