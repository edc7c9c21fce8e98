"""What the slices show, whoever wrote them: where traffic goes, and that it goes to one pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lead.builders import pod, service, slice_json, slice_of
from zenlead.controller.auditor import Auditor
from zenlead.controller.caches import Caches
from zenlead.controller.facts import InvariantBroken, RoutingSeen

if TYPE_CHECKING:
    from zenlead.lead.views import PodView

WEB_0, WEB_1 = pod("web-0"), pod("web-1", ip="10.1.0.11")


class Watched:
    """Caches under audit; ``show`` is what the API server says next."""

    def __init__(self) -> None:
        self.caches = Caches(index_limit=0)
        self.facts: list[RoutingSeen | InvariantBroken] = []
        self.auditor = Auditor(self.caches, self.facts.append)
        self.caches.services.apply(service("web"))
        self.caches.slices.heard = self.auditor.hear
        self._version = 10

    def show(self, *targets: PodView, name: str = "web-leader", **over: Any) -> None:
        self._version += 1
        endpoints = [slice_json(target, name, **over)["endpoints"][0] for target in targets]
        body = {"endpoints": endpoints}
        self.caches.slices.apply(slice_of(None, name, version=str(self._version), body=body, **over))

    def told(self) -> list[RoutingSeen | InvariantBroken]:
        found = self.facts.copy()
        self.facts.clear()
        return found

    def broken(self) -> list[InvariantBroken]:
        return [fact for fact in self.told() if isinstance(fact, InvariantBroken)]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_routing_is_told_when_it_moves_and_only_then(watched: Watched) -> None:
    watched.show(WEB_0)
    assert watched.told() == [RoutingSeen("t1", "web", 1)]
    watched.show(WEB_0, epoch=7)
    assert watched.told() == [], "an annotation moves no traffic"
    watched.show(WEB_1)
    watched.show()
    assert watched.told() == [RoutingSeen("t1", "web", 1), RoutingSeen("t1", "web", 0)]


def test_a_slice_that_goes_routes_to_nobody(watched: Watched) -> None:
    watched.show(WEB_0)
    watched.told()
    watched.caches.slices.deleted(("t1", "web-leader"))
    assert watched.told() == [RoutingSeen("t1", "web", 0)]


def test_several_ready_endpoints_are_told_once_while_it_lasts(watched: Watched) -> None:
    watched.show(WEB_0, WEB_1)
    assert watched.broken() == [InvariantBroken("t1", "web", "web-leader", "IPv4", ("web-0", "web-1"))]
    watched.show(WEB_1, WEB_0)
    assert watched.broken() == []
    watched.show(WEB_0)
    watched.show(WEB_0, WEB_1)
    assert len(watched.broken()) == 1, "it began anew"


def test_two_slices_of_one_family_count_together(watched: Watched) -> None:
    watched.show(WEB_0)
    watched.show(WEB_1, name="web-leader-x")
    assert [fact.pods for fact in watched.broken()] == [("web-0", "web-1")]


def test_another_family_and_another_name_may_have_one_each(watched: Watched) -> None:
    watched.show(WEB_0)
    watched.show(WEB_0, name="web-leader-ipv6", family="IPv6", address="fd00::1")
    watched.show(WEB_0, name="web-primary", service="web-primary")
    assert watched.broken() == []


def test_the_slices_of_a_list_changed_at_one_moment(watched: Watched) -> None:
    """A list that shows the endpoint in another slice has never shown it in both."""
    watched.show(WEB_0)
    watched.show(name="web-leader-x")
    watched.told()
    moved = [slice_of(WEB_1, "web-leader-x", version="40"), slice_of(None, "web-leader", version="41")]
    watched.caches.slices.replace(moved, mark=0)
    assert watched.told() == [RoutingSeen("t1", "web", 1)]


def test_of_a_service_that_is_not_opted_in_nothing_is_told(watched: Watched) -> None:
    watched.caches.services.deleted(("t1", "web"))
    watched.show(WEB_0, WEB_1)
    assert watched.told() == []


def test_an_endpoint_that_is_not_ready_gets_no_traffic_and_one_that_says_nothing_does(
    watched: Watched,
) -> None:
    silent = {"addresses": ["10.1.0.10"], "conditions": {}}
    unready = {"addresses": ["10.1.0.11"], "conditions": {"ready": False}}
    watched.caches.slices.apply(slice_of(None, version="30", body={"endpoints": [silent, unready]}))
    assert watched.told() == [RoutingSeen("t1", "web", 1)]
    both = [silent, {"addresses": ["10.1.0.12"]}]
    watched.caches.slices.apply(slice_of(None, version="31", body={"endpoints": both}))
    assert [fact.pods for fact in watched.broken()] == [("10.1.0.10", "10.1.0.12")]


def test_who_begins_to_lead_looks_at_everything(watched: Watched) -> None:
    watched.caches.slices.heard = lambda _: None  # as while another replica leads
    watched.show(WEB_0, WEB_1)
    for _ in range(2):  # each term tells of what it found
        list(watched.auditor.survey())
        assert len(watched.broken()) == 1
