"""One pass on a real store of objects: how many writes, in which order, and what every answer means."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.unit.controller.scene import NS, Scene, Sent
from zenlead.controller.apply import Preempted, Stranger
from zenlead.controller.facts import LeaderMoved, PortUnresolved, ServiceForgotten, ServiceState, WriteDone
from zenlead.controller.reconcile import Options
from zenlead.kube.errors import ApiError, Forbidden, Invalid, NotFound, Throttled, Unreachable
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import Fenced
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES
from zenlead.lead import contract
from zenlead.lead.wire import WireSlice, decode

pytestmark = pytest.mark.virtual_clock

SLICE_PATCH = ("patch", "endpointslices")
SERVICE_PATCH = ("patch", "services")


# --- from nothing -------------------------------------------------------------------------------------------


async def test_a_first_pass_makes_service_and_slice_and_tells_it() -> None:
    scene = await Scene().begin("web-0", "web-1")
    done = await scene.pass_()
    assert scene.api.writes() == [
        ("create", "services"),
        ("create", "endpointslices"),
        SERVICE_PATCH,  # the condition
    ]
    assert (done.writes, done.more, done.wake_at) == (3, False, None)
    assert await scene.routes() == ["web-0"]
    assert scene.reasons() == ["LeaderServiceCreated", "LeaderRoutingAvailable"]
    (moved,) = scene.facts_of(LeaderMoved)
    assert (moved.leader, moved.reason, moved.epoch) == ("web-0", "elected", await epoch(scene))
    (state,) = scene.facts_of(ServiceState)
    assert (state.leader, state.pods_available, state.stable, state.endpoint_slices) == ("web-0", 2, True, 1)


async def test_a_second_pass_writes_nothing_and_keeps_its_credit() -> None:
    scene = await (await Scene(qps=1, burst=5).begin("web-0")).settled()
    done = await scene.pass_()
    assert (scene.api.sent, done.writes, done.more) == ([], 0, False)
    assert scene.told == []


async def test_the_condition_can_be_left_out() -> None:
    scene = await Scene(conditions=False).begin("web-0")
    assert (await scene.pass_()).writes == 2


# --- failover -----------------------------------------------------------------------------------------------


async def epoch(scene: Scene) -> int:
    """The leader epoch that the slice carries."""
    written = await scene.read(ENDPOINT_SLICES, "web-leader")
    return int(written["metadata"]["annotations"][contract.EPOCH])


async def lost(scene: Scene) -> None:
    await scene.ready("web-0", now=False)
    await scene.sync()


async def test_failover_is_one_write_and_the_urgent_lane_leaves_the_rest() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    before = await epoch(scene)
    await lost(scene)
    done = await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == [SLICE_PATCH]
    assert (done.writes, done.more) == (1, True)
    assert await scene.routes() == ["web-1"]
    (moved,) = scene.facts_of(LeaderMoved)
    assert (moved.previous, moved.leader, moved.reason) == ("web-0", "web-1", "notReady")
    assert moved.epoch == await epoch(scene) == before + 1
    assert scene.reasons() == ["LeaderChanged"]
    said = await scene.read(SERVICES, "web-leader")
    assert said["metadata"]["annotations"][contract.LEADER_POD_NAME] == "web-0", "that is the routine lane's"
    done = await scene.pass_(Lane.ROUTINE)
    assert (done.writes, done.more) == (1, False)
    said = await scene.read(SERVICES, "web-leader")
    assert said["metadata"]["annotations"][contract.LEADER_POD_NAME] == "web-1"
    assert said["metadata"]["annotations"][contract.EPOCH] == str(before + 1)


async def test_a_routine_pass_sends_the_slice_first_and_alone() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    await scene.pass_(Lane.ROUTINE)
    assert scene.api.writes() == [SLICE_PATCH, SERVICE_PATCH]


async def gone_meanwhile(scene: Scene, verb: str) -> None:
    """Somebody deletes the slice before the answer to our write of it arrives, and the watch is faster."""

    async def after(sent: Sent) -> None:
        if (sent.verb, sent.resource) != (verb, "endpointslices"):
            return
        scene.api.after = None
        store = scene.caches.slices
        written = decode(WireSlice, msgspec.json.encode(await scene.read(ENDPOINT_SLICES, "web-leader")))
        store.apply(written)
        await scene.remove(ENDPOINT_SLICES, "web-leader")
        version = int(
            msgspec.json.decode(await scene.box.api.list(PODS, NS, {}))["metadata"]["resourceVersion"]
        )
        store.remove(msgspec.structs.replace(written, resource_version=str(version)))

    scene.api.after = after


@pytest.mark.parametrize("lane", [Lane.URGENT, Lane.ROUTINE])
async def test_a_slice_that_is_deleted_before_its_creation_is_answered_is_made_again(lane: Lane) -> None:
    scene = await Scene().begin("web-0")
    await gone_meanwhile(scene, "create")
    await scene.pass_(lane)
    await scene.pass_()
    assert await scene.routes() == ["web-0"]


async def test_a_slice_that_is_deleted_before_a_move_is_answered_is_made_again() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    await gone_meanwhile(scene, "patch")
    await scene.pass_(Lane.URGENT)
    await scene.pass_()
    assert await scene.routes() == ["web-1"]


async def test_a_leader_service_whose_end_no_watch_tells_is_missed_soon() -> None:
    """The garbage collector takes each slice away that names a Service that is gone."""
    scene = await (await Scene().begin("web-0")).settled()
    await asyncio.sleep(60)
    await scene.remove(SERVICES, "web-leader")
    slices = scene.caches.slices
    for _ in range(2):
        for view in list(slices):  # the watch of the slices is alive
            slices.deleted(view.key)
        await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-0"]
    sent = [(sent.verb, sent.resource) for sent in scene.api.sent]
    assert sent == [
        ("create", "endpointslices"),
        ("get", "services"),
        ("create", "services"),
        ("create", "endpointslices"),
    ]


async def test_who_cannot_ask_for_the_leader_service_tells_how_things_are() -> None:
    scene = await Scene().begin("web-0")
    await scene.pass_()
    await scene.remove(ENDPOINT_SLICES, "web-leader")
    await scene.sync()
    scene.forget()
    scene.api.fail("get", Unreachable("cut"))
    with pytest.raises(Unreachable):
        await scene.pass_(Lane.URGENT)
    assert [(state.stable, state.endpoint_slices) for state in scene.facts_of(ServiceState)] == [(False, 0)]
    assert scene.api.writes() == []


async def test_a_slice_that_somebody_deletes_twice_is_made_twice() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    for _ in range(2):
        await scene.remove(ENDPOINT_SLICES, "web-leader")
        await scene.sync()
        await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-0"]
    assert scene.api.writes() == [("create", "endpointslices")] * 2


async def test_a_slice_that_is_made_again_before_its_deletion_is_answered_is_known() -> None:
    """Opted out and in again, by two replicas or two hands: the watch tells of the new one first."""
    scene = await (await Scene().begin("web-0")).settled()
    before = await scene.read(ENDPOINT_SLICES, "web-leader")
    await scene.patch_source(enabled="false")

    async def after(sent: Sent) -> None:
        if (sent.verb, sent.resource) == ("delete", "endpointslices"):
            scene.api.after = None
            meta = {
                key: before["metadata"][key] for key in ("name", "labels", "annotations", "ownerReferences")
            }
            await scene.create(ENDPOINT_SLICES, before | {"metadata": meta})
            await scene.sync()

    scene.api.after = after
    await scene.pass_()
    assert await scene.names(ENDPOINT_SLICES) == set(), "the second one is ours to take away, too"


@pytest.mark.parametrize("lane", Lane)
async def test_a_pass_that_moves_the_leader_counts_as_one_that_had_to_choose(lane: Lane) -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    await scene.pass_(lane)
    await scene.pass_(Lane.ROUTINE)
    assert [(state.leader, state.sticky) for state in scene.facts_of(ServiceState)] == [
        ("web-1", "miss"),
        ("web-1", "hit"),
    ]


async def test_a_leader_that_goes_without_a_successor_counts_once_too() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await lost(scene)
    await scene.pass_(Lane.URGENT)
    await scene.pass_(Lane.ROUTINE)
    assert [(state.leader, state.sticky) for state in scene.facts_of(ServiceState)] == [
        ("", "miss"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("annotations", "looks"),
    [({}, 1), ({contract.FAILBACK: "immediate"}, 2), ({contract.STICKY: "false"}, 2)],
)
async def test_one_look_is_enough_for_a_move_unless_the_clock_may_ask_for_another(
    annotations: dict[str, str], looks: int
) -> None:
    scene = await (await Scene().begin("web-0", "web-1", annotations=annotations)).settled()
    scene.spans.clear()
    (leader,) = await scene.routes()
    await scene.ready(leader, now=False)
    await scene.sync()
    assert (await scene.pass_(Lane.URGENT)).more
    assert scene.spans.count("decide") == looks


async def test_a_refused_move_is_looked_at_again_at_once() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    await scene.patch(ENDPOINT_SLICES, "web-leader", {"metadata": {"labels": {"a": "b"}}})  # not known here
    done = await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == [SLICE_PATCH, SLICE_PATCH]
    assert done.moved
    assert await scene.routes() == ["web-1"]


async def test_the_age_of_a_leadership_begins_with_the_switch() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await scene.pass_()
    (elected,) = scene.facts_of(ServiceState)
    assert elected.leader_since is not None
    assert elected.leader_pod_created is not None
    await asyncio.sleep(60)
    await lost(scene)
    scene.forget()
    switched_at = scene.wall()
    await scene.pass_(Lane.URGENT)  # the leader Service still tells when the former leader was elected
    (switched,) = scene.facts_of(ServiceState)
    assert (switched.leader, switched.leader_since) == ("web-1", switched_at)
    await scene.pass_(Lane.ROUTINE)
    await asyncio.sleep(60)
    await scene.pass_()
    settled = scene.facts_of(ServiceState)[-1]
    assert settled.leader_since == pytest.approx(switched_at, abs=0.001)
    assert settled.leader_since > elected.leader_since + 59


async def test_a_pod_that_leads_again_begins_anew() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await asyncio.sleep(60)
    await lost(scene)
    await scene.pass_(Lane.URGENT)
    await scene.ready("web-0")
    await scene.sync()
    again_at = scene.wall()
    await scene.pass_(Lane.URGENT)  # the leader Service still tells of its first time
    told = [(state.leader, state.leader_since) for state in scene.facts_of(ServiceState)]
    assert told == [("", None), ("web-0", again_at)]


async def test_a_new_service_routes_after_two_urgent_writes() -> None:
    scene = await Scene().begin("web-0")
    done = await scene.pass_(Lane.URGENT)
    assert (done.writes, done.more) == (2, True)
    assert scene.api.writes() == [("create", "services"), ("create", "endpointslices")]
    await scene.pass_(Lane.ROUTINE)
    told = [(state.leader, state.stable, state.endpoint_slices) for state in scene.facts_of(ServiceState)]
    assert told == [("web-0", False, 1), ("web-0", True, 1)]


async def test_a_leader_service_that_brings_nobody_anything_is_no_hurry() -> None:
    scene = await Scene().begin()
    done = await scene.pass_(Lane.URGENT)
    assert (done.writes, done.more) == (0, True)
    await scene.pass_(Lane.ROUTINE)
    assert scene.api.writes()[0] == ("create", "services")


async def test_leader_services_that_exist_are_counted() -> None:
    scene = await Scene(dry_run=True).begin("web-0")
    await scene.pass_()
    assert [state.leader_services for state in scene.facts_of(ServiceState)] == [0]
    scene = await (await Scene().begin("web-0")).settled()
    await scene.pass_()
    assert [state.leader_services for state in scene.facts_of(ServiceState)] == [1]


async def test_the_latency_is_from_the_change_being_seen() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    scene.api.delay_s = 0.25
    await scene.pass_(Lane.URGENT)
    assert scene.facts_of(LeaderMoved)[0].latency_s == pytest.approx(0.25)


async def test_no_leader_left_is_told_once_as_a_warning_and_counted() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await lost(scene)
    for _ in range(5):
        await scene.pass_()
    assert {said.dedup for said in scene.told} == {scene.told[0].dedup}
    assert set(scene.reasons()) == {"NoReadyPods"}
    assert [(m.leader, m.reason) for m in scene.facts_of(LeaderMoved)] == [("", "notReady")]
    assert await scene.routes() == []


async def test_a_second_loss_is_another_transition() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    dedups = set()
    for _ in range(2):
        await lost(scene)
        await scene.pass_()
        dedups |= {said.dedup for said in scene.told if said.warning}
        await scene.ready("web-0")
        await scene.sync()
        await scene.pass_()
    assert len(dedups) == 2


async def test_ripening_is_asked_for_again_in_time() -> None:
    scene = await Scene().begin(annotations={contract.MIN_READY_DURATION: "5s"})
    await scene.pod("web-0", "10.1.0.10")
    await scene.sync()
    ready_at = scene.wall() - 1
    done = await scene.pass_()
    assert done.wake_at == pytest.approx(ready_at + 5, abs=1)
    await asyncio.sleep(5)
    await scene.pass_()
    assert await scene.routes() == ["web-0"]


async def test_an_unresolved_port_is_a_fact() -> None:
    scene = await Scene().begin("web-0", ports=[{"port": 80, "targetPort": "http"}])
    await scene.pass_()
    assert scene.facts_of(PortUnresolved) == [PortUnresolved("t1", "web", "http")]
    assert "NamedPortResolutionFailed" in scene.reasons()


async def test_a_port_that_fails_on_a_pod_beside_the_leader_is_a_fact_too() -> None:
    scene = await Scene().begin("web-0", ports=[{"port": 80, "targetPort": "http"}])
    container = {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}
    spec = {"nodeName": "n1", "containers": [container]}
    await scene.create(PODS, {"metadata": {"name": "web-1", "labels": {"app": "web"}}, "spec": spec})
    await scene.ready("web-1", ip="10.1.0.20")
    await scene.sync()
    await scene.pass_()
    assert await scene.routes() == ["web-1"]
    assert scene.facts_of(PortUnresolved) == [PortUnresolved("t1", "web", "http")]
    assert "PortResolutionFailed" in scene.reasons()
    assert "NamedPortResolutionFailed" not in scene.reasons()


# --- answers that are no success ----------------------------------------------------------------------------


async def test_a_conflict_is_read_back_and_decided_anew() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    await scene.patch(ENDPOINT_SLICES, "web-leader", {"metadata": {"labels": {"theirs": "x"}}})
    done = await scene.pass_(Lane.URGENT)
    assert [(s.verb, s.resource) for s in scene.api.sent] == [
        SLICE_PATCH,
        ("get", "endpointslices"),
        SLICE_PATCH,
    ]
    assert await scene.routes() == ["web-1"]
    assert done.writes == 2
    assert [w.result for w in scene.facts_of(WriteDone)] == ["conflict", "success"]
    assert len(scene.facts_of(LeaderMoved)) == 1


async def test_a_lost_reply_to_a_patch_ends_in_the_same_state() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    before = await epoch(scene)
    await lost(scene)
    scene.api.fail("patch", Unreachable("cut"), applied=True)
    await scene.pass_()
    assert await scene.routes() == ["web-1"]
    assert (await scene.pass_()).writes == 0
    assert await epoch(scene) == before + 1, "not a second change of leader"
    (moved,) = scene.facts_of(LeaderMoved)
    assert (moved.previous, moved.leader) == ("web-0", "web-1"), "told although the answer was lost"
    assert scene.reasons() == ["LeaderChanged"]


@pytest.mark.parametrize("which", [0, 1])
async def test_a_lost_reply_to_a_create_ends_in_the_same_state(which: int) -> None:
    scene = await Scene().begin("web-0")
    if which:
        await scene.pass_(Lane.ROUTINE)
        await scene.remove(ENDPOINT_SLICES, "web-leader")
        await scene.sync()
        scene.forget()
    scene.api.fail("create", Unreachable("cut"), applied=True)
    await scene.pass_()
    assert await scene.routes() == ["web-0"]
    assert (await scene.pass_()).writes == 0


async def test_a_write_that_is_not_answered_at_all_fails_the_pass() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    for _ in range(9):
        scene.api.fail("patch", Unreachable("down", status=503))
    with pytest.raises(Unreachable):
        await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == [SLICE_PATCH] * 2, "the urgent lane tries twice in one pass"
    assert await scene.routes() == ["web-0"]


async def test_an_object_that_went_meanwhile_is_made_anew() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    await scene.remove(ENDPOINT_SLICES, "web-leader")
    await scene.pass_(Lane.URGENT)
    assert scene.api.writes() == [SLICE_PATCH, ("create", "endpointslices")]
    assert await scene.routes() == ["web-1"]


async def test_a_namespace_that_is_gone_fails_the_pass() -> None:
    scene = await Scene().begin("web-0")
    scene.api.fail("create", NotFound("namespaces t1 not found", status=404))
    with pytest.raises(NotFound):
        await scene.pass_()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Invalid("POST services: 422 is invalid", status=422), ["WriteRefused"]),
        (Forbidden("POST services: 403 exceeded quota", status=403), ["WriteRefused"]),
        (Forbidden("403 is being terminated", status=403, causes=("NamespaceTerminating",)), []),
        (Unreachable("no answer"), []),
    ],
)
async def test_what_the_api_server_will_never_take_is_told_to_the_user(
    error: ApiError, told: list[str]
) -> None:
    scene = await Scene().begin("web-0")
    for _ in range(2):
        for _try in range(9):
            scene.api.fail("create", error)
        with pytest.raises(type(error)):
            await scene.pass_()
        scene.api.faults.clear()
        scene.reconciler.forget_all()  # as another replica, that knows nothing of the first refusal
    assert scene.reasons() == told * 2
    assert len({said.dedup for said in scene.told}) == len(told)


async def test_other_errors_are_told_and_raised() -> None:
    scene = await Scene().begin("web-0")
    scene.api.fail("create", Forbidden("no", status=403))
    with pytest.raises(Forbidden):
        await scene.pass_()
    assert [w.result for w in scene.facts_of(WriteDone)] == ["forbidden"]


async def test_without_authority_nothing_is_sent() -> None:
    scene = await Scene().begin("web-0")
    scene.authority_s = 0.0
    with pytest.raises(Fenced):
        await scene.pass_()
    assert scene.api.sent == []


async def test_an_urgent_write_that_is_throttled_is_tried_again() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    scene.api.fail("patch", Throttled("busy", status=429, retry_after_s=1.0))
    started = asyncio.get_running_loop().time()
    await scene.pass_(Lane.URGENT)
    assert asyncio.get_running_loop().time() - started >= 1.0
    assert await scene.routes() == ["web-1"]


# --- strangers ----------------------------------------------------------------------------------------------


def stranger_slice(**meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-leader", **meta},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [],
    }


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"kubernetes.io/service-name": "web-leader"},
        {contract.SLICE_MANAGED_BY: contract.MANAGER},  # says it is ours, and has no owner
        {contract.SLICE_MANAGED_BY: contract.MANAGER, contract.SOURCE_SERVICE: "web"},
    ],
)
async def test_a_strangers_slice_is_named_and_left_alone(labels: dict[str, str]) -> None:
    scene = await Scene().begin("web-0")
    await scene.create(ENDPOINT_SLICES, stranger_slice(labels=labels))
    before = await scene.read(ENDPOINT_SLICES, "web-leader")
    for known in (False, True):
        if known:
            await scene.sync()
        scene.forget()
        with pytest.raises(Stranger, match="web-leader"):
            await scene.pass_()
        assert scene.api.writes().count(("create", "endpointslices")) == 1, "and tried once only"
        assert "LeaderServiceConflict" in scene.reasons()
    assert await scene.read(ENDPOINT_SLICES, "web-leader") == before


async def test_a_strangers_service_is_left_alone_although_it_came_unseen() -> None:
    scene = await Scene().begin("web-0")
    await scene.create(
        SERVICES,
        {"metadata": {"name": "web-leader"}, "spec": {"ports": [{"port": 1}], "selector": {"a": "b"}}},
    )
    before = await scene.read(SERVICES, "web-leader")
    await scene.pass_()
    assert scene.api.writes() == [("create", "services")]
    assert scene.reasons() == ["LeaderServiceConflict"]
    assert await scene.read(SERVICES, "web-leader") == before
    await scene.sync()
    await scene.pass_()
    assert scene.api.writes() == [("create", "services")], "once it is known, nothing is tried"


async def test_a_service_that_lost_its_labels_is_a_stranger_from_then_on() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    labels = {contract.MANAGED_BY: None, contract.SOURCE_SERVICE: None}
    await scene.patch(SERVICES, "web-leader", {"metadata": {"labels": labels}})
    await lost(scene)
    await scene.pass_()
    assert "LeaderServiceConflict" in scene.reasons()
    assert scene.api.writes() == []


@pytest.mark.parametrize(
    "label",
    [contract.SOURCE_SERVICE, contract.MANAGED_BY, contract.SLICE_MANAGED_BY, contract.SERVICE_NAME],
)
@pytest.mark.parametrize("value", [None, "edited"])
async def test_a_label_that_was_edited_is_put_right(label: str, value: str | None) -> None:
    """The owner says that the slice is ours."""
    scene = await (await Scene().begin("web-0")).settled()
    good = await scene.read(ENDPOINT_SLICES, "web-leader")
    await scene.patch(ENDPOINT_SLICES, "web-leader", {"metadata": {"labels": {label: value}}})
    await scene.sync()
    await scene.pass_()
    mended = await scene.read(ENDPOINT_SLICES, "web-leader")
    assert mended["metadata"]["labels"] == good["metadata"]["labels"]
    assert mended["endpoints"] == good["endpoints"]
    assert scene.api.writes() == [SLICE_PATCH]


# --- going --------------------------------------------------------------------------------------------------


async def test_opting_out_removes_both_and_forgets() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await scene.patch(SERVICES, "web", {"metadata": {"annotations": {contract.ENABLED: None}}})
    await scene.sync()
    done = await scene.pass_()
    assert done.writes == 2
    assert await scene.names(SERVICES) == {"web"}
    assert await scene.names(ENDPOINT_SLICES) == set()
    assert scene.facts_of(ServiceForgotten) == [ServiceForgotten("t1", "web")]
    assert scene.reasons() == ["EndpointSliceDeleted"]
    assert (len(scene.caches.slices), len(scene.caches.services)) == (0, 1), "known before the watch says so"


async def held(scene: Scene) -> Scene:
    """The slice has a finalizer, so that deleting it only marks it."""
    await scene.patch(ENDPOINT_SLICES, "web-leader", {"metadata": {"finalizers": ["x/y"]}})
    await scene.sync()
    return scene


async def test_a_slice_that_a_finalizer_holds_is_deleted_once() -> None:
    scene = await held(await (await Scene().begin("web-0")).settled())
    await scene.patch(SERVICES, "web", {"spec": {"selector": None}})
    await scene.sync()
    for _ in range(3):
        await scene.pass_()
    # Proxies follow it until it is gone, so it is emptied once, and then left alone.
    assert scene.api.writes() == [("delete", "endpointslices"), ("patch", "endpointslices")]
    assert await scene.names(ENDPOINT_SLICES) == {"web-leader"}
    assert len(scene.caches.slices) == 1


async def test_a_slice_that_a_finalizer_holds_fails_over_and_is_made_anew_when_it_goes() -> None:
    scene = await held(await (await Scene().begin("web-0", "web-1")).settled())
    await scene.remove(ENDPOINT_SLICES, "web-leader")
    await lost(scene)
    await scene.pass_()
    assert await scene.routes() == ["web-1"]
    await scene.patch(ENDPOINT_SLICES, "web-leader", {"metadata": {"finalizers": None}})
    assert await scene.names(ENDPOINT_SLICES) == set()
    await scene.sync()
    await scene.pass_()
    assert await scene.routes() == ["web-1"]
    assert (await scene.pass_()).writes == 0


async def test_a_service_whose_writes_all_failed_is_forgotten_too() -> None:
    scene = await Scene().begin("web-0")
    scene.api.fail("create", Invalid("no"))
    with pytest.raises(Invalid):
        await scene.pass_()
    await scene.remove(SERVICES, "web")
    await scene.sync()
    await scene.pass_()
    assert scene.facts_of(ServiceForgotten) == [ServiceForgotten("t1", "web")]


async def test_a_failed_write_leaves_no_statement_standing_that_is_not_true_any_more() -> None:
    """The leader fell and the API server refuses the move: nobody leads, and that is told at once."""
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)
    scene.api.fail("patch", Invalid("no"))
    with pytest.raises(Invalid):
        await scene.pass_()
    (state,) = scene.facts_of(ServiceState)
    assert (state.leader, state.stable, state.pods_available, state.sticky) == ("", False, 1, "")


async def test_what_another_life_left_is_forgotten_when_it_is_gone() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    scene.reconciler.forget_all()
    scene.forget()
    await scene.patch_source(enabled=None)
    assert (await scene.pass_()).writes == 2
    assert scene.facts_of(ServiceForgotten) == [ServiceForgotten("t1", "web")]
    scene.forget()
    await scene.pass_()
    assert scene.facts == [], "nothing is told of a Service that is not ours"


async def test_a_service_that_is_gone_is_forgotten() -> None:
    scene = await (await Scene().begin("web-0")).settled()
    await scene.remove(SERVICES, "web")
    await scene.sync()
    assert (await scene.pass_()).writes == 0
    assert scene.facts_of(ServiceForgotten) == [ServiceForgotten("t1", "web")]


# --- credits ------------------------------------------------------------------------------------------------


async def test_routine_writes_take_a_credit_each_and_none_is_waited_for() -> None:
    """The pass came with one; the limiter has none left, so what cannot be paid is left for later."""
    scene = await Scene(qps=0.01, burst=1).begin()
    await scene.lanes.credit()  # the worker's, which the pass comes with
    started = asyncio.get_running_loop().time()
    done = await scene.pass_()
    assert asyncio.get_running_loop().time() - started < 0.01
    assert scene.api.writes() == [("create", "services"), ("create", "endpointslices")]
    assert done.more


async def test_the_urgent_lane_costs_no_credit() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    scene.lanes.pace.change(0.001, 1)
    await scene.lanes.credit()
    await lost(scene)
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-1"]


# --- other ways of working ----------------------------------------------------------------------------------


async def test_a_new_leader_is_read_once_more_when_the_cache_is_not_trusted() -> None:
    scene = await (await Scene(trust_cache=False).begin("web-0", "web-1", "web-2")).settled()
    await lost(scene)
    await scene.ready("web-1", now=False)  # nobody has told the cache
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-2"]
    assert [s.name for s in scene.api.sent if s.verb == "get"] == ["web-1", "web-2"]


async def test_a_new_leader_that_is_gone_is_not_routed_to() -> None:
    scene = await (await Scene(trust_cache=False).begin("web-0", "web-1")).settled()
    await lost(scene)
    await scene.remove(PODS, "web-1")
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == []


async def test_a_leader_that_stays_is_not_read() -> None:
    scene = await (await Scene(trust_cache=False).begin("web-0")).settled()
    await scene.pass_()
    assert scene.api.sent == []


@pytest.mark.parametrize("changed", [False, True], ids=["from the start", "turned while it ran"])
@pytest.mark.parametrize("parallel", [True, False])
async def test_families_fail_over_together_or_one_by_one(parallel: bool, changed: bool) -> None:
    scene = Scene(parallel=parallel is not changed)
    await scene.begin(ipFamilyPolicy="RequireDualStack")
    for index in range(2):
        ips = [f"10.1.0.{index + 1}", f"fd00::{index + 1}"]
        await scene.pod(f"web-{index}", ips[0], podIPs=[{"ip": ip} for ip in ips])
        await scene.ready(f"web-{index}", podIP=ips[0], podIPs=[{"ip": ip} for ip in ips])
    await scene.sync()
    await scene.settled()
    await lost(scene)
    if changed:
        scene.reconciler.follow(Options(parallel=parallel))
    scene.api.delay_s = 1.0
    started = asyncio.get_running_loop().time()
    await scene.pass_(Lane.URGENT)
    assert asyncio.get_running_loop().time() - started == (1.0 if parallel else 2.0)
    assert await scene.routes() == ["web-1"]
    assert await scene.routes("web-leader-ipv6") == ["web-1"]
    assert len(scene.facts_of(LeaderMoved)) == 1


async def test_one_failing_write_of_two_is_one_error() -> None:
    scene = Scene()
    await scene.begin(ipFamilyPolicy="RequireDualStack")
    await scene.pod("web-0", "10.1.0.1")
    await scene.ready("web-0", podIP="10.1.0.1", podIPs=[{"ip": "10.1.0.1"}, {"ip": "fd00::1"}])
    await scene.sync()
    await scene.settled()
    await lost(scene)
    scene.api.fail("patch", Forbidden("no", status=403))
    with pytest.raises(Forbidden):
        await scene.pass_(Lane.URGENT)


async def test_a_dry_run_sends_nothing() -> None:
    scene = await Scene(dry_run=True).begin("web-0")
    done = await scene.pass_()
    assert (scene.api.sent, done.more) == ([], False)
    assert any(type(fact).__name__ == "WritePlanned" for fact in scene.facts)


async def test_a_routine_write_gives_way_to_something_urgent() -> None:
    scene = await Scene().begin()
    scene.api.delay_s = 60.0
    running = asyncio.ensure_future(scene.pass_())
    await asyncio.sleep(1)
    scene.reconciler.preempt(("t1", "another"))
    await asyncio.sleep(1)
    assert not running.done()
    scene.reconciler.preempt(scene.key)
    with pytest.raises(Preempted):
        await running
    assert asyncio.get_running_loop().time() < 10
    scene.reconciler.preempt(scene.key)  # nothing is under way


async def test_an_urgent_write_gives_way_to_nothing() -> None:
    scene = await (await Scene().begin("web-0", "web-1")).settled()
    await lost(scene)

    async def preempt(sent: Sent) -> None:
        scene.reconciler.preempt(scene.key)
        await asyncio.sleep(0.1)

    scene.api.before = preempt
    await scene.pass_(Lane.URGENT)
    assert await scene.routes() == ["web-1"]
