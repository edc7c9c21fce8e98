"""What is worth a line in the log: facts come in, events with dotted constant names go out.

Knows the names and levels of events. Refuses to know how a line looks (logs.py does). The rule not to break:
a line at info or above is about a change or a fault, never about a pass that found nothing to do.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from zenlead.controller import facts as service
from zenlead.kube import facts as kube
from zenlead.observe.metrics import SUCCESS

if TYPE_CHECKING:
    from zenlead.observe.metrics import Fact

_EXPECTED_RESTARTS = frozenset({"ended", "idle"})  # how watches end in good health, every few minutes
# A conflict is read again and tried again at once; what is cancelled gives way to something urgent.
_EXPECTED_RESULTS = frozenset({SUCCESS, "conflict", "cancelled"})


class Log(Protocol):
    """The part of a structlog logger that is used here."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class FactLog:
    """Writes facts to ``log``: changes of leader at info, faults at warning or error, routine at debug."""

    def __init__(self, log: Log) -> None:
        self.log = log  # may be replaced at any time

    def __repr__(self) -> str:
        return f"<FactLog to {self.log!r}>"

    def observe(self, fact: Fact) -> None:
        """Write one line. A log that cannot be written does not stop the controller."""
        with contextlib.suppress(OSError):
            if isinstance(fact, service.LeaderMoved):
                self._moved(fact)
            else:
                level, event = _of_controller(fact) or _of_kube(fact) or _PLAIN[type(fact)]
                getattr(self.log, level)(event, **_fields(fact))

    def _moved(self, fact: service.LeaderMoved) -> None:
        told = {"from": fact.previous, "to": fact.leader, "reason": fact.reason, "epoch": fact.epoch}
        place = {"namespace": fact.namespace, "service": fact.service}
        self.log.info("leader.changed", **place, **told, ms=round(fact.latency_s * 1000, 1))


def _of_controller(fact: Fact) -> tuple[str, str] | None:
    """Level and name of a line about a Service, unless it is routine."""
    match fact:
        case service.Reconciled() if fact.result == "error":
            return "warning", "reconcile.failed"
        case service.WritePlanned():
            return "info", "write.planned"
        case service.WriteDone() if fact.result not in _EXPECTED_RESULTS:
            return "warning", "write.failed"
        case service.InvariantBroken():
            return "error", "invariant.broken"
        case service.TimedOut():
            return "warning", "operation.timed_out"
        case service.ServiceForgotten():
            return "info", "service.forgotten"
    return None


def _of_kube(fact: Fact) -> tuple[str, str] | None:
    """Level and name of a line about a room, unless it is routine."""
    match fact:
        case kube.WatchRestarted() if fact.reason not in _EXPECTED_RESTARTS:
            return "warning", "watch.restarted"
        case kube.CacheLoaded() if fact.result != SUCCESS:
            return "warning", "cache.load_failed"
        case kube.ObjectRejected():
            return "warning", "object.rejected"
        case kube.TaskRestarted():
            return "error", "task.restarted"
        case kube.LeaseFailed():
            return "error" if fact.refused else "warning", "lease.failed"
        case kube.ElectionChanged():
            return "info", "election.changed"
        case kube.InformerSynced():
            return "info", "informer.synced"
    return None


_PLAIN: dict[type[Fact], tuple[str, str]] = {
    service.Reconciled: ("debug", "reconcile.done"),
    service.ServiceState: ("debug", "service.state"),
    service.RoutingSeen: ("debug", "routing.seen"),
    service.PortUnresolved: ("debug", "port.unresolved"),
    service.WriteDone: ("debug", "write.done"),
    kube.RequestDone: ("debug", "request.done"),
    kube.RetryScheduled: ("debug", "retry.scheduled"),
    kube.RetrySucceeded: ("debug", "retry.succeeded"),
    kube.WatchRestarted: ("debug", "watch.restarted"),
    kube.CacheLoaded: ("debug", "cache.loaded"),
    kube.EventDropped: ("debug", "event.dropped"),
    service.ConfigReloaded: ("info", "config.reloaded"),
    service.ConfigWaiting: ("warning", "config.needs_restart"),
    service.ConfigRefused: ("error", "config.refused"),
}


def _fields(fact: Fact) -> dict[str, Any]:
    """The fact's own fields; those that say nothing are left out."""
    return {name: value for name, value in msgspec.structs.asdict(fact).items() if value not in {"", None}}
