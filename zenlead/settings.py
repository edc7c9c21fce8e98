"""Every knob of zenlead in one table; flags, environment, config file, help and documents derive from it.

Knows which knobs exist, what each may be, and which can be turned while the controller runs. Refuses to know
who set them (reading.py does) and what they do. The rule not to break: a knob is added in ``Settings`` and
nowhere else.
"""

# ruff: noqa: RUF009  (a knob() is an immutable field with its metadata, as dataclasses.field() is)

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from zenlead.knobs import (
    Address,
    Given,
    Knob,
    address,
    anything,
    duration,
    knob,
    knobs_of,
    live,
    namespaces,
    number,
    object_name,
    one_of,
    path,
    switch,
    whole,
    whole_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVING = "Serving"
ELECTION = "Election among replicas"
WORK = "Work and API limits"
RETRIES = "Retries of writes"
CACHES = "Caches"
SCOPE = "Scope and connection"
LOGS = "Logs and mode"

SOURCE_DEFAULT = "default"


class Effective(NamedTuple):
    """One line of the answer to "which value counts, and where it came from"."""

    flag: str
    text: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All knobs, parsed and checked. ``Settings()`` is the defaults; reading.py reads what a user set."""

    metrics_bind_address: Address | None = knob(":8080", address, SERVING, "where /metrics listens; 0 = off")
    health_probe_bind_address: Address | None = knob(
        ":8081", address, SERVING, "where /healthz, /livez and /readyz listen; 0 = off"
    )
    metrics_collection_timeout_seconds: int = live(
        "5", whole(1, 300), SERVING, "a scrape of /metrics that takes longer is answered with 503"
    )
    metrics_per_service: bool = knob(
        "true", switch, SERVING, "series for each Service; else for each namespace, and fewer"
    )

    leader_elect: bool = knob("true", switch, ELECTION, "only the replica that holds the Lease writes")
    leader_election_id: str = knob(
        "zen-lead-controller-leader-election", object_name, ELECTION, "name of the Lease"
    )
    leader_election_lease_duration_s: float = knob(
        "15s", whole_seconds, ELECTION, "others wait this long after the last renewal before they take over"
    )
    leader_election_renew_deadline_s: float = knob(
        "10s", duration, ELECTION, "a holder that could not renew for this long stops writing"
    )
    leader_election_retry_period_s: float = knob(
        "2s", duration, ELECTION, "time between tries to renew or take"
    )

    max_concurrent_reconciles: int = live("10", whole(1, 1000), WORK, "Services worked on at the same time")
    qps: float = live("50", number, WORK, "writes per second, except those that route; 0 = no limit")
    burst: int = live("100", whole(0), WORK, "writes that may go at once before qps counts; 0 = no limit")
    reconcile_min_interval_ms: int = live(
        "0",
        whole(0, 3_600_000),
        WORK,
        "a Service that churns is looked at this often; never delays a failover",
    )
    enable_parallel_api_calls: bool = live(
        "true", switch, WORK, "writes of one Service that do not depend on each other go side by side"
    )
    write_conditions: bool = live(
        "true", switch, WORK, "keep the condition zen-lead.io/LeaderReady on the leader Service's status"
    )

    retry_max_attempts: int = live("3", whole(1, 100), RETRIES, "attempts of one write, the first included")
    retry_initial_delay_ms: int = live("100", whole(0, 3_600_000), RETRIES, "wait before the second attempt")
    retry_max_delay_ms: int = live("5000", whole(1, 3_600_000), RETRIES, "longest wait between attempts")
    fast_retry_max_attempts: int = live(
        "2", whole(1, 100), RETRIES, "attempts of one write of a failover, the first included"
    )
    fast_retry_initial_delay_ms: int = live(
        "20", whole(1, 3_600_000), RETRIES, "wait before the second attempt of a write of a failover"
    )
    fast_retry_max_delay_ms: int = live(
        "500", whole(1, 3_600_000), RETRIES, "longest wait between attempts of a write of a failover"
    )

    max_cache_size_per_namespace: int = live(
        "1000", whole(0), CACHES, "opted-in Services kept in the index of a namespace; 0 = unlimited"
    )
    cache_update_timeout_seconds: int = live(
        "10", whole(1, 3600), CACHES, "longest time to fill an index entry"
    )
    cache_cleanup_interval_seconds: int = live(
        "300", whole(1, 86_400), CACHES, "how often index entries of idle namespaces are dropped"
    )
    enable_leader_pod_cache: bool = live(
        "true",
        switch,
        CACHES,
        "route to a new leader as the pod cache knows it; else read it once more first",
    )
    leader_pod_cache_ttl_seconds: int = knob(
        "30",
        whole(0, 86_400),
        CACHES,
        "how long a watch lasts, and so how long a dead one can go unnoticed; 0 = 30",
    )

    watch_namespaces: tuple[str, ...] = knob(
        "",
        namespaces,
        SCOPE,
        "namespaces to serve, with commas between; empty = all",
        also_env="WATCH_NAMESPACE",
    )
    kubeconfig: str = knob(
        "", path, SCOPE, "path of a kubeconfig; else $KUBECONFIG, in-cluster, ~/.kube/config"
    )
    context: str = knob("", anything, SCOPE, "context in the kubeconfig; else its current one")
    config: str = knob("", path, SCOPE, "YAML file with any of these, keys in camelCase", in_file=False)

    log_level: str = live(
        "info",
        one_of("debug", "info", "warn", "warning", "error"),
        LOGS,
        "least level shown",
        also_env="LOG_LEVEL",
    )
    log_format: str = live(
        "auto",
        one_of("auto", "json", "console"),
        LOGS,
        "json, console, or auto: console on a terminal, else json",
    )
    dry_run: bool = knob("false", switch, LOGS, "log the writes, make none")

    pod_name: str = ""  # POD_NAME
    pod_namespace: str = ""  # POD_NAMESPACE; empty: ask the service account or the kubeconfig
    identity: str = ""  # this replica in the Lease; no two processes share one
    given: Mapping[str, Given] = dataclasses.field(
        default_factory=dict
    )  # by flag; knobs left alone are absent

    def effective(self) -> tuple[Effective, ...]:
        """Each knob as it was written by whoever won, in the order of the table."""
        return effective(self.given)


KNOBS = knobs_of(Settings)
KNOB_BY_FLAG: Mapping[str, Knob] = {k.flag: k for k in KNOBS}
KNOB_BY_KEY: Mapping[str, Knob] = {k.key: k for k in KNOBS}


def effective(given: Mapping[str, Given]) -> tuple[Effective, ...]:
    """Each knob as it stands when ``given`` (by flag) is what users wrote."""
    found = ((k.flag, given.get(k.flag, Given(k.default, SOURCE_DEFAULT))) for k in KNOBS)
    return tuple(Effective(flag, it.text, it.source) for flag, it in found)
