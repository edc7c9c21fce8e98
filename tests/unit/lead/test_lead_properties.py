"""What holds of every decision and of every way from one state to another, whatever pods and objects do."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lead.builders import (
    NAMESPACE,
    T0,
    Json,
    leader_json,
    led_by,
    pod,
    pod_json,
    service_json,
    slice_json,
)
from tests.unit.lead.world import MAX_ROUNDS, World
from tests.unit.profiles import THOROUGH
from zenlead.lead import contract
from zenlead.lead.decide import decide
from zenlead.lead.desired import Blocked, Serve
from zenlead.lead.select import Need, ripe_at, unfit
from zenlead.lead.writes import Create, Delete, Patch, Target, diff

SERVICES, SLICES = Target.SERVICES, Target.SLICES
NAMES = ("web-0", "web-1", "web-2", "web-3")
IPS4 = ("10.1.0.10", "10.1.0.11", "10.1.0.12", "169.254.1.1", "127.0.0.1", "")
IPS6 = ("fd00::10", "fd00::11", "fe80::1", "::1", "")
HTTP = {"name": "http", "containerPort": 8081}


BAD: tuple[Json, ...] = (
    {"ready": False},
    {"phase": "Pending"},
    {"phase": "Failed", "ready": False},
    {"phase": "Succeeded"},
    {"phase": "Unknown"},
    {"deleted": True},
    {"deleted": True, "ready": False},
    {"labels": {"app": "other"}},
    {"annotations": {contract.CANDIDATE: "false"}},
    {"annotations": {contract.CANDIDATE: "odd"}},
    {"containers": []},
    {"ips": []},
)
FAULTS = ({},) * len(BAD) + BAD  # half of the pods have none
ADDRESSES = [[ip for ip in pair if ip] for pair in itertools.product(IPS4, IPS6)]


@st.composite
def pods_json(draw: st.DrawFn) -> list[Json]:
    """Up to four pods of different names, half of them fit."""
    pods = []
    for name in NAMES[: draw(st.integers(0, len(NAMES)))]:
        over: Json = {
            "uid": f"uid-{name}-{draw(st.integers(0, 1))}",
            "age": draw(st.integers(0, 3)),
            "ready_for": draw(st.sampled_from((0, 4, 5, 9))),
            "ips": draw(st.sampled_from(ADDRESSES)),
            "containers": [{"name": "c", "ports": [HTTP]}],
        }
        pods.append(pod_json(name, **(over | draw(st.sampled_from(FAULTS)))))
    return pods


@st.composite
def sources(draw: st.DrawFn) -> Json:
    families, policy = draw(
        st.sampled_from(
            (
                (["IPv4"], "SingleStack"),
                (["IPv6"], "SingleStack"),
                (["IPv4", "IPv6"], "PreferDualStack"),
                (["IPv6", "IPv4"], "RequireDualStack"),
            )
        )
    )
    ports = draw(
        st.sampled_from(
            (
                [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
                [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": "http"}],
                [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}],
            )
        )
    )
    annotations: dict[str, str] = {}
    for name, values in (
        (contract.STICKY, (None, "false", "maybe")),
        (contract.MIN_READY_DURATION, (None, "5s", "0s", "nonsense")),
        (contract.LEADER_SERVICE_NAME, (None, None, "front", "A_b")),
        (contract.ENABLED, ("true", "true", "true", "false")),
    ):
        value = draw(st.sampled_from(values))
        if value is not None:
            annotations[name] = value
    spec = draw(st.sampled_from(({}, {}, {}, {"clusterIP": "None"}, {"clusterIP": "None", "ports": []})))
    selector = draw(st.sampled_from(({"app": "web"},) * 5 + ({"app": "nobody"}, None)))
    return service_json(
        families=families,
        policy=policy,
        ports=ports,
        annotations=annotations,
        selector=selector,
        spec=spec,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A source, pods, and objects in any state that people, crashes and older versions can leave them in."""
    world = World(draw(sources()), draw(pods_json()))
    world.zones = draw(st.sampled_from(({}, {"n1": "z1"})))
    epoch = draw(st.integers(0, 3))
    who = pod(draw(st.sampled_from(NAMES)), uid=f"uid-{draw(st.sampled_from(NAMES))}-0")
    if draw(st.booleans()):
        world.put(SERVICES, draw(leaders(epoch)))
    for name in draw(st.sets(st.sampled_from(("web-leader", "web-leader-ipv6", "front")))):
        target = draw(st.sampled_from((None, who, pod("web-0", uid="uid-web-0-0"))))
        world.put(SLICES, draw(slices(name, target, epoch)))
    if draw(st.booleans()) and "bystander" not in world.objects[SLICES]:
        world.put(SLICES, slice_json(who, "bystander", labels={contract.SOURCE_SERVICE: "web"}))
    return world


