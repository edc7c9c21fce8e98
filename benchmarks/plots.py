"""Pictures of the results, where matplotlib is installed (``pip install '.[bench]'``).

Knows which samples are worth a look. Refuses to be needed: without the library there are no pictures, and the
report says so.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH_IN, HEIGHT_IN, DPI = 7.0, 3.6, 110
MISSING = "No pictures: matplotlib is not installed (`pip install '.[bench]'`)."


def draw(scenarios: dict[str, Any], stem: Path) -> list[tuple[str, str]]:
    """Writes ``<stem>-<scenario>.png`` for each scenario that has a picture; titles and file names."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    import matplotlib as mpl  # noqa: PLC0415 - not installed everywhere

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - likewise

    drawn = []
    for name, (title, paint) in _PICTURES.items():
        if name not in scenarios:
            continue
        figure, axes = plt.subplots(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
        paint(axes, scenarios[name])
        axes.grid(alpha=0.3)
        path = stem.with_name(f"{stem.name}-{name}.png")
        figure.savefig(path)
        plt.close(figure)
        drawn.append((title, path.name))
    return drawn


def _shares(axes: Any, series: dict[str, list[float]], unit: str) -> None:
    """For each series, which share of it was over after how long."""
    for label, values in series.items():
        ordered = sorted(values)
        axes.step(ordered, [(n + 1) / len(ordered) for n in range(len(ordered))], where="post", label=label)
    axes.set(xlabel=unit, ylabel="share", xscale="log", ylim=(0, 1))
    axes.legend()


def _single(axes: Any, result: dict[str, Any]) -> None:
    series = {
        f"{name}, alone": [sample[name] for sample in found]
        for name, found in result["samples"].items()
        if name != "race"
    }
    for name in ("zenlead", "native"):
        series[f"{name}, race"] = [sample[name] for sample in result["samples"]["race"]]
    _shares(axes, series, "ms from the failure of the leader to the slice")


def _storm(axes: Any, result: dict[str, Any]) -> None:
    median = result["median"]
    keys = {"since_sent_s_p50": "p50 of its own", "last_s": "last", "quiet_s": "last write"}
    for index, (key, label) in enumerate(keys.items()):
        positions = [number + index * 0.25 for number in range(len(median))]
        axes.bar(positions, [median[side][key] for side in median], width=0.22, label=label)
    axes.set(ylabel="s", xticks=[number + 0.25 for number in range(len(median))])
    axes.set_xticklabels(list(median))
    axes.legend()


def _dataplane(axes: Any, result: dict[str, Any]) -> None:
    series = {name: found["samples"] for name, found in result["by"].items()}
    _shares(axes, series, "ms from the failure of the leader to a connection to the next")


def _scale(axes: Any, result: list[dict[str, Any]]) -> None:
    pods = [found["pods"] for found in result]
    axes.plot(pods, [found["rss_mb"] for found in result], "o-", label="RSS, MB")
    axes.plot(pods, [found["ready_s"] * 10 for found in result], "s-", label="ready after, s / 10")
    axes.plot(pods, [found["loop"]["longest_ms"] for found in result], "^-", label="longest turn, ms")
    axes.set(xlabel="pods in scope", xscale="log")
    axes.legend()


_PICTURES: dict[str, tuple[str, Callable[[Any, Any], None]]] = {
    "single": ("One failover", _single),
    "storm": ("All leaders fail at once", _storm),
    "dataplane": ("What a client notices", _dataplane),
    "scale": ("Large clusters", _scale),
}
