"""From flags, environment and config file to Settings: who wins, and what is wrong.

Knows the order (flag, then environment, then file, then default), which values do not go together, and what a
changed file means for a controller that runs. Refuses to know what the values do. The rule not to break:
every problem is told, a line each, and a file with one is not used at all.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from zenlead import config_file
from zenlead.knobs import Given, problem
from zenlead.settings import KNOB_BY_KEY, KNOBS, Effective, Settings, effective

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

RENEW_JITTER = 1.2  # client-go: a renewal may come this many retry periods late, and must still be in time
PROBLEMS_SHOWN = 20  # a file that has nothing to do with zenlead may have thousands

SOURCE_FLAG = "flag"


class SettingsError(Exception):
    """The settings cannot be used. ``problems``: a line each; flag, value, source, what is allowed."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What users gave (by flag; knobs left alone are absent), and what is wrong with it."""

    given: Mapping[str, Given]
    problems: tuple[str, ...]
    refused: frozenset[str]  # flags whose value is among the problems
    found: Settings | None  # None if there is a problem

    def settings(self) -> Settings:
        """The settings to work with, or SettingsError."""
        if self.found is None:
            raise SettingsError(self.problems)
        return self.found

    def effective(self) -> tuple[Effective, ...]:
        """Each knob as it was written by whoever won, in the order of the table; refused ones, too."""
        return effective(self.given)


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Settings from flags (by name, without dashes), environment and the config file that they name.

    An environment variable that is set to nothing counts as not set. SettingsError lists every problem found.
    """
    return examine(flags, environ).settings()


def examine(flags: Mapping[str, str], environ: Mapping[str, str]) -> Reading:
    """The same, told also where it cannot be used."""
    given = _from_environment(environ) | {flag: Given(text, SOURCE_FLAG) for flag, text in flags.items()}
    return _read(given, environ)


def again(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """The settings as their config file wants them now. Flags are those that ``settings`` came from."""
    flags = {flag: given.text for flag, given in settings.given.items() if given.source == SOURCE_FLAG}
    return load(flags, environ)


class Turned(NamedTuple):
    """What follows from a changed file: flags in the order of the table."""

    settings: Settings  # to go on with
    applied: tuple[str, ...]  # which values changed
    waiting: tuple[str, ...]  # which would have, were they not only read at the start


def turned(running: Settings, wanted: Settings) -> Turned:
    """``running`` with those knobs as in ``wanted`` that can be turned while the controller runs."""
    changed = [k for k in KNOBS if getattr(running, k.field) != getattr(wanted, k.field)]
    applied = [k for k in changed if k.live]
    live = {k.flag for k in KNOBS if k.live}
    given = {flag: it for flag, it in running.given.items() if flag not in live}
    given |= {flag: it for flag, it in wanted.given.items() if flag in live}
    values: dict[str, Any] = {k.field: getattr(wanted, k.field) for k in applied}
    return Turned(
        dataclasses.replace(running, **values, given=given),
        tuple(k.flag for k in applied),
        tuple(k.flag for k in changed if not k.live),
    )


def _read(given: dict[str, Given], environ: Mapping[str, str]) -> Reading:
    problems: list[str] = []
    refused: set[str] = set()
    in_file: dict[str, Given] = {}
    if "config" in given and given["config"].text:
        in_file = config_file.read(given["config"], KNOB_BY_KEY, problems)
    values: dict[str, Any] = {}
    for k in KNOBS:
        # What stands in the file is checked although something else wins: that may be gone tomorrow.
        for source in (in_file, given):
            if k.flag not in source:
                continue
            try:
                values[k.field] = k.parse(source[k.flag].text)
            except ValueError as refusal:
                problems.append(problem(k.flag, source[k.flag], str(refusal)))
                if source is given or k.flag not in given:
                    refused.add(k.flag)
    given = in_file | given
    pod_name = environ.get("POD_NAME", "")
    settings = Settings(
        **values,
        pod_name=pod_name,
        pod_namespace=environ.get("POD_NAMESPACE", ""),
        identity=pod_name or f"{socket.gethostname()}_{os.getpid()}",
        given=given,
    )
    if not problems:
        for flag, line in _cross_checks(settings):
            problems.append(line)
            refused.add(flag)
    return Reading(given, _bounded(problems), frozenset(refused), None if problems else settings)


def _bounded(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - PROBLEMS_SHOWN
    return (*problems[:PROBLEMS_SHOWN], *([f"and {more} more problems"] if more > 0 else []))


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    found = {}
    for k in KNOBS:
        for name in filter(None, (k.env, k.also_env)):
            if environ.get(name):
                found[k.flag] = Given(environ[name], f"environment {name}")
                break
    return found


def _cross_checks(settings: Settings) -> Iterator[tuple[str, str]]:
    """Values that are right alone and wrong together: the flag, and a line."""
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


def _pair(settings: Settings, flag: str, rule: str, other: str) -> tuple[str, str]:
    by_flag = {line.flag: line for line in settings.effective()}
    mine = settings.given.get(flag) or Given(by_flag[flag].text, by_flag[flag].source)
    theirs = by_flag[other]
    return flag, problem(flag, mine, f"{rule} --{other}, which is {theirs.text} ({theirs.source})")