@st.composite
def leaders(draw: st.DrawFn, epoch: int) -> Json:
    said = led_by(pod(draw(st.sampled_from(NAMES)), uid=f"uid-{draw(st.sampled_from(NAMES))}-0"), epoch)
    over: dict[str, Any] = {"annotations": draw(st.sampled_from((said, {}, {contract.EPOCH: "junk"})))}
    over |= draw(
        st.sampled_from(
            (
                {},
                {},
                {"families": ["IPv4", "IPv6"], "policy": "PreferDualStack"},
                {"families": ["IPv6"]},
                {"labels": None},
                {"owner": "uid-of-an-earlier-web"},
                {"spec": {"type": "NodePort", "selector": {"app": "web"}}},
                {"spec": {"clusterIP": "None", "ports": []}},
            )
        )
    )
    return leader_json(name=draw(st.sampled_from(("web-leader", "web-leader", "front", "old"))), **over)


@st.composite
def slices(draw: st.DrawFn, name: str, target: Any, epoch: int) -> Json:
    over = draw(
        st.sampled_from(
            (
                {},
                {},
                {"ref": False},
                {"body": {"endpoints": None, "ports": None}},
                {"owner": "uid-of-an-earlier-leader"},
                {"epoch": epoch + 1},
                {"annotations": {contract.EPOCH: "-3"}},
            )
        )
    )
    family = draw(st.sampled_from(("IPv4", "IPv4", "IPv6")))
    ours = {"service": "front"} if name == "front" else {}
    return slice_json(
        target, name, family=family, **(({"epoch": epoch} if "annotations" not in over else {}) | over | ours)
    )


DICE = st.randoms(use_true_random=False)


@given(worlds(), DICE)
@THOROUGH
def test_a_decision_depends_on_nothing_but_the_snapshot(world: World, dice: Any) -> None:
    order = list(range(len(world.pods)))
    dice.shuffle(order)
    first = decide(world.snapshot(), T0)
    assert decide(world.snapshot(), T0) == first
    assert decide(world.snapshot(order), T0) == first


@given(worlds())
@THOROUGH
def test_a_leader_is_fit_and_there_is_one_whenever_there_can_be(world: World) -> None:
    seen = world.snapshot()
    desired = decide(seen, T0)
    if not isinstance(desired, Serve):
        return
    need = Need(desired.source, desired.families)
    fit = [p for p in seen.pods if unfit(p, need) is None]
    ripe = [p for p in fit if ripe_at(p, desired.policy) <= T0]
    assert desired.available == len(fit)
    if desired.leader is None:
        assert not ripe
        assert not any(p.uid == desired.routed.uid for p in fit)
        waiting = [ripe_at(p, desired.policy) for p in fit]
        assert desired.wake_at == (min(waiting) if waiting else None)
    else:
        assert desired.leader.pod in fit
        assert all(e.addresses[0] for e in desired.leader.endpoints)
        assert len(desired.leader.endpoints) == len(desired.families)
        stays = desired.leader.pod.uid == desired.routed.uid
        assert stays or desired.leader.pod in ripe
        assert (desired.reason is None) == stays
        assert desired.epoch == max(desired.routed.epoch, 1) if stays else desired.routed.epoch + 1
    if desired.policy.sticky and any(p.uid == desired.routed.uid for p in fit):
        assert desired.leader is not None
        assert desired.leader.pod.uid == desired.routed.uid


