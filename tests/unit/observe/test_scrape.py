"""A scrape: both formats, the limit, and the loop that keeps running meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from zenlead.observe.http import parse
from zenlead.observe.metrics import Build, Metrics
from zenlead.observe.scrape import Scrape

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = parse(b"GET /metrics HTTP/1.1\r\n\r\n")
# What Prometheus sends.
OPENMETRICS = parse(
    b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    b"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n\r\n"
)


class Slow:
    """A collector that takes until it is let go, in the thread that collects."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.runs = 0

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        self.runs += 1
        self.entered.set()
        self.let_go.wait(5)
        yield Metric("slow", "A slow one.", "gauge")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(build=Build("1"), now=lambda: 0.0, monotonic=lambda: 0.0)


@pytest.fixture
def scrape(metrics: Metrics) -> Iterator[Scrape]:
    made = Scrape(metrics, timeout_s=5)
    yield made
    made.close()


async def test_plain_text(scrape: Scrape) -> None:
    response = await scrape.respond(PLAIN)
    assert response.status == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    text = response.body.decode()
    assert 'zen_lead_build_info{build_date="unknown",commit="unknown",version="1"} 1.0\n' in text
    assert len(list(text_string_to_metric_families(text))) > 30


async def test_openmetrics(scrape: Scrape) -> None:
    response = await scrape.respond(OPENMETRICS)
    assert response.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert response.body.endswith(b"# EOF\n")
    assert len(list(parse_openmetrics(response.body.decode()))) > 30


async def test_a_scrape_is_measured_itself(scrape: Scrape, metrics: Metrics) -> None:
    await scrape.respond(PLAIN)
    response = await scrape.respond(PLAIN)
    assert b"zen_lead_scrapes_in_progress 1.0\n" in response.body
    assert metrics.registry.get_sample_value("zen_lead_scrape_duration_seconds_count") == 2
    assert metrics.registry.get_sample_value("zen_lead_scrapes_in_progress") == 0


async def test_the_loop_runs_while_the_text_is_made(scrape: Scrape, metrics: Metrics) -> None:
    slow = Slow()
    metrics.registry.register(slow)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(scrape.respond(PLAIN))
        assert await asyncio.to_thread(slow.entered.wait, 5)
        assert not task.done()
        slow.let_go.set()
    assert task.result().status == 200


async def test_too_slow_is_503_and_counted_and_does_not_pile_up(metrics: Metrics) -> None:
    slow = Slow()
    metrics.registry.register(slow)
    scrape = Scrape(metrics, timeout_s=0.02)
    first = await scrape.respond(PLAIN)
    second = await scrape.respond(PLAIN)
    third = await scrape.respond(OPENMETRICS)
    assert [r.status for r in (first, second, third)] == [503, 503, 503]
    assert first.body == b"collecting the metrics took longer than 0.02 s\n"
    assert slow.runs == 1  # the others gave up before their turn
    slow.let_go.set()
    scrape.close()
    name = "zen_lead_timeout_occurrences_total"
    labels = {"namespace": "", "operation": "metrics_collection"}
    assert metrics.registry.get_sample_value(name, labels) == 3
    assert metrics.registry.get_sample_value("zen_lead_scrapes_in_progress") == 0


def test_no_web_framework_is_loaded_for_it() -> None:
    code = (
        "import sys; from zenlead.observe import scrape\n"
        "aio = scrape._prometheus_async(); assert aio.time\n"
        "print('aiohttp.web' in sys.modules, 'prometheus_async.aio.web' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "False False\n"
