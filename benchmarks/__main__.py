"""The command: a control plane, the contestants, the scenarios asked for, a report."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import failovers, lifecycle, report
from benchmarks.arena import Arena, Process, Side, gather_times
from benchmarks.client import Client
from benchmarks.contestants import compile_modules, start_floor
from benchmarks.observer import Observer
from benchmarks.scene import Group, create_nodes
from tests.cluster.controlplane import ControlPlane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RESULTS = Path(__file__).resolve().parent / "results"
SCENARIOS = ("small", "create", "restart", "single", "storm")
SYNC_TIMEOUT_S = 120.0
LOG_LINES = 8  # of each program, when something failed


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure zenlead beside the native EndpointSlice controller and a bare watch-and-patch "
        "loop, on a real API server. Some four minutes with the defaults.",
    )
    parser.add_argument("--services", type=int, default=200, metavar="N", help="Services of each side (200)")
    parser.add_argument("--pods-each", type=int, default=3, metavar="N", help="pods of each Service (3)")
    parser.add_argument("--samples", type=int, default=100, metavar="N", help="single failovers a side (100)")
    parser.add_argument("--storms", type=int, default=3, metavar="N", help="storms a side (3)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the order of samples (1)")
    parser.add_argument(
        "--scenarios",
        default=",".join(SCENARIOS),
        metavar="LIST",
        help=f"of {','.join(SCENARIOS)}; create always runs, the others stand on it",
    )
    parser.add_argument(
        "--output", type=Path, default=None, metavar="PATH", help="JSON file (benchmarks/results/TIME.json)"
    )
    parsed = parser.parse_args(arguments)
    unknown = set(parsed.scenarios.split(",")) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if parsed.services < 2 or parsed.pods_each < 3 or parsed.samples < 1 or parsed.storms < 1:
        parser.error("at least 2 services, 3 pods each, 1 sample and 1 storm")
    return parsed


def main() -> int:
    told = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = {k: v for k, v in vars(told).items() if k != "output"}
    results = {"machine": report.machine(), "arguments": arguments, "kubernetes": "", "scenarios": {}}
    try:
        with ControlPlane(controllers=()) as plane:
            asyncio.run(measure(plane, told, results))
    finally:  # what was measured before something failed is worth keeping
        save(results, told)
    return 0


def save(results: dict[str, Any], told: argparse.Namespace) -> None:
    """Writes the JSON and the report beside it, and prints the report."""
    results["machine"]["load_after"] = os.getloadavg()[0]
    text = report.markdown(results)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    path = told.output or RESULTS / f"{stamp}-{told.services}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    path.with_suffix(".md").write_text(text)
    print(f"\n{text}\n{path}")


async def measure(plane: ControlPlane, told: argparse.Namespace, results: dict[str, Any]) -> None:
    """All scenarios, in the order in which each finds what it needs; each adds to ``results`` when done."""
    chosen = set(told.scenarios.split(","))
    async with Client(plane.url, ca=plane.ca, token=plane.token) as client, _observing(client) as observer:
        arena = Arena(plane, client, observer, services=told.services, seed=told.seed)
        version = msgspec.json.decode(await client.send("GET", "/version"))
        results["kubernetes"] = version["gitVersion"]
        try:
            await _scenarios(arena, told, chosen, results["scenarios"])
        except BaseException:
            print(plane.log_tails(LOG_LINES), file=sys.stderr)
            raise
        finally:
            arena.close()


async def _scenarios(arena: Arena, told: argparse.Namespace, chosen: set[str], done: dict[str, Any]) -> None:
    await _timed(arena, "compiling", compile_modules(arena.plane))
    await create_nodes(arena.client)
    memory: list[dict[str, Any]] = []
    done["memory"] = memory
    if "small" in chosen:
        done["small"] = small = await _timed(arena, "small", lifecycle.small(arena))
        memory.append({"when": "after a restart", **small})
    groups = {
        name: Group(arena.client, f"bench-{name}", told.services, told.pods_each, opted_in=opted_in)
        for name, opted_in in {"zenlead": True, "native": False, "floor": None}.items()
    }
    for group in groups.values():
        await group.open()
    await _timed(arena, "filling", groups["zenlead"].fill())
    done["create"] = await _timed(
        arena, "create", lifecycle.create(arena, groups["zenlead"], groups["floor"])
    )
    size = {"services": told.services, "pods": told.services * told.pods_each}
    memory.append({"when": "after first creation", **size, **done["create"]["memory"]})
    if "restart" in chosen:
        done["restart"] = await _timed(arena, "restart", lifecycle.restart(arena, groups["zenlead"]))
        memory.append({"when": "after a restart", **size, **done["restart"]["memory"]})
    if not chosen & {"single", "storm"}:
        return
    sides = await _timed(arena, "filling the other groups", _sides(arena, groups))
    if "single" in chosen:
        done["single"] = await _timed(arena, "single", failovers.single(arena, sides, told.samples))
    if "storm" in chosen:
        done["storm"] = await _timed(arena, "storm", failovers.storm(arena, sides, told.storms))
    if arena.zenlead is not None:
        after = msgspec.to_builtins(arena.zenlead.usage())
        pods = sum(len(group.addresses) for group in groups.values())
        memory.append({"when": "after all", "services": told.services, "pods": pods, **after})


async def _sides(arena: Arena, groups: dict[str, Group]) -> dict[str, Side]:
    """The other two groups and their contestants, all of them settled."""
    for name in ("native", "floor"):
        await groups[name].fill()
    keys = [(g.namespace, s) for g in (groups["native"], groups["zenlead"]) for s in g.services]
    first_slices = {"/".join(key): arena.observer.expect(key, bool) for key in keys}
    native = arena.start_native()
    arena.floor = start_floor(arena.plane, groups["floor"].namespace)
    if arena.zenlead is None:
        raise RuntimeError("the sides need zenlead to run")
    processes: dict[str, Process] = {"floor": arena.floor, "native": native, "zenlead": arena.zenlead}
    await gather_times(first_slices, SYNC_TIMEOUT_S, lambda: "first slices of the native controller")
    await arena.settled()
    return {name: Side(name, groups[name], who, arena.observer) for name, who in processes.items()}


@contextlib.asynccontextmanager
async def _observing(client: Client) -> AsyncIterator[Observer]:
    observer = Observer(client)
    started = asyncio.Event()
    task = asyncio.create_task(observer.run(started))
    try:
        await started.wait()
        yield observer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _timed(arena: Arena, title: str, work: Any) -> Any:
    arena.say(f"{title} ...")
    started = time.perf_counter()
    result = await work
    arena.say(f"{title}: {time.perf_counter() - started:.1f} s")
    return result


if __name__ == "__main__":
    sys.exit(main())
