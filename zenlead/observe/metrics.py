"""The metrics: facts come in, Prometheus families count them.

Knows the names, labels and buckets that dashboards rely on. Refuses to know how facts come about, and to
steer anything. The rule not to break: facts alone feed metrics, and a name never changes its meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from zenlead.controller import facts as service
from zenlead.kube import facts as kube
from zenlead.observe.gauges import PREFIX, Gauges, Rooms
from zenlead.observe.series import NO_NAMESPACE, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Fact = service.ControllerFact | kube.KubeFact

FAST_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # passes and caches
SLOW_BUCKETS_S = (*FAST_BUCKETS_S, 10.0)  # API calls and failovers, which may wait for a server

SUCCESS = "success"
FIRST_ELECTION = "elected"  # the reason of a leader after none; not a failover
_LANES_OF_THE_CONTROLLER = frozenset({"urgent", "routine"})
_SERVICE = ("namespace", "service")


class Build(NamedTuple):
    """What ``build_info`` tells."""

    version: str
    commit: str = "unknown"
    build_date: str = "unknown"


class Metrics:
    """``observe`` takes each fact; ``registry`` is what a scrape reads, after ``sample``."""

    def __init__(
        self,
        *,
        build: Build,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        rooms: Rooms | None = None,
    ) -> None:
        # A third of the text of a scrape, and no rule or dashboard reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it unannotated
        self.registry = CollectorRegistry()
        self._series = Series(monotonic)
        self._gauges = Gauges(rooms or Rooms(), now, monotonic)
        self.registry.register(self._gauges)
        self._declare_passes()
        self._declare_requests()
        self._declare_rooms()
        info = self._gauge("build_info", "What this is; always 1.", Build._fields)
        info.labels(*build).set(1)

    def __repr__(self) -> str:
        return f"<Metrics {self._series!r} {self._gauges!r}>"

    def sample(self) -> None:
        """Put aside the state of the rooms for the next scrape; to be called on the loop's thread."""
        self._gauges.sample()

    def timeouts(self, operation: str) -> Counter:
        """The count of time-outs of an operation that belongs to no namespace."""
        return self._series.child(self._timeouts, NO_NAMESPACE, operation)

    def observe(self, fact: Fact) -> None:
        """Count one fact. Never fails, never waits."""
        match fact:
            case (
                service.Reconciled()
                | service.ServiceState()
                | service.LeaderMoved()
                | service.PortUnresolved()
                | service.WriteDone()
                | service.WritePlanned()
                | service.ServiceForgotten()
                | service.TimedOut()
            ):
                self._observe_service(fact)
            case _:
                self._observe_kube(fact)

    def _observe_service(self, fact: service.ControllerFact) -> None:
        match fact:
            case service.Reconciled():
                self._pass(fact)
            case service.ServiceState():
                self._state(fact)
            case service.LeaderMoved() if fact.reason != FIRST_ELECTION:
                self._count(self._failovers, fact, fact.reason)
                self._time(self._failover_s, fact, fact.latency_s, fact.reason)
            case service.LeaderMoved():
                pass  # a first election; the state that follows tells the rest
            case service.PortUnresolved():
                self._count(self._unresolved, fact, fact.port_name)
            case service.WriteDone():
                self._time(self._call_s, fact, fact.seconds, f"{fact.verb}_{fact.resource}", fact.result)
                if fact.resource == "endpointslices" and fact.result != SUCCESS:
                    self._count(self._endpoint_errors, fact)
            case service.WritePlanned():
                pass  # nothing happened
            case service.ServiceForgotten():
                self._gauges.forget(fact.namespace, fact.service)
                self._series.forget(fact.namespace, fact.service)
            case service.TimedOut():
                owner = self._series.namespace(fact.namespace)
                self._series.child(self._timeouts, owner, fact.operation).inc()

    def _observe_kube(self, fact: kube.KubeFact) -> None:
        match fact:
            case kube.RequestDone():
                self._request(fact)
            case kube.RetryScheduled():
                self._count(self._retries, fact, fact.operation, str(fact.attempt))
            case kube.RetrySucceeded():
                self._count(self._retried, fact, fact.operation)
            case kube.WatchRestarted():
                self._watch_restarts.labels(fact.resource, fact.reason).inc()
            case kube.InformerSynced():
                self._syncs.labels(fact.resource).inc()
            case kube.ObjectRejected():
                self._rejected.labels(fact.resource).inc()
            case kube.ElectionChanged():
                self._is_leader.set(fact.is_leader)
            case kube.LeaseFailed():
                self._lease_failures.labels("true" if fact.refused else "false").inc()
            case kube.TaskRestarted():
                self._task_restarts.labels(fact.task).inc()
            case kube.CacheLoaded():
                namespace = fact.key.partition("/")[0]
                if self._series.has_services(namespace):
                    self._series.child(self._cache_s, (namespace,)).observe(fact.seconds)
            case kube.EventDropped():
                self._events_dropped.labels(fact.why).inc()

    def _pass(self, fact: service.Reconciled) -> None:
        self._count(self._passes, fact, fact.result)
        self._time(self._pass_s, fact, fact.seconds, fact.result)
        self._wait_s.labels(fact.lane).observe(fact.waited_s)
        if fact.result == "error":
            self._count(self._pass_errors, fact, fact.error_type or "unknown")

    def _state(self, fact: service.ServiceState) -> None:
        self._series.revive(fact.namespace, fact.service)
        self._gauges.state(fact)
        if not fact.sticky:
            return
        self._count(self._selections, fact)
        self._count(self._kept if fact.sticky == "hit" else self._chosen, fact)

    def _request(self, fact: kube.RequestDone) -> None:
        if fact.verb not in {"get", "list", "watch"} and fact.result == SUCCESS:
            self._writes.labels(fact.resource, fact.verb, fact.lane).inc()
        if fact.lane not in _LANES_OF_THE_CONTROLLER:  # those are timed by WriteDone, which knows the Service
            self._call_s.labels("", "", f"{fact.verb}_{fact.resource}", fact.result).observe(fact.seconds)

    def _count(self, family: Counter, about: _AboutService, *labels: str) -> None:
        owner = self._series.service(about.namespace, about.service)
        if owner is not None:
            self._series.child(family, owner, *labels).inc()

    def _time(self, family: Histogram, about: _AboutService, seconds: float, *labels: str) -> None:
        owner = self._series.service(about.namespace, about.service)
        if owner is not None:
            self._series.child(family, owner, *labels).observe(seconds)

    def _declare_passes(self) -> None:
        counter, fast, slow = self._counter, FAST_BUCKETS_S, SLOW_BUCKETS_S
        self._passes = counter("reconciliations_total", "Passes over a Service.", (*_SERVICE, "result"))
        self._pass_s = self._histogram(
            "reconciliation_duration_seconds", "Time that a pass took.", (*_SERVICE, "result"), fast
        )
        self._pass_errors = counter(
            "reconciliation_errors_total", "Passes that failed.", (*_SERVICE, "error_type")
        )
        self._failovers = counter("failover_count_total", "Changes of leader.", (*_SERVICE, "reason"))
        self._failover_s = self._histogram(
            "failover_latency_seconds",
            "From the change being seen to the write being accepted.",
            (*_SERVICE, "reason"),
            slow,
        )
        self._selections = counter(
            "leader_selection_attempts_total", "Passes that looked for a leader.", _SERVICE
        )
        self._kept = counter("sticky_leader_hits_total", "Passes that kept the leader.", _SERVICE)
        self._chosen = counter("sticky_leader_misses_total", "Passes that had to choose a leader.", _SERVICE)
        self._unresolved = counter(
            "port_resolution_failures_total", "Ports that resolve on no candidate.", (*_SERVICE, "port_name")
        )

    def _declare_requests(self) -> None:
        counter = self._counter
        self._call_s = self._histogram(
            "api_call_duration_seconds",
            "Time of a call of the API server; of a write, retries included.",
            (*_SERVICE, "operation", "result"),
            SLOW_BUCKETS_S,
        )
        self._writes = counter("writes_total", "Writes accepted.", ("resource", "verb", "lane"))
        self._endpoint_errors = counter("endpoint_write_errors_total", "Slice writes that failed.", _SERVICE)
        self._retries = counter(
            "retry_attempts_total",
            "Attempts that failed and are tried again.",
            (*_SERVICE, "operation", "attempt"),
        )
        self._retried = counter(
            "retry_success_after_retry_total", "Operations that needed a retry.", (*_SERVICE, "operation")
        )
        self._timeouts = counter(
            "timeout_occurrences_total", "Operations that hit their limit.", ("namespace", "operation")
        )

    def _declare_rooms(self) -> None:
        counter = self._counter
        self._cache_s = self._histogram(
            "cache_update_duration_seconds", "Time to load an index entry.", ("namespace",), FAST_BUCKETS_S
        )
        self._wait_s = self._histogram(
            "workqueue_latency_seconds", "From being due to being taken.", ("lane",), SLOW_BUCKETS_S
        )
        self._is_leader = self._gauge("leader_election_is_leader", "1: this replica holds the Lease.", ())
        self._lease_failures = counter("lease_failures_total", "Lease requests that failed.", ("refused",))
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

    def _counter(self, name: str, about: str, labels: Sequence[str]) -> Counter:
        return Counter(PREFIX + name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, labels: Sequence[str]) -> Gauge:
        return Gauge(PREFIX + name, about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(PREFIX + name, about, labels, buckets=buckets, registry=self.registry)


_AboutService = (
    service.Reconciled
    | service.ServiceState
    | service.LeaderMoved
    | service.PortUnresolved
    | service.WriteDone
    | kube.RetryScheduled
    | kube.RetrySucceeded
)
