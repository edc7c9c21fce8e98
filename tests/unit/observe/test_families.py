"""Numbers in ledgers: shared shapes, and nothing kept that nobody counts any more."""

from __future__ import annotations

import gc
import sys
import tracemalloc

from zenlead.observe.families import EMPTY, Family, Layout, Ledger

CALLS = Family("calls_total", "counter", "Calls.", ("namespace",), ("verb",))
CALL_S = Family("call_seconds", "histogram", "Time.", ("namespace",), ("verb",), buckets=(0.1, 1.0))
OWNER = 'namespace="t1"'


def test_numbers_stay_when_others_come_before_and_behind_them() -> None:
    ledger = Ledger(EMPTY)
    ledger.add(CALLS.slot("m"))
    ledger.observe(CALL_S.slot("m"), 0.5)
    for verb in ("z", "a", "p"):
        ledger.add(CALLS.slot(verb), 2)
        ledger.observe(CALL_S.slot(verb), 3.0)
    ledger.add(CALLS.slot("m"))
    assert ledger.text(CALLS, OWNER) == (
        'calls_total{namespace="t1",verb="a"} 2\n'
        'calls_total{namespace="t1",verb="m"} 2\n'
        'calls_total{namespace="t1",verb="p"} 2\n'
        'calls_total{namespace="t1",verb="z"} 2\n'
    )
    assert ledger.text(CALL_S, OWNER).splitlines()[5:10] == [
        'call_seconds_bucket{namespace="t1",verb="m",le="0.1"} 0',
        'call_seconds_bucket{namespace="t1",verb="m",le="1.0"} 1',
        'call_seconds_bucket{namespace="t1",verb="m",le="+Inf"} 1',
        'call_seconds_sum{namespace="t1",verb="m"} 0.5',
        'call_seconds_count{namespace="t1",verb="m"} 1',
    ]


def test_the_latest_exemplar_of_a_bucket_stands_behind_its_line() -> None:
    ledger = Ledger(EMPTY)
    ledger.observe(CALL_S.slot("get"), 0.05, ' # {trace_id="a"} 0.05 1.0')
    ledger.observe(CALL_S.slot("get"), 0.06, ' # {trace_id="b"} 0.06 2.0')
    ledger.observe(CALL_S.slot("get"), 2.0, ' # {trace_id="c"} 2.0 3.0')
    ledger.observe(CALL_S.slot("get"), 0.07)
    ledger.observe(CALL_S.slot("list"), 0.07)
    plain = ledger.text(CALL_S, OWNER)
    assert "#" not in plain
    marked = ledger.text(CALL_S, OWNER, marked=True)
    assert marked.replace(' # {trace_id="b"} 0.06 2.0', "").replace(' # {trace_id="c"} 2.0 3.0', "") == plain
    assert [line for line in marked.splitlines() if "#" in line] == [
        'call_seconds_bucket{namespace="t1",verb="get",le="0.1"} 3 # {trace_id="b"} 0.06 2.0',
        'call_seconds_bucket{namespace="t1",verb="get",le="+Inf"} 4 # {trace_id="c"} 2.0 3.0',
    ]


def test_the_same_happenings_in_another_order_share_a_layout() -> None:
    slots = [CALLS.slot(verb) for verb in "abc"]
    assert Layout.of(tuple(slots)) is Layout.of(tuple(reversed(slots)))


def test_names_that_nobody_counts_any_more_are_dropped() -> None:
    family = Family("odd_total", "counter", "Odd.", ("namespace",), ("port",))
    ledgers = [Ledger(EMPTY) for _ in range(50)]
    for number in range(50):
        ledgers[number].add(family.slot(f"port-{number}"))
    assert "slots=50" in repr(family)
    ledgers.clear()
    gc.collect()
    assert "slots=0" in repr(family)


def test_an_owner_costs_what_happened_to_it() -> None:
    """Eleven histograms and a counter in a kilobyte; children of prometheus_client would be 50."""
    warm = _ledger()
    tracemalloc.start()
    try:
        ledgers = [_ledger() for _ in range(100)]
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(ledgers) == 100
    assert used / 100 < 1024 + sys.getsizeof(warm)


def _ledger() -> Ledger:
    ledger = Ledger(EMPTY)
    ledger.add(CALLS.slot("get"))
    for verb in "abcdefghijk":
        ledger.observe(CALL_S.slot(verb), 0.5)
    return ledger
