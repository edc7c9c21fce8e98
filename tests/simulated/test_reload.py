"""A mounted config file changes: each knob that can be turned is felt, what cannot is said once, and a broken
file changes nothing. Through the whole controller, from the file to what the API server sees."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from tests.simulated.configmap import FELT_WITHIN_S, Configured, Mounted
from tests.simulated.faultyapi import Weather
from tests.simulated.test_core_tasks import healthz, kill
from zenlead.controller.facts import ConfigReloaded, ConfigWaiting, Reconciled
from zenlead.kube.errors import Throttled
from zenlead.kube.facts import RetryScheduled
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, SERVICES
from zenlead.observe.http import Request
from zenlead.settings import KNOBS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

SERVED = 5  # Services


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    flags: dict[str, str] | None = None,
    **environ: str,
) -> AsyncIterator[Configured]:
    """Some Services that are served, nothing left to do, by a controller with this config file."""
    text = text if "logFormat" in text else f"{text}logFormat: json\n"
    async with Configured(Mounted(tmp_path, text), monkeypatch, flags, **environ) as cluster:
        await cluster.namespace("t0")
        for number in range(SERVED):
            await cluster.service("t0", f"s{number}")
            await cluster.pod("t0", f"s{number}")
            await cluster.pod("t0", f"s{number}")
        await cluster.start()
        await cluster.settles(60.0)
        await asyncio.sleep(30.0)
        yield cluster


# --- each knob --------------------------------------------------------------------------------------


async def leader_of(cluster: Configured, service: str) -> str:
    slices = await cluster.all(ENDPOINT_SLICES)
    (found,) = [s for s in slices if s["metadata"]["name"] == f"{service}-leader"]
    return str(found["endpoints"][0]["targetRef"]["name"])


async def deface(cluster: Configured) -> None:
    """Take an annotation of ours from each leader Service; each is one routine write to put back."""
    gone = {"metadata": {"annotations": {"zen-lead.io/current-leader": None}}}
    for number in range(SERVED):
        await cluster.patch(SERVICES, "t0", f"s{number}-leader", gone)


async def writes_spread_s(cluster: Configured) -> float:
    """Time between the first and the last of as many routine writes as there are Services. The one worker has
    a token already, since a worker takes no key without one; another is there at once."""
    began = len(cluster.network.writes(since=0.0))
    await deface(cluster)
    await asyncio.sleep(200.0)
    times = [request.at for request in cluster.network.writes(since=0.0)[began:]]
    assert len(times) == SERVED
    return max(times) - min(times)


async def debug_lines(cluster: Configured) -> int:
    before = len(cluster.events("reconcile.done"))
    await deface(cluster)
    await asyncio.sleep(10.0)
    return len(cluster.events("reconcile.done")) - before


async def last_line(cluster: Configured) -> str:
    await cluster.status("t0", await leader_of(cluster, "s0"), ready=False)
    await asyncio.sleep(10.0)
    return next(line for line in reversed(cluster.lines()) if "leader.changed" in line)[:1]


async def scrape_patience_s(cluster: Configured) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with cluster.scrape._turn:  # as if another scrape took for ever
        response = await cluster.scrape.respond(Request("GET", "/metrics", "", {}, keep_alive=False))
    assert response.status == 503
    return loop.time() - began


async def at_the_same_time(cluster: Configured) -> int:
    """How many routine writes are under way at once while the API server is slow."""
    assert cluster.controller is not None
    most = 0
    cluster.network.weather, cluster.network.calm = Weather(slow_s=5.0), False
    await deface(cluster)
    for _ in range(600):
        await asyncio.sleep(0.1)
        most = max(most, cluster.controller.workers._under_way)
    cluster.network.calm = True
    await asyncio.sleep(60.0)
    return most


async def passes_in_a_minute(cluster: Configured) -> int:
    """Passes over one Service that changes every second."""

    def count() -> int:
        return len([f for f in cluster.facts if isinstance(f, Reconciled) and f.service == "s0"])

    before = count()
    for number in range(60):
        label = {"metadata": {"labels": {"number": str(number)}}}
        await cluster.patch(SERVICES, "t0", "s0-leader", label)
        await asyncio.sleep(1.0)
    passes = count() - before
    await asyncio.sleep(60.0)
    return passes


async def conditions(cluster: Configured) -> int:
    """Leader Services that have a condition of ours."""
    await asyncio.sleep(10.0)
    return len([s for s in await cluster.all(SERVICES) if s.get("status", {}).get("conditions")])


async def reads_before_a_switch(cluster: Configured) -> int:
    def gets() -> int:
        return len([r for r in cluster.network.requests if (r.verb, r.resource) == ("get", "pods")])

    before = gets()
    await cluster.status("t0", await leader_of(cluster, "s0"), ready=False)
    await asyncio.sleep(10.0)
    for pod in range(1, 2 * SERVED + 1):
        await cluster.status("t0", f"s{(pod - 1) // 2}-{pod}", ready=True)
    await asyncio.sleep(10.0)
    return gets() - before


async def indexed(cluster: Configured) -> tuple[int, float]:
    """Services in the index of the namespace once something happens there, and the limit as told."""
    assert cluster.controller is not None
    await deface(cluster)
    await asyncio.sleep(10.0)
    index = cluster.controller.selectors.peek("t0")
    assert index is not None
    return len(index), cluster.sample("cache_size_limit")


async def index_dropped_after_s(cluster: Configured) -> float:
    """After how many seconds of rest the index is gone, to half a minute."""
    assert cluster.controller is not None
    loop = asyncio.get_running_loop()
    await deface(cluster)
    began = loop.time()
    for _ in range(1000):
        if cluster.controller.selectors.peek("t0") is None:
            break
        await asyncio.sleep(30.0)
    return loop.time() - began


async def load_patience_s(cluster: Configured) -> float:
    """How long a pass waits for an index that does not come."""
    assert cluster.controller is not None
    cache = cluster.controller.index_cache

    async def never(namespace: str) -> Any:
        await asyncio.sleep(3600.0)

    loop, real = asyncio.get_running_loop(), cache._load
    cache._load = never
    cache.sweep(0.0)
    began = loop.time()
    with contextlib.suppress(TimeoutError):
        await cache.get("t0")
    cache._load = real
    return loop.time() - began


async def attempts(cluster: Configured, *, urgent: bool) -> tuple[int, float]:
    """Attempts of one pass's writes at a server that always says 429, and the longest wait between two."""
    began = len(cluster.facts)
    real = cluster.network._apply

    async def throttled(asked: Any, apply: Any) -> bytes:
        if asked.is_write:
            raise Throttled("slow down", status=429, retry_after_s=0.0)
        return await real(asked, apply)

    cluster.network._apply = throttled  # type: ignore[method-assign]
    if urgent:
        await cluster.status("t0", await leader_of(cluster, "s0"), ready=False)
        await asyncio.sleep(0.2)
    else:
        gone = {"metadata": {"annotations": {"zen-lead.io/current-leader": None}}}
        await cluster.patch(SERVICES, "t0", "s0-leader", gone)
        await asyncio.sleep(0.2)
    failed = next(
        (f for f in cluster.facts[began:] if isinstance(f, Reconciled) and f.result == "error"), None
    )
    while failed is None:
        await asyncio.sleep(0.1)
        failed = next(
            (f for f in cluster.facts[began:] if isinstance(f, Reconciled) and f.result == "error"), None
        )
    upto = cluster.facts.index(failed)
    tried = [f for f in cluster.facts[began:upto] if isinstance(f, RetryScheduled)]
    cluster.network._apply = real  # type: ignore[method-assign]
    await asyncio.sleep(60.0)
    for pod in range(1, 3):
        await cluster.status("t0", f"s0-{pod}", ready=True)
    await asyncio.sleep(30.0)
    return len(tried) + 1, max((f.delay_s for f in tried), default=0.0)


