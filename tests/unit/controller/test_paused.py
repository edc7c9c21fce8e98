"""While a Service is paused, what is told is what is: who is routed to, not who would be."""

from __future__ import annotations

from tests.unit.controller.scene import Scene
from zenlead.controller.facts import ServiceState
from zenlead.kube.resources import SERVICES
from zenlead.lead import contract


async def _paused(scene: Scene, value: str | None) -> None:
    await scene.patch(SERVICES, "web", {"metadata": {"annotations": {contract.PAUSED: value}}})
    await scene.sync()


async def test_the_state_of_a_paused_service_names_whom_it_routes_to() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await _paused(scene, "true")
    await scene.ready("web-0", now=False)
    await scene.sync()
    await scene.settled()
    scene.forget()
    await scene.pass_()
    (state,) = scene.facts_of(ServiceState)
    assert (state.leader, state.paused, state.sticky, state.stable) == ("web-0", True, "", False)
    assert await scene.routes() == ["web-0"]


async def test_each_pause_is_told_once() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    dedups = []
    for _pause in range(2):
        await _paused(scene, "true")
        await scene.settled()
        scene.forget()
        await scene.pass_()
        (told,) = [said for said in scene.told if said.reason == "Paused"]
        dedups.append(told.dedup)
        await _paused(scene, None)
        await scene.settled()
    assert len(set(dedups)) == 2
