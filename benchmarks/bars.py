"""The figures that are promised, with the bar that each has to reach, and how they compare with a stored run.

Knows where in the results a figure stands. Refuses to measure. The rule not to break: what is missed is said
to be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator  # noqa: TC003 - fields of a Struct
from typing import Any, TypeAlias

import msgspec

Results: TypeAlias = dict[str, Any]  # scenario -> what it found


class Figure(msgspec.Struct, frozen=True):
    """``of`` raises LookupError when it was not measured. ``least``: the bar is to be reached, not kept."""

    name: str
    of: Callable[[Results], float]
    bar: float | None = None
    unit: str = ""
    least: bool = False

    def value(self, scenarios: Results) -> float | None:
        try:
            return self.of(scenarios)
        except (LookupError, ZeroDivisionError):
            return None

    def verdict(self, value: float) -> str:
        if self.bar is None:
            return ""
        return "met" if (value >= self.bar if self.least else value <= self.bar) else "MISSED"

    def shown(self, value: float) -> str:
        if self.unit == "%":
            return f"{value:.0%}"
        digits = 0 if value == int(value) else 3 if abs(value) < 0.1 else 2 if abs(value) < 10 else 1
        return f"{value:.{digits}f}{f' {self.unit}' if self.unit else ''}"


def _memory(services: int) -> Callable[[Results], float]:
    def of(results: Results) -> float:
        found = [
            m["rss_mb"] for m in results["memory"] if m["services"] == services and "restart" in m["when"]
        ]
        return float(found[-1])

    return of


def _scale(services: int, pods: int, value: Callable[[Any], float]) -> Callable[[Results], float]:
    def of(results: Results) -> float:
        found = [r for r in results["scale"] if (r["services"], r["pods"]) == (services, pods)]
        return value(found[0])

    return of


def _together(results: Results) -> float:
    """Of the paces those that know no pause, and of these the dearer one."""
    return max(float(row["cpu_us"]) for row in results["paces"] if not row["pace_per_s"])


def _ratio_of_failovers(results: Results) -> float:
    large = _scale(10_000, 100_000, lambda r: r["failover_cpu_ms"])(results)
    return large / _scale(1_000, 10_000, lambda r: r["failover_cpu_ms"])(results)


def _sizes() -> Iterator[Figure]:
    for index, (p95_ms, rate) in enumerate(((200, 0.90), (500, 0.85), (1000, 0.80))):
        title = ("below 100 Services", "100 to 1000 Services", "above 1000 Services")[index]
        yield Figure(
            f"{title}: a pass, P95", lambda r, i=index: r["sizes"][i]["reconcile_p95_ms"], p95_ms, "ms"
        )
        yield Figure(
            f"{title}: cache hit rate", lambda r, i=index: r["sizes"][i]["hit_rate"], rate, "%", least=True
        )
        yield Figure(f"{title}: RSS", lambda r, i=index: r["sizes"][i]["rss_mb"], None, "MB")


_LARGE = (10_000, 100_000)

FIGURES: tuple[Figure, ...] = (
    Figure(
        "one failover, race, p50: zenlead / native",
        lambda r: r["single"]["race_ms"]["zenlead"]["p50"] / r["single"]["race_ms"]["native"]["p50"],
        1.02,
    ),
    Figure(
        "one failover, alone, p50: zenlead / native",
        lambda r: r["single"]["alone_ms"]["zenlead"]["p50"] / r["single"]["alone_ms"]["native"]["p50"],
    ),
    Figure(
        "one failover, alone, p50: zenlead / floor",
        lambda r: r["single"]["alone_ms"]["zenlead"]["p50"] / r["single"]["alone_ms"]["floor"]["p50"],
    ),
    Figure(
        "failovers in which zenlead's slice was first",
        lambda r: r["single"]["race_zenlead_first"],
        0.45,
        "%",
        least=True,
    ),
    Figure(
        "storm, last move from the start: zenlead / floor",
        lambda r: r["storm"]["median"]["zenlead"]["last_s"] / r["storm"]["median"]["floor"]["last_s"],
        1.15,
    ),
    Figure(
        "storm, each from its own failure, p50",
        lambda r: r["storm"]["median"]["zenlead"]["since_sent_s_p50"],
        1.5,
        "s",
    ),
    Figure(
        "first creation, last one routes, from the start of the process / bare client",
        lambda r: r["create"]["last_s"] / r["create"]["floor_s"],
        1.3,
    ),
    Figure(
        "first creation, last one routes, from the first one / bare client",
        lambda r: r["create"]["last_since_first_s"] / r["create"]["floor_s"],
    ),
    Figure("restart: write requests", lambda r: r["restart"]["write_requests"], 0),
    Figure("restart: ready after", lambda r: r["restart"]["ready_s"], 2.0, "s"),
    Figure("RSS, 200 Services, 600 pods", _memory(200), 50.0, "MB"),
    Figure("RSS, 1000 Services, 3000 pods", _memory(1000), 60.0, "MB"),
    Figure("RSS, 10,000 Services, 100,000 pods", _scale(*_LARGE, lambda r: r["rss_mb"]), 200.0, "MB"),
    Figure("the same: ready after", _scale(*_LARGE, lambda r: r["ready_s"]), 6.0, "s"),
    Figure(
        "the same: longest turn of the loop", _scale(*_LARGE, lambda r: r["loop"]["longest_ms"]), 10.0, "ms"
    ),
    Figure("the same: writes", _scale(*_LARGE, lambda r: r["writes"]), 0),
    Figure(
        "the same: failover, event to write, p50",
        _scale(*_LARGE, lambda r: r["failover_ms"]["p50"]),
        None,
        "ms",
    ),
    Figure("cost of a failover there / with 1000 Services, 10,000 pods", _ratio_of_failovers, 1.2),
    Figure("a pod update that changes nothing, CPU", lambda r: r["noise"]["real"]["cpu_us"], 60.0, "us"),
    Figure(
        "the same: zenlead / floor",
        lambda r: r["noise"]["real"]["cpu_us"] / r["noise"]["real"]["floor_cpu_us"],
    ),
    Figure("the same, when they come together (stored cluster)", _together, 60.0, "us"),
    Figure(
        "longest stall by a scrape of 1000 Services",
        lambda r: max(s["stall_ms"] for s in r["scrape"].values()),
        10.0,
        "ms",
    ),
    Figure(
        "data path, headless source, p50",
        lambda r: r["dataplane"]["by"]["zenlead/headless"]["client_ms"]["p50"],
        30.0,
        "ms",
    ),
    Figure(
        "the same, floor", lambda r: r["dataplane"]["by"]["floor/headless"]["client_ms"]["p50"], None, "ms"
    ),
    Figure(
        "data path, ClusterIP source, failovers under 100 ms",
        lambda r: r["dataplane"]["by"]["zenlead/ClusterIP"]["soon"],
        0.45,
        "%",
        least=True,
    ),
    Figure(
        "the same, floor", lambda r: r["dataplane"]["by"]["floor/ClusterIP"]["soon"], None, "%", least=True
    ),
    *_sizes(),
)


def rows(scenarios: Results, baseline: Results | None = None) -> list[list[str]]:
    """A row for each figure that was measured; with a baseline, two cells more."""
    found = []
    for figure in FIGURES:
        if (value := figure.value(scenarios)) is None:
            continue
        sign = "" if figure.bar is None else ">= " if figure.least else "<= "
        bar = "" if figure.bar is None else sign + figure.shown(figure.bar)
        row = [figure.name, figure.shown(value), bar, figure.verdict(value)]
        if baseline is not None:
            before = figure.value(baseline)
            row += ["-", "-"] if before is None else [figure.shown(before), ratio(value, before)]
        found.append(row)
    return found


def ratio(value: float, base: float) -> str:
    if value == base:
        return "1.00"
    return f"{value / base:.2f}" if base else "-"
