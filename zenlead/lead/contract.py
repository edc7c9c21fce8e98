"""The names that users and other programs see, and the Policy that a Service's annotations ask for.

Knows the spelling of every annotation, label, event reason and condition, and what their values mean.
Refuses to know pods or what is done with a Policy. Rule: a name of the outside contract is written here once.
"""

from __future__ import annotations

import functools
import re
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from zenlead.lead.golang import parse_bool, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

PREFIX = "zen-lead.io/"
LEADER_PREFIX = "leader.zen-lead.io/"

# On the source Service.
ENABLED = PREFIX + "enabled"
LEADER_SERVICE_NAME = PREFIX + "leader-service-name"
STICKY = PREFIX + "sticky"
MIN_READY_DURATION = PREFIX + "min-ready-duration"
STRATEGY = PREFIX + "strategy"
FAILOVER_MIN_DELAY = PREFIX + "failover-min-delay"
ON_NO_READY = PREFIX + "on-no-ready"
FAILBACK = PREFIX + "failback"
PORTS_MODE = PREFIX + "ports-mode"
LEADER_SERVICE_TYPE = PREFIX + "leader-service-type"
PAUSED = PREFIX + "paused"

# On pods, set by whoever owns the pod template.
CANDIDATE = PREFIX + "candidate"
PRIORITY = PREFIX + "priority"

# On the objects that zenlead writes.
MANAGED_BY = "app.kubernetes.io/managed-by"
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
SOURCE_SERVICE = PREFIX + "source-service"
MANAGER = "zen-lead"
CURRENT_LEADER = PREFIX + "current-leader"
LEADER_POD_NAME = PREFIX + "leader-pod-name"
LEADER_POD_UID = PREFIX + "leader-pod-uid"
LAST_SWITCH_TIME = PREFIX + "leader-last-switch-time"
EPOCH = PREFIX + "leader-epoch"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
EXTRA_ANNOTATIONS = PREFIX + "leader-annotations"  # keys that came from the source, so that they can go again
FENCED = PREFIX + "fenced"  # the version for which writes that are still on their way come too late
NOBODY_UNTIL = PREFIX + "nobody-until"  # in a leader Service's selector: no pod has it; Unix seconds
LEADER_ANNOTATIONS = frozenset(
    (CURRENT_LEADER, LEADER_POD_NAME, LEADER_POD_UID, LAST_SWITCH_TIME, EPOCH, EXTRA_ANNOTATIONS)
)
LEADER_READY = PREFIX + "LeaderReady"

LEADER_SUFFIX = "-leader"
MAX_NAME = 63  # DNS-1035 label, the API server's limit for Service names
STRATEGY_NAMES = ("oldest", "newest", "ordinal", "least-restarts", "random")
SERVICE_TYPES = ("ClusterIP", "Headless", "NodePort", "LoadBalancer")
# The API server allows 256 KiB of annotations for each object; the rest is for zenlead's own and others'.
MAX_EXTRA_BYTES = 240 * 1024
PLAIN_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
MAX_SHOWN = 100  # characters of a value in a message; an Event has room for 1024 bytes in all
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class Reason(StrEnum):
    """Why a pod is not fit to lead, and so why a leader had to go (values are metric labels)."""

    DELETED = "deleted"
    FINISHED = "finished"
    TERMINATING = "terminating"
    DESELECTED = "deselected"
    NO_IP = "noIP"
    NOT_READY = "notReady"
    PORT_UNRESOLVED = "portUnresolved"
    PREEMPTED = "preempted"
    ELECTED = "elected"  # a leader after none: no failover


class Routing(StrEnum):
    """Reason of the LeaderReady condition: how the leader Service routes."""

    LEADER_ELECTED = "LeaderElected"
    NO_READY_PODS = "NoReadyPods"
    NO_PODS_FOUND = "NoPodsFound"
    PORT_UNRESOLVED = "PortUnresolved"
    PAUSED = "Paused"


class Problem(msgspec.Struct, frozen=True):
    """An annotation whose value does not parse; the default is used instead."""

    annotation: str
    value: str
    allowed: str
    pod: str = ""  # whose label or annotation it is; empty: the source Service's

    def __str__(self) -> str:
        whose = f" of pod {self.pod}" if self.pod else ""
        shown = self.value if len(self.value) <= MAX_SHOWN else self.value[:MAX_SHOWN] + "…"
        return f"annotation {self.annotation}{whose}: {shown!r} is not valid, allowed: {self.allowed}"


