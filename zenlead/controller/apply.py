"""Writes and their answers: sent, taken into the store, told.

Knows what an answer of the API server means for what is known. Refuses to know why a write is made.
Rules: the answer to a write is in the store before the next look; a conflict is read back, never guessed; a
routine write gives way to anything urgent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, assert_never

import msgspec

from zenlead.controller import announce
from zenlead.controller.facts import ControllerFact, LeaderMoved, WriteDone
from zenlead.kube.errors import Conflict, Forbidden, Invalid, NotFound
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import Outdated
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES, Resource
from zenlead.lead.contract import Reason
from zenlead.lead.desired import Desired, Serve, Snapshot
from zenlead.lead.ownership import owned_slices
from zenlead.lead.routed import epoch_of
from zenlead.lead.views import SliceView
from zenlead.lead.wire import WireService, WireSlice, decode
from zenlead.lead.writes import Create, Delete, Patch, Target, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zenlead.controller.caches import Caches
    from zenlead.controller.doubts import Doubts
    from zenlead.controller.spans import Span
    from zenlead.kube.store import Store
    from zenlead.lead.views import Key, ServiceView

NAMESPACE_TERMINATING = "NamespaceTerminating"  # the cause in a Forbidden for which nobody can do anything
RESOURCES: dict[Target, Resource] = {Target.SERVICES: SERVICES, Target.SLICES: ENDPOINT_SLICES}


class Reads(Protocol):
    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes: ...

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes: ...


class Sender(Protocol):
    """Sends writes of one Service in one lane, with the lane's retries and limits."""

    credits: int

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes: ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        subresource: str = "",
        unanswered: Callable[[], None] = ...,
    ) -> bytes: ...

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        unanswered: Callable[[], None] = ...,
    ) -> bytes: ...


class Listener(msgspec.Struct, frozen=True):
    """Who hears of what happens: facts for telemetry, announcements for the user, spans around IO."""

    notify: Callable[[ControllerFact], None]
    announce: Callable[[ServiceView, announce.Announcement], None]
    span: Span


class Stranger(Exception):
    """An object that is not ours has the name of one that we need."""

    def __init__(self, target: Target, name: str) -> None:
        super().__init__(f"an object {target}/{name} that zen-lead does not own is in the way")


class Preempted(Exception):
    """Something urgent came up for the Service while a routine write of it was under way."""


class Sight(msgspec.Struct, frozen=True):
    """What a write follows from, and the loop time at which the change behind it was seen."""

    seen: Snapshot
    desired: Desired
    seen_at: float