EFFECTS: dict[
    tuple[str, ...], tuple[str, str, Callable[[Any], Awaitable[Any]], Callable[[Any, Any], bool]]
] = {
    ("log-level",): ("logLevel: info", "logLevel: debug", debug_lines, lambda a, b: a == 0 and b >= SERVED),
    ("log-format",): ("logFormat: json", "logFormat: console", last_line, lambda a, b: a == "{" and b == "2"),
    ("metrics-collection-timeout-seconds",): (
        "metricsCollectionTimeoutSeconds: 5",
        "metricsCollectionTimeoutSeconds: 7",
        scrape_patience_s,
        lambda a, b: (a, b) == (5.0, 7.0),
    ),
    ("max-concurrent-reconciles",): (
        "maxConcurrentReconciles: 4",
        "maxConcurrentReconciles: 2",
        at_the_same_time,
        lambda a, b: (a, b) == (4, 2),
    ),
    ("qps", "burst"): (
        "qps: 50\nburst: 100\nmaxConcurrentReconciles: 1",
        "qps: 0.1\nburst: 1\nmaxConcurrentReconciles: 1",
        writes_spread_s,
        lambda a, b: a < 0.5 and 30.0 <= b < 31.0,
    ),
    ("reconcile-min-interval-ms",): (
        "reconcileMinIntervalMs: 0",
        "reconcileMinIntervalMs: 10000",
        passes_in_a_minute,
        lambda a, b: a >= 60 and b <= 13,
    ),
    ("write-conditions",): (
        "writeConditions: false",
        "writeConditions: true",
        conditions,
        lambda a, b: (a, b) == (0, SERVED),
    ),
    ("enable-leader-pod-cache",): (
        "enableLeaderPodCache: true",
        "enableLeaderPodCache: false",
        reads_before_a_switch,
        lambda a, b: (a, b) == (0, 1),
    ),
    ("max-cache-size-per-namespace",): (
        "maxCacheSizePerNamespace: 1000",
        "maxCacheSizePerNamespace: 3",
        indexed,
        lambda a, b: (a, b) == ((SERVED, 1000.0), (3, 3.0)),
    ),
    ("cache-cleanup-interval-seconds",): (
        "cacheCleanupIntervalSeconds: 3600",
        "cacheCleanupIntervalSeconds: 120",
        index_dropped_after_s,
        lambda a, b: 3600.0 <= a <= 7260.0 and 120.0 <= b <= 270.0,
    ),
    ("cache-update-timeout-seconds",): (
        "cacheUpdateTimeoutSeconds: 10",
        "cacheUpdateTimeoutSeconds: 3",
        load_patience_s,
        lambda a, b: (a, b) == (10.0, 3.0),
    ),
    ("retry-max-attempts", "retry-initial-delay-ms", "retry-max-delay-ms"): (
        "retryMaxAttempts: 3\nretryInitialDelayMs: 1\nretryMaxDelayMs: 1",
        "retryMaxAttempts: 6\nretryInitialDelayMs: 900\nretryMaxDelayMs: 900",
        lambda cluster: attempts(cluster, urgent=False),
        lambda a, b: a[0] == 3 and a[1] <= 0.001 and b[0] == 6 and b[1] > 0.1,
    ),
    ("fast-retry-max-attempts", "fast-retry-initial-delay-ms", "fast-retry-max-delay-ms"): (
        "fastRetryMaxAttempts: 2\nfastRetryInitialDelayMs: 1\nfastRetryMaxDelayMs: 1",
        "fastRetryMaxAttempts: 5\nfastRetryInitialDelayMs: 900\nfastRetryMaxDelayMs: 900",
        lambda cluster: attempts(cluster, urgent=True),
        lambda a, b: a[0] == 2 and a[1] <= 0.001 and b[0] == 5 and b[1] > 0.1,
    ),
}
ELSEWHERE = {"enable-parallel-api-calls"}  # test_reconcile.py: it takes a Service of two families


