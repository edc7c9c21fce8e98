"""Scenarios on stored clusters, which may be as large as one likes: start, failovers, and noise.

Knows what is asked of a large cluster. Refuses to know how it is made. The rule not to break: whatever is
measured with the stopwatch is no processor time, and the other way round.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.contestants import Zenlead, cpu_s
from benchmarks.fleet import Fleet
from benchmarks.looptimes import FILE
from benchmarks.stats import spread
from benchmarks.storedplane import StoredPlane, specimens

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.fleet import Specimens

READY_TIMEOUT_S = 180.0
SETTLE_S = 3.0  # after the start, before memory is read and anything fails
SERVICES_OF_A_NAMESPACE = 100
FAILOVERS = 200
FAILOVER_GAP_S = 0.05  # the reaction and what it drags behind it
NOISY = Fleet(services=1000, pods_each=10, namespaces=20)  # so many that one watch sees all pods
NOISE_EVENTS = 20_000
PACED_EVENTS = 3_000
PACES_PER_S = (100, 1000)
IDLE_S = 3.0
LOOP_STEPS = 5  # longest ones that are told


async def scale(
    sizes: list[Fleet], say: Callable[[str], None], *, streaming: bool = True
) -> list[dict[str, Any]]:
    """Each cluster with everything in place: a start with the stopwatch, one without, and failovers."""
    known = await specimens(pods_each=2)
    results = []
    for fleet in sizes:
        async with StoredPlane(fleet, known, streaming=streaming) as plane:
            await _start(plane, timed=False, seconds=0.0)  # compiles modules
            loop = await _start(plane, timed=True)
            results.append(await _untimed(plane) | {"loop": loop})
        result = results[-1]
        say(
            f"  {fleet.services} Services, {fleet.pods} pods: ready {result['ready_s']:.2f} s, "
            f"RSS {result['rss_mb']:.0f} MB, longest turn {loop['longest_ms']:.1f} ms, "
            f"failover {result['failover_cpu_ms']:.2f} ms CPU"
        )
    return results


def fleet_of(text: str) -> Fleet:
    """``10000x10`` or, with namespaces, ``10000x10x100``."""
    services, pods_each, *namespaces = map(int, text.split("x"))
    return Fleet(services, pods_each, (namespaces or [max(1, services // SERVICES_OF_A_NAMESPACE)])[0])


async def _start(plane: StoredPlane, *, timed: bool, seconds: float = SETTLE_S) -> dict[str, Any]:
    """One start up to the settled state; with the stopwatch, what it says."""
    file = plane.folder / "looptimes.json"
    zenlead = Zenlead(plane, module="benchmarks.looptimes" if timed else "zenlead", env={FILE: str(file)})
    try:
        if timed:
            await _alive(zenlead)
            os.kill(zenlead.pid, signal.SIGUSR1)  # what is before is Python's start, not that of the lists
        await zenlead.ready(READY_TIMEOUT_S)
        await asyncio.sleep(seconds)
        if not timed:
            return {}
        file.unlink()
        os.kill(zenlead.pid, signal.SIGUSR1)
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not file.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)
        told = msgspec.json.decode(file.read_bytes())
    finally:
        zenlead.close()
    turns, steps = told["turns"], told["steps"]
    return {
        "longest_ms": turns[0]["seconds"] * 1e3,
        "longest_at_work_ms": max(turn["worked_s"] for turn in turns) * 1e3,
        "longest_step_ms": steps[0]["seconds"] * 1e3,
        "collections_ms": [seconds * 1e3 for seconds in told["collections_s"]],
        "turns": turns[:LOOP_STEPS],
        "steps": steps[:LOOP_STEPS],
    }


async def _alive(zenlead: Zenlead) -> None:
    """Returns when the probes answer, which they do before anything is listed."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        while (await zenlead.http(f"{zenlead.health_url}/livez"))[0] == 0:
            zenlead.check()
            await asyncio.sleep(0.01)


async def _untimed(plane: StoredPlane) -> dict[str, Any]:
    before = await plane.writes()
    zenlead = Zenlead(plane)
    try:
        await zenlead.ready(READY_TIMEOUT_S)
        at_ready = cpu_s(zenlead.pid)
        await asyncio.sleep(SETTLE_S)
        used = zenlead.usage()
        settled = cpu_s(zenlead.pid)
        after = await plane.writes()
        failover = await _failovers(plane, zenlead)
        zenlead.check()
    finally:
        zenlead.close()
    return {
        "services": plane.fleet.services,
        "pods": plane.fleet.pods,
        "namespaces": plane.fleet.namespaces,
        "ready_s": zenlead.ready_at - zenlead.started,
        "cpu_at_ready_s": at_ready,
        "cpu_settled_s": settled,
        "rss_mb": used.rss_mb,
        "peak_mb": used.peak_mb,
        "writes": sum(after.values()) - sum(before.values()),
        **failover,
    }


async def _failovers(plane: StoredPlane, zenlead: Zenlead) -> dict[str, Any]:
    count = min(FAILOVERS, plane.fleet.services // 2)
    await plane.ask("failovers", first=0, count=min(20, count), gap_s=FAILOVER_GAP_S)  # warm
    await asyncio.sleep(1.0)
    first = plane.fleet.services - count
    before, idle = cpu_s(zenlead.pid), await _idle_share(zenlead)
    started = time.perf_counter()
    before = cpu_s(zenlead.pid)
    taken = await plane.ask("failovers", first=first, count=count, gap_s=FAILOVER_GAP_S)
    await asyncio.sleep(1.0)
    spent = cpu_s(zenlead.pid) - before - idle * (time.perf_counter() - started)
    return {"failover_cpu_ms": spent * 1e3 / count, "failover_ms": spread(taken)}


async def _idle_share(zenlead: Zenlead) -> float:
    """Processor time a second while nothing happens."""
    before, started = cpu_s(zenlead.pid), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    return (cpu_s(zenlead.pid) - before) / (time.perf_counter() - started)


async def paces(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Changes of pods that change nothing: microseconds of processor time for each, by pace."""
    known: Specimens = await specimens(pods_each=2)
    results = []
    async with StoredPlane(NOISY, known) as plane:
        zenlead = Zenlead(plane)
        try:
            await zenlead.ready(READY_TIMEOUT_S)
            await asyncio.sleep(SETTLE_S)
            idle = await _idle_share(zenlead)
            for concerned in (True, False):
                for per_s in (0, *PACES_PER_S):
                    told = await _noise(plane, zenlead, per_s, idle=idle, concerned=concerned)
                    results.append(told)
                    say(f"  {told}")
        finally:
            zenlead.close()
    return results


async def _noise(
    plane: StoredPlane, zenlead: Zenlead, per_s: int, *, idle: float, concerned: bool
) -> dict[str, Any]:
    events = min(PACED_EVENTS, per_s * 10) if per_s else NOISE_EVENTS
    writes = await plane.writes()
    before, started = cpu_s(zenlead.pid), time.perf_counter()
    await plane.ask("noise", events=events, per_s=per_s, concerned=concerned)
    await asyncio.sleep(1.0)
    spent = cpu_s(zenlead.pid) - before - idle * (time.perf_counter() - started)
    return {
        "pace_per_s": per_s,
        "whose": "pods of led Services" if concerned else "pods of others",
        "events": events,
        "cpu_us": spent * 1e6 / events,
        "writes": sum((await plane.writes()).values()) - sum(writes.values()),
    }
