"""The annotations that change who leads, for how long, and how the leader Service looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.unit.lead.builders import T0, leader, led_by, pod, service, slice_of
from zenlead.lead import contract
from zenlead.lead.contract import Reason, Routing, parse_policy
from zenlead.lead.decide import decide
from zenlead.lead.desired import Serve, Snapshot, problems_of
from zenlead.lead.render import service_annotations
from zenlead.lead.writes import diff

if TYPE_CHECKING:
    from zenlead.lead.views import PodView

MARK = contract.PREFIX


def serve(
    pods: list[PodView], *, routed: PodView | None = None, now: float = T0, **annotations: str
) -> Serve:
    """The decision for a Service with these annotations (dashes as underscores), led by ``routed``."""
    asked = {MARK + key.replace("_", "-"): value for key, value in annotations.items()}
    desired = decide(snapshot(pods, routed, asked), now)
    assert isinstance(desired, Serve)
    return desired


def snapshot(pods: list[PodView], routed: PodView | None, asked: dict[str, str]) -> Snapshot:
    source = service(annotations=asked, ports=[{"name": "http", "port": 80}, {"name": "admin", "port": 81}])
    there = (leader(annotations=led_by(routed)),) if routed else ()
    return Snapshot(
        "t1",
        "web",
        source,
        pods=tuple(p for p in pods if p.labels == {"app": "web"}),
        routed_pod=next((p for p in pods if routed and p.name == routed.name), None),
        at_name=there[0] if there else None,
        services=there,
        slices=(slice_of(routed),) if routed else (),
    )


def name_of(desired: Serve) -> str:
    return desired.leader.pod.name if desired.leader else ""


def restarted(count: int) -> dict[str, Any]:
    return {"statuses": [{"restartCount": count}]}


@pytest.mark.parametrize(
    ("strategy", "first"),
    [("oldest", "web-10"), ("newest", "web-2"), ("ordinal", "web-1"), ("least-restarts", "web-2")],
)
def test_the_strategy_ranks(strategy: str, first: str) -> None:
    pods = [
        pod("web-10", age=300, **restarted(2)),
        pod("web-2", age=100, **restarted(0)),
        pod("web-1", age=200, **restarted(1)),
    ]
    assert name_of(serve(pods, strategy=strategy)) == first


def test_random_is_the_same_for_everybody_and_not_for_every_service() -> None:
    pods = [pod(f"web-{n}") for n in range(8)]
    assert name_of(serve(pods, strategy="random")) == name_of(serve(pods[::-1], strategy="random"))
    draws = set()
    for number in range(20):
        source = service(uid=f"uid-{number}", annotations={contract.STRATEGY: "random"})
        desired = decide(Snapshot("t1", "web", source, pods=tuple(pods)), T0)
        assert isinstance(desired, Serve)
        draws.add(name_of(desired))
    assert len(draws) > 2


def test_priority_comes_before_the_strategy() -> None:
    pods = [pod("web-0", age=300), pod("web-1", annotations={contract.PRIORITY: "5"}, age=10)]
    assert name_of(serve(pods)) == "web-1"


def test_a_higher_priority_waits_behind_a_fit_leader_unless_failback_says_otherwise() -> None:
    old = pod("web-0")
    high = pod("web-1", annotations={contract.PRIORITY: "5"}, ready_for=100)
    assert name_of(serve([old, high], routed=old)) == "web-0"
    now = serve([old, high], routed=old, failback="immediate")
    assert (name_of(now), now.reason) == ("web-1", Reason.PREEMPTED)
    later = serve([old, high], routed=old, failback="after:2m")
    assert (name_of(later), later.wake_at) == ("web-0", T0 + 20)
    assert name_of(serve([old, high], routed=old, failback="after:2m", now=T0 + 20)) == "web-1"
    low = pod("web-1", annotations={contract.PRIORITY: "-5"})
    assert name_of(serve([old, low], routed=old, failback="immediate")) == "web-0"
    older = pod("web-1", age=90_000)
    assert name_of(serve([old, older], routed=old, failback="immediate")) == "web-0", "of the same priority"


def test_nobody_waits_for_the_clock_of_a_node_that_is_ahead() -> None:
    ahead = pod("web-1", ready_for=-30, annotations={contract.PRIORITY: "5"})
    assert name_of(serve([ahead])) == "web-1"
    assert name_of(serve([pod("web-0", ready=False), ahead], routed=pod("web-0"))) == "web-1"
    assert name_of(serve([pod("web-0"), ahead], routed=pod("web-0"), failback="immediate")) == "web-1"
    assert name_of(serve([pod("web-0"), ahead], routed=pod("web-0"), sticky="false")) == "web-1"
    assert name_of(serve([ahead], min_ready_duration="5s")) == "", "what is asked for is waited for"


def test_a_leader_that_turns_not_ready_is_given_time() -> None:
    lost, other = pod("web-0", ready=False, ready_for=3), pod("web-1")
    held = serve([lost, other], routed=lost, failover_min_delay="10s")
    assert (name_of(held), held.reason, held.wake_at) == ("web-0", None, T0 + 7)
    assert held.routing is Routing.LEADER_ELECTED
    over = serve([lost, other], routed=lost, failover_min_delay="10s", now=T0 + 7)
    assert (name_of(over), over.reason) == ("web-1", Reason.NOT_READY)


@pytest.mark.parametrize(
    "fault", [{"deleted": True}, {"phase": "Failed"}, {"ips": []}, {"labels": {"app": "x"}}]
)
def test_no_time_is_given_to_one_that_will_not_come_back(fault: dict[str, Any]) -> None:
    lost, other = pod("web-0", ready=False, ready_for=3, **fault), pod("web-1")
    assert name_of(serve([lost, other], routed=lost, failover_min_delay="10s")) == "web-1"
    assert name_of(serve([lost], routed=lost, on_no_ready="keep-last")) == ""


def test_keep_last_keeps_the_address_while_nobody_is_fit() -> None:
    lost, other = pod("web-0", ready=False), pod("web-1", ready=False)
    kept = serve([lost, other], routed=lost, on_no_ready="keep-last")
    assert (name_of(kept), kept.routing, kept.reason) == ("web-0", Routing.NO_READY_PODS, None)
    assert name_of(serve([lost, pod("web-1")], routed=lost, on_no_ready="keep-last")) == "web-1"
    assert name_of(serve([lost, other], routed=lost)) == ""


def test_while_paused_only_the_condition_is_written() -> None:
    lost, other = pod("web-0", ready=False), pod("web-1")
    seen = snapshot([lost, other], lost, {contract.PAUSED: "true"})
    desired = decide(seen, T0)
    assert isinstance(desired, Serve)
    assert desired.routing is Routing.PAUSED
    (write,) = diff(seen, desired)
    (condition,) = msgspec.json.decode(write.body)["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "Paused")
    assert diff(seen, desired, conditions=False) == []


def test_while_paused_nothing_is_withdrawn_from_a_service_that_is_refused_either() -> None:
    lost = pod("web-0")
    for paused, writes in (("true", 0), ("false", 1)):
        seen = snapshot([lost], lost, {contract.PAUSED: paused})
        assert seen.source is not None
        refused = msgspec.structs.replace(seen, source=msgspec.structs.replace(seen.source, selector={}))
        assert len(diff(refused, decide(refused, T0))) == writes


def test_a_subset_of_the_ports() -> None:
    assert [p.name for p in serve([pod()], ports_mode="subset:admin").ports] == ["admin"]
    both = serve([pod()], ports_mode="subset:admin,http")
    assert [p.name for p in both.ports] == ["http", "admin"], "in the order of the source"
    unknown = serve([pod()], ports_mode="subset:admin,nope")
    assert [p.name for p in unknown.ports] == ["http", "admin"]
    assert [p.annotation for p in problems_of(unknown)] == [contract.PORTS_MODE]


@pytest.mark.parametrize(
    ("asked", "spec"),
    [
        ("ClusterIP", {"type": "ClusterIP"}),
        ("Headless", {"type": "ClusterIP", "clusterIP": "None"}),
        ("NodePort", {"type": "NodePort"}),
        ("LoadBalancer", {"type": "LoadBalancer"}),
    ],
)
def test_the_type_of_the_leader_service(asked: str, spec: dict[str, str]) -> None:
    seen = snapshot([pod()], None, {contract.LEADER_SERVICE_TYPE: asked})
    (create,) = diff(seen, decide(seen, T0))
    made = msgspec.json.decode(create.body)["spec"]
    assert {key: made[key] for key in ("type", "clusterIP") if key in made} == spec


def test_annotations_come_and_go() -> None:
    lead = pod("web-0")
    asked = {contract.LEADER_PREFIX + "team": "blue", contract.LEADER_PREFIX + "zone": "a"}
    seen = snapshot([lead], None, asked)
    (create,) = diff(seen, decide(seen, T0))
    made = msgspec.json.decode(create.body)["metadata"]["annotations"]
    assert {key: made[key] for key in ("team", "zone")} == {"team": "blue", "zone": "a"}
    there = leader(annotations=made)
    fewer = msgspec.structs.replace(
        seen,
        slices=(slice_of(lead, epoch=1, body={"ports": [{"name": "", "port": 80, "protocol": "TCP"}]}),),
        source=service(annotations={contract.LEADER_PREFIX + "team": "red"}, ports=[{"port": 80}]),
        at_name=there,
        services=(there,),
    )
    patches = [w for w in diff(fewer, decide(fewer, T0), conditions=False) if w.name == "web-leader"]
    changed = msgspec.json.decode(patches[-1].body)["metadata"]["annotations"]
    assert (changed["team"], changed["zone"]) == ("red", None)


@pytest.mark.parametrize("key", ["", "-a", "a b", "zen-lead.io/leader-epoch", "a" * 64, "a,b"])
def test_an_annotation_key_that_is_not_plain_is_told_and_left_out(key: str) -> None:
    asked = {contract.LEADER_PREFIX + key: "7", contract.LEADER_PREFIX + "team": "blue"}
    policy = parse_policy("web", asked)
    assert policy.extra == (("team", "blue"),)
    assert [problem.annotation for problem in policy.problems] == [contract.LEADER_PREFIX + key]


def test_annotations_that_would_not_fit_are_told_and_left_out_together() -> None:
    half = "x" * (contract.MAX_EXTRA_BYTES // 2 - 3)  # with a key of one letter that is listed, too
    fits = {contract.LEADER_PREFIX + "a": half, contract.LEADER_PREFIX + "b": half}
    assert [key for key, _ in parse_policy("web", fits).extra] == ["a", "b"]
    assert parse_policy("web", fits).problems == ()
    too_large = parse_policy("web", fits | {contract.LEADER_PREFIX + "b": half + "x"})
    assert too_large.extra == ()
    assert [problem.annotation for problem in too_large.problems] == [contract.LEADER_PREFIX]
    wide = parse_policy("web", fits | {contract.LEADER_PREFIX + "b": "ä" + half[1:]})
    assert wide.extra == (), "bytes are counted, not characters"


def test_whoever_edits_the_list_of_annotations_cannot_have_ours_removed() -> None:
    lead = pod("web-0")
    listed = {contract.EXTRA_ANNOTATIONS: f"team,{contract.EPOCH},kubernetes.io/theirs,,"}
    stands = led_by(lead) | listed | {"team": "blue", "kubernetes.io/theirs": "x"}
    wanted = service_annotations(serve([lead], routed=lead), stands)
    assert wanted["team"] is None
    assert wanted[contract.EXTRA_ANNOTATIONS] is None
    assert wanted[contract.EPOCH] == "1"
    assert not {"kubernetes.io/theirs", ""} & set(wanted)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (contract.STRATEGY, "fastest"),
        (contract.FAILOVER_MIN_DELAY, "5"),
        (contract.ON_NO_READY, "keep"),
        (contract.FAILBACK, "after:soon"),
        (contract.FAILBACK, "5m"),
        (contract.PORTS_MODE, "subset:"),
        (contract.PORTS_MODE, "subset:a,,b"),
        (contract.LEADER_SERVICE_TYPE, "ExternalName"),
        (contract.PAUSED, "yes"),
    ],
)
def test_a_value_that_does_not_parse_is_named_and_the_default_used(annotation: str, value: str) -> None:
    policy = parse_policy("web", {annotation: value})
    (problem,) = policy.problems
    assert (problem.annotation, problem.value) == (annotation, value)
    assert problem.allowed
    assert msgspec.structs.replace(policy, problems=()) == parse_policy("web", {})


def test_what_a_pod_says_wrong_is_told_of_that_pod() -> None:
    odd = pod("web-0", annotations={contract.PRIORITY: "high", contract.CANDIDATE: "maybe"})
    desired = serve([odd])
    assert name_of(desired) == "web-0"
    assert {(p.pod, p.annotation) for p in problems_of(desired)} == {
        ("web-0", contract.PRIORITY),
        ("web-0", contract.CANDIDATE),
    }
