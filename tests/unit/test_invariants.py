"""The judge of the churn runs sees each thing that must never be, and nothing where all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.history import Endpoint, Knowledge, Pod, Seen, Service, Slice, Told, history
from tests.cluster.invariants import STALE, UNFIT, UNSERVED, Bounds, clear_s, judge
from tests.cluster.recorder import Revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.history import Fact

SOURCE = Service("web", "u-web", {"app": "web"}, wanted="web-leader", said=(("zen-lead.io/enabled", "true"),))
LEADER = Service("web-leader", "u-leader", {}, wanted="web-leader-leader", source="web", owner="u-web")


def pod(name: str, **state: Any) -> Pod:
    return Pod(
        **{"name": name, "uid": f"u-{name}", "labels": {"app": "web"}, "ips": (f"10.{name}",), **state}
    )


def at_pod(name: str, **state: Any) -> Endpoint:
    return Endpoint(**{"uid": f"u-{name}", "pod": name, "address": f"10.{name}", **state})


def routing(*names: str, epoch: int = 1, **state: Any) -> Slice:
    endpoints = tuple(at_pod(name) for name in names)
    whole = {"name": "web-leader", "service": "web-leader", "source": "web", "owner": "u-leader"}
    return Slice(**{**whole, "endpoints": endpoints, "epoch": epoch, **state})


class Story:
    """Tells a history: ``then(at, fact)``; versions count up by themselves."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._known: set[tuple[type, str]] = set()
        for fact in (pod("a"), pod("b"), SOURCE, LEADER, routing("a")):
            self.then(0.0, fact)

    def then(self, at: float, fact: Fact) -> Story:
        key = type(fact), fact.name
        self.seen.append(Seen(at, len(self.seen) + 1, fact, added=key not in self._known))
        self._known.add(key)
        return self

    def gone(self, at: float, fact: Fact) -> Story:
        self._known.discard((type(fact), fact.name))
        self.seen.append(Seen(at, len(self.seen) + 1, fact, deleted=True))
        return self

    def faults(self, **how: Any) -> list[str]:
        return judge(self.seen, **how).faults


def failover() -> Story:
    """The leader falls at 10, and b leads 20 ms later."""
    return Story().then(10.0, pod("a", ready=False)).then(10.02, routing("b", epoch=2))


def one(faults: Sequence[str], *words: str) -> None:
    assert len(faults) == 1, faults
    for word in words:
        assert word in faults[0]


def test_a_failover_is_well() -> None:
    story = failover().then(20.0, pod("a")).then(30.0, pod("b", ready=False))
    story.then(30.02, routing("a", epoch=3)).then(40.0, pod("a", ready=False)).then(40.1, routing(epoch=3))
    verdict = judge(story.seen)
    assert verdict.faults == []
    assert verdict.worst_s(UNFIT) == pytest.approx(0.1)
    assert verdict.counted["x changed"] == 2
    assert verdict.counted["x lost"] == 1


def test_two_ready_endpoints() -> None:
    story = Story().then(10.0, routing("a", "b")).then(10.01, routing("a"))
    one(story.faults(), "IPv4 of web-leader routed to ['a', 'b']")


def test_two_ready_endpoints_in_two_slices() -> None:
    foreign = routing("b", name="web-leader-x7k", source="", owner="")
    one(Story().then(10.0, foreign).faults(), "routed to")
    assert Story().then(10.0, routing("a", name="web-leader-ipv6", family="IPv6")).faults() == []
    unready = (at_pod("a"), at_pod("b", ready=False))
    assert Story().then(10.0, routing(endpoints=unready)).faults() == []


@pytest.mark.parametrize(
    "state",
    [
        {"ready": False},
        {"terminating": True},
        {"phase": "Failed"},
        {"labels": {"app": "other"}},
        {"ips": ()},
        {"ips": ("10.9.9.9",)},
        {"candidate": False},
        {"uid": "u-a-again"},
    ],
    ids=lambda s: next(iter(s)),
)
def test_an_endpoint_that_was_unfit_for_long(state: dict[str, Any]) -> None:
    story = Story().then(10.0, pod("a", **state)).then(12.5, routing("b", epoch=2))
    one(story.faults(), "unfit for 2.500 s", "endpoint a")
    assert story.faults(bounds=Bounds(unfit_s=2.5)) == []
    assert story.faults(excused=[(9.0, 11.0)]) == []
    assert story.faults(excused=[(11.0, 11.4)]) != []


def test_an_endpoint_whose_pod_is_gone() -> None:
    story = Story().gone(10.0, pod("a")).then(12.5, routing("b", epoch=2))
    one(story.faults(), "unfit for 2.500 s")


