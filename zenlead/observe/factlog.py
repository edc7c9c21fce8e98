"""What is worth a line in the log: facts come in, events with dotted constant names go out.

Knows the names and levels of events. Refuses to know how a line looks (logs.py does). The rule not to break:
a line at info or above is about a change or a fault, never about a pass that found nothing to do.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable  # noqa: TC003 - a field of a NamedTuple
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

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
    def is_enabled_for(self, level: int) -> bool: ...


class FactLog:
    """Writes facts to ``log``: changes of leader at info, faults at warning or error, routine at debug."""

    def __init__(self, log: Log) -> None:
        self.log = log  # may be replaced at any time

    def __repr__(self) -> str:
        return f"<FactLog to {self.log!r}>"

    def observe(self, fact: Fact) -> None:
        """Write one line. A log that cannot be written does not stop the controller."""
        if isinstance(fact, service.LeaderMoved):
            fields = _moved(fact)
            level, event = "info", "leader.changed"
        else:
            kind = type(fact)
            unusual = _UNUSUAL.get(kind)
            level, event = unusual.line if unusual is not None and unusual.is_so(fact) else _USUAL[kind]
            # Most facts are routine and of no interest to most: those must cost next to nothing.
            if level == "debug" and not self.log.is_enabled_for(logging.DEBUG):
                return
            fields = _fields(fact)
        with contextlib.suppress(OSError):
            getattr(self.log, level)(event, **fields)


class _Unusual(NamedTuple):
    """When a fact of some kind is more than routine, and the level and the name of its line then."""

    is_so: Callable[[Any], bool]
    line: tuple[str, str]


_UNUSUAL: dict[type[Fact], _Unusual] = {
    service.Reconciled: _Unusual(lambda fact: fact.result == "error", ("warning", "reconcile.failed")),
    service.WriteDone: _Unusual(
        lambda fact: fact.result not in _EXPECTED_RESULTS, ("warning", "write.failed")
    ),
    kube.WatchRestarted: _Unusual(
        lambda fact: fact.reason not in _EXPECTED_RESTARTS, ("warning", "watch.restarted")
    ),
    kube.CacheLoaded: _Unusual(lambda fact: fact.result != SUCCESS, ("warning", "cache.load_failed")),
    kube.LeaseFailed: _Unusual(lambda fact: fact.refused, ("error", "lease.failed")),
}

_USUAL: dict[type[Fact], tuple[str, str]] = {
    service.Reconciled: ("debug", "reconcile.done"),
    service.ServiceState: ("debug", "service.state"),
    service.RoutingSeen: ("debug", "routing.seen"),
    service.PortUnresolved: ("debug", "port.unresolved"),
    service.WriteDone: ("debug", "write.done"),
    service.WritePlanned: ("info", "write.planned"),
    service.ServiceForgotten: ("info", "service.forgotten"),
    service.TimedOut: ("warning", "operation.timed_out"),
    service.InvariantBroken: ("error", "invariant.broken"),
    service.ConfigReloaded: ("info", "config.reloaded"),
    service.ConfigWaiting: ("warning", "config.needs_restart"),
    service.ConfigRefused: ("error", "config.refused"),
    kube.RequestDone: ("debug", "request.done"),
    kube.RetryScheduled: ("debug", "retry.scheduled"),
    kube.RetrySucceeded: ("debug", "retry.succeeded"),
    kube.WatchRestarted: ("debug", "watch.restarted"),
    kube.InformerSynced: ("info", "informer.synced"),
    kube.ObjectRejected: ("warning", "object.rejected"),
    kube.CacheLoaded: ("debug", "cache.loaded"),
    kube.EventDropped: ("debug", "event.dropped"),
    kube.ElectionChanged: ("info", "election.changed"),
    kube.LeaseFailed: ("warning", "lease.failed"),
    kube.TaskRestarted: ("error", "task.restarted"),
}


def _moved(fact: service.LeaderMoved) -> dict[str, Any]:
    told = {"from": fact.previous, "to": fact.leader, "reason": fact.reason, "epoch": fact.epoch}
    place = {"namespace": fact.namespace, "service": fact.service}
    return place | told | {"ms": round(fact.latency_s * 1000, 1)}


def _fields(fact: Fact) -> dict[str, Any]:
    """The fact's own fields; those that say nothing are left out."""
    return {name: value for name, value in msgspec.structs.asdict(fact).items() if value not in {"", None}}
