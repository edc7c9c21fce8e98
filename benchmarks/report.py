"""Results as people read them: a Markdown document with ratios first.

Knows the shape of the results. Refuses to judge them.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

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


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    parts = [_head(results)]
    scenarios = results["scenarios"]
    parts += [_RENDER[name](scenarios[name], results) for name in _RENDER if name in scenarios]
    return "\n\n".join(parts) + "\n"


def _head(results: dict[str, Any]) -> str:
    where, told = results["machine"], results["arguments"]
    libraries = ", ".join(f"{name} {version}" for name, version in where["libraries"].items())
    return (
        f"{told['services']} Services x {told['pods_each']} pods for each side; "
        f"{where['cores']} cores of {where['cpu']}, load {where['load_before']:.1f} before and "
        f"{where['load_after']:.1f} after; Kubernetes {results['kubernetes']}, Python {where['python']}, "
        f"{libraries}; seed {told['seed']}"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}" if base else "-"


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
                    _ratio(ours[name], native),
                    _ratio(ours[name], floor),
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
        rows.append([title, *told, _ratio(ours, native), _ratio(ours, floor)])
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
    rows = [[*row, _ratio(float(row[1]), floor)] for row in rows]
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


def _small(result: dict[str, Any], _: dict[str, Any]) -> str:
    return f"With {result['pods']} pods zenlead is ready {result['ready_s']:.2f} s after its start."


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count) or "none"


_RENDER: dict[str, Any] = {
    "single": _single,
    "storm": _storm,
    "create": _create,
    "restart": _restart,
    "small": _small,
    "memory": _memory,
}
