"""What the API server makes of Leases and Events: times, required fields, and the two kinds of Event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from zenlead.kube.errors import AlreadyExists, Conflict, Invalid
from zenlead.kube.resources import EVENTS, LEASES
from zenlead.sandbox.kinds import CORE_EVENTS

if TYPE_CHECKING:
    from tests.contract.world import Body, World

MOMENT = "2026-01-01T00:00:00"


def _lease(**spec: Any) -> Body:
    return {"metadata": {"name": "lock"}, "spec": {"holderIdentity": "a", **spec}}


def _event(world: World, **fields: Any) -> Body:
    body = {
        "metadata": {"name": "web.1"},
        "eventTime": f"{MOMENT}.000000Z",
        "reportingController": "zen-lead-controller",
        "reportingInstance": "zen-lead-0",
        "action": "Elect",
        "reason": "LeaderChanged",
        "type": "Normal",
        "note": "web-1 leads",
        "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": world.namespace, "name": "web"},
    }
    return {name: value for name, value in {**body, **fields}.items() if value is not None}


async def test_a_lease_takes_times_of_six_digits(world: World) -> None:
    spec = {"leaseDurationSeconds": 15, "leaseTransitions": 0, "renewTime": f"{MOMENT}.123456Z"}
    made = await world.create(LEASES, _lease(acquireTime=f"{MOMENT}.000000Z", **spec))
    assert made["spec"]["renewTime"] == f"{MOMENT}.123456Z"
    renewed = await world.patch(LEASES, "lock", {"spec": {"renewTime": f"{MOMENT}.654321Z"}})
    assert renewed["spec"]["renewTime"] == f"{MOMENT}.654321Z"


@pytest.mark.parametrize("fraction", ["", ".1", ".123", ".123456789"])
async def test_a_lease_takes_no_other_times(world: World, fraction: str) -> None:
    with pytest.raises(Invalid) as refused:
        await world.create(LEASES, _lease(renewTime=f"{MOMENT}{fraction}Z"))
    assert (refused.value.status, refused.value.reason) == (400, "BadRequest")
    await world.create(LEASES, _lease())
    with pytest.raises(Invalid) as refused:
        await world.patch(LEASES, "lock", {"spec": {"renewTime": f"{MOMENT}{fraction}Z"}})
    assert refused.value.status == 422


@pytest.mark.parametrize("spec", [{"leaseDurationSeconds": 0}, {"leaseTransitions": -1}])
async def test_a_lease_takes_no_senseless_numbers(world: World, spec: dict[str, int]) -> None:
    with pytest.raises(Invalid) as refused:
        await world.create(LEASES, _lease(**spec))
    assert refused.value.status == 422


async def test_only_one_of_two_takes_a_lease(world: World) -> None:
    made = await world.create(LEASES, _lease(holderIdentity=""))
    version = made["metadata"]["resourceVersion"]
    for identity in ("a", "b"):
        patch = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": identity}}
        if identity == "a":
            await world.patch(LEASES, "lock", patch)
        else:
            with pytest.raises(Conflict):
                await world.patch(LEASES, "lock", patch)
    assert (await world.get(LEASES, "lock"))["spec"]["holderIdentity"] == "a"


async def test_an_event_is_created_once(world: World) -> None:
    made = await world.create(EVENTS, _event(world))
    assert (made["kind"], made["apiVersion"], made["note"]) == ("Event", "events.k8s.io/v1", "web-1 leads")
    with pytest.raises(AlreadyExists):
        await world.create(EVENTS, _event(world))


async def test_an_event_has_two_spellings(world: World) -> None:
    made = await world.create(EVENTS, _event(world))
    other = await world.get(CORE_EVENTS, "web.1")
    assert other["apiVersion"] == "v1"
    assert other["metadata"]["uid"] == made["metadata"]["uid"]
    assert other["message"] == "web-1 leads"
    assert other["involvedObject"]["name"] == "web"
    assert other["reportingComponent"] == "zen-lead-controller"
    query = {"fieldSelector": "involvedObject.name=web,involvedObject.kind=Service"}
    assert len((await world.list(CORE_EVENTS, query))["items"]) == 1
    assert len((await world.list(EVENTS, {"fieldSelector": "regarding.name=web"}))["items"]) == 1
    assert (await world.list(EVENTS, {"fieldSelector": "regarding.name=api"}))["items"] == []


async def test_an_event_counts_as_a_series(world: World) -> None:
    await world.create(EVENTS, _event(world))
    series = {"count": 2, "lastObservedTime": f"{MOMENT}.500000Z"}
    assert (await world.patch(EVENTS, "web.1", {"series": series}))["series"] == series
    with pytest.raises(Invalid):
        await world.patch(EVENTS, "web.1", {"note": "something else"})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"eventTime": None}, 422),
        ({"eventTime": f"{MOMENT}Z"}, 400),
        ({"reportingController": None}, 422),
        ({"reportingInstance": None}, 422),
        ({"action": None}, 422),
        ({"reason": None}, 422),
        ({"type": "Bad"}, 422),
        ({"type": None}, 422),
        ({"note": "x" * 1025}, 422),
        ({"reason": "x" * 129}, 422),
        ({"regarding": {"kind": "Node", "name": "n1"}}, 422),
    ],
)
async def test_events_that_are_refused(world: World, fields: Body, status: int) -> None:
    with pytest.raises(Invalid) as refused:
        await world.create(EVENTS, _event(world, **fields))
    assert refused.value.status == status
