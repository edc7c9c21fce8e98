"""The annotations about time and about the last resort, from outside: who waits, how long, and what for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.led import AT_ONCE_S, Led, now

if TYPE_CHECKING:
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SECOND_S = 1.0  # Kubernetes tells times in whole seconds, so what is waited for may be so much shorter
DELAY_S = 4.0


async def flaps(web: Led) -> None:
    started = now()
    await web.ready(0, ready=False)
    await asyncio.sleep(1.0)
    await web.ready(0)
    await asyncio.sleep(DELAY_S + 1.0)
    assert web.slice_writes(started) == 0, "it came back in time"


async def stays_away(web: Led) -> None:
    started = now()
    await web.ready(0, ready=False)
    moved = await web.led_by(1, since=started)
    assert DELAY_S - SECOND_S - 0.1 <= moved.at - started <= DELAY_S + AT_ONCE_S
    assert web.slice_writes(started) == 1
    assert "is not ready" in (await web.hears("LeaderChanged"))[0]


async def leaves_nobody(web: Led) -> None:
    started = now()
    await web.ready(1, ready=False)
    await web.ready(0, ready=False)
    emptied = await web.led_by(None, since=started)
    assert emptied.at - started >= DELAY_S - SECOND_S - 0.1


async def goes_meanwhile(web: Led) -> None:
    started = now()
    await web.ready(0, ready=False)
    await asyncio.sleep(0.7)
    assert web.slice_writes(started) == 0
    asked = now()
    await web.where.delete_pod(web.pod(0), grace_s=600)
    moved = await web.led_by(1, since=started)
    assert moved.at - asked <= DELAY_S - SECOND_S - 0.7 or moved.at - started < DELAY_S - SECOND_S
    assert "is terminating" in (await web.hears("LeaderChanged"))[0]


async def is_asked_for_no_more(web: Led) -> None:
    started = now()
    await web.ready(0, ready=False)
    await web.ask(failover_min_delay=None)
    await web.led_by(1, since=started, within_s=AT_ONCE_S)


async def test_failover_min_delay_gives_a_leader_time_to_come_back(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    stories = {"flap": flaps, "past": stays_away, "none": leaves_nobody, "gone": goes_meanwhile}
    webs = {name: await Led(namespace, recorder, name).start(failover_min_delay="4s") for name in stories}
    webs["off"] = await Led(namespace, recorder, "off").start(failover_min_delay="1h")
    async with asyncio.TaskGroup() as tasks:
        for name, tell in (stories | {"off": is_asked_for_no_more}).items():
            tasks.create_task(tell(webs[name]), name=name)


async def test_failover_min_delay_is_not_for_those_who_will_not_come_back(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    async def hurt(web: Led) -> None:
        leader = web.pod(0)
        match web.name:
            case "terminating":
                await namespace.delete_pod(leader, grace_s=600)
            case "deleted":
                await namespace.delete_pod(leader)
            case "finished":
                await namespace.pod_status(leader, phase="Failed", ready=False)
            case "deselected":
                await namespace.relabel(leader, {"app": "other"})
            case "addressless":
                await namespace.pod_status(leader, addresses=[], ready=False)

    async def story(name: str) -> None:
        web = await Led(namespace, recorder, name).start(failover_min_delay="1h", on_no_ready="keep-last")
        started = now()
        await hurt(web)
        await web.led_by(1, since=started, within_s=AT_ONCE_S)
        assert web.slice_writes(started) == 1

    async with asyncio.TaskGroup() as tasks:
        for name in ("terminating", "deleted", "finished", "deselected", "addressless"):
            tasks.create_task(story(name), name=name)


async def kept(web: Led) -> float:
    """Its only pod turns NotReady and stays in the slice; returns when that began."""
    started = now()
    await web.ready(0, ready=False)
    await web.condition("False", "NoReadyPods")
    await web.hears("NoReadyPods")
    (slice_,) = await web.where.slices_of(web.slice)
    assert slice_["endpoints"][0]["conditions"]["ready"] is True
    assert web.slice_writes(started) == 0
    return started


async def test_on_no_ready_keep_last_keeps_the_address_while_the_pod_is_there(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    async def deleted(web: Led) -> None:
        started = await kept(web)
        await namespace.delete_pod(web.pod(0))
        await web.led_by(None, since=started, within_s=AT_ONCE_S)

    async def terminates(web: Led) -> None:
        started = await kept(web)
        await namespace.delete_pod(web.pod(0), grace_s=600)
        await web.led_by(None, since=started, within_s=AT_ONCE_S)

    async def followed(web: Led) -> None:
        started = await kept(web)
        await web.add_pod(1)
        await web.led_by(1, since=started, within_s=AT_ONCE_S)
        assert web.slice_writes(started) == 1, "never through empty"
        await web.condition("True", "LeaderElected")

    async def comes_back(web: Led) -> None:
        started = await kept(web)
        await web.ready(0)
        await web.condition("True", "LeaderElected")
        assert web.slice_writes(started) == 0
        assert web.told("LeaderChanged") == []

    async def changes_its_mind(web: Led) -> None:
        started = await kept(web)
        await web.ask(on_no_ready="empty")
        await web.led_by(None, since=started, within_s=AT_ONCE_S)

    stories = (deleted, terminates, followed, comes_back, changes_its_mind)
    async with asyncio.TaskGroup() as tasks:
        for tell in stories:
            name = tell.__name__.replace("_", "-")
            web = await Led(namespace, recorder, name).start(1, on_no_ready="keep-last")
            tasks.create_task(tell(web), name=name)
    assert {len(recorder.events("NoReadyPods", regarding=t.__name__.replace("_", "-"))) for t in stories} == {
        1
    }


async def test_on_no_ready_empty_is_the_default(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    for name, said in {
        "default": {},
        "explicit": {"on_no_ready": "empty"},
        "wrong": {"on_no_ready": "keep"},
    }.items():
        web = await Led(namespace, recorder, name).start(1, **said)
        started = now()
        await web.ready(0, ready=False)
        await web.led_by(None, since=started, within_s=AT_ONCE_S)
        if name == "wrong":
            await web.hears("InvalidAnnotation")
        else:
            assert web.told("InvalidAnnotation") == []


async def test_min_ready_duration_as_go_reads_durations(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    """No event comes when a pod has ripened, so each Service must look again by itself."""
    waits = {"0": 0.0, "0s": 0.0, "1.5s": 1.5, "2500ms": 2.5, "0h0m3s": 3.0, "5s": 5.0}
    wrong = ("5", "-3s", "3 s", "1d")
    webs = {
        value: Led(namespace, recorder, f"w{index}") for index, value in enumerate((*waits, *wrong, "1h"))
    }
    for value, web in webs.items():
        await web.opt_in(min_ready_duration=value)
        await web.led_by(None)
    started: dict[str, float] = {}
    for value, web in webs.items():
        started[value] = now()
        await web.add_pod(0)
    for value, wait_s in waits.items():
        led = await webs[value].led_by(0)
        assert wait_s - SECOND_S - 0.1 <= led.at - started[value] <= wait_s + AT_ONCE_S, value
    for value in wrong:
        await webs[value].led_by(0)
        await webs[value].hears("InvalidAnnotation")
    await recorder.quiet(0.6)
    assert webs["1h"].moves() == [""]
    # What is asked of a new leader is not asked of the one that leads.
    await webs["0"].ask(min_ready_duration="1h")
    await recorder.quiet(0.6)
    assert webs["0"].moves() == ["", webs["0"].pod(0)]
