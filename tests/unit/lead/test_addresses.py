"""Which addresses count, who is passed over for the want of one, and what a second family asks for."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lead.builders import leader, leads, led_by, pod, serve, service, slice_of, snapshot
from zenlead.lead.addresses import Refused, Usable, address, judge, refused
from zenlead.lead.contract import Reason

if TYPE_CHECKING:
    from zenlead.lead.desired import Serve

UNSPECIFIED = str(IPv4Address(0))
DUAL: dict[str, Any] = {"families": ["IPv4", "IPv6"], "policy": "PreferDualStack"}


@pytest.mark.parametrize(
    ("ip", "family", "why"),
    [
        ("169.254.10.1", "IPv4", "link-local"),
        ("127.0.0.1", "IPv4", "a loopback address"),
        ("127.8.8.8", "IPv4", "a loopback address"),
        ("::1", "IPv6", "a loopback address"),
        ("fe80::1", "IPv6", "link-local"),
        ("fe80::1%eth0", "IPv6", "bound to a zone"),
        ("fd00::1%1", "IPv6", "bound to a zone"),
        (UNSPECIFIED, "IPv4", "unspecified"),
        ("::", "IPv6", "unspecified"),
        ("224.0.0.1", "IPv4", "multicast"),
        ("239.1.1.1", "IPv4", "multicast"),
        ("ff02::1", "IPv6", "multicast"),
        ("::ffff:10.1.0.10", "IPv6", "an IPv4 address in the form of IPv6"),
        ("010.1.0.10", "IPv4", "no valid IP address"),
        ("10.1.0", "IPv4", "no valid IP address"),
        ("10.1.0.256", "IPv4", "no valid IP address"),
        (" 10.1.0.1", "IPv4", "no valid IP address"),
        ("fd00::1::2", "IPv6", "no valid IP address"),
        ("", "IPv4", "no valid IP address"),
    ],
)
def test_an_address_that_no_slice_may_carry_is_refused_with_its_reason(
    ip: str, family: str, why: str
) -> None:
    assert judge(ip) == Refused(family, why)


@pytest.mark.parametrize(
    ("ip", "canonical"),
    [
        ("10.1.0.10", "10.1.0.10"),
        ("FD00:0:0::0A", "fd00::a"),
        ("fd00:0:0:1:0:0:0:1", "fd00:0:0:1::1"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ("100.64.0.1", "100.64.0.1"),
    ],
)
def test_an_address_is_written_in_the_form_that_slices_take(ip: str, canonical: str) -> None:
    assert judge(ip) == Usable("IPv6" if ":" in ip else "IPv4", canonical)


def test_a_usable_address_beside_an_unusable_one_counts() -> None:
    view = pod(ips=["169.254.0.5", "10.1.0.12", "fe80::9", "fd00::12"])
    assert (address(view, "IPv4"), address(view, "IPv6")) == ("10.1.0.12", "fd00::12")
    assert (refused(view, "IPv4"), refused(view, "IPv6")) == (None, None)


def test_only_an_address_of_the_family_is_to_blame() -> None:
    view = pod(ips=["10.1.0.12", "fe80::9"])
    assert refused(view, "IPv6") == ("fe80::9", "link-local")
    assert refused(pod(ips=["127.0.0.1"]), "IPv6") is None
    assert refused(pod(ips=[]), "IPv4") is None


# --- who is passed over -------------------------------------------------------------------------------------


def passed_over(desired: Serve) -> list[tuple[str, Reason, str]]:
    return [(it.pod.name, it.reason, it.what) for it in desired.passed_over]


def test_a_pod_whose_address_is_all_that_is_wrong_is_passed_over_and_named() -> None:
    odd = pod("web-0", age=9000, ips=["169.254.10.1"])
    desired = serve(snapshot(odd, pod("web-1", ips=["10.1.0.11"])))
    assert desired.leader is not None
    assert desired.leader.pod.name == "web-1"
    assert passed_over(desired) == [("web-0", Reason.NO_IP, "169.254.10.1")]
    assert desired.passed_over[0].why == "its address 169.254.10.1 is link-local"
    assert passed_over(serve(snapshot(odd))) == [("web-0", Reason.NO_IP, "169.254.10.1")]


@pytest.mark.parametrize(
    "over",
    [
        {"ready": False},
        {"phase": "Pending"},
        {"deleted": True},
        {"labels": {"app": "other"}},
        {"annotations": {"zen-lead.io/candidate": "false"}},
        {"containers": []},  # its port does not resolve either
        {"ips": []},
        {"ips": ["fd00::1"]},
    ],
)
def test_who_is_not_fit_for_another_reason_is_not_named(over: dict[str, Any]) -> None:
    source = service(ports=[{"port": 80, "targetPort": "http"}])
    http = [{"name": "c", "ports": [{"name": "http", "containerPort": 1}]}]
    odd = pod("web-0", **({"ips": ["127.0.0.1"], "containers": http} | over))
    fine = pod("web-1", ips=["10.1.0.11"], containers=http)
    assert passed_over(serve(snapshot(odd, fine, source=source))) == []


def test_a_few_are_named_and_the_same_ones_whatever_the_order() -> None:
    pods = [pod(f"web-{i}", ips=[f"127.0.0.{i + 1}"]) for i in range(9)]
    desired = serve(snapshot(*pods))
    assert [name for name, *_ in passed_over(desired)] == [f"web-{i}" for i in range(5)]
    assert serve(snapshot(*reversed(pods))).passed_over == desired.passed_over


# --- two families -------------------------------------------------------------------------------------------


def dual(*pods: Any, **over: Any) -> Serve:
    return serve(snapshot(*pods, source=service(**(DUAL | over)), at_name=leader(**(DUAL | over))))


def families_served(desired: Serve) -> list[list[str]]:
    return [[a for e in desired.endpoints(i) for a in e.addresses] for i in range(len(desired.families))]


def test_a_second_family_that_is_only_preferred_does_not_take_the_first_away() -> None:
    desired = dual(pod("web-0", ips=["10.1.0.10"]))
    assert families_served(desired) == [["10.1.0.10"], []]
    assert desired.available == 1


def test_a_second_family_that_is_required_is() -> None:
    desired = dual(pod("web-0", ips=["10.1.0.10"]), policy="RequireDualStack")
    assert families_served(desired) == [[], []]
    assert desired.available == 0


def test_without_an_address_of_the_first_family_nobody_leads() -> None:
    assert families_served(dual(pod("web-0", ips=["fd00::10"]))) == [[], []]


def test_a_new_leader_is_rather_one_with_both() -> None:
    desired = dual(pod("web-0", age=9000, ips=["10.1.0.10"]), pod("web-1", ips=["10.1.0.11", "fd00::11"]))
    assert families_served(desired) == [["10.1.0.11"], ["fd00::11"]]
    assert desired.available == 2


def led_dual(led: Any, *pods: Any) -> Serve:
    ours = leader(annotations=led_by(led), **DUAL)
    return serve(
        snapshot(
            *pods,
            led=led,
            source=service(**DUAL),
            at_name=ours,
            services=(ours,),
            slices=(slice_of(led),),
        )
    )


def test_a_leader_with_the_first_family_alone_stays_though_another_has_both() -> None:
    led, both = pod("web-0", ips=["10.1.0.10"]), pod("web-1", ips=["10.1.0.11", "fd00::11"])
    desired = led_dual(led, led, both)
    assert families_served(desired) == [["10.1.0.10"], []]
    assert desired.reason is None


def test_it_goes_for_its_own_reason_and_the_next_is_one_with_both() -> None:
    led, both = pod("web-0", ips=["10.1.0.10"], ready=False), pod("web-2", ips=["10.1.0.12", "fd00::12"])
    desired = led_dual(led, led, pod("web-1", age=9000, ips=["10.1.0.11"]), both)
    assert families_served(desired) == [["10.1.0.12"], ["fd00::12"]]
    assert desired.reason is Reason.NOT_READY


def test_a_leader_that_loses_its_second_address_stays() -> None:
    led = pod("web-0", ips=["10.1.0.10", "fd00::10"])
    desired = led_dual(led, pod("web-0", ips=["10.1.0.10"]), pod("web-1", ips=["10.1.0.11", "fd00::11"]))
    assert families_served(desired) == [["10.1.0.10"], []]


# --- the same address ---------------------------------------------------------------------------------------


def test_pods_on_the_hosts_network_share_an_address_and_are_told_apart_by_uid() -> None:
    first, second = pod("web-0", age=2, ips=["10.9.0.1"]), pod("web-1", age=1, ips=["10.9.0.1"])
    assert leads(snapshot(first, second, led=second)) == "web-1"
    desired = serve(snapshot(pod("web-0", ready=False, ips=["10.9.0.1"]), second, led=first))
    (endpoint,) = desired.endpoints(0)
    assert (endpoint.target_uid, desired.reason) == ("uid-web-1", Reason.NOT_READY)
