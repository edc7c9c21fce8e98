"""Who leads, for how long, and what it is called when somebody else does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.lead.builders import (
    T0,
    leader,
    leads,
    led_by,
    pod,
    serve,
    service,
    slice_json,
    slice_of,
    snapshot,
    stamp,
)
from zenlead.lead import contract
from zenlead.lead.contract import Reason, Routing
from zenlead.lead.decide import decide
from zenlead.lead.desired import Absent, Blocked, Routed, Snapshot, problems_of
from zenlead.lead.ownership import owned
from zenlead.lead.routed import epoch_of, read_routed
from zenlead.lead.views import Owner, PodView
from zenlead.lead.wire import WireSlice, decode
from zenlead.lead.writes import Patch, diff

LED = pod("web-0", age=2000)
NEXT = pod("web-1", age=1000, ips=["10.1.0.11"])
UNSTICKY = service(annotations={contract.STICKY: "false"})


# --- failover -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (pod("web-0", ready=False), Reason.NOT_READY),
        (pod("web-0", deleted=True), Reason.TERMINATING),  # Ready is still True
        (pod("web-0", ips=[]), Reason.NO_IP),  # evicted: Ready is still True
        (pod("web-0", phase="Failed"), Reason.FINISHED),
        (pod("web-0", phase="Succeeded"), Reason.FINISHED),
        (pod("web-0", uid="uid-anew", age=1), Reason.DELETED),
    ],
)
def test_a_leader_that_is_hurt_is_left_at_once_and_the_word_says_why(now: PodView, reason: Reason) -> None:
    desired = serve(snapshot(now, NEXT, led=LED))
    assert desired.leader is not None
    assert (desired.leader.pod.uid, desired.reason) == (NEXT.uid, reason)
    assert (desired.routed.name, desired.epoch) == ("web-0", 2)


def test_a_deleted_leader_is_left() -> None:
    desired = serve(snapshot(NEXT, led=LED))
    assert (leads(snapshot(NEXT, led=LED)), desired.reason) == ("web-1", Reason.DELETED)


def test_a_relabelled_leader_is_left_though_it_is_ready() -> None:
    away = pod("web-0", labels={"app": "other"})
    desired = serve(snapshot(NEXT, led=LED, routed_pod=away))
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.reason) == ("web-1", Reason.DESELECTED)


def test_a_selector_that_matches_nothing_leaves_no_endpoint() -> None:
    source = service(selector={"app": "nobody"})
    desired = serve(snapshot(led=LED, source=source, routed_pod=LED))
    assert (desired.leader, desired.reason, desired.routing) == (
        None,
        Reason.DESELECTED,
        Routing.NO_PODS_FOUND,
    )
    assert desired.epoch == 1, "an epoch is a change of leader, and nobody leads"


def test_a_leader_without_the_named_port_is_left() -> None:
    source = service(ports=[{"port": 80, "targetPort": "http"}])
    has_it = [{"name": "c", "ports": [{"name": "http", "containerPort": 81}]}]
    other = pod("web-1", age=1, containers=has_it, ips=["10.1.0.11"])
    desired = serve(snapshot(LED, other, led=LED, source=source))
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.reason) == ("web-1", Reason.PORT_UNRESOLVED)


def test_that_all_pods_have_finished_is_no_fault_of_a_port() -> None:
    source = service(ports=[{"port": 80, "targetPort": "http"}])
    done = pod(
        "web-0", phase="Failed", containers=[{"name": "c", "ports": [{"name": "http", "containerPort": 81}]}]
    )
    desired = serve(snapshot(done, led=done, source=source))
    assert (desired.reason, desired.routing, desired.unresolved) == (
        Reason.FINISHED,
        Routing.NO_READY_PODS,
        None,
    )


def test_a_lost_leader_without_successor_is_withdrawn() -> None:
    desired = serve(snapshot(pod("web-0", ready=False), led=LED, epoch=4))
    assert (desired.leader, desired.reason, desired.routing) == (
        None,
        Reason.NOT_READY,
        Routing.NO_READY_PODS,
    )
    assert desired.epoch == 4


def test_a_first_election_is_no_failover() -> None:
    desired = serve(snapshot(LED, NEXT))
    assert (desired.reason, desired.epoch, desired.available) == (Reason.ELECTED, 1, 2)


def test_the_same_pod_with_another_address_is_an_update() -> None:
    moved = pod("web-0", ips=["10.1.0.99"])
    desired = serve(snapshot(moved, NEXT, led=LED, epoch=3))
    assert desired.leader is not None
    assert desired.leader.endpoints[0].addresses == ("10.1.0.99",)
    assert (desired.reason, desired.epoch) == (None, 3)


# --- staying ------------------------------------------------------------------------------------------------


def test_a_fit_leader_stays_though_an_older_pod_turned_up() -> None:
    older = pod("web-9", age=90_000, ips=["10.1.0.19"])
    desired = serve(snapshot(older, LED, led=LED))
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.reason, desired.epoch) == ("web-0", None, 1)


def test_without_sticky_the_best_ranked_pod_leads() -> None:
    older = pod("web-9", age=90_000, ips=["10.1.0.19"])
    desired = serve(snapshot(older, LED, led=LED, source=UNSTICKY))
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.reason) == ("web-9", Reason.PREEMPTED)


def test_a_restart_changes_nothing() -> None:
    """Who leads is read from the slice and from nothing else, so deciding anew gives the same."""
    seen = snapshot(LED, NEXT, led=NEXT, epoch=12)
    assert (leads(seen), serve(seen).epoch, serve(seen).reason) == ("web-1", 12, None)


# --- ripening -----------------------------------------------------------------------------------------------

RIPENING = service(annotations={contract.MIN_READY_DURATION: "5s"})


def test_a_pod_becomes_leader_when_it_is_ripe_and_not_before() -> None:
    seen = snapshot(pod(ready_for=0), source=RIPENING)
    early = serve(seen, T0 + 4.999)
    assert (early.leader, early.wake_at, early.routing) == (None, T0 + 5, Routing.NO_READY_PODS)
    assert leads(seen, T0 + 5) == "web-0"
    assert serve(seen, T0 + 5).wake_at is None


def test_a_check_that_comes_early_asks_again() -> None:
    seen = snapshot(pod(ready_for=0), source=RIPENING)
    for early_s in (5, 0.5, 0.002, 0.000_001):
        assert serve(seen, T0 + 5 - early_s).wake_at == T0 + 5


def test_the_first_to_ripen_sets_the_alarm() -> None:
    seen = snapshot(pod("web-0", ready_for=1), pod("web-1", ready_for=3), source=RIPENING)
    assert serve(seen).wake_at == T0 + 2


def test_an_unripe_pod_stays_leader() -> None:
    desired = serve(snapshot(pod("web-0", ready_for=0), NEXT, led=LED, source=RIPENING))
    assert desired.leader is not None
    assert desired.leader.pod.name == "web-0"


def test_without_sticky_an_unripe_better_pod_is_waited_for() -> None:
    source = service(annotations={contract.MIN_READY_DURATION: "60s", contract.STICKY: "false"})
    older = pod("web-9", age=90_000, ready_for=10, ips=["10.1.0.19"])
    seen = snapshot(older, LED, led=LED, source=source)
    assert (leads(seen), serve(seen).wake_at) == ("web-0", T0 + 50)
    assert leads(seen, T0 + 50) == "web-9"


def test_a_sticky_leader_sets_no_alarm() -> None:
    seen = snapshot(LED, pod("web-1", ready_for=0), led=LED, source=RIPENING)
    assert serve(seen).wake_at is None


# --- who is routed to now -----------------------------------------------------------------------------------

POLICY = contract.parse_policy("web", {})


def routed(**over: Any) -> Routed:
    return read_routed(Snapshot("t1", "web", service(), **over), POLICY)


def test_nobody_is_routed_to_at_the_start() -> None:
    assert routed() == Routed()


def test_the_slice_goes_before_the_service() -> None:
    """A failover that was cut after its first write: the slice has moved, the Service has not."""
    said = (leader(annotations=led_by(LED, 3)),)
    assert routed(services=said, slices=(slice_of(NEXT, epoch=4),)) == Routed(NEXT.uid, "web-1", 4)


def test_a_slice_that_was_edited_at_the_same_epoch_is_not_believed() -> None:
    said = (leader(annotations=led_by(LED, 3)),)
    assert routed(services=said, slices=(slice_of(NEXT, epoch=3),)) == Routed(LED.uid, "web-0", 3)


def test_an_empty_slice_routes_to_nobody_whatever_the_service_says() -> None:
    said = (leader(annotations=led_by(LED, 3)),)
    assert routed(services=said, slices=(slice_of(None, epoch=3),)) == Routed(epoch=3)


def test_a_slice_that_is_gone_is_made_for_the_same_leader() -> None:
    assert routed(services=(leader(annotations=led_by(LED, 3)),)) == Routed(LED.uid, "web-0", 3)


def test_the_highest_epoch_that_is_seen_counts_whoever_leads() -> None:
    said = (leader(annotations=led_by(LED, 9)),)
    assert routed(services=said, slices=(slice_of(None, epoch=2),)).epoch == 9
    slices = (slice_of(LED, epoch=2), slice_of(LED, "web-leader-ipv6", epoch=11, family="IPv6"))
    assert routed(slices=slices).epoch == 11


def test_epochs_are_never_used_again() -> None:
    after_edit = snapshot(NEXT, led=LED, slices=(slice_of(LED, epoch=7),), epoch=2)
    assert serve(after_edit).epoch == 8


def test_of_two_names_the_higher_epoch_is_the_last_word() -> None:
    """A move that was applied late, under the name that the leader Service had before."""
    new, old = slice_of(LED, epoch=3), slice_of(NEXT, "web-former", epoch=4)
    said = (leader(annotations=led_by(LED, 3)), leader("web", "web-former", annotations=led_by(LED, 3)))
    assert routed(services=said, slices=(new, old)) == Routed(NEXT.uid, "web-1", 4)
    moved = msgspec.structs.replace(snapshot(LED, led=LED), services=said, slices=(new, old))
    desired = serve(moved)
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.epoch) == ("web-0", 5), "nobody else has had that epoch"


def test_the_first_family_tells_who_leads() -> None:
    slices = (
        slice_of(LED, "web-leader-ipv6", epoch=1, family="IPv6"),
        slice_of(NEXT, "web-leader", epoch=2),
    )
    assert routed(slices=slices).uid == NEXT.uid


def test_a_slice_of_an_older_install_names_its_pod_by_address() -> None:
    old = slice_of(LED, ref=False, annotations=None)
    assert routed(slices=(old,), pods=(NEXT, LED)) == Routed(LED.uid, "web-0", 1)
    desired = serve(snapshot(NEXT, LED, slices=(slice_of(NEXT, ref=False, epoch=0),)))
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.reason, desired.epoch) == ("web-1", None, 1)


def test_pods_that_share_an_address_are_told_apart_the_same_way_always() -> None:
    """On the host's network two pods can have one address."""
    twin = pod("web-5", age=900, ips=list(LED.ips))
    old = slice_of(LED, ref=False)
    assert routed(slices=(old,), pods=(LED, twin)) == routed(slices=(old,), pods=(twin, LED))


