"""Whether anybody still writes, and how often somebody did.

Knows the store's revision and the API server's own request counters. Refuses to know who writes.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from benchmarks.client import Client

QUIET_S = 1.5  # zenlead holds back what decides nothing for 1.1 s after the last move of a storm
POLL_INTERVAL_S = 0.05
WRITES = re.compile(
    r'^apiserver_request_total\{(?:[^}]*,)?resource="(?P<resource>[^"]+)",[^}]*'
    r'verb="(?:POST|PUT|PATCH|APPLY|DELETE|DELETECOLLECTION)"[^}]*\} (?P<count>\S+)$',
    re.MULTILINE,
)
# What the API server writes for itself; an IPAddress comes with every Service that gets one.
OWN_BUSINESS = frozenset(
    {"leases", "apiservices", "flowschemas", "prioritylevelconfigurations", "ipaddresses"}
)


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str


class _List(msgspec.Struct):
    metadata: _Meta


async def quiet(client: Client, *, timeout_s: float = 300.0) -> float:
    """Returns when nothing was written for QUIET_S; the result is when (perf_counter) the last write was."""
    deadline = time.perf_counter() + timeout_s
    revision, since = await _revision(client), time.perf_counter()
    while (now := time.perf_counter()) - since < QUIET_S:
        if now > deadline:
            raise TimeoutError(f"still being written after {timeout_s} s")
        await asyncio.sleep(POLL_INTERVAL_S)
        current = await _revision(client)
        if current != revision:
            revision, since = current, time.perf_counter()
    return since


async def _revision(client: Client) -> str:
    """The revision of the store: any write of anybody moves it."""
    answer = await client.send("GET", "/api/v1/namespaces?limit=1")
    return msgspec.json.decode(answer, type=_List).metadata.resource_version


async def write_requests(client: Client) -> dict[str, int]:
    """Write requests that the API server has answered so far, by resource, whether they changed anything or
    not; those that it sends to itself in the background are left out."""
    text = (await client.send("GET", "/metrics")).decode()
    counts: dict[str, int] = {}
    for match in WRITES.finditer(text):
        resource = match["resource"]
        if resource not in OWN_BUSINESS:
            counts[resource] = counts.get(resource, 0) + int(float(match["count"]))
    return counts
