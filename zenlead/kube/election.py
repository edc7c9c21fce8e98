"""Who may act: the election on a Lease as a machine that takes time and answers and says what to ask next.

Knows one Lease as it was last seen, and when, on this process' own monotonic clock. Refuses to know the
network, and anybody else's clock: times inside a Lease are written for people and compared for change only.

The rule not to break. A holder acts for ``renew_deadline_s`` after the START of its last renewal that
was answered. Others wait for the duration STORED in the Lease, which is longer, after they saw it change,
which is later; and they take it by a write that fails if it has changed since. So the holder stops first.
Where no such write is possible, because the Lease was deleted, who creates it waits with the Lease in hand
until whoever held it before must have stopped. Only where nothing shows that anybody has ever acted does a
process that has never seen the Lease take a missing one for a first start.
Source: Kubernetes concepts, "Leases"; client-go's leaderelection for the meaning of the fields.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from zenlead.kube.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from zenlead.kube.leaseobject import JITTER_PART, ElectionOptions, Lease, LeaseSpec
from zenlead.kube.microtime import micro_time
from zenlead.kube.resources import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable

# What a holder that leaves writes as duration (as client-go does): nobody needs to wait for it.
RELEASED_DURATION_S = 1
# More renewals than can be under way, late ones included.
STAMPS_KEPT = 16
# A holder whose Lease was deleted writes a new one within so many retry periods; let it.
RESTORE_PERIODS = 2
# How often a candidate looks at the Lease, so that one that is given back does not lie about.
LOOK_PERIOD_S = 0.5
# One request may take this part of the renew deadline, so that one that hangs leaves time for another.
ATTEMPT_PART = 0.5


class State(enum.Enum):
    """Where this replica stands. Time alone ends LEADING: see ``authority``."""

    # Somebody else holds the Lease, nobody does, nobody knows, or we do but somebody else may still act.
    # Leads to LEADING when a write of ours that names us is answered in time; to STOPPED by ``stop``.
    CANDIDATE = "candidate"
    # Our last renewal was answered and is not older than the renew deadline. Leads to CANDIDATE when that
    # time has passed or another holder was seen; to STOPPED by ``stop``.
    LEADING = "leading"
    # We leave and never act again. Leads nowhere.
    STOPPED = "stopped"


class Read(msgspec.Struct, frozen=True):
    """GET the Lease within ``timeout_s``; then ``observe`` or ``fail``."""

    timeout_s: float


class Write(msgspec.Struct, frozen=True):
    """Create the Lease or merge-patch it within ``timeout_s``; then ``accept`` or ``fail``."""

    create: bool
    body: bytes
    timeout_s: float


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do before ``until``."""

    until: float


Action = Read | Write | Wait