def test_of_pods_that_share_an_address_the_one_that_is_named_leads() -> None:
    """An older writer's reference without a UID."""
    twin = pod("web-5", age=9000, ips=list(LED.ips))
    body = slice_json(LED)
    del body["endpoints"][0]["targetRef"]["uid"]
    old = decode(WireSlice, msgspec.json.encode(body))
    assert routed(slices=(old,), pods=(twin, LED)).uid == LED.uid


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "٣", "9" * 19, "1 ", "+1"])
def test_what_is_no_count_is_epoch_zero(value: str) -> None:
    assert epoch_of({contract.EPOCH: value}) == 0


# --- refusals -----------------------------------------------------------------------------------------------


def refused(seen: Snapshot) -> Blocked:
    desired = decide(seen, T0)
    assert isinstance(desired, Blocked), desired
    return desired


@pytest.mark.parametrize("value", [None, "", "True", "1", "yes", "false", "TRUE"])
def test_only_the_word_true_opts_in(value: str | None) -> None:
    body = service()
    annotations = {} if value is None else {contract.ENABLED: value}
    seen = Snapshot("t1", "web", msgspec.structs.replace(body, annotations=annotations))
    assert decide(seen, T0) == Absent()


def test_a_service_that_is_gone_is_absent() -> None:
    assert decide(Snapshot("t1", "web", None), T0) == Absent()