class Policy(msgspec.Struct, frozen=True):
    """What the annotations of one source Service ask for, defaults filled in."""

    leader_name: str  # not empty; may still be too long for a Service name, which decide refuses
    sticky: bool = True
    min_ready_s: float = 0.0
    strategy: str = "oldest"  # one of STRATEGY_NAMES
    failover_min_delay_s: float = 0.0
    keep_last: bool = False
    failback_s: float | None = None  # None: never; else how long a pod of higher priority must be ready
    ports: tuple[str, ...] | None = None  # names of the ports to have; None: all of the source's
    service_type: str = "ClusterIP"  # one of SERVICE_TYPES
    paused: bool = False
    extra: tuple[tuple[str, str], ...] = ()  # annotations for the leader Service, by key
    problems: tuple[Problem, ...] = ()


def opted_in(annotations: Mapping[str, str]) -> bool:
    """Whether a Service asks for a leader: exactly ``"true"``, anything else is out."""
    return annotations.get(ENABLED) == "true"


def parse_policy(service: str, annotations: Mapping[str, str]) -> Policy:
    """The Policy of the Service named ``service``; values that do not parse become ``problems``."""
    return _parse(service, tuple(annotations.items()))


# A failover looks at the same Service half a dozen times within milliseconds.
@functools.lru_cache(maxsize=256)
def _parse(service: str, items: tuple[tuple[str, str], ...]) -> Policy:
    annotations = dict(items)
    problems: list[Problem] = []

    def read(name: str, default: T, parse: Callable[[str], T]) -> T:
        value = annotations.get(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            problems.append(Problem(name, value, str(error)))
            return default

    return Policy(
        leader_name=read(LEADER_SERVICE_NAME, service + LEADER_SUFFIX, _parse_leader_name),
        sticky=read(STICKY, True, parse_bool),
        min_ready_s=read(MIN_READY_DURATION, 0.0, parse_duration),
        strategy=read(STRATEGY, "oldest", _one_of(STRATEGY_NAMES)),
        failover_min_delay_s=read(FAILOVER_MIN_DELAY, 0.0, parse_duration),
        keep_last=read(ON_NO_READY, "empty", _one_of(("empty", "keep-last"))) == "keep-last",
        failback_s=read(FAILBACK, None, _parse_failback),
        ports=read(PORTS_MODE, None, _parse_ports_mode),
        service_type=read(LEADER_SERVICE_TYPE, "ClusterIP", _one_of(SERVICE_TYPES)),
        paused=read(PAUSED, False, parse_bool),
        extra=_extra(annotations, problems),
        problems=tuple(problems),
    )


def _parse_leader_name(value: str) -> str:
    if len(value) > MAX_NAME or not DNS_1035.fullmatch(value):
        raise ValueError(
            f"a DNS label of at most {MAX_NAME} characters: a-z, 0-9 and -, starting with a letter"
        )
    return value


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(", ".join(allowed))
        return value

    return parse


def _parse_failback(value: str) -> float | None:
    if value == "never":
        return None
    if value == "immediate":
        return 0.0
    try:
        return parse_duration(value.removeprefix("after:") if value.startswith("after:") else "")
    except ValueError:
        raise ValueError("never, immediate, or after: and a duration such as after:5m") from None


def _parse_ports_mode(value: str) -> tuple[str, ...] | None:
    if value == "mirror":
        return None
    names = tuple(value.removeprefix("subset:").split(","))
    if not value.startswith("subset:") or not all(names):
        raise ValueError("mirror, or subset: and names of ports with commas between")
    return names


def _extra(annotations: Mapping[str, str], problems: list[Problem]) -> tuple[tuple[str, str], ...]:
    """Annotations for the leader Service. Their keys are plain, so that none can be taken for one of ours or
    of another program. Where they are too large, none is taken: nobody could tell which are missing."""
    extra: list[tuple[str, str]] = []
    for name in sorted(annotations):
        if not name.startswith(LEADER_PREFIX):
            continue
        key = name.removeprefix(LEADER_PREFIX)
        if PLAIN_KEY.fullmatch(key):
            extra.append((key, annotations[name]))
        else:
            problems.append(Problem(name, annotations[name], "a key of letters, digits, - _ and . alone"))
    # A key counts twice: it stands in the list of keys, too.
    size = sum(2 * len(key) + 1 + len(value.encode()) for key, value in extra)
    if size > MAX_EXTRA_BYTES:
        problems.append(Problem(LEADER_PREFIX, f"{size} bytes", f"{MAX_EXTRA_BYTES} bytes together"))
        return ()
    return tuple(extra)
