"""Scenarios around a start: from nothing to all leaders, again with nothing to do, and the memory of both."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.arena import gather_times
from benchmarks.contestants import Zenlead
from benchmarks.leaders import remove_leaders, write_leaders
from benchmarks.quiet import write_requests
from benchmarks.scene import Group
from benchmarks.stats import quantile
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from benchmarks.arena import Arena

CREATE_TIMEOUT_S = 600.0
SETTLE_S = 3.0  # after the last write, before memory is read: buffers are back by then
SMALL = ((10, 5), (200, 3))  # the small clusters of the memory figures: Services, and pods of each


async def small(arena: Arena, services: int, pods_each: int) -> dict[str, Any]:
    """Memory and start with few pods, all of them led; the namespace is emptied again."""
    group = Group(arena.client, f"bench-small-{services}", services, pods_each, opted_in=True)
    await group.open()
    await group.fill()
    _, first = await _until_led(arena, group)
    await arena.settled()
    await first.wait_stopped()
    again = Zenlead(arena.plane)
    try:
        await again.ready()
        await asyncio.sleep(SETTLE_S)
        used = msgspec.to_builtins(again.usage())
    finally:
        again.close()
    await group.remove()
    await arena.settled()
    return {
        "services": services,
        "pods": services * pods_each,
        "ready_s": again.ready_at - again.started,
        **used,
    }


async def create(arena: Arena, group: Group, floor_group: Group) -> dict[str, Any]:
    """All leader Services and slices from nothing: a bare client in one namespace, then zenlead in another.

    Leaves zenlead running as ``arena.zenlead``, and its group with the leaders. Those of the bare client are
    taken away before: for each new address the API server looks at all that it has given out, so whoever came
    second would pay for the first.
    """
    started = time.perf_counter()
    expected = first_targets(arena, floor_group)
    await write_leaders(arena.client, floor_group, floor_group.services)
    seen = await gather_times(expected, CREATE_TIMEOUT_S, lambda: "creation by the bare client")
    floor_s = max(seen.values()) - started
    await remove_leaders(arena.client, floor_group)
    await arena.settled()
    before = await write_requests(arena.client)
    routed, zenlead = await _until_led(arena, group)
    arena.zenlead = zenlead
    last_write = await arena.settled()
    after = await write_requests(arena.client)
    if sum(after.values()) - sum(before.values()) < 2 * len(routed):
        raise RuntimeError("the API server's counters miss writes that were made")
    await asyncio.sleep(SETTLE_S)
    times = [at - zenlead.started for at in routed.values()]
    return {
        "floor_s": floor_s,
        "ready_s": zenlead.ready_at - zenlead.started,
        "p50_s": quantile(times, 0.5),
        "last_s": max(times),
        "last_since_first_s": max(times) - min(times),
        "quiet_s": last_write - zenlead.started,
        "writes": {name: count - before.get(name, 0) for name, count in after.items()},
        "memory": msgspec.to_builtins(zenlead.usage()),
    }


async def restart(arena: Arena, group: Group) -> dict[str, Any]:
    """zenlead ends and starts again with nothing to change: how much it writes (nothing), and its memory."""
    if arena.zenlead is None:
        raise RuntimeError("restart comes after create")
    await arena.zenlead.wait_stopped()
    await arena.settled()
    versions, before = await _versions(arena, group), await write_requests(arena.client)
    arena.zenlead = zenlead = Zenlead(arena.plane)
    await zenlead.ready()
    at_ready = zenlead.usage()
    await asyncio.sleep(2 * SETTLE_S)
    used = zenlead.usage()
    after = await write_requests(arena.client)
    writes = {name: count - before.get(name, 0) for name, count in after.items()}
    now = await _versions(arena, group)
    changed = [key for key in versions.keys() | now.keys() if versions.get(key) != now.get(key)]
    return {
        "writes": {name: count for name, count in writes.items() if count},
        "write_requests": sum(writes.values()),
        "changed_objects": len(changed),
        "objects": len(versions),
        "ready_s": zenlead.ready_at - zenlead.started,
        "cpu_at_ready_s": at_ready.cpu_s,
        "memory": msgspec.to_builtins(used),
        "pods": sum(len(pods) for pods in group.pods.values()),
    }


async def _until_led(arena: Arena, group: Group) -> tuple[dict[str, float], Zenlead]:
    """Starts zenlead and waits until each Service of the group is led; the times, and the running process."""
    expected = first_targets(arena, group)
    zenlead = Zenlead(arena.plane)
    try:
        await zenlead.ready()
        return await gather_times(expected, CREATE_TIMEOUT_S, lambda: "creation by zenlead"), zenlead
    except BaseException:
        zenlead.close()
        raise


def first_targets(arena: Arena, group: Group) -> dict[str, asyncio.Future[float]]:
    """When the leader Service of each Service is first seen to route."""
    return {
        service: arena.observer.expect((group.namespace, f"{service}-leader"), bool)
        for service in group.services
    }


async def _versions(arena: Arena, group: Group) -> dict[tuple[str, str], str]:
    """The resourceVersion of every Service and slice of the group."""
    versions: dict[tuple[str, str], str] = {}
    for resource in (SERVICES, ENDPOINT_SLICES):
        answer = msgspec.json.decode(await arena.client.send("GET", resource.path(group.namespace)))
        for item in answer["items"]:
            meta = item["metadata"]
            versions[resource.plural, meta["name"]] = meta["resourceVersion"]
    return versions
