"""One pass over one Service: snapshot, decide, diff, apply, until nothing is left to write.

Knows the order of things and what an answer of the API server means for the next step. Refuses to choose a
leader (lead/ does) and to wait for anything but answers.
Rules: the answer to a write is in the store before the next look; a conflict is read back, never guessed;
what the urgent lane leaves over is handed to the routine lane, so that no failover waits for a decoration.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, assert_never

import msgspec

from zenlead.controller import announce
from zenlead.controller.facts import (
    ControllerFact,
    LeaderMoved,
    PortUnresolved,
    ServiceForgotten,
    ServiceState,
    WriteDone,
    WritePlanned,
)
from zenlead.kube.errors import Conflict, NotFound
from zenlead.kube.lane import Lane
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Resource
from zenlead.lead import contract
from zenlead.lead.contract import Reason
from zenlead.lead.decide import Absent, Blocked, Desired, Serve, Snapshot, decide
from zenlead.lead.wire import WirePod, WireService, WireSlice, decode
from zenlead.lead.writes import Create, Delete, Patch, Target, Write, diff, labelled

if TYPE_CHECKING:
    from zenlead.controller.caches import Caches
    from zenlead.kube.store import Store
    from zenlead.lead.views import Key, ServiceView, SliceView

# A Service is made, then its slice, then both are dressed: four rounds. The others are for conflicts.
MAX_ROUNDS = 8

RESOURCES: dict[Target, Resource] = {Target.SERVICES: SERVICES, Target.SLICES: ENDPOINT_SLICES}
Span: TypeAlias = Callable[[str, Mapping[str, str]], AbstractContextManager[Any]]


class Reads(Protocol):
    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes: ...


class Sender(Protocol):
    """Sends writes of one Service in one lane, with the lane's retries and limits."""

    credits: int

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes: ...

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes: ...

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes: ...


class Lanes(Protocol):
    """Gives out senders, and the tokens that routine writes cost (kube/lanes.py)."""

    def on(self, lane: Lane, *, service: str = "", credits: int = 0) -> Sender: ...

    async def try_credit(self) -> bool: ...


class Listener(msgspec.Struct, frozen=True):
    """Who hears of what happens: facts for telemetry, announcements for the user, spans around IO."""

    notify: Callable[[ControllerFact], None]
    announce: Callable[[ServiceView, announce.Announcement], None]
    span: Span


class Options(msgspec.Struct, frozen=True):
    conditions: bool = True  # keep the LeaderReady condition
    parallel: bool = True  # send writes to different objects at the same time
    trust_cache: bool = True  # route to a new leader as the cache knows it; else read it once more first
    dry_run: bool = False  # tell the writes, send none


class Stranger(Exception):
    """An object that is not ours has the name of one that we need."""

    def __init__(self, target: Target, name: str) -> None:
        super().__init__(f"an object {target}/{name} that zen-lead does not own is in the way")


class Preempted(Exception):
    """Something urgent came up for the Service while a routine write of it was under way."""


class Unsettled(Exception):
    """The Service still changed under our hands after MAX_ROUNDS."""


class Pass(msgspec.Struct):
    """What one pass did. ``more``: writes are left for the routine lane; ``wake_at``: decide again then."""

    writes: int = 0
    more: bool = False
    wake_at: float | None = None


