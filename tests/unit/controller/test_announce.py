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
    assert announce.created(serve(snapshot(LED)), "u").reason == "LeaderServiceCreated"
    assert led_by(LED)[contract.EPOCH] == "1"
