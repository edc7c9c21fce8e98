"""What users are told: the words, and that the same thing is told under the same name."""

from __future__ import annotations

import pytest

from tests.unit.lead.builders import T0, leader, led_by, pod, serve, service, snapshot
from zenlead.controller import announce
from zenlead.lead import contract
from zenlead.lead.contract import Reason
from zenlead.lead.decide import decide
from zenlead.lead.desired import Absent

LED, NEXT = pod("web-0"), pod("web-1", age=1, ips=["10.1.0.11"])


def reasons(desired: object) -> list[str]:
    told = announce.warnings(desired, "uid")  # type: ignore[arg-type]  # whatever was decided
    assert all(said.warning for said in told)
    return [said.reason for said in told]


def test_each_way_to_have_no_leader_has_its_reason() -> None:
    assert reasons(serve(snapshot())) == ["NoPodsFound"]
    assert reasons(serve(snapshot(pod(ready=False)))) == ["NoReadyPods"]
    named = service(ports=[{"port": 80, "targetPort": "http"}])
    assert reasons(serve(snapshot(LED, source=named))) == ["NamedPortResolutionFailed"]
    assert reasons(serve(snapshot(LED))) == []
    assert reasons(Absent()) == []


def test_a_pod_that_is_passed_over_is_told_of() -> None:
    odd = pod("web-9", ips=["127.0.0.1"])
    (said,) = announce.warnings(serve(snapshot(LED, odd)), "uid")
    assert (said.reason, said.related) == ("UnusableAddress", odd)
    assert "web-9" in said.note
    assert "127.0.0.1 is a loopback address" in said.note
    assert reasons(serve(snapshot(odd))) == ["UnusableAddress", "NoReadyPods"]
    (again,) = announce.warnings(serve(snapshot(NEXT, odd), T0 + 500), "uid")
    assert again.dedup == said.dedup
    (moved,) = announce.warnings(serve(snapshot(LED, pod("web-9", ips=["127.0.0.2"]))), "uid")
    assert moved.dedup != said.dedup


def test_a_port_that_fails_on_one_pod_is_told_of_its_template_and_one_that_fails_on_all_once() -> None:
    named = service(ports=[{"port": 80, "targetPort": "http"}])
    http = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]
    labels = {"app": "web", "controller-revision-hash": "web-1"}
    fine, odd, other = pod("web-0", containers=http), pod("web-1", labels=labels), pod("web-2", labels=labels)
    (said,) = announce.warnings(serve(snapshot(fine, odd, source=named)), "uid")
    assert (said.reason, said.related) == ("PortResolutionFailed", odd)
    assert "http/TCP" in said.note
    (same,) = announce.warnings(serve(snapshot(fine, other, source=named)), "uid")
    assert same.dedup == said.dedup
    assert reasons(serve(snapshot(odd, other, source=named))) == ["NamedPortResolutionFailed"]
    waiting = pod("web-0", ready=False, containers=http)
    assert reasons(serve(snapshot(waiting, odd, source=named))) == ["PortResolutionFailed", "NoReadyPods"]


def test_a_refused_write_is_the_same_telling_though_its_numbers_change() -> None:
    one = announce.refused("create services/web-leader", "quota: used 5 of 5", "uid")
    assert (one.warning, one.reason) == (True, "WriteRefused")
    assert one.note == "the API server refuses to create services/web-leader: quota: used 5 of 5"
    again = announce.refused("create services/web-leader", "quota: used 17 of 17", "uid")
    other = announce.refused("create services/web-leader", "denied by a webhook", "uid")
    assert one.dedup == again.dedup != other.dedup


def test_each_bad_annotation_is_told_with_its_value() -> None:
    source = service(annotations={contract.STICKY: "maybe"})
    (said,) = announce.warnings(serve(snapshot(LED, source=source)), "uid")
    assert said.reason == "InvalidAnnotation"
    assert contract.STICKY in said.note
    assert "maybe" in said.note
    assert "true or false" in said.note


def test_refusals_say_what_to_do() -> None:
    assert reasons(decide(snapshot(LED, source=service(selector=None)), T0)) == ["InvalidService"]
    assert reasons(decide(snapshot(LED, at_name=leader(labels=None)), T0)) == ["LeaderServiceConflict"]


def test_the_same_state_is_the_same_telling_and_a_new_leadership_another() -> None:
    one = announce.warnings(serve(snapshot(led=LED, epoch=3)), "uid")
    again = announce.warnings(serve(snapshot(led=LED, epoch=3), T0 + 500), "uid")
    later = announce.warnings(serve(snapshot(led=LED, epoch=4)), "uid")
    assert one == again
    assert one[0].dedup != later[0].dedup


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.ELECTED])
def test_every_failover_reason_has_words(reason: Reason) -> None:
    desired = serve(snapshot(NEXT, led=LED))
    (said,) = announce.moved(desired, reason, "uid")
    assert (said.warning, said.reason, said.related) == (False, "LeaderChanged", NEXT)
    assert "web-0" in said.note
    assert "web-1" in said.note


def test_a_first_leader_is_told_as_routing_that_is_available() -> None:
    (said,) = announce.moved(serve(snapshot(LED)), Reason.ELECTED, "uid")
    assert (said.reason, said.related) == ("LeaderRoutingAvailable", LED)


def test_nobody_to_lead_is_a_warning_and_no_move() -> None:
    assert announce.moved(serve(snapshot(led=LED)), Reason.DELETED, "uid") == []


def test_a_withdrawal_says_why() -> None:
    refused = decide(snapshot(source=service(selector=None)), T0)
    assert "selector" in announce.withdrawn(refused, "web-leader", "u").note
    assert "opted out" in announce.withdrawn(Absent(), "web-leader", "u").note
    assert "no use for it" in announce.withdrawn(serve(snapshot(LED)), "web-leader-ipv6", "u").note
    assert announce.created(serve(snapshot(LED)), "u").reason == "LeaderServiceCreated"
    assert led_by(LED)[contract.EPOCH] == "1"


def test_a_pause_is_one_piece_of_news_whoever_would_lead() -> None:
    source = service(annotations={contract.PAUSED: "true"})
    (before,) = announce.warnings(serve(snapshot(LED, NEXT, led=LED, source=source)), "uid")
    (after,) = announce.warnings(serve(snapshot(NEXT, led=LED, source=source)), "uid")
    assert before == after
    assert before.recurs


def test_the_words_about_a_value_fit_into_an_event_whatever_its_length() -> None:
    source = service(annotations={contract.STRATEGY: "x" * 100_000})
    (said,) = announce.warnings(serve(snapshot(LED, source=source)), "uid")
    assert len(said.note) < 500
    assert len(said.dedup) < 200
    assert said.note.endswith("random; the default is used")
    other = service(annotations={contract.STRATEGY: "x" * 100_001})
    (changed,) = announce.warnings(serve(snapshot(LED, source=other)), "uid")
    assert changed.dedup != said.dedup
