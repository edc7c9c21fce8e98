"""Every command of README.md and docs/ is run on a real API server, and every manifest is taken by it.

A page is a story: its blocks run from top to bottom in one namespace. What it needs beforehand is set up
here; what it needs in between stands in it, as a comment (``before: command``, ``scene: name``).
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from tests.cluster import build, original
from tests.cluster.fixtures import LOGS
from tests.cluster.kubelet import Kubelet
from tests.cluster.scene import Namespace, eventually
from tests.cluster.zenlead_process import ZenleadProcess
from tests.docs.blocks import PAGES, ROOT, Use, blocks, use_of
from tests.docs.installed import DEPLOYMENTS, STATEFUL_SETS, Installation
from tests.docs.shell import Shell
from zenlead.kube.resources import PODS, SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.cluster.client import KubeClient
    from tests.cluster.controlplane import ControlPlane
    from tests.docs.blocks import Block

RUNBOOKS = ROOT / "docs" / "runbooks"
TOLD = [block for page in PAGES for block in blocks(page)]
STORIES = sorted({block.page for block in TOLD if use_of(block) is Use.RUN and block.page.parent != RUNBOOKS})
REPLICAS = 3


class Opening(NamedTuple):
    """What is there when a page begins: Service ``web`` with its pods, opted in or not."""

    web: bool = True
    opted_in: bool = True
    installed: bool = False


OPENINGS = {
    "README.md": Opening(opted_in=False),
    "docs/examples/README.md": Opening(web=False),
    "docs/install.md": Opening(opted_in=False),
    "docs/migrate.md": Opening(web=False),
    "docs/troubleshooting.md": Opening(installed=True),
}


class Stage:
    """The namespaces of a page, a shell that knows them, and what a page can ask for by ``scene``."""

    def __init__(self, shell: Shell, where: Namespace, home: Namespace, process: ZenleadProcess) -> None:
        self.shell = shell
        self._where = where
        self._home = home
        self._process = process
        self._installation = Installation(home)

    async def open(self, opening: Opening) -> None:
        if opening.web:
            await self.web(opted_in=opening.opted_in)
        if opening.opted_in and opening.web:
            await eventually(self._led, "web is led")
        if opening.installed:
            await self.installed()

    async def play(self, block: Block) -> None:
        for scene in block.marked("scene"):
            name, *arguments = scene.split()
            await getattr(self, name)(*arguments)
        await self.shell.run(block)

    async def close(self) -> None:
        """While pods can still end; the namespaces take the rest along."""
        self._process.thaw()
        await self._installation.remove()
        for where in (self._where, self._home):
            for kind in (DEPLOYMENTS, STATEFUL_SETS):
                await where.client.delete_all(kind, where.name)

    async def _led(self) -> bool:
        """Whether all is said of a leader of ``web``, the condition too."""
        service = await self._where.client.find(SERVICES, self._where.name, "web-leader")
        return bool(service and service["status"].get("conditions"))

    # --- scenes

    async def zenlead(self) -> None:
        """zenlead goes on."""
        self._process.thaw()

    async def web(self, *, opted_in: bool = True, **annotations: str) -> None:
        for index in range(REPLICAS):
            await self._where.pod(f"web-{index}", node=f"n{index + 1}")
        await self._where.service("web", enabled=opted_in, annotations=annotations)

    async def installed(self) -> None:
        """A Deployment of zenlead and its rights are there, as the manifests of the pages make them."""
        await self._installation.make()

    async def original(self) -> None:
        """What the Go zen-lead leaves: web-0 leads. zenlead stands still until it is called."""
        self._process.freeze()
        labels = {"app.kubernetes.io/name": "shop", "team": "a"}
        await self.web()
        source = await self._where.client.patch(
            SERVICES, self._where.name, "web", {"metadata": {"labels": labels}}
        )
        pod = await self._where.client.get(PODS, self._where.name, "web-0")
        await original.left_behind(self._where, source, pod)

    async def shop(self) -> None:
        """The Service of gitops.md, which the page only shows, is there."""
        (block,) = (b for b in blocks(ROOT / "docs" / "gitops.md") if "name: shop\n  labels" in b.text)
        status, said = await self.shell.bash("kubectl apply -f -", self.shell.here(block.text))
        assert status == 0, said

    async def unready(self, *pods: str) -> None:
        for pod in pods:
            await self._where.pod_status(pod, ready=False)


@pytest.fixture(scope="module")
def process(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZenleadProcess]:
    """One zenlead for the whole cluster and for all pages."""
    folder = tmp_path_factory.mktemp("zenlead")
    config = controlplane.kubeconfig(folder / "kubeconfig")
    started = ZenleadProcess(config, folder / "zenlead.log", env={"POD_NAME": "zen-lead-0"})
    with ThreadPoolExecutor(1) as other:  # the loops of the tests are not to know of this one
        other.submit(asyncio.run, started.ready()).result()
    yield started
    started.close()


@pytest.fixture
async def home(admin: KubeClient) -> AsyncIterator[Namespace]:
    """Where zenlead lives, ``zen-lead-system`` in the pages."""
    made = Namespace(admin, f"home-{uuid.uuid4().hex[:10]}")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def kubeconfig(controlplane: ControlPlane, namespace: Namespace, tmp_path: Path) -> Path:
    return controlplane.kubeconfig(tmp_path / "shell.kubeconfig", namespace=namespace.name)


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest,
    kubeconfig: Path,
    namespace: Namespace,
    home: Namespace,
    process: ZenleadProcess,
) -> AsyncIterator[Stage]:
    """Pods that anybody makes in either namespace run, since there is no kubelet."""
    request.node.stash[LOGS] = [process.log]
    names = {"zen-lead-system": home.name, "team-a": namespace.name, "NAMESPACE": namespace.name}
    names |= {"SERVICE": "web", "SERVICE-leader": "web-leader", "POD": "web-0"}
    made = Stage(Shell(kubeconfig.parent, kubeconfig, names, process), namespace, home, process)
    async with Kubelet(namespace, schedules=True, dual_stack=True), Kubelet(home, schedules=True):
        yield made
        await made.close()


@pytest.mark.parametrize("page", STORIES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_the_commands_of_a_page_do_what_it_says(page: Path, stage: Stage) -> None:
    await stage.open(OPENINGS.get(str(page.relative_to(ROOT)), Opening()))
    for block in blocks(page):
        if use_of(block) is Use.RUN:
            await stage.play(block)


async def test_the_commands_of_the_runbooks_work(stage: Stage) -> None:
    """They only look, so each is run once, whatever the number of pages that have it; four at a time."""
    await stage.open(Opening(installed=True))
    commands: dict[str, Block] = {}
    for block in TOLD:
        if block.page.parent == RUNBOOKS and use_of(block) is Use.RUN:
            for line in filter(None, block.text.replace("\\\n", " ").splitlines()):
                commands.setdefault(line, block)
    assert len(commands) > 20
    places = asyncio.Semaphore(4)

    async def works(line: str, block: Block) -> None:
        async with places:
            status, said = await stage.shell.bash(stage.shell.here(line))
            assert status == 0, f"{block}: {line}\n{said}"

    await asyncio.gather(*(works(line, block) for line, block in commands.items()))


async def test_the_manifests_of_the_pages_are_taken(stage: Stage) -> None:
    """All at once: what one refuses is named by the API server, and it knows every field."""
    found = [block for block in TOLD if use_of(block) is Use.APPLY]
    assert found
    for block in found:
        command = "kubectl apply --dry-run=server --validate=strict -f -"
        status, said = await stage.shell.bash(command, stage.shell.here(block.text))
        assert status == 0, f"{block}\n{said}"


def promtool(*arguments: str) -> None:
    command = [str(build.binary("promtool")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.cluster  # promtool is built with the programs of the cluster tests
def test_prometheus_can_read_the_queries(tmp_path: Path) -> None:
    rules = [
        {"record": "docs:query", "expr": expr, "labels": {"at": str(block)}}
        for block in TOLD
        if use_of(block) is Use.QUERY
        for expr in re.split(r"\n(?=\S)", block.text.strip())
    ]
    assert len(rules) > 10
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", str(file))


@pytest.mark.cluster
def test_prometheus_takes_the_configurations(tmp_path: Path) -> None:
    for number, block in enumerate(b for b in TOLD if use_of(b) is Use.SCRAPE):
        body = yaml.safe_load(block.text)
        for job in body["scrape_configs"]:
            job.pop("kubernetes_sd_configs", None)  # our promtool is built without the ways to find targets
        file = tmp_path / f"prometheus-{number}.yaml"
        file.write_text(yaml.safe_dump(body))
        promtool("check", "config", str(file))
