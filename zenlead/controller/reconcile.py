"""One pass over one Service: snapshot, decide, diff, apply, until nothing is left to write.

Knows the order of things and what an answer of the API server means for the next step. Refuses to choose a
leader (lead/ does) and to wait for anything but answers.
Rules: the answer to a write is in the store before the next look; a conflict is read back, never guessed;
what the urgent lane leaves over is handed to the routine lane, so that no failover waits for a decoration.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Protocol, TypeGuard

import msgspec

from zenlead.controller import announce
from zenlead.controller.apply import Applier, Listener, Reads, Sender, Sight, Stranger
from zenlead.controller.caches import PodsUnknown
from zenlead.controller.doubts import Doubts
from zenlead.controller.endings import Endings
from zenlead.controller.facts import PortUnresolved, ServiceForgotten, WritePlanned
from zenlead.controller.standing import Standing
from zenlead.controller.state import blocked_state, moved_state, state_of
from zenlead.controller.strays import Strays
from zenlead.kube.errors import ApiError, Forbidden, NotFound
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import Outdated
from zenlead.kube.resources import PODS
from zenlead.lead.contract import Reason
from zenlead.lead.decide import decide
from zenlead.lead.desired import Absent, Blocked, Desired, Serve, Snapshot
from zenlead.lead.wire import WirePod, decode
from zenlead.lead.writes import Create, Target, Write, diff

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.controller.caches import Caches
    from zenlead.lead.views import Key

# A slice that has to be made again so soon was taken away by somebody who knows better, maybe: the garbage
# collector does so with what has no owner, and the watch that would tell of that may be dead.
MADE_JUST_NOW_S = 5.0
# A Service is made, then its slice, then both are dressed: four rounds. The others are for conflicts.
MAX_ROUNDS = 8


class Lanes(Protocol):
    """Gives out senders, and the tokens that routine writes cost (kube/lanes.py)."""

    def on(
        self, lane: Lane, *, service: str, credits: int = 0, retries: bool, wanted: Callable[[], bool]
    ) -> Sender: ...

    async def try_credit(self) -> bool: ...


class Options(msgspec.Struct, frozen=True):
    conditions: bool = True  # keep the LeaderReady condition
    parallel: bool = True  # send writes to different objects at the same time
    trust_cache: bool = True  # route to a new leader as the cache knows it; else read it once more first
    dry_run: bool = False  # tell the writes, send none
    namespaces: tuple[str, ...] = ()  # that are served; empty: all


class Unsettled(Exception):
    """The Service still changed under our hands after MAX_ROUNDS."""


class Pass(msgspec.Struct):
    """What one pass did. ``more``: writes are left for the routine lane; ``wake_at``: decide again then."""

    writes: int = 0
    moved: bool = False  # traffic, from a leader to another or to nobody
    more: bool = False
    wake_at: float | None = None
    look_after_s: float | None = None  # look again, in no hurry, after so many seconds
    others: list[Key] = msgspec.field(default_factory=list)  # Services to look at, too


class Reconciler:
    """``wall`` gives Unix seconds."""

    def __init__(
        self,
        caches: Caches,
        reads: Reads,
        lanes: Lanes,
        listener: Listener,
        *,
        wall: Callable[[], float],
        options: Options,
    ) -> None:
        self._caches = caches
        self._reads = reads
        self._lanes = lanes
        self._listener = listener
        self._wall = wall
        self._options = options
        self._doubts = Doubts()
        self._applier = Applier(caches, reads, listener, self._doubts, parallel=options.parallel)
        self._strays = Strays(reads, options.namespaces)
        self._endings = Endings()
        # Services of which anything was told, a failed write included; each goes with its ServiceForgotten.
        self._told: set[Key] = set()
        self._standing = Standing()  # of the same Services
        self._made: dict[Key, float] = {}  # wall time of the last slice that was made; goes likewise

    def follow(self, options: Options) -> None:
        """Passes to come, and the rest of those under way, go by other options."""
        self._options, self._applier.parallel = options, options.parallel

    def preempt(self, key: Key) -> None:
        """Something urgent came up: give up a routine write of that Service, if one is under way."""
        self._applier.preempt(key)

    def forget_all(self) -> None:
        """Another replica tells the state of the Services now."""
        self._strays.new_term()
        self._endings.forget_all()
        self._standing.forget_all()
        self._made.clear()
        while self._told:
            self._listener.notify(ServiceForgotten(*self._told.pop()))

    async def reconcile(
        self, snapshot: Callable[[], Snapshot], lane: Lane, seen_at: float, *, failing: bool = False
    ) -> Pass:
        """Bring the Service of ``snapshot`` to where it should be, as far as ``lane`` goes.

        A pass of the routine lane comes with one credit, and has it still if it wrote nothing. ``seen_at``:
        the loop time at which the change was seen. ``failing``: an earlier pass failed and a next one is sure
        to come, so writes need not be tried twice in this one. Raises ApiError, Stranger, Unsettled, Fenced,
        and what ``snapshot`` raises.
        """
        done, applier, taken = Pass(), self._applier, snapshot()
        senders = self._senders(taken.name, failing, lambda: _still(snapshot, taken))
        for again in range(MAX_ROUNDS):
            if again:
                taken = snapshot()
            seen, desired, pending = await self._decide(taken)
            if self._options.dry_run:
                return self._rehearsed(seen, desired, pending)
            chosen = _next_writes(pending, lane)
            if chosen and not chosen[0].urgent:
                chosen = await self._affordable(chosen, senders[False])
            if not chosen:
                done.more = bool(pending)
                self._settled(seen, desired, done)
                if not done.more:
                    await self._look_for_strays(seen, lane, senders[False], done)
                return done
            self._told.add((seen.namespace, seen.name))
            work = [(write, senders[write.urgent]) for write in chosen]
            sight = Sight(seen, desired, seen_at)
            apply = applier.apply_all if chosen[0].urgent else applier.apply_routine
            try:
                if await self._lost_its_service(seen, desired, chosen):
                    continue
                whole = await apply(work, sight)
            except (ApiError, Stranger) as error:
                self._refused(seen, error)
                self._tell_unsettled(snapshot())
                raise
            except Outdated:
                continue  # nothing was written by it, and the next look knows better
            done.writes += len(chosen)
            done.moved = done.moved or (whole and _moves(desired))
            if whole and lane is Lane.URGENT and _routes(desired, chosen):
                made = sum(isinstance(write, Create) for write in chosen)
                self._listener.notify(moved_state(seen, desired, made))
                done.more = True
                return done
        raise Unsettled(f"still changing after {MAX_ROUNDS} rounds of writes")

    async def _decide(self, seen: Snapshot) -> tuple[Snapshot, Desired, list[Write]]:
        """What should be, after what was seen, and the writes that lead there."""
        with self._listener.span("decide", {}) as say:
            desired = decide(seen, self._wall())
            if not self._options.trust_cache:
                seen, desired = await self._confirmed(seen, desired)
            if isinstance(desired, Serve):
                self._strays.notice(seen)
                say("routing", desired.routing)
                say("leader", desired.leader.pod.name if desired.leader else "")
                if desired.reason is not None:
                    say("reason", desired.reason)
                    say("previous", desired.routed.name)
            pending = diff(seen, desired, conditions=self._options.conditions)
            pending = self._endings.possible(seen, pending)
            pending = [*self._doubts.fences(seen, desired, pending), *pending]
            say("writes", str(len(pending)))
            return seen, desired, pending

    async def _lost_its_service(self, seen: Snapshot, desired: Desired, chosen: list[Write]) -> bool:
        """Whether a slice is about to be made for a leader Service that is not there any more."""
        if not any(isinstance(write, Create) and write.target is Target.SLICES for write in chosen):
            return False
        key, now = (seen.namespace, seen.name), self._wall()
        again = now - self._made.pop(key, float("-inf")) < MADE_JUST_NOW_S
        known = desired.service if isinstance(desired, Serve) else None
        if again and known is not None and await self._applier.is_gone(known):
            return True
        self._made[key] = now
        return False

    def _refused(self, seen: Snapshot, error: ApiError | Stranger) -> None:
        if isinstance(error, Stranger) and seen.source is not None:
            self._listener.announce(seen.source, announce.conflict(str(error), seen.source.uid))
        elif isinstance(error, Forbidden):
            self._endings.hear(seen, error)

    def _senders(self, service: str, failing: bool, wanted: Callable[[], bool]) -> dict[bool, Sender]:
        """By whether a write is urgent; a pass of the routine lane comes with one credit."""
        on = functools.partial(self._lanes.on, service=service, retries=not failing, wanted=wanted)
        return {True: on(Lane.URGENT), False: on(Lane.ROUTINE, credits=1)}

    async def _look_for_strays(self, seen: Snapshot, lane: Lane, sender: Sender, done: Pass) -> None:
        if lane is Lane.ROUTINE:
            done.others = await self._strays.survey()
            done.look_after_s = await self._strays.remove(seen, sender, self._wall())
        elif self._strays.due:
            done.look_after_s = 0.0

    async def _confirmed(self, seen: Snapshot, desired: Desired) -> tuple[Snapshot, Desired]:
        """The decision again, with the pod that traffic is about to move to as the API server has it now."""
        confirmed: set[str] = set()
        while isinstance(desired, Serve) and desired.reason is not None and desired.leader is not None:
            chosen = desired.leader.pod
            if chosen.name in confirmed:
                break
            confirmed.add(chosen.name)
            pods = [pod for pod in seen.pods if pod.name != chosen.name]
            with contextlib.suppress(NotFound):
                pods.append(decode(WirePod, await self._reads.get(PODS, *chosen.key)))
            seen = msgspec.structs.replace(seen, pods=tuple(pods))
            desired = decide(seen, self._wall())
        return seen, desired

    def _rehearsed(self, seen: Snapshot, desired: Desired, pending: list[Write]) -> Pass:
        """A dry run: say what would be written, and leave it at that."""
        for write in pending:
            verb = type(write).__name__.lower()
            body = write.body.decode()
            self._listener.notify(
                WritePlanned(seen.namespace, seen.name, write.target, verb, write.name, body)
            )
        done = Pass()
        self._settled(seen, desired, done)
        return done

    async def _affordable(self, chosen: list[Write], sender: Sender) -> list[Write]:
        """As many of the routine writes as there are credits for, without waiting for more."""
        while sender.credits < len(chosen) and await self._lanes.try_credit():
            sender.credits += 1
        return chosen[: sender.credits]

    def _settled(self, seen: Snapshot, desired: Desired, done: Pass) -> None:
        """Nothing is left to write in this lane: tell the state."""
        notify, source = self._listener.notify, seen.source
        key = (seen.namespace, seen.name)
        if isinstance(desired, Absent):
            self._strays.forget(key)
            self._endings.forget(key)
            if key in self._told and not done.more:
                self._told.remove(key)
                self._standing.forget(key)
                self._made.pop(key, None)
                notify(ServiceForgotten(*key))
            return
        self._told.add(key)
        if source is not None and seen not in self._endings:
            warnings = announce.warnings(desired, source.uid)
            for announcement in self._standing.named(key, warnings, self._wall()):
                self._listener.announce(source, announcement)
        if isinstance(desired, Serve):
            done.wake_at = desired.wake_at
            for port_name in _unresolved(desired):
                notify(PortUnresolved(seen.namespace, seen.name, port_name))
            state = state_of(seen, desired, stable=not done.more)
            missed = done.moved and desired.policy.sticky
            notify(msgspec.structs.replace(state, sticky="miss") if missed else state)
        elif isinstance(desired, Blocked):
            notify(blocked_state(seen, desired))

    def _tell_unsettled(self, seen: Snapshot) -> None:
        """A write failed: tell how things are, for that may be so for long, and not as anybody wanted it."""
        desired = decide(seen, self._wall())
        if isinstance(desired, Serve):
            state = state_of(seen, desired, stable=False)
            self._listener.notify(msgspec.structs.replace(state, sticky=""))  # which tells of finished passes
        elif isinstance(desired, Blocked):
            self._listener.notify(blocked_state(seen, desired))


def _still(snapshot: Callable[[], Snapshot], taken: Snapshot) -> bool:
    """Whether things are as they were; not where it cannot be told any more."""
    try:
        return snapshot() == taken
    except PodsUnknown:
        return False


def _unresolved(serve: Serve) -> list[str]:
    """The target ports that fail: on every pod, or on one that would be fit."""
    failing = {it.what for it in serve.passed_over if it.reason is Reason.PORT_UNRESOLVED}
    return sorted(failing | ({serve.unresolved.port_name} if serve.unresolved is not None else set()))


def _moves(desired: Desired) -> bool:
    """Whether it takes the traffic away from a leader."""
    return isinstance(desired, Serve) and desired.reason not in (None, Reason.ELECTED)


def _routes(desired: Desired, written: list[Write]) -> TypeGuard[Serve]:
    """Whether the traffic is where it should be once ``written`` came through, so that another look can be
    the routine lane's: what changes meanwhile asks for a pass of its own, and the clock asks for none."""
    if not isinstance(desired, Serve) or desired.leader is None or desired.obstacle is not None:
        return False
    stays = desired.policy.sticky and desired.policy.failback_s is None and desired.wake_at is None
    return stays and all(write.target is Target.SLICES for write in written)


def _next_writes(pending: list[Write], lane: Lane) -> list[Write]:
    """The writes to send now: the urgent ones first and alone, then one per object, since each moves the
    version that the next one on the same object has to name."""
    urgent = [write for write in pending if write.urgent]
    if lane is Lane.URGENT:
        opening = (write for write in pending if isinstance(write, Create) and write.opens)
        return urgent or [msgspec.structs.replace(write, urgent=True) for write in opening]
    if urgent:
        return urgent
    first: dict[tuple[Target, str], Write] = {}
    for write in pending:
        first.setdefault((write.target, write.name), write)
    return list(first.values())
