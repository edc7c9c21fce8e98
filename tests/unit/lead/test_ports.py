"""Where a target port leads on one pod: by number, or by name and protocol in container order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.lead.builders import T0, leads, pod, serve, service, snapshot
from zenlead.lead import contract
from zenlead.lead.contract import Reason, Routing
from zenlead.lead.decide import decide
from zenlead.lead.desired import Blocked, problems_of
from zenlead.lead.ports import Unresolved, resolve
from zenlead.lead.views import SlicePort


def container(*ports: tuple[str, int] | tuple[str, int, str], **more: Any) -> dict[str, Any]:
    declared = [
        {"name": p[0], "containerPort": p[1], "protocol": p[2] if len(p) > 2 else None} for p in ports
    ]
    return {"name": "c", "ports": declared, **more}


def resolved(*ports: dict[str, Any], **over: Any) -> tuple[SlicePort, ...] | Unresolved:
    return resolve(service(ports=list(ports)).ports, pod(**over))


def test_numbers_need_nothing_of_the_pod() -> None:
    assert resolved({"port": 80, "targetPort": 8080}) == (SlicePort("", 8080),)
    assert resolved({"port": 80}) == (SlicePort("", 80),)
    assert resolved({"port": 80, "targetPort": 0}) == (SlicePort("", 80),)
    assert resolved({"port": 80, "targetPort": ""}) == (SlicePort("", 80),)
    assert resolved({"port": 80, "targetPort": None}) == (SlicePort("", 80),)


def test_the_slice_has_the_services_names_order_and_app_protocols() -> None:
    ports = resolved(
        {"name": "b", "port": 2, "appProtocol": "kubernetes.io/h2c"},
        {"name": "a", "port": 1, "protocol": "UDP"},
    )
    assert ports == (SlicePort("b", 2, "TCP", "kubernetes.io/h2c"), SlicePort("a", 1, "UDP"))


def test_a_name_of_forty_characters_works() -> None:
    name = "a" + "-very" * 7 + "-long"
    assert len(name) > 40
    assert resolved({"name": name, "port": 80}) == (SlicePort(name, 80),)


def test_a_name_needs_its_protocol() -> None:
    port = {"port": 53, "protocol": "UDP", "targetPort": "dns"}
    assert resolved(port, containers=[container(("dns", 53, "TCP"))]) == Unresolved("dns", "UDP")
    both = [container(("dns", 5353, "TCP"), ("dns", 53, "UDP"))]
    assert resolved(port, containers=both) == (SlicePort("", 53, "UDP"),)


def test_the_first_container_that_declares_the_name_wins() -> None:
    http = {"port": 80, "targetPort": "http"}
    assert resolved(http, containers=[container(("http", 81)), container(("http", 80))]) == (
        SlicePort("", 81),
    )


def test_a_sidecar_counts_after_the_containers_and_an_init_container_never() -> None:
    http = {"port": 80, "targetPort": "http"}
    sidecar = container(("http", 90), restartPolicy="Always")
    assert resolved(http, inits=[sidecar]) == (SlicePort("", 90),)
    assert resolved(http, inits=[sidecar], containers=[container(("http", 80))]) == (SlicePort("", 80),)
    assert resolved(http, inits=[container(("http", 90))]) == Unresolved("http", "TCP")
    assert resolved(http, inits=[container(("http", 90), restartPolicy=None)]) == Unresolved("http", "TCP")


def test_one_port_that_does_not_resolve_fails_them_all() -> None:
    ports = ({"name": "a", "port": 1}, {"name": "b", "port": 2, "targetPort": "gone"})
    unresolved = resolved(*ports)
    assert unresolved == Unresolved("gone", "TCP")
    assert str(unresolved) == "gone/TCP"


def test_a_target_port_of_digits_is_a_name_when_it_is_written_as_text() -> None:
    """The API server stores a number as a number; text that looks like one would be a name."""
    assert resolved({"port": 80, "targetPort": "8080"}) == Unresolved("8080", "TCP")


def test_no_ports_resolve_to_none() -> None:
    assert resolved() == ()


def test_the_same_number_and_the_same_name_over_two_protocols() -> None:
    ports = (
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns"},
        {"name": "dns-sctp", "port": 53, "protocol": "SCTP", "targetPort": "dns"},
    )
    declared = container(("dns", 5301, "TCP"), ("dns", 5302, "UDP"), ("dns", 5303, "SCTP"))
    assert resolved(*ports, containers=[declared]) == (
        SlicePort("dns", 5302, "UDP"),
        SlicePort("dns-tcp", 5301, "TCP"),
        SlicePort("dns-sctp", 5303, "SCTP"),
    )


# --- on a pod among others ----------------------------------------------------------------------------------

NAMED = {"ports": [{"port": 80, "targetPort": "http"}]}
HTTP = [container(("http", 8080))]


def template(name: str, revision: str, **over: Any) -> Any:
    return pod(name, labels={"app": "web", "pod-template-hash": revision}, **over)


def test_a_pod_on_which_a_port_does_not_resolve_is_passed_over_and_one_of_each_template_named() -> None:
    pods = [template(f"web-{i}", "b" if i == 3 else "a", age=9000, containers=[]) for i in range(4)]
    seen = snapshot(*pods, pod("web-9", containers=HTTP), source=service(**NAMED))
    desired = serve(seen)
    assert leads(seen) == "web-9"
    assert desired.unresolved is None
    assert [(it.pod.name, it.reason, it.what) for it in desired.passed_over] == [
        ("web-0", Reason.PORT_UNRESOLVED, "http"),
        ("web-3", Reason.PORT_UNRESOLVED, "http"),
    ]
    assert desired.passed_over[0].why == "target port http/TCP does not resolve on it"


def test_a_pod_that_is_not_fit_otherwise_is_not_named_for_its_port() -> None:
    seen = snapshot(pod("web-0", ready=False), pod("web-9", containers=HTTP), source=service(**NAMED))
    assert serve(seen).passed_over == ()


def test_a_port_that_moves_with_the_leader() -> None:
    seen = snapshot(
        pod("web-0", ready=False, containers=HTTP),
        pod("web-1", containers=[container(("http", 9090))]),
        led=pod("web-0", containers=HTTP),
        source=service(**NAMED),
    )
    assert serve(seen).ports == (SlicePort("", 9090),)


# --- how many -----------------------------------------------------------------------------------------------


def many(count: int) -> list[dict[str, Any]]:
    return [{"name": f"p{i}", "port": 1000 + i} for i in range(count)]


def test_a_hundred_ports_are_served_and_one_more_is_refused_with_what_to_do() -> None:
    assert len(serve(snapshot(pod(), source=service(ports=many(100)))).ports) == 100
    blocked = decide(snapshot(pod(), source=service(ports=many(101))), T0)
    assert isinstance(blocked, Blocked)
    assert (blocked.event, blocked.withdraw) == ("InvalidService", True)
    for word in ("101", "100", f"{contract.PORTS_MODE}: subset:"):
        assert word in blocked.message


def test_a_subset_of_a_thousand_ports_is_served() -> None:
    asked = {contract.PORTS_MODE: "subset:p7,p999"}
    desired = serve(snapshot(pod(), source=service(ports=many(1000), annotations=asked)))
    assert [port.name for port in desired.ports] == ["p7", "p999"]
    assert desired.routing is Routing.LEADER_ELECTED


@pytest.mark.parametrize("asked", ["subset:none", "half"])
def test_too_many_ports_and_a_subset_that_is_none_are_both_told(asked: str) -> None:
    source = service(ports=many(101), annotations={contract.PORTS_MODE: asked})
    blocked = decide(snapshot(pod(), source=source), T0)
    assert isinstance(blocked, Blocked)
    assert [problem.annotation for problem in problems_of(blocked)] == [contract.PORTS_MODE]
