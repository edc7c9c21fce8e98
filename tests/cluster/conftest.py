"""What several tests of the main job start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.faultproxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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
