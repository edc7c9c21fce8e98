"""A slice that knows more than its leader Service hands it on before it goes, so no epoch is used twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.unit.lead.builders import T0, leader, led_by, pod, service, service_json, slice_of, snapshot
from zenlead.lead import contract
from zenlead.lead.decide import decide
from zenlead.lead.desired import Serve
from zenlead.lead.writes import Delete, Patch, Target, Write, diff

if TYPE_CHECKING:
    from zenlead.lead.views import ServiceView, SliceView

FIRST, SECOND, THIRD = pod("web-0"), pod("web-1"), pod("web-2")
OPTED_OUT = service(annotations={contract.ENABLED: "false"})
REFUSED = service(annotations={contract.ENABLED: "true"}, spec={**service_json()["spec"], "selector": None})
BEHIND = leader(annotations=led_by(FIRST, 10))


def withdrawn(source: ServiceView, routing: SliceView, said: ServiceView = BEHIND) -> list[Write]:
    seen = snapshot(FIRST, source=source, slices=(routing,), services=(said,), at_name=said)
    return diff(seen, decide(seen, T0))


@pytest.mark.parametrize("source", [OPTED_OUT, REFUSED], ids=["opted out", "refused"])
def test_the_leader_service_catches_up_before_the_slice_goes(source: ServiceView) -> None:
    (write,) = withdrawn(source, slice_of(SECOND, epoch=11))
    assert isinstance(write, Patch)
    assert (write.target, write.name) == (Target.SERVICES, "web-leader")
    metadata = msgspec.json.decode(write.body)["metadata"]
    assert metadata["resourceVersion"] == BEHIND.resource_version
    assert metadata["annotations"] == {
        contract.EPOCH: "11",
        contract.LEADER_POD_UID: SECOND.uid,
        contract.LEADER_POD_NAME: "web-1",
        contract.CURRENT_LEADER: "web-1",
    }
    caught_up = leader(annotations=led_by(SECOND, 11))
    (write,) = withdrawn(source, slice_of(SECOND, epoch=11), caught_up)
    assert isinstance(write, Delete)


def test_a_leader_that_was_lost_is_not_remembered_as_one() -> None:
    (write,) = withdrawn(OPTED_OUT, slice_of(None, epoch=11))
    said = msgspec.json.decode(write.body)["metadata"]["annotations"]
    assert said == dict.fromkeys(said, None) | {contract.EPOCH: "11"}


def test_opted_in_again_before_the_leader_service_was_gone() -> None:
    remembered = leader(annotations=led_by(SECOND, 11))
    seen = snapshot(FIRST, THIRD, services=(remembered,), at_name=remembered)
    desired = decide(seen, T0)
    assert isinstance(desired, Serve)
    assert desired.epoch == 12


def test_what_a_service_under_an_older_name_remembers_counts_too() -> None:
    older, newer = leader(name="old", annotations=led_by(SECOND, 11)), leader(annotations=led_by(FIRST, 10))
    seen = snapshot(THIRD, services=(newer, older), at_name=newer)
    desired = decide(seen, T0)
    assert isinstance(desired, Serve)
    assert desired.epoch == 12
