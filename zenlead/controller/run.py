"""The process: settings in, an exit code out.

Knows signals, ports, telemetry and the one Controller. Refuses to know how any of them works. This is the
only module that joins the controller with observe/.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zenlead.kube.memory import give_back  # first, for its effect on the imports below

# isort: split
from zenlead import __version__
from zenlead.build import this_build
from zenlead.controller.adjust import adjust
from zenlead.controller.assembly import Controller
from zenlead.controller.cleanup import CleanupError, clean, leftovers, pods_gone
from zenlead.controller.parameters import Parameters
from zenlead.controller.reconcile import Options
from zenlead.controller.spans import untraced
from zenlead.kube.api import connect
from zenlead.kube.errors import Unreachable
from zenlead.kube.eventloop import AwakeLoop
from zenlead.kube.facts import InformerSynced
from zenlead.kube.filewatch import FileWatch
from zenlead.kube.informer import WATCH_TIMEOUT_S
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import RetryPolicy
from zenlead.kube.warmth import Warmth
from zenlead.kube.watchdog import watchdog
from zenlead.observe import health, logs, telemetry
from zenlead.observe.factlog import FactLog
from zenlead.observe.gauges import CacheStats
from zenlead.observe.gauges import Rooms as Gauged
from zenlead.observe.http import Route, serve
from zenlead.observe.metrics import Metrics
from zenlead.observe.rooms import Build
from zenlead.observe.scrape import Scrape
from zenlead.reload import Reload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from zenlead.controller.facts import ControllerFact
    from zenlead.kube.api import HttpApi
    from zenlead.kube.facts import KubeFact
    from zenlead.settings import Settings

ELECTION_CONNECTIONS = 2  # a renewal, and the next one should the first hang
SETTLED_S = 3.0  # after a full list: what it was made of is free by then
START_PATIENCE_S = 8.0  # an API server that has not answered by then is called unreachable


def new_loop() -> asyncio.AbstractEventLoop:
    """The loop to run on: its time, and with it the Lease's, goes on while the machine sleeps."""
    return AwakeLoop()


async def run(settings: Settings) -> int:
    """Be the controller until SIGTERM or SIGINT. Returns 0.

    Raises ConfigError (no way to an API server), ApiError (it refuses us or does not answer), OSError (an
    address is taken), or in an ExceptionGroup what a core task could not recover from.
    """
    logs.configure(level=settings.log_level, form=settings.log_format, environ=os.environ)
    api = await connect(kubeconfig=settings.kubeconfig or None, context=settings.context or None)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(api.close)
        version = await _greeted(api)
        traces = telemetry.start(os.environ)
        stack.push_async_callback(traces.close)
        election_api = api.clone(connections=ELECTION_CONNECTIONS)
        stack.push_async_callback(election_api.close)
        log = FactLog(logs.logger())
        ears: list[Callable[[KubeFact | ControllerFact], None]] = [log.observe, _tidy]

        def notify(fact: KubeFact | ControllerFact) -> None:
            for ear in ears:
                ear(fact)

        api.notify = election_api.notify = notify
        parameters = parameters_of(settings, api)
        controller = Controller(
            api, election_api, parameters, wall=time.time, notify=notify, span=traces.span or untraced
        )
        metrics = Metrics(
            build=Build(__version__, *this_build(os.environ)),
            now=time.time,
            monotonic=time.monotonic,
            rooms=gauged(controller),
            per_service=settings.metrics_per_service,
            trace_id=telemetry.sampled_trace if traces.span else None,
        )
        ears.append(metrics.observe)
        scrape = Scrape(metrics, settings.metrics_collection_timeout_seconds)
        await stack.enter_async_context(serving(settings, scrape, controller))
        controller.beside["warmth"] = Warmth(api).run
        if settings.config:
            turn = turning(settings, controller, api, scrape, log)
            reload = Reload(settings, os.environ, turn=turn, notify=notify, wall=time.time)
            controller.beside["config file"] = FileWatch(settings.config, reload.read).run
        _stop_on_signals(controller)
        stack.enter_context(watchdog())
        server = urlsplit(api.host)  # a path may hold what only the holder of the kubeconfig should know
        where = f"{server.scheme}://{server.netloc.rpartition('@')[2]}"
        log.log.info("controller.started", version=__version__, server=where, kubernetes=version)
        await controller.run()
        log.log.info("controller.stopped")
    return 0


async def cleanup(settings: Settings, *, really: bool, after_pods: str = "") -> int:
    """Take away all that zenlead has made; without ``really`` only print what that is. Returns an exit code.

    Waits first until no pod of zenlead's own namespace has the labels ``after_pods``. Raises as ``run`` does.
    """
    logs.configure(level=settings.log_level, form=settings.log_format, environ=os.environ)
    api = await connect(kubeconfig=settings.kubeconfig or None, context=settings.context or None)
    problems: list[BaseException] = []
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(api.close)
        parameters = parameters_of(settings, api)
        try:
            if after_pods:
                await pods_gone(api, parameters.lease_namespace, after_pods)
            if really:
                await clean(api, api, parameters, now=time.time, say=lambda line: print("deleted", line))
            else:
                for leftover in await leftovers(api, parameters.namespaces):
                    print("would delete", leftover)
        except* CleanupError as failed:
            problems.extend(failed.exceptions)
    for problem in problems:
        print(f"zenlead: {problem}", file=sys.stderr)
    return 1 if problems else 0


async def _greeted(api: HttpApi) -> str:
    """The API server's version. Raises ApiError, Unreachable also when it only takes the question."""
    try:
        async with asyncio.timeout(START_PATIENCE_S):
            return await api.version()
    except TimeoutError:
        raise Unreachable(f"no answer within {START_PATIENCE_S:g} s") from None


