"""The text of the metrics: correct in both formats, clean by Prometheus' own rules, and not per Service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.unit.observe.test_metrics import Clock, everything_about, metrics_of, state, text_of, value
from zenlead.controller.facts import LeaderMoved, PortUnresolved, Reconciled, ServiceForgotten, WriteDone
from zenlead.kube.facts import ElectionChanged, InformerSynced, RequestDone, WatchRestarted
from zenlead.observe.gauges import CacheStats, Rooms
from zenlead.observe.metrics import families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from zenlead.observe.metrics import Metrics

# promtool's words for what a metric's name must not be: abbreviations, and units that are no base units.
ABBREVIATED = re.compile(r"(^|_)(s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d)(_|$)")
NOT_BASE = re.compile(r"(milli|micro|nano|kilo|mega|giga|minutes|hours|days|percent|celsius)")
TOTAL_GAUGES = {"zen_lead_leader_services_total", "zen_lead_endpointslices_total"}  # older than this program


def full(*, per_service: bool = True) -> Metrics:
    """Metrics to which everything happened."""
    rooms = Rooms(
        queue_depth=lambda: {"urgent": 0},
        queue_retries=lambda: {"urgent": 0},
        cache=lambda _: CacheStats(1, 2, 3),
        informer_silence_s=lambda: {"pods": 1.5},
    )
    metrics = metrics_of(Clock(), rooms, per_service=per_service)
    for fact in [
        *everything_about("t1", "web"),
        *everything_about("t1", "api"),
        *everything_about("t2", "web"),
        RequestDone("list", "pods", "success", 0.3),
        RequestDone("patch", "leases", "success", 0.3, "lease"),
        WatchRestarted("pods", "gone", 0.1),
        InformerSynced("pods", 3, 0.1),
        ElectionChanged(True, "me", "acquired"),
    ]:
        metrics.observe(fact)
    return metrics


def samples(found: Iterable[Metric]) -> dict[tuple[str, str], float]:
    told: dict[tuple[str, str], float] = {}
    for family in found:
        for sample in family.samples:
            key = (sample.name, repr(sorted(sample.labels.items())))
            assert key not in told, f"{key} twice"
            told[key] = sample.value
    return told


def steady(told: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Without what the process itself uses, which differs from one moment to the next."""
    return {key: value for key, value in told.items() if not key[0].startswith("process_")}


@pytest.mark.parametrize("per_service", [True, False])
def test_both_formats_say_the_same(per_service: bool) -> None:
    metrics = full(per_service=per_service)
    text = samples(parse_text(text_of(metrics)))
    openmetrics = "".join(metrics.pieces(openmetrics=True))
    assert openmetrics.endswith("# EOF\n")
    assert openmetrics.count("# EOF") == 1
    assert steady(samples(parse_openmetrics(openmetrics))) == steady(text)
    assert len(text) > 100


@pytest.mark.parametrize(
    ("form", "generate"),
    [(False, generate_latest), (True, generate_openmetrics)],
    ids=["text", "openmetrics"],
)
def test_the_lines_are_those_of_the_library(
    form: bool, generate: Callable[[CollectorRegistry], bytes]
) -> None:
    """The same numbers, counted by prometheus_client, give the same families and samples."""
    metrics = metrics_of(Clock())
    registry = CollectorRegistry()
    disable_created_metrics()  # type: ignore[no-untyped-call]
    about = {family.name: family for family in families()}
    latency, failures = (
        about["zen_lead_failover_latency_seconds"],
        about["zen_lead_port_resolution_failures_total"],
    )
    expected_latency = Histogram(
        latency.name, latency.about, latency.labels, buckets=latency.bounds, registry=registry
    )
    expected_failures = Counter(failures.name, failures.about, failures.labels, registry=registry)
    metrics.observe(state())
    for seconds in (0.0, 0.001, 0.0011, 0.3, 10.0, 10.1, 1e6):
        metrics.observe(LeaderMoved("t1", "web", "a", "b", "deleted", 1, seconds))
        expected_latency.labels("t1", "web", "deleted").observe(seconds)
    odd = 'a "b\\c\nd%s'
    metrics.observe(PortUnresolved("t1", "web", odd))
    expected_failures.labels("t1", "web", odd).inc()
    parse = parse_openmetrics if form else parse_text
    wanted = {family.name: family for family in parse(generate(registry).decode())}
    found = {family.name: family for family in parse("".join(metrics.pieces(openmetrics=form)))}
    for name, family in wanted.items():
        ours = found[name]
        assert (ours.type, ours.documentation) == (family.type, family.documentation)
        assert samples([ours]) == samples([family])


