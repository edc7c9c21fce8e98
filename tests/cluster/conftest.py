"""What several tests of the main job start from."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.cluster.faultproxy import FaultProxy
from tests.cluster.fixtures import LOGS
from tests.cluster.zenlead_process import ZenleadProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace


@pytest.fixture
async def proxy(controlplane: ControlPlane, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """A way to the API server on which faults can be ordered."""
    made = FaultProxy(controlplane)
    try:
        await made.start(tmp_path)
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def proxies(
    controlplane: ControlPlane, proxy: FaultProxy, tmp_path: Path
) -> AsyncIterator[tuple[FaultProxy, FaultProxy]]:
    """``proxy`` and another one: each replica has a way of its own to the API server."""
    second = FaultProxy(controlplane)
    folder = tmp_path / "second"
    folder.mkdir()
    try:
        await second.start(folder)
        yield proxy, second
    finally:
        await second.stop()


@pytest.fixture
def configs(
    proxies: tuple[FaultProxy, FaultProxy], namespace: Namespace, tmp_path: Path
) -> tuple[Path, Path]:
    """Kubeconfigs that lead through one of ``proxies`` each."""
    first, second = (
        proxy.kubeconfig(tmp_path / f"by-{proxy.port}.kubeconfig", namespace.name) for proxy in proxies
    )
    return first, second


@pytest.fixture
async def duo(namespace: Namespace) -> Namespace:
    """Service web with two ready pods, web-0 (the older) and web-1."""
    for index in range(2):
        await namespace.pod(f"web-{index}")
    await namespace.service("web")
    return namespace


@pytest.fixture
async def pods(namespace: Namespace) -> Namespace:
    """Three ready pods of Service web: web-0 (the oldest), web-1 and web-2."""
    for index in range(3):
        await namespace.pod(f"web-{index}")
    return namespace


@pytest.fixture
async def web(pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead) -> Namespace:
    """Service web with three ready pods, led by web-0, and a zenlead that has nothing left to do."""
    await pods.service("web")
    await zenlead_process("--log-level=debug")
    await recorder.wait_leader("web-leader", "web-0")
    await recorder.quiet(0.6)
    return pods


@pytest.fixture
async def proxied(
    pods: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> Namespace:
    """As ``web``, but zenlead reaches the API server through ``proxy`` only."""
    await pods.service("web")
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", pods.name)
    await zenlead_process("--log-level=debug", kubeconfig=config)
    await recorder.wait_leader("web-leader", "web-0")
    await recorder.quiet(0.6)
    return pods


@pytest.fixture(scope="module")
def process_of_module(
    controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ZenleadProcess]:
    """One zenlead for all namespaces and all tests of a file: for those that neither stop nor break it."""
    folder = tmp_path_factory.mktemp("everywhere")
    process = ZenleadProcess(
        controlplane.kubeconfig(folder / "kubeconfig"),
        folder / "zenlead.log",
        ("--watch-namespaces=", f"--leader-election-id=everywhere-{uuid.uuid4().hex[:8]}"),
        {"POD_NAME": "everywhere", "POD_NAMESPACE": "default"},
    )
    yield process
    process.close()


@pytest.fixture
async def everywhere(
    request: pytest.FixtureRequest, process_of_module: ZenleadProcess, recorder: Recorder
) -> ZenleadProcess:
    """The zenlead of this test file, ready; the recorder is there first."""
    request.node.stash.setdefault(LOGS, []).append(process_of_module.log)
    await process_of_module.ready()
    return process_of_module
