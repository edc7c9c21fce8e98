"""A scrape: both formats, packed or not, the limit, and the loop that keeps running meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.observe.test_metrics import everything_about
from zenlead.observe.http import Pieces, Request, Response, parse
from zenlead.observe.metrics import Metrics
from zenlead.observe.rooms import Build
from zenlead.observe.scrape import CHUNK_CHARS, Scrape, accepts_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = parse(b"GET /metrics HTTP/1.1\r\n\r\n")
# What Prometheus sends.
OPENMETRICS = parse(
    b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    b"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n\r\n"
)


PACKED = parse(b"GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n")
SERVICES = 300


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(build=Build("1"), now=lambda: 0.0, monotonic=lambda: 0.0)


@pytest.fixture
def scrape(metrics: Metrics) -> Scrape:
    return Scrape(metrics, timeout_s=5)


def body_of(response: Response) -> bytes:
    assert isinstance(response.body, Pieces)
    body = b"".join(response.body.pieces)
    assert len(body) == response.body.length
    return body


def text_of(response: Response) -> str:
    return body_of(response).decode()


def fill(metrics: Metrics, services: int) -> None:
    for number in range(services):
        for fact in everything_about("t1", f"web-{number}"):
            metrics.observe(fact)


async def test_plain_text(scrape: Scrape) -> None:
    response = await scrape.respond(PLAIN)
    assert response.status == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert response.encoding == ""
    text = text_of(response)
    assert 'zen_lead_build_info{build_date="unknown",commit="unknown",version="1"} 1.0\n' in text
    assert len(list(text_string_to_metric_families(text))) > 30


async def test_openmetrics(scrape: Scrape) -> None:
    response = await scrape.respond(OPENMETRICS)
    assert response.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    text = text_of(response)
    assert text.endswith("# EOF\n")
    assert len(list(parse_openmetrics(text))) > 30


def steady(text: str) -> list[str]:
    """The lines that a scrape does not change by itself: neither its own metrics nor the process's use."""
    return [line for line in text.splitlines() if "zen_lead_scrape" not in line and "process_" not in line]


async def test_who_takes_gzip_gets_the_same_text_packed(scrape: Scrape, metrics: Metrics) -> None:
    fill(metrics, 20)
    await scrape.respond(PLAIN)  # the metrics of scrapes themselves
    packed, plain = await scrape.respond(PACKED), text_of(await scrape.respond(PLAIN))
    assert packed.encoding == "gzip"
    compressed = body_of(packed)
    text = gzip.decompress(compressed).decode()
    assert steady(text) == steady(plain)
    assert len(compressed) < len(text) / 10


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("gzip;q=1.0", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("identity", False),
        ("br, x-gzipped", False),
        ("", False),
    ],
)
def test_who_takes_gzip(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


async def test_a_scrape_is_measured_itself(scrape: Scrape, metrics: Metrics) -> None:
    await scrape.respond(PLAIN)
    text = text_of(await scrape.respond(PLAIN))
    assert "zen_lead_scrapes_in_progress 1.0\n" in text
    assert metrics.registry.get_sample_value("zen_lead_scrape_duration_seconds_count") == 2
    assert metrics.registry.get_sample_value("zen_lead_scrapes_in_progress") == 0


@pytest.mark.parametrize("request_", [PLAIN, PACKED], ids=["plain", "packed"])
async def test_a_scrape_never_holds_the_loop_for_long(
    scrape: Scrape, metrics: Metrics, request_: Request
) -> None:
    """Others have a turn between any two chunks, and no chunk is long: measured in work of this thread."""
    fill(metrics, SERVICES)
    longest_s, turns, working_since = 0.0, 0, time.thread_time()
    task = asyncio.ensure_future(scrape.respond(request_))
    while not task.done():
        working_since = time.thread_time()
        await asyncio.sleep(0)
        turns += 1
        longest_s = max(longest_s, time.thread_time() - working_since)
    response = await task
    assert isinstance(response.body, Pieces)
    pieces = list(response.body.pieces)
    whole = b"".join(pieces)
    length = len(gzip.decompress(whole)) if request_ is PACKED else len(whole)
    assert turns > length / CHUNK_CHARS / 2
    assert longest_s < 0.010
    assert max(map(len, pieces)) < 8 * CHUNK_CHARS


async def test_too_slow_is_503_and_counted_and_does_not_pile_up(metrics: Metrics) -> None:
    fill(metrics, SERVICES)
    scrape = Scrape(metrics, timeout_s=0.001)
    answers = await asyncio.gather(*(scrape.respond(PLAIN) for _ in range(3)))
    assert [answer.status for answer in answers] == [503, 503, 503]
    assert answers[0].body == b"collecting the metrics took longer than 0.001 s\n"
    counted = 'zen_lead_timeout_occurrences_total{namespace="",operation="metrics_collection"} 3\n'
    assert counted in "".join(metrics.pieces())
    assert metrics.registry.get_sample_value("zen_lead_scrapes_in_progress") == 0


async def test_one_text_is_in_the_making_at_a_time(
    scrape: Scrape, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0
    pieces = metrics.pieces

    def counted(*, openmetrics: bool = False) -> Iterator[str]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        yield from pieces(openmetrics=openmetrics)
        under_way -= 1

    fill(metrics, 50)
    monkeypatch.setattr(metrics, "pieces", counted)
    answers = await asyncio.gather(*(scrape.respond(PACKED) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert most == 1