def test_every_live_knob_is_tried() -> None:
    assert {flag for flags in EFFECTS for flag in flags} | ELSEWHERE == {k.flag for k in KNOBS if k.live}


@pytest.mark.parametrize("flags", list(EFFECTS), ids=lambda flags: flags[0])
async def test_a_knob_is_turned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    before, after, effect, differs = EFFECTS[flags]
    async with running(tmp_path, monkeypatch, f"{before}\n") as cluster:
        seen_before = await effect(cluster)
        format = "" if "logFormat" in after else "logFormat: json\n"
        await cluster.put(f"{after}\n{format}")
        reloads = [fact for fact in cluster.facts if isinstance(fact, ConfigReloaded)]
        assert [set(fact.applied) for fact in reloads] == [set(flags)]
        seen_after = await effect(cluster)
        assert differs(seen_before, seen_after), (seen_before, seen_after)
        await cluster.settles(60.0)


# --- the file ---------------------------------------------------------------------------------------


async def test_a_file_that_stays_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch, "qps: 7\n") as cluster:
        await asyncio.sleep(3600.0)
        assert not [line for line in cluster.lines() if "config." in line]
        assert cluster.sample("config_last_reload_successful") == 1


async def test_a_broken_file_changes_nothing_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, "qps: 7\n") as cluster:
        assert cluster.controller is not None
        read_at = cluster.sample("config_last_reload_success_timestamp_seconds")
        await cluster.put("qps: 8\nburst: lots\nlogFormat: json\n")
        await asyncio.sleep(600.0)
        (told,) = cluster.events("config.refused")
        assert told["level"] == "error"
        assert told["problems"] == [
            f"--burst: 'lots' ({cluster.mounted.path} line 2, key burst): not allowed; "
            "allowed: a whole number from 0 to 2147483647"
        ]
        assert cluster.controller.parameters.qps == 7
        assert cluster.sample("config_last_reload_successful") == 0
        assert cluster.sample("config_last_reload_success_timestamp_seconds") == read_at
        await cluster.put("qps: [\n")
        cluster.mounted.path.unlink()  # not even a link
        await asyncio.sleep(FELT_WITHIN_S)
        assert len(cluster.events("config.refused")) == 3
        assert cluster.events("config.refused")[-1]["problems"][0].endswith("No such file or directory")
        assert cluster.controller.parameters.qps == 7
        cluster.mounted.path.symlink_to("..data/zenlead.yaml")
        await cluster.put("qps: 9\nlogFormat: json\n")
        assert cluster.controller.parameters.qps == 9
        assert cluster.sample("config_last_reload_successful") == 1
        assert cluster.sample("config_last_reload_success_timestamp_seconds") > read_at + 600


