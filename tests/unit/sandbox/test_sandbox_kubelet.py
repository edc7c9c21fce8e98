"""The stand-in kubelet: pods come to life, can be hurt, and end."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from zenlead.kube.resources import NODES, PODS
from zenlead.sandbox.apiserver import ApiServer
from zenlead.sandbox.kubelet import Kubelet, Timing
from zenlead.sandbox.memory import MemoryApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Scene:
    """A server, a kubelet, and their pods by name. Wall time follows the loop's."""

    def __init__(self, *, serves: bool, networks: tuple[str, ...] = ("10.244.0.0/16",)) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def now() -> float:
            return NOW + loop.time() - began

        self.server = ApiServer(now, random.Random(1))
        self.api = MemoryApi(self.server)
        timing = Timing(start_s=1, stop_s=2, restart_s=5) if not serves else Timing(0, 0, 0)
        self.kubelet = Kubelet(self.server, now, networks=networks, timing=timing, serves=serves)

    async def create(self, name: str, **spec: Any) -> None:
        container = {"name": "app", "image": "a", "ports": [{"containerPort": 8080}]}
        body = {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}
        await self.api.create(PODS, "default", json.dumps(body).encode())

    async def pod(self, name: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(await self.api.get(PODS, "default", name))
        return body

    async def ready(self, name: str) -> tuple[str, str]:
        """Whether the pod is ready, and since when."""
        conditions = {one["type"]: one for one in (await self.pod(name))["status"].get("conditions", ())}
        ready = conditions.get("Ready", {"status": "", "lastTransitionTime": ""})
        return ready["status"], ready["lastTransitionTime"]


@asynccontextmanager
async def _running(scene: Scene) -> AsyncIterator[Scene]:
    task = asyncio.create_task(scene.kubelet.run())
    try:
        yield scene
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.virtual_clock
async def test_a_pod_gets_a_node_an_address_and_is_ready_in_time() -> None:
    async with _running(Scene(serves=False, networks=("10.244.0.0/16", "fd00:10:244::/64"))) as scene:
        await scene.create("web-0")
        await scene.create("web-1")
        await asyncio.sleep(0.9)
        assert (await scene.pod("web-0"))["spec"]["nodeName"] == "node-a"
        assert (await scene.pod("web-0"))["status"]["phase"] == "Pending"
        await asyncio.sleep(0.2)
        first, second = await scene.pod("web-0"), await scene.pod("web-1")
        assert first["status"]["podIPs"] == [{"ip": "10.244.0.10"}, {"ip": "fd00:10:244::a"}]
        assert second["status"]["podIP"] == "10.244.0.11"
        assert second["spec"]["nodeName"] == "node-b"
        assert first["status"]["containerStatuses"][0]["ready"] is True
        assert await scene.ready("web-0") == ("True", "2026-01-01T00:00:01Z")
        nodes = json.loads(await scene.api.list(NODES, None, {}))["items"]
        assert [node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes] == [
            "zone-a",
            "zone-b",
        ]


@pytest.mark.virtual_clock
async def test_readiness_is_steered_and_its_time_moves_with_it() -> None:
    async with _running(Scene(serves=False)) as scene:
        await scene.create("web-0")
        await asyncio.sleep(10)
        scene.kubelet.make_not_ready("default", "web-0")
        assert await scene.ready("web-0") == ("False", "2026-01-01T00:00:10Z")
        await asyncio.sleep(10)
        scene.kubelet.make_not_ready("default", "web-0")
        assert await scene.ready("web-0") == ("False", "2026-01-01T00:00:10Z")
        scene.kubelet.make_ready("default", "web-0")
        assert await scene.ready("web-0") == ("True", "2026-01-01T00:00:20Z")
        assert (await scene.pod("web-0"))["status"]["phase"] == "Running"


@pytest.mark.virtual_clock
async def test_a_crashed_container_is_restarted_and_counted() -> None:
    async with _running(Scene(serves=False)) as scene:
        await scene.create("web-0")
        await asyncio.sleep(10)
        await scene.kubelet.crash("default", "web-0")
        status = (await scene.pod("web-0"))["status"]["containerStatuses"][0]
        assert (status["ready"], status["restartCount"]) == (False, 1)
        assert (await scene.ready("web-0"))[0] == "False"
        await asyncio.sleep(5.1)
        assert await scene.ready("web-0") == ("True", "2026-01-01T00:00:15Z")
        assert (await scene.pod("web-0"))["status"]["containerStatuses"][0]["restartCount"] == 1
        assert (await scene.pod("web-0"))["status"]["podIP"] == "10.244.0.10"


@pytest.mark.virtual_clock
async def test_a_crash_without_restart_is_the_end() -> None:
    async with _running(Scene(serves=False)) as scene:
        await scene.create("job", restartPolicy="Never")
        await asyncio.sleep(10)
        await scene.kubelet.crash("default", "job")
        await asyncio.sleep(100)
        assert (await scene.pod("job"))["status"]["phase"] == "Failed"
        assert (await scene.ready("job"))[0] == "False"


@pytest.mark.virtual_clock
async def test_a_deleted_pod_ends_within_its_grace() -> None:
    from zenlead.kube.errors import NotFound

    async with _running(Scene(serves=False)) as scene:
        await scene.create("slow")
        await scene.create("quick", terminationGracePeriodSeconds=1)
        await asyncio.sleep(10)
        for name in ("slow", "quick"):
            await scene.api.delete(PODS, "default", name, b"")
        await asyncio.sleep(0.9)
        assert (await scene.ready("slow"))[0] == (await scene.ready("quick"))[0] == "True"
        await asyncio.sleep(0.2)
        with pytest.raises(NotFound):
            await scene.pod("quick")
        assert (await scene.pod("slow"))["metadata"]["deletionTimestamp"]
        await asyncio.sleep(1)
        with pytest.raises(NotFound):
            await scene.pod("slow")
        assert "running=0" in repr(scene.kubelet)


@pytest.mark.virtual_clock
async def test_pods_of_other_nodes_are_left_alone() -> None:
    async with _running(Scene(serves=False)) as scene:
        await scene.create("elsewhere", nodeName="n9")
        await asyncio.sleep(100)
        assert (await scene.pod("elsewhere"))["status"]["phase"] == "Pending"


async def _say(place: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*place)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        return (await asyncio.wait_for(reader.read(), 10)).rpartition(b"\r\n\r\n")[2]
    finally:
        writer.close()


async def _until_open(scene: Scene, address: str) -> tuple[str, int]:
    for _ in range(1000):  # ten seconds, for a busy machine; it takes milliseconds
        if place := scene.kubelet.proxy.resolve(address, 8080):
            return place
        await asyncio.sleep(0.01)
    pytest.fail(f"nothing listens at {address}")


async def _until_closed(scene: Scene, address: str) -> None:
    for _ in range(1000):
        if scene.kubelet.proxy.resolve(address, 8080) is None:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"something still listens at {address}")


async def test_pods_answer_behind_their_addresses() -> None:
    async with _running(Scene(serves=True)) as scene:
        await scene.create("web-0")
        place = await _until_open(scene, "10.244.0.10")
        assert place[0] == "127.0.0.1"
        assert await _say(place) == b"web-0\n"
        assert scene.kubelet.proxy.resolve("10.244.0.10", 80) is None
        await scene.api.delete(PODS, "default", "web-0", b'{"gracePeriodSeconds":0}')
        await _until_closed(scene, "10.244.0.10")
        with pytest.raises(OSError, match="Connect"):
            await _say(place)


async def test_a_crash_cuts_connections_and_a_restart_opens_the_same_address() -> None:
    async with _running(Scene(serves=True)) as scene:
        await scene.create("web-0")
        place = await _until_open(scene, "10.244.0.10")
        reader, writer = await asyncio.open_connection(*place)
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"web-0\n"), 10)).startswith(b"HTTP/1.1 200")
        await scene.kubelet.crash("default", "web-0")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert await _say(await _until_open(scene, "10.244.0.10")) == b"web-0\n"