class Sight(msgspec.Struct, frozen=True):
    """What a write follows from, and the loop time at which the change behind it was seen."""

    seen: Snapshot
    desired: Desired
    seen_at: float


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
        self._loop = asyncio.get_running_loop()
        self._routine: dict[Key, asyncio.Timeout] = {}  # routine writes under way; each removes itself

    def preempt(self, key: Key) -> None:
        """Give up a routine write of the Service, if one is under way: its pass raises Preempted.

        A write that hangs or is tried again must not hold up a failover. Whether it was applied shows in the
        next one's precondition.
        """
        if (cut := self._routine.get(key)) is not None and not cut.expired():
            cut.reschedule(self._loop.time())

    async def reconcile(self, snapshot: Callable[[], Snapshot], lane: Lane, seen_at: float) -> Pass:
        """Bring the Service of ``snapshot`` to where it should be, as far as ``lane`` goes.

        A pass of the routine lane comes with one credit, and has it still if it wrote nothing. ``seen_at``:
        the loop time at which the change was seen. Raises ApiError, Stranger, Unsettled, Fenced.
        """
        done = Pass()
        senders: dict[bool, Sender] = {}
        for _round in range(MAX_ROUNDS):
            seen = snapshot()
            senders = senders or {
                True: self._lanes.on(Lane.URGENT, service=seen.name),
                False: self._lanes.on(Lane.ROUTINE, service=seen.name, credits=1),
            }
            desired = decide(seen, self._wall())
            if not self._options.trust_cache:
                seen, desired = await self._confirmed(seen, desired)
            pending = diff(seen, desired, conditions=self._options.conditions)
            if self._options.dry_run:
                return self._rehearsed(seen, desired, pending)
            chosen = _next_writes(pending, lane)
            if chosen and not chosen[0].urgent:
                chosen = await self._affordable(chosen, senders[False])
            if not chosen:
                done.more = bool(pending)
                self._settled(seen, desired, done)
                return done
            work = [(write, senders[write.urgent]) for write in chosen]
            sight = Sight(seen, desired, seen_at)
            try:
                await (self._apply_all if chosen[0].urgent else self._apply_routine)(work, sight)
            except Stranger as error:
                if seen.source is not None:
                    self._listener.announce(seen.source, announce.conflict(str(error), seen.source.uid))
                raise
            done.writes += len(chosen)
        raise Unsettled(f"still changing after {MAX_ROUNDS} rounds of writes")

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

    async def _apply_routine(self, work: list[tuple[Write, Sender]], sight: Sight) -> None:
        key = (sight.seen.namespace, sight.seen.name)
        try:
            async with asyncio.timeout(None) as self._routine[key]:
                await self._apply_all(work, sight)
        except TimeoutError as error:
            raise Preempted from error
        finally:
            del self._routine[key]

    async def _apply_all(self, work: list[tuple[Write, Sender]], sight: Sight) -> None:
        if len(work) == 1 or not self._options.parallel:
            for write, sender in work:
                await self._apply(write, sender, sight)
            return
        try:
            async with asyncio.TaskGroup() as group:
                for write, sender in work:
                    group.create_task(self._apply(write, sender, sight))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one reason to try again is enough

    async def _apply(self, write: Write, sender: Sender, sight: Sight) -> None:
        """Send one write and take its answer into the store. Conflicts are read back and not raised."""
        started = self._loop.time()
        verb = type(write).__name__.lower()
        lane = Lane.URGENT if write.urgent else Lane.ROUTINE
        result = "success"
        seen = sight.seen
        where = {"namespace": seen.namespace, "service": seen.name, "lane": lane.label}
        with self._listener.span(f"{verb} {write.target}", where):
            try:
                await self._send(write, sender, seen.namespace)
            except (Conflict, NotFound) as error:
                result = _snake(error)
                if isinstance(write, Create) and isinstance(error, NotFound):
                    raise  # the namespace is gone
                await self._read_back(write.target, (seen.namespace, write.name))
            except BaseException as error:
                result = _snake(error)
                raise
            finally:
                seconds = self._loop.time() - started
                self._listener.notify(
                    WriteDone(seen.namespace, seen.name, write.target, verb, lane.label, result, seconds)
                )
        if result == "success":
            self._tell_written(write, sight)

    async def _send(self, write: Write, sender: Sender, namespace: str) -> None:
        resource, key = RESOURCES[write.target], (namespace, write.name)
        match write:
            case Create(body=body):
                answer = await sender.create(resource, namespace, body)
                self._take(write.target, answer)
            case Patch(name=name, body=body, subresource=subresource):
                answer = await sender.patch(resource, namespace, name, body, subresource=subresource)
                self._take(write.target, answer)
            case Delete(name=name, body=body):
                answer = await sender.delete(resource, namespace, name, body)
                if _is_held(answer):
                    self._take(write.target, answer)
                else:
                    self._store(write.target).deleted(key)
            case _:
                assert_never(write)

    def _store(self, target: Target) -> Store[Any]:
        return self._caches.services if target is Target.SERVICES else self._caches.slices

    def _take(self, target: Target, body: bytes) -> ServiceView | SliceView:
        wire: Any = WireService if target is Target.SERVICES else WireSlice
        view: ServiceView | SliceView = decode(wire, body)
        self._store(target).wrote(view)
        return view

    async def _read_back(self, target: Target, key: Key) -> None:
        """See what really is under a name. Raises Stranger for a slice of that name that is not ours."""
        try:
            body = await self._reads.get(RESOURCES[target], *key)
        except NotFound:
            self._store(target).deleted(key)
            return
        wire: Any = WireService if target is Target.SERVICES else WireSlice
        view = decode(wire, body)
        if target is Target.SLICES and not labelled(view):
            raise Stranger(target, key[1])
        self._store(target).wrote(view)

    def _tell_written(self, write: Write, sight: Sight) -> None:
        seen, desired = sight.seen, sight.desired
        source, say = seen.source, self._listener.announce
        if isinstance(write, Delete):
            if write.target is Target.SLICES and source is not None:
                uid = next((s.uid for s in seen.slices if s.name == write.name), "")
                say(source, announce.withdrawn(desired, write.name, uid))
            return
        if source is None or not isinstance(desired, Serve):
            return
        leader_service = self._caches.services.get((seen.namespace, desired.policy.leader_name))
        uid = leader_service.uid if leader_service is not None else ""
        if isinstance(write, Create) and write.target is Target.SERVICES:
            say(source, announce.created(desired, uid))
        if desired.reason is None or write.name != desired.policy.leader_name:
            return
        if write.target is Target.SLICES and (desired.leader is not None or desired.routed.uid):
            self._listener.notify(
                LeaderMoved(
                    seen.namespace,
                    seen.name,
                    desired.routed.name,
                    desired.leader.pod.name if desired.leader else "",
                    desired.reason,
                    desired.epoch,
                    self._loop.time() - sight.seen_at,
                )
            )
            for announcement in announce.moved(desired, uid):
                say(source, announcement)

    def _settled(self, seen: Snapshot, desired: Desired, done: Pass) -> None:
        """Nothing is left to write in this lane: tell the state."""
        notify, source = self._listener.notify, seen.source
        if isinstance(desired, Absent):
            notify(ServiceForgotten(seen.namespace, seen.name))
            return
        if source is not None:
            for announcement in announce.warnings(desired, source.uid):
                self._listener.announce(source, announcement)
        if isinstance(desired, Serve):
            done.wake_at = desired.wake_at
            if desired.unresolved is not None:
                notify(PortUnresolved(seen.namespace, seen.name, desired.unresolved.port_name))
            notify(_state(seen, desired, stable=not done.more))
        elif isinstance(desired, Blocked):
            notify(ServiceState(seen.namespace, seen.name, 0, "", None, None, False, len(seen.slices)))


