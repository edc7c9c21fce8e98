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
    await recorder.wait_leader(SLICE, "web-0", timeout_s=40.0)


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


async def test_names_as_long_as_they_may_be_and_longer(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    port = "a-port-name-of-exactly-forty-characters1"
    assert len(port) == 40
    await namespace.pod("web-0")
    names = {length: "s" * length for length in (56, 57, 63)}
    for name in names.values():
        ports = [{"name": port, "port": 80, "targetPort": "http"}]
        await namespace.service(name, selector={"app": "web"}, ports=ports)
    await zenlead_process()
    routed = await recorder.wait_leader(f"{names[56]}-leader", "web-0")
    assert routed.body["ports"] == [{"name": port, "port": 8080, "protocol": "TCP"}]
    for length in (57, 63):
        await recorder.wait(
            lambda r, name=names[length]: (
                r.body.get("reason") == "InvalidService" and r.body["regarding"]["name"] == name
            ),
            f"the name of {length} characters is refused",
        )
    await namespace.pod_status("web-0", ready=True)
    await recorder.quiet(1.0)
    for length in (57, 63):
        (event,) = recorder.events("InvalidService", regarding=names[length])
        assert "zen-lead.io/leader-service-name" in event["note"]
    assert recorder.events("InvalidService", regarding=names[56]) == []
    # What the event asks for helps.
    await namespace.annotate(names[63], {"zen-lead.io/leader-service-name": "short"})
    await recorder.wait_leader("short", "web-0")


async def test_two_sources_with_one_name_take_turns(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0")
    shared = {"zen-lead.io/leader-service-name": "shared"}
    await namespace.service("web", annotations=shared)
    await zenlead_process()
    await recorder.wait_leader("shared", "web-0")
    await namespace.service("api", annotations=shared, selector={"app": "web"})
    await recorder.wait(
        lambda r: r.body.get("reason") == "InvalidService" and r.body["regarding"]["name"] == "api", "told"
    )
    await recorder.quiet(0.6)
    assert len(recorder.events("InvalidService")) == 1
    await namespace.annotate("web", {"zen-lead.io/enabled": None})

    async def taken_over() -> bool:
        service = await namespace.client.find(SERVICES, namespace.name, "shared")
        slices = await namespace.slices_of("shared")
        return (
            service is not None
            and service["metadata"]["labels"]["zen-lead.io/source-service"] == "api"
            and [len(s["endpoints"] or ()) for s in slices] == [1]
        )

    await eventually(taken_over, "the second source has the name")


async def test_slices_that_a_selector_left_behind_are_removed(web: Namespace, recorder: Recorder) -> None:
    """While our leader Service had a selector, the cluster's own controller made it a slice of all pods."""
    body = {"spec": {"selector": {"app": "web"}}}
    await web.client.patch(SERVICES, web.name, SLICE, body)

    async def alone() -> bool:
        service = await web.client.get(SERVICES, web.name, SLICE)
        names = [s["metadata"]["name"] for s in await web.slices_of(SLICE)]
        return not service["spec"].get("selector") and names == [SLICE]

    await recorder.wait(
        lambda r: r.resource == ENDPOINT_SLICES.plural and r.name.startswith(f"{SLICE}-"), "a foreign slice"
    )
    await eventually(alone, "only our slice is left", timeout_s=15.0)
    await recorder.quiet(1.0)
    assert await alone()
    assert {s["metadata"]["name"] for s in await web.slices_of("web")} != set(), "those of others stay"
