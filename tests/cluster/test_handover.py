"""From one replica to the next while there is always something to write: how long nobody does, and never two.

A hand-over is measured from the last write of the old replica to the first of the new one, by revisions of
the slice: the leader falls as soon as it is routed to, again and again, so whoever may write has to.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.cluster.faultproxy import Delay, FaultProxy, Hang
from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.cluster.faultproxy import Asked
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
SURVEYED = "zen-lead.io/source-service,endpointslice.kubernetes.io/managed-by!=zen-lead"
LEASE = "zen-lead-controller-leader-election"
DURATION_S, DEADLINE_S, PERIOD_S = 3, 2, 0.5
FAST = (
    f"--leader-election-lease-duration={DURATION_S}s",
    f"--leader-election-renew-deadline={DEADLINE_S}s",
    f"--leader-election-retry-period={PERIOD_S * 1000:.0f}ms",
)
DEFAULT = ()  # 15 s, 10 s, 2 s
EXIT_WITHIN_S = 5.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def holds(where: Namespace, name: str, *, timeout_s: float) -> None:
    async def named() -> bool:
        lease = await where.client.find(LEASES, where.name, LEASE)
        return lease is not None and lease["spec"].get("holderIdentity") == name

    await eventually(named, f"{name} holds the Lease", timeout_s=timeout_s)


def is_work(asked: Asked) -> bool:
    """A write that only whoever holds the Lease may make."""
    return asked.is_write and not asked.of(LEASES)


async def fall_in_turn(where: Namespace, recorder: Recorder) -> None:
    """The leader fails as soon as it leads, when the other pod is well again; without end."""
    leader, other = "web-0", "web-1"
    while True:
        await where.pod_status(other, ready=True)
        # Before the request: the move may be seen before its answer. Nothing older counts, or the pods would
        # go on falling while nobody leads, and the second replica might find a leader that is well.
        fell_at = now()
        await where.pod_status(leader, ready=False)
        await recorder.wait_leader(SLICE, other, since=fell_at, timeout_s=60.0)
        leader, other = other, leader


@contextlib.asynccontextmanager
async def falling(where: Namespace, recorder: Recorder) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fall_in_turn(where, recorder))
        yield
        task.cancel()


def longest_gap(recorder: Recorder, since: float) -> float:
    """The longest time between two writes of the slice."""
    times = [revision.at for revision in recorder.slice(SLICE, since=since)]
    return max(later - sooner for sooner, later in itertools.pairwise(times))


class End(NamedTuple):
    """How the first replica ends, the times of the Lease, and how long then nobody may write."""

    how: str
    lease: tuple[str, ...]
    within_s: float


@pytest.mark.parametrize(
    "end",
    [
        End("politely", DEFAULT, 1.0),
        End("by a kill", FAST, 4.0),
        End("by a kill", DEFAULT, 17.0),
    ],
    ids=["SIGTERM", "SIGKILL 3-2-0.5", "SIGKILL 15-10-2"],
)
async def test_the_time_without_writes(
    *,
    duo: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    proxies: tuple[FaultProxy, FaultProxy],
    configs: tuple[Path, Path],
    end: End,
) -> None:
    _, proxy = proxies
    ends, lease, within_s = end
    first = await zenlead_process(*lease)
    await holds(duo, "zenlead-0", timeout_s=5.0)
    await zenlead_process(*lease, kubeconfig=configs[1])
    await recorder.wait_leader(SLICE, "web-0")
    started = now()
    async with falling(duo, recorder):
        await asyncio.sleep(1.0)
        ended_at = now()
        if ends == "politely":
            first.terminate()
            assert await first.wait(EXIT_WITHIN_S) == 0
            assert now() - ended_at <= EXIT_WITHIN_S
        else:
            first.kill()
        await holds(duo, "zenlead-1", timeout_s=within_s + 3.0)
        await asyncio.sleep(1.0)
    gap_s = longest_gap(recorder, since=started)
    print(f"hand-over: {gap_s:.3f} s")  # pytest -rP shows it
    assert gap_s <= within_s
    assert [r for r in recorder.slice(SLICE) if r.at >= ended_at + gap_s], "the second writes"
    recorder.never_two_ready(SLICE)
    recorder.never_empty_between(SLICE, started, now())
    # The second had everything in its caches: taking over costs it no list and no new watch. (What others
    # left on our Services is not in the caches: a new term has one look for it, apart from failovers.)
    whole = [a for a in proxy.asked if a.at >= ended_at and (a.is_watch or a.is_full)]
    assert [a for a in whole if a.query.get("labelSelector") != SURVEYED] == []
    assert len(whole) <= 1


async def test_what_hangs_at_the_end_is_abandoned(
    duo: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    configs: tuple[Path, Path],
    proxy: FaultProxy,
) -> None:
    first = await zenlead_process(kubeconfig=configs[0])
    await holds(duo, "zenlead-0", timeout_s=5.0)
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    hung = proxy.on(is_work, Hang())
    await duo.pod_status("web-0", ready=False)

    async def under_way() -> bool:
        return bool(hung.struck)

    await eventually(under_way, "the first replica's write hangs")
    ended_at = now()
    first.terminate()
    assert await first.wait(EXIT_WITHIN_S) == 0
    assert now() - ended_at <= EXIT_WITHIN_S
    moved = await recorder.wait_leader(SLICE, "web-1", timeout_s=5.0)
    assert moved.at - ended_at <= EXIT_WITHIN_S, "it gave the Lease back: nobody waits until that expires"


async def test_it_ends_in_time_although_the_api_server_answers_nothing(
    duo: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    proxy: FaultProxy,
    configs: tuple[Path, Path],
) -> None:
    process = await zenlead_process(kubeconfig=configs[0])
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    hung = proxy.on(lambda asked: True, Hang())
    await duo.pod_status("web-0", ready=False)

    async def renewal_hangs() -> bool:
        return any(asked.of(LEASES) for asked in hung.struck)

    await eventually(renewal_hangs, "a renewal hangs too")
    ended_at = now()
    process.terminate()
    assert await process.wait(EXIT_WITHIN_S) == 0
    assert now() - ended_at <= EXIT_WITHIN_S


async def test_who_stood_still_until_its_lease_was_anothers_writes_nothing(
    pods: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    proxy: FaultProxy,
    tmp_path: Path,
) -> None:
    """One write of it is under way when it is stopped, and arrives when the other has written already."""
    await pods.service("web")
    config = proxy.kubeconfig(tmp_path / "first.kubeconfig", pods.name)
    first = await zenlead_process("--log-level=debug", *FAST, kubeconfig=config)
    await holds(pods, "zenlead-0", timeout_s=5.0)
    second = await zenlead_process(*FAST)
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    late = proxy.on(lambda a: is_work(a) and a.of(ENDPOINT_SLICES), Delay(DURATION_S + 3.0), times=1)
    await pods.pod_status("web-0", ready=False)

    async def under_way() -> bool:
        return bool(late.struck)

    await eventually(under_way, "the first replica writes the slice")
    first.freeze()
    stopped_at = now()
    await recorder.wait_leader(SLICE, "web-1", since=stopped_at, timeout_s=5.0)
    await pods.pod_status("web-1", ready=False)
    await recorder.wait_leader(SLICE, "web-2")
    await asyncio.sleep(stopped_at + DURATION_S + 3.5 - now())  # the late write has arrived by now
    first.thaw()
    thawed_at = now()
    await pods.pod_status("web-0", ready=True)
    await asyncio.sleep(2 * DEADLINE_S)
    assert [a for a in proxy.asked if is_work(a) and a.at > late.struck[0].at] == []
    assert recorder.leaders(SLICE) == ["web-0", "web-1", "web-2"]
    assert recorder.writes(ENDPOINT_SLICES, SLICE) == 3, "the late write was refused"
    # It waits for its turn again, and works when that comes.
    assert first.exit_code is None
    await first.ready()
    assert (await first.http(f"{first.health_url}/healthz"))[0] == 200
    second.kill()
    await pods.pod_status("web-2", ready=False)
    moved = await recorder.wait_leader(SLICE, "web-0", since=thawed_at, timeout_s=6.0)
    assert [a for a in proxy.asked if is_work(a) and thawed_at < a.at <= moved.at]
