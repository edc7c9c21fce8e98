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
from zenlead.kube.intake import Whole
from zenlead.kube.joint import Part
from zenlead.kube.store import Change, Store, V
from zenlead.kube.supervise import ALIVE_S, alive
from zenlead.kube.watch import TOO_NEW, Cursor, Kind, Phase
from zenlead.kube.watchevents import Broken, Event, Rejected, Remove, Swap, Upsert

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from zenlead.kube.intake import Intake
    from zenlead.kube.resources import Resource

# The server ends each watch after this long, and a stream that outlives it by the grace is dead: that is how
# long a connection that silently carries nothing can hide a change. To resume a watch costs one request.
WATCH_TIMEOUT_S = 30.0
WATCH_JITTER = 1 / 6  # of the timeout, up and down, so that informers do not reconnect together
WATCH_GRACE_S = 5.0
SHORT_WATCH_S = 1.0  # a server that ends watches sooner than this must not be asked again at once
INITIAL_LIMIT_S = 120.0  # for a whole initial list by stream (some millions of objects); then pages
INITIAL_IDLE_S = 10.0  # a server that pauses an initial list for this long ignores that it was asked for one
# From the last word of a server to the next: within this nobody restores it to an older state, later it is
# asked for its version. Not to be refused is no sign: a connection can be held until the server is back.
UNBROKEN_S = 1.0
QUESTION_LIMIT_S = 5.0  # for that version: the answer has one object
RETRY_BASE_S = 0.1  # doubled with each failure in a row, with full jitter
RETRY_CAP_S = 3.0  # a returned API server is noticed within this
REFUSED_DELAY_S = 5.0  # after 403 for so long: permissions are mended by people
STARTING_S = 5.0  # for this long a server that has just started may not know its roles yet, and refuse
LONGEST_RETRY_AFTER_S = (
    60.0  # what a server may ask for; a number gone wrong must not end the watching for ever
)
UNAUTHORIZED_LIMIT_S = 5.0  # credentials that are refused for this long, fresh ones included, are wrong
BIT = 64 * 1024  # bytes of a stream that are decoded in one go: a millisecond or so
TURN_S = 0.002  # other tasks wait no longer than this, however much each change makes its hearer do


class ListWatch(Protocol):
    """The two reads that an informer needs (kube/api.py has them)."""

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes: ...

    def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]: ...


