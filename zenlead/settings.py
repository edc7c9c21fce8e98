"""Every knob of zenlead in one table; flags, environment, config file and help derive from it.

Knows which knobs exist, who wins (flag, then environment, then file, then default) and which values do not
go together. Refuses to know what the values do. The rule not to break: a knob is added in ``Settings`` and
nowhere else.
"""

# ruff: noqa: RUF009  (a knob() is an immutable field with its metadata, as dataclasses.field() is)

from __future__ import annotations

import dataclasses
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from zenlead import config_file
from zenlead.knobs import (
    Address,
    Given,
    Knob,
    address,
    anything,
    duration,
    knob,
    knobs_of,
    namespaces,
    number,
    object_name,
    one_of,
    problem,
    whole,
    whole_seconds,
)
from zenlead.lead.golang import parse_bool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SERVING = "Serving"
ELECTION = "Election among replicas"
WORK = "Work and API limits"
RETRIES = "Retries of writes"
CACHES = "Caches"
SCOPE = "Scope and connection"
LOGS = "Logs and mode"

RENEW_JITTER = 1.2  # client-go: a renewal may come this many retry periods late, and must still be in time

SOURCE_DEFAULT = "default"
SOURCE_FLAG = "flag"


class SettingsError(Exception):
    """The settings cannot be used. ``problems``: a line each; flag, value, source, what is allowed."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Effective(NamedTuple):
    """One line of the answer to "which value counts, and why"."""

    flag: str
    text: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All knobs, parsed and checked. ``Settings()`` is the defaults; ``load`` reads what a user set."""

    metrics_bind_address: Address | None = knob(":8080", address, SERVING, "where /metrics listens; 0 = off")
    health_probe_bind_address: Address | None = knob(
        ":8081", address, SERVING, "where /healthz, /livez and /readyz listen; 0 = off"
    )
    metrics_collection_timeout_seconds: int = knob(
        "5", whole(1, 300), SERVING, "a scrape of /metrics that takes longer is answered with 503"
    )
    metrics_per_service: bool = knob(
        "true", parse_bool, SERVING, "series for each Service; else for each namespace, and fewer"
    )

    leader_elect: bool = knob("true", parse_bool, ELECTION, "only the replica that holds the Lease writes")
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

    max_concurrent_reconciles: int = knob("10", whole(1, 1000), WORK, "Services worked on at the same time")
    qps: float = knob("50", number, WORK, "writes per second, except those that route; 0 = no limit")
    burst: int = knob("100", whole(0), WORK, "writes that may go at once before qps counts; 0 = no limit")
    reconcile_min_interval_ms: int = knob(
        "0",
        whole(0, 3_600_000),
        WORK,
        "a Service that churns is looked at this often; never delays a failover",
    )
    enable_parallel_api_calls: bool = knob(
        "true", parse_bool, WORK, "writes of one Service that do not depend on each other go side by side"
    )
    write_conditions: bool = knob(
        "true", parse_bool, WORK, "keep the condition zen-lead.io/LeaderReady on the leader Service's status"
    )

    retry_max_attempts: int = knob("3", whole(1, 100), RETRIES, "attempts of one write, the first included")
    retry_initial_delay_ms: int = knob("100", whole(0, 3_600_000), RETRIES, "wait before the second attempt")
    retry_max_delay_ms: int = knob("5000", whole(1, 3_600_000), RETRIES, "longest wait between attempts")
    fast_retry_max_attempts: int = knob("2", whole(1, 100), RETRIES, "the same for writes of a failover")
    fast_retry_initial_delay_ms: int = knob(
        "20", whole(1, 3_600_000), RETRIES, "the same for writes of a failover"
    )
    fast_retry_max_delay_ms: int = knob(
        "500", whole(1, 3_600_000), RETRIES, "the same for writes of a failover"
    )

    max_cache_size_per_namespace: int = knob(
        "1000", whole(0), CACHES, "opted-in Services kept in the index of a namespace; 0 = unlimited"
    )
    cache_update_timeout_seconds: int = knob(
        "10", whole(1, 3600), CACHES, "longest time to fill an index entry"
    )
    cache_cleanup_interval_seconds: int = knob(
        "300", whole(1, 86_400), CACHES, "how often index entries of idle namespaces are dropped"
    )
    enable_leader_pod_cache: bool = knob(
        "true",
        parse_bool,
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
        "", anything, SCOPE, "path of a kubeconfig; else $KUBECONFIG, in-cluster, ~/.kube/config"
    )
    context: str = knob("", anything, SCOPE, "context in the kubeconfig; else its current one")
    config: str = knob("", anything, SCOPE, "YAML file with any of these, keys in camelCase", in_file=False)

    log_level: str = knob(
        "info",
        one_of("debug", "info", "warn", "warning", "error"),
        LOGS,
        "least level shown",
        also_env="LOG_LEVEL",
    )
    log_format: str = knob(
        "auto",
        one_of("auto", "json", "console"),
        LOGS,
        "json, console, or auto: console on a terminal, else json",
    )
    dry_run: bool = knob("false", parse_bool, LOGS, "log the writes, make none")

    pod_name: str = ""  # POD_NAME
    pod_namespace: str = ""  # POD_NAMESPACE; empty: ask the service account or the kubeconfig
    identity: str = ""  # this replica in the Lease; no two processes share one
    given: Mapping[str, Given] = dataclasses.field(
        default_factory=dict
    )  # by flag; knobs left alone are absent

    def effective(self) -> tuple[Effective, ...]:
        """Each knob as it was written by whoever won, in the order of the table."""
        return tuple(
            Effective(k.flag, *self.given.get(k.flag, Given(k.default, SOURCE_DEFAULT))) for k in KNOBS
        )


