"""Services and pods that come and go a hundred thousand times: whatever was known of them goes with them.

Names, namespaces, labels, addresses and nodes are new each time, so nothing can hide by being the same.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from tests.simulated.clock import WallClock
from tests.simulated.growth import blocks, empty_caches, grown, sizes
from tests.simulated.instantapi import InstantApi
from zenlead.controller.assembly import Controller
from zenlead.controller.parameters import Parameters
from zenlead.controller.run import gauged
from zenlead.kube.recorder import RECENT_LIMIT
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES
from zenlead.lead.shared import SHARED, Shared
from zenlead.observe.metrics import Build, Metrics

# Each cycle creates and deletes one object. The life of a Service, with five objects and some ten passes,
# costs thirty times what the life of a pod does that nobody selects, so there are fewer of them.
SERVICES_COUNT = 1_000
PODS_COUNT = 100_000 - 5 * SERVICES_COUNT
BATCH = 100
SELECTED = 31  # every so many-th of the pods is one of a Service that stays
# What is bounded may fill up to its bound: so much of it before the first look.
WARM_UP = 500
# A block for every twentieth cycle would be a leak that a quarter of a year shows.
BLOCKS_PER_CYCLE = 0.05


class Churn:
    """A controller with its metrics over an InstantApi; no two of the objects that it sees are alike."""

    def __init__(self) -> None:
        self.api = InstantApi()
        self.wall = WallClock()
        loop = asyncio.get_running_loop()
        self.controller = Controller(
            self.api,
            self.api,
            Parameters(identity="zenlead-0", lease_namespace="default", qps=0.0),
            wall=self.wall,
            notify=self._hear,
        )
        self.metrics = Metrics(
            build=Build(version="0", commit="", build_date=""),
            now=self.wall,
            monotonic=loop.time,
            rooms=gauged(self.controller),
            per_service=True,
        )
        self._numbers = itertools.count()

    def _hear(self, fact: Any) -> None:
        self.metrics.observe(fact)

    def _pod(self, name: str, app: str, number: int) -> bytes:
        labels = {"app": app, "pod-template-hash": f"h{number}", f"key-{number}": "x"}
        port = {"name": f"p{number % 1000}", "containerPort": 1 + number % 60000}
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
        address = f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"
        status = {
            "phase": "Running",
            "conditions": [condition],
            "podIP": address,
            "podIPs": [{"ip": address}],
        }
        spec = {"nodeName": f"n{number}", "containers": [{"name": "main", "ports": [port]}]}
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}
        return json.dumps(body).encode()

    async def services(self, count: int) -> None:
        """So many lives of a Service with two pods in a namespace of its own: opted in, failed over, gone."""
        for _ in range(0, count, BATCH):
            lives = [
                (f"ns{number}", f"s{number}", number) for number in itertools.islice(self._numbers, BATCH)
            ]
            for namespace, service, number in lives:
                source: dict[str, Any] = {
                    "metadata": {"name": service, "annotations": {"zen-lead.io/enabled": "true"}},
                    "spec": {
                        "selector": {"app": service},
                        "ports": [{"name": "http", "port": 80, "targetPort": f"p{number % 1000}"}],
                    },
                }
                await self.api.create(SERVICES, namespace, json.dumps(source).encode())
                for pod in ("a", "b"):
                    body = self._pod(f"{service}-{pod}", service, number)
                    await self.api.create(PODS, namespace, body)
            await asyncio.sleep(1.0)
            assert self.api.count(ENDPOINT_SLICES) == len(lives) + 1
            for namespace, service, _ in lives:
                await self.api.delete(PODS, namespace, f"{service}-a", b"{}")
            await asyncio.sleep(1.0)
            for namespace, service, _ in lives:
                await self.api.delete(SERVICES, namespace, service, b"{}")
                await self.api.delete(PODS, namespace, f"{service}-b", b"{}")
            await asyncio.sleep(1.0)

    async def rest(self) -> None:
        """Until whatever lingers on purpose has gone: indexes that nobody asks for, names just forgotten."""
        await asyncio.sleep(700.0)
        empty_caches()
        SHARED.__init__()  # type: ignore[misc]  # bounded by a table that is emptied whole, now or later
        self.controller.recorder._recent.clear()  # bounded likewise

    def series(self) -> int:
        return "".join(self.metrics.pieces()).count("\n")

    async def pods(self, count: int) -> None:
        """So many pods that come and go in namespaces with and without an opted-in Service."""
        for _ in range(0, count, BATCH):
            numbers = list(itertools.islice(self._numbers, BATCH))
            for number in numbers:
                namespace = "busy" if number % 2 else f"ns{number}"
                body = self._pod(f"pod-{number}", f"app{number}" if number % SELECTED else "busy", number)
                await self.api.create(PODS, namespace, body)
            await asyncio.sleep(0.01)
            for number in numbers:
                await self.api.delete(PODS, "busy" if number % 2 else f"ns{number}", f"pod-{number}", b"{}")
            await asyncio.sleep(0.01)


@pytest.mark.timeout(400)
async def test_a_hundred_thousand_lives_leave_nothing_behind() -> None:
    churn = Churn()
    task = asyncio.create_task(churn.controller.run())
    service = {
        "metadata": {"name": "busy", "annotations": {"zen-lead.io/enabled": "true"}},
        "spec": {"selector": {"app": "busy"}, "ports": [{"name": "http", "port": 80}]},
    }
    await churn.api.create(SERVICES, "busy", json.dumps(service).encode())
    await asyncio.sleep(30.0)
    await churn.services(WARM_UP)
    await churn.pods(WARM_UP)
    await churn.rest()
    size, held, series = sizes(churn), blocks(), churn.series()
    await churn.services(SERVICES_COUNT)
    assert churn.controller.recorder._recent, "nothing was told"
    assert all(len(table) <= Shared.LIMIT for table in (SHARED._labels, SHARED._values))
    assert len(churn.controller.recorder._recent) <= RECENT_LIMIT
    await churn.pods(PODS_COUNT)
    await churn.rest()
    assert grown(size, sizes(churn)) == {}
    assert churn.series() == series
    more = blocks() - held
    assert more <= BLOCKS_PER_CYCLE * (SERVICES_COUNT + PODS_COUNT), f"{more} blocks more"
    churn.controller.stop()
    await task
