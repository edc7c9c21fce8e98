"""One table of knobs: who wins, what each way in is called, and which values do not go together."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from zenlead.knobs import Address
from zenlead.settings import KNOB_BY_FLAG, KNOBS, Settings, SettingsError, load

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT_DEFAULTS = {
    "metrics-bind-address": ":8080",
    "health-probe-bind-address": ":8081",
    "leader-election-id": "zen-lead-controller-leader-election",
    "leader-election-lease-duration": "15s",
    "leader-election-renew-deadline": "10s",
    "leader-election-retry-period": "2s",
    "leader-elect": "true",
    "max-cache-size-per-namespace": "1000",
    "max-concurrent-reconciles": "10",
    "cache-update-timeout-seconds": "10",
    "metrics-collection-timeout-seconds": "5",
    "qps": "50",
    "burst": "100",
    "retry-max-attempts": "3",
    "retry-initial-delay-ms": "100",
    "retry-max-delay-ms": "5000",
    "fast-retry-initial-delay-ms": "20",
    "fast-retry-max-delay-ms": "500",
    "fast-retry-max-attempts": "2",
    "enable-leader-pod-cache": "true",
    "leader-pod-cache-ttl-seconds": "30",
    "enable-parallel-api-calls": "true",
    "cache-cleanup-interval-seconds": "300",
    "reconcile-min-interval-ms": "0",
    "watch-namespaces": "",
    "kubeconfig": "",
    "context": "",
    "config": "",
    "log-level": "info",
    "log-format": "auto",
    "dry-run": "false",
    "write-conditions": "true",
    "metrics-per-service": "true",
}


def problems(flags: dict[str, str], environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ or {})
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert not any("\n" in line for line in caught.value.problems)
    return caught.value.problems


def config(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "zenlead.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_the_table_is_the_contract() -> None:
    assert {k.flag: k.default for k in KNOBS} == CONTRACT_DEFAULTS


def test_names_on_every_way_in() -> None:
    k = KNOB_BY_FLAG["leader-election-lease-duration"]
    assert k.field == "leader_election_lease_duration_s"
    assert k.env == "ZEN_LEAD_LEADER_ELECTION_LEASE_DURATION"
    assert k.key == "leaderElectionLeaseDuration"
    assert KNOB_BY_FLAG["qps"].key == "qps"
    assert all(k.help and k.group for k in KNOBS)


def test_defaults_are_parsed() -> None:
    settings = Settings()
    assert settings.metrics_bind_address == Address("", 8080)
    assert settings.leader_election_renew_deadline_s == 10.0
    assert settings.leader_elect is True
    assert settings.watch_namespaces == ()
    loaded = load({}, {})
    assert loaded.given == {}
    assert {line.source for line in loaded.effective()} == {"default"}


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = config(tmp_path, "qps: 1\nburst: 1\nmaxConcurrentReconciles: 1\n")
    environ = {"ZEN_LEAD_QPS": "2", "ZEN_LEAD_BURST": "2", "ZEN_LEAD_CONFIG": path}
    settings = load({"qps": "3"}, environ)
    assert (settings.qps, settings.burst, settings.max_concurrent_reconciles) == (3, 2, 1)
    sources = {line.flag: (line.text, line.source) for line in settings.effective()}
    assert sources["qps"] == ("3", "flag")
    assert sources["burst"] == ("2", "environment ZEN_LEAD_BURST")
    assert sources["max-concurrent-reconciles"] == ("1", f"{path} line 3")
    assert sources["retry-max-attempts"] == ("3", "default")
    assert sources["config"] == (path, "environment ZEN_LEAD_CONFIG")
    assert [line.flag for line in settings.effective()] == [k.flag for k in KNOBS]


def test_every_knob_can_be_set_by_environment_and_by_file(tmp_path: Path) -> None:
    own = {k.flag: k.default or "x" for k in KNOBS if k.flag != "config"}
    by_environment = load({}, {KNOB_BY_FLAG[flag].env: text for flag, text in own.items()})
    path = config(tmp_path, "".join(f"{KNOB_BY_FLAG[flag].key}: {text}\n" for flag, text in own.items()))
    by_file = load({"config": path}, {})
    for flag in own:
        field = KNOB_BY_FLAG[flag].field
        assert getattr(by_environment, field) == getattr(by_file, field)
        assert by_environment.given[flag].source == f"environment {KNOB_BY_FLAG[flag].env}"
        assert by_file.given[flag].source.startswith(f"{path} line ")


def test_old_names_of_the_environment() -> None:
    settings = load({}, {"WATCH_NAMESPACE": "a,b", "LOG_LEVEL": "DEBUG"})
    assert settings.watch_namespaces == ("a", "b")
    assert settings.log_level == "debug"
    assert load({}, {"LOG_LEVEL": "debug", "ZEN_LEAD_LOG_LEVEL": "error"}).log_level == "error"


def test_an_empty_variable_is_not_set_and_an_empty_flag_is() -> None:
    settings = load({"metrics-bind-address": ""}, {"ZEN_LEAD_HEALTH_PROBE_BIND_ADDRESS": ""})
    assert settings.metrics_bind_address is None
    assert settings.health_probe_bind_address == Address("", 8081)


def test_variables_that_kubernetes_makes_of_a_service_named_zen_lead_do_no_harm() -> None:
    load({}, {"ZEN_LEAD_PORT": "tcp://10.0.0.1:80", "ZEN_LEAD_SERVICE_HOST": "10.0.0.1"})


def test_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({}, {"POD_NAME": "zen-lead-0", "POD_NAMESPACE": "ops"})
    assert (settings.identity, settings.pod_name, settings.pod_namespace) == (
        "zen-lead-0",
        "zen-lead-0",
        "ops",
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "laptop")
    monkeypatch.setattr(os, "getpid", lambda: 42)
    assert load({}, {}).identity == "laptop_42"


def test_every_problem_is_told_with_its_source(tmp_path: Path) -> None:
    path = config(tmp_path, "burst: lots\n")
    told = problems({"qps": "-1", "config": path}, {"ZEN_LEAD_LEADER_ELECT": "yes"})
    assert told == (
        "--leader-elect: 'yes' (environment ZEN_LEAD_LEADER_ELECT): not a boolean; allowed: true or false "
        "(also 1 t T TRUE True 0 f F FALSE False)",
        "--qps: '-1' (flag): not allowed; allowed: a number from 0 to 2147483647",
        f"--burst: 'lots' ({path} line 1): not allowed; allowed: a whole number from 0 to 2147483647",
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {"leader-election-lease-duration": "10s", "leader-election-renew-deadline": "15s"},
            "--leader-election-renew-deadline: '15s' (flag): must be shorter than "
            "--leader-election-lease-duration, which is 10s (flag)",
        ),
        (
            {"leader-election-lease-duration": "10s"},
            "--leader-election-renew-deadline: '10s' (default): must be shorter than "
            "--leader-election-lease-duration, which is 10s (flag)",
        ),
        (
            {"leader-election-retry-period": "10s"},
            "--leader-election-renew-deadline: '10s' (default): must be longer than 1.2 times "
            "--leader-election-retry-period, which is 10s (flag)",
        ),
        (
            {"leader-election-renew-deadline": "2400ms"},
            "--leader-election-renew-deadline: '2400ms' (flag): must be longer than 1.2 times "
            "--leader-election-retry-period, which is 2s (default)",
        ),
        (
            {"retry-max-delay-ms": "99"},
            "--retry-initial-delay-ms: '100' (default): must not exceed "
            "--retry-max-delay-ms, which is 99 (flag)",
        ),
        (
            {"fast-retry-initial-delay-ms": "501"},
            "--fast-retry-initial-delay-ms: '501' (flag): must not exceed "
            "--fast-retry-max-delay-ms, which is 500 (default)",
        ),
        (
            {"metrics-bind-address": ":8081"},
            "--health-probe-bind-address: ':8081' (default): must differ from "
            "--metrics-bind-address, which is :8081 (flag)",
        ),
    ],
)
def test_values_that_do_not_go_together(flags: dict[str, str], expected: str) -> None:
    assert problems(flags) == (expected,)


def test_values_that_just_go_together() -> None:
    load({"leader-election-renew-deadline": "2401ms"}, {})
    load({"leader-election-renew-deadline": "14.9s"}, {})
    load({"retry-max-delay-ms": "100"}, {})
    both_off = load({"metrics-bind-address": "0", "health-probe-bind-address": "0"}, {})
    assert both_off.metrics_bind_address is both_off.health_probe_bind_address is None
    load({"metrics-bind-address": ":0", "health-probe-bind-address": ":0"}, {})


@pytest.mark.parametrize("flag", ["lease-duration", "renew-deadline", "retry-period"])
@pytest.mark.parametrize("text", ["0", "0s", "-5s", "", "15"])
def test_no_lease_timing_is_zero_negative_or_without_unit(flag: str, text: str) -> None:
    (line,) = problems({f"leader-election-{flag}": text})
    assert line.startswith(f"--leader-election-{flag}: {text!r} (flag): not a")
    assert "allowed: a duration" in line


def test_file_lists_comments_and_scalars_as_text(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "# ours\nwatchNamespaces:\n  - a\n  - b\nmetricsBindAddress: 0\nleaderElect: false\n"
        "leaderElectionId: '007'\nhealthProbeBindAddress: [':9']\n",
    )
    settings = load({"config": path}, {})
    assert settings.watch_namespaces == ("a", "b")
    assert settings.metrics_bind_address is None
    assert settings.leader_elect is False
    assert settings.leader_election_id == "007"
    assert settings.health_probe_bind_address == Address("", 9)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    path = config(tmp_path, text)
    assert set(load({"config": path}, {}).given) == {"config"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "metricBindAdress: 0\n",
            "{path} line 1: unknown key 'metricBindAdress'; did you mean metricsBindAddress?",
        ),
        (
            "a: 1\nleader-elect: false\n",
            "{path} line 2: unknown key 'leader-elect'; did you mean leaderElect?",
        ),
        ("config: other.yaml\n", "{path} line 1: unknown key 'config'; did you mean "),
        ("qps: 1\nqps: 2\n", "{path} line 2: qps stands there twice (first at {path} line 1)"),
        (
            "qps: {{a: 1}}\n",
            "{path} line 1: qps holds more than a value; allowed: one value, or a list of names",
        ),
        ("watchNamespaces: [[a]]\n", "{path} line 1: watchNamespaces holds more than a value"),
        ("qps:\n", "--qps: '' ({path} line 1): not allowed; allowed: a number"),
        ("leaderElect: yes\n", "--leader-elect: 'yes' ({path} line 1): not a boolean"),
        ("- qps\n", "--config: {path!r} (flag): holds no mapping; allowed: lines such as leaderElect: false"),
        ("qps: [1\n", "--config: {path!r} (flag): is no YAML: while parsing a flow sequence"),
        ("a: 1\n--- \nb: 1\n", "--config: {path!r} (flag): is no YAML: expected a single document"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    path = config(tmp_path, text.replace("{{", "{").replace("}}", "}"))
    short = path if len(path) <= 60 else path[:60] + "…"
    told = problems({"config": path})
    wanted = expected.replace("{path!r}", repr(short)).replace("{path}", path)
    assert any(line.startswith(wanted) for line in told), told


def test_a_file_that_is_not_there_not_text_or_no_file(tmp_path: Path) -> None:
    assert problems({"config": "/no/such"}) == (
        "--config: '/no/such' (flag): cannot be read: No such file or directory",
    )
    (line,) = problems({"config": "/"})
    assert line == "--config: '/' (flag): cannot be read: Is a directory"
    (line,) = problems({"config": config(tmp_path, b"qps: \xff\n")})
    assert "is no YAML" in line
    (line,) = problems({"config": config(tmp_path, b"#" * (1 << 20) + b"#")})
    assert "is longer than 1048576 bytes" in line
