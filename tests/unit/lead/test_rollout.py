"""A rolling update moves the leader at most twice, and who is replaced when is what the controllers do."""

from __future__ import annotations

import functools
import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lead.builders import T0, leads, pod, service, snapshot
from tests.unit.lead.rollouts import (
    Rollout,
    deployment,
    ends_first_by_magnitude,
    ends_first_by_time,
    stateful_set,
)
from zenlead.lead import contract
from zenlead.lead.choose import choose
from zenlead.lead.contract import Policy
from zenlead.lead.rollout import replaced_in
from zenlead.lead.select import Need

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.lead.rollouts import EndsFirst
    from zenlead.lead.views import PodView

SIZES = range(2, 10)
DRAWS = 12  # age distributions for each size and starting leader
NEED = Need(service(), ("IPv4",))


class Watcher:
    """Follows a rollout as zenlead does, and counts how often the leader moves."""

    def __init__(self, draw: random.Random, policy: Policy) -> None:
        self.rollout = Rollout(draw, self._look)
        self.policy = policy
        self.leader = ""  # UID
        self.moves = 0

    def _look(self) -> None:
        if not self.leader:
            return  # the old pods are still being made
        pods = list(self.rollout.pods.values())
        self.rollout.draw.shuffle(pods)
        chosen = choose(pods, self.leader, NEED, self.policy, self.rollout.now).pod
        assert chosen is not None, "a fit pod was there all the time"
        if chosen.uid != self.leader:
            self.leader = chosen.uid
            self.moves += 1


def watch(
    draw: random.Random, policy: Policy, make: Callable[[Rollout], Callable[[], None]], leader: int
) -> tuple[int, bool]:
    """How often the leader moves when the ``leader``-th pod leads at first; and whether it went last."""
    watcher = Watcher(draw, policy)
    run = make(watcher.rollout)
    first = list(watcher.rollout.pods)[leader]
    watcher.leader = first
    run()
    assert watcher.leader in watcher.rollout.pods
    return watcher.moves, watcher.rollout.ended[-1] == first


def ages(draw: random.Random, size: int) -> list[float]:
    """Seconds since each pod became ready: close together or far apart, in any order."""
    spread = draw.choice([1.0, 60.0, 3600.0, 86_400.0])
    return [3600.0 + draw.random() * spread for _ in range(size)]


@pytest.mark.parametrize("strategy", ["oldest", "ordinal"])
@pytest.mark.parametrize("size", SIZES)
def test_stateful_set(size: int, strategy: str) -> None:
    for leader, seed in itertools.product(range(size), range(DRAWS)):
        draw = random.Random(seed)
        make = functools.partial(stateful_set, ages=ages(draw, size))
        count, went_last = watch(draw, Policy("web-leader", strategy=strategy), make, leader)
        assert 1 <= count <= (1 if went_last else 2), f"leader web-{leader}, seed {seed}"
        assert went_last == (leader == 0)


@pytest.mark.parametrize("ends_first", [ends_first_by_time, ends_first_by_magnitude])
@pytest.mark.parametrize("size", SIZES)
def test_deployment(size: int, ends_first: EndsFirst) -> None:
    for leader, seed in itertools.product(range(size), range(DRAWS)):
        draw = random.Random(seed)
        make = functools.partial(deployment, ages=ages(draw, size), ends_first=ends_first)
        count, went_last = watch(draw, Policy("web-leader"), make, leader)
        assert 1 <= count <= (1 if went_last else 2), f"leader {leader}, seed {seed}"


@pytest.mark.parametrize("size", SIZES)
def test_without_stickiness_the_oldest_moves_once_to_the_new_revision(size: int) -> None:
    """Who leads without stickiness is the oldest; the rollout takes it at once to the first new pod."""
    for seed in range(DRAWS):
        draw = random.Random(seed)
        old = ages(draw, size)
        make = functools.partial(stateful_set, ages=old)
        count, _ = watch(draw, Policy("web-leader", sticky=False), make, old.index(max(old)))
        assert 1 <= count <= 2, f"seed {seed}"


@pytest.mark.parametrize("size", SIZES)
def test_without_stickiness_an_ordinal_leads_whenever_it_can(size: int) -> None:
    """The new pods outrank each other one by one; that is no reason to move each time."""
    make = functools.partial(stateful_set, ages=[1000.0] * size)
    policy = Policy("web-leader", sticky=False, strategy="ordinal")
    assert watch(random.Random(1), policy, make, 0) == (2, True)  # away while web-0 restarts, and back


