"""What the API server makes of Services: defaults, addresses, families, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.world import World, service
from zenlead.kube.errors import Invalid
from zenlead.kube.resources import SERVICES

if TYPE_CHECKING:
    from tests.contract.world import Body


async def test_defaults_are_written_out(world: World) -> None:
    spec = (await world.create(SERVICES, service("web")))["spec"]
    address = spec.pop("clusterIP")
    assert spec == {
        "type": "ClusterIP",
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "clusterIPs": [address],
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }


async def test_every_service_has_its_own_address(world: World) -> None:
    made = [await world.create(SERVICES, service(f"web-{at}")) for at in range(5)]
    assert len({one["spec"]["clusterIP"] for one in made}) == 5


async def test_a_service_without_a_selector_is_fine(world: World) -> None:
    made = await world.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    assert "selector" not in made["spec"]


@pytest.mark.parametrize(
    ("spec", "families", "policy", "addresses"),
    [
        ({"ipFamilies": ["IPv6"]}, ["IPv6"], "SingleStack", 1),
        ({"ipFamilyPolicy": "RequireDualStack"}, ["IPv4", "IPv6"], "RequireDualStack", 2),
        (
            {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]},
            ["IPv6", "IPv4"],
            "PreferDualStack",
            2,
        ),
        ({"clusterIP": "None"}, ["IPv4"], "SingleStack", 1),
        ({"clusterIP": "None", "selector": None}, ["IPv4", "IPv6"], "RequireDualStack", 1),
        (
            {"clusterIP": "None", "selector": None, "ipFamilyPolicy": "SingleStack"},
            ["IPv4"],
            "SingleStack",
            1,
        ),
    ],
)
async def test_families(world: World, spec: Body, families: list[str], policy: str, addresses: int) -> None:
    made = (await world.create(SERVICES, service("web", **spec)))["spec"]
    assert (made["ipFamilies"], made["ipFamilyPolicy"]) == (families, policy)
    assert len(made["clusterIPs"]) == addresses
    assert made["clusterIPs"][0] == made["clusterIP"]


async def test_a_headless_service_needs_no_ports(world: World) -> None:
    made = await world.create(SERVICES, service("web", clusterIP="None", ports=[]))
    assert "ports" not in made["spec"]
    assert made["spec"]["clusterIPs"] == ["None"]


async def test_node_ports_come_and_go_with_the_type(world: World) -> None:
    made = await world.create(SERVICES, service("web", type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    assert made["spec"]["externalTrafficPolicy"] == "Cluster"
    kept = await world.patch(SERVICES, "web", {"spec": {"ports": [{"port": 81}]}})
    assert kept["spec"]["ports"][0]["nodePort"] == port
    back = await world.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in back["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in back["spec"]


async def test_a_second_family_comes_and_goes_with_the_policy(world: World) -> None:
    first = (await world.create(SERVICES, service("web")))["spec"]["clusterIP"]
    dual = await world.patch(SERVICES, "web", {"spec": {"ipFamilyPolicy": "PreferDualStack"}})
    assert dual["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert dual["spec"]["clusterIPs"][0] == first
    single = await world.patch(SERVICES, "web", {"spec": {"ipFamilyPolicy": "SingleStack"}})
    assert single["spec"]["clusterIPs"] == [first]


@pytest.mark.parametrize(
    ("name", "spec", "field", "reason"),
    [
        ("a" * 64, {}, "metadata.name", "FieldValueInvalid"),
        ("Web", {}, "metadata.name", "FieldValueInvalid"),
        ("web.a", {}, "metadata.name", "FieldValueInvalid"),
        ("web", {"ports": []}, "spec.ports", "FieldValueRequired"),
        ("web", {"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name", "FieldValueRequired"),
        (
            "web",
            {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]},
            "spec.ports[1].name",
            "FieldValueDuplicate",
        ),
        (
            "web",
            {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]},
            "spec.ports[1]",
            "FieldValueDuplicate",
        ),
        ("web", {"ports": [{"port": 0}]}, "spec.ports[0].port", "FieldValueInvalid"),
        ("web", {"ports": [{"port": 65536}]}, "spec.ports[0].port", "FieldValueInvalid"),
        (
            "web",
            {"ports": [{"port": 1, "protocol": "HTTP"}]},
            "spec.ports[0].protocol",
            "FieldValueNotSupported",
        ),
        (
            "web",
            {"ports": [{"port": 1, "targetPort": "A_B"}]},
            "spec.ports[0].targetPort",
            "FieldValueInvalid",
        ),
        ("web", {"type": "Nonsense"}, "spec.type", "FieldValueNotSupported"),
        (
            "web",
            {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]},
            "spec.ipFamilyPolicy",
            "FieldValueInvalid",
        ),
    ],
)
async def test_refused(world: World, name: str, spec: Body, field: str, reason: str) -> None:
    with pytest.raises(Invalid, match=rf"{field.replace('[', '.').replace(']', '.')}: ") as refused:
        await world.create(SERVICES, service(name, **spec))
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert reason in refused.value.causes


async def test_names_of_63_characters_and_long_port_names_pass(world: World) -> None:
    ports = [{"name": "p" * 40, "port": 80}]
    assert (await world.create(SERVICES, service("a" * 63, ports=ports)))["spec"]["ports"][0]["name"]


@pytest.mark.parametrize("address", ["None", "10.96.200.200"])
async def test_the_cluster_address_stays(world: World, address: str) -> None:
    await world.create(SERVICES, service("web"))
    with pytest.raises(Invalid, match="may not change once set"):
        await world.patch(SERVICES, "web", {"spec": {"clusterIP": address}})


async def test_wrong_types_are_refused_by_create_and_by_patch(world: World) -> None:
    with pytest.raises(Invalid) as refused:
        await world.create(SERVICES, service("web", ports=[{"port": "80"}]))
    assert refused.value.status == 400
    await world.create(SERVICES, service("web"))
    with pytest.raises(Invalid) as refused:
        await world.patch(SERVICES, "web", {"spec": {"ports": "80"}})
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels"),
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"annotations": {"a": "x" * 262_144}}, "metadata.annotations"),
        ({"finalizers": ["unqualified"]}, "metadata.finalizers"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "a"}]},
            "metadata.ownerReferences",
        ),
    ],
)
async def test_bad_metadata_is_refused(world: World, meta: Body, field: str) -> None:
    body = service("web")
    body["metadata"].update(meta)
    with pytest.raises(Invalid, match=field) as refused:
        await world.create(SERVICES, body)
    assert refused.value.status == 422
