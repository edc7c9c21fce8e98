"""Whose object it is decides: what zenlead does not own it never touches, whatever its name or labels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.cluster.scene import HTTP_PORTS, eventually
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
OURS = {"app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": "web"}


def now() -> float:
    return asyncio.get_running_loop().time()


def owner(name: str, uid: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "name": name, "uid": uid, "controller": True}


def strangers(name: str, uid: str, other_uid: str) -> dict[str, Object]:
    """Metadata (and spec) of Services that stand where the leader Service of ``name`` should be."""
    ours = {**OURS, "zen-lead.io/source-service": name}
    return {
        "no labels, own selector": {"spec": {"selector": {"app": "other"}}},
        "our label, another source": {"labels": {**ours, "zen-lead.io/source-service": "other"}},
        "our labels, no owner": {"labels": ours},
        "our labels, another owner": {"labels": ours, "ownerReferences": [owner("other", other_uid)]},
        "our owner, no labels": {"ownerReferences": [owner(name, uid)]},
        "our labels, owner that does not control": {
            "labels": ours,
            "ownerReferences": [{**owner(name, uid), "controller": False}],
        },
    }


async def test_strangers_in_the_way_stay_as_they_are(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """Each stands where the leader Service of a source of its own should be."""
    await namespace.pod("web-0")
    other = await namespace.service("other", enabled=False)
    made: dict[str, Object] = {}
    kinds = tuple(strangers("", "", ""))
    for number, kind in enumerate(kinds):
        name = f"web{number}"
        source = await namespace.service(name, selector={"app": "web"})
        meta = strangers(name, source["metadata"]["uid"], other["metadata"]["uid"])[kind]
        spec = {"ports": list(HTTP_PORTS), **meta.pop("spec", {})}
        body = {"metadata": {"name": f"{name}-leader", **meta}, "spec": spec}
        made[name] = await namespace.client.create(SERVICES, namespace.name, body)
    await zenlead_process()
    for name in made:
        await recorder.wait(
            lambda r, name=name: (
                r.body.get("reason") == "LeaderServiceConflict" and r.body["regarding"]["name"] == name
            ),
            f"the conflict of {name} is told",
        )
    # Whatever happens then, it is told once and nothing is written.
    await namespace.pod_status("web-0", ready=False)
    await namespace.pod_status("web-0", ready=True)
    for name in made:
        await namespace.annotate(name, {"zen-lead.io/sticky": "false"})
    await recorder.quiet(1.0)
    told = [e["regarding"]["name"] for e in recorder.events("LeaderServiceConflict")]
    assert sorted(told) == sorted(made)
    for name in made:
        await namespace.annotate(name, {"zen-lead.io/enabled": None})
    await asyncio.sleep(0.5)
    await recorder.quiet(0.6)
    for (name, before), kind in zip(made.items(), kinds, strict=True):
        assert await namespace.client.get(SERVICES, namespace.name, f"{name}-leader") == before, kind
        for found in await namespace.slices_of(f"{name}-leader"):
            assert "zen-lead" not in str(found["metadata"]["labels"]), kind
    # Once it is out of the way, the name is taken.
    await namespace.annotate("web0", {"zen-lead.io/enabled": "true"})
    await namespace.client.delete(SERVICES, namespace.name, "web0-leader")
    await recorder.wait_leader("web0-leader", "web-0")


async def test_a_leader_service_that_lost_its_source_label_gets_it_back(
    web: Namespace, recorder: Recorder
) -> None:
    label = "zen-lead.io/source-service"
    await web.client.patch(SERVICES, web.name, SLICE, {"metadata": {"labels": {label: None}}})

    async def labelled() -> bool:
        service = await web.client.get(SERVICES, web.name, SLICE)
        return service["metadata"]["labels"].get(label) == "web"

    await eventually(labelled, "the label is back")
    started = now()
    await web.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    assert recorder.events("LeaderServiceConflict") == []


async def test_a_leader_service_that_lost_our_label_is_a_stranger(web: Namespace, recorder: Recorder) -> None:
    label = "app.kubernetes.io/managed-by"
    changed = await web.client.patch(SERVICES, web.name, SLICE, {"metadata": {"labels": {label: None}}})
    await recorder.wait(lambda r: r.body.get("reason") == "LeaderServiceConflict", "the conflict is told")
    await recorder.quiet(1.0)
    assert await web.client.get(SERVICES, web.name, SLICE) == changed
    assert recorder.leaders(SLICE) == ["web-0"]
    assert len(recorder.events("LeaderServiceConflict")) == 1
    await web.client.patch(SERVICES, web.name, SLICE, {"metadata": {"labels": OURS}})
    started = now()
    await web.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started)


async def test_a_strangers_slice_stays_as_it_is(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0")
    body = {"metadata": {"name": SLICE}, "addressType": "IPv4", "endpoints": [], "ports": []}
    made = await namespace.client.create(ENDPOINT_SLICES, namespace.name, body)
    await namespace.service("web")
    await zenlead_process()
    await recorder.wait(lambda r: r.body.get("reason") == "LeaderServiceConflict", "the conflict is told")
    await recorder.quiet(1.0)
    assert await namespace.client.get(ENDPOINT_SLICES, namespace.name, SLICE) == made
    assert len(recorder.events("LeaderServiceConflict")) == 1
    await namespace.client.delete(ENDPOINT_SLICES, namespace.name, SLICE)
    await recorder.wait_leader(SLICE, "web-0", timeout_s=15.0)  # it is not watched, but looked for


async def test_unrelated_slices_without_anything_in_them_do_no_harm(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0")
    for name, labels in {"a": {}, "b": {"endpointslice.kubernetes.io/managed-by": "zen-lead"}}.items():
        body = {
            "metadata": {"name": f"null-{name}", "labels": labels},
            "addressType": "IPv4",
            "endpoints": None,
            "ports": None,
        }
        await namespace.client.create(ENDPOINT_SLICES, namespace.name, body)
    await namespace.service("empty", enabled=False)  # its own slice has no endpoints
    await namespace.service("web")
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")


async def test_nothing_of_the_source_is_copied(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    labels = {
        "argocd.argoproj.io/instance": "shop",
        "app.kubernetes.io/managed-by": "Helm",
        "service.kubernetes.io/headless": "",
        "service.kubernetes.io/service-proxy-name": "other",
    }
    annotations = {
        "argocd.argoproj.io/tracking-id": "shop:/Service:default/web",
        "external-dns.alpha.kubernetes.io/hostname": "web.example",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "meta.helm.sh/release-name": "web",
        "meta.helm.sh/release-namespace": "default",
        "zen-lead.io/min-ready-duration": "0s",
    }
    spec = {"sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local", "publishNotReadyAddresses": True}
    await pods.service("web", labels=labels, annotations=annotations, **spec)
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1")
    await recorder.quiet(0.6)
    written = [*recorder.revisions(SERVICES, SLICE), *recorder.slice(SLICE)]
    assert len(written) >= 4
    allowed = {
        *OURS,
        "kubernetes.io/service-name",
        "endpointslice.kubernetes.io/managed-by",
        "zen-lead.io/current-leader",
        "zen-lead.io/leader-pod-name",
        "zen-lead.io/leader-pod-uid",
        "zen-lead.io/leader-last-switch-time",
        "zen-lead.io/leader-epoch",
        "endpoints.kubernetes.io/last-change-trigger-time",
    }
    for revision in written:
        meta = revision.body["metadata"]
        assert {*meta["labels"], *meta.get("annotations", {})} <= allowed
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "zen-lead"
    made = await pods.client.get(SERVICES, pods.name, SLICE)
    assert made["spec"]["sessionAffinity"] == "None"
    assert made["spec"]["internalTrafficPolicy"] == "Cluster"
    assert "publishNotReadyAddresses" not in made["spec"]


async def test_opting_out_removes_a_leader_service_that_lost_its_source_label(
    web: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """Nobody minds the label while the Service is out, and the owner says all the same whose it is."""
    paused = {"zen-lead.io/paused": "true"}  # so that the label stays away
    await web.annotate("web", paused)
    await recorder.quiet(0.6)
    label = {"zen-lead.io/source-service": None}
    await web.client.patch(SERVICES, web.name, SLICE, {"metadata": {"labels": label}})
    await recorder.quiet(0.6)
    await web.annotate("web", {"zen-lead.io/enabled": None})

    async def gone() -> bool:
        return await web.client.find(SERVICES, web.name, SLICE) is None

    await eventually(gone, "the leader Service is gone")
    await recorder.quiet(1.0)
    assert await web.client.find(ENDPOINT_SLICES, web.name, SLICE) is None