class Informer(Generic[V]):
    """Lists and watches one kind, in one namespace or all, and keeps a store equal to what is there; or does
    so together with others (a Part). ``on_change`` gets each change.

    ``synced`` is set once the first full list has been taken over. ``problem`` says in words what keeps the
    informer from working, or is None; ``error`` is the server's, if it is one.
    """

    def __init__(
        self,
        api: ListWatch,
        kind: Kind[V],
        into: Store[V] | Part[V],
        on_change: Callable[[Change[V]], None],
        *,
        namespace: str | None = None,
        watch_timeout_s: float = WATCH_TIMEOUT_S,
        optional: bool = False,
        left: Callable[[str], None] = lambda _name: None,
        came: Callable[[str], None] = lambda _name: None,
        notify: Callable[[KubeFact], None] = lambda _fact: None,
    ) -> None:
        self._api = api
        self._intake: Intake[V] = Whole(into, namespace) if isinstance(into, Store) else into
        self._cursor = Cursor(kind, wants=into.wants if isinstance(into, Part) else None)
        self._on_change = on_change
        self._namespace = namespace
        self._watch_timeout_s = watch_timeout_s
        # Called with our name when the server does not answer, and when all is up to date again.
        self._left, self._came = left, came
        self._notify = notify
        self._resource = kind.resource
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        # When the server last said its version, whether it can be watched or not.
        self._sure_at = self._loop.time()
        self._list_started = self._loop.time()
        self._failing: tuple[type[ApiError], float] | None = None  # how, and since when in a row
        self._ends_at = float("-inf")  # of the current watch, at the latest
        self._turn_at = self._loop.time()  # when others had their turn
        self._absent = False  # no answer to the last request; a stream that was cut had one
        self._opened = False  # whether the request under way has an answer
        self._watching_since = float("inf")
        # After no answer, and after one that is no help: when a server that was away for long says "too old",
        # the full list must not wait for long.
        self._absent_waits, self._refused_waits = _waits(), _waits()
        self.optional = optional  # others can work without what it knows
        self.synced = asyncio.Event()
        self.error: ApiError | None = None
        self.problem: str | None = f"{self.name}: the first list has not come yet"

    def __repr__(self) -> str:
        return f"Informer({self.name} {self._cursor!r} silent={self.silent_s():.1f}s problem={self.problem})"

    @property
    def name(self) -> str:
        """``pods`` or, for one namespace, ``pods in t1``."""
        return self._resource.plural + (f" in {self._namespace}" if self._namespace else "")

    @property
    def refused(self) -> bool:
        """Whether the server says that we may not read this."""
        return isinstance(self.error, Forbidden)

    def silent_s(self) -> float:
        """Seconds since the watch last said anything (an object, a bookmark, the end of a stream)."""
        return self._loop.time() - self._heard_at

    async def run(self) -> None:
        """Follow the server for ever. Raises Unauthorized when the credentials stay refused."""
        while True:
            alive()
            try:
                await self._once()
            except ApiError as error:
                await self._recover(error)
            except (Exception, asyncio.CancelledError):
                # What was said may have been taken over by half: whoever runs this again needs a full list.
                self._cursor.failed(Gone("a stream was not taken over to its end"))
                raise

    async def _once(self) -> None:
        """One request to its end."""
        self._opened = False
        await self._make_sure()
        request = self._cursor.request()
        self._watching_since = self._loop.time() if self._cursor.phase is Phase.WATCHING else float("inf")
        if self._cursor.at_start:
            self._intake.begin()
            self._list_started = self._loop.time()
        if request.watch:
            await self._follow(dict(request.query))
        else:
            body = await self._api.list(self._resource, self._namespace, request.query)
            await self._hand_on(self._cursor.page(body))

    async def _make_sure(self) -> None:
        """Before a watch is resumed, and again when it took long to begin: the server is not an older one."""
        unsure_s = self._loop.time() - max(self._heard_at, self._sure_at)
        if self._cursor.phase is not Phase.WATCHING or unsure_s <= UNBROKEN_S:
            return
        question = self._cursor.question()
        try:
            async with asyncio.timeout(QUESTION_LIMIT_S):
                body = await self._api.list(self._resource, self._namespace, question.query)
        except TimeoutError:
            raise Unreachable(f"the server did not say its version within {QUESTION_LIMIT_S:g} s") from None
        self._cursor.answered(body)
        self._sure_at = self._loop.time()

    async def _follow(self, query: dict[str, str]) -> None:
        if self._cursor.phase is Phase.STREAMING:
            await self._follow_initial(query)
            return
        jitter = random.uniform(1 - WATCH_JITTER, 1 + WATCH_JITTER)  # noqa: S311 - guards nothing
        timeout_s = self._watch_timeout_s * jitter
        query["timeoutSeconds"] = str(int(timeout_s))
        self._ends_at = self._loop.time() + timeout_s + WATCH_GRACE_S
        alive(timeout_s + WATCH_GRACE_S)
        stream = self._api.watch(self._resource, self._namespace, query, deadline_s=timeout_s + WATCH_GRACE_S)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                if not self._opened:
                    await self._make_sure()
                await self._take_in(chunk)
        self._cursor.ended()
        self._heard_at = self._loop.time()
        self._notify(WatchRestarted(self._resource.plural, "ended", 0.0))
        lived_s = self._loop.time() - self._watching_since
        if lived_s < SHORT_WATCH_S:
            await asyncio.sleep(max(next(self._refused_waits), SHORT_WATCH_S - lived_s))
        else:
            self._well()  # a watch in which nothing happened is a good one too

    async def _follow_initial(self, query: dict[str, str]) -> None:
        """Read a stream up to the end of the initial list; what comes later is the next watch's, which has a
        server-side end."""
        deadline_s = INITIAL_LIMIT_S + WATCH_GRACE_S
        ends = self._loop.time() + INITIAL_LIMIT_S
        stream = self._api.watch(self._resource, self._namespace, query, deadline_s=deadline_s)
        async with aclosing(stream) as chunks:
            while self._cursor.phase is Phase.STREAMING:
                try:
                    async with asyncio.timeout_at(min(ends, self._loop.time() + INITIAL_IDLE_S)):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    self._cursor.ended()
                    return
                except TimeoutError:
                    self._cursor.ignored_streaming()
                    raise Unreachable("the server did not finish the initial list") from None
                await self._take_in(chunk)

    async def _take_in(self, chunk: bytes) -> None:
        """What arrived together. A lot of it (500 Services) in bits, with turns for others between."""
        for start in range(0, max(1, len(chunk)), BIT):
            if start:
                await asyncio.sleep(0)
            await self._hand_on(self._cursor.feed(chunk[start : start + BIT]))

    async def _hand_on(self, events: list[Event[V]]) -> None:
        """Take events over into the store and tell the changes."""
        self._heard_at = self._turn_at = self._loop.time()
        self._opened = True
        alive(max(ALIVE_S, self._ends_at - self._heard_at))
        for event in events:
            match event:
                case Upsert(view=view, version=version):
                    await self._tell(self._intake.apply(view, version))
                case Remove(view=view, version=version):
                    await self._tell(self._intake.remove(view, version))
                case Swap(views=views):
                    for changes in self._intake.replace(event):
                        for change in changes:
                            await self._tell(change)
                        await asyncio.sleep(0)
                    self._is_synced(len(views))
                case Rejected(namespace=namespace, name=name, error=error):
                    self._notify(ObjectRejected(self._resource.plural, namespace, name, error))
                case Broken(error=error):
                    raise error
        if self._cursor.phase is Phase.WATCHING:
            self._intake.reached(self._cursor.version)
            self._well()

    async def _tell(self, change: Change[V] | None) -> None:
        if change is None:
            return
        self._on_change(change)
        if self._loop.time() - self._turn_at > TURN_S:
            await asyncio.sleep(0)
            self._turn_at = self._loop.time()

    def _is_synced(self, objects: int) -> None:
        self._notify(InformerSynced(self._resource.plural, objects, self._loop.time() - self._list_started))
        self.synced.set()

    def _well(self) -> None:
        """The stream is open. Only one that lasts makes the waits short again: to open it and to fail at once
        must not become a hot loop."""
        if self.problem is not None:
            self.problem = self.error = self._failing = None
        if self._absent:
            self._absent = False
            self._came(self.name)
        if self._loop.time() - self._watching_since >= SHORT_WATCH_S:
            self._absent_waits, self._refused_waits = _waits(), _waits()

    async def _recover(self, error: ApiError) -> None:
        """Wait as long as the error asks for; the cursor knows where to go on."""
        streaming_refused = self._cursor.phase is Phase.STREAMING and isinstance(error, Invalid)
        self._cursor.failed(error)
        failing_s = self._failing_s(error)
        delay_s = 0.0 if streaming_refused else self._delay_s(error, failing_s)
        self.error, self.problem = error, f"{self.name}: {error.message}"
        self._notify(WatchRestarted(self._resource.plural, _word(error), delay_s, error.message))
        if isinstance(error, Unauthorized) and failing_s > UNAUTHORIZED_LIMIT_S:
            raise error
        alive(delay_s)
        await asyncio.sleep(delay_s)

    def _failing_s(self, error: ApiError) -> float:
        """For how long every answer has been an error like this one."""
        if self._failing is None or self._failing[0] is not type(error):
            self._failing = type(error), self._loop.time()
        return self._loop.time() - self._failing[1]

    def _delay_s(self, error: ApiError, failing_s: float) -> float:
        if isinstance(error, Unreachable) and TOO_NEW not in error.causes:
            if not self._absent and not self._opened:
                self._absent = True
                self._left(self.name)
            delay_s = next(self._absent_waits)
        else:
            self._absent_waits = _waits()
            delay_s = next(self._refused_waits)
        if isinstance(error, Forbidden) and failing_s >= STARTING_S:
            delay_s = max(delay_s, REFUSED_DELAY_S)
        return max(delay_s, min(error.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


def _waits() -> Generator[float, None, None]:
    """Full jitter below 0.1, 0.2, 0.4 … 3 s, but never quite nothing: that would be a hot loop."""
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
