"""Writes in two lanes: urgent ones go at once, routine ones at the pace that was configured.

Knows pace, retries and authority. Refuses to know what is written and why it is urgent. The rules: no attempt
starts without authority or outlives it, nor, once it had to wait, without its reason; a server that says 429
is left alone by the whole lane; every attempt of a routine write costs a token, so that failing writes are no
faster than succeeding ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import backoff
import msgspec

from zenlead.kube.api import request_lane
from zenlead.kube.errors import ApiError, Throttled, Unreachable
from zenlead.kube.facts import KubeFact, RetryScheduled, RetrySucceeded
from zenlead.kube.lane import Lane
from zenlead.kube.pace import Pace
from zenlead.kube.status import result_of
from zenlead.kube.supervise import alive, at_rest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from zenlead.kube.api import Writer
    from zenlead.kube.resources import Resource

WRITE_LANES = (Lane.URGENT, Lane.ROUTINE)
# Urgent requests at a time. A request is some 0.2 ms of our CPU and 5 ms of the server's time, so 32 keep one
# core busy; more would only queue in the server and be answered by 429.
URGENT_IN_FLIGHT = 32
# How long a lane pauses after a 429 that does not say how long: some ten times what a request takes.
THROTTLED_PAUSE_S = 0.2
# A longer Retry-After is not waited for in here: the error goes to the caller, who can put the work back.
LONGEST_PAUSE_S = 30.0
# An attempt that has no answer by then is made again: a server answers in milliseconds, and a connection to a
# dead address of it takes 5 s to give up, after which another address wants its turn.
ATTEMPT_TIMEOUT_S = 7.0
# What a write follows from is looked at again if it had to wait longer than this, some ten times what a
# request takes; looking costs as much as a tenth of a request.
FRESH_S = 0.05


class Fenced(Exception):
    """This replica has no authority to write (any more); whoever has it will do the work."""


class Outdated(Exception):
    """The write had to wait, and what it follows from has changed meanwhile: decide anew."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often a write is tried, and how long it waits between: full jitter up to initial, x2, …, max."""

    max_attempts: int  # the first included
    initial_delay_s: float
    max_delay_s: float


ROUTINE_RETRIES = RetryPolicy(max_attempts=3, initial_delay_s=0.1, max_delay_s=5.0)
URGENT_RETRIES = RetryPolicy(max_attempts=2, initial_delay_s=0.02, max_delay_s=0.5)


