"""A request that was given up may still arrive: it must not overrule what has been decided since."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.unit.controller.scene import NS, Scene, Sent
from tests.unit.lead.builders import leader, pod, serve, slice_of, snapshot
from zenlead.controller.apply import Preempted
from zenlead.controller.doubts import LATE_S, Doubts
from zenlead.kube.errors import ApiError, Conflict, Forbidden, Invalid, Throttled, Unreachable
from zenlead.kube.lane import Lane
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES
from zenlead.lead import contract
from zenlead.lead.writes import Delete, Patch, Target

pytestmark = pytest.mark.virtual_clock

LED = pod("web-0")
SLICE = slice_of(LED)
SEEN = snapshot(LED, led=LED, slices=(SLICE,))
MOVE = Patch(Target.SLICES, SLICE.name, b"{}", urgent=True)


def sent_last(scene: Scene, verb: str) -> Sent:
    return [sent for sent in scene.api.sent if sent.verb == verb][-1]


async def arrives(scene: Scene, late: Sent) -> None:
    """What was given up reaches the API server."""
    resource = ENDPOINT_SLICES if late.resource == ENDPOINT_SLICES.plural else SERVICES
    body = msgspec.json.encode(late.body)
    if late.verb == "delete":
        await scene.box.api.delete(resource, NS, late.name, body)
    else:
        await scene.box.api.patch(resource, NS, late.name, body)


@pytest.mark.parametrize("lane", [Lane.URGENT, Lane.ROUTINE])
async def test_a_deletion_that_was_given_up_does_not_take_what_is_in_use_again(lane: Lane) -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await scene.patch_source(enabled="false")
    scene.api.delay_s = 60.0
    running = asyncio.ensure_future(scene.pass_())
    await asyncio.sleep(1)
    scene.reconciler.preempt(scene.key)
    with pytest.raises(Preempted):
        await running
    late = sent_last(scene, "delete")
    scene.api.delay_s = 0.0
    await scene.patch_source(enabled="true")
    await scene.pass_(lane)
    with pytest.raises(Conflict):
        await arrives(scene, late)
    assert await scene.routes() == ["web-0"]
    scene.forget()
    await scene.pass_()
    assert scene.api.writes() == [], "once is enough"


async def test_a_move_that_was_given_up_does_not_come_after_all() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await scene.ready("web-0", now=False)
    await scene.sync()
    for _ in range(2):
        scene.api.fail("patch", Unreachable("no answer"))
    with pytest.raises(Unreachable):
        await scene.pass_(Lane.URGENT)
    late = sent_last(scene, "patch")
    await scene.ready("web-0")
    await scene.sync()
    await scene.pass_(Lane.URGENT)
    with pytest.raises(Conflict):
        await arrives(scene, late)
    assert await scene.routes() == ["web-0"]


async def test_what_became_of_a_move_is_known_before_its_service_gets_another_name() -> None:
    """It was applied, nobody heard of it, and the epoch goes on under the new name."""
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    before = await scene.read(ENDPOINT_SLICES, "web-leader")
    known = list(scene.caches.slices)
    await scene.ready("web-0", now=False)
    await scene.sync()
    for applied in (True, False):
        scene.api.fail("patch", Unreachable("no answer"), applied=applied)
    with pytest.raises(Unreachable):
        await scene.pass_(Lane.URGENT)
    await scene.ready("web-0")
    renamed = {"metadata": {"annotations": {contract.LEADER_SERVICE_NAME: "web-front"}}}
    await scene.patch(SERVICES, "web", renamed)
    await scene.sync()
    scene.caches.slices.replace(known, mark=scene.caches.slices.mark())  # its watch lags behind
    await scene.pass_()
    await scene.pass_()
    after = await scene.read(ENDPOINT_SLICES, "web-front")
    epochs = [int(s["metadata"]["annotations"][contract.EPOCH]) for s in (before, after)]
    assert (epochs[1] - epochs[0], await scene.routes("web-front")) == (1, ["web-1"])


async def test_a_move_that_is_tried_again_needs_no_fence() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await scene.ready("web-0", now=False)
    await scene.sync()
    scene.api.fail("patch", Unreachable("no answer"))
    await scene.pass_(Lane.URGENT)
    await scene.pass_()
    assert scene.api.writes() == [("patch", "endpointslices")] * 2 + [("patch", "services")]
    assert all(contract.FENCED not in sent.body["metadata"].get("annotations", {}) for sent in scene.api.sent)


# --- what is noted ------------------------------------------------------------------------------------------


def fences(doubts: Doubts, seen: object = SEEN, pending: tuple[Patch, ...] = ()) -> list[Patch]:
    assert isinstance(seen, type(SEEN))
    return doubts.fences(seen, serve(SEEN), list(pending))


@pytest.mark.parametrize(
    ("ends", "doubtful"),
    [
        ([Unreachable("cut"), Unreachable("cut")], True),
        ([Unreachable("cut"), Throttled("slow down", status=429)], True),
        ([Unreachable("cut"), Forbidden("no", status=403)], True),
        ([Throttled("slow down", status=429), Unreachable("cut")], True),
        ([Throttled("slow down", status=429), Throttled("slow down", status=429)], False),
        ([Forbidden("no", status=403)], False),
        ([Invalid("no", status=422)], False),
    ],
)
async def test_an_attempt_without_an_answer_leaves_a_doubt_whatever_becomes_of_the_next(
    ends: list[ApiError], doubtful: bool
) -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await scene.ready("web-0", now=False)
    await scene.sync()
    for end in ends:
        scene.api.fail("patch", end)
    with pytest.raises(type(ends[-1])):
        await scene.pass_(Lane.URGENT)
    await scene.ready("web-0")
    await scene.sync()
    scene.forget()
    await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == ([("patch", "endpointslices")] if doubtful else [])


async def test_services_are_fenced_like_slices() -> None:
    service = leader()
    seen = snapshot(LED, led=LED, slices=(SLICE,), services=(service,))
    doubts = Doubts()
    doubts.note(Delete(Target.SERVICES, service.name, b"{}"), seen)
    (found,) = fences(doubts, seen)
    assert (found.target, found.name, found.urgent) == (Target.SERVICES, service.name, True)
    assert msgspec.json.decode(found.body) == {
        "metadata": {
            "annotations": {"zen-lead.io/fenced": service.resource_version},
            "resourceVersion": service.resource_version,
        }
    }


async def test_a_creation_leaves_no_doubt() -> None:
    """What it may still make is seen once it exists."""
    scene = await Scene().begin("web-0")
    for _ in range(2):
        scene.api.fail("create", Unreachable("cut"))
    with pytest.raises(Unreachable):
        await scene.pass_(Lane.URGENT)
    scene.forget()
    await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == [("create", "services"), ("create", "endpointslices")]


async def test_what_is_written_anyway_is_not_fenced() -> None:
    doubts = Doubts()
    doubts.note(MOVE, SEEN)
    assert fences(doubts, pending=(MOVE,)) == []
    assert fences(doubts) != [], "the doubt is still there"


async def test_a_version_that_has_moved_on_ends_the_doubt() -> None:
    doubts = Doubts()
    doubts.note(MOVE, SEEN)
    moved = msgspec.structs.replace(SLICE, resource_version="9999")
    assert fences(doubts, msgspec.structs.replace(SEEN, slices=(moved,))) == []
    assert repr(doubts) == repr(Doubts())


async def test_time_ends_the_doubt() -> None:
    doubts = Doubts()
    doubts.note(MOVE, SEEN)
    await asyncio.sleep(LATE_S - 1)
    assert len(fences(doubts)) == 1
    await asyncio.sleep(2)
    assert fences(doubts) == []
    assert repr(doubts) == repr(Doubts())
