"""Why nobody leads, as the fact says it that metrics are made of."""

from __future__ import annotations

import pytest

from tests.unit.controller.scene import Scene
from zenlead.controller.facts import ServiceState
from zenlead.kube.errors import Invalid
from zenlead.lead.contract import Routing

pytestmark = pytest.mark.virtual_clock


def why(scene: Scene) -> tuple[str, str]:
    """Who leads, and why nobody does."""
    state = scene.facts_of(ServiceState)[-1]
    return state.leader, state.why


async def test_a_leader_needs_no_reason() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await scene.pass_()
    assert why(scene) == ("web-0", "")


async def test_no_pod_and_no_pod_that_is_ready() -> None:
    scene = await Scene().begin()
    await scene.pass_()
    assert why(scene) == ("", Routing.NO_PODS_FOUND)
    await scene.pod("web-0", "10.1.0.9")
    await scene.ready("web-0", now=False)
    await scene.sync()
    await scene.pass_()
    assert why(scene) == ("", Routing.NO_READY_PODS)


async def test_a_port_that_resolves_nowhere() -> None:
    scene = await Scene().begin("web-0", ports=[{"port": 80, "targetPort": "http"}])
    await scene.pass_()
    assert why(scene) == ("", Routing.PORT_UNRESOLVED)


async def test_a_service_that_is_refused() -> None:
    scene = await Scene().begin("web-0", type="ExternalName", externalName="example.org", selector=None)
    await scene.pass_()
    assert why(scene) == ("", "InvalidService")


async def test_a_pod_that_should_lead_and_cannot_be_written() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await scene.ready("web-0", now=False)
    await scene.sync()
    scene.api.fail("patch", Invalid("no"))
    with pytest.raises(Invalid):
        await scene.pass_()
    assert why(scene) == ("", "NotWritten")
