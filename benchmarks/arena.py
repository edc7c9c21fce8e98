"""Everything that is alive during a run, and the sides between which samples alternate.

Knows which slice tells of which side's reaction. Refuses to know scenarios.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Protocol

from benchmarks.contestants import start_native
from benchmarks.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from benchmarks.client import Client
    from benchmarks.contestants import Contestant, Usage, Zenlead
    from benchmarks.observer import Key, Observer, Targets
    from benchmarks.scene import Group
    from tests.cluster.controlplane import ControlPlane

FREEZE_SETTLE_S = 0.03  # a frozen process is off its core, and what it had sent has been answered


class Process(Protocol):
    def usage(self) -> Usage: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class Side:
    """One contestant with the Services it is measured on. ``slice_name`` gives its slice's Service."""

    def __init__(self, name: str, group: Group, process: Process, observer: Observer) -> None:
        self.name = name
        self.group = group
        self.process = process
        self._observer = observer

    def slice_key(self, service: str) -> Key:
        suffix = "" if self.name == "native" else "-leader"
        return self.group.namespace, service + suffix

    def victim(self, service: str) -> str:
        """The pod whose failing this side has to react to: the leader, or any ready pod."""
        targets = self._observer.targets[self.slice_key(service)]
        return next(pod for pod, ready in targets.items() if ready)

    def reaction(self, service: str, victim: str) -> asyncio.Future[float]:
        """The time at which the side's slice stops sending traffic to the victim (and sends it elsewhere)."""

        def moved(targets: Targets) -> bool:
            return any(ready for ready in targets.values()) and not targets.get(victim, False)

        return self._observer.expect(self.slice_key(service), moved)


class Arena:
    """What scenarios are given."""

    def __init__(
        self, plane: ControlPlane, client: Client, observer: Observer, *, services: int, seed: int
    ) -> None:
        self.plane = plane
        self.client = client
        self.observer = observer
        self.services = services
        self.random = random.Random(seed)
        self.native: Contestant | None = None
        self.floor: Contestant | None = None
        self.zenlead: Zenlead | None = None

    def say(self, text: str) -> None:
        print(text, flush=True)

    @contextlib.asynccontextmanager
    async def frozen(self, processes: Iterable[Process]) -> AsyncIterator[None]:
        """Inside, these processes stand still; afterwards they catch up with what they missed."""
        chosen = list(processes)
        try:
            for process in chosen:
                process.freeze()
            await asyncio.sleep(FREEZE_SETTLE_S)
            yield
        finally:
            for process in chosen:
                process.thaw()

    def start_native(self) -> Contestant:
        self.native = start_native(self.plane)
        return self.native

    def stop_native(self) -> None:
        if self.native is not None:
            self.native.close()
            self.native = None

    async def settled(self) -> float:
        return await quiet(self.client)

    async def recover(self, *groups: Group) -> None:
        """All pods ready, all contestants done with it."""
        for group in groups:
            await group.recover()
        await self.settled()

    def close(self) -> None:
        for process in (self.zenlead, self.native, self.floor):
            if process is not None:
                process.close()


async def gather_times(
    futures: dict[str, asyncio.Future[float]], timeout_s: float, what: Callable[[], str]
) -> dict[str, float]:
    """All times; TimeoutError names how many are missing."""
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*futures.values())
    except TimeoutError:
        missing = [name for name, future in futures.items() if not future.done() or future.cancelled()]
        raise TimeoutError(
            f"{what()}: {len(missing)} of {len(futures)} not seen in {timeout_s:.0f} s: {missing[:3]}"
        ) from None
    return {name: future.result() for name, future in futures.items()}