class Election:
    """One replica's part in the election. All times are seconds of one monotonic clock, but ``wall`` (Unix).

    The loop around it: ``step`` says what to do; its outcome goes into ``observe``, ``accept`` or ``fail``.
    """

    def __init__(
        self,
        options: ElectionOptions,
        *,
        jitter: Callable[[], float],
        untouched: Callable[[], bool] = lambda: True,
    ) -> None:
        self._options = options
        self._jitter = jitter
        self._untouched = untouched  # whether nothing shows that anybody has acted before
        self.state = State.CANDIDATE
        self.reason = "started"  # why the state or the holder last changed
        self.problem: str | None = None  # why requests fail, in words; None while they succeed
        self.refused = False  # the server said that it will not accept our requests as they are
        self._refused_write = False  # then reads that succeed are no sign that all is well
        self._lease: Lease | None = None  # as last seen; None: there was none
        self._ever_asked = False  # whether a Lease, or its absence, has been seen at all
        self._ever_seen = False  # whether a Lease has been seen
        self._promised_s = 0  # the duration in the last Lease that named somebody else
        self._act_from = float("-inf")  # until then a former holder may act, even if the Lease names us
        self._proven: deque[str] = deque(maxlen=STAMPS_KEPT)  # renewTimes that need no such waiting (again)
        self._current = False  # whether _lease is worth writing on, as far as we know
        self._free_at = 0.0  # from when on somebody who is not the holder may take it
        self._renewed_at = float("-inf")  # start of the last write of ours that was answered
        self._next_at = float("-inf")  # no request before
        self._asked_at = float("-inf")  # when the last request was decided on
        self._hurried = False  # a lost race was followed up at once; the next one waits
        self._stamp_us = 0  # the last renewTime written: ours never repeat, even if the wall clock goes back
        self._acquired = ""  # acquireTime of our leadership
        self._created = ""  # renewTime of the last Lease that we tried to create

    def __repr__(self) -> str:
        words = f"{self._options.identity} {self.state.value} holder={self.holder or 'nobody'}"
        return f"Election({words} problem={self.problem})"

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; empty for nobody."""
        return _holder(self._lease)

    def authority(self, now: float) -> float:
        """For how many seconds this replica may still act: 0 when it does not lead."""
        if self.state is not State.LEADING:
            return 0.0
        return max(0.0, self._renewed_at + self._options.renew_deadline_s - now)

    def step(self, now: float, wall: float) -> Action:
        """What to do next. A leadership whose time is over ends here at the latest."""
        if self.state is State.LEADING and self.authority(now) <= 0:
            self._turn(State.CANDIDATE, "the Lease was not renewed in time")
            self._current = False
        if self.state is State.STOPPED:
            return Wait(float("inf"))
        if now < self._next_at:
            until = self._next_at
            if self.state is State.LEADING:  # be there when it ends
                until = min(until, self._renewed_at + self._options.renew_deadline_s)
            return Wait(until)
        self._asked_at = now
        if not self._current:
            return Read(self._attempt_s(now))
        if self._is_ours() or now >= self._free_at:
            return Write(self._lease is None, self._claim(wall), self._attempt_s(now))
        self._pause(now, min(LOOK_PERIOD_S, self._options.retry_period_s), self._free_at)
        return Wait(self._next_at)

    def observe(self, now: float, lease: Lease | None) -> None:
        """The Lease as the server has it (None: it has none), received at ``now``."""
        before, self._lease = self._lease, lease
        if not self._ever_asked or _sign_of_life(before) != _sign_of_life(lease):
            self._free_at = now + self._waiting_time(lease)
            self._prove(now)
        self._ever_asked = self._current = True
        self._ever_seen = self._ever_seen or lease is not None
        if self.holder != _holder(before):
            self.reason = f"{self.holder} holds the Lease" if self.holder else "nobody holds the Lease"
        held_by_other = self.holder not in {"", self._options.identity}
        if held_by_other:
            self._promised_s = _spec(lease).lease_duration_seconds or 0
        if self.state is State.LEADING and held_by_other:
            self._turn(State.CANDIDATE, f"{self.holder} took the Lease")
        if held_by_other or not self._refused_write:
            self._recover()

    def accept(self, started: float, now: float, lease: Lease) -> None:
        """The write that was begun at ``started`` was answered with ``lease`` at ``now``."""
        self.observe(now, lease)
        self._recover()
        if self.holder != self._options.identity:  # the server made something else of what we wrote
            self._pause(now, self._options.retry_period_s)
            return
        if self.state is State.STOPPED:
            return
        self._hurried = False
        self._renewed_at = started
        self._next_at = started + self._options.retry_period_s
        if now < self._act_from:
            self._next_at = min(self._next_at, self._act_from)
            self.reason = "holds the Lease, but a former holder may still act"
        elif self.state is State.CANDIDATE and now < started + self._options.renew_deadline_s:
            self._turn(State.LEADING, "took the Lease")

    def fail(self, now: float, action: Read | Write, error: ApiError) -> bool:
        """The request ended with ``error``. A write may have been applied all the same, so read next.

        True if that is a problem; False if the Lease only is not (or no longer) what we thought.
        """
        missing = isinstance(error, NotFound)
        if missing and isinstance(action, Read):
            self.observe(now, None)
            return False
        creating = isinstance(action, Write) and action.create
        if isinstance(error, Conflict) or (missing and not creating):
            hurry = not self._hurried
            self._pause(now, self._options.retry_period_s)
            if hurry:  # somebody was faster: look at once, but only once in a row
                self._hurried, self._next_at = True, now
            return False
        self.problem = f"Lease {self._options.namespace}/{self._options.name}: {error.message}"
        self.refused = missing or isinstance(error, Invalid | Forbidden)
        self._refused_write = self.refused and isinstance(action, Write)
        self._pause(now, self._options.retry_period_s)
        patience_s = min(error.retry_after_s or 0.0, self._options.lease_duration_s)
        self._next_at = max(self._next_at, now + patience_s)
        return True

    def stop(self) -> None:
        """Never act again, from now on."""
        self._turn(State.STOPPED, "this replica is stopping")

    def release(self, wall: float) -> bytes | None:
        """The patch that gives the Lease back, if we still hold it as far as we know. After ``stop``."""
        if self._lease is None or self.holder != self._options.identity:
            return None
        stamp = self._stamp(wall)
        spec = LeaseSpec("", RELEASED_DURATION_S, stamp, stamp, self._transitions())
        return self._encode(spec)

    def _waiting_time(self, lease: Lease | None) -> float:
        """How long after this change of the Lease one who is not its holder must let it be, in seconds."""
        spec = _spec(lease)
        duration_s = max(0, spec.lease_duration_seconds or 0)
        if lease is None:
            return 0.0 if self._is_first() else RESTORE_PERIODS * self._options.retry_period_s
        if spec.holder_identity and duration_s:
            # Who held it before may act on the longer promise that it made then: a hand may have written
            # the shorter one, or another name.
            return max(duration_s, self._promised_s)
        if not spec.holder_identity and duration_s == RELEASED_DURATION_S:
            return 0.0  # given back by its holder
        # Emptied by hand: who held it may not have noticed, and acts until its own deadline.
        return max(duration_s, self._promised_s, self._options.lease_duration_s)

    def _prove(self, now: float) -> None:
        """If the Lease came to name us by no patch of ours on a Lease we knew, wait for who was not seen."""
        stamp = _spec(self._lease).renew_time or ""
        if self.holder != self._options.identity or stamp in self._proven:
            return
        self._proven.append(stamp)
        created = stamp == self._created and not self._is_first()
        if self.state is not State.LEADING and (self._ever_seen or created):
            self._act_from = now + max(self._promised_s, self._options.lease_duration_s)

    def _claim(self, wall: float) -> bytes:
        stamp = self._stamp(wall)
        if self._lease is None:
            self._created = stamp
        else:
            self._proven.append(stamp)
        if self.state is not State.LEADING:
            self._acquired = stamp
        transitions = self._transitions() + (0 if self._is_ours() or self._lease is None else 1)
        duration_s = int(self._options.lease_duration_s)
        return self._encode(LeaseSpec(self._options.identity, duration_s, self._acquired, stamp, transitions))

    def _encode(self, spec: LeaseSpec) -> bytes:
        metadata = {"name": self._options.name, "namespace": self._options.namespace}
        if self._lease is not None:
            metadata["resourceVersion"] = self._lease.metadata.resource_version
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        return msgspec.json.encode(body)

    def _stamp(self, wall: float) -> str:
        self._stamp_us = max(self._stamp_us + 1, round(wall * 1_000_000))
        return micro_time(self._stamp_us / 1_000_000)

    def _is_ours(self) -> bool:
        """Whether nobody else can be acting: we still lead, or the Lease as last seen names us."""
        return self.state is State.LEADING or self.holder == self._options.identity

    def _is_first(self) -> bool:
        """Whether a Lease that is missing was never there, as far as anybody can see."""
        return not self._ever_seen and self._untouched()

    def _transitions(self) -> int:
        return max(0, _spec(self._lease).lease_transitions or 0)

    def _attempt_s(self, now: float) -> float:
        """A request may not outlive the leadership it is made under."""
        limit_s = self._options.renew_deadline_s * ATTEMPT_PART
        return min(limit_s, self.authority(now)) if self.state is State.LEADING else limit_s

    def _pause(self, now: float, period_s: float, until: float = float("inf")) -> None:
        """Look again ``period_s`` and some more after the last request began, or at ``until``."""
        self._current = self._hurried = False
        jittered_s = period_s * (1 + JITTER_PART * self._jitter())
        self._next_at = max(now, min(self._asked_at + jittered_s, until))

    def _recover(self) -> None:
        self.problem, self.refused, self._refused_write = None, False, False

    def _turn(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason


def _spec(lease: Lease | None) -> LeaseSpec:
    return (lease.spec if lease else None) or LeaseSpec()


def _sign_of_life(lease: Lease | None) -> tuple[LeaseSpec, str] | None:
    """What changes when the holder renews. Without a holder a new version counts: somebody came and went."""
    if lease is None:
        return None
    return _spec(lease), "" if _holder(lease) else lease.metadata.resource_version


def _holder(lease: Lease | None) -> str:
    return _spec(lease).holder_identity or ""
