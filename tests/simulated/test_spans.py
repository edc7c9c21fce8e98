"""What is traced of a failover: the whole of it, from the event on, however many tries it takes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.simulated.cluster import Cluster
from zenlead.controller.facts import LeaderMoved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zenlead.controller.spans import Say

pytestmark = pytest.mark.virtual_clock

AWAY_S = 1.0
_open: contextvars.ContextVar[str] = contextvars.ContextVar("open", default="")


class Seen(NamedTuple):
    """A span that is over. Times are the loop's."""

    name: str
    parent: str
    began: float
    ended: float
    said: Mapping[str, str]


class Tape:
    """Keeps spans in the order in which they end, the parts before the whole."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []

    @contextlib.contextmanager
    def __call__(self, name: str, attributes: Mapping[str, str], ago_s: float = 0.0, /) -> Iterator[Say]:
        loop, said = asyncio.get_running_loop(), dict(attributes)
        began, parent, token = loop.time() - ago_s, _open.get(), _open.set(name)
        try:
            yield said.__setitem__
        finally:
            _open.reset(token)
            self.spans.append(Seen(name, parent, began, loop.time(), said))

    def passes(self, service: str) -> list[list[Seen]]:
        """The spans of each pass over a Service, the root last. (Passes of one Service never overlap.)"""
        found: list[list[Seen]] = [[]]
        for span in self.spans:
            found[-1].append(span)
            if not span.parent:
                found.append([])
        return [spans for spans in found if spans and spans[-1].said.get("service") == service]


async def test_a_failover_that_takes_several_tries_is_traced_from_its_event() -> None:
    async with Cluster(1) as cluster:
        cluster.span = tape = Tape()
        await cluster.start()
        await cluster.namespace("t1")
        leader = await cluster.pod("t1", "web")
        await asyncio.sleep(1)
        await cluster.pod("t1", "web")
        await cluster.service("t1", "web")
        await cluster.settles(10)
        tape.spans.clear()
        hurt_at = asyncio.get_running_loop().time()
        await cluster.status("t1", leader, ready=False)
        cluster.network.away_until = hurt_at + AWAY_S
        await asyncio.sleep(AWAY_S)
        await cluster.settles(30)
        passes = tape.passes("web")
        moved = next(f for f in cluster.facts if isinstance(f, LeaderMoved) and f.reason == "notReady")
    first, last = passes[0], next(p for p in passes if any(s.said.get("result") == "success" for s in p[:-1]))
    assert [span.name for span in first] == ["wait", "decide", "patch endpointslices", "reconcile"]
    assert first is not last
    wait, decide, write, whole = first
    assert {wait.parent, decide.parent, write.parent} == {"reconcile"}
    assert (whole.said["result"], write.said["result"]) == ("error", "unreachable")
    assert "error" in whole.said
    for whole in (first[-1], last[-1]):
        assert whole.began == pytest.approx(hurt_at, abs=0.1), "each try is about the same event"
    write = next(span for span in last if span.name == "patch endpointslices")
    assert write.ended - last[-1].began == pytest.approx(moved.latency_s)
    assert moved.latency_s >= AWAY_S - 0.1
