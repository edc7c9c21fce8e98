"""The control plane and the hands that tests have on it do what the other cluster tests rely on."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster import process
from tests.cluster.client import StatusError
from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.client import KubeClient
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from zenlead.kube.api import HttpApi

ROOT = Path(__file__).resolve().parents[2]


async def test_pods_run_without_a_kubelet_and_the_watch_tells(namespace: Namespace) -> None:
    listed = await namespace.client.list(PODS, namespace.name)
    version = listed["metadata"]["resourceVersion"]
    made = await namespace.pod("web-0", addresses=["10.1.2.3", "fd00:10::1"], node="n2")
    async with aclosing(namespace.client.watch(PODS, namespace.name, {"resourceVersion": version})) as events:
        first = await anext(events)
        second = await anext(events)
    assert made["status"]["podIPs"] == [{"ip": "10.1.2.3"}, {"ip": "fd00:10::1"}]
    assert [first["type"], second["type"]] == ["ADDED", "MODIFIED"]
    assert second["object"]["spec"]["nodeName"] == "n2"
    assert {c["type"]: c["status"] for c in second["object"]["status"]["conditions"]}["Ready"] == "True"


async def test_status_is_patched_piece_by_piece(namespace: Namespace) -> None:
    await namespace.pod("web-0", addresses=["10.1.2.4"])
    await namespace.pod_status("web-0", ready=False, restarts=3)
    lost = await namespace.pod_status("web-0", addresses=[])
    assert "podIP" not in lost["status"]
    assert "podIPs" not in lost["status"]
    assert lost["status"]["containerStatuses"][0]["restartCount"] == 3
    conditions = {c["type"]: c["status"] for c in lost["status"]["conditions"]}
    assert conditions["Ready"] == "False"


async def test_a_deleted_pod_terminates_for_as_long_as_its_grace(namespace: Namespace) -> None:
    await namespace.pod("web-0")
    await namespace.delete_pod("web-0", grace_s=600)
    terminating = await namespace.client.get(PODS, namespace.name, "web-0")
    assert terminating["metadata"]["deletionGracePeriodSeconds"] == 600
    await namespace.delete_pod("web-0")
    assert await namespace.client.find(PODS, namespace.name, "web-0") is None


async def test_the_initial_list_can_be_streamed(namespace: Namespace) -> None:
    await namespace.pod("web-0")
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with aclosing(namespace.client.watch(PODS, namespace.name, query)) as events:
        first, second = await anext(events), await anext(events)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "web-0")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_the_recorder_sees_the_native_slice_controller(
    namespace: Namespace, recorder: Recorder
) -> None:
    await namespace.service("web", enabled=False)
    await namespace.pod("web-0")
    routed = await recorder.wait(
        lambda r: r.resource == "endpointslices" and r.leaders == ("web-0",), "a slice with web-0"
    )
    await namespace.pod_status("web-0", ready=False)
    gone = await recorder.wait(
        lambda r: r.name == routed.name and r.at > routed.at and r.leaders == (), "web-0 leaves it"
    )
    assert recorder.leaders(routed.name) == ["", "web-0", ""]
    assert recorder.writes(SERVICES, "web") == 1
    recorder.never_two_ready("web")
    recorder.never_empty_between(routed.name, routed.at, gone.at - 1e-6)
    with pytest.raises(AssertionError, match="was empty at"):
        recorder.never_empty_between(routed.name, routed.at, gone.at)
    await namespace.pod("web-1")
    await namespace.pod("web-2")
    await recorder.wait(lambda r: len(r.leaders) == 2, "two pods in one ordinary slice")
    with pytest.raises(AssertionError, match="IPv4 of web routed to"):
        recorder.never_two_ready("web")


async def test_a_client_certificate_is_a_user_without_rights(
    controlplane: ControlPlane, namespace: Namespace, tmp_path: Path
) -> None:
    from zenlead.kube.api import connect
    from zenlead.kube.errors import Forbidden

    config = controlplane.kubeconfig(tmp_path / "bob", user="bob", groups=["team"])
    api = await connect(kubeconfig=str(config), context=None)
    with pytest.raises(Forbidden, match='User "bob" cannot list'):
        await api.list(PODS, namespace.name, {})
    await api.close()


async def test_a_service_account_has_the_rights_of_its_role(
    controlplane: ControlPlane, namespace: Namespace
) -> None:
    from tests.cluster.client import KubeClient

    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    token = await namespace.service_account("reader", rules)
    async with KubeClient(controlplane.url, ca=controlplane.ca, token=token) as reader:
        assert (await reader.list(PODS, namespace.name))["items"] == []
        with pytest.raises(StatusError) as refused:
            await reader.list(SERVICES, namespace.name)
    assert refused.value.status == 403


async def test_owned_objects_are_collected(namespace: Namespace) -> None:
    owner = await namespace.service("web", enabled=False)
    reference = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": owner["metadata"]["uid"]}
    slice_ = {
        "metadata": {"name": "owned", "ownerReferences": [reference]},
        "addressType": "IPv4",
        "endpoints": [],
    }
    await namespace.client.create(ENDPOINT_SLICES, namespace.name, slice_)
    await namespace.client.delete(SERVICES, namespace.name, "web")

    async def collected() -> bool:
        return await namespace.client.find(ENDPOINT_SLICES, namespace.name, "owned") is None

    await eventually(collected, "the slice is collected")


async def test_zenleads_own_client_reads_the_real_server(real_api: HttpApi, admin: KubeClient) -> None:
    names = {n["metadata"]["name"] for n in json.loads(await real_api.list(NODES, None, {}))["items"]}
    assert names == {"n1", "n2", "n3"}


def test_kubectl_is_at_hand(controlplane: ControlPlane) -> None:
    assert "kube-system" in controlplane.kubectl("get", "namespaces", "--output=name")


def test_the_certificates_pass_strict_checks(controlplane: ControlPlane) -> None:
    # Python 3.13 checks this by default, older versions only when told to.
    context = ssl.create_default_context(cadata=controlplane.ca.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    import http.client

    connection = http.client.HTTPSConnection("127.0.0.1", controlplane.port, context=context, timeout=5)
    connection.request("GET", "/livez")
    assert connection.getresponse().status in {200, 401, 403}
    connection.close()


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    """Even when the parent has no chance to clean up."""
    code = (
        "import pathlib, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from tests.cluster.process import spawn\n"
        "child = spawn(['sleep', '600'], log=pathlib.Path(sys.argv[2]))\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(ROOT), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path("/proc", parent.stdout.readline().strip())
        _poll(lambda: b"sleep\x00600" in (child / "cmdline").read_bytes())
        parent.kill()
    _poll(lambda: not child.exists() or (child / "stat").read_text().rpartition(")")[2].split()[0] == "Z")


def _poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_control_plane_that_cannot_start_says_why_and_leaves_nothing() -> None:
    from tests.cluster.controlplane import PREFIX, ControlPlane, StartError

    before = set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    with pytest.raises(StartError, match="no-such-flag"), ControlPlane(apiserver_args=["--no-such-flag"]):
        pass
    assert set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) <= before


def test_free_ports_can_be_bound() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", process.free_port()))
