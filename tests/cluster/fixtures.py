"""The fixtures around the real control plane, for every tier that asks for it; a pytest plugin.

Whatever lies in this folder or asks for something that build.py builds, directly or through another fixture,
is marked ``cluster`` and so left out of ``make test-fast``. Who asks by ``request.getfixturevalue`` writes
the mark by hand.
"""

from __future__ import annotations

import signal
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.cluster.process import tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping

    from tests.cluster.client import KubeClient
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess
    from zenlead.kube.api import HttpApi

HERE = Path(__file__).resolve().parent
CLUSTER_GROUPS = 2
BUILT = {"controlplane", "built"}  # fixtures that need a program of build.py
LOGS = pytest.StashKey[list[Path]]()  # shown when the test fails


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not BUILT.isdisjoint(getattr(item, "fixturenames", ())) or item.path.is_relative_to(HERE):
            item.add_marker("cluster")
            # Each worker of pytest-xdist that runs any of them starts a control plane of its own, so they are
            # in as few groups as there are cores on a small machine, and a file is never torn apart.
            part = zlib.crc32(item.path.name.encode()) % CLUSTER_GROUPS
            item.add_marker(pytest.mark.xdist_group(f"cluster-{part}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for log in item.stash.get(LOGS, []):
            report.sections.append((f"log {log.name}", tail(log, lines=80)))
    return report


@pytest.fixture(scope="session")
def built() -> Callable[[str], Path]:
    """Where a program of build.py is."""
    from tests.cluster import build

    return build.binary


@pytest.fixture(scope="session")
def controlplane() -> Iterator[ControlPlane]:
    """One API server for the whole run, with controllers for slices, garbage and namespaces.

    It is stopped when the run is interrupted by Ctrl-C or SIGTERM, too.
    """
    from tests.cluster.controlplane import ControlPlane

    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane() as running:
            yield running
    finally:
        signal.signal(signal.SIGTERM, previous)


@pytest.fixture
async def admin(controlplane: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client that may do everything. The nodes of scene.NODE_NAMES are there."""
    from tests.cluster.client import KubeClient
    from tests.cluster.scene import create_nodes

    async with KubeClient(controlplane.url, ca=controlplane.ca, token=controlplane.token) as client:
        await create_nodes(client)
        yield client


@pytest.fixture
async def namespace(admin: KubeClient) -> AsyncIterator[Namespace]:
    """A namespace that nobody else uses, emptied and removed afterwards."""
    from tests.cluster.scene import Namespace

    made = Namespace(admin, f"t-{uuid.uuid4().hex[:10]}")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def recorder(namespace: Namespace) -> AsyncIterator[Recorder]:
    """Every revision of the namespace's slices, Services and Events, from now on."""
    from tests.cluster.recorder import Recorder

    made = Recorder(namespace.client, namespace.name)
    await made.start()
    yield made
    await made.stop()


class StartZenlead(Protocol):
    """Starts a process and returns it, ready unless ``ready=False``."""

    async def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        kubeconfig: Path | None = None,
        ready: bool = True,
    ) -> ZenleadProcess: ...


@pytest.fixture
async def zenlead_process(
    request: pytest.FixtureRequest, controlplane: ControlPlane, namespace: Namespace, tmp_path: Path
) -> AsyncIterator[StartZenlead]:
    """Starts ``zenlead run`` for the test's namespace, as often as called; all end with the test.

    By default as the administrator, with the Lease and the watch in the test's own namespace. A flag given
    twice counts as given last, so ``arguments`` may say otherwise (``--watch-namespaces=`` for all).
    """
    from tests.cluster.zenlead_process import ZenleadProcess

    started: list[ZenleadProcess] = []
    logs = request.node.stash.setdefault(LOGS, [])

    async def start(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        kubeconfig: Path | None = None,
        ready: bool = True,
    ) -> ZenleadProcess:
        name = f"zenlead-{len(started)}"
        config = kubeconfig or controlplane.kubeconfig(tmp_path / "kubeconfig", namespace=namespace.name)
        identity = {"POD_NAME": name, "POD_NAMESPACE": namespace.name, **(env or {})}
        chosen = (f"--watch-namespaces={namespace.name}", *arguments)
        process = ZenleadProcess(config, tmp_path / f"{name}.log", chosen, identity)
        started.append(process)
        logs.append(process.log)
        if ready:
            await process.ready()
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture
async def real_api(controlplane: ControlPlane, tmp_path: Path) -> AsyncIterator[HttpApi]:
    """zenlead's own client, as the administrator of the real API server."""
    from zenlead.kube.api import connect

    config = controlplane.kubeconfig(tmp_path / "real-api.kubeconfig")
    api = await connect(kubeconfig=str(config), context=None)
    yield api
    await api.close()
