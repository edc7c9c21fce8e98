"""The judge of the demo: what it times, what it holds against the controller, and what it does not."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.sandbox.demo_scenes import OPTED_IN, Hearing, a_slice, endpoint, pod, world


def test_a_failover_is_timed_from_the_fault_to_the_first_answer() -> None:
    scene = Hearing()
    _, b, c = scene.pods
    scene.referee.injected(10.0, "crashed")
    scene.referee.failed(10.001, 10.002, "refused")
    scene.referee.see(10.003, world(pod(0, ready=False), b, c, held=a_slice(scene.pods[0], epoch=1)))
    scene.referee.see(10.006, world(pod(0, ready=False), b, c, held=a_slice(b, epoch=2)))
    scene.referee.heard(10.008, endpoint(b))
    scene.referee.answered(10.0, 10.009, endpoint(scene.pods[0]), "web-0")  # an old answer ends nothing
    assert scene.failovers == []
    scene.referee.answered(10.02, 10.021, endpoint(b), "web-1")
    [failover] = scene.failovers
    assert (failover.fault, failover.by_hand, failover.lost) == ("crashed", False, 1)
    assert (failover.previous, failover.leader) == ("web-0", "web-1")
    assert failover.seen_s == pytest.approx(0.008)
    assert failover.answered_s == pytest.approx(0.021)
    assert scene.broken == []


def test_a_visitor_s_deletion_is_a_failover_by_hand() -> None:
    scene = Hearing()
    a, b, c = scene.pods
    scene.referee.see(10.0, world(b, c, held=a_slice(a, epoch=1)))
    scene.referee.see(10.006, world(b, c, held=a_slice(c, epoch=2)))
    scene.referee.heard(10.008, endpoint(c))
    scene.referee.answered(10.02, 10.021, endpoint(c), "web-2")
    [failover] = scene.failovers
    assert (failover.fault, failover.by_hand, failover.leader) == ("deleted", True, "web-2")
    assert scene.broken == []


def test_a_pod_of_the_same_name_is_another_leader() -> None:
    scene = Hearing()
    fresh = pod(0, generation=2)
    scene.referee.see(10.0, world(held=a_slice(scene.pods[0], epoch=1)))
    scene.referee.see(10.1, world(held=a_slice(epoch=2)))
    scene.referee.heard(10.1, None)
    scene.referee.tick(12.0)  # nobody is fit: the clock stands
    scene.referee.see(12.0, world(fresh, held=a_slice(epoch=2)))
    scene.referee.see(12.01, world(fresh, held=a_slice(fresh, epoch=3)))
    scene.referee.heard(12.02, endpoint(fresh))
    scene.referee.answered(12.03, 12.031, endpoint(fresh), "web-0")
    [failover] = scene.failovers
    assert failover.answered_s == pytest.approx(0.031)
    assert scene.broken == []


def test_a_leader_that_is_well_again_at_once_is_no_failover() -> None:
    scene = Hearing()
    a, b, c = scene.pods
    scene.referee.see(10.0, world(pod(0, ready=False), b, c, held=a_slice(a, epoch=1)))
    scene.referee.see(10.2, world(a, b, c, held=a_slice(a, epoch=1)))
    scene.referee.tick(20.0)
    assert scene.failovers == []
    assert scene.referee.stopwatch.current is None
    assert scene.broken == []


def test_a_leader_that_is_outranked_hands_over() -> None:
    scene = Hearing()
    _, b, _ = scene.pods
    scene.referee.see(10.0, world(*scene.pods, held=a_slice(b, epoch=2)))
    scene.referee.heard(10.005, endpoint(b))
    scene.referee.answered(10.01, 10.011, endpoint(b), "web-1")
    [failover] = scene.failovers
    assert failover.fault == "handed over"


def test_two_ready_endpoints_are_a_breach() -> None:
    scene = Hearing()
    a, b, _ = scene.pods
    scene.referee.see(1.0, world(*scene.pods, held=a_slice(a, b, epoch=2)))
    assert scene.broken == ["ONE"]


def test_an_unfit_pod_may_be_routed_to_for_half_a_second() -> None:
    scene = Hearing()
    a, b, c = scene.pods
    scene.referee.see(10.0, world(pod(0, ready=False), b, c, held=a_slice(a, epoch=1)))
    scene.referee.tick(10.5)
    assert scene.broken == []
    scene.referee.tick(10.52)
    assert scene.broken == ["FIT"]
    scene.referee.tick(10.9)
    assert scene.broken == ["FIT"], "told once"


def test_a_failover_that_is_not_over_in_a_second_is_told_once() -> None:
    scene = Hearing()
    _, b, c = scene.pods
    scene.referee.injected(10.0, "not ready")
    scene.referee.see(10.0, world(pod(0, ready=False), b, c, held=a_slice(b, epoch=2)))
    scene.referee.tick(10.01)
    scene.referee.tick(11.02)
    assert scene.broken == ["BUDGET"]
    scene.referee.heard(12.0, endpoint(b))
    scene.referee.answered(12.0, 12.1, endpoint(b), "web-1")
    assert len(scene.failovers) == 1
    assert scene.broken == ["BUDGET"]


def test_emptying_the_slice_while_a_pod_is_fit_is_a_breach_at_once() -> None:
    scene = Hearing()
    scene.referee.see(10.0, world(pod(0, ready=False), *scene.pods[1:], held=a_slice(epoch=2)))
    assert scene.broken == ["FILLED"]


def test_an_empty_slice_while_nobody_is_fit_is_right() -> None:
    scene = Hearing()
    down = [pod(index, ready=False) for index in range(3)]
    scene.referee.see(10.0, world(*down, held=a_slice(epoch=2)))
    scene.referee.tick(20.0)
    assert scene.broken == []


def test_no_leader_for_long_while_a_pod_is_fit_is_a_breach() -> None:
    scene = Hearing()
    scene.referee.see(10.0, world(held=a_slice(epoch=2)))
    scene.referee.tick(10.99)
    scene.referee.see(11.0, world(pod(1), held=a_slice(epoch=2)))
    scene.referee.tick(11.5)
    assert scene.broken == []
    scene.referee.tick(11.6)
    assert scene.broken == ["FILLED"]


def test_an_epoch_must_grow_with_every_leader() -> None:
    scene = Hearing()
    _, b, c = scene.pods
    scene.referee.see(10.0, world(*scene.pods, held=a_slice(b, epoch=7)))
    scene.referee.see(10.1, world(*scene.pods, held=a_slice(c, epoch=7, edits=1)))
    assert scene.broken == [], "the same epoch in an edited slice is the editor's"
    scene.referee.see(10.2, world(*scene.pods, held=a_slice(b, epoch=6)))
    assert scene.broken == ["EPOCH"]


def test_what_a_visitor_writes_into_the_slice_is_not_held_against_the_controller() -> None:
    scene = Hearing()
    a, b, _ = scene.pods
    scene.referee.see(10.0, world(*scene.pods, held=a_slice(epoch=1, edits=1)))
    scene.referee.see(10.1, world(*scene.pods, held=a_slice(a, b, epoch=1, edits=2)))
    scene.referee.see(10.2, world(*scene.pods, held=a_slice(a, epoch=2)))
    scene.referee.see(11.0, world(*scene.pods, held=None))
    scene.referee.see(11.1, world(*scene.pods, held=a_slice(a, epoch=1)))
    scene.referee.tick(30.0)
    assert scene.broken == []
    assert scene.failovers == []


@pytest.mark.parametrize("annotations", [{}, OPTED_IN | {"zen-lead.io/min-ready-duration": "1h"}])
def test_promises_rest_while_a_visitor_makes_the_rules(annotations: dict[str, str]) -> None:
    scene = Hearing()
    a, b, c = scene.pods
    scene.referee.see(10.0, world(*scene.pods, held=None, annotations=annotations))
    scene.referee.failed(10.0, 10.01, "refused")
    scene.referee.tick(20.0)
    assert scene.broken == []
    scene.referee.see(20.0, world(a, b, c, held=None))
    scene.referee.tick(20.4)
    scene.referee.see(20.4, world(a, b, c, held=a_slice(b, epoch=1)))
    assert scene.broken == []
    assert scene.failovers == []
    scene.referee.see(30.0, world(a, b, c, held=None))
    scene.referee.tick(30.1)
    scene.referee.tick(30.7)
    assert scene.broken == ["FILLED"], "they hold again"


def test_an_answer_of_another_pod_is_a_breach() -> None:
    scene = Hearing()
    scene.referee.answered(5.0, 5.001, endpoint(scene.pods[0]), "web-2")
    assert scene.broken == ["ANSWERS"]


def test_the_former_leader_may_answer_only_what_was_under_way() -> None:
    scene = Hearing()
    a, b, c = scene.pods
    scene.referee.injected(10.0, "not ready")
    scene.referee.see(10.0, world(pod(0, ready=False), b, c, held=a_slice(b, epoch=2)))
    scene.referee.heard(10.005, endpoint(b))
    scene.referee.answered(10.01, 10.02, endpoint(b), "web-1")
    scene.referee.answered(9.99, 10.03, endpoint(a), "web-0")
    assert scene.broken == []
    scene.referee.answered(11.0, 11.01, endpoint(a), "web-0")
    assert scene.broken == ["ANSWERS"]


def test_requests_may_fail_in_a_failover_only() -> None:
    scene = Hearing()
    _, b, c = scene.pods
    scene.referee.failed(5.0, 5.1, "timed out")
    assert scene.broken == ["ANSWERS"]
    scene.referee.injected(10.0, "crashed")
    scene.referee.failed(10.0, 10.0, "refused")
    scene.referee.see(10.0, world(pod(0, ready=False), b, c, held=a_slice(b, epoch=2)))
    scene.referee.heard(10.005, endpoint(b))
    scene.referee.answered(10.01, 10.02, endpoint(b), "web-1")
    scene.referee.failed(10.0, 10.25, "timed out")
    assert scene.failovers[0].lost == 2
    assert scene.referee.lost_outside == 1
    assert scene.broken == ["ANSWERS"]


def test_fitness_of_the_demo_s_pods() -> None:
    a, b, c = pod(0), pod(1), pod(2)
    for unfit in (
        pod(0, ready=False),
        pod(0, deleted=True),
        msgspec.structs.replace(a, phase="Failed"),
        msgspec.structs.replace(a, ips=()),
        msgspec.structs.replace(a, candidate="false"),
        msgspec.structs.replace(a, labels={"app": "other"}),
    ):
        assert not world(unfit, b, c, held=a_slice(a)).leads_fit()
    assert world(a, b, c, held=a_slice(a)).leads_fit()
    assert not world(pod(0, generation=2), b, c, held=a_slice(a)).leads_fit()
