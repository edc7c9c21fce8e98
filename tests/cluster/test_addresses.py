"""Addresses on a real API server: families that come and go, addresses that no slice may carry, and pods that
change or share theirs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cluster.scene import eventually, new_address, new_address_v6
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.client import Object
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE, SECOND = "web-leader", "web-leader-ipv6"
SECONDS_5 = 5.0  # a failover takes a small part of this; the machine may be busy


def now() -> float:
    return asyncio.get_running_loop().time()


async def families(where: Namespace, policy: str, wanted: Sequence[str]) -> None:
    """Changes the source's families, as a user does, and waits for the leader Service to follow."""
    spec = {"ipFamilyPolicy": policy, "ipFamilies": list(wanted)}
    await where.client.patch(SERVICES, where.name, "web", {"spec": spec})

    async def followed() -> bool:
        spec = (await where.client.get(SERVICES, where.name, SLICE))["spec"]
        return (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, list(wanted))

    await eventually(followed, f"the leader Service is {policy}")


async def no_second_slice(where: Namespace) -> bool:
    return await where.client.find(ENDPOINT_SLICES, where.name, SECOND) is None


# --- families -----------------------------------------------------------------------------------------------


async def test_a_second_family_comes_and_goes_and_the_first_routes_all_the_time(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    pods = {f"web-{i}": [new_address(), new_address_v6()] for i in range(2)}
    for name, addresses in pods.items():
        await namespace.pod(name, addresses=addresses)
    await namespace.service("web", ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"])
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    started = now()
    for _ in range(2):
        again = now()
        await families(namespace, "PreferDualStack", ["IPv4", "IPv6"])
        second = await recorder.wait_leader(SECOND, "web-0", since=again)
        assert second.addresses == (pods["web-0"][1],)
        await families(namespace, "SingleStack", ["IPv4"])
        await eventually(lambda: no_second_slice(namespace), "the second slice is gone")
    await recorder.quiet(0.6)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=started) == 0, "what stays is left alone"
    recorder.never_empty_between(SLICE, started, now())
    assert recorder.events("LeaderChanged") == []


async def test_a_second_family_that_pods_have_not_yet_takes_nothing_away(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    """As while a cluster is converted: the Services get their second family first, the pods one by one."""
    await pods.service("web", ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"])
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    started = now()
    await families(pods, "PreferDualStack", ["IPv4", "IPv6"])
    made = await recorder.wait(lambda r: r.name == SECOND, "the second slice")
    assert made.leaders == ()
    second = new_address_v6()
    web_1 = (await pods.client.get(PODS, pods.name, "web-1"))["status"]["podIP"]
    await pods.pod_status("web-1", addresses=[web_1, second])
    await recorder.quiet(0.6)
    assert recorder.leaders(SLICE) == ["web-0"], "who leads need not go for that"
    recorder.never_empty_between(SLICE, started, now())
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started, timeout_s=SECONDS_5)
    moved = await recorder.wait_leader(SECOND, "web-1", since=started, timeout_s=SECONDS_5)
    assert moved.addresses == (second,)
    await families(pods, "SingleStack", ["IPv4"])
    await eventually(lambda: no_second_slice(pods), "the second slice is gone")
    recorder.never_empty_between(SLICE, started, now())


async def test_a_second_family_comes_first_when_the_service_has_it_first(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    v4, v6 = new_address(), new_address_v6()
    await namespace.pod("web-0", addresses=[v4, v6])
    await namespace.service("web", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv6", "IPv4"])
    await zenlead_process()
    first = await recorder.wait_leader(SLICE, "web-0")
    second = await recorder.wait_leader(f"{SLICE}-ipv4", "web-0")
    assert (first.body["addressType"], first.addresses) == ("IPv6", (v6,))
    assert (second.body["addressType"], second.addresses) == ("IPv4", (v4,))
    await families(namespace, "SingleStack", ["IPv6"])

    async def one() -> bool:
        return [s["addressType"] for s in await namespace.slices_of(SLICE)] == ["IPv6"]

    await eventually(one, "the slice of the second family is gone")
    recorder.never_empty_between(SLICE, first.at, now())


# --- addresses that no slice may carry ----------------------------------------------------------------------


async def test_an_address_that_no_slice_may_carry_is_passed_over_with_one_warning(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0", addresses=["169.254.10.1"])
    usable = (await namespace.pod("web-1"))["status"]["podIP"]
    await namespace.service("web")
    process = await zenlead_process()
    first = await recorder.wait_leader(SLICE, "web-1")
    assert first.addresses == (usable,)
    for number in range(20):
        await namespace.annotate("web-0", {"n": str(number)}, PODS)
        await namespace.annotate("web-1", {"zen-lead.io/priority": str(number)}, PODS)
    await recorder.quiet(0.6)
    (event,) = recorder.events("UnusableAddress", regarding="web")
    assert event["type"] == "Warning"
    assert event["related"]["name"] == "web-0"
    for word in ("web-0", "169.254.10.1", "link-local"):
        assert word in event["note"]
    await namespace.pod_status("web-0", addresses=["127.0.0.1"])  # another address is another piece of news
    await recorder.wait(lambda r: len(recorder.events("UnusableAddress")) == 2, "the second warning")
    await recorder.quiet(0.6)
    assert recorder.leaders(SLICE) == ["web-1"]
    counted = [name for name, value in (await process.metrics()).items() if value]
    refused = [name for name in counted if "write_errors" in name or 'result="invalid"' in name]
    assert refused == [], "nothing was sent that the API server refuses"


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.251"])  # noqa: S104 - of a pod
async def test_with_no_usable_address_nobody_leads_and_nothing_is_tried(
    web: Namespace, recorder: Recorder, address: str
) -> None:
    started = now()
    for index in (1, 2):
        await web.delete_pod(f"web-{index}")
    await web.pod_status("web-0", addresses=[address])
    await recorder.wait_leader(SLICE, None, since=started, timeout_s=SECONDS_5)
    await recorder.quiet(1.0)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=started) == 1
    assert len(recorder.events("UnusableAddress")) == 1
    assert len(recorder.events("NoReadyPods")) == 1
    again = now()
    good = new_address()
    await web.pod_status("web-0", addresses=[good])
    back = await recorder.wait_leader(SLICE, "web-0", since=again, timeout_s=SECONDS_5)
    assert back.addresses == (good,)


# --- addresses that change, and that several pods have ------------------------------------------------------


async def test_new_addresses_of_the_same_pod_are_no_failover_in_either_family(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await namespace.pod("web-0", addresses=[new_address(), new_address_v6()])
    await namespace.pod("web-1", addresses=[new_address(), new_address_v6()])
    await namespace.service("web", ipFamilyPolicy="RequireDualStack")
    process = await zenlead_process()
    before = {name: await recorder.wait_leader(name, "web-0") for name in (SLICE, SECOND)}
    await recorder.quiet(0.6)
    started = now()
    fresh = [new_address(), new_address_v6()]
    await namespace.pod_status("web-0", addresses=fresh)
    for name, address in zip((SLICE, SECOND), fresh, strict=True):
        moved = await recorder.wait(
            lambda r, name=name, address=address: r.name == name and r.addresses == (address,),
            f"{name} has {address}",
            SECONDS_5,
        )
        epochs = [
            r.body["metadata"]["annotations"]["zen-lead.io/leader-epoch"] for r in (before[name], moved)
        ]
        assert epochs[0] == epochs[1]
        assert moved.leaders == ("web-0",)
    await recorder.quiet(0.6)
    assert [recorder.writes(ENDPOINT_SLICES, name, since=started) for name in (SLICE, SECOND)] == [1, 1]
    assert recorder.events("LeaderChanged") == []
    failovers = {n: v for n, v in (await process.metrics()).items() if "failover_count_total{" in n}
    assert not any(failovers.values())


async def host_pod(where: Namespace, name: str, address: str) -> Object:
    """A pod on the host's network: its address is the node's."""
    await where.pod(name, addresses=[address], hostNetwork=True, ports=[])
    status = {"hostIP": address, "hostIPs": [{"ip": address}]}
    return await where.client.patch(PODS, where.name, name, {"status": status}, subresource="status")


async def test_pods_on_one_hosts_network_fail_over_although_the_address_stays(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    node = new_address()
    for name in ("web-0", "web-1"):
        await host_pod(namespace, name, node)
    await namespace.service("web", ports=[{"port": 80, "targetPort": 8080}])
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    started = now()
    await namespace.pod_status("web-0", ready=False)
    moved = await recorder.wait_leader(SLICE, "web-1", since=started, timeout_s=SECONDS_5)
    await recorder.quiet(0.6)
    assert moved.addresses == (node,)
    assert recorder.writes(ENDPOINT_SLICES, SLICE, since=started) == 1
    recorder.never_empty_between(SLICE, started, now())
    (event,) = recorder.events("LeaderChanged", regarding="web")
    assert "web-1" in event["note"]
    await namespace.pod_status("web-0", ready=True)
    await recorder.quiet(0.6)
    assert recorder.leaders(SLICE) == ["web-0", "web-1"], "the leader is known by its UID"
