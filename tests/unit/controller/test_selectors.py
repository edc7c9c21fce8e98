"""The selector index: always the answer of comparing everything with everything, only faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lead.builders import pod, service
from tests.unit.profiles import THOROUGH
from zenlead.controller.caches import Caches, Selectors
from zenlead.controller.selectors import NamespaceIndex, matching
from zenlead.kube.lru import AsyncLRU
from zenlead.lead import contract
from zenlead.lead.select import selected
from zenlead.lead.views import Labels

if TYPE_CHECKING:
    from zenlead.lead.views import PodView, ServiceView


def source(name: str, selector: Labels | None, age: int = 100) -> ServiceView:
    return service(name, selector=selector, age=age)


def labelled(name: str, labels: Labels) -> PodView:
    return pod(name, labels=labels)


A, B = {"app": "a"}, {"app": "b"}


def test_pods_are_found_by_service_and_services_by_pod() -> None:
    index = NamespaceIndex(0)
    index.build([source("web", A), source("api", B)], [labelled("p1", A), labelled("p2", A | {"x": "y"})])
    assert index.members("web") == ["p1", "p2"]
    assert index.members("api") == []
    assert index.move_pod(None, labelled("p3", B)) == ["api"]
    assert index.members("api") == ["p3"]
    assert index.move_pod(labelled("p3", B), labelled("p3", A)) == ["api", "web"]
    assert index.members("api") == []
    assert index.move_pod(labelled("p1", A), None) == ["web"]
    assert index.members("web") == ["p2", "p3"]


def test_beyond_the_limit_the_oldest_keep_their_places_and_the_others_are_still_named() -> None:
    index = NamespaceIndex(1)
    index.build([source("young", A, age=1), source("old", A, age=9)], [labelled("p1", A)])
    assert (len(index), index.members("old")) == (1, ["p1"])
    assert index.members("young") is None, "the slow way"
    assert set(index.move_pod(None, labelled("p2", A))) == {"old", "young"}
    assert set(index.move_pod(labelled("p1", A), None)) == {"old", "young"}
    index.drop_service("old")
    index.put_service("young", A, [labelled("p2", A)])
    assert index.members("young") == ["p2"], "a place that became free is used"
    assert "0 beyond" in repr(index)


def test_a_selector_that_changes_moves_the_members() -> None:
    index = NamespaceIndex(0)
    pods = [labelled("p1", A), labelled("p2", B)]
    index.build([source("web", A)], pods)
    index.put_service("web", B, pods)
    assert index.members("web") == ["p2"]
    assert index.move_pod(labelled("p1", A), None) == []
    index.put_service("web", {}, pods)
    assert index.members("web") is None
    assert index.move_pod(labelled("p2", B), None) == []


def test_the_index_drains() -> None:
    index = NamespaceIndex(2)
    sources = [source(f"s{i}", {"app": "a", f"k{i}": "v"}, age=i) for i in range(4)]
    index.build(sources, [labelled("p", A | {"k1": "v"})])
    for view in sources:
        index.drop_service(view.name)
        index.drop_service(view.name)
    assert not (index._selectors)
    assert not (index._beyond)
    assert not (index._by_pair)
    assert not (index._members)


def test_the_slow_way_names_those_before_and_after() -> None:
    assert matching({"a": A, "b": B, "c": {"c": "c"}}, labelled("p", A), labelled("p", B)) == ["a", "b"]
    assert matching({"a": A}, None, None) == []


labels = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(("1", "22", "333")), max_size=3)
names = st.sampled_from(("s0", "s1", "s2", "s3"))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("pod"), st.sampled_from(("p0", "p1", "p2")), st.none() | labels),
        st.tuples(st.just("service"), names, st.none() | labels),
    ),
    max_size=20,
)


@given(st.integers(0, 3), st.dictionaries(names, labels), steps)
@THOROUGH
def test_any_history_answers_as_comparing_everything_does(
    limit: int, first: dict[str, Labels], history: list[tuple[str, str, Labels | None]]
) -> None:
    index = NamespaceIndex(limit)
    selectors, pods = dict(first), dict[str, Labels]()
    index.build([source(name, selector) for name, selector in first.items()], [])
    for kind, name, given_ in history:
        if kind == "service":
            if given_ is None:
                selectors.pop(name, None)
                index.drop_service(name)
            else:
                selectors[name] = given_
                index.put_service(name, given_, [labelled(n, ls) for n, ls in pods.items()])
        else:
            before, after = pods.get(name), given_
            found = index.move_pod(
                labelled(name, before) if before is not None else None,
                labelled(name, after) if after is not None else None,
            )
            expected = {
                s
                for s, selector in selectors.items()
                if (before is not None and selected(selector, before))
                or (after is not None and selected(selector, after))
            }
            assert len(found) == len(set(found))
            assert set(found) == expected
            if after is None:
                pods.pop(name, None)
            else:
                pods[name] = after
        assert not limit or len(index) <= limit
        for service_name, selector in selectors.items():
            members = index.members(service_name)
            if members is not None:
                assert set(members) == {n for n, ls in pods.items() if selected(selector, ls)}


# --- the cache of indexes -----------------------------------------------------------------------------------


class Rooms:
    def __init__(self) -> None:
        self.caches = Caches(index_limit=0)
        self.cache: AsyncLRU[str, NamespaceIndex] = AsyncLRU(
            "selectors", self.caches.load_index, max_entries=2, load_timeout_s=1.0
        )
        self.selectors = Selectors(self.caches, self.cache)

    def put(self, view: Any) -> list[str]:
        """The store takes the change, then the index; the names of the Services for a pod."""
        if hasattr(view, "phase"):
            change = self.caches.pods.apply(view)
            assert change
            return self.selectors.pod_changed(change.old, change.new)
        change = self.caches.services.apply(view)
        assert change
        self.selectors.service_changed(change.old, change.new)
        return []


async def test_a_namespace_without_sources_costs_no_load_and_no_miss() -> None:
    rooms = Rooms()
    rooms.put(service("quiet", annotations={contract.ENABLED: "false"}))
    for index in range(50):
        assert rooms.put(pod(f"p{index}")) == []
    assert (rooms.selectors.misses, rooms.selectors.hits, rooms.cache.stats.loads) == ({}, {}, 0)


@pytest.mark.parametrize("loaded", [True, False])
async def test_loaded_or_not_the_answers_are_the_same(loaded: bool) -> None:
    rooms = Rooms()
    rooms.put(source("web", A))
    if loaded:
        assert await rooms.selectors.load("t1")
    assert rooms.put(labelled("p1", A)) == ["web"]
    assert rooms.put(labelled("p1", B)) == ["web"]
    rooms.put(source("api", B))
    assert rooms.put(labelled("p1", B | {"x": "y"})) == ["api"]
    rooms.put(service("api", selector=B, annotations={contract.ENABLED: "no"}))
    assert rooms.put(labelled("p1", B)) == []


async def test_an_index_that_was_dropped_is_loaded_anew_with_what_is_then() -> None:
    rooms = Rooms()
    rooms.put(source("web", A))
    await rooms.selectors.load("t1")
    rooms.selectors.forget("t1")
    assert rooms.selectors.peek("t1") is None
    rooms.put(labelled("p1", A))
    rooms.put(source("api", A))
    await rooms.selectors.load("t1")
    index = rooms.selectors.peek("t1")
    assert index is not None
    assert (index.members("web"), index.members("api")) == (["p1"], ["p1"])


async def test_hits_and_misses_are_counted_and_drained() -> None:
    rooms = Rooms()
    rooms.put(source("web", A))
    for _ in range(3):
        await rooms.selectors.load("t1")
    assert (rooms.selectors.misses, rooms.selectors.hits) == ({"t1": 1}, {"t1": 2})
    rooms.selectors.sweep(3600)
    assert rooms.selectors.misses == {"t1": 1}
    rooms.put(service("web", annotations={contract.ENABLED: "no"}))
    rooms.selectors.sweep(3600)
    assert (rooms.selectors.misses, rooms.selectors.hits, len(rooms.cache)) == ({}, {}, 0)


async def test_an_idle_index_is_swept_and_loaded_again() -> None:
    rooms = Rooms()
    rooms.put(source("web", A))
    await rooms.selectors.load("t1")
    rooms.selectors.sweep(0)
    assert rooms.selectors.peek("t1") is None
    assert await rooms.selectors.load("t1")


async def test_a_change_of_nothing_is_nothing() -> None:
    rooms = Rooms()
    assert rooms.selectors.pod_changed(None, None) == []
    rooms.selectors.service_changed(None, None)
