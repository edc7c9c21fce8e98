"""The main job on a real API server: elect, fail over in one write, let go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"


@pytest.fixture
async def web(namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead) -> Namespace:
    """Service web with three ready pods, led by web-0 (the oldest)."""
    for index in range(3):
        await namespace.pod(f"web-{index}")
        if index == 0:
            await asyncio.sleep(1.1)  # creationTimestamp has whole seconds
    await namespace.service("web")
    await zenlead_process("--log-level=debug")
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(1.0)
    return namespace


async def test_elects_the_oldest_and_says_so(web: Namespace, recorder: Recorder) -> None:
    service = await web.client.get(SERVICES, web.name, SLICE)
    annotations = service["metadata"]["annotations"]
    pod = await web.client.get(PODS, web.name, "web-0")
    assert annotations["zen-lead.io/leader-pod-name"] == "web-0"
    assert annotations["zen-lead.io/leader-pod-uid"] == pod["metadata"]["uid"]
    assert annotations["zen-lead.io/leader-epoch"] == "1"
    assert "selector" not in service["spec"]
    conditions = {c["type"]: c for c in service["status"]["conditions"]}
    assert conditions["zen-lead.io/LeaderReady"]["status"] == "True"
    (made,) = await web.slices_of(SLICE)
    (endpoint,) = made["endpoints"]
    assert endpoint["addresses"] == [pod["status"]["podIP"]]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["nodeName"] == pod["spec"]["nodeName"]
    assert endpoint["targetRef"]["uid"] == pod["metadata"]["uid"]
    assert recorder.writes(ENDPOINT_SLICES, SLICE) == 1


@pytest.mark.parametrize("fault", ["notReady", "terminating", "deleted", "deselected", "noIP"])
async def test_moves_in_one_write(web: Namespace, recorder: Recorder, fault: str) -> None:
    started = asyncio.get_running_loop().time()
    match fault:
        case "notReady":
            await web.pod_status("web-0", ready=False)
        case "terminating":
            await web.delete_pod("web-0", grace_s=600)
        case "deleted":
            await web.delete_pod("web-0", grace_s=0)
        case "deselected":
            await web.relabel("web-0", {"app": "other"})
        case "noIP":
            await web.pod_status("web-0", addresses=[])
    moved = await recorder.wait_leader(SLICE, "web-1", since=started, timeout_s=2.0)
    await recorder.quiet(1.0)
    assert [r.leaders for r in recorder.slice(SLICE, since=started)] == [("web-1",)]
    recorder.never_empty_between(SLICE, started, asyncio.get_running_loop().time())
    recorder.never_two_ready(SLICE)
    assert moved.body["metadata"]["annotations"]["zen-lead.io/leader-epoch"] == "2"
    (event,) = recorder.events("LeaderChanged", regarding="web")
    assert "web-1" in event["note"]


async def test_opting_out_removes_both_objects(web: Namespace) -> None:
    await web.annotate("web", {"zen-lead.io/enabled": None})

    async def gone() -> bool:
        service = await web.client.find(SERVICES, web.name, SLICE)
        return service is None and not await web.slices_of(SLICE)

    await eventually(gone, "both objects are gone")
