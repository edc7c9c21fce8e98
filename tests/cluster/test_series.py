"""Two hundred Services in as many namespaces come and go on a real server, and so do their series."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.cluster.scene import NAMESPACES, Namespace, eventually
from zenlead.kube.resources import SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import KubeClient
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.zenlead_process import ZenleadProcess

MANY = 200
AT_A_TIME = 20  # requests of the test under way
WITHIN_S = 60.0
PAUSE_S = 0.5  # between scrapes: there are many series, and everybody shares the machine
SCRAPE_TIMEOUT_S = 10.0  # as Prometheus has it
OTHERS = (
    60  # lines about no namespace that begin meanwhile: kinds of API calls and of their errors, of retries
)
NAMESPACE_GOES = 10  # one in so many is deleted whole, which costs the server some fifty requests


@pytest.mark.timeout(300)
async def test_series_of_200_namespaces_come_and_go(
    admin: KubeClient, namespace: Namespace, zenlead_process: StartZenlead
) -> None:
    zenlead = await zenlead_process("--watch-namespaces=", "--qps=0")
    run = uuid.uuid4().hex[:8]
    await life(admin, zenlead, [f"warm-{run}-{number}" for number in range(3)])
    before = await series(zenlead)
    assert of_somebody(before) == set()
    most = await life(admin, zenlead, [f"many-{run}-{number:03d}" for number in range(MANY)])
    after = await series(zenlead)
    assert of_somebody(after) == set()
    assert len(after) <= len(before) + OTHERS
    assert len(most) > len(before) + 20 * MANY


def of_somebody(lines: set[str]) -> set[str]:
    """The series of a namespace."""
    return {line for line in lines if re.search(r'namespace="[^"]', line)}


async def series(zenlead: ZenleadProcess) -> set[str]:
    """The names and labels of what is scraped."""
    await asyncio.sleep(PAUSE_S)
    status, text = await zenlead.http(zenlead.metrics_url, timeout_s=SCRAPE_TIMEOUT_S)
    assert status == 200
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


async def life(admin: KubeClient, zenlead: ZenleadProcess, names: list[str]) -> set[str]:
    """A Service in each namespace, which opts out, is deleted, or goes with its namespace. The series while
    all were there. (What is left of the namespaces is empty, and ends with the server.)"""
    spaces = [Namespace(admin, name) for name in names]
    turns = asyncio.Semaphore(AT_A_TIME)

    async def begin(space: Namespace) -> None:
        async with turns:
            await space.open()
            await space.service("web")

    async def end(number: int, space: Namespace) -> None:
        async with turns:
            if number % NAMESPACE_GOES == 0:
                await admin.delete(NAMESPACES, None, space.name)
            elif number % 2:
                await space.annotate("web", {"zen-lead.io/enabled": None})
            else:
                await admin.delete(SERVICES, space.name, "web")

    def about_one(name: str) -> str:
        return f'zen_lead_leader_stable{{namespace="{name}",service="web"}}'

    async def all_there() -> set[str] | None:
        found = await series(zenlead)
        return found if {about_one(name) for name in names} <= found else None

    async def none_left() -> bool:
        run = names[0].rpartition("-")[0]
        return not [line for line in await series(zenlead) if run in line]

    await asyncio.gather(*map(begin, spaces))
    most = await eventually(all_there, "series of each Service", timeout_s=WITHIN_S)
    await asyncio.gather(*(end(number, space) for number, space in enumerate(spaces)))
    await eventually(none_left, "no series of any of them", timeout_s=WITHIN_S)
    return most
