"""A pod is who it is by its UID: a StatefulSet makes another of the same name."""

from __future__ import annotations

from tests.unit.lead.builders import T0, pod, serve, snapshot
from zenlead.lead.contract import Reason

LED = pod("web-0", age=2000)


def test_a_pod_made_anew_under_its_name_is_another_leader() -> None:
    anew = pod("web-0", uid="uid-anew", age=5, ready_for=3)
    desired = serve(snapshot(anew, led=LED))
    assert desired.leader is not None
    assert (desired.leader.pod.uid, desired.reason, desired.epoch) == ("uid-anew", Reason.DELETED, 2)
    assert desired.trigger_at == T0, "the one that was lost tells nothing any more"


def test_a_pod_made_anew_that_is_not_ready_yet_is_not_waited_for() -> None:
    anew = pod("web-0", uid="uid-anew", age=5, ready=False, ready_for=5)
    other = pod("web-1", age=1000, ips=["10.1.0.11"])
    desired = serve(snapshot(anew, other, led=LED))
    assert desired.leader is not None
    assert (desired.leader.pod.name, desired.reason) == ("web-1", Reason.DELETED)
    assert desired.trigger_at == T0


def test_the_trigger_is_the_newest_time_that_the_lost_pod_tells() -> None:
    """A pod that failed long ago and whose deletion was due just now: the deletion moves the leader."""
    lost = pod("web-0", ready=False, ready_for=9, deleted=True)  # due at T0 + 30
    other = pod("web-1", age=1000, ips=["10.1.0.11"])
    assert serve(snapshot(lost, other, led=LED), T0 + 40).trigger_at == T0 + 30
    assert serve(snapshot(lost, other, led=LED), T0 + 20).trigger_at == T0 - 9
