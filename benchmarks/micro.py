"""Costs of single steps, for a look before and after a change: ``python -m benchmarks.micro``.

No API server and no other process but an echo for the requests. Figures are microseconds of processor time
of this process (the median of several rounds) and vary by some ten per cent between runs on a shared machine;
of event bytes to PATCH, the shortest and the median wall time. What metrics cost is told by itself, in memory
for each Service and in how long a scrape holds the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks import metricscene
from benchmarks.microscene import POD_LINE, SLICE_BODY, Scene, echo, watching
from zenlead.kube.api import connect
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import LaneWriter
from zenlead.kube.lru import AsyncLRU
from zenlead.kube.queue import WorkQueue
from zenlead.kube.resources import ENDPOINT_SLICES
from zenlead.lead.decide import decide
from zenlead.lead.writes import diff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 7
REQUESTS = 300
FAILOVERS = 100
FOREVER_S = float("inf")


class Case(msgspec.Struct, frozen=True):
    """One line of the result: microseconds of CPU, and of wall time where waiting is part of the matter."""

    name: str
    cpu_us: float
    wall_us: float | None = None


def steady(name: str, work: Callable[[], object], repeat: int) -> Case:
    """The cost of one call of ``work``."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(repeat):
            work()
        rounds.append((time.process_time() - started) / repeat)
    return Case(name, statistics.median(rounds) * 1e6)


async def steady_async(name: str, work: Callable[[], Awaitable[object]], repeat: int) -> Case:
    """The same for a coroutine function, one call after the other."""
    await work()
    cpu, wall = [], []
    for _ in range(ROUNDS):
        started, wall_started = time.process_time(), time.perf_counter()
        for _ in range(repeat):
            await work()
        cpu.append((time.process_time() - started) / repeat)
        wall.append((time.perf_counter() - wall_started) / repeat)
    return Case(name, statistics.median(cpu) * 1e6, statistics.median(wall) * 1e6)


async def rooms() -> list[Case]:
    """Decoding, the queue and the cache."""
    cursor = watching()
    queue: WorkQueue[tuple[str, str]] = WorkQueue()
    cache: AsyncLRU[str, int] = AsyncLRU("micro", _number, max_entries=100, load_timeout_s=1.0)

    async def through_the_queue() -> None:
        queue.add(("default", "web"), Lane.URGENT)
        key = await queue.get((Lane.URGENT,))
        if key is not None:
            queue.done(key)

    return [
        steady(f"decode one pod event ({len(POD_LINE) / 1000:.1f} KB)", lambda: cursor.feed(POD_LINE), 2000),
        await steady_async("queue: add, get, done", through_the_queue, 2000),
        await steady_async("cache: hit", lambda: cache.get("default"), 5000),
    ]


async def _number(_: str) -> int:
    return 1


async def requests() -> list[Case]:
    """One PATCH to an echo on the loopback: our client with and without the lane around it."""
    with echo() as port, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
            f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
            "users: [{name: a, user: {token: t}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        )
        api = await connect(kubeconfig=str(config), context=None)
        lanes = LaneWriter(api, fence=lambda: FOREVER_S, qps=0, burst=0)
        try:
            return [
                await steady_async(
                    "HttpApi.patch to an echo",
                    lambda: api.patch(ENDPOINT_SLICES, "default", "web-leader", SLICE_BODY),
                    REQUESTS,
                ),
                await steady_async(
                    "the same through the urgent lane",
                    lambda: lanes.on(Lane.URGENT, service="web").patch(
                        ENDPOINT_SLICES, "default", "web-leader", SLICE_BODY
                    ),
                    REQUESTS,
                ),
            ]
        finally:
            await api.close()


async def controller(services: int) -> list[Case]:
    """The controller on the sandbox's store, without HTTP."""
    async with Scene(services) as scene:
        key = (scene.namespace, scene.services[0])
        standby = steady("trigger for a pod event, index loaded", scene.trigger_noise, 2000)

        def pass_without_writes() -> None:
            seen = scene.snapshot(key)
            if diff(seen, decide(seen, time.time())):
                raise RuntimeError("the scene is not settled")

        noop = steady("snapshot, decide and diff, nothing to write", pass_without_writes, 500)
        noise = steady("a pod event that changes nothing, all of it", scene.apply_noise, 1000)
        scene.drop_index()
        slow = steady(f"trigger for a pod event, no index, {services} Services", scene.trigger_noise, 20)
        await scene.load_index()
        waits, cpu = await scene.failovers(min(FAILOVERS, services))
        return [
            noise,
            standby,
            slow,
            noop,
            Case("failover: event bytes to PATCH called", min(waits) * 1e6, statistics.median(waits) * 1e6),
            Case("failover: everything, decorations too", cpu * 1e6),
        ]


async def measure(services: int) -> list[Case]:
    return [*await rooms(), *await requests(), *await controller(services)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--services", type=int, default=200, help="Services x 3 pods in the caches (200)")
    parser.add_argument(
        "--metrics-services",
        type=int,
        default=1000,
        help="Services in the metrics of a scrape (1000); 0: none",
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    told = parser.parse_args()
    cases = asyncio.run(measure(told.services))
    print(f"{told.services} Services, load {os.getloadavg()[0]:.1f}\n")
    print("| step | processor time, us | wall time, us |\n| --- | --- | --- |")
    for case in cases:
        wall = "-" if case.wall_us is None else f"{case.wall_us:.1f}"
        print(f"| {case.name} | {case.cpu_us:.1f} | {wall} |")
    metrics = metricscene.figures(told.metrics_services) if told.metrics_services else {}
    if metrics:
        print(f"\n| metrics of {told.metrics_services} Services | |\n| --- | --- |")
    for name, figure in metrics.items():
        print(f"| {name} | {figure} |")
    if told.json:
        found = {"steps": cases, "metrics": metrics}
        told.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
