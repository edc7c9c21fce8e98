"""Facts in, series out; and no series outlives its Service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zenlead.controller.facts import (
    ConfigRefused,
    ConfigReloaded,
    ConfigWaiting,
    InvariantBroken,
    LeaderMoved,
    PortUnresolved,
    Reconciled,
    RoutingSeen,
    ServiceForgotten,
    ServiceState,
    TimedOut,
    WriteDone,
)
from zenlead.kube.facts import (
    CacheLoaded,
    ElectionChanged,
    EventDropped,
    InformerSynced,
    LeaseFailed,
    ObjectRejected,
    RequestDone,
    RetryScheduled,
    RetrySucceeded,
    TaskRestarted,
    WatchRestarted,
)
from zenlead.lead.contract import Reason
from zenlead.observe.gauges import CacheStats, Rooms
from zenlead.observe.metrics import EARLY_LOADS, FAILOVER_REASONS, Metrics
from zenlead.observe.rooms import Build
from zenlead.observe.series import FORGOTTEN_FOR_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.observe.metrics import Fact

SERVICE = {"namespace": "t1", "service": "web"}


class Clock:
    """Wall and monotonic seconds that move when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.monotonic = 100.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.monotonic += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def metrics_of(
    clock: Clock,
    rooms: Rooms | None = None,
    *,
    per_service: bool = True,
    trace_id: Callable[[], str] | None = None,
) -> Metrics:
    return Metrics(
        build=Build("1.2.3", "abc", "2026-01-01"),
        now=lambda: clock.now,
        monotonic=lambda: clock.monotonic,
        rooms=rooms,
        per_service=per_service,
        trace_id=trace_id,
    )


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return metrics_of(clock)


def text_of(metrics: Metrics) -> str:
    return "".join(metrics.pieces())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(text_of(metrics))
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"zen_lead_{name}" and sample.labels == labels
    ]
    assert len(found) <= 1, "a series twice"
    return found[0] if found else None


def series(metrics: Metrics) -> set[str]:
    return {line for line in text_of(metrics).splitlines() if not line.startswith("#")}


