"""The task that keeps a Store equal to the API server.

Knows connections, waiting and jitter. Refuses to decide what a line means (the Cursor) or what an object is.
Rules: one full list per fault, swapped in whole; what is known stays while the server cannot be reached; no
wait without a deadline.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, Protocol

import backoff

from zenlead.kube.errors import ApiError, Forbidden, Gone, Invalid, Throttled, Unauthorized, Unreachable
from zenlead.kube.facts import InformerSynced, KubeFact, ObjectRejected, WatchRestarted
from zenlead.kube.store import Change, Store, V
from zenlead.kube.watch import Broken, Cursor, Event, Kind, Phase, Rejected, Remove, Swap, Upsert

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from zenlead.kube.resources import Resource

# The server ends each watch after this long, and a stream that outlives it by the grace is dead. Together they
# bound how long a connection that silently carries nothing can hide a change; a resumed watch costs one request.
WATCH_TIMEOUT_S = (25.0, 35.0)
WATCH_GRACE_S = 5.0
INITIAL_IDLE_S = (
    10.0  # an initial stream that pauses for this long comes from a server that ignores the request
)
RETRY_BASE_S = 0.1  # doubled with each failure in a row, with full jitter
RETRY_CAP_S = 3.0  # a returned API server is noticed within this
REFUSED_DELAY_S = 5.0  # after 403: permissions are mended by people
UNAUTHORIZED_LIMIT_S = 5.0  # credentials that are refused for this long, fresh ones included, are wrong
SLICE = 500  # changes of one full list that are handed on before other tasks get their turn


class ListWatch(Protocol):
    """The two reads that an informer needs (kube/api.py has them)."""

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes: ...

    def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]: ...


class Informer(Generic[V]):
    """Lists and watches one kind, in one namespace or all, into ``store``; calls ``on_change`` for each change.

    ``synced`` is set once the first full list stands in the store. ``problem`` says in words what keeps the
    informer from working, or is None.
    """

    def __init__(
        self,
        api: ListWatch,
        kind: Kind[V],
        store: Store[V],
        on_change: Callable[[Change[V]], None],
        *,
        namespace: str | None = None,
        notify: Callable[[KubeFact], None] = lambda _fact: None,
    ) -> None:
        self._api = api
        self._cursor = Cursor(kind)
        self._store = store
        self._on_change = on_change
        self._namespace = namespace
        self._notify = notify
        self._resource = kind.resource
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._list_started = self._loop.time()
        self._mark = store.mark()
        self._unauthorized_since: float | None = None
        self._waits = _waits()
        self.synced = asyncio.Event()
        self.problem: str | None = f"{self.name}: the first list has not come yet"

    def __repr__(self) -> str:
        return f"Informer({self.name} {self._cursor!r} silent={self.silent_s():.1f}s problem={self.problem})"

    @property
    def name(self) -> str:
        """``pods`` or, for one namespace, ``pods in t1``."""
        return self._resource.plural + (f" in {self._namespace}" if self._namespace else "")

    def silent_s(self) -> float:
        """Seconds since the server last said anything (an object, a bookmark, the end of a stream)."""
        return self._loop.time() - self._heard_at

    async def run(self) -> None:
        """Follow the server for ever. Raises Unauthorized when the credentials stay refused."""
        while True:
            try:
                await self._once()
            except ApiError as error:
                await self._recover(error)

    async def _once(self) -> None:
        """One request to its end."""
        request = self._cursor.request()
        if self._cursor.at_start:
            self._mark = self._store.mark()
            self._list_started = self._loop.time()
        if request.watch:
            await self._follow(dict(request.query))
        else:
            body = await self._api.list(self._resource, self._namespace, request.query)
            await self._hand_on(self._cursor.page(body))

    async def _follow(self, query: dict[str, str]) -> None:
        timeout_s = random.uniform(*WATCH_TIMEOUT_S)  # noqa: S311 - spreads reconnects, guards nothing
        initial = self._cursor.phase is Phase.STREAMING
        if not initial:  # a big initial list may take its time; every chunk of it has a deadline of its own
            query["timeoutSeconds"] = str(int(timeout_s))
        started = self._loop.time()
        deadline_s = timeout_s + WATCH_GRACE_S if not initial else float("inf")
        async with aclosing(
            self._api.watch(self._resource, self._namespace, query, deadline_s=deadline_s)
        ) as chunks:
            async for chunk in self._timed(chunks, started):
                await self._hand_on(self._cursor.feed(chunk))
        self._cursor.ended()
        self._notify(WatchRestarted(self._resource.plural, "ended", 0.0))
        if self._loop.time() - started < 1.0:  # a server that ends every watch at once must not be hammered
            await asyncio.sleep(next(self._waits))

    async def _timed(
        self, chunks: AsyncGenerator[bytes, None], started: float
    ) -> AsyncGenerator[bytes, None]:
        """The chunks, with a deadline on each while the initial list comes, and then one for the whole stream.

        The initial list came by a watch without a server-side timeout, so it is ended from here in good time.
        """
        unbounded = self._cursor.phase is Phase.STREAMING
        while True:
            try:
                async with asyncio.timeout(self._patience_s(started) if unbounded else None):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if self._cursor.phase is Phase.STREAMING:
                    self._cursor.ignored_streaming()
                    raise Unreachable("the server did not finish the initial list") from None
                return
            yield chunk

    def _patience_s(self, started: float) -> float:
        if self._cursor.phase is Phase.STREAMING:
            return INITIAL_IDLE_S
        return max(0.0, started + WATCH_TIMEOUT_S[0] - self._loop.time())

    async def _hand_on(self, events: list[Event[V]]) -> None:
        """Take events over into the store and tell the changes."""
        self._heard_at = self._loop.time()
        for event in events:
            match event:
                case Upsert(view=view):
                    self._tell(self._store.apply(view))
                case Remove(view=view):
                    self._tell(self._store.remove(view))
                case Swap(views=views, unreadable=unreadable):
                    changes = self._store.replace(
                        views, mark=self._mark, scope=self._namespace, unreadable=unreadable
                    )
                    for start in range(0, len(changes), SLICE):
                        for change in changes[start : start + SLICE]:
                            self._on_change(change)
                        await asyncio.sleep(0)
                    self._is_synced(len(views))
                case Rejected(namespace=namespace, name=name, error=error):
                    self._notify(ObjectRejected(self._resource.plural, namespace, name, error))
                case Broken(error=error):
                    raise error
        if self._cursor.phase is Phase.WATCHING:
            self._well()

    def _tell(self, change: Change[V] | None) -> None:
        if change is not None:
            self._on_change(change)

    def _is_synced(self, objects: int) -> None:
        self._notify(InformerSynced(self._resource.plural, objects, self._loop.time() - self._list_started))
        self.synced.set()

    def _well(self) -> None:
        if self.problem is not None or self._unauthorized_since is not None:
            self.problem = self._unauthorized_since = None
        self._waits = _waits()

    async def _recover(self, error: ApiError) -> None:
        """Wait as long as the error asks for; the cursor knows where to go on."""
        streaming_refused = self._cursor.phase is Phase.STREAMING and isinstance(error, Invalid)
        self._cursor.failed(error)
        delay_s = 0.0 if streaming_refused else self._delay_s(error)
        self.problem = f"{self.name}: {error.message}"
        self._notify(WatchRestarted(self._resource.plural, _word(error), delay_s, error.message))
        if isinstance(error, Unauthorized):
            now = self._loop.time()
            since = self._unauthorized_since = self._unauthorized_since or now
            if now - since > UNAUTHORIZED_LIMIT_S:
                raise error
        await asyncio.sleep(delay_s)

    def _delay_s(self, error: ApiError) -> float:
        delay_s = next(self._waits)
        if isinstance(error, Forbidden):
            delay_s = max(delay_s, REFUSED_DELAY_S)
        return max(delay_s, error.retry_after_s or 0.0)


def _waits() -> Generator[float, None, None]:
    """Full jitter below 0.1, 0.2, 0.4 … 3 s, but never quite nothing: a hot loop is worse than a late reconnect."""
    bounds = backoff.expo(base=2, factor=RETRY_BASE_S, max_value=RETRY_CAP_S)
    bounds.send(None)
    while True:
        yield random.uniform(RETRY_BASE_S / 4, next(bounds))  # noqa: S311 - spreads reconnects, guards nothing


def _word(error: ApiError) -> str:
    match error:
        case Gone():
            return "gone"
        case Throttled():
            return "throttled"
        case Forbidden():
            return "forbidden"
        case Unauthorized():
            return "unauthorized"
        case Unreachable() if "idle" in error.message:
            return "idle"
        case Unreachable():
            return "unreachable"
        case _:
            return "refused"
