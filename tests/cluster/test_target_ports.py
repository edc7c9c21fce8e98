"""Ports on a real API server: every protocol and name that a Service may have, and where they lead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
SECONDS_5 = 5.0  # a failover takes a small part of this; the machine may be busy


def now() -> float:
    return asyncio.get_running_loop().time()


def declared(name: str, number: int, protocol: str = "TCP") -> Object:
    return {"name": name, "containerPort": number, "protocol": protocol}


async def test_every_protocol_with_numbers_and_names_that_are_the_same(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    http2 = "kubernetes.io/h2c"
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns"},
        {"name": "sigtran", "port": 2905, "protocol": "SCTP"},
        {"name": "a" * 40, "port": 80, "protocol": "TCP", "targetPort": 8080, "appProtocol": http2},
        {"name": "same-target", "port": 81, "protocol": "TCP", "targetPort": 8080},
    ]
    containers = [  # one container cannot declare a name twice
        {"name": "tcp", "image": "example/app:1", "ports": [declared("dns", 5301, "TCP")]},
        {"name": "udp", "image": "example/app:1", "ports": [declared("dns", 5302, "UDP")]},
    ]
    await namespace.pod("web-0", containers=containers)
    await namespace.service("web", ports=ports)
    await zenlead_process()
    routed = await recorder.wait_leader(SLICE, "web-0")
    assert routed.body["ports"] == [
        {"name": "dns", "port": 5302, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 5301, "protocol": "TCP"},
        {"name": "sigtran", "port": 2905, "protocol": "SCTP"},
        {"name": "a" * 40, "port": 8080, "protocol": "TCP", "appProtocol": http2},
        {"name": "same-target", "port": 8080, "protocol": "TCP"},
    ]
    made = await namespace.client.get(SERVICES, namespace.name, SLICE)
    source = await namespace.client.get(SERVICES, namespace.name, "web")
    assert made["spec"]["ports"] == source["spec"]["ports"]
    await recorder.quiet(1.0)
    assert recorder.writes(ENDPOINT_SLICES, SLICE) == 1


async def test_a_named_port_moves_with_the_leader_in_the_same_write(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0", ports=[declared("http", 8080)])
    await namespace.pod("web-1", ports=[declared("http", 9090)])
    await namespace.service("web")
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    started = now()
    await namespace.pod_status("web-0", ready=False)
    moved = await recorder.wait_leader(SLICE, "web-1", since=started, timeout_s=SECONDS_5)
    assert moved.body["ports"] == [{"name": "http", "port": 9090, "protocol": "TCP"}]
    await recorder.quiet(0.6)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=started) == 1
    for revision in recorder.slice(SLICE):
        (endpoint,) = revision.leaders
        assert revision.body["ports"][0]["port"] == {"web-0": 8080, "web-1": 9090}[endpoint]


async def test_a_native_sidecar_has_the_port_and_an_init_container_has_not(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    passing = {"name": "init", "image": "example/app:1", "ports": [declared("http", 1)]}
    sidecar = {
        "name": "proxy",
        "image": "example/app:1",
        "restartPolicy": "Always",
        "ports": [declared("http", 15000)],
    }
    await namespace.pod("web-0", ports=[], initContainers=[passing])
    await namespace.pod("web-1", ports=[], initContainers=[passing, sidecar])
    await namespace.service("web")
    await zenlead_process()
    routed = await recorder.wait_leader(SLICE, "web-1")
    assert routed.body["ports"] == [{"name": "http", "port": 15000, "protocol": "TCP"}]


async def test_a_headless_service_without_ports_leads_to_one_address(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    address = (await namespace.pod("web-0"))["status"]["podIP"]
    await namespace.service("web", ports=[], clusterIP="None")
    await zenlead_process()
    routed = await recorder.wait_leader(SLICE, "web-0")
    assert (routed.addresses, routed.body["ports"]) == ((address,), None)
    made = await namespace.client.get(SERVICES, namespace.name, SLICE)
    assert made["spec"]["clusterIP"] == "None"
    await recorder.quiet(1.0)
    assert recorder.writes(ENDPOINT_SLICES, SLICE) == 1


async def test_more_than_a_hundred_ports_are_refused_and_a_subset_is_served(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web", ports=[{"name": f"p{i}", "port": 1000 + i} for i in range(101)])
    await zenlead_process()
    await recorder.wait(lambda r: bool(recorder.events("InvalidService")), "the refusal")
    await recorder.quiet(1.0)
    (event,) = recorder.events("InvalidService", regarding="web")
    for word in ("101 ports", "allowed are 100", "zen-lead.io/ports-mode: subset:"):
        assert word in event["note"]
    assert await pods.client.find(SERVICES, pods.name, SLICE) is None
    await pods.annotate("web", {"zen-lead.io/ports-mode": "subset:p3,p100"})
    routed = await recorder.wait_leader(SLICE, "web-0")
    assert [(p["name"], p["port"]) for p in routed.body["ports"]] == [("p3", 1003), ("p100", 1100)]
    await pods.annotate("web", {"zen-lead.io/ports-mode": None})

    async def withdrawn() -> bool:
        return not await pods.slices_of(SLICE)

    await eventually(withdrawn, "the slice is withdrawn")
    fewer = now()
    removed = {"spec": {"ports": [{"name": f"p{i}", "port": 1000 + i} for i in range(100)]}}
    await pods.client.patch(SERVICES, pods.name, "web", removed)
    routed = await recorder.wait_leader(SLICE, "web-0", since=fewer)
    assert len(routed.body["ports"]) == 100


async def test_a_pod_without_the_port_is_passed_over_and_one_of_its_template_named(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    old = {"app": "web", "pod-template-hash": "aaa"}
    for index in range(3):
        await namespace.pod(f"web-aaa-{index}", ports=[declared("http", 80, "UDP")], labels=old)
    await namespace.pod("web-bbb-0", labels={"app": "web", "pod-template-hash": "bbb"})
    await namespace.service("web")
    process = await zenlead_process()
    await recorder.wait_leader(SLICE, "web-bbb-0")
    for index in range(20):
        await namespace.annotate("web-aaa-1", {"zen-lead.io/priority": str(index)}, PODS)
    await recorder.quiet(0.6)
    (event,) = recorder.events("PortResolutionFailed", regarding="web")
    assert "http/TCP" in event["note"]
    assert event["related"]["name"] == "web-aaa-0"
    assert recorder.events("NamedPortResolutionFailed") == []
    failures = {n: v for n, v in (await process.metrics()).items() if "port_resolution_failures_total{" in n}
    assert [v >= 1 for n, v in failures.items() if 'port_name="http"' in n] == [True]
    # When nobody is left on whom it resolves, that is the news.
    started = now()
    await namespace.delete_pod("web-bbb-0")
    await recorder.wait_leader(SLICE, None, since=started, timeout_s=SECONDS_5)
    await recorder.quiet(0.6)
    assert len(recorder.events("NamedPortResolutionFailed", regarding="web")) == 1
    assert len(recorder.events("PortResolutionFailed", regarding="web")) == 1
