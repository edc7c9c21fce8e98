"""The task around an Election: it asks the server, on a connection of its own, and says who leads.

Knows the loop, one Lease's requests and who wants to hear of changes. Refuses to know every rule about who
may lead: those are the Election's. The rule not to break: ``fence`` is computed from the clock at each
call, so that nobody acts on a leadership that ended while the loop was busy.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Protocol

from zenlead.kube.api import request_lane
from zenlead.kube.election import Election, Read, State, Wait, Write
from zenlead.kube.errors import ApiError, Conflict, Unreachable
from zenlead.kube.facts import ElectionChanged, LeaseFailed
from zenlead.kube.leaseobject import ElectionOptions, decode_lease
from zenlead.kube.resources import LEASES
from zenlead.kube.supervise import alive, at_rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.kube.leaseobject import Lease
    from zenlead.kube.resources import Resource

    Notify = Callable[[ElectionChanged | LeaseFailed], None]

__all__ = ["Election", "ElectionOptions", "Elector", "NoElection"]

# Stopping must not hang on a server that does not answer; the others then wait until the Lease expires.
RELEASE_TIMEOUT_S = 1.5


class LeaseApi(Protocol):
    """What an elector needs of kube/api.py."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes: ...

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes: ...

    async def patch(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes: ...


class Elector:
    """Competes for a Lease while ``run`` runs. ``api`` should have a connection of its own.

    ``notify`` hears ElectionChanged when this replica starts or stops leading or sees another holder, and
    LeaseFailed for each failed request that was no mere race. ``untouched`` says whether nothing shows that
    anybody has acted before: who then finds no Lease may act as soon as it has made one.
    """

    def __init__(
        self,
        api: LeaseApi,
        options: ElectionOptions,
        notify: Notify,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        untouched: Callable[[], bool] = lambda: True,
    ) -> None:
        self._api = api
        self._options = options
        self._notify = notify
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._election = Election(options, jitter=jitter, untouched=untouched)
        self._leading = asyncio.Event()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Lock()  # held while a request is under way
        self._told: tuple[bool, str] = (False, "")
        self._answered_at = float("-inf")

    def __repr__(self) -> str:
        return f"Elector({self._election!r} authority={self.fence():.3f}s)"

    @property
    def is_leader(self) -> bool:
        return self.fence() > 0

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; empty for nobody."""
        return self._election.holder

    @property
    def problem(self) -> str | None:
        """Why the last request failed, in words for /readyz; None if it did not."""
        return self._election.problem

    @property
    def lease_reachable(self) -> bool:
        """Whether the server answered within the last lease duration and refuses nothing. Standbys too."""
        recent = self._loop.time() - self._answered_at < self._options.lease_duration_s
        return recent and not self._election.refused

    def fence(self) -> float:
        """For how many seconds from now this replica may act; 0 when it does not lead."""
        return self._election.authority(self._loop.time())

    async def wait_leading(self) -> None:
        """Return as soon as this replica leads."""
        while not self.is_leader:
            self._leading.clear()
            await self._leading.wait()

    async def run(self) -> None:
        """Compete until ``release``. Raises nothing but cancellation; competes on after a lost Lease."""
        request_lane.set("lease")
        while self._election.state is not State.STOPPED:
            action = self._election.step(self._loop.time(), self._now())
            self._report()
            match action:
                case Wait(until):
                    alive(max(0.0, until - self._loop.time()))
                    await self._sleep(until)
                case Read() | Write():
                    alive(action.timeout_s)
                    async with self._idle:
                        await self._ask(action)
                    self._report()

    async def release(self) -> None:
        """Stop acting at once, then give the Lease back if it is still ours. Never raises ApiError.

        Call it when nothing writes any more. Without it, or when the server does not answer, the others wait
        until the Lease expires.
        """
        self._election.stop()
        self._stopping.set()
        self._report()
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S), self._idle:
                await self._give_back()
        except ApiError as error:
            self._notify(LeaseFailed(f"not released: {error.message}", refused=False))
        except TimeoutError:
            self._notify(LeaseFailed(f"not released within {RELEASE_TIMEOUT_S:g} s", refused=False))

    async def _give_back(self) -> None:
        for _ in range(2):  # once more if somebody has touched the Lease since
            body = self._election.release(self._now())
            if body is None:
                return
            try:
                seen = await self._patch(body)
            except Conflict:
                seen = await self._get()
            self._election.observe(self._loop.time(), seen)

    async def _ask(self, action: Read | Write) -> None:
        started = self._loop.time()
        try:
            async with asyncio.timeout(action.timeout_s):
                if isinstance(action, Read):
                    seen = await self._get()
                    self._election.observe(self._loop.time(), seen)
                else:
                    lease = await (self._create(action.body) if action.create else self._patch(action.body))
                    self._election.accept(started, self._loop.time(), lease)
        except ApiError as error:
            self._fail(action, error)
        except TimeoutError:
            self._fail(action, Unreachable(f"no answer within {action.timeout_s:.3g} s"))
        else:
            self._answered_at = self._loop.time()

    def _fail(self, action: Read | Write, error: ApiError) -> None:
        if self._election.fail(self._loop.time(), action, error):
            words = self._election.problem or error.message
            self._notify(LeaseFailed(words, refused=self._election.refused))
        else:
            self._answered_at = self._loop.time()

    async def _get(self) -> Lease:
        options = self._options
        return decode_lease(await self._api.get(LEASES, options.namespace, options.name))

    async def _create(self, body: bytes) -> Lease:
        return decode_lease(await self._api.create(LEASES, self._options.namespace, body))

    async def _patch(self, body: bytes) -> Lease:
        options = self._options
        return decode_lease(await self._api.patch(LEASES, options.namespace, options.name, body))

    async def _sleep(self, until: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until - self._loop.time())):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _report(self) -> None:
        leads = self.is_leader
        if leads:
            self._leading.set()
        if self._told != (leads, self.holder):
            self._notify(ElectionChanged(leads, self.holder, self._election.reason))
            self._told = (leads, self.holder)  # if hearing it failed, it has to be told again


class NoElection:
    """The only replica: it always leads. Has the face of an Elector, so that nobody else needs to ask."""

    is_leader = True
    lease_reachable = True
    problem: str | None = None

    def __init__(self, identity: str, notify: Notify) -> None:
        self.holder = identity
        self._notify = notify
        self._stopping = asyncio.Event()

    def __repr__(self) -> str:
        return f"NoElection({self.holder})"

    def fence(self) -> float:
        """Authority without end."""
        return float("inf")

    async def wait_leading(self) -> None:
        """Return at once."""

    async def run(self) -> None:
        """Say who leads, and do so until ``release``."""
        self._notify(ElectionChanged(is_leader=True, holder=self.holder, reason="leader election is off"))
        at_rest()
        await self._stopping.wait()

    async def release(self) -> None:
        """Nothing to give back."""
        self._stopping.set()
