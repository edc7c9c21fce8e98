"""The watches of pods, as they come and go with the namespaces that have opted-in Services.

Knows the tasks and how far each watch has come. Refuses to choose (scope.py does) and to judge pods.
Rule: what a namespace's Services are told of it is all of it or nothing: they wait for the first list.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from zenlead.controller.scope import NARROW_LIMIT, Plan, Wanted, Watch, plan
from zenlead.kube.informer import Informer  # noqa: TC001 - a field of a Struct
from zenlead.kube.joint import Joint, Part
from zenlead.kube.supervise import alive, at_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zenlead.controller.caches import Caches, Selectors
    from zenlead.controller.presence import Presence
    from zenlead.lead.views import PodView

# How soon it is seen that a new watch knows all that an old one does; until then both run: nothing is late.
HANDOVER_LOOK_S = 0.1

Starter: TypeAlias = "Callable[[str, Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]]"
Stopper: TypeAlias = "Callable[[str, asyncio.Task[None]], None]"


class _Running(msgspec.Struct):
    namespace: str | None
    name: str  # of the task
    informer: Informer[PodView]
    part: Part[PodView]
    task: asyncio.Task[None]


class PodWatches:
    """``informer`` makes one of a Part and a ``namespace``; ``on_known`` hears of each namespace whose pods
    are now known. ``may_be_wide``: whether all namespaces may be watched at once.
    """

    def __init__(
        self,
        caches: Caches,
        selectors: Selectors,
        *,
        informer: Callable[..., Informer[PodView]],
        on_known: Callable[[str], None],
        presence: Presence,
        may_be_wide: bool,
    ) -> None:
        self._caches = caches
        self._selectors = selectors
        self._informer = informer
        self._on_known = on_known
        self._presence = presence
        self._limit = NARROW_LIMIT if may_be_wide else None
        self._joint: Joint[PodView] = Joint(caches.pods, "namespace", self._is_known)
        self._wanted = Wanted()
        self._running: dict[int, _Running] = {}
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._begun = False  # whether the first lists are in
        caches.knows_pods = self._joint.knows

    def __repr__(self) -> str:
        return f"PodWatches({self._wanted!r} {[it.informer for it in self._running.values()]})"

    @property
    def informers(self) -> list[Informer[PodView]]:
        """Those that run now."""
        return [running.informer for running in self._running.values()]

    def look(self, namespace: str | None = None) -> None:
        """A Service of the namespace changed; without one, anything may have."""
        served = self._caches.services.values_of("sources")
        if namespace is None or (namespace in served) != (namespace in self._wanted):
            self._wake.set()

    def problems(self) -> dict[str, str | None]:
        """By the name of each watch what keeps it from working. That the first list of a namespace has not
        come yet is one only at the start: later that is the everyday life of a namespace that is new."""
        found: dict[str, str | None] = {}
        for informer in self.informers:
            problem = informer.problem if informer.error is not None or not self._begun else None
            found[informer.name] = found.get(informer.name) or problem
        return found

    async def filled(self) -> None:
        """Return once the pods of all namespaces that are served now are known. Those that may not be read
        are not waited for, so that the others are served; unless there are no others."""
        while missing := [ns for ns in self._served() if not self._joint.knows(ns)]:
            refused = {ns for it in self._running.values() if it.informer.refused for ns in it.part.covers}
            if refused.issuperset(missing) and len(missing) < len(self._served()):
                break
            await asyncio.sleep(HANDOVER_LOOK_S)
        self._begun = True

    async def run(self, start: Starter, stop: Stopper) -> None:
        """Start and stop watches for ever; ``start`` and ``stop`` do so with their tasks."""
        loop = asyncio.get_running_loop()
        while True:
            alive()
            self._wake.clear()
            for namespace in self._wanted.look(self._served(), loop.time()):
                self._drop(namespace)
            planned = plan(self._wanted.namespaces, self._watches(), self._limit)
            self._carry_out(planned, start, stop)
            await self._rest(planned, loop.time())

    async def _rest(self, planned: Plan, now: float) -> None:
        """Until there may be something to do."""
        next_at = now + HANDOVER_LOOK_S if not planned.settled else self._wanted.next_at()
        if next_at is None:
            at_rest()
        else:
            alive(max(0.0, next_at - now))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(next_at):
                await self._wake.wait()

    def _served(self) -> set[str]:
        return {str(namespace) for namespace in self._caches.services.values_of("sources")}

    def _watches(self) -> list[Watch]:
        return [
            Watch(
                number,
                it.namespace,
                covers=it.part.covers,
                level={namespace for namespace in it.part.covers if it.part.is_level(namespace)},
                listed=it.part.listed,
            )
            for number, it in self._running.items()
        ]

    def _carry_out(self, planned: Plan, start: Starter, stop: Stopper) -> None:
        for namespace in planned.start:
            part = Part(self._joint, self._wanted.namespaces if namespace is None else (namespace,))
            informer, number = self._informer(part, namespace=namespace), next(self._numbers)
            name = f"informer {informer.name}"
            if name in {it.name for it in self._running.values()}:  # a wide one that takes over from another
                name += f" ({number})"
            self._presence.add(informer.name)
            task = start(name, informer.run)
            self._running[number] = _Running(namespace, name, informer, part, task)
        for number in planned.stop:
            ended = self._running.pop(number)
            stop(ended.name, ended.task)
            if ended.informer.name not in {informer.name for informer in self.informers}:
                self._presence.drop(ended.informer.name)

    def _drop(self, namespace: str) -> None:
        for running in self._running.values():
            running.part.covers.discard(namespace)
        self._joint.drop(namespace)
        self._selectors.forget(namespace)

    def _is_known(self, namespace: str) -> None:
        # An index that somebody made before does not have these pods, and is not told of them all at once.
        self._selectors.renew(namespace)
        self._on_known(namespace)
