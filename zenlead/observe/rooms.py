"""Metrics of the process as a whole: few series, whatever the number of Services.

Knows their names and what begins at nought. Refuses to know Services and namespaces. The rule not to break:
no label here has a value that users choose, so what prometheus_client keeps for each series is paid once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from zenlead.controller import facts as controller
from zenlead.kube import facts as kube
from zenlead.observe.gauges import PREFIX, RoomGauges, Rooms

if TYPE_CHECKING:
    from collections.abc import Sequence

FAST_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # passes and caches
SLOW_BUCKETS_S = (*FAST_BUCKETS_S, 10.0)  # API calls and failovers, which may wait for a server


TRACE_ID = "trace_id"  # the label of an exemplar, as Grafana looks for it


class Build(NamedTuple):
    """What ``build_info`` tells."""

    version: str
    commit: str = "unknown"
    build_date: str = "unknown"


class RoomMetrics:
    """``registry`` has them all; ``observe`` counts the facts that nobody else counts."""

    def __init__(self, build: Build, rooms: Rooms, now: float) -> None:
        # A third of the text of a scrape, and no rule or dashboard reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it unannotated
        self.registry = CollectorRegistry()
        self.registry.register(RoomGauges(rooms))
        ProcessCollector(
            registry=self.registry
        )  # memory, CPU and files, under the names that all programs use
        counter = self._counter
        self._wait_s = Histogram(
            f"{PREFIX}workqueue_latency_seconds",
            "From being due to being taken.",
            ("lane",),
            buckets=SLOW_BUCKETS_S,
            registry=self.registry,
        )
        self._writes = counter("writes_total", "Writes accepted.", ("resource", "verb", "lane"))
        self._retries = counter(
            "write_retries_total", "Attempts of writes that failed and are made again.", ()
        )
        self._switch_s = Histogram(
            f"{PREFIX}leader_switch_duration_seconds",
            "Failovers of all Services: from the change being seen to the write being accepted.",
            buckets=SLOW_BUCKETS_S,
            registry=self.registry,
        )
        self._leads = False
        self._terms = counter(
            "leader_election_transitions_total", "Times this replica began or ceased to lead.", ()
        )
        self._is_leader = self._gauge("leader_election_is_leader", "1: this replica holds the Lease.", ())
        self._lease_failures = counter("lease_failures_total", "Lease requests that failed.", ("refused",))
        for refused in ("true", "false"):
            self._lease_failures.labels(refused)
        self._watch_restarts = counter(
            "watch_restarts_total", "Watches connected again.", ("resource", "reason")
        )
        self._syncs = counter("informer_syncs_total", "Full lists taken in.", ("resource",))
        self._rejected = counter(
            "objects_rejected_total", "Objects that could not be decoded.", ("resource",)
        )
        self._task_restarts = counter(
            "task_restarts_total", "Core tasks that died and were restarted.", ("task",)
        )
        self._events_dropped = counter("events_dropped_total", "Kubernetes Events not written.", ("why",))
        for why in ("queue_full", "refused", "throttled", "unreachable"):
            self._events_dropped.labels(why)
        self._config_ok = self._gauge(
            "config_last_reload_successful", "0: the config file changed and was refused.", ()
        )
        self._config_ok.set(1)
        self._config_at = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When the settings in use were read.", ()
        )
        self._config_at.set(now)
        self._gauge("build_info", "What this is; always 1.", Build._fields).labels(*build).set(1)

    def __repr__(self) -> str:
        return f"<RoomMetrics leading={self._is_leader}>"

    def waited(self, lane: str, seconds: float) -> None:
        """A key was in the queue for so long."""
        self._wait_s.labels(lane).observe(seconds)

    def written(self, resource: str, verb: str, lane: str) -> None:
        """The API server accepted a write."""
        self._writes.labels(resource, verb, lane).inc()

    def retried(self) -> None:
        """An attempt of a write failed and is made again."""
        self._retries.inc()

    def switched(self, seconds: float, trace_id: str) -> None:
        """A failover took so long; ``trace_id`` is empty when nobody traces it."""
        self._switch_s.observe(seconds, {TRACE_ID: trace_id} if trace_id else None)

    def observe(self, fact: _Rooms) -> None:
        """Count one fact."""
        match fact:
            case kube.WatchRestarted():
                self._watch_restarts.labels(fact.resource, fact.reason).inc()
            case kube.InformerSynced():
                self._syncs.labels(fact.resource).inc()
                self._rejected.labels(fact.resource)  # from nought on
            case kube.ObjectRejected():
                self._rejected.labels(fact.resource).inc()
            case kube.ElectionChanged():
                if fact.is_leader != self._leads:
                    self._terms.inc()
                self._leads = fact.is_leader
                self._is_leader.set(fact.is_leader)
            case kube.LeaseFailed():
                self._lease_failures.labels("true" if fact.refused else "false").inc()
            case kube.TaskRestarted():
                self._task_restarts.labels(fact.task).inc()
            case kube.EventDropped():
                self._events_dropped.labels(fact.why).inc()
            case controller.ConfigReloaded():
                self._config_ok.set(1)
                self._config_at.set(fact.at)
            case controller.ConfigRefused():
                self._config_ok.set(0)
            case controller.ConfigWaiting():
                pass  # the log tells; it was taken in

    def _counter(self, name: str, about: str, labels: Sequence[str]) -> Counter:
        return Counter(PREFIX + name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, labels: Sequence[str]) -> Gauge:
        return Gauge(PREFIX + name, about, labels, registry=self.registry)


_Rooms = (
    kube.WatchRestarted
    | kube.InformerSynced
    | kube.ObjectRejected
    | kube.ElectionChanged
    | kube.LeaseFailed
    | kube.TaskRestarted
    | kube.EventDropped
    | controller.ConfigFact
)
