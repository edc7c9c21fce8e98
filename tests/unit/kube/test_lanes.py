"""Writes by lanes: pace, retries, pauses and authority, in exact virtual seconds."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import backoff
import pytest

from zenlead.kube.api import request_lane
from zenlead.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Throttled, Unreachable
from zenlead.kube.facts import RetryScheduled, RetrySucceeded
from zenlead.kube.lane import Lane
from zenlead.kube.lanes import (
    ATTEMPT_TIMEOUT_S,
    THROTTLED_PAUSE_S,
    URGENT_IN_FLIGHT,
    WRITE_LANES,
    Fenced,
    LaneWriter,
    Outdated,
    RetryPolicy,
)
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.kube.facts import KubeFact
    from zenlead.kube.resources import Resource

pytestmark = pytest.mark.virtual_clock

REFUSED = Unreachable("connection refused")


def now() -> float:
    return asyncio.get_running_loop().time()


class ScriptedWriter:
    """Answers each request with the next item of a script; remembers when and how it was asked."""

    def __init__(self, *script: ApiError | bytes, takes_s: float = 0.0) -> None:
        self.script = list(script)
        self.takes_s = takes_s
        self.starts: list[float] = []
        self.requests: list[tuple[str, str, str, str]] = []
        self.in_flight = 0
        self.peak = 0

    async def _answer(self, verb: str, namespace: str, name: str, extra: str) -> bytes:
        self.starts.append(now())
        self.requests.append((verb, namespace, name, extra))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.in_flight -= 1
        item = self.script.pop(0) if self.script else b"done"
        if isinstance(item, ApiError):
            raise item
        return item

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        return await self._answer("create", namespace, "", request_lane.get())

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        return await self._answer("patch", namespace, name, subresource)

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        return await self._answer("delete", namespace, name, body.decode())


@pytest.fixture(autouse=True)
def full_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter that draws the longest delay, so that times are exact."""
    monkeypatch.setattr(backoff, "full_jitter", lambda value: value)


def lanes_on(
    writer: ScriptedWriter,
    *,
    fence: Callable[[], float] = lambda: math.inf,
    qps: float = 0,
    burst: int = 0,
    policies: dict[Lane, RetryPolicy] | None = None,
    facts: list[KubeFact] | None = None,
) -> LaneWriter:
    notify = (lambda _: None) if facts is None else facts.append
    return LaneWriter(writer, fence=fence, qps=qps, burst=burst, policies=policies, notify=notify)


async def patch(lanes: LaneWriter, lane: Lane, name: str = "web-leader", *, credits: int = 0) -> bytes:
    return await lanes.on(lane, service="web", credits=credits).patch(ENDPOINT_SLICES, "t1", name, b"{}")


# --- what is sent ---------------------------------------------------------------------------------


async def test_requests_reach_the_writer_as_they_are_and_know_their_lane() -> None:
    writer = ScriptedWriter()
    sender = lanes_on(writer).on(Lane.URGENT)
    assert await sender.create(SERVICES, "t1", b"{}") == b"done"
    await sender.patch(SERVICES, "t1", "web", b"{}", subresource="status")
    await sender.delete(SERVICES, "t1", "web", b"{1}")
    assert writer.requests == [
        ("create", "t1", "", "urgent"),
        ("patch", "t1", "web", "status"),
        ("delete", "t1", "web", "{1}"),
    ]
    assert request_lane.get() == ""


# --- retries --------------------------------------------------------------------------------------


async def test_a_routine_write_is_tried_three_times_with_growing_delays() -> None:
    writer = ScriptedWriter(REFUSED, REFUSED, REFUSED)
    with pytest.raises(Unreachable):
        await patch(lanes_on(writer), Lane.ROUTINE)
    assert writer.starts == pytest.approx([0.0, 0.1, 0.3])


async def test_an_urgent_write_is_tried_twice_at_once() -> None:
    writer = ScriptedWriter(REFUSED, REFUSED)
    with pytest.raises(Unreachable):
        await patch(lanes_on(writer), Lane.URGENT)
    assert writer.starts == pytest.approx([0.0, 0.02])


