"""What the API server makes of EndpointSlices."""

from __future__ import annotations

import pytest

from tests.contract.world import World, endpoint_slice
from zenlead.kube.errors import Invalid
from zenlead.kube.resources import ENDPOINT_SLICES


async def _refused(world: World, *addresses: str, family: str = "IPv4") -> Invalid:
    with pytest.raises(Invalid) as refused:
        await world.create(ENDPOINT_SLICES, endpoint_slice("web", *addresses, family=family))
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    return refused.value


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("127.0.0.1", "IPv4"),
        ("169.254.10.1", "IPv4"),
        ("0.0.0.0", "IPv4"),  # noqa: S104 - an address to be refused, not one to listen on
        ("224.0.0.5", "IPv4"),
        ("10.1.0.1", "IPv6"),
        ("fd00::1", "IPv4"),
        ("::1", "IPv6"),
        ("::", "IPv6"),
        ("fe80::1", "IPv6"),
        ("ff02::1", "IPv6"),
        ("::ffff:10.1.0.1", "IPv6"),
        ("fd00:0::1", "IPv6"),
        ("010.1.0.1", "IPv4"),
        ("web.example", "IPv4"),
        ("", "IPv4"),
    ],
)
async def test_addresses_that_are_refused(world: World, address: str, family: str) -> None:
    error = await _refused(world, address, family=family)
    assert error.causes == ("FieldValueInvalid",)


async def test_an_endpoint_has_one_to_a_hundred_addresses(world: World) -> None:
    body = endpoint_slice("web")
    body["endpoints"] = [{"addresses": []}]
    with pytest.raises(Invalid) as refused:
        await world.create(ENDPOINT_SLICES, body)
    assert refused.value.causes == ("FieldValueRequired",)
    body["endpoints"] = [{"addresses": [f"10.1.0.{at}" for at in range(1, 102)]}]
    with pytest.raises(Invalid) as refused:
        await world.create(ENDPOINT_SLICES, body)
    assert refused.value.causes == ("FieldValueTooMany",)


async def test_a_slice_has_at_most_a_thousand_endpoints(world: World) -> None:
    many = endpoint_slice("web", *(f"10.1.{at // 250}.{at % 250 + 1}" for at in range(1001)))
    with pytest.raises(Invalid) as refused:
        await world.create(ENDPOINT_SLICES, many)
    assert refused.value.causes == ("FieldValueTooMany",)


async def test_more_than_a_hundred_ports_pass(world: World) -> None:
    ports = [{"name": f"p{at}", "port": 80 + at} for at in range(101)]
    made = await world.create(ENDPOINT_SLICES, endpoint_slice("web", "10.1.0.1", ports=ports))
    assert len(made["ports"]) == 101


@pytest.mark.parametrize(
    "ports",
    [
        [{"name": "A", "port": 1}],
        [{"name": "a" * 64, "port": 1}],
        [{"name": "a", "port": 1, "protocol": "HTTP"}],
        [{"name": "a", "port": 1}, {"name": "a", "port": 2}],
        [{"name": "a", "port": 1, "appProtocol": "k8s.io/a b"}],
    ],
)
async def test_ports_that_are_refused(world: World, ports: list[dict[str, object]]) -> None:
    with pytest.raises(Invalid) as refused:
        await world.create(ENDPOINT_SLICES, endpoint_slice("web", "10.1.0.1", ports=ports))
    assert refused.value.status == 422


async def test_ports_have_a_name_and_a_protocol(world: World) -> None:
    made = await world.create(ENDPOINT_SLICES, endpoint_slice("web", "10.1.0.1", ports=[{"port": 80}]))
    assert made["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]


async def test_the_address_type_is_needed_and_stays(world: World) -> None:
    for wrong in ("", "IPX"):
        with pytest.raises(Invalid):
            await world.create(ENDPOINT_SLICES, endpoint_slice("web", family=wrong))
    await world.create(ENDPOINT_SLICES, endpoint_slice("web"))
    with pytest.raises(Invalid, match="field is immutable"):
        await world.patch(ENDPOINT_SLICES, "web", {"addressType": "IPv6"})


async def test_no_endpoints_and_no_ports_are_null(world: World) -> None:
    await world.create(ENDPOINT_SLICES, endpoint_slice("web", ports=[]))
    held = await world.get(ENDPOINT_SLICES, "web")
    assert held["endpoints"] is None
    assert held["ports"] is None
    filled = await world.patch(ENDPOINT_SLICES, "web", {"endpoints": [{"addresses": ["10.1.0.1"]}]})
    assert filled["endpoints"] == [{"addresses": ["10.1.0.1"], "conditions": {}}]
    emptied = await world.patch(ENDPOINT_SLICES, "web", {"endpoints": []})
    assert not emptied["endpoints"]


async def test_an_endpoint_comes_back_as_it_was_sent(world: World) -> None:
    endpoint = {
        "addresses": ["10.1.0.1"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "n1",
        "zone": "zone-a",
        "targetRef": {"kind": "Pod", "namespace": world.namespace, "name": "web-0", "uid": "u"},
    }
    body = endpoint_slice("web")
    body["endpoints"] = [endpoint]
    assert (await world.create(ENDPOINT_SLICES, body))["endpoints"] == [endpoint]


async def test_a_service_name_label_over_63_characters_is_refused(world: World) -> None:
    body = endpoint_slice("web", "10.1.0.1")
    body["metadata"]["labels"] = {"kubernetes.io/service-name": "a" * 64}
    with pytest.raises(Invalid, match=r"metadata\.labels"):
        await world.create(ENDPOINT_SLICES, body)
