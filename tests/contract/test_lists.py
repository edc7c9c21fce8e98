"""LIST: pages, selectors and versions."""

from __future__ import annotations

import pytest

from tests.contract.world import World, service
from zenlead.kube.errors import Invalid, Unreachable
from zenlead.kube.resources import SERVICES


async def _create(world: World, count: int) -> None:
    for at in range(count):
        body = service(f"web-{at}")
        body["metadata"]["labels"] = {"app": "web", "even": str(at % 2 == 0).lower()}
        await world.create(SERVICES, body)


def _names(page: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


async def test_items_come_without_kind_in_the_order_of_names(world: World) -> None:
    await _create(world, 3)
    page = await world.list(SERVICES)
    assert (page["kind"], page["apiVersion"]) == ("ServiceList", "v1")
    assert _names(page) == ["web-0", "web-1", "web-2"]
    assert all("kind" not in item and "apiVersion" not in item for item in page["items"])


async def test_pages_show_one_moment(world: World) -> None:
    await _create(world, 5)
    first = await world.list(SERVICES, {"limit": "2"})
    await world.create(SERVICES, service("web-4-late"))
    await world.delete(SERVICES, "web-3")
    second = await world.list(SERVICES, {"limit": "2", "continue": first["metadata"]["continue"]})
    third = await world.list(SERVICES, {"limit": "2", "continue": second["metadata"]["continue"]})
    assert [*_names(first), *_names(second), *_names(third)] == [f"web-{at}" for at in range(5)]
    versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]


async def test_a_page_of_exactly_the_limit_is_the_last(world: World) -> None:
    await _create(world, 2)
    assert "continue" not in (await world.list(SERVICES, {"limit": "2"}))["metadata"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("even=true", ["web-0", "web-2"]),
        ("even!=true", ["web-1"]),
        ("even in (true,false),app", ["web-0", "web-1", "web-2"]),
        ("even notin (true)", ["web-1"]),
        ("!even", []),
        ("app==web,even=false", ["web-1"]),
    ],
)
async def test_labels_select(world: World, selector: str, names: list[str]) -> None:
    await _create(world, 3)
    assert _names(await world.list(SERVICES, {"labelSelector": selector})) == names


async def test_fields_select(world: World) -> None:
    await _create(world, 3)
    assert _names(await world.list(SERVICES, {"fieldSelector": "metadata.name=web-1"})) == ["web-1"]
    others = await world.list(SERVICES, {"fieldSelector": "metadata.name!=web-1"})
    assert _names(others) == ["web-0", "web-2"]


@pytest.mark.parametrize(
    "query",
    [
        {"fieldSelector": "spec.nonsense=1"},
        {"labelSelector": "a b"},
        {"limit": "many"},
        {"continue": "nonsense"},
        {"resourceVersion": "nonsense"},
        {"resourceVersionMatch": "Exact"},
    ],
)
async def test_queries_that_mean_nothing_are_refused(world: World, query: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        await world.list(SERVICES, query)


async def test_a_version_of_the_future_is_not_there_yet(world: World) -> None:
    future = str(int(await world.version(SERVICES)) + 1_000_000)
    with pytest.raises(Unreachable) as refused:
        await world.list(SERVICES, {"resourceVersion": future})
    assert refused.value.status == 504
    assert refused.value.causes == ("ResourceVersionTooLarge",)


async def test_an_exact_version_shows_the_past(world: World) -> None:
    await _create(world, 1)
    then = await world.version(SERVICES)
    await world.delete(SERVICES, "web-0")
    past = await world.list(SERVICES, {"resourceVersion": then, "resourceVersionMatch": "Exact"})
    assert _names(past) == ["web-0"]
    assert past["metadata"]["resourceVersion"] == then