# --- who is replaced when -----------------------------------------------------------------------------------


def stateful(name: str, revision: str, **over: Any) -> PodView:
    return pod(name, labels={"app": "web", "controller-revision-hash": revision}, **over)


def replica(name: str, revision: str, **over: Any) -> PodView:
    return pod(name, labels={"app": "web", "pod-template-hash": revision}, **over)


def test_one_revision_is_no_rollout() -> None:
    assert not replaced_in([stateful("web-0", "a"), stateful("web-1", "a", deleted=True)], T0)
    assert not replaced_in([pod("web-0"), pod("web-1")], T0)


def test_a_stateful_set_goes_from_the_top() -> None:
    pods = [stateful("web-10", "a"), stateful("web-9", "a"), stateful("web-11", "b", age=1, ready=False)]
    assert replaced_in(pods, T0) == {"uid-web-9": 1, "uid-web-10": 2}


def test_a_replica_set_ends_first_what_became_ready_last() -> None:
    pods = [
        replica("web-a-1", "a", ready_for=100),
        replica("web-a-2", "a", ready_for=10_000),
        replica("web-a-3", "a", ready_for=1000),
        replica("web-a-4", "a", ready=False),
        replica("web-b-1", "b", age=1, ready=False),
    ]
    assert replaced_in(pods, T0) == {"uid-web-a-2": 1, "uid-web-a-3": 2, "uid-web-a-1": 3, "uid-web-a-4": 4}


def test_the_uid_decides_within_one_order_of_magnitude() -> None:
    """As long as the pod that was ready longest is not the very next to end, it goes last."""
    pods = [
        replica("web-a-1", "a", ready_for=1000, uid="9"),
        replica("web-a-2", "a", ready_for=1020, uid="1"),
        replica("web-a-3", "a", ready_for=1010, uid="5"),
        replica("web-b-1", "b", age=1, ready=False),
    ]
    assert replaced_in(pods, T0)["5"] == 1


def test_two_workloads_behind_one_service_are_no_rollout_of_each_other() -> None:
    blue = replica("blue-6f9d8-x7k2p", "6f9d8", age=5000)
    green = replica("green-7c8e9-m4n8q", "7c8e9", age=10)
    assert not replaced_in([blue, green], T0)
    assert not replaced_in([stateful("db-0", "a", age=5000), stateful("cache-0", "b", age=10)], T0)


def test_the_youngest_pod_has_the_newest_revision_even_when_it_goes_back() -> None:
    pods = [stateful("web-0", "b", age=500), stateful("web-1", "a", age=20, ready=False)]
    assert replaced_in(pods, T0) == {"uid-web-0": 1}


# --- the decision -------------------------------------------------------------------------------------------

GONE = stateful("web-2", "a", age=900, deleted=True)
LAST = stateful("web-0", "a", age=100, ips=["10.1.0.11"])
NEXT = stateful("web-1", "a", age=800, ips=["10.1.0.12"])
FRESH = stateful("web-3", "b", age=20, ips=["10.1.0.13"])


def test_a_fit_pod_of_the_new_revision_comes_first() -> None:
    assert leads(snapshot(GONE, LAST, NEXT, FRESH, led=GONE)) == "web-3"


def test_else_the_pod_that_is_replaced_last() -> None:
    starting = stateful("web-3", "b", age=20, ready=False)
    assert leads(snapshot(GONE, LAST, NEXT, starting, led=GONE)) == "web-0"


def test_priority_comes_before_the_revision() -> None:
    preferred = stateful("web-1", "a", age=800, annotations={contract.PRIORITY: "5"})
    assert leads(snapshot(GONE, LAST, preferred, FRESH, led=GONE)) == "web-1"


def test_a_fit_leader_stays_while_others_are_replaced() -> None:
    assert leads(snapshot(LAST, NEXT, FRESH, led=NEXT)) == "web-1"


@pytest.mark.parametrize(("strategy", "chosen"), [("newest", "web-3"), ("least-restarts", "web-1")])
def test_other_strategies_say_plainly_whom_they_want(strategy: str, chosen: str) -> None:
    source = service(annotations={contract.STRATEGY: strategy})
    assert leads(snapshot(GONE, LAST, NEXT, FRESH, led=GONE, source=source)) == chosen
