"""What a client notices: real kube-proxy, real packets, and when connections reach another pod.

Knows kube-proxy's command line and which Services have which kind of source. Refuses to know packets. The
rule not to break: between two samples kube-proxy has been idle for longer than it makes changes wait, so that
each of them begins in the same state.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from benchmarks.arena import Side, gather_times
from benchmarks.client import MERGE_PATCH
from benchmarks.contestants import Zenlead, start_floor
from benchmarks.leaders import write_leaders
from benchmarks.lifecycle import first_targets
from benchmarks.network import MACHINE, NODE_OUT, Network
from benchmarks.scene import NODE_COUNT, Group, encode
from benchmarks.stats import spread
from tests.cluster import build
from tests.cluster.process import spawn, stop
from tests.cluster.zenlead_process import ROOT
from zenlead.kube.resources import NODES, SERVICES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Iterator

    from benchmarks.arena import Arena

# kube-proxy applies a change at once and the next ones a second later (its minSyncPeriod), after which others
# wait for a second again. A sample begins when that is over.
GAP_S = 2.5
FIRST_ANSWER_TIMEOUT_S = 30.0
SAMPLE_TIMEOUT_S = 10.0
SETTLE_S = 4.0
SOON_MS = 100.0  # a failover below had its change applied at once
SOURCES = {"headless": True, "ClusterIP": False}
BIND = ("--bind-address=0.0.0.0",)  # kube-proxy cannot reach the loopback address of another namespace


class Client:
    """Connects from the node, one connection after the other, and tells who answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def dial(self, address: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError("no way to tell the client anything")
        self._process.stdin.write(f"{address} 80\n".encode())
        await self._process.stdin.drain()

    async def until(self, answers: set[str], timeout_s: float) -> float:
        """The time at which one of these pods (by address) has answered."""
        if self._process.stdout is None:
            raise RuntimeError("no way to hear of the client")
        async with asyncio.timeout(timeout_s):
            while line := await self._process.stdout.readline():
                at, answer = line.decode().split()
                if answer in answers:
                    return float(at)
        raise RuntimeError("the client ended")


async def dataplane(arena: Arena, network: Network, samples: int) -> dict[str, Any]:
    """Milliseconds from the failure of a leader to the first connection that another pod answers."""
    count = max(2, -(-samples // 2))  # each Service of three pods can lose two leaders
    groups = {
        (who, source): Group(
            arena.client,
            f"path-{who}-{source.lower()}",
            count,
            3,
            opted_in=who == "zenlead",
            headless=headless,
        )
        for source, headless in SOURCES.items()
        for who in ("zenlead", "floor")
    }
    await _node_addresses(arena)
    for group in groups.values():
        await group.open()
        await group.fill()
        network.give(group.addresses.values())
    async with contextlib.AsyncExitStack() as stack:
        native = arena.start_native()
        sides: dict[tuple[str, str], Side] = {}
        # Before anybody makes them: zenlead is done with all of its own at once.
        expected = {key: first_targets(arena, group) for key, group in groups.items()}
        arena.zenlead = Zenlead(arena.plane)
        for (who, source), group in groups.items():
            process: Any = arena.zenlead
            if who == "floor":
                await write_leaders(arena.client, group, group.services)
                process = start_floor(arena.plane, group.namespace)
                stack.callback(process.close)
                await process.watching()
            await gather_times(expected[who, source], FIRST_ANSWER_TIMEOUT_S, lambda: "first leaders")
            sides[who, source] = Side(who, group, process, arena.observer)
        stack.callback(_proxy(arena, network).close)
        client = await stack.enter_async_context(_client(arena, network))
        await asyncio.sleep(SETTLE_S)
        native.check()
        taken = await _samples(arena, sides, client, samples)
    return {"by": {"/".join(key): _told(found) for key, found in taken.items()}, "samples": samples}


def _told(found: list[dict[str, float]]) -> dict[str, Any]:
    taken = [sample["client_ms"] for sample in found]
    soon = sum(one < SOON_MS for one in taken) / len(taken)
    slices = spread([sample["slice_ms"] for sample in found])
    return {"client_ms": spread(taken), "soon": soon, "slice_ms": slices, "samples": taken}


async def _samples(
    arena: Arena, sides: dict[tuple[str, str], Side], client: Client, samples: int
) -> dict[tuple[str, str], list[dict[str, float]]]:
    rings: dict[tuple[str, str], Iterator[str]] = {
        key: itertools.cycle(side.group.services) for key, side in sides.items()
    }
    taken: dict[tuple[str, str], list[dict[str, float]]] = {key: [] for key in sides}
    for number in range(samples):
        for key in arena.random.sample(list(sides), len(sides)):
            taken[key].append(await _sample(arena, sides[key], next(rings[key]), client))
            await asyncio.sleep(GAP_S)
        if number % 10 == 9:
            arena.say(f"  {number + 1} of {samples}")
    return taken


async def _sample(arena: Arena, side: Side, service: str, client: Client) -> dict[str, float]:
    group = side.group
    victim = side.victim(service)
    path = SERVICES.path(group.namespace, f"{service}-leader")
    leader = msgspec.json.decode(await arena.client.send("GET", path))
    await client.dial(leader["spec"]["clusterIP"])
    await client.until({group.addresses[victim]}, FIRST_ANSWER_TIMEOUT_S)
    moved = side.reaction(service, victim)
    others = {group.addresses[pod] for pod in group.pods[service]} - {group.addresses[victim]}
    sent = time.perf_counter()
    await group.fail(victim)
    seen = await client.until(others, SAMPLE_TIMEOUT_S)
    return {"client_ms": (seen - sent) * 1e3, "slice_ms": (await moved - sent) * 1e3}


async def _node_addresses(arena: Arena) -> None:
    """kube-proxy asks for the address of its node."""
    for number in range(NODE_COUNT):
        told = {"status": {"addresses": [{"type": "InternalIP", "address": NODE_OUT}]}}
        await arena.client.send("PATCH", NODES.path(None, f"n{number}", "status"), encode(told), MERGE_PATCH)


class _Program:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def close(self) -> None:
        stop(self._process, timeout_s=2.0)


def _proxy(arena: Arena, network: Network) -> _Program:
    plane = arena.plane
    path = plane.kubeconfig(plane.folder / "proxy.kubeconfig")
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    cluster |= {"server": f"https://{MACHINE}:{plane.port}", "tls-server-name": "localhost"}
    path.write_text(yaml.safe_dump(config))
    command = [
        str(build.binary("kube-proxy")),
        f"--kubeconfig={path}",
        "--proxy-mode=nftables",
        "--hostname-override=n0",
        # The limits of conntrack are the machine's, and are left as they are.
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    return _Program(
        spawn(network.inside(network.node, command), log=plane.logs / "kube-proxy.log", cwd=plane.folder)
    )


@contextlib.asynccontextmanager
async def _client(arena: Arena, network: Network) -> AsyncIterator[Client]:
    program = [sys.executable, "-m", "benchmarks.connects"]
    pods = spawn(
        network.inside(network.pods, [*program, "serve"]), log=arena.plane.logs / "pods.log", cwd=ROOT
    )
    process = await asyncio.create_subprocess_exec(
        *network.inside(network.node, [*program, "dial"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        await process.wait()
        stop(pods, timeout_s=0.0)