def parameters_of(settings: Settings, api: HttpApi) -> Parameters:
    """What the settings mean for the controller."""
    slow = RetryPolicy(
        settings.retry_max_attempts,
        settings.retry_initial_delay_ms / 1000,
        settings.retry_max_delay_ms / 1000,
    )
    fast = RetryPolicy(
        settings.fast_retry_max_attempts,
        settings.fast_retry_initial_delay_ms / 1000,
        settings.fast_retry_max_delay_ms / 1000,
    )
    return Parameters(
        identity=settings.identity,
        lease_namespace=settings.pod_namespace or api.default_namespace,
        lease_name=settings.leader_election_id,
        elect=settings.leader_elect and not settings.dry_run,
        lease_duration_s=settings.leader_election_lease_duration_s,
        renew_deadline_s=settings.leader_election_renew_deadline_s,
        retry_period_s=settings.leader_election_retry_period_s,
        max_concurrent_reconciles=settings.max_concurrent_reconciles,
        qps=settings.qps,
        burst=settings.burst,
        retries={Lane.URGENT: fast, Lane.ROUTINE: slow},
        min_interval_s=settings.reconcile_min_interval_ms / 1000,
        index_limit=settings.max_cache_size_per_namespace,
        index_timeout_s=settings.cache_update_timeout_seconds,
        index_sweep_s=settings.cache_cleanup_interval_seconds,
        watch_timeout_s=settings.leader_pod_cache_ttl_seconds or WATCH_TIMEOUT_S,
        namespaces=settings.watch_namespaces,
        options=Options(
            conditions=settings.write_conditions,
            parallel=settings.enable_parallel_api_calls,
            trust_cache=settings.enable_leader_pod_cache,
            dry_run=settings.dry_run,
            namespaces=settings.watch_namespaces,
        ),
    )


def turning(
    settings: Settings, controller: Controller, api: HttpApi, scrape: Scrape, log: FactLog
) -> Callable[[Settings], None]:
    """What brings changed settings to the rooms that run: all of those that are marked live."""
    shown = (settings.log_level, settings.log_format)

    def turn(new: Settings) -> None:
        nonlocal shown
        if (new.log_level, new.log_format) != shown:
            shown = (new.log_level, new.log_format)
            logs.configure(level=new.log_level, form=new.log_format, environ=os.environ)
            log.log = logs.logger()
        scrape.timeout_s = new.metrics_collection_timeout_seconds
        adjust(controller, parameters_of(new, api))

    return turn


@contextlib.asynccontextmanager
async def serving(settings: Settings, scrape: Scrape, controller: Controller) -> AsyncIterator[None]:
    """Metrics and probes on their addresses, one server where both have the same."""
    probes = health.routes(lambda: alive_checks(controller), lambda: ready_checks(controller))
    by_address: dict[tuple[str, int], dict[str, Route]] = {}
    if settings.metrics_bind_address is not None:
        by_address.setdefault(settings.metrics_bind_address, {})["/metrics"] = scrape.respond
    if settings.health_probe_bind_address is not None:
        by_address.setdefault(settings.health_probe_bind_address, {}).update(probes)
    async with contextlib.AsyncExitStack() as stack:
        for address, routes in by_address.items():
            await stack.enter_async_context(serve(address, routes))
        yield


def alive_checks(controller: Controller) -> Mapping[str, health.Check]:
    """Why the process should be restarted, if it should. (A dead loop answers nothing: see the watchdog.)"""

    def tasks() -> str | None:
        stuck = controller.heartbeats.stuck(asyncio.get_running_loop().time())
        return f"no sign of life from {', '.join(stuck)}" if stuck else None

    return {"tasks": tasks}


def ready_checks(controller: Controller) -> Mapping[str, health.Check]:
    """What is missing for this replica to lead, now or when its turn comes."""
    problems = {informer.name: informer.problem for informer in controller.informers if not informer.optional}
    problems |= controller.pods.problems()
    checks: dict[str, health.Check] = {
        name: lambda problem=problem: problem  # type: ignore[misc]
        for name, problem in problems.items()
    }

    def lease() -> str | None:
        if controller.elector.lease_reachable:
            return None
        return controller.elector.problem or "the Lease has not been read yet"

    return checks | {"lease": lease, "rights": lambda: controller.workers.forbidden}


def gauged(controller: Controller) -> Gauged:
    """What the metrics ask the running rooms at each scrape."""

    def cache(namespace: str) -> CacheStats | None:
        hits, misses = selectors.hits.get(namespace), selectors.misses.get(namespace)
        if hits is None and misses is None:
            return None
        index = selectors.peek(namespace)
        return CacheStats(len(index) if index is not None else 0, hits or 0, misses or 0)

    queue, selectors = controller.queue, controller.selectors
    return Gauged(
        cache_limit=lambda: controller.caches.index_limit,
        forbidden=lambda: controller.workers.forbidden_count,
        queue_depth=lambda: {lane.label: queue.due(lane) for lane in Lane},
        queue_retries=lambda: {lane.label: queue.stats[lane].retried for lane in Lane},
        longest_pass_s=queue.longest_running_s,
        cache=cache,
        informer_silence_s=lambda: {i.name: i.silent_s() for i in controller.informers},
    )


def _tidy(fact: KubeFact | ControllerFact) -> None:
    if isinstance(fact, InformerSynced):
        asyncio.get_running_loop().call_later(SETTLED_S, give_back)


def _stop_on_signals(controller: Controller) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, controller.stop)
