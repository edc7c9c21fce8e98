"""The demo in words: one line for each thing that happens, and the summary at the end.

Knows how durations and counts are put. Refuses to know terminals. The rule: columns stand under each other,
and a line says it all to whoever reads it in the log of a build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.sandbox.demo_referee import Breach, Promise, Referee
from zenlead.sandbox.demo_timeline import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zenlead.sandbox.demo_failovers import Failover

JOIN_COMMAND = "kubectl get pods,svc,endpointslices"
OPT_IN = "kubectl annotate svc web zen-lead.io/enabled=true"
HINTS = ("kubectl delete pod web-1", "kubectl annotate svc web zen-lead.io/enabled-")
SUBTLE_S = 0.00095  # durations below that are told with a decimal, which rounding to whole ones would hide
_FAULT_WIDTH = 22  # "slice deleted, by hand" is the longest


def join_line(kubeconfig: str) -> str:
    """What to paste into another terminal."""
    return f"export KUBECONFIG={kubeconfig}; {JOIN_COMMAND}"


def at(seconds: float, text: str) -> str:
    """A line with its time since the start of the demo."""
    return f"{seconds:7.2f} s  {text}"


def ms(seconds: float | None) -> str:
    """A duration as people compare them."""
    if seconds is None:
        return "-"
    decimals = 1 if 0 < seconds < SUBTLE_S else 0
    return f"{seconds * 1000:.{decimals}f} ms"


def counted(count: int, noun: str, plural: str) -> str:
    """``1 failover``, ``2 failovers``."""
    return f"{count} {noun if count == 1 else plural}"


def fault(failover: Failover) -> str:
    """What happened to the leader, and whether a visitor did it."""
    return failover.fault + (", by hand" if failover.by_hand else "")


def failover_line(failover: Failover) -> str:
    """One failover that is over."""
    lost = f", {failover.lost} lost" if failover.lost else ""
    return (
        f"failover {failover.number:<2} {fault(failover):<9}  {failover.previous} -> {failover.leader}  "
        f"slice {ms(failover.seen_s):>6}  answer {ms(failover.answered_s):>6}{lost}"
    )


def breach_line(breach: Breach) -> str:
    """One promise that was broken."""
    return f"BROKEN  {breach.promise.value}: {breach.text}"


def summary(referee: Referee, sent: int, seconds: float, started: float) -> Iterator[str]:
    """Everything that counts, after a run of ``seconds`` that began at loop time ``started``."""
    past, timeline = referee.stopwatch.past, referee.timeline
    heads = f"{'slice p50':>12}{'max':>9}{'answer p50':>13}{'max':>9}{'lost':>7}"
    yield f"{'failovers':<{_FAULT_WIDTH + 2}}{'count':>6}{heads}"
    for kind in dict.fromkeys(fault(one) for one in past):
        yield _row(f"  {kind}", [one for one in past if fault(one) == kind])
    if past:
        yield _row("  all", past)
    else:
        yield "  none"
    yield ""
    lost_inside = timeline.failed_count - referee.lost_outside
    yield f"requests    {sent} sent in {seconds:.0f} s, {timeline.answered_count} answered"
    yield f"            {lost_inside} lost in failovers, {referee.lost_outside} failed outside of them"
    half, most = (ms(quantile(timeline.latencies_s, share)) for share in (0.5, 0.99))
    yield f"            answered in {half} (p50), {most} (p99)"
    yield f"            longest time without an answer {ms(timeline.longest_gap_s)}"
    yield ""
    for number, promise in enumerate(Promise):
        times = referee.breaches[promise]
        verdict = "kept" if not times else f"BROKEN {times}x"
        yield f"{'promises' if number == 0 else '':<12}{verdict:<11} {promise.value}"
    for breach in referee.broken:
        yield f"            at {breach.at - started:.2f} s: {breach.text}"
    yield ""
    yield verdict_line(referee)


def verdict_line(referee: Referee) -> str:
    """The last word."""
    failovers = counted(len(referee.stopwatch.past), "failover", "failovers")
    if referee.breaches:
        breaches = counted(referee.breaches.total(), "breach", "breaches")
        return f"{failovers}, and not every promise was kept: {breaches}."
    return f"{failovers}, every promise kept, in {referee.states} states of the cluster."


def _row(name: str, failovers: Iterable[Failover]) -> str:
    held = list(failovers)
    seen = [one.seen_s for one in held if one.seen_s is not None]
    answered = [one.answered_s for one in held if one.answered_s is not None]
    return (
        f"{name:<{_FAULT_WIDTH + 2}}{len(held):>6}"
        f"{ms(quantile(seen, 0.5)):>12}{ms(max(seen, default=None)):>9}"
        f"{ms(quantile(answered, 0.5)):>13}{ms(max(answered, default=None)):>9}"
        f"{sum(one.lost for one in held):>7}"
    )
