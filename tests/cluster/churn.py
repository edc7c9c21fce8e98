"""Users, kubelets and workload controllers on many Services at once, as a seed says.

Knows what is done to Services and pods, and keeps its own account of what is there, so that the deeds and
their order follow from the seed and from nothing that the server answers. Refuses to know leaders. The rule:
the deeds of one Service happen one after another, those of different Services side by side.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.cluster.client import StatusError
from tests.cluster.history import ENABLED, LEADER_NAME
from tests.cluster.scene import new_address
from zenlead.kube.resources import SERVICES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cluster.scene import Namespace

Deed: TypeAlias = "Callable[[], Awaitable[Any]]"

STICKY = "zen-lead.io/sticky"
HASH = "pod-template-hash"
GRACE_S = 600  # longer than any run: only another deed ends such a pod
PODS = range(2, 4)  # of a Service, as long as nobody ends one
TOGETHER = 16  # requests that are made side by side while everything is set up
STEP_S = 0.3  # between the steps of a rollout: a kubelet is not faster


@dataclass
class Plot:
    """One Service and its pods, as they are meant to be."""

    name: str
    exists: bool = True
    enabled: bool = True
    renamed: bool = False
    revision: int = 0
    made: int = 0  # pods so far
    running: list[str] = field(default_factory=list)
    ending: list[str] = field(default_factory=list)  # terminating for good
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __repr__(self) -> str:
        return f"Plot({self.name} exists={self.exists} pods={len(self.running)}+{len(self.ending)})"

    def next_pod(self) -> str:
        self.made += 1
        name = f"{self.name}-{self.made}"
        self.running.append(name)
        return name


class Churn:
    """``populate``, then ``run``. ``done`` counts the deeds by kind."""

    def __init__(self, where: Namespace, seed: int, services: int) -> None:
        self._where = where
        self._dice = random.Random(seed)
        self._plots = [Plot(f"s{number}") for number in range(services)]
        self.done: Counter[str] = Counter()
        self._deeds: dict[Callable[[Plot], Deed], int] = {  # with how often each is done
            self._not_ready: 24,
            self._ready: 16,
            self._create_pod: 8,
            self._kill: 8,
            self._drain: 8,
            self._reap: 6,
            self._replace: 4,
            self._deselect: 4,
            self._select: 4,
            self._finish: 4,
            self._lose_address: 4,
            self._move: 4,
            self._roll: 6,
            self._opt_out: 3,
            self._opt_in: 4,
            self._rename: 3,
            self._set_policy: 3,
            self._delete_service: 2,
            self._create_service: 3,
        }

    def __repr__(self) -> str:
        return f"Churn({len(self._plots)} services, {self.done.total()} deeds)"

    async def populate(self) -> None:
        """All Services, opted in, each with its pods."""
        room = asyncio.Semaphore(TOGETHER)

        async def fill(plot: Plot, count: int) -> None:
            async with room:
                await self._service(plot)
                for _ in range(count):
                    await self._pod(plot, plot.next_pod(), ready=True)

        async with asyncio.TaskGroup() as group:
            for plot in self._plots:
                group.create_task(fill(plot, self._dice.choice(PODS)))

    async def run(self, seconds: float, per_s: float) -> None:
        """Deeds at random moments, ``per_s`` on average, for so many seconds; returns when all are done."""
        loop = asyncio.get_running_loop()
        at = started = loop.time()
        kinds, often = list(self._deeds), list(self._deeds.values())
        async with asyncio.TaskGroup() as group:
            while (at := at + self._dice.expovariate(per_s)) < started + seconds:
                await asyncio.sleep(at - loop.time())
                plot = self._dice.choice(self._plots)
                (kind,) = self._dice.choices(kinds, often)
                deed = kind(plot)
                if deed is not _nothing:
                    self.done[kind.__name__.lstrip("_")] += 1
                    group.create_task(_in_turn(plot, deed))

    # --- deeds: what is meant is changed at once, what is there when it is the Service's turn

    def _not_ready(self, plot: Plot) -> Deed:
        return self._status(plot, ready=False)

    def _ready(self, plot: Plot) -> Deed:
        return self._status(plot, ready=True)

    def _lose_address(self, plot: Plot) -> Deed:
        return self._status(plot, addresses=[])

    def _move(self, plot: Plot) -> Deed:
        return self._status(plot, ready=True, addresses=[new_address()])

    def _finish(self, plot: Plot) -> Deed:
        if not plot.running:
            return _nothing
        pod = self._take(plot)
        plot.ending.append(pod)
        return lambda: self._where.pod_status(pod, phase="Failed")  # its conditions still say Ready

    def _status(self, plot: Plot, **status: Any) -> Deed:
        if not plot.running:
            return _nothing
        pod = self._dice.choice(plot.running)
        return lambda: self._where.pod_status(pod, **status)

    def _create_pod(self, plot: Plot) -> Deed:
        if len(plot.running) >= PODS.stop - 1:
            return _nothing
        pod, ready = plot.next_pod(), self._dice.random() < 0.8
        return lambda: self._pod(plot, pod, ready=ready)

    def _kill(self, plot: Plot) -> Deed:
        if not plot.running:
            return _nothing
        pod = self._take(plot)
        return lambda: self._end(pod, 0)

    def _drain(self, plot: Plot) -> Deed:
        if not plot.running:
            return _nothing
        pod = self._take(plot)
        plot.ending.append(pod)
        return lambda: self._end(pod, GRACE_S)

    def _reap(self, plot: Plot) -> Deed:
        if not plot.ending:
            return _nothing
        pod = plot.ending.pop(0)
        return lambda: self._end(pod, 0)

    def _replace(self, plot: Plot) -> Deed:
        """A pod goes and another comes under its name, as a StatefulSet does it."""
        if not plot.running:
            return _nothing
        pod = self._dice.choice(plot.running)

        async def replace() -> None:
            await self._end(pod, 0)
            await self._pod(plot, pod, ready=True)

        return replace

    def _deselect(self, plot: Plot) -> Deed:
        return self._label(plot, "elsewhere")

    def _select(self, plot: Plot) -> Deed:
        return self._label(plot, plot.name)

    def _label(self, plot: Plot, app: str) -> Deed:
        if not plot.running:
            return _nothing
        pod = self._dice.choice(plot.running)
        return lambda: self._where.relabel(pod, {"app": app})

    def _roll(self, plot: Plot) -> Deed:
        """A rollout: for each pod a new one of the next revision, then the old one is ended."""
        old, plot.running = plot.running, []
        plot.revision += 1
        revision = plot.revision
        steps = [(pod, plot.next_pod(), self._dice.choice([0, GRACE_S])) for pod in old]
        plot.ending += [pod for pod, _, grace_s in steps if grace_s]

        async def roll() -> None:
            for pod, following, grace_s in steps:
                await self._pod(plot, following, ready=True, revision=revision)
                await asyncio.sleep(STEP_S)
                await self._end(pod, grace_s)

        return roll if steps else _nothing

    def _opt_out(self, plot: Plot) -> Deed:
        return self._opt(plot, enabled=False)

    def _opt_in(self, plot: Plot) -> Deed:
        return self._opt(plot, enabled=True)

    def _opt(self, plot: Plot, *, enabled: bool) -> Deed:
        if not plot.exists or plot.enabled is enabled:
            return _nothing
        plot.enabled = enabled
        return lambda: self._where.annotate(plot.name, {ENABLED: "true" if enabled else None})

    def _rename(self, plot: Plot) -> Deed:
        if not plot.exists:
            return _nothing
        plot.renamed = not plot.renamed
        name = f"{plot.name}-front" if plot.renamed else None
        return lambda: self._where.annotate(plot.name, {LEADER_NAME: name})

    def _set_policy(self, plot: Plot) -> Deed:
        if not plot.exists:
            return _nothing
        value = self._dice.choice(["true", "false", "no boolean", None])
        return lambda: self._where.annotate(plot.name, {STICKY: value})

    def _delete_service(self, plot: Plot) -> Deed:
        if not plot.exists:
            return _nothing
        plot.exists = False
        return lambda: self._where.client.delete(SERVICES, self._where.name, plot.name)

    def _create_service(self, plot: Plot) -> Deed:
        if plot.exists:
            return _nothing
        plot.exists, plot.enabled, plot.renamed = True, True, False
        return lambda: self._service(plot)

    # --- requests

    def _take(self, plot: Plot) -> str:
        return plot.running.pop(self._dice.randrange(len(plot.running)))

    async def _service(self, plot: Plot) -> None:
        await self._where.service(plot.name)

    async def _pod(self, plot: Plot, name: str, *, ready: bool, revision: int = 0) -> None:
        await self._where.pod(name, labels={"app": plot.name, HASH: f"r{revision}"}, ready=ready)

    async def _end(self, pod: str, grace_s: int) -> None:
        try:
            await self._where.delete_pod(pod, grace_s=grace_s)
        except StatusError as error:
            if error.status != 404:  # a finished pod is gone at once, whatever grace it was given
                raise


async def _nothing() -> None:
    """The deed that is not possible now."""


async def _in_turn(plot: Plot, deed: Deed) -> None:
    async with plot.turn:
        await deed()