class LaneWriter:
    """Gives out writers by lane: ``on(Lane.URGENT, service="web").patch(…)``.

    ``fence`` gives the seconds of authority left (``math.inf`` where nobody else could write). ``qps`` and
    ``burst`` bound the routine lane; 0 in either means no limit.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        fence: Callable[[], float],
        qps: float,
        burst: int,
        policies: dict[Lane, RetryPolicy] | None = None,
        notify: Callable[[KubeFact], None] = lambda _: None,
    ) -> None:
        self.writer = writer
        self.policies: dict[Lane, RetryPolicy] = {}
        self.follow(policies or {})
        self.notify = notify
        self._fence = fence
        self.pace = Pace(qps, burst)
        self._urgent = asyncio.Semaphore(URGENT_IN_FLIGHT)
        self._in_flight = dict.fromkeys(WRITE_LANES, 0)
        self._resume_at = dict.fromkeys(WRITE_LANES, float("-inf"))  # loop time at which a lane's pause ends

    def follow(self, policies: dict[Lane, RetryPolicy]) -> None:
        """Writes to come are tried again by these policies, and by our own on a lane without one."""
        self.policies = {Lane.URGENT: URGENT_RETRIES, Lane.ROUTINE: ROUTINE_RETRIES} | policies

    def on(
        self,
        lane: Lane,
        *,
        service: str = "",
        credits: int = 0,
        retries: bool = True,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Sender:
        """A Writer on ``lane``. ``service`` goes into facts; ``credits`` are tokens that the caller holds.

        Without ``retries`` each write is tried once: for a caller that comes back by itself. ``wanted``:
        whether a write that had to wait is still what the caller would send.
        """
        attempts = self.policies[lane].max_attempts if retries else 1
        return Sender(self, lane, service=service, credits=credits, attempts=attempts, wanted=wanted)

    async def credit(self) -> None:
        """Wait for one token of the routine lane; it is the caller's then, to give to ``on``."""
        await self.pace.token()

    async def try_credit(self) -> bool:
        """Take one token if one is there; never waits."""
        return await self.pace.try_token()

    def authority_s(self) -> float:
        """Seconds of authority left, more than none; raises Fenced."""
        left = self._fence()
        if left <= 0:
            raise Fenced("no authority to write: this replica does not hold the Lease, or not surely")
        return left

    def pause(self, lane: Lane, error: Throttled) -> None:
        """Nobody on ``lane`` starts an attempt before the server wants one."""
        pause_s = THROTTLED_PAUSE_S if error.retry_after_s is None else error.retry_after_s
        until = asyncio.get_running_loop().time() + min(pause_s, LONGEST_PAUSE_S)
        self._resume_at[lane] = max(self._resume_at[lane], until)

    @contextlib.asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Inside, the lane is open and has room for one attempt."""
        loop = asyncio.get_running_loop()
        while True:
            if (paused_s := self._resume_at[lane] - loop.time()) > 0:
                alive(paused_s)
                await asyncio.sleep(paused_s)
            if lane is Lane.URGENT:
                at_rest()  # those who have room speak for themselves
                await self._urgent.acquire()
            if loop.time() >= self._resume_at[lane]:
                break
            if lane is Lane.URGENT:  # the lane was paused while this one waited for room
                self._urgent.release()
        self._in_flight[lane] += 1
        alive()
        label = request_lane.set(lane.label)
        try:
            yield
        finally:
            request_lane.reset(label)
            self._in_flight[lane] -= 1
            if lane is Lane.URGENT:
                self._urgent.release()

    def __repr__(self) -> str:
        busy = ", ".join(f"{count} {lane.label}" for lane, count in self._in_flight.items())
        return f"LaneWriter({busy} in flight, {self.pace!r})"


class Sender:
    """A Writer on one lane, for the writes of one pass. Raises what the Writer raises, Fenced and Outdated.

    Throttled and Unreachable are tried again by the lane's policy. A create that was applied although its
    reply was lost ends in AlreadyExists, a patch with a precondition in Conflict: read, then decide.
    """

    def __init__(
        self,
        lanes: LaneWriter,
        lane: Lane,
        *,
        service: str,
        credits: int,
        attempts: int,
        wanted: Callable[[], bool],
    ) -> None:
        self.credits = credits  # tokens of the caller that are not spent yet
        self._wanted = wanted
        self._max_attempts = attempts
        self._lanes = lanes
        self._lane = lane
        self._service = service

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        return await self._send(
            f"create_{resource.plural}",
            namespace,
            lambda: self._lanes.writer.create(resource, namespace, body),
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        subresource: str = "",
        unanswered: Callable[[], None] = lambda: None,
    ) -> bytes:
        """``unanswered`` is called for each attempt of which nobody knows what became of it, whatever becomes
        of the next one."""

        def ask() -> Awaitable[bytes]:
            return self._lanes.writer.patch(resource, namespace, name, body, subresource=subresource)

        return await self._send(f"patch_{resource.plural}", namespace, lambda: _heard_of(ask(), unanswered))

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        unanswered: Callable[[], None] = lambda: None,
    ) -> bytes:
        """``unanswered``: as for ``patch``."""

        def ask() -> Awaitable[bytes]:
            return self._lanes.writer.delete(resource, namespace, name, body)

        return await self._send(f"delete_{resource.plural}", namespace, lambda: _heard_of(ask(), unanswered))

    async def _send(self, operation: str, namespace: str, call: Callable[[], Awaitable[bytes]]) -> bytes:
        loop = asyncio.get_running_loop()
        policy = self._lanes.policies[self._lane]
        attempts = 0
        failed: Throttled | Unreachable | None = None  # the first attempt, which needs no decorator
        asked_at = loop.time()
        not_before = float("-inf")  # loop time before which the server does not want to be asked again

        async def attempt() -> bytes:
            nonlocal attempts, failed
            if failed is not None:
                error, failed = failed, None
                raise error
            attempts += 1
            if (wait_s := not_before - loop.time()) > 0:
                alive(wait_s)
                await asyncio.sleep(wait_s)
            return await self._attempt(call, asked_at)

        def report(error: Throttled | Unreachable, wait_s: float) -> None:
            nonlocal not_before
            delay_s = max(wait_s, error.retry_after_s or 0.0)
            not_before = loop.time() + delay_s
            alive(delay_s)
            self._lanes.notify(
                RetryScheduled(
                    operation=operation,
                    attempt=attempts,
                    delay_s=delay_s,
                    error=result_of(type(error)),
                    namespace=namespace,
                    service=self._service,
                )
            )

        try:
            return await attempt()
        except (Throttled, Unreachable) as error:
            failed = error
        retried = backoff.on_exception(
            backoff.expo,
            (Throttled, Unreachable),
            max_tries=self._max_attempts,
            factor=policy.initial_delay_s,
            max_value=policy.max_delay_s,
            jitter=backoff.full_jitter,
            giveup=_asks_too_much,
            on_backoff=lambda details: report(details["exception"], details["wait"]),
            logger=None,
        )(attempt)
        body = await retried()
        self._lanes.notify(RetrySucceeded(operation, namespace, self._service))
        return body

    async def _attempt(self, call: Callable[[], Awaitable[bytes]], asked_at: float) -> bytes:
        self._lanes.authority_s()  # before a token is spent on it
        if self._lane is Lane.ROUTINE:
            if self.credits > 0:
                self.credits -= 1
            else:
                at_rest()  # the pace lets everybody through in the end
                await self._lanes.credit()
        async with self._lanes.turn(self._lane):
            left_s = self._lanes.authority_s()
            if asyncio.get_running_loop().time() - asked_at > FRESH_S and not self._wanted():
                raise Outdated("what this write follows from has changed while it had to wait")
            try:
                async with asyncio.timeout(min(left_s, ATTEMPT_TIMEOUT_S)) as cut:
                    return await call()
            except Throttled as error:
                self._lanes.pause(self._lane, error)
                raise
            except TimeoutError:
                if not cut.expired():
                    raise
                if left_s <= ATTEMPT_TIMEOUT_S:
                    raise Fenced("the authority to write ended before the answer came") from None
                raise Unreachable(f"no answer within {ATTEMPT_TIMEOUT_S:g} s") from None

    def __repr__(self) -> str:
        return f"Sender({self._lane.label}, {self._service or 'no service'}, {self.credits} credits)"


async def _heard_of(request: Awaitable[bytes], unanswered: Callable[[], None]) -> bytes:
    try:
        return await request
    except (Unreachable, asyncio.CancelledError):
        unanswered()
        raise


def _asks_too_much(error: Exception) -> bool:
    return isinstance(error, ApiError) and (error.retry_after_s or 0.0) > LONGEST_PAUSE_S
