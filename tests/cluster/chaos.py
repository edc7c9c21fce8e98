"""Random ordeals for the replicas, one after another, as a seed says; and when each began and ended.

Knows episodes: an ordeal or two, then a span in which all is well. Refuses to know what happens on the
cluster meanwhile. The rule: only what befell the replica that works excuses anything.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.ordeals import ORDEALS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.cluster.ordeals import Ordeal, Replica

FAULT_S = (2.0, 8.0)
# From each heal on: what converges within 10 s is fine, and then there is time for the bounds to be tried.
CONVERGES_S = 10.0
WELL_S = (CONVERGES_S + 2.0, CONVERGES_S + 5.0)
TWO_AT_ONCE = 0.25  # share of episodes
BOTH = 0.3  # share of ordeals that befall both replicas
OUTLIVES_S = 2.0  # by so much a lapse may outlive what is excused (the judge's bound)


@dataclass(frozen=True)
class Episode:
    """What happened, to whom (numbers of replicas), and when; ``excuses``: it befell the one that worked."""

    ordeals: tuple[tuple[str, tuple[int, ...]], ...]
    started: float
    healed: float
    excuses: bool

    def __str__(self) -> str:
        what = ", ".join(f"{name} of {'+'.join(map(str, whom))}" for name, whom in self.ordeals)
        return f"{self.started:.1f}-{self.healed:.1f} {what}{'' if self.excuses else ' (standby only)'}"

    @property
    def span(self) -> tuple[float, float]:
        """What is excused: as long as it lasts, and until all must have converged."""
        return self.started, self.healed + CONVERGES_S - OUTLIVES_S


class Chaos:
    """``run`` it; ``episodes`` is what happened. ``holder`` gives the name in the Lease."""

    def __init__(self, replicas: Sequence[Replica], seed: int, holder: Callable[[], Awaitable[str]]) -> None:
        self._replicas = replicas
        self._dice = random.Random(seed)
        self._holder = holder
        self.episodes: list[Episode] = []

    def __repr__(self) -> str:
        return f"Chaos({len(self.episodes)} episodes)"

    @property
    def counted(self) -> Counter[str]:
        return Counter(name for episode in self.episodes for name, _ in episode.ordeals)

    @property
    def excused(self) -> list[tuple[float, float]]:
        return [episode.span for episode in self.episodes if episode.excuses]

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while loop.time() < ends:
            await self._episode()
            await asyncio.sleep(self._dice.uniform(*WELL_S))

    async def _episode(self) -> None:
        """The draws are all made at once and in order, so that they follow from the seed alone."""
        loop, dice = asyncio.get_running_loop(), self._dice
        lasts_s, plans = dice.uniform(*FAULT_S), self._plans()
        seeds = [dice.randrange(1 << 32) for _ in range(2 * len(self._replicas))]
        touched = {number for _, whom in plans for number in whom}
        before, started = await self._holder(), loop.time()
        async with AsyncExitStack() as stack:
            for ordeal, whom in plans:
                for number in whom:
                    own = random.Random(seeds.pop())
                    await stack.enter_async_context(ordeal(self._replicas[number], own))
            await asyncio.sleep(lasts_s)
        names = {name for number in touched for name in self._replicas[number].names}
        excuses = before in names or before != await self._holder()
        named = tuple((ordeal.__name__, whom) for ordeal, whom in plans)
        self.episodes.append(Episode(named, started, loop.time(), excuses))

    def _plans(self) -> list[tuple[Ordeal, tuple[int, ...]]]:
        dice, everybody = self._dice, tuple(range(len(self._replicas)))
        if dice.random() < TWO_AT_ONCE:  # a different one for each
            return [(dice.choice(ORDEALS), (number,)) for number in everybody]
        whom = everybody if dice.random() < BOTH else (dice.choice(everybody),)
        return [(dice.choice(ORDEALS), whom)]
