"""Helm without a cluster, and a control plane that writes an audit log, for releases in earnest."""

from __future__ import annotations

import contextlib
import datetime
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.helm import Helm
from tests.deploy.site import NAME, Site
from zenlead.kube.informer import UNBROKEN_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.cluster.client import KubeClient
    from tests.cluster.controlplane import ControlPlane

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


@pytest.fixture
def helm(built: Callable[[str], Path], tmp_path: Path) -> Helm:
    """Helm without a cluster."""
    return Helm(built("helm"), tmp_path)


class Audited:
    """A control plane, and what ServiceAccounts asked of it."""

    def __init__(self, plane: ControlPlane, log: Path) -> None:
        self.plane = plane
        self._log = log
        self._restarts: list[tuple[str, str]] = []  # each from when to when

    def __repr__(self) -> str:
        return f"Audited({self.plane!r})"

    def asked_by(self, user: str) -> list[dict[str, Any]]:
        """The audit events of one user, oldest first."""
        events = map(json.loads, self._log.read_text().splitlines())
        return [event for event in events if event["user"]["username"] == user]

    def refused(self, user: str) -> list[str]:
        """What a user was refused, but by a server that is just starting and does not know its roles yet."""
        return [
            f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message')}"
            for event in self.asked_by(user)
            if event.get("responseStatus", {}).get("code") == 403
            and not any(start <= event["requestReceivedTimestamp"] <= end for start, end in self._restarts)
        ]

    def restart(self) -> None:
        """The API server goes away for longer than what passes for a short silence, and comes back."""
        start = _now()
        self.plane.stop_apiserver()
        time.sleep(UNBROKEN_S)
        self.plane.start_apiserver()  # on this thread: what a thread has started ends with it
        self._restarts.append((start, _now()))


def _now() -> str:
    """As the audit log writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture(scope="package")
def audited(built: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """A control plane of its own, strict about owners, that runs Jobs too and tells who asked what."""
    from tests.cluster.controlplane import CONTROLLERS, ControlPlane

    folder = tmp_path_factory.mktemp("audit")
    (folder / "policy.yaml").write_text(json.dumps(AUDIT_POLICY))
    arguments = [
        f"--audit-policy-file={folder / 'policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
    ]
    with ControlPlane(controllers=(*CONTROLLERS, "job-controller"), apiserver_args=arguments) as plane:
        yield Audited(plane, folder / "audit.log")


@pytest.fixture
async def boss(audited: Audited) -> AsyncIterator[KubeClient]:
    """A client that may do everything there. The nodes of scene.NODE_NAMES are there."""
    from tests.cluster.client import KubeClient
    from tests.cluster.scene import create_nodes

    async with KubeClient(audited.plane.url, ca=audited.plane.ca, token=audited.plane.token) as client:
        await create_nodes(client)
        yield client


@pytest.fixture
def release(audited: Audited, built: Callable[[str], Path], tmp_path: Path) -> Helm:
    """Helm, as the administrator of the audited control plane."""
    config = audited.plane.kubeconfig(tmp_path / "boss.kubeconfig")
    return Helm(built("helm"), tmp_path, config)


@pytest.fixture
async def site(audited: Audited, boss: KubeClient, release: Helm, tmp_path: Path) -> AsyncIterator[Site]:
    """Nothing installed yet; what will be goes with the test."""
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.deploy.node import Node

    async with contextlib.AsyncExitStack() as stack:
        home, team = (Namespace(boss, f"{name}-{uuid.uuid4().hex[:8]}") for name in ("home", "team"))
        for each in (home, team):
            await each.open()
            stack.push_async_callback(each.close)
        recorder = Recorder(boss, team.name)
        await recorder.start()
        node = await stack.enter_async_context(Node(home, audited.plane, tmp_path))
        for index in range(2):
            await team.pod(f"web-{index}")
        await team.service("web")
        made = Site(release, home, team, node, recorder)
        yield made
        await made.recorder.stop()
        await made.run("uninstall", NAME, "--ignore-not-found", "--no-hooks")
