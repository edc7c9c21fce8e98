"""What the API server makes of Pods: status, addresses, grace."""

from __future__ import annotations

import pytest

from tests.contract.world import World, pod
from zenlead.kube.errors import Invalid, NotFound
from zenlead.kube.resources import PODS

READY = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]


async def test_a_new_pod_is_pending_whatever_it_says(world: World) -> None:
    made = await world.create(PODS, {**pod("web-0", node="n1"), "status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"
    assert made["spec"]["terminationGracePeriodSeconds"] == 30
    assert made["spec"]["restartPolicy"] == "Always"


async def test_a_status_is_written_through_its_subresource(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1"))
    ignored = await world.patch(PODS, "web-0", {"status": {"phase": "Running"}})
    assert ignored["status"]["phase"] == "Pending"
    status = {"phase": "Running", "podIP": "10.1.0.5", "conditions": READY}
    made = await world.patch(
        PODS, "web-0", {"status": status, "spec": {"nodeName": "n2"}}, subresource="status"
    )
    assert made["status"]["podIPs"] == [{"ip": "10.1.0.5"}]
    assert made["status"]["conditions"][0].items() >= READY[0].items()
    assert made["spec"]["nodeName"] == "n1"


async def test_the_two_spellings_of_an_address_agree(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1"))
    steps = [
        ({"podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}]}, "10.1.0.5", ["10.1.0.5", "fd00::5"]),
        ({"podIP": "10.1.0.6"}, "10.1.0.6", ["10.1.0.6"]),
        ({"podIP": None}, "10.1.0.6", ["10.1.0.6"]),
    ]
    for status, first, all_of_them in steps:
        changed = (await world.patch(PODS, "web-0", {"status": status}, subresource="status"))["status"]
        assert (changed["podIP"], [one["ip"] for one in changed["podIPs"]]) == (first, all_of_them)
    lost = await world.patch(PODS, "web-0", {"status": {"podIP": "", "podIPs": []}}, subresource="status")
    assert not lost["status"].keys() & {"podIP", "podIPs"}


async def test_an_address_is_an_ip_address(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1"))
    with pytest.raises(Invalid):
        await world.patch(PODS, "web-0", {"status": {"podIP": "nonsense"}}, subresource="status")


async def test_a_pod_with_a_node_stays_for_its_grace(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1"))
    marked = (await world.delete(PODS, "web-0", gracePeriodSeconds=600))["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 600
    longer = (await world.delete(PODS, "web-0", gracePeriodSeconds=900))["metadata"]
    assert longer["deletionTimestamp"] == marked["deletionTimestamp"]
    shorter = (await world.delete(PODS, "web-0", gracePeriodSeconds=5))["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] < marked["deletionTimestamp"]
    assert (await world.get(PODS, "web-0"))["metadata"]["deletionTimestamp"] == shorter["deletionTimestamp"]
    await world.delete(PODS, "web-0", gracePeriodSeconds=0)
    with pytest.raises(NotFound):
        await world.get(PODS, "web-0")


async def test_a_grace_that_ends_is_seen_before_the_pod_goes(world: World) -> None:
    made = await world.create(PODS, pod("web-0", node="n1"))
    await world.delete(PODS, "web-0")
    await world.delete(PODS, "web-0", gracePeriodSeconds=0)
    events = await world.watch(PODS, {"resourceVersion": made["metadata"]["resourceVersion"]}, 3)
    assert [(kind, event["metadata"]["deletionGracePeriodSeconds"]) for kind, event in events] == [
        ("MODIFIED", 30),
        ("MODIFIED", 0),
        ("DELETED", 0),
    ]


@pytest.mark.parametrize("node", ["n1", ""])
async def test_even_a_pod_that_goes_at_once_is_seen_to_be_going(world: World, node: str) -> None:
    made = await world.create(PODS, pod("web-0", node=node))
    await world.delete(PODS, "web-0", gracePeriodSeconds=0)
    events = await world.watch(PODS, {"resourceVersion": made["metadata"]["resourceVersion"]}, 2)
    assert [(kind, event["metadata"]["deletionGracePeriodSeconds"]) for kind, event in events] == [
        ("MODIFIED", 0),
        ("DELETED", 0),
    ]


async def test_a_pod_without_a_node_goes_at_once(world: World) -> None:
    await world.create(PODS, pod("web-0"))
    gone = await world.delete(PODS, "web-0", gracePeriodSeconds=600)
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 0
    with pytest.raises(NotFound):
        await world.get(PODS, "web-0")


async def test_a_finished_pod_goes_at_once(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1"))
    await world.patch(PODS, "web-0", {"status": {"phase": "Failed"}}, subresource="status")
    await world.delete(PODS, "web-0")
    with pytest.raises(NotFound):
        await world.get(PODS, "web-0")


async def test_a_finalizer_outlasts_the_grace(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1", finalizers=["example.com/hold"]))
    await world.delete(PODS, "web-0", gracePeriodSeconds=0)
    assert (await world.get(PODS, "web-0"))["metadata"]["deletionTimestamp"]
    await world.patch(PODS, "web-0", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await world.get(PODS, "web-0")


async def test_the_spec_is_fixed_but_for_images(world: World) -> None:
    await world.create(PODS, pod("web-0", node="n1"))
    with pytest.raises(Invalid) as refused:
        await world.patch(PODS, "web-0", {"spec": {"nodeName": "n2"}})
    assert refused.value.causes == ("FieldValueForbidden",)
    image = {"spec": {"containers": [{"name": "app", "image": "example/app:2"}]}}
    assert (await world.patch(PODS, "web-0", image))["spec"]["containers"][0]["image"] == "example/app:2"


@pytest.mark.parametrize(
    "containers",
    [
        [],
        [{"name": "app"}],
        [{"image": "a"}],
        [{"name": "app", "image": "a"}, {"name": "app", "image": "b"}],
        [{"name": "app", "image": "a", "ports": [{"containerPort": 0}]}],
        [{"name": "app", "image": "a", "ports": [{"name": "a" * 16, "containerPort": 1}]}],
    ],
)
async def test_containers_that_are_refused(world: World, containers: list[dict[str, object]]) -> None:
    body = pod("web-0", node="n1")
    body["spec"]["containers"] = containers
    with pytest.raises(Invalid) as refused:
        await world.create(PODS, body)
    assert refused.value.status == 422
