"""The names that users and other programs see, and the Policy that a Service's annotations ask for.

Knows the spelling of every annotation, label, event reason and condition, and what their values mean.
Refuses to know pods or what is done with a Policy. Rule: a name of the outside contract is written here once.
"""

from __future__ import annotations

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

# On pods, set by whoever owns the pod template.
CANDIDATE = PREFIX + "candidate"

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
LEADER_READY = PREFIX + "LeaderReady"

LEADER_SUFFIX = "-leader"
MAX_NAME = 63  # DNS-1035 label, the API server's limit for Service names
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

    def __str__(self) -> str:
        return f"annotation {self.annotation}: {self.value!r} is not valid, allowed: {self.allowed}"


class Policy(msgspec.Struct, frozen=True):
    """What the annotations of one source Service ask for, defaults filled in."""

    leader_name: str  # not empty; may still be too long for a Service name, which decide refuses
    sticky: bool = True
    min_ready_s: float = 0.0
    problems: tuple[Problem, ...] = ()


def opted_in(annotations: Mapping[str, str]) -> bool:
    """Whether a Service asks for a leader: exactly ``"true"``, anything else is out."""
    return annotations.get(ENABLED) == "true"


def parse_policy(service: str, annotations: Mapping[str, str]) -> Policy:
    """The Policy of the Service named ``service``; values that do not parse become ``problems``."""
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
        problems=tuple(problems),
    )


def _parse_leader_name(value: str) -> str:
    if len(value) > MAX_NAME or not DNS_1035.fullmatch(value):
        raise ValueError(
            f"a DNS label of at most {MAX_NAME} characters: a-z, 0-9 and -, starting with a letter"
        )
    return value
