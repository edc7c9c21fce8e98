"""The annotations that shape the leader Service and its slice, from outside; what is told of wrong ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.led import AT_ONCE_S, PREFIX, Led, asked, now
from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

TWO_PORTS = (
    {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
    {"name": "admin", "port": 9000, "targetPort": 9001, "protocol": "TCP"},
)


async def has_ports(web: Led, *names: str) -> None:
    """Returns when both the leader Service and its slice have exactly these ports."""

    async def same() -> bool:
        (slice_,) = await web.where.slices_of(web.slice)
        service = await web.service()
        return all(
            [p["name"] for p in ports] == [*names] for ports in (slice_["ports"], service["spec"]["ports"])
        )

    await eventually(same, f"{web.slice} has the ports {names}")


async def test_ports_mode_takes_all_or_some(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start(ports=TWO_PORTS, ports_mode="subset:admin")
    started = now()
    await has_ports(web, "admin")
    await web.ask(ports_mode="subset:admin,http")
    await has_ports(web, "http", "admin")  # in the order of the source
    await web.ask(ports_mode="subset:http")
    await has_ports(web, "http")
    await web.ask(ports_mode="subset:http,nope")
    (note,) = await web.hears("InvalidAnnotation")
    assert f"{PREFIX}ports-mode: 'subset:http,nope'" in note
    assert "some of http, admin" in note
    await has_ports(web, "http", "admin")
    await namespace.annotate("web", {"x": "y"})
    await web.ready(1, ready=False)
    await web.ask(ports_mode=None)
    await recorder.quiet(0.6)
    await has_ports(web, "http", "admin")
    assert len(web.told("InvalidAnnotation")) == 1
    assert web.moves() == ["web-0"]
    recorder.never_empty_between(web.slice, started, now())


TYPES: dict[str, Object] = {
    "ClusterIP": {"type": "ClusterIP"},
    "Headless": {"type": "ClusterIP", "clusterIP": "None"},
    "NodePort": {"type": "NodePort"},
    "LoadBalancer": {"type": "LoadBalancer"},
}
NEXT = dict(zip(TYPES, [*list(TYPES)[1:], "ClusterIP"], strict=True))


async def has_type(web: Led, name: str) -> None:
    """Returns when the leader Service is of that type, and its slice is of that Service and routes."""
    pod = await web.where.client.get(PODS, web.where.name, web.pod(0))

    async def same() -> bool:
        service = await web.where.client.find(SERVICES, web.where.name, web.slice)
        if service is None:
            return False
        spec, slices = service["spec"], await web.where.slices_of(web.slice)
        typed = spec["type"] == TYPES[name]["type"] and (spec["clusterIP"] == "None") == (name == "Headless")
        return typed and [
            (s["metadata"]["ownerReferences"][0]["uid"], s["endpoints"][0]["addresses"]) for s in slices
        ] == [(service["metadata"]["uid"], [pod["status"]["podIP"]])]

    await eventually(same, f"{web.slice} is {name}, and routes")


async def test_leader_service_type_is_what_is_asked_and_not_the_sources(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    async def story(first: str) -> None:
        web = Led(namespace, recorder, first.lower())
        await web.add_pod(0)
        await web.opt_in(leader_service_type=first)
        await web.led_by(0)
        await has_type(web, first)
        for other in (NEXT[first], NEXT[NEXT[first]], first):
            await web.ask(leader_service_type=other)
            await has_type(web, other)
        await web.ask(leader_service_type="ExternalName")
        assert "ClusterIP, Headless, NodePort, LoadBalancer" in (await web.hears("InvalidAnnotation"))[0]
        await has_type(web, "ClusterIP")

    async def inherits_nothing() -> None:
        web = Led(namespace, recorder, "source")
        await web.add_pod(0)
        await namespace.service("source", type="NodePort", externalTrafficPolicy="Local")
        await web.led_by(0)
        await has_type(web, "ClusterIP")

    async with asyncio.TaskGroup() as stories:
        for name in TYPES:
            stories.create_task(story(name), name=name)
        stories.create_task(inherits_nothing())


async def test_paused_leaves_the_slice_as_it_is(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start(3)
    await web.ask(paused="true")
    await web.condition("True", "Paused")
    started = now()
    await web.hears("Paused")
    await namespace.delete_pod("web-0")
    await namespace.client.patch(
        SERVICES, namespace.name, "web", {"spec": {"ports": [{"name": "x", "port": 1}]}}
    )
    await recorder.quiet(0.8)
    assert recorder.writes(ENDPOINT_SLICES, web.slice, since=started) == 0
    assert len(web.told("Paused")) == 1
    metrics = await everywhere.metrics()
    assert metrics[f'zen_lead_paused{{namespace="{namespace.name}",service="web"}}'] == 1
    # Once it goes on, what was missed is done at once, in one write.
    resumed = now()
    await web.ask(paused=None)
    await web.led_by(1, since=resumed, within_s=AT_ONCE_S)
    await web.condition("True", "LeaderElected")
    assert web.moves(resumed) == ["web-1"]
    # Paused while the one that is routed to is not fit, and nobody else is: nothing goes away either.
    await web.ask(paused="T")
    await web.hears("Paused", 2)
    again = now()
    await web.ready(1, ready=False)
    await web.ready(2, ready=False)
    await recorder.quiet(0.6)
    assert web.slice_writes(again) == 0
    await web.ask(paused="false")
    await web.led_by(None, since=again, within_s=AT_ONCE_S)
    await web.condition("False", "NoReadyPods")


async def test_leader_annotations_come_change_and_go(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    await web.add_pod(0)
    await namespace.service(
        "web", annotations={"leader.zen-lead.io/team": "blue", "example.org/team": "source's"}
    )
    await web.led_by(0)
    started = now()

    async def carries(**wanted: str | None) -> None:
        async def same() -> bool:
            said = (await web.service())["metadata"]["annotations"]
            return all(said.get(key) == value for key, value in wanted.items())

        await eventually(same, f"{web.slice} carries {wanted}")

    await carries(team="blue")
    # Somebody else's annotation on our object is none of our business.
    await namespace.annotate(web.slice, {"foreign": "stays"})
    await namespace.annotate("web", {"leader.zen-lead.io/team": "red", "leader.zen-lead.io/cost": "1"})
    await carries(team="red", cost="1", foreign="stays")
    await namespace.annotate("web", {"leader.zen-lead.io/team": None})
    await carries(team=None, cost="1", foreign="stays")
    await namespace.annotate("web", {"leader.zen-lead.io/cost": None})
    await carries(team=None, cost=None, foreign="stays")
    service = await web.service()
    assert "example.org/team" not in service["metadata"]["annotations"]
    assert web.slice_writes(started) == 0


BAD = {
    "leader_service_name": "A_b",
    "sticky": "yes",
    "strategy": "fastest",
    "min_ready_duration": "5",
    "failover_min_delay": "-3s",
    "on_no_ready": "keep",
    "failback": "after:soon",
    "ports_mode": "subset:",
    "leader_service_type": "ExternalName",
    "paused": "on",
}
ALLOWED = {
    "leader_service_name": "63",
    "sticky": "true or false",
    "strategy": "least-restarts",
    "min_ready_duration": "1m30s",
    "failover_min_delay": "without a sign",
    "on_no_ready": "keep-last",
    "failback": "after:5m",
    "ports_mode": "subset:",
    "leader_service_type": "NodePort",
    "paused": "true or false",
}


async def test_a_wrong_value_is_told_once_for_each_change(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start()
    await web.ask(**BAD)
    notes = await web.hears("InvalidAnnotation", len(BAD))
    for key, value in BAD.items():
        (name,) = asked({key: None})
        (note,) = [n for n in notes if f"{name}: {value!r}" in n]
        assert ALLOWED[key] in note
        assert "the default is used" in note
    # Whatever else happens, that was it.
    await web.ready(0, ready=False)
    await web.led_by(1)
    await namespace.annotate("web", {"x": "y"})
    await recorder.quiet(0.6)
    assert len(web.told("InvalidAnnotation")) == len(BAD)
    assert (await web.service())["spec"]["type"] == "ClusterIP"
    # Another wrong value is news, and so is the same one after it was right.
    await web.ask(sticky="no")
    await web.hears("InvalidAnnotation", len(BAD) + 1)
    await web.ask(strategy="newest")
    await recorder.quiet(0.6)
    await web.ask(strategy="fastest")
    await web.hears("InvalidAnnotation", len(BAD) + 2)
    await namespace.annotate("web", {"x": "z"})
    await recorder.quiet(0.6)
    assert len(web.told("InvalidAnnotation")) == len(BAD) + 2


async def test_a_wrong_value_may_be_of_any_length(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = await Led(namespace, recorder).start(1, strategy="x" * 5000)
    (note,) = await web.hears("InvalidAnnotation")
    assert "least-restarts" in note
    assert "the default is used" in note
