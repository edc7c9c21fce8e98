"""Gauges that are worked out when somebody looks: what is true of each Service, and the state of the rooms.

Knows how to ask: the last statement about a Service, the sums of a namespace, the rooms. Refuses to keep any
number of its own, so nothing has to be removed. The rule not to break: asking about one owner is cheap, and
nobody is asked to sum over all Services.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from zenlead.observe.families import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from zenlead.controller.facts import ServiceState
    from zenlead.observe.families import Kind
    from zenlead.observe.series import OfNamespace, OfService

PREFIX = "zen_lead_"
SERVICE = ("namespace", "service")
NAMESPACE = ("namespace",)


class CacheStats(NamedTuple):
    """One cache, e.g. of a namespace: entries now, hits and misses ever."""

    size: int
    hits: int
    misses: int


def _no_cache(namespace: str) -> CacheStats | None:
    del namespace
    return None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rooms:
    """How to ask the running rooms; each is called on the loop's thread in every scrape and must be cheap."""

    queue_depth: Callable[[], Mapping[str, int]] = dict  # by lane: keys that wait
    queue_retries: Callable[[], Mapping[str, int]] = dict  # by lane, ever
    longest_pass_s: Callable[[], float] = float  # how long the oldest running pass has been at it
    cache: Callable[[str], CacheStats | None] = _no_cache  # of one namespace, if it has one
    cache_limit: Callable[[], int] = int  # entries for each namespace; 0: no limit
    forbidden: Callable[[], int] = int  # Services of which a write was not permitted
    informer_silence_s: Callable[[], Mapping[str, float]] = (
        dict  # by resource: since the last event or bookmark
    )


class Moment(NamedTuple):
    """When the scrape began: Unix seconds, and seconds of the clock that time without a leader runs on."""

    now: float
    monotonic: float


class OfServices(NamedTuple):
    """A family about Services. ``of_service`` gives the value, None for no series; ``of_namespace`` stands in
    where Services have no series of their own."""

    family: Family
    of_service: Callable[[ServiceState, OfService, Moment], float | None]
    of_namespace: Callable[[OfNamespace, Moment], float | None]
    reason: Callable[[ServiceState], str] | None = None  # the value of a label of that name


class OfNamespaces(NamedTuple):
    """A family with one series for each namespace that has Services."""

    family: Family
    value: Callable[[OfNamespace], float]


class OfCaches(NamedTuple):
    """A family with one series for each namespace that has a cache, too."""

    family: Family
    value: Callable[[CacheStats], float]


def _family(name: str, about: str, labels: tuple[str, ...], kind: Kind = "gauge") -> Family:
    return Family(PREFIX + name, kind, about, labels)


def _age(since: float | None, moment: Moment) -> float | None:
    return None if since is None else round(max(0.0, moment.now - since), 3)


def _unavailable_s(_: ServiceState, of: OfService, moment: Moment) -> float:
    running_s = 0.0 if of.since is None else moment.monotonic - of.since
    return round(of.unavailable_s + running_s, 3)


def _leaderless_s(_: ServiceState, of: OfService, moment: Moment) -> float | None:
    return None if of.since is None else round(moment.monotonic - of.since, 3)


def _no_sum(_: OfNamespace, __: Moment) -> None:
    """An age of many leaders together says nothing."""


OF_SERVICES = (
    OfServices(
        _family("leader_duration_seconds", "Age of this leadership.", SERVICE),
        lambda state, _, moment: _age(state.leader_since, moment),
        _no_sum,
    ),
    OfServices(
        _family("leader_pod_age_seconds", "Age of the leader pod.", SERVICE),
        lambda state, _, moment: _age(state.leader_pod_created, moment),
        _no_sum,
    ),
    OfServices(
        _family("pods_available", "Pods that are fit to lead.", SERVICE),
        lambda state, _, __: state.pods_available,
        lambda of, _: of.pods_available,
    ),
    OfServices(
        _family("leader_stable", "1: the leader is fit and nothing is left to write.", SERVICE),
        lambda state, _, __: state.stable,
        lambda of, _: of.stable,
    ),
    OfServices(
        _family("leader_service_without_endpoints", "1: the leader Service routes nowhere.", SERVICE),
        lambda _, of, __: of.since is not None,
        lambda of, _: of.leaderless,
    ),
    OfServices(
        _family("leaderless_seconds", "How long nobody leads already, and why.", (*SERVICE, "reason")),
        _leaderless_s,
        _no_sum,
        lambda state: state.why or "NotWritten",  # the slices route to nobody, in spite of what a pass found
    ),
    OfServices(
        _family("paused", "1: the Service is paused and its slice left as it is.", SERVICE),
        lambda state, _, __: state.paused,
        lambda of, _: of.paused,
    ),
    OfServices(
        _family("unavailable_seconds_total", "Time without a leader.", SERVICE, "counter"),
        _unavailable_s,
        lambda of, moment: round(of.leaderless_s_at(moment.monotonic), 3),
    ),
)
OF_NAMESPACES = (
    OfNamespaces(
        _family("leader_services_total", "Leader Services that exist.", NAMESPACE),
        lambda of: of.leader_services,
    ),
    OfNamespaces(
        _family("endpointslices_total", "EndpointSlices of leader Services.", NAMESPACE),
        lambda of: of.slices,
    ),
)
OF_CACHES = (
    OfCaches(
        _family("cache_size", "Entries of the index from pods to Services.", NAMESPACE),
        lambda cache: cache.size,
    ),
    OfCaches(
        _family("cache_hits_total", "Look-ups that the index answered.", NAMESPACE, "counter"),
        lambda cache: cache.hits,
    ),
    OfCaches(
        _family("cache_misses_total", "Look-ups that had to load.", NAMESPACE, "counter"),
        lambda cache: cache.misses,
    ),
)


class RoomGauges:
    """A collector for a registry: the families that are about the process as a whole."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def __repr__(self) -> str:
        return f"<RoomGauges {self._rooms!r}>"

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client asks for them."""
        rooms = self._rooms
        yield _gauge("workqueue_depth", "Services that wait for a worker.", "lane", rooms.queue_depth())
        retries = CounterMetricFamily(PREFIX + "workqueue_retries", "Services queued again.", labels=["lane"])
        for lane, times in rooms.queue_retries().items():
            retries.add_metric((lane,), times)
        yield retries
        about = "How long the oldest running pass has been at it."
        yield GaugeMetricFamily(PREFIX + "workqueue_longest_running_seconds", about, rooms.longest_pass_s())
        about = "Limit of cache_size for each namespace; 0: none."
        yield GaugeMetricFamily(PREFIX + "cache_size_limit", about, rooms.cache_limit())
        about = "Services of which a write is not permitted."
        yield GaugeMetricFamily(PREFIX + "forbidden_services", about, rooms.forbidden())
        about = "Time since an informer last heard from the API server."
        yield _gauge("informer_last_event_age_seconds", about, "resource", rooms.informer_silence_s())


def _gauge(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, about, labels=[label])
    for word, value in values.items():
        family.add_metric((word,), value)
    return family