async def test_delays_stay_under_the_policys_maximum() -> None:
    writer = ScriptedWriter(*[REFUSED] * 5)
    policies = {Lane.ROUTINE: RetryPolicy(max_attempts=6, initial_delay_s=1, max_delay_s=3)}
    assert await patch(lanes_on(writer, policies=policies), Lane.ROUTINE) == b"done"
    assert writer.starts == [0, 1, 3, 6, 9, 12]


async def test_one_attempt_means_no_retry() -> None:
    writer = ScriptedWriter(REFUSED)
    policies = {Lane.ROUTINE: RetryPolicy(max_attempts=1, initial_delay_s=1, max_delay_s=3)}
    with pytest.raises(Unreachable):
        await patch(lanes_on(writer, policies=policies), Lane.ROUTINE)
    assert writer.starts == [0]


async def test_delays_are_drawn_at_random_below_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    starts = set()
    for _ in range(20):
        writer = ScriptedWriter(REFUSED)
        began = now()
        await patch(lanes_on(writer), Lane.ROUTINE)
        starts.add(writer.starts[1] - began)
    assert all(0 <= start <= 0.1 + 1e-6 for start in starts)
    assert len(starts) > 10


@pytest.mark.parametrize("error", [Conflict("rv"), Forbidden("rbac"), AlreadyExists("there")])
async def test_answers_that_will_not_change_are_not_retried(error: ApiError) -> None:
    writer = ScriptedWriter(error)
    with pytest.raises(type(error)):
        await patch(lanes_on(writer), Lane.ROUTINE)
    assert len(writer.starts) == 1


async def test_a_create_whose_reply_was_lost_ends_in_already_exists() -> None:
    writer = ScriptedWriter(Unreachable("reply lost"), AlreadyExists("there"))
    with pytest.raises(AlreadyExists):
        await lanes_on(writer).on(Lane.ROUTINE).create(SERVICES, "t1", b"{}")
    assert len(writer.starts) == 2


async def test_retry_after_is_the_least_wait() -> None:
    writer = ScriptedWriter(Unreachable("503", status=503, retry_after_s=2.0))
    await patch(lanes_on(writer), Lane.ROUTINE)
    assert writer.starts == [0, 2]


async def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    writer = ScriptedWriter(Throttled("429", status=429, retry_after_s=3600.0))
    with pytest.raises(Throttled) as caught:
        await patch(lanes_on(writer), Lane.ROUTINE)
    assert caught.value.retry_after_s == 3600
    assert now() == 0


async def test_retries_are_reported() -> None:
    facts: list[KubeFact] = []
    writer = ScriptedWriter(REFUSED, Throttled("429", retry_after_s=1.0))
    await patch(lanes_on(writer, facts=facts), Lane.ROUTINE)
    assert facts == [
        RetryScheduled("patch_endpointslices", 1, 0.1, "unreachable", "t1", "web"),
        RetryScheduled("patch_endpointslices", 2, 1.0, "throttled", "t1", "web"),
        RetrySucceeded("patch_endpointslices", "t1", "web"),
    ]


async def test_a_success_at_once_reports_nothing() -> None:
    facts: list[KubeFact] = []
    await patch(lanes_on(ScriptedWriter(), facts=facts), Lane.URGENT)
    assert facts == []


# --- the pace of the routine lane -----------------------------------------------------------------


async def test_routine_writes_go_in_a_burst_and_then_at_qps() -> None:
    writer = ScriptedWriter()
    lanes = lanes_on(writer, qps=50, burst=100)
    await asyncio.gather(*(patch(lanes, Lane.ROUTINE) for _ in range(150)))
    assert writer.starts[99] == 0
    assert writer.starts[100] == pytest.approx(0.02)
    assert writer.starts[149] == pytest.approx(1.0)


@pytest.mark.parametrize(("qps", "burst"), [(0, 100), (50, 0)])
async def test_zero_means_no_limit(qps: float, burst: int) -> None:
    writer = ScriptedWriter()
    lanes = lanes_on(writer, qps=qps, burst=burst)
    await asyncio.gather(*(patch(lanes, Lane.ROUTINE) for _ in range(500)))
    assert writer.starts == [0] * 500
    assert await lanes.try_credit()


