"""Results as people read them: a Markdown document with ratios first.

Knows the shape of the results. Refuses to judge them.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import bars, plots
from benchmarks.bars import ratio

LIBRARIES = ("aiohttp", "kubernetes-asyncio", "msgspec")


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "load_before": os.getloadavg()[0],
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def markdown(
    results: dict[str, Any],
    *,
    baseline: dict[str, Any] | None = None,
    pictures: list[tuple[str, str]] | None = None,
) -> str:
    """The whole report. ``baseline``: the results of an earlier run; ``pictures``: titles and file names."""
    scenarios = results["scenarios"]
    parts = [_head(results), _figures(scenarios, baseline)]
    parts += [_RENDER[name](scenarios[name], results) for name in _RENDER if name in scenarios]
    parts += [f"Left out: {name}, {why}." for name, why in scenarios.get("left_out", {}).items()]
    if pictures is not None:
        parts += [f"![{title}]({name})" for title, name in pictures] or [plots.MISSING]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(scenarios: dict[str, Any], baseline: dict[str, Any] | None) -> str:
    """What was promised, and whether it was kept."""
    rows = bars.rows(scenarios, None if baseline is None else baseline["scenarios"])
    if not rows:
        return ""
    header = ["figure", "now", "bar", ""]
    if baseline is None:
        return _table(header, rows)
    where = _head(baseline)
    return f"{_table([*header, 'baseline', 'now / baseline'], rows)}\n\nBaseline: {where}"


def _head(results: dict[str, Any]) -> str:
    where, told = results["machine"], results["arguments"]
    libraries = ", ".join(f"{name} {version}" for name, version in where["libraries"].items())
    return (
        f"{told['services']} Services x {told['pods_each']} pods for each side, "
        f"{told.get('rounds', 1)} round(s); "
        f"{where['cores']} cores of {where['cpu']}, load {where['load_before']:.1f} before and "
        f"{where['load_after']:.1f} after; Kubernetes {results['kubernetes']}, Python {where['python']}, "
        f"{libraries}; seed {told['seed']}"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _single(result: dict[str, Any], _: dict[str, Any]) -> str:
    rows = []
    for title, measured in (("alone", result["alone_ms"]), ("race", result["race_ms"])):
        ours = measured["zenlead"]
        for name in ("p50", "p90", "p99"):
            native = measured.get("native", {}).get(name, 0.0)
            floor = measured.get("floor", {}).get(name, 0.0)
            rows.append(
                [
                    f"{title}, {name}",
                    f"{ours[name]:.1f}",
                    f"{native:.1f}" if native else "-",
                    f"{floor:.1f}" if floor else "-",
                    ratio(ours[name], native),
                    ratio(ours[name], floor),
                ]
            )
    header = ["one failover, ms", "zenlead", "native", "floor", "zenlead / native", "zenlead / floor"]
    count = result["alone_ms"]["zenlead"]["n"]
    return (
        f"{_table(header, rows)}\n\n{count} samples a row. In the race zenlead's slice was seen first in "
        f"{result['race_zenlead_first']:.0%} of the failovers."
    )


def _storm(result: dict[str, Any], results: dict[str, Any]) -> str:
    titles = {
        "since_sent_s_p50": "each from its own failure, p50, s",
        "since_sent_s_p99": "each from its own failure, p99, s",
        "since_start_s_p50": "from the start, p50, s",
        "last_s": "from the start, last, s",
        "sending_s": "sending the failures, s",
        "quiet_s": "last write of any kind, s",
        "cpu_ms_per_move": "processor time per move, ms",
    }
    median = result["median"]
    rows = []
    for key, title in titles.items():
        ours, native, floor = (median.get(name, {}).get(key, 0.0) for name in ("zenlead", "native", "floor"))
        told = [f"{value:.2f}" if value else "-" for value in (ours, native, floor)]
        rows.append([title, *told, ratio(ours, native), ratio(ours, floor)])
    header = [
        f"storm of {results['arguments']['services']}",
        "zenlead",
        "native",
        "floor",
        "zenlead / native",
        "zenlead / floor",
    ]
    rounds = len(next(iter(result["rounds"].values())))
    return f"{_table(header, rows)}\n\nMedians of {rounds} storms."


def _create(result: dict[str, Any], results: dict[str, Any]) -> str:
    floor = result["floor_s"]
    rows = [
        ["last one routes, from the start of the process, s", f"{result['last_s']:.2f}"],
        ["last one routes, from the first one, s", f"{result['last_since_first_s']:.2f}"],
        ["half of them route, from the start of the process, s", f"{result['p50_s']:.2f}"],
        ["last write of any kind, s", f"{result['quiet_s']:.2f}"],
    ]
    rows = [[*row, ratio(float(row[1]), floor)] for row in rows]
    rows.append(["a bare client, the same two objects each, s", f"{floor:.2f}", "1"])
    header = [f"first creation of {results['arguments']['services']}", "", "/ bare client"]
    return f"{_table(header, rows)}\n\nWrites of zenlead: {_counts(result['writes'])}."


def _restart(result: dict[str, Any], _: dict[str, Any]) -> str:
    rows = [
        ["write requests", str(result["write_requests"])],
        ["objects changed", f"{result['changed_objects']} of {result['objects']}"],
        ["ready after, s", f"{result['ready_s']:.2f}"],
        ["processor time until ready, s", f"{result['cpu_at_ready_s']:.2f}"],
    ]
    text = _table(["restart with nothing to change", ""], rows)
    return f"{text}\n\nWritten: {_counts(result['writes'])}." if result["writes"] else text


def _memory(result: list[dict[str, Any]], _: dict[str, Any]) -> str:
    rows = [
        [m["when"], str(m["services"]), str(m["pods"]), f"{m['rss_mb']:.1f}", f"{m['peak_mb']:.1f}"]
        for m in result
    ]
    return _table(["memory of zenlead", "Services", "pods", "RSS, MB", "peak, MB"], rows)


def _small(result: list[dict[str, Any]], _: dict[str, Any]) -> str:
    told = [f"With {m['pods']} pods zenlead is ready {m['ready_s']:.2f} s after its start." for m in result]
    return " ".join(told)


def _noise(result: dict[str, Any], _: dict[str, Any]) -> str:
    real = result["real"]
    return (
        f"A pod update that changes nothing costs {real['cpu_us']:.0f} us of processor time, "
        f"a bare watch of the same pods {real['floor_cpu_us']:.0f} us "
        f"({real['events']} of them, {real['per_s']:.0f} a second); a second in which nothing happens "
        f"{real['idle_cpu_ms_per_s']:.1f} ms."
    )


def _paces(result: list[dict[str, Any]], _: dict[str, Any]) -> str:
    rows = [
        [
            m["whose"],
            f"{m['pace_per_s']} a second" if m["pace_per_s"] else "as fast as it goes",
            f"{m['cpu_us']:.0f}",
        ]
        for m in result
    ]
    return _table(["noise", "pace", "CPU us of each"], rows)


def _sizes(result: list[dict[str, Any]], _: dict[str, Any]) -> str:
    rows = [
        [
            m["title"],
            f"{m['services']} / {m['pods']}",
            f"{m['reconcile_p95_ms']:.0f}",
            f"{m['hit_rate']:.1%}",
            f"{m['rss_mb']:.1f}",
            f"{m['peak_mb']:.1f}",
        ]
        for m in result
    ]
    header = ["cluster", "Services / pods", "pass, P95, ms", "cache hit rate", "RSS, MB", "peak, MB"]
    return _table(header, rows)


def _scale(result: list[dict[str, Any]], _: dict[str, Any]) -> str:
    rows = [
        [
            f"{m['services']} / {m['pods']}",
            f"{m['ready_s']:.2f}",
            f"{m['cpu_settled_s']:.2f}",
            f"{m['loop']['longest_ms']:.1f} ({m['loop']['longest_at_work_ms']:.1f})",
            f"{m['rss_mb']:.0f} ({m['peak_mb']:.0f})",
            str(m["writes"]),
            f"{m['failover_cpu_ms']:.2f}",
            f"{m['failover_ms']['p50']:.1f}",
        ]
        for m in result
    ]
    header = [
        "Services / pods",
        "ready, s",
        "CPU until settled, s",
        "longest turn (at work), ms",
        "RSS (peak), MB",
        "writes",
        "CPU of a failover, ms",
        "event to write, p50, ms",
    ]
    return _table(header, rows)


def _scrape(result: dict[str, Any], _: dict[str, Any]) -> str:
    rows = [
        [name, f"{m['sent_mb']:.2f}", f"{m['seconds']:.2f}", f"{m['stall_ms']:.1f} ({m['stall_cpu_ms']:.1f})"]
        for name, m in result.items()
    ]
    return _table(["scrape of 1000 Services", "sent, MB", "s", "longest stall (at work), ms"], rows)


def _dataplane(result: dict[str, Any], _: dict[str, Any]) -> str:
    rows = [
        [
            *name.split("/"),
            *(f"{m['client_ms'][key]:.0f}" for key in ("p50", "p90", "max")),
            f"{m['soon']:.0%}",
            f"{m['slice_ms']['p50']:.1f}",
        ]
        for name, m in result["by"].items()
    ]
    header = ["who", "source", "client, p50, ms", "p90", "max", "under 100 ms", "slice, p50, ms"]
    return f"{_table(header, rows)}\n\n{result['samples']} failovers a row."


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count) or "none"


_RENDER: dict[str, Any] = {
    "single": _single,
    "storm": _storm,
    "create": _create,
    "restart": _restart,
    "small": _small,
    "memory": _memory,
    "noise": _noise,
    "paces": _paces,
    "sizes": _sizes,
    "scale": _scale,
    "scrape": _scrape,
    "dataplane": _dataplane,
}