@pytest.mark.parametrize("per_service", [True, False])
def test_a_failover_that_is_traced_leads_to_its_trace(per_service: bool) -> None:
    clock, traces = Clock(), iter(["", "4bf92f3577b34da6a3ce929d0e0e4736"])
    metrics = metrics_of(clock, per_service=per_service, trace_id=lambda: next(traces))
    for seconds in (0.02, 0.03):
        metrics.observe(LeaderMoved("t1", "web", "a", "b", "deleted", 1, seconds))
    exemplars = {
        (sample.name, sample.labels["le"]): sample.exemplar
        for family in parse_openmetrics("".join(metrics.pieces(openmetrics=True)))
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert set(exemplars) == {
        ("zen_lead_failover_latency_seconds_bucket", "0.05"),
        ("zen_lead_leader_switch_duration_seconds_bucket", "0.05"),
    }
    for exemplar in exemplars.values():
        assert exemplar.labels == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
        assert exemplar.value == 0.03
    assert float(exemplars["zen_lead_failover_latency_seconds_bucket", "0.05"].timestamp) == clock.now
    assert " # " not in re.sub("^# .*", "", text_of(metrics), flags=re.MULTILINE), "plain text has none"


@pytest.mark.parametrize("per_service", [True, False])
def test_the_text_is_clean_by_the_rules_of_promtool(per_service: bool) -> None:
    text = text_of(full(per_service=per_service))
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert helps.keys() == types.keys()
    assert len(re.findall(r"^# TYPE ", text, re.MULTILINE)) == len(types), "a family twice"
    for name, kind in types.items():
        assert re.fullmatch(r"(zen_lead|process)_[a-z][a-z0-9_]*", name)
        assert not ABBREVIATED.search(name)
        assert not NOT_BASE.search(name)
        assert not any(word in name.split("_") for word in ("counter", "gauge", "histogram", "summary"))
        assert name in TOTAL_GAUGES or name.endswith("_total") == (kind == "counter"), name
        assert name in TOTAL_GAUGES or not name.endswith(("_count", "_sum", "_bucket"))
    for label in set(re.findall(r'[{,]([^=,{]+)="', text)):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", label), label
    assert "_created" not in text


def test_a_familys_lines_stand_together() -> None:
    order = []
    for line in text_of(full()).splitlines():
        name = line.split(" ")[2] if line.startswith("#") else re.split(r"[{ ]", line)[0]
        order.append(
            re.sub(r"_(bucket|sum|count)$", "", name) if "latency" in name or "duration" in name else name
        )
    changes = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert len(changes) == len(set(changes))


def test_every_piece_is_the_work_of_one_owner() -> None:
    few, many = metrics_of(Clock()), metrics_of(Clock())
    for count, metrics in ((1, few), (200, many)):
        for number in range(count):
            for fact in everything_about("t1", f"web-{number:03d}"):
                metrics.observe(fact)
    assert max(map(len, many.pieces())) < 1.1 * max(map(len, few.pieces()))


def test_services_may_come_and_go_while_the_text_is_made() -> None:
    metrics = full()
    made = []
    for number, piece in enumerate(metrics.pieces()):
        made.append(piece)
        if number % 3 == 0:
            metrics.observe(state(namespace=f"new-{number}"))
        if number == 10:
            metrics.observe(ServiceForgotten("t1", "api"))
            metrics.observe(ServiceForgotten("t2", "web"))
    samples(parse_text("".join(made)))


class TestWithoutSeriesForEachService:
    """--metrics-per-service=false: namespaces count for their Services, and nobody times them."""

    def test_no_service_is_named(self) -> None:
        text = text_of(full(per_service=False))
        assert 'service="web"' not in text
        assert 'namespace="t1",service=""' in text

    def test_counters_are_sums(self) -> None:
        metrics = full(per_service=False)
        where = {"namespace": "t1", "service": ""}
        assert value(metrics, "failover_count_total", **where, reason="deleted") == 2
        assert value(metrics, "failover_count_total", **where, reason="notReady") == 0
        assert value(metrics, "reconciliations_total", **where, result="error") == 2
        assert value(metrics, "leader_selection_attempts_total", **where) == 4

    def test_histograms_are_about_all(self) -> None:
        metrics = full(per_service=False)
        nobody = {"namespace": "", "service": ""}
        assert value(metrics, "failover_latency_seconds_count", **nobody, reason="deleted") == 3
        assert value(metrics, "reconciliation_duration_seconds_count", **nobody, result="error") == 3
        conflicts = {**nobody, "operation": "patch_endpointslices", "result": "conflict"}
        assert value(metrics, "api_call_duration_seconds_count", **conflicts) == 3

    def test_gauges_are_numbers_of_services_and_ages_are_not_told(self) -> None:
        clock = Clock()
        metrics = metrics_of(clock, per_service=False)
        metrics.observe(state())
        metrics.observe(state(service="api", leader="", pods_available=1, paused=True))
        clock.advance(2)
        where = {"namespace": "t1", "service": ""}
        expected = {
            "pods_available": 4,
            "leader_stable": 1,
            "leader_service_without_endpoints": 1,
            "paused": 1,
            "unavailable_seconds_total": 2,
            "leader_duration_seconds": None,
            "leader_pod_age_seconds": None,
        }
        assert {name: value(metrics, name, **where) for name in expected} == expected

    def test_time_without_a_leader_never_falls(self) -> None:
        clock = Clock()
        metrics = metrics_of(clock, per_service=False)
        where = {"namespace": "t1", "service": ""}
        metrics.observe(state())
        metrics.observe(state(service="api", leader=""))
        clock.advance(3)
        metrics.observe(ServiceForgotten("t1", "api"))
        clock.advance(100)
        assert value(metrics, "unavailable_seconds_total", **where) == 3
        metrics.observe(state(leader=""))
        clock.advance(1)
        assert value(metrics, "unavailable_seconds_total", **where) == 4

    def test_series_go_with_the_last_service_of_a_namespace(self) -> None:
        metrics = metrics_of(Clock(), per_service=False)
        metrics.observe(Reconciled("t0", "x", "error", 0.1, lane="routine"))
        metrics.observe(ServiceForgotten("t0", "x"))
        for name in ("web", "api"):
            metrics.observe(state(service=name))
            metrics.observe(WriteDone("t1", name, "endpointslices", "patch", "urgent", "conflict", 0.1))
        metrics.observe(ServiceForgotten("t1", "web"))
        where = {"namespace": "t1", "service": ""}
        assert value(metrics, "endpoint_write_errors_total", **where) == 2
        metrics.observe(ServiceForgotten("t1", "api"))
        assert '"t1"' not in text_of(metrics)