async def test_urgent_writes_never_wait_for_tokens() -> None:
    writer = ScriptedWriter()
    lanes = lanes_on(writer, qps=1, burst=1)
    await patch(lanes, Lane.ROUTINE)
    await asyncio.gather(*(patch(lanes, Lane.URGENT) for _ in range(10)))
    assert now() == 0


async def test_failing_routine_writes_are_no_faster_than_qps() -> None:
    writer = ScriptedWriter(*[REFUSED] * 1000)
    # Eighths of a second are exact in floats: the limiter never waits for less than the clock can tell.
    policies = {Lane.ROUTINE: RetryPolicy(max_attempts=3, initial_delay_s=0.125, max_delay_s=5)}
    lanes = lanes_on(writer, qps=8, burst=1, policies=policies)
    await asyncio.gather(*(patch(lanes, Lane.ROUTINE) for _ in range(20)), return_exceptions=True)
    assert len(writer.starts) == 60
    gaps = [later - earlier for earlier, later in zip(writer.starts, writer.starts[1:], strict=False)]
    assert min(gaps) == 0.125


async def test_a_credit_is_taken_before_and_spent_by_the_first_attempt() -> None:
    writer = ScriptedWriter(REFUSED)
    lanes = lanes_on(writer, qps=1, burst=1)
    await lanes.credit()
    sender = lanes.on(Lane.ROUTINE, credits=1)
    assert sender.credits == 1
    await sender.patch(SERVICES, "t1", "web", b"{}")
    assert sender.credits == 0
    assert writer.starts == [0, 1]  # the retry had to wait for a token of its own


async def test_credits_are_handed_out_at_qps_and_only_then() -> None:
    lanes = lanes_on(ScriptedWriter(), qps=2, burst=1)
    assert await lanes.try_credit()
    assert not await lanes.try_credit()
    await lanes.credit()
    assert now() == pytest.approx(0.5)


async def test_a_pass_that_wrote_nothing_keeps_its_credit() -> None:
    lanes = lanes_on(ScriptedWriter(), qps=1, burst=1)
    await lanes.credit()
    assert lanes.on(Lane.ROUTINE, credits=1).credits == 1


# --- the urgent lane ------------------------------------------------------------------------------


async def test_urgent_requests_in_flight_are_bounded() -> None:
    writer = ScriptedWriter(takes_s=1.0)
    lanes = lanes_on(writer)
    await asyncio.gather(*(patch(lanes, Lane.URGENT) for _ in range(URGENT_IN_FLIGHT + 1)))
    assert writer.peak == URGENT_IN_FLIGHT
    assert writer.starts[-1] == 1.0


async def test_a_429_stops_the_lane_for_everybody_until_retry_after() -> None:
    writer = ScriptedWriter(Throttled("429", status=429, retry_after_s=3.0))
    lanes = lanes_on(writer)
    first = asyncio.create_task(patch(lanes, Lane.URGENT))
    await asyncio.sleep(1)
    await patch(lanes, Lane.URGENT)
    await first
    assert writer.starts == [0, 3, 3]


async def test_writes_waiting_for_room_when_the_429_comes_wait_too() -> None:
    writer = ScriptedWriter(*[Throttled("429", retry_after_s=5.0)] * URGENT_IN_FLIGHT, takes_s=1.0)
    lanes = lanes_on(writer)
    await asyncio.gather(*(patch(lanes, Lane.URGENT) for _ in range(URGENT_IN_FLIGHT + 3)))
    assert [start for start in writer.starts if 0 < start < 6] == []
    assert writer.peak == URGENT_IN_FLIGHT


async def test_a_429_without_a_time_pauses_shortly() -> None:
    writer = ScriptedWriter(Throttled("429", status=429))
    await patch(lanes_on(writer), Lane.URGENT)
    assert writer.starts == pytest.approx([0, THROTTLED_PAUSE_S])


async def test_a_pause_of_one_lane_leaves_the_other_open() -> None:
    writer = ScriptedWriter(Throttled("429", retry_after_s=4.0))
    lanes = lanes_on(writer)
    routine = asyncio.create_task(patch(lanes, Lane.ROUTINE))
    await asyncio.sleep(1)
    await patch(lanes, Lane.URGENT)
    assert now() == 1
    await routine
    assert writer.starts == [0, 1, 4]


