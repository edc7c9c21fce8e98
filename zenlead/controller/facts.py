"""Facts that the controller tells of Services and itself. observe/ turns them into metrics, logs and spans.

``service`` is always the source Service's name. Durations are seconds, points in time Unix seconds.
"""

from __future__ import annotations

import msgspec


class Reconciled(msgspec.Struct, frozen=True):
    """One pass over one Service ended. ``result``: success, error, requeue, fenced, preempted, dropped,
    waiting, cancelled."""

    namespace: str
    service: str
    result: str
    seconds: float
    writes: int = 0
    error_type: str = ""
    error: str = ""  # what went wrong, in words
    lane: str = ""  # urgent, routine
    waited_s: float = 0.0  # in the queue, from being due to being taken


class LeaderMoved(msgspec.Struct, frozen=True):
    """The slice now routes to another pod (or to none).

    ``reason`` is a failover reason of the contract, or ``elected`` for a leader after none (no failover).
    ``latency_s``: from the change being seen in this process to the write being accepted.
    """

    namespace: str
    service: str
    previous: str  # pod name, empty for none
    leader: str  # pod name, empty for none
    reason: str
    epoch: int
    latency_s: float


class ServiceState(msgspec.Struct, frozen=True):
    """What is true of an opted-in Service after a pass; replaces what was said before."""

    namespace: str
    service: str
    pods_available: int  # fit pods
    leader: str  # pod name, empty for none
    leader_since: float | None  # start of this leadership
    leader_pod_created: float | None
    stable: bool  # the routed pod is fit and nothing is left to write
    endpoint_slices: int
    sticky: str = ""  # hit (kept), miss (had to choose), empty (not asked)
    paused: bool = False
    leader_services: int = 1  # that exist for it; two for a moment when it is renamed
    why: str = ""  # nobody leads: a reason of the LeaderReady condition, of a refusal, or NotWritten


class RoutingSeen(msgspec.Struct, frozen=True):
    """The slices of an opted-in Service changed: so many endpoints of its leader Service are ready now."""

    namespace: str
    service: str
    ready: int


class InvariantBroken(msgspec.Struct, frozen=True):
    """A leader Service began to have several ready endpoints of a family (IPv4, IPv6), whoever did it."""

    namespace: str
    service: str
    leader_service: str
    family: str
    pods: tuple[str, ...]  # names, or addresses where a slice names no pod


class PortUnresolved(msgspec.Struct, frozen=True):
    """A target port resolves on no pod, or not on one that would be fit; told in every pass that finds so."""

    namespace: str
    service: str
    port_name: str


class WriteDone(msgspec.Struct, frozen=True):
    """One write of the controller, after its retries. ``result`` as in RequestDone."""

    namespace: str
    service: str
    resource: str
    verb: str
    lane: str
    result: str
    seconds: float


class WritePlanned(msgspec.Struct, frozen=True):
    """A write that a dry run did not make. ``body`` is the JSON that would have been sent."""

    namespace: str
    service: str
    resource: str
    verb: str
    name: str
    body: str


class ServiceForgotten(msgspec.Struct, frozen=True):
    """The Service opted out or is gone; every series of it must go."""

    namespace: str
    service: str


class TimedOut(msgspec.Struct, frozen=True):
    """An operation of the controller hit its own time limit."""

    namespace: str
    operation: str


class ConfigReloaded(msgspec.Struct, frozen=True):
    """The config file changed and was taken over. ``applied``: the flags whose value is another one now."""

    applied: tuple[str, ...]
    at: float


class ConfigWaiting(msgspec.Struct, frozen=True):
    """The config file has other values for these flags, too, which only the next start will take."""

    settings: tuple[str, ...]


class ConfigRefused(msgspec.Struct, frozen=True):
    """The config file changed and cannot be used; a line for each problem. What counted before still does."""

    problems: tuple[str, ...]


ConfigFact = ConfigReloaded | ConfigWaiting | ConfigRefused
ControllerFact = (
    Reconciled
    | LeaderMoved
    | ServiceState
    | RoutingSeen
    | InvariantBroken
    | PortUnresolved
    | WriteDone
    | WritePlanned
    | ServiceForgotten
    | TimedOut
    | ConfigFact
)
