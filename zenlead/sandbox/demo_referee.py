"""The judge of the demo: says which promise was broken, if any was.

Knows the promises and what the client and the cluster went through. Refuses to know how pods are hurt and how
requests travel: it is told, with the loop time of each thing. The rule: what a visitor did on purpose (an
opt-out, an edit of the Service or the slice) is never held against the controller.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from zenlead.lead import contract
from zenlead.sandbox.demo_failovers import LAG_S, Endpoint, Failover, Stopwatch
from zenlead.sandbox.demo_timeline import Timeline
from zenlead.sandbox.demo_world import World, state

if TYPE_CHECKING:
    from collections.abc import Callable

# A failover takes some ten milliseconds; a machine that is busy with other things may need more.
FAILOVER_BUDGET_S = 1.0  # from the fault to the first answer of the new leader
ASTRAY_BOUND_S = 0.5  # for traffic to a pod that is not fit, and for no traffic while a pod is fit
BROKEN_KEPT = 20  # breaches in words; they are counted on and on
ROUTES_KEPT = 16  # the last changes of leader; a request lives much shorter than that


class Promise(Enum):
    """What the demo checks all the time."""

    ONE = "never two ready endpoints in the slice"
    FIT = f"never routed to an unfit pod for longer than {ASTRAY_BOUND_S * 1000:.0f} ms"
    FILLED = f"never emptied, nor {ASTRAY_BOUND_S * 1000:.0f} ms empty, while a pod is fit"
    EPOCH = "each leader has a higher epoch than the last"
    BUDGET = f"each failover is over within {FAILOVER_BUDGET_S * 1000:.0f} ms"
    ANSWERS = "all requests answered by the leader, failovers apart"


class Breach(msgspec.Struct, frozen=True):
    """A promise that did not hold, at a loop time in seconds."""

    promise: Promise
    at: float
    text: str


class Lasting(msgspec.Struct):
    """Something that must not last. ``passed`` says once that it has lasted longer than ``bound_s``."""

    bound_s: float
    since: float | None = None
    told: bool = False

    def passed(self, now: float, *, holds: bool) -> bool:
        if not holds:
            self.since, self.told = None, False
            return False
        self.since = now if self.since is None else self.since
        over = now - self.since > self.bound_s and not self.told
        self.told |= over
        return over


class Referee:
    """``on_failover`` gets each failover that is over, ``on_breach`` each promise that was broken."""

    def __init__(self, on_failover: Callable[[Failover], None], on_breach: Callable[[Breach], None]) -> None:
        self.timeline = Timeline()
        self.stopwatch = Stopwatch()
        self.breaches: Counter[Promise] = Counter()
        self.broken: deque[Breach] = deque(maxlen=BROKEN_KEPT)
        self.states = 0  # of the cluster that were looked at
        self.lost_outside = 0  # requests that failed although no failover was under way
        self.had_leader = False  # since the Service is as deployed
        self._on_failover = on_failover
        self._on_breach = on_breach
        self._world = World()
        self._started = False  # there was a leader once: the controller works
        self._highest_epoch = 0
        self._last: tuple[str, str] = ("", "")  # name and UID of the last leader
        self._astray = Lasting(ASTRAY_BOUND_S)
        self._empty = Lasting(ASTRAY_BOUND_S)
        # Since when traffic goes to which UID.
        self._routes: deque[tuple[float, str]] = deque(maxlen=ROUTES_KEPT)

    def __repr__(self) -> str:
        return f"Referee({self.stopwatch!r}, breaches={self.breaches.total()}, {self.timeline!r})"

    def injected(self, now: float, fault: str) -> None:
        """The demo is about to hurt the leader."""
        self.stopwatch.begin(now, fault, *self._last, by_hand=False)

    def see(self, now: float, world: World) -> None:
        """The cluster is like this from now on."""
        before, self._world = self._world, world
        self.states += 1
        was, uid = _routed_uid(before), _routed_uid(world)
        if uid != was:
            self._routes.append((now, uid))
        if not world.is_as_deployed:
            self._forgive()
            return
        edited = uid != was and _edited(before, world)
        if world.ready_endpoints > 1 and not _edited(before, world):
            self._break(Promise.ONE, now, f"{world.ready_endpoints} ready endpoints at a time")
        if not uid and was and world.slices and any(world.fit()) and not edited:
            names = ", ".join(pod.name for pod in world.fit())
            self._break(Promise.FILLED, now, f"the slice was emptied while {names} was fit")
        if not world.slices:
            self._highest_epoch = 0  # whoever deletes the objects deletes the count
        if uid and uid != self._last[1]:
            self._succeed(now, world, uid, edited=edited)
        if self.had_leader and not world.leads_fit():
            self.stopwatch.begin(now, _fault(world, self._last), *self._last, by_hand=True)
        self.stopwatch.routed(uid, fit=world.leads_fit())
        self.tick(now)

    def heard(self, now: float, endpoint: Endpoint | None) -> None:
        """The client goes by this endpoint from now on."""
        self.stopwatch.heard(now, endpoint)

    def answered(self, sent_at: float, now: float, asked: Endpoint, pod: str) -> None:
        """``pod`` has answered what was sent to ``asked``."""
        self.timeline.answered(sent_at, now, pod)
        if pod != asked.pod:
            self._break(Promise.ANSWERS, now, f"{pod} answered at the address of {asked.pod}")
        elif not self._has_led(sent_at, asked.uid) and not self._has_just_changed(sent_at):
            self._break(Promise.ANSWERS, now, f"{pod} answered and was not the leader")
        failover = self.stopwatch.answered(now, asked)
        if failover is None:
            return
        self._watch_budget(now, failover)
        self._on_failover(failover)

    def failed(self, sent_at: float, now: float, why: str) -> None:
        """A request came to nothing."""
        self.timeline.failed(now)
        if self.stopwatch.lost(sent_at) or self._has_just_changed(sent_at) or not self.had_leader:
            return
        self.lost_outside += 1
        self._break(Promise.ANSWERS, now, f"a request failed outside of any failover: {why}")

    def unrouted(self) -> None:
        """The client has nobody to ask. That is a gap only while somebody is fit to answer."""
        if not self._world.is_as_deployed or not any(self._world.fit()):
            self.timeline.rest()

    def tick(self, now: float) -> None:
        """Look at what lasts: a bound may pass without anything happening."""
        world, current = self._world, self.stopwatch.current
        watched, leader = world.is_as_deployed and self._started, world.leader
        astray = watched and bool(leader) and not world.leads_fit()
        if self._astray.passed(now, holds=astray):
            self._break(Promise.FIT, now, f"{leader} is routed to and is {state(world.pods.get(leader))}")
        if self._empty.passed(now, holds=watched and not leader and any(world.fit())):
            self._break(
                Promise.FILLED, now, f"no leader for {ASTRAY_BOUND_S * 1000:.0f} ms while a pod was fit"
            )
        if current is not None and all(pod.uid == current.previous_uid for pod in world.fit()):
            self.stopwatch.nobody(now)
        if current is not None:
            self._watch_budget(now, current)

    def stuck(self, now: float, text: str) -> None:
        """What the demo waited for in vain."""
        self._break(Promise.FILLED, now, text)

    def _watch_budget(self, now: float, failover: Failover) -> None:
        if not failover.late and now - failover.at > FAILOVER_BUDGET_S:
            failover.late = True
            passed = f"{failover.previous} failed {(now - failover.at) * 1000:.0f} ms ago"
            self._break(Promise.BUDGET, now, f"failover {failover.number}: {passed}")

    def _succeed(self, now: float, world: World, uid: str, *, edited: bool) -> None:
        """There is a new leader."""
        epoch = world.epoch or 0
        if epoch <= self._highest_epoch and not edited:
            told = f"{world.leader} leads in epoch {epoch}, after epoch {self._highest_epoch}"
            self._break(Promise.EPOCH, now, told)
        self._highest_epoch = max(epoch, self._highest_epoch)
        if self.had_leader:
            self.stopwatch.begin(now, "handed over", *self._last, by_hand=True)
        self._last = (world.leader, uid)
        self.had_leader = self._started = True

    def _forgive(self) -> None:
        """A visitor made other rules: begin anew once it is as before."""
        self.stopwatch.drop()
        self.had_leader, self._highest_epoch, self._last = False, 0, ("", "")
        self._astray, self._empty = Lasting(ASTRAY_BOUND_S), Lasting(ASTRAY_BOUND_S)

    def _has_led(self, sent_at: float, uid: str) -> bool:
        """Whether traffic was routed to that UID at any time since ``sent_at``."""
        ends = [*(since for since, _ in self._routes), float("inf")][1:]
        return any(end >= sent_at and led == uid for (_, led), end in zip(self._routes, ends, strict=True))

    def _has_just_changed(self, sent_at: float) -> bool:
        """Whether the client may not have known better at ``sent_at``."""
        return bool(self._routes) and self._routes[-1][0] >= sent_at - LAG_S

    def _break(self, promise: Promise, now: float, text: str) -> None:
        self.breaches[promise] += 1
        breach = Breach(promise, now, text)
        self.broken.append(breach)
        self._on_breach(breach)


def _routed_uid(world: World) -> str:
    return world.routed.target_uid if world.routed is not None else ""


def _edited(before: World, world: World) -> bool:
    """Whether the slice was changed by somebody else: zenlead dates and counts what it writes there."""
    marks = [
        [
            (one.annotations.get(contract.EPOCH), one.annotations.get(contract.TRIGGER_TIME))
            for one in at.slices
        ]
        for at in (before, world)
    ]
    return marks[0] == marks[1] and before.slices != world.slices


def _fault(world: World, last: tuple[str, str]) -> str:
    """What became of the last leader, seen from outside."""
    name, uid = last
    if not world.slices:
        return "slice deleted"
    pod = world.pods.get(name)
    if pod is None or pod.uid != uid or pod.deleted_at is not None:
        return "deleted"
    return "slice edited" if state(pod) == "ready" else state(pod)
