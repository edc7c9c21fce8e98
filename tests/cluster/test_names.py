"""Which name the leader Service has: asked for, too long, shared, changed, taken, made anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.scene import HTTP_PORTS, eventually
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

NAME = "zen-lead.io/leader-service-name"


def now() -> float:
    return asyncio.get_running_loop().time()


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


async def test_a_rename_and_back_leaves_no_moment_without_a_route(web: Namespace, recorder: Recorder) -> None:
    for old, new in (("web-leader", "front"), ("front", "web-leader")):
        started = now()
        await web.annotate("web", {NAME: new})
        routed = await recorder.wait_leader(new, "web-0", since=started)
        went = await recorder.wait(
            lambda r, old=old, started=started: (
                r.type == "DELETED" and (r.resource, r.name) == ("services", old) and r.at > started
            ),
            f"the Service {old} is gone",
        )
        await recorder.quiet(0.6)
        left = [r for r in recorder.slice(old, since=started) if not r.leaders]
        assert left[0].at > routed.at, "the old one routes until the new one does"
        assert went.at > routed.at
        assert [s["metadata"]["name"] for s in await web.slices_of(new)] == [new]
        assert await web.client.find(ENDPOINT_SLICES, web.name, old) is None
    epochs = {
        r.body["metadata"]["annotations"]["zen-lead.io/leader-epoch"]
        for name in ("web-leader", "front")
        for r in recorder.slice(name)
    }
    assert len(epochs) == 1, "the same leadership under another name"
    assert recorder.events("LeaderChanged") == []


async def test_a_rename_onto_a_strangers_name_leaves_the_old_one_serving(
    web: Namespace, recorder: Recorder
) -> None:
    body = {"metadata": {"name": "taken"}, "spec": {"ports": list(HTTP_PORTS)}}
    stranger = await web.client.create(SERVICES, web.name, body)
    before = [await web.client.get(kind, web.name, "web-leader") for kind in (SERVICES, ENDPOINT_SLICES)]
    await web.annotate("web", {NAME: "taken"})
    await recorder.wait(lambda r: r.body.get("reason") == "LeaderServiceConflict", "the conflict is told")
    await recorder.quiet(1.0)
    assert await web.client.get(SERVICES, web.name, "taken") == stranger
    after = [await web.client.get(kind, web.name, "web-leader") for kind in (SERVICES, ENDPOINT_SLICES)]
    assert after == before
    started = now()
    await web.pod_status("web-0", ready=False)
    await recorder.wait_leader("web-leader", "web-1", since=started)
    await web.client.delete(SERVICES, web.name, "taken")
    await recorder.wait_leader("taken", "web-1", since=started)
    await recorder.quiet(1.0)
    assert await web.slices_of("web-leader") == []
    started = now()
    await web.annotate("web", {NAME: None})
    await recorder.wait_leader("web-leader", "web-1", since=started)
    await recorder.quiet(0.5)
    assert len(recorder.events("LeaderServiceConflict")) == 1
    assert await web.slices_of("taken") == []


async def test_names_that_lead_elsewhere(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """What is no name is told and not used; a name is looked for in the Service's own namespace only."""
    system = {
        (kind.plural, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for kind in (SERVICES, ENDPOINT_SLICES)
        for item in (await pods.client.list(kind, "kube-system"))["items"]
    }
    odd = ("../kube-system/x", "kube-system/kube-dns", "A_b", "a" * 64, "", "-a", "a.b", "1a", "a%2Fb", "ä")
    for number, name in enumerate(odd):
        await pods.service(f"s{number}", annotations={NAME: name}, selector={"app": "web"})
    await pods.service("dns", annotations={NAME: "kube-dns"}, selector={"app": "web"})
    process = await zenlead_process()
    for number, name in enumerate(odd):
        await recorder.wait_leader(f"s{number}-leader", "web-0")
        told = await recorder.wait(
            lambda r, number=number: (
                r.body.get("reason") == "InvalidAnnotation" and r.body["regarding"]["name"] == f"s{number}"
            ),
            f"{name!r} is told",
        )
        assert f"{NAME}: {name!r}" in told.body["note"]
    await recorder.wait_leader("kube-dns", "web-0")
    await recorder.quiet(1.0)
    assert len(recorder.events("InvalidAnnotation")) == len(odd)
    assert process.exit_code is None
    known = {"dns", "kube-dns", *(f"s{n}{end}" for n in range(len(odd)) for end in ("", "-leader"))}
    assert {
        item["metadata"]["name"] for item in (await pods.client.list(SERVICES, pods.name))["items"]
    } == known
    assert system == {
        (kind.plural, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for kind in (SERVICES, ENDPOINT_SLICES)
        for item in (await pods.client.list(kind, "kube-system"))["items"]
    }


async def test_a_source_that_is_made_anew_gets_a_leader_service_anew(
    web: Namespace, recorder: Recorder
) -> None:
    """The old one has an owner that is gone: zenlead waits for the garbage collector without a word."""
    old = await web.client.get(SERVICES, web.name, "web-leader")
    started = now()
    await web.client.delete(SERVICES, web.name, "web")
    source = await web.service("web")

    async def anew() -> bool:
        found = await web.client.find(SERVICES, web.name, "web-leader")
        slices = await web.slices_of("web-leader")
        return (
            found is not None
            and found["metadata"]["ownerReferences"][0]["uid"] == source["metadata"]["uid"]
            and [(s["metadata"]["ownerReferences"][0]["uid"], len(s["endpoints"] or ())) for s in slices]
            == [(found["metadata"]["uid"], 1)]
        )

    await eventually(anew, "a leader Service of the new source", timeout_s=30.0)
    await recorder.quiet(1.0)
    assert await anew()
    touched = [
        r
        for r in recorder.revisions(SERVICES, "web-leader", since=started)
        if r.body["metadata"]["uid"] == old["metadata"]["uid"] and r.type != "DELETED"
    ]
    assert touched == [], "what another owned was not written to"
    assert recorder.leaders("web-leader")[-1] == "web-0"
    assert recorder.events("LeaderServiceConflict") == []
