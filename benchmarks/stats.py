"""Numbers out of numbers: quantiles that are values which were measured, never between two of them."""

from __future__ import annotations

import math


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
