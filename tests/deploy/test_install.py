"""Helm in earnest: what it installs does its job, is upgraded while traffic stays, and leaves what it says.

The controllers are the real ones, and the pods of the Deployment run as processes under the ServiceAccount
that the chart made. No administrator's hand touches an object of zenlead's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cluster.process import free_port, spawn, stop
from tests.cluster.scene import NAMESPACES, ROLES, eventually
from tests.cluster.zenlead_process import ROOT, environment
from tests.deploy.helm import CHART, container, of_kind
from tests.deploy.node import command_of
from tests.deploy.site import DEPLOYMENTS, LEASE, NAME, ROLLOUT_S
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES, Resource

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.client import KubeClient
    from tests.cluster.scene import Namespace
    from tests.deploy.conftest import Audited
    from tests.deploy.helm import Helm
    from tests.deploy.site import Site

pytestmark = pytest.mark.timeout(180)
ORIGINAL = CHART / "ci" / "original-values.yaml"


async def test_a_release_works_is_upgraded_and_keeps_what_it_made(
    site: Site, audited: Audited, tmp_path: Path
) -> None:
    """Its values are then replaced by a file for the chart of the Go original, with every name of that."""
    said = await site.install()
    for command in (
        f"kubectl rollout status deployment/{NAME} -n {site.home.name}",
        "zen-lead.io/enabled=true",
    ):
        assert command in said
    await site.leads("web-0")
    first = await site.holder()
    assert first in await site.pods()
    await site.fails("web-0", "web-1")

    since = asyncio.get_running_loop().time()
    await site.run("upgrade", NAME, str(CHART), f"--values={ORIGINAL}")
    await site.rolled_out()
    assert await site.holder() != first, "a new pod has taken over"
    args = container([await site.home.client.get(DEPLOYMENTS, site.home.name, NAME)])["args"]
    assert {"--max-cache-size-per-namespace=0", "--qps=100", "--max-concurrent-reconciles=20"} <= set(args)
    assert site.recorder.slice("web-leader", since=since) == [], "an upgrade moves nothing"
    await site.fails("web-1", "web-0")
    assert site.recorder.leaders("web-leader") == ["web-0", "web-1", "web-0"]

    await site.recorder.quiet(1.0)
    kept = await objects_of(site.team)
    await site.run("uninstall", NAME)

    async def gone() -> bool:
        return await site.pods() == []

    await eventually(gone, "the pods end", timeout_s=ROLLOUT_S)
    assert await site.left() == {"Lease": [LEASE]}
    assert await objects_of(site.team) == kept
    assert [p.exit_code for p in site.node.processes.values()] == [0] * 4

    # Whoever leaves for good says so, and sees first what that means.
    config = audited.plane.kubeconfig(tmp_path / "by-hand", namespace=site.home.name)
    ours = [f"EndpointSlice {site.team.name}/web-leader", f"Service {site.team.name}/web-leader"]
    assert await cleanup(config, site.team.name) == [f"would delete {each}" for each in ours]
    assert await objects_of(site.team) == kept
    ours.append(f"Lease {site.home.name}/{LEASE}")
    done = await cleanup(config, site.team.name, "--yes", f"--leader-election-id={LEASE}")
    assert done == [f"deleted {each}" for each in ours]
    assert list(await objects_of(site.team)) == ["Service web"]


async def cleanup(kubeconfig: Path, namespace: str, *arguments: str) -> list[str]:
    """What ``zenlead cleanup`` prints."""
    command = [sys.executable, "-m", "zenlead", "cleanup", f"--watch-namespaces={namespace}", *arguments]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, f"--kubeconfig={kubeconfig}"],
        env=environment({}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


async def objects_of(namespace: Namespace) -> dict[str, str]:
    """Services and slices of a namespace, with their versions."""
    found = {}
    for resource in (SERVICES, ENDPOINT_SLICES):
        for body in (await namespace.client.list(resource, namespace.name))["items"]:
            meta = body["metadata"]
            if not meta["name"].startswith("web-") or meta["name"] == "web-leader":
                found[f"{resource.kind} {meta['name']}"] = meta["resourceVersion"]
    return found


@pytest.mark.parametrize("served", ["everything", "one namespace"])
async def test_a_release_that_is_to_be_clean_takes_away_what_it_made(
    site: Site, boss: KubeClient, served: str
) -> None:
    namespaces = [f"--set=watchNamespaces={{{site.team.name}}}"] if served == "one namespace" else []
    # The right to hand the Lease back goes before the pods do, so the Job waits until the Lease expires.
    short = "--set=leaderElection.leaseDuration=4s,leaderElection.renewDeadline=3s"
    await site.install("--set=uninstallPolicy=clean", "--set=replicaCount=1", short, *namespaces)
    await site.leads("web-0")
    stranger = {
        "metadata": {"name": "stranger-leader", "labels": {"app.kubernetes.io/managed-by": "zen-lead"}},
        "spec": {"ports": [{"port": 80}]},
    }
    await boss.create(SERVICES, site.team.name, stranger)
    await site.run("uninstall", NAME, "--timeout=60s")

    assert await site.left() == {}
    assert list(await objects_of(site.team)) == ["Service stranger-leader", "Service web"]
    for kind in ("clusterroles", "clusterrolebindings"):
        found = await boss.list(Resource(ROLES.group, "v1", kind, "", namespaced=False))
        assert [o for o in found["items"] if "zen-lead" in o["metadata"]["name"]] == []
    cleaner = next(p for name, p in site.node.processes.items() if "cleanup" in name)
    assert f"deleted Service {site.team.name}/web-leader" in cleaner.lines
    assert f"deleted Lease {site.home.name}/{LEASE}" in cleaner.lines


async def test_the_test_of_the_chart_finds_the_ports_open(site: Site, release: Helm) -> None:
    """Its pod's program, sent to where the ports are here."""
    await site.install("--set=replicaCount=1")
    (process,) = site.node.processes.values()
    command: list[str] = of_kind(release.template(), "Pod")["spec"]["containers"][0]["command"]
    assert command[0] == "python"
    assert [url.rpartition(":")[2] for url in command[3:]] == ["8081/readyz?verbose", "8080/metrics"]
    urls = [f"{process.health_url}/readyz?verbose", process.metrics_url]
    said = await asyncio.to_thread(
        subprocess.run, [sys.executable, *command[1:3], *urls], capture_output=True, text=True, check=True
    )
    assert [line.split()[1] for line in said.stdout.splitlines()] == ["200", "200"]