class Applier:
    """Applies the writes of one decision. ``parallel``: those to different objects go side by side."""

    def __init__(
        self, caches: Caches, reads: Reads, listener: Listener, doubts: Doubts, *, parallel: bool
    ) -> None:
        self._caches = caches
        self._reads = reads
        self._listener = listener
        self._doubts = doubts
        self.parallel = parallel
        self._loop = asyncio.get_running_loop()
        self._routine: dict[Key, asyncio.Timeout] = {}  # routine writes under way; each removes itself

    def preempt(self, key: Key) -> None:
        """Give up a routine write of the Service, if one is under way: its pass raises Preempted.

        A write that hangs or is tried again must not hold up a failover. Whether it was applied shows in the
        next one's precondition, and where there is no next one it is fenced off.
        """
        if (cut := self._routine.get(key)) is not None and not cut.expired():
            cut.reschedule(self._loop.time())

    async def apply_routine(self, work: list[tuple[Write, Sender]], sight: Sight) -> bool:
        key = (sight.seen.namespace, sight.seen.name)
        try:
            async with asyncio.timeout(None) as self._routine[key]:
                return await self.apply_all(work, sight)
        except TimeoutError as error:
            raise Preempted from error
        finally:
            del self._routine[key]

    async def apply_all(self, work: list[tuple[Write, Sender]], sight: Sight) -> bool:
        """Whether all came through; else another look tells what really is."""
        if len(work) == 1 or not self.parallel:
            return all([await self._apply(write, sender, sight) for write, sender in work])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._apply(write, sender, sight)) for write, sender in work]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one reason to try again is enough
        return all(task.result() for task in tasks)

    async def _apply(self, write: Write, sender: Sender, sight: Sight) -> bool:
        """Send one write and take its answer into the store. Conflicts are read back and not raised."""
        started = self._loop.time()
        verb = type(write).__name__.lower()
        lane = Lane.URGENT if write.urgent else Lane.ROUTINE
        result = "success"
        seen = sight.seen
        where = {"namespace": seen.namespace, "service": seen.name, "lane": lane.label}
        with self._listener.span(f"{verb} {write.target}", where | {"object": write.name}) as say:
            try:
                await self._send(write, sender, seen)
            except (Conflict, NotFound) as error:
                result = _snake(error)
                if isinstance(write, Create) and isinstance(error, NotFound):
                    raise  # the namespace is gone
                await self._read_back(write, sight)
                if self._came_through(write, sight):
                    result = "success"
            except (asyncio.CancelledError, Outdated):
                result = "cancelled"
                raise
            except Exception as error:
                result = _snake(error)
                self._tell_refused(error, write, seen)
                raise
            finally:
                seconds = self._loop.time() - started
                say("result", result)
                self._listener.notify(
                    WriteDone(seen.namespace, seen.name, write.target, verb, lane.label, result, seconds)
                )
        if result == "success":
            self._tell_written(write, sight)
        return result == "success"

    async def _send(self, write: Write, sender: Sender, seen: Snapshot) -> None:
        resource, namespace, name = RESOURCES[write.target], seen.namespace, write.name

        def unanswered() -> None:
            if not isinstance(write, Create):  # what that may still make is seen once it exists
                self._doubts.note(write, seen)

        with self._store(write.target).asking((namespace, name)) as inquiry:
            match write:
                case Create(body=body):
                    answer = await sender.create(resource, namespace, body)
                case Patch(body=body, subresource=subresource):
                    answer = await sender.patch(
                        resource, namespace, name, body, subresource=subresource, unanswered=unanswered
                    )
                case Delete(body=body):
                    answer = await sender.delete(resource, namespace, name, body, unanswered=unanswered)
                    if not _is_held(answer):
                        inquiry.gone()
                        return
                case _:
                    assert_never(write)
            inquiry.found(_view(write.target, answer))

    def _store(self, target: Target) -> Store[Any]:
        return self._caches.services if target is Target.SERVICES else self._caches.slices

    async def is_gone(self, service: ServiceView) -> bool:
        """Ask the API server whether a Service is still the one that is known; what it says is known then."""
        with self._caches.services.asking(service.key) as inquiry:
            try:
                view: ServiceView = decode(WireService, await self._reads.get(SERVICES, *service.key))
            except NotFound:
                inquiry.gone()
                return True
            inquiry.found(view)
            return view.uid != service.uid

    async def _read_back(self, write: Write, sight: Sight) -> None:
        """See what really is under a name. Raises Stranger for a slice that is in our way and is not ours."""
        target, key = write.target, (sight.seen.namespace, write.name)
        with self._store(target).asking(key) as inquiry:
            try:
                view = _view(target, await self._reads.get(RESOURCES[target], *key))
            except NotFound:
                inquiry.gone()
                return
            inquiry.found(view)
        if isinstance(write, Delete) or not isinstance(view, SliceView):
            return
        if isinstance(sight.desired, Serve):
            seen = msgspec.structs.replace(sight.seen, slices=(view,))
            if not owned_slices(seen, sight.desired.policy.leader_name):
                raise Stranger(target, write.name)

    def _came_through(self, write: Write, sight: Sight) -> bool:
        """Whether a move of the leader that was refused is there all the same: an earlier try of this very
        write was applied and its answer was lost, and nobody has told of it."""
        desired = sight.desired
        moved = isinstance(desired, Serve) and desired.reason is not None and not isinstance(write, Delete)
        found = self._caches.slices.get((sight.seen.namespace, write.name))
        if not moved or not isinstance(desired, Serve) or write.target is not Target.SLICES or found is None:
            return False
        routed = tuple(endpoint.target_uid for endpoint in found.endpoints)
        wanted = (desired.leader.pod.uid,) if desired.leader is not None else ()
        return routed == wanted and epoch_of(found.annotations) == desired.epoch

    def _tell_refused(self, error: Exception, write: Write, seen: Snapshot) -> None:
        """What will not be better at the next try is for the user to mend: a quota, an admission rule."""
        refused = isinstance(error, Invalid | Forbidden) and NAMESPACE_TERMINATING not in error.causes
        if refused and seen.source is not None:
            verb = type(write).__name__.lower()
            said = announce.refused(f"{verb} {write.target}/{write.name}", str(error), seen.source.uid)
            self._listener.announce(seen.source, said)

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
        if write.target is not Target.SLICES or write.name != desired.policy.leader_name:
            return
        # A slice that is made with a leader elects it, also when the leader Service named it already.
        elected = isinstance(write, Create) and desired.leader is not None
        reason = desired.reason or (Reason.ELECTED if elected else None)
        previous = "" if reason is Reason.ELECTED else desired.routed.name
        if reason is not None and (desired.leader is not None or desired.routed.uid):
            self._listener.notify(
                LeaderMoved(
                    seen.namespace,
                    seen.name,
                    previous,
                    desired.leader.pod.name if desired.leader else "",
                    reason,
                    desired.epoch,
                    self._loop.time() - sight.seen_at,
                )
            )
            for announcement in announce.moved(desired, reason, uid):
                say(source, announcement)


def _view(target: Target, body: bytes) -> ServiceView | SliceView:
    wire: Any = WireService if target is Target.SERVICES else WireSlice
    view: ServiceView | SliceView = decode(wire, body)
    return view


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