# --- authority ------------------------------------------------------------------------------------


async def test_without_authority_nothing_is_sent_and_no_token_spent() -> None:
    writer = ScriptedWriter()
    lanes = lanes_on(writer, fence=lambda: 0.0, qps=1, burst=1)
    for lane in WRITE_LANES:
        with pytest.raises(Fenced):
            await patch(lanes, lane)
    assert writer.starts == []
    assert await lanes.try_credit()


async def test_authority_that_ends_between_attempts_stops_the_retry() -> None:
    writer = ScriptedWriter(REFUSED, REFUSED)
    lanes = lanes_on(writer, fence=lambda: 0.05 - now())
    with pytest.raises(Fenced):
        await patch(lanes, Lane.ROUTINE)
    assert writer.starts == [0]


async def test_authority_that_ends_while_waiting_for_a_token_stops_the_write() -> None:
    writer = ScriptedWriter()
    lanes = lanes_on(writer, fence=lambda: 5.0 - now(), qps=0.1, burst=1)
    await lanes.credit()
    with pytest.raises(Fenced):
        await patch(lanes, Lane.ROUTINE)
    assert writer.starts == []


async def test_an_attempt_is_cut_when_its_authority_ends() -> None:
    writer = ScriptedWriter(takes_s=60)
    lanes = lanes_on(writer, fence=lambda: 4.0 - now())
    with pytest.raises(Fenced):
        await patch(lanes, Lane.URGENT)
    assert now() == pytest.approx(4.0)
    assert writer.in_flight == 0


async def test_a_cancelled_write_leaves_no_trace() -> None:
    writer = ScriptedWriter(takes_s=60)
    lanes = lanes_on(writer)
    tasks = [asyncio.create_task(patch(lanes, Lane.URGENT)) for _ in range(URGENT_IN_FLIGHT + 5)]
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    writer.takes_s = 0
    await asyncio.gather(*(patch(lanes, Lane.URGENT) for _ in range(URGENT_IN_FLIGHT)))
    assert now() == 1
    assert repr(lanes) == "LaneWriter(0 urgent, 0 routine in flight, Pace(unlimited 0 waiting))"


# --- writes that had to wait ----------------------------------------------------------------------


async def test_an_attempt_without_an_answer_is_made_again() -> None:
    writer = ScriptedWriter(takes_s=60.0)
    with pytest.raises(Unreachable, match="no answer within 7 s"):
        await patch(lanes_on(writer), Lane.URGENT)
    assert writer.starts == pytest.approx([0.0, ATTEMPT_TIMEOUT_S + 0.02])
    assert writer.in_flight == 0


@pytest.mark.parametrize("lane", WRITE_LANES)
async def test_a_write_is_not_tried_again_when_its_reason_has_gone(lane: Lane) -> None:
    writer = ScriptedWriter(Throttled("slow down", status=429, retry_after_s=3.0))
    sender = lanes_on(writer).on(lane, wanted=lambda: now() < 2.0)
    with pytest.raises(Outdated):
        await sender.patch(ENDPOINT_SLICES, "t1", "web-leader", b"{}")
    assert writer.starts == [0.0]
    assert now() == 3.0


async def test_a_write_that_waits_for_its_lane_is_looked_at_again() -> None:
    writer = ScriptedWriter(Throttled("slow down", status=429, retry_after_s=3.0))
    lanes = lanes_on(writer)
    with pytest.raises(Throttled):
        await lanes.on(Lane.URGENT, retries=False).patch(ENDPOINT_SLICES, "t1", "web-leader", b"{}")
    with pytest.raises(Outdated):
        await lanes.on(Lane.URGENT, wanted=lambda: False).patch(ENDPOINT_SLICES, "t1", "web-leader", b"{}")
    assert await lanes.on(Lane.URGENT, wanted=lambda: True).patch(SERVICES, "t1", "web", b"{}") == b"done"
    assert len(writer.starts) == 2


async def test_a_write_that_goes_at_once_is_not_looked_at_again() -> None:
    sender = lanes_on(ScriptedWriter(REFUSED)).on(Lane.URGENT, wanted=lambda: False)
    assert await sender.patch(SERVICES, "t1", "web", b"{}") == b"done"
