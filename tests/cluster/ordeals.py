"""What can befall one replica and its way to the API server, each as an async context: in force inside.

Knows the orders that a proxy, a wire and a process take. Refuses to choose among them. The rule: what is left
behind outside the context is what reality leaves too, such as a request that nobody will ever answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, TypeAlias

from tests.cluster.faultproxy import (
    Answer,
    Bytewise,
    Delay,
    DropReply,
    Fault,
    Hang,
    Late,
    refusal,
    status_of,
)
from zenlead.kube.resources import LEASES

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.cluster.faultproxy import Asked, FaultProxy
    from tests.cluster.witness import Witness
    from tests.cluster.zenlead_process import ZenleadProcess

Ordeal: TypeAlias = "Callable[[Replica, random.Random], contextlib.AbstractAsyncContextManager[None]]"

CUT_EVERY_S = 0.7
SLOW_WIRE_BYTES_PER_S = 30_000  # a list of three hundred pods takes some 15 s
SLOW_HANDSHAKE_S = 2.0  # below the 5 s after which a client gives up on connecting
REFUSALS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
GONE = json.dumps({"type": "ERROR", "object": status_of(410, "Expired", "too old")}).encode() + b"\n"


class Replica:
    """One place of a deployment: a process, restarted when it is gone, behind a proxy of its own."""

    def __init__(
        self, proxy: FaultProxy, witness: Witness, start: Callable[[], Awaitable[ZenleadProcess]]
    ) -> None:
        self.proxy = proxy
        self.witness = witness
        self._start = start
        self._process: ZenleadProcess | None = None
        self.names: list[str] = []  # of its processes so far, as they stand in the Lease

    def __repr__(self) -> str:
        return f"Replica({self.names[-1:]} {self.process!r})"

    @property
    def process(self) -> ZenleadProcess:
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process

    async def start(self) -> None:
        self._process = await self._start()
        self.names.append(self._process.log.stem)


@contextlib.asynccontextmanager
async def _requests(
    replica: Replica, dice: random.Random, fault: Callable[[], Fault], share: float, *, writes: bool = False
) -> AsyncIterator[None]:
    def matches(asked: Asked) -> bool:
        return (asked.is_write or not writes) and dice.random() < share

    rule = replica.proxy.on(matches, fault())
    try:
        yield
    finally:
        rule.lift()


def delays(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    return _requests(replica, dice, lambda: Delay(dice.uniform(0.05, 1.5)), 0.6)


def hangs(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    return _requests(replica, dice, Hang, dice.choice([0.1, 0.5]))


def hung_writes(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    return _requests(replica, dice, Hang, 0.7, writes=True)


def late_writes(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    """Some arrive when they have been given up, and some when all is well again."""
    return _requests(replica, dice, lambda: Late(dice.uniform(0.5, 12.0)), 0.5, writes=True)


def lost_replies(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    return _requests(replica, dice, DropReply, dice.choice([0.2, 0.7]), writes=True)


def bytewise(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    return _requests(replica, dice, Bytewise, 1.0)


@contextlib.asynccontextmanager
async def refusals(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    """One status for many requests; 409 is said of writes only and 410 of reads, as by the real one."""
    status, share = dice.choice(list(REFUSALS)), dice.choice([0.3, 1.0])
    wait = dice.choice([None, "0", "1", "3"]) if status in {429, 503} else None
    answer = refusal(status, REFUSALS[status])
    answer = Answer(status, answer.body, {"Retry-After": wait} if wait else {})

    def matches(asked: Asked) -> bool:
        possible = {409: asked.is_write, 410: not asked.is_write}.get(status, True)
        return possible and dice.random() < share

    rule = replica.proxy.on(matches, answer)
    try:
        yield
    finally:
        rule.lift()


@contextlib.asynccontextmanager
async def overload(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    """All is refused with 429 but the Lease, which has a connection and a priority of its own."""
    answer = Answer(429, refusal(429, "TooManyRequests").body, {"Retry-After": dice.choice(["1", "2"])})
    rule = replica.proxy.on(lambda a: not a.of(LEASES), answer)
    try:
        yield
    finally:
        rule.lift()


@contextlib.asynccontextmanager
async def _again_and_again(act: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            await act()
            await asyncio.sleep(CUT_EVERY_S)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def cut_streams(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    """Every watch ends, again and again, in the middle of a line."""

    async def cut() -> None:
        for stream in [s for s in replica.proxy.streams if not s.closed]:
            with contextlib.suppress(ConnectionError):
                await stream.cut(b'{"type":"MODIFIED","object":{"ki')

    return _again_and_again(cut)


def expired_streams(replica: Replica, dice: random.Random) -> contextlib.AbstractAsyncContextManager[None]:
    """Every watch says 410, again and again."""

    async def expire() -> None:
        for stream in [s for s in replica.proxy.streams if not s.closed]:
            with contextlib.suppress(ConnectionError):
                await stream.inject(GONE)

    return _again_and_again(expire)


@contextlib.asynccontextmanager
async def dead_streams(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    """Watches that are open for good and carry nothing any more, as behind a middlebox that forgot them."""
    for stream in [s for s in replica.proxy.streams if not s.closed]:
        stream.held = True
    yield


@contextlib.asynccontextmanager
async def server_gone(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    await replica.proxy.wire.gone()
    try:
        yield
    finally:
        await replica.proxy.wire.back()


@contextlib.asynccontextmanager
async def stalled_wire(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    replica.proxy.wire.stall()
    try:
        with _blind(replica):
            yield
    finally:
        replica.proxy.wire.flow()


@contextlib.asynccontextmanager
async def slow_wire(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    replica.proxy.wire.bytes_per_s = SLOW_WIRE_BYTES_PER_S
    try:
        with _blind(replica):
            yield
    finally:
        replica.proxy.wire.bytes_per_s = None


@contextlib.asynccontextmanager
async def slow_handshakes(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    replica.proxy.wire.handshake_delay_s = SLOW_HANDSHAKE_S
    await replica.proxy.wire.reset()
    try:
        yield
    finally:
        replica.proxy.wire.handshake_delay_s = 0.0


@contextlib.asynccontextmanager
async def frozen(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    replica.process.freeze()
    try:
        with _blind(replica):
            yield
    finally:
        replica.process.thaw()


@contextlib.asynccontextmanager
async def killed(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    replica.process.kill()
    await replica.process.wait()
    yield
    await replica.start()


@contextlib.asynccontextmanager
async def terminated(replica: Replica, dice: random.Random) -> AsyncIterator[None]:
    replica.process.terminate()
    if (code := await replica.process.wait()) != 0:
        raise AssertionError(f"{replica.process!r} did not end in good order: {code}")
    yield
    await replica.start()


@contextlib.contextmanager
def _blind(replica: Replica) -> Iterator[None]:
    """What the proxy sends meanwhile waits in buffers."""
    started = asyncio.get_running_loop().time()
    try:
        yield
    finally:
        replica.witness.blind.append((started, asyncio.get_running_loop().time()))


ORDEALS: tuple[Ordeal, ...] = (
    delays,
    hangs,
    hung_writes,
    late_writes,
    lost_replies,
    refusals,
    refusals,
    overload,
    bytewise,
    cut_streams,
    expired_streams,
    dead_streams,
    server_gone,
    server_gone,
    stalled_wire,
    slow_wire,
    slow_handshakes,
    frozen,
    frozen,
    killed,
    killed,
    terminated,
)
