"""A namespace that is being deleted: what is refused once is not tried again."""

from __future__ import annotations

import pytest

from tests.unit.controller.scene import Scene
from zenlead.kube.errors import Forbidden
from zenlead.kube.lane import Lane
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

pytestmark = pytest.mark.virtual_clock

ENDS = Forbidden("being terminated", status=403, causes=("NamespaceTerminating",))


async def test_one_refused_create_is_the_last_and_nothing_is_told() -> None:
    scene = await Scene().begin()
    scene.api.fail("create", ENDS)
    with pytest.raises(Forbidden):
        await scene.pass_()
    scene.forget()
    await scene.pass_()
    await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == []
    assert scene.told == []


async def test_what_exists_is_kept_right_to_the_end() -> None:
    """The second family's slice cannot be made anew; the first one follows the leader all the same."""
    families = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}
    scene = await Scene().begin(**families)
    for index in range(2):
        ips = [f"10.1.0.{10 + index}", f"fd00::{10 + index}"]
        await scene.pod(f"web-{index}", "", podIP=ips[0], podIPs=[{"ip": ip} for ip in ips])
    await scene.sync()
    await scene.settled()
    await scene.remove(ENDPOINT_SLICES, "web-leader-ipv6")
    await scene.sync()
    scene.api.fail("create", ENDS)
    with pytest.raises(Forbidden):
        await scene.pass_()
    await scene.ready("web-0", now=False)
    await scene.sync()
    scene.forget()
    await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == [("patch", "endpointslices")]
    assert await scene.routes() == ["web-1"]


async def test_a_source_that_is_made_anew_lives_in_a_namespace_that_is_made_anew() -> None:
    scene = await Scene().begin("web-0")
    scene.api.fail("create", ENDS)
    with pytest.raises(Forbidden):
        await scene.pass_()
    await scene.remove(SERVICES, "web")
    await scene.service()
    await scene.sync()
    await scene.pass_()
    assert await scene.routes() == ["web-0"]


async def test_another_refusal_ends_nothing() -> None:
    scene = await Scene().begin("web-0")
    scene.api.fail("create", Forbidden("rbac", status=403))
    with pytest.raises(Forbidden):
        await scene.pass_()
    await scene.pass_()
    assert await scene.routes() == ["web-0"]