def test_no_selector_and_external_names_are_refused_with_what_to_do() -> None:
    for source in (service(selector=None), service(selector={}), service(spec={"type": "ExternalName"})):
        blocked = refused(snapshot(LED, source=source))
        assert (blocked.event, blocked.withdraw) == ("InvalidService", True)
        assert "opt out" in blocked.message


@pytest.mark.parametrize(("length", "works"), [(56, True), (57, False), (63, False)])
def test_the_leader_name_has_to_fit(length: int, works: bool) -> None:
    name = "w" * length
    seen = snapshot(LED, source=service(name))
    if works:
        assert serve(seen).policy.leader_name == name + "-leader"
    else:
        blocked = refused(seen)
        assert contract.LEADER_SERVICE_NAME in blocked.message
        assert blocked.event == "InvalidService"


def test_a_long_source_works_with_a_name_of_its_own() -> None:
    source = service("w" * 63, annotations={contract.LEADER_SERVICE_NAME: "short"})
    assert serve(snapshot(LED, source=source)).policy.leader_name == "short"


@pytest.mark.parametrize(
    "value", ["a" * 64, "A_b", "../kube-system/x", "", "-a", "a-", "9a", "a.b", "a\n", "ä"]
)
def test_a_leader_name_that_is_no_label_is_a_problem_and_the_default_is_used(value: str) -> None:
    source = service(annotations={contract.LEADER_SERVICE_NAME: value})
    desired = serve(snapshot(LED, source=source))
    (problem,) = problems_of(desired)
    assert (problem.annotation, problem.value) == (contract.LEADER_SERVICE_NAME, value)
    assert desired.policy.leader_name == "web-leader"
    assert "63" in str(problem)


