"""What comes and goes with an opted-in Service, and what zenlead puts back when somebody else changes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
H2C = "kubernetes.io/h2c"


def now() -> float:
    return asyncio.get_running_loop().time()


async def versions(where: Namespace) -> dict[str, str]:
    """Kind and name of everything in the namespace that zenlead may write, to its resourceVersion."""
    found: dict[str, str] = {}
    for resource in (SERVICES, ENDPOINT_SLICES):
        for item in (await where.client.list(resource, where.name))["items"]:
            found[f"{resource.plural}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return found


async def settled(where: Namespace) -> Callable[[Object | None, list[Object]], bool]:
    """What says whether the leader Service and its slice are (again) as they are now."""
    (routing,) = await where.slices_of(SLICE)
    service = await where.client.get(SERVICES, where.name, SLICE)

    def same(found: Object | None, slices: list[Object]) -> bool:
        if found is None or len(slices) != 1:
            return False
        labels = service["metadata"]["labels"].items() <= found["metadata"]["labels"].items()
        spec = all(found["spec"].get(k) == service["spec"].get(k) for k in ("ports", "selector", "type"))
        notes = ("zen-lead.io/leader-pod-uid", "zen-lead.io/current-leader")
        told = all(
            found["metadata"]["annotations"].get(n) == service["metadata"]["annotations"][n] for n in notes
        )
        (slice_,) = slices
        routes = all(slice_.get(k) == routing[k] for k in ("endpoints", "ports", "addressType"))
        marks = routing["metadata"]["labels"].items() <= slice_["metadata"]["labels"].items()
        owner = slice_["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
        return labels and spec and told and routes and marks and owner

    return same


async def test_opting_out_removes_both_objects(web: Namespace) -> None:
    await web.annotate("web", {"zen-lead.io/enabled": None})

    async def gone() -> bool:
        service = await web.client.find(SERVICES, web.name, SLICE)
        return service is None and not await web.slices_of(SLICE)

    await eventually(gone, "both objects are gone")
    assert set(await versions(web)) >= {"services/web"}


async def test_anything_but_true_is_out(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0")
    for index, value in enumerate(("True", "1", "yes", "")):
        annotations = {"zen-lead.io/enabled": value}
        await namespace.service(
            f"web-{index}", enabled=False, annotations=annotations, selector={"app": "web"}
        )
    await namespace.service("web")
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    made = {r.name for r in recorder.revisions(SERVICES) if r.name.endswith("-leader")}
    assert made == {SLICE}


async def test_the_garbage_collector_takes_all_when_the_source_goes(
    web: Namespace, recorder: Recorder
) -> None:
    started = now()
    await web.client.delete(SERVICES, web.name, "web")

    async def gone() -> bool:
        return await web.client.find(SERVICES, web.name, SLICE) is None and not await web.slices_of(SLICE)

    await eventually(gone, "both objects are gone", timeout_s=20.0)
    await recorder.quiet(1.0)
    changes = recorder.revisions(SERVICES, SLICE, since=started)
    assert [r.type for r in changes if "deletionTimestamp" not in r.body["metadata"]] == ["DELETED"]


async def test_a_rename_removes_the_old_when_the_new_routes(web: Namespace, recorder: Recorder) -> None:
    started = now()
    await web.annotate("web", {"zen-lead.io/leader-service-name": "front"})
    moved = await recorder.wait_leader("front", "web-0", since=started)
    for resource in (SERVICES, ENDPOINT_SLICES):
        gone = await recorder.wait(
            lambda r, kind=resource.plural: (r.type, r.resource, r.name) == ("DELETED", kind, SLICE),
            "the old goes",
        )
        assert gone.at > moved.at
    await recorder.quiet(0.6)
    assert set(await versions(web)) >= {"services/web", "services/front", "endpointslices/front"}
    # The leader is the same, and so is the term.
    terms = {
        revision.body["metadata"]["annotations"]["zen-lead.io/leader-epoch"]
        for revision in (*recorder.slice(SLICE), moved)
        if revision.type != "DELETED"
    }
    assert len(terms) == 1
    assert recorder.events("LeaderChanged") == []


ANOTHER_POD: Object = {"addresses": ["10.1.250.250"], "conditions": {"ready": True}}
DRIFTS: dict[str, Object] = {
    "endpoint moved": {"endpoints": [ANOTHER_POD]},
    "endpoint added": {"endpoints": [ANOTHER_POD, {"addresses": ["10.1.250.251"]}]},
    "endpoint taken": {"endpoints": []},
    "endpoints null": {"endpoints": None, "ports": None},
    "ports changed": {"ports": [{"name": "http", "port": 1, "protocol": "TCP"}]},
    "service name stripped": {"metadata": {"labels": {"kubernetes.io/service-name": None}}},
    "source stripped": {"metadata": {"labels": {"zen-lead.io/source-service": None}}},
    "manager stripped": {"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": None}}},
    "other manager stripped": {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
    "manager changed": {"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "somebody"}}},
}
SERVICE_DRIFTS: dict[str, Object] = {
    "ports changed": {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 1}]}},
    "selector added": {"spec": {"selector": {"app": "nobody"}}},
    "type changed": {"spec": {"type": "NodePort"}},
    "leader renamed": {"metadata": {"annotations": {"zen-lead.io/leader-pod-name": "web-2"}}},
    "leader taken": {
        "metadata": {"annotations": {"zen-lead.io/leader-pod-uid": None, "zen-lead.io/current-leader": None}}
    },
}


async def test_whatever_somebody_does_to_our_objects_is_put_right(web: Namespace, recorder: Recorder) -> None:
    same = await settled(web)
    wrong: list[str] = []

    async def restored() -> bool:
        service = await web.client.find(SERVICES, web.name, SLICE)
        return same(service, await web.slices_of(SLICE))

    async def check(what: str) -> None:
        try:
            await eventually(restored, what, timeout_s=3.0)
        except AssertionError as error:
            wrong.append(str(error))
            await web.client.delete(ENDPOINT_SLICES, web.name, SLICE)

    for what, patch in DRIFTS.items():
        await web.client.patch(ENDPOINT_SLICES, web.name, SLICE, patch)
        await check(f"slice: {what}")
    await web.client.delete(ENDPOINT_SLICES, web.name, SLICE)
    await check("slice deleted")
    await web.client.delete(SERVICES, web.name, SLICE)
    await check("leader Service deleted")
    assert wrong == []


async def test_whatever_somebody_does_to_the_leader_service_is_put_right(
    web: Namespace, recorder: Recorder
) -> None:
    same = await settled(web)
    started = now()

    async def restored() -> bool:
        # (While there was a selector, another controller may have made slices of its own.)
        ours = [s for s in await web.slices_of(SLICE) if s["metadata"]["name"] == SLICE]
        return same(await web.client.find(SERVICES, web.name, SLICE), ours)

    for what, patch in SERVICE_DRIFTS.items():
        await web.client.patch(SERVICES, web.name, SLICE, patch)
        await eventually(restored, what, timeout_s=5.0)
        await recorder.quiet(0.4)
    recorder.never_empty_between(SLICE, started, now())
    assert recorder.leaders(SLICE) == ["web-0"]


async def test_ports_of_the_source_are_followed(web: Namespace, recorder: Recorder) -> None:
    started = now()
    ports: list[dict[str, Any]] = [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
        {
            "name": "admin",
            "port": 9000,
            "targetPort": 9001,
            "protocol": "TCP",
            "appProtocol": H2C,
        },
    ]
    await web.client.patch(SERVICES, web.name, "web", {"spec": {"ports": ports}})
    wanted = [
        {"name": "http", "port": 8080, "protocol": "TCP"},
        {"name": "admin", "port": 9001, "protocol": "TCP", "appProtocol": H2C},
    ]
    await recorder.wait(
        lambda r: r.at >= started and r.name == SLICE and r.body.get("ports") == wanted, "ports"
    )
    await recorder.quiet(0.6)
    service = await web.client.get(SERVICES, web.name, SLICE)
    assert [
        {k: p[k] for k in ("name", "port", "targetPort", "protocol")} for p in service["spec"]["ports"]
    ] == [{k: p[k] for k in ("name", "port", "targetPort", "protocol")} for p in ports]
    assert service["spec"]["ports"][1]["appProtocol"] == H2C
    assert recorder.leaders(SLICE) == ["web-0"]


async def test_a_restart_writes_nothing(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    await pods.service("api", selector={"app": "nobody"})
    await pods.service(
        "dual", selector={"app": "web"}, ipFamilies=["IPv4"], annotations={"zen-lead.io/sticky": "false"}
    )
    first = await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.wait_leader("api-leader", None)
    await recorder.wait_leader("dual-leader", "web-0")
    started = now()
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    await pods.pod_status("web-0", ready=True)
    await recorder.quiet(1.0)
    before = await versions(pods)
    events = len(recorder.events())
    first.terminate()
    assert await first.wait() == 0
    again = now()
    await zenlead_process()
    await asyncio.sleep(2.0)
    await recorder.quiet(0.6)
    assert await versions(pods) == before
    assert [r for r in recorder.log if r.at >= again and r.resource != "events"] == []
    assert len(recorder.events()) == events


async def test_a_dry_run_tells_and_writes_nothing(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    process = await zenlead_process("--dry-run")

    async def planned() -> bool:
        return any(r["event"] == "write.planned" and r["name"] == SLICE for r in process.records)

    await eventually(planned, "the log says what would be written")
    await recorder.quiet(1.0)
    assert await pods.client.find(SERVICES, pods.name, SLICE) is None
    assert recorder.events() == []
    leases = await pods.client.list(LEASES, pods.name)
    assert leases["items"] == []
