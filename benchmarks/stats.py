"""Numbers out of numbers: quantiles that are values which were measured, never between two of them."""

from __future__ import annotations

import math
from typing import Any

RAW = frozenset(
    {"samples", "rounds", "steps", "turns", "writes"}
)  # what has no middle; each round keeps its own


def quantile(values: list[float], share: float) -> float:
    """The smallest measured value that ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "min": min(values),
        "p50": quantile(values, 0.5),
        "p90": quantile(values, 0.9),
        "p99": quantile(values, 0.99),
        "max": max(values),
    }


def middle(rounds: list[Any]) -> Any:
    """The median of each number, over results of the same shape; what is no number is that of the first."""
    first = rounds[0]
    if len(rounds) == 1:
        return first
    if isinstance(first, dict):
        return {
            key: first[key] if key in RAW else middle([found[key] for found in rounds if key in found])
            for key in first
        }
    if isinstance(first, list) and all(len(found) == len(first) for found in rounds):
        return [middle(list(column)) for column in zip(*rounds, strict=True)]
    if isinstance(first, int | float) and not isinstance(first, bool):
        return quantile(rounds, 0.5)
    return first