KNOBS = knobs_of(Settings)
KNOB_BY_FLAG: Mapping[str, Knob] = {k.flag: k for k in KNOBS}
KNOB_BY_KEY: Mapping[str, Knob] = {k.key: k for k in KNOBS if k.in_file}


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Settings from flags (by name, without dashes), environment and the config file that they name.

    An environment variable that is set to nothing counts as not set. SettingsError lists every problem found.
    """
    problems: list[str] = []
    given = _from_environment(environ) | {flag: Given(text, SOURCE_FLAG) for flag, text in flags.items()}
    if "config" in given and given["config"].text:
        given = config_file.read(given["config"], KNOB_BY_KEY, problems) | given
    values: dict[str, Any] = {}
    for k in KNOBS:
        if k.flag not in given:
            continue
        try:
            values[k.field] = k.parse(given[k.flag].text)
        except ValueError as refusal:
            problems.append(problem(k.flag, given[k.flag], str(refusal)))
    pod_name = environ.get("POD_NAME", "")
    settings = Settings(
        **values,
        pod_name=pod_name,
        pod_namespace=environ.get("POD_NAMESPACE", ""),
        identity=pod_name or f"{socket.gethostname()}_{os.getpid()}",
        given=given,
    )
    if not problems:
        problems.extend(_cross_checks(settings))
    if problems:
        raise SettingsError(problems)
    return settings


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    found = {}
    for k in KNOBS:
        for name in filter(None, (k.env, k.also_env)):
            if environ.get(name):
                found[k.flag] = Given(environ[name], f"environment {name}")
                break
    return found


def _cross_checks(settings: Settings) -> Iterator[str]:
    """Values that are right alone and wrong together."""
    lease, renew, retry = (
        f"leader-election-{part}" for part in ("lease-duration", "renew-deadline", "retry-period")
    )
    if settings.leader_election_renew_deadline_s >= settings.leader_election_lease_duration_s:
        yield _pair(settings, renew, "must be shorter than", lease)
    if settings.leader_election_renew_deadline_s <= RENEW_JITTER * settings.leader_election_retry_period_s:
        yield _pair(settings, renew, f"must be longer than {RENEW_JITTER} times", retry)
    if settings.retry_initial_delay_ms > settings.retry_max_delay_ms:
        yield _pair(settings, "retry-initial-delay-ms", "must not exceed", "retry-max-delay-ms")
    if settings.fast_retry_initial_delay_ms > settings.fast_retry_max_delay_ms:
        yield _pair(settings, "fast-retry-initial-delay-ms", "must not exceed", "fast-retry-max-delay-ms")
    metrics, probes = settings.metrics_bind_address, settings.health_probe_bind_address
    if metrics is not None and metrics == probes and metrics.port != 0:
        yield _pair(settings, "health-probe-bind-address", "must differ from", "metrics-bind-address")


def _pair(settings: Settings, flag: str, rule: str, other: str) -> str:
    given = {line.flag: Given(line.text, line.source) for line in settings.effective()}
    return problem(
        flag, given[flag], f"{rule} --{other}, which is {given[other].text} ({given[other].source})"
    )