def test_every_bad_annotation_is_named() -> None:
    source = service(annotations={contract.STICKY: "yes", contract.MIN_READY_DURATION: "5"})
    desired = serve(snapshot(LED, source=source))
    assert [p.annotation for p in problems_of(desired)] == [contract.STICKY, contract.MIN_READY_DURATION]
    assert (desired.policy.sticky, desired.policy.min_ready_s) == (True, 0.0)


def shared(name: str, **over: Any) -> Any:
    return service(name, annotations={contract.LEADER_SERVICE_NAME: "shared"}, **over)


def test_of_two_claims_to_a_name_the_older_wins() -> None:
    web, api = shared("web", age=100), shared("api", age=200)
    assert "api" in refused(snapshot(LED, source=web, rivals=(api,))).message
    assert serve(snapshot(LED, source=api, rivals=(web,))).leader is not None


def test_of_two_claims_of_one_age_the_lower_name_wins() -> None:
    web, api = shared("web"), shared("api")
    assert refused(snapshot(LED, source=web, rivals=(api,))).withdraw
    assert serve(snapshot(LED, source=api, rivals=(web,))).leader is not None


def test_whoever_owns_the_leader_service_keeps_the_name() -> None:
    web, api = shared("web", age=100), shared("api", age=200)
    webs = leader("web", "shared")
    assert serve(snapshot(LED, source=web, rivals=(api,), at_name=webs)).leader is not None
    assert "web" in refused(snapshot(LED, source=api, rivals=(web,), at_name=webs)).message


def test_when_the_first_is_out_the_second_takes_over() -> None:
    assert serve(snapshot(LED, source=shared("web"), at_name=None)).leader is not None


@pytest.mark.parametrize(
    "stranger",
    [
        leader(labels=None),
        leader(labels={contract.MANAGED_BY: "helm", contract.SOURCE_SERVICE: "web"}),
        msgspec.structs.replace(leader(), owner=None),
        msgspec.structs.replace(leader(), owner=Owner("Deployment", "web", "uid-svc-web")),
        service("web-leader"),
    ],
)
def test_a_stranger_at_the_leader_name_is_left_alone(stranger: Any) -> None:
    assert not owned(stranger, service())
    blocked = refused(snapshot(LED, at_name=stranger))
    assert (blocked.event, blocked.withdraw) == ("LeaderServiceConflict", False)
    assert "web-leader" in blocked.message


def test_what_an_earlier_life_left_is_waited_for_without_a_word() -> None:
    orphan = leader(owner="uid-of-an-earlier-web")
    assert not owned(orphan, service())
    seen = snapshot(LED, at_name=orphan, services=(orphan,))
    blocked = refused(seen)
    assert (blocked.event, blocked.withdraw) == ("", False)
    assert diff(seen, blocked) == []


