"""One Lease on a server with faults: slow, lost on the way there, lost on the way back, late.

Knows create, merge patch with its precondition, and the checks a real server makes on a Lease. One object, no
more: what the sandbox does in general is not repeated here.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.kube.resources import Resource

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Fault(msgspec.Struct, frozen=True):
    """What happens to one request: applied ``there_s`` after it was sent, answered ``back_s`` after that."""

    there_s: float = 0.0
    back_s: float = 0.0
    lost: bool = False  # never arrives
    reply_lost: bool = False  # applied, never answered
    refused: bool = False  # fails at once, as when nothing listens


class LeaseServer:
    """The truth. ``door(name)`` gives one replica's way to it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0

    def put(self, spec: dict[str, Any] | None) -> None:
        """By somebody's own hand: no precondition, no checks. None deletes."""
        self.version += 1
        self.lease = (
            None if spec is None else {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}
        )

    @property
    def spec(self) -> dict[str, Any]:
        return (self.lease or {}).get("spec") or {}

    def get(self) -> bytes:
        if self.lease is None:
            raise NotFound("no such Lease", status=404)
        return json.dumps(self.lease).encode()

    def create(self, body: dict[str, Any]) -> bytes:
        if self.lease is not None:
            raise AlreadyExists("there is one", status=409)
        return self._store(body["spec"])

    def patch(self, body: dict[str, Any]) -> bytes:
        if self.lease is None:
            raise NotFound("no such Lease", status=404)
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified", status=409)
        spec = {**self.spec, **body["spec"]}
        if spec == self.spec:
            return self.get()  # a write that changes nothing is none
        return self._store(spec)

    def _store(self, spec: dict[str, Any]) -> bytes:
        for field in ("acquireTime", "renewTime"):
            if not MICRO_TIME.fullmatch(spec[field]):
                raise Invalid(f"{field} {spec[field]} has no six digits", status=400)
        if spec["leaseDurationSeconds"] <= 0 or spec["leaseTransitions"] < 0:
            raise Invalid("must be greater than 0", status=422)
        self.writes += 1
        self.put(spec)
        return self.get()


class Door:
    """One replica's connection; ``fault`` is asked about each request."""

    def __init__(self, server: LeaseServer, fault: Callable[[], Fault] = Fault) -> None:
        self._server = server
        self.fault = fault
        self.requests: list[tuple[float, str]] = []

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        return await self._send("get", self._server.get)

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        return await self._send("create", lambda: self._server.create(json.loads(body)))

    async def patch(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        return await self._send("patch", lambda: self._server.patch(json.loads(body)))

    async def _send(self, verb: str, apply: Callable[[], bytes]) -> bytes:
        loop = asyncio.get_running_loop()
        self.requests.append((loop.time(), verb))
        fault = self.fault()
        if fault.refused:
            raise Unreachable("connection refused")
        answer: asyncio.Future[bytes] = loop.create_future()

        def arrive() -> None:
            try:
                body = apply()
            except ApiError as error:
                loop.call_later(fault.back_s, self._answer, answer, error)
            else:
                loop.call_later(fault.back_s, self._answer, answer, body)

        def arrive_silently() -> None:
            try:
                apply()
            except ApiError:
                return

        # The request is under way even if the client gives up: it may arrive, and be applied, later.
        if not fault.lost:
            loop.call_later(fault.there_s, arrive_silently if fault.reply_lost else arrive)
        return await answer

    @staticmethod
    def _answer(answer: asyncio.Future[bytes], outcome: bytes | ApiError) -> None:
        if answer.done():
            return
        if isinstance(outcome, ApiError):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
