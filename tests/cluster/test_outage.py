"""An API server that goes away, and one that is back with an older state, on a control plane of our own."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.client import KubeClient
from tests.cluster.controlplane import ControlPlane
from tests.cluster.scene import Namespace, create_nodes, eventually
from zenlead.kube.informer import RETRY_CAP_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.zenlead_process import ZenleadProcess

COUNT = 5
AWAY_S = 17.0  # longer than a Lease lasts
BACK_WITHIN_S = 5.0
LEASE_S = 15.0
LISTED = ("services", "endpointslices", "pods")


@pytest.fixture
def controlplane() -> Iterator[ControlPlane]:
    """Nobody else's, since it is stopped."""
    with ControlPlane(controllers=()) as plane:
        yield plane


@pytest.fixture
async def namespace(controlplane: ControlPlane) -> AsyncIterator[Namespace]:
    async with client_of(controlplane) as client:
        await create_nodes(client)
        made = Namespace(client, "t1")
        await made.open()
        for service, pod in itertools.product(range(COUNT), "ab"):
            await made.pod(f"s{service}-{pod}", labels={"app": f"s{service}"})
        for service in range(COUNT):
            await made.service(f"s{service}")
        yield made


def client_of(plane: ControlPlane) -> KubeClient:
    return KubeClient(plane.url, ca=plane.ca, token=plane.token)


async def leaders(where: Namespace) -> dict[str, str]:
    found = {}
    for service in range(COUNT):
        for item in await where.slices_of(f"s{service}-leader"):
            found[f"s{service}"] = "".join(e["targetRef"]["name"] for e in item["endpoints"] or ())
    return found


async def led(where: Namespace, wanted: dict[str, str], *, timeout_s: float) -> None:
    async def are() -> bool:
        return await leaders(where) == wanted

    await eventually(are, f"{wanted} lead", timeout_s=timeout_s)


def all_of(pod: str) -> dict[str, str]:
    return {f"s{service}": f"s{service}-{pod}" for service in range(COUNT)}


async def fall(where: Namespace, pod: str, *, ready: bool = False) -> None:
    for service in range(COUNT):
        await where.pod_status(f"s{service}-{pod}", ready=ready)


def synced(process: ZenleadProcess) -> dict[str, int]:
    """How often each kind was read whole."""
    found = [r["resource"] for r in process.records if r.get("event") == "informer.synced"]
    return {kind: found.count(kind) for kind in LISTED}


def tries(records: list[dict[str, Any]], kind: str) -> int:
    """How often a kind was asked for in vain."""
    done = [r for r in records if r.get("event") == "request.done" and r["resource"] == kind]
    return len([r for r in done if r["verb"] in {"list", "watch"} and r["result"] == "unreachable"])


async def test_an_api_server_that_goes_away_and_comes_back(
    controlplane: ControlPlane, namespace: Namespace, zenlead_process: StartZenlead
) -> None:
    process = await zenlead_process("--log-level=debug")
    await led(namespace, all_of("a"), timeout_s=10.0)
    await asyncio.sleep(1.0)
    assert synced(process) == dict.fromkeys(LISTED, 1)
    told = len(process.records)
    await fall(namespace, "a")  # some of these are seen, and some not any more
    controlplane.stop_apiserver()
    await asyncio.sleep(AWAY_S)
    waits = [r for r in process.records[told:] if r.get("event") == "watch.restarted"]
    for kind in LISTED:
        assert AWAY_S / RETRY_CAP_S <= tries(process.records[told:], kind) <= 10 + AWAY_S / RETRY_CAP_S * 3
        delays = [r["delay_s"] for r in waits if r["resource"] == kind and r["reason"] == "unreachable"]
        assert len(set(delays)) == len(delays), "no jitter"
        assert max(delays) <= RETRY_CAP_S
    controlplane.start_apiserver()
    started = asyncio.get_running_loop().time()
    async with client_of(controlplane) as client:
        back = Namespace(client, namespace.name)
        await led(back, all_of("b"), timeout_s=BACK_WITHIN_S)
        took_s = asyncio.get_running_loop().time() - started
        assert took_s <= BACK_WITHIN_S
        await process.ready(timeout_s=BACK_WITHIN_S - took_s)  # leaders need pods and Lease, this all kinds
        assert all(count <= 2 for count in synced(process).values()), "more than one full list each"
        await fall(back, "a", ready=True)
        await fall(back, "b")
        await led(back, all_of("a"), timeout_s=3.0)
        await back.close()


async def test_an_etcd_that_is_restored_from_an_older_snapshot(
    controlplane: ControlPlane, namespace: Namespace, zenlead_process: StartZenlead
) -> None:
    process = await zenlead_process("--log-level=debug")
    await led(namespace, all_of("a"), timeout_s=10.0)
    snapshot = controlplane.folder / "snapshot"
    with controlplane.etcd_stopped() as data:
        shutil.copytree(data, snapshot)
    async with client_of(controlplane) as client:
        now = Namespace(client, namespace.name)
        await fall(now, "a")
        await led(now, all_of("b"), timeout_s=20.0)
        for service, turn in itertools.product(range(COUNT), range(20)):  # so that the versions move far on
            await now.annotate(f"s{service}", {"turn": str(turn)})
    before = synced(process)
    with controlplane.etcd_stopped() as data:
        shutil.rmtree(data)
        shutil.copytree(snapshot, data)
    async with client_of(controlplane) as client:
        back = Namespace(client, namespace.name)
        assert await leaders(back) == all_of("a"), "not restored"
        await fall(back, "a")
        await led(back, all_of("b"), timeout_s=LEASE_S + BACK_WITHIN_S)
        assert synced(process) == {kind: count + 1 for kind, count in before.items()}
        await fall(back, "a", ready=True)
        await fall(back, "b")
        await led(back, all_of("a"), timeout_s=3.0)
        await back.close()
