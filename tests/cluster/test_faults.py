"""The fault layer does what it is told, below HTTP too, and nothing else; seen by a plain client."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cluster.client import KubeClient, StatusError
from tests.cluster.faultproxy import Answer, Delay, DropReply, Hang, Late, refusal
from zenlead.kube.resources import PODS, SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.scene import Namespace

HELD_S = 0.3


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def through(proxy: FaultProxy, controlplane: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client that goes through ``proxy``."""
    url = f"https://127.0.0.1:{proxy.port}"
    async with KubeClient(url, ca=proxy.ca, token=controlplane.token) as client:
        yield client


async def test_without_an_order_all_passes(namespace: Namespace, through: KubeClient) -> None:
    made = await namespace.pod("web-0")
    assert await through.get(PODS, namespace.name, "web-0") == made
    with pytest.raises(StatusError, match="404"):
        await through.get(PODS, namespace.name, "web-1")


async def test_what_happens_to_requests(namespace: Namespace, through: KubeClient, proxy: FaultProxy) -> None:
    await namespace.pod("web-0")
    proxy.on(lambda a: a.of(PODS), Delay(HELD_S), times=1)
    started = now()
    await through.get(PODS, namespace.name, "web-0")
    assert now() - started >= HELD_S
    headers = {"Retry-After": "7"}
    for status in (401, 403, 409, 410, 429, 500, 503, 504):
        proxy.on(lambda a: a.of(PODS), Answer(status, refusal(status, "Test").body, headers), times=1)
        with pytest.raises(StatusError) as refused:
            await through.get(PODS, namespace.name, "web-0")
        assert refused.value.status == status
    proxy.on(lambda a: a.of(PODS), Hang(), times=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(HELD_S):
            await through.get(PODS, namespace.name, "web-0")
    await through.get(PODS, namespace.name, "web-0")


async def test_a_reply_that_is_lost(namespace: Namespace, through: KubeClient, proxy: FaultProxy) -> None:
    proxy.on(lambda a: a.is_write, DropReply(), times=1)
    with pytest.raises(aiohttp.ClientError):
        await through.create(
            SERVICES, namespace.name, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 1}]}}
        )
    assert await namespace.client.find(SERVICES, namespace.name, "web") is not None, "it was applied"


async def test_a_write_that_outlives_who_sent_it(
    namespace: Namespace, through: KubeClient, proxy: FaultProxy
) -> None:
    await namespace.pod("web-0")
    proxy.on(lambda a: a.is_write, Late(2 * HELD_S), times=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(HELD_S):
            await through.patch(PODS, namespace.name, "web-0", {"metadata": {"labels": {"late": "yes"}}})
    pod = await namespace.client.get(PODS, namespace.name, "web-0")
    assert "late" not in pod["metadata"]["labels"]
    await asyncio.sleep(2 * HELD_S)
    pod = await namespace.client.get(PODS, namespace.name, "web-0")
    assert pod["metadata"]["labels"]["late"] == "yes"


async def test_an_api_server_that_goes_and_comes_back(
    namespace: Namespace, through: KubeClient, proxy: FaultProxy
) -> None:
    watch = through.watch(PODS, namespace.name, {})
    await namespace.pod("web-0")
    await anext(watch)
    await proxy.wire.gone()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        async for _ in watch:
            pass
    with pytest.raises(aiohttp.ClientConnectorError):
        await through.list(PODS, namespace.name)
    await proxy.wire.back()
    assert len((await through.list(PODS, namespace.name))["items"]) == 1


async def test_a_wire_that_stalls_loses_nothing(
    namespace: Namespace, through: KubeClient, proxy: FaultProxy
) -> None:
    watch = through.watch(PODS, namespace.name, {})
    await namespace.pod("web-0", running=False)
    assert (await anext(watch))["type"] == "ADDED"
    proxy.wire.stall()
    await namespace.pod_status("web-0", ready=True)
    asked = asyncio.ensure_future(through.get(PODS, namespace.name, "web-0"))
    line = asyncio.ensure_future(anext(watch))
    done, _ = await asyncio.wait({asked, line}, timeout=HELD_S)
    assert not done
    proxy.wire.flow()
    assert (await line)["type"] == "MODIFIED"
    assert (await asked)["metadata"]["name"] == "web-0"
    await watch.aclose()


async def test_a_slow_handshake_and_a_slow_wire(
    namespace: Namespace, through: KubeClient, proxy: FaultProxy
) -> None:
    proxy.wire.handshake_delay_s = HELD_S
    started = now()
    await through.list(PODS, namespace.name)
    assert now() - started >= HELD_S
    await namespace.pod("web-0", annotations={"note": "x" * 20_000})
    proxy.wire.bytes_per_s = 40_000
    started = now()
    await through.get(PODS, namespace.name, "web-0")
    assert now() - started >= 0.4, "20 kB, and the connection was there already"


async def test_listeners_hear_what_was_delivered_and_what_was_written(
    namespace: Namespace, through: KubeClient, proxy: FaultProxy
) -> None:
    heard: list[tuple[str, str]] = []
    proxy.delivered = lambda asked, body: heard.append(
        ("delivered", json.loads(body)["kind" if b"items" in body else "type"])
    )
    proxy.written = lambda asked, body: heard.append(("written", json.loads(body)["kind"]))
    await through.list(PODS, namespace.name)
    watch = through.watch(PODS, namespace.name, {})
    body = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 1}]}}
    await through.create(SERVICES, namespace.name, body)
    proxy.on(lambda a: a.is_write, DropReply(), times=1)
    with pytest.raises(aiohttp.ClientError):
        await through.patch(SERVICES, namespace.name, "web", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(StatusError):
        await through.create(SERVICES, namespace.name, body)
    await namespace.pod("web-0", running=False)
    await anext(watch)
    await watch.aclose()
    assert heard == [
        ("delivered", "PodList"),
        ("written", "Service"),
        ("written", "Service"),
        ("delivered", "ADDED"),
    ]
