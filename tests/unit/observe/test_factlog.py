"""Which facts make which lines."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, get_args

import pytest

from zenlead.controller.facts import (
    ConfigRefused,
    ConfigReloaded,
    ConfigWaiting,
    ControllerFact,
    InvariantBroken,
    LeaderMoved,
    PortUnresolved,
    Reconciled,
    RoutingSeen,
    ServiceForgotten,
    ServiceState,
    TimedOut,
    WriteDone,
    WritePlanned,
)
from zenlead.kube.facts import (
    CacheLoaded,
    ElectionChanged,
    EventDropped,
    InformerSynced,
    KubeFact,
    LeaseFailed,
    ObjectRejected,
    RequestDone,
    RetryScheduled,
    RetrySucceeded,
    TaskRestarted,
    WatchRestarted,
)
from zenlead.observe.factlog import FactLog

if TYPE_CHECKING:
    from zenlead.observe.metrics import Fact


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.lowest = 0  # level that is heard

    def is_enabled_for(self, level: int) -> bool:
        return level >= self.lowest

    def debug(self, event: str, **fields: Any) -> None:
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


CASES: list[tuple[Any, str, str]] = [
    (LeaderMoved("t1", "web", "web-0", "web-1", "notReady", 7, 0.01234), "info", "leader.changed"),
    (LeaderMoved("t1", "web", "", "web-1", "elected", 1, 0.01), "info", "leader.changed"),
    (ServiceForgotten("t1", "web"), "info", "service.forgotten"),
    (WritePlanned("t1", "web", "services", "create", "web-leader", "{}"), "info", "write.planned"),
    (
        Reconciled("t1", "web", "error", 0.1, error_type="conflict", error="why"),
        "warning",
        "reconcile.failed",
    ),
    (Reconciled("t1", "web", "success", 0.1), "debug", "reconcile.done"),
    (WriteDone("t1", "web", "services", "patch", "routine", "invalid", 0.1), "warning", "write.failed"),
    (WriteDone("t1", "web", "services", "patch", "routine", "conflict", 0.1), "debug", "write.done"),
    (WriteDone("t1", "web", "services", "patch", "routine", "success", 0.1), "debug", "write.done"),
    (ServiceState("t1", "web", 1, "web-0", 0.0, None, True, 1), "debug", "service.state"),
    (RoutingSeen("t1", "web", 1), "debug", "routing.seen"),
    (InvariantBroken("t1", "web", "web-leader", "IPv4", ("web-0", "web-1")), "error", "invariant.broken"),
    (PortUnresolved("t1", "web", "http"), "debug", "port.unresolved"),
    (TimedOut("t1", "cache_update"), "warning", "operation.timed_out"),
    (RequestDone("list", "pods", "unreachable", 1.0), "debug", "request.done"),
    (RetryScheduled("patch_services", 1, 0.1, "throttled"), "debug", "retry.scheduled"),
    (RetrySucceeded("patch_services"), "debug", "retry.succeeded"),
    (WatchRestarted("pods", "ended", 0.0), "debug", "watch.restarted"),
    (WatchRestarted("pods", "idle", 0.0), "debug", "watch.restarted"),
    (WatchRestarted("pods", "forbidden", 1.0, "cannot watch pods"), "warning", "watch.restarted"),
    (InformerSynced("pods", 3, 0.1), "info", "informer.synced"),
    (ObjectRejected("pods", "t1", "web-0", "no uid"), "warning", "object.rejected"),
    (ElectionChanged(False, "other", "lost"), "info", "election.changed"),
    (LeaseFailed("cut", refused=False), "warning", "lease.failed"),
    (LeaseFailed("invalid time", refused=True), "error", "lease.failed"),
    (TaskRestarted("informer.pods", "KeyError", 1.0), "error", "task.restarted"),
    (CacheLoaded("index", "t1", "success", 0.1), "debug", "cache.loaded"),
    (CacheLoaded("index", "t1", "timeout", 10.0), "warning", "cache.load_failed"),
    (EventDropped("NoReadyPods", "full"), "debug", "event.dropped"),
    (ConfigReloaded(("qps",), 100.0), "info", "config.reloaded"),
    (ConfigWaiting(("leader-election-id",)), "warning", "config.needs_restart"),
    (ConfigRefused(("--qps: 'x'",)), "error", "config.refused"),
]


@pytest.mark.parametrize(("fact", "level", "event"), CASES)
def test_one_fact_is_one_line(fact: Fact, level: str, event: str) -> None:
    log = Lines()
    FactLog(log).observe(fact)
    assert [line[:2] for line in log.lines] == [(level, event)]


def test_every_kind_of_fact_has_a_line() -> None:
    assert {type(fact) for fact, _, _ in CASES} == set(get_args(ControllerFact)) | set(get_args(KubeFact))


def test_nothing_is_made_of_what_nobody_hears() -> None:
    log = Lines()
    log.lowest = logging.INFO
    for fact, level, _ in CASES:
        FactLog(log).observe(fact)
        assert bool(log.lines) == (level != "debug"), fact
        log.lines.clear()


def test_a_change_of_leader_says_from_to_why_and_how_fast() -> None:
    log = Lines()
    FactLog(log).observe(CASES[0][0])
    assert log.lines[0][2] == {
        "namespace": "t1",
        "service": "web",
        "from": "web-0",
        "to": "web-1",
        "reason": "notReady",
        "epoch": 7,
        "ms": 12.3,
    }


def test_fields_that_say_nothing_are_left_out() -> None:
    log = Lines()
    FactLog(log).observe(Reconciled("t1", "web", "success", 0.1))
    assert log.lines[0][2] == {
        "namespace": "t1",
        "service": "web",
        "result": "success",
        "seconds": 0.1,
        "writes": 0,
        "waited_s": 0.0,
    }


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    class Broken(Lines):
        def info(self, event: str, **fields: Any) -> None:
            raise BrokenPipeError

    FactLog(Broken()).observe(InformerSynced("pods", 3, 0.1))
