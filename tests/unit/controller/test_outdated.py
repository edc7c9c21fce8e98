"""What a write follows from may change while it waits: then it is decided anew, and not sent as it was."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.scene import Scene, Sent
from zenlead.controller.caches import PodsUnknown
from zenlead.controller.facts import WriteDone
from zenlead.kube.errors import Throttled, Unreachable
from zenlead.kube.lane import Lane

pytestmark = pytest.mark.virtual_clock


async def falling(*pods: str) -> Scene:
    """web-0 leads and has just fallen."""
    scene = await (await Scene().begin(*pods)).settled()
    await scene.ready("web-0", now=False)
    await scene.sync()
    scene.forget()
    return scene


def unready_while_waiting(scene: Scene, pod: str) -> None:
    """When the first request has been sent, the pod falls, and that is known."""

    async def fall(sent: Sent) -> None:
        scene.api.before = None
        await asyncio.sleep(1.0)
        await scene.ready(pod, now=False)
        await scene.sync()

    scene.api.before = fall


async def test_a_leader_that_falls_while_the_server_asks_for_patience() -> None:
    scene = await falling("web-0", "web-1", "web-2")
    scene.api.fail("patch", Throttled("slow down", status=429, retry_after_s=3.0))
    unready_while_waiting(scene, "web-1")
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-2"]
    moved = [
        [e["targetRef"]["name"] for e in s.body["endpoints"]] for s in scene.api.sent if s.verb == "patch"
    ]
    assert moved == [["web-1"], ["web-2"]], "never again to web-1"
    assert [(f.result, f.lane) for f in scene.facts_of(WriteDone)] == [
        ("cancelled", "urgent"),
        ("success", "urgent"),
    ]


async def test_a_leader_that_falls_while_nobody_is_left() -> None:
    scene = await falling("web-0", "web-1")
    scene.api.fail("patch", Throttled("slow down", status=429, retry_after_s=3.0))
    unready_while_waiting(scene, "web-1")
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == []


async def test_the_same_write_is_tried_again_when_nothing_has_changed() -> None:
    scene = await falling("web-0", "web-1")
    scene.api.fail("patch", Throttled("slow down", status=429, retry_after_s=3.0))
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-1"]
    assert [f.result for f in scene.facts_of(WriteDone)] == ["success"]


async def test_a_write_that_was_done_although_it_did_not_seem_so() -> None:
    """Its answer was lost; by the time it is tried again the pod that it routed to has fallen."""
    scene = await falling("web-0", "web-1", "web-2")
    scene.api.fail("patch", Unreachable("reset"), applied=True)
    unready_while_waiting(scene, "web-1")
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-2"]


async def test_a_namespace_whose_pods_are_forgotten_while_the_server_asks_for_patience() -> None:
    """It was out for long, and is in again: nothing can be said of it before its pods have been read."""
    scene = await falling("web-0", "web-1")
    scene.api.fail("patch", Throttled("slow down", status=429, retry_after_s=3.0))

    async def forget(sent: Sent) -> None:
        scene.caches.knows_pods = lambda _namespace: False

    scene.api.before = forget
    with pytest.raises(PodsUnknown):
        await scene.pass_(Lane.URGENT)
    assert len(scene.api.writes()) == 1
    assert [f.result for f in scene.facts_of(WriteDone)] == ["cancelled"], "it did not fail"
    assert await scene.routes() == ["web-0"]
