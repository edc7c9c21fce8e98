"""How the controller is to work, in values.

Knows names and defaults. Refuses to know where they come from (run.py does) and what they lead to. The rule:
times are seconds.
"""

from __future__ import annotations

import msgspec

from zenlead.controller.reconcile import Options
from zenlead.kube.informer import WATCH_TIMEOUT_S
from zenlead.kube.lane import Lane  # noqa: TC001 - a field of a Struct
from zenlead.kube.lanes import RetryPolicy  # noqa: TC001 - a field of a Struct
from zenlead.kube.leaseobject import ElectionOptions


class Parameters(msgspec.Struct, frozen=True):
    """How the controller is to work; run.py fills it from the settings. Times are seconds."""

    identity: str
    lease_namespace: str
    lease_name: str = "zen-lead-controller-leader-election"
    elect: bool = True
    lease_duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_period_s: float = 2.0
    max_concurrent_reconciles: int = 10
    qps: float = 50.0
    burst: int = 100
    retries: dict[Lane, RetryPolicy] = {}
    min_interval_s: float = 0.0
    index_limit: int = 1000
    index_timeout_s: float = 10.0
    index_sweep_s: float = 300.0
    watch_timeout_s: float = WATCH_TIMEOUT_S
    namespaces: tuple[str, ...] = ()  # empty: all
    options: Options = Options()

    def election(self) -> ElectionOptions:
        """What of it the competition for the Lease needs."""
        return ElectionOptions(
            identity=self.identity,
            namespace=self.lease_namespace,
            name=self.lease_name,
            lease_duration_s=self.lease_duration_s,
            renew_deadline_s=self.renew_deadline_s,
            retry_period_s=self.retry_period_s,
        )
