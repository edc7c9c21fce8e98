"""Events: told once, valid, at a bounded rate, by the leader only, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulated.clock import WallClock
from zenlead.kube.errors import AlreadyExists, Forbidden, Invalid, NotFound, Throttled, Unreachable
from zenlead.kube.facts import EventDropped
from zenlead.kube.recorder import BURST, QUEUE_LIMIT, RECENT_LIMIT, ObjectReference, Recorder, cut, event_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zenlead.kube.resources import Resource

pytestmark = pytest.mark.virtual_clock

WEB = ObjectReference("v1", "Service", "shop", "web", "uid-1")
POD = ObjectReference("v1", "Pod", "shop", "web-0", "uid-2")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Events:
    """An API server as far as it stores Events; ``mood`` gives the errors of the next requests."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[float] = []
        self.mood: list[Exception | None] = []
        self.hangs = False

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        self.requests.append(asyncio.get_running_loop().time())
        assert resource.plural == "events"
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        error = self.mood.pop(0) if self.mood else None
        if error is not None:
            raise error
        event = msgspec.json.decode(body)
        key = (namespace, event["metadata"]["name"])
        if key in self.stored:
            raise AlreadyExists("there is one", status=409)
        self.stored[key] = event
        return body


class Scene:
    def __init__(self, server: Events | None = None) -> None:
        self.server = server or Events()
        self.facts: list[EventDropped] = []
        self.authority_s = 10.0
        self.patience_s = 0.0
        self.recorder = Recorder(
            self.server,
            "replica-1",
            fence=lambda: self.authority_s,
            now=WallClock(),
            notify=self.facts.append,
            patience=lambda: self.patience_s,
        )

    def say(self, dedup: str, **given: Any) -> None:
        said: dict[str, Any] = {
            "regarding": WEB,
            "related": POD,
            "type": "Normal",
            "reason": "LeaderChanged",
            "action": "Failover",
            "note": "leader is web-0",
        }
        self.recorder.record(**(said | given), dedup=dedup)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recorder.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_an_event_says_all_that_the_server_demands() -> None:
    scene = Scene()
    await asyncio.sleep(1.5)
    scene.say("epoch 7")
    await asyncio.sleep(1)
    async with scene.running():
        await asyncio.sleep(0)
    name = event_name("web", "epoch 7")
    assert scene.server.stored == {
        ("shop", name): {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "shop"},
            "regarding": {
                "apiVersion": "v1",
                "kind": "Service",
                "namespace": "shop",
                "name": "web",
                "uid": "uid-1",
            },
            "related": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": "shop",
                "name": "web-0",
                "uid": "uid-2",
            },
            "type": "Normal",
            "reason": "LeaderChanged",
            "action": "Failover",
            "note": "leader is web-0",
            "eventTime": "2025-01-01T00:00:01.500000Z",
            "reportingController": "zen-lead-controller",
            "reportingInstance": "replica-1",
        }
    }


async def test_the_same_occurrence_is_told_once_by_all_replicas_and_across_restarts() -> None:
    server = Events()
    for _ in range(2):
        scene = Scene(server)
        async with scene.running():
            for _ in range(100):
                scene.say("no pods since 12:00")
                await asyncio.sleep(0.3)
        assert scene.facts == []
    assert len(server.stored) == 1
    assert len(server.requests) == 2, "one per process"


async def test_without_a_related_object_the_field_is_absent() -> None:
    scene = Scene()
    scene.say("a", related=None)
    async with scene.running():
        await asyncio.sleep(0)
    (event,) = scene.server.stored.values()
    assert "related" not in event


@pytest.mark.parametrize(
    "error",
    [
        NotFound("namespaces shop not found", status=404),
        Forbidden("being terminated", status=403, causes=("NamespaceTerminating",)),
    ],
)
async def test_a_namespace_that_is_going_is_no_trouble(error: Exception) -> None:
    scene = Scene()
    scene.server.mood = [error]
    scene.say("a")
    async with scene.running():
        await asyncio.sleep(10)
        scene.say("a")
        await asyncio.sleep(10)
    assert len(scene.server.requests) == 1
    assert scene.facts == []