def _next_writes(pending: list[Write], lane: Lane) -> list[Write]:
    """The writes to send now: the urgent ones first and alone, then one per object, since each moves the
    version that the next one on the same object has to name."""
    urgent = [write for write in pending if write.urgent]
    if urgent or lane is Lane.URGENT:
        return urgent
    first: dict[tuple[Target, str], Write] = {}
    for write in pending:
        first.setdefault((write.target, write.name), write)
    return list(first.values())


def _state(seen: Snapshot, serve: Serve, *, stable: bool) -> ServiceState:
    pod = serve.leader.pod if serve.leader else None
    said = seen.at_name.annotations.get(contract.LAST_SWITCH_TIME) if seen.at_name else None
    kept = serve.reason is None and pod is not None
    return ServiceState(
        namespace=seen.namespace,
        service=seen.name,
        pods_available=serve.available,
        leader=pod.name if pod else "",
        leader_since=(_unix(said) or serve.decided_at) if pod else None,
        leader_pod_created=pod.created if pod else None,
        stable=stable and kept,
        endpoint_slices=len(seen.slices),
        sticky=_sticky(serve),
    )


def _sticky(serve: Serve) -> str:
    if not serve.policy.sticky or not serve.routed.uid:
        return ""
    return "miss" if serve.reason not in (None, Reason.ELECTED) else "hit"


def _unix(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None


class _Held(msgspec.Struct, rename="camel"):
    deletion_timestamp: str | None = None
    finalizers: list[str] | None = None


class _Deleted(msgspec.Struct):
    kind: str = ""
    metadata: _Held = msgspec.field(default_factory=_Held)


def _is_held(answer: bytes) -> bool:
    """Whether the answer to a DELETE (a Status, or the object) says that a finalizer keeps the object."""
    deleted = msgspec.json.decode(answer, type=_Deleted)
    held = deleted.metadata.deletion_timestamp is not None and bool(deleted.metadata.finalizers)
    return deleted.kind != "Status" and held


def _snake(error: BaseException) -> str:
    """``AlreadyExists`` -> ``already_exists``, as results are written in facts."""
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
