"""Changes of pods that change nothing, on a real API server: what each costs the controller.

Knows which change no decision depends on. Refuses to know the pace: it is the server's.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from benchmarks.client import MERGE_PATCH, pooled
from benchmarks.contestants import cpu_s
from benchmarks.scene import encode
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.scene import Group

EVENTS = 3000
CONCURRENCY = 16  # as many as keep two cores of API server busy
IDLE_S = 5.0


async def noise(arena: Arena, group: Group) -> dict[str, Any]:
    """Annotations of led pods change, one request after the other as fast as the server takes them."""
    if arena.zenlead is None:
        raise RuntimeError("noise needs zenlead to run")
    pid = arena.zenlead.pid
    pods = itertools.cycle([pod for pods in group.pods.values() for pod in pods])
    before, started = cpu_s(pid), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    idle = (cpu_s(pid) - before) / (time.perf_counter() - started)

    async def touch(number: int) -> None:
        body = encode({"metadata": {"annotations": {"example.com/seen": str(number)}}})
        await arena.client.send("PATCH", PODS.path(group.namespace, next(pods)), body, MERGE_PATCH)

    before, started = cpu_s(pid), time.perf_counter()
    await pooled(range(EVENTS), touch, CONCURRENCY)
    sending_s = time.perf_counter() - started
    await arena.settled()
    spent = cpu_s(pid) - before - idle * (time.perf_counter() - started)
    return {
        "events": EVENTS,
        "per_s": EVENTS / sending_s,
        "cpu_us": spent * 1e6 / EVENTS,
        "idle_cpu_ms_per_s": idle * 1e3,
    }
