"""Slices that others left on leader Services: which are looked for, which go, and which are not touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.controller.scene import NS, Scene
from zenlead.kube.errors import Unreachable
from zenlead.kube.lane import Lane
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES
from zenlead.lead import contract
from zenlead.lead.ownership import DRAIN_S

pytestmark = pytest.mark.virtual_clock

NATIVE = "endpointslice-controller.k8s.io"
MIRRORING = "endpointslicemirroring-controller.k8s.io"


async def leave(scene: Scene, name: str, manager: str = NATIVE, **labels: str) -> None:
    """A slice of another controller, with the labels that it copies from our leader Service."""
    found = {
        contract.SERVICE_NAME: "web-leader",
        contract.SLICE_MANAGED_BY: manager,
        contract.MANAGED_BY: contract.MANAGER,
        contract.SOURCE_SERVICE: "web",
    } | labels
    body: dict[str, Any] = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.99"]}], "ports": []}
    await scene.create(ENDPOINT_SLICES, {"metadata": {"name": name, "labels": found}, **body})


async def started(*strays: tuple[str, str]) -> Scene:
    """A replica that begins to lead, with all that was made before in its stores."""
    scene = await Scene().begin("web-0")
    await scene.settled()
    for name, manager in strays:
        await leave(scene, name, manager)
    scene.reconciler.forget_all()
    scene.forget()
    return scene


async def test_a_term_begins_with_one_survey_and_two_looks() -> None:
    scene = await started(("left", NATIVE))
    urgent = await scene.pass_(Lane.URGENT)
    assert urgent.look_after_s == 0.0, "the survey is no business of the urgent lane"
    first = await scene.pass_()
    assert first.others == [(NS, "web")]
    assert await scene.names(ENDPOINT_SLICES) == {"web-leader"}
    assert first.look_after_s
    await leave(scene, "late")
    second = await scene.pass_()
    assert (second.others, second.look_after_s) == ([], None)
    assert await scene.names(ENDPOINT_SLICES) == {"web-leader"}
    await leave(scene, "unseen")
    third = await scene.pass_()
    assert (third.others, third.look_after_s) == ([], None)
    assert "unseen" in await scene.names(ENDPOINT_SLICES), "nobody gave reason to look"


async def test_a_survey_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await started(("left", NATIVE))

    async def refuse(*_: object) -> bytes:
        raise Unreachable("cut")

    with monkeypatch.context() as patch:
        patch.setattr(scene.api, "list", refuse)
        with pytest.raises(Unreachable):
            await scene.pass_()
    assert (await scene.pass_()).others == [(NS, "web")]
    assert await scene.names(ENDPOINT_SLICES) == {"web-leader"}


async def test_nothing_is_removed_from_a_leader_service_that_is_a_strangers() -> None:
    scene = await started(("left", NATIVE))
    await scene.patch(SERVICES, "web-leader", {"metadata": {"ownerReferences": None}})
    await scene.sync()
    done = await scene.pass_()
    assert done.others == [(NS, "web")]
    assert await scene.names(ENDPOINT_SLICES) == {"web-leader", "left"}
    assert scene.api.writes() == []


async def test_what_slices_are_mirrored_from_is_emptied_by_a_selector_for_nobody() -> None:
    scene = await started(("mirrored", MIRRORING))
    done = await scene.pass_()
    assert done.look_after_s == DRAIN_S
    await scene.sync()
    selector = (await scene.read(SERVICES, "web-leader"))["spec"]["selector"]
    assert list(selector) == [contract.NOBODY_UNTIL]
    scene.forget()
    again = await scene.pass_()
    assert scene.api.writes() == [], "it stays for its time"
    assert again.look_after_s
    await asyncio.sleep(DRAIN_S + 1)
    await scene.pass_()
    assert not (await scene.read(SERVICES, "web-leader"))["spec"].get("selector")
    # Where nobody minds the selector the slice is still there, and then it is simply removed.
    assert await scene.names(ENDPOINT_SLICES) == {"web-leader"}
    assert scene.api.writes() == [("patch", "services"), ("delete", "endpointslices")]


@pytest.mark.parametrize("until", ["soon", "", "99999999999", "1"])
async def test_a_selector_for_nobody_without_a_time_or_with_one_too_far_is_taken_off(until: str) -> None:
    scene = await started()
    await scene.patch(SERVICES, "web-leader", {"spec": {"selector": {contract.NOBODY_UNTIL: until}}})
    await scene.sync()
    await scene.pass_()
    assert not (await scene.read(SERVICES, "web-leader"))["spec"].get("selector")
