"""Taking over in place from the Go zen-lead: its objects stay the same objects, and traffic never notices."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import original
from tests.cluster.client import StatusError
from tests.cluster.recorder import of_zenlead
from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, LEASES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

NAME = "web-leader"
SERVICE_LABELS = {"app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": "web"}
SLICE_LABELS = SERVICE_LABELS | {
    "kubernetes.io/service-name": NAME,
    "endpointslice.kubernetes.io/managed-by": "zen-lead",
}
OWN_ANNOTATIONS = {
    "zen-lead.io/current-leader",
    "zen-lead.io/leader-pod-name",
    "zen-lead.io/leader-pod-uid",
    "zen-lead.io/leader-last-switch-time",
    "zen-lead.io/leader-epoch",
}
SOURCE_LABELS = {
    "app": "web",
    "app.kubernetes.io/managed-by": "Helm",
    "argocd.argoproj.io/instance": "shop",
    "helm.sh/chart": "web-1.2.3",
    "service.kubernetes.io/service-proxy-name": "other",
}
SOURCE_ANNOTATIONS = {
    "argocd.argoproj.io/tracking-id": "shop:/Service:default/web",
    "external-dns.alpha.kubernetes.io/hostname": "web.example",
    "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": "Service"}),
    "leader.zen-lead.io/team": "shop",
    "meta.helm.sh/release-name": "web",
    "zen-lead.io/sticky": "true",
}


def now() -> float:
    return asyncio.get_running_loop().time()


async def source_of(namespace: Namespace, **over: Any) -> Object:
    given = {"labels": SOURCE_LABELS, "annotations": SOURCE_ANNOTATIONS} | over
    return await namespace.service("web", **given)


async def adopted(namespace: Namespace, recorder: Recorder) -> tuple[Object, Object]:
    """The leader Service and its slice once zenlead has put them right and nothing happens any more."""
    await recorder.wait(
        lambda r: (
            r.resource == SERVICES.plural
            and r.name == NAME
            and any(c["type"] == "zen-lead.io/LeaderReady" for c in r.body["status"].get("conditions") or ())
        ),
        "the leader Service is dressed",
    )
    await recorder.quiet(0.6)
    service = await namespace.client.get(SERVICES, namespace.name, NAME)
    return service, await namespace.client.get(ENDPOINT_SLICES, namespace.name, NAME)


def same_object(before: Object, after: Object) -> bool:
    return (before["metadata"]["uid"], before["spec"]["clusterIP"]) == (
        after["metadata"]["uid"],
        after["spec"]["clusterIP"],
    )


def always_ready(recorder: Recorder) -> None:
    """No revision of the slice since the Go zen-lead made it is without its one ready endpoint."""
    for revision in recorder.slice(NAME):
        (endpoint,) = revision.body["endpoints"] or [None]
        assert endpoint, f"{NAME} was empty at {revision.at:.3f}"
        assert endpoint["conditions"]["ready"], f"{NAME} was not ready at {revision.at:.3f}"
        assert revision.type != "DELETED"


def routed(body: Object) -> list[str]:
    return [endpoint["targetRef"]["name"] for endpoint in body["endpoints"] or ()]


async def test_from_the_go_original_through_a_restart_and_a_failure(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """web-1 leads, which zenlead would not have chosen itself."""
    source = await source_of(pods)
    web_1 = await pods.client.get(PODS, pods.name, "web-1")
    made, _ = await original.left_behind(pods, source, web_1)
    first = await zenlead_process()
    service, found = await adopted(pods, recorder)
    always_ready(recorder)
    assert same_object(made, service)
    assert set(recorder.leaders(NAME)) == {"web-1"}

    assert service["metadata"]["labels"] == SERVICE_LABELS
    assert set(service["metadata"]["annotations"]) == {
        *OWN_ANNOTATIONS,
        "team",
        "zen-lead.io/leader-annotations",
    }
    assert service["metadata"]["annotations"]["zen-lead.io/leader-last-switch-time"] == original.SWITCHED
    assert service["spec"]["ports"] == source["spec"]["ports"]
    assert found["metadata"]["labels"] == SLICE_LABELS
    assert found["endpoints"][0]["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert recorder.events() == [], "nothing happened to anybody"

    versions = [body["metadata"]["resourceVersion"] for body in (service, found)]
    first.terminate()
    assert await first.wait() == 0
    await zenlead_process()
    await asyncio.sleep(1.0)
    await recorder.quiet(0.6)
    again = [await pods.client.get(kind, pods.name, NAME) for kind in (SERVICES, ENDPOINT_SLICES)]
    assert [body["metadata"]["resourceVersion"] for body in again] == versions, "a restart writes nothing"

    failed_at = now()
    await pods.pod_status("web-1", ready=False)
    moved = await recorder.wait_leader(NAME, "web-0", since=failed_at)
    assert moved.at - failed_at < 3.0
    await recorder.quiet(0.6)
    always_ready(recorder)
    assert recorder.leaders(NAME) == ["web-1", "web-0"]
    before, after = (
        body["metadata"]["annotations"]["zen-lead.io/leader-epoch"] for body in (found, moved.body)
    )
    assert int(after) == int(before) + 1


async def test_a_failure_while_nobody_watched_is_mended_in_the_first_write(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """The Go zen-lead cannot empty a slice: the API server refuses what it sends, so the dead stay in it."""
    source = await source_of(pods)
    web_1 = await pods.client.get(PODS, pods.name, "web-1")
    made, _ = await original.left_behind(pods, source, web_1)
    await pods.delete_pod("web-1")
    await zenlead_process()
    service, found = await adopted(pods, recorder)
    always_ready(recorder)
    assert same_object(made, service)
    assert recorder.leaders(NAME) == ["web-1", "web-0"]
    assert routed(found) == ["web-0"]
    assert [e["reason"] for e in recorder.events()] == ["LeaderChanged"]


async def test_an_endpoint_without_an_address_cannot_be_stored(pods: Namespace) -> None:
    source = await source_of(pods)
    web_0 = await pods.client.get(PODS, pods.name, "web-0")
    service, _ = await original.left_behind(pods, source, web_0)
    empty = {"addresses": None, "conditions": {"ready": False}}
    for addresses in (None, []):
        body = {"endpoints": [{**empty, "addresses": addresses}]}
        with pytest.raises(StatusError) as refused:
            await pods.client.patch(ENDPOINT_SLICES, pods.name, service["metadata"]["name"], body)
        assert refused.value.status == 422


@pytest.mark.parametrize("target", ["none at all", "no uid", "uid of an earlier pod"])
async def test_the_leader_stays_whatever_the_slice_calls_it(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead, target: str
) -> None:
    """Without a UID the address tells who leads; a UID that is gone means that it was another pod."""
    source = await source_of(pods)
    web_2 = await pods.client.get(PODS, pods.name, "web-2")
    _, found = await original.left_behind(pods, source, web_2)
    endpoint = original.endpoint(web_2)
    if target == "none at all":
        del endpoint["targetRef"]
    elif target == "no uid":
        del endpoint["targetRef"]["uid"]
    else:
        endpoint["targetRef"]["uid"] = "11111111-2222-3333-4444-555555555555"
    await pods.client.patch(ENDPOINT_SLICES, pods.name, NAME, {"endpoints": [endpoint]})
    await zenlead_process()
    _, found = await adopted(pods, recorder)
    always_ready(recorder)
    assert routed(found) == ["web-0" if target == "uid of an earlier pod" else "web-2"]
    assert found["endpoints"][0]["targetRef"]["uid"]


async def test_what_others_put_on_the_objects_stays(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    source = await source_of(pods)
    web_0 = await pods.client.get(PODS, pods.name, "web-0")
    await original.left_behind(pods, source, web_0)
    theirs = {"external-dns.alpha.kubernetes.io/hostname": "leader.web.example", "team.example/note": "ours"}
    meta = {"labels": {"team.example/tier": "front"}, "annotations": theirs}
    for kind in (SERVICES, ENDPOINT_SLICES):
        await pods.client.patch(kind, pods.name, NAME, {"metadata": meta})
    # Meanwhile the source has changed, so that its copies are out of date.
    await pods.client.patch(SERVICES, pods.name, "web", {"metadata": {"labels": {"helm.sh/chart": "web-2"}}})
    await zenlead_process()
    service, found = await adopted(pods, recorder)
    assert service["metadata"]["labels"] == SERVICE_LABELS | meta["labels"]
    assert found["metadata"]["labels"] == SLICE_LABELS | meta["labels"]
    for body in (service, found):
        kept = body["metadata"]["annotations"]
        assert {key: kept.get(key) for key in theirs} == theirs
        assert "meta.helm.sh/release-name" not in kept
    # From then on they are let alone, also what has the name of a copy.
    late = {"metadata": {"labels": {"helm.sh/chart": "by-hand"}}}
    await pods.client.patch(SERVICES, pods.name, NAME, late)
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader(NAME, "web-1")
    await recorder.quiet(0.6)
    service = await pods.client.get(SERVICES, pods.name, NAME)
    assert service["metadata"]["labels"]["helm.sh/chart"] == "by-hand"


async def test_a_dry_run_beside_the_original_writes_nothing(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    source = await source_of(pods)
    web_1 = await pods.client.get(PODS, pods.name, "web-1")
    await original.left_behind(pods, source, web_1)
    await recorder.quiet(0.6)
    before = len(recorder.log)
    process = await zenlead_process("--dry-run")

    async def planned() -> set[str]:
        return {str(r.get("name")) for r in process.records if r["event"] == "write.planned"}

    await eventually(planned, "it says what it would write")
    await recorder.quiet(1.0)
    assert recorder.log[before:] == []
    (lease,) = (await pods.client.list(LEASES, pods.name))["items"]
    assert lease["spec"]["holderIdentity"] == ""
    assert not any(map(of_zenlead, (await pods.client.list(EVENTS, pods.name))["items"]))


async def test_a_type_that_was_copied_is_taken_back(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """Node ports never were copied: the API server refuses to give one out twice."""
    balanced = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    source = await source_of(pods, **balanced)
    web_0 = await pods.client.get(PODS, pods.name, "web-0")
    made, _ = await original.left_behind(pods, source, web_0)
    assert made["spec"]["type"] == "LoadBalancer"
    await zenlead_process()
    service, _ = await adopted(pods, recorder)
    always_ready(recorder)
    assert service["spec"]["type"] == "ClusterIP"
    assert same_object(made, service)
