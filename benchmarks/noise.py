"""Changes of pods that change nothing, on a real API server: what each costs the controller.

Knows which change no decision depends on. Refuses to know the pace: it is the server's.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from benchmarks.client import MERGE_PATCH, pooled
from benchmarks.contestants import cpu_s, start_floor
from benchmarks.scene import encode
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.scene import Group

EVENTS = 3000
CONCURRENCY = 16  # as many as keep two cores of API server busy
IDLE_S = 5.0


async def noise(arena: Arena, group: Group) -> dict[str, Any]:
    """Annotations of led pods change, as fast as the server takes it; a floor reads the same events, since
    waking up is most of what a single event costs any process."""
    if arena.zenlead is None:
        raise RuntimeError("noise needs zenlead to run")
    floor = start_floor(arena.plane, group.namespace)
    try:
        await floor.watching()
        await asyncio.sleep(IDLE_S)  # it reads its first list
        return await _noise(arena, group, {"zenlead": arena.zenlead.pid, "floor": floor.pid})
    finally:
        floor.close()


async def _noise(arena: Arena, group: Group, pids: dict[str, int]) -> dict[str, Any]:
    pods = itertools.cycle([pod for pods in group.pods.values() for pod in pods])

    def spent() -> tuple[float, dict[str, float]]:
        return time.perf_counter(), {name: cpu_s(pid) for name, pid in pids.items()}

    async def touch(number: int) -> None:
        body = encode({"metadata": {"annotations": {"example.com/seen": str(number)}}})
        await arena.client.send("PATCH", PODS.path(group.namespace, next(pods)), body, MERGE_PATCH)

    quiet_from, quiet = spent()
    await asyncio.sleep(IDLE_S)
    busy_from, busy = spent()
    await pooled(range(EVENTS), touch, CONCURRENCY)
    sending_s = time.perf_counter() - busy_from
    await arena.settled()
    end, after = spent()
    idle = {name: (busy[name] - quiet[name]) / (busy_from - quiet_from) for name in pids}
    cost = {name: after[name] - busy[name] - idle[name] * (end - busy_from) for name in pids}
    return {
        "events": EVENTS,
        "per_s": EVENTS / sending_s,
        "cpu_us": cost["zenlead"] * 1e6 / EVENTS,
        "floor_cpu_us": cost["floor"] * 1e6 / EVENTS,
        "idle_cpu_ms_per_s": idle["zenlead"] * 1e3,
    }