def test_a_slice_emptied_although_somebody_was_fit() -> None:
    story = (
        Story().then(10.0, pod("a", ready=False)).then(10.02, routing()).then(10.04, routing("b", epoch=2))
    )
    one(story.faults(), "web-leader was emptied although b was fit")
    story = Story().gone(10.0, routing("a")).then(10.1, routing("a"))
    one(story.faults(), "web-leader was emptied although a was fit")


def test_a_slice_emptied_before_anybody_was_known_to_be_fit() -> None:
    story = Story().then(5.0, pod("b", ready=False)).then(10.0, pod("a", ready=False)).then(10.01, pod("b"))
    story.then(10.02, routing()).then(10.04, routing("b", epoch=2))
    assert story.faults() == []
    one(story.faults(known=lambda version: Knowledge(version - 1, version - 1)), "emptied")
    assert story.faults(known=lambda _: None) == []


def test_a_slice_withdrawn_when_the_service_opts_out() -> None:
    out = Service("web", "u-web", {"app": "web"}, enabled=False, wanted="web-leader")
    story = Story().then(10.0, out).gone(10.1, routing("a")).gone(10.2, LEADER)
    assert story.faults() == []
    story = Story().then(10.0, out).gone(16.0, routing("a")).gone(16.2, LEADER)
    one(story.faults(), f"{STALE} for 6.000 s")


def test_a_slice_withdrawn_by_whom_the_news_of_services_has_not_reached() -> None:
    """Each kind has a watch of its own: whoever knows the pods need not know that the Service is in again."""
    out = Service("web", "u-web", {"app": "web"}, enabled=False, wanted="web-leader")
    story = Story().then(10.0, out).then(10.5, SOURCE).gone(12.0, routing("a")).then(12.1, routing("a"))
    opted_out = len(story.seen) - 3
    assert story.faults(known=lambda version: Knowledge(version - 1, opted_out)) == []
    one(story.faults(known=lambda version: Knowledge(version - 1, version - 1)), "emptied although a was fit")


def renamed() -> Story:
    return Story().then(10.0, Service("web", "u-web", {"app": "web"}, wanted="front"))


def test_a_rename() -> None:
    front = Service("front", "u-front", {}, wanted="front-leader", source="web", owner="u-web")
    moved = routing("a", name="front", service="front", owner="u-front")
    story = renamed().then(10.1, front).then(10.2, moved).gone(10.3, routing("a")).gone(10.4, LEADER)
    assert story.faults() == []
    story = renamed().then(10.1, front).gone(10.2, routing("a")).gone(10.3, LEADER).then(10.4, moved)
    one(story.faults(), "web-leader was emptied although a was fit")


def test_a_pod_newly_chosen_although_known_to_be_unfit() -> None:
    story = Story().then(5.0, pod("b", ready=False)).then(10.0, pod("a", ready=False))
    story.then(10.02, routing("b", epoch=2)).then(10.04, routing(epoch=2))
    one(story.faults(), "routed to b, known to be unfit: NotReady")
    assert story.faults(known=lambda _: Knowledge(1, 1)) == []  # a writer to whom nothing had come yet
    # One that had become fit and fell again a moment before.
    story = Story().then(5.0, pod("b", ready=False)).then(9.8, pod("b")).then(10.0, pod("a", ready=False))
    story.then(10.01, pod("b", ready=False)).then(10.02, routing("b", epoch=2)).then(10.04, routing(epoch=2))
    assert story.faults() == []


def test_epochs() -> None:
    one(failover().then(11.0, routing("b", epoch=1)).faults(), "went back from 2 to 1")
    same = Story().then(10.0, pod("a", ready=False)).then(10.02, routing("b", epoch=1))
    one(same.faults(), "epoch 1 of web-leader had two leaders")
    # Deleted and made anew, of the same source: it goes on.
    again = Story().gone(10.0, routing("a")).then(10.01, routing("a", epoch=0))
    assert any("went back from 1 to 0" in fault for fault in again.faults())
    # A create that arrives when its leader Service is gone.
    late = Story().then(10.0, pod("a", ready=False)).then(10.02, routing("b", epoch=2))
    late.then(20.0, routing("a", name="old", service="old", owner="u-old")).gone(
        20.1, routing("a", name="old")
    )
    assert not any("epoch" in fault for fault in late.faults())
    # Of a source that was made anew: another count.
    story = Story().gone(10.0, SOURCE).gone(10.1, LEADER).gone(10.1, routing("a"))
    story.then(11.0, Service("web", "u-2", {"app": "web"}, wanted="web-leader"))
    story.then(11.1, Service("web-leader", "u-leader-2", {}, source="web", owner="u-2"))
    story.then(11.2, routing("b", epoch=0, owner="u-leader-2"))
    assert story.faults() == []


