"""The informer against a scripted server in virtual time: what it asks for, when, and what it never does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from zenlead.kube.errors import ApiError, Forbidden, Gone, Invalid, Throttled, Unauthorized, Unreachable
from zenlead.kube.facts import InformerSynced, KubeFact, ObjectRejected, WatchRestarted
from zenlead.kube.informer import (
    BIT,
    INITIAL_IDLE_S,
    INITIAL_LIMIT_S,
    LONGEST_RETRY_AFTER_S,
    REFUSED_DELAY_S,
    RETRY_BASE_S,
    RETRY_CAP_S,
    SHORT_WATCH_S,
    STARTING_S,
    TURN_S,
    UNAUTHORIZED_LIMIT_S,
    WATCH_GRACE_S,
    WATCH_JITTER,
    WATCH_TIMEOUT_S,
    Informer,
)
from zenlead.kube.resources import PODS, Resource
from zenlead.kube.store import Change, Store
from zenlead.kube.watch import MANY, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

pytestmark = pytest.mark.virtual_clock


@pytest.fixture(autouse=True)
def same_dice_every_time() -> None:
    random.seed(4711)


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str | None = None
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class View(msgspec.Struct, frozen=True):
    name: str
    resource_version: str

    @property
    def key(self) -> tuple[str, str]:
        return "t1", self.name


class WireThing(msgspec.Struct):
    metadata: Meta

    def view(self) -> View:
        return View(self.metadata.name, self.metadata.resource_version)


KIND: Kind[View] = Kind(PODS, WireThing)


def thing(name: str, at: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "t1", "resourceVersion": str(at)}}


def line(type_: str, body: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": type_, "object": body}) + b"\n"


def end_of_initial(at: int) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"}
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(at), "annotations": annotations}})


# A step of the script answers one request: an error is raised, a list body or chunks are given. A number
# among the chunks is a pause in seconds; None keeps the stream open and silent until its deadline.
Chunks = list[bytes | float | ApiError | None]
# Whenever the script goes on with a stream, or refuses one, the first page says that a stream is worth it.
MANY_THINGS = msgspec.json.encode(
    {"metadata": {"resourceVersion": "3", "continue": "t", "remainingItemCount": MANY + 1}, "items": []}
)
SYNC: Chunks = [line("ADDED", thing("a", 5)) + end_of_initial(10)]
QUIET: Chunks = [None]


class Request(msgspec.Struct, frozen=True):
    at: float
    watch: bool
    query: dict[str, str]
    deadline_s: float = 0.0

    @property
    def full(self) -> bool:
        """Whether it begins a full list."""
        if self.watch:
            return "sendInitialEvents" in self.query
        return "continue" not in self.query and self.query.get("limit") != "1"


class Server:
    """Answers by its script, and for ever with ``then`` when that is at its end."""

    def __init__(self, *script: ApiError | bytes | Chunks, then: ApiError | bytes | Chunks) -> None:
        self._script = list(script)
        self._then = then
        self.requests: list[Request] = []
        self.questions = 0
        self.now_at = 1000  # its version, for who asks before a watch is resumed
        self.held_s: dict[int, float] = {}  # how long a watch, by its number as a request, takes to begin
        self.open = 0

    def _next(self, request: Request) -> ApiError | bytes | Chunks:
        self.requests.append(request)
        assert len(self.requests) < 2000, "a hot loop"
        return self._script.pop(0) if self._script else self._then

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        follows = (self._script or [self._then])[0]
        if query.get("limit") == "1" and not isinstance(follows, Unreachable):
            self.questions += 1
            return msgspec.json.encode({"metadata": {"resourceVersion": str(self.now_at)}, "items": []})
        if "continue" not in query and isinstance(follows, list | Invalid):
            return MANY_THINGS
        step = self._next(Request(asyncio.get_running_loop().time(), False, dict(query)))
        await asyncio.sleep(0)
        if isinstance(step, ApiError):
            raise step
        assert isinstance(step, bytes), f"a list was asked for, the script has {step!r}"
        return step

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        step = self._next(Request(loop.time(), True, dict(query), deadline_s))
        ends = loop.time() + deadline_s
        await asyncio.sleep(self.held_s.get(len(self.requests), 0))
        if isinstance(step, ApiError):
            raise step
        assert isinstance(step, list), f"a watch was asked for, the script has {step!r}"
        self.open += 1
        try:
            yield b""
            for chunk in step:
                if isinstance(chunk, ApiError):
                    raise chunk
                if isinstance(chunk, bytes):
                    yield chunk
                else:
                    until = ends if chunk is None else loop.time() + chunk
                    await asyncio.sleep(min(until, ends) - loop.time())
                    if until >= ends:
                        raise Unreachable(f"idle: the watch has been open for {deadline_s:g} s")
        finally:
            self.open -= 1


class Scene:
    def __init__(self, server: Server, **over: Any) -> None:
        self.server = server
        self.facts: list[KubeFact] = []
        self.changes: list[Change[View]] = []
        self.store: Store[View] = Store()
        self.informer = Informer(
            server, KIND, self.store, self.changes.append, notify=self.facts.append, **over
        )

    def restarts(self) -> list[str]:
        return [fact.reason for fact in self.facts if isinstance(fact, WatchRestarted)]

    def fulls(self) -> int:
        return sum(request.full for request in self.server.requests)

    def waits(self) -> list[float]:
        times = [request.at for request in self.server.requests]
        return [b - a for a, b in itertools.pairwise(times)]

    def names(self) -> list[str]:
        return sorted(view.name for view in self.store)


@contextlib.asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scene.informer.run())
        try:
            yield task
        finally:
            task.cancel()
    assert scene.server.open == 0, "a stream was left open"


async def lived(server: Server, seconds: float, **over: Any) -> Scene:
    """The scene after the informer ran for so many virtual seconds."""
    scene = Scene(server, **over)
    async with running(scene):
        await asyncio.sleep(seconds)
    return scene


# --- the ordinary life --------------------------------------------------------------------------------------


async def test_one_streaming_list_and_then_watches_that_resume() -> None:
    scene = await lived(Server(SYNC, [line("ADDED", thing("b", 11)), 20.0], then=[20.0]), 100)
    assert scene.fulls() == 1
    assert scene.names() == ["a", "b"]
    assert [r.query["resourceVersion"] for r in scene.server.requests[1:4]] == ["10", "11", "11"]
    assert set(scene.restarts()) == {"ended"}
    assert scene.informer.synced.is_set()
    assert scene.informer.problem is None
    assert [f for f in scene.facts if isinstance(f, InformerSynced)] == [InformerSynced("pods", 1, 0.0)]
    assert "pods" in repr(scene.informer)


async def test_a_clean_end_after_a_while_is_no_error_and_costs_no_wait() -> None:
    scene = await lived(Server(SYNC, then=[20.0]), 100)
    assert scene.waits()[1:] == [20.0] * (len(scene.server.requests) - 2)
    assert len(scene.server.requests) == 1 + 100 / 20


async def test_every_watch_has_an_end_at_the_server_and_a_later_one_here() -> None:
    scene = await lived(Server(SYNC, then=[SHORT_WATCH_S]), 300)
    lengths = set()
    for request in scene.server.requests[1:]:
        timeout_s = int(request.query["timeoutSeconds"])
        lengths.add(timeout_s)
        assert WATCH_TIMEOUT_S * (1 - WATCH_JITTER) - 1 <= timeout_s <= WATCH_TIMEOUT_S * (1 + WATCH_JITTER)
        assert timeout_s + WATCH_GRACE_S <= request.deadline_s < timeout_s + 1 + WATCH_GRACE_S
    assert len(lengths) > 3, "informers would reconnect together"


async def test_a_silent_stall_is_noticed_in_time_and_resumed() -> None:
    scene = await lived(Server(SYNC, QUIET, then=[line("MODIFIED", thing("a", 12)), 25.0]), 60)
    stalled, resumed = scene.server.requests[1:3]
    bound_s = WATCH_TIMEOUT_S * (1 + WATCH_JITTER) + WATCH_GRACE_S + RETRY_BASE_S
    assert resumed.at - stalled.at <= bound_s
    assert resumed.query["resourceVersion"] == "10"
    assert scene.fulls() == 1
    assert scene.restarts()[0] == "idle"
    assert scene.store.get(("t1", "a")) == View("a", "12")


async def test_the_watch_timeout_is_the_callers() -> None:
    scene = await lived(Server(SYNC, then=QUIET), 60, watch_timeout_s=6.0)
    assert max(scene.waits()[1:]) <= 6 * (1 + WATCH_JITTER) + WATCH_GRACE_S + RETRY_CAP_S


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_loop() -> None:
    scene = await lived(Server(SYNC, then=[]), 60)
    assert len(scene.server.requests) < 120
    assert min(scene.waits()[1:]) >= RETRY_BASE_S / 4
    assert max(scene.waits()[1:]) <= RETRY_CAP_S
    assert scene.fulls() == 1


async def test_changes_are_told_in_order_and_equal_views_never() -> None:
    stream: Chunks = [
        line("MODIFIED", thing("a", 12)),
        line("DELETED", thing("a", 13)),
        None,
    ]
    scene = await lived(Server(SYNC, stream, then=QUIET), 20)
    a5, a12 = View("a", "5"), View("a", "12")
    assert scene.changes == [Change(None, a5), Change(a5, a12), Change(a12, None)]


# --- faults -------------------------------------------------------------------------------------------------

FAULTS: list[tuple[str, ApiError | Chunks, int, str]] = [
    ("cut", [line("ADDED", thing("b", 11)), Unreachable("reset")], 1, "unreachable"),
    ("half a line", [line("ADDED", thing("b", 11)) + b'{"type":'], 1, "unreachable"),
    ("no event", [b"<html>\n"], 1, "unreachable"),
    ("gone on connect", Gone("m", status=410), 2, "gone"),
    (
        "gone in the stream",
        [line("ADDED", thing("b", 11)) + line("ERROR", {"code": 410, "reason": "Expired"})],
        2,
        "gone",
    ),
    ("from the future", Unreachable("m", status=504, causes=("ResourceVersionTooLarge",)), 2, "unreachable"),
    ("restored to an older state", [line("ADDED", thing("b", 2))], 2, "gone"),
    ("refused", Forbidden("m", status=403), 1, "forbidden"),
    ("throttled", Throttled("m", status=429), 1, "throttled"),
    ("server error", Unreachable("m", status=500), 1, "unreachable"),
]


@pytest.mark.parametrize(("what", "fault", "lists", "word"), FAULTS, ids=[f[0] for f in FAULTS])
async def test_a_fault_costs_one_list_at_most(
    what: str, fault: ApiError | Chunks, lists: int, word: str
) -> None:
    again: Chunks = [line("ADDED", thing("b", 21)) + end_of_initial(30)]
    script: list[ApiError | Chunks] = [SYNC, fault] + ([again] if lists == 2 else [])
    scene = await lived(Server(*script, then=[line("MODIFIED", thing("b", 40)), 20.0]), 15)
    assert scene.fulls() == lists
    assert scene.restarts()[0] == word
    assert scene.names() == (["b"] if lists == 2 else ["a", "b"])
    assert scene.informer.problem is None


async def test_what_came_before_the_error_in_one_chunk_is_delivered() -> None:
    chunk = line("ADDED", thing("b", 11)) + line("ERROR", {"code": 410})
    scene = Scene(Server(SYNC, [chunk], then=Unreachable("down")))
    async with running(scene):
        await asyncio.sleep(5)
    assert scene.names() == ["a", "b"]


async def test_what_is_known_stays_while_the_server_is_away() -> None:
    scene = await lived(Server(SYNC, then=Unreachable("refused")), 600)
    assert scene.names() == ["a"]
    assert scene.informer.synced.is_set()
    assert scene.informer.problem == "pods: refused"
    assert scene.informer.silent_s() == pytest.approx(600, abs=1)


async def test_waits_grow_with_jitter_within_bounds() -> None:
    waits = (await lived(Server(SYNC, then=Unreachable("m")), 300)).waits()[1:]
    for n, wait_s in enumerate(waits):
        bound_s = min(RETRY_CAP_S, RETRY_BASE_S * 2**n)
        assert RETRY_BASE_S / 4 <= wait_s <= bound_s + 1e-9
    assert len(set(waits)) > len(waits) / 2
    assert max(waits) > RETRY_CAP_S / 2


async def test_success_resets_the_waits() -> None:
    script: list[ApiError | Chunks] = [SYNC, *[Unreachable("m")] * 12, [line("ADDED", thing("b", 11)), 5.0]]
    scene = await lived(Server(*script, then=Unreachable("m")), 40)
    good = next(i for i, r in enumerate(scene.server.requests) if r.query.get("resourceVersion") == "11")
    assert scene.waits()[good] <= RETRY_BASE_S


async def test_a_stream_that_opens_and_fails_at_once_does_not_make_the_waits_short() -> None:
    """A list that works and a watch that never does: no full list after the other without a wait."""
    fails: list[Chunks] = [
        [line("ERROR", {"code": 410})],
        [line("ADDED", thing("b", 11)), Gone("m")],
    ]
    for fail in fails:
        script = [step for _ in range(200) for step in (SYNC, fail)]
        scene = await lived(Server(*script, then=QUIET), 60)
        assert 10 < scene.fulls() < 60 / (RETRY_CAP_S / 2) * 1.5


async def test_what_was_away_for_long_and_then_says_too_old_is_asked_for_the_list_soon() -> None:
    script: list[ApiError | Chunks] = [SYNC, *[Unreachable("m")] * 40, [line("ERROR", {"code": 410})]]
    again: Chunks = [line("ADDED", thing("b", 21)) + end_of_initial(30)]
    scene = await lived(Server(*script, again, then=QUIET), 200)
    relisted = [r for r in scene.server.requests if r.full][1]
    gone = scene.server.requests[scene.server.requests.index(relisted) - 1]
    assert relisted.at - gone.at <= RETRY_BASE_S
    assert scene.fulls() == 2


async def test_a_server_that_was_away_and_is_older_now_is_asked_for_the_list() -> None:
    """It would take the watch from a version that it has not reached, and say nothing until it has."""
    again: Chunks = [line("ADDED", thing("b", 4)) + end_of_initial(6)]
    server = Server(SYNC, *[Unreachable("m")] * 5, again, then=QUIET)
    server.now_at = 6
    scene = await lived(server, 20)
    assert scene.names() == ["b"]
    assert (scene.fulls(), server.questions) == (2, 1)
    assert scene.informer.problem is None


@pytest.mark.parametrize("end", [[], [Unreachable("cut")]], ids=["after an end", "after a cut"])
async def test_a_connection_that_is_held_until_an_older_server_is_back(end: Chunks) -> None:
    """No request fails, and still somebody may have restored the server meanwhile."""
    again: Chunks = [line("ADDED", thing("b", 4)) + end_of_initial(6)]
    server = Server(SYNC, [20.0, line("MODIFIED", thing("a", 11)), *end], QUIET, again, then=QUIET)
    server.held_s = {3: 5.0}
    server.now_at = 6
    scene = await lived(server, 40)
    assert scene.names() == ["b"]
    assert (scene.fulls(), scene.server.open) == (2, 0)
    assert scene.informer.problem is None


async def test_a_server_that_takes_long_to_begin_watches_is_watched_all_the_same() -> None:
    server = Server(SYNC, then=[line("ADDED", thing("b", 11)), 20.0])
    server.held_s = dict.fromkeys(range(2, 100), 5.0)
    scene = await lived(server, 100)
    assert (scene.names(), scene.fulls()) == (["a", "b"], 1)
    assert set(scene.restarts()) == {"ended"}
    assert server.questions == len(server.requests) - 1, "one for each watch"
    assert len(server.requests) <= 100 / 25 + 2


async def test_a_server_that_answers_but_cannot_be_watched_is_silent() -> None:
    """Behind a proxy that lets no stream through, say."""
    scene = Scene(Server(SYNC, then=Throttled("m", status=429)))
    async with running(scene):
        await asyncio.sleep(60)
        assert scene.server.questions > 10
        assert scene.informer.silent_s() == pytest.approx(60)


async def test_a_silence_is_no_sign_that_the_server_is_the_same() -> None:
    """A stream that carries nothing ends at its deadline, without a word of the server."""
    again: Chunks = [line("ADDED", thing("b", 4)) + end_of_initial(6)]
    server = Server(SYNC, QUIET, again, then=[20.0])
    server.now_at = 6
    scene = await lived(server, 60)
    assert scene.names() == ["b"]
    assert (scene.fulls(), server.questions) == (2, 1)


@pytest.mark.parametrize("now_at", [10, 11, 1000])
async def test_a_server_that_was_away_and_is_not_older_is_not_asked_for_the_list(now_at: int) -> None:
    server = Server(SYNC, *[Unreachable("m")] * 5, then=QUIET)
    server.now_at = now_at
    scene = await lived(server, 20)
    assert (scene.fulls(), server.questions) == (1, 1)


async def test_a_stream_that_is_cut_while_things_happen_is_resumed_without_a_question() -> None:
    server = Server(SYNC, [20.0, line("ADDED", thing("b", 11)), Unreachable("cut")], then=[20.0])
    scene = await lived(server, 60)
    assert (scene.fulls(), server.questions) == (1, 0)


async def test_that_the_server_is_back_is_told_once_and_before_anything_happens_there() -> None:
    back: list[float] = []
    server = Server(SYNC, *[Unreachable("m")] * 5, Gone("m"), SYNC, then=QUIET)
    left: list[str] = []
    scene = Scene(server, left=left.append, came=lambda name: back.append(asyncio.get_running_loop().time()))
    async with running(scene):
        await asyncio.sleep(15)
        assert scene.informer.problem is None
    assert (left, len(back)) == (["pods"], 1)
    assert back[0] == pytest.approx(server.requests[7].at)


async def test_retry_after_is_honoured() -> None:
    scene = await lived(Server(SYNC, Throttled("m", status=429, retry_after_s=17.0), then=[20.0]), 30)
    assert scene.waits()[1] == pytest.approx(17.0)
    assert next(f.delay_s for f in scene.facts if isinstance(f, WatchRestarted)) == pytest.approx(17.0)


@pytest.mark.parametrize("asked_s", [1e9, float("inf"), -5.0])
async def test_retry_after_is_not_believed_without_bound(asked_s: float) -> None:
    refused = Throttled("m", status=429, retry_after_s=asked_s)
    scene = await lived(Server(SYNC, refused, then=[20.0]), 2 * LONGEST_RETRY_AFTER_S)
    assert RETRY_BASE_S / 4 <= scene.waits()[1] <= LONGEST_RETRY_AFTER_S


# --- permissions and credentials ----------------------------------------------------------------------------


async def test_a_missing_permission_is_named_backed_off_and_recovered_from() -> None:
    refused = Forbidden('pods is forbidden: User "z" cannot list resource "pods"', status=403)
    scene = Scene(Server(*[refused] * 16, SYNC, then=QUIET))
    async with running(scene):
        await asyncio.sleep(30)
        assert scene.informer.problem is not None
        assert scene.informer.problem.startswith("pods: ")
        assert "cannot list" in scene.informer.problem
        assert not scene.informer.synced.is_set()
        await asyncio.sleep(90)
    at = [round(request.at, 6) for request in scene.server.requests[:17]]
    assert all(
        round(b - a, 6) >= REFUSED_DELAY_S for a, b in itertools.pairwise(at) if a - at[0] >= STARTING_S
    )
    assert len([moment for moment in at if moment - at[0] < STARTING_S]) < 12
    assert scene.informer.synced.is_set()
    assert scene.informer.problem is None


async def test_a_server_that_knows_its_roles_only_a_moment_after_its_start_is_not_left_for_long() -> None:
    refused = Forbidden('pods is forbidden: User "z" cannot watch resource "pods"', status=403)
    scene = await lived(Server(SYNC, *[Unreachable("m")] * 5, *[refused] * 3, then=[20.0]), 40)
    first, *_, last = [at for at, request in enumerate(scene.server.requests) if not request.full][5:9]
    assert scene.server.requests[last].at - scene.server.requests[first].at <= RETRY_BASE_S * (1 + 2 + 4)
    assert scene.informer.problem is None


async def test_a_problem_ends_with_a_watch_that_is_open() -> None:
    """Nothing needs to happen in the cluster for a mended connection to count as mended."""
    scene = Scene(Server(SYNC, Unreachable("m"), then=[25.0]))
    async with running(scene):
        await asyncio.sleep(RETRY_BASE_S / 4)
        assert scene.informer.problem is not None
        await asyncio.sleep(RETRY_BASE_S)
        assert scene.informer.problem is None


async def test_credentials_that_stay_refused_end_the_informer() -> None:
    scene = Scene(Server(SYNC, then=Unauthorized("token expired", status=401)))
    started = asyncio.get_running_loop().time()
    with pytest.raises(Unauthorized):
        await scene.informer.run()
    took_s = asyncio.get_running_loop().time() - started
    assert UNAUTHORIZED_LIMIT_S < took_s <= UNAUTHORIZED_LIMIT_S + 2 * RETRY_CAP_S


async def test_credentials_that_are_refused_from_the_first_moment_on() -> None:
    scene = Scene(Server(then=Unauthorized("m", status=401)))
    with pytest.raises(Unauthorized):
        await scene.informer.run()
    first, last = scene.server.requests[0].at, scene.server.requests[-1].at
    assert UNAUTHORIZED_LIMIT_S < last - first <= UNAUTHORIZED_LIMIT_S + RETRY_CAP_S


async def test_credentials_that_were_renewed_are_good() -> None:
    script: list[ApiError | Chunks] = []
    for at in range(10):
        script += [Unauthorized("m", status=401), [line("ADDED", thing("b", 20 + at)), 10.0]]
    scene = await lived(Server(SYNC, *script, then=QUIET), 90)
    assert "unauthorized" in scene.restarts()
    assert scene.names() == ["a", "b"]


# --- streaming lists ----------------------------------------------------------------------------------------

PAGE = msgspec.json.encode({"metadata": {"resourceVersion": "10"}, "items": [thing("a", 5)]})


async def test_a_server_that_refuses_to_stream_is_asked_for_pages_at_once() -> None:
    scene = await lived(Server(Invalid("sendInitialEvents is forbidden", status=422), PAGE, then=QUIET), 20)
    assert [r.watch for r in scene.server.requests] == [True, False, True]
    assert scene.server.requests[1].at == 0.0
    assert scene.names() == ["a"]
    assert scene.informer.problem is None


async def test_a_server_that_falls_silent_ignores_that_it_was_asked_to_stream() -> None:
    scene = await lived(Server([line("ADDED", thing("a", 5)), None], PAGE, then=QUIET), 20)
    assert [r.watch for r in scene.server.requests] == [True, False, True]
    assert INITIAL_IDLE_S <= scene.server.requests[1].at <= INITIAL_IDLE_S + RETRY_BASE_S
    assert scene.names() == ["a"]


async def test_a_busy_server_that_never_ends_its_initial_list_is_asked_for_pages() -> None:
    busy: Chunks = []
    for at in range(100):
        busy += [line("MODIFIED", thing("a", 11 + at)), 5.0]
    scene = await lived(Server(busy, PAGE, then=QUIET), INITIAL_LIMIT_S + 10)
    assert [r.watch for r in scene.server.requests] == [True, False, True]
    assert scene.server.requests[1].at <= INITIAL_LIMIT_S + RETRY_BASE_S
    assert scene.informer.synced.is_set()


async def test_the_old_list_stays_until_the_new_one_is_whole() -> None:
    slow: Chunks = [
        line("ADDED", thing("b", 21)),
        5.0,
        line("ADDED", thing("c", 22)),
        5.0,
        end_of_initial(30),
    ]
    scene = Scene(Server(SYNC, Gone("m", status=410), slow, then=QUIET))
    async with running(scene):
        await asyncio.sleep(8)
        assert scene.names() == ["a"]
        await asyncio.sleep(5)
        assert scene.names() == ["b", "c"]


async def test_a_write_during_a_list_is_not_undone_by_it() -> None:
    slow: Chunks = [line("ADDED", thing("a", 5)), 5.0, end_of_initial(30)]
    scene = Scene(Server(slow, then=QUIET))
    async with running(scene):
        await asyncio.sleep(2)
        scene.store.wrote(View("mine", "33"))
        await asyncio.sleep(5)
    assert scene.names() == ["a", "mine"]


# --- the rest -----------------------------------------------------------------------------------------------


async def test_an_unreadable_object_is_told_and_its_last_good_view_stays() -> None:
    bad = line(
        "MODIFIED", {"metadata": {"name": "a", "namespace": "t1", "resourceVersion": "12", "annotations": 7}}
    )
    scene = await lived(Server(SYNC, [bad, None], then=QUIET), 20)
    (told,) = [fact for fact in scene.facts if isinstance(fact, ObjectRejected)]
    assert (told.resource, told.namespace, told.name) == ("pods", "t1", "a")
    assert scene.names() == ["a"]


async def test_one_namespace_is_named_and_swapped_alone() -> None:
    scene = Scene(Server(SYNC, then=QUIET), namespace="t1")
    scene.store.apply(View("a", "1"))
    assert scene.informer.name == "pods in t1"
    assert scene.informer.problem == "pods in t1: the first list has not come yet"
    async with running(scene):
        await asyncio.sleep(1)
    assert scene.store.get(("t1", "a")) == View("a", "5")


async def test_a_large_list_gives_others_their_turn() -> None:
    many: Chunks = [
        b"".join(line("ADDED", thing(f"p{i}", i + 1)) for i in range(2000)) + end_of_initial(5000)
    ]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while not scene.informer.synced.is_set():
            turns += 1
            await asyncio.sleep(0)

    scene = Scene(Server(many, then=QUIET))
    async with running(scene):
        await others()
    assert len(scene.changes) == 2000
    assert turns >= 4


@pytest.mark.parametrize("defect", [LookupError("a defect"), asyncio.CancelledError()])
async def test_what_died_in_the_middle_of_a_chunk_misses_nothing_when_it_runs_again(
    defect: BaseException,
) -> None:
    told: list[str] = []

    def follow(change: Change[View]) -> None:
        told.append(change.key[1])
        if told == ["a", "b"]:
            raise defect

    chunk = line("ADDED", thing("b", 11)) + line("ADDED", thing("c", 12)) + line("ADDED", thing("d", 13))
    whole = [*(line("ADDED", thing(name, at)) for name, at in zip("abcd", (5, 11, 12, 13), strict=True))]
    server = Server(SYNC, [chunk, None], [b"".join(whole) + end_of_initial(13)], then=QUIET)
    store: Store[View] = Store()
    informer = Informer(server, KIND, store, follow)
    with pytest.raises(type(defect)):
        await informer.run()
    task = asyncio.create_task(informer.run())
    await asyncio.sleep(1)
    assert sorted(view.name for view in store) == ["a", "b", "c", "d"]
    assert told == ["a", "b", "c", "d"]
    assert [request.full for request in server.requests] == [True, False, True, False]
    task.cancel()
    await asyncio.wait([task])


async def test_changes_that_take_long_to_hear_give_others_their_turn() -> None:
    loop: Any = asyncio.get_running_loop()
    turns = [0]
    heard: list[int] = []  # how many turns others had had by then

    def follow(change: Change[View]) -> None:
        loop.jump(TURN_S / 4)
        heard.append(turns[0])

    async def others() -> None:
        while len(heard) < 41:
            turns[0] += 1
            await asyncio.sleep(0)

    chunk = b"".join(line("ADDED", thing(f"p{n}", 11 + n)) for n in range(40))
    informer = Informer(Server(SYNC, [chunk, None], then=QUIET), KIND, Store(), follow)
    task = asyncio.create_task(informer.run())
    await others()
    # Time that really passes counts too, so on a busy machine there are more.
    assert 6 <= len(set(heard[1:])) <= 30, "a turn for every 4 ms or so"
    task.cancel()
    await asyncio.wait([task])


async def test_what_arrives_together_is_decoded_in_bits_with_turns_between() -> None:
    turns = [0]
    heard: list[int] = []

    async def others() -> None:
        while len(heard) < 41:
            turns[0] += 1
            await asyncio.sleep(0)

    large = [line("ADDED", thing(f"p{n}", 11 + n) | {"padding": "x" * (BIT // 10)}) for n in range(40)]
    store: Store[View] = Store()
    server = Server(SYNC, [b"".join(large), None], then=QUIET)
    informer = Informer(server, KIND, store, lambda _change: heard.append(turns[0]))
    task = asyncio.create_task(informer.run())
    await others()
    assert 4 <= len(set(heard[1:])) <= 30
    assert [view.name for view in store][-40:] == [f"p{n}" for n in range(40)]
    task.cancel()
    await asyncio.wait([task])


async def test_cancelling_closes_the_stream() -> None:
    scene = Scene(Server(SYNC, then=QUIET))
    async with running(scene) as task:
        await asyncio.sleep(3)
        assert scene.server.open == 1
        task.cancel()
        await asyncio.sleep(0.1)
        assert scene.server.open == 0
        assert task.cancelled()
