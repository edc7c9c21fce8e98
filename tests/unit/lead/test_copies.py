"""What its maker copied onto an object, as managedFields tell, and what is taken off it again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.lead.builders import (
    T0,
    leader_json,
    led_by,
    pod,
    pod_json,
    service_json,
    service_view,
    slice_json,
)
from tests.unit.lead.world import World
from zenlead.lead import contract
from zenlead.lead.copies import copies
from zenlead.lead.views import NO_COPIES, Copies
from zenlead.lead.wire import WireSlice, decode
from zenlead.lead.writes import Target


def entry(labels: tuple[str, ...] = (), annotations: tuple[str, ...] = (), **over: Any) -> dict[str, Any]:
    """One writer's share."""
    fields: dict[str, Any] = {}
    for name, keys in (("f:labels", labels), ("f:annotations", annotations)):
        if keys:
            fields[name] = {".": {}} | {f"f:{key}": {} for key in keys}
    whole = {"f:metadata": fields, "f:spec": {"f:ports": {'k:{"port":80}': {"f:port": {}}}}}
    return {"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": whole} | over


MAKER = entry((contract.SOURCE_SERVICE, contract.MANAGED_BY, "app", "chart"), ("helm", "note"))


def found(*entries: dict[str, Any]) -> Copies:
    return copies(msgspec.json.encode(entries))


def test_the_maker_is_who_wrote_the_source_label() -> None:
    made = found(entry(("tier",), ("mine",)), MAKER)
    assert set(made.labels) == {contract.MANAGED_BY, "app", "chart", contract.SOURCE_SERVICE}
    assert made.annotations == ("helm", "note")


def test_what_somebody_else_has_set_too_is_nobodys_copy() -> None:
    made = found(MAKER, entry(("chart",), ("note", "other")))
    assert "chart" not in made.labels
    assert made.annotations == ("helm",)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'[{"fieldsV1":3}]',
        b"[",
        b'[{"fieldsV1":null},{"fieldsV1":{}},{}]',
        b'[{"fieldsV1":{"f:metadata":{"f:labels":null,"f:annotations":{"f:a":{}}}}}]',
    ],
)
def test_where_nothing_is_said_nothing_is_a_copy(raw: bytes) -> None:
    assert copies(raw) == NO_COPIES


def test_only_what_has_no_epoch_yet_is_asked() -> None:
    fresh = leader_json(annotations=led_by(pod()))
    fresh["metadata"]["managedFields"] = [MAKER]
    assert service_view(fresh).copies == NO_COPIES
    del fresh["metadata"]["annotations"][contract.EPOCH]
    assert service_view(fresh).copies.annotations == ("helm", "note")
    source = service_json()
    source["metadata"]["managedFields"] = [MAKER]
    assert service_view(source).copies == NO_COPIES
    written = slice_json(pod(), epoch=1)
    written["metadata"]["managedFields"] = [MAKER]
    assert decode(WireSlice, msgspec.json.encode(written)).copies == NO_COPIES


def test_copies_go_in_the_first_writes_and_nothing_else_does() -> None:
    w = World(service_json(), [pod_json("web-0")])
    said = led_by(pod("web-0")) | {"helm": "web", "note": "x", "other": "theirs"}
    del said[contract.EPOCH]
    made = leader_json(annotations=said)
    made["metadata"]["labels"] |= {"app": "web", "chart": "web-1", "tier": "theirs"}
    made["metadata"]["managedFields"] = [
        entry(
            (contract.SOURCE_SERVICE, contract.MANAGED_BY, "app", "chart"), (*led_by(pod()), "helm", "note")
        ),
        entry(("tier",), ("other",)),
    ]
    w.put(Target.SERVICES, made)
    routed = slice_json(pod("web-0"))
    routed["metadata"]["labels"] |= {"app": "web", "chart": "web-1", "tier": "theirs"}
    routed["metadata"]["managedFields"] = [entry((*slice_json(None)["metadata"]["labels"], "app", "chart"))]
    w.put(Target.SLICES, routed)
    w.settle(T0)
    after = w.objects[Target.SERVICES]["web-leader"]["metadata"]
    assert after["labels"] == {
        contract.MANAGED_BY: contract.MANAGER,
        contract.SOURCE_SERVICE: "web",
        "tier": "theirs",
    }
    assert set(after["annotations"]) == {*led_by(pod()), "other"}
    assert after["annotations"][contract.LAST_SWITCH_TIME] == said[contract.LAST_SWITCH_TIME]
    kept = w.objects[Target.SLICES]["web-leader"]["metadata"]["labels"]
    assert kept == slice_json(None)["metadata"]["labels"] | {"tier": "theirs"}
