"""The roles of docs/rbac.md are enough, as they stand there: a whole life of a leader without one refusal."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.client import StatusError
from tests.cluster.scene import (
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Namespace,
    eventually,
)
from zenlead.kube.resources import LEASES, PODS, SERVICES, Resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cluster.client import KubeClient, Object
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.zenlead_process import ZenleadProcess

DOCS = Path(__file__).resolve().parents[2] / "docs"
LEASE = "zen-lead-controller-leader-election"
HOME, SERVED = "zen-lead-system", "team-a"  # namespaces of the page: its own, one that it serves
GROUP = ROLES.group
CLUSTER_ROLES = Resource(GROUP, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(GROUP, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
KINDS = {r.kind: r for r in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS)}


def documents(block: str) -> list[Object]:
    """The objects of the YAML block that follows the mark ``<!-- rbac:BLOCK -->``."""
    text = (DOCS / "rbac.md").read_text()
    found = re.search(rf"<!-- rbac:{block} -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found, f"no block {block} in rbac.md"
    return list(yaml.safe_load_all(found[1]))


def moved(value: Any, namespaces: dict[str, str]) -> Any:
    """The same object with its namespaces replaced."""
    if isinstance(value, dict):
        return {
            key: namespaces[inner] if key == "namespace" else moved(inner, namespaces)
            for key, inner in value.items()
        }
    return [moved(inner, namespaces) for inner in value] if isinstance(value, list) else value


@pytest.fixture
async def home(admin: KubeClient) -> AsyncIterator[Namespace]:
    """Where zenlead lives; the test's ``namespace`` is what it serves."""
    made = Namespace(admin, f"home-{uuid.uuid4().hex[:10]}")
    await made.open()
    yield made
    await made.close()


@pytest.fixture(params=["cluster", "namespaced"])
async def installed(
    request: pytest.FixtureRequest, admin: KubeClient, home: Namespace, namespace: Namespace
) -> AsyncIterator[str]:
    """Which of the two installations of the page is in place, as written there but for the namespaces."""
    objects = moved(documents(request.param), {HOME: home.name, SERVED: namespace.name})
    for body in objects:
        await admin.create(KINDS[body["kind"]], body["metadata"].get("namespace"), body)
    yield request.param
    for body in objects:
        await admin.delete(KINDS[body["kind"]], body["metadata"].get("namespace"), body["metadata"]["name"])


async def account_token(home: Namespace) -> str:
    path = SERVICE_ACCOUNTS.path(home.name, "zen-lead", "token")
    token: str = (await home.client.request("POST", path, {"spec": {}}))["status"]["token"]
    return token


