"""Points in time as Kubernetes' MicroTime.

Knows one text form. The rule not to break: always six fractional digits and Z, since API servers answer 400
to fewer. Source: k8s.io/apimachinery, meta/v1 MicroTime (RFC3339Micro).
"""

from __future__ import annotations

import datetime


def micro_time(unix_s: float) -> str:
    """Unix seconds as ``2026-01-31T08:05:00.000000Z``, rounded to the microsecond."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
