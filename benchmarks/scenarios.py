"""The scenarios as a table, and the stages on which they are played, each with what it needs.

Knows which scenario stands on which other one. Refuses to know how any of them measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable  # noqa: TC003 - fields of a Struct
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import dataplane, failovers, lifecycle, metricscene, network, noise, scale, sizes
from benchmarks.arena import Arena, Process, Side, gather_times
from benchmarks.client import Client
from benchmarks.contestants import compile_modules, start_floor
from benchmarks.leaders import write_leaders
from benchmarks.observer import Observer
from benchmarks.scene import Group, create_nodes
from tests.cluster import build
from tests.cluster.controlplane import ControlPlane

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

SYNC_TIMEOUT_S = 120.0
LOG_LINES = 8  # of each program, when something failed
SCRAPED_SERVICES = 1000

Found = dict[str, Any]


class Scenario(msgspec.Struct, frozen=True):
    """One row: its name, the stage that plays it, what happens, and whether it is played unasked."""

    name: str
    stage: str
    what: str
    usual: bool = True


SCENARIOS = (
    Scenario("small", "plane", "memory and start with 50 and with 600 pods"),
    Scenario("create", "plane", "all leaders from nothing; always played where one that stands on it is"),
    Scenario("restart", "plane", "a start with nothing to change"),
    Scenario("noise", "plane", "pod updates that change nothing: processor time of each"),
    Scenario("single", "plane", "one leader at a time fails"),
    Scenario("storm", "plane", "all leaders fail at once"),
    Scenario("sizes", "sizes", "three sizes of clusters: passes, cache, memory", usual=False),
    Scenario(
        "scale",
        "stored",
        "large clusters from stored lists: start, memory, longest turn of the loop",
        usual=False,
    ),
    Scenario("paces", "stored", "noise on a stored cluster, by pace", usual=False),
    Scenario("scrape", "alone", "a scrape of 1000 Services: how long it holds the loop", usual=False),
    Scenario("dataplane", "path", "a client behind kube-proxy (root, nft): what it notices", usual=False),
)


class Stage(msgspec.Struct, frozen=True):
    """``play`` adds what it finds to the results, scenario by scenario. ``needs``: programs to be built."""

    play: Callable[[argparse.Namespace, set[str], Found], Awaitable[None]]
    missing: Callable[[], str] = lambda: ""  # what the machine lacks for it
    programs: tuple[str, ...] = ()


async def play(told: argparse.Namespace, chosen: set[str], done: Found) -> None:
    """All chosen scenarios, stage by stage."""
    for name, stage in STAGES.items():
        here = {scenario.name for scenario in SCENARIOS if scenario.stage == name} & chosen
        if not here:
            continue
        if lacking := stage.missing():
            say(f"{', '.join(sorted(here))}: left out, {lacking}")
            done.setdefault("left_out", {}).update(dict.fromkeys(here, lacking))
            continue
        build.build(stage.programs)
        await stage.play(told, here, done)


def say(text: str) -> None:
    print(text, flush=True)


async def _timed(title: str, work: Awaitable[Any]) -> Any:
    say(f"{title} ...")
    started = time.perf_counter()
    result = await work
    say(f"{title}: {time.perf_counter() - started:.1f} s")
    return result


@contextlib.asynccontextmanager
async def _arena(
    told: argparse.Namespace, done: Found, arguments: tuple[str, ...] = ()
) -> AsyncIterator[Arena]:
    """A control plane of its own, seen by an observer."""
    with ControlPlane(controllers=(), apiserver_args=arguments) as plane:
        async with (
            Client(plane.url, ca=plane.ca, token=plane.token) as client,
            _observing(client) as observer,
        ):
            arena = Arena(plane, client, observer, services=told.services, seed=told.seed)
            version = msgspec.json.decode(await client.send("GET", "/version"))
            done["kubernetes"] = version["gitVersion"]
            try:
                await _timed("compiling", compile_modules(plane))
                await create_nodes(client)
                yield arena
            except BaseException:
                print(plane.log_tails(LOG_LINES))
                raise
            finally:
                arena.close()


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


async def _plane(told: argparse.Namespace, chosen: set[str], done: Found) -> None:
    async with _arena(told, done) as arena:
        await _one_after_the_other(arena, told, chosen, done)


async def _one_after_the_other(arena: Arena, told: argparse.Namespace, chosen: set[str], done: Found) -> None:
    memory: list[Found] = []
    done["memory"] = memory
    if "small" in chosen:
        done["small"] = []
        for services, pods in lifecycle.SMALL:
            title = f"small, {services} Services"
            found = await _timed(title, lifecycle.small(arena, services, pods))
            done["small"].append(found)
            memory.append({"when": "after a restart", **found})
    if chosen == {"small"}:
        return
    groups = {
        name: Group(arena.client, f"bench-{name}", told.services, told.pods_each, opted_in=opted_in)
        for name, opted_in in {"zenlead": True, "native": False, "floor": None}.items()
    }
    for group in groups.values():
        await group.open()
    await _timed("filling", groups["zenlead"].fill())
    done["create"] = await _timed("create", lifecycle.create(arena, groups["zenlead"], groups["floor"]))
    size = {"services": told.services, "pods": told.services * told.pods_each}
    memory.append({"when": "after first creation", **size, **done["create"]["memory"]})
    if "restart" in chosen:
        done["restart"] = await _timed("restart", lifecycle.restart(arena, groups["zenlead"]))
        memory.append({"when": "after a restart", **size, **done["restart"]["memory"]})
    if "noise" in chosen:
        done["noise"] = {"real": await _timed("noise", noise.noise(arena, groups["zenlead"]))}
    if not chosen & {"single", "storm"}:
        return
    sides = await _timed("filling the other groups", _sides(arena, groups))
    if "single" in chosen:
        done["single"] = await _timed("single", failovers.single(arena, sides, told.samples))
    if "storm" in chosen:
        done["storm"] = await _timed("storm", failovers.storm(arena, sides, told.storms))
    if arena.zenlead is not None:
        after = msgspec.to_builtins(arena.zenlead.usage())
        pods = sum(len(group.addresses) for group in groups.values())
        memory.append({"when": "after all", "services": told.services, "pods": pods, **after})


async def _sides(arena: Arena, groups: dict[str, Group]) -> dict[str, Side]:
    """The other two groups and their contestants, all of them settled."""
    for name in ("native", "floor"):
        await groups[name].fill()
    await write_leaders(arena.client, groups["floor"], groups["floor"].services)
    keys = [(g.namespace, s) for g in (groups["native"], groups["zenlead"]) for s in g.services]
    first_slices = {"/".join(key): arena.observer.expect(key, bool) for key in keys}
    native = arena.start_native()
    arena.floor = floor = start_floor(arena.plane, groups["floor"].namespace)
    await floor.watching()
    if arena.zenlead is None:
        raise RuntimeError("the sides need zenlead to run")
    processes: dict[str, Process] = {"floor": arena.floor, "native": native, "zenlead": arena.zenlead}
    await gather_times(first_slices, SYNC_TIMEOUT_S, lambda: "first slices of the native controller")
    await arena.settled()
    return {name: Side(name, groups[name], who, arena.observer) for name, who in processes.items()}


async def _sizes(told: argparse.Namespace, _: set[str], done: Found) -> None:
    async with _arena(told, done) as arena:
        done["sizes"] = await _timed("sizes", sizes.sizes(arena))


async def _stored(told: argparse.Namespace, chosen: set[str], done: Found) -> None:
    if "scale" in chosen:
        fleets = [scale.fleet_of(text) for text in told.fleets.split(",")]
        done["scale"] = await _timed("scale", scale.scale(fleets, say))
    if "paces" in chosen:
        done["paces"] = await _timed("paces", scale.paces(say))


async def _alone(_: argparse.Namespace, __: set[str], done: Found) -> None:
    done["scrape"] = {
        encoding: await _timed(
            f"scrape, {encoding}", asyncio.to_thread(metricscene.scraped_apart, SCRAPED_SERVICES, encoding)
        )
        for encoding in ("gzip", "identity")
    }


async def _path(told: argparse.Namespace, _: set[str], done: Found) -> None:
    with network.Network() as net:
        async with _arena(told, done, dataplane.BIND) as arena:
            done["dataplane"] = await _timed("dataplane", dataplane.dataplane(arena, net, told.path_samples))


STAGES: dict[str, Stage] = {
    "plane": Stage(_plane, programs=build.CONTROL_PLANE),
    "sizes": Stage(_sizes, programs=build.CONTROL_PLANE),
    "stored": Stage(_stored),
    "alone": Stage(_alone),
    "path": Stage(_path, network.missing, (*build.CONTROL_PLANE, "kube-proxy")),
}
