"""The metrics: facts come in, series count them.

Knows the names, labels and buckets of what is about Services and namespaces; rooms.py has the rest. Refuses
to know how facts come about, and to steer anything. The rule not to break: facts alone feed metrics, and a
name never changes its meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.controller import facts as service
from zenlead.kube import facts as kube
from zenlead.observe.exposition import Exposition
from zenlead.observe.families import Counting, Family, Layout, Ledger, Slot
from zenlead.observe.gauges import (
    NAMESPACE,
    OF_CACHES,
    OF_NAMESPACES,
    OF_SERVICES,
    PREFIX,
    SERVICE,
    Moment,
    Rooms,
)
from zenlead.observe.rooms import FAST_BUCKETS_S, SLOW_BUCKETS_S, TRACE_ID, Build, RoomMetrics
from zenlead.observe.series import Books

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Fact = service.ControllerFact | kube.KubeFact

SUCCESS = "success"
FIRST_ELECTION = "elected"  # the reason of a leader after none; not a failover
FAILOVER_REASONS = (
    "notReady",
    "terminating",
    "noIP",
    "deleted",
    "finished",
    "deselected",
    "portUnresolved",
    "preempted",
)
METRICS_COLLECTION = "metrics_collection"  # the operation of a scrape that took too long
CACHE_UPDATE = "cache_update"  # and of an index that could not be filled in time
EARLY_LOADS = (
    1000  # a namespace in which a pass finds no Service of ours stays among them until they are many
)
_LANES_OF_THE_CONTROLLER = frozenset({"urgent", "routine"})


def _counter(name: str, about: str, owner: Sequence[str], *labels: str) -> Family:
    return Family(PREFIX + name, "counter", about, owner, labels)


def _histogram(
    name: str, about: str, owner: Sequence[str], *labels: str, buckets: Sequence[float] = FAST_BUCKETS_S
) -> Family:
    return Family(PREFIX + name, "histogram", about, owner, labels, buckets=buckets)


PASSES = _counter("reconciliations_total", "Passes over a Service.", SERVICE, "result")
PASS_S = _histogram("reconciliation_duration_seconds", "Time that a pass took.", SERVICE, "result")
PASS_ERRORS = _counter("reconciliation_errors_total", "Passes that failed.", SERVICE, "error_type")
FAILOVERS = _counter("failover_count_total", "Changes of leader.", SERVICE, "reason")
FAILOVER_S = _histogram(
    "failover_latency_seconds",
    "From the change being seen to the write being accepted.",
    SERVICE,
    "reason",
    buckets=SLOW_BUCKETS_S,
)
SELECTIONS = _counter("leader_selection_attempts_total", "Passes that looked for a leader.", SERVICE)
KEPT = _counter("sticky_leader_hits_total", "Passes that kept the leader.", SERVICE)
CHOSEN = _counter("sticky_leader_misses_total", "Passes that had to choose a leader.", SERVICE)
UNRESOLVED = _counter(
    "port_resolution_failures_total", "Ports that resolve on no candidate.", SERVICE, "port_name"
)
CALL_S = _histogram(
    "api_call_duration_seconds",
    "Time of a call of the API server; of a write, retries included.",
    SERVICE,
    "operation",
    "result",
    buckets=SLOW_BUCKETS_S,
)
SLICE_ERRORS = _counter("endpoint_write_errors_total", "Slice writes that failed.", SERVICE)
RETRIES = _counter(
    "retry_attempts_total", "Attempts that failed and are tried again.", SERVICE, "operation", "attempt"
)
RETRIED = _counter("retry_success_after_retry_total", "Operations that needed a retry.", SERVICE, "operation")
TIMEOUTS = _counter("timeout_occurrences_total", "Operations that hit their limit.", NAMESPACE, "operation")
INVARIANT = _counter(
    "invariant_violations_total", "Times that a leader Service began to route to several pods.", SERVICE
)
CACHE_S = _histogram("cache_update_duration_seconds", "Time to load an index entry.", NAMESPACE)

COUNTED = (
    *(PASSES, PASS_S, PASS_ERRORS, FAILOVERS, FAILOVER_S, SELECTIONS, KEPT, CHOSEN, UNRESOLVED),
    *(CALL_S, SLICE_ERRORS, RETRIES, RETRIED, TIMEOUTS, INVARIANT, CACHE_S),
)
"""The families that facts count; those of gauges.py are asked for."""

# What begins at nought: a rate or an increase over a series that begins at one does not see that one. It is
# done where the labels are known beforehand and one occurrence matters.
SERVICE_ZEROS = Layout.of(
    (
        *(FAILOVERS.slot(reason) for reason in FAILOVER_REASONS),
        *(PASSES.slot(result) for result in (SUCCESS, "error")),
        *(family.slot() for family in (SELECTIONS, KEPT, CHOSEN, SLICE_ERRORS, INVARIANT)),
    )
)
NAMESPACE_ZEROS = Layout.of((TIMEOUTS.slot(CACHE_UPDATE),))


def families() -> Iterator[Family]:
    """All families about Services and namespaces."""
    yield from COUNTED
    yield from (entry.family for entry in OF_SERVICES)
    yield from (entry.family for entry in (*OF_NAMESPACES, *OF_CACHES))


class Metrics:
    """``observe`` takes each fact; ``text`` is what a scrape sends.

    Without ``per_service``, series are about namespaces, and histograms about the whole. ``now`` is Unix
    seconds, ``monotonic`` any steady seconds. ``trace_id`` tells which trace a fact is part of, if any; it
    becomes the exemplar of a failover.
    """

    def __init__(
        self,
        *,
        build: Build,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        rooms: Rooms | None = None,
        per_service: bool = True,
        trace_id: Callable[[], str] | None = None,
    ) -> None:
        rooms = rooms or Rooms()
        self._now = now
        self._monotonic = monotonic
        self._trace_id = trace_id or str
        self._rooms = RoomMetrics(build, rooms, now())
        self.registry = self._rooms.registry
        self._books = Books(monotonic, (SERVICE_ZEROS, NAMESPACE_ZEROS), per_service=per_service)
        self._books.nobody.add(INVARIANT.slot(), 0)
        # The index of a namespace is loaded before its first Service is known to be one; the time waits here.
        self._early: dict[str, float] = {}
        self._exposition = Exposition(self.registry, COUNTED, self._books, rooms)

    def __repr__(self) -> str:
        return f"<Metrics {self._books!r}>"

    def pieces(self, *, openmetrics: bool = False) -> Iterator[str]:
        """The text of a scrape in small pieces, each some microseconds of work; on the loop's thread."""
        moment = Moment(self._now(), self._monotonic())
        return self._exposition.pieces(moment, openmetrics=openmetrics)

    def timeouts(self, operation: str) -> Counting:
        """The count of time-outs of an operation that belongs to no namespace."""
        return Counting(self._books.nobody, TIMEOUTS.slot(operation))

    def observe(self, fact: Fact) -> None:
        """Count one fact. Never fails, never waits."""
        match fact:
            case service.Reconciled():
                self._pass(fact)
            case service.ServiceState():
                self._state(fact)
            case service.LeaderMoved():
                if fact.reason != FIRST_ELECTION:  # the state that follows tells the rest of that
                    self._failover(fact)
            case service.RoutingSeen() | service.InvariantBroken():
                self._audited(fact)
            case service.PortUnresolved():
                self._count(fact, UNRESOLVED.slot(fact.port_name))
            case service.WriteDone():
                self._time(fact, CALL_S.slot(f"{fact.verb}_{fact.resource}", fact.result), fact.seconds)
                if fact.resource == "endpointslices" and fact.result != SUCCESS:
                    self._count(fact, SLICE_ERRORS.slot())
            case service.WritePlanned():
                pass  # nothing happened
            case service.ServiceForgotten():
                self._books.forget(fact.namespace, fact.service)
            case service.TimedOut():
                self._of_namespace(fact.namespace).add(TIMEOUTS.slot(fact.operation))
            case _:
                self._observe_kube(fact)

    def _observe_kube(self, fact: kube.KubeFact | service.ConfigFact) -> None:
        match fact:
            case kube.RequestDone():
                self._request(fact)
            case kube.RetryScheduled():
                self._count(fact, RETRIES.slot(fact.operation, str(fact.attempt)))
                self._rooms.retried()
            case kube.RetrySucceeded():
                self._count(fact, RETRIED.slot(fact.operation))
            case kube.CacheLoaded():
                self._loaded(fact.key.partition("/")[0], fact.seconds)
            case _:
                self._rooms.observe(fact)

    def _pass(self, fact: service.Reconciled) -> None:
        self._rooms.waited(fact.lane, fact.waited_s)
        if not (fact.writes or fact.result != SUCCESS or self._books.knows(fact.namespace, fact.service)):
            return  # it found that the Service is none of ours
        self._count(fact, PASSES.slot(fact.result))
        self._time(fact, PASS_S.slot(fact.result), fact.seconds)
        if fact.result == "error":
            self._count(fact, PASS_ERRORS.slot(fact.error_type or "unknown"))

    def _failover(self, fact: service.LeaderMoved) -> None:
        trace_id = self._trace_id()
        mark = f' # {{{TRACE_ID}="{trace_id}"}} {fact.latency_s!r} {self._now():.3f}' if trace_id else ""
        self._count(fact, FAILOVERS.slot(fact.reason))
        self._time(fact, FAILOVER_S.slot(fact.reason), fact.latency_s, mark)
        self._rooms.switched(fact.latency_s, trace_id)

    def _state(self, fact: service.ServiceState) -> None:
        self._books.state(fact)
        if self._early and (loaded_s := self._early.pop(fact.namespace, None)) is not None:
            self._loaded(fact.namespace, loaded_s)
        if fact.sticky:
            self._count(fact, SELECTIONS.slot())
            self._count(fact, (KEPT if fact.sticky == "hit" else CHOSEN).slot())

    def _loaded(self, namespace: str, seconds: float) -> None:
        ledger = self._books.namespace(namespace)
        if ledger is not None:
            ledger.observe(CACHE_S.slot(), seconds)
            return
        self._early[namespace] = seconds
        if len(self._early) > EARLY_LOADS:
            del self._early[next(iter(self._early))]

    def _audited(self, fact: service.RoutingSeen | service.InvariantBroken) -> None:
        if isinstance(fact, service.RoutingSeen):
            self._books.routing(fact.namespace, fact.service, routed=fact.ready > 0)
            return
        # Found before anything else was told of the Service, it counts for none: nobody would forget it.
        known = self._books.knows(fact.namespace, fact.service)
        ledger = self._books.counts(fact.namespace, fact.service if known else "")
        (ledger or self._books.nobody).add(INVARIANT.slot())

    def _request(self, fact: kube.RequestDone) -> None:
        if fact.verb not in {"get", "list", "watch"} and fact.result == SUCCESS:
            self._rooms.written(fact.resource, fact.verb, fact.lane)
        if fact.lane not in _LANES_OF_THE_CONTROLLER:  # those are timed by WriteDone, which knows the Service
            slot = CALL_S.slot(f"{fact.verb}_{fact.resource}", fact.result)
            self._books.nobody.observe(slot, fact.seconds)

    def _of_namespace(self, namespace: str) -> Ledger:
        """The namespace's ledger; one without Services shares that of none."""
        return self._books.namespace(namespace) or self._books.nobody

    def _count(self, about: _AboutService, slot: Slot) -> None:
        ledger = self._books.counts(about.namespace, about.service)
        if ledger is not None:
            ledger.add(slot)

    def _time(self, about: _AboutService, slot: Slot, seconds: float, mark: str = "") -> None:
        ledger = self._books.times(about.namespace, about.service)
        if ledger is not None:
            ledger.observe(slot, seconds, mark)


_AboutService = (
    service.Reconciled
    | service.ServiceState
    | service.LeaderMoved
    | service.PortUnresolved
    | service.WriteDone
    | kube.RetryScheduled
    | kube.RetrySucceeded
)
