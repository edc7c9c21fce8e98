"""Creating, reading, changing and deleting objects, as zenlead relies on it."""

from __future__ import annotations

import pytest

from tests.contract.world import World, endpoint_slice, service
from zenlead.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, NotFound
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES, Resource
from zenlead.sandbox.kinds import CONFIG_MAPS, NAMESPACES


async def test_a_created_object_has_what_the_server_adds(world: World) -> None:
    made = await world.create(SERVICES, service("web"))
    meta = made["metadata"]
    assert (made["kind"], made["apiVersion"]) == ("Service", "v1")
    assert (meta["name"], meta["namespace"]) == ("web", world.namespace)
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 0
    assert await world.get(SERVICES, "web") == made


async def test_a_name_is_taken_once(world: World) -> None:
    await world.create(SERVICES, service("web"))
    with pytest.raises(AlreadyExists) as refused:
        await world.create(SERVICES, service("web"))
    assert (refused.value.status, refused.value.reason) == (409, "AlreadyExists")


async def test_names_are_generated(world: World) -> None:
    made = await world.create(SERVICES, {**service(""), "metadata": {"generateName": "web-"}})
    assert made["metadata"]["name"].startswith("web-")
    assert len(made["metadata"]["name"]) == len("web-") + 5


@pytest.mark.parametrize("verb", ["get", "patch", "delete"])
async def test_what_is_not_there_is_not_found(world: World, verb: str) -> None:
    asked = {
        "get": lambda: world.get(SERVICES, "web"),
        "patch": lambda: world.patch(SERVICES, "web", {"metadata": {"labels": {"a": "b"}}}),
        "delete": lambda: world.delete(SERVICES, "web"),
    }
    with pytest.raises(NotFound) as refused:
        await asked[verb]()
    assert (refused.value.status, refused.value.reason) == (404, "NotFound")


async def test_an_unknown_resource_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.list(Resource("", "v1", "widgets", "Widget"))


async def test_an_unknown_namespace_takes_no_objects(world: World) -> None:
    elsewhere = World(world.api, "no-such-namespace")
    with pytest.raises(NotFound):
        await elsewhere.create(SERVICES, service("web"))
    assert (await elsewhere.list(SERVICES))["items"] == []


