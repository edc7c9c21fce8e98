"""Which pods may lead, and the word for why one may not (any more)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.unit.lead.builders import T0, leads, pod, serve, service, snapshot, stamp
from zenlead.lead.contract import Reason, Routing
from zenlead.lead.select import Need, best, is_candidate, selected, unfit

UNSPECIFIED = str(IPv4Address(0))
NEED = Need(service(), ("IPv4",))


def test_a_running_ready_selected_pod_with_an_address_is_fit() -> None:
    assert unfit(pod(), NEED) is None


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"ready": False}, Reason.NOT_READY),
        ({"conditions": []}, Reason.NOT_READY),
        ({"conditions": None}, Reason.NOT_READY),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, Reason.NOT_READY),
        ({"phase": "Pending"}, Reason.NOT_READY),
        ({"phase": "Unknown"}, Reason.NOT_READY),
        ({"phase": ""}, Reason.NOT_READY),
        ({"phase": "Succeeded"}, Reason.FINISHED),
        ({"phase": "Failed"}, Reason.FINISHED),
        ({"deleted": True}, Reason.TERMINATING),
        ({"ips": []}, Reason.NO_IP),
        ({"ips": ["fd00::1"]}, Reason.NO_IP),
        ({"ips": ["no address"]}, Reason.NO_IP),
        ({"labels": {"app": "other"}}, Reason.DESELECTED),
        ({"labels": None}, Reason.DESELECTED),
    ],
)
def test_each_rule_makes_a_ready_pod_unfit(over: dict[str, Any], reason: Reason) -> None:
    assert unfit(pod(**over), NEED) is reason


def test_what_cannot_come_back_is_named_first() -> None:
    order = [
        ({"phase": "Failed", "deleted": True, "labels": {}, "ips": [], "ready": False}, Reason.FINISHED),
        ({"deleted": True, "labels": {}, "ips": [], "ready": False}, Reason.TERMINATING),
        ({"labels": {}, "ips": [], "ready": False}, Reason.DESELECTED),
        ({"ips": [], "ready": False}, Reason.NO_IP),
        ({"ready": False}, Reason.NOT_READY),
    ]
    assert [unfit(pod(**over), NEED) for over, _ in order] == [reason for _, reason in order]


@pytest.mark.parametrize("where", ["labels", "annotations"])
@pytest.mark.parametrize(
    ("value", "may"), [("false", False), ("0", False), ("F", False), ("true", True), ("no", True), ("", True)]
)
def test_the_owner_of_a_pod_can_keep_it_from_leading(where: str, value: str, may: bool) -> None:
    entries = {"zen-lead.io/candidate": value}
    over = {"labels": {"app": "web"} | entries} if where == "labels" else {"annotations": entries}
    view = pod(**over)
    assert is_candidate(view) is may
    assert unfit(view, NEED) is (None if may else Reason.DESELECTED)


def test_no_candidates_is_as_no_pods() -> None:
    seen = snapshot(pod(annotations={"zen-lead.io/candidate": "false"}))
    assert serve(seen).routing is Routing.NO_PODS_FOUND


def test_an_empty_selector_selects_nothing() -> None:
    assert not selected({}, {"app": "web"})
    assert not selected({}, {})
    assert selected({"app": "web"}, {"app": "web", "more": "x"})
    assert not selected({"app": "web", "tier": "a"}, {"app": "web"})


@pytest.mark.parametrize("ip", ["169.254.10.1", "127.0.0.1", UNSPECIFIED, "224.0.0.251"])
def test_a_pod_with_an_unusable_address_is_skipped_though_it_is_the_oldest(ip: str) -> None:
    seen = snapshot(pod("web-0", age=9000, ips=[ip]), pod("web-1", age=10, ips=["10.1.0.11"]))
    assert leads(seen) == "web-1"


def test_without_pod_ips_the_single_pod_ip_counts() -> None:
    import msgspec

    from tests.unit.lead.builders import pod_json
    from zenlead.lead.wire import WirePod, decode

    body = pod_json()
    body["status"]["podIPs"] = None
    assert decode(WirePod, msgspec.json.encode(body)).ips == ("10.1.0.10",)


def test_each_family_of_the_leader_service_is_needed() -> None:
    both = service(families=["IPv4", "IPv6"], policy="RequireDualStack")
    need = Need(both, both.ip_families)
    assert unfit(pod(ips=["10.1.0.1"]), need) is Reason.NO_IP
    assert unfit(pod(ips=["10.1.0.1", "fd00::1"]), need) is None


def test_not_ready_addresses_are_never_routed_to() -> None:
    source = service(spec={"publishNotReadyAddresses": True})
    assert leads(snapshot(pod(ready=False), source=source)) is None


def test_the_oldest_leads_and_equal_ages_go_by_name() -> None:
    old, young = pod("web-9", age=500), pod("web-1", age=400)
    assert leads(snapshot(young, old)) == "web-9"
    assert leads(snapshot(pod("web-b"), pod("web-a"), pod("web-c"))) == "web-a"
    assert best([]) is None


def test_ready_since_is_the_time_of_the_condition_and_else_of_the_pod() -> None:
    assert pod(ready_for=77).ready_since == T0 - 77
    undated = pod(age=300, conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": None}])
    assert undated.ready_since == T0 - 300
    down = pod(ready=False, ready_for=5)
    assert (down.ready_since, down.unready_since) == (None, T0 - 5)
    assert stamp(T0).endswith("Z")
