"""The real kubectl finds in the sandbox what it finds in a cluster."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.contract.kubectl import TIMEOUT_S, Failed, Kubectl
from zenlead.kube.resources import EVENTS
from zenlead.sandbox.kubelet import Kubelet, Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from zenlead.sandbox.box import Sandbox

QUICK = Timing(start_s=0.0, stop_s=0.0, restart_s=0.0)

MANIFEST = """
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {app: web}
spec:
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: 8080}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-0
  labels: {app: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: example/app:1
      ports: [{containerPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-leader
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
endpoints:
  - addresses: [10.1.2.3]
    conditions: {ready: true}
ports:
  - {name: http, port: 8080, protocol: TCP}
"""


@pytest.fixture
def kubectl(box: Sandbox, tmp_path: Path) -> Kubectl:
    assert box.kubeconfig is not None
    return Kubectl(box.kubeconfig, tmp_path / "cache")


@pytest.fixture
async def kubelet(box: Sandbox) -> AsyncIterator[Kubelet]:
    """Pods run while the test does."""
    made = Kubelet(box.server, time.time, timing=QUICK)
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture
async def web(kubectl: Kubectl, kubelet: Kubelet) -> Kubectl:
    """Service, pod and slice are there and the pod is ready."""
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    await kubectl("wait", "--for=condition=Ready", "pod/web-0", "--timeout=20s")
    return kubectl


def _table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line]


async def test_get_prints_the_columns_of_a_cluster(web: Kubectl) -> None:
    lines = _table(await web("get", "svc,pods,endpointslices", "-A"))
    assert ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"] in lines
    assert ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"] in lines
    assert ["NAMESPACE", "NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"] in lines
    assert ["default", "pod/web-0", "1/1", "Running", "0"] in [line[:5] for line in lines]
    slices = ["default", "endpointslice.discovery.k8s.io/web-leader", "IPv4", "8080", "10.1.2.3"]
    assert slices in [line[:5] for line in lines]


async def test_get_prints_every_format(web: Kubectl) -> None:
    wide = await web("get", "pods", "-o", "wide")
    assert wide.split()[:8] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED"]
    assert "10.244.0.10" in wide
    assert await web("get", "svc,pods,endpointslices", "-o", "name") == (
        "service/web\npod/web-0\nendpointslice.discovery.k8s.io/web-leader\n"
    )
    listed = json.loads(await web("get", "pods", "-o", "json"))
    assert listed["items"][0]["kind"] == "Pod"
    assert "clusterIP: 10.96." in await web("get", "svc", "web", "-o", "yaml")
    assert await web("get", "pod", "web-0", "-o", "jsonpath={.status.podIP}") == "10.244.0.10"
    assert "Running" in await web("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running")


async def test_get_lists_the_small_kinds(web: Kubectl) -> None:
    assert _table(await web("get", "nodes"))[1][:2] == ["node-a", "Ready"]
    assert ["default", "Active"] in [line[:2] for line in _table(await web("get", "namespaces"))]
    with pytest.raises(Failed, match=r'configmaps "none" not found'):
        await web("get", "configmap", "none")
    with pytest.raises(Failed, match="the server doesn't have a resource type"):
        await web("get", "widgets")


async def test_annotate_and_label(web: Kubectl) -> None:
    await web("annotate", "svc", "web", "zen-lead.io/enabled=true")
    await web("label", "pod", "web-0", "tier=front")
    assert await web("get", "svc", "web", "-o", r"jsonpath={.metadata.annotations.zen-lead\.io/enabled}")
    with pytest.raises(Failed, match="--overwrite is false"):
        await web("label", "pod", "web-0", "tier=back")
    await web("label", "pod", "web-0", "tier=back", "--overwrite")
    await web("annotate", "svc", "web", "zen-lead.io/enabled-")
    assert not await web("get", "svc", "web", "-o", r"jsonpath={.metadata.annotations.zen-lead\.io/enabled}")
    assert "web-0" in await web("get", "pods", "-l", "tier=back", "-o", "name")


async def test_apply_creates_and_then_changes_what_has_changed(kubectl: Kubectl) -> None:
    assert "service/web created" in await kubectl("apply", "-f", "-", stdin=MANIFEST)
    again = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert again.split("\n")[:3] == [
        "service/web unchanged",
        "pod/web-0 unchanged",
        "endpointslice.discovery.k8s.io/web-leader unchanged",
    ]
    changed = MANIFEST.replace("  labels: {app: web}\nspec:\n  selector", "spec:\n  selector")
    changed = changed.replace("port: 80,", "port: 81,").replace("10.1.2.3", "10.1.2.4")
    told = await kubectl("apply", "-f", "-", stdin=changed)
    assert "service/web configured" in told
    service = json.loads(await kubectl("get", "svc", "web", "-o", "json"))
    assert "labels" not in service["metadata"]
    assert [port["port"] for port in service["spec"]["ports"]] == [81]
    assert "kubectl.kubernetes.io/last-applied-configuration" in service["metadata"]["annotations"]
    assert "10.1.2.4" in await kubectl("get", "endpointslices")


async def test_apply_on_the_server(kubectl: Kubectl) -> None:
    told = await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert "service/web serverside-applied" in told
    changed = MANIFEST.replace("port: 80,", "port: 81,").replace("{app: web}\nspec", "{tier: x}\nspec", 1)
    await kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    service = json.loads(await kubectl("get", "svc", "web", "-o", "json"))
    assert service["metadata"]["labels"] == {"tier": "x"}
    assert [port["port"] for port in service["spec"]["ports"]] == [81]


async def test_a_refused_apply_says_which_field(kubectl: Kubectl) -> None:
    with pytest.raises(Failed, match=r"endpoints\[0\]\.addresses\[0\]: Invalid value"):
        await kubectl("apply", "-f", "-", stdin=MANIFEST.replace("10.1.2.3", "127.0.0.1"))


async def test_a_dry_run_on_the_server_changes_nothing(kubectl: Kubectl) -> None:
    told = await kubectl("apply", "--dry-run=server", "-f", "-", stdin=MANIFEST)
    assert "service/web created (server dry run)" in told
    with pytest.raises(Failed, match="not found"):
        await kubectl("get", "svc", "web")


@pytest.mark.parametrize(
    ("form", "patch"),
    [
        ("merge", '{"spec":{"ports":[{"name":"http","port":99}]}}'),
        ("json", '[{"op":"replace","path":"/spec/ports/0/port","value":99}]'),
        ("strategic", '{"spec":{"ports":[{"$patch":"delete","port":80},{"name":"http","port":99}]}}'),
    ],
)
async def test_patch(web: Kubectl, form: str, patch: str) -> None:
    assert "patched" in await web("patch", "svc", "web", f"--type={form}", "-p", patch)
    assert await web("get", "svc", "web", "-o", "jsonpath={.spec.ports[*].port}") == "99"
    assert "(no change)" in await web("patch", "svc", "web", "--type=merge", "-p", '{"spec":{}}')


async def test_patch_of_a_status(web: Kubectl) -> None:
    patch = '{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}'
    await web("patch", "svc", "web", "--subresource=status", "--type=merge", "-p", patch)
    assert "192.0.2.1" in await web("get", "svc", "web", "-o", "jsonpath={.status.loadBalancer}")


async def test_get_watch_sees_what_happens(web: Kubectl, kubelet: Kubelet) -> None:
    async with web.running("get", "pods", "-w") as watching, asyncio.timeout(TIMEOUT_S):
        assert watching.stdout is not None
        assert (await watching.stdout.readline()).split()[:3] == [b"NAME", b"READY", b"STATUS"]
        assert (await watching.stdout.readline()).split()[:3] == [b"web-0", b"1/1", b"Running"]
        kubelet.make_not_ready("default", "web-0")
        assert (await watching.stdout.readline()).split()[:3] == [b"web-0", b"0/1", b"Running"]
        kubelet.make_ready("default", "web-0")
        assert (await watching.stdout.readline()).split()[:3] == [b"web-0", b"1/1", b"Running"]
        await web("delete", "pod", "web-0", "--wait=false")
        assert (await watching.stdout.readline()).split()[:3] == [b"web-0", b"1/1", b"Terminating"]


async def test_wait_for_a_value(web: Kubectl) -> None:
    async with web.running("wait", "--for=jsonpath={.metadata.labels.tier}=x", "svc/web") as waiting:
        await web("label", "svc", "web", "tier=x")
        out, _ = await asyncio.wait_for(waiting.communicate(), TIMEOUT_S)
    assert out == b"service/web condition met\n"


async def test_wait_gives_up(web: Kubectl) -> None:
    with pytest.raises(Failed, match="timed out waiting for the condition"):
        await web("wait", "--for=condition=Never", "pod/web-0", "--timeout=1s")


async def test_describe(web: Kubectl, box: Sandbox) -> None:
    event = {
        "metadata": {"name": "web.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "zen-lead-controller",
        "reportingInstance": "zen-lead-0",
        "action": "Elect",
        "reason": "LeaderChanged",
        "type": "Normal",
        "note": "web-0 leads",
        "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": "default", "name": "web"},
    }
    uid = await web("get", "svc", "web", "-o", "jsonpath={.metadata.uid}")
    event["regarding"] = {**event["regarding"], "uid": uid}
    await box.api.create(EVENTS, "default", json.dumps(event).encode())
    service = await web("describe", "svc", "web")
    assert "10.1.2.3:8080" in service
    assert "LeaderChanged" in service
    assert "web-0 leads" in service
    pod = await web("describe", "pod", "web-0")
    assert re.search(r"Node: +node-a/10\.0\.0\.1\n", pod)
    assert re.search(r"\n +Ready +True", pod)
    assert "Addresses:  10.1.2.3" in await web("describe", "endpointslice", "web-leader")
    assert "LeaderChanged" in await web("events")
    assert "LeaderChanged" in await web("get", "events")
    assert "LeaderChanged" in await web("get", "events.events.k8s.io")


async def test_delete_waits_until_it_is_gone(web: Kubectl) -> None:
    assert await web("delete", "pod", "web-0", "--wait=true") in (
        'pod "web-0" deleted\n',
        'pod "web-0" deleted from default namespace\n',
    )
    with pytest.raises(Failed, match=r'pods "web-0" not found'):
        await web("get", "pod", "web-0")
    await web("delete", "svc", "--all")
    assert await web("get", "svc", "-o", "name") == ""


async def test_delete_of_a_namespace_takes_everything_along(web: Kubectl) -> None:
    await web("create", "namespace", "t1")
    await web("apply", "-n", "t1", "-f", "-", stdin=MANIFEST)
    await web("delete", "namespace", "t1", "--wait=true")
    assert "t1" not in await web("get", "all,namespaces,endpointslices", "-A")


async def test_delete_with_force(web: Kubectl) -> None:
    async with web.running("delete", "pod", "web-0", "--force", "--grace-period=0") as deleting:
        out, _ = await asyncio.wait_for(deleting.communicate(), TIMEOUT_S)
    assert b"force deleted" in out
    with pytest.raises(Failed, match="not found"):
        await web("get", "pod", "web-0")


async def test_replace_edits_what_was_read(web: Kubectl) -> None:
    service = json.loads(await web("get", "svc", "web", "-o", "json"))
    service["spec"]["ports"][0]["port"] = 90
    assert "replaced" in await web("replace", "-f", "-", stdin=json.dumps(service))
    with pytest.raises(Failed, match="the object has been modified"):
        await web("replace", "-f", "-", stdin=json.dumps(service))


async def test_version_and_rights(kubectl: Kubectl) -> None:
    assert json.loads(await kubectl("get", "--raw", "/version"))["major"] == "1"
    assert await kubectl("auth", "can-i", "list", "pods") == "yes\n"
    assert "services" in await kubectl("api-resources", "-o", "name")


async def test_the_kubeconfig_is_for_its_owner_only(box: Sandbox) -> None:
    assert box.kubeconfig is not None
    assert box.kubeconfig.stat().st_mode & 0o777 == 0o600
