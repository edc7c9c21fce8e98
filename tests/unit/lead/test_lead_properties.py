"""What holds of every decision, whatever the pods, the annotations and the objects that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lead.builders import T0, Json
from tests.unit.lead.world import MAX_ROUNDS, World
from tests.unit.lead.worlds import NAMES, pods_json, sources, worlds
from tests.unit.profiles import THOROUGH
from zenlead.lead import contract
from zenlead.lead.addresses import address, families_needed
from zenlead.lead.contract import Policy, Reason, Routing
from zenlead.lead.decide import decide
from zenlead.lead.desired import Desired, Serve
from zenlead.lead.select import Need, priority, ripe_at, unfit

if TYPE_CHECKING:
    from zenlead.lead.views import PodView

EVER_S = 1e6  # after that, every duration that is drawn has passed
STEP_S = 0.01  # between two states of a history: no leader is written faster
DICE = st.randoms(use_true_random=False)


def led(desired: Desired) -> str:
    """The UID of the pod that shall lead; empty for nobody."""
    return desired.leader.pod.uid if isinstance(desired, Serve) and desired.leader else ""


@given(worlds(), DICE)
@THOROUGH
def test_a_decision_depends_on_nothing_but_the_snapshot(world: World, dice: Any) -> None:
    order = list(range(len(world.pods)))
    dice.shuffle(order)
    first = decide(world.snapshot(), T0)
    assert decide(world.snapshot(), T0) == first
    shuffled = decide(world.snapshot(order), T0)
    if isinstance(first, Serve) and isinstance(shuffled, Serve):  # problems are told in the order of the pods
        assert led(shuffled) == led(first)
        assert (shuffled.epoch, shuffled.reason, shuffled.routing) == (
            first.epoch,
            first.reason,
            first.routing,
        )
        assert (shuffled.ports, shuffled.wake_at, shuffled.trigger_at) == (
            first.ports,
            first.wake_at,
            first.trigger_at,
        )
        assert set(shuffled.policy.problems) == set(first.policy.problems)
    else:
        assert shuffled == first


@given(worlds())
@THOROUGH
def test_a_leader_is_fit_unless_kept_and_there_is_one_whenever_there_can_be(world: World) -> None:
    seen = world.snapshot()
    desired = decide(seen, T0)
    if not isinstance(desired, Serve):
        return
    need = Need(desired.source, families_needed(desired.families, desired.source))
    fit = [p for p in seen.pods if unfit(p, need) is None]
    ripe = [p for p in fit if ripe_at(p, desired.policy) <= T0]
    assert desired.available == len(fit)
    leader = desired.leader.pod if desired.leader else None
    stays = led(desired) == desired.routed.uid
    assert (desired.reason is None) == stays
    if leader is None:
        assert not ripe
        assert not any(p.uid == desired.routed.uid for p in fit)
        assert desired.epoch == desired.routed.epoch
        return
    assert leader in ripe or stays
    assert leader in fit or _may_be_kept(leader, need, desired.policy, ripe)
    assert desired.leader is not None
    assert len(desired.leader.endpoints) == len(desired.families)
    for family, endpoint in zip(desired.families, desired.leader.endpoints, strict=True):
        assert (endpoint.addresses[0] if endpoint else None) == address(leader, family)
        assert endpoint or family not in need.families
    assert desired.epoch == max(desired.routed.epoch, 1) if stays else desired.routed.epoch + 1
    led_by_want_of_better = leader not in fit and not _in_patience(leader, desired.policy)
    expected = Routing.NO_READY_PODS if led_by_want_of_better else Routing.LEADER_ELECTED
    assert desired.routing is (Routing.PAUSED if desired.policy.paused else expected)


def _may_be_kept(pod: PodView, need: Need, policy: Policy, ripe: list[PodView]) -> bool:
    """An annotation keeps one that is merely not Ready, for a while or for want of anybody else."""
    return unfit(pod, need) is Reason.NOT_READY and (
        _in_patience(pod, policy) or (policy.keep_last and not ripe)
    )


def _in_patience(pod: PodView, policy: Policy) -> bool:
    return pod.unready_since is not None and pod.unready_since + policy.failover_min_delay_s > T0


@given(sources(served=True), pods_json(), pods_json())
@THOROUGH
def test_a_fit_leader_is_left_for_what_its_service_asks_only(
    source: Json, before: list[Json], after: list[Json]
) -> None:
    world = World(source, before)
    world.settle(T0)
    world.pods = after
    seen = world.snapshot()
    desired = decide(seen, T0)
    if not isinstance(desired, Serve) or desired.leader is None:
        return
    policy, leader = desired.policy, desired.leader.pod
    need = Need(desired.source, families_needed(desired.families, desired.source))
    fit = [p for p in seen.pods if unfit(p, need) is None]
    ripe = [p for p in fit if ripe_at(p, policy) <= T0]
    routed = next((p for p in fit if p.uid == desired.routed.uid), None)
    if routed is not None and leader is not routed:
        assert desired.reason is Reason.PREEMPTED
        assert not policy.sticky or (
            policy.failback_s is not None
            and priority(leader) > priority(routed)
            and (not policy.failback_s or (leader.ready_since or T0) + policy.failback_s <= T0)
        )
    if leader in fit and (routed is None or not policy.sticky):
        assert all(priority(p) <= priority(leader) for p in ripe)


@given(sources(served=True), pods_json(), pods_json(), st.floats(0.0, 0.999))
@THOROUGH
def test_time_alone_changes_nothing_before_the_alarm(
    source: Json, before: list[Json], after: list[Json], share: float
) -> None:
    """Whoever sleeps until ``wake_at`` misses nothing, and is not woken for ever."""
    world = World(source, before)
    world.settle(T0)
    world.pods = after
    now = T0
    for _alarm in range(2 * len(NAMES) + 1):
        desired, _ = world.settle(now)
        if not isinstance(desired, Serve):
            return
        assert desired.wake_at is None or desired.wake_at > now
        end = desired.wake_at if desired.wake_at is not None else now + EVER_S
        between = decide(world.snapshot(), now + (end - now) * share)
        assert isinstance(between, Serve)
        assert (led(between), between.reason, between.routing) == (led(desired), None, desired.routing)
        if desired.wake_at is None:
            return
        now = desired.wake_at
    raise AssertionError(f"woken again at {now - T0}")


@given(sources(served=True), st.lists(st.none() | pods_json(), min_size=2, max_size=5))
@THOROUGH
def test_through_any_history_the_epoch_counts_the_leaders(
    source: Json, history: list[list[Json] | None]
) -> None:
    """From nothing, through every state of the pods and through opt-outs (None): each settles, and the epoch
    grows by one with each new leader, never otherwise, and is never used again."""
    world = World(source, [])
    annotations = source["metadata"]["annotations"]
    epoch, last, made = 0, "", False
    for step, pods in enumerate(history):
        annotations[contract.ENABLED] = "true" if pods is not None else "false"
        if pods is not None:
            world.pods = pods
        desired, rounds = world.settle(T0 + STEP_S * step)
        assert rounds <= MAX_ROUNDS
        if not isinstance(desired, Serve):
            last, made = "", False
            assert not any(world.objects.values())
            continue
        uid = led(desired)
        if uid and not made:
            assert desired.epoch > epoch, "no epoch is used twice"
        elif uid and uid != last:
            assert desired.epoch == epoch + 1, "one more with each change of leader"
        else:
            assert desired.epoch == (epoch if made else 0)
        if uid:
            epoch, last, made = desired.epoch, uid, True
        else:
            last = ""
