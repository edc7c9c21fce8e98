"""The controller put together over any Api: what it is made of, and the order in which it starts and stops.

Knows every room by name. Refuses to know processes, signals, ports and telemetry libraries (run.py does).
Rules: nobody competes for the Lease before the caches are full; at the end the workers stop first, then the
Lease is given back, then the rest goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

from zenlead.controller.apply import Listener
from zenlead.controller.auditor import Auditor
from zenlead.controller.caches import Caches, Selectors
from zenlead.controller.garbage import few_collections
from zenlead.controller.podwatches import PodWatches
from zenlead.controller.reconcile import Reconciler
from zenlead.controller.spans import Span, untraced
from zenlead.controller.triggers import Trigger, Triggers
from zenlead.controller.workers import Rooms, Workers, places
from zenlead.kube.facts import ElectionChanged, KubeFact, TaskRestarted
from zenlead.kube.informer import Informer
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import LaneWriter
from zenlead.kube.lease import Elector, NoElection
from zenlead.kube.lru import AsyncLRU
from zenlead.kube.queue import WorkQueue
from zenlead.kube.recorder import ObjectReference, Recorder
from zenlead.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from zenlead.kube.supervise import Heartbeats, Stray, alive, supervise
from zenlead.kube.watch import Kind
from zenlead.lead import contract
from zenlead.lead.wire import WireNode, WirePod, WireService, WireSlice

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from zenlead.controller.announce import Announcement
    from zenlead.controller.facts import ControllerFact
    from zenlead.controller.parameters import Parameters
    from zenlead.controller.selectors import NamespaceIndex
    from zenlead.kube.store import Change, Store
    from zenlead.lead.views import Key, NodeView, PodView, ServiceView, SliceView

NODES_PATIENCE_S = 5.0  # zones are worth this much waiting for at the start, then the work begins without
# Passes that are under way at the end get this long; with the time to give the Lease back it is below 5 s.
STOP_PATIENCE_S = 2.5
INDEXED_NAMESPACES = 10_000  # indexes kept at a time; a namespace beyond that is loaded again when needed


class Controller:
    """All rooms and their tasks: ``run`` until ``stop`` is called or a core task gives up.

    ``api`` is for reading and for the writes of Services and slices; ``election_api`` has connections of its
    own, so that a renewal never waits behind anything. ``wall`` gives Unix seconds.
    """

    def __init__(
        self,
        api: Any,
        election_api: Any,
        parameters: Parameters,
        *,
        wall: Callable[[], float],
        notify: Callable[[KubeFact | ControllerFact], None],
        span: Span = untraced,
    ) -> None:
        self.parameters = parameters
        self._notify = notify
        self._stopping = asyncio.Event()
        self.heartbeats = Heartbeats()
        self.caches = Caches(parameters.index_limit)
        self.index_cache: AsyncLRU[str, NamespaceIndex] = AsyncLRU(
            "selectors",
            self.caches.load_index,
            max_entries=INDEXED_NAMESPACES,
            load_timeout_s=parameters.index_timeout_s,
            notify=notify,
        )
        self.selectors = Selectors(self.caches, self.index_cache)
        self._trigger = Trigger(self.caches, self.selectors)
        self.queue: WorkQueue[Key] = WorkQueue(min_interval_s=parameters.min_interval_s)
        self.elector = _elector(election_api, parameters, wall, self._hear, self.caches.untouched)
        fence, patience = self.elector.fence, self._calm_in_s
        who = parameters.identity
        self.recorder = Recorder(api, who, fence=fence, now=wall, notify=notify, patience=patience)
        self.lanes = _lanes(api, parameters, fence, notify)
        listener = Listener(notify, self._announce, span)
        self.reconciler = Reconciler(
            self.caches, api, self.lanes, listener, wall=wall, options=parameters.options
        )
        rooms = Rooms(self.caches, self.selectors, self.reconciler, self.lanes)
        self.workers = Workers(rooms, self.queue, wall=wall, notify=notify, span=span)
        self._steady = self._informers(api)
        self.pods = self._pod_watches(api)
        self.beside: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}  # other tasks to keep alive
        self.sweep_anew = asyncio.Event()  # the time between sweeps has changed
        self._tasks: set[asyncio.Task[None]] = set()
        self.auditor = Auditor(self.caches, notify)
        self.caches.services.heard, self.caches.slices.heard = self._freed, self._audit

    def __repr__(self) -> str:
        return f"Controller({self.elector!r} {self.workers!r} {self.caches!r})"

    @property
    def informers(self) -> list[Informer[Any]]:
        """Those that run now; the ones of pods come and go."""
        return [*self._steady, *self.pods.informers]

    def _calm_in_s(self) -> float:
        return self.workers.storm.calm_in_s(asyncio.get_running_loop().time())

    def stop(self) -> None:
        """Ask ``run`` to end in good order."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until ``stop``. Raises (in an ExceptionGroup) what a core task could not recover from."""
        released = False
        try:
            async with asyncio.TaskGroup() as group:
                start = functools.partial(self._start_lasting, group)
                for informer in self._steady:
                    start(f"informer {informer.name}", informer.run)
                start("scope", functools.partial(self.pods.run, start, self._end))
                for name, body in self.beside.items():
                    start(name, body)
                work: list[asyncio.Task[None]] = []
                beginning = group.create_task(self._begin(group, work), name="begin")
                await self._stopping.wait()
                await self._finish_passes()
                for task in work:  # what is still under way is abandoned before somebody else may act
                    task.cancel()
                if work:
                    await asyncio.wait(work, timeout=STOP_PATIENCE_S)
                await self.elector.release()
                released = True
                for task in (beginning, *self._tasks):
                    task.cancel()
        finally:
            self.workers.follow()
            if not released:  # a core task gave up: somebody else shall lead, and soon
                await self.elector.release()

    def _start(
        self, group: asyncio.TaskGroup, name: str, body: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None]:
        async def lasting() -> None:
            await body()
            if not self._stopping.is_set():
                raise Stray("it came to an end by itself")

        return group.create_task(supervise(self.heartbeats.heart(name), lasting, self._restarted), name=name)

    def _start_lasting(
        self, group: asyncio.TaskGroup, name: str, body: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None]:
        """Start what goes on while passes are finished and the Lease is given back."""
        task = self._start(group, name, body)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end(self, name: str, task: asyncio.Task[None]) -> None:
        task.cancel()
        self.heartbeats.forget(name)

    def _restarted(self, fact: TaskRestarted) -> None:
        """What died may have left anything half done: look at every Service again, with indexes made anew."""
        self.index_cache.sweep(0.0)
        self.workers.enqueue(dict.fromkeys(self.caches.keys(), Lane.ROUTINE))
        self.pods.look()
        self._notify(fact)

    async def _begin(self, group: asyncio.TaskGroup, work: list[asyncio.Task[None]]) -> None:
        """What waits for full caches: the competition for the Lease and the work."""
        with few_collections():
            await self._filled()
        self._start_lasting(group, "elector", self.elector.run)
        self._start_lasting(group, "sweep", self._sweep)
        work.append(self._start(group, "events", self.recorder.run))

        def hire(name: str, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
            if not self._stopping.is_set():
                work.append(self._start(group, name, body))

        workers, count = self.workers, places(self.parameters.max_concurrent_reconciles)
        for lane, body in ((Lane.URGENT, workers.urgent), (Lane.FRESH, workers.fresh)):
            for number in range(count[lane]):
                hire(f"{lane.label} worker {number}", body)
        workers.seats.set(count[Lane.ROUTINE])
        workers.seats.fill(hire, workers.routine)

    async def _filled(self) -> None:
        for informer in self._steady:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NODES_PATIENCE_S if informer.optional else None):
                    await informer.synced.wait()
        await self.pods.filled()

    async def _finish_passes(self) -> None:
        """No new pass begins; those under way may end."""
        self.workers.follow()
        self.queue.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_PATIENCE_S):
                await self.workers.idle()

    async def _sweep(self) -> None:
        while True:
            idle_s = self.parameters.index_sweep_s
            alive(idle_s)
            try:
                async with asyncio.timeout(idle_s):
                    await self.sweep_anew.wait()
            except TimeoutError:
                self.selectors.sweep(idle_s)
            else:
                self.sweep_anew.clear()

    def _informers(self, api: Any) -> list[Informer[Any]]:
        trigger, caches = self._trigger, self.caches
        ours = f"{contract.SLICE_MANAGED_BY}={contract.MANAGER}"
        followed: list[tuple[Kind[Any], Store[Any], Callable[[Change[Any]], None]]] = [
            (Kind(SERVICES, WireService), caches.services, self._follow_service),
            (Kind(ENDPOINT_SLICES, WireSlice, ours), caches.slices, self._enqueue(trigger.slice)),
        ]
        presence = self.workers.presence
        informer = self._informer(api)
        informers = [
            informer(kind, store, follow, namespace=namespace, left=presence.left, came=self._came)
            for namespace in self.parameters.namespaces or (None,)
            for kind, store, follow in followed
        ]
        for one in informers:
            presence.add(one.name)
        if not self.parameters.namespaces:  # nodes belong to none, and rights in some may not reach them
            nodes: Kind[NodeView] = Kind(NODES, WireNode)
            informers.append(informer(nodes, caches.nodes, self._enqueue(trigger.node), optional=True))
        return informers

    def _informer(self, api: Any) -> functools.partial[Informer[Any]]:
        """What all of them have in common."""
        return functools.partial(
            Informer, api, watch_timeout_s=self.parameters.watch_timeout_s, notify=self._notify
        )

    def _pod_watches(self, api: Any) -> PodWatches:
        presence = self.workers.presence
        informer = functools.partial(
            self._informer(api),
            Kind(PODS, WirePod),
            on_change=self._follow_pod,
            left=presence.left,
            came=self._came,
        )
        return PodWatches(
            self.caches,
            self.selectors,
            informer=informer,
            on_known=self._pods_known,
            presence=presence,
            may_be_wide=not self.parameters.namespaces,
        )

    def _pods_known(self, namespace: str) -> None:
        """Services that were not judged for want of their pods can be, now."""
        self.workers.look_at(source.key for source in self.caches.services.by("sources", namespace))

    def _follow_service(self, change: Change[ServiceView]) -> None:
        self.workers.enqueue(self._trigger.service(change))
        self.pods.look(change.key[0])

    def _came(self, name: str) -> None:
        self.workers.presence.came(name)
        self.workers.back()

    def _enqueue(self, follow: Callable[[Change[Any]], Triggers]) -> Callable[[Change[Any]], None]:
        return lambda change: self.workers.enqueue(follow(change))

    def _follow_pod(self, change: Change[PodView]) -> None:
        """A standby, or a first list of many, need not ask whom each of them concerns."""
        if self.workers.leading:
            self.workers.enqueue(self._trigger.pod(change))
        else:
            self.selectors.keep(change.old, change.new)

    def _hear(self, fact: KubeFact) -> None:
        """Facts of the election steer the workers before anybody else hears of them."""
        if isinstance(fact, ElectionChanged):
            if fact.is_leader:
                self.workers.lead()
                asyncio.get_running_loop().call_soon(self._survey, self.auditor.survey())
            else:
                self.workers.follow()
        self._notify(fact)

    def _survey(self, steps: Iterator[None]) -> None:
        """One step, and the next once everybody else has had a turn: it is about all that there is."""
        over = object()
        if self.workers.leading and next(steps, over) is not over:
            asyncio.get_running_loop().call_soon(self._survey, steps)

    def _audit(self, changes: Sequence[Change[SliceView]]) -> None:
        if self.workers.leading:  # else another replica does
            self.auditor.hear(changes)
        self._freed(changes)

    def _freed(self, changes: Sequence[Change[Any]]) -> None:
        for change in changes:
            self.workers.enqueue(self._trigger.freed(change))

    def _announce(self, source: ServiceView, said: Announcement) -> None:
        if self.parameters.options.dry_run:
            return
        related = said.related
        self.recorder.record(
            regarding=ObjectReference("v1", "Service", source.namespace, source.name, source.uid),
            related=ObjectReference("v1", "Pod", related.namespace, related.name, related.uid)
            if related is not None
            else None,
            type="Warning" if said.warning else "Normal",
            reason=said.reason,
            action=said.action,
            note=said.note,
            dedup=said.dedup,
        )


def _elector(
    api: Any,
    parameters: Parameters,
    wall: Callable[[], float],
    notify: Callable[[KubeFact], None],
    untouched: Callable[[], bool],
) -> Elector | NoElection:
    if not parameters.elect:
        return NoElection(parameters.identity, notify)
    return Elector(api, parameters.election(), notify, now=wall, untouched=untouched)


def _lanes(
    api: Any, parameters: Parameters, fence: Callable[[], float], notify: Callable[[KubeFact], None]
) -> LaneWriter:
    qps, burst, policies = parameters.qps, parameters.burst, parameters.retries
    return LaneWriter(api, fence=fence, qps=qps, burst=burst, policies=policies, notify=notify)