def state(
    leader: str = "web-0", *, service: str = "web", namespace: str = "t1", **more: object
) -> ServiceState:
    known = {
        "pods_available": 3,
        "leader_since": 1_699_999_940.0 if leader else None,
        "leader_pod_created": 1_699_999_000.0 if leader else None,
        "stable": bool(leader),
        "endpoint_slices": 1,
    }
    return ServiceState(namespace, service, leader=leader, **(known | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fact", "name", "labels"),
    [
        (
            Reconciled("t1", "web", "success", 0.004, 1),
            "reconciliations_total",
            {**SERVICE, "result": "success"},
        ),
        (
            Reconciled("t1", "web", "error", 0.004, error_type="conflict"),
            "reconciliation_errors_total",
            {**SERVICE, "error_type": "conflict"},
        ),
        (
            Reconciled("t1", "web", "error", 0.004),
            "reconciliation_errors_total",
            {**SERVICE, "error_type": "unknown"},
        ),
        (
            Reconciled("t1", "web", "success", 0.004, 1),
            "reconciliation_duration_seconds_bucket",
            {**SERVICE, "result": "success", "le": "0.005"},
        ),
        (
            Reconciled("t1", "web", "success", 0.1, lane="urgent", waited_s=0.002),
            "workqueue_latency_seconds_bucket",
            {"lane": "urgent", "le": "0.005"},
        ),
        (
            LeaderMoved("t1", "web", "web-0", "web-1", "notReady", 2, 0.02),
            "failover_count_total",
            {**SERVICE, "reason": "notReady"},
        ),
        (
            LeaderMoved("t1", "web", "web-0", "web-1", "notReady", 2, 9.0),
            "failover_latency_seconds_bucket",
            {**SERVICE, "reason": "notReady", "le": "10.0"},
        ),
        (
            PortUnresolved("t1", "web", "http"),
            "port_resolution_failures_total",
            {**SERVICE, "port_name": "http"},
        ),
        (
            WriteDone("t1", "web", "endpointslices", "patch", "urgent", "conflict", 0.3),
            "endpoint_write_errors_total",
            SERVICE,
        ),
        (
            WriteDone("t1", "web", "services", "create", "routine", "success", 0.3),
            "api_call_duration_seconds_count",
            {**SERVICE, "operation": "create_services", "result": "success"},
        ),
        (
            RequestDone("list", "pods", "success", 0.3),
            "api_call_duration_seconds_bucket",
            {"namespace": "", "service": "", "operation": "list_pods", "result": "success", "le": "0.5"},
        ),
        (
            RequestDone("patch", "endpointslices", "success", 0.3, "urgent", "t1"),
            "writes_total",
            {"resource": "endpointslices", "verb": "patch", "lane": "urgent"},
        ),
        (
            RequestDone("patch", "leases", "success", 0.3, "lease", "ops"),
            "api_call_duration_seconds_count",
            {"namespace": "", "service": "", "operation": "patch_leases", "result": "success"},
        ),
        (
            RetryScheduled("patch_services", 1, 0.1, "throttled", "t1", "web"),
            "retry_attempts_total",
            {**SERVICE, "operation": "patch_services", "attempt": "1"},
        ),
        (
            RetryScheduled("patch_leases", 2, 0.1, "throttled", "ops"),
            "retry_attempts_total",
            {"namespace": "", "service": "", "operation": "patch_leases", "attempt": "2"},
        ),
        (
            RetrySucceeded("patch_services", "t1", "web"),
            "retry_success_after_retry_total",
            {**SERVICE, "operation": "patch_services"},
        ),
        (TimedOut("", "list"), "timeout_occurrences_total", {"namespace": "", "operation": "list"}),
        (WatchRestarted("pods", "gone", 0.1), "watch_restarts_total", {"resource": "pods", "reason": "gone"}),
        (InformerSynced("pods", 3, 0.1), "informer_syncs_total", {"resource": "pods"}),
        (ObjectRejected("pods", "t1", "x", "bad"), "objects_rejected_total", {"resource": "pods"}),
        (ElectionChanged(True, "me", "acquired"), "leader_election_is_leader", {}),
        (LeaseFailed("400", True), "lease_failures_total", {"refused": "true"}),
        (LeaseFailed("cut", False), "lease_failures_total", {"refused": "false"}),
        (TaskRestarted("informer.pods", "x", 1.0), "task_restarts_total", {"task": "informer.pods"}),
        (EventDropped("NoReadyPods", "full"), "events_dropped_total", {"why": "full"}),
        (state(sticky="hit"), "sticky_leader_hits_total", SERVICE),
        (state(sticky="hit"), "leader_selection_attempts_total", SERVICE),
        (state(sticky="miss"), "sticky_leader_misses_total", SERVICE),
        (state(sticky="miss"), "leader_selection_attempts_total", SERVICE),
    ],
)
def test_one_fact_counts_one(metrics: Metrics, fact: Fact, name: str, labels: dict[str, str]) -> None:
    assert value(metrics, name, **labels) in {None, 0.0}
    metrics.observe(fact)
    assert value(metrics, name, **labels) == 1.0


@pytest.mark.parametrize(
    ("fact", "name"),
    [
        (Reconciled("t1", "web", "requeue", 0.1), "reconciliation_errors_total"),
        (LeaderMoved("t1", "web", "", "web-1", "elected", 1, 0.02), "failover_count_total"),
        (
            WriteDone("t1", "web", "services", "patch", "routine", "invalid", 0.3),
            "endpoint_write_errors_total",
        ),
        (
            WriteDone("t1", "web", "endpointslices", "patch", "urgent", "success", 0.3),
            "endpoint_write_errors_total",
        ),
        (RequestDone("patch", "services", "conflict", 0.1, "routine"), "writes_total"),
        (RequestDone("patch", "services", "success", 0.1, "routine"), "api_call_duration_seconds_count"),
        (RequestDone("watch", "pods", "success", 0.1), "writes_total"),
        (state(), "leader_selection_attempts_total"),
        (CacheLoaded("index", "t1", "success", 0.1), "cache_update_duration_seconds_count"),
        (Reconciled("t1", "plain", "success", 0.1), "reconciliations_total"),  # a Service that is not ours
    ],
)
def test_what_a_fact_does_not_count(metrics: Metrics, fact: Fact, name: str) -> None:
    metrics.observe(fact)
    counted = [line for line in series(metrics) if line.startswith(f"zen_lead_{name}")]
    assert all(line.endswith(" 0") for line in counted)


def test_what_would_be_missed_begins_at_nought(metrics: Metrics) -> None:
    """An increase over a series that begins at one does not see that one."""
    metrics.observe(state())
    noughts = [("failover_count_total", {**SERVICE, "reason": reason}) for reason in FAILOVER_REASONS]
    noughts += [
        ("endpoint_write_errors_total", SERVICE),
        ("sticky_leader_misses_total", SERVICE),
        ("reconciliations_total", {**SERVICE, "result": "error"}),
        ("timeout_occurrences_total", {"namespace": "t1", "operation": "cache_update"}),
        ("lease_failures_total", {"refused": "true"}),
        ("events_dropped_total", {"why": "queue_full"}),
    ]
    assert [name for name, labels in noughts if value(metrics, name, **labels) != 0] == []


def test_the_reasons_that_begin_at_nought_are_those_of_failovers() -> None:
    assert {*FAILOVER_REASONS} == {*Reason} - {Reason.ELECTED}


def test_a_pass_over_a_service_that_is_not_ours_leaves_no_series(metrics: Metrics) -> None:
    before = {line.split(" ")[0] for line in series(metrics)}
    metrics.observe(Reconciled("t1", "plain", "success", 0.1, lane="routine"))
    added = {line.split(" ")[0] for line in series(metrics)} - before
    assert all("workqueue_latency_seconds" in line for line in added)


def test_election_lost(metrics: Metrics) -> None:
    assert value(metrics, "leader_election_is_leader") == 0
    metrics.observe(ElectionChanged(True, "me", "acquired"))
    metrics.observe(ElectionChanged(False, "you", "lost"))
    assert value(metrics, "leader_election_is_leader") == 0


def test_the_state_of_a_service_at_the_time_of_the_scrape(metrics: Metrics, clock: Clock) -> None:
    metrics.observe(state())
    clock.advance(5)
    expected = {
        "leader_duration_seconds": 65.0,
        "leader_pod_age_seconds": 1005.0,
        "pods_available": 3.0,
        "leader_stable": 1.0,
        "leader_service_without_endpoints": 0.0,
        "paused": 0.0,
        "unavailable_seconds_total": 0.0,
    }
    assert {name: value(metrics, name, **SERVICE) for name in expected} == expected
    metrics.observe(state(leader="", pods_available=0, paused=True))
    clock.advance(2)
    without = {
        "leader_duration_seconds": None,
        "leader_pod_age_seconds": None,
        "pods_available": 0.0,
        "leader_stable": 0.0,
        "leader_service_without_endpoints": 1.0,
        "paused": 1.0,
        "unavailable_seconds_total": 2.0,
    }
    assert {name: value(metrics, name, **SERVICE) for name in without} == without


def test_time_without_a_leader_adds_up(metrics: Metrics, clock: Clock) -> None:
    metrics.observe(state(leader=""))
    clock.advance(3)
    metrics.observe(state(leader=""))  # a second pass is no second outage
    clock.advance(4)
    metrics.observe(state())
    clock.advance(100)
    assert value(metrics, "unavailable_seconds_total", **SERVICE) == 7
    metrics.observe(state(leader=""))
    clock.advance(1)
    assert value(metrics, "unavailable_seconds_total", **SERVICE) == 8


def test_since_when_nobody_leads_and_why(metrics: Metrics, clock: Clock) -> None:
    def leaderless() -> dict[str, float]:
        text = re.findall(
            r'^zen_lead_leaderless_seconds{.*reason="(.*)"} (.*)$', text_of(metrics), re.MULTILINE
        )
        return {reason: float(seconds) for reason, seconds in text}

    metrics.observe(state())
    assert leaderless() == {}
    metrics.observe(state(leader="", why="NoReadyPods"))
    clock.advance(3)
    metrics.observe(state(leader="", why="NoPodsFound"))
    clock.advance(4)
    assert leaderless() == {"NoPodsFound": 7}, "one time without a leader, whatever is in its way"
    metrics.observe(state())
    assert leaderless() == {}
    metrics.observe(RoutingSeen("t1", "web", 0))  # by somebody else
    clock.advance(1)
    assert leaderless() == {"NotWritten": 1}


def test_time_without_an_endpoint_is_time_without_a_leader(metrics: Metrics, clock: Clock) -> None:
    metrics.observe(RoutingSeen("t1", "web", 0))
    assert value(metrics, "unavailable_seconds_total", **SERVICE) is None, "nothing was told of it yet"
    metrics.observe(state())
    for ready, lasting_s in ((0, 2), (1, 30), (2, 30), (0, 1)):
        metrics.observe(RoutingSeen("t1", "web", ready))
        gone = value(metrics, "leader_service_without_endpoints", **SERVICE)
        assert gone == (ready == 0)
        clock.advance(lasting_s)
    metrics.observe(state())  # a pass that knew nothing of it yet
    clock.advance(1)
    assert value(metrics, "unavailable_seconds_total", **SERVICE) == 4


def test_sums_of_time_without_an_endpoint(clock: Clock) -> None:
    metrics = metrics_of(clock, per_service=False)
    metrics.observe(state())
    metrics.observe(state(service="api"))
    metrics.observe(RoutingSeen("t1", "web", 0))
    clock.advance(3)
    sums = {"namespace": "t1", "service": ""}
    assert value(metrics, "leader_service_without_endpoints", **sums) == 1
    metrics.observe(RoutingSeen("t1", "web", 1))
    clock.advance(3)
    assert value(metrics, "leader_service_without_endpoints", **sums) == 0
    assert value(metrics, "unavailable_seconds_total", **sums) == 3


def test_a_broken_invariant_counts_where_its_series_will_go(metrics: Metrics) -> None:
    broken = InvariantBroken("t1", "web", "web-leader", "IPv4", ("web-0", "web-1"))
    counts = [value(metrics, "invariant_violations_total", namespace="", service="")]
    metrics.observe(broken)
    counts.append(value(metrics, "invariant_violations_total", namespace="", service=""))
    assert counts == [0, 1]
    metrics.observe(state())
    assert value(metrics, "invariant_violations_total", **SERVICE) == 0
    metrics.observe(broken)
    assert value(metrics, "invariant_violations_total", **SERVICE) == 1
    metrics.observe(ServiceForgotten("t1", "web"))
    metrics.observe(broken)
    assert not any('"t1"' in line for line in series(metrics))


def test_what_counts_for_all_services_together_begins_at_nought(metrics: Metrics) -> None:
    names = ("write_retries_total", "leader_switch_duration_seconds_count")
    assert [value(metrics, name) for name in names] == [0, 0]
    for service in ("web", "api"):
        metrics.observe(RetryScheduled("patch_services", 1, 0.1, "x", "t1", service))
        metrics.observe(LeaderMoved("t1", service, "a", "b", "deleted", 2, 0.1))
        metrics.observe(LeaderMoved("t1", service, "", "b", "elected", 1, 0.1))
    assert [value(metrics, name) for name in names] == [2, 2]


def test_a_lease_that_comes_and_goes_is_counted(metrics: Metrics) -> None:
    assert value(metrics, "leader_election_transitions_total") == 0
    for leads, holder in ((False, "you"), (True, "me"), (False, "you"), (False, "they"), (True, "me")):
        metrics.observe(ElectionChanged(leads, holder, "so it is"))
    assert value(metrics, "leader_election_transitions_total") == 3


def test_an_age_is_never_negative(metrics: Metrics, clock: Clock) -> None:
    metrics.observe(state(leader_since=clock.now + 3))  # the API server's clock is ahead
    assert value(metrics, "leader_duration_seconds", **SERVICE) == 0


def test_the_first_load_of_an_index_counts_once_its_namespace_is_known(metrics: Metrics) -> None:
    metrics.observe(CacheLoaded("selectors", "t1", "success", 0.2))
    for number in range(2 * EARLY_LOADS):
        metrics.observe(CacheLoaded("selectors", f"none-of-ours-{number}", "success", 0.1))
    metrics.observe(CacheLoaded("selectors", "t2", "success", 0.3))
    name, many = "cache_update_duration_seconds", {"namespace": "t2"}
    assert value(metrics, f"{name}_count", **many) is None, "no series of a namespace that has no Service"
    metrics.observe(state(namespace="t2"))
    metrics.observe(state(namespace="t2"))
    assert value(metrics, f"{name}_count", **many) == 1
    assert value(metrics, f"{name}_sum", **many) == 0.3
    metrics.observe(CacheLoaded("selectors", "t2", "success", 0.4))
    assert value(metrics, f"{name}_count", **many) == 2
    metrics.observe(state())
    assert value(metrics, f"{name}_count", namespace="t1") is None, "too many came in between"


def test_totals_of_namespaces(metrics: Metrics) -> None:
    metrics.observe(state())
    metrics.observe(state(service="api", endpoint_slices=2))
    metrics.observe(state(namespace="t2"))
    assert value(metrics, "leader_services_total", namespace="t1") == 2
    metrics.observe(state(leader="", service="lost", leader_services=0, endpoint_slices=0))
    assert value(metrics, "leader_services_total", namespace="t1") == 2
    assert value(metrics, "endpointslices_total", namespace="t1") == 3
    assert value(metrics, "leader_services_total", namespace="t2") == 1
    metrics.observe(ServiceForgotten("t2", "web"))
    assert value(metrics, "leader_services_total", namespace="t2") is None
    assert value(metrics, "endpointslices_total", namespace="t2") is None


def test_rooms_are_asked_at_the_scrape(clock: Clock) -> None:
    caches = {"t1": CacheStats(3, 10, 0), "idle": CacheStats(0, 0, 1)}
    rooms = Rooms(
        queue_depth=lambda: {"urgent": 1, "routine": 7},
        queue_retries=lambda: {"routine": 4},
        longest_pass_s=lambda: 0.5,
        cache=caches.get,
        informer_silence_s=lambda: {"pods": 12.0},
        cache_limit=lambda: 1000,
        forbidden=lambda: 2,
    )
    metrics = metrics_of(clock, rooms)
    assert value(metrics, "cache_size_limit") == 1000
    assert value(metrics, "forbidden_services") == 2
    metrics.observe(state())
    assert value(metrics, "workqueue_depth", lane="routine") == 7
    assert value(metrics, "workqueue_longest_running_seconds") == 0.5
    assert value(metrics, "workqueue_retries_total", lane="routine") == 4
    assert value(metrics, "informer_last_event_age_seconds", resource="pods") == 12
    assert value(metrics, "cache_size", namespace="t1") == 3
    assert value(metrics, "cache_hits_total", namespace="t1") == 10
    assert value(metrics, "cache_misses_total", namespace="t1") == 0
    assert value(metrics, "cache_size", namespace="idle") is None
    metrics.observe(ServiceForgotten("t1", "web"))
    assert value(metrics, "cache_size", namespace="t1") is None


def test_the_last_reload_of_the_config_file(clock: Clock) -> None:
    metrics = metrics_of(clock)

    def told() -> tuple[float | None, float | None]:
        ok = value(metrics, "config_last_reload_successful")
        return ok, value(metrics, "config_last_reload_success_timestamp_seconds")

    started = clock.now
    assert told() == (1, started)
    metrics.observe(ConfigRefused(("--qps: 'x'",)))
    assert told() == (0, started)
    metrics.observe(ConfigReloaded(("qps",), started + 60))
    metrics.observe(ConfigWaiting(("dry-run",)))
    assert told() == (1, started + 60)


def test_build_info(metrics: Metrics) -> None:
    labels = {"version": "1.2.3", "commit": "abc", "build_date": "2026-01-01"}
    assert value(metrics, "build_info", **labels) == 1


def everything_about(namespace: str, service: str) -> list[Fact]:
    return [
        state(namespace=namespace, service=service, sticky="hit"),
        state(leader="", namespace=namespace, service=service, sticky="miss"),
        Reconciled(namespace, service, "success", 0.1, lane="routine"),
        Reconciled(namespace, service, "error", 0.1, error_type="x", lane="routine"),
        LeaderMoved(namespace, service, "a", "b", "deleted", 2, 0.1),
        PortUnresolved(namespace, service, "http"),
        WriteDone(namespace, service, "endpointslices", "patch", "urgent", "conflict", 0.1),
        RetryScheduled("patch_services", 1, 0.1, "x", namespace, service),
        RetrySucceeded("patch_services", namespace, service),
        CacheLoaded("index", namespace, "success", 0.1),
        CacheLoaded("leader", f"{namespace}/{service}", "success", 0.1),
        TimedOut(namespace, "cache_update"),
    ]


def test_series_go_with_their_service(metrics: Metrics) -> None:
    for fact in [*everything_about("t0", "keeps"), ServiceForgotten("t0", "keeps")]:
        metrics.observe(fact)  # what has no Service in its labels stays from here on
    before = {line.split(" ")[0] for line in series(metrics)}
    assert not any('"t0"' in line for line in before)
    for i in range(200):
        for fact in everything_about(f"ns-{i}", "web"):
            metrics.observe(fact)
    assert sum('"ns-7"' in line for line in series(metrics)) > 80
    for i in range(200):
        metrics.observe(ServiceForgotten(f"ns-{i}", "web"))
    assert {line.split(" ")[0] for line in series(metrics)} == before
    assert "namespaces=0 services=0" in repr(metrics)


def test_series_of_a_namespace_stay_while_it_has_a_service(metrics: Metrics) -> None:
    for fact in everything_about("t1", "web") + everything_about("t1", "api"):
        metrics.observe(fact)
    metrics.observe(ServiceForgotten("t1", "web"))
    left = series(metrics)
    assert not any('service="web"' in line for line in left)
    assert value(metrics, "timeout_occurrences_total", namespace="t1", operation="cache_update") == 2
    metrics.observe(ServiceForgotten("t1", "api"))
    assert not any('"t1"' in line for line in series(metrics))


def test_what_trails_a_forgotten_service_makes_no_series(metrics: Metrics, clock: Clock) -> None:
    metrics.observe(state())
    metrics.observe(ServiceForgotten("t1", "web"))
    trailing = [fact for fact in everything_about("t1", "web") if not isinstance(fact, ServiceState)]
    for fact in trailing:
        metrics.observe(fact)
    assert not any('"t1"' in line for line in series(metrics))
    clock.advance(FORGOTTEN_FOR_S)
    metrics.observe(trailing[1])
    assert value(metrics, "reconciliations_total", **SERVICE, result="error") == 1


def test_a_service_that_opts_in_again_at_once_counts_again(metrics: Metrics) -> None:
    metrics.observe(state(sticky="hit"))
    metrics.observe(ServiceForgotten("t1", "web"))
    metrics.observe(state(sticky="hit"))
    metrics.observe(Reconciled("t1", "web", "success", 0.1))
    assert value(metrics, "sticky_leader_hits_total", **SERVICE) == 1
    assert value(metrics, "reconciliations_total", **SERVICE, result="success") == 1


def test_the_memory_of_forgotten_services_drains(metrics: Metrics, clock: Clock) -> None:
    for i in range(50):
        metrics.observe(ServiceForgotten("t1", f"s{i}"))
        clock.advance(10)
    assert "forgotten=6" in repr(metrics)  # those of the last minute


CONTRACT = {
    "leader_duration_seconds": "gauge",
    "failover_count_total": "counter",
    "failover_latency_seconds": "histogram",
    "reconciliation_duration_seconds": "histogram",
    "pods_available": "gauge",
    "port_resolution_failures_total": "counter",
    "reconciliation_errors_total": "counter",
    "leader_services_total": "gauge",
    "endpointslices_total": "gauge",
    "sticky_leader_hits_total": "counter",
    "sticky_leader_misses_total": "counter",
    "leader_selection_attempts_total": "counter",
    "leader_pod_age_seconds": "gauge",
    "leader_service_without_endpoints": "gauge",
    "reconciliations_total": "counter",
    "leader_stable": "gauge",
    "endpoint_write_errors_total": "counter",
    "retry_attempts_total": "counter",
    "retry_success_after_retry_total": "counter",
    "cache_size": "gauge",
    "cache_update_duration_seconds": "histogram",
    "cache_hits_total": "counter",
    "cache_misses_total": "counter",
    "timeout_occurrences_total": "counter",
    "api_call_duration_seconds": "histogram",
    "build_info": "gauge",
    "leader_election_is_leader": "gauge",
    "leaderless_seconds": "gauge",
    "unavailable_seconds_total": "counter",
    "writes_total": "counter",
    "watch_restarts_total": "counter",
}


def test_names_and_types_are_the_contract(metrics: Metrics) -> None:
    text = text_of(metrics)
    types = dict(re.findall(r"^# TYPE zen_lead_(\S+) (\S+)$", text, re.MULTILINE))
    assert CONTRACT.items() <= types.items()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reconciliation_duration_seconds", "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 +Inf"),
        ("cache_update_duration_seconds", "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 +Inf"),
        ("failover_latency_seconds", "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 +Inf"),
        ("api_call_duration_seconds", "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 +Inf"),
    ],
)
def test_buckets(metrics: Metrics, name: str, expected: str) -> None:
    for fact in everything_about("t1", "web"):
        metrics.observe(fact)
    bounds = dict.fromkeys(
        re.search(r'le="([^"]+)"', line)[1]  # type: ignore[index]
        for line in text_of(metrics).splitlines()
        if line.startswith(f"zen_lead_{name}_bucket")
    )
    assert " ".join(bounds) == expected
