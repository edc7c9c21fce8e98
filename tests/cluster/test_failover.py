"""The main job on a real API server: elect, and fail over in one write, whatever the leader's fault."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING

import pytest

from tests.cluster.scene import eventually, new_address
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder, Revision
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
SECONDS_2 = 2.0  # no failover here takes longer, not even on a busy machine


def now() -> float:
    return asyncio.get_running_loop().time()


def epoch_of(revision: Revision) -> str:
    said: str = revision.body["metadata"]["annotations"]["zen-lead.io/leader-epoch"]
    return said


async def test_elects_the_oldest_and_says_so(web: Namespace, recorder: Recorder) -> None:
    service = await web.client.get(SERVICES, web.name, SLICE)
    annotations = service["metadata"]["annotations"]
    pod = await web.client.get(PODS, web.name, "web-0")
    assert annotations["zen-lead.io/leader-pod-name"] == "web-0"
    assert annotations["zen-lead.io/current-leader"] == "web-0"
    assert annotations["zen-lead.io/leader-pod-uid"] == pod["metadata"]["uid"]
    (first,) = recorder.slice(SLICE)
    assert annotations["zen-lead.io/leader-epoch"] == epoch_of(first)
    datetime.datetime.strptime(annotations["zen-lead.io/leader-last-switch-time"], "%Y-%m-%dT%H:%M:%S%z")
    assert "selector" not in service["spec"]
    conditions = {c["type"]: c for c in service["status"]["conditions"]}
    assert conditions["zen-lead.io/LeaderReady"]["status"] == "True"
    assert conditions["zen-lead.io/LeaderReady"]["reason"] == "LeaderElected"
    (made,) = await web.slices_of(SLICE)
    (endpoint,) = made["endpoints"]
    assert endpoint["addresses"] == [pod["status"]["podIP"]]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["nodeName"] == pod["spec"]["nodeName"]
    assert endpoint["targetRef"]["uid"] == pod["metadata"]["uid"]
    assert made["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert recorder.writes(ENDPOINT_SLICES, SLICE) == 1
    reasons = sorted(e["reason"] for e in recorder.events(regarding="web"))
    assert reasons == ["LeaderRoutingAvailable", "LeaderServiceCreated"]


async def _hurt(web: Namespace, fault: str) -> None:
    match fault:
        case "notReady":
            await web.pod_status("web-0", ready=False)
        case "terminating":  # Ready stays True for the whole grace period
            await web.delete_pod("web-0", grace_s=600)
        case "deleted":
            await web.delete_pod("web-0", grace_s=0)
        case "deselected":
            await web.relabel("web-0", {"app": "other"})
        case "noIP":
            await web.pod_status("web-0", addresses=[])
        case "finished":  # as an eviction leaves it: its conditions say that all is well
            await web.pod_status("web-0", phase="Failed")


@pytest.mark.parametrize("fault", ["notReady", "terminating", "deleted", "deselected", "noIP", "finished"])
async def test_moves_in_one_write(
    web: Namespace, recorder: Recorder, zenlead_process: StartZenlead, fault: str
) -> None:
    was = await web.client.get(PODS, web.name, "web-0")
    following = str(int(epoch_of(recorder.slice(SLICE)[-1])) + 1)
    started = now()
    await _hurt(web, fault)
    moved = await recorder.wait_leader(SLICE, "web-1", since=started, timeout_s=SECONDS_2)
    await recorder.quiet(0.6)
    assert [r.leaders for r in recorder.slice(SLICE, since=started)] == [("web-1",)]
    recorder.never_empty_between(SLICE, started, now())
    recorder.never_two_ready(SLICE)
    recorder.never_routes_to(SLICE, was["status"]["podIP"], since=started)
    assert epoch_of(moved) == following
    service = await web.client.get(SERVICES, web.name, SLICE)
    assert service["metadata"]["annotations"]["zen-lead.io/leader-pod-name"] == "web-1"
    assert service["metadata"]["annotations"]["zen-lead.io/leader-epoch"] == following
    (event,) = recorder.events("LeaderChanged", regarding="web")
    assert "web-1" in event["note"]
    # However well it looks afterwards: who still terminates is not picked again.
    await web.pod_status("web-1", ready=False)
    await recorder.wait_leader(SLICE, "web-2", since=started, timeout_s=SECONDS_2)
    await web.pod_status("web-2", ready=False)
    await recorder.wait_leader(SLICE, None, since=started, timeout_s=SECONDS_2)
    (left,) = await web.slices_of(SLICE)
    assert not left["endpoints"]  # a valid slice, and no dead address in it


async def test_each_failover_is_counted_with_its_reason(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    process = await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    started = now()
    await pods.delete_pod("web-0", grace_s=600)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    await pods.relabel("web-1", {"app": "other"})
    await recorder.wait_leader(SLICE, "web-2", since=started)

    expected = {
        f'zen_lead_failover_count_total{{namespace="{pods.name}",reason="{reason}",service="web"}}'
        for reason in ("terminating", "deselected")
    }

    async def counted() -> bool:  # the slice is seen before its writer has the answer
        metrics = await process.metrics()
        found = {name for name, value in metrics.items() if "failover_count_total" in name and value == 1}
        return found == expected

    await eventually(counted, "each failover is counted with its reason")


async def test_a_selector_that_matches_nothing_routes_nowhere(web: Namespace, recorder: Recorder) -> None:
    started = now()
    await web.client.patch(SERVICES, web.name, "web", {"spec": {"selector": {"app": "nobody"}}})
    await recorder.wait_leader(SLICE, None, since=started, timeout_s=SECONDS_2)
    await recorder.quiet(0.6)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=started) == 1
    assert len(recorder.events("NoPodsFound", regarding="web")) == 1
    service = await web.client.get(SERVICES, web.name, SLICE)
    (condition,) = service["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "NoPodsFound")
    assert "zen-lead.io/current-leader" not in service["metadata"]["annotations"]


async def test_nobody_ready_then_somebody_again(web: Namespace, recorder: Recorder) -> None:
    started = now()
    for index in range(3):
        await web.pod_status(f"web-{index}", ready=False)
    await recorder.wait_leader(SLICE, None, since=started, timeout_s=SECONDS_2)
    await recorder.quiet(0.6)
    assert len(recorder.events("NoReadyPods", regarding="web")) == 1
    again = now()
    await web.pod_status("web-2", ready=True)
    back = await recorder.wait_leader(SLICE, "web-2", since=again, timeout_s=SECONDS_2)
    await recorder.quiet(0.6)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=again) == 1
    epochs = [int(epoch_of(r)) for r in recorder.slice(SLICE)]
    assert epochs == sorted(epochs)
    assert int(epoch_of(back)) == epochs[0] + len([name for name in recorder.leaders(SLICE) if name]) - 1


async def test_the_same_pod_with_a_new_address_is_no_failover(web: Namespace, recorder: Recorder) -> None:
    started, address = now(), new_address()
    await web.pod_status("web-0", addresses=[address])
    moved = await recorder.wait(
        lambda r: r.at >= started and r.addresses == (address,), "the new address", SECONDS_2
    )
    await recorder.quiet(0.6)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=started) == 1
    assert epoch_of(moved) == epoch_of(recorder.slice(SLICE)[0])
    assert recorder.events("LeaderChanged") == []


async def test_a_fit_leader_stays_unless_stickiness_is_off(web: Namespace, recorder: Recorder) -> None:
    started = now()
    await web.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    await web.pod_status("web-0", ready=True)
    await recorder.quiet(0.6)
    assert recorder.leaders(SLICE) == ["web-0", "web-1"]
    await web.annotate("web", {"zen-lead.io/sticky": "false"})
    await recorder.wait(lambda r: recorder.leaders(SLICE)[-1] == "web-0", "back to the oldest", SECONDS_2)
    await recorder.quiet(0.6)
    recorder.never_empty_between(SLICE, started, now())
    assert recorder.leaders(SLICE) == ["web-0", "web-1", "web-0"]


async def test_a_pod_leads_once_it_has_been_ready_long_enough(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await zenlead_process()
    await namespace.service("web", annotations={"zen-lead.io/min-ready-duration": "3s"})
    since = datetime.datetime.now(datetime.UTC)
    await namespace.pod("web-0")
    await recorder.wait_leader(SLICE, None)
    # No event comes when it ripens, and Kubernetes tells whole seconds.
    await recorder.wait_leader(SLICE, "web-0", timeout_s=6.0)
    ripe_for = (datetime.datetime.now(datetime.UTC) - since).total_seconds()
    assert 2.0 <= ripe_for <= 5.0
    # What is asked of a new leader is not asked of the one that leads.
    await recorder.quiet(0.6)
    assert recorder.leaders(SLICE) == ["", "web-0"]


async def test_one_slice_for_each_address_family(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0", addresses=["10.1.200.1"])  # has no address of the second family
    await namespace.pod("web-1", addresses=["10.1.200.2", "fd00:10::c802"])
    await namespace.pod("web-2", addresses=["10.1.200.3", "fd00:10::c803"])
    await namespace.service("web", ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack")
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-1")
    await recorder.wait_leader(f"{SLICE}-ipv6", "web-1")
    started = now()
    await namespace.pod_status("web-1", ready=False)
    await recorder.wait_leader(SLICE, "web-2", since=started)
    await recorder.wait_leader(f"{SLICE}-ipv6", "web-2", since=started)
    await recorder.quiet(0.6)
    found = {s["addressType"]: s for s in await namespace.slices_of(SLICE)}
    assert {f: s["endpoints"][0]["addresses"] for f, s in found.items()} == {
        "IPv4": ["10.1.200.3"],
        "IPv6": ["fd00:10::c803"],
    }
    for name in (SLICE, f"{SLICE}-ipv6"):
        assert recorder.writes(ENDPOINT_SLICES, name, since=started) == 1
        recorder.never_empty_between(name, started, now())
    service = await namespace.client.get(SERVICES, namespace.name, SLICE)
    assert service["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    # Back to one family: the second slice goes.
    await namespace.client.patch(
        SERVICES, namespace.name, "web", {"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}}
    )

    async def one_slice() -> bool:
        slices: list[Object] = await namespace.slices_of(SLICE)
        return [s["addressType"] for s in slices] == ["IPv4"]

    await eventually(one_slice, "the slice of the second family is gone")
