"""Where a target port leads on one pod: by number, or by name and protocol in container order."""

from __future__ import annotations

from typing import Any

from tests.unit.lead.builders import pod, service
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
