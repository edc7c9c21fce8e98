"""Series of Services and namespaces that came and went: the metrics are back where they began."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.simulated.cluster import ENABLED, Cluster
from zenlead.controller.facts import LeaderMoved, Reconciled
from zenlead.kube.resources import PODS, SERVICES
from zenlead.observe.metrics import Metrics
from zenlead.observe.rooms import Build

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.virtual_clock

NAMESPACES = 200
WITHIN_S = 60.0


class Counted(Cluster):
    """A cluster whose controller has metrics."""

    def __init__(self, seed: int, *, per_service: bool) -> None:
        super().__init__(seed, qps=0.0)
        loop = asyncio.get_running_loop()
        self.metrics = Metrics(build=Build("1"), now=self.wall, monotonic=loop.time, per_service=per_service)
        self.facts = Ears(self.facts, self.metrics)

    def series(self) -> set[str]:
        """All but those of watches that were connected again: they are about no Service, and few."""
        lines = "".join(self.metrics.pieces()).splitlines()
        passing = ("#", "zen_lead_watch_restarts_total")
        return {line.rpartition(" ")[0] for line in lines if not line.startswith(passing)}


class Ears(list["Any"]):
    """Facts, and the metrics that hear each of them, too."""

    def __init__(self, facts: list[Any], metrics: Metrics) -> None:
        super().__init__(facts)
        self._metrics = metrics

    def append(self, fact: Any) -> None:
        super().append(fact)
        self._metrics.observe(fact)


@pytest.mark.parametrize("per_service", [True, False])
async def test_services_of_200_namespaces_come_and_go(per_service: bool) -> None:
    async with Counted(1, per_service=per_service) as cluster:
        await cluster.start()
        await life(cluster, ["warm-0", "warm-1"])  # what is about no Service begins with the first and stays
        before = cluster.series()
        assert not any("warm" in line for line in before)
        names = [f"ns-{number}" for number in range(NAMESPACES)]
        most = await life(cluster, names)
        assert cluster.series() == before
        assert len(most) > len(before) + 20 * NAMESPACES
        assert (
            len([f for f in cluster.facts if isinstance(f, LeaderMoved) and f.reason == "notReady"])
            >= NAMESPACES
        )
        assert {fact.namespace for fact in cluster.facts if isinstance(fact, Reconciled)} > set(names)


async def life(cluster: Counted, namespaces: list[str]) -> set[str]:
    """A Service in each: opted in, failed over, opted out or deleted. The series while all were there."""
    leaders = {}
    for name in namespaces:
        await cluster.namespace(name)
        leaders[name] = await cluster.pod(name, "web")
        await asyncio.sleep(1)
        await cluster.pod(name, "web")
        await cluster.service(name, "web")
    await cluster.settles(WITHIN_S)
    for name, leader in leaders.items():
        await cluster.status(name, leader, ready=False)
    await cluster.settles(WITHIN_S)
    most = cluster.series()
    for number, name in enumerate(namespaces):
        if number % 2:
            await cluster.patch(SERVICES, name, "web", {"metadata": {"annotations": {ENABLED: None}}})
        else:
            await cluster.delete(SERVICES, name, "web")
        await cluster.delete(PODS, name, leaders[name], gracePeriodSeconds=0)
    await asyncio.sleep(WITHIN_S)
    return most