@pytest.fixture
async def zenlead(
    installed: str,
    controlplane: ControlPlane,
    home: Namespace,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> ZenleadProcess:
    """zenlead as that ServiceAccount, with everything on that asks for rights."""
    config = controlplane.kubeconfig(tmp_path / "account", token=await account_token(home))
    arguments = ["--log-level=debug", "--enable-leader-pod-cache=false"]
    arguments += ["--watch-namespaces="] if installed == "cluster" else []
    return await zenlead_process(*arguments, env={"POD_NAMESPACE": home.name}, kubeconfig=config)


async def test_a_leaders_whole_life_with_the_documented_rights(
    installed: str, zenlead: ZenleadProcess, home: Namespace, namespace: Namespace, recorder: Recorder
) -> None:
    for index in range(2):
        await namespace.pod(f"web-{index}", node="n1" if index == 0 else "n2")
    await namespace.service("web")
    elected = await recorder.wait_leader("web-leader", "web-0")
    # The zone is known where nodes may be read.
    assert elected.body["endpoints"][0].get("zone") == ("z1" if installed == "cluster" else None)

    async def leader_ready() -> bool:
        service = await namespace.client.get(SERVICES, namespace.name, "web-leader")
        conditions = service["status"].get("conditions", [])
        return any(c["type"] == "zen-lead.io/LeaderReady" and c["status"] == "True" for c in conditions)

    await eventually(leader_ready, "the condition LeaderReady")
    await namespace.pod_status("web-0", ready=False)
    await recorder.wait_leader("web-leader", "web-1", since=elected.at)
    for reason in ("LeaderRoutingAvailable", "LeaderChanged"):
        await recorder.wait(lambda r, reason=reason: r.body.get("reason") == reason, f"an Event {reason}")
    # Drift is repaired: a field of the leader Service that somebody changed, and the whole of it.
    await namespace.annotate("web-leader", {"zen-lead.io/current-leader": "nobody"})

    async def repaired() -> bool:
        service = await namespace.client.find(SERVICES, namespace.name, "web-leader")
        told = service["metadata"]["annotations"] if service else {}
        return told.get("zen-lead.io/current-leader") == "web-1"

    await eventually(repaired, "the annotation is put right")
    await namespace.client.delete(SERVICES, namespace.name, "web-leader")
    await eventually(repaired, "the leader Service is made anew")
    await namespace.annotate("web", {"zen-lead.io/enabled": None})

    async def gone() -> bool:
        service = await namespace.client.find(SERVICES, namespace.name, "web-leader")
        return service is None and not await namespace.slices_of("web-leader")

    await eventually(gone, "both objects are gone")
    held = await home.client.get(LEASES, home.name, LEASE)
    assert held["spec"]["holderIdentity"] == "zenlead-0"
    zenlead.terminate()
    assert await zenlead.wait() == 0
    released = await home.client.get(LEASES, home.name, LEASE)
    assert not released["spec"].get("holderIdentity")
    # Both the API server's sentence and the result of a request say the word.
    assert [line for line in zenlead.lines if "forbidden" in line.lower()] == []


async def test_pods_cannot_be_written_with_these_rights(
    installed: str, controlplane: ControlPlane, home: Namespace, namespace: Namespace
) -> None:
    from tests.cluster.client import KubeClient

    await namespace.pod("web-0")
    token = await account_token(home)
    async with KubeClient(controlplane.url, ca=controlplane.ca, token=token) as account:
        for write in (
            account.patch(PODS, namespace.name, "web-0", {}),
            account.patch(PODS, namespace.name, "web-0", {}, subresource="status"),
            account.delete(PODS, namespace.name, "web-0"),
        ):
            with pytest.raises(StatusError) as refused:
                await write
            assert refused.value.status == 403


async def readyz(process: ZenleadProcess) -> tuple[int, str]:
    return await process.http(f"{process.health_url}/readyz")


async def says(process: ZenleadProcess, *words: str) -> None:
    """/readyz is refused, and says why; the probe that would restart the process is content."""

    async def refused() -> bool:
        status, text = await readyz(process)
        return status == 503 and all(word in text for word in words)

    await eventually(refused, f"/readyz says {words}", timeout_s=15.0)
    assert (await process.http(f"{process.health_url}/healthz"))[0] == 200


@pytest.fixture
async def granted(admin: KubeClient, home: Namespace, namespace: Namespace) -> Grant:
    """Everything that the page gives where some namespaces are served, taken back and given again at will."""
    objects = moved(documents("namespaced"), {HOME: home.name, SERVED: namespace.name})
    for body in objects:
        await admin.create(KINDS[body["kind"]], body["metadata"]["namespace"], body)
    roles = [body for body in objects if body["kind"] == "Role"]
    return Grant(admin, {body["metadata"]["name"]: body for body in roles})


@pytest.fixture
async def account(granted: Grant, controlplane: ControlPlane, home: Namespace, tmp_path: Path) -> Path:
    """A kubeconfig of the ServiceAccount that has what is granted."""
    return controlplane.kubeconfig(tmp_path / "account", token=await account_token(home))


class Grant:
    """Roles, and single verbs of them that are missing for a while."""

    def __init__(self, admin: KubeClient, roles: dict[str, Object]) -> None:
        self._admin = admin
        self._roles = roles

    async def without(self, role: str, resource: str, *verbs: str) -> None:
        rules = [
            {
                **rule,
                "verbs": [v for v in rule["verbs"] if v not in verbs or resource not in rule["resources"]],
            }
            for rule in self._roles[role]["rules"]
        ]
        await self._set(role, [rule for rule in rules if rule["verbs"]])

    async def whole(self, role: str) -> None:
        await self._set(role, self._roles[role]["rules"])

    async def _set(self, role: str, rules: list[Object]) -> None:
        namespace = self._roles[role]["metadata"]["namespace"]
        await self._admin.patch(ROLES, namespace, role, {"rules": rules})


async def test_what_is_not_permitted_is_named_and_recovered_from_without_a_restart(
    *,
    granted: Grant,
    account: Path,
    home: Namespace,
    namespace: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
) -> None:
    """To read, at the start and later; to hold the Lease; to write."""
    for index in range(2):
        await namespace.pod(f"web-{index}")
    await namespace.service("web")
    await granted.without("zen-lead", "pods", "list", "watch")
    process = await zenlead_process(
        "--leader-pod-cache-ttl-seconds=3",
        env={"POD_NAMESPACE": home.name},
        kubeconfig=account,
        ready=False,
    )
    await says(process, "pods", 'cannot watch resource "pods"')
    await granted.whole("zen-lead")
    await process.ready()
    await recorder.wait_leader("web-leader", "web-0")

    await granted.without("zen-lead", "pods", "list", "watch")
    await says(process, 'cannot watch resource "pods"')
    refused = [line for line in process.lines if "forbidden" in line]
    assert len(refused) <= 12, "retries are backed off"
    failed_at = asyncio.get_running_loop().time()
    await namespace.pod_status("web-0", ready=False)
    await granted.whole("zen-lead")
    await process.ready()
    await recorder.wait_leader("web-leader", "web-1", since=failed_at)

    await granted.without("zen-lead-lease", "leases", "get", "patch")
    await says(process, "leases", LEASE, "cannot")
    await granted.whole("zen-lead-lease")
    await process.ready()

    await granted.without("zen-lead", "endpointslices", "patch")
    await namespace.pod_status("web-0", ready=True)
    await namespace.pod_status("web-1", ready=False)
    await says(process, 'cannot patch resource "endpointslices"')
    await granted.whole("zen-lead")
    await process.ready(timeout_s=40.0)
    assert recorder.leaders("web-leader")[-1] == "web-0"
    assert process.exit_code is None


async def test_a_verb_that_is_not_needed_is_not_missed(
    *,
    granted: Grant,
    account: Path,
    home: Namespace,
    namespace: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
) -> None:
    """Objects come by a watch that begins with all of them where they may not be listed."""
    await namespace.pod("web-0")
    await namespace.service("web")
    await granted.without("zen-lead", "pods", "list")
    process = await zenlead_process(env={"POD_NAMESPACE": home.name}, kubeconfig=account)
    await recorder.wait_leader("web-leader", "web-0")
    assert (await readyz(process))[0] == 200
