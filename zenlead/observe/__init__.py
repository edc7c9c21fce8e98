"""Metrics, probes, logs and traces. Whoever imports any of it has its libraries in their slim form."""

from __future__ import annotations

from zenlead.observe import importdiet  # noqa: F401  # first, for its effect on all imports of structlog
