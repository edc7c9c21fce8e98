"""Facts that the kube rooms report through ``notify: Callable[[Fact], None]``. observe/ matches on them.

A fact is a value about something that has happened; reporting one never fails and never waits.
"""

from __future__ import annotations

import msgspec


class RequestDone(msgspec.Struct, frozen=True):
    """One attempt of one request. ``result``: ``success`` or the error class in snake case (``conflict``)."""

    verb: str  # get list watch create patch delete
    resource: str  # plural, e.g. endpointslices
    result: str
    seconds: float
    lane: str = ""  # urgent, routine, lease, event; empty for reads
    namespace: str = ""


class RetryScheduled(msgspec.Struct, frozen=True):
    """Attempt number ``attempt`` (1 is the first) of an operation failed and will be tried again."""

    operation: str  # e.g. patch_endpointslices
    attempt: int
    delay_s: float
    error: str
    namespace: str = ""
    service: str = ""


class RetrySucceeded(msgspec.Struct, frozen=True):
    """An operation succeeded after at least one retry."""

    operation: str
    namespace: str = ""
    service: str = ""


class WatchRestarted(msgspec.Struct, frozen=True):
    """An informer had to connect again. ``reason``: ended, idle, gone, throttled, unreachable, forbidden …"""

    resource: str
    reason: str
    delay_s: float
    message: str = ""


class InformerSynced(msgspec.Struct, frozen=True):
    """An informer swapped in a full list (first sync or relist)."""

    resource: str
    objects: int
    seconds: float


class ObjectRejected(msgspec.Struct, frozen=True):
    """An object could not be decoded; the last good view of it stays."""

    resource: str
    namespace: str
    name: str
    error: str


class ElectionChanged(msgspec.Struct, frozen=True):
    """This replica started or stopped leading, or saw another holder."""

    is_leader: bool
    holder: str
    reason: str


class LeaseFailed(msgspec.Struct, frozen=True):
    """A Lease request failed; ``refused`` when the server said it never will accept it (400, 422, 403)."""

    error: str
    refused: bool


class TaskRestarted(msgspec.Struct, frozen=True):
    """A core task died of an unexpected error and was started again after ``delay_s``."""

    task: str
    error: str
    delay_s: float


class CacheLoaded(msgspec.Struct, frozen=True):
    """A cache entry was loaded (``result``: success, timeout, error)."""

    cache: str
    key: str
    result: str
    seconds: float


class EventDropped(msgspec.Struct, frozen=True):
    """A Kubernetes Event was not written (queue full, rate limit, refused); ``why`` says which."""

    reason: str
    why: str


KubeFact = (
    RequestDone
    | RetryScheduled
    | RetrySucceeded
    | WatchRestarted
    | InformerSynced
    | ObjectRejected
    | ElectionChanged
    | LeaseFailed
    | TaskRestarted
    | CacheLoaded
    | EventDropped
)
