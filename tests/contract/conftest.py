"""The implementations that every contract test runs on: in memory, over HTTP, and the real API server.

``world`` has one parameter for each. The real one comes from the cluster fixtures and carries their mark.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.contract.world import World, open_namespace
from zenlead.kube.api import connect
from zenlead.kube.resources import PODS
from zenlead.sandbox.apiserver import ApiServer
from zenlead.sandbox.box import Sandbox
from zenlead.sandbox.kinds import NAMESPACES
from zenlead.sandbox.memory import MemoryApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from zenlead.kube.api import HttpApi


def _fresh() -> str:
    return f"c-{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def memory_world() -> World:
    api = MemoryApi(ApiServer(time.time, random.Random(1)))
    name = _fresh()
    await open_namespace(api, name)
    return World(api, name)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(kubeconfig=tmp_path / "sandbox.kubeconfig") as running:
        yield running


@pytest.fixture
async def sandbox_world(box: Sandbox) -> AsyncIterator[World]:
    api = await connect(kubeconfig=str(box.kubeconfig), context=None)
    name = _fresh()
    await open_namespace(api, name)
    yield World(api, name)
    await api.close()


@pytest.fixture
async def real_world(real_api: HttpApi) -> AsyncIterator[World]:
    name = _fresh()
    await open_namespace(real_api, name)
    world = World(real_api, name)
    yield world
    for held in (await world.list(PODS))["items"]:
        await world.delete(PODS, held["metadata"]["name"], gracePeriodSeconds=0)
    await real_api.delete(NAMESPACES, "", name, b"")


IMPLEMENTATIONS = ("memory", "sandbox", pytest.param("real", marks=pytest.mark.cluster))


@pytest.fixture(params=IMPLEMENTATIONS)
def world(request: pytest.FixtureRequest) -> World:
    chosen: World = request.getfixturevalue(f"{request.param}_world")
    return chosen
