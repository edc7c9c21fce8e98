"""The stopwatch of the demo: one failover at a time, from the fault to the new leader's first answer.

Knows when a failover begins, what belongs to it and when it is over. Refuses to judge it (demo_referee.py
does). Times are loop times in seconds, and arguments. The rule: the clock stands while nobody else is fit.
"""

from __future__ import annotations

import msgspec

# What the client does with a change of the slice takes a moment: requests sent in it went by the old state.
LAG_S = 0.25


class Endpoint(msgspec.Struct, frozen=True):
    """Where the client sends its requests: a pod, at an address and port of the pod network."""

    pod: str
    uid: str
    address: str
    port: int


class Failover(msgspec.Struct):
    """One change of leader. Durations count from the fault; None until it has come to that."""

    number: int
    fault: str  # not ready, deleted, crashed, …
    by_hand: bool  # it was not the demo that did it
    at: float
    previous: str
    previous_uid: str
    leader: str = ""
    seen_s: float | None = None  # the client hears of the new leader
    answered_s: float | None = None  # the new leader answers for the first time
    lost: int = 0  # requests that failed on the way
    hurt: bool = False  # the fault can be seen in the cluster
    late: bool = False  # it has used up its budget


class Stopwatch:
    """``current`` is the failover under way; ``past`` are those that are over."""

    def __init__(self) -> None:
        self.current: Failover | None = None
        self.past: list[Failover] = []  # the summary counts them all; a day of failovers is a few megabytes
        self._over_at = float("-inf")

    def __repr__(self) -> str:
        return f"Stopwatch(current={self.current}, past={len(self.past)})"

    def begin(self, now: float, fault: str, previous: str, uid: str, *, by_hand: bool) -> None:
        """The leader, ``previous``, has just been hurt; a second fault belongs to the same failover."""
        if self.current is None:
            self.current = Failover(len(self.past) + 1, fault, by_hand, now, previous, uid)

    def routed(self, uid: str, *, fit: bool) -> None:
        """Traffic goes to the pod of that UID, which is fit or not. An old leader that is well again is no
        failover at all."""
        if self.current is None:
            return
        self.current.hurt |= not fit
        if fit and self.current.hurt and uid == self.current.previous_uid:
            self.drop()

    def drop(self) -> None:
        """The failover under way is none."""
        self.current = None

    def nobody(self, now: float) -> None:
        """There is no other pod that could lead; time begins anew."""
        if self.current is not None and self.current.seen_s is None:
            self.current.at = now

    def heard(self, now: float, endpoint: Endpoint | None) -> None:
        """The client goes by this endpoint from now on."""
        current = self.current
        if current is None or endpoint is None or endpoint.uid == current.previous_uid:
            return
        current.leader = endpoint.pod
        if current.seen_s is None:
            current.seen_s = now - current.at

    def answered(self, now: float, asked: Endpoint) -> Failover | None:
        """The pod that was asked has answered; the failover that is over with that, if one is."""
        current = self.current
        if current is None or current.seen_s is None or asked.uid == current.previous_uid:
            return None
        current.leader, current.answered_s = asked.pod, now - current.at
        self.current, self._over_at = None, now
        self.past.append(current)
        return current

    def lost(self, sent_at: float) -> bool:
        """A request that was sent then has failed; whether it did so in a failover."""
        if self.current is not None:
            self.current.lost += 1
            return True
        if self.past and sent_at <= self._over_at:
            self.past[-1].lost += 1
            return True
        return False
