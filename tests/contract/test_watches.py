"""WATCH: where it starts, what it tells, and how it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.world import World, endpoint_slice, pod, service
from zenlead.kube.errors import Invalid, Unreachable
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

STREAMED = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


async def test_everything_after_a_version_comes_in_order(world: World) -> None:
    await world.create(SERVICES, service("before"))
    since = await world.version(SERVICES)
    made = await world.create(SERVICES, service("web"))
    changed = await world.patch(SERVICES, "web", {"metadata": {"annotations": {"a": "b"}}})
    await world.delete(SERVICES, "web")
    events = await world.watch(SERVICES, {"resourceVersion": since}, 3)
    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert [event for _, event in events[:2]] == [made, changed]
    gone = events[2][1]
    assert gone["metadata"]["annotations"] == {"a": "b"}
    versions = [int(event["metadata"]["resourceVersion"]) for _, event in events]
    assert versions == sorted(set(versions))


async def test_changes_come_while_watching(world: World) -> None:
    since = await world.version(SERVICES)
    watching = asyncio.create_task(world.watch(SERVICES, {"resourceVersion": since}, 1))
    await asyncio.sleep(0.1)
    made = await world.create(SERVICES, service("web"))
    assert await watching == [("ADDED", made)]


async def test_an_object_that_leaves_the_selector_is_deleted_to_the_watcher(world: World) -> None:
    body = endpoint_slice("web", "10.1.0.1")
    body["metadata"]["labels"] = {"app": "web"}
    made = await world.create(ENDPOINT_SLICES, body)
    since = made["metadata"]["resourceVersion"]
    left = await world.patch(ENDPOINT_SLICES, "web", {"metadata": {"labels": {"app": "other"}}})
    await world.patch(ENDPOINT_SLICES, "web", {"metadata": {"labels": {"x": "y"}}})
    back = await world.patch(ENDPOINT_SLICES, "web", {"metadata": {"labels": {"app": "web"}}})
    query = {"resourceVersion": since, "labelSelector": "app=web"}
    events = await world.watch(ENDPOINT_SLICES, query, 2)
    assert [kind for kind, _ in events] == ["DELETED", "ADDED"]
    assert events[0][1]["metadata"]["labels"] == {"app": "web"}
    assert events[0][1]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
    assert events[1][1] == back


async def test_fields_select_what_is_told(world: World) -> None:
    since = await world.version(PODS)
    await world.create(PODS, pod("web-0", node="n1"))
    await world.create(PODS, pod("web-1", node="n1"))
    query = {"resourceVersion": since, "fieldSelector": "metadata.name=web-1"}
    [(kind, event)] = await world.watch(PODS, query, 1)
    assert (kind, event["metadata"]["name"]) == ("ADDED", "web-1")


async def test_without_a_version_it_begins_with_all_objects(world: World) -> None:
    made = [await world.create(SERVICES, service(name)) for name in ("a", "b")]
    assert await world.watch(SERVICES, {}, 2) == [("ADDED", one) for one in made]


async def test_the_initial_list_can_be_streamed(world: World) -> None:
    made = [await world.create(PODS, pod(name, node="n1")) for name in ("a", "b")]
    events = await world.watch(PODS, {**STREAMED, "allowWatchBookmarks": "true"}, 3)
    assert events[:2] == [("ADDED", one) for one in made]
    kind, mark = events[2]
    assert kind == "BOOKMARK"
    assert (mark["kind"], mark["apiVersion"]) == ("Pod", "v1")
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["metadata"]["resourceVersion"]) >= int(made[1]["metadata"]["resourceVersion"])
    assert mark["spec"]["containers"] is None


async def test_bookmarks_carry_a_version_and_nothing_else(world: World) -> None:
    since = await world.version(ENDPOINT_SLICES)
    query = {"resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "4"}
    [(kind, mark)] = await world.watch(ENDPOINT_SLICES, query, 1)
    assert kind == "BOOKMARK"
    assert mark["kind"] == "EndpointSlice"
    assert int(mark["metadata"]["resourceVersion"]) >= int(since)
    assert not mark["metadata"].keys() & {"name", "namespace", "uid"}
    assert mark["endpoints"] is None
    assert mark["ports"] is None


async def test_it_ends_quietly_after_its_own_time(world: World) -> None:
    since = await world.version(SERVICES)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await world.watch(SERVICES, {"resourceVersion": since, "timeoutSeconds": "1"}, 1) == []
    assert 0.9 < loop.time() - began < 10


async def test_a_deadline_cuts_it(world: World) -> None:
    since = await world.version(SERVICES)
    watch = world.api.watch(SERVICES, world.namespace, {"resourceVersion": since}, deadline_s=0.5)
    assert await anext(watch) == b"", "that the watch is open is all that there is to tell"
    with pytest.raises(Unreachable, match="idle"):
        await anext(watch)


async def test_a_streamed_list_of_the_future_is_an_error_in_the_stream(world: World) -> None:
    future = str(int(await world.version(SERVICES)) + 1_000_000)
    [(kind, status)] = await world.watch(SERVICES, {**STREAMED, "resourceVersion": future}, 1)
    assert (kind, status["code"]) == ("ERROR", 504)
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize("query", [{"sendInitialEvents": "true"}, {"resourceVersionMatch": "NotOlderThan"}])
async def test_half_a_question_for_a_streamed_list_is_refused(world: World, query: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        await world.watch(SERVICES, query, 1)
    assert refused.value.status == 422