async def test_what_only_a_start_can_change_is_told_once_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, "qps: 7\n") as cluster:
        assert cluster.controller is not None
        text = "leaderElectionId: other\ndryRun: true\nlogFormat: json\n"
        await cluster.put(text + "qps: 8\n")
        await cluster.put(text + "qps: 9\n")
        waiting = cluster.events("config.needs_restart")
        assert [(line["level"], line["settings"]) for line in waiting] == [
            ("warning", ["leader-election-id", "dry-run"])
        ]
        assert [line["applied"] for line in cluster.events("config.reloaded")] == [["qps"], ["qps"]]
        assert cluster.controller.parameters.qps == 9
        await cluster.put(text.replace("other", "another") + "qps: 9\n")
        await cluster.put("qps: 9\nlogFormat: json\n")
        await cluster.put(text + "qps: 9\n")
        both = ("leader-election-id", "dry-run")
        waits = [fact.settings for fact in cluster.facts if isinstance(fact, ConfigWaiting)]
        assert waits == [both, ("leader-election-id",), both], "and not again when it changes otherwise"
        assert cluster.controller.parameters.lease_name == "zen-lead-controller-leader-election"
        await cluster.status("t0", await leader_of(cluster, "s0"), ready=False)
        await cluster.settles(10.0)  # so it is no dry run
        assert [lease["metadata"]["name"] for lease in await cluster.all(LEASES)] == [
            "zen-lead-controller-leader-election"
        ]


async def test_what_a_flag_or_the_environment_says_the_file_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"flags": {"qps": "5"}, "ZEN_LEAD_BURST": "6"}
    async with running(tmp_path, monkeypatch, "qps: 7\nburst: 8\n", **said) as cluster:  # type: ignore[arg-type]
        assert cluster.controller is not None
        await cluster.put("qps: 70\nburst: 80\nretryMaxAttempts: 9\nlogFormat: json\n")
        assert (cluster.controller.parameters.qps, cluster.controller.parameters.burst) == (5, 6)
        (told,) = cluster.events("config.reloaded")
        assert told["applied"] == ["retry-max-attempts"]
        assert cluster.events("config.needs_restart") == []


async def test_a_knob_that_leaves_the_file_is_at_its_default_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, "qps: 7\n") as cluster:
        assert cluster.controller is not None
        await cluster.put("logFormat: json\n")
        assert cluster.controller.parameters.qps == 50


async def test_a_change_right_after_the_start_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings were read, then the file changed, then somebody began to look at it."""
    mounted = Mounted(tmp_path, "qps: 7\n")
    async with Configured(mounted, monkeypatch) as cluster:
        mounted.put("qps: 8\n")
        await cluster.start()
        await asyncio.sleep(FELT_WITHIN_S)
        assert cluster.controller is not None
        assert cluster.controller.parameters.qps == 8


async def test_failovers_go_on_while_the_file_changes_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, "qps: 7\n") as cluster:
        loop = asyncio.get_running_loop()
        for number in range(30):
            workers, pace = 1 + number % 7, 1 + number % 3
            await cluster.put(
                f"qps: {pace}\nburst: {pace}\nmaxConcurrentReconciles: {workers}\n"
                f"writeConditions: {str(number % 2 == 0).lower()}\nlogFormat: json\n"
                f"maxCacheSizePerNamespace: {number % 4}\n"
            )
            service = f"s{number % SERVED}"
            leader = await leader_of(cluster, service)
            failed_at = loop.time()
            await cluster.status("t0", leader, ready=False)
            while await leader_of(cluster, service) == leader:
                await asyncio.sleep(0.01)
                assert loop.time() - failed_at < 0.2
            await cluster.status("t0", leader, ready=True)
        await cluster.put("logFormat: json\n")
        await cluster.settles(60.0)
        assert not [line for line in cluster.lines() if "task.restarted" in line]


async def test_the_task_that_follows_the_file_dies_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, "qps: 7\n") as cluster:
        assert cluster.controller is not None
        await kill("config file")
        await asyncio.sleep(10.0)
        (restarted,) = cluster.events("task.restarted")
        assert restarted["task"] == "config file"
        assert (await healthz(cluster))[0] == 200
        await cluster.put("qps: 8\nlogFormat: json\n")
        assert cluster.controller.parameters.qps == 8
        assert len(cluster.events("config.reloaded")) == 1
