"""Clusters of three sizes, as the tuning guide tells them apart: how long passes take, what the cache gives.

Knows the metrics of zenlead by name, since they are what its users look at. Refuses to measure what those do
not show.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from benchmarks.arena import gather_times
from benchmarks.client import pooled
from benchmarks.contestants import Zenlead
from benchmarks.scene import CONCURRENCY, Group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.arena import Arena

SCRAPE_TIMEOUT_S = 60.0
LED_TIMEOUT_S = 600.0
SETTLE_S = 3.0
PODS_EACH = 3
FAILOVERS = 200
FAILOVER_GAP_S = 0.03  # after one, so that they are an everyday matter and no storm

SAMPLE = re.compile(r"^zen_lead_(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
BOUND = re.compile(r'\ble="([^"]+)"')


class Size(msgspec.Struct, frozen=True):
    """One row of the guide."""

    title: str
    services: int
    namespaces: int


SIZES = (
    Size("below 100 Services", 50, 1),
    Size("100 to 1000 Services", 500, 5),
    Size("above 1000 Services", 2000, 20),
)


async def sizes(arena: Arena, chosen: Iterable[Size] = SIZES) -> list[dict[str, Any]]:
    """Each size by itself: all leaders made from nothing, some failovers, and what the metrics say then."""
    results = []
    for number, size in enumerate(chosen):
        groups = [
            Group(
                arena.client,
                f"size-{number}-{index:02d}",
                size.services // size.namespaces,
                PODS_EACH,
                opted_in=True,
            )
            for index in range(size.namespaces)
        ]
        for group in groups:
            await group.open()
            await group.fill()
        await arena.settled()
        results.append(await _size(arena, size, groups))
        arena.say(f"  {results[-1]}")
        for group in groups:
            await group.remove()
        await arena.settled()
    return results


async def _size(arena: Arena, size: Size, groups: list[Group]) -> dict[str, Any]:
    keys = [(group.namespace, service) for group in groups for service in group.services]
    expected = {
        f"{namespace}/{service}": arena.observer.expect((namespace, f"{service}-leader"), bool)
        for namespace, service in keys
    }
    zenlead = Zenlead(arena.plane)
    try:
        await zenlead.ready()
        await gather_times(expected, LED_TIMEOUT_S, lambda: size.title)
        await arena.settled()
        by_turns = itertools.cycle(groups)
        rings = {group.namespace: itertools.cycle(group.services) for group in groups}
        for _ in range(min(FAILOVERS, size.services)):
            group = next(by_turns)
            service = next(rings[group.namespace])
            targets = arena.observer.targets[group.namespace, f"{service}-leader"]
            await group.fail(next(pod for pod, ready in targets.items() if ready))
            await asyncio.sleep(FAILOVER_GAP_S)
        await pooled(groups, Group.recover, CONCURRENCY)
        await arena.settled()
        await asyncio.sleep(SETTLE_S)
        used = zenlead.usage()
        timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(zenlead.metrics_url) as answer,
        ):
            text = await answer.text()
    finally:
        zenlead.close()
    hits, misses = total(text, "cache_hits_total"), total(text, "cache_misses_total")
    return {
        "title": size.title,
        "services": size.services,
        "pods": size.services * PODS_EACH,
        "passes": total(text, "reconciliation_duration_seconds_count"),
        "reconcile_p95_ms": bucket_quantile(buckets(text, "reconciliation_duration_seconds"), 0.95) * 1e3,
        "hit_rate": hits / (hits + misses) if hits + misses else 0.0,
        "rss_mb": used.rss_mb,
        "peak_mb": used.peak_mb,
    }


def total(text: str, name: str) -> float:
    """The sum of all series of a metric."""
    return sum(float(found["value"]) for found in SAMPLE.finditer(text) if found["name"] == name)


def buckets(text: str, name: str) -> dict[float, float]:
    """The buckets of a histogram, over all its series: upper bound -> cumulative count."""
    counts: dict[float, float] = {}
    for found in SAMPLE.finditer(text):
        bound = BOUND.search(found["labels"])
        if found["name"] == f"{name}_bucket" and bound is not None:
            counts[float(bound[1])] = counts.get(float(bound[1]), 0.0) + float(found["value"])
    return dict(sorted(counts.items()))


def bucket_quantile(counts: dict[float, float], share: float) -> float:
    """As Prometheus' histogram_quantile estimates it: evenly spread within each bucket."""
    if not counts or not (wanted := share * max(counts.values())):
        return 0.0
    below_bound = below_count = 0.0
    for bound, count in counts.items():
        if count >= wanted:
            if bound == float("inf"):
                return below_bound
            return below_bound + (bound - below_bound) * (wanted - below_count) / (count - below_count)
        below_bound, below_count = bound, count
    return below_bound
