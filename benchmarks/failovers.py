"""Scenarios in which leaders fail: one at a time, and all at once.

Single samples of all sides alternate in an order that is drawn anew for each block, so that whatever the
machine does besides falls on all of them alike.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from benchmarks.arena import Side, gather_times
from benchmarks.client import pooled
from benchmarks.scene import CONCURRENCY
from benchmarks.stats import quantile, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.arena import Arena

SAMPLE_TIMEOUT_S = 30.0
STORM_TIMEOUT_S = 300.0
# Between samples: what the reaction drags behind it (annotations, conditions, Events) is written by then.
GAP_S = 0.06


async def single(arena: Arena, sides: dict[str, Side], samples: int) -> dict[str, Any]:
    """One pod fails: milliseconds from sending its status to the slice event, for each side.

    Each side alone, while the others are frozen; and ``race``: zenlead and the native controller react to
    the same failure, as they do in a cluster.
    """
    kinds = [*sides, "race"]
    rings = {name: itertools.cycle(side.group.services) for name, side in sides.items()}
    taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    since_recovery = 0
    for _block in range(samples):
        for kind in arena.random.sample(kinds, len(kinds)):
            taken[kind].append(await _sample(arena, sides, kind, rings))
            await asyncio.sleep(GAP_S)
        since_recovery += 1
        if since_recovery * 2 >= arena.services:  # two samples a block fall on zenlead's group
            since_recovery = 0
            await arena.recover(*(side.group for side in sides.values()))
    await arena.recover(*(side.group for side in sides.values()))
    alone = {name: spread([s[name] for s in taken[name]]) for name in sides}
    race = {name: spread([s[name] for s in taken["race"]]) for name in ("zenlead", "native")}
    first = sum(s["zenlead"] < s["native"] for s in taken["race"]) / len(taken["race"])
    return {"alone_ms": alone, "race_ms": race, "race_zenlead_first": first, "samples": taken}


async def _sample(
    arena: Arena, sides: dict[str, Side], kind: str, rings: Mapping[str, Iterator[str]]
) -> dict[str, float]:
    side = sides["zenlead" if kind == "race" else kind]
    service = next(rings[side.name])
    victim = side.victim(service)
    waited = {side.name: side.reaction(service, victim)}
    if side.name == "zenlead" and "native" in sides:
        as_native = Side("native", side.group, sides["native"].process, arena.observer)
        waited["native"] = as_native.reaction(service, victim)
    idle = {"floor"} if kind == "race" else sides.keys() - {kind}
    async with arena.frozen(sides[name].process for name in idle):
        sent = time.perf_counter()
        await side.group.fail(victim)
        own = await gather_times({side.name: waited[side.name]}, SAMPLE_TIMEOUT_S, lambda: kind)
    others = await gather_times(waited, SAMPLE_TIMEOUT_S, lambda: f"{kind}, native")
    return {name: (at - sent) * 1000 for name, at in (others | own).items()}


async def storm(arena: Arena, sides: dict[str, Side], rounds: int) -> dict[str, Any]:
    """All leaders fail at once: when the slices have moved. Sides take turns; only one reacts at a time.

    The native controller runs for its own storms only. Frozen, it would stop reading its watch, and the API
    server makes all other watchers wait a little for one that does not read.
    """
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in arena.random.sample(list(sides), len(sides)):
            if name == "native":
                await _warm_up(arena, sides[name])
            else:
                arena.stop_native()
            result = await _storm(arena, sides[name])
            taken[name].append(result)
            arena.say(
                f"  storm {number + 1}/{rounds} {name}: last after {result['last_s']:.2f} s, "
                f"sending took {result['sending_s']:.2f} s, quiet after {result['quiet_s']:.2f} s"
            )
            await arena.recover(*(side.group for side in sides.values()))
    return {"rounds": taken, "median": {name: _median(results) for name, results in taken.items()}}


async def _warm_up(arena: Arena, side: Side) -> None:
    """The native controller runs again and has shown it."""
    if arena.native is None:
        side.process = arena.start_native()
    service = side.group.services[0]
    victim = side.victim(service)
    shown = side.reaction(service, victim)
    await side.group.fail(victim)
    await gather_times({"native": shown}, STORM_TIMEOUT_S, lambda: "native, warming up")
    await arena.recover(side.group)


async def _storm(arena: Arena, side: Side) -> dict[str, Any]:
    victims = {service: side.victim(service) for service in side.group.services}
    moves = {service: side.reaction(service, pod) for service, pod in victims.items()}
    sent: dict[str, float] = {}

    async def fail(service: str) -> None:
        sent[service] = time.perf_counter()
        await side.group.fail(victims[service])

    cpu_before = side.process.usage().cpu_s
    started = time.perf_counter()
    await pooled(victims, fail, CONCURRENCY)
    sending_s = time.perf_counter() - started
    seen = await gather_times(moves, STORM_TIMEOUT_S, lambda: f"storm of {side.name}")
    last_write = await arena.settled()
    cpu_s = side.process.usage().cpu_s - cpu_before
    since_sent = [seen[service] - sent[service] for service in victims]
    return {
        "moves": len(victims),
        "sending_s": sending_s,
        "since_sent_s": spread(since_sent),
        "since_start_s": spread([at - started for at in seen.values()]),
        "last_s": max(seen.values()) - started,
        "quiet_s": last_write - started,
        "cpu_ms_per_move": cpu_s * 1000 / len(victims),
    }


def _median(results: list[dict[str, Any]]) -> dict[str, float]:
    def middle(values: list[float]) -> float:
        return quantile(values, 0.5)

    flat = {
        key: middle([r[key] for r in results])
        for key in ("sending_s", "last_s", "quiet_s", "cpu_ms_per_move")
    }
    for key in ("since_sent_s", "since_start_s"):
        flat |= {f"{key}_p50": middle([r[key]["p50"] for r in results])}
        flat |= {f"{key}_p99": middle([r[key]["p99"] for r in results])}
    return flat
