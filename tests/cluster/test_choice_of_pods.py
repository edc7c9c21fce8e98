"""Which pods may be routed to, by their addresses, ports and places, on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster.led import AT_ONCE_S, Led, now
from tests.cluster.scene import CONTAINER_PORTS, new_address
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.cluster.client import Object
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess


def port(name: str, number: int, protocol: str = "TCP") -> Object:
    return {"name": name, "containerPort": number, "protocol": protocol}


async def test_pods_that_are_not_ready_are_not_routed_to_though_their_service_publishes_them(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    await web.add_pod(0, ready=False)
    await namespace.service("web", publishNotReadyAddresses=True)
    await web.led_by(None)
    await web.condition("False", "NoReadyPods")
    assert (await web.service())["spec"].get("publishNotReadyAddresses") is not True
    await web.ready(0)
    await web.led_by(0, within_s=AT_ONCE_S)
    await web.ready(0, ready=False)
    await recorder.quiet(0.6)
    assert web.moves() == ["", "web-0", ""]


async def test_a_named_port_is_found_by_name_and_protocol(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    dns = Led(namespace, recorder, "dns")
    await dns.add_pod(0, ports=[port("dns", 5353)])
    await dns.opt_in(ports=[{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}])
    await dns.led_by(None)
    (note,) = await dns.hears("NamedPortResolutionFailed")
    assert "dns/UDP" in note
    await dns.condition("False", "PortUnresolved")
    each = [("tcp", port("dns", 5353)), ("udp", port("dns", 5354, "UDP"))]
    containers = [{"name": name, "image": "example/app:1", "ports": [said]} for name, said in each]
    await dns.add_pod(1, containers=containers)
    led = await dns.led_by(1, within_s=AT_ONCE_S)
    assert led.body["ports"] == [{"name": "dns", "port": 5354, "protocol": "UDP"}]
    await recorder.quiet(0.6)
    assert dns.moves() == ["", "dns-1"]
    assert len(dns.told("NamedPortResolutionFailed")) == 1


async def test_of_two_containers_with_a_name_the_first_counts(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    each = [("first", port("http", 81)), ("second", port("http", 80))]
    containers = [{"name": name, "image": "example/app:1", "ports": [said]} for name, said in each]
    sidecar = {
        "name": "side",
        "image": "example/side:1",
        "restartPolicy": "Always",
        "ports": [port("http", 79)],
    }
    for index in range(2):
        await web.add_pod(index, containers=containers, initContainers=[sidecar])
    await web.opt_in()
    for index in range(2):
        led = await web.led_by(index)
        assert led.body["ports"] == [{"name": "http", "port": 81, "protocol": "TCP"}]
        await web.ready(index, ready=False)


async def test_slice_ports_have_the_names_of_the_service_and_ready_is_written_out(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    async def made(name: str, *ports: Object) -> Object:
        web = Led(namespace, recorder, name)
        await web.add_pod(0)
        await web.opt_in(ports=ports)
        body = (await web.led_by(0)).body
        assert body["endpoints"][0]["conditions"] == {"ready": True, "serving": True, "terminating": False}
        return body

    unnamed = await made("one", {"port": 80, "targetPort": 8080})
    assert unnamed["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    two = await made("two", {"name": "b", "port": 81, "targetPort": "http"}, {"name": "a", "port": 82})
    assert [(p["name"], p["port"]) for p in two["ports"]] == [("b", 8080), ("a", 82)]
    # One port number under two protocols is two ports.
    both = await made(
        "both",
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    )
    assert [(p["name"], p["protocol"]) for p in both["ports"]] == [("dns", "UDP"), ("dns-tcp", "TCP")]


async def test_a_headless_source_without_ports_has_a_headless_leader_without_ports(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    await web.add_pod(0)
    await web.add_pod(1)
    await namespace.service("web", ports=(), clusterIP="None")
    led = await web.led_by(0)
    spec = (await web.settled()).body["spec"]
    assert spec["clusterIP"] == "None"
    assert not spec.get("ports")
    assert not led.body.get("ports")
    assert len(led.body["endpoints"][0]["addresses"]) == 1
    started = now()
    await web.ready(0, ready=False)
    await web.led_by(1, since=started, within_s=AT_ONCE_S)
    await recorder.quiet(0.8)
    assert web.slice_writes(started) == 1
    assert recorder.writes(SERVICES, web.slice, since=started) <= 2  # who leads, and no flood


async def test_an_address_that_no_slice_may_carry_is_passed_over(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    for index, address in enumerate(("169.254.10.1", "127.0.0.1", new_address())):
        await web.add_pod(index, addresses=[address])
    await web.opt_in()
    await web.led_by(2)
    for change in range(3):
        await web.ready(2)
        await namespace.annotate("web-0", {"x": str(change)}, PODS)
    await recorder.quiet(0.8)
    assert web.moves() == ["web-2"]
    assert recorder.writes(ENDPOINT_SLICES, web.slice) == 1, "nothing is tried that would be refused"
    assert await namespace.client.find(SERVICES, namespace.name, web.slice) is not None
    told = list(recorder.events("UnusableAddress", regarding="web"))
    assert sorted(e["related"]["name"] for e in told) == ["web-0", "web-1"], "each is told once"


async def test_the_endpoint_says_where_the_pod_is_and_no_traffic_policy_is_copied(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    await web.add_pod(0, node="n2")
    await namespace.service("web", internalTrafficPolicy="Local", sessionAffinity="ClientIP")
    (endpoint,) = (await web.led_by(0)).body["endpoints"]
    assert endpoint["nodeName"] == "n2"
    assert endpoint["zone"] == "z2"
    spec = (await web.service())["spec"]
    assert spec["internalTrafficPolicy"] == "Cluster"
    assert spec["sessionAffinity"] == "None"


async def test_a_hundred_changes_of_pods_are_one_event_while_nobody_is_ready(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    """Pods of a Service without a leader change a hundred times, and nothing comes of it."""
    web = Led(namespace, recorder)
    for index in range(2):
        await web.add_pod(index, ready=False, ports=CONTAINER_PORTS)
    await web.opt_in()
    await web.hears("NoReadyPods")
    await web.condition("False", "NoReadyPods")
    await recorder.quiet(0.6)
    started = now()
    for number in range(100):
        await namespace.annotate(web.pod(number % 2), {"touched": str(number)}, PODS)
    for index in range(2):
        await web.ready(index, ready=False)  # said again, with a new time
    await recorder.quiet(0.8)
    assert len(web.told("NoReadyPods")) == 1
    ours = [r for r in recorder.log if r.at >= started and r.name.startswith(web.slice)]
    assert ours == []
    # The next loss is news.
    await web.ready(0)
    await web.led_by(0)
    await web.ready(0, ready=False)
    await web.hears("NoReadyPods", 2)