@pytest.mark.parametrize(
    "labels",
    [
        {contract.MANAGED_BY: contract.MANAGER},
        {contract.MANAGED_BY: contract.MANAGER, contract.SOURCE_SERVICE: "api"},
    ],
)
def test_our_label_and_the_right_owner_make_it_ours_whatever_else_was_edited(labels: dict[str, str]) -> None:
    edited = leader(labels=labels)
    assert owned(edited, service())
    assert serve(snapshot(LED, at_name=edited)).leader is not None


def test_a_service_that_wants_its_own_name_for_its_leader_is_refused() -> None:
    source = service(annotations={contract.LEADER_SERVICE_NAME: "web"})
    assert refused(snapshot(LED, source=source, at_name=source)).event == "LeaderServiceConflict"


def test_a_name_that_is_taken_leaves_the_former_one_serving() -> None:
    """Who asks for a leader name that a stranger has loses neither its leader nor failovers."""
    source = service(annotations={contract.LEADER_SERVICE_NAME: "taken"})
    stranger = service("taken", annotations={contract.ENABLED: "no"})
    hurt = pod("web-0", age=2000, ready=False)
    seen = snapshot(hurt, NEXT, led=LED, source=source)
    seen = msgspec.structs.replace(seen, at_name=stranger)
    decided = serve(seen)
    assert decided.obstacle is not None
    assert decided.obstacle.event == "LeaderServiceConflict"
    assert decided.leader is not None
    assert (decided.policy.leader_name, decided.leader.pod.name) == ("web-leader", "web-1")
    (write,) = diff(seen, decided)
    assert (type(write), write.name, write.urgent) == (Patch, "web-leader", True)


def test_a_former_leader_service_that_goes_is_not_served_for_a_name_that_is_taken() -> None:
    source = service(annotations={contract.LEADER_SERVICE_NAME: "taken"})
    stranger = service("taken", annotations={contract.ENABLED: "no"})
    going = msgspec.structs.replace(leader(annotations=led_by(LED)), terminating=True)
    seen = snapshot(LED, source=source, at_name=stranger, services=(going,), slices=(slice_of(LED),))
    assert diff(seen, refused(seen)) == []


# --- families, times, words ---------------------------------------------------------------------------------


def test_the_families_are_those_that_the_leader_service_has() -> None:
    source = service(families=["IPv6", "IPv4"], policy="PreferDualStack")
    single = leader(families=["IPv6"], annotations={})
    assert serve(snapshot(source=source)).families == ("IPv6", "IPv4")
    assert serve(snapshot(source=source, at_name=single)).families == ("IPv6",)
    assert serve(snapshot(source=service(families=None))).families == ("IPv4",)


def test_a_leader_has_an_endpoint_for_each_family_with_its_place() -> None:
    source = service(families=["IPv6", "IPv4"], policy="RequireDualStack")
    view = pod(ips=["10.1.0.1", "fd00::1"], node="n1")
    desired = serve(snapshot(view, source=source, zones=(("n1", "z1"), ("n2", "z2"))))
    assert desired.leader is not None
    assert [e.addresses for e in desired.leader.endpoints] == [("fd00::1",), ("10.1.0.1",)]
    for endpoint in desired.leader.endpoints:
        assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (True, True, False)
        assert (endpoint.node, endpoint.zone) == ("n1", "z1")
        assert (endpoint.target_kind, endpoint.target_uid) == ("Pod", view.uid)


def test_the_trigger_is_when_the_leader_was_lost_as_far_as_it_is_told() -> None:
    lost = snapshot(pod("web-0", ready=False, ready_for=3), NEXT, led=LED)
    assert serve(lost).trigger_at == T0 - 3
    assert serve(snapshot(NEXT, led=LED)).trigger_at == T0, "a deleted pod tells no time"
    # A deletionTimestamp lies in the future by the grace period.
    assert serve(snapshot(pod("web-0", deleted=True), NEXT, led=LED)).trigger_at == T0
    assert serve(snapshot(pod(ready_for=9))).trigger_at == T0 - 9, "a first leader: since it is ready"
    assert serve(snapshot(LED, led=LED)).trigger_at is None


def test_unresolved_ports_are_told_when_nobody_can_lead() -> None:
    source = service(ports=[{"port": 53, "protocol": "UDP", "targetPort": "dns"}])
    desired = serve(snapshot(LED, source=source))
    assert (desired.leader, desired.routing, str(desired.unresolved)) == (
        None,
        Routing.PORT_UNRESOLVED,
        "dns/UDP",
    )
    assert stamp(T0)
