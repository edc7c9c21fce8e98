"""What holds of the writes between what is and what should be, whatever there is."""

from __future__ import annotations

import msgspec
from hypothesis import given

from tests.unit.lead.builders import NAMESPACE, T0, Json
from tests.unit.lead.world import MAX_ROUNDS, World
from tests.unit.lead.worlds import SERVICES, SLICES, pods_json, sources, worlds
from tests.unit.profiles import THOROUGH
from zenlead.lead import contract
from zenlead.lead.decide import decide
from zenlead.lead.desired import Blocked, Desired, Serve
from zenlead.lead.render import slice_names
from zenlead.lead.writes import Create, Delete, Patch, Target, diff


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
            if had and isinstance(write, Patch) and _leads_in(desired, write.name):
                assert _routes(world, write.name), "traffic went away although somebody is fit"
    else:
        raise AssertionError(f"still writing: {pending}")
    for (target, name), body in strangers.items():
        assert world.objects[target][name] == body
    _check_settled(world)


def _leads_in(desired: Desired, name: str) -> bool:
    """Whether somebody has an address of the family of slice ``name`` to lead with."""
    if not isinstance(desired, Serve) or desired.leader is None:
        return False
    return dict(zip(slice_names(desired), desired.leader.endpoints, strict=True)).get(name) is not None


def _check_settled(world: World) -> None:
    seen = world.snapshot()
    desired = decide(seen, T0)
    if diff(seen, desired):
        return  # a stranger is in the way
    ours = [s for s in seen.slices if s.owner and s.labels.get(contract.SLICE_MANAGED_BY) == contract.MANAGER]
    owners = {s.uid for s in seen.services}
    if isinstance(desired, Serve):
        if desired.policy.paused:
            return
        served = [s for s in ours if s.labels.get(contract.SERVICE_NAME) == desired.policy.leader_name]
        assert len(served) == len(desired.families)
        assert {s.address_type for s in served} == set(desired.families)
        for view in served:
            at = desired.families.index(view.address_type)
            assert view.endpoints == desired.endpoints(at)
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
            assert body["preconditions"] == {key: stands[key] for key in ("uid", "resourceVersion")}
        else:
            assert body["metadata"]["namespace"] == NAMESPACE
            assert body["metadata"]["ownerReferences"][0]["controller"] is True


@given(sources(served=True), pods_json(), pods_json())
@THOROUGH
def test_a_failover_is_one_urgent_write_for_each_family(
    source: Json, before: list[Json], after: list[Json]
) -> None:
    world = World(source, before)
    world.settle(T0)
    world.pods = after
    seen = world.snapshot()
    desired = decide(seen, T0)
    if not isinstance(desired, Serve) or desired.reason is None:
        return
    pending = diff(seen, desired)
    stand = {view.name: view for view in seen.slices}
    concerned = [
        (at, name)
        for at, name in enumerate(slice_names(desired))
        if (stand[name].endpoints, stand[name].ports) != (desired.endpoints(at), desired.ports)
    ]
    assert [(w.target, w.name) for w in pending] == [(SLICES, name) for _, name in concerned]
    assert concerned
    assert concerned[0][0] == 0, "the first family is always concerned"
    for (at, _), write in zip(concerned, pending, strict=True):
        assert isinstance(write, Patch)
        assert write.urgent
        sent = msgspec.json.decode(write.body)
        told = sent["metadata"]["annotations"]
        assert told[contract.EPOCH] == str(desired.epoch)
        assert "Z" in told[contract.TRIGGER_TIME]
        assert len(sent.get("endpoints", [])) == len(desired.endpoints(at))
        world.apply(write)
    seen = world.snapshot()
    settled = decide(seen, T0)
    assert isinstance(settled, Serve)
    assert (settled.leader, settled.epoch, settled.reason) == (desired.leader, desired.epoch, None)
    assert not [write for write in diff(seen, settled) if write.urgent], "traffic has moved once and for all"
