"""Gauges that are worked out when somebody looks: what is true of each Service, and the state of the rooms.

Knows the last statement about each Service and how to ask the rooms. Refuses to keep a series of its own:
what is not in the statement is not in the answer, so nothing has to be removed. The rule not to break:
``collect`` may run in another thread, so it reads only what ``sample`` put aside on the loop's thread.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from zenlead.controller.facts import ServiceState

PREFIX = "zen_lead_"
_SERVICE = ("namespace", "service")


class CacheStats(NamedTuple):
    """One cache, e.g. of a namespace: entries now, hits and misses ever."""

    size: int
    hits: int
    misses: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rooms:
    """How to ask the running rooms; each is called on the loop's thread once per scrape and must be cheap."""

    queue_depth: Callable[[], Mapping[str, int]] = dict  # by lane: keys that wait
    queue_retries: Callable[[], Mapping[str, int]] = dict  # by lane, ever
    longest_pass_s: Callable[[], float] = float  # how long the oldest running pass has been at it
    caches: Callable[[], Mapping[str, CacheStats]] = dict  # by namespace
    informer_silence_s: Callable[[], Mapping[str, float]] = (
        dict  # by resource: since the last event or bookmark
    )


class _Known(NamedTuple):
    state: ServiceState
    unavailable_s: float  # without a leader, up to `since`
    since: float | None  # start of the time without a leader that runs now


class _Sample(NamedTuple):
    services: tuple[_Known, ...] = ()
    monotonic: float = 0.0
    now: float = 0.0
    depth: Mapping[str, int] = {}
    retries: Mapping[str, int] = {}
    longest_pass_s: float = 0.0
    caches: Mapping[str, CacheStats] = {}
    silence_s: Mapping[str, float] = {}


class Gauges:
    """A collector for a registry. ``now`` is Unix seconds, ``monotonic`` any steady seconds."""

    def __init__(self, rooms: Rooms, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._rooms = rooms
        self._now = now
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], _Known] = {}  # drained by forget
        self._sample = _Sample()

    def __repr__(self) -> str:
        return f"<Gauges services={len(self._known)} sampled={len(self._sample.services)}>"

    def state(self, state: ServiceState) -> None:
        """Replace what was said of that Service."""
        key = (state.namespace, state.service)
        before = self._known.get(key)
        moment = self._monotonic()
        spent = before.unavailable_s if before else 0.0
        if before and before.since is not None:
            spent += moment - before.since
        self._known[key] = _Known(state, spent, None if state.leader else moment)

    def forget(self, namespace: str, service: str) -> None:
        """That Service is no longer ours."""
        self._known.pop((namespace, service), None)

    def sample(self) -> None:
        """Put aside what ``collect`` will tell. To be called on the thread that runs the rooms."""
        rooms = self._rooms
        self._sample = _Sample(
            tuple(self._known.values()),
            self._monotonic(),
            self._now(),
            rooms.queue_depth(),
            rooms.queue_retries(),
            rooms.longest_pass_s(),
            rooms.caches(),
            rooms.informer_silence_s(),
        )

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client asks for them."""
        sample = self._sample
        yield from _of_services(sample)
        yield from _of_namespaces(sample)
        yield from _of_rooms(sample)


def _of_services(sample: _Sample) -> Iterator[Metric]:
    def gauge(name: str, about: str, value: Callable[[ServiceState], float | None]) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, about, labels=_SERVICE)
        for known in sample.services:
            found = value(known.state)
            if found is not None:
                family.add_metric((known.state.namespace, known.state.service), found)
        return family

    def age(since: float | None) -> float | None:
        return None if since is None else max(0.0, sample.now - since)

    yield gauge("leader_duration_seconds", "Age of this leadership.", lambda s: age(s.leader_since))
    yield gauge("leader_pod_age_seconds", "Age of the leader pod.", lambda s: age(s.leader_pod_created))
    yield gauge("pods_available", "Pods that are fit to lead.", lambda s: s.pods_available)
    yield gauge("leader_stable", "1: the leader is fit and nothing is left to write.", lambda s: s.stable)
    yield gauge(
        "leader_service_without_endpoints", "1: the leader Service routes nowhere.", lambda s: not s.leader
    )
    yield gauge("paused", "1: the Service is paused and its slice left as it is.", lambda s: s.paused)
    lost = CounterMetricFamily(PREFIX + "unavailable_seconds", "Time without a leader.", labels=_SERVICE)
    for state, spent, since in sample.services:
        running = 0.0 if since is None else sample.monotonic - since
        lost.add_metric((state.namespace, state.service), spent + running)
    yield lost


def _of_namespaces(sample: _Sample) -> Iterator[Metric]:
    services: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    for known in sample.services:
        services[known.state.namespace] += 1
        slices[known.state.namespace] += known.state.endpoint_slices
    yield _gauge("leader_services_total", "Leader Services that exist.", "namespace", services)
    yield _gauge("endpointslices_total", "EndpointSlices of leader Services.", "namespace", slices)
    caches = {namespace: stats for namespace, stats in sample.caches.items() if namespace in services}
    sizes = {namespace: stats.size for namespace, stats in caches.items()}
    yield _gauge("cache_size", "Entries of the index from pods to Services.", "namespace", sizes)
    hits = CounterMetricFamily(
        PREFIX + "cache_hits", "Look-ups that the index answered.", labels=["namespace"]
    )
    misses = CounterMetricFamily(PREFIX + "cache_misses", "Look-ups that had to load.", labels=["namespace"])
    for namespace, stats in caches.items():
        hits.add_metric((namespace,), stats.hits)
        misses.add_metric((namespace,), stats.misses)
    yield hits
    yield misses


def _of_rooms(sample: _Sample) -> Iterator[Metric]:
    yield _gauge("workqueue_depth", "Services that wait for a worker.", "lane", sample.depth)
    retries = CounterMetricFamily(PREFIX + "workqueue_retries", "Services queued again.", labels=["lane"])
    for lane, times in sample.retries.items():
        retries.add_metric((lane,), times)
    yield retries
    about = "How long the oldest running pass has been at it."
    yield GaugeMetricFamily(PREFIX + "workqueue_longest_running_seconds", about, sample.longest_pass_s)
    about = "Time since an informer last heard from the API server."
    yield _gauge("informer_last_event_age_seconds", about, "resource", sample.silence_s)


def _gauge(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, about, labels=[label])
    for word, value in values.items():
        family.add_metric((word,), value)
    return family
