"""Metrics of many Services, each created and failed over once: their weight, and the cost of a scrape.

A process of its own each, since memory that was once in use hides what comes later. The scraper is a third
process, so that reading the text is not mistaken for making it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from zenlead.controller.facts import LeaderMoved, Reconciled, ServiceState, WriteDone
from zenlead.observe.http import serve
from zenlead.observe.metrics import Metrics
from zenlead.observe.rooms import Build
from zenlead.observe.scrape import Scrape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.observe.metrics import Fact

SCRAPES = 7  # of each kind; the middle one counts
TICK_S = 0.001  # how often the loop is asked whether it is late
TIMEOUT_S = 120.0
MB = 1e6

SCRAPER = """
import sys, time, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": sys.argv[2]})
started = time.perf_counter()
with urllib.request.urlopen(request) as answer:
    body = answer.read()
print(time.perf_counter() - started, len(body))
"""


class Weight(msgspec.Struct, frozen=True):
    """KB for each Service: as Python counts it, and as the process grew."""

    traced_kb: float
    rss_kb: float


class Scraped(msgspec.Struct, frozen=True):
    """One kind of scrape: seconds for the scraper, what was sent, and how late the loop was at the worst."""

    seconds: float
    sent_mb: float
    stall_ms: float
    stall_cpu_ms: float  # the part of a delay that this thread was working; the rest is other processes'
    rss_mb: float  # of this process afterwards, beyond what it was before the first


def story(service: str) -> Iterator[Fact]:
    """What is told of a Service that opts in and fails over once."""
    where = ("bench", service)
    born = 1_700_000_000.0

    def write(resource: str, verb: str, lane: str) -> WriteDone:
        return WriteDone(*where, resource, verb, lane, "success", 0.004)

    def state(leader: str, *, stable: bool) -> ServiceState:
        return ServiceState(*where, 3, leader, time.time(), born, stable, 1, "hit")

    for leader, reason in ((f"{service}-0", "elected"), (f"{service}-1", "notReady")):
        if reason == "elected":
            yield write("services", "create", "urgent")
        yield write("endpointslices", "create" if reason == "elected" else "patch", "urgent")
        yield LeaderMoved(*where, "", leader, reason, 1, 0.012)
        yield state(leader, stable=False)
        yield Reconciled(*where, "requeue", 0.011, 1, lane="urgent")
        yield write("services", "patch", "routine")
        yield state(leader, stable=True)
        yield Reconciled(*where, "success", 0.009, 1, lane="routine")


def told(services: int) -> Metrics:
    metrics = Metrics(build=Build("0"), now=time.time, monotonic=time.monotonic)
    for number in range(services):
        for fact in story(f"web-{number:05d}"):
            metrics.observe(fact)
    return metrics


def weigh(services: int) -> Weight:
    """In two fresh processes, because tracing itself takes memory."""
    traced, rss = (float(_run(what, services)) / services / 1e3 for what in ("traced", "rss"))
    return Weight(traced, rss)


def _grown(what: str, services: int) -> float:
    warm = told(10)  # what the first Services cost once
    gc.collect()
    if what == "traced":
        tracemalloc.start()
        metrics = told(services)
        gc.collect()
        grown = float(tracemalloc.get_traced_memory()[0])
    else:
        before = rss_bytes()
        metrics = told(services)
        gc.collect()
        grown = rss_bytes() - before
    del warm, metrics
    return grown


def rss_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * 4096)


async def scraped(services: int, encoding: str) -> Scraped:
    """Scrape ``services`` Services over loopback; ``encoding``: gzip or identity."""
    metrics = told(services)
    scrape = Scrape(metrics, TIMEOUT_S)
    before = rss_bytes()
    rounds: list[tuple[float, ...]] = []
    async with serve(("127.0.0.1", 0), {"/metrics": scrape.respond}) as server:
        url = f"http://127.0.0.1:{server.address[1]}/metrics"
        for _ in range(SCRAPES):
            gc.collect()
            rounds.append(await _once(url, encoding))
    seconds, sent, late, busy = map(statistics.median, zip(*rounds, strict=True))
    grown = max(0.0, rss_bytes() - before)
    return Scraped(seconds, sent / MB, late * 1e3, busy * 1e3, grown / MB)


async def _once(url: str, encoding: str) -> tuple[float, ...]:
    """Seconds, bytes and the longest delays of the loop (in all, at work) while one scraper was reading."""
    scraper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRAPER, url, encoding, stdout=asyncio.subprocess.PIPE
    )
    done = asyncio.ensure_future(scraper.communicate())
    loop = asyncio.get_running_loop()
    late_s = busy_s = 0.0
    while not done.done():
        due, worked = loop.time() + TICK_S, time.thread_time()
        await asyncio.sleep(TICK_S)
        late = loop.time() - due
        late_s = max(late_s, late)
        busy_s = max(busy_s, min(late, time.thread_time() - worked))
    output, _ = await done
    seconds, size = map(float, output.split())
    return seconds, size, late_s, busy_s


def figures(services: int) -> dict[str, str]:
    """What ``services`` Services cost, by name, in words. Each is measured in a process of its own."""
    weight = weigh(services)
    found = {
        "memory of one Service, as Python counts it": f"{weight.traced_kb:.2f} KB",
        "the same, as the process grows": f"{weight.rss_kb:.2f} KB",
    }
    for encoding in ("gzip", "identity"):
        seen = msgspec.convert(scraped_apart(services, encoding), Scraped)
        found[f"scrape, {encoding}: sent"] = f"{seen.sent_mb:.2f} MB in {seen.seconds:.2f} s"
        found[f"scrape, {encoding}: longest stall of the loop"] = (
            f"{seen.stall_ms:.1f} ms, of which {seen.stall_cpu_ms:.1f} ms at work"
        )
        found[f"scrape, {encoding}: growth of the process"] = f"{seen.rss_mb:.1f} MB"
    return found


def scraped_apart(services: int, encoding: str) -> dict[str, float]:
    """The fields of a Scraped, measured in a process of its own."""
    return msgspec.json.decode(_run(encoding, services), type=dict[str, float])


def _run(what: str, services: int) -> bytes:
    command = [sys.executable, "-m", "benchmarks.metricscene", what, str(services)]
    return subprocess.run(command, check=True, capture_output=True).stdout


if __name__ == "__main__":
    if sys.argv[1] in ("traced", "rss"):
        print(_grown(sys.argv[1], int(sys.argv[2])))
    else:
        print(msgspec.json.encode(asyncio.run(scraped(int(sys.argv[2]), sys.argv[1]))).decode())
