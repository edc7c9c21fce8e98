"""How a change of leader is counted, dated and told, on a real API server and with a real kubectl."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING

import pytest

from tests.cluster.led import AT_ONCE_S, PREFIX, Led, now
from tests.cluster.scene import eventually
from zenlead.kube.resources import EVENTS, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.recorder import Recorder, Revision
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

EPOCH = f"{PREFIX}leader-epoch"
SWITCHED = f"{PREFIX}leader-last-switch-time"
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"


def epoch(revision: Revision) -> int:
    return int(revision.body["metadata"]["annotations"][EPOCH])


def time(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")


async def gone(web: Led) -> None:
    async def away() -> bool:
        service = await web.where.client.find(SERVICES, web.where.name, web.slice)
        return service is None and not await web.where.slices_of(web.slice)

    await eventually(away, f"{web.slice} is gone")


async def test_the_epoch_counts_leaders_and_is_never_used_again(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start(3)
    first = epoch(await web.led_by(0))
    await web.ready(0, ready=False)
    assert epoch(await web.led_by(1)) == first + 1
    started = now()
    await web.ready(0)
    await web.ready(1, ready=False)
    await web.led_by(0, since=started)
    await web.ready(0, ready=False)
    await web.ready(2, ready=False)
    await web.led_by(None, since=started)
    started = now()
    await web.ready(2)
    last = epoch(await web.led_by(2, since=started))
    counted = [(epoch(r), r.leaders) for r in recorder.slice(web.slice) if r.leaders]
    leaderships = sorted(set(counted))
    assert [number for number, _ in leaderships] == list(range(first, last + 1)), (
        "each leadership has its own"
    )
    # Out and in again: whoever remembers an epoch of before sees a higher one.
    for _time in range(2):
        await web.ask(enabled=None)
        await gone(web)
        started = now()
        await web.ask(enabled="true")
        again = epoch(await web.led_by(2, since=started))
        assert again > last
        last = again


async def test_the_times_of_a_switch(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    began = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    for index in range(2):
        await web.add_pod(index)
    await web.opt_in()
    service = await web.dressed("web-0")
    switched = time(service["metadata"]["annotations"][SWITCHED])
    assert began <= switched <= datetime.datetime.now(datetime.UTC)
    first = (await web.led_by(0)).body["metadata"]["annotations"][TRIGGERED]
    assert began <= time(first) <= switched, "a first leader: since it is ready"
    # What the slice says is when the pod was lost, not when it was written.
    lost = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(seconds=7)
    await namespace.pod_status("web-0", ready=False, since=lost)
    moved = await web.led_by(1, within_s=AT_ONCE_S)
    assert time(moved.body["metadata"]["annotations"][TRIGGERED]) == lost
    later = await web.dressed("web-1")
    assert switched <= time(later["metadata"]["annotations"][SWITCHED])
    assert time(later["metadata"]["annotations"][SWITCHED]) > lost
    # What is no switch moves no time.
    await web.ready(0)
    await web.ask(strategy="newest")
    await recorder.quiet(0.6)
    assert (await web.service())["metadata"]["annotations"][SWITCHED] == later["metadata"]["annotations"][
        SWITCHED
    ]


async def test_events_are_told_on_transitions_only(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start()

    def counted() -> dict[str, int]:
        reasons = [e["reason"] for e in recorder.events(regarding="web")]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}

    await web.hears("LeaderRoutingAvailable")
    expected = {"LeaderRoutingAvailable": 1, "LeaderServiceCreated": 1}
    assert counted() == expected

    async def nothing_new() -> None:
        for number in range(3):
            await namespace.annotate("web", {"x": str(number)})
            await namespace.annotate("web-1", {"x": str(number)}, PODS)
        await recorder.quiet(0.6)
        assert counted() == expected

    await nothing_new()
    await web.ready(0, ready=False)
    await web.hears("LeaderChanged")
    expected["LeaderChanged"] = 1
    await nothing_new()
    await web.ready(1, ready=False)
    await web.hears("NoReadyPods")
    expected["NoReadyPods"] = 1
    await nothing_new()
    await web.ready(1)
    await web.hears("LeaderRoutingAvailable", 2)
    expected["LeaderRoutingAvailable"] = 2
    await nothing_new()
    for index in range(2):
        await namespace.delete_pod(web.pod(index))
    await web.hears("NoPodsFound")
    expected["NoPodsFound"] = 1
    await recorder.quiet(0.6)
    expected["NoReadyPods"] = counted().get("NoReadyPods", 0)  # once more, if it saw the time between the two
    assert expected["NoReadyPods"] <= 2
    assert counted() == expected
    for event in recorder.events(regarding="web"):
        assert event["regarding"]["uid"]
        assert event["type"] == ("Warning" if event["reason"].startswith("No") else "Normal")
    # None was written over and over: one revision each.
    assert len(recorder.revisions(EVENTS)) == len(recorder.events())


async def kubectl(controlplane: ControlPlane, *arguments: str) -> str:
    return await asyncio.to_thread(controlplane.kubectl, *arguments)


async def test_kubectl_waits_for_a_leader(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess, controlplane: ControlPlane
) -> None:
    where, service = f"--namespace={namespace.name}", "service/web-leader"
    ready = "--for=condition=zen-lead.io/LeaderReady"
    web = Led(namespace, recorder)
    await web.add_pod(0, ready=False)
    await web.opt_in()
    await web.led_by(None)
    await web.condition("False", "NoReadyPods")
    waiting = asyncio.ensure_future(kubectl(controlplane, where, "wait", ready, service, "--timeout=20s"))
    await kubectl(controlplane, where, "wait", f"{ready}=False", service, "--timeout=10s")
    with pytest.raises(Exception, match="non-zero"):
        await kubectl(controlplane, where, "wait", ready, service, "--timeout=1s")
    assert not waiting.done()
    await web.ready(0)
    assert "condition met" in await waiting
    started = now()
    await web.ready(0, ready=False)
    await web.led_by(None, since=started)
    assert "condition met" in await kubectl(
        controlplane, where, "wait", f"{ready}=false", service, "--timeout=10s"
    )
    await namespace.delete_pod("web-0")
    await web.condition("False", "NoPodsFound")
    # The time of the condition is when it last turned, not when its reason did.
    (condition,) = (await web.service())["status"]["conditions"]
    assert condition["message"]
    assert time(condition["lastTransitionTime"]) <= datetime.datetime.now(datetime.UTC)


async def test_the_condition_comes_after_the_slice_and_others_stay(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start()
    await web.condition("True", "LeaderElected")
    foreign = {
        "type": "example.org/Seen",
        "status": "True",
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    (ours,) = (await web.service())["status"]["conditions"]
    body = {"status": {"conditions": [foreign, ours]}}
    await namespace.client.patch(SERVICES, namespace.name, web.slice, body, subresource="status")
    started = now()
    await web.ready(0, ready=False)
    await web.ready(1, ready=False)
    emptied = await web.led_by(None, since=started)
    await web.condition("False", "NoReadyPods")
    conditions = {c["type"]: c for c in (await web.service())["status"]["conditions"]}
    assert conditions["example.org/Seen"] == foreign
    told = [
        r
        for r in recorder.revisions(SERVICES, web.slice, since=started)
        if {"False"} == {c["status"] for c in r.body["status"]["conditions"] if c["type"] == ours["type"]}
    ]
    assert told[0].at >= emptied.at