async def test_nothing_but_the_rendered_arguments_is_needed(
    site: Site, release: Helm, audited: Audited, tmp_path: Path
) -> None:
    """With ports of the values and no address added, for zenlead's own namespace: the default of the Go
    original's chart, and with that never ready."""
    metrics, health = free_port(), free_port()
    own = {"metrics": {"port": metrics}, "health": {"port": health}, "replicaCount": 0}
    own |= {"rbac": {"clusterScoped": False}, "namespace": {"create": True}}
    (tmp_path / "own.yaml").write_text(json.dumps(own))
    await site.install(f"--values={tmp_path / 'own.yaml'}")
    deployment = await site.home.client.get(DEPLOYMENTS, site.home.name, NAME)
    metadata = {"name": "by-hand", "namespace": site.home.name}
    args, env = command_of({"metadata": metadata, "spec": deployment["spec"]["template"]["spec"]})
    config = audited.plane.kubeconfig(tmp_path / "by-hand", token=await site.node.token(NAME))
    await site.home.service("own")
    process = spawn(
        [sys.executable, "-m", "zenlead", *args],
        env=environment({**env, "KUBECONFIG": str(config)}),
        log=tmp_path / "by-hand.log",
        cwd=ROOT,
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def ready() -> bool:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{health}/readyz") as answer:
                        return answer.status == 200
                return False

            async def made() -> bool:
                return await site.home.client.find(SERVICES, site.home.name, "own-leader") is not None

            await eventually(ready, "it is ready", timeout_s=30.0)
            await eventually(made, "the leader Service of its own namespace", timeout_s=30.0)
            assert await site.holder() == "by-hand"
            async with session.get(f"http://127.0.0.1:{metrics}/metrics") as answer:
                assert "zen_lead_leader_election_is_leader 1.0" in await answer.text()
        assert await site.team.client.find(SERVICES, site.team.name, "web-leader") is None
    finally:
        stop(process)


async def test_a_namespace_is_made_where_there_is_none_and_stays(site: Site, boss: KubeClient) -> None:
    other = f"other-{site.home.name}"
    values = f"--set=replicaCount=0,namespace.create=true,namespace.name={other}"
    await site.run("install", NAME, str(CHART), values)
    assert await boss.find(DEPLOYMENTS, other, NAME) is not None
    await site.run("upgrade", NAME, str(CHART), values)
    await site.run("uninstall", NAME)
    assert await boss.find(DEPLOYMENTS, other, NAME) is None
    left = await boss.get(NAMESPACES, None, other)
    assert left["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert left["status"]["phase"] == "Active"
    await boss.delete(NAMESPACES, None, other)