@pytest.mark.parametrize("error", [Unreachable("reset"), Throttled("slow", status=429, retry_after_s=1)])
async def test_no_answer_is_followed_by_one_more_try(error: Exception) -> None:
    scene = Scene()
    scene.server.mood = [error]
    scene.say("a")
    async with scene.running():
        await asyncio.sleep(10)
        assert len(scene.server.stored) == 1
        assert scene.facts == []
        scene.server.mood = [error, error]
        scene.say("b")
        await asyncio.sleep(10)
    assert scene.server.requests == [0, 1, 10, 11]
    assert [fact.reason for fact in scene.facts] == ["LeaderChanged"]


async def test_a_refused_event_is_dropped_and_may_be_told_later() -> None:
    scene = Scene()
    scene.server.mood = [Forbidden("rbac", status=403), Invalid("bad", status=422)]
    async with scene.running():
        for _ in range(3):
            scene.say("a")
            await asyncio.sleep(1)
    assert scene.facts == [EventDropped("LeaderChanged", "refused")] * 2
    assert len(scene.server.stored) == 1


async def test_who_does_not_lead_writes_nothing() -> None:
    scene = Scene()
    scene.authority_s = 0.0
    scene.say("a")
    async with scene.running():
        await asyncio.sleep(1)
    assert scene.server.requests == []
    assert scene.facts == [EventDropped("LeaderChanged", "fenced")]


async def test_a_hanging_server_is_left_within_the_authority_and_does_not_stop_the_rest() -> None:
    scene = Scene()
    scene.authority_s = 2.0
    scene.server.hangs = True
    scene.say("a")
    scene.say("b")
    async with scene.running():
        await asyncio.sleep(3.5)
        scene.server.hangs = False
        await asyncio.sleep(10)
    assert scene.server.requests == [0, 3, 5]
    assert scene.facts == [EventDropped("LeaderChanged", "unreachable")]
    assert list(scene.server.stored) == [("shop", event_name("web", "b"))]


async def test_events_wait_while_there_are_more_important_things_to_do_and_none_is_lost() -> None:
    scene = Scene()
    scene.patience_s = 0.1
    async with scene.running():
        for number in range(3):
            scene.say(f"epoch {number}")
        await asyncio.sleep(5)
        assert scene.server.requests == []
        scene.patience_s = 0.0
        await asyncio.sleep(0.2)
        assert [event["note"] for event in scene.server.stored.values()] == ["leader is web-0"] * 3


async def test_the_oldest_of_too_many_goes_and_memory_is_bounded() -> None:
    scene = Scene()
    for n in range(QUEUE_LIMIT + 10):
        scene.say(str(n))
    assert scene.facts == [EventDropped("LeaderChanged", "queue_full")] * 10
    scene.say("0", note="may be told again")
    async with scene.running():
        await asyncio.sleep(QUEUE_LIMIT)
        assert ("shop", event_name("web", "0")) in scene.server.stored
        assert ("shop", event_name("web", "1")) not in scene.server.stored
        for n in range(RECENT_LIMIT):
            scene.say(f"later {n}")
            await asyncio.sleep(1)
    assert repr(scene.recorder) == f"Recorder(replica-1 waiting=0 recent={RECENT_LIMIT})"


async def test_the_rate_is_bounded() -> None:
    scene = Scene()
    for n in range(500):
        scene.say(str(n))
    async with scene.running():
        await asyncio.sleep(10)
        assert BURST + 190 <= len(scene.server.requests) <= BURST + 210
        await asyncio.sleep(15)
    assert len(scene.server.requests) == 500


@given(subject=st.from_regex(NAME, fullmatch=True), dedup=st.text(), other=st.text())
def test_names_are_valid_and_tell_occurrences_apart(subject: str, dedup: str, other: str) -> None:
    name = event_name((subject * 40)[:253].rstrip("-."), dedup)
    assert NAME.fullmatch(name)
    assert len(name) <= 253
    assert (event_name(subject, dedup) == event_name(subject, other)) == (dedup == other)


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60), limit=st.integers(3, 60))
def test_a_note_is_cut_between_characters(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert len(short.encode()) <= limit
    assert short == text if len(text.encode()) <= limit else text.startswith(short[:-1])


async def test_a_note_that_is_no_valid_text_does_not_raise() -> None:
    scene = Scene()
    scene.say("\ud800", note="\ud800" + "x" * 2000)
    async with scene.running():
        await asyncio.sleep(0)
    (event,) = scene.server.stored.values()
    assert len(event["note"].encode()) == 1024