@given(worlds())
@THOROUGH
def test_the_diff_of_an_applied_diff_is_empty_and_traffic_never_goes_away(world: World) -> None:
    """At most so many rounds; no slice goes from an endpoint to none while somebody is fit; every write names
    what it saw and touches nothing of others (the world refuses those)."""
    strangers = {
        (target, name): dict(body)
        for target, bodies in world.objects.items()
        for name, body in bodies.items()
        if not _ours(target, body)
    }
    for _round in range(MAX_ROUNDS + 1):
        seen = world.snapshot()
        desired = decide(seen, T0)
        pending = diff(seen, desired)
        if not pending:
            break
        if any(isinstance(w, Create) and w.name in world.objects[w.target] for w in pending):
            break  # a stranger has the name of a slice: the API server says so, and the pass ends there
        for write in pending:
            had = _routes(world, write.name) if write.target is SLICES else False
            world.apply(write)
            somebody = isinstance(desired, Serve) and desired.leader is not None
            if had and isinstance(write, Patch) and somebody:
                assert _routes(world, write.name), "traffic went away although somebody is fit"
    else:
        raise AssertionError(f"still writing: {pending}")
    for (target, name), body in strangers.items():
        assert world.objects[target][name] == body
    _check_settled(world)


def _check_settled(world: World) -> None:
    seen = world.snapshot()
    desired = decide(seen, T0)
    if diff(seen, desired):
        return  # a stranger is in the way
    ours = [s for s in seen.slices if s.owner and s.labels.get(contract.SLICE_MANAGED_BY) == contract.MANAGER]
    owners = {s.uid for s in seen.services}
    if isinstance(desired, Serve):
        served = [s for s in ours if s.labels.get(contract.SERVICE_NAME) == desired.policy.leader_name]
        assert len(served) == len(desired.families)
        assert {s.address_type for s in served} == set(desired.families)
        for view in served:
            assert len(view.endpoints) == (1 if desired.leader else 0)
            assert view.annotations[contract.EPOCH] == str(desired.epoch)
    elif isinstance(desired, Blocked) and not desired.withdraw:
        return
    else:
        assert not [
            s for s in ours if s.owner and s.owner.uid in owners and _owned_service(world, s.owner.uid)
        ]


def _owned_service(world: World, uid: str) -> bool:
    return any(
        body["metadata"]["uid"] == uid and _ours(SERVICES, body) for body in world.objects[SERVICES].values()
    )


def _ours(target: Target, body: Json) -> bool:
    meta = body["metadata"]
    key = contract.MANAGED_BY if target is SERVICES else contract.SLICE_MANAGED_BY
    if (meta.get("labels") or {}).get(key) != contract.MANAGER:
        return False
    return target is SLICES or meta["ownerReferences"][0]["uid"] == "uid-svc-web"


def _routes(world: World, name: str) -> bool:
    return bool((world.objects[SLICES].get(name) or {}).get("endpoints"))


@given(worlds())
@THOROUGH
def test_every_write_on_what_exists_carries_what_was_seen(world: World) -> None:
    seen = world.snapshot()
    for write in diff(seen, decide(seen, T0)):
        body = msgspec.json.decode(write.body)
        if isinstance(write, Patch):
            stands = world.objects[write.target][write.name]["metadata"]
            assert body["metadata"]["resourceVersion"] == stands["resourceVersion"]
        elif isinstance(write, Delete):
            stands = world.objects[write.target][write.name]["metadata"]
            assert body["preconditions"] == {"uid": stands["uid"]}
        else:
            assert body["metadata"]["namespace"] == NAMESPACE
            assert body["metadata"]["ownerReferences"][0]["controller"] is True


@given(sources(), st.lists(pods_json(), min_size=2, max_size=5))
@THOROUGH
def test_through_any_history_of_pods_the_epoch_counts_the_leaders(
    source: Json, history: list[list[Json]]
) -> None:
    """From nothing, through every state of the pods: each settles, and the epoch grows by one with each new
    leader (the first one's is the age of the Service) and never otherwise."""
    world = World(source, [])
    epoch, last = 0, ""
    for step, pods in enumerate(history):
        world.pods = pods
        desired, rounds = world.settle(T0 + 100 * step)
        assert rounds <= MAX_ROUNDS
        if not isinstance(desired, Serve):
            return
        uid = desired.leader.pod.uid if desired.leader else ""
        if uid and not epoch:
            assert desired.epoch == 100 * step + 1
        elif uid and uid != last:
            assert desired.epoch == epoch + 1, "one more with each change of leader"
        else:
            assert desired.epoch == epoch
        epoch, last = desired.epoch, uid