def test_a_service_that_nobody_serves() -> None:
    story = Story().then(1.0, pod("a", ready=False)).then(1.0, pod("b", ready=False)).then(1.1, routing())
    story.then(10.0, pod("b")).then(16.0, routing("b", epoch=2))
    one(story.faults(), f"{UNSERVED} for 6.000 s")


def test_what_is_left_in_the_end() -> None:
    one(Story().then(10.0, pod("a", ready=False)).faults(), "web was left with", UNFIT)
    one(Story().gone(10.0, SOURCE).gone(10.1, LEADER).faults(), "left over: Slice web-leader of web")
    one(Story().gone(10.0, SOURCE).gone(10.1, routing("a")).faults(), "left over: Service web-leader")


def test_events() -> None:
    first, second = Told("web.1", "web", "LeaderChanged"), Told("web.2", "web", "LeaderChanged")
    created = Told("web.0", "web", "LeaderServiceCreated")
    assert failover().then(11.0, first).then(11.0, created).faults() == []
    one(failover().then(11.0, first).then(11.0, second).faults(), "2 Events about web", "changed", "1 times")
    repeated = Told("web.1", "web", "LeaderChanged", count=3)
    one(failover().then(11.0, first).then(11.0, repeated).faults(), "3 Events about web")
    for reason in ("NoReadyPods", "EndpointSliceDeleted"):
        one(Story().then(11.0, Told("web.3", "web", reason)).faults(), "happened 0 times")
    warned = Told("web.4", "web", "InvalidAnnotation"), Told("web.5", "web", "Paused")
    one(Story().then(11.0, warned[0]).then(11.0, warned[1]).faults(), "annotated", "1 times")
    strangers = Told("web.6", "web", ""), Told("web.7", "web", "")
    assert Story().then(11.0, strangers[0]).then(11.0, strangers[1]).faults() == []


def test_events_of_a_service_without_a_leader() -> None:
    none, nobody = Told("web.1", "web", "NoPodsFound"), Told("web.2", "web", "NoReadyPods")
    story = Story().then(10.0, pod("a", ready=False)).then(10.0, pod("b", ready=False)).then(10.1, routing())
    story.gone(11.0, pod("a")).gone(11.0, pod("b")).then(12.0, nobody).then(12.0, none)
    assert story.faults() == []
    one(story.then(12.0, Told("web.3", "web", "NoReadyPods")).faults(), "3 Events", "lost", "2 times")


def test_events_of_a_rename_that_changes_the_leader() -> None:
    front = Service("front", "u-front", {}, wanted="front-leader", source="web", owner="u-web")
    moved = routing("b", name="front", service="front", owner="u-front", epoch=2)
    story = renamed().then(10.1, front).then(10.1, pod("a", ready=False)).then(10.2, moved)
    story.gone(10.3, routing("a")).gone(10.4, LEADER).then(11.0, Told("web.1", "web", "LeaderChanged"))
    assert story.faults() == []


def test_time_that_is_not_excused() -> None:
    assert clear_s(1.0, 5.0, []) == 4.0
    assert clear_s(1.0, 5.0, [(0.0, 2.0), (4.0, 9.0)]) == 2.0
    assert clear_s(1.0, 5.0, [(2.0, 3.0), (2.5, 4.0), (2.6, 2.7)]) == 2.0
    assert clear_s(1.0, 5.0, [(0.0, 9.0)]) == 0.0
    assert clear_s(1.0, 5.0, [(6.0, 9.0), (-3.0, 0.0)]) == 4.0


def test_what_was_recorded_is_put_in_the_servers_order() -> None:
    meta = {"name": "web-1", "uid": "u", "labels": {"app": "web"}, "resourceVersion": "12"}
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "conditions": conditions, "podIPs": [{"ip": "10.1.1.1"}]}
    slice_ = {
        "metadata": {
            "name": "web-leader",
            "resourceVersion": "9",
            "labels": {
                "kubernetes.io/service-name": "web-leader",
                "app.kubernetes.io/managed-by": "zen-lead",
                "zen-lead.io/source-service": "web",
            },
            "annotations": {"zen-lead.io/leader-epoch": "7"},
            "ownerReferences": [{"uid": "u-leader", "controller": True}],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.1.1"], "targetRef": {"name": "web-1", "uid": "u"}}],
    }
    log = [
        Revision(2.0, "MODIFIED", "pods", "web-1", {"metadata": meta, "status": status}),
        Revision(2.1, "ADDED", "endpointslices", "web-leader", slice_),
    ]
    found = history(log)
    assert [(s.at, s.version) for s in found] == [(2.1, 9), (2.1, 12)]
    assert found[0].fact == routing(endpoints=(Endpoint("u", "web-1", "10.1.1.1"),), epoch=7)
    assert found[1].fact == pod("web-1", uid="u", ips=("10.1.1.1",))