async def test_a_merge_patch_replaces_lists_and_null_removes(world: World) -> None:
    await world.create(SERVICES, service("web", ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2}]))
    await world.patch(SERVICES, "web", {"metadata": {"annotations": {"x": "1", "y": "2"}}})
    patch = {"metadata": {"annotations": {"x": None}}, "spec": {"ports": [{"port": 80}]}}
    changed = await world.patch(SERVICES, "web", patch)
    assert changed["metadata"]["annotations"] == {"y": "2"}
    assert changed["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


async def test_a_stale_resource_version_is_a_conflict(world: World) -> None:
    made = await world.create(SERVICES, service("web"))
    stale = made["metadata"]["resourceVersion"]
    await world.patch(SERVICES, "web", {"metadata": {"annotations": {"a": "1"}}})
    with pytest.raises(Conflict) as refused:
        await world.patch(
            SERVICES, "web", {"metadata": {"resourceVersion": stale, "annotations": {"a": "2"}}}
        )
    assert not isinstance(refused.value, AlreadyExists)
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert (await world.get(SERVICES, "web"))["metadata"]["annotations"] == {"a": "1"}


async def test_the_current_resource_version_is_let_through(world: World) -> None:
    made = await world.create(SERVICES, service("web"))
    version = made["metadata"]["resourceVersion"]
    changed = await world.patch(
        SERVICES, "web", {"metadata": {"resourceVersion": version, "annotations": {"a": "2"}}}
    )
    assert int(changed["metadata"]["resourceVersion"]) > int(version)


async def test_a_patch_that_changes_nothing_is_no_new_version(world: World) -> None:
    made = await world.create(ENDPOINT_SLICES, endpoint_slice("web", "10.1.0.1"))
    same = await world.patch(ENDPOINT_SLICES, "web", {"endpoints": [{"addresses": ["10.1.0.1"]}]})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert same["metadata"]["generation"] == made["metadata"]["generation"] == 1


async def test_a_new_address_is_a_new_generation(world: World) -> None:
    await world.create(ENDPOINT_SLICES, endpoint_slice("web", "10.1.0.1"))
    annotated = await world.patch(ENDPOINT_SLICES, "web", {"metadata": {"annotations": {"a": "b"}}})
    moved = await world.patch(ENDPOINT_SLICES, "web", {"endpoints": [{"addresses": ["10.1.0.2"]}]})
    assert (annotated["metadata"]["generation"], moved["metadata"]["generation"]) == (1, 2)


async def test_the_uid_cannot_be_patched(world: World) -> None:
    await world.create(SERVICES, service("web"))
    with pytest.raises(Invalid):
        await world.patch(SERVICES, "web", {"metadata": {"uid": "another"}})


async def test_a_deletion_holds_to_its_uid_and_version(world: World) -> None:
    made = await world.create(ENDPOINT_SLICES, endpoint_slice("web", "10.1.0.1"))
    meta = made["metadata"]
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        with pytest.raises(Conflict) as refused:
            await world.delete(ENDPOINT_SLICES, "web", preconditions=wrong)
        assert refused.value.reason == "Conflict"
    right = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    gone = await world.delete(ENDPOINT_SLICES, "web", preconditions=right)
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    with pytest.raises(NotFound):
        await world.get(ENDPOINT_SLICES, "web")


async def test_a_deleted_service_comes_back_as_the_answer(world: World) -> None:
    await world.create(SERVICES, service("web"))
    assert (await world.delete(SERVICES, "web"))["metadata"]["name"] == "web"


async def test_finalizers_hold_an_object(world: World) -> None:
    held = endpoint_slice("web", "10.1.0.1")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await world.create(ENDPOINT_SLICES, held)
    marked = await world.delete(ENDPOINT_SLICES, "web")
    assert marked["metadata"]["deletionTimestamp"]
    again = await world.patch(ENDPOINT_SLICES, "web", {"endpoints": [{"addresses": ["10.1.0.2"]}]})
    assert again["endpoints"][0]["addresses"] == ["10.1.0.2"]
    with pytest.raises(Invalid):
        await world.patch(
            ENDPOINT_SLICES, "web", {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
        )
    await world.patch(ENDPOINT_SLICES, "web", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await world.get(ENDPOINT_SLICES, "web")


async def test_status_is_written_apart_from_the_rest(world: World) -> None:
    await world.create(SERVICES, service("web"))
    condition = {
        "type": "example.com/Ready",
        "status": "True",
        "reason": "Elected",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    through_main = await world.patch(SERVICES, "web", {"status": {"conditions": [condition]}})
    assert through_main["status"] == {"loadBalancer": {}}
    patch = {"spec": {"selector": {"app": "other"}}, "status": {"conditions": [condition]}}
    through_status = await world.patch(SERVICES, "web", patch, subresource="status")
    assert through_status["status"]["conditions"] == [condition]
    assert through_status["spec"]["selector"] == {"app": "web"}
    later = await world.patch(SERVICES, "web", {"spec": {"selector": {"app": "other"}}})
    assert later["status"]["conditions"] == [condition]


async def test_a_terminating_namespace_takes_nothing_new(world: World) -> None:
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    await world.create(CONFIG_MAPS, held)
    await world.api.delete(NAMESPACES, "", world.namespace, b"")
    with pytest.raises(Forbidden) as refused:
        await world.create(SERVICES, service("web"))
    assert (refused.value.status, refused.value.reason) == (403, "Forbidden")
    assert refused.value.causes == ("NamespaceTerminating",)
    await world.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}})


async def test_nonsense_is_refused_for_good(world: World) -> None:
    for text in (b"{", b"[]", b""):
        with pytest.raises(Invalid):
            await world.api.create(SERVICES, world.namespace, text)
    with pytest.raises(Invalid):
        await world.create(SERVICES, {"metadata": {"name": "web", "labels": {"on": True}}})
    with pytest.raises(ApiError):
        await world.create(SERVICES, {"metadata": {"name": "web", "resourceVersion": "1"}})
