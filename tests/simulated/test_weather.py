"""Random weather and random churn from many seeds: never wrong, and right again within a stated time.

The same judge as over the runs on a real server, and every fault of the vocabulary in one storm or another.
``ZENLEAD_TEST_SEEDS`` says how many seeds.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import fields

import pytest

from tests.cluster.history import history
from tests.cluster.invariants import Bounds, judge
from tests.cluster.witness import Witness, known_to_writers
from tests.simulated.cluster import Cluster, Hands
from tests.simulated.eyewitness import eyewitness
from tests.simulated.faultyapi import Weather
from tests.simulated.test_quiet import populate
from zenlead.kube import watch as lists

SEEDS = range(int(os.environ.get("ZENLEAD_TEST_SEEDS", "4")))
SERVICES = 12
BETWEEN_DEEDS_S = 0.15  # mean
STORMS = 3
STORM_S = (5.0, 40.0)
CALM_S = 60.0
# When a storm ends, a request that was lost is given up after 10 s, a key may wait for the rest of its
# backoff (30 s at most), and a watch that is dead is found out after 40 s.
CONVERGES_S = 45.0
BOUNDS = Bounds(unfit_s=0.5, unserved_s=1.0, stale_s=1.0)
READING_S = 0.1
MOST = {"slow_s": 0.5}  # seconds; of all else the largest probability is this
MOST_LIKELY = 0.15


def storm(dice: random.Random) -> Weather:
    """Half of all that can happen, each with a probability of its own."""
    chosen = [f.name for f in fields(Weather) if dice.random() < 0.5]
    return Weather(**{name: dice.uniform(0.0, MOST.get(name, MOST_LIKELY)) for name in chosen})


@pytest.mark.parametrize("seed", SEEDS)
async def test_storms_over_a_churning_cluster(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, dice = asyncio.get_running_loop(), random.Random(seed)
    if seed % 2:  # more than two count as many, which are asked for as a stream
        monkeypatch.setattr(lists, "PAGE_SIZE", 2)
        monkeypatch.setattr(lists, "MANY", 0)
    random.seed(seed)  # zenlead's own jitter
    async with Cluster(seed) as cluster:
        keys = await populate(cluster, SERVICES)
        hands = Hands(cluster)
        # The judge knows of no meddlers, of no name that several want, and not which of two lives under one
        # name a write is of that was on its way for long.
        honest = {hands.flip, hands.end_pod, hands.more_pods, hands.relabel, hands.move, hands.finish}
        honest |= {hands.opt, hands.rename}
        hands.deeds = [deed for deed in hands.deeds if deed in honest]
        witness = Witness(cluster.network, READING_S)
        async with eyewitness(cluster.api) as recorder:
            await cluster.start()
            await cluster.settles(CONVERGES_S)
            excused = [(0.0, loop.time())]
            churning = asyncio.create_task(churn(hands, dice, keys))
            for _ in range(STORMS):
                excused.append(await rage(cluster, dice))
                await asyncio.sleep(CALM_S)
            churning.cancel()
            await cluster.settles(CONVERGES_S)
            await asyncio.sleep(60.0)  # Events, and writes that were late
        known = known_to_writers([witness], recorder.log)
        verdict = judge(history(recorder.log), bounds=BOUNDS, excused=excused, known=known)
        assert verdict.faults == [], f"{verdict}; {excused}"
        assert verdict.counted["x changed"] > 0


async def churn(hands: Hands, dice: random.Random, keys: list[tuple[str, str]]) -> None:
    while True:
        await asyncio.sleep(dice.expovariate(1 / BETWEEN_DEEDS_S))
        await hands.act(*dice.choice(keys))


async def rage(cluster: Cluster, dice: random.Random) -> tuple[float, float]:
    """One storm, at times with a server that goes away; returns what it excuses."""
    started = asyncio.get_running_loop().time()
    networks = cluster.network, cluster.lease_network
    weather, lasts_s = storm(dice), dice.uniform(*STORM_S)
    away_s = dice.choice([0.0, 0.0, dice.uniform(0.0, lasts_s)])
    for network in networks:
        network.weather, network.calm, network.away_until = weather, False, started + away_s
    await asyncio.sleep(lasts_s)
    for network in networks:
        network.calm = True
    return started, asyncio.get_running_loop().time() + CONVERGES_S
