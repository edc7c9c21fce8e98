"""Which change concerns which Service, and what cannot wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lead.builders import leader, led_by, pod, service, slice_of
from zenlead.controller.caches import Caches, Selectors, is_managed, is_source, leader_name
from zenlead.controller.triggers import Trigger
from zenlead.kube.lane import Lane
from zenlead.kube.lru import AsyncLRU
from zenlead.kube.store import Change
from zenlead.lead import contract
from zenlead.lead.views import NodeView

if TYPE_CHECKING:
    from zenlead.controller.selectors import NamespaceIndex

URGENT, FRESH, ROUTINE = Lane
WEB, API = ("t1", "web"), ("t1", "api")
P0, P1 = pod("web-0"), pod("web-1", ips=["10.1.0.11"])


class Rooms:
    def __init__(self, *views: Any) -> None:
        self.caches = Caches(index_limit=0)
        cache: AsyncLRU[str, NamespaceIndex] = AsyncLRU(
            "selectors", self.caches.load_index, max_entries=2, load_timeout_s=1.0
        )
        self.trigger = Trigger(self.caches, Selectors(self.caches, cache))
        for view in views:
            self.put(view)

    def _of(self, view: Any) -> tuple[Any, Any]:
        return {
            "PodView": (self.caches.pods, self.trigger.pod),
            "ServiceView": (self.caches.services, self.trigger.service),
            "SliceView": (self.caches.slices, self.trigger.slice),
            "NodeView": (self.caches.nodes, self.trigger.node),
        }[type(view).__name__]

    def put(self, view: Any) -> dict[tuple[str, str], Lane]:
        store, trigger = self._of(view)
        change = store.apply(view)
        triggers: dict[tuple[str, str], Lane] = trigger(change) if change is not None else {}
        return triggers

    def drop(self, view: Any) -> dict[tuple[str, str], Lane]:
        store, trigger = self._of(view)
        triggers: dict[tuple[str, str], Lane] = trigger(store.deleted(view.key))
        return triggers


def served(*more: Any) -> Rooms:
    """web leads with web-0, web-1 stands by."""
    return Rooms(service(), P0, P1, leader(annotations=led_by(P0)), slice_of(P0), *more)


# --- names --------------------------------------------------------------------------------------------------


async def test_who_wants_a_name_hears_when_it_is_free_and_its_last_owner_does_not() -> None:
    rooms = served(service("api", annotations={contract.LEADER_SERVICE_NAME: "web-leader"}))
    freed = rooms.trigger.freed
    for gone in (leader(annotations=led_by(P0)), slice_of(P0), slice_of(P0, "web-leader-ipv6")):
        assert freed(Change(gone, None)) == {API: ROUTINE}
        assert freed(Change(None, gone)) == freed(Change(gone, gone)) == {}
    assert freed(Change(service("web-leader"), None)) == {WEB: ROUTINE, API: ROUTINE}, "a stranger's"
    assert freed(Change(leader(name="other"), None)) == {}


# --- pods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hurt",
    [
        pod("web-0", ready=False),
        pod("web-0", deleted=True),
        pod("web-0", ips=[]),
        pod("web-0", labels={"app": "other"}),
        pod("web-0", phase="Failed"),
        pod("web-0", uid="anew"),
    ],
)
async def test_a_change_of_the_leader_cannot_wait(hurt: Any) -> None:
    assert served().put(hurt) == {WEB: URGENT}


async def test_the_deletion_of_the_leader_cannot_wait() -> None:
    assert served().drop(P0) == {WEB: URGENT}


async def test_other_pods_can_wait() -> None:
    rooms = served()
    assert rooms.put(pod("web-1", ready=False)) == {WEB: ROUTINE}
    assert rooms.put(pod("web-2")) == {WEB: ROUTINE}
    assert rooms.drop(P1) == {WEB: ROUTINE}


async def test_any_pod_is_urgent_for_who_has_no_leader() -> None:
    rooms = Rooms(service(), slice_of(None))
    assert rooms.put(pod("web-0")) == {WEB: URGENT}
    assert Rooms(service()).put(pod("web-0")) == {WEB: URGENT}


async def test_pods_of_nobody_concern_nobody() -> None:
    assert served().put(pod("x", labels={"app": "x"})) == {}
    assert Rooms().put(P0) == {}


async def test_each_service_has_its_own_urgency() -> None:
    rooms = served(service("api"), slice_of(P1, "api-leader", source="api", service="api-leader"))
    assert rooms.put(pod("web-0", ready=False)) == {WEB: URGENT, API: ROUTINE}


# --- Services -----------------------------------------------------------------------------------------------


async def test_a_new_source_comes_after_the_change_of_one() -> None:
    rooms = Rooms()
    assert rooms.put(service()) == {WEB: FRESH}
    assert rooms.put(service(selector={"app": "x"})) == {WEB: URGENT}
    assert rooms.drop(service()) == {WEB: URGENT}


async def test_opting_in_and_out() -> None:
    rooms = Rooms(service(annotations={contract.ENABLED: "no"}))
    assert rooms.put(service()) == {WEB: FRESH}
    assert rooms.put(service(annotations={contract.ENABLED: "no"})) == {WEB: URGENT}


async def test_opting_in_again_while_the_old_routing_stands_cannot_wait() -> None:
    rooms = Rooms(service(annotations={contract.ENABLED: "no"}), slice_of(P0))
    assert rooms.put(service()) == {WEB: URGENT}


async def test_a_service_of_nobody_concerns_nobody() -> None:
    rooms = Rooms(service())
    assert rooms.put(service("other", annotations={contract.ENABLED: "no"})) == {}


async def test_a_leader_service_concerns_its_source() -> None:
    rooms = Rooms(service())
    assert rooms.put(leader()) == {WEB: ROUTINE}
    assert rooms.put(leader(version="6", annotations={"x": "y"})) == {WEB: ROUTINE}
    assert rooms.drop(leader()) == {WEB: ROUTINE}


async def test_a_leader_service_without_the_source_label_concerns_its_owner() -> None:
    out = service(annotations={contract.ENABLED: "no"})
    bare = leader(labels={contract.MANAGED_BY: contract.MANAGER})
    rooms = Rooms(out)
    assert rooms.put(bare) == {WEB: ROUTINE}
    assert rooms.caches.keys() == {WEB}
    assert rooms.caches.snapshot(WEB, None).services == (bare,)
    elsewhere = leader(
        labels={contract.MANAGED_BY: contract.MANAGER, contract.SOURCE_SERVICE: "api"}, version="6"
    )
    assert rooms.put(elsewhere) == {WEB: ROUTINE, API: ROUTINE}
    assert rooms.caches.snapshot(WEB, None).services == (), "as long as it has a label that one counts"


async def test_whoever_wants_a_name_hears_that_it_is_taken_or_free() -> None:
    rooms = Rooms(service())
    stranger = service("web-leader", annotations={contract.ENABLED: "no"})
    assert rooms.put(stranger) == {WEB: ROUTINE}
    assert rooms.drop(stranger) == {WEB: ROUTINE}


async def test_rivals_hear_of_each_other() -> None:
    shared = {contract.LEADER_SERVICE_NAME: "shared"}
    rooms = Rooms(service(annotations=shared))
    assert rooms.put(service("api", annotations=shared)) == {API: FRESH, WEB: ROUTINE}
    out = service(annotations={contract.ENABLED: "no"})
    assert rooms.put(out) == {WEB: URGENT, API: ROUTINE}


async def test_a_renamed_claim_frees_the_old_name_for_its_rival() -> None:
    shared = {contract.LEADER_SERVICE_NAME: "shared"}
    rooms = Rooms(service(annotations=shared), service("api", annotations=shared))
    keys = rooms.put(service(annotations={contract.LEADER_SERVICE_NAME: "mine"}))
    assert keys == {WEB: URGENT, API: ROUTINE}


# --- slices and nodes ---------------------------------------------------------------------------------------


async def test_a_slice_that_is_edited_or_deleted_cannot_wait() -> None:
    rooms = served()
    assert rooms.put(slice_of(P1, version="10")) == {WEB: URGENT}
    assert rooms.put(slice_of(P1, version="11", body={"ports": []})) == {WEB: URGENT}
    assert rooms.put(slice_of(P1, version="12", epoch=5, body={"ports": []})) == {WEB: ROUTINE}
    assert rooms.drop(slice_of(P1)) == {WEB: URGENT}


async def test_a_slice_whose_label_was_edited_concerns_who_had_it_and_who_has_it() -> None:
    rooms = served()
    labels = {contract.SLICE_MANAGED_BY: contract.MANAGER, contract.SOURCE_SERVICE: "api"}
    assert rooms.put(slice_of(P0, version="10", labels=labels)) == {WEB: ROUTINE, API: ROUTINE}


async def test_a_slice_that_appears_can_wait() -> None:
    assert Rooms(service()).put(slice_of(P0)) == {WEB: ROUTINE}


async def test_a_strangers_slice_concerns_nobody() -> None:
    assert Rooms(service()).put(slice_of(P0, labels={})) == {}


async def test_a_node_concerns_those_who_are_routed_to_it() -> None:
    rooms = served()
    assert rooms.put(NodeView("n1", "z1")) == {WEB: ROUTINE}
    assert rooms.put(NodeView("n2", "z1")) == {}
    assert rooms.put(NodeView("n1", "z1")) == {}


# --- what the caches tell -----------------------------------------------------------------------------------


async def test_a_leader_service_is_no_source_even_if_it_says_so() -> None:
    odd = leader(annotations={contract.ENABLED: "true"})
    assert is_managed(odd)
    assert not is_source(odd)
    assert leader_name(service(annotations={contract.LEADER_SERVICE_NAME: "front"})) == "front"


async def test_all_that_may_need_something_is_known_at_the_start() -> None:
    rooms = Rooms(
        service(),
        service("out", annotations={contract.ENABLED: "no"}),
        leader("gone"),
        slice_of(P0, "lost-leader", source="lost", service="lost-leader"),
        slice_of(P0, labels={}),
    )
    assert rooms.caches.keys() == {WEB, ("t1", "gone"), ("t1", "lost")}


async def test_a_snapshot_shows_what_is_around_a_service() -> None:
    rooms = served(
        service("api", annotations={contract.LEADER_SERVICE_NAME: "web-leader"}), NodeView("n1", "z1")
    )
    seen = rooms.caches.snapshot(WEB, None)
    assert {p.name for p in seen.pods} == {"web-0", "web-1"}
    assert seen.routed_pod == P0
    assert seen.at_name is not None
    assert [s.name for s in seen.services] == [s.name for s in seen.slices] == ["web-leader"]
    assert [s.name for s in seen.rivals] == ["api"]
    assert seen.zones == (("n1", "z1"),)


async def test_a_snapshot_is_the_same_with_and_without_an_index() -> None:
    rooms = served(pod("other", labels={"app": "other"}))
    index = await rooms.caches.load_index("t1")
    fast, slow = rooms.caches.snapshot(WEB, index), rooms.caches.snapshot(WEB, None)
    assert sorted(p.name for p in fast.pods) == sorted(p.name for p in slow.pods)
    assert (fast.slices, fast.services, fast.at_name) == (slow.slices, slow.services, slow.at_name)


async def test_a_routed_pod_is_found_although_it_is_no_longer_selected() -> None:
    rooms = served()
    away = pod("web-0", labels={"app": "other"})
    rooms.put(away)
    assert rooms.caches.snapshot(WEB, None).routed_pod == away


async def test_a_pod_that_the_slice_names_goes_before_one_that_the_service_names() -> None:
    """Between the write of the slice and that of the Service."""
    rooms = Rooms(service(), P0, P1, leader(annotations=led_by(P0, 1)), slice_of(P1, epoch=2))
    assert rooms.caches.snapshot(WEB, None).routed_pod == P1


async def test_the_first_family_tells_the_routed_pod() -> None:
    """Between the writes of the two slices, whichever came into the cache first."""
    second = slice_of(P0, "web-leader-ipv6", family="IPv6", epoch=1)
    rooms = Rooms(service(), P0, P1, leader(annotations=led_by(P0, 1)), second, slice_of(P1, epoch=2))
    assert rooms.caches.snapshot(WEB, None).routed_pod == P1


async def test_a_change_is_told_with_its_key() -> None:
    assert Change(None, P0).key == ("t1", "web-0")
    assert "1 services" in repr(Rooms(service()).caches)
